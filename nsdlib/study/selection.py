"""Which images to show: selection by rank of a score or by similarity to a pattern, never by hand."""

import numpy as np

from nsdlib.core.scores.similarity import standardised_rows


def relative_rank(values, *, higher_is_better=True):
    """Compute the rank of each value, scaled to 0 for the worst and 1 for the best; ties get their mean rank: (n_images,).

    Parameters
    ----------
    values : (n_images,) array
        Fewer than two values, or more than one axis, are a ValueError.
    """
    from scipy.stats import rankdata

    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"values must be (n_images,) with at least two of them, got shape {values.shape}.")
    return (rankdata(values if higher_is_better else -values) - 1) / (len(values) - 1)


def at_percentiles(values, n_chosen, *, higher_is_better=True):
    """Select images at evenly spaced percentiles of a score (n_images,), the best first and the worst last.

    Returns
    -------
    chosen : (n_chosen,) int
        Positions in `values`, no more than there are. Ties are ordered by position.
    percentiles : (n_chosen,) float64
        Percentage of the other images that score worse.
    """
    values = np.asarray(values, dtype=np.float64)
    order = np.argsort(-values if higher_is_better else values, kind="stable")
    ranks = np.unique(np.linspace(0, len(values) - 1, min(n_chosen, len(values))).round().astype(int))
    return order[ranks], 100 * (1 - ranks / max(1, len(values) - 1))


def most_opposed(first, second, n_chosen):
    """Select the images whose first rank exceeds their second one most: (n_chosen,) int, largest difference first."""
    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    return np.argsort(-difference, kind="stable")[:n_chosen]


def nearest_patterns(X_train, X_test):
    """Find, for each test pattern, the training pattern that correlates best with it.

    Parameters
    ----------
    X_train, X_test : (n_images, n_voxels) arrays

    Returns
    -------
    nearest, correlation : (n_test,) int, float64
        Rows of X_train.
    """
    r = (standardised_rows(X_test) @ standardised_rows(X_train).T).numpy()  # (n_test, n_train)
    return r.argmax(axis=1), r.max(axis=1)
