"""NSD's extensions as test sets: nsdsynthetic, and the perception and imagery trials of nsdimagery.

Decoders are trained and scaled with training images of the core, in its 1.8 mm space, so the extension affects only the scores.
Trials follow the NSD Data Manual and the public code that exported the data (cvnlab/nsddatapaper).
"""

import re

import h5py
import numpy as np
import pandas as pd
from PIL import Image
from scipy.io import loadmat

from nsdlib.data.bids.events import read_table
from nsdlib.data.bids.pictures import read_picture
from nsdlib.data.converted.order import find_order
from nsdlib.data.converted.source import Source, checked_dataset
from nsdlib.data.formats.guards import DamagedFile, check_unpacked_size, damaged, reading
from nsdlib.data.nsd import files as nsd_files
from nsdlib.data.nsd import layout as nsd
from nsdlib.data.nsd.subject import DEFAULT_VERSION, NSDSubject

MAX_DESIGN = 2**26  # bytes of a design, uncompressed
MAX_SIDE = 4096  # pixels
BATCH = 100  # pictures in memory at once
N_SYNTHETIC, N_SHARED = 284, 220  # pictures; those that are not shared differ between subjects
N_SYNTHETIC_TRIALS, N_SYNTHETIC_RUNS = 744, 8
N_TARGETS = 6
RUNS = {  # of nsdimagery, in temporal order: number of betas, two per attention trial
    "visA": 48, "attA": 96, "imgA_1": 48, "visB": 48, "attB": 96, "imgB_1": 48,
    "visC": 48, "attC": 96, "imgC_1": 48, "imgA_2": 48, "imgB_2": 48, "imgC_2": 48,
}  # fmt: skip
TASKS = {"imagery": ("img", "CUE"), "vision": ("vis", "CONDITION")}  # prefix of runs, and the column that names a trial's target
SETS = "AB"  # sets of targets that are pictures; those of C are words


def open_synthetic(root, label, *, roi="nsdgeneral", n_sessions=None, version=DEFAULT_VERSION):
    """Open NSD's core and nsdsynthetic of a subject, `label` 1 to 8, as a Source: 284 synthetic pictures are the test set.

    `root` mirrors NSD's bucket; `roi` selects the voxels; `n_sessions` of the core are used, from the first, by default all.
    Trials that repeat the picture before them (one-back task) are left out. Since pictures are linear in luminance, their square
    root is taken. Raises the errors of `NSDSubject`; a `DamagedFile` for invalid files.
    """
    subject = _subject(root, label, n_sessions)
    order, counts = _synthetic_design(_existing_file(subject, "nsddata/experiments/nsdsynthetic/nsdsynthetic_expdesign.mat"))
    run = np.repeat(np.arange(1, len(counts) + 1), counts)
    is_repeat = np.r_[False, (order[1:] == order[:-1]) & (run[1:] == run[:-1])]
    names = [None if repeats else f"synthetic{number:03d}" for number, repeats in zip(order, is_repeat, strict=True)]
    mask = subject.voxels(roi)
    betas = _read_betas(subject, "nsdsynthetic", version, mask, N_SYNTHETIC_TRIALS)
    folder = "nsddata_stimuli/stimuli/nsdsynthetic"
    bricks = {
        _existing_file(subject, f"{folder}/nsdsynthetic_stimuli.hdf5"): N_SHARED,
        _existing_file(subject, f"{folder}/nsdsynthetic_colorstimuli_subj{subject.subject:02d}.hdf5"): N_SYNTHETIC - N_SHARED,
    }
    return _with_core(
        subject, mask, version, "nsdsynthetic", pd.DataFrame({"run": run, "name": names}), betas,
        pictures=lambda place: _write_synthetic(bricks, place),
        notes=[f"{is_repeat.sum()} trials of the one-back task that repeat a picture at once are left out."],
    )  # fmt: skip


