"""CNeuroMod-THINGS: single-trial betas in HDF5, by session and run, events of the raw data set, and noise ceilings."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from nsdlib.data.bids import volumes
from nsdlib.data.bids.events import read_table
from nsdlib.data.bids.files import existing, parse_name, problem
from nsdlib.data.converted.source import Source, checked_dataset, first_file, own_group
from nsdlib.data.formats.guards import DamagedFile, damaged, reading

STEM = "sub-{0}_task-things_space-T1w_model-fitHrfGLMdenoiseRR_stat"  # or stats: releases have had both
BETAS = ("-trialBetas_desc-zscore_statseries.h5", "s-trialBetas_desc-zscore_statseries.h5")
CEILING = "*-noiseCeilings_statmap.nii.gz"
N_REPEATS = 3  # repeats that are averaged in the published ceilings
ROUNDING = 1e-3  # percent allowed beyond 0 to 100
PLACES = ("", "sub-{0}/glmsingle/output/", "glmsingle/sub-{0}/glmsingle/output/", "THINGS/glmsingle/sub-{0}/glmsingle/output/")
EVENTS = ("fmriprep/sourcedata/things", "THINGS/fmriprep/sourcedata/things", "")  # folders of the raw data set


def open_cneuromod(root, label, *, events=None):
    """Open CNeuroMod-THINGS's betas of a subject, `label` 01, 02, 03 or 06, as a Source; it has no test set of its own.

    `root` is the folder THINGS, its parent, or any folder that holds the file; `events` is the raw data set, by default in
    `root`. Runs without betas are left out, and a note names them. Noise ceilings of averages of three repeats are read if they
    are beside the betas. Raises a FileNotFoundError for missing files and links without content; a ValueError, with what was
    wanted and found, if a run has different numbers of betas and events, or ceilings are not percentages.
    """
    path = first_file(root, [(place + STEM).format(label) + end for place in PLACES for end in BETAS], "the betas")
    folders = [Path(events)] if events else [root / place for place in EVENTS]
    event_files = sorted(file for folder in folders for file in folder.glob(f"sub-{label}/ses-*/func/*_events.tsv"))
    if not event_files:
        raise FileNotFoundError(
            f"{', '.join(map(str, folders))}: wanted sub-{label}/ses-*/func/*_events.tsv of the raw data set: get it, or give "
            "-p events=FOLDER."
        )
    mask, affine, shapes = _read_header(path)
    tables, without_betas = {}, []
    for file in event_files:
        name = parse_name(file.name) or {}
        session, run = int("".join(filter(str.isdigit, name.get("ses", ""))) or 0), name.get("run", 0)
        if (session, run) not in shapes:
            without_betas.append(f"session {session} run {run}")
            continue
        table = read_table(existing(file), "image_path")
        if shapes[session, run] != (len(table), int(mask.sum())):
            raise DamagedFile(
                f"{path} holds {shapes[session, run]} for session {session}, run {run}: wanted one row for each of the "
                f"{len(table)} events of {file.name} and one column for each of the {mask.sum()} voxels of its mask."
            )
        names = table["image_path"].where(table["ran"].isin(["1", "1.0", "True"]) if "ran" in table else True)
        tables[session, run] = pd.DataFrame({"run": run, "name": names.where(names.notna(), None)})
    if not tables:
        raise DamagedFile(f"{path} holds no run of the events of sub-{label}: wanted /<session>/<run>/betas.")
    labels = sorted({session for session, _ in tables})
    runs = {session: [key for key in sorted(tables) if key[0] == session] for session in labels}

    def read(number):
        with reading(path), h5py.File(path, "r") as file:
            data = [checked_dataset(path, file, f"{session}/{run}/betas", 2) for session, run in runs[labels[number]]]
            return np.vstack([betas[:].astype(np.float32) for betas in data])

    ceilings, note = _ceilings(path, mask, affine)
    notes = ["Betas were z-scored over all trials at once, those of test pictures too: transductive.", note]
    if without_betas:
        notes.append(f"Without betas, and left out: {', '.join(without_betas)}.")
    return Source(
        sessions=[(f"{s:03d}", pd.concat([tables[key] for key in keys], ignore_index=True)) for s, keys in runs.items()],
        read=read, mask=mask, affine=affine, unit="z", notes=notes, ceilings=ceilings,
    )  # fmt: skip


def _ceilings(betas, mask, affine):
    """Noise ceilings stored beside the betas: a dict of number of repeats to (n_voxels,) percent, empty for none; a note."""
    name = f"{betas.name.partition('_stat')[0]}_stat"
    path = next(iter(sorted(betas.parent.glob(name + CEILING))), betas.with_name(name + CEILING.replace("*", "")))
    if reason := problem(path):
        return {}, f"No noise ceilings are read: {path.name} is {reason}."
    values = volumes.read_map(path, mask, affine)[mask]
    is_missing = ~np.isfinite(values)
    values = np.where(is_missing, 0, values)
    if values.min() < -ROUNDING or values.max() > 100 + ROUNDING:
        raise DamagedFile(f"{path} holds {values.min():g} to {values.max():g} in the mask of the betas, wanted 0 to 100 percent.")
    note = f"Noise ceilings of averages of {N_REPEATS} repeats: {path.name}, estimated in all trials"
    note += f"; of {is_missing.sum()} voxels it has none, taken for 0." if is_missing.any() else "."
    return {N_REPEATS: values.clip(0, 100)}, note


def _read_header(path):
    """The mask, (X, Y, Z) bool, the affine, (4, 4), and the shapes of betas by session and run."""
    with reading(path), h5py.File(path, "r") as file:
        mask = checked_dataset(path, file, "mask_array", 3)[:] > 0
        affine = checked_dataset(path, file, "mask_affine", 2)[:].astype(np.float64)
        if affine.shape != (4, 4) or not mask.any():
            raise damaged(
                path, f"has a mask of {mask.sum()} voxels and an affine of shape {affine.shape}, wanted some and (4, 4)"
            )
        sessions = {session: own_group(path, file, session) for session in file if session.isdecimal()}
        keys = [(session, run) for session, group in sessions.items() for run in group if run.isdecimal()]
        shapes = {(int(s), int(run)): checked_dataset(path, file, f"{s}/{run}/betas", 2).shape for s, run in keys}
    return mask, affine, shapes
