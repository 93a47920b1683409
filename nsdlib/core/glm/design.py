"""Designs of the single-trial GLM: trials, their regressors, drift polynomials, and checks of the input."""

from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch

from nsdlib.core.glm.hrf import check_tr

LEAST_MEASURED = 0.05  # smallest measured fraction of a response's energy; below, betas are 10 times as noisy, or only noise


@dataclass(frozen=True)
class RunDesign:
    """Trials of one scanner run, and the drift polynomials that are projected out."""

    onsets: torch.Tensor  # (n_trials,) int64: volume in which each trial begins, ascending
    conditions: np.ndarray  # (n_trials,) int64: condition labels
    n_volumes: int
    drift: torch.Tensor  # (n_volumes, degree + 1) float64: orthonormal polynomials in time

    def regressors(self, hrf):
        """Return each trial's regressor with drifts projected out: (..., n_volumes, n_trials) float64.

        HRFs are (..., n_samples) float64, sampled at the volumes; responses are truncated at the end of the run.
        """
        padded = torch.nn.functional.pad(hrf, (0, self.n_volumes))
        lag = torch.arange(self.n_volumes)[:, None] - self.onsets[None, :]  # (n_volumes, n_trials)
        return self.without_drift(torch.where(lag >= 0, padded[..., lag.clamp(min=0)], 0.0))

    def late(self, hrf):
        """Return which trials begin so late that almost none of their response was measured: (n_trials,) bool tensor."""
        fraction_measured = hrf.square().cumsum(0) / hrf.square().sum()
        n_measured = self.n_volumes - self.onsets  # volumes from the onset to the end, at least 1
        return fraction_measured[n_measured.clamp(max=len(hrf)) - 1] < LEAST_MEASURED

    def without_drift(self, bold):
        """Return time courses (n_volumes, any) minus their least-squares fit by the drift polynomials."""
        return bold - self.drift @ (self.drift.T @ bold)

    @property
    def no_columns(self):
        """An empty matrix of nuisance regressors: (n_volumes, 0)."""
        return self.drift[:, :0]


def make_run_designs(design, data, *, tr, duration=0.0, degree=None):
    """Check the design and data of `fit_glm`, and return a `RunDesign` for each run.

    `duration` and `degree` are as in `GLMOptions`. Raises ValueError, naming the run, when lists, shapes or values are invalid.
    """
    if len(design) != len(data) or not len(data):
        raise ValueError(f"design has {len(design)} runs and data {len(data)}: wanted the same number, at least 1.")
    check_tr(tr)
    runs = enumerate(zip(design, data, _condition_numbers(design), strict=True), start=1)
    all_labels = [_checked_labels(events, bold, numbers, run=run, bold_1=data[0]) for run, (events, bold, numbers) in runs]
    if not any(labels.any() for labels in all_labels):
        raise ValueError("design has no trial in any run: wanted a number other than 0 at each onset.")
    _refuse_durations(all_labels, tr=tr, duration=duration)
    degrees, designs = degree if np.ndim(degree) else [degree] * len(all_labels), []
    if len(degrees) != len(all_labels):
        raise ValueError(f"degree={degree}: wanted one number, or one for each of the {len(all_labels)} runs.")
    for labels, degree in zip(all_labels, degrees, strict=True):
        onsets = np.flatnonzero(labels)
        drift = torch.as_tensor(polynomials(len(labels), tr=tr, degree=degree))
        designs.append(RunDesign(torch.as_tensor(onsets), labels[onsets], len(labels), drift))
    return designs


def voxel_series(labels, series, *, tr, mean=None):
    """Return the design of one run, and one voxel's detrended series, (n_volumes, 1) float64 tensor in percent of the mean.

    The arguments are those of `fit.explain`.
    """
    series = np.asarray(series, dtype=np.float64)[:, None]
    [design] = make_run_designs([labels], [series], tr=tr)
    return design, design.without_drift(torch.as_tensor(series)) * (100 / abs(series.mean() if mean is None else mean))


def _checked_labels(events, bold, column_conditions, *, run, bold_1):
    """Return a run's design as condition numbers, (n_volumes,) int64, after checking it against its data and run 1's data."""
    labels, shape, n_voxels = _as_labels(np.asarray(events), column_conditions, run), np.shape(bold), np.shape(bold_1)[-1]
    if len(shape) == 2 and shape[1] == len(labels) != shape[0]:
        raise ValueError(
            f"Run {run}: data must be (n_volumes, n_voxels), got shape {shape} for a design of {len(labels)} volumes. It "
            "seems to be (n_voxels, n_volumes): give its transpose, `series.T`, in all runs, or GLMOptions(time_axis=-1)."
        )
    names = [list(getattr(table, "columns", [])) for table in (bold, bold_1)]
    if len(shape) != 2 or shape[1] != n_voxels or names[0] != names[1]:
        raise ValueError(
            f"Run {run}: data must be (n_volumes, n_voxels) with the same {n_voxels} voxels as run 1, in the same order, "
            f"got shape {shape}."
        )
    if len(labels) != len(bold):
        raise ValueError(
            f"Run {run}: design has {len(labels)} volumes, data {len(bold)}. Cut both to the same volumes (NSD's "
            "time series have one volume more than its design: leave out the last)."
        )
    return labels


