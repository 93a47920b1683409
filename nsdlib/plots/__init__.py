"""Figures of computed results, and explorers that add controls to them.

A function with `ax` draws on these axes, or on new ones, and returns them; the others return a new matplotlib figure.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "brain": [
            "plot_boxes",
            "plot_components",
            "plot_confusion",
            "plot_fits",
            "plot_fractions",
            "plot_hrfs",
            "plot_r2",
            "plot_truth",
        ],
        "data": ["plot_agreement", "plot_repeats", "plot_responses", "plot_run", "plot_scenes", "plot_session", "plot_trials"],
        "decoding": ["plot_errors", "plot_latent_size", "plot_layers", "plot_learning", "plot_regimes", "plot_region_scores"],
        "explore": ["hrf_explorer", "reconstruction_explorer", "roi_explorer", "systems_explorer", "what_if"],
        "interactive": ["compare", "gallery", "steps"],
        "maps": ["plot_map", "plot_regions"],
        "pictures": ["plot_error_kinds", "plot_grid", "plot_group", "plot_noise_curves", "plot_scores"],
        "publication": ["ONE_COLUMN", "TWO_COLUMNS", "export", "figures_folder"],
        "style": ["measures", "name_measures", "use_style"],
    },
)
