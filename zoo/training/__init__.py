"""Training of the demo zoo: `python -m zoo.training`. No run of a notebook imports this package."""
