"""The simulated subject: scenes, brain responses, BOLD and the planted truth, written as NSD's files or as BIDS."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"scenes": ["draw", "sample_scene"], "truth": ["load_truth"]}
)
