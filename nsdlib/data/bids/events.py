"""BIDS event tables: their rows, which of them showed a picture and when, and the grid of times for their onsets."""

import re
import warnings
from pathlib import Path

import numpy as np

from nsdlib.core.files import some
from nsdlib.core.glm.events import MISSING, OFF_GRID, find_tr, read_seconds
from nsdlib.core.glm.hrf import STIMULUS_SECONDS
from nsdlib.data.bids.files import WHERE_TO_SET, existing

TEXT = ("trial_type", "stim_file")  # columns kept as text even if they look like numbers
LAST_SECONDS = 4.0  # of a run: the response to a trial that begins in them is hardly measured
EARLY_SECONDS = 0.05  # before a run: taken as a clock error, and set to 0
FINEST = 0.5  # seconds: a finer grid makes series longer without better betas
RANGE = re.compile(r"(-?\d+(?:\.\d+)?)\.\.(-?\d+(?:\.\d+)?)")  # 1..1000, an inclusive range of numbers


def read_table(path, *columns):
    """Read a `.tsv` table, gzipped or not, as text: a DataFrame of str without surrounding blanks, n/a as NaN.

    Each of `columns`, a name or a tuple of alternative names, must exist. Raises a FileNotFoundError if the file is missing; a
    ValueError if it is not tab-separated UTF-8 text, lacks one of `columns`, or has a value of more than one line.
    """
    import pandas as pd

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a row has more values than there are columns
            table = pd.read_csv(
                existing(Path(path)), sep="\t", dtype=str, keep_default_na=False, index_col=False, encoding="utf-8-sig"
            )
    except (FileNotFoundError, PermissionError, MemoryError):
        raise
    except Exception as error:  # pandas, zlib and Python's decoder raise their own errors
        raise ValueError(
            f"{path} cannot be read as a table of text ({type(error).__name__}: {error}). Wanted UTF-8 text with tabs between "
            "the columns, no more values in a row than column names in the first, gzipped or plain."
        ) from error
    table.columns = table.columns.str.strip()
    for names in columns:
        names = (names,) if isinstance(names, str) else names
        if not set(names) & set(table):
            wanted = f"a column {' or '.join(map(repr, names))} and tabs between the columns"
            raise ValueError(f"{path}: wanted {wanted}, got the columns {', '.join(table)}.")
    if (multiline := table.apply(lambda column: column.str.contains("[\r\n]")).any(axis=1)).any():
        problem = "a value continues on the next line, as after a quotation mark that is not closed"
        raise ValueError(f"{path}, line {multiline.idxmax() + 2}: {problem}. Close the mark, or remove it.")
    table = table.apply(lambda column: column.str.strip())
    return table.mask(table.isin(MISSING))


def read_events(path, *, text=()):
    """Read a table of events, a `_events.tsv`, gzipped or not, for `nsdlib.core.design_from_events`.

    Parameters
    ----------
    path : path-like
    text : tuple of str
        Columns to keep as text even if they look like numbers, in addition to `TEXT`, such as picture names 0012.

    Returns
    -------
    pandas.DataFrame
        Rows in the file's order, n/a as NaN, without blanks around names and texts. trial_type and stim_file are text, other
        columns numeric if all their values are. Raises the errors of `read_table`, also for a missing column onset.
    """
    return read_table(path, "onset").apply(_parsed, text={*TEXT, *text} - {"onset", "duration"})


def read_trials(runs, lasts, *, image_column, drop, test, whole):
    """Read the trials of runs, a dict of (session, run) to files.RunFiles: events that showed a picture, in temporal order.

    `lasts` has each run's duration and the time of its last volume, in seconds. `image_column` names the picture; rows without it
    are not trials. `drop` and `test`, dicts of column to values (ses is the session's label, n/a a value, 1..9 the numbers from 1
    to 9), select rows that are not trials, and rows of the test set; `whole` says that there are no other runs. Returns a
    DataFrame with session, run, onset and duration in seconds (NaN if unknown), name, and test, bool; and notes, a list of str:
    which rows were left out, why, and how many in each run. Raises a ValueError if a column is in no table, a time is not a
    number, two pictures appear at once, no trial or no test trial is left, or, given `whole`, a value of `test` is in no row.
    """
    import pandas as pd

    text = (image_column, *drop, *test)
    tables = {key: read_events(run.events, text=text) for key, run in runs.items()}
    columns = sorted({column for table in tables.values() for column in table})
    if unknown := [column for column in text if column not in (*columns, "ses")]:
        found = f"No events of {next(iter(runs.values()))} and the other runs have a column {unknown[0]!r}"
        raise ValueError(f"{found}. There are {', '.join(columns)}: correct image_column, drop or test, {WHERE_TO_SET}.")
    kept, left_out, notes = [], {}, []
    for (session, run_number), run in runs.items():
        tables[session, run_number] = table = tables[session, run_number].assign(ses=run.session)
        rows = _choose(table, run, lasts[session, run_number], image_column, drop, left_out)
        kept.append(rows.assign(session=session, run=run_number, test=_matching(rows, test)))
    for cause, n_rows in left_out.items():
        by_run = [f"{run} {n}" for run, n in n_rows.items()]
        notes.append(f"{sum(n_rows.values())} rows left out: {cause} ({some(by_run, 10)}).")
    if unmatched := _unmatched(drop, tables):
        notes.append(f"drop: no row has {unmatched}, so it leaves nothing out.")
    if whole and (unmatched := _unmatched(test, tables)):
        raise ValueError(f"test: no row has {unmatched}, so that pictures may be missing in the official test set. Correct it.")
    if not (kept := [rows for rows in kept if len(rows)]):
        raise ValueError(f"The events have no trial that showed a picture, column {image_column}. {' '.join(notes)}")
    trials = pd.concat(kept, ignore_index=True).rename(columns={image_column: "name"})
    if test and not trials["test"].any():
        raise ValueError(f"test: no trial has {_condition(test)}, so the official test set would be empty. Correct it.")
    before = trials.groupby(["session", "run"]).shift()
    trial_type, type_before = (rows.get("trial_type", rows["name"]).fillna("") for rows in (trials, before))
    early = trials["onset"] < before["onset"] + before["duration"] - FINEST / 2
    repeated = trials["name"].eq(before["name"]) & trial_type.ne(type_before)
    for selected, description in (
        (early, "begin while the previous picture is still shown"),
        (repeated, "show the previous picture again as another trial_type"),
    ):
        if selected.any():
            notes.append(f"{selected.sum()} trials {description}: if one kind of row is not a trial, name it in drop.")
    return trials[["session", "run", "onset", "duration", "name", "test"]], notes


