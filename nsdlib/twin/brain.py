"""Responses of the simulated brain to a picture: voxel tuning, compression, and variation across trials and sessions."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from nsdlib.data.nsd import layout as nsd
from nsdlib.twin.scenes import ATTRIBUTES, BACKGROUNDS

FIELD = 32  # side of the channel maps, pixels
CHANNELS = ("light", "dark", "red", "green", "blue", "yellow", "contrast", "0 deg", "45 deg", "90 deg", "135 deg")
# area: sd of a receptive field at the fovea, its increase from there to the middle of a side (both fractions of the side of
# 8.4 deg), and the weight of each kind of channel
FIELDS = {
    "V1": (0.06, 0.05, {"light": 1.0, "colour": 0.5, "contrast": 0.8, "orientation": 1.0}),
    "V2": (0.06, 0.07, {"light": 1.0, "colour": 0.6, "contrast": 0.8, "orientation": 0.8}),
    "V3": (0.06, 0.14, {"light": 1.0, "colour": 0.7, "contrast": 0.8, "orientation": 0.6}),
    "hV4": (0.06, 0.20, {"light": 0.7, "colour": 1.3, "contrast": 0.6, "orientation": 0.4}),
    "other": (0.15, 0.20, {"light": 0.8, "colour": 0.8, "contrast": 0.8, "orientation": 0.3}),
}
OPPONENTS = ((0, 1, "light"), (2, 3, "colour"), (4, 5, "colour"))  # a voxel has one channel of each pair
ENERGIES = ((6, "contrast"), *((channel, "orientation") for channel in range(7, 11)))
PREFERRED = {
    "floc-faces": ("kind: face", "kind: person"),
    "floc-bodies": ("kind: person", *(f"kind: {name}" for name in ("cat", "dog", "horse", "bird", "fish"))),
    "floc-places": ("kind: house", "kind: castle", "kind: tree", *(f"background: {name}" for name in BACKGROUNDS)),
    "floc-words": ("kind: clock", "number"),
}
PREFERENCE = 1.0  # weight of a region's preferred categories, in sd of its other semantic responses
N_ALIGNED = 20  # number of leading principal axes of the signal that carry trial noise
SLOW, SLOW_AR = 0.5, 0.9  # variance share of slow session effects, and their correlation from one session to the next


@dataclass(frozen=True)
class Tuning:
    """Tuning of each voxel of nsdgeneral, in C order of the volume."""

    area: np.ndarray  # (n_voxels,) "V1", "V2", "V3", "hV4" or "other"
    x: np.ndarray  # (n_voxels,) centre of the receptive field, fraction of the picture's side from its left
    y: np.ndarray  # (n_voxels,) the same, from the top
    size: np.ndarray  # (n_voxels,) sd of the receptive field, fraction of the picture's side
    channels: np.ndarray  # (n_voxels, n_channels) weights of the visual `CHANNELS`, non-negative
    semantic: np.ndarray  # (n_voxels, n_dimensions) weights of meaning
    private: np.ndarray  # (n_voxels, n_dimensions) weights of features that no decoder has
    preferred: np.ndarray  # (n_voxels, n_attributes) 1 where the voxel's region prefers the attribute, else 0


def make_tuning(anatomy, levels, rng):
    """Simulate the tuning of the voxels of nsdgeneral from their position in the head (Tuning)."""
    general = anatomy.general
    area, _ = anatomy.areas()
    angle, eccentricity = anatomy.angle[general], anatomy.eccentricity[general]
    x = np.clip(0.5 + 0.5 * eccentricity * np.cos(angle), 0, 1)
    y = np.clip(0.5 - 0.5 * eccentricity * np.sin(angle), 0, 1)
    fovea, growth = np.array([FIELDS[name][:2] for name in area]).T
    size = fovea + growth * eccentricity

    def weights(n_features):
        return anatomy.smooth_fields(n_features, levels.point_spread, rng)[:, anatomy.responds].T

    channels = np.empty((len(area), len(CHANNELS)))
    for on, off, kind in OPPONENTS:
        signed = weights(1)[:, 0] * [FIELDS[name][2][kind] for name in area]
        channels[:, on], channels[:, off] = np.maximum(signed, 0), np.maximum(-signed, 0)
    for channel, kind in ENERGIES:
        channels[:, channel] = np.abs(weights(1)[:, 0] * [FIELDS[name][2][kind] for name in area])
    preferred = np.zeros((len(area), len(ATTRIBUTES)), dtype=np.float32)
    for name, attributes in PREFERRED.items():
        columns = [ATTRIBUTES.index(attribute) for attribute in attributes]
        preferred[np.ix_(anatomy.rois[name][general] > 0, columns)] = 1
    n_dimensions = levels.dimensions or len(ATTRIBUTES)
    return Tuning(area, x, y, size, channels, weights(n_dimensions), weights(n_dimensions), preferred)


def visual_maps(image):
    """Compute the channel maps of a picture: (n_channels, 32, 32) float32.

    `image` is (side, side, 3) uint8, RGB; `side` is a multiple of 32 or larger than 64.
    """
    from PIL import Image

    reduced = Image.fromarray(image).resize((2 * FIELD, 2 * FIELD), Image.Resampling.BOX)
    red, green, blue = np.moveaxis(np.asarray(reduced, dtype=np.float32) / 255, -1, 0)
    light = (red + green + blue) / 3
    vertical, horizontal = np.gradient(light)
    contrast = np.hypot(horizontal, vertical)
    differences = (light - 0.5, red - green, blue - (red + green) / 2)
    maps = [np.maximum(sign * values, 0) for values in differences for sign in (1, -1)] + [contrast]
    for theta in np.arange(4) * np.pi / 4:
        gradient = horizontal * np.cos(theta) + vertical * np.sin(theta)  # theta is the normal of the edge
        maps.append(gradient**2 / (contrast + 0.02))
    maps = np.stack(maps)  # (n_channels, 64, 64)
    return maps.reshape(len(maps), FIELD, 2, FIELD, 2).mean(axis=(2, 4))


def drive(tuning, maps, *, meaning, private, attributes, levels):
    """Compute the drive of each voxel by each image, standardised over images: (n_images, n_voxels) float32.

    A voxel sums the energy E of its channels within its receptive field. Its visual drive is (E / (pool P + (1 - pool) mean of
    E))^n, where P is the energy of those channels in the whole picture and n the exponent of its area (Kay et al. 2013). In all
    areas, private features contribute a share of the variance; in higher areas, so does meaning.

    Takes the channel `maps` (n_images, n_channels, 32, 32), the `meaning` and `private` features (n_images, n_dimensions) of
    `nsdlib.twin.meaning`, and the `attributes` of scenes (n_images, n_attributes), which regions may prefer.
    """
    exponent = np.array([levels.exponents[name] for name in tuning.area], dtype=np.float32)
    energy, pool = _energies(tuning, maps)
    visual = (energy / (levels.pool * pool + (1 - levels.pool) * energy.mean(axis=0))) ** exponent
    # whether the picture shows what the voxel's region prefers
    preferred = standardise(standardise(attributes) @ tuning.preferred.T)
    semantic = standardise(meaning @ tuning.semantic.T.astype(np.float32)) + PREFERENCE * preferred
    private_drive = standardise(private @ tuning.private.T.astype(np.float32))
    meaning_share = np.where(tuning.area == "other", levels.semantic, 0).astype(np.float32)
    shares = (1 - levels.private - meaning_share, meaning_share, np.float32(levels.private))
    parts = (standardise(visual), standardise(semantic), private_drive)
    return standardise(sum(np.sqrt(share) * part for share, part in zip(shares, parts, strict=True)))


def _energies(tuning, maps):
    """Energy of each voxel's channels in its receptive field and in the whole picture: both (n_images, n_voxels) float32."""
    centre = (np.arange(FIELD) + 0.5) / FIELD
    horizontal = np.exp(-0.5 * ((centre - tuning.x[:, None]) / tuning.size[:, None]) ** 2)  # (n_voxels, 32)
    vertical = np.exp(-0.5 * ((centre - tuning.y[:, None]) / tuning.size[:, None]) ** 2)
    fields = (vertical[:, :, None] * horizontal[:, None, :]).reshape(len(tuning.x), -1).astype(np.float32)
    fields /= fields.sum(axis=1, keepdims=True)
    energy, pool = np.zeros((2, len(maps), len(fields)), dtype=np.float32)
    for channel, weight in enumerate(tuning.channels.T.astype(np.float32)):
        pixels = maps[:, channel].reshape(len(maps), -1)
        pixels = pixels / max(pixels.mean(), 1e-6)  # all channels are equally strong
        energy += weight * (pixels @ fields.T)
        pool += weight * pixels.mean(axis=1, keepdims=True)
    return energy, pool


