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

import numpy as np
import torch

from nsdlib import fracridge, glm_denoise, glm_steps, hrf
from nsdlib.glm_design import make_runs, percent
from nsdlib.glm_options import Options
from nsdlib.nsd import TR

__all__ = ["VARIABLES", "Options", "explain", "fit", "fit_sessions"]

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


def fit_sessions(subject, n_sessions, *, roi="nsdgeneral", options=None):
    """Fit sessions of NSD, each alone, over the whole brain; keep the betas of a region and maps of the rest.

    Parameters
    ----------
    subject : nsd.NSDSubject
    n_sessions : int
        From the first.
    roi : str
        A label volume; betas of its voxels with any label are kept.
    options : Options, optional

    Returns
    -------
    xarray.Dataset
        betas_b, betas_c, betas_d (trial, roi_voxel); the other variables of one axis "voxel" as (session, voxel), hrf_r2,
        pc_curve (NaN where denoising was off) and fractions; for each session threshold, n_pcs and notes. Coordinates:
        session (from 1), trial (from 0), voxel and roi_voxel (flat C-order index into the volume).

    Raises
    ------
    ValueError
        As `fit`, and when the region has no voxel in the brain mask.
    """
    import xarray as xr

    options = options or Options()
    brain = np.flatnonzero(subject.brainmask)
    kept = np.flatnonzero(subject.roi(roi)[subject.brainmask] > 0)
    if not len(kept):
        raise ValueError(f"{roi} has no voxel inside the brain mask of subject {subject.subject}: choose another roi.")
    betas, maps = [], []
    for session in range(1, n_sessions + 1):
        design = [subject.design(session, number) for number in range(1, subject.n_runs(session) + 1)]
        series = [
            subject.timeseries(session, number, subject.brainmask)[: len(labels)]
            for number, labels in enumerate(design, start=1)
        ]
        found = fit(design, series, tr=TR, options=options)
        betas.append(found[["betas_b", "betas_c", "betas_d"]].isel(voxel=kept).rename(voxel="roi_voxel"))
        maps.append(_session_maps(found, options))
    result = xr.merge([xr.concat(betas, "trial"), xr.concat(maps, "session")]).drop_attrs(deep=False)
    sessions, trials = np.arange(1, n_sessions + 1), np.flatnonzero(subject.session <= n_sessions)
    result["fractions"] = ("candidate", np.unique(options.fractions)[::-1])
    return result.assign_coords(session=sessions, trial=trials, voxel=brain, roi_voxel=brain[kept])


def explain(labels, series, betas, *, hrf, tr):
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

    Returns
    -------
    measured, explained : (n_volumes,) float64
        Percent of the mean of the run.
    """
    series = np.asarray(series, dtype=np.float64)[:, None]
    [run] = make_runs([labels], [series], tr=tr)
    measured = run.without_drift(torch.as_tensor(series))[:, 0] * (100 / series.mean())
    explained = run.regressors(run.drift.new_tensor(hrf)) @ run.drift.new_tensor(betas)
    return measured.numpy(), explained.numpy()


def _session_maps(found, options):
    """What is kept of a session beside its betas."""
    import xarray as xr

    one_axis = [name for name, (axes, _) in VARIABLES.items() if axes == ("voxel",) and name in found]
    maps = found[[*one_axis, "hrf_r2"]]
    unknown = xr.DataArray(np.full(options.n_pcs + 1, np.nan, np.float32), dims="n_components")
    maps["pc_curve"] = found.get("pc_curve", unknown)
    return maps.assign({name: ((), found.attrs[name]) for name in ("threshold", "n_pcs", "notes")}).drop_attrs(
        deep=False
    )


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
