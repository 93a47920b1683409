"""How alike two images, or two feature vectors, are: pure formulas, one value an image.

Nothing here depends on a library's defaults: resizing is bilinear and antialiased, SSIM two-dimensional with Gaussian
weights on grey images, correlations are summed in float64. `nsdlib.metrics` names the scores made of them.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nsdlib.images import check_images

GREY = (0.2125, 0.7154, 0.0721)  # ITU-R BT.709, as scikit-image's rgb2gray
SSIM_SIGMA, SSIM_RADIUS, SSIM_K1, SSIM_K2 = 1.5, 5, 0.01, 0.03  # Wang et al. 2004
CHUNK = 1 << 14  # features correlated at once


def to_unit(images, size=None):
    """(n_images, rows, columns, 3) uint8 -> (n_images, 3, rows, columns) float32 in [0, 1], resized to a square on request."""
    check_images(images, "images")
    x = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
    if size is None or tuple(x.shape[-2:]) == (size, size):
        return x
    return F.interpolate(x, (size, size), mode="bilinear", antialias=True, align_corners=False)


def resize(images, size):
    """Resize to a square, bilinear and antialiased.

    Parameters
    ----------
    images : (n_images, rows, columns, 3) uint8
    size : int
        Pixels a side.

    Returns
    -------
    (n_images, size, size, 3) uint8
        The same array when it already has that size.
    """
    check_images(images, "images")
    if images.shape[1:3] == (size, size):
        return images
    parts = [to_unit(images[i : i + 32], size) for i in range(0, len(images), 32)]
    return torch.cat([(part * 255).round().to(torch.uint8) for part in parts]).permute(0, 2, 3, 1).numpy()


def ssim(truth, reconstruction):
    """Structural similarity of grey images, two-dimensional, Gaussian weights (Wang et al. 2004; the paper's eq. 8).

    Parameters
    ----------
    truth : (n_images, rows, columns, 3) uint8
    reconstruction : the same shape, or square of another size: it is resized to a square truth.

    Returns
    -------
    (n_images,) float64
        1 for equal images. Means over the pixels whose window lies inside the image; sigma 1.5 pixels, window 11.
    """
    values = []
    for a, b in _pairs(truth, reconstruction):
        values.append(_ssim_maps(_grey(a), _grey(b)).mean((1, 2), dtype=torch.float64))
    return torch.cat(values).numpy()


def pixcorr(truth, reconstruction):
    """Pearson correlation over all pixel values of an image and its reconstruction.

    Parameters and shapes as in `ssim`; a constant image correlates with nothing, 0.

    Returns
    -------
    (n_images,) float64
    """
    return np.concatenate([row_correlation(a.flatten(1), b.flatten(1)) for a, b in _pairs(truth, reconstruction)])


def two_way(truth_features, features):
    """Two-way identification: the share of other images that a reconstruction resembles less than its own.

    Parameters
    ----------
    truth_features, features : (n_images, n_features) arrays

    Returns
    -------
    (n_images,) float64
        Chance is 0.5. Resemblance is Pearson's r over features; a tie is a failure, and so is a constant reconstruction.

    Raises
    ------
    ValueError
        When there are fewer than two images, or the shapes differ.
    """
    r = correlation_matrix(truth_features, features)  # (n_truths, n_reconstructions)
    if len(r) < 2:
        raise ValueError("two-way identification compares an image with others: wanted at least 2 images, got 1.")
    return (r < r.diagonal()).sum(axis=0) / (len(r) - 1)


def correlation_distance(truth_features, features):
    """1 - Pearson's r over features (the paper's eq. 9): two (n_images, n_features) arrays -> (n_images,) float64."""
    return 1 - row_correlation(truth_features, features)


def row_correlation(a, b):
    """Pearson's r of each row of a with the same row of b, summed in float64; 0 where one is constant: (n_rows,)."""
    a, b = standardised_rows(a), standardised_rows(b)
    _check_alike(a, b)
    return (a * b).sum(1).numpy()


