"""Training of the demo zoo: `python -m nsdlib.zoo_training`. No run of a notebook imports this package."""
