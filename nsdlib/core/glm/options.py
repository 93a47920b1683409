"""Options of the single-trial GLM: a subset of those of GLMsingle, with its defaults."""

import hashlib
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import Any

import numpy as np

from nsdlib.core.glm.hrf import STIMULUS_SECONDS

FRACTIONS = tuple(np.linspace(1, 0.05, 20))


@dataclass(frozen=True)
class GLMOptions:
    """Options of the GLM; the defaults are those of GLMsingle.

    Attributes
    ----------
    duration : float
        Stimulus duration in seconds.
    time_axis : int
        Time axis of the data: 0, or -1 for GLMsingle's form, (n_voxels, n_volumes) or (X, Y, Z, n_volumes).
    percent : bool
        Betas in percent of the voxel's mean signal; in scanner units when False.
    degree : int, tuple of int, or None
        Degree of the drift polynomials, for all runs or for each; by default half the run's duration in minutes, rounded.
    n_pcs : int
        Largest number of noise components to try; 0 switches denoising off.
    fixed_pcs : int or None
        Remove this many components, without cross-validation.
    pc_stop : float
        At least 1, see `denoise.choose_number`.
    brain_fraction : float
        Voxels of the noise pool have a mean above this times the 99th percentile of the means of all fitted voxels.
    brain_r2 : float or None
        ON-OFF R2 (percent) below which a voxel may be in the noise pool; by default `denoise.tail_threshold` of the data.
    pc_r2 : float or None
        ON-OFF R2 above which a voxel helps to select the number of components; by default that of the noise pool.
    noise_mask, pc_mask : bool arrays or None
        Voxels allowed in the noise pool, and voxels allowed to select the number of components, (n_voxels,) or in the shape
        of the data's volumes; by default all.
    fractions : tuple of float
        Candidate ridge fractions; (1,) means no ridge, and a single fraction is used without cross-validation.
    autoscale : bool
        Undo the overall shrinkage of ridge.
    lss : bool
        Fit type B by least squares separate: one model per trial, with the sum of the run's other trials as second regressor.
    folds : tuple of tuples of int, or None
        Runs (from 0) held out together; by default one run at a time.
    sessions : tuple of int, or None
        Session of each run; betas are z-scored per session when repeats are compared. By default all runs are one session.
    voxel_batch : int or None
        Largest number of voxels fitted at once; by default 2,000 on a CPU, and as many as fit a GPU's memory.
    device : torch.device or str
    progress : bool
        Show progress bars.
    """

    duration: float = STIMULUS_SECONDS
    time_axis: int = 0
    percent: bool = True
    degree: int | tuple | None = None
    n_pcs: int = 10
    fixed_pcs: int | None = None
    pc_stop: float = 1.05
    brain_fraction: float = 0.1
    brain_r2: float | None = None
    pc_r2: float | None = None
    noise_mask: Any = field(default=None, repr=False, compare=False)
    pc_mask: Any = field(default=None, repr=False, compare=False)
    fractions: tuple = FRACTIONS
    autoscale: bool = True
    lss: bool = False
    folds: tuple | None = None
    sessions: tuple | None = None
    voxel_batch: int | None = None
    device: Any = "cpu"
    progress: bool = False

    def __post_init__(self):
        for name in ("n_pcs", "fixed_pcs", "voxel_batch"):
            value = getattr(self, name)
            if not isinstance(value, Integral) and (value is not None or name == "n_pcs"):
                raise ValueError(f"{name}={value!r}: wanted a whole number.")
        for name in ("duration", "pc_stop", "brain_fraction", "brain_r2", "pc_r2"):
            value = getattr(self, name)
            if (not isinstance(value, Real) or np.isnan(value)) and not (value is None and name.endswith("_r2")):
                raise ValueError(f"{name}={value!r}: wanted a number.")
        for name in ("folds", "sessions"):
            if not isinstance(getattr(self, name), tuple | list | np.ndarray | None):
                raise ValueError(f"{name}={getattr(self, name)!r}: wanted a tuple.")
        fractions = np.asarray(self.fractions)
        if not fractions.size or fractions.dtype.kind not in "iuf" or not ((fractions > 0) & (fractions <= 1)).all():
            raise ValueError(f"fractions={self.fractions}: wanted numbers above 0 and at most 1.")
        if self.pc_stop < 1:
            raise ValueError(f"pc_stop={self.pc_stop}: wanted a number from 1; fixed_pcs=B removes B components.")
        if self.n_pcs < 0 or (self.fixed_pcs is not None and not 0 <= self.fixed_pcs <= self.n_pcs):
            raise ValueError(f"n_pcs={self.n_pcs}, fixed_pcs={self.fixed_pcs}: wanted 0 <= fixed_pcs <= n_pcs.")
        if not 0 <= self.duration < np.inf:
            raise ValueError(f"duration={self.duration}: wanted the stimulus duration in seconds, 0 or more.")
        if self.time_axis not in (0, -1):
            raise ValueError(f"time_axis={self.time_axis}: wanted 0, volumes first, or -1, volumes last.")
        degrees = np.atleast_1d(0 if self.degree is None else self.degree)
        if degrees.dtype.kind not in "iu" or degrees.min(initial=0) < 0:
            raise ValueError(f"degree={self.degree}: wanted whole numbers, 0 or more, in each run.")
        if self.voxel_batch is not None and self.voxel_batch < 1:
            raise ValueError(f"voxel_batch={self.voxel_batch}: wanted at least 1.")

    def digest(self):
        """Return a string that identifies all options."""
        masks = [mask if mask is None else np.asarray(mask, bool) for mask in (self.noise_mask, self.pc_mask)]
        return f"{self} " + " ".join("all" if m is None else hashlib.sha256(m.tobytes()).hexdigest() for m in masks)


