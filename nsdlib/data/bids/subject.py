"""A subject in BIDS format: events and pictures of the raw data set, and BOLD preprocessed by fMRIPrep.

The files of both data sets are only read.
"""

from functools import cached_property
from pathlib import Path

import numpy as np

from nsdlib.core.glm.events import nearest_volume
from nsdlib.data.bids import events, files, volumes
from nsdlib.data.lab import LabSubject


class BIDSSubject(LabSubject):
    """One subject's images, trials, voxels and time series; betas must be fitted, since none come with the data.

    Sessions and runs count from 1, in the order of their labels. `root` is the folder of the raw data set, with
    `dataset_description.json`; `settings` is the section `bids` of a parameter file, a `nsdlib.sections.Bids`; `n_sessions` is
    the number of sessions to use, from the first, by default all. Raises a FileNotFoundError or ValueError as `files.find_runs`
    does, and if the subject has fewer sessions.
    """

    has_betas = False
    regions_from = "FreeSurfer's regions need fMRIPrep's desc-aparcaseg_dseg, in BOLD space and as a table beside the subjects."

    def __init__(self, root, settings, n_sessions=None):
        super().__init__(settings)
        self.root = Path(root)
        self.name = f"{self.root.name}/sub-{settings.label}"
        runs, self._file_notes = files.find_runs(
            self.root, settings.derivatives, label=settings.label, task=settings.task, space=settings.space
        )
        self._select_sessions(list(dict.fromkeys(run.session for run in runs)), n_sessions)
        self.runs = {}  # (session, run): RunFiles
        for session, label in enumerate(self.session_labels, start=1):
            session_runs = [run for run in runs if run.session == label]
            self.runs |= {(session, number): run for number, run in enumerate(session_runs, start=1)}
        self._is_whole = len(self.runs) == len(runs)

    @property
    def notes(self):
        """Messages for the user on what was ignored, left out, assumed or moved: a list of str."""
        twice = ["high_pass takes out drifts, as the GLM's polynomials do."] if "high_pass" in self.settings.confounds else []
        durations = events.typical_duration(self._events[0]["duration"])[1]
        read = [self._timing[1], self._events[1], self._grid[2], self._mask[2], durations]
        return [*self._file_notes, *(note for notes in read for note in notes), *twice]

    @cached_property
    def _timing(self):
        """Seconds between volumes, start of the first one and number of volumes of each run; notes."""
        settings, timing, notes = self.settings, {}, []
        for key, run in self.runs.items():
            with volumes.opened(run.bold) as image:
                if len(image.shape) != 4 or image.shape[3] < 2:
                    raise ValueError(f"{run.bold} has shape {image.shape}, wanted a series of volumes.")
                header, n_volumes = image.header, image.shape[3]
            tr, start, run_notes = files.read_timing(run, self.root, settings.derivatives, header=header, tr=settings.tr)
            timing[key] = tr, start, n_volumes
            notes += run_notes
        if len({round(tr, 4) for tr, *_ in timing.values()}) > 1:
            seconds = ", ".join(f"{self.runs[key]} {tr:g} s" for key, (tr, *_) in timing.items())
            raise ValueError(f"All runs must have the same seconds between volumes, got {seconds}.")
        tr_of_first = next(iter(timing.values()))[0]  # they differ only by rounding
        return {key: (tr_of_first, start, n) for key, (_, start, n) in timing.items()}, list(dict.fromkeys(notes))

    @cached_property
    def _events(self):
        """Trials with onset, duration, name and test; notes."""
        seconds = {key: (tr * n, tr * (n - 1)) for key, (tr, _, n) in self._timing[0].items()}
        settings = self.settings
        table, notes = events.read_trials(
            self.runs, seconds, image_column=settings.image_column, drop=settings.drop, test=settings.test, whole=self._is_whole
        )
        name_of = self.pictures.one_name_each(table["name"].unique())
        table["name"] = table["name"].map(name_of)
        if n_other := sum(name != first for name, first in name_of.items()):
            notes.append(f"{n_other} names stand for pictures that also have another name: each is one picture.")
        if (scrubbed := self._scrubbed(table)).any():
            notes.append(f"{scrubbed.sum()} trials left out: most volumes that show their response are scrubbed.")
            table = table[~scrubbed].reset_index(drop=True)
        if empty_sessions := sorted({session for session, _ in self.runs} - set(table["session"])):
            labels = ", ".join(self.runs[session, 1].session for session in empty_sessions)
            raise ValueError(f"{self.name}: no trial showed a picture in ses-{labels}. {' '.join(notes)}")
        return table, notes

    def _scrubbed(self, table):
        """Whether most volumes from 2 to 10 s after a trial's onset, which show its response, are excluded: (n_trials,) bool."""
        scrubbed, onsets = np.zeros(len(table), bool), table["onset"].to_numpy()[:, None]
        for key, rows in table.groupby(["session", "run"]).indices.items():
            (tr, start, n_volumes), excluded = self._timing[0][key], self._nuisance(*key)[1]
            times = start + tr * np.arange(n_volumes) - onsets[rows]  # (n_trials, n_volumes)
            in_response = (times >= 2) & (times <= 10)
            scrubbed[rows] = (in_response & excluded).sum(axis=1) > 0.5 * in_response.sum(axis=1)
        return scrubbed

    @cached_property
    def _grid(self):
        """Seconds between rows of the designs; row of each trial's onset, (n_trials,) int64; notes."""
        timing, table = self._timing[0], self._events[0]
        keys, onsets = list(zip(table["session"], table["run"], strict=True)), table["onset"].to_numpy()
        volume_tr = next(iter(timing.values()))[0]
        if self.settings.onsets == "resample":
            (tr, _), starts = events.choose_grid(onsets, volume_tr), 0.0
        else:
            tr, starts = volume_tr, np.array([timing[key][1] for key in keys])
        last = np.array([self._n_rows(key, tr) - 1 for key in keys])
        rows = nearest_volume(onsets - starts, tr).astype(np.int64).clip(0, last)
        deviation = np.abs(starts + rows * tr - onsets).max()
        if (same_row := table.assign(row=rows).duplicated(["session", "run", "row"], keep=False)).any():
            first, second = np.flatnonzero(same_row)[:2]
            problem = f"the trials at {onsets[first]:g} and {onsets[second]:g} s fall on the same of the times {tr:g} s apart"
            advice = f"Set onsets to resample, or drop one kind of row, {files.WHERE_TO_SET}."
            raise ValueError(f"{self.runs[keys[first]].events}: {problem}. {advice}")
        how = "Series are resampled to times" if self.settings.onsets == "resample" else "Onsets are rounded to volumes"
        note = f"{how} {tr:g} s apart (volumes: {volume_tr:g} s): onsets differ from them by {deviation:.3f} s at most."
        return tr, rows, [note]

    @cached_property
    def _mask(self):
        """Brain mask, affine, notes."""
        return volumes.read_mask(list(self.runs.values()))

    @property
    def tr(self):
        """Seconds between rows of the designs: of the volumes, or of the grid to which they are resampled."""
        return self._grid[0]

    @property
    def duration(self):
        """Seconds that a picture was shown: the median, rounded to 0.1 s."""
        return events.typical_duration(self._events[0]["duration"])[0]

    @property
    def _trial_table(self):
        return self._events[0]

    @cached_property
    def trials(self):
        """Trials that showed a picture, in temporal order: int64 session, run and image; onset and duration in seconds."""
        return self._trials("onset", "duration")

    @cached_property
    def official_test(self):
        """Whether each trial's picture is one that `test` selects: (n_trials,) bool; None if `test` is empty."""
        if not self.settings.test:
            return None
        return np.isin(self.image_ids, self.image_ids[self._events[0]["test"].to_numpy(bool)])

    @property
    def _references(self):
        """The first reference volume of each session that has one: a list of Path."""
        return list({session: run.boldref for (session, _), run in reversed(self.runs.items()) if run.boldref}.values())

    @property
    def _labels(self):
        """FreeSurfer's label volume and its table as Paths; empty unless fMRIPrep wrote both."""
        table = self.settings.derivatives / "desc-aparcaseg_dseg.tsv"
        volume = [run.regions for run in self.runs.values() if run.regions][:1]
        return [*volume, table] if volume and (table.exists() or table.is_symlink()) else []

    @cached_property
    def background(self):
        """Mean of the sessions' reference volumes, or of the first run: (X, Y, Z) float32."""
        return volumes.read_mean(self._references or [self.runs[1, 1].bold], self.brainmask.shape, self.affine)

    @cached_property
    def regions(self):
        """Visual regions of FreeSurfer, if fMRIPrep wrote them in the space of the BOLD: a dict of str to (X, Y, Z) bool."""
        return volumes.read_regions(*self._labels, self.brainmask, self.affine) if self._labels else {}

    def n_runs(self, session):
        """Number of task runs in a session."""
        self.check_session(session)
        return sum(number == session for number, _ in self.runs)

    def n_volumes(self, session, run):
        """Number of volumes measured in a run; resampled series have more volumes, but no more information."""
        return self._timing[0][session, run][2]

    def run_seconds(self, session, run):
        """Acquisition time of a run in seconds; resampled series can end earlier."""
        return self._timing[0][session, run][0] * self.n_volumes(session, run)

    def timeseries(self, session, run, mask):
        """BOLD of a run, see `Subject`; excluded volumes are replaced by the nearest others, see `confounds`."""
        self.check_run(session, run)
        series = volumes.read_series(self.runs[session, run].bold, self.checked_mask(mask), self.affine)
        _, excluded = self._nuisance(session, run)
        return self._on_grid(session, run, series, excluded)

    def design(self, session, run):
        """Onsets of a run, see `Subject`."""
        self.check_run(session, run)
        labels = np.zeros(self._n_rows((session, run), self.tr), dtype=np.int64)
        in_run = ((self.trials["session"] == session) & (self.trials["run"] == run)).to_numpy()
        labels[self._grid[1][in_run]] = 1 + self.image_ids[in_run]
        return labels

    def confounds(self, session, run):
        """Nuisance regressors named by the section, see `Subject`, and a column for each time that an excluded volume affects."""
        self.check_run(session, run)
        values, excluded = self._nuisance(session, run)
        tr, start, _ = self._timing[0][session, run]
        values = self._on_grid(session, run, values, excluded)
        first, radius = (0, tr) if self.settings.onsets == "resample" else (start, tr / 2)
        times = first + np.arange(len(values)) * self.tr
        affected = (np.abs(times[:, None] - start - tr * np.flatnonzero(excluded)) < radius - 1e-6).any(axis=1)
        return np.hstack([values, np.eye(len(values))[:, affected]]) if values.shape[1] or affected.any() else None

    def session_files(self, session, roi):
        """Files that a GLM fit of a session reads: a list of Path; includes the masks of all runs, which are intersected."""
        runs = [run for (number, _), run in self.runs.items() if number == session]
        files_read = [path for run in runs for path in (run.bold, run.events, run.confounds) if path]
        return [*files_read, *(run.mask for run in self.runs.values()), *self._mask_files(roi)]

    def needed_files(self, n_sessions, *, version=None, glm_sessions=0, roi="brainmask"):
        """Files that a run over the first `n_sessions` reads, as pairs (path, what it is); for pictures see `missing_files`."""
        kinds = {"mask, roi": self._mask_files(roi), "reference volume": self._references, "regions": self._labels}
        needed = [(path, kind) for kind, paths in kinds.items() for path in paths]
        for key, run in self.runs.items():
            if key[0] <= n_sessions:
                kinds = {"BOLD": run.bold, "brain mask": run.mask, "events": run.events, "confounds": run.confounds}
                needed += [(path, f"{kind} of {run}") for kind, path in kinds.items() if path]
        return needed + ([(self.settings.captions, "captions")] if self.settings.captions else [])

    def _n_rows(self, key, tr):
        """Number of rows of a run's design, `tr` seconds apart."""
        volume_tr, _, n_volumes = self._timing[0][key]
        return n_volumes if tr == volume_tr else int((n_volumes - 1) * volume_tr / tr + 1e-6) + 1

    def _nuisance(self, session, run):
        """Regressors at the volumes, and which volumes are excluded."""
        return volumes.read_confounds(self.runs[session, run], self.settings.confounds, self._timing[0][session, run][2])

    def _on_grid(self, session, run, series, excluded):
        """Replace excluded volumes by the nearest others, and resample the series to the times of the design."""
        tr, start, _ = self._timing[0][session, run]
        included = np.flatnonzero(~excluded)
        for row in np.flatnonzero(excluded):
            series[row] = series[included[np.abs(included - row).argmin()]]
        if self.settings.onsets == "round" or (tr == self.tr and not start):
            return series
        return volumes.resample_volumes(series, tr=tr, new_tr=self.tr, start=start)
