"""Haemodynamic response functions: the library of twenty of which the GLM gives each voxel one, and the canonical one.

The file `hrf_library.csv` beside this module holds one HRF a row, each as a difference of two gamma functions:
a least-squares fit to the table that GLMsingle 1.2 (commit 1ab54a6) ships, equal to it to 5e-5 of the peak.
"""

from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path

import numpy as np

STEP = 0.1  # seconds between samples of the continuous curves
LIBRARY_SECONDS, CANONICAL_SECONDS = 50.0, 49.0  # how long the curves are, before they are convolved with a stimulus
STIMULUS_SECONDS = 3.0  # how long NSD shows an image


@dataclass(frozen=True)
class Shape:
    """A response to a very short event: one gamma function up, another down.

    Attributes
    ----------
    peak_mode, peak_dispersion : float
        Time of the maximum and scale of the positive part, seconds.
    undershoot_mode, undershoot_dispersion : float
        The same of the undershoot.
    undershoot_ratio : float
        Depth of the undershoot, relative to the peak.
    onset : float
        Seconds from the event until anything happens.
    """

    peak_mode: float
    peak_dispersion: float
    undershoot_mode: float
    undershoot_dispersion: float
    undershoot_ratio: float
    onset: float

    def curve(self, seconds):
        """The response at `seconds` (n_samples,) after the event, before any scaling to a peak of 1."""
        peak_mode, peak_dispersion, undershoot_mode, undershoot_dispersion, ratio, onset = astuple(self)
        since = np.maximum(np.asarray(seconds, dtype=np.float64) - onset, 0)
        return _gamma(since, peak_mode, peak_dispersion) - ratio * _gamma(since, undershoot_mode, undershoot_dispersion)


CANONICAL = Shape(5.05451, 1.81163, 9.83873, 3.55955, 0.19166, 0.0)


@cache
def shapes():
    """The twenty shapes of the library, early to late: a tuple of `Shape`."""
    table = np.loadtxt(Path(__file__).with_name("hrf_library.csv"), delimiter=",", skiprows=1)
    return tuple(Shape(*row) for row in table)


def sampled_library(tr, duration=STIMULUS_SECONDS):
    """Responses of the twenty HRFs to a stimulus, sampled at the volumes.

    Parameters
    ----------
    tr : float
        Seconds from volume to volume.
    duration : float
        How long the stimulus lasts, seconds; 0 is taken as a tenth of a second.

    Returns
    -------
    (20, n_samples) float32
        Sample i lies i * tr seconds after the onset. Each response has its largest sample equal to 1.

    Raises
    ------
    ValueError
        When `tr` is not positive or `duration` is negative.

    Notes
    -----
    As GLMsingle does it: convolution with a box at 0.1 s, monotone cubic interpolation at the volumes.
    """
    seconds = np.arange(round(LIBRARY_SECONDS / STEP) + 1) * STEP
    responses = [_respond(shape.curve(seconds), tr, duration) for shape in shapes()]
    n_samples = len(responses[0])
    until = int(np.ceil(n_samples * STEP))
    return np.stack([_sample(response, np.arange(0, until, tr)) for response in responses])


def canonical(tr, duration=STIMULUS_SECONDS):
    """Response of the one HRF that a plain GLM assumes everywhere: (n_samples,) float32.

    Parameters, errors and scaling are those of `sampled_library`; it is a little shorter.
    """
    seconds = np.arange(round(CANONICAL_SECONDS / STEP) + 1) * STEP
    response = _respond(CANONICAL.curve(seconds), tr, duration)
    return _sample(response, np.arange(0, (len(response) - 1) * STEP, tr))


def peak_seconds(duration=STIMULUS_SECONDS):
    """Seconds from the onset of a stimulus to the peak of each of the twenty responses: (20,) float."""
    return sampled_library(STEP, duration).argmax(axis=1) * STEP


def check_tr(tr):
    """Raise ValueError unless `tr` can be the seconds between two volumes: above 0, and shorter than a response."""
    if not 0 < tr < LIBRARY_SECONDS:
        milliseconds = f" In milliseconds? Give {tr / 1000:g}." if tr > 0 else ""
        raise ValueError(
            f"tr={tr}: wanted the seconds between two volumes, above 0 and below the {LIBRARY_SECONDS:g} of a response "
            f"(NSD: 4/3).{milliseconds}"
        )


def _gamma(seconds, mode, dispersion):
    """Gamma density with the given mode and scale, divided by its maximum."""
    exponent = mode / dispersion
    with np.errstate(divide="ignore"):
        log = exponent * (np.log(seconds) - np.log(mode)) - (seconds - mode) / dispersion
    return np.exp(log)


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
