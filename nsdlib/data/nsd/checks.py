"""First checks of a subject's files: the order in which they depend on each other, and a remedy for each failure."""

import numpy as np

from nsdlib.data.nsd import traps as trap
from nsdlib.data.nsd.subject import DEFAULT_VERSION


def first_contact(subject, *, version=DEFAULT_VERSION):
    """Check the files of an NSDSubject, and a version of the betas, against each other and against NSD's manual.

    Returns
    -------
    pandas.DataFrame
        One row per check: check, found, wanted, result and remedy. The result is "ok", "WRONG", "not there" (a file that only
        this check needs is missing) or "not tried" (it depends on a failed check). If a file cannot be read or used, `found` is
        the error message, which names it. The remedy is given for failed checks.
    """
    import pandas as pd

    rows, failed = [], set()
    for check, needs, remedy in _CHECKS:
        found, wanted, result = "", "", "not tried"
        if not failed & set(needs):
            try:
                found, wanted, is_right = check(subject, version)
                result = "ok" if is_right else "WRONG"
            except FileNotFoundError:
                result = "not there"
            except ValueError as error:
                found, wanted, result = error, "no error", "WRONG"
        if result in ("WRONG", "not tried"):
            failed.add(check)
        rows.append((check.__doc__.rstrip("."), str(found), str(wanted), result, remedy if result == "WRONG" else ""))
    return pd.DataFrame(rows, columns=["check", "found", "wanted", "result", "remedy"])


def repeat_agreement(betas, image_ids):
    """Correlate the voxel patterns of the first two presentations of each image.

    Parameters
    ----------
    betas : (n_trials, n_voxels) float
        Each voxel is z-scored, so that its mean does not count as agreement; constant voxels are left out.
    image_ids : (n_trials,) int
        Image of each trial. With ids shifted by one trial, the correlation must fall to zero; otherwise the ids do not belong to
        the betas.

    Returns
    -------
    (n_repeated,) float64
        Pearson's r for each image shown more than once. Raises a ValueError if the lengths differ or no image was repeated.
    """
    from nsdlib.core.scores.reliability import correlate, trials_by_image

    _, order, first_rows, n_shown = trials_by_image(betas, image_ids)
    first_rows = first_rows[n_shown > 1]
    if not len(first_rows):
        raise ValueError("image_ids: no image was shown twice, so no agreement can be computed; use more sessions.")
    sd = betas.std(axis=0)
    z_scores = (betas - betas.mean(axis=0))[:, sd > 0] / sd[sd > 0]
    return correlate(z_scores[order[first_rows]].T, z_scores[order[first_rows + 1]].T)


def _mapping(subject, version):
    """Patterns of one image agree, and cease to when ids are shifted by one trial."""
    betas = subject.betas(1, subject.roi("nsdgeneral") > 0, version=version)
    ids = subject.image_ids[: len(betas)]
    aligned, shifted = repeat_agreement(betas, ids), repeat_agreement(betas, np.roll(ids, 1))
    margin = 3 * np.sqrt(aligned.var() / len(aligned) + shifted.var() / len(shifted))  # three standard errors
    found = f"r = {aligned.mean():.3f}, shifted {shifted.mean():.3f}"
    return found, f"a difference above {margin:.3f}", aligned.mean() - shifted.mean() > margin


_DESIGN = "nsd_expdesign.mat is damaged or another file: get it again from nsddata/experiments/nsd/."
_INFO = "Get nsd_stim_info_merged.csv again; its nsdId counts from 0, and no program may have sorted or renumbered it."
_SPACE = (
    "Only betas of func1pt8mm are read, .hdf5 or .nii.gz of int16; those of fsaverage, nativesurface and func1mm are refused. "
    "Get the session named again."
)
_MISMATCH = (
    "Betas and ids do not belong together: look for a session of another subject, or for a run that is "
    "missing. Decode nothing before this is right."
)
_CHECKS = (  # check, checks that it depends on, and remedy
    (trap.shared_images, (), _DESIGN),
    (trap.planned, (), _DESIGN),
    (trap.masks, (), "Get brainmask.nii.gz and valid.nii.gz of this subject again; its number is `subject` in params/."),
    (trap.splits, (trap.planned, trap.masks), _DESIGN),
    (trap.stim_info, (trap.shared_images,), _INFO),
    (trap.repeats, (trap.planned, trap.stim_info), _INFO),
    (trap.behaviour, (trap.shared_images, trap.planned), "Get responses.tsv of this subject again; its ids count from 1."),
    (trap.stimuli, (trap.planned,), "Get nsd_stimuli.hdf5 again (39.6 GB)."),
    (trap.captions, (trap.planned,), "Get COCO_73k_annots_curated.npy again: (73000, 5) texts, row = 0-based id."),
    (trap.regions, (trap.masks,), "Get the volume named again, from func1pt8mm/roi/ of this subject."),
    (trap.region_names, (), "Get the .mgz.ctab tables again; if they are NSD's own, labels have changed, and results with them."),
    (trap.voxels, (trap.masks, trap.regions), "Get roi/nsdgeneral.nii.gz of this subject again; its voxels are those above 0."),
    (trap.sessions, (trap.masks,), _SPACE),
    (trap.scale, (trap.voxels, trap.sessions), "Files hold percent signal change times 300: get session 1 again."),
    (trap.forms, (trap.masks, trap.sessions), "One form of session 1 is damaged: get both again, or delete the one you made."),
    (_mapping, (trap.shared_images, trap.planned, trap.scale), _MISMATCH),
    (trap.ncsnr, (trap.masks,), "Get ncsnr.nii.gz from the folder of this version of the betas again."),
    (trap.series, (trap.masks,), "Get the run named again, from func1pt8mm/timeseries/ (at 1 mm runs have 301 volumes)."),
    (trap.onsets, (trap.shared_images, trap.planned), "Get the design_*.tsv of session 1 again: 225 rows, no header."),
)
