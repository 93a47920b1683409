"""Readers and writers of single files in the formats of other programs, for any data set."""
