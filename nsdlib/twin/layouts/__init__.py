"""Writers of a simulated subject's files, one class for each way that data lie on disk.

All have the same methods, which `nsdlib.twin.simulate` calls in this order: `write_experiment`, `pictures`, for each session
`write_session` and for each of its task runs `write_run`, and `finish`.
"""
