"""Haemodynamic response functions: the library of twenty of which the GLM gives each voxel one, and the canonical one.

The file `hrf_library.csv` beside this module holds the twenty, early to late, and then the canonical one, each as a
difference of two gamma densities: least-squares fits to the tables that GLMsingle 1.2 (commit 1ab54a6) ships. Those hold
five significant digits, the canonical one three. The curves are rounded like them and then differ from them in the last
digit or not at all: by 6e-5 of the peak at most, the canonical one by 6e-3.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

STEP = 0.1  # seconds between samples of the tables
LIBRARY_SECONDS, CANONICAL_SECONDS = 50.0, 48.9  # how long the tables are, before they are convolved with a stimulus
LIBRARY_DIGITS, CANONICAL_DIGITS = 5, 3  # significant digits of the tables
STIMULUS_SECONDS = 3.0  # how long NSD shows an image


@dataclass(frozen=True)
class Shape:
    """A response to a very short event: one gamma density up, another down."""

    rise_shape: float
    rise_scale: float  # seconds
    fall_shape: float
    fall_scale: float
    ratio: float  # of the areas of fall and rise
    onset: float  # seconds from the event until anything happens
    height: float  # factor of the difference

    def curve(self, seconds):
        """The response at `seconds` (n_samples,) after the event."""
        since = np.maximum(np.asarray(seconds, dtype=np.float64) - self.onset, 0)
        rise, fall = _gamma(since, self.rise_shape, self.rise_scale), _gamma(since, self.fall_shape, self.fall_scale)
        return self.height * (rise - self.ratio * fall)


@cache
def shapes():
    """The twenty shapes of the library, early to late, and the canonical one: a tuple of `Shape`."""
    table = np.loadtxt(Path(__file__).with_name("hrf_library.csv"), delimiter=",", skiprows=1)
    return tuple(Shape(*row) for row in table)


def sampled_library(tr, duration=STIMULUS_SECONDS):
    """Responses of the twenty HRFs to a stimulus, sampled at the volumes.

    As GLMsingle does it: convolution with a box at 0.1 s, monotone cubic interpolation at the volumes.

    Parameters
    ----------
    tr : float
        Seconds from volume to volume. ValueError unless it is positive.
    duration : float
        How long the stimulus lasts, seconds; 0 is taken as a tenth of a second. ValueError when it is negative.

    Returns
    -------
    (20, n_samples) float32
        Sample i lies i * tr seconds after the onset. Each response has its largest sample equal to 1.
    """
    *library, _ = shapes()
    responses = [_respond(_table(shape, LIBRARY_SECONDS, LIBRARY_DIGITS), tr, duration) for shape in library]
    n_samples = len(responses[0])
    until = int(np.ceil(n_samples * STEP))
    return np.stack([_sample(response, np.arange(0, until, tr)) for response in responses])


def canonical(tr, duration=STIMULUS_SECONDS):
    """Response of the one HRF that a plain GLM assumes everywhere: (n_samples,) float32.

    Parameters, errors and scaling are those of `sampled_library`; it is a little shorter.
    """
    response = _respond(_table(shapes()[-1], CANONICAL_SECONDS, CANONICAL_DIGITS), tr, duration)
    return _sample(response, np.arange(0, (len(response) - 1) * STEP, tr))


def peak_seconds(duration=STIMULUS_SECONDS):
    """Seconds from the onset of a stimulus to the peak of each of the twenty responses: (20,) float."""
    return sampled_library(STEP, duration).argmax(axis=1) * STEP


def check_tr(tr):
    """Raise ValueError unless `tr` can be the seconds between two volumes: above 0, and shorter than a response."""
    is_number = np.ndim(tr) == 0 and np.asarray(tr).dtype.kind in "iuf"
    if not is_number or not 0 < tr < LIBRARY_SECONDS:
        milliseconds = f" In milliseconds? Give {tr / 1000:g}." if is_number and tr > 0 else ""
        raise ValueError(
            f"tr={tr!r}: wanted the seconds between two volumes, above 0 and below the {LIBRARY_SECONDS:g} of a response "
            f"(NSD: 4/3).{milliseconds}"
        )


def _gamma(seconds, shape, scale):
    """Gamma density."""
    from scipy.special import gammaln, xlogy

    return np.exp(xlogy(shape - 1, seconds / scale) - seconds / scale - gammaln(shape)) / scale


def _table(shape, seconds, digits):
    """The curve of a shape every `STEP` up to `seconds`, each sample rounded to so many significant digits."""
    curve = shape.curve(np.arange(round(seconds / STEP) + 1) * STEP)
    return np.array([float(f"{sample:.{digits - 1}e}") for sample in curve])


def _respond(curve, tr, duration):
    """A curve sampled at `STEP`, scaled to a peak of 1, convolved with a stimulus of `duration` seconds."""
    check_tr(tr)
    if not duration >= 0:
        raise ValueError(f"duration={duration}: wanted how many seconds the stimulus lasts, 0 or more (NSD: 3).")
    n_box = max(1, int(np.floor(duration / STEP + 0.5)))
    return np.convolve(curve / curve.max(), np.ones(n_box))


def _sample(response, seconds):
    """A response sampled at `STEP`, read off at `seconds`, with its largest sample equal to 1: float32."""
    from scipy.interpolate import PchipInterpolator

    samples = PchipInterpolator(np.arange(len(response)) * STEP, response, extrapolate=True)(seconds)
    return (samples / samples.max()).astype(np.float32)
