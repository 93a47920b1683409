"""Anatomy of the simulated subject: brain, cortex and visual areas, and the visual field positions of their voxels."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from nsdlib.data.nsd.layout import ROI_LABELS, USED_ROIS

VOXEL_MM = 1.8
HEAD_FILL = (0.82, 0.88, 0.78)  # semi-axes of the brain, fractions of half the volume
CORTEX_FROM = 0.62  # relative radius where cortex begins
GENERAL_FRACTION = 0.36  # of the brain's voxels, in nsdgeneral
# of nsdgeneral, from the back of the head forwards; in NSD's subject 1, V1 to V4 have .086, .091, .075, .044 of 8 x the voxels
EARLY_FRACTIONS = (("V1", 0.14), ("V2", 0.12), ("V3", 0.10))
V4_FRACTION = 0.06
NEAR_FRACTION = 0.5  # of the voxels of a patch with two regions, in the first region

# volume: (label, lowest and highest angle around the head: -90 below, 0 at the side, 90 at the top; part of this patch)
HIGHER = {
    "floc-faces": (("OFA", -30, -8, "near"), ("FFA-1", -58, -30, "near"), ("FFA-2", -58, -30, "far")),
    "floc-bodies": (("EBA", -8, 25, "all"), ("FBA-1", -42, -24, "near"), ("FBA-2", -42, -24, "far")),
    "floc-places": (("PPA", -90, -58, "all"), ("OPA", 25, 60, "all"), ("RSC", 60, 90, "all")),
    "floc-words": (("OWFA", -20, 0, "near"), ("VWFA-1", -50, -35, "near"), ("VWFA-2", -50, -35, "far")),
}


@dataclass(frozen=True)
class Anatomy:
    """Masks, labels and visual field positions of a head."""

    brain: np.ndarray  # (X, Y, Z) bool
    cortex: np.ndarray  # (X, Y, Z) bool, the brain's rim
    general: np.ndarray  # (X, Y, Z) bool, the part of the rim that NSD calls nsdgeneral
    rois: dict  # name to (X, Y, Z) int16 as NSD writes them: -1 not cortex, 0 no label, 1, 2, ... labels
    affine: np.ndarray  # (4, 4), from voxel indices to millimetres
    angle: np.ndarray  # (X, Y, Z) direction of a receptive field of nsdgeneral, radians: 0 right, pi/2 up
    eccentricity: np.ndarray  # (X, Y, Z) its distance from the picture's centre: 1 is the middle of a side

    @property
    def responds(self):
        """Voxels of the brain that lie in nsdgeneral: (n_voxels,) bool."""
        return self.general[self.brain]

    def areas(self):
        """Return the area (V1, V2, V3, hV4, other) of each voxel of nsdgeneral, and its finer region, both (n_general,) str."""
        labels = np.maximum(self.rois["prf-visualrois"][self.general], 0)
        area = np.array(["other", *(name.rstrip("vd") for name in ROI_LABELS["prf-visualrois"])])[labels]
        region = area.astype("<U8")
        for name in HIGHER:
            numbers = self.rois[name][self.general]
            region = np.where(numbers > 0, np.array(["", *ROI_LABELS[name]])[np.maximum(numbers, 0)], region)
        return area, region

    def smooth_fields(self, n_fields, width, rng):
        """Simulate spatially smooth values of the brain's voxels: (n_fields, n_voxels) float32, mean 0 and sd 1 over the head.

        `width` is the sd, in voxels, of the Gaussian that smooths white noise.
        """
        from scipy.ndimage import gaussian_filter

        values = rng.standard_normal((n_fields, *self.brain.shape), dtype=np.float32)
        if not width:
            return values[:, self.brain]
        impulse = np.zeros(self.brain.shape)
        impulse[0, 0, 0] = 1
        options = {"mode": "wrap", "truncate": 3.0}
        scale = np.linalg.norm(gaussian_filter(impulse, width, **options))
        return gaussian_filter(values, (0, width, width, width), **options)[:, self.brain] / np.float32(scale)


def make_anatomy(shape, rng):
    """Simulate a head in a volume of `shape`, with axes left-right, posterior-anterior, inferior-superior (Anatomy)."""
    half = (np.array(shape) - 1) / 2
    grid = np.moveaxis(np.indices(shape), 0, -1)
    position = (grid - half) / (half * HEAD_FILL)  # (X, Y, Z, 3), the brain is the unit ball
    radius = np.linalg.norm(position, axis=-1)
    brain = radius <= 1
    cortex = brain & (radius > CORTEX_FROM)
    backness = np.arccos(np.clip(-position[..., 1] / np.maximum(radius, 1e-9), -1, 1))  # 0 at the back of the head
    general = _lowest_voxels(cortex, backness, round(GENERAL_FRACTION * brain.sum()))
    areas = _visual_areas(general, backness, position[..., 2])
    higher = general & (areas == 0)
    rois = {"nsdgeneral": general, "prf-visualrois": areas}
    rois |= {name: _higher_regions(name, higher, position, backness) for name in HIGHER}
    rois = {name: np.where(cortex, rois[name], -1).astype(np.int16) for name in USED_ROIS}
    angle, eccentricity = _visual_field(general, areas, position, backness, rng)
    affine = np.diag([VOXEL_MM] * 3 + [1.0])
    affine[:3, 3] = -half * VOXEL_MM  # (1 - origin) * size, with NSD's origin (1 + dim) / 2
    return Anatomy(brain, cortex, general, rois, affine, angle, eccentricity)


def _lowest_voxels(mask, key, n_voxels):
    """The `n_voxels` voxels of `mask` with the lowest `key`."""
    inside = np.flatnonzero(mask)
    lowest = np.zeros(mask.size, dtype=bool)
    lowest[inside[np.argsort(key.ravel()[inside], kind="stable")[:n_voxels]]] = True
    return lowest.reshape(mask.shape)


def _visual_areas(general, backness, height):
    """Labels of prf-visualrois: bands around the back of the head, each with a lower (v) and an upper (d) half."""
    labels, unlabelled = np.zeros(general.shape, dtype=np.int16), general.copy()
    for i, (_, fraction) in enumerate(EARLY_FRACTIONS):
        band = _lowest_voxels(unlabelled, backness, round(fraction * general.sum()))
        labels[band] = np.where(height[band] < 0, 2 * i + 1, 2 * i + 2)
        unlabelled &= ~band
    labels[_lowest_voxels(unlabelled & (height < 0), backness, round(V4_FRACTION * general.sum()))] = 7
    return labels


def _higher_regions(name, higher, position, backness):
    """Labels of a floc volume, by the angle around the head; word areas in the left hemisphere only."""
    angle = np.degrees(np.arctan2(position[..., 2], np.abs(position[..., 0]) + 1e-9))
    side = position[..., 0] < 0 if name == "floc-words" else np.ones_like(higher)
    labels = np.zeros(higher.shape, dtype=np.int16)
    for label, low, high, part in HIGHER[name]:
        patch = higher & side & (angle >= low) & (angle < high)
        near = _lowest_voxels(patch, backness, round(NEAR_FRACTION * patch.sum()))
        chosen = {"all": patch, "near": near, "far": patch & ~near}[part]
        labels[chosen] = ROI_LABELS[name].index(label) + 1
    return labels


def _visual_field(general, areas, position, backness, rng):
    """Polar angle and eccentricity of voxels: contralateral and inverted, with the periphery further forward."""
    angle, eccentricity = np.zeros(general.shape), np.zeros(general.shape)
    for area in ((1, 2), (3, 4), (5, 6), (7,), (0,)):
        for left in (True, False):
            inside = np.flatnonzero(general & np.isin(areas, area) & ((position[..., 0] < 0) == left))
            inside = inside[np.argsort(position[..., 2].ravel()[inside], kind="stable")]  # from below to above
            height = (np.arange(len(inside)) + 0.5) / max(len(inside), 1)
            up = np.pi / 2 - np.pi * height  # low voxels represent the upper field
            angle.ravel()[inside] = up if left else np.pi - up
            depth = backness.ravel()[inside] + 1e-6 * rng.random(len(inside))
            blocks = pd.Series(depth).groupby(np.arange(len(depth)) // 12)
            rank = ((blocks.rank() - 0.5) / blocks.transform("size")).to_numpy()  # in its block of 12 voxels, in (0, 1)
            eccentricity.ravel()[inside] = rank**0.6 * 1.15
    return angle, eccentricity
