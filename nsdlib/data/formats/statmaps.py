"""Maps of betas with BIDS names: LAION-fMRI's series of maps with tables of trials, and nilearn's one map per trial."""

import re

import numpy as np

from nsdlib.data.bids import volumes
from nsdlib.data.bids.events import read_table
from nsdlib.data.bids.files import VOLUME, metadata, ordered, parse_name
from nsdlib.data.formats.layouts import ARBITRARY, PERCENT, Layout, make_trials, whole_numbers

SERIES = {"suffix": "statmap", "stat": "effect", "desc": "SingletrialBetas"}
NAMES = ("label", "stimulus_id")  # columns that name the picture in LAION-fMRI's tables
LAION_SECONDS = 1.0, 2.5  # between the rows of its designs, and duration of a picture
TRIAL = r"\D*(\d+).*"  # the number of a trial in the name of a contrast


class SeriesLayout(Layout):
    """LAION-fMRI's layout: a series of maps and a table of its trials in each session's folder below `sub-<label>`.

    `note` is the description of the betas in the sidecar of the first series.
    """

    unit = PERCENT

    def __init__(self, root, settings):
        self.home, self.mask_files, maps = find_maps(root, settings.label)
        found = {}
        for path, name in maps:
            if SERIES.items() <= name.items() and name.get("space") == settings.space:
                if (label := name.get("ses", "")) in found:
                    raise ValueError(f"{path} and {found[label]} are betas of the same session: keep one.")
                found[label] = path
        if not found:
            wanted = "*_stat-effect_desc-SingletrialBetas_statmap.nii.gz"
            raise FileNotFoundError(f"{self.home} holds no {wanted} in space {settings.space}.")
        self.labels = sorted(found, key=ordered)
        self.paths = [[found[label], _table_of(found[label])] for label in self.labels]
        if any(self.home.glob("*Noiseceiling4rep*")):
            self.tr, self.duration = LAION_SECONDS
        described = metadata(self.home.parent, parse_name(self.paths[0][0].name), "statmap").get("Description")
        self.note = f"Betas: {described or 'as LAION-fMRI gives them, type D of GLMsingle, since no sidecar says what they are.'}"

    def background(self):
        """Read the map of explained variance: (X, Y, Z), None if there is none."""
        paths = sorted(self.home.glob("*_stat-rsquare_*_statmap.nii*"))
        return np.nan_to_num(volumes.read_map(paths[0], self.mask, self.affine)) if paths else None

    def _trials(self, session):
        _, path = self.files(session)
        table = read_table(path, NAMES, "beta_index", "run")
        table = table.assign(row=whole_numbers(table["beta_index"])).sort_values("row", kind="stable")
        if not np.array_equal(table["row"], np.arange(len(table))):
            raise ValueError(f"{path}: beta_index must count the session's {len(table)} trials, each once, from 0.")
        return make_trials(whole_numbers(table["run"]), table[next(name for name in NAMES if name in table)])

    def read(self, session, mask):
        """Read the betas of a session, volume by volume: (n_trials, n_voxels) float32, NaN where missing."""
        path, _ = self.files(session)
        betas = volumes.read_series(path, mask, self.affine)
        n_rows = self.sessions[session - 1].attrs["n_rows"]
        if len(betas) != n_rows:
            raise ValueError(f"{path} holds {len(betas)} volumes, its table {n_rows} trials.")
        return betas