def drift_degree(seconds):
    """Return the degree of a run's drift polynomials: half its duration in minutes, rounded half up (as in GLMsingle)."""
    return int(np.floor(seconds / 60 / 2 + 0.5))


def polynomials(n_volumes, *, tr, degree=None):
    """Return orthonormal polynomials over a run, by default of degree `drift_degree`: (n_volumes, degree + 1) float64."""
    degree = drift_degree(n_volumes * tr) if degree is None else degree
    basis, _ = np.linalg.qr(np.polynomial.legendre.legvander(np.linspace(-1, 1, n_volumes), degree))
    return basis


def _condition_numbers(design):
    """Return, per run, the condition number (from 1) of each column of its matrix, matched by name or else by position."""
    has_names = [hasattr(events, "columns") for events in design]
    columns = [list(getattr(events, "columns", range(np.shape(events)[1]))) if np.ndim(events) == 2 else [] for events in design]
    reason = ""
    if any(has_names) != all(has_names):
        reason = f"run {has_names.index(True) + 1} names its columns and run {has_names.index(False) + 1} does not"
    elif not any(has_names) and len(widths := {len(names) for names in columns if names}) > 1:
        reason = f"runs have {min(widths)} to {max(widths)} columns without names"
    elif duplicated := [run for run, names in enumerate(columns, start=1) if len(set(names)) < len(names)]:
        reason = f"run {duplicated[0]} has two columns of one name"
    if reason:
        raise ValueError(
            f"Conditions are matched between runs, but in design {reason}: wanted one column per condition in all runs, or "
            "tables with unique column names."
        )
    places = {name: number for number, name in enumerate(dict.fromkeys(chain(*columns)), start=1)}
    return [np.array([places[name] for name in names], dtype=np.int64) for names in columns]


def _refuse_durations(labels, *, tr, duration):
    """Raise ValueError when trials are marked in each of their volumes instead of at onset, or last longer than their run."""
    for run, run_labels in enumerate(labels, start=1):
        if duration > len(run_labels) * tr:
            raise ValueError(
                f"duration={duration:g}: wanted the stimulus duration in seconds; run {run} has {len(run_labels) * tr:g} s."
            )
    continued = [np.r_[False, (run_labels[1:] == run_labels[:-1]) & (run_labels[1:] != 0)] for run_labels in labels]
    pairs = list(zip(labels, continued, strict=True))
    has_single = any(((own != 0) & ~again & ~np.r_[again[1:], False]).any() for own, again in pairs)
    for run, (run_labels, is_continued) in enumerate(pairs, start=1):
        if is_continued.any() and (tr < duration or not has_single):
            volume = is_continued.argmax()
            raise ValueError(
                f"Run {run}: condition {run_labels[volume]} is marked in volumes {volume - 1} and {volume}, {tr:g} s apart: a "
                "trial would begin in each. Wanted a mark at the onset only: `labels * (np.diff(labels, prepend=0) != 0)` keeps "
                "the first mark of each series; if trials of one condition do follow each other directly, give their `duration`."
            )


def _as_labels(events, numbers, run):
    """Return a run's design as one condition number per volume, 0 for no onset; `numbers` belong to a matrix's columns."""
    if events.ndim == 2:
        if not np.isin(events, (0, 1)).all():
            raise ValueError(f"Run {run}: a design matrix holds only 0 and 1, got values up to {events.max()}.")
        overlapping = np.flatnonzero(events.sum(axis=1) > 1)
        if len(overlapping):
            raise ValueError(
                f"Run {run}: {len(overlapping)} volumes have two onsets at once (first: volume {overlapping[0]}). Their "
                "responses cannot be separated; keep one."
            )
        return np.where(events.any(axis=1), numbers[events.argmax(axis=1)], 0)
    if events.ndim != 1 or not np.issubdtype(events.dtype, np.integer):
        raise ValueError(
            f"Run {run}: design must be (n_volumes,) integers or a (n_volumes, n_conditions) matrix of 0 and 1, got "
            f"{events.dtype} of shape {events.shape}."
        )
    return events.astype(np.int64)
