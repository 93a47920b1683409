"""Which images to show: by rank of a score or of likeness to a pattern, never by hand."""

import numpy as np

from nsdlib.core.scores.similarity import standardised_rows


def rank_share(values, *, higher_is_better=True):
    """Rank of each value as a share: 0 the worst, 1 the best, ties share their mean rank.

    Parameters
    ----------
    values : (n_images,) array

    Returns
    -------
    (n_images,) float64

    Raises
    ------
    ValueError
        When there are fewer than two values, or more than one axis.
    """
    from scipy.stats import rankdata

    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"values must be (n_images,) with at least two of them, got shape {values.shape}.")
    return (rankdata(values if higher_is_better else -values) - 1) / (len(values) - 1)


def at_percentiles(values, n_chosen, *, higher_is_better=True):
    """Images at evenly spaced percentiles of a score, the best first.

    Parameters
    ----------
    values : (n_images,) array
    n_chosen : int
        Capped at the number of images. The first is the best image, the last the worst.

    Returns
    -------
    chosen : (n_chosen,) int
        Positions in `values`. Ties go in the order of position.
    percentiles : (n_chosen,) float64
        Share of the other images that score worse, times 100.
    """
    values = np.asarray(values, dtype=np.float64)
    order = np.argsort(-values if higher_is_better else values, kind="stable")
    places = np.unique(np.linspace(0, len(values) - 1, min(n_chosen, len(values))).round().astype(int))
    return order[places], 100 * (1 - places / max(1, len(values) - 1))


def most_opposed(first, second, n_chosen):
    """Images that one rank praises and the other blames most: (n_chosen,) int, `first` high and `second` low first."""
    gap = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    return np.argsort(-gap, kind="stable")[:n_chosen]


def nearest_patterns(X_train, X_test):
    """For each test pattern, the training pattern that correlates best with it.

    Parameters
    ----------
    X_train, X_test : (n_images, n_voxels) arrays

    Returns
    -------
    nearest : (n_test,) int
        Rows of X_train.
    correlation : (n_test,) float64
    """
    r = (standardised_rows(X_test) @ standardised_rows(X_train).T).numpy()  # (n_test, n_train)
    return r.argmax(axis=1), r.max(axis=1)
