"""Similarity formulas for two images or two feature vectors: one value per image, computed in float64.

None depends on a library's defaults; `nsdlib.core.scores.metrics` builds the scores from them.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from nsdlib.core.device import check_finite, to_tensor
from nsdlib.core.images import check_images, resize

GREY = (0.2125, 0.7154, 0.0721)  # ITU-R BT.709, as scikit-image's rgb2gray
SSIM_SIGMA, SSIM_RADIUS, SSIM_K1, SSIM_K2 = 1.5, 5, 0.01, 0.03  # Wang et al. 2004
CHUNK = 1 << 14  # features correlated at once
STRIP, PIECE = 32, 1 << 15  # rows, and values, of an image processed at once, to fit a core's cache
TIE = 1e-12  # correlations that differ by less are equal: they differ only by rounding


def ssim(truth, reconstruction, *, preprocess=None, columns=False):
    """Compute the structural similarity of grey images, with Gaussian weights (Wang et al. 2004; the paper's eq. 8).

    Parameters
    ----------
    truth, reconstruction : (n_images, rows, columns, 3) uint8 arrays
        A reconstruction of another size is resized to a square truth.
    preprocess : callable, optional
        Converts a batch of either array to the (n, 3, rows, columns) float tensor in [0, 1] to compare; replaces the resizing.
    columns : bool
        Use one-dimensional windows along pixel columns, as scikit-image below 0.20 does with `multichannel=True` on grey images.
        The published Brain-Diffuser values are of this kind.

    Returns
    -------
    (n_images,) float64 array
        1 for equal images. Mean over pixels whose window is inside the image; sigma 1.5 pixels, window 11.

    Raises
    ------
    ValueError
        When the number of images or shapes differ, or images are smaller than the window.
    """
    return _score_pairs(lambda a, b: _ssim(a, b, columns), truth, reconstruction, preprocess)


def pixcorr(truth, reconstruction, *, preprocess=None):
    """Compute Pearson's r over all pixel values of each image and its reconstruction: (n_images,), 0 if one is constant.

    Arguments are those of `ssim`.
    """
    return _score_pairs(_pixcorr, truth, reconstruction, preprocess)


def two_way(truth_features, features):
    """Compute two-way identification: the fraction of other images that a reconstruction resembles less than its own image.

    From two (n_images, n_features) arrays, returns (n_images,) float64 with chance 0.5. Similarity is Pearson's r over features.
    Ties and constant reconstructions count as failures. Raises ValueError for fewer than two images, different shapes, or
    non-finite features.
    """
    r = correlation_matrix(truth_features, features)  # (n_truths, n_reconstructions)
    if len(r) < 2:
        raise ValueError(f"two-way identification compares an image with others: wanted at least 2 images, got {len(r)}.")
    return (r < r.diagonal() - TIE).sum(axis=0) / (len(r) - 1)


def correlation_distance(truth_features, features):
    """Return 1 - Pearson's r over features (eq. 9 of the paper) of two (n_images, n_features) arrays: (n_images,)."""
    return 1 - row_correlation(truth_features, features)


def row_correlation(a, b):
    """Return Pearson's r of each row of a with the same row of b: (n_rows,) float64, 0 where one is constant."""
    a, b = standardised_rows(a, "truth"), standardised_rows(b, "reconstruction")
    _check_shapes(a, b)
    return (a * b).sum(1).numpy()


def correlation_matrix(a, b):
    """Return Pearson's r of every row of a with every row of b, (n, n) float64, of two (n, n_features) arrays."""
    a, b = _check_rows(a, "truth"), _check_rows(b, "reconstruction")
    _check_shapes(a, b)
    statistics = [(x.mean(1, keepdim=True, dtype=torch.float64), _norms(x)) for x in (a, b)]
    r = torch.zeros(len(a), len(b), dtype=torch.float64)
    for start in range(0, a.shape[1], CHUNK):
        left, right = (
            (x[:, start : start + CHUNK].double() - mean) / norm for x, (mean, norm) in zip((a, b), statistics, strict=True)
        )
        r += left @ right.T
    return r.numpy()


def _score_pairs(score, truth, reconstruction, preprocess):
    """Score each pair of images, one per thread: (n_images,) float64."""
    check_images(truth, "truth")
    check_images(reconstruction, "reconstruction")
    if len(truth) != len(reconstruction):
        raise ValueError(
            f"truth and reconstruction must have equal numbers of images, got {len(truth)} and {len(reconstruction)}."
        )
    if preprocess is None and reconstruction.shape != truth.shape:
        check_images(truth, "truth of another size than its reconstruction", square=True)
        check_images(reconstruction, "reconstruction of another size than its truth", square=True)
        reconstruction = resize(reconstruction, truth.shape[1])
    truth, reconstruction = np.ascontiguousarray(truth), np.ascontiguousarray(reconstruction)
    preprocess = preprocess or torch.from_numpy

    def score_one(i):
        a, b = (preprocess(images[i : i + 1])[0] for images in (truth, reconstruction))
        _check_shapes(a, b)
        return score(a, b)

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # one image is too small for several threads
    try:
        with ThreadPoolExecutor(n_threads) as pool:
            return np.array(list(pool.map(score_one, range(len(truth)))), dtype=np.float64)
    finally:
        torch.set_num_threads(n_threads)


def _pixcorr(a, b):
    """Return Pearson's r over all values of two images, 0 if one is constant; the sums are exact for 8-bit values."""
    a, b = a.reshape(-1), b.reshape(-1)
    first, n = torch.stack([a[0], b[0]]).double()[:, None], len(a)
    sums, products = torch.zeros(2, dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64)
    buffer = torch.empty(2, min(n, PIECE), dtype=torch.float64)
    for start in range(0, n, PIECE):
        values = buffer[:, : min(PIECE, n - start)]
        for row, image in zip(values, (a, b), strict=True):
            row.copy_(image[start : start + PIECE])
        values.sub_(first)  # exactly 0 for a constant image
        sums += values.sum(1)
        products += values @ values.T
    (variance_a, covariance), (_, variance_b) = (products - sums.outer(sums) / n).tolist()
    return covariance / (variance_a * variance_b) ** 0.5 if min(variance_a, variance_b) > 0 else 0.0


def _grey(x):
    """Convert (rows, columns, 3) uint8 or (3, rows, columns) float in [0, 1] to grey, (rows, columns) float64 in [0, 1]."""
    axis, white = (-1, 255) if x.dtype == torch.uint8 else (0, 1)
    red, green, blue = x.unbind(axis)
    weights = [weight / white for weight in GREY]
    return (red.double() * weights[0]).add_(green, alpha=weights[1]).add_(blue, alpha=weights[2])


def _ssim(a, b, columns):
    """Return the mean SSIM of two images (input of `_grey`) over pixels whose window is inside the image."""
    axis, border, total, n = (0 if a.dtype == torch.uint8 else 1), 2 * SSIM_RADIUS, 0.0, 0
    shape = (a.shape[axis], a.shape[axis + 1])
    if min(shape[:1] if columns else shape) <= border:
        raise ValueError(f"SSIM's window is {border + 1} pixels wide; the images are {shape}.")
    c1, c2 = SSIM_K1**2, SSIM_K2**2
    for start in range(0, shape[0] - border, STRIP):
        n_rows = min(STRIP + border, shape[0] - start)
        x, y = (_grey(image.narrow(axis, start, n_rows)) for image in (a, b))
        x, y, squares, product = _blur(torch.stack([x, y, (x * x).addcmul_(y, y), x * y]), columns)
        squared_means, product_of_means = (x * x).addcmul_(y, y), x * y
        ratio = product.sub_(product_of_means).mul_(2).add_(c2).mul_(product_of_means.mul_(2).add_(c1))
        ratio.div_(squares.sub_(squared_means).add_(c2)).div_(squared_means.add_(c1))
        total, n = total + ratio.sum().item(), n + ratio.numel()
    return total / n


def _blur(values, columns):
    """Compute Gaussian means of (n, rows, columns) along columns and, unless `columns`, along rows, for full windows only.

    Computes a weighted sum of shifted copies. A product with a banded matrix is as fast in the same precision. float32 would
    halve the time, but float64 agrees with scikit-image to 1e-15.
    """
    distance = torch.arange(-SSIM_RADIUS, SSIM_RADIUS + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (distance / SSIM_SIGMA) ** 2)
    weights = (weights / weights.sum()).tolist()
    for axis in (1,) if columns else (1, 2):
        size = values.shape[axis] - 2 * SSIM_RADIUS
        means = values.narrow(axis, 0, size) * weights[0]
        for offset, weight in enumerate(weights[1:], start=1):
            means.add_(values.narrow(axis, offset, size), alpha=weight)
        values = means
    return values


def standardised_rows(x, name="values"):
    """Return rows minus their mean, divided by their norm, in float64; constant rows become 0. `name` is for messages."""
    x = _check_rows(x, name).double()
    return (x - x.mean(1, keepdim=True)) / _norms(x)


def _norms(x) -> Tensor:
    """Return the norm of each centred row: (n_rows, 1) float64, infinite for constant rows, so that these become 0."""
    norms = []
    for rows in x.split(64):
        rows = rows.double()
        deviation = rows.std(1, keepdim=True, correction=0)
        constant = deviation <= 1e-12 * rows.abs().amax(1, keepdim=True)
        norms.append(torch.where(constant, torch.inf, deviation * x.shape[1] ** 0.5))
    return torch.cat(norms)


def _check_rows(x, name):
    """Return a tensor (n_rows, n_features); ValueError for another shape or non-finite values."""
    x = to_tensor(x)
    if x.ndim != 2:
        raise ValueError(f"{name} must be (n_images, n_features), got shape {tuple(x.shape)}.")
    check_finite(name, x.numpy())
    return x


def _check_shapes(a, b):
    """Raise ValueError for arrays of different shapes."""
    if a.shape != b.shape:
        raise ValueError(f"truth and reconstruction must have the same shape, got {tuple(a.shape)} and {tuple(b.shape)}.")
