"""Selection of the images to show: by rank of a score or by similarity to a pattern, never by hand."""

import numpy as np
from scipy.stats import rankdata

from nsdlib.core.scores.metrics import METRICS
from nsdlib.core.scores.similarity import standardised_rows

BATCH = 128  # training images converted to float64 at a time


def relative_rank(values, *, higher_is_better=True):
    """Compute the rank of each value, scaled to 0 for the worst and 1 for the best: (n_images,).

    Ties, values equal to twelve decimals, get their mean rank. Fewer than two values or more than one axis raises a ValueError.
    """
    values = _rounded(values)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"values must be (n_images,) with at least two of them, got shape {values.shape}.")
    return (rankdata(values if higher_is_better else -values) - 1) / (len(values) - 1)


def mean_rank(scores):
    """Compute each image's mean `relative_rank` over all scores (metric, test_image): (n_images,)."""
    ranks = [relative_rank(scores.sel(metric=m), higher_is_better=METRICS[m].higher_is_better) for m in scores.metric.values]
    return np.mean(ranks, axis=0)


def at_percentiles(values, n_chosen, *, higher_is_better=True):
    """Select images at evenly spaced percentiles of a score (n_images,), the best first and the worst last.

    Returns
    -------
    chosen : (n_chosen,) int
        Positions in `values`, at most n_images. Ties, values equal to twelve decimals, are ordered by position.
    percentiles : (n_chosen,) float64
        Percentage of the other images that score worse.
    """
    values = _rounded(values)
    order = np.argsort(-values if higher_is_better else values, kind="stable")
    ranks = evenly_spaced(len(values), n_chosen)
    return order[ranks], 100 * (1 - ranks / max(1, len(values) - 1))


def most_opposed(first, second, n_chosen):
    """Select the images whose first rank exceeds their second rank most: (n_chosen,) int, largest difference first."""
    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    return np.argsort(-_rounded(difference), kind="stable")[:n_chosen]


def evenly_spaced(n_images, n_chosen):
    """Select evenly spaced positions from the first to the last image: (n_chosen,) int, at most n_images."""
    return np.linspace(0, n_images - 1, min(n_chosen, n_images)).round().astype(int)


def _rounded(values):
    """Round values to twelve decimals in float64, so that values that differ only by rounding errors are ties."""
    return np.asarray(values, dtype=np.float64).round(12)


def resemblance(known, of_test):
    """Correlate (Pearson's r) all training rows with all test rows, after subtracting the mean of `known`: (n_train, n_test).

    `known` (n_train, n_features) holds features of training images, such as patterns, tokens or latents; `of_test` (n_test,
    n_features) holds the same features of test images, true or decoded.
    """
    mean = known.mean(axis=0, dtype=np.float64)
    rows = standardised_rows(of_test - mean).T
    batches = (known[start : start + BATCH] for start in range(0, len(known), BATCH))
    return np.concatenate([(standardised_rows(batch - mean) @ rows).numpy() for batch in batches])
