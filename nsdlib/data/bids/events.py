"""Experiments as BIDS has them, brought to what the single-trial GLM takes: tables of events, and volumes at their onsets."""

import math
import warnings
from pathlib import Path

import numpy as np

from nsdlib.core.glm.events import MISSING
from nsdlib.data.bids.files import existing

TEXT = ("trial_type", "stim_file")  # columns that are text even where they look like numbers


def read_table(path, *columns):
    """Read a table of text, a `.tsv`, packed as `.gz` or not: a DataFrame of str without blanks around them, n/a as NaN.

    A FileNotFoundError when there is none; a ValueError when it is no text in UTF-8 with tabs between the columns, has none of
    the names, a str or a tuple, of one of `columns`, or a value of more than one line.
    """
    import pandas as pd

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # more values in a row than names of columns
            table = pd.read_csv(
                existing(Path(path)), sep="\t", dtype=str, keep_default_na=False, index_col=False, encoding="utf-8-sig"
            )
    except (FileNotFoundError, PermissionError, MemoryError):
        raise
    except Exception as error:  # pandas, zlib and Python's decoder each have their own
        raise ValueError(
            f"{path} cannot be read as a table of text ({type(error).__name__}: {error}). Wanted text in UTF-8, tabs between the "
            "columns, no more values in a row than names in the first, packed as .gz or not at all."
        ) from error
    table.columns = table.columns.str.strip()
    for names in columns:
        names = (names,) if isinstance(names, str) else names
        if not set(names) & set(table):
            raise ValueError(
                f"{path}: wanted a column {' or '.join(map(repr, names))} and tabs between the columns, got the columns "
                f"{', '.join(table)}."
            )
    if (broken := table.apply(lambda column: column.str.contains("[\r\n]")).any(axis=1)).any():
        raise ValueError(
            f"{path}, line {broken.idxmax() + 2}: a value goes on in the next line, as behind a quotation mark that is not "
            "closed. Close the mark, or take it out."
        )
    table = table.apply(lambda column: column.str.strip())
    return table.mask(table.isin(MISSING))


def read_events(path, *, text=()):
    """Read a table of events, a `_events.tsv`, packed as `.gz` or not, for `nsdlib.core.design_from_events`.

    Parameters
    ----------
    path : path-like
    text : tuple of str
        Columns that are text even where they look like numbers, beside `TEXT`: names of pictures, 0012.

    Returns
    -------
    pandas.DataFrame
        Its rows in the file's order, n/a as NaN; blanks around names and texts are gone. trial_type and stim_file are text,
        other columns numbers where all their values are. Errors as of `read_table`, of a column onset.
    """
    return read_table(path, "onset").apply(_parsed, text={*TEXT, *text} - {"onset", "duration"})


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
        first measurement it has the value of that. A ValueError when shapes or values do not fit.

    Notes
    -----
    A cubic spline. Between volumes 2 s apart it is off by less than 4 % of the deviation of a noiseless response, monotone cubics
    (PCHIP) by half as much again or more. Volumes between measured ones carry no new information: a fit has no more degrees of
    freedom than before.
    """
    from scipy.interpolate import CubicSpline

    series, start = np.asarray(series), np.asarray(start, dtype=np.float64)
    if series.dtype.kind not in "iuf" or series.ndim != 2 or len(series) < 2 or start.shape not in ((), series.shape[1:]):
        raise ValueError(
            f"wanted numbers of one run, (n_volumes, n_voxels) with at least 2 volumes, and start of shape () or (n_voxels,), "
            f"got {series.dtype} of shape {series.shape}, and {start.shape}."
        )
    if not 0 < new_tr <= tr < math.inf or not ((start >= 0) & (start <= tr)).all():
        raise ValueError(
            f"tr={tr}, new_tr={new_tr}, start from {start.min()} to {start.max()}: wanted seconds, 0 < new_tr <= tr and start "
            "between 0 and tr (SliceTiming above tr is in milliseconds)."
        )
    measured = tr * np.arange(len(series))
    wanted = np.arange(math.floor(measured[-1] / new_tr + 1e-6) + 1) * new_tr
    kind = np.result_type(series.dtype, np.float32)
    mean = series.mean(axis=0, dtype=np.float64).astype(kind)
    change = series.astype(kind) - mean
    resampled = np.empty((len(wanted), series.shape[1]), dtype=kind)
    for first in np.unique(start):
        times = np.clip(wanted - first, 0, measured[-1])
        weights = CubicSpline(measured, np.eye(len(measured)))(times).astype(kind)  # (n_new_volumes, n_volumes)
        voxels = start == first if start.ndim else slice(None)
        resampled[:, voxels] = weights @ change[:, voxels]
    resampled += mean
    return resampled


def _parsed(column, text):
    """Return a column of text as numbers where all of it is numbers."""
    import pandas as pd

    try:
        return column if column.name in text else pd.to_numeric(column)
    except ValueError:
        return column
