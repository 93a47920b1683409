"""Tables of a BIDS dataset, as pandas has them."""

import warnings

from nsdlib.core.glm.events import MISSING

TEXT = ("trial_type", "stim_file")  # columns that are text even where they look like numbers


def read_events(path):
    """Read a table of events.

    Parameters
    ----------
    path : Path or str
        A `_events.tsv`, packed as `.gz` or not.

    Returns
    -------
    pandas.DataFrame
        Its rows in the file's order, n/a as NaN; blanks around names and texts are gone. trial_type and stim_file are text,
        other columns numbers where all their values are, so that an onset that is no number is named by
        `nsdlib.core.design_from_events`, which takes such tables.

    Raises
    ------
    FileNotFoundError
        When the file is not there.
    ValueError
        When it is no table of text in UTF-8 with tabs between the columns, or has no column onset.
    """
    import pandas as pd

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # more values in a row than names of columns
            table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, index_col=False, encoding="utf-8-sig")
    except (FileNotFoundError, PermissionError, MemoryError):
        raise
    except Exception as error:  # pandas, zlib and Python's decoder each have their own
        raise ValueError(
            f"{path} cannot be read as a table of events ({type(error).__name__}: {error}). Wanted text in UTF-8, tabs "
            "between the columns, no more values in a row than names in the first, packed as .gz or not at all."
        ) from error
    table.columns = table.columns.str.strip()
    if "onset" not in table:
        raise ValueError(
            f"{path}: wanted a column 'onset' and tabs between the columns, got the columns {', '.join(table.columns)}."
        )
    return table.apply(_parsed)


def _parsed(column):
    """Return a column of text with NaN for n/a, as numbers where all of it is numbers."""
    import pandas as pd

    column = column.str.strip()
    column = column.mask(column.isin(MISSING))
    try:
        return column if column.name in TEXT else pd.to_numeric(column)
    except ValueError:
        return column
