"""Converters of public data sets to the one form in which externally estimated betas are read."""
