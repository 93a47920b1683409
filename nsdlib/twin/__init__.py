"""The simulated subject: scenes, a brain that answers them, BOLD, and the planted truth."""
