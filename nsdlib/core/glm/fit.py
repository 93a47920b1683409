"""From BOLD to one beta per trial: HRF of each voxel, shared noise, fractional ridge (Algorithm 1 of the paper).

The computation is that of GLMsingle 1.2 (Prince et al. 2022, eLife 11, e77599) on its default path, types A to D. Given the
same HRFs, the betas are its own to 2e-5 (relative rms); with the table of `hrf`, which has its digits but for the last, they
are too, unless a voxel lies so near a tie between two HRFs that it takes the other. The arithmetic is done once instead of
many times:

- trials of different runs never overlap, so all normal equations are solved run by run;
- regressors are made once per HRF and projected once per number of noise components, and then the data need not be;
- variance explained comes from products with orthonormal rows, no prediction is formed;
- all ridge fractions share one eigendecomposition, and repeats are compared by one matrix product.

All arithmetic is float64; memory beyond input and output is bounded by `GLMOptions.voxel_batch`.
"""

import hashlib
import warnings

import numpy as np

from nsdlib.core.glm import denoise, fracridge, hrf, steps
from nsdlib.core.glm.design import check_confounds, finite_voxels, make_run_designs, voxel_series
from nsdlib.core.glm.events import design_from_events
from nsdlib.core.glm.linear import percent
from nsdlib.core.glm.options import GLMOptions
from nsdlib.core.glm.scratch import Scratch

__all__ = ["VARIABLES", "GLMOptions", "design_from_events", "explain", "fit_glm", "name_axes"]

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


def fit_glm(design, data, *, tr, hrfs=None, canonical=None, confounds=None, options=None, scratch=None):
    """Fit one beta per trial and voxel, in three steps.

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
    options : GLMOptions, optional
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
    options = options or GLMOptions()
    designs = make_run_designs(design, data, tr=tr, degree=options.degree, device=options.device)
    hrfs = hrf.sampled_library(tr, options.duration) if hrfs is None else np.atleast_2d(hrfs)
    canonical = hrf.canonical(tr, options.duration) if canonical is None else canonical
    repeats = denoise.find_repeats(designs, folds=options.folds, sessions=options.sessions)
    like = designs[0].drift
    data = [np.asarray(bold) for bold in data]
    problem = steps.Problem(
        designs, data, like.new_tensor(hrfs), options.voxel_batch, options.progress,
        scratch=Scratch(scratch, "" if scratch is None else _digest(design, data, tr, hrfs, canonical, confounds, options)),
        usable=finite_voxels(data), confounds=check_confounds(confounds, designs),
    )  # fmt: skip
    results = steps.fit_onoff(problem, like.new_tensor(canonical))
    results |= steps.choose_hrfs(problem, results["energy"], lss=options.lss)

    denoised, attributes, notes = _denoise(problem, results, repeats, options)
    notes += _unfitted(problem.usable, results["energy"])
    removed = denoised.pop("removed")
    fractions = options.fractions
    if repeats is None and len(set(fractions)) > 1:
        fractions = (1.0,)
        notes.append("Ridge is off: no condition comes back in another run, so no fraction can be chosen.")
    results |= denoised | fracridge.regularise(
        problem, results["hrf_index"], components=removed, repeats=repeats, fractions=fractions,
        autoscale=options.autoscale,
    )  # fmt: skip
    for kind in "cd":
        results[f"r2_{kind}"] = percent(results[f"explained_{kind}"], results["energy"])
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return _dataset(results, problem.usable, attributes | {"notes": " ".join(notes)})


def name_axes(results, attributes):
    """Return those of the `VARIABLES` that `results` (name to array) holds as an xarray.Dataset, float64 as float32."""
    import xarray as xr

    variables = {}
    for name, (axes, meaning) in VARIABLES.items():
        if name in results:
            values = np.asarray(results[name])
            dtype = np.float32 if values.dtype == np.float64 and name != "fractions" else values.dtype
            variables[name] = (axes, np.asarray(values, dtype, order="C"), {"long_name": meaning})
    return xr.Dataset(variables, attrs=attributes)


def explain(labels, series, betas, *, hrf, tr, mean=None):
    """Return one voxel's series in a run without its drift, and the part of it that single-trial betas explain.

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
    design, measured = voxel_series(labels, series, tr=tr, mean=mean)
    explained = design.regressors(design.drift.new_tensor(hrf)) @ design.drift.new_tensor(betas)
    return measured[:, 0].numpy(), explained.numpy()


