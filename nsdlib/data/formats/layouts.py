"""Layouts of betas estimated elsewhere, session by session: the interface, and the layout of GLMsingle's folders."""

from functools import cached_property
from pathlib import PurePosixPath

import numpy as np

from nsdlib.data.bids.events import read_table
from nsdlib.data.bids.files import ordered
from nsdlib.data.formats.glmsingle import DESIGN, TYPES, GLMsingleResults

PERCENT, ARBITRARY = "percent signal change", "arbitrary"  # units
CONDITIONS = "conditions.tsv"  # beside GLMsingle's files: the picture of each condition


class Layout:
    """Interface of a layout; sessions count from 1.

    `labels` are those of the sessions, and `paths` has a list of Path for each session, the files of its betas. `home` is the
    folder of the subject's results, `mask_files` a list of Path, `unit` and `note` are texts, `tr` and `duration` are in seconds,
    NaN if unknown.
    """

    tr = duration = np.nan
    mask_files = ()

    @cached_property
    def sessions(self):
        """Trials of each session in temporal order: a list of DataFrame, made by `make_trials`."""
        return [self._trials(session) for session in range(1, len(self.labels) + 1)]

    def files(self, session):
        """Files that hold the betas of a session: a list of Path."""
        return self.paths[session - 1]

    def check(self, mask, affine):
        """Set the subject's volume; raises a ValueError if the betas do not belong to it."""
        self.mask, self.affine = mask, affine

    def volume(self):
        """Return the voxels with betas, (X, Y, Z) bool, and the affine, (4, 4), if the layout itself defines them; else None."""

    def regions(self):
        """Read the layout's regions: a dict of str to (X, Y, Z) bool."""
        return {}

    def background(self):
        """Read a background volume for maps: (X, Y, Z); None if there is none."""


