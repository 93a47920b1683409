"""The drawings of things, one file a family; each fills a pen with shapes."""