def _denoise(problem, results, repeats, options):
    """Find noise pool and components, and choose those to remove; return results, attributes, and notes on what was left out."""
    r2, mean, fitted = results["onoff_r2"], results["mean"], results["energy"] > 0
    threshold = denoise.tail_threshold(r2) if options.brain_r2 is None else options.brain_r2
    highest = np.nan_to_num(r2, nan=-np.inf)
    bright = mean > options.brain_fraction * np.percentile(mean[fitted], 99)
    pool, pc_voxels = bright & (np.nan_to_num(r2, nan=np.inf) < threshold), highest > threshold
    removed = [design.no_columns for design in problem.designs]
    denoised = {"noise_pool": pool, "pc_voxels": pc_voxels, "removed": removed}
    attributes, notes = {"n_pcs": 0, "threshold": threshold}, []
    if options.n_pcs == 0 or options.fixed_pcs == 0:
        return denoised, attributes, notes
    if repeats is None and options.fixed_pcs is None:
        notes.append("Denoising is off: no condition comes back in another run, so the components cannot be tested.")
        return denoised, attributes, notes
    if pool.sum() <= options.n_pcs:
        notes.append(f"Denoising is off: {pool.sum()} voxels in the noise pool, wanted more than {options.n_pcs}.")
        return denoised, attributes, notes
    components = steps.find_components(problem, pool, n_pcs=options.n_pcs)
    denoised["components"] = _padded(components)
    count = options.fixed_pcs
    if count is None:
        if not pc_voxels.any():
            notes.append(
                f"No voxel has an ON-OFF R2 above {threshold:.2f}: the {FEWEST_PC_VOXELS} best choose the components."
            )
            best = np.argsort(-highest)[:FEWEST_PC_VOXELS]
            pc_voxels[best[fitted[best]]] = True
        cv_error = steps.compare_counts(problem, results["hrf_index"], components, repeats)
        trend = -np.median(cv_error[:, pc_voxels], axis=1).astype(np.float64)
        denoised |= {"pc_cv_error": cv_error, "pc_curve": trend - trend[0]}
        count = denoise.choose_number(denoised["pc_curve"], stop=options.pc_stop)
    denoised["removed"] = [columns[:, :count] for columns in components]
    return denoised, attributes | {"n_pcs": count}, notes


def _padded(components):
    """Return components of all runs as (n_runs, n_volumes, n_pcs) float32, NaN behind the end of shorter runs."""
    longest = max(map(len, components))
    padded = np.full((len(components), longest, components[0].shape[1]), np.nan, dtype=np.float32)
    for row, columns in zip(padded, components, strict=True):
        row[: len(columns)] = columns.cpu()
    return padded


def _dataset(results, usable, attributes):
    """Name the axes of the results, copy them out of the scratch folder, and convert betas to percent of the mean signal."""
    constant = results["energy"] == 0
    with np.errstate(divide="ignore"):
        unit = np.where(constant, np.nan, 100 / np.abs(results["mean"])).astype(np.float32)
    for name in ("onoff_beta", "betas_b", "betas_c", "betas_d"):
        results[name] = results[name] * unit
    for name in ("fraction", "scale", "offset", "pc_cv_error", "fraction_cv_error"):
        if name in results:
            results[name] = np.where(constant, np.float32(np.nan), results[name])
    results["mean"] = np.where(usable, results["mean"], np.float32(np.nan))
    return name_axes(results, attributes)


def _unfitted(usable, energy):
    """Return a note on voxels that are not finite, and one on constant ones."""
    kinds = {"hold values that are not finite": ~usable, "are constant": usable & (energy == 0)}
    return [
        f"{wrong.sum()} of {len(wrong)} voxels {what} ({_named(wrong)}): their results are NaN."
        for what, wrong in kinds.items()
        if wrong.any()
    ]


def _named(wrong):
    """Return the first voxels of a mask by number."""
    numbers = np.flatnonzero(wrong)
    more = [f"and {len(numbers) - N_NAMED} more"] if len(numbers) > N_NAMED else []
    return ", ".join([f"voxel {number}" for number in numbers[:N_NAMED]] + more)


def _digest(design, data, tr, hrfs, canonical, confounds, options):
    """Return a text that differs when anything differs that a fit depends on."""
    digest = hashlib.blake2b()
    for array in (*design, *data, hrfs, canonical, *(confounds or ())):
        digest.update(repr((np.shape(array), np.asarray(array).dtype)).encode())
        digest.update(np.ascontiguousarray(array))
    return f"{digest.hexdigest()} tr={tr} {options}"
