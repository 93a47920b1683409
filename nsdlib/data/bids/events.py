"""BIDS event tables and time series, prepared for the single-trial GLM."""

import math
import warnings
from pathlib import Path

import numpy as np

from nsdlib.core.glm.events import MISSING
from nsdlib.data.bids.files import existing

TEXT = ("trial_type", "stim_file")  # columns kept as text even if they look like numbers


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
            raise ValueError(
                f"{path}: wanted a column {' or '.join(map(repr, names))} and tabs between the columns, got the columns "
                f"{', '.join(table)}."
            )
    if (multiline := table.apply(lambda column: column.str.contains("[\r\n]")).any(axis=1)).any():
        raise ValueError(
            f"{path}, line {multiline.idxmax() + 2}: a value continues on the next line, as after a quotation mark that is not "
            "closed. Close the mark, or remove it."
        )
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


def resample_volumes(series, *, tr, new_tr, start=0.0):
    """Interpolate the volumes of a run at 0, `new_tr`, 2 `new_tr`, ... seconds.

    Parameters
    ----------
    series : (n_volumes, n_voxels) float array
        BOLD or confounds of one run, except confounds that mark single volumes, which cannot be interpolated.
    tr : float
        Seconds between measured volumes.
    new_tr : float
        Seconds between interpolated volumes, at most `tr`: a coarser grid would alias noise into the signal.
    start : float or (n_voxels,) array
        When the first volume was measured, in seconds from the time 0 of the onsets: BIDS's StartTime after slice-time correction
        (fMRIPrep: half a `tr` by default), otherwise the SliceTiming of each voxel's slice.

    Returns
    -------
    (n_new_volumes, n_voxels) float array
        Of the type of `series`, float32 for integers; ends at (n_volumes - 1) `tr`. Times before the first measurement get its
        value. Raises a ValueError if shapes or values are invalid.

    Notes
    -----
    Uses a cubic spline. For volumes 2 s apart, its error is below 4 % of the standard deviation of a noiseless response; that of
    monotone cubics (PCHIP) is at least 1.5 times as large. Interpolated volumes carry no new information: a fit has no more
    degrees of freedom than before.
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
    measured_times = tr * np.arange(len(series))
    new_times = np.arange(math.floor(measured_times[-1] / new_tr + 1e-6) + 1) * new_tr
    dtype = np.result_type(series.dtype, np.float32)
    mean = series.mean(axis=0, dtype=np.float64).astype(dtype)
    deviations = series.astype(dtype) - mean
    resampled = np.empty((len(new_times), series.shape[1]), dtype=dtype)
    for first_time in np.unique(start):
        times = np.clip(new_times - first_time, 0, measured_times[-1])
        weights = CubicSpline(measured_times, np.eye(len(measured_times)))(times).astype(dtype)  # (n_new_volumes, n_volumes)
        voxels = start == first_time if start.ndim else slice(None)
        resampled[:, voxels] = weights @ deviations[:, voxels]
    resampled += mean
    return resampled


def _parsed(column, text):
    """Return a column of text as numbers if all its values are numbers."""
    import pandas as pd

    try:
        return column if column.name in text else pd.to_numeric(column)
    except ValueError:
        return column
