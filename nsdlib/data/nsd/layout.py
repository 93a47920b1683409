"""File layout of the Natural Scenes Dataset (NSD), and the numbers and labels that its manual fixes.

Names, shapes and labels follow the NSD Data Manual and the public code that exported the data (cvnlab/nsddatapaper).
"""

import math
import re
from itertools import product
from pathlib import Path

TR = 4 / 3  # s between volumes of the 1.8 mm time series
STIMULUS_SECONDS, TRIAL_SECONDS = 3.0, 4.0
IMAGE_SIZE = 425  # pixels a side
N_STIMULI = 73_000
N_SUBJECTS = 8
N_SUBJECT_IMAGES, N_SHARED_IMAGES, N_PLANNED_TRIALS = 10_000, 1_000, 30_000
N_PLANNED_SESSIONS, N_TASK_RUNS, N_SLOTS = 40, 12, 75
N_SESSION_TRIALS = 750
N_REPEATS = 3  # presentations of an image over all sessions
N_VOLUMES, N_DESIGN_ROWS = 226, 225
RUN_TRIALS = (63, 62) * 6  # trials of the task runs of a session
BETA_SCALE = 300  # int16 betas are percent signal change times this
FIRST_SHARED_ID = 2950  # 0-based; the picture called shared0001_nsd02951

N_SESSIONS = {1: 40, 2: 40, 3: 32, 4: 30, 5: 40, 6: 32, 7: 40, 8: 30}
VOLUME_SHAPES = {
    1: (81, 104, 83),
    2: (82, 106, 84),
    3: (81, 106, 82),
    4: (85, 99, 80),
    5: (79, 97, 78),
    6: (85, 113, 83),
    7: (78, 95, 81),
    8: (80, 103, 78),
}
N_GENERAL_VOXELS = {1: 15724, 2: 14278, 3: 15226, 4: 13153, 5: 13039, 6: 17907, 7: 12682, 8: 14386}
SPLITS = {30: (8302, 907), 32: (8481, 930), 37: (8859, 982), 40: (9000, 1000)}
"""Images to train and to test in the first sessions, as the manual and publications count them."""

BETA_VERSIONS = ("betas_assumehrf", "betas_fithrf", "betas_fithrf_GLMdenoise_RR")

ROI_LABELS = {
    "nsdgeneral": ("nsdgeneral",),
    "prf-visualrois": ("V1v", "V1d", "V2v", "V2d", "V3v", "V3d", "hV4"),
    "prf-eccrois": ("ecc0pt5", "ecc1", "ecc2", "ecc4", "ecc4+"),
    "floc-faces": ("OFA", "FFA-1", "FFA-2", "mTL-faces", "aTL-faces"),
    "floc-words": ("OWFA", "VWFA-1", "VWFA-2", "mfs-words", "mTL-words"),
    "floc-places": ("OPA", "PPA", "RSC"),
    "floc-bodies": ("EBA", "FBA-1", "FBA-2", "mTL-bodies"),
    "streams": ("early", "midventral", "midlateral", "midparietal", "ventral", "lateral", "parietal"),
}
"""ROI volumes and the names of their labels 1, 2, ...; in every volume -1 is "not cortex" and 0 "no label"."""

USED_ROIS = ("nsdgeneral", "prf-visualrois", "floc-faces", "floc-bodies", "floc-places", "floc-words")


def file_run(subject: int, session: int, run: int) -> int:
    """Number of task run `run` (1-based) in file names: one higher in sessions that begin with a resting-state run."""
    last_resting = 38 if subject in (1, 5) else 30
    return run + 1 if 21 <= session <= last_resting else run


