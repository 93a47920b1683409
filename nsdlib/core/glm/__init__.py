"""Single-trial betas from BOLD, with the algorithm of GLMsingle."""
