"""What notebooks ask of results: betas, ablation, controls, leaks, statistics, claims."""
