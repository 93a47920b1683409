"""A subject of the Natural Scenes Dataset: `nsdlib.data.subject.Subject`, and what only NSD provides.

Image ids count from 0 here (rows of the stimulus file), and from 1 in most of NSD's own files; this module converts them.
"""

from functools import cached_property
from pathlib import Path

import numpy as np

from nsdlib.data import splits
from nsdlib.data.nsd import files as nsd_files
from nsdlib.data.nsd import layout as nsd
from nsdlib.data.subject import Subject

DEFAULT_VERSION = "betas_fithrf_GLMdenoise_RR"

# region: (label volume, labels in it)
REGIONS = {
    "V1": ("prf-visualrois", ("V1v", "V1d")),
    "V2": ("prf-visualrois", ("V2v", "V2d")),
    "V3": ("prf-visualrois", ("V3v", "V3d")),
    "V4": ("prf-visualrois", ("hV4",)),
    "faces": ("floc-faces", nsd.ROI_LABELS["floc-faces"]),
    "bodies": ("floc-bodies", nsd.ROI_LABELS["floc-bodies"]),
    "places": ("floc-places", nsd.ROI_LABELS["floc-places"]),
    "words": ("floc-words", nsd.ROI_LABELS["floc-words"]),
}


class NSDSubject(Subject):
    """One subject of NSD in the 1.8 mm space. An image's number is its 0-based id among the 73,000.

    Parameters
    ----------
    root : path-like
        Folder that mirrors NSD's bucket (it holds `nsddata`, `nsddata_betas`, ...).
    subject : int
        1 to 8.
    n_sessions : int, optional
        Sessions to use, from the first; by default all. Raises a ValueError for a number or subject that NSD does not have.
    """

    tr, duration = nsd.TR, nsd.STIMULUS_SECONDS

    def __init__(self, root, subject, n_sessions=None):
        if subject not in nsd.N_SESSIONS:
            raise ValueError(f"subject={subject!r}: NSD has subjects 1 to {nsd.N_SUBJECTS}.")
        available = nsd.N_SESSIONS[subject]
        n_sessions = available if n_sessions is None else n_sessions
        if not 1 <= n_sessions <= available:
            raise ValueError(f"n_sessions={n_sessions}: subject {subject} has sessions 1 to {available}.")
        self.root, self.subject, self.n_sessions = Path(root), subject, n_sessions
        self.name = f"nsd/subj{subject:02d}"
        self.paths = nsd.Layout(self.root, subject)

    @cached_property
    def expdesign(self):
        """The experimental design, as `nsd_files.read_expdesign` returns it (ids count from 1)."""
        return nsd_files.read_expdesign(self._existing(self.paths.expdesign, "which image in which trial"))

    @cached_property
    def trials(self):
        """Session, task run and image of each trial, see `Subject`."""
        import pandas as pd

        session, position = np.divmod(np.arange(self.n_trials), nsd.N_SESSION_TRIALS)
        run = np.searchsorted(np.cumsum(nsd.RUN_TRIALS), position, side="right") + 1
        image = self.expdesign["subjectim"][self.subject - 1, self._positions - 1] - 1
        return pd.DataFrame({"session": session + 1, "run": run, "image": image}).rename_axis("trial")

    @property
    def official_test(self):
        """Whether a trial showed one of the 1,000 images that all subjects share: (n_trials,) bool."""
        return self._positions <= nsd.N_SHARED_IMAGES

    @property
    def _positions(self):
        """Position of each trial's image in the subject's list of 10,000, from 1."""
        return self.expdesign["masterordering"][: self.n_trials]

    @property
    def n_trials(self):
        """Number of trials in the sessions in use."""
        return self.n_sessions * nsd.N_SESSION_TRIALS

    def image_names(self, image_ids):
        """NSD's own names, which count from 1."""
        return [f"nsd{image + 1:05d}" for image in image_ids]

    def split_counts(self, n_sessions=None):
        """Count trials and images, see `Subject`; given `n_sessions`, in the first of the 40 planned ones (official split)."""
        if n_sessions is None:
            return super().split_counts()
        if not 1 <= n_sessions <= nsd.N_PLANNED_SESSIONS:
            raise ValueError(f"n_sessions={n_sessions}: the design has sessions 1 to {nsd.N_PLANNED_SESSIONS}.")
        positions = self.expdesign["masterordering"][: n_sessions * nsd.N_SESSION_TRIALS]
        return splits.count(positions <= nsd.N_SHARED_IMAGES, positions)

    def stimuli(self, image_ids):
        """Images as shown, read one by one: (n_images, 425, 425, 3) uint8 RGB, 0.54 MB each, see `Subject`.

        Raises a ValueError for an id outside 0...72999, or an image that a simulated subject was never shown.
        """
        return nsd_files.read_images(self._existing(self.paths.stimuli, "the images"), image_ids)

    def captions(self, image_ids):
        """Non-blank captions, see `Subject`; raises a ValueError for an id outside 0...72999, or one without captions."""
        return nsd_files.read_captions(self._existing(self.paths.captions, "the captions"), image_ids)

    def stim_info(self):
        """NSD's table of the 73,000 images: the source of each, and the trials in which each subject saw it."""
        path = self._existing(self.paths.stim_info, "the table of images")
        seen = [f"subject{subject}_rep{repeat}" for subject in nsd.N_SESSIONS for repeat in range(nsd.N_REPEATS)]
        table = nsd_files.read_table(path, ["nsdId", "shared1000", *seen])
        nsd_files.check_shape(path, (len(table),), (nsd.N_STIMULI,))
        return table.set_index(table.columns[0]).rename_axis(None)

    def responses(self):
        """Behavioural responses: a table with one row per trial and NSD's 19 columns (ids in it count from 1)."""
        path = self._existing(self.paths.responses, "the behaviour")
        table = nsd_files.read_table(path, ["73KID"], sep="\t")
        if len(table) < self.n_trials:
            raise nsd_files.DamagedFile(f"{path} has {len(table)} rows, wanted at least {self.n_trials}: get the file again.")
        return table.iloc[: self.n_trials]

    def onsets(self, session):
        """Onset of each trial in its run, in seconds, see `Subject`; from the experimental design, without a run's file."""
        self.check_session(session)
        return nsd.TRIAL_SECONDS * np.concatenate([np.flatnonzero(run) for run in self.expdesign["stimpattern"][session - 1]])

    @property
    def affine(self):
        """Affine from voxel indices to millimetres, see `Subject`."""
        return nsd_files.read_affine(self._existing(self.paths.volume("brainmask"), "which voxels are brain"))

    @cached_property
    def brainmask(self):
        """Voxels in the brain: (X, Y, Z) bool."""
        return nsd_files.read_labels(self._existing(self.paths.volume("brainmask"), "the map brainmask")) > 0

    @property
    def background(self):
        """The mean volume, see `Subject`."""
        return self.volume("mean")

    @property
    def regions(self):
        """Voxels of V1 to V4 and of regions for faces, bodies, places and words, see `Subject`."""
        return {
            name: np.isin(self.roi(volume), [nsd.ROI_LABELS[volume].index(label) + 1 for label in labels])
            for name, (volume, labels) in REGIONS.items()
        }

    def voxels(self, roi):
        """Voxels with any label of a region volume, see `Subject`; those of the brain mask for "brainmask"."""
        mask = self.roi(roi) > 0
        if not mask.any():
            raise ValueError(f"{roi} of {self.name} has no voxel with a label: choose another roi.")
        return mask

    def volume(self, name):
        """A map of the subject's folder, such as "mean" or "valid": (X, Y, Z)."""
        return nsd_files.read_volume(self._existing(self.paths.volume(name), f"the map {name}"))

    def roi(self, name):
        """Labels of a region volume: (X, Y, Z) int16; -1 not cortex, 0 no label, 1, 2, ... as in `nsd.ROI_LABELS`.

        "brainmask" gives label 1 to the whole brain. Raises a ValueError for an unknown name, another shape than the brain
        mask's, or values that are not labels (NaN outside the brain becomes -1).
        """
        if name == "brainmask":
            return self.brainmask.astype(np.int16)
        return nsd_files.read_labels(self._existing(self.paths.roi(name), f"the regions {name}"), self.brainmask)

    def betas(self, session, mask, *, version=None):
        """Betas of a version, one of `nsd.BETA_VERSIONS`, see `Subject`: (750, n_voxels) float32, in percent."""
        self.check_session(session)
        mask = self.checked_mask(mask)
        hdf5, nifti = (self.paths.betas(_version_or_default(version), session, ending) for ending in ("hdf5", "nii.gz"))
        if not nifti.is_file():
            self._existing(hdf5, f"the betas of session {session}; or the same as .nii.gz")
        return nsd_files.read_betas(hdf5, mask)

    def ncsnr(self, version=None):
        """Noise-ceiling SNR of single-trial betas, computed by NSD from all trials; 0 where not finite: (X, Y, Z) float."""
        path = self._existing(self.paths.ncsnr(_version_or_default(version)), "the signal-to-noise ratio of the betas")
        return np.nan_to_num(nsd_files.read_volume(path), nan=0, posinf=0, neginf=0)

    def n_runs(self, session):
        """Task runs of a session (resting-state runs are never counted)."""
        self.check_session(session)
        return nsd.N_TASK_RUNS

    def timeseries(self, session, run, mask):
        """BOLD of a task run (both counted from 1) in scanner units: (226, n_voxels) float32, one volume every 4/3 s."""
        self.check_run(session, run)
        path = self._existing(self.paths.timeseries(session, run), f"the BOLD of session {session}, run {run}")
        return nsd_files.read_masked(path, self.checked_mask(mask), nsd.N_VOLUMES).astype(np.float32)

    def design(self, session, run):
        """Onsets of a task run, see `Subject`: (225,) int64; raises a ValueError if the number of trials in the file is wrong."""
        self.check_run(session, run)
        path = self._existing(self.paths.design(session, run), f"the onsets of session {session}, run {run}")
        return nsd_files.read_design(path, nsd.RUN_TRIALS[run - 1])

    def session_files(self, session, roi):
        """Files that a GLM fit of a session reads, see `Subject`."""
        numbers = range(1, self.n_runs(session) + 1)
        files = [kind(session, run) for run in numbers for kind in (self.paths.timeseries, self.paths.design)]
        return [*files, self.paths.volume("brainmask"), *([] if roi == "brainmask" else [self.paths.roi(roi)])]

    def needed_files(self, n_sessions, *, version=None, glm_sessions=0, roi="brainmask"):
        """Files that a run over the first sessions reads, see `Subject`."""
        return self.paths.needed(n_sessions, version=_version_or_default(version), glm_sessions=glm_sessions, roi=roi)

    def _existing(self, path, what):
        """Return `path`, or raise a FileNotFoundError that says how to get the file."""
        if not path.is_file():
            raise FileNotFoundError(
                f"Missing {path.relative_to(self.root)} ({what}) of subject {self.subject} in {self.root}. `nsdlib "
                "doctor RUN`, RUN being the run whose data these are, lists all that are missing and says how to get them."
            )
        return path


def _version_or_default(version):
    return DEFAULT_VERSION if version is None else version
