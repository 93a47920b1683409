"""From responses to BOLD: signal-to-noise ratio of voxels, noise of betas, and time series of a run in scanner units."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.linalg import toeplitz
from scipy.stats import norm, rankdata

from nsdlib.core.glm import hrf
from nsdlib.data.nsd import layout as nsd
from nsdlib.twin.anatomy import VOXEL_MM, Anatomy
from nsdlib.twin.brain import autocorrelate
from nsdlib.twin.levels import Levels

MIN_MEASUREMENT_NOISE = 0.3  # smallest fraction of a voxel's noise variance that is measurement noise
OUTLIER_FACTOR = 10.0  # factor on the noise sd of an outlier voxel
FWHM = 2.355 * VOXEL_MM  # of a Gaussian with an sd of one voxel, mm
LOCAL = 4.0  # width of the noise that neighbours share, FWHM in mm
# fraction of the thermal, local, broad and global noise variance that remains after denoising
DENOISED_FRACTION = np.array([1, 1, 0.5, 0.5])
MEAN_SIGNAL, MEAN_SPREAD = 1500.0, 0.15  # scanner units, sd of their log
DRIFT_ORDER = 3
MIDDLE_HRF = 10  # index of the middle HRF of the library
STEPS_PER_VOLUME = 40  # possible onsets per volume if onsets lie between volumes: 1/30 s apart
MAX_DELAY = 30  # largest delay of an onset after its volume, in these steps: 3-s trials that are 4 s apart do not overlap
START = 0.5  # time of the first volume in such runs, in volumes: fMRIPrep aligns slices to the middle of each volume

_hrf_library = cache(hrf.sampled_library)


@dataclass(frozen=True)
class Noise:
    """Measurement noise of each voxel of the brain."""

    beta_sd: np.ndarray  # (n_voxels,) sd of single-trial betas, percent signal change
    loadings: np.ndarray  # (n_factors, n_voxels) float32, weights of the broad noise, unit length over the factors
    beta_shares: np.ndarray  # (4,) shares of the four noise parts in the variance of betas; `levels.shares` is for time series
    head: Anatomy
    levels: Levels

    def draw(self, n_times, shares, autocorrelation, rng):
        """Simulate noise with sd 1 for each voxel: (n_times, n_voxels) float32.

        `shares` and `autocorrelation` have one value per part: thermal (independent over voxels), local, broad and global.
        """
        thermal_sd, local_sd, broad_sd, global_sd = np.sqrt(shares, dtype=np.float32)
        thermal_ar, local_ar, broad_ar, global_ar = autocorrelation
        size = (n_times, self.loadings.shape[1])
        noise = thermal_sd * autocorrelate(rng.standard_normal(size, dtype=np.float32), thermal_ar)
        if local_sd:
            noise += local_sd * autocorrelate(self.head.smooth_fields(n_times, LOCAL / FWHM, rng), local_ar)
        factors = autocorrelate(rng.standard_normal((n_times, len(self.loadings)), dtype=np.float32), broad_ar)
        noise += broad_sd * factors @ self.loadings
        noise += global_sd * autocorrelate(rng.standard_normal((n_times, 1), dtype=np.float32), global_ar)
        return noise


def draw_ncsnr(head, quality, levels, rng):
    """Simulate each voxel's ratio of signal sd to noise sd in single-trial betas: (n_general,) float64, smooth in space.

    Within a region, the ratios are squares of a normal variable, which fits NSD's quantiles best; dead voxels have 0.
    """
    _, region = head.areas()
    fields = [share**0.5 * head.smooth_fields(1, width, rng)[0, head.responds] for share, width in levels.smoothness]
    field, ratio = np.sum(fields, axis=0), np.empty(len(region))
    for name in np.unique(region):
        in_region, (mean, sd) = region == name, levels.ncsnr[name]
        mean_root = (mean**2 - sd**2 / 2) ** 0.25  # mean and variance of a square: m² + s², 4 m² s² + 2 s⁴
        quantile = (rankdata(field[in_region]) - 0.5) / in_region.sum()
        ratio[in_region] = (mean_root + np.sqrt(mean - mean_root**2) * norm.ppf(quantile)) ** 2
    dead_fraction = min(0.04, levels.dead / quality**3)  # more in subjects of low quality
    dead_field = head.smooth_fields(1, 1.0, rng)[0, head.responds]
    ratio[dead_field < np.quantile(dead_field, dead_fraction)] = 0
    return quality * ratio


def make_noise(total_sd, other_variance, *, head, levels, onsets, rng):
    """Make the measurement noise that adds to `other_variance` to give each voxel its total noise (Noise).

    `total_sd` and `other_variance` (n_general,) are for the voxels of nsdgeneral, in percent signal change (squared); the other
    voxels of the brain get the median noise. `onsets` are the volumes in which the trials of a typical run begin.
    """
    beta_sd = np.full(len(head.responds), np.median(total_sd))
    beta_sd[head.responds] = np.sqrt(np.maximum(total_sd**2 - other_variance, MIN_MEASUREMENT_NOISE * total_sd**2))
    beta_sd[rng.random(len(beta_sd)) < levels.outliers] *= OUTLIER_FACTOR
    loadings = np.concatenate([head.smooth_fields(1, width / FWHM, rng) for width in levels.broad])
    shares = DENOISED_FRACTION * levels.shares * _least_squares_variances(onsets, levels)
    return Noise(beta_sd, loadings / np.linalg.norm(loadings, axis=0), shares / shares.sum(), head, levels)


def draw_mean(head, rng):
    """Simulate the mean signal of each voxel, spatially smooth: (n_voxels,) float, scanner units."""
    return MEAN_SIGNAL * np.exp(MEAN_SPREAD * head.smooth_fields(1, 1.5, rng)[0])


def draw_hrfs(head, rng):
    """Simulate each voxel's index into the HRF library, spatially smooth: (n_voxels,) int64, all 20 equally frequent."""
    ranks = np.argsort(np.argsort(head.smooth_fields(1, 1.5, rng)[0] + 0.5 * rng.standard_normal(head.brain.sum())))
    return ranks * 20 // len(ranks)


