"""Retrieval: whether a predicted embedding finds its image among all of a test set, and the image its prediction."""

import numpy as np
from scipy.stats import hypergeom

from nsdlib.core.device import check_finite
from nsdlib.core.scores.similarity import TIE


def retrieval(predicted, true, k=1, *, among=None):
    """Compute the shares of k best guesses that hold the right one, by cosine, (2, n_images) float64, in both directions.

    Row 0 asks which image a prediction means, row 1 which prediction an image belongs to; both have a chance of k / n_images, or
    k / among. A tie is a failure, and so is a vector of zeros.

    Parameters
    ----------
    predicted, true : (n_images, n_features) arrays
        Embeddings; tokens side by side.
    k : int
        Guesses that are allowed.
    among : int, optional
        Candidates, the right one included: the value is the expected share over all draws of so many test images, which MindEye
        estimates from 30 draws of 300. All test images when not given, and then values are 0 or 1.

    Raises
    ------
    ValueError
        For arrays of two shapes or not finite, or unless 1 <= k < candidates <= n_images.
    """
    predicted, true = (np.asarray(values) for values in (predicted, true))
    if predicted.ndim != 2 or predicted.shape != true.shape:
        raise ValueError(f"predicted and true must be (n_images, n_features) of one shape, got {predicted.shape}, {true.shape}")
    n_images, among = len(true), len(true) if among is None else among
    if not 1 <= k < among <= n_images:
        raise ValueError(f"retrieval wants 1 <= k < candidates <= {n_images} images, got k={k} and {among} candidates")
    rows = (check_finite(name, values).astype(np.float64) for name, values in (("predicted", predicted), ("true", true)))
    unit = [values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-300) for values in rows]
    cosine = unit[0] @ unit[1].T  # (n_predictions, n_images)
    least = cosine.diagonal() - TIE
    n_nearer = np.stack([(cosine >= least[:, None]).sum(1), (cosine >= least).sum(0)]) - 1  # without the right one
    return hypergeom.cdf(k - 1, n_images - 1, n_nearer, among - 1)
