"""Responses of the simulated brain to a picture: tuning of its voxels, their saturation, and the gain of a trial."""

from dataclasses import dataclass

import numpy as np

from nsdlib.data.nsd_layout import ROI_LABELS
from nsdlib.twin.scenes import ATTRIBUTES, BACKGROUNDS

FIELD = 32  # side of the channel maps, pixels
CHANNELS = ("light-dark", "red-green", "blue-yellow", "contrast", "0 deg", "45 deg", "90 deg", "135 deg")
# area: size of a receptive field at the fovea (sd, fraction of the picture), weight of each kind of channel
EARLY = {
    "V1": (0.035, {"light": 1.0, "colour": 0.5, "contrast": 0.8, "orientation": 1.0}),
    "V2": (0.05, {"light": 1.0, "colour": 0.6, "contrast": 0.8, "orientation": 0.8}),
    "V3": (0.075, {"light": 1.0, "colour": 0.7, "contrast": 0.8, "orientation": 0.6}),
    "hV4": (0.11, {"light": 0.7, "colour": 1.3, "contrast": 0.6, "orientation": 0.4}),
    "other": (0.22, {"light": 0.8, "colour": 0.8, "contrast": 0.8, "orientation": 0.3}),
}
FIELD_GROWTH = 1.0  # relative increase of the receptive field size from the picture's centre to its border
CHANNEL_KINDS = ("light", "colour", "colour", "contrast") + ("orientation",) * 4
PREFERRED = {
    "floc-faces": ("kind: face", "kind: person"),
    "floc-bodies": ("kind: person", "kind: bird", "kind: fish"),
    "floc-places": ("kind: house", "kind: tree", *(f"background: {name}" for name in BACKGROUNDS)),
    "floc-words": ("kind: sign", "kind: clock", "number"),
}
PREFERENCE = 1.0  # added to the weights of a region's preferred attributes
SEMANTIC_FRACTION = 0.8  # of the variance of higher voxels, explained by attributes
SIGNAL_PERCENT, MEAN_PERCENT, SPREAD = 0.6, 1.2, 0.3  # sd over images, mean response (percent BOLD), sd of their logs


@dataclass(frozen=True)
class Tuning:
    """Tuning of each voxel of nsdgeneral, in C order of the volume."""

    area: np.ndarray  # (n_voxels,) "V1", "V2", "V3", "hV4" or "other"
    x: np.ndarray  # (n_voxels,) centre of the receptive field, fraction of the picture's side from its left
    y: np.ndarray  # (n_voxels,) the same from its upper side
    size: np.ndarray  # (n_voxels,) sd of the receptive field, fraction of the picture's side
    channels: np.ndarray  # (n_voxels, n_channels) weights of the visual channels, see `CHANNELS`
    attributes: np.ndarray  # (n_voxels, n_attributes) weights, see `scenes.ATTRIBUTES`; zero in early areas


def make_tuning(anatomy, rng):
    """Simulate the tuning of the voxels of nsdgeneral from their position in the head (Tuning)."""
    general = anatomy.general
    labels = np.maximum(anatomy.rois["prf-visualrois"][general], 0)
    area = np.array(["other", *(name.rstrip("vd") for name in ROI_LABELS["prf-visualrois"])])[labels]
    angle, eccentricity = anatomy.angle[general], anatomy.eccentricity[general]
    x = np.clip(0.5 + 0.5 * eccentricity * np.cos(angle), 0, 1)
    y = np.clip(0.5 - 0.5 * eccentricity * np.sin(angle), 0, 1)
    size = np.array([EARLY[name][0] for name in area]) * (1 + FIELD_GROWTH * eccentricity)
    strength = np.array([[EARLY[name][1][kind] for kind in CHANNEL_KINDS] for name in area])
    channels = strength * rng.standard_normal(strength.shape)
    channels[:, 3:] = np.abs(channels[:, 3:])  # energy channels excite, opponent channels have two signs
    attributes = rng.standard_normal((len(area), len(ATTRIBUTES)))
    for name, preferred in PREFERRED.items():
        columns = [ATTRIBUTES.index(attribute) for attribute in preferred]
        attributes[np.ix_(anatomy.rois[name][general] > 0, columns)] += PREFERENCE
    attributes[area != "other"] = 0
    return Tuning(area, x, y, size, channels, attributes)