def _convolved(onsets, index):
    """Convolve each trial's onset with an HRF of the library: (226, n_trials), cut at the end of the run.

    Onsets are in volumes: whole numbers, or multiples of 1 / STEPS_PER_VOLUME.
    """
    n_steps = 1 if (onsets == np.rint(onsets)).all() else STEPS_PER_VOLUME
    lag = np.rint(n_steps * (np.arange(nsd.N_VOLUMES)[:, None] - onsets)).astype(np.int64)
    library = _hrf_library(nsd.TR / n_steps, nsd.STIMULUS_SECONDS)  # of all 20 HRFs: (20, n_samples) float32
    response = np.concatenate([library[index], np.zeros(n_steps * nsd.N_VOLUMES)])
    return np.where(lag < 0, 0, response[np.maximum(lag, 0)])


def resampling(sampling):
    """Return the cubic-spline matrix that resamples volumes from every `sampling` seconds to every TR: (226, n)."""
    times = nsd.TR * np.arange(nsd.N_VOLUMES)
    sampled = sampling * np.arange(int(np.ceil(times[-1] / sampling - 1e-9)) + 1)
    return CubicSpline(sampled, np.eye(len(sampled)))(times)


def _least_squares_variances(onsets, levels):
    """Variance of a least-squares beta under each noise part of sd 1 in the series, median over a run's trials: (4,)."""
    design = np.concatenate([_convolved(onsets, MIDDLE_HRF), _polynomials()], axis=1)
    resample = resampling(levels.sampling)
    weights = np.linalg.pinv(design)[: len(onsets)] @ resample  # (n_trials, n)
    lags = np.arange(resample.shape[1])
    covariances = (toeplitz(float(ar) ** lags) for ar in levels.autocorrelation)  # 0.0 ** 0 is 1
    variances = [np.einsum("ti,ij,tj->t", weights, covariance, weights, optimize=True) for covariance in covariances]
    return np.array([np.median(variance) for variance in variances])


def draw_run(betas, onsets, hrf_index, *, noise, mean, rng, start=0):
    """Simulate the BOLD of one run: (226, n_voxels) int16, scanner units.

    Takes the true responses `betas` (n_trials, n_voxels) float32, percent signal change; the `onsets` (n_trials,) of the run's
    trials in volumes, multiples of 1 / STEPS_PER_VOLUME; each voxel's index into the HRF library, noise and `mean` signal
    (n_voxels,), scanner units; and `start`, the time of the first volume, in volumes. The noise uses onsets rounded down to
    volumes.
    """
    levels, resample = noise.levels, resampling(noise.levels.sampling).astype(np.float32)
    beta_variance = np.dot(levels.shares, _least_squares_variances(np.floor(onsets), levels))
    volume_sd = noise.beta_sd / levels.denoised / np.sqrt(beta_variance)
    unit_noise = noise.draw(resample.shape[1], levels.shares, levels.autocorrelation, rng)
    percent = resample @ unit_noise * volume_sd.astype(np.float32)
    scale = np.sqrt((2 * np.arange(1, DRIFT_ORDER + 1) + 1) / DRIFT_ORDER)  # each order has variance 1 / DRIFT_ORDER
    weights = rng.standard_normal((DRIFT_ORDER, len(mean))) * scale[:, None]
    percent += (levels.drift * (_polynomials()[:, 1:] @ weights)).astype(np.float32)
    for index in np.unique(hrf_index):
        voxels = hrf_index == index
        percent[:, voxels] += _convolved(onsets - start, index).astype(np.float32) @ betas[:, voxels]
    return np.clip(np.rint(mean * (1 + percent / 100)), 0, 32767).astype(np.int16)


def _polynomials():
    """Legendre polynomials of the drift: (226, DRIFT_ORDER + 1)."""
    return np.polynomial.legendre.legvander(np.linspace(-1, 1, nsd.N_VOLUMES), DRIFT_ORDER)
