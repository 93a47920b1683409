"""Data sets in BIDS format, preprocessed with fMRIPrep."""
