"""Evaluation protocols for comparing images, with every choice explicit and none left to a library's default.

Published tables look alike but differ in image sizes, filters, two kinds of SSIM and two EfficientNets.
"""

from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from nsdlib.core.images import resample


@dataclass(frozen=True)
class Protocol:
    """Sizes, filters and formulas of one published evaluation; `resampling` as in `nsdlib.core.images.resample`."""

    source: str  # publication and code that the protocol follows
    side: int | None = None  # side length in pixels for SSIM and PixCorr; None keeps the truth's size
    resampling: str = "antialiased"  # filter for resizing to `first_side` and `side`
    first_side: int | None = None  # side length to which both images are resized first
    sides: dict = field(default_factory=dict)  # input side length of each published network; default 224
    network_resampling: str | None = None  # filter for the networks' input; None uses each network's own
    column_ssim: bool = False  # SSIM in one dimension along columns, then averaged, instead of in two dimensions
    effnet: str = "effnet"  # name in the zoo of the EfficientNet-B1: with its first weights, or `effnet_v2`
    n_test: int | None = None  # number of test images in the published tables; two-way scores depend on it

    def for_structure(self, images: np.ndarray) -> Tensor:
        """Return the input of SSIM and PixCorr: (n_images, 3, side, side) in [0, 1]."""
        return resample(self._first(images), self.side, self.resampling)

    def for_network(self, images: np.ndarray, network: str, side: int, device="cpu") -> Tensor:
        """Return a network's input in [0, 1] on its device; a stand-in's size is scaled by its `side` / 224."""
        size = round(self.sides.get(network, 224) * side / 224)
        return resample(self._first(images, device), size, self.network_resampling, device)

    def _first(self, images, device="cpu"):
        """Return images after the first resizing, if the protocol has one."""
        return images if self.first_side is None else resample(images, self.first_side, self.resampling, device)


_MINDEYE = {
    "side": 425,
    "resampling": "plain",
    "first_side": 256,
    "sides": {"alexnet": 256, "inception": 342, "effnet": 255},
    "network_resampling": "plain",
    "effnet": "effnet_v2",
}
PROTOCOLS = {
    "native": Protocol("this project: the truth unchanged, SSIM in two dimensions"),
    "brain_diffuser": Protocol(
        "Ozcelik & VanRullen 2023, eval_extract_features.py and evaluate_reconstruction.py, scikit-image 0.17",
        side=425,
        resampling="pil bicubic",
        network_resampling="pil bilinear",
        column_ssim=True,
        n_test=982,
    ),
    "mindeye1": Protocol(
        "Scotti et al. 2023, Reconstruction_Metrics.py, torchvision 0.15, scikit-image 0.20", n_test=982, **_MINDEYE
    ),
    "mindeye2": Protocol("Scotti et al. 2024, final_evaluations.ipynb, torchvision 0.16", n_test=1000, **_MINDEYE),
}


def find_protocol(name: str) -> Protocol:
    """Return a protocol by name; ValueError for an unknown one."""
    if name not in PROTOCOLS:
        raise ValueError(f"there is no protocol {name!r}; known: {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[name]
