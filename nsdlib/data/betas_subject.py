"""A subject with betas estimated elsewhere: pictures, trials, betas and masks, but no time series."""

import json
import re
import warnings
from functools import cached_property
from pathlib import Path

import numpy as np

from nsdlib.data.bids import volumes
from nsdlib.data.bids.events import read_table
from nsdlib.data.bids.files import existing
from nsdlib.data.formats.algonauts import AlgonautsLayout
from nsdlib.data.formats.layouts import GLMsingleLayout
from nsdlib.data.formats.statmaps import MapsLayout, SeriesLayout
from nsdlib.data.lab import LabSubject

LAYOUTS = {"glmsingle": GLMsingleLayout, "laion": SeriesLayout, "statmaps": MapsLayout, "algonauts": AlgonautsLayout}
CEILING = re.compile(r"_desc-Noiseceiling(\d+)rep_statmap\.nii")  # percent, for averages of n repeats; LAION-fMRI
CEILINGS_AGREE = 0.05  # median relative difference allowed between two maps


class BetasSubject(LabSubject):
    """One subject's images, trials and betas in the folder `root`, in one of the formats of `LAYOUTS`.

    `settings` is the section `betas_files` of a parameter file, a `nsdlib.sections.BetasFiles`; `n_sessions` is the number of
    sessions to use, from the first, by default all. `betas_unit` is "percent signal change", "z" or "arbitrary"; `betas_note`
    describes the betas. Raises the layout's FileNotFoundError or ValueError, also for betas without a mask or too few sessions.
    """

    has_series, regions_from = False, "Others can lie as NIfTI masks in the folder regions of the section betas_files."

    def __init__(self, root, settings, n_sessions=None):
        super().__init__(settings)
        self.root = Path(root)
        self.layout = LAYOUTS[settings.kind](self.root, settings)
        self.name = f"{self.root.name}/sub-{settings.label}"
        self._select_sessions(self.layout.labels, n_sessions)
        self.tr, self.duration = self.layout.tr, self.layout.duration
        self.betas_unit, self.betas_note = settings.unit or self.layout.unit, self.layout.note
        self.notes = (self.betas_note,)
        self.layout.check(self.brainmask, self.affine)

    def __repr__(self):
        return f"BetasSubject({self.name!r}, kind={self.settings.kind!r}, n_sessions={self.n_sessions}): {self.betas_note}"

    @cached_property
    def _trial_table(self):
        """Trials with session, run, name and row."""
        import pandas as pd

        tables = [table.assign(session=number) for number, table in enumerate(self.layout.sessions[: self.n_sessions], start=1)]
        table = pd.concat(tables, ignore_index=True)
        table["name"] = table["name"].map(self.pictures.one_name_each(table["name"].unique()))
        if self._split_names and self._split_names[0] is not None:
            table = table[self._is_among([*self._split_names[0], *self._split_names[1]], table["name"])].reset_index(drop=True)
        if table.empty:
            raise ValueError(f"{self.name} has no trial with a picture: check the tables, and test in betas_files.")
        return table

    @cached_property
    def _split_names(self):
        """Names of training pictures (None: all others) and of test pictures; None without a list."""
        if (path := self.settings.test) is None:
            return None
        if path.suffix != ".json":
            return None, read_table(path, "image")["image"].dropna().tolist()
        try:
            [variant] = json.loads(existing(path).read_text(encoding="utf-8"))["variants"]
            names = variant["train_ids"], variant["test_ids"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: wanted one variant with train_ids and test_ids ({error!r}).") from error
        if shared := set(names[0]) & set(names[1]):
            raise ValueError(f"{path}: {len(shared)} pictures are in train_ids and in test_ids, such as {min(shared)}.")
        return names

    @cached_property
    def trials(self):
        """Trials that showed a picture, in temporal order: int64 session, run and image, and row, the trial's row in its file.

        If `test` is a .json file of splits, only trials with the pictures in it.
        """
        return self._trials("row")

    @cached_property
    def official_test(self):
        """Whether each trial's picture is in the list `test`: (n_trials,) bool; None without a list."""
        return self._is_among(self._split_names[1], self._trial_table["name"]) if self._split_names else None

    def _is_among(self, names, trial_names):
        """Whether each trial's picture is among these names of the list `test`, however they are written: (n_trials,) bool."""
        if unknown := [name for name in set(names).difference(trial_names) if self.pictures.find(name) is None]:
            raise ValueError(
                f"{self.settings.test}: {len(unknown)} of {len(names)} names match no picture below {self.settings.images}, such "
                f"as {min(unknown)}: correct them, or leave them out."
            )
        return trial_names.map(self.pictures.identify).isin([self.pictures.identify(name) for name in names]).to_numpy()

    @cached_property
    def _mask(self):
        """Voxels in all masks, and the affine."""
        if (volume := self.layout.volume()) is not None:
            return volume
        paths = [self.settings.mask] if self.settings.mask else self.layout.mask_files
        if not paths:
            raise ValueError(
                f"{self.name}: the positions of the voxels are unknown. Set mask in the section betas_files to a NIfTI "
                "mask of those with betas, on their grid."
            )
        masks, affine = volumes.read_masks(paths)
        if not (mask := masks.all(axis=0)).any():
            raise ValueError(f"No voxel is in the masks {', '.join(map(str, paths))}.")
        return mask, affine

    @cached_property
    def background(self):
        """The layout's background volume for maps, or else the mask: (X, Y, Z)."""
        volume = self.layout.background()
        return self.brainmask.astype(np.float32) if volume is None else volume

    @cached_property
    def regions(self):
        """Regions of the layout, and masks in the folder `regions` or LAION-fMRI's atlases: a dict of str to (X, Y, Z) bool."""
        folder = self.settings.regions or self.root / "derivatives" / "atlases" / f"sub-{self.settings.label}" / "rois"
        paths = sorted(folder.glob("*.nii*"))
        if self.settings.regions and not paths:
            raise FileNotFoundError(f"{folder} holds no masks, <region>.nii.gz: set regions in the section betas_files.")
        masks = {path.name.partition(".")[0]: volumes.read_map(path, self.brainmask, self.affine) > 0 for path in paths}
        return self.layout.regions() | masks

    def betas(self, session, mask, *, version=None):
        """Betas of a session's trials in `betas_unit`, see `Subject`; there is only one `version`.

        If a voxel has a NaN or infinite beta in any trial of a session, all its betas of the session are 0, as in NSD's
        unmeasured voxels; a warning reports the number of such voxels.
        """
        self.check_session(session)
        rows = self.trials["row"].to_numpy()[self.session == session]
        values = self.layout.read(session, self.checked_mask(mask) & self.brainmask)
        betas = np.zeros((len(rows), int(mask.sum())), dtype=np.float32)
        measured = np.isfinite(values).all(axis=0)
        if n_lacking := int((~measured).sum()):
            message = f"{n_lacking} of {len(measured)} voxels of session {session} have betas that are NaN or infinite: set to 0."
            warnings.warn(message, stacklevel=2)
        inside = np.flatnonzero(self.brainmask[mask])[measured]
        betas[:, inside] = values[rows][:, measured]
        return betas

    def ncsnr(self, version=None):
        """Signal-to-noise ratio of single trials, from the noise-ceiling maps: (X, Y, Z) float; None without such maps.

        The noise ceiling of averages of n repeats is 100 ncsnr^2 / (ncsnr^2 + 1/n). Maps that give different ratios must have
        another definition: the result is None, with a warning.
        """
        ratios = {}
        for path in sorted(self.layout.home.glob("*_statmap.nii*")):
            if match := CEILING.search(path.name):
                fraction = np.nan_to_num(volumes.read_map(path, self.brainmask, self.affine)).clip(0, 99.9) / 100
                ratios[int(match[1])] = np.sqrt(fraction / (1 - fraction) / int(match[1]))
        (n_fewest, ratio), *other_ratios = sorted(ratios.items()) or [(0, None)]
        for n_repeats, other in other_ratios:
            compared = (ratio > 0.1) & self.brainmask
            if compared.any() and np.median(np.abs(other - ratio)[compared] / ratio[compared]) > CEILINGS_AGREE:
                warnings.warn(
                    f"Noise ceilings of {n_fewest} and {n_repeats} repeats give different signal-to-noise ratios: none is used.",
                    stacklevel=2,
                )
                return None
        return ratio

    def n_runs(self, session):
        """Task runs of a session: the highest run number among its trials."""
        self.check_session(session)
        return int(self._trial_table["run"][self.session == session].max())

    def onsets(self, session):
        """Onset of each trial of a session, in seconds from the start of its run: (n_trials,), NaN if unknown."""
        self.check_session(session)
        return self._trial_table["onset"].to_numpy(np.float64)[self.session == session]

    def needed_files(self, n_sessions, *, version=None, glm_sessions=0, roi="brainmask"):
        """Files that a run over the first `n_sessions` reads, as pairs (path, what it is)."""
        betas = [(path, "betas") for session in range(1, n_sessions + 1) for path in self.layout.files(session)]
        return betas + [(path, "mask, roi") for path in self._mask_files(roi)]
