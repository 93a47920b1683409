"""Published systems as recipes: from one subject's patterns to images and their scores."""
