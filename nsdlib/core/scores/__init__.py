"""Scores of reconstructions: similarity formulas, feature extractors, protocols, and the eight scores based on them."""
