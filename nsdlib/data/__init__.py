"""Subjects: what was shown, what was measured, and the files that hold it."""
