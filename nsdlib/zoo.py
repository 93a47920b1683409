"""Where the weights of each model lie, by name, in the two zoos: `demo` (ours, in the repository) and `paper` (published).

Both zoos are read by the same loading code; they differ in size alone. This module knows paths and provenance, the modules
that own a model know how to load it.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Weights:
    """One entry of a zoo: a file or folder below the zoo's root, where it comes from, its licence."""

    path: str
    source: str
    licence: str


_OURS = {"source": "trained by this project: make zoo", "licence": "MIT"}
_TORCHVISION = {"source": "torchvision's model weights (download.pytorch.org/models)", "licence": "BSD-3-Clause"}

ZOOS = {
    "demo": {
        "vdvae": Weights("vdvae/vdvae.safetensors", **_OURS),
        "versatile_diffusion": Weights("versatile_diffusion", **_OURS),
        "alexnet": Weights("judges/alexnet.safetensors", **_OURS),
        "inception": Weights("judges/inception.safetensors", **_OURS),
        "effnet": Weights("judges/effnet.safetensors", **_OURS),
        "effnet_v2": Weights("judges/effnet.safetensors", **_OURS),  # one stand-in for both
        "swav": Weights("judges/swav.safetensors", **_OURS),
        "clip": Weights("judges/clip", **_OURS),
    },
    "paper": {
        "vdvae": Weights(
            "vdvae/imagenet64-iter-1600000-model-ema.th",
            "https://openaipublic.blob.core.windows.net/very-deep-vaes-assets/vdvae-assets-2/",
            "MIT",
        ),
        "versatile_diffusion": Weights(
            "versatile-diffusion", "https://huggingface.co/shi-labs/versatile-diffusion", "MIT"
        ),
        "alexnet": Weights("judges/alexnet-owt-7be5be79.pth", **_TORCHVISION),
        "inception": Weights("judges/inception_v3_google-0cc3c7bd.pth", **_TORCHVISION),
        "effnet": Weights("judges/efficientnet_b1_rwightman-bac287d4.pth", **_TORCHVISION),
        "effnet_v2": Weights("judges/efficientnet_b1-c27df63c.pth", **_TORCHVISION),
        "swav": Weights(
            "judges/swav_800ep_pretrain.pth.tar", "https://dl.fbaipublicfiles.com/deepcluster/", "CC BY-NC 4.0"
        ),
        "clip": Weights("judges/clip-vit-large-patch14", "https://huggingface.co/openai/clip-vit-large-patch14", "MIT"),
    },
}


def root(run) -> Path:
    """The folder of the run's zoo: `zoo/demo` of the repository, or the `paper` folder below `run.weights`."""
    return Path(run.root) / "zoo" / "demo" if run.zoo == "demo" else Path(run.weights) / "paper"


def path(run, name: str) -> Path:
    """The file or folder of a model; raises FileNotFoundError that says what is missing and where it comes from."""
    entries = ZOOS[run.zoo]
    if name not in entries:
        raise ValueError(f"no model {name!r} in the {run.zoo} zoo; it has {', '.join(entries)}")
    entry = entries[name]
    found = root(run) / entry.path
    if not found.exists():
        raise FileNotFoundError(
            f"the weights of {name!r} ({run.zoo} zoo) are not at {found}; they come from {entry.source} ({entry.licence})"
        )
    return found


def missing(run) -> list[tuple[Path, str]]:
    """(path, where it comes from) of every model of the run's zoo that is not there."""
    entries = ((root(run) / entry.path, entry.source) for entry in ZOOS[run.zoo].values())
    return [(found, source) for found, source in entries if not found.exists()]