def open_imagery(root, label, *, task="imagery", roi="nsdgeneral", n_sessions=None, version=DEFAULT_VERSION):
    """Open NSD's core and nsdimagery as a Source: the 12 targets that are pictures are the test set, imagined or seen.

    `task` is "imagery" for trials that imagine the cued target, or "vision"; other arguments are as in `open_synthetic`. Five
    targets are shared images of the core; its trials of them are left out. The order of betas in a run is inferred from the
    vision runs (`nsdlib.data.converted.order`). Raises a ValueError if repeats agree in neither order, and for another task.
    """
    if task not in TASKS:
        raise ValueError(f"task {task!r}: wanted {' or '.join(TASKS)}; trials of attention have two betas and no one picture.")
    prefix, column = TASKS[task]
    subject = _subject(root, label, n_sessions)
    mask = subject.voxels(roi)
    betas = _read_betas(subject, "nsdimagery", version, mask, sum(RUNS.values()))
    betas_of = dict(zip(RUNS, np.split(betas, np.cumsum(list(RUNS.values()))[:-1]), strict=True))
    designs = _imagery_designs(subject)
    targets = {letter: _targets(subject, letter) for letter in "ABC"}

    def cues(run, column):
        return _cues(subject, run, column, targets[run[3]], designs[run])

    order, note = find_order([(betas_of[run], cues(run, "CONDITION"), designs[run]) for run in RUNS if run.startswith("vis")])
    shown = {run: cues(run, column) for run in RUNS if run.startswith(prefix) and run[3] in SETS}
    trials = [(list(RUNS).index(run) + 1, f"imagery{run[3]}{letter}") for run, letters in shown.items() for letter in letters]
    files = {
        f"imagery{letter}{cue}": _existing_file(subject, f"nsddata/experiments/nsdimagery/rawtargetimages/set{letter}/{name}")
        for letter in SETS
        for cue, name in targets[letter].items()
    }
    shared = {int(match[1]) - 1 for path in files.values() if (match := re.search(r"_nsd(\d{5})\b", path.stem))} - {-1}
    return _with_core(
        subject, mask, version, "nsdimagery", pd.DataFrame(trials, columns=["run", "name"]),
        np.concatenate([betas_of[run][order(designs[run])] for run in shown]),
        pictures=lambda folder: [read_picture(path).save(folder / f"{name}.png") for name, path in files.items()],
        notes=[note, f"{len(shared)} targets are images of the core: its trials of them are left out."], left_out=shared,
    )  # fmt: skip


def _subject(root, label, n_sessions):
    """The subject of the core."""
    if not re.fullmatch(r"(subj)?0?[1-8]", label):
        raise ValueError(f"subject {label!r}: NSD has subjects 1 to {nsd.N_SUBJECTS}.")
    return NSDSubject(root, int(label[-1]), n_sessions)


def _with_core(subject, mask, version, session, table, betas, *, pictures, notes, left_out=frozenset()):
    """Sessions of the core for training, and the session of an extension for testing."""
    ids = np.setdiff1d(subject.image_ids, list(left_out))
    sessions = []
    for number, label in enumerate(subject.session_labels, start=1):
        trials = subject.trials[subject.session == number]
        names = [None if image in left_out else f"nsd{image + 1:05d}" for image in trials["image"]]
        sessions.append((label, pd.DataFrame({"run": trials["run"].to_numpy(), "name": names})))

    def read(number):
        return betas if number == subject.n_sessions else subject.betas(number + 1, mask, version=version)

    def write_pictures(folder):
        pictures(folder)
        for start in range(0, len(ids), BATCH):
            batch = ids[start : start + BATCH]
            for name, pixels in zip(subject.image_names(batch), subject.stimuli(batch), strict=True):
                Image.fromarray(pixels).save(folder / f"{name}.png")

    return Source(
        sessions=[*sessions, (session, table)], read=read, mask=mask, affine=subject.affine, unit="percent signal change",
        notes=[f"Trained with the core of NSD, tested with {session}; betas are {version}.", *notes],
        regions={name: voxels & mask for name, voxels in subject.regions.items() if (voxels & mask).any()},
        test=tuple(table["name"].dropna().unique()), pictures=write_pictures, roi="brainmask",
    )  # fmt: skip


def _existing_file(subject, name):
    """Path of a file of NSD; raises a FileNotFoundError that says how to get it if it is missing."""
    path = subject.root / name
    if not path.is_file():
        raise FileNotFoundError(f"Missing {name} in {subject.root}: get it from NSD's bucket, which has the same folders.")
    return path


def _read_betas(subject, extension, version, mask, n_trials):
    """Betas of an extension, see `nsd_files.read_betas`."""
    if version not in nsd.BETA_VERSIONS[1:]:
        raise ValueError(f"version {version!r}: {extension} has {' and '.join(nsd.BETA_VERSIONS[1:])}.")
    path = f"nsddata_betas/ppdata/subj{subject.subject:02d}/func1pt8mm/{extension}{version}/betas_{extension}.hdf5"
    if not (subject.root / path).with_suffix(".nii.gz").is_file():
        _existing_file(subject, path)
    return nsd_files.read_betas(subject.root / path, mask, n_trials)