class Layout:
    """Paths of one subject's files in the 1.8 mm space, below the folder `root` that mirrors NSD's bucket.

    Names of maps, regions and versions become parts of paths, so each method raises a ValueError for names that NSD does not
    have, or (maps) that could lead out of the subject's folder.
    """

    def __init__(self, root: Path, subject: int):
        self.root, self.subject = root, subject
        self._name = f"subj{subject:02d}"
        self.expdesign = root / "nsddata/experiments/nsd/nsd_expdesign.mat"  # image of each trial, for all subjects
        # table of the 73,000 images: the source of each, and when each subject saw it
        self.stim_info = root / "nsddata/experiments/nsd/nsd_stim_info_merged.csv"
        self.stimuli = root / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"  # the 73,000 images (39.6 GB)
        self.captions = self.stimuli.with_name("COCO_73k_annots_curated.npy")  # of the images; NSD itself has none
        self.responses = root / f"nsddata/ppdata/{self._name}/behav/responses.tsv"  # behavioural responses, one row per trial

    def volume(self, name):
        """A map such as "brainmask", "valid" or "mean"."""
        if not re.fullmatch(r"\w+", name, re.ASCII):
            raise ValueError(f"map {name!r}: wanted the name of a file without folder and ending, such as 'mean'.")
        return self.root / f"nsddata/ppdata/{self._name}/func1pt8mm/{name}.nii.gz"

    def roi(self, name):
        """A volume of region labels."""
        return self.root / f"nsddata/ppdata/{self._name}/func1pt8mm/roi/{_checked_name('roi', name, ROI_LABELS)}.nii.gz"

    def roi_names(self, name):
        """The table of label names of a region volume."""
        return self.root / f"nsddata/freesurfer/{self._name}/label/{_checked_name('roi', name, ROI_LABELS)}.mgz.ctab"

    def betas(self, version, session, ending):
        """Betas of a session; `ending` is "hdf5" or "nii.gz"."""
        return self._version(version) / f"betas_session{session:02d}.{ending}"

    def ncsnr(self, version):
        """Noise-ceiling signal-to-noise ratio of a version of the betas."""
        return self._version(version) / "ncsnr.nii.gz"

    def timeseries(self, session, run):
        """BOLD of a task run, counted from 1."""
        return self._series("timeseries", session, run, "nii.gz")

    def design(self, session, run):
        """Onsets of a task run, counted from 1."""
        return self._series("design", session, run, "tsv")

    def needed(self, n_sessions, *, version, glm_sessions, roi="brainmask"):
        """Files that a run over `n_sessions` sessions reads, as pairs (path, what it is); see `NSDSubject.needed_files`."""
        rois = dict.fromkeys((*USED_ROIS, *([] if roi == "brainmask" else [roi])))
        needed = [
            (self.expdesign, "which image in which trial"),
            (self.stimuli, "the images"),
            (self.captions, "their captions"),
            (self.responses, "what the subject answered"),
            (self.volume("brainmask"), "which voxels are brain"),
            (self.volume("mean"), "the mean image, behind maps"),
            *((self.roi(name), f"the regions {name}") for name in rois),
            (self.ncsnr(version), "the signal-to-noise ratio of the betas"),
        ]
        for session in range(1, n_sessions + 1):
            hdf5, nifti = (self.betas(version, session, ending) for ending in ("hdf5", "nii.gz"))
            path = nifti if nifti.is_file() and not hdf5.is_file() else hdf5  # either will do
            needed.append((path, f"the betas of session {session}"))
        for session, run in product(range(1, glm_sessions + 1), range(1, N_TASK_RUNS + 1)):
            needed.append((self.timeseries(session, run), f"the BOLD of session {session}, run {run}"))
            needed.append((self.design(session, run), f"the onsets of session {session}, run {run}"))
        return needed

    def n_bytes(self, path):
        """Approximate number of bytes of images, betas and time series; 0 for small files."""
        if path == self.stimuli:
            return N_STIMULI * IMAGE_SIZE**2 * 3
        n_volumes = {"betas": N_SESSION_TRIALS, "timeseries": N_VOLUMES}.get(path.name.partition("_session")[0], 0)
        return math.prod(VOLUME_SHAPES[self.subject]) * n_volumes * 2

    def _version(self, version):
        return self.root / f"nsddata_betas/ppdata/{self._name}/func1pt8mm/{_checked_name('version', version, BETA_VERSIONS)}"

    def _series(self, kind, session, run, ending):
        folder = self.root / f"nsddata_timeseries/ppdata/{self._name}/func1pt8mm/{kind}"
        return folder / f"{kind}_session{session:02d}_run{file_run(self.subject, session, run):02d}.{ending}"


def _checked_name(kind, name, names):
    """Return `name`, or raise a ValueError if it is not among `names`."""
    if name not in names:
        raise ValueError(f"{kind} {name!r} is unknown. Known: {', '.join(names)}.")
    return name
