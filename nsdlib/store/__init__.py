"""Results by what they came from, and the models of a run."""
