"""Decode what a person saw from fMRI: a thin library under ten notebooks."""

__version__ = "0.1.0"
