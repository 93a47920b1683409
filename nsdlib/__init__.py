"""Decode what a person saw from fMRI: a thin library under nine notebooks."""

__version__ = "0.1.0"
