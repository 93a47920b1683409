"""From responses to BOLD: noise of betas and time series of a run, in scanner units."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import toeplitz

from nsdlib.data import nsd_layout as nsd

N_FACTORS = 6  # time courses of the noise that voxels share
DENOISED = 0.8  # sd of the noise of NSD's denoised betas, relative to least squares on the same series
LEAST_NOISE = 0.3  # smallest fraction of a voxel's noise variance that is measurement noise, whatever the gain adds
MEAN_SIGNAL, MEAN_SPREAD = 1500.0, 0.15  # scanner units, sd of their log
DRIFT_ORDER = 3


@dataclass(frozen=True)
class Noise:
    """Noise of each voxel of the brain."""

    beta_sd: np.ndarray  # (n_voxels,) measurement noise of single-trial betas, percent signal change
    loadings: np.ndarray  # (6, n_voxels) float32, weights of the shared noise, unit length over the factors
    shared: float  # fraction of the variance that voxels share

    def draw(self, n_times, rng):
        """Simulate noise with sd 1 for each voxel: (n_times, n_voxels) float32."""
        common = rng.standard_normal((n_times, N_FACTORS), dtype=np.float32) @ self.loadings
        own = rng.standard_normal((n_times, self.loadings.shape[1]), dtype=np.float32)
        return np.float32(np.sqrt(self.shared)) * common + np.float32(np.sqrt(1 - self.shared)) * own


def make_noise(response, snr, *, general, gain_sd, shared, rng):
    """Return the noise that, added to the variance of the gain, gives each voxel its signal-to-noise ratio (Noise).

    Parameters
    ----------
    response : (n_images, n_general) float32
        Noiseless responses of the voxels of nsdgeneral.
    snr : (n_general,) float
        Ratio of sd of signal to sd of all noise in single-trial betas.
    general : (n_voxels,) bool
        Which voxels of the brain are nsdgeneral; the others get the median noise.
    gain_sd, shared : float
        See `params.Simulation`.
    """
    total = response.var(axis=0, dtype=np.float64) / snr**2
    measurement_sd = np.sqrt(np.maximum(total - _gain_variance(response, gain_sd), LEAST_NOISE * total))
    beta_sd = np.full(len(general), np.median(measurement_sd))
    beta_sd[general] = measurement_sd
    loadings = rng.standard_normal((N_FACTORS, len(general))).astype(np.float32)
    return Noise(beta_sd, loadings / np.linalg.norm(loadings, axis=0), shared)


def signal_to_noise(response, beta_sd, gain_sd):
    """Compute the planted ratio of the sd of the signal to the sd of all noise of single-trial betas: (n_voxels,) float64."""
    return response.std(axis=0, dtype=np.float64) / np.sqrt(beta_sd**2 + _gain_variance(response, gain_sd))


def _gain_variance(response, gain_sd):
    """Variance of single-trial betas that comes from the log-normal gain: (n_voxels,) float64."""
    return np.square(response, dtype=np.float64).mean(axis=0) * np.expm1(gain_sd**2)


def draw_mean(brain, rng):
    """Simulate the mean signal of each voxel, spatially smooth: (n_voxels,) float, scanner units."""
    return MEAN_SIGNAL * np.exp(MEAN_SPREAD * _smooth_field(brain, rng))


def draw_hrfs(brain, rng):
    """Simulate each voxel's index into the HRF library, spatially smooth: (n_voxels,) int64, all 20 equally frequent."""
    ranks = np.argsort(np.argsort(_smooth_field(brain, rng) + 0.5 * rng.standard_normal(brain.sum())))
    return ranks * 20 // len(ranks)


def _smooth_field(brain, rng):
    """Spatially smooth random values of the voxels of a brain, mean 0 and sd 1: (n_voxels,) float64."""
    from scipy.ndimage import gaussian_filter

    values = gaussian_filter(rng.standard_normal(brain.shape), 1.5)[brain]
    return (values - values.mean()) / values.std()


def convolved(onsets, hrf):
    """Convolve each trial's onset with an HRF: (226, n_trials), cut at the end of the run."""
    response = np.concatenate([hrf, np.zeros(nsd.N_VOLUMES)])[: nsd.N_VOLUMES]
    return toeplitz(response, np.zeros(nsd.N_VOLUMES))[:, onsets]


def noise_of_least_squares(onsets, hrf):
    """Compute the sd of a least-squares beta for white noise of sd 1 in the series, median over the trials of a run."""
    design = np.concatenate([convolved(onsets, hrf), _polynomials()], axis=1)
    return np.sqrt(np.median(np.diag(np.linalg.inv(design.T @ design))[: len(onsets)]))


def draw_run(betas, onsets, hrfs, hrf_index, *, noise, mean, drift, rng):
    """Simulate the BOLD of one run: (226, n_voxels) int16, scanner units.

    Parameters
    ----------
    betas : (n_trials, n_voxels) float32
        True responses of the run's trials, percent signal change.
    onsets : (n_trials,) int
        Volumes in which the trials begin.
    hrfs, hrf_index : (20, n_samples) float, (n_voxels,) int
        HRF library at the sampling of the volumes, and the HRF of each voxel.
    noise : Noise
    mean : (n_voxels,) float
        Mean signal, scanner units.
    drift : float
        Sd of the drift, percent of the mean signal.
    """
    volume_sd = noise.beta_sd / DENOISED / noise_of_least_squares(onsets, hrfs[len(hrfs) // 2])
    percent = noise.draw(nsd.N_VOLUMES, rng) * volume_sd.astype(np.float32)
    scale = np.sqrt((2 * np.arange(1, DRIFT_ORDER + 1) + 1) / DRIFT_ORDER)  # each order has variance 1 / DRIFT_ORDER
    weights = rng.standard_normal((DRIFT_ORDER, len(mean))) * scale[:, None]
    percent += (drift * (_polynomials()[:, 1:] @ weights)).astype(np.float32)
    for index in np.unique(hrf_index):
        voxels = hrf_index == index
        percent[:, voxels] += convolved(onsets, hrfs[index]).astype(np.float32) @ betas[:, voxels]
    return np.clip(np.rint(mean * (1 + percent / 100)), 0, 32767).astype(np.int16)


def _polynomials():
    """Legendre polynomials of the drift: (226, DRIFT_ORDER + 1)."""
    return np.polynomial.legendre.legvander(np.linspace(-1, 1, nsd.N_VOLUMES), DRIFT_ORDER)
