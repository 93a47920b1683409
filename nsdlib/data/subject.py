"""A subject: who lay in the scanner, what was shown, what was measured. One class for each way that data lie on disk.

Notebooks, the GLM, the doctor and the explorers ask only what is here. Images have numbers, distinct and in no order that means
anything; trials count from 0 in order of time, sessions and task runs from 1.
"""

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np

from nsdlib.data import splits


class Subject(ABC):
    """One subject's images, trials, regions, betas and time series; nothing is read before it is asked for.

    What a data set does not have is None or empty here, or an error that says so where there is no way on without it.

    Attributes
    ----------
    name : str
        Such as "nsd/subj01".
    root : Path
        The folder of the data; nothing is ever written there.
    n_sessions : int
        Sessions in use, from the first.
    tr : float
        Seconds between the volumes of `timeseries` and the rows of `design`.
    duration : float
        Seconds that a stimulus lasts.
    notes : sequence of str
        What was decided or left out when the files were read, for people.
    has_captions, has_betas, has_series : bool
        Captions, betas that came with the data, and time series to fit; what is False here is an error, or empty, when asked for.
    betas_unit : str
        Of `betas`: "percent signal change", "z" or "arbitrary".
    split : str
        Which images are the test set, one of `splits.SPLITS`; `split_seed` draws those that are drawn.
    settings : BaseModel or None
        The section of the parameter file that says how the files are read, where there is one.
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
        """Trials that showed an image, in order of time: a DataFrame with int64 columns session, run and image."""

    @property
    def official_test(self):
        """Whether the image of each trial is in the data set's own test set: (n_trials,) bool; None where it has none."""
        return None

    @cached_property
    def is_test(self):
        """Whether the image of each trial is in the test set of the split: (n_trials,) bool."""
        return splits.is_test(self, self.split, seed=self.split_seed)

    @property
    def n_trials(self):
        """Trials in the sessions used."""
        return len(self.trials)

    @property
    def session_labels(self):
        """What the data set calls the sessions in use: a list of str, such as 01; "" where it has no sessions."""
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
        """Names of images, for people: a list of str."""

    @abstractmethod
    def stimuli(self, image_ids):
        """Images as shown, in any order and as often as asked for: (n_images, rows, columns, 3) uint8 RGB."""

    def captions(self, image_ids):
        """Captions that people gave the images: for each a list of str, empty where there are none."""
        return [[] for _ in image_ids]

    def concepts(self, image_ids):
        """Name what each image shows, for splits that hold out concepts: a list of str; a ValueError where it is not known."""
        raise ValueError(f"{self.name} has no concepts of its images: choose another split, such as random.")

    @property
    @abstractmethod
    def brainmask(self):
        """Voxels that were measured in all runs in use: (X, Y, Z) bool."""

    @property
    @abstractmethod
    def affine(self):
        """From voxel indices to millimetres: (4, 4)."""

    @property
    @abstractmethod
    def background(self):
        """A mean volume to draw maps on: (X, Y, Z)."""

    @property
    def regions(self):
        """Voxels of named regions: a dict of str to (X, Y, Z) bool, empty where none are known."""
        return {}

    @abstractmethod
    def voxels(self, roi):
        """Voxels to decode from: (X, Y, Z) bool; a ValueError for an unknown `roi` or an empty one."""

    def betas(self, session, mask, *, version=None):
        """Betas that came with the data, of the trials of a session: (n_trials, n_voxels) float32, in `betas_unit`.

        The voxels of `mask`, (X, Y, Z) bool, come in the C order of the volume.
        """
        raise ValueError(f"{self.name} has time series and no betas: set betas to glm and run notebook 01.")

    def ncsnr(self, version=None):
        """Ratio of signal to noise of single-trial betas that came with them, (X, Y, Z) float; None where none did."""
        return

    @abstractmethod
    def n_runs(self, session):
        """Task runs of a session."""

    def timeseries(self, session, run, mask):
        """BOLD of a task run in scanner units: (n_volumes, n_voxels) float32, one every `tr` seconds, `design` has no more."""
        raise ValueError(f"{self.name} has betas and no time series: set betas to nsd, and leave out notebook 01.")

    def design(self, session, run):
        """Onsets of a task run: (n_volumes,) int64, 1 + the number of the image in the row of an onset, and 0 elsewhere."""
        return self.timeseries(session, run, None)  # where there are none there is nothing to fit

    def run_seconds(self, session, run):
        """Seconds that a task run took to measure."""
        return self.tr * len(self.design(session, run))

    def onsets(self, session):
        """Seconds from the start of its run at which each trial of a session began: (n_trials,), exact to a row of `design`."""
        designs = (self.design(session, run) for run in range(1, self.n_runs(session) + 1))
        return np.concatenate([self.tr * np.flatnonzero(rows) for rows in designs])

    def confounds(self, session, run):
        """Nuisance regressors of a task run: (n_volumes, any number) float64; None where the GLM is to have none."""
        return

    def session_files(self, session, roi):
        """Files that a fit of a session reads: a list of Path, none where there are no time series."""
        return []

    @abstractmethod
    def needed_files(self, n_sessions, *, version=None, glm_sessions=0, roi="brainmask"):
        """Files that a run over the first `n_sessions` reads, as pairs (path, what it is).

        It will read betas of `version`, of the voxels of `roi`, and fit the time series of so many sessions, from the first.
        """

    def missing_files(self, **settings):
        """Those of the `needed_files` of the sessions in use, with its settings, that are not there: pairs, too."""
        return [(path, what) for path, what in self.needed_files(self.n_sessions, **settings) if not path.is_file()]

    def check_session(self, session):
        """Refuse a session that is not in use with a ValueError."""
        if not 1 <= session <= self.n_sessions:
            raise ValueError(f"session={session}: sessions 1 to {self.n_sessions} of {self.name} are in use.")

    def check_run(self, session, run):
        """Refuse a task run that the session does not have with a ValueError."""
        self.check_session(session)
        if not 1 <= run <= self.n_runs(session):
            raise ValueError(f"run={run}: session {session} of {self.name} has task runs 1 to {self.n_runs(session)}.")

    def checked_mask(self, mask):
        """Return `mask`, known to be bool and of the volume's shape."""
        mask = np.asarray(mask)
        if mask.shape != self.brainmask.shape:
            raise ValueError(f"mask has shape {mask.shape}, wanted {self.brainmask.shape}: one value for each voxel.")
        if mask.dtype != bool:
            raise ValueError(f"mask must be bool, got {mask.dtype}: a region's voxels are `voxels(roi)` or `regions[name]`.")
        return mask


def open_subject(run):
    """Open the subject of a run: a `Subject`, by the parameters that say how its data lie on disk.

    A ValueError or FileNotFoundError as of the class that reads them.
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
