"""From BOLD to one beta per trial: HRF of each voxel, shared noise, fractional ridge (Algorithm 1 of the paper).

The computation is that of GLMsingle 1.2 (Prince et al. 2022, eLife 11, e77599) on its default path, types A to D, with
the arithmetic done once instead of many times:

- trials of different runs never overlap, so all normal equations are solved run by run;
- regressors are made once per HRF and projected once per number of noise components, and then the data need not be;
- variance explained comes from products with orthonormal rows, no prediction is formed;
- all ridge fractions share one eigendecomposition, and repeats are compared by one matrix product.

All arithmetic is float64; memory beyond input and output is bounded by `Options.voxel_batch`.
"""

import hashlib
import warnings

import numpy as np

from nsdlib.core.glm import denoise, fracridge, hrf, steps
from nsdlib.core.glm.design import check_confounds, design_from_events, finite_voxels, make_runs, percent, voxel_run
from nsdlib.core.glm.options import Options
from nsdlib.core.glm.scratch import Scratch

__all__ = ["VARIABLES", "Options", "design_from_events", "explain", "fit", "name_axes"]

FEWEST_PC_VOXELS = 100  # voxels that choose the number of components when none passes the threshold
N_NAMED = 5  # voxels that a note names before it says only how many more there are

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
    "pc_voxels": (("voxel",), "whether this voxel helps to choose the number of components"),
    "components": (("run", "volume", "component"), "orthonormal time courses; NaN behind the end of a shorter run"),
    "pc_cv_error": (("n_components", "voxel"), "cross-validated squared error of z-scored betas, summed"),
    "pc_curve": (("n_components",), "median over `pc_voxels` of the fall in that error"),
    "fraction": (("voxel",), "ridge: share of the betas' length that was kept"),
    "fraction_cv_error": (("candidate", "voxel"), "cross-validated squared error of z-scored betas, summed"),
    "fractions": (("candidate",), "ridge fractions to choose from"),
    "scale": (("voxel",), "factor that undid the shrinkage"),
    "offset": (("voxel",), "offset that went with it, scanner units"),
}


