"""What must hold on first contact with a subject's files: every known trap of NSD as one check that can fail."""

import numpy as np

from nsdlib import nsd_files
from nsdlib import nsd_layout as nsd
from nsdlib.nsd import DEFAULT_VERSION

USUAL_PERCENT = (0.5, 30.0)  # where the 99th percentile of absolute betas lies, percent signal change
N_COMPARED = 20  # voxels of which both forms of the betas are compared


def first_contact(subject, *, version=DEFAULT_VERSION):
    """Check the files of a subject against each other and against NSD's manual.

    Parameters
    ----------
    subject : NSDSubject
    version : str
        Version of the betas to check.

    Returns
    -------
    pandas.DataFrame
        One row a check: what is checked, found, wanted, and result: "ok", "WRONG" or "not there" (a file that only this
        check needs is missing).
    """
    import pandas as pd

    checks = (_shared_images, _full_split, _stim_info, _repeats, _behaviour, _stimuli, _voxels, _scale, _forms, _onsets)
    rows = []
    for check in checks:
        title = check.__doc__.rstrip(".")
        try:
            found, wanted, right = check(subject, version)
            rows.append((title, str(found), str(wanted), "ok" if right else "WRONG"))
        except FileNotFoundError:
            rows.append((title, "", "", "not there"))
    return pd.DataFrame(rows, columns=["check", "found", "wanted", "result"])


def repeat_agreement(betas, image_ids):
    """Correlation of the patterns of the first two showings of each image: (n_repeated,) float64.

    Parameters
    ----------
    betas : (n_trials, n_voxels) float
        z-scored for each voxel, so that its mean does not count as agreement.
    image_ids : (n_trials,) int
        Image of each trial. With ids shifted by one trial the result must fall to zero: if it does not fall, the ids do
        not belong to the betas.

    Raises
    ------
    ValueError
        When the two disagree in length, or no image was shown twice.
    """
    image_ids = np.asarray(image_ids)
    if len(betas) != len(image_ids):
        raise ValueError(f"betas has {len(betas)} trials, image_ids {len(image_ids)}: give both for the same trials.")
    order = np.argsort(image_ids, kind="stable")
    _, start, count = np.unique(image_ids[order], return_index=True, return_counts=True)
    if not (count > 1).any():
        raise ValueError("image_ids: no image was shown twice, so no agreement can be computed; take more sessions.")
    first, second = betas[order[start[count > 1]]], betas[order[start[count > 1] + 1]]
    first, second = (x - x.mean(axis=1, keepdims=True, dtype=np.float64) for x in (first, second))
    return (first * second).sum(axis=1) / np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))


def _shared_images(subject, _):
    """The shared images are the first thousand of every subject, beginning with image 2951."""
    design = subject.expdesign
    same = (design["subjectim"][:, : nsd.N_SHARED_IMAGES] == design["sharedix"]).all()
    return design["sharedix"][0], nsd.FIRST_SHARED_ID + 1, same and design["sharedix"][0] == nsd.FIRST_SHARED_ID + 1


def _full_split(subject, _):
    """All forty planned sessions hold 9,000 training and 1,000 test images."""
    counts = subject.split_counts(nsd.N_PLANNED_SESSIONS)
    found = (counts["images_train"], counts["images_test"])
    return found, (9000, 1000), found == (9000, 1000)


def _stim_info(subject, _):
    """Rows of the table of images are their 0-based ids, and its shared images are the design's."""
    table = subject.stim_info()
    shared = set(table["nsdId"][table["shared1000"].astype(bool)])
    right = (table["nsdId"] == np.arange(nsd.N_STIMULI)).all() and shared == set(subject.expdesign["sharedix"] - 1)
    return len(table), nsd.N_STIMULI, right


def _repeats(subject, _):
    """The table of images names the same trials as the design."""
    table = subject.stim_info()
    named = np.full(subject.n_trials, -1)
    for repeat in range(3):
        trials = table[f"subject{subject.subject}_rep{repeat}"].to_numpy()
        inside = (trials > 0) & (trials <= subject.n_trials)
        named[trials[inside] - 1] = table["nsdId"][inside]
    return (named == subject.image_ids).sum(), subject.n_trials, (named == subject.image_ids).all()


def _behaviour(subject, _):
    """The table of behaviour names the same images as the design."""
    same = subject.responses()["73KID"].to_numpy() - 1 == subject.image_ids
    return same.sum(), subject.n_trials, same.all()


def _stimuli(subject, _):
    """The image of the first trial is 425 pixels square, in colour, with captions."""
    shape = subject.stimuli(subject.image_ids[:1]).shape[1:]
    subject.captions(subject.image_ids[:1])
    return shape, (nsd.IMAGE_SIZE, nsd.IMAGE_SIZE, 3), shape == (nsd.IMAGE_SIZE, nsd.IMAGE_SIZE, 3)


def _voxels(subject, _):
    """Real volumes have the number of nsdgeneral voxels that publications name."""
    found = int((subject.roi("nsdgeneral") > 0).sum())
    if subject.brainmask.shape != nsd.VOLUME_SHAPES[subject.subject]:
        return found, "any (a simulated subject)", found > 0
    return found, nsd.N_GENERAL_VOXELS[subject.subject], found == nsd.N_GENERAL_VOXELS[subject.subject]


def _scale(subject, version):
    """Betas of session 1 are percent signal change: 99 of 100 are no larger than some percent."""
    betas = subject.betas(1, subject.roi("nsdgeneral") > 0, version=version)
    high = np.percentile(np.abs(betas), 99)
    return f"{high:.1f} %", f"{USUAL_PERCENT[0]} to {USUAL_PERCENT[1]} %", USUAL_PERCENT[0] < high < USUAL_PERCENT[1]


def _forms(subject, version):
    """Both forms of the betas of session 1 hold the same numbers."""
    hdf5, nifti = (subject.paths.betas(version, 1, ending) for ending in ("hdf5", "nii.gz"))
    if not (hdf5.is_file() and nifti.is_file()):
        raise FileNotFoundError
    mask = np.zeros(subject.brainmask.shape, dtype=bool)
    mask[tuple(np.argwhere(subject.brainmask)[:: max(1, subject.brainmask.sum() // N_COMPARED)].T)] = True
    same = nsd_files.read_beta_columns(hdf5, mask) == nsd_files.read_masked(nifti, mask, nsd.N_SESSION_TRIALS)
    return same.sum(), same.size, same.all()


def _onsets(subject, _):
    """Onsets of session 1 name the images of its trials, in order."""
    rows = np.concatenate([subject.design(1, run) for run in range(1, subject.n_runs(1) + 1)])
    found = rows[rows > 0] - 1
    return len(found), nsd.N_SESSION_TRIALS, (found == subject.image_ids[: nsd.N_SESSION_TRIALS]).all()
