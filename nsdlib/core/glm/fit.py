"""Single-trial betas from BOLD: HRF of each voxel, shared noise, fractional ridge (Algorithm 1 of the paper).

The results are those of GLMsingle 1.2 (Prince et al. 2022, eLife 11, e77599) on its default path, types A to D. Given the same
HRFs, the betas agree to 2e-5 (relative rms). The HRFs of `hrf` differ in the last digit; with these the betas agree as well,
except in voxels where two HRFs fit almost equally well and the other one is selected. Fewer computations are needed:

- trials of different runs never overlap, so all normal equations are solved run by run;
- matrices that do not depend on the data are computed once for all HRFs and runs;
- noise components are removed one by one from the existing betas, by a rank-one update in each run;
- the explained variance comes from products with orthonormal rows, without computing predictions;
- all ridge fractions share one eigendecomposition, and repeats are compared by one matrix product.

All arithmetic is float64; memory beyond input and output is bounded by `GLMOptions.voxel_batch`.
"""

import hashlib
import warnings

import numpy as np
import torch

from nsdlib.core.files import some
from nsdlib.core.glm import denoise, fracridge, hrf, steps
from nsdlib.core.glm.checks import check_confounds, check_freedom, check_hrfs, check_numbers, check_unit
from nsdlib.core.glm.design import make_run_designs, voxel_series
from nsdlib.core.glm.options import GLMOptions, flatten_space
from nsdlib.core.glm.results import make_dataset
from nsdlib.core.glm.scratch import Scratch

__all__ = ["GLMOptions", "explain", "fit_glm"]

FEWEST_PC_VOXELS = 100  # voxels that select the number of components when none passes the threshold


def fit_glm(design, data, *, tr, hrfs=None, canonical=None, confounds=None, options=None, scratch=None):
    """Fit one beta per trial and voxel, in three steps.

    Where the code and the documentation of GLMsingle disagree, this follows the code on the default path. Repeats select the
    number of components and the ridge fractions; if no condition repeats in another fold, both are off, with a warning.
    Confounds are removed in every fit. GLMsingle 1.2 ignores them in the fits without noise components, and in the other fits
    when run 1 has none.

    Parameters
    ----------
    design : list of (n_volumes,) int or (n_volumes, n_conditions) 0/1 arrays
        One per run. A vector (as in NSD's design files) holds the condition's number at each onset, 0 elsewhere. The columns of
        matrices are matched between runs by name if they have names (pandas), else by position.
    data : list of (n_volumes, n_voxels) float arrays
        BOLD in scanner units, neither filtered nor scaled: for betas in percent, most voxels' means must exceed their standard
        deviations. With `GLMOptions.time_axis` -1, time is last: (n_voxels, n_volumes) or (X, Y, Z, n_volumes), and the voxels
        of the results are those of a volume in C order.
    tr : float
        Seconds between volumes.
    hrfs : (n_hrfs, n_samples) array, optional
        Candidate HRFs, sampled at the volumes; by default `hrf.sampled_library`.
    canonical : (n_samples,) array, optional
        HRF of the ON-OFF model; by default `hrf.canonical`. Like `hrfs`, it is divided by its largest sample.
    confounds : list of (n_volumes, any number) arrays, optional
        Nuisance regressors of each run, such as motion parameters; removed in every step, like drifts and components.
    options : GLMOptions, optional
    scratch : Path, optional
        A folder for intermediate arrays, used only by this fit. An interrupted fit that is called again with the same input
        resumes after the last finished batch of voxels. The caller removes the folder.

    Returns
    -------
    xarray.Dataset
        The `VARIABLES` of `results`, and the attributes `threshold` (ON-OFF R2 above which a voxel counts as responding),
        `n_pcs` (components removed) and `notes` (skipped steps with reasons; voxels and trials that could not be fitted). For a
        voxel that is constant or has non-finite values, all floating results are NaN, except the mean of a constant voxel. A
        trial so late in its run that less than 5 % of its response was measured has betas of 0 and affects no selection.

    Raises
    ------
    ValueError
        When design, data, folds or sessions do not match, no voxel or no trial can be fitted, two trials begin in one volume,
        the trials of a run cannot be separated or are not fewer than its degrees of freedom after drifts, confounds and
        components, or `scratch` holds files that no fit wrote.
    """
    data, options = flatten_space(data, options or GLMOptions())
    designs = make_run_designs(design, data, tr=tr, duration=options.duration, degree=options.degree)
    hrfs = check_hrfs(hrf.sampled_library(tr, options.duration) if hrfs is None else hrfs, "hrfs")
    [canonical] = check_hrfs(hrf.canonical(tr, options.duration) if canonical is None else canonical, "canonical", n_max=1)
    confounds, device = check_confounds(confounds, designs), torch.device(options.device)
    late, data = [run.late(torch.as_tensor(canonical)) for run in designs], [np.asarray(bold) for bold in data]
    repeats = denoise.find_repeats(designs, folds=options.folds, sessions=options.sessions, late=late, device=device)
    check_numbers(data)
    scratch = Scratch(scratch, "" if scratch is None else _digest(designs, data, tr, hrfs, canonical, confounds, options))
    problem = steps.Problem(
        designs=designs, data=data, hrfs=torch.as_tensor(hrfs), confounds=confounds, late=late, scratch=scratch, device=device,
        voxel_batch=options.voxel_batch, progress=options.progress,
    )  # fmt: skip
    results = steps.fit_onoff(problem, torch.as_tensor(canonical))
    small_mean = check_unit(results, sum(map(len, data))) if options.percent else np.zeros(problem.n_voxels, bool)
    results |= steps.choose_hrfs(problem, results["energy"], results["energy_run"])
    attributes, notes = _denoise(problem, results, repeats, options)
    notes += _unfitted(results["mean"], results["energy"], small_mean) + _unmeasured(designs, late)
    notes += [] if repeats else denoise.skipped_steps(options)
    fractions = options.fractions if repeats or len(set(options.fractions)) == 1 else (1.0,)
    results |= fracridge.regularise(
        problem, results, components=results.pop("removed"), repeats=repeats, fractions=fractions, autoscale=options.autoscale
    )
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return make_dataset(results, attributes | {"notes": " ".join(notes)}, percent=options.percent)


