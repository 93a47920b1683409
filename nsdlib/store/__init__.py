"""The store of results, addressed by their provenance, and the models of a run."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "artifact": ["DamagedArtifact", "MissingArtifact", "StoreFull"],
        "shipped": ["shipped_like"],
        "store": ["Store"],
        "zoo": ["load_diffusion", "load_embedder", "load_extractors", "load_scorer", "load_vdvae"],
    },
)
