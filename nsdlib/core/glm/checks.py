"""Checks of the GLM's input other than the design: confounds, HRFs, units, and degrees of freedom."""

import numpy as np

from nsdlib.core.glm.linear import orthonormal

IN_DRIFT = 1e-8  # a confound with at most this fraction of its length outside the drifts is in their span (rest: rounding)
FLAT = 1e-8  # smallest peak of an HRF, relative to the largest sample of all; a lower one indicates a transposed library


def check_confounds(confounds, designs):
    """Return the nuisance regressors of each run, (n_volumes, any) float64, orthonormal and orthogonal to its drifts.

    `confounds` is a list of one (n_volumes, any number) array per run, such as motion parameters. None, or False as in GLMsingle,
    means none. Raises ValueError when they do not fit the runs, are not finite, or leave too few volumes (`check_freedom`).
    """
    if confounds is None or confounds is False:
        confounds = [np.empty((design.n_volumes, 0)) for design in designs]
    if not isinstance(confounds, list | tuple | np.ndarray):
        raise ValueError(f"confounds must be a list of one (n_volumes, any) array per run, got {_form(confounds)}.")
    if len(confounds) != len(designs):
        raise ValueError(f"confounds has {len(confounds)} runs, design {len(designs)}: wanted the same number.")
    bases = []
    for run, (columns, design) in enumerate(zip(confounds, designs, strict=True), start=1):
        columns = _numbers(columns, f"Run {run}: confounds")
        if columns.ndim != 2 or len(columns) != design.n_volumes or not np.isfinite(columns).all():
            raise ValueError(
                f"Run {run}: confounds must be finite numbers of shape ({design.n_volumes}, any), got shape {columns.shape} "
                f"with {np.count_nonzero(~np.isfinite(columns))} that are not finite (tables of motion often begin with NaN: "
                "fill it)."
            )
        columns = design.drift.new_tensor(columns)
        residual = design.without_drift(columns)
        basis = orthonormal(residual[:, residual.norm(dim=0) > IN_DRIFT * columns.norm(dim=0)])
        bases.append(basis[:, basis.any(dim=0)])
    check_freedom(designs, bases)
    return bases


def check_hrfs(hrfs, name, *, n_max=None):
    """Return HRFs as (n_hrfs, n_samples) float64, each divided by its largest sample, as GLMsingle does.

    Raises ValueError when they are not finite, one is nowhere positive, or there are more than `n_max`.
    """
    curves = np.atleast_2d(_numbers(hrfs, name))
    is_valid = curves.ndim == 2 and curves.size and np.isfinite(curves).all() and len(curves) <= (n_max or len(curves))
    if not is_valid or not (curves.max(axis=1) > FLAT * np.abs(curves).max()).all():
        shape = "(n_samples,)" if n_max else "(n_hrfs, n_samples)"
        raise ValueError(
            f"{name} must be {shape}, finite and each above 0 somewhere, sampled at the volumes; got {_form(curves)}. "
            "(GLMsingle stores one HRF per column: give the transpose.)"
        )
    return curves / curves.max(axis=1, keepdims=True)


def check_freedom(designs, confounds, *, n_pcs=0):
    """Raise ValueError unless each run has more degrees of freedom than trials after removal of `n_pcs` noise components."""
    for run, (design, columns) in enumerate(zip(designs, confounds, strict=True), start=1):
        n_drifts, n_confounds, n_trials = design.drift.shape[1], columns.shape[1], len(design.onsets)
        n_free = design.n_volumes - n_drifts - n_confounds - n_pcs
        if n_free <= n_trials:
            n_max = n_free + n_pcs - n_trials - 1  # largest possible n_pcs
            advice = "fewer confounds (a dozen is usual), a lower degree or fewer trials"
            if n_pcs and n_max >= 0:
                advice = f"an n_pcs of at most {n_max}"
            raise ValueError(
                f"Run {run}: of its {design.n_volumes} volumes, {n_drifts} drifts, {n_confounds} confounds and {n_pcs} noise "
                f"components leave {n_free} free, wanted more than its {n_trials} trials. Give {advice}."
            )


def check_numbers(data):
    """Raise ValueError when BOLD is not of a real number type."""
    for run, bold in enumerate(data, start=1):
        if bold.dtype.kind not in "biuf":
            raise ValueError(f"Run {run}: data must be real numbers, BOLD in scanner units, got {bold.dtype}.")


def check_unit(results, n_volumes):
    """Return a mask of voxels whose mean is too small for percent signal change; ValueError when most are."""
    energy = results["energy"]
    small = (energy > 0) & (np.square(results["mean"]) < energy / n_volumes)
    if 2 * small.sum() > (energy > 0).sum():
        raise ValueError(
            f"data: the mean of {small.sum()} of {len(small)} voxels is smaller than the standard deviation of its series. "
            "Wanted BOLD in scanner units, because betas are in percent of its mean, which z-scored, demeaned or residual series "
            "lack. Give the series before that step, with the regressors that were removed as `confounds`; or add each voxel's "
            "mean to its series; or choose betas in scanner units, GLMOptions(percent=False)."
        )
    return small


def _numbers(values, name):
    """Return values as a float64 array; ValueError when they are not numbers."""
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers, got {_form(values)} ({error}).") from error


def _form(values):
    """Return the type of values, and their shape if they have one."""
    shape = getattr(values, "shape", None)
    return type(values).__name__ + ("" if shape is None else f" of shape {shape}")
