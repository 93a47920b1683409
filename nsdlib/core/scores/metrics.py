"""The eight scores of the paper (section 3.5), one value per image, under a named protocol.

Protocol `native` keeps the truth unchanged and resizes the reconstruction to it; published tables follow other protocols, which
can be selected. Scores under different protocols are similar but not the same quantities.
"""

from dataclasses import dataclass

import numpy as np

from nsdlib.core.device import check_finite
from nsdlib.core.images import check_images, resize
from nsdlib.core.scores.protocols import find_protocol
from nsdlib.core.scores.similarity import correlation_distance, pixcorr, ssim, two_way

FORMULAS = {"two-way": two_way, "distance": correlation_distance}


@dataclass(frozen=True)
class Metric:
    """One score: its name, formula and features."""

    label: str  # for tables and figures
    kind: str  # "pairwise", "two-way" or "distance"
    semantic: bool  # whether the paper calls it high-level
    network: str | None = None  # name of the feature extractor in the zoo
    feature: str | None = None  # the extractor's output to compare

    @property
    def higher_is_better(self) -> bool:
        """Whether larger values are better; False for distances."""
        return self.kind != "distance"

    @property
    def sign(self) -> int:
        """1 if larger values are better, else -1; multiplied by it, larger is always better."""
        return 1 if self.higher_is_better else -1

    @property
    def title(self) -> str:
        """The label with an arrow in the direction of better values."""
        return f"{self.label} {'↑' if self.higher_is_better else '↓'}"

    @property
    def chance(self) -> float | None:
        """Expected score of a reconstruction unrelated to its image; None if the formula does not determine it."""
        return 0.5 if self.kind == "two-way" else None


METRICS = {
    "ssim": Metric("SSIM", "pairwise", False),
    "pixcorr": Metric("PixCorr", "pairwise", False),
    "alexnet2": Metric("AlexNet(2)", "two-way", False, "alexnet", "layer2"),
    "alexnet5": Metric("AlexNet(5)", "two-way", False, "alexnet", "layer5"),
    "inception": Metric("Inception", "two-way", True, "inception", "pooled"),
    "clip": Metric("CLIP", "two-way", True, "clip", "pooled"),
    "effnet": Metric("EffNet-B", "distance", True, "effnet", "pooled"),
    "swav": Metric("SwAV", "distance", True, "swav", "pooled"),
}


class Scorer:
    """All eight scores of reconstructions.

    Parameters
    ----------
    extractors : dict of str to features.FeatureExtractor
        alexnet, inception, effnet, swav and clip.
    protocol : str
        A key of `protocols.PROTOCOLS`; ValueError for another.
    zoo : str
        The networks' zoo, stored with the scores.
    """

    def __init__(self, extractors, *, protocol="native", zoo=""):
        self.protocol, self.extractors = find_protocol(protocol), extractors
        self.settings = {"zoo": zoo, "protocol": protocol}
        self._truth, self._truth_features = None, None

    def score(self, truth, reconstruction):
        """Score reconstructions against the true images: an xarray.DataArray (metric, test_image), float64.

        Its attributes are `zoo` and `protocol`.

        Parameters
        ----------
        truth : (n_images, side, side, 3) uint8 array
            Its features are cached for the next call with the same truth.
        reconstruction : (n_images, any side, any side, 3) uint8 array

        Raises
        ------
        ValueError
            For arrays of another shape or type, fewer than two images, or non-finite features (the message names the images).
        """
        import xarray as xr

        for name, images in (("truth", truth), ("reconstruction", reconstruction)):
            check_images(images, name, square=True)
        if self.protocol.side is None:
            reconstruction = resize(reconstruction, truth.shape[1])
        preprocess = None if self.protocol.side is None else self.protocol.for_structure
        if self._truth is None or not np.array_equal(self._truth, truth):
            self._truth, self._truth_features = truth.copy(), self._features(truth, "truth")
        features = self._features(reconstruction, "reconstruction")
        rows = [
            ssim(truth, reconstruction, preprocess=preprocess, columns=self.protocol.column_ssim),
            pixcorr(truth, reconstruction, preprocess=preprocess),
        ]
        rows += [FORMULAS[METRICS[name].kind](self._truth_features[name], features[name]) for name in features]
        return xr.DataArray(np.stack(rows), dims=("metric", "test_image"), coords={"metric": list(METRICS)}, attrs=self.settings)

    def _features(self, images, name):
        """Return the features (n_images, n_features) float32 of each metric, in the order of the metrics."""
        compared = {key: metric for key, metric in METRICS.items() if metric.network}
        networks = sorted({metric.network for metric in compared.values()})
        outputs = {n: self.extractors[n](images, preprocess=self._preprocessing(n)) for n in networks}
        return {
            key: check_finite(f"{metric.network}'s {metric.feature} of the {name}", outputs[metric.network][metric.feature])
            for key, metric in compared.items()
        }

    def _preprocessing(self, network):
        """Return the protocol's function from images to a network's input, or None for the network's own preprocessing."""
        if self.protocol.network_resampling is None:
            return None
        extractor = self.extractors[network]
        return lambda batch: self.protocol.for_network(batch, network, extractor.side, extractor.device)
