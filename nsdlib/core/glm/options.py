"""GLMOptions of the single-trial GLM: those of GLMsingle that are kept, with its defaults."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from nsdlib.core.glm.hrf import STIMULUS_SECONDS

FRACTIONS = tuple(np.linspace(1, 0.05, 20))


@dataclass(frozen=True)
class GLMOptions:
    """GLMOptions of the GLM; the defaults are GLMsingle's.

    Attributes
    ----------
    duration : float
        Seconds that a stimulus lasts.
    degree : int or None
        Of the drift polynomials; half the run's minutes when None.
    n_pcs : int
        Most noise components that are tried; 0 switches denoising off.
    fixed_pcs : int or None
        Remove this many, without cross-validation.
    pc_stop : float
        At least 1, see `denoise.choose_number`; or -B, GLMsingle's way to say fixed_pcs = B.
    brain_fraction : float
        Voxels of the noise pool are brighter than this times the 99th percentile of the voxels that can be fitted.
    brain_r2 : float or None
        ON-OFF R2 (percent) below which a voxel may be noise and above which it helps to choose the number of components;
        `denoise.tail_threshold` of the data when None.
    fractions : tuple of float
        Ridge fractions to choose from; (1,) is no ridge, a single one is used as it is.
    autoscale : bool
        Undo the overall shrinkage of ridge.
    lss : bool
        Type B by least squares separate: each trial against the sum of the others of its run, instead of all at once.
    folds : tuple of tuples of int, or None
        Runs (from 0) held out together; one at a time when None.
    sessions : tuple of int, or None
        Session of each run; betas are z-scored in each when repeats are compared. All one session when None.
    voxel_batch : int
        Most voxels that are fitted at once.
    device : torch.device or str
    progress : bool
        Show bars.
    """

    duration: float = STIMULUS_SECONDS
    degree: int | None = None
    n_pcs: int = 10
    fixed_pcs: int | None = None
    pc_stop: float = 1.05
    brain_fraction: float = 0.1
    brain_r2: float | None = None
    fractions: tuple = FRACTIONS
    autoscale: bool = True
    lss: bool = False
    folds: tuple | None = None
    sessions: tuple | None = None
    voxel_batch: int = 2000
    device: Any = "cpu"
    progress: bool = False

    def __post_init__(self):
        fractions = np.asarray(self.fractions, dtype=float)
        if not fractions.size or not ((fractions > 0) & (fractions <= 1)).all():
            raise ValueError(f"fractions={self.fractions}: wanted numbers above 0 and at most 1.")
        if not (self.pc_stop >= 1 or (self.pc_stop <= 0 and self.pc_stop == int(self.pc_stop))):
            raise ValueError(f"pc_stop={self.pc_stop}: wanted a number from 1, or -B to remove B components.")
        if self.pc_stop <= 0:
            if self.fixed_pcs not in (None, -int(self.pc_stop)):
                raise ValueError(
                    f"pc_stop={self.pc_stop} and fixed_pcs={self.fixed_pcs} contradict each other: give one."
                )
            object.__setattr__(self, "fixed_pcs", -int(self.pc_stop))
            object.__setattr__(self, "pc_stop", GLMOptions.pc_stop)
        if self.n_pcs < 0 or (self.fixed_pcs is not None and not 0 <= self.fixed_pcs <= self.n_pcs):
            raise ValueError(f"n_pcs={self.n_pcs}, fixed_pcs={self.fixed_pcs}: wanted 0 <= fixed_pcs <= n_pcs.")
        if not 0 <= self.duration < np.inf:
            raise ValueError(f"duration={self.duration}: wanted how many seconds a stimulus lasts, 0 or more.")
        if self.voxel_batch < 1:
            raise ValueError(f"voxel_batch={self.voxel_batch}: wanted at least 1 voxel at once.")