def flatten_space(data, options):
    """Return data as one (n_volumes, n_voxels) array per run, and options with (n_voxels,) bool masks.

    Raises ValueError when shapes do not match `GLMOptions.time_axis`, or differ between runs or between data and masks.
    """
    if not isinstance(options, GLMOptions):
        raise ValueError(f"options must be GLMOptions(...), got {type(options).__name__}")
    is_last, shapes = options.time_axis == -1, [np.shape(bold) for bold in data]
    spaces = [shape[:-1] if is_last else shape[1:] for shape in shapes]
    for run, (shape, space) in enumerate(zip(shapes, spaces, strict=True), start=1):
        if is_last and space != spaces[0]:
            raise ValueError(f"Run {run}: data must have the voxels of run 1, {spaces[0]}, before its last axis, got {shape}.")
        if not is_last and len(shape) > 2:
            raise ValueError(
                f"Run {run}: data must be (n_volumes, n_voxels), got shape {shape}. Give volumes with time as the last "
                "axis, (X, Y, Z, n_volumes), and GLMOptions(time_axis=-1)."
            )
    if is_last:
        data = [np.moveaxis(np.asarray(bold), -1, 0).reshape(shape[-1], -1) for bold, shape in zip(data, shapes, strict=True)]
    masks = {name: _flat_mask(options, name, spaces[0]) for name in ("noise_mask", "pc_mask")} if spaces else {}
    return data, replace(options, time_axis=0, **masks)


def _flat_mask(options, name, space):
    """Return a mask as (n_voxels,) bool, or None if there is none."""
    mask = getattr(options, name)
    if mask is None:
        return None
    mask = np.asarray(mask)
    if mask.shape not in (space, (np.prod(space, dtype=int),)) or not np.isin(mask, (0, 1)).all():
        raise ValueError(f"{name} must be True or False for each voxel of {space}, got {mask.dtype} of shape {mask.shape}.")
    return mask.astype(bool).ravel()
