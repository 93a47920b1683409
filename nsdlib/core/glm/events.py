"""Convert BIDS event tables to designs of the single-trial GLM."""

import math
import warnings
from numbers import Integral, Real

import numpy as np

from nsdlib.core.glm.hrf import check_tr

OFF_GRID = 0.05  # default largest distance of an onset from its volume, as a fraction of TR
ROUNDING = 1e-6  # tolerance for rounded decimals, in seconds or volumes
MISSING = ("n/a", "")  # markers of missing values
DROP = ("missing", "outside")
COLUMNS = ("volume", "onset", "end", "condition")  # columns of a run's trials after reading


def design_from_events(tables, *, n_volumes, tr, condition="trial_type", max_shift=None, drop=()):
    """Convert tables of events to designs.

    Each row is a trial, so select the rows first, for example `table[table.trial_type != "cue"]`. Other columns are ignored: a
    single-trial GLM has no parametric regressors (compare the betas with such a column afterwards), and fits all trials with
    the duration in its options.

    Parameters
    ----------
    tables : list of pandas.DataFrame
        One per run, as from `nsdlib.data.read_events`, with the columns onset (seconds from the first volume), `condition` and,
        optionally, duration (seconds; n/a if unknown).
    n_volumes : list of int
        Volumes of each run.
    tr : float
        Seconds between volumes.
    condition : str
        The column with the condition of each trial.
    max_shift : float, optional
        Largest distance in seconds between an onset and its nearest volume, to which it is moved; by default 5 % of `tr`.
    drop : list of str
        Kinds of rows to drop; without it, such rows raise ValueError. "missing": the onset or the condition is n/a. "outside":
        the nearest volume is outside the run; the response to such an event within the run then counts as noise.

    Returns
    -------
    design : list of (n_volumes,) int64 arrays
        The condition's number, from 1, at each onset, else 0, as `fit_glm` takes it.
    conditions : list
        Sorted names of the conditions, numbers before text; the first has number 1.

    Warns
    -----
    UserWarning
        States how many rows were dropped, and how far onsets were moved if by more than 5 % of `tr`.

    Raises
    ------
    ValueError
        When a column is missing or contains a non-numeric value, an onset lies between two volumes or outside the run, two
        trials share a volume, a trial begins more than `max_shift` before the end of the previous one, or a condition is a
        number in some rows and text in others. The message names run and row (from 0) and says what to do, for onsets between
        volumes with the values to use.
    """
    check_tr(tr)
    max_shift = OFF_GRID * tr if max_shift is None else max_shift
    _check_arguments(tables, n_volumes, tr=tr, max_shift=max_shift, drop=drop)
    trials, notes = [], []
    for run, (table, length) in enumerate(zip(tables, n_volumes, strict=True), start=1):
        run_trials, note = _drop(_read(table, run, condition=condition), run, length, tr=tr, condition=condition, drop=drop)
        trials.append(run_trials)
        notes += note
    notes += _check_shifts(trials, tr=tr, max_shift=max_shift)
    names = {name for run_trials in trials for name in run_trials.condition}
    conditions = sorted(names, key=lambda name: (isinstance(name, str), name))
    _refuse_two_kinds(conditions, condition)
    number_of = {name: number for number, name in enumerate(conditions, start=1)}
    design = [np.zeros(length, dtype=np.int64) for length in n_volumes]
    for run, (run_trials, labels) in enumerate(zip(trials, design, strict=True), start=1):
        _refuse_overlap(run_trials, run, condition=condition, max_shift=max_shift)
        labels[run_trials.volume] = [number_of[name] for name in run_trials.condition]
    if notes:
        warnings.warn(" ".join(notes), stacklevel=2)
    return design, conditions


def nearest_volume(seconds, tr):
    """Return the number of the volume nearest to times in seconds, as whole floats; ties go to the later, NaN stays NaN."""
    return np.floor(seconds / tr + 0.5 + ROUNDING)


def find_tr(onsets, *, tr, max_shift):
    """Find the coarsest TR, shorter than `tr`, whose volumes match all onsets (n_trials,); all in seconds.

    The candidates are simple fractions of `tr`. The first that matches within a tenth of `max_shift` (at least 1 % of `tr`) is
    preferred, then the first within `max_shift`. Returns the new TR and the largest distance of an onset from its volume.
    """
    max_shift = max(max_shift, 0.01 * tr)
    finest = math.ceil(tr / max_shift / 2)  # this fraction of tr is within max_shift of any onset
    fractions = {numerator / denominator for denominator in range(2, finest + 1) for numerator in range(1, denominator)}
    grids = [float(f"{fraction * tr:.6g}") for fraction in sorted(fractions, reverse=True)]
    shifts = [float(np.abs(onsets - np.rint(onsets / grid) * grid).max()) for grid in grids]
    pairs = list(zip(grids, shifts, strict=True))
    matching = (pair for limit in (max_shift / 10, max_shift) for pair in pairs if pair[1] <= limit)
    return next(matching, pairs[-1])