def respond(drive, *, area, levels, rng):
    """Compute the noiseless responses in percent signal change: (n_images, n_voxels) float32.

    A response is mean + sd * f(drive), where f(x) = tanh(s x) / s for saturation s (f(x) = x for s = 0) is scaled to sd 1. Mean
    and sd are those of the area, times a log-normal factor per voxel.
    """
    compressed = np.tanh(levels.saturation * drive) / levels.saturation if levels.saturation else drive
    mean, sd = np.array([levels.signal[name] for name in area]).T * rng.lognormal(0, levels.signal_spread, (2, len(area)))
    return (mean + sd * standardise(compressed)).astype(np.float32)


def draw_gain(n_trials, gain_sd, rng, *, ar=0.0):
    """Simulate the gain of each trial, shared by all voxels, log-normal with mean 1: (n_trials,) float32.

    `ar` is the autocorrelation of the log gain from trial to trial.
    """
    log = autocorrelate(rng.standard_normal((n_trials, 1)), ar)[:, 0]
    return np.exp(gain_sd * log - gain_sd**2 / 2).astype(np.float32)


def repetition(image_ids, area, levels):
    """Compute the factor by which earlier presentations of an image weaken the response: (n_trials, n_voxels) float32.

    The loss is 1.5 times as large if the image was shown before in the same session.
    """
    session = np.arange(len(image_ids)) // nsd.N_SESSION_TRIALS
    rank = pd.Series(image_ids).groupby(image_ids).cumcount().to_numpy()
    in_session = pd.Series(image_ids).groupby([image_ids, session]).cumcount().to_numpy() > 0
    loss = 1 - np.array([(1.0, *levels.repetition[name]) for name in area]).T[np.minimum(rank, 2)]
    return (1 - np.where(in_session, 1.5, 1.0)[:, None] * loss).astype(np.float32)


