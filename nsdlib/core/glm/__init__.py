"""From BOLD to one beta per trial: the algorithm of GLMsingle."""
