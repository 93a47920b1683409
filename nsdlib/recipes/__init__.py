"""Published systems as recipes: data and small parts that go from one subject's patterns to pictures and their scores."""