def _check_arguments(tables, n_volumes, *, tr, max_shift, drop):
    """Raise ValueError for invalid arguments of `design_from_events`."""
    import pandas as pd

    if not isinstance(tables, list | tuple) or not all(isinstance(table, pd.DataFrame) for table in tables):
        items = tables if isinstance(tables, list | tuple) else [tables]
        kinds = ", ".join(sorted({type(item).__name__ for item in items}))
        raise ValueError(
            f"tables: wanted a list with one pandas.DataFrame per run, got {kinds}. Read each file with "
            "nsdlib.data.read_events(path); a single run is [table]."
        )
    lengths = n_volumes if isinstance(n_volumes, list | tuple | np.ndarray) else []
    if len(lengths) != len(tables) or not all(isinstance(length, Integral) and length > 0 for length in lengths):
        raise ValueError(f"n_volumes={n_volumes!r}: wanted a list with the number of volumes of each of the {len(tables)} runs.")
    if not isinstance(max_shift, Real) or not 0 <= max_shift < math.inf:
        raise ValueError(f"max_shift={max_shift!r}: wanted the seconds by which an onset may be moved, 0 or more.")
    if not isinstance(drop, list | tuple | set) or not set(drop) <= set(DROP):
        raise ValueError(f"drop={drop!r}: wanted a list of {', '.join(DROP)}, or an empty one.")


def _read(table, run, *, condition):
    """Return onset, end and condition of a table's rows, numbered from 0; NaN for n/a."""
    import pandas as pd

    if not len(table):  # an empty table may lack the columns
        return pd.DataFrame({"onset": np.zeros(0), "end": np.zeros(0), "condition": np.zeros(0, dtype=object)})
    columns = list(table.columns)
    for name in ("onset", condition):
        if columns.count(name) != 1:
            raise ValueError(
                f"Run {run}: wanted one column {name!r}, got {columns.count(name)}. The table has the columns "
                f"{', '.join(map(str, columns))}. Name the column with the condition of each trial, condition='...', "
                "or, if all trials are alike, give table.assign(trial_type='trial')."
            )
    onset, duration = (read_seconds(table, name, lambda row: f"Run {run}, row {row}") for name in ("onset", "duration"))
    names = table[condition].astype(object).to_numpy(copy=True)
    for row, name in enumerate(names):
        names[row] = name = name.strip() if isinstance(name, str) else name
        if pd.api.types.is_scalar(name) and (pd.isna(name) or name in MISSING):
            names[row] = np.nan
        elif not isinstance(name, str | Real):
            raise ValueError(f"Run {run}, row {row}: {condition} is {name!r}, wanted text or a number.")
    return pd.DataFrame({"onset": onset, "end": onset + np.nan_to_num(duration), "condition": names})


def read_seconds(table, name, at):
    """Read a table's column of seconds: (n_rows,) float64, NaN for n/a; all NaN unless exactly one column has this name.

    Raises ValueError for a value that is not a number, or a negative duration; `at(row)` describes a row for the message.
    """
    import pandas as pd

    if list(table.columns).count(name) != 1:
        return np.full(len(table), np.nan)
    texts = table[name].astype(object).map(lambda value: value.strip() if isinstance(value, str) else value)
    texts = texts.where(~texts.isin(MISSING), np.nan)
    values = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64)
    is_invalid = (np.isnan(values) & ~pd.isna(texts).to_numpy()) | np.isinf(values) | ((values < 0) & (name == "duration"))
    if is_invalid.any():
        row = is_invalid.argmax()
        text = str(texts.iloc[row])
        comma = " Numbers have a decimal point: replace the comma." if "," in text else ""
        raise ValueError(f"{at(row)}: {name} is {text!r}, wanted seconds{', 0 or more,' * (name == 'duration')} or n/a.{comma}")
    return values


def _drop(trials, run, length, *, tr, condition, drop):
    """Assign a volume to each trial; drop trials without condition or volume, or raise ValueError. Also returns notes."""
    trials["volume"] = nearest_volume(trials.onset, tr)
    missing = trials.onset.isna() | trials.condition.isna()
    outside = ~missing & ~trials.volume.between(0, length - 1)
    notes = []
    for kind, rows, reason, advice in (
        ("missing", missing, f"is no trial: onset or {condition} is n/a", "or name another column, condition='...'"),
        ("outside", outside, f"lies outside the run's {length} volumes of {tr:g} s", "onsets are seconds from volume 0"),
    ):
        n_rows = f"{rows.sum()} of {len(rows)} rows"
        if rows.any() and kind not in drop:
            first = rows.idxmax()
            raise ValueError(
                f"Run {run}, row {first}: onset {trials.onset[first]:g} s {reason}; {n_rows}. Leave such rows out with "
                f"drop={[*drop, kind]} ({advice})."
            )
        notes += [f"Run {run}: {n_rows} left out ({kind})."] if rows.any() else []
    return trials[~missing & ~outside].astype({"volume": np.int64}), notes


