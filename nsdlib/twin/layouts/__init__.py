"""Writers of a simulated subject's files, one class per data layout.

All have the same methods, which `nsdlib.twin.simulate` calls in this order: `write_experiment`, `pictures`, then for each session
`write_session` and for each of its task runs `write_run`, and finally `finish`.
"""
