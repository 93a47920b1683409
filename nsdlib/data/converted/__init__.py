"""Layouts of public data sets, brought to the one form in which betas of others are read."""