class MapsLayout(Layout):
    """One map per trial, `contrast-<trial>_stat-effect_statmap`, as written by nilearn's `save_glm_to_bids`; a table of pictures.

    The table has columns trial (the number that `pattern` finds in the name of the contrast), image and, if there are several of
    them, session (the label) and run.
    """

    unit, note = ARBITRARY, "Betas are effects of single-trial contrasts; their unit depends on the signal scaling of the model."

    def __init__(self, root, settings):
        import pandas as pd

        self.home, self.mask_files, maps = find_maps(root, settings.label)
        rows = []
        for path, name in maps:
            number = re.fullmatch(settings.pattern or TRIAL, name.get("contrast", ""))
            if name.get("stat") == "effect" and number and number[1].isdecimal() and name["extension"] in VOLUME:
                rows.append((_label(name.get("ses", "")), int(name.get("run", 1)), int(number[1]), path))
        if not rows:
            wanted = f"*_contrast-<trial>_stat-effect_statmap.nii.gz whose contrast fits the pattern {settings.pattern or TRIAL}"
            raise FileNotFoundError(f"{self.home} holds no {wanted}.")
        keys = ["session", "run", "trial"]
        found = pd.DataFrame(sorted(rows), columns=[*keys, "path"])
        if (double := found.duplicated(keys)).any():
            raise ValueError(f"{found['path'][double].iloc[0]}: another file has the same session, run and trial.")
        shown = read_table(settings.table, "image", "trial")
        keys = [key for key in keys if key in shown]
        for key in keys:
            shown[key] = shown[key].map(_label) if key == "session" else whole_numbers(shown[key])
        if shown.duplicated(keys).any():
            raise ValueError(f"{settings.table}: two rows have the same {', '.join(keys)}.")
        if found.duplicated(keys).any():
            raise ValueError(f"{settings.table}: several maps have one {', '.join(keys)}: add a column run or session.")
        maps, rows = (set(table[keys].itertuples(index=False, name=None)) for table in (found, shown))
        if maps - rows and rows - maps:
            raise ValueError(
                f"{settings.table}: {len(rows - maps)} rows have no map, such as {', '.join(keys)} {min(rows - maps)}, and "
                f"{len(maps - rows)} maps no row, such as {min(maps - rows)}: both must count trials from the same number."
            )
        found = found.merge(shown[[*keys, "image"]], how="left", on=keys)
        self.labels = sorted(set(found["session"]), key=ordered)
        self.tables = [found[found["session"] == label] for label in self.labels]
        self.paths = [table["path"].tolist() for table in self.tables]

    def _trials(self, session):
        return make_trials(self.tables[session - 1]["run"].to_numpy(), self.tables[session - 1]["image"])

    def read(self, session, mask):
        """Read the betas of a session: (n_trials, n_voxels) float32, NaN where missing."""
        return np.stack([volumes.read_map(path, self.mask, self.affine)[mask] for path in self.files(session)])


def find_maps(root, label):
    """Find a subject's folder, its masks and its maps.

    The folder is `sub-<label>` in `root`, or in the one derivative that has it. Masks are a list of Path: those in the folder
    itself, or else in its subfolders. Maps are a list of pairs of a Path and its parsed name, {} if it does not follow BIDS.
    Raises a FileNotFoundError unless exactly one such folder has maps.
    """
    folders = [root / f"sub-{label}", *sorted(root.glob(f"derivatives/*/sub-{label}"))]
    with_maps = [folder for folder in folders if any(folder.rglob("*_statmap.nii*"))]
    if len(with_maps) != 1:
        existing = ", ".join(map(str, with_maps)) or ", ".join(sorted(path.name for path in root.glob("sub-*"))) or "none"
        raise FileNotFoundError(f"{root}: wanted one folder sub-{label} with maps, *_statmap.nii.gz; there are: {existing}.")
    [home] = with_maps
    masks = sorted(home.glob("*_mask.nii*")) or sorted(home.rglob("*_mask.nii*"))
    return home, masks, [(path, parse_name(path.name) or {}) for path in sorted(home.rglob("*_statmap.nii*"))]


def _table_of(path):
    """Path of the table of trials beside a series of maps."""
    return path.with_name(re.sub("_space-[^_]+(_res-[^_]+)?|_stat-effect|_statmap.*", "", path.name) + "_trials.tsv")


def _label(text):
    """A session's label for comparison: without ses- and leading zeros."""
    return str(text).removeprefix("ses-").lstrip("0")
