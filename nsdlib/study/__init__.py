"""Analyses of results: betas, comparison of decoders, controls, leak detection, statistics, and tests of the paper's claims."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "ablation": ["by_region", "explained_variance", "fit_systems"],
        "betas": ["assemble", "read_trials", "trials_from_glm"],
        "claims": ["CLAIMS"],
        "controls": ["place_refined"],
        "latents": ["regime_gains", "regimes"],
        "leaks": ["LEAKS", "lint"],
        "published": ["latent_errors", "paper_table", "stated"],
        "reconstruction": ["STORED", "Split", "TwoStages", "decode_tokens", "fit_ridges", "score_all"],
        "selection": ["at_percentiles", "most_opposed", "relative_rank", "resemblance"],
        "statistics": ["as_text", "bootstrap_interval", "differences", "differences_as_text", "paired_difference", "summary"],
    },
)
