"""Figures: one module a topic, functions that draw on what they are given, compute nothing and save nothing."""
