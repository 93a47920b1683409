"""Readers and writers of single files that other programs write or read, whoever scanned the subject."""
