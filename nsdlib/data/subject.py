"""A subject of a data set: images, trials, betas and time series. Each format on disk has its own subclass of `Subject`.

Notebooks, the GLM, the doctor and the explorers use only this interface.
"""

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np

from nsdlib.data import splits


class Subject(ABC):
    """One subject's images, trials, regions, betas and time series; nothing is read before it is requested.

    What a data set lacks is None or empty, or raises an error if the caller cannot go on without it. Image numbers are unique;
    their order has no meaning. Trials count from 0 in temporal order, sessions and task runs from 1.

    Attributes
    ----------
    name : str
        For example "nsd/subj01".
    root : Path
        Folder of the data; nothing is ever written there.
    n_sessions : int
        Number of sessions in use, from the first.
    tr : float
        Seconds between the volumes of `timeseries` and between the rows of `design`.
    duration : float
        Stimulus duration in seconds.
    notes : sequence of str
        Messages for the user about decisions and omissions while reading the files.
    has_captions, has_betas, has_series : bool
        Whether there are captions, precomputed betas and time series; if not, a request raises an error or returns nothing.
    betas_unit : str
        Unit of `betas`: "percent signal change", "z" or "arbitrary".
    split : str
        Split that defines the test set, one of `splits.SPLITS`; `split_seed` is the seed of its random draws.
    settings : BaseModel or None
        Section of the parameter file that says how to read the files, if there is one.
    """

    tr: float
    duration: float
    notes = ()
    has_captions = has_betas = has_series = True
    betas_unit = "percent signal change"
    split, split_seed = "official", 0
    settings = None

    def __repr__(self):
        return f"{type(self).__name__}({self.name!r}, n_sessions={self.n_sessions}, n_trials={self.n_trials})"

    @property
    @abstractmethod
    def trials(self):
        """Trials that showed an image, in temporal order: a DataFrame with int64 columns session, run and image."""

    @property
    def official_test(self):
        """Whether each trial's image is in the data set's own test set: (n_trials,) bool; None if it has no test set."""
        return None

    @cached_property
    def is_test(self):
        """Whether each trial's image is in the test set of the chosen split: (n_trials,) bool."""
        return splits.is_test(self, self.split, seed=self.split_seed)

    @property
    def n_trials(self):
        """Number of trials in the sessions in use."""
        return len(self.trials)

    @property
    def session_labels(self):
        """Labels of the sessions in use, such as 01: a list of str; "" if the data set has no sessions."""
        return [f"{session:02d}" for session in range(1, self.n_sessions + 1)]

    @property
    def session(self):
        """Session of each trial: (n_trials,) int64."""
        return self.trials["session"].to_numpy()

    @property
    def image_ids(self):
        """Number of the image of each trial: (n_trials,) int64."""
        return self.trials["image"].to_numpy()

    def split_counts(self):
        """Count trials and distinct images of the split: a dict, trials_train, trials_test, images_train and images_test."""
        return splits.count(self.is_test, self.image_ids)

    @abstractmethod
    def image_names(self, image_ids):
        """Human-readable names of images: a list of str."""

    @abstractmethod
    def stimuli(self, image_ids):
        """Images as shown; ids in any order, repeats allowed: (n_images, rows, columns, 3) uint8 RGB."""

    def captions(self, image_ids):
        """Human-written captions of images: a list of str for each image, empty if it has none."""
        return [[] for _ in image_ids]

    def concepts(self, image_ids):
        """Name the concept that each image shows, for splits that hold out concepts: a list of str; a ValueError if unknown."""
        raise ValueError(f"{self.name} has no concepts of its images: choose another split, such as random.")

    @property
    @abstractmethod
    def brainmask(self):
        """Voxels that were measured in all runs in use: (X, Y, Z) bool."""

    @property
    @abstractmethod
    def affine(self):
        """Affine from voxel indices to millimetres: (4, 4)."""

    @property
    @abstractmethod
    def background(self):
        """Background volume for maps, such as the mean volume: (X, Y, Z)."""

    @property
    def regions(self):
        """Voxels of named regions: a dict of str to (X, Y, Z) bool, empty if none are known."""
        return {}

    @abstractmethod
    def voxels(self, roi):
        """Voxels to decode from: (X, Y, Z) bool; a ValueError for an unknown `roi` or an empty one."""

    def betas(self, session, mask, *, version=None):
        """Precomputed betas of a session's trials: (n_trials, n_voxels) float32, in `betas_unit`.

        The voxels are those of `mask`, (X, Y, Z) bool, in C order of the volume.
        """
        raise ValueError(f"{self.name} has time series and no betas: set betas to glm and run notebook 01.")

    def ncsnr(self, version=None):
        """Noise-ceiling signal-to-noise ratio of the precomputed single-trial betas: (X, Y, Z) float; None if not provided."""
        return

    @abstractmethod
    def n_runs(self, session):
        """Number of task runs in a session."""

    def timeseries(self, session, run, mask):
        """BOLD of a task run in scanner units, every `tr` seconds: (n_volumes, n_voxels) float32, no shorter than `design`."""
        raise ValueError(f"{self.name} has betas and no time series: set betas to nsd, and leave out notebook 01.")

    def design(self, session, run):
        """Onsets of a task run: (n_volumes,) int64, 1 + the image number in the row of an onset, and 0 elsewhere."""
        return self.timeseries(session, run, None)  # raises the error if there are no time series

    def run_seconds(self, session, run):
        """Acquisition time of a task run in seconds."""
        return self.tr * len(self.design(session, run))

    def onsets(self, session):
        """Onset of each trial of a session, in seconds from the start of its run: (n_trials,), to the nearest row of `design`."""
        designs = (self.design(session, run) for run in range(1, self.n_runs(session) + 1))
        return np.concatenate([self.tr * np.flatnonzero(rows) for rows in designs])

    def confounds(self, session, run):
        """Nuisance regressors of a task run: (n_volumes, any number) float64; None for a GLM without them."""
        return

    def session_files(self, session, roi):
        """Files that a GLM fit of a session reads: a list of Path, empty if there are no time series."""
        return []

    @abstractmethod
    def needed_files(self, n_sessions, *, version=None, glm_sessions=0, roi="brainmask"):
        """Files that a run over the first `n_sessions` reads, as pairs (path, what it is).

        The run reads betas of `version` in the voxels of `roi`, and fits the time series of the first `glm_sessions` sessions.
        """

    def missing_files(self, **settings):
        """Missing files among the `needed_files` of the sessions in use, as pairs (path, what it is)."""
        return [(path, what) for path, what in self.needed_files(self.n_sessions, **settings) if not path.is_file()]

    def check_session(self, session):
        """Raise a ValueError for a session that is not in use."""
        if not 1 <= session <= self.n_sessions:
            raise ValueError(f"session={session}: sessions 1 to {self.n_sessions} of {self.name} are in use.")

    def check_run(self, session, run):
        """Raise a ValueError for a task run that the session does not have."""
        self.check_session(session)
        if not 1 <= run <= self.n_runs(session):
            raise ValueError(f"run={run}: session {session} of {self.name} has task runs 1 to {self.n_runs(session)}.")

    def checked_mask(self, mask):
        """Return `mask` after checking that it is bool and has the volume's shape."""
        mask = np.asarray(mask)
        if mask.shape != self.brainmask.shape:
            raise ValueError(f"mask has shape {mask.shape}, wanted {self.brainmask.shape}: one value for each voxel.")
        if mask.dtype != bool:
            raise ValueError(f"mask must be bool, got {mask.dtype}: a region's voxels are `voxels(roi)` or `regions[name]`.")
        return mask


def open_subject(run):
    """Open the `Subject` of a run, in the format that the run's parameters give.

    Raises the ValueError or FileNotFoundError of the class that reads the data.
    """
    if run.bids is not None:
        from nsdlib.data.bids.subject import BIDSSubject

        subject = BIDSSubject(run.data, run.bids, run.n_sessions)
    elif run.betas_files is not None:
        from nsdlib.data.betas_subject import BetasSubject

        subject = BetasSubject(run.data, run.betas_files, run.n_sessions)
    else:
        from nsdlib.data.nsd.subject import NSDSubject

        subject = NSDSubject(run.data, run.subject, run.n_sessions)
    subject.split, subject.split_seed = run.split, run.seed
    return subject
