"""How alike two images, or two feature vectors, are: pure formulas, one value an image.

Nothing here depends on a library's defaults: resizing is bilinear and antialiased, SSIM two-dimensional with Gaussian
weights on grey images, correlations are summed in float64. `nsdlib.core.metrics` names the scores made of them.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nsdlib.core.images import check_images

GREY = (0.2125, 0.7154, 0.0721)  # ITU-R BT.709, as scikit-image's rgb2gray
SSIM_SIGMA, SSIM_RADIUS, SSIM_K1, SSIM_K2 = 1.5, 5, 0.01, 0.03  # Wang et al. 2004
SSIM_BLOCK = 32  # rows of means that one product gives
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


def ssim(truth, reconstruction, *, preprocess=None, columns=False):
    """Structural similarity of grey images, Gaussian weights (Wang et al. 2004; the paper's eq. 8).

    Parameters
    ----------
    truth : (n_images, rows, columns, 3) uint8
    reconstruction : the same shape, or square of another size: it is resized to a square truth.
    preprocess : callable, optional
        Turns a batch of either into what is compared, (n, 3, rows, columns) float in [0, 1], in place of that resizing.
    columns : bool
        Windows along each column of pixels alone, as scikit-image below 0.20 did with `multichannel=True` on grey images; the
        published Brain-Diffuser values are of this kind.

    Returns
    -------
    (n_images,) float64
        1 for equal images. Means over the pixels whose window lies inside the image; sigma 1.5 pixels, window 11.
    """
    return _each(lambda a, b: _ssim(_grey(a), _grey(b), columns), truth, reconstruction, preprocess)


def pixcorr(truth, reconstruction, *, preprocess=None):
    """Pearson correlation over all pixel values of an image and its reconstruction.

    Parameters and shapes as in `ssim`; a constant image correlates with nothing, 0.

    Returns
    -------
    (n_images,) float64
    """
    return _each(_pixcorr, truth, reconstruction, preprocess)


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


def _each(score, truth, reconstruction, preprocess):
    """A score of each pair, (n_images,) float64; images side by side on the CPU's cores, each on one."""
    check_images(truth, "truth")
    check_images(reconstruction, "reconstruction")
    if len(truth) != len(reconstruction):
        raise ValueError(
            f"truth and reconstruction must hold as many images, got {len(truth)} and {len(reconstruction)}."
        )
    if preprocess is None and reconstruction.shape != truth.shape:
        reconstruction = resize(reconstruction, truth.shape[1])
    truth, reconstruction = np.ascontiguousarray(truth), np.ascontiguousarray(reconstruction)
    preprocess = preprocess or torch.from_numpy

    def score_one(i):
        a, b = (preprocess(images[i : i + 1])[0] for images in (truth, reconstruction))
        _check_alike(a, b)
        return score(a, b)

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # one image is too small a piece of work to be shared
    try:
        with ThreadPoolExecutor(n_threads) as pool:
            return np.array(list(pool.map(score_one, range(len(truth)))), dtype=np.float64)
    finally:
        torch.set_num_threads(n_threads)


def _pixcorr(a, b):
    """Pearson's r over all values of two images, summed in float64; 0 where one is constant."""
    return row_correlation(a.reshape(1, -1), b.reshape(1, -1)).item()


def _grey(x):
    """Grey values from 0 to 1, (rows, columns), of (rows, columns, 3) uint8 or (3, rows, columns) float in [0, 1]."""
    whole = x.dtype == torch.uint8
    red, green, blue = x.unbind(-1 if whole else 0)
    weights = [weight / 255 if whole else weight for weight in GREY]
    return (red * weights[0]).add_(green, alpha=weights[1]).add_(blue, alpha=weights[2])


def _ssim(x, y, columns):
    """Mean SSIM over the pixels whose window lies inside, of two grey images (rows, columns).

    The sum s and the difference d take the place of x and y: four means are enough, as xx + yy = (ss + dd) / 2 and
    2 xy = (ss - dd) / 2. Everything is in units of twice the usual quantities, which cancel.
    """
    reach = 2 * SSIM_RADIUS
    n_rows, n_columns = x.shape[0] - reach, x.shape[1] - (0 if columns else reach)
    if min(n_rows, n_columns) < 1:
        raise ValueError(f"SSIM's window is {reach + 1} pixels wide; the images are {tuple(x.shape)}.")
    sides = (-(-(size - reach) // SSIM_BLOCK) * SSIM_BLOCK + reach for size in x.shape)  # whole blocks, zeros behind
    maps = x.new_zeros(4, *(max(side, size) for side, size in zip(sides, x.shape, strict=True)))
    s, d = maps[:2, : x.shape[0], : x.shape[1]]
    torch.add(x, y, out=s).sub_(1)  # about 0: smaller numbers, smaller rounding errors
    torch.sub(x, y, out=d)
    torch.mul(maps[:2], maps[:2], out=maps[2:])
    means = _blur(maps).transpose(1, 2)
    s, d, ss, dd = means if columns else _blur(means)  # columns first from here on
    ss.addcmul_(s, s, value=-1)
    dd.addcmul_(d, d, value=-1)
    s.add_(1).square_()
    d.square_()
    c1, c2 = 2 * SSIM_K1**2, 2 * SSIM_K2**2
    similarity = (s - d).add_(c1).mul_((ss - dd).add_(c2))
    similarity.div_(s.add_(d).add_(c1).mul_(ss.add_(dd).add_(c2)))
    return similarity[:n_columns, :n_rows].mean(dtype=torch.float64).item()


def _blur(maps):
    """Gaussian means along the rows of maps (n, n_blocks * block + reach, columns): (n, n_blocks * block, columns).

    A banded matrix gives a block of rows at a time: as products these are faster than a short convolution.
    """
    band, reach = _band().to(maps), 2 * SSIM_RADIUS
    n_blocks = (maps.shape[1] - reach) // SSIM_BLOCK
    found = maps.new_empty(len(maps), n_blocks * SSIM_BLOCK, maps.shape[2])
    for one, means in zip(maps, found, strict=True):
        down, right = one.stride()
        shape = (n_blocks, SSIM_BLOCK + reach, one.shape[1])
        overlapping = one.as_strided(shape, (SSIM_BLOCK * down, down, right), one.storage_offset())
        torch.bmm(band.expand(n_blocks, -1, -1), overlapping, out=means.view(n_blocks, SSIM_BLOCK, -1))
    return found


@cache
def _band():
    """Gaussian weights of each of a block's rows over the rows around it: (block, block + reach)."""
    at = torch.arange(-SSIM_RADIUS, SSIM_RADIUS + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (at / SSIM_SIGMA) ** 2)
    band = torch.zeros(SSIM_BLOCK, SSIM_BLOCK + 2 * SSIM_RADIUS, dtype=torch.float64)
    for row in range(SSIM_BLOCK):
        band[row, row : row + len(weights)] = weights / weights.sum()
    return band


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
