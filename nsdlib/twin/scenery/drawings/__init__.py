"""The drawings of things, one file per family; each fills a pen with shapes."""