def fit(design, data, *, tr, hrfs=None, canonical=None, confounds=None, options=None, scratch=None):
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
        HRFs to choose from, sampled at the volumes; `hrf.sampled_library` when not given.
    canonical : (n_samples,) array, optional
        HRF of the ON-OFF model; `hrf.canonical` when not given.
    confounds : list of (n_volumes, any number) arrays, optional
        Nuisance regressors of each run, such as motion parameters; removed in every step beside drifts and components.
    options : Options, optional
    scratch : Path, optional
        A folder for the arrays in progress, for this fit alone. Interrupted and called again with the same input, the fit
        goes on behind the last finished batch of voxels. The caller removes it.

    Returns
    -------
    xarray.Dataset
        The `VARIABLES` of this module, and the attributes `threshold` (ON-OFF R2 from which voxels count as responding),
        `n_pcs` (components removed) and `notes` (steps left out, and why; voxels that could not be fitted). Every floating
        result of a voxel that is constant, or holds a value that is not finite, is NaN, but the mean of a constant one.

    Raises
    ------
    ValueError
        When shapes or values of design and data do not fit, when no voxel can be fitted, when two trials begin at once,
        when the trials of a run cannot be told apart, when folds or sessions do not fit the runs, or when `scratch` holds
        files that no fit wrote.

    Notes
    -----
    Where the reference's code and its documentation disagree this follows the code on the default path. Repeats choose the
    number of components and the ridge fractions: without any in different runs both are switched off, with a warning.
    Confounds are removed in every fit; GLMsingle 1.2 forgets its own in those without noise components.
    """
    options = options or Options()
    runs = make_runs(design, data, tr=tr, degree=options.degree, device=options.device)
    hrfs = hrf.sampled_library(tr, options.duration) if hrfs is None else np.atleast_2d(hrfs)
    canonical = hrf.canonical(tr, options.duration) if canonical is None else canonical
    repeats = denoise.find_repeats(runs, folds=options.folds, sessions=options.sessions)
    like = runs[0].drift
    data = [np.asarray(series) for series in data]
    work = steps.Work(
        runs, data, like.new_tensor(hrfs), options.voxel_batch, options.progress,
        scratch=Scratch(scratch, "" if scratch is None else _describe(design, data, tr, hrfs, canonical, confounds, options)),
        usable=finite_voxels(data), confounds=check_confounds(confounds, runs),
    )  # fmt: skip
    found = steps.fit_onoff(work, like.new_tensor(canonical))
    found |= steps.choose_hrfs(work, found["energy"], lss=options.lss)

    denoising, notes = _denoise(work, found, repeats, options)
    notes += _unfitted(work.usable, found["energy"])
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
    return _dataset(found | denoising, work.usable, attributes)


def name_axes(found, attributes):
    """An xarray.Dataset of those of the `VARIABLES` that `found` (name to array) holds, float64 as float32."""
    import xarray as xr

    variables = {}
    for name, (axes, meaning) in VARIABLES.items():
        if name in found:
            values = np.asarray(found[name])
            keep = values.dtype if values.dtype != np.float64 or name == "fractions" else np.float32
            values = np.asarray(values, keep, order="C")
            variables[name] = (axes, values, {"long_name": meaning})
    return xr.Dataset(variables, attrs=attributes)


def explain(labels, series, betas, *, hrf, tr, mean=None):
    """One voxel's series in a run without its drift, and the part of it that single-trial betas explain.

    Parameters
    ----------
    labels : (n_volumes,) int
        The run's design, a number other than 0 at each onset.
    series : (n_volumes,) float
        BOLD, scanner units.
    betas : (n_trials,) float
        Percent signal change.
    hrf : (n_samples,) float
        The voxel's HRF, sampled at the volumes.
    tr : float
        Seconds between volumes.
    mean : float, optional
        Of the voxel over all runs, of which the betas are percent (`fit`'s `mean`); of this run when not given.

    Returns
    -------
    measured, explained : (n_volumes,) float64
        Percent of that mean.
    """
    run, measured = voxel_run(labels, series, tr=tr, mean=mean)
    explained = run.regressors(run.drift.new_tensor(hrf)) @ run.drift.new_tensor(betas)
    return measured[:, 0].numpy(), explained.numpy()


def _denoise(work, found, repeats, options):
    """Step 2: noise pool, components, and which of them to remove; and what had to be left out."""
    r2, mean, fitted = np.nan_to_num(found["onoff_r2"], nan=np.inf), found["mean"], found["energy"] > 0
    threshold = denoise.tail_threshold(found["onoff_r2"]) if options.brain_r2 is None else options.brain_r2
    pool = (mean > options.brain_share * np.percentile(mean[fitted], 99)) & (r2 < threshold)
    pc_voxels = np.nan_to_num(found["onoff_r2"], nan=-np.inf) > threshold
    result = {"noise_pool": pool, "pc_voxels": pc_voxels, "threshold": threshold}
    result["removed"] = [run.drift[:, :0] for run in work.runs]
    if options.n_pcs == 0 or options.fixed_pcs == 0:
        return result, []
    if repeats is None and options.fixed_pcs is None:
        return result, ["Denoising is off: no condition comes back in another run, so the components cannot be tested."]
    if pool.sum() <= options.n_pcs:
        return result, [f"Denoising is off: {pool.sum()} voxels in the noise pool, wanted more than {options.n_pcs}."]
    components = steps.find_components(work, pool, n_pcs=options.n_pcs)
    result["components"] = _padded(components)
    count, notes = options.fixed_pcs, []
    if count is None:
        if not pc_voxels.any():
            notes = [
                f"No voxel has an ON-OFF R2 above {threshold:.2f}: the {FEWEST_PC_VOXELS} best choose the components."
            ]
            best = np.argsort(-np.nan_to_num(found["onoff_r2"], nan=-np.inf))[:FEWEST_PC_VOXELS]
            pc_voxels[best[fitted[best]]] = True
        cv_error = steps.compare_counts(work, found["hrf_index"], components, repeats)
        trend = -np.median(cv_error[:, pc_voxels], axis=1).astype(np.float64)
        result |= {"pc_cv_error": cv_error, "pc_curve": trend - trend[0]}
        count = denoise.choose_number(result["pc_curve"], stop=options.pc_stop)
    result["removed"] = [noise[:, :count] for noise in components]
    return result, notes


def _padded(components):
    """Components of all runs in one array (n_runs, n_volumes, n_pcs), NaN behind the end of shorter runs."""
    longest = max(map(len, components))
    result = np.full((len(components), longest, components[0].shape[1]), np.nan, dtype=np.float32)
    for row, noise in zip(result, components, strict=True):
        row[: len(noise)] = noise.cpu()
    return result


def _dataset(found, usable, attributes):
    """The results with named axes, none of them in a folder any more; scanner units become percent of the mean signal."""
    constant = found["energy"] == 0
    with np.errstate(divide="ignore"):
        unit = np.where(constant, np.nan, 100 / np.abs(found["mean"])).astype(np.float32)
    for name in ("onoff_beta", "betas_b", "betas_c", "betas_d"):
        found[name] = found[name] * unit
    for name in ("fraction", "scale", "offset", "pc_cv_error", "fraction_cv_error"):
        if name in found:
            found[name] = np.where(constant, np.float32(np.nan), found[name])
    found["mean"] = np.where(usable, found["mean"], np.float32(np.nan))
    return name_axes(found, attributes)


def _unfitted(usable, energy):
    """A note on voxels that are not finite, and one on constant ones."""
    kinds = {"hold values that are not finite": ~usable, "are constant": usable & (energy == 0)}
    return [
        f"{wrong.sum()} of {len(wrong)} voxels {what} ({_named(wrong)}): their results are NaN."
        for what, wrong in kinds.items()
        if wrong.any()
    ]


def _named(wrong):
    """The first voxels of a mask by number."""
    numbers = np.flatnonzero(wrong)
    more = [f"and {len(numbers) - N_NAMED} more"] if len(numbers) > N_NAMED else []
    return ", ".join([f"voxel {number}" for number in numbers[:N_NAMED]] + more)


def _describe(design, data, tr, hrfs, canonical, confounds, options):
    """A text that differs when anything differs that a fit depends on."""
    digest = hashlib.blake2b()
    for array in (*design, *data, hrfs, canonical, *(confounds or ())):
        digest.update(repr((np.shape(array), np.asarray(array).dtype)).encode())
        digest.update(np.ascontiguousarray(array))
    return f"{digest.hexdigest()} tr={tr} {options}"
