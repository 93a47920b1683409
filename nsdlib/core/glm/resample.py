"""BOLD on another grid in time: the single-trial GLM wants trials that begin at volumes."""

import math

import numpy as np


def resample_volumes(series, *, tr, new_tr, start=0.0):
    """Interpolate the volumes of a run at 0, `new_tr`, 2 `new_tr`, ... seconds.

    Parameters
    ----------
    series : (n_volumes, n_voxels) float array
        One run. Confounds go the same way, but those that mark single volumes, which cannot be interpolated.
    tr : float
        Seconds between its volumes.
    new_tr : float
        Seconds between the volumes wanted, at most `tr`: a coarser grid would fold noise into the signal.
    start : float or (n_voxels,) array
        When the first volume was measured, in seconds from the time 0 of the onsets: BIDS's StartTime of data whose slices
        have been aligned (fMRIPrep: half a `tr` by default), else the SliceTiming of each voxel's slice.

    Returns
    -------
    (n_new_volumes, n_voxels) float array
        Of the type of `series`, float32 when that holds whole numbers; to (n_volumes - 1) `tr` and not beyond. Before the
        first measurement it has the value of that.

    Raises
    ------
    ValueError
        When shapes or values do not fit.

    Notes
    -----
    A cubic spline. On a noiseless response sampled each 2 s it is off by 2 % of the signal's deviation, monotone cubics (PCHIP)
    by 6 %. Volumes between measured ones carry no new information; a fit has not more degrees of freedom than before.
    """
    from scipy.interpolate import CubicSpline

    series, start = np.asarray(series), np.asarray(start, dtype=np.float64)
    if series.ndim != 2 or len(series) < 2 or start.shape not in ((), series.shape[1:]):
        raise ValueError(
            f"wanted series of one run, (n_volumes, n_voxels) with at least 2 volumes, and start of shape () or (n_voxels,), "
            f"got shapes {series.shape} and {start.shape}."
        )
    if not 0 < new_tr <= tr < math.inf or not ((start >= 0) & (start <= tr)).all():
        raise ValueError(
            f"tr={tr}, new_tr={new_tr}, start from {start.min()} to {start.max()}: wanted seconds, 0 < new_tr <= tr and start "
            "between 0 and tr (SliceTiming above tr is in milliseconds)."
        )
    measured = tr * np.arange(len(series))
    wanted = np.arange(math.floor(measured[-1] / new_tr + 1e-6) + 1) * new_tr
    mean = series.mean(axis=0, dtype=np.float64)
    change = (series - mean).astype(np.result_type(series.dtype, np.float32))
    resampled = np.empty((len(wanted), series.shape[1]), dtype=change.dtype)
    for first in np.unique(start):
        times = np.clip(wanted - first, 0, measured[-1])
        weights = CubicSpline(measured, np.eye(len(measured)))(times)  # (n_new_volumes, n_volumes)
        voxels = np.broadcast_to(start == first, series.shape[1:])
        resampled[:, voxels] = weights.astype(change.dtype) @ change[:, voxels] + mean[voxels]
    return resampled


def find_tr(onsets, *, tr, max_shift):
    """Find a grid, finer than the volumes', on which all onsets lie: the coarsest that holds them, or comes near enough.

    Parameters
    ----------
    onsets : (n_trials,) float array
        Seconds.
    tr : float
        Seconds between volumes; the grids tried are simple fractions of it.
    max_shift : float
        Seconds that are near enough, taken as 1 % of `tr` when it is less; a tenth of it is still counted as on the grid.

    Returns
    -------
    new_tr, shift : float
        Seconds between the volumes wanted, and by how much an onset lies off at most.
    """
    max_shift = max(max_shift, 0.01 * tr)
    finest = math.ceil(tr / max_shift / 2)  # that fraction of tr comes near enough to any onset
    fractions = {part / whole for whole in range(2, finest + 1) for part in range(1, whole)}
    grids = [float(f"{fraction * tr:.6g}") for fraction in sorted(fractions, reverse=True)]
    shifts = [float(np.abs(onsets - np.rint(onsets / grid) * grid).max()) for grid in grids]
    for limit in (max_shift / 10, max_shift):
        for grid, shift in zip(grids, shifts, strict=True):
            if shift <= limit:
                return grid, shift
    return grids[-1], shifts[-1]