def _refuse_two_kinds(conditions, condition):
    """Raise ValueError when a condition is a number in some rows and the same number as text in others."""
    import pandas as pd

    texts = pd.Series([name for name in conditions if isinstance(name, str)], dtype=object)
    duplicated = texts[pd.to_numeric(texts, errors="coerce").isin([name for name in conditions if not isinstance(name, str)])]
    if len(duplicated):
        raise ValueError(
            f"{condition} {duplicated.iloc[0]!r} is text in one table and a number in another, and would be two conditions. "
            f"Read all as text, nsdlib.data.read_events(path, text=({condition!r},))."
        )


def _check_shifts(trials, *, tr, max_shift):
    """Raise ValueError, with advice, for onsets farther than `max_shift` from their volumes; return notes on smaller shifts."""
    shifts = [np.abs(run_trials.onset - run_trials.volume * tr) for run_trials in trials]
    furthest, n_trials = max([0.0, *(shift.max() for shift in shifts if len(shift))]), sum(map(len, trials))
    for run, (run_trials, shift) in enumerate(zip(trials, shifts, strict=True), start=1):
        between = shift > max_shift + ROUNDING
        if between.any():
            first = between.idxmax()
            raise ValueError(
                f"Run {run}, row {first}: onset {run_trials.onset[first]:g} s lies between two volumes (tr={tr:g} s; "
                f"{between.sum()} of {len(run_trials)} rows do). {_advice(trials, furthest, tr=tr, max_shift=max_shift)}"
            )
    n_moved = sum((shift > OFF_GRID * tr + ROUNDING).sum() for shift in shifts)
    return [f"{n_moved} of {n_trials} onsets were moved to their volumes, by {furthest:.3g} s at most."] if n_moved else []


def _advice(trials, furthest, *, tr, max_shift):
    """Return advice for onsets between volumes: resample to a shorter TR, or move the onsets."""
    new_tr, shift = find_tr(np.concatenate([run_trials.onset for run_trials in trials]), tr=tr, max_shift=max_shift)
    max_shift_advice = "" if shift <= OFF_GRID * new_tr else f" and max_shift={_up(shift)}"
    advice = (
        f"Resample each run, bold = nsdlib.data.resample_volumes(bold, tr={tr:.9g}, new_tr={new_tr:g}), and give tr={new_tr:g}"
        f"{max_shift_advice} here, with the n_volumes of the new runs"
    )
    if not any(run_trials.volume.duplicated().any() for run_trials in trials):
        advice += f"; or, at some loss of precision, move onsets to the volumes there are, max_shift={_up(furthest)}"
    return advice + "."


def _up(seconds):
    """Round up to milliseconds."""
    return math.ceil((seconds - ROUNDING) * 1000) / 1000


def _refuse_overlap(trials, run, *, condition, max_shift):
    """Raise ValueError when two trials begin in one volume, or one more than `max_shift` before the end of the previous one."""
    trials = trials.sort_values("onset", kind="stable")
    rows, volume, onset, end, names = (trials.index, *(trials[name].to_numpy() for name in COLUMNS))
    same_volume = np.flatnonzero(np.diff(volume) == 0)
    early = np.flatnonzero(onset[1:] < end[:-1] - max_shift - ROUNDING)
    if not len(same_volume) and not len(early):
        return
    pair = same_volume[0] if len(same_volume) else early[0]
    first, second = rows[pair], rows[pair + 1]
    advice = f"Keep one of the two, table.drop(table.index[{second}])"
    if names[pair] != names[pair + 1]:
        advice += f", or the kind of row that is a trial, such as table[table[{condition!r}] != {names[pair]!r}]"
    if len(same_volume):
        raise ValueError(
            f"Run {run}, rows {first} and {second}: two trials begin in volume {volume[pair]}. Their responses cannot be "
            f"separated. {advice}."
        )
    raise ValueError(
        f"Run {run}, row {second}: begins at {onset[pair + 1]:g} s, before row {first} ends at {end[pair]:g} s. Single-trial "
        f"betas need trials that do not overlap. {advice}; or, if the durations are not those of the stimuli, "
        "table.drop(columns='duration')."
    )
