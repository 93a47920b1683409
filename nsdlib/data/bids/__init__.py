"""Experiments as BIDS and fMRIPrep lay them out."""