def correlation_matrix(a, b):
    """Pearson's r of every row of a with every row of b: two (n, n_features) arrays -> (n, n) float64."""
    a, b = torch.as_tensor(a), torch.as_tensor(b)
    _check_alike(a, b)
    statistics = [(x.mean(1, keepdim=True, dtype=torch.float64), _norms(x)) for x in (a, b)]
    r = torch.zeros(len(a), len(b), dtype=torch.float64)
    for start in range(0, a.shape[1], CHUNK):
        left, right = (
            (x[:, start : start + CHUNK].double() - mean) / norm
            for x, (mean, norm) in zip((a, b), statistics, strict=True)
        )
        r += left @ right.T
    return r.numpy()


def _pairs(truth, reconstruction, batch_size=16):
    """Batches of (truth, reconstruction) as float tensors in [0, 1], (n, 3, rows, columns), both of the truth's size."""
    check_images(truth, "truth")
    check_images(reconstruction, "reconstruction")
    if len(truth) != len(reconstruction):
        raise ValueError(
            f"truth and reconstruction must hold as many images, got {len(truth)} and {len(reconstruction)}."
        )
    if reconstruction.shape != truth.shape:
        reconstruction = resize(reconstruction, truth.shape[1])
    _check_alike(truth, reconstruction)
    for start in range(0, len(truth), batch_size):
        yield tuple(to_unit(images[start : start + batch_size]) for images in (truth, reconstruction))


def _grey(x):
    """(n, 3, rows, columns) in [0, 1] -> (n, rows, columns)."""
    return torch.einsum("nchw,c->nhw", x, x.new_tensor(GREY))


def _ssim_maps(x, y):
    """SSIM at each pixel whose window lies inside: two (n, rows, columns) -> (n, rows - 10, columns - 10)."""
    x, y = x - 0.5, y - 0.5  # smaller numbers, smaller rounding errors; added again to the means below
    mean_x, mean_y, xx, yy, xy = _blur(torch.stack([x, y, x * x, y * y, x * y]))
    covariance = xy - mean_x * mean_y
    variances = xx - mean_x**2 + yy - mean_y**2
    mean_x, mean_y = mean_x + 0.5, mean_y + 0.5
    c1, c2 = SSIM_K1**2, SSIM_K2**2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return similarity / ((mean_x**2 + mean_y**2 + c1) * (variances + c2))


def _blur(x):
    """Gaussian means along the last two axes, where the window fits."""
    if min(x.shape[-2:]) <= 2 * SSIM_RADIUS:
        raise ValueError(f"SSIM's window is {2 * SSIM_RADIUS + 1} pixels wide; the images are {tuple(x.shape[-2:])}.")
    at = torch.arange(-SSIM_RADIUS, SSIM_RADIUS + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (at / SSIM_SIGMA) ** 2)
    kernel = (weights / weights.sum()).to(x)
    flat = F.conv2d(x.reshape(-1, 1, *x.shape[-2:]), kernel.view(1, 1, -1, 1))
    flat = F.conv2d(flat, kernel.view(1, 1, 1, -1))
    return flat.view(*x.shape[:-2], *flat.shape[-2:])


def standardised_rows(x):
    """Rows minus their mean, over their norm, float64; 0 for a constant row."""
    x = torch.as_tensor(x).double()
    return (x - x.mean(1, keepdim=True)) / _norms(x)


def _norms(x) -> Tensor:
    """Norm of each row about its mean, float64; infinite for a constant row, which so becomes 0: (n_rows, 1)."""
    norms = []
    for rows in x.split(64):
        rows = rows.double()
        deviation = rows.std(1, keepdim=True, correction=0)
        constant = deviation <= 1e-12 * rows.abs().amax(1, keepdim=True)
        norms.append(torch.where(constant, torch.inf, deviation * x.shape[1] ** 0.5))
    return torch.cat(norms)


def _check_alike(a, b):
    if a.shape != b.shape:
        raise ValueError(f"truth and reconstruction must have one shape, got {tuple(a.shape)} and {tuple(b.shape)}.")
