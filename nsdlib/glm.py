"""From BOLD to one beta per trial: HRF of each voxel, shared noise, fractional ridge (Algorithm 1 of the paper).

The computation is that of GLMsingle 1.2 (Prince et al. 2022, eLife 11, e77599) on its default path, types A to D, with
the arithmetic done once instead of many times:

- trials of different runs never overlap, so all normal equations are solved run by run;
- regressors are made once per HRF and projected once per number of noise components, and then the data need not be;
- variance explained comes from products with orthonormal rows, no prediction is formed;
- all ridge fractions share one eigendecomposition, and repeats are compared by one matrix product.

All arithmetic is float64; memory beyond input and output is bounded by `Options.voxel_batch`.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import torch

from nsdlib import fracridge, glm_denoise, glm_steps, hrf
from nsdlib.glm_design import make_runs, percent

FRACTIONS = tuple(np.linspace(1, 0.05, 20))
FEWEST_JUDGES = 100  # voxels that choose the number of components when none passes the threshold

# variable: (axes, unit or meaning)
VARIABLES = {
    "mean": (("voxel",), "mean signal, scanner units"),
    "onoff_r2": (("voxel",), "type A: percent of variance that any trial explains, canonical HRF"),
    "onoff_beta": (("voxel",), "type A: percent signal change"),
    "hrf_r2": (("hrf", "voxel"), "percent of variance that single trials explain, for each HRF"),
    "hrf_index": (("voxel",), "the best HRF, from 0"),
    "betas_b": (("trial", "voxel"), "type B, HRF fitted: percent signal change"),
    "betas_c": (("trial", "voxel"), "type C, shared noise removed: percent signal change"),
    "betas_d": (("trial", "voxel"), "type D, regularised: percent signal change"),
    "r2_b": (("voxel",), "percent of variance that the betas explain"),
    "r2_c": (("voxel",), "the same of type C; what noise components explain is not counted"),
    "r2_d": (("voxel",), "the same of type D, before the shrinkage was undone"),
    "noise_pool": (("voxel",), "whether noise components come from this voxel"),
    "judge": (("voxel",), "whether this voxel helps to choose the number of components"),
    "components": (("run", "volume", "component"), "orthonormal time courses; NaN behind the end of a shorter run"),
    "pc_badness": (("n_components", "voxel"), "cross-validated squared error of z-scored betas, summed"),
    "pc_curve": (("n_components",), "median over the judges of the fall in that error"),
    "fraction": (("voxel",), "ridge: share of the betas' length that was kept"),
    "fraction_badness": (("candidate", "voxel"), "cross-validated squared error of z-scored betas, summed"),
    "fractions": (("candidate",), "ridge fractions to choose from"),
    "scale": (("voxel",), "factor that undid the shrinkage"),
    "offset": (("voxel",), "offset that went with it, scanner units"),
}


@dataclass(frozen=True)
class Options:
    """How the GLM works; the defaults are GLMsingle's.

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
        See `glm_denoise.choose_number`.
    brain_share : float
        Voxels of the noise pool are brighter than this share of the 99th percentile.
    brain_r2 : float or None
        ON-OFF R2 (percent) below which a voxel may be noise and above which it judges; found from the data when None.
    fractions : tuple of float
        Ridge fractions to choose from; (1,) is no ridge, a single one is used as it is.
    autoscale : bool
        Undo the overall shrinkage of ridge.
    folds : tuple of tuples of int, or None
        Runs (from 0) held out together; one at a time when None.
    sessions : tuple of int, or None
        Session of each run; betas are z-scored in each when repeats are compared. All one session when None.
    voxel_batch : int
        Most voxels in work at once.
    device : torch.device or str
    progress : bool
        Show bars.
    """

    duration: float = hrf.STIMULUS_SECONDS
    degree: int | None = None
    n_pcs: int = 10
    fixed_pcs: int | None = None
    pc_stop: float = 1.05
    brain_share: float = 0.1
    brain_r2: float | None = None
    fractions: tuple = FRACTIONS
    autoscale: bool = True
    folds: tuple | None = None
    sessions: tuple | None = None
    voxel_batch: int = 2000
    device: torch.device | str = "cpu"
    progress: bool = False

    def __post_init__(self):
        fractions = np.asarray(self.fractions, dtype=float)
        if not fractions.size or not ((fractions > 0) & (fractions <= 1)).all():
            raise ValueError(f"fractions={self.fractions}: wanted numbers above 0 and at most 1.")
        if self.n_pcs < 0 or (self.fixed_pcs is not None and not 0 <= self.fixed_pcs <= self.n_pcs):
            raise ValueError(f"n_pcs={self.n_pcs}, fixed_pcs={self.fixed_pcs}: wanted 0 <= fixed_pcs <= n_pcs.")
        if self.voxel_batch < 1:
            raise ValueError(f"voxel_batch={self.voxel_batch}: wanted at least 1 voxel at once.")


def fit(design, data, *, tr, hrfs=None, canonical=None, options=None):
    """One beta per trial and voxel, in three steps.

    Parameters
    ----------
    design : list of (n_volumes,) int or (n_volumes, n_conditions) 0/1 arrays
        One a run. As a vector (the form of NSD's design files): the condition's number at its onset, 0 elsewhere.
    data : list of (n_volumes, n_voxels) float arrays
        BOLD in scanner units, neither filtered nor scaled.
    tr : float
        Seconds between volumes.
    hrfs : (n_hrfs, n_samples) array, optional
        HRFs to choose from, sampled at the volumes; `hrf.library` when not given.
    canonical : (n_samples,) array, optional
        HRF of the ON-OFF model; `hrf.canonical` when not given.
    options : Options, optional

    Returns
    -------
    xarray.Dataset
        The `VARIABLES` of this module, and the attributes `threshold` (ON-OFF R2 from which voxels count as responding),
        `n_pcs` (components removed) and `notes` (steps left out, and why). Betas of a voxel whose signal is 0 are NaN.

    Raises
    ------
    ValueError
        When shapes or values of design and data do not fit, when two trials begin at once, or when the trials of a run
        cannot be told apart.

    Notes
    -----
    Where the reference's code and its documentation disagree this follows the code on the default path. Repeats choose the
    number of components and the ridge fractions: without any in different runs both are switched off, with a warning.
    """
    options = options or Options()
    runs = make_runs(design, data, tr=tr, degree=options.degree, device=options.device)
    hrfs = hrf.library(tr, options.duration) if hrfs is None else np.atleast_2d(hrfs)
    canonical = hrf.canonical(tr, options.duration) if canonical is None else canonical
    like = runs[0].drift
    data = [np.asarray(series) for series in data]
    work = glm_steps.Work(runs, data, like.new_tensor(hrfs), options.voxel_batch, options.progress)
    found = glm_steps.fit_onoff(work, like.new_tensor(canonical))
    found |= glm_steps.choose_hrfs(work, found["energy"])

    repeats = glm_denoise.find_repeats(runs, folds=options.folds, sessions=options.sessions)
    denoising, notes = _denoise(work, found, repeats, options)
    removed = denoising.pop("removed")
    fractions = options.fractions
    if repeats is None and len(set(fractions)) > 1:
        fractions = (1.0,)
        notes.append("Ridge is off: no condition comes back in another run, so no fraction can be chosen.")
    found |= fracridge.regularise(
        work, found["hrf_index"], components=removed, repeats=repeats, fractions=fractions, autoscale=options.autoscale
    )
    for kind in "cd":
        found[f"r2_{kind}"] = percent(found[f"explained_{kind}"], found["energy"])
    for note in notes:
        warnings.warn(note, stacklevel=2)
    attributes = {"n_pcs": removed[0].shape[1], "notes": " ".join(notes), "threshold": denoising.pop("threshold")}
    return _dataset(found | denoising, attributes)


def _denoise(work, found, repeats, options):
    """Step 2: noise pool, components, and which of them to remove; and what had to be left out."""
    r2, mean = np.nan_to_num(found["onoff_r2"], nan=np.inf), found["mean"]
    threshold = glm_denoise.tail_threshold(found["onoff_r2"]) if options.brain_r2 is None else options.brain_r2
    pool = (mean > options.brain_share * np.percentile(mean, 99)) & (r2 < threshold)
    judges = np.nan_to_num(found["onoff_r2"], nan=-np.inf) > threshold
    result = {"noise_pool": pool, "judge": judges, "threshold": threshold}
    result["removed"] = [run.drift[:, :0] for run in work.runs]
    if options.n_pcs == 0 or options.fixed_pcs == 0:
        return result, []
    if repeats is None and options.fixed_pcs is None:
        return result, ["Denoising is off: no condition comes back in another run, so the components cannot be tested."]
    if pool.sum() <= options.n_pcs:
        return result, [f"Denoising is off: {pool.sum()} voxels in the noise pool, wanted more than {options.n_pcs}."]
    components = glm_steps.find_components(work, pool, n_pcs=options.n_pcs)
    result["components"] = _padded(components)
    count, notes = options.fixed_pcs, []
    if count is None:
        if not judges.any():
            notes = [f"No voxel has an ON-OFF R2 above {threshold:.2f}: the {FEWEST_JUDGES} best judge the components."]
            judges[np.argsort(-np.nan_to_num(found["onoff_r2"], nan=-np.inf))[:FEWEST_JUDGES]] = True
        badness = glm_steps.compare_counts(work, found["hrf_index"], components, repeats)
        trend = -np.median(badness[:, judges], axis=1).astype(np.float64)
        result |= {"pc_badness": badness, "pc_curve": trend - trend[0]}
        count = glm_denoise.choose_number(result["pc_curve"], stop=options.pc_stop)
    result["removed"] = [noise[:, :count] for noise in components]
    return result, notes


def _padded(components):
    """Components of all runs in one array (n_runs, n_volumes, n_pcs), NaN behind the end of shorter runs."""
    longest = max(map(len, components))
    result = np.full((len(components), longest, components[0].shape[1]), np.nan, dtype=np.float32)
    for row, noise in zip(result, components, strict=True):
        row[: len(noise)] = noise.cpu()
    return result


def _dataset(found, attributes):
    """The results with named axes and units; what was in scanner units becomes percent of the mean signal."""
    import xarray as xr

    with np.errstate(divide="ignore", invalid="ignore"):
        for name in ("onoff_beta", "betas_b", "betas_c", "betas_d"):
            found[name] = found[name] * (100 / np.abs(found["mean"])).astype(found[name].dtype)
    variables = {}
    for name, (axes, meaning) in VARIABLES.items():
        if name in found:
            values = np.asarray(found[name])
            values = values.astype(np.float32) if values.dtype == np.float64 and name != "fractions" else values
            variables[name] = (axes, values, {"long_name": meaning})
    return xr.Dataset(variables, attrs=attributes)
