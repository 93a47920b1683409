"""A small subject in BIDS and fMRIPrep layout with planted betas: two sessions, three runs, 8 x 8 x 6 voxels."""

import json

import nibabel
import numpy as np
from PIL import Image

from nsdlib.core.glm import hrf
from nsdlib.sections import Bids

TR, START, N_VOLUMES, SHAPE = 2.0, 1.0, 40, (8, 8, 6)
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
DURATION, STEP = 1.0, 0.1
RUNS = [("01", 1), ("01", 2), ("02", 1)]  # session, run
NAMES = [f"{concept}/{concept}_{i:02d}.png" for concept in ("cat", "dog", "house") for i in range(3)]
BASE = {"derivatives": "prep", "label": "01", "task": "see", "images": "pictures"}


def settings(root, **changes):
    """The section `bids` of the subject."""
    paths = {key: root / BASE[key] for key in ("derivatives", "images")}
    return Bids(**BASE | paths | changes)


def stem(session, run, *, zeros=2):
    """Name of a run up to its suffix."""
    return f"sub-01_ses-{session}_task-see_run-{run:0{zeros}d}"


def func(root, session):
    """The folder of a session's functional files."""
    return root / "sub-01" / f"ses-{session}" / "func"


def events_of(k, *, jitter=0.0):
    """Onsets and names of run k: every 8 s, the order of pictures shifts from run to run."""
    onsets = np.arange(1, 10) * 8.0 + jitter * np.random.default_rng(k).uniform(-1, 1, 9)
    return onsets.round(3), [NAMES[(4 * k + i) % len(NAMES)] for i in range(9)]


def planted():
    """Betas of pictures in percent: (n_images, *SHAPE)."""
    return 4 * np.random.default_rng(0).standard_normal((len(NAMES), *SHAPE)) + 2


def response(onsets, betas, times, *, duration=DURATION):
    """BOLD at times, percent: (n_times, n_voxels); the library's shapes on a fine grid, HRF 5 of each voxel."""
    fine = hrf.sampled_library(STEP, duration)[5]
    fine = fine / fine.max()
    lags = times[:, None] - onsets
    return np.interp(lags, np.arange(len(fine)) * STEP, fine, left=0, right=0) @ betas


def write_volume(path, values, *, tr=TR, units="sec"):
    """Write a NIfTI file on the grid of the subject."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(values, AFFINE)
    if values.ndim == 4:
        image.header.set_zooms((2, 2, 2, tr))
        image.header.set_xyzt_units("mm", units)
    nibabel.save(image, path)
    return path


def write_table(path, header, rows, end="\n"):
    """Write a table with tabs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(map(str, row)) for row in [header, *rows]]
    path.write_bytes((end.join(lines) + end).encode())
    return path


def write_pictures(folder, names=NAMES):
    """Write a picture of one grey, wide, for each name; its grey is 10 times its place, its left and right edges are white."""
    for i, name in enumerate(names):
        picture = np.full((20, 40, 3), 10 * i, np.uint8)
        picture[:, :8] = picture[:, -8:] = 255
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / name)


def write_run(root, k, onsets, names, *, start=START, noise=0.02):
    """Write BOLD, mask and boldref of run k, with a sidecar."""
    session, run = RUNS[k]
    folder, name = func(root / "prep", session), f"{stem(session, run, zeros=1)}_space-T1w"
    rng = np.random.default_rng(100 + k)
    betas = planted()[[NAMES.index(name) for name in names]].reshape(len(names), -1)
    signal = response(onsets, betas, start + TR * np.arange(N_VOLUMES))
    series = 1000 * (1 + (signal + noise * rng.standard_normal(signal.shape)) / 100)
    bold = series.reshape(N_VOLUMES, *SHAPE).transpose(1, 2, 3, 0).astype(np.float32)
    write_volume(folder / f"{name}_desc-preproc_bold.nii.gz", bold)
    mask = np.ones(SHAPE, np.uint8)
    mask[0] = 0
    mask[1, 0, k] = 0  # a voxel that this run lacks
    write_volume(folder / f"{name}_desc-brain_mask.nii.gz", mask)
    write_volume(folder / f"{name}_boldref.nii.gz", bold[..., 0])
    sidecar = {"RepetitionTime": TR, "StartTime": start, "SliceTimingCorrected": True}
    (folder / f"{name}_desc-preproc_bold.json").write_text(json.dumps(sidecar))


def write_confounds(root, k, *, n_dummies=0):
    """Write a table of confounds of run k with the columns of fMRIPrep that strategies ask for."""
    session, run = RUNS[k]
    rng = np.random.default_rng(200 + k)
    axes = [f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"]
    columns = {name: rng.standard_normal(N_VOLUMES) for name in [*axes, "cosine00", "csf", "white_matter"]}
    columns |= {f"non_steady_state_outlier{i:02d}": np.eye(N_VOLUMES)[i] for i in range(n_dummies)}
    columns["framewise_displacement"] = ["n/a", *rng.uniform(0, 0.2, N_VOLUMES - 1)]
    columns["std_dvars"] = ["n/a", *rng.uniform(0, 1, N_VOLUMES - 1)]
    path = func(root / "prep", session) / f"{stem(session, run, zeros=1)}_desc-confounds_timeseries.tsv"
    path.with_suffix(".json").write_text("{}")
    return write_table(path, list(columns), zip(*columns.values(), strict=True))


def write_subject(root, *, jitter=0.0, start=START, noise=0.02):
    """Write the subject below `root`: raw data in `raw`, fMRIPrep's results in `prep`, pictures in `pictures`.

    Run 1 of session 01 has CRLF and rows without a picture, run 2 has no trial_type, session 02 inherits its events.
    """
    for folder, extra in (("raw", {}), ("prep", {"DatasetType": "derivative", "GeneratedBy": [{"Name": "fMRIPrep"}]})):
        (root / folder).mkdir(parents=True)
        description = {"Name": "small", "BIDSVersion": "1.11.1"} | extra
        (root / folder / "dataset_description.json").write_text(json.dumps(description))
    for k, (session, run) in enumerate(RUNS):
        onsets, names = events_of(k, jitter=jitter)
        write_run(root, k, onsets, names, start=start, noise=noise)
        rows = [[onset, DURATION, "image", name] for onset, name in zip(onsets, names, strict=True)]
        header, folder = ["onset", "duration", "trial_type", "stim_file"], func(root / "raw", session)
        folder.mkdir(parents=True, exist_ok=True)
        path, end = folder / f"{stem(session, run)}_events.tsv", "\n"
        if k == 0:
            rows, end = [[0.0, 2.0, "instruction", "n/a"], *rows[::-1]], "\r\n"
        elif k == 1:
            header, rows = [header[i] for i in (0, 1, 3)], [[row[i] for i in (0, 1, 3)] for row in rows]
        else:
            path = root / "raw" / "sub-01" / "ses-02" / "sub-01_ses-02_task-see_events.tsv"
        write_table(path, header, rows, end)
        write_volume(folder / f"{stem(session, run)}_bold.nii.gz", np.zeros((2, 2, 2, 2), np.int16))
    (root / "raw" / "task-see_bold.json").write_text(json.dumps({"RepetitionTime": TR, "TaskName": "see"}))
    write_pictures(root / "pictures")
    return root
