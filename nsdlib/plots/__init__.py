"""Figures: one module a topic, functions that draw on what they are given and compute nothing; only `publication` saves."""
