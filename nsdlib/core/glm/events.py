"""Tables of events, as BIDS has them, as designs of the single-trial GLM."""

import numpy as np

OFF_GRID = 0.05  # of the time between two volumes: an onset farther from its volume is refused


def design_from_events(tables, *, n_volumes, tr):
    """Convert tables of events to designs.

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
        The condition's number, from 1, at its onset, else 0: what `fit` takes.
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
        volumes = _onset_volumes(onsets, length, tr=tr, run=run)
        _refuse_overlap(table, onsets, volumes, run=run)
        labels = np.zeros(length, dtype=np.int64)
        labels[volumes] = [number_of[name] for name in table["trial_type"]]
        design.append(labels)
    return design, conditions


def _onset_volumes(onsets, length, *, tr, run):
    """Return the volume of each onset; refuse onsets that are not at a volume of the run."""
    volumes = np.rint(onsets / tr)
    between = np.flatnonzero(~(np.abs(onsets - volumes * tr) <= OFF_GRID * tr))
    if len(between):
        raise ValueError(
            f"Run {run}, row {between[0]}: onset {onsets[between[0]]:g} s lies between two volumes (tr={tr:g} s; "
            f"{len(between)} of {len(onsets)} rows do). Resample the BOLD to a tr on whose grid all onsets lie."
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
    if "duration" not in table:
        return
    ends = (onsets + np.nan_to_num(np.asarray(table["duration"], dtype=float)))[order]
    early = np.flatnonzero(onsets[order][1:] < ends[:-1] - 1e-6)
    if len(early):
        first, second = order[early[0]], order[early[0] + 1]
        raise ValueError(
            f"Run {run}, row {second}: begins at {onsets[second]:g} s, before row {first} ends at {ends[early[0]]:g} s. "
            "A beta a trial needs trials that follow each other."
        )