class GLMsingleLayout(Layout):
    """Folders that GLMsingle wrote, one per session (or one for all), and a table with the picture of each condition.

    The folders lie in `sub-<label>` of `root` if it exists, otherwise in `root` itself. The table, or a `conditions.tsv` in each
    session's folder, has columns condition, the column of the design from 0, and image; or one row per trial: image and, if there
    are several, session and run, in the order of the folders. A folder that holds results itself is the only session, whatever
    its subfolders hold. Raises a ValueError if a shown condition has no picture, a listed one no column, rows of trials
    are in another order than in DESIGNINFO, or folders belong to other people; a FileNotFoundError without results or table.
    """

    def __init__(self, root, settings):
        own, names = root / f"sub-{settings.label}", [f"{name}.*" for name in TYPES.values()]
        root = own if own.is_dir() else root
        inside = {path.parent for name in names for path in root.glob(f"*/{name}")}
        folders = [root] if any(any(root.glob(name)) for name in names) else sorted(inside, key=lambda path: ordered(path.name))
        if people := [folder.name for folder in folders if folder != root and folder.name.startswith("sub-")]:
            raise ValueError(f"{root} has no folder {own.name}, but {', '.join(people)}: set label to one of these.")
        self.home, self.table, self.order = root, settings.table, settings.flat_order
        self.results = [GLMsingleResults(folder) for folder in folders or [root]]
        self.labels = [found.folder.name for found in self.results]
        self.paths = [[found.path] for found in self.results]
        design = next((found.design for found in self.results if found.design_file), {})
        self.tr, self.duration = design.get("tr", np.nan), design.get("duration", np.nan)
        self.unit = design.get("unit", PERCENT)
        kinds = {found.kind for found in self.results}
        if len(kinds) > 1 or len({found.shape for found in self.results}) > 1:
            raise ValueError(f"{root}: sessions have types {', '.join(sorted(kinds))} or other volumes, wanted one.")
        self.note = f"Betas are those of GLMsingle's type {self.results[0].kind}, {self.results[0].path.stem}."

    def _trials(self, session):
        result = self.results[session - 1]
        path = self.table or result.folder / CONDITIONS
        table = read_table(path, "image")
        if "session" in table:
            sessions = whole_numbers(table["session"])
            if sessions.min() < 1 or sessions.max() > len(self.results):
                raise ValueError(f"{path}: sessions must be 1 to {len(self.results)}, as the folders {', '.join(self.labels)}.")
            table = table[sessions == session]
        elif self.table and len(self.results) > 1 and "condition" not in table:
            raise ValueError(f"{path}: wanted a column session, 1 to {len(self.results)}: {', '.join(self.labels)}.")
        if "condition" not in table:
            if len(table) != result.n_trials:
                raise ValueError(f"{path} has {len(table)} trials of session {session}, {result.path} has {result.n_trials}.")
            return self._in_order(path, table, result)
        design = result.design
        conditions = design["condition"].tolist()
        names = dict(zip(whole_numbers(table["condition"]).tolist(), table["image"], strict=True))
        if len(names) < len(table):
            raise ValueError(f"{path}: two rows have the same condition. Where sessions have their own, add a column session.")
        missing, n_columns = sorted(set(conditions).difference(names)), design["n_conditions"]
        if missing or max(names) >= n_columns:
            problem = f"no picture of condition {missing[0]} ({len(missing)} are missing)" if missing else None
            advice = "conditions are the columns of the design that GLMsingle was given, counted from 0."
            raise ValueError(f"{path} has {problem or f'condition {max(names)} of {n_columns}'}: {advice}")
        return make_trials(design["run"], [names[condition] for condition in conditions], design["onset"])

    def _in_order(self, path, table, result):
        """Trials of a table with one row per trial; given DESIGNINFO, all trials of a condition must show the same picture."""
        if not result.design_file:
            return make_trials(whole_numbers(table["run"]) if "run" in table else 1, table["image"])
        design = result.design
        trials = make_trials(design["run"], table["image"], design["onset"])
        names = trials["name"].map(lambda name: PurePosixPath(name).stem)
        first = names.groupby(design["condition"][trials["row"]]).transform("first")
        if (differs := names != first).any():
            row = differs.idxmax()
            raise ValueError(
                f"{path}: trial {trials['row'][row] + 1} showed {names[row]}, an earlier one of the same condition {first[row]}, "
                f"by {DESIGN} of {result.folder}: rows must be in the order of the trials."
            )
        if "run" in table and (np.diff(whole_numbers(table["run"])) != 0).tolist() != (np.diff(design["run"]) != 0).tolist():
            raise ValueError(f"{path}: runs begin at other trials than {DESIGN} of {result.folder} says.")
        return trials

    def read(self, session, mask):
        """Read the betas of a session: (n_trials, n_voxels) float32, NaN where missing."""
        result = self.results[session - 1]
        if result.shape == mask.shape:
            return result.betas(np.flatnonzero(mask))
        row_of_voxel = np.full(self.mask.shape, -1)
        if self.order == "F":
            row_of_voxel.T[self.mask.T] = np.arange(self.mask.sum())
        else:
            row_of_voxel[self.mask] = np.arange(self.mask.sum())
        return result.betas(row_of_voxel[mask])

    def check(self, mask, affine):
        """Set the subject's volume; raises a ValueError unless the betas have its shape or are a list of its mask's voxels."""
        super().check(mask, affine)
        first = self.results[0]
        if self.order is None and first.ending == "mat" and first.shape != mask.shape:
            raise ValueError(f"{first.path} has a list of voxels: set flat_order, C or F (MATLAB's find).")
        if first.shape not in (mask.shape, (int(mask.sum()), 1, 1)):
            wanted = f"the volume of the mask, {mask.shape}, or one row for each of its {mask.sum()} voxels"
            advice = "Set mask to the one that GLMsingle's input was made with."
            raise ValueError(f"{first.path} has betas of shape {first.shape}: wanted {wanted}. {advice}")

    def background(self):
        """Read the mean volume of the first session: (X, Y, Z); None if GLMsingle was given a list of voxels."""
        mean = self.results[0].map("meanvol")
        return mean if mean is not None and mean.shape == self.mask.shape else None


def make_trials(run, names, onset=np.nan):
    """Make a session's table of trials: a DataFrame with columns run, name, onset and row.

    `run` counts from 1, `name` is that of the picture, `onset` is in seconds in the run, NaN if unknown, and `row` that of the
    trial in the files. Rows without a picture are left out, but attrs["n_rows"] counts them.
    """
    import pandas as pd

    table = pd.DataFrame({"name": pd.Series(np.asarray(names, dtype=object)).replace("", np.nan)})
    table = table.assign(run=run, onset=onset, row=np.arange(len(table)))
    trials = table[table["name"].notna()].astype({"run": np.int64, "name": str}).reset_index(drop=True)
    if (trials["run"] < 1).any():
        raise ValueError(f"run {trials['run'].min()} of {trials['name'][trials['run'].idxmin()]}: runs count from 1.")
    trials.attrs["n_rows"] = len(table)
    return trials


def whole_numbers(column):
    """Whole numbers at the end of texts such as 3, 03, run-03 and 3.0: (n,) int64; a ValueError for other texts."""
    numbers = column.astype(str).str.strip().str.extract(r"^\D*?(\d+)(?:\.0)?$", expand=False)
    if (wrong := numbers.isna()).any():
        raise ValueError(f"column {column.name}: wanted whole numbers, got {column[wrong].iloc[0]!r}.")
    return numbers.to_numpy(np.int64)
