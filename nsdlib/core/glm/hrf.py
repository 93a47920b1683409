"""Haemodynamic response functions (HRFs): a library of twenty, one of which the GLM selects for each voxel, and a canonical one.

`hrf_library.csv` holds the twenty, early to late, and then the canonical HRF, each as a difference of two gamma densities.
They are least-squares fits to the tables of GLMsingle 1.2 (commit 1ab54a6), which have five significant digits, three for the
canonical HRF. After rounding to as many digits, the curves differ from the tables at most in the last digit: by up to 6e-5 of
the peak, the canonical one by up to 6e-3.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

STEP = 0.1  # seconds between samples of the tables
LIBRARY_SECONDS, CANONICAL_SECONDS = 50.0, 48.9  # duration of the tables, before convolution with a stimulus
LIBRARY_DIGITS, CANONICAL_DIGITS = 5, 3  # significant digits of the tables
STIMULUS_SECONDS = 3.0  # stimulus duration in NSD


@dataclass(frozen=True)
class Shape:
    """The response to an impulse: the difference of two gamma densities."""

    rise_shape: float
    rise_scale: float  # seconds
    fall_shape: float
    fall_scale: float
    ratio: float  # area of the fall relative to the rise
    onset: float  # seconds from the event to the start of the response
    height: float  # factor of the difference

    def curve(self, seconds):
        """Return the response at `seconds` (n_samples,) after the event."""
        since = np.maximum(np.asarray(seconds, dtype=np.float64) - self.onset, 0)
        rise, fall = _gamma(since, self.rise_shape, self.rise_scale), _gamma(since, self.fall_shape, self.fall_scale)
        return self.height * (rise - self.ratio * fall)

    def table(self, seconds, digits):
        """Sample the response every `STEP` up to `seconds`, rounded to `digits` significant digits."""
        curve = self.curve(np.arange(round(seconds / STEP) + 1) * STEP)
        return np.array([float(f"{sample:.{digits - 1}e}") for sample in curve])


@cache
def shapes():
    """Return a tuple of `Shape`: the twenty of the library, early to late, and the canonical one."""
    table = np.loadtxt(Path(__file__).with_name("hrf_library.csv"), delimiter=",", skiprows=1)
    return tuple(Shape(*row) for row in table)


def sampled_library(tr, duration=STIMULUS_SECONDS):
    """Return the responses of the twenty HRFs to a stimulus, sampled at the volumes: (20, n_samples) float32.

    As in GLMsingle, the HRFs are convolved with a boxcar at 0.1 s and sampled by monotone cubic interpolation. Sample i is i * tr
    seconds after the onset, and the largest sample of each response is 1. `tr` is the time between volumes and `duration` that of
    the stimulus, in seconds; a duration of 0 means a tenth of a second. Raises ValueError for a negative duration, and unless
    `tr` is above 0 and below 50.
    """
    *library, _ = shapes()
    responses = [_respond(shape.table(LIBRARY_SECONDS, LIBRARY_DIGITS), tr, duration) for shape in library]
    end = int(np.ceil(len(responses[0]) * STEP))
    return np.stack([_sample(response, np.arange(0, end, tr)) for response in responses])


def canonical(tr, duration=STIMULUS_SECONDS):
    """Return the response of the canonical HRF to a stimulus: (n_samples,) float32, slightly shorter than those of the library.

    Parameters, errors and scaling are those of `sampled_library`.
    """
    response = _respond(shapes()[-1].table(CANONICAL_SECONDS, CANONICAL_DIGITS), tr, duration)
    return _sample(response, np.arange(0, (len(response) - 1) * STEP, tr))


def peak_seconds(duration=STIMULUS_SECONDS):
    """Return the time to peak of each of the twenty responses, in seconds from stimulus onset: (20,) float."""
    return sampled_library(STEP, duration).argmax(axis=1) * STEP


def check_tr(tr):
    """Raise ValueError unless `tr`, the seconds between volumes, is above 0 and shorter than a response."""
    is_number = np.ndim(tr) == 0 and np.asarray(tr).dtype.kind in "iuf"
    if not is_number or not 0 < tr < LIBRARY_SECONDS:
        milliseconds = f" In milliseconds? Give {tr / 1000:g}." if is_number and tr > 0 else ""
        raise ValueError(
            f"tr={tr!r}: wanted the seconds between two volumes, above 0 and below the {LIBRARY_SECONDS:g} of a response "
            f"(NSD: 4/3).{milliseconds}"
        )


def _gamma(seconds, shape, scale):
    """Return the gamma density."""
    from scipy.special import gammaln, xlogy

    return np.exp(xlogy(shape - 1, seconds / scale) - seconds / scale - gammaln(shape)) / scale


def _respond(curve, tr, duration):
    """Scale a curve sampled at `STEP` to a peak of 1, and convolve it with a stimulus of `duration` seconds."""
    check_tr(tr)
    if not duration >= 0:
        raise ValueError(f"duration={duration}: wanted the stimulus duration in seconds, 0 or more (NSD: 3).")
    n_box = max(1, int(np.floor(duration / STEP + 0.5)))
    return np.convolve(curve / curve.max(), np.ones(n_box))


def _sample(response, seconds):
    """Interpolate a response sampled at `STEP` at `seconds`, and scale its largest sample to 1: float32."""
    from scipy.interpolate import PchipInterpolator

    samples = PchipInterpolator(np.arange(len(response)) * STEP, response, extrapolate=True)(seconds)
    return (samples / samples.max()).astype(np.float32)
