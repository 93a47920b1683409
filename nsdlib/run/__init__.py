"""Notebooks run unattended: runner, monitor, doctor, costs, rehearsal."""