def choose_grid(onsets, tr):
    """Choose a grid of times for onsets, (n_trials,) in seconds: the times of the volumes, or a finer grid.

    Returns its step in seconds: `tr` if onsets lie within 5 % of it, or 0.25 s, of a volume, otherwise a fraction of it; and the
    largest distance of an onset from the grid, in seconds.
    """
    for tolerance in (OFF_GRID * tr, FINEST / 2):
        shift = float(np.abs(onsets - np.rint(onsets / tr) * tr).max())
        grid, shift = (tr, shift) if shift <= tolerance else find_tr(onsets, tr=tr, max_shift=tolerance)
        if grid >= FINEST:
            break
    return grid, shift


def typical_duration(durations):
    """Return the median of durations in seconds, (n_trials,) float with NaN where unknown, rounded to 0.1; and notes."""
    known = durations.dropna().to_numpy()
    if not len(known):
        return STIMULUS_SECONDS, [f"No trial has a duration: {STIMULUS_SECONDS:g} s is assumed."]
    notes = [f"Durations range from {known.min():g} to {known.max():g} s: their median is used."] if np.ptp(known) > 0.1 else []
    return round(float(np.median(known)), 1), notes


def _choose(table, run, ends, image_column, drop, left_out):
    """Trials of a run's table, by onset; adds the other rows to `left_out`, a dict of causes to counts per run."""
    if image_column not in table and not _matching(table, drop).all():
        raise ValueError(f"{run.events} has no column {image_column!r}, as other runs have; its columns are {', '.join(table)}.")
    times = {name: read_seconds(table, name, lambda row: f"{run.events}, line {row + 2}") for name in ("onset", "duration")}
    rows, (end, last) = table.assign(**{image_column: table.get(image_column)} | times), ends
    causes = {
        f"drop, {_condition(drop)}": _matching(rows, drop),
        f"no {image_column}": rows[image_column].isna(),
        "no onset": rows["onset"].isna(),
        "onset before the first volume": rows["onset"] < -EARLY_SECONDS,
        f"onset in the last {LAST_SECONDS:g} s of the run, or after it": rows["onset"] > min(end - LAST_SECONDS, last),
    }
    kept = rows[~np.any(list(causes.values()), axis=0)].drop_duplicates(["onset", image_column])
    causes["the same picture again at the same onset"] = ~rows.index.isin(kept.index)
    dropped = np.zeros(len(rows), dtype=bool)
    for cause, is_dropped in causes.items():
        if n_dropped := int((is_dropped & ~dropped).sum()):
            left_out.setdefault(cause, {})[str(run)] = n_dropped
        dropped |= np.asarray(is_dropped)
    rows = kept.sort_values("onset", kind="stable")
    if (simultaneous := rows["onset"].duplicated()).any():
        first, second = rows.index[rows["onset"] == rows["onset"][simultaneous.idxmax()]][:2]
        raise ValueError(
            f"{run.events}, lines {first + 2} and {second + 2}: the pictures {rows[image_column][first]} and "
            f"{rows[image_column][second]} appear at the same time, {rows['onset'][first]:g} s, and share one response. Drop one "
            f"kind of row, {WHERE_TO_SET}."
        )
    return rows.assign(onset=rows["onset"].clip(lower=0))


def _matching(table, conditions):
    """Which rows have one of the values in one of the columns: (n_rows,) bool; 1 is 1.0, n/a is missing, 1..9 is a range."""
    import pandas as pd

    matching = pd.Series(False, index=table.index)
    for column, values in conditions.items():
        if column in table:
            numbers = pd.to_numeric(pd.Series(values, dtype=object), errors="coerce").dropna()
            numeric = pd.to_numeric(table[column], errors="coerce")
            matching |= table[column].isin(values) | numeric.isin(numbers) | table[column].isna() & ("n/a" in values)
            for limits in filter(None, map(RANGE.fullmatch, values)):
                matching |= numeric.between(*map(float, limits.groups()))
    return matching


def _unmatched(conditions, tables):
    """The conditions that no row of the tables meets, as text."""
    import pandas as pd

    unmatched = {}
    for column, values in conditions.items():
        rows = pd.concat([table[[column]] for table in tables.values() if column in table]).drop_duplicates()
        if absent := [value for value in values if not _matching(rows, {column: [value]}).any()]:
            unmatched[column] = absent
    return _condition(unmatched)


def _condition(conditions):
    """Conditions as text."""
    return " or ".join(f"{column} = {', '.join(values)}" for column, values in conditions.items())


def _parsed(column, text):
    """Return a column of text as numbers if all its values are numbers."""
    import pandas as pd

    try:
        return column if column.name in text else pd.to_numeric(column)
    except ValueError:
        return column
