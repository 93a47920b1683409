"""What a single-trial GLM knows before it looks at a voxel: trials, their regressors, slow drifts, and checked input."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from nsdlib.core.glm.linear import orthonormal

DRIFT = 1e-8  # a confound that keeps at most this share of its length without drifts is one: what is left is rounding
OFF_GRID = 0.05  # of the time between two volumes: an onset farther from its volume is refused


@dataclass(frozen=True)
class Run:
    """One run: when its trials begin, and the slow polynomials that are projected out of it.

    Attributes
    ----------
    onsets : (n_trials,) int64 tensor
        Volume in which each trial of the run begins, ascending.
    conditions : (n_trials,) int64 array
        What was shown, any labels.
    n_volumes : int
    drift : (n_volumes, degree + 1) float64 tensor
        Orthonormal polynomials in time.
    """

    onsets: torch.Tensor
    conditions: np.ndarray
    n_volumes: int
    drift: torch.Tensor

    def regressors(self, hrf):
        """Each trial's BOLD for a beta of 1, drifts projected out: (n_volumes, n_trials) float64.

        Parameters
        ----------
        hrf : (n_samples,) float64 tensor
            The response at the volumes; what lies behind the run's end is cut off.
        """
        padded = torch.cat([hrf, hrf.new_zeros(self.n_volumes)])
        lag = self._volumes[:, None] - self.onsets[None, :]  # (n_volumes, n_trials)
        return self.without_drift(torch.where(lag >= 0, padded[lag.clamp(min=0)], 0.0))

    def without_drift(self, series):
        """Time courses (n_volumes, any) minus their least-squares fit by the polynomials."""
        return series - self.drift @ (self.drift.T @ series)

    @cached_property
    def _volumes(self):
        return torch.arange(self.n_volumes, device=self.drift.device)


def make_runs(design, data, *, tr, degree=None, device="cpu"):
    """Check the input of the GLM and turn its design into runs.

    Parameters
    ----------
    design : list of (n_volumes,) int or (n_volumes, n_conditions) 0/1 arrays
        One a run. As a vector (NSD's design files): the condition's number at its onset, 0 elsewhere.
    data : list of (n_volumes, n_voxels) float arrays
        BOLD, scanner units.
    tr : float
        Seconds between volumes.
    degree : int, optional
        Degree of the drift polynomials; half the minutes of the run, rounded, when not given.
    device : torch.device or str

    Returns
    -------
    list of Run

    Raises
    ------
    ValueError
        When the lists, shapes or values do not fit; the message says which run.
    """
    runs = []
    for labels in check_design(design, data, tr=tr):
        onsets = np.flatnonzero(labels)
        drift = torch.as_tensor(polynomials(len(labels), tr=tr, degree=degree), device=device)
        runs.append(Run(torch.as_tensor(onsets, device=device), labels[onsets], len(labels), drift))
    return runs


def voxel_run(labels, series, *, tr, mean=None):
    """One voxel's series of one run, without its drift.

    Parameters
    ----------
    labels : (n_volumes,) int
        The run's design, a number other than 0 at each onset.
    series : (n_volumes,) float
        BOLD, scanner units.
    tr : float
        Seconds between volumes.
    mean : float, optional
        Of the voxel over all runs; of this run when not given.

    Returns
    -------
    run : Run
    measured : (n_volumes, 1) float64 tensor
        Percent of the mean.
    """
    series = np.asarray(series, dtype=np.float64)[:, None]
    [run] = make_runs([labels], [series], tr=tr)
    return run, run.without_drift(torch.as_tensor(series)) * (100 / abs(series.mean() if mean is None else mean))


def check_design(design, data, *, tr):
    """The design of each run as a vector of condition numbers, checked against the data; arguments as of `make_runs`.

    Returns
    -------
    list of (n_volumes,) int64 arrays
    """
    if len(design) != len(data) or not len(data):
        raise ValueError(f"design has {len(design)} runs and data {len(data)}: wanted the same number, at least 1.")
    if not tr > 0:
        raise ValueError(f"tr={tr}: wanted the seconds between two volumes, a number above 0 (NSD: 4/3).")
    n_voxels, checked = np.shape(data[0])[-1], []
    for number, (events, series) in enumerate(zip(design, data, strict=True), start=1):
        _check_series(series, n_voxels, number)
        labels = _as_labels(np.asarray(events), number)
        if len(labels) != len(series):
            raise ValueError(
                f"Run {number}: design has {len(labels)} volumes, data {len(series)}. Cut both to the same volumes (NSD's "
                "time series have one volume more than its design: leave out the last)."
            )
        checked.append(labels)
    if not any(labels.any() for labels in checked):
        raise ValueError("design has no trial in any run: wanted a number other than 0 at each onset.")
    return checked


def polynomials(n_volumes, *, tr, degree=None):
    """Orthonormal polynomials over a run: (n_volumes, degree + 1) float64.

    The degree is by default half the run's minutes, rounded half up (GLMsingle's rule).
    """
    degree = int(np.floor(n_volumes * tr / 60 / 2 + 0.5)) if degree is None else degree
    basis, _ = np.linalg.qr(np.polynomial.legendre.legvander(np.linspace(-1, 1, n_volumes), degree))
    return basis


def check_confounds(confounds, runs):
    """Nuisance regressors of each run, made orthonormal and orthogonal to its drifts.

    Parameters
    ----------
    confounds : list of (n_volumes, any number) arrays, or None
        One a run, such as motion parameters.
    runs : list of Run

    Returns
    -------
    list of (n_volumes, at most that number) float64 tensors

    Raises
    ------
    ValueError
        When they do not fit the runs or are not finite.
    """
    if confounds is None:
        return [run.drift[:, :0] for run in runs]
    if len(confounds) != len(runs):
        raise ValueError(f"confounds has {len(confounds)} runs, design {len(runs)}: wanted the same number.")
    checked = []
    for number, (columns, run) in enumerate(zip(confounds, runs, strict=True), start=1):
        columns = np.asarray(columns, dtype=np.float64)
        if columns.ndim != 2 or len(columns) != run.n_volumes or not np.isfinite(columns).all():
            raise ValueError(
                f"Run {number}: confounds must be finite numbers of shape ({run.n_volumes}, any), got shape {columns.shape} with "
                f"{np.count_nonzero(~np.isfinite(columns))} that are not finite (tables of motion often begin with NaN: fill it)."
            )
        columns = run.drift.new_tensor(columns)
        rest = run.without_drift(columns)
        checked.append(orthonormal(rest[:, rest.norm(dim=0) > DRIFT * columns.norm(dim=0)]))
    return checked


def finite_voxels(data):
    """Voxels that hold finite values only, in all runs: (n_voxels,) bool.

    Raises
    ------
    ValueError
        When there is none.
    """
    finite = np.logical_and.reduce([np.isfinite(series).all(axis=0) for series in data])
    if not finite.any():
        raise ValueError(f"All {len(finite)} voxels hold values that are not finite: no voxel can be fitted.")
    return finite


def design_from_events(tables, *, n_volumes, tr):
    """Designs from tables of events, as BIDS has them.

    Parameters
    ----------
    tables : list of pandas.DataFrame
        One a run, with the columns onset (seconds from the first volume), trial_type (what was shown) and, if known,
        duration (seconds).
    n_volumes : list of int
        Volumes of each run.
    tr : float
        Seconds between volumes.

    Returns
    -------
    design : list of (n_volumes,) int64 arrays
        The condition's number, from 1, at its onset, else 0: what `glm.fit` takes.
    conditions : list
        Their trial types, sorted; the first has number 1.

    Raises
    ------
    ValueError
        When an onset lies between two volumes or outside the run, when two trials share a volume, or when a trial begins
        before the one before it has ended. The message names run and row (from 0).
    """
    conditions = sorted({name for table in tables for name in table["trial_type"]})
    number_of = {name: number for number, name in enumerate(conditions, start=1)}
    design = []
    for run, (table, length) in enumerate(zip(tables, n_volumes, strict=True), start=1):
        onsets = np.asarray(table["onset"], dtype=float)
        rows = _onset_volumes(onsets, length, tr=tr, run=run)
        _refuse_overlap(table, onsets, rows, run=run)
        labels = np.zeros(length, dtype=np.int64)
        labels[rows] = [number_of[name] for name in table["trial_type"]]
        design.append(labels)
    return design, conditions


def percent(explained, energy):
    """Share of the energy in percent; NaN where there is none."""
    return np.divide(100 * explained, energy, out=np.full(np.shape(energy), np.nan), where=energy > 0)


def _onset_volumes(onsets, length, *, tr, run):
    """The volume of each onset, refused when it is not that of a volume of the run."""
    volumes = np.rint(onsets / tr)
    beside = np.flatnonzero(~(np.abs(onsets - volumes * tr) <= OFF_GRID * tr))
    if len(beside):
        raise ValueError(
            f"Run {run}, row {beside[0]}: onset {onsets[beside[0]]:g} s lies between two volumes (tr={tr:g} s; {len(beside)} of "
            f"{len(onsets)} rows do). Resample the BOLD to a tr on whose grid all onsets lie."
        )
    outside = np.flatnonzero((volumes < 0) | (volumes >= length))
    if len(outside):
        raise ValueError(
            f"Run {run}, row {outside[0]}: onset {onsets[outside[0]]:g} s lies outside the run's {length} volumes of {tr:g} s."
        )
    return volumes.astype(np.int64)


def _refuse_overlap(table, onsets, volumes, *, run):
    """Raise when two trials of a run begin in one volume, or one before the end of another."""
    order = np.argsort(onsets, kind="stable")
    same = np.flatnonzero(np.diff(volumes[order]) == 0)
    if len(same):
        first, second = order[same[0]], order[same[0] + 1]
        raise ValueError(
            f"Run {run}, rows {first} and {second}: two trials begin in volume {volumes[first]}. Their responses cannot be "
            "separated; keep one."
        )
    if "duration" in table:
        ends = (onsets + np.nan_to_num(np.asarray(table["duration"], dtype=float)))[order]
        early = np.flatnonzero(onsets[order][1:] < ends[:-1] - 1e-6)
        if len(early):
            first, second = order[early[0]], order[early[0] + 1]
            raise ValueError(
                f"Run {run}, row {second}: begins at {onsets[second]:g} s, before row {first} ends at {ends[early[0]]:g} s. "
                "A beta a trial needs trials that follow each other."
            )


def _check_series(series, n_voxels, number):
    """Raise unless the series of a run is a (n_volumes, n_voxels) array."""
    if np.ndim(series) != 2 or np.shape(series)[1] != n_voxels:
        raise ValueError(
            f"Run {number}: data must be (n_volumes, n_voxels) with the same {n_voxels} voxels as run 1, got shape "
            f"{np.shape(series)}."
        )


def _as_labels(events, number):
    """A run's design as one number a volume, 0 for no onset."""
    if events.ndim == 2:
        if not np.isin(events, (0, 1)).all():
            raise ValueError(f"Run {number}: a design matrix holds only 0 and 1, got values up to {events.max()}.")
        together = np.flatnonzero(events.sum(axis=1) > 1)
        if len(together):
            raise ValueError(
                f"Run {number}: {len(together)} volumes have two onsets at once (first: volume {together[0]}). Their "
                "responses cannot be separated; keep one."
            )
        return np.where(events.any(axis=1), events.argmax(axis=1) + 1, 0)
    if events.ndim != 1 or not np.issubdtype(events.dtype, np.integer):
        raise ValueError(
            f"Run {number}: design must be (n_volumes,) integers or a (n_volumes, n_conditions) matrix of 0 and 1, got "
            f"{events.dtype} of shape {events.shape}."
        )
    return events.astype(np.int64)
