"""Run notebooks unattended, and estimate what a run needs: runner, monitor, doctor, costs, rehearsal."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "doctor": ["examine"],
        "rates": ["product_rate", "total_memory"],
        "rehearsal": ["rehearse"],
        "runner": ["AlreadyRunning", "NotebookFailed", "notebook_names", "run_notebooks"],
    },
)
