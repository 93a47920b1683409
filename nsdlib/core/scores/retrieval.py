"""Retrieval: whether a predicted embedding identifies its image in a test set, and an image its prediction."""

import numpy as np
from scipy.stats import hypergeom

from nsdlib.core.device import check_finite
from nsdlib.core.scores.similarity import TIE


def retrieval(predicted, true, k=1, *, among=None):
    """Compute top-k retrieval by cosine similarity in both directions: (2, n_images) float64.

    Row 0 retrieves the image from the prediction, row 1 the prediction from the image. Chance is k / n_images, or k / among. Ties
    and vectors of zeros count as failures.

    Parameters
    ----------
    predicted, true : (n_images, n_features) arrays
        Embeddings, with tokens concatenated.
    k : int
        Number of guesses.
    among : int, optional
        Number of candidates, including the right one. Values are then expectations over all draws of this many test images, which
        MindEye estimates from 30 draws of 300. By default all test images are candidates, and values are 0 or 1.

    Raises
    ------
    ValueError
        For arrays that differ in shape or are not finite, or unless 1 <= k < candidates <= n_images.
    """
    predicted, true = (np.asarray(values) for values in (predicted, true))
    if predicted.ndim != 2 or predicted.shape != true.shape:
        raise ValueError(f"predicted and true must be (n_images, n_features) of one shape, got {predicted.shape}, {true.shape}")
    n_images, among = len(true), len(true) if among is None else among
    if not 1 <= k < among <= n_images:
        raise ValueError(f"retrieval needs 1 <= k < candidates <= {n_images} images, got k={k} and {among} candidates")
    checked = (check_finite(name, values).astype(np.float64) for name, values in (("predicted", predicted), ("true", true)))
    unit = [values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-300) for values in checked]
    cosine = unit[0] @ unit[1].T  # (n_predictions, n_images)
    threshold = cosine.diagonal() - TIE
    n_nearer = np.stack([(cosine >= threshold[:, None]).sum(1), (cosine >= threshold).sum(0)]) - 1  # without the right one
    return hypergeom.cdf(k - 1, n_images - 1, n_nearer, among - 1)