def explain(labels, series, betas, *, hrf, tr, mean=None):
    """Return one voxel's detrended series in a run, and the part that single-trial betas explain.

    Parameters
    ----------
    labels : (n_volumes,) int
        The run's design, nonzero at each onset.
    series : (n_volumes,) float
        BOLD, scanner units.
    betas : (n_trials,) float
        Percent signal change.
    hrf : (n_samples,) float
        The voxel's HRF, sampled at the volumes; it is divided by its largest sample.
    tr : float
        Seconds between volumes.
    mean : float, optional
        The voxel's mean over all runs (`mean` of `fit_glm`); by default the mean of this run. Betas and both results,
        (n_volumes,) float64, are in percent of it.
    """
    design, measured = voxel_series(labels, series, tr=tr, mean=mean)
    [hrf] = check_hrfs(hrf, "hrf", n_max=1)
    explained = design.regressors(design.drift.new_tensor(hrf)) @ design.drift.new_tensor(np.asarray(betas, np.float64))
    return measured[:, 0].numpy(), explained.numpy()


def _denoise(problem, results, repeats, options):
    """Add the noise pool, components, their number and type B to `results`; return attributes and notes on skipped steps."""
    r2, mean, fitted = results["onoff_r2"], results["mean"], results["energy"] > 0
    threshold = denoise.tail_threshold(r2) if options.brain_r2 is None else options.brain_r2
    pc_threshold = threshold if options.pc_r2 is None else options.pc_r2
    allowed_in_pool, allowed_pc = (fitted if mask is None else fitted & mask for mask in (options.noise_mask, options.pc_mask))
    allowed_r2 = np.where(allowed_pc, r2, -np.inf)
    bright = mean > options.brain_fraction * np.percentile(mean[fitted], 99)
    pool, pc_voxels = allowed_in_pool & bright & (np.nan_to_num(r2, nan=np.inf) < threshold), allowed_r2 > pc_threshold
    results |= {"noise_pool": pool, "pc_voxels": pc_voxels, "removed": [own.no_columns for own in problem.designs]}
    n_pcs, components, notes = options.fixed_pcs, None, []
    is_on = options.n_pcs > 0 and n_pcs != 0 and (repeats is not None or n_pcs is not None)
    if is_on and pool.sum() <= options.n_pcs:
        notes.append(f"Denoising is off: {pool.sum()} voxels in the noise pool, wanted more than {options.n_pcs}.")
    elif is_on:
        check_freedom(problem.designs, problem.confounds, n_pcs=n_pcs or options.n_pcs)
        components = steps.find_components(problem, pool & (results["energy_run"] > 0), n_pcs=options.n_pcs)
        padded = torch.nn.utils.rnn.pad_sequence(components, batch_first=True, padding_value=torch.nan)
        results["components"] = padded.float().numpy()  # (n_runs, n_volumes, n_pcs)
    tested_components = components if n_pcs is None else None
    if tested_components and not allowed_pc.any():
        raise ValueError(
            f"pc_mask: none of its {options.pc_mask.sum()} voxels can be fitted; wanted at least one, to select n_pcs."
        )
    results |= steps.fit_trials(problem, results["hrf_index"], lss=options.lss, components=tested_components, repeats=repeats)
    if tested_components:
        if not pc_voxels.any():
            notes.append(
                f"No voxel has an ON-OFF R2 above {pc_threshold:.2f}: the {FEWEST_PC_VOXELS} with the highest R2 select n_pcs."
            )
            best = np.argsort(-allowed_r2)[:FEWEST_PC_VOXELS]
            pc_voxels[best[allowed_pc[best]]] = True
        trend = -np.median(results["pc_cv_error"][:, pc_voxels], axis=1).astype(np.float64)
        results["pc_curve"] = trend - trend[0]
        n_pcs = denoise.choose_number(results["pc_curve"], stop=options.pc_stop)
    n_pcs = n_pcs if components else 0
    if n_pcs:
        results["removed"] = [columns[:, :n_pcs] for columns in components]
    return {"n_pcs": n_pcs, "threshold": threshold}, notes


