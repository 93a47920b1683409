"""The simulated subject: scenes, a brain that responds to them, BOLD, and the planted truth, in NSD's files or in BIDS."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"scenes": ["draw", "sample_scene"], "truth": ["load_truth"]}
)
