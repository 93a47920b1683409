"""Decode what a person saw from fMRI: the library behind eleven notebooks."""

__version__ = "0.1.0"