def _synthetic_design(path):
    """Picture of each trial, from 1, (744,) int64, and the number of trials in each of the 8 runs."""
    with reading(path):
        check_unpacked_size(path, MAX_DESIGN)
        raw = loadmat(path, variable_names=["masterordering", "stimpattern"])
        order, counts = raw["masterordering"].astype(np.int64).ravel(), raw["stimpattern"].astype(bool)[0].sum(axis=-1)
    if counts.shape != (N_SYNTHETIC_RUNS,) or counts.sum() != len(order) or len(order) != N_SYNTHETIC_TRIALS:
        raise damaged(path, f"has {len(order)} trials, {counts.tolist()} in its runs, wanted {N_SYNTHETIC_TRIALS} in 8 runs")
    if order.min() < 1 or order.max() > N_SYNTHETIC:
        raise damaged(path, f"names pictures {order.min()} to {order.max()}, wanted 1 to {N_SYNTHETIC}")
    return order, counts


def _write_synthetic(bricks, folder):
    """Write the pictures of both files, numbered consecutively."""
    number = 0
    for path, n_images in bricks.items():
        with reading(path), h5py.File(path, "r") as file:
            brick = checked_dataset(path, file, "imgBrick", 4)
            n_found, height, width, n_colours = brick.shape
            if brick.dtype != np.uint8 or (n_found, n_colours) != (n_images, 3) or max(height, width) > MAX_SIDE:
                raise damaged(path, f"holds {brick.dtype} of shape {brick.shape}, wanted uint8, ({n_images}, height, width, 3)")
            for linear in brick:
                number += 1
                pixels = np.rint(255 * np.sqrt(linear / 255)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"synthetic{number:03d}.png")


def _imagery_designs(subject):
    """Condition of each beta of a run, in temporal order: a dict of run to (n_trials,) int64, the column of the design."""
    path = _existing_file(subject, "nsddata/experiments/nsdimagery/designmatrixGLMsingle.mat")
    with reading(path):
        check_unpacked_size(path, MAX_DESIGN)
        cells = loadmat(path, variable_names=["stimulus"])["stimulus"].ravel()
        designs = [np.argwhere(np.asarray(cell))[:, 1] for cell in cells]
    if (counts := [len(design) for design in designs]) != list(RUNS.values()):
        raise damaged(path, f"has runs of {counts} trials, wanted {list(RUNS.values())}")
    return dict(zip(RUNS, designs, strict=True))


def _targets(subject, letter):
    """File names of a set of targets: a dict of cue, a letter, to str."""
    path = _existing_file(subject, f"nsddata/experiments/nsdimagery/{letter}_pair_list.mat")
    with reading(path):
        check_unpacked_size(path, MAX_DESIGN)
        cells = loadmat(path, variable_names=["pair_list"])["pair_list"]
        rows = [[str(np.ravel(cell)[0]) for cell in row] for row in cells]
    targets = {cue: name for _, name, cue in rows if re.fullmatch("[A-Z]", cue) and re.fullmatch(r"[\w.-]*\w", name)}
    if len(targets) != N_TARGETS:
        raise damaged(path, f"must pair {N_TARGETS} files with a letter each, but it holds {rows}")
    return targets


def _cues(subject, run, column, targets, design):
    """Cue letter of each trial of a run: (48,) array of str, after checking that cues and design conditions match one to one."""
    path = _existing_file(subject, f"nsddata/bdata/nsdimagery/nsdimagery_subj{subject.subject:02d}_{run}.tsv")
    table = read_table(path, "TRIAL", column)
    table = table.assign(TRIAL=pd.to_numeric(table["TRIAL"], errors="coerce")).sort_values("TRIAL", kind="stable")
    if not np.array_equal(table["TRIAL"], np.arange(1, len(design) + 1)):
        raise DamagedFile(f"{path}: TRIAL must count from 1 to {len(design)}, it holds {len(table)} rows: get it again.")
    cues = table[column].to_numpy(str)
    if unknown := sorted(set(cues) - set(targets)):
        raise DamagedFile(f"{path}: {column} holds {', '.join(unknown)}, wanted letters of the targets, {', '.join(targets)}.")
    if not len(set(zip(cues, design, strict=True))) == len(set(cues)) == len(set(design)):
        raise DamagedFile(f"{path}: {column} is in another order than the run's design: the columns have another meaning.")
    return cues
