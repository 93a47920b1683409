"""Decode what a person saw from fMRI: a thin library under eleven notebooks."""

__version__ = "0.1.0"