def _unfitted(mean, energy, small_mean):
    """Return notes on voxels that are not finite, are constant, or have too small a mean."""
    are_nan, finite = "their results are NaN", np.isfinite(mean)
    rows = [
        ("hold values that are not finite", ~finite, are_nan),
        ("are constant", finite & (energy == 0), are_nan),
        ("vary more than their mean", small_mean, "percent signal change is unreliable there"),
    ]
    return [
        f"{mask.sum()} of {len(mask)} voxels {reason} ({_named(mask)}): {consequence}."
        for reason, mask, consequence in rows
        if mask.any()
    ]


def _named(mask):
    """List the first voxels of a mask by number."""
    return some([f"voxel {number}" for number in np.flatnonzero(mask)])


def _unmeasured(designs, late):
    """Return a note on trials that begin too late in their run."""
    places = [
        f"run {run}, volume {volume}"
        for run, (design, late_run) in enumerate(zip(designs, late, strict=True), start=1)
        for volume in design.onsets[late_run].tolist()
    ]
    if not places:
        return []
    return [
        f"{len(places)} of {sum(map(len, late))} trials begin too close to the end of their run to be measured "
        f"({some(places)}): their betas are 0 and affect no selection."
    ]


def _digest(designs, data, tr, hrfs, canonical, confounds, options):
    """Return a string that identifies all input of a fit."""
    digest = hashlib.blake2b()
    trials = [part for run in designs for part in (run.onsets, run.conditions)]
    for array in (*trials, *data, hrfs, canonical, *confounds):
        digest.update(repr((np.shape(array), np.asarray(array).dtype)).encode())
        digest.update(np.ascontiguousarray(array))
    return f"{digest.hexdigest()} tr={tr} {options.digest()}"