def visual_maps(image):
    """Compute the channel maps of a picture: (n_channels, 32, 32) float32.

    Parameters
    ----------
    image : (side, side, 3) uint8
        RGB, side a multiple of 32 or larger than 64.
    """
    from PIL import Image

    small = Image.fromarray(image).resize((2 * FIELD, 2 * FIELD), Image.Resampling.BOX)
    red, green, blue = np.moveaxis(np.asarray(small, dtype=np.float32) / 255, -1, 0)
    light = (red + green + blue) / 3
    down, right = np.gradient(light)
    contrast = np.hypot(right, down)
    maps = [light, red - green, blue - (red + green) / 2, contrast]
    for theta in np.arange(4) * np.pi / 4:
        across = right * np.cos(theta) + down * np.sin(theta)  # theta is the normal of the edge
        maps.append(across**2 / (contrast + 0.02))
    maps = np.stack(maps)  # (n_channels, 64, 64)
    return maps.reshape(len(maps), FIELD, 2, FIELD, 2).mean(axis=(2, 4))


def drive(tuning, maps, attributes):
    """Compute the linear drive of each voxel by each image, standardised over images: (n_images, n_voxels) float32.

    Parameters
    ----------
    tuning : Tuning
    maps : (n_images, n_channels, 32, 32) float32
    attributes : (n_images, n_attributes) float32
    """
    centre = (np.arange(FIELD) + 0.5) / FIELD
    across = np.exp(-0.5 * ((centre - tuning.x[:, None]) / tuning.size[:, None]) ** 2)  # (n_voxels, 32)
    along = np.exp(-0.5 * ((centre - tuning.y[:, None]) / tuning.size[:, None]) ** 2)
    fields = (along[:, :, None] * across[:, None, :]).reshape(len(tuning.x), -1).astype(np.float32)
    fields /= fields.sum(axis=1, keepdims=True)
    visual = np.zeros((len(maps), len(fields)), dtype=np.float32)
    for channel, weight in enumerate(tuning.channels.T.astype(np.float32)):
        visual += weight * _standardise(maps[:, channel].reshape(len(maps), -1) @ fields.T)
    semantic = _standardise(attributes) @ tuning.attributes.T.astype(np.float32)
    fraction = np.where(tuning.area == "other", SEMANTIC_FRACTION, 0).astype(np.float32)
    return _standardise(np.sqrt(1 - fraction) * _standardise(visual) + np.sqrt(fraction) * _standardise(semantic))


def respond(drive, *, saturation, rng):
    """Compute the noiseless responses in percent signal change: (n_images, n_voxels) float32.

    A response is mean + sd * f(drive), with f(x) = tanh(s x) / s for saturation s (f(x) = x for s = 0), scaled to sd 1.
    """
    shape = np.tanh(saturation * drive) / saturation if saturation else drive
    amplitude = SIGNAL_PERCENT * rng.lognormal(0, SPREAD, drive.shape[1])
    mean = MEAN_PERCENT * rng.lognormal(0, SPREAD, drive.shape[1])
    return (mean + amplitude * _standardise(shape)).astype(np.float32)


def draw_gain(n_trials, gain_sd, rng):
    """Simulate the gain of each trial, common to all voxels, log-normal with mean 1: (n_trials,) float32."""
    return np.exp(gain_sd * rng.standard_normal(n_trials) - gain_sd**2 / 2).astype(np.float32)


def _standardise(values):
    """Columns with mean 0 and sd 1; constant columns become 0."""
    centred = values - values.mean(axis=0, dtype=np.float64)
    sd = centred.std(axis=0, dtype=np.float64)
    return (centred / np.where(sd > 1e-6, sd, np.inf)).astype(np.float32)