def aligned_noise(response, n_trials, rng):
    """Simulate noise of sd 1 along the leading principal axes of the signal: (n_trials, n_voxels) float32.

    Other noise averages out when many voxels are pooled; this does not. In V1 to V3, similarly tuned voxels share noise (van
    Bergen and Jehee 2018, NeuroImage 180, 78).
    """
    _, sizes, axes = np.linalg.svd(standardise(response), full_matrices=False)
    axes = (sizes[:, None] * axes)[:N_ALIGNED]
    axes /= np.maximum(np.linalg.norm(axes, axis=0), 1e-6)
    return rng.standard_normal((n_trials, len(axes)), dtype=np.float32) @ axes.astype(np.float32)


def session_effects(n_sessions, n_voxels, levels, rng):
    """Simulate each voxel's gain and offset (in sd of betas) in each session: both (n_sessions, n_voxels)."""

    def drift():
        slow, quick = rng.standard_normal((2, n_sessions, n_voxels))
        return np.sqrt(SLOW) * autocorrelate(slow, SLOW_AR) + np.sqrt(1 - SLOW) * quick

    common = rng.standard_normal((n_sessions, 1))
    gain = np.exp(levels.common_gain * common + levels.session_gain * drift())
    return gain.astype(np.float32), (levels.session_offset * drift()).astype(np.float32)


def autocorrelate(noise, ar):
    """Turn rows of white noise into a first-order autoregressive series with coefficient `ar`, in place; the sd stays 1."""
    if ar:
        for previous, row in pairwise(noise):
            row *= (1 - ar**2) ** 0.5
            row += ar * previous
    return noise


def standardise(values):
    """Scale columns to mean 0 and sd 1; constant columns become 0."""
    centred = values - values.mean(axis=0, dtype=np.float64)
    sd = centred.std(axis=0, dtype=np.float64)
    return (centred / np.where(sd > 1e-6, sd, np.inf)).astype(np.float32)
