"""Subjects of data sets: their images, trials, betas and time series, and the files that hold them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "bids.events": ["read_events"],
        "bids.volumes": ["resample_volumes"],
        "nsd.bucket": ["accept_terms", "subject_files"],
        "converted.convert": ["convert"],
        "exports": ["export_betas"],
        "glm_sessions": ["fit_sessions", "read_session"],
        "nsd.subject": ["NSDSubject"],
        "subject": ["Subject", "open_subject"],
        "nsd.checks": ["first_contact", "repeat_agreement"],
        "targets": ["latent_targets", "token_targets"],
    },
)
