"""Export of the betas of notebook 01 to NSD's files, GLMsingle's result files, or maps of a BIDS derivative."""

import json
import re

import numpy as np

from nsdlib import __version__
from nsdlib.core.glm.results import PERCENT
from nsdlib.data.formats.glmsingle import DESIGN, TYPES
from nsdlib.data.formats.layouts import CONDITIONS
from nsdlib.data.formats.series import (
    as_json,
    as_mask,
    atomic_folder,
    describe,
    refuse_existing,
    write_maps,
    write_session,
    write_table,
)
from nsdlib.data.glm_sessions import BETAS
from nsdlib.data.nsd import write as nsd_write

BIDS_VERSION = "1.11.1"
MAPS = {"R2": "r2_{}", "meanvol": "mean", "HRFindex": "hrf_index"}  # GLMsingle's name: ours
MAPS_C = MAPS | {"noisepool": "noise_pool", "pcvoxels": "pc_voxels"}
MAPS_D = MAPS_C | {"FRACvalue": "fraction"}
DTYPES = {"HRFindex": np.int64, "noisepool": bool, "pcvoxels": bool}


def export_betas(found, subject, folder, *, kind="betas_d"):
    """Write betas in NSD's format: `betas_sessionNN.nii.gz` and `.hdf5`, int16, 300 times the percent signal change.

    Parameters
    ----------
    found : xarray.Dataset
        From `fit_sessions`. Voxels outside its region and betas that are NaN or infinite are 0 in the files.
    subject : nsdlib.data.nsd.subject.NSDSubject
    folder : Path
        Created if missing. Each file gets its final name only when it is complete.
    kind : str
        One of `BETAS`.

    Returns
    -------
    list of Path
        The NIfTI files, one per session. Raises a ValueError if the kind is unknown, the betas are not in percent, or a session
        in `found` lacks trials of the experiment; a FileExistsError if a file already exists, since NSD's own betas have these
        names. Nothing is written in these cases.
    """
    rows = _rows(found, subject, kind, holds="NSD's files hold")
    endings = ("nii.gz", "hdf5")
    stems = {session: folder / f"betas_session{session:02d}" for session in rows}
    refuse_existing(stem.with_suffix(f".{ending}") for stem in stems.values() for ending in endings)
    mask = as_mask(found.roi_voxel.values, subject.brainmask.shape)
    for session, stem in stems.items():
        partial_paths = {ending: stem.with_name(f"partial-{stem.name}.{ending}") for ending in endings}
        betas = np.nan_to_num(found[kind].isel(trial=rows[session]).values, posinf=0, neginf=0)
        nsd_write.write_betas(partial_paths, betas, mask, subject.affine)
        for ending, path in partial_paths.items():
            path.rename(stem.with_suffix(f".{ending}"))
    return [stem.with_suffix(".nii.gz") for stem in stems.values()]


def export_glmsingle(found, subject, folder, *, kind="betas_d"):
    """Write betas as GLMsingle 1.2 does with wanthdf5=1: one folder session<label> per session, each fitted alone.

    A folder holds `TYPED_FITHRF_GLMDENOISE_RR.hdf5` (or the file of the type of `kind`), `DESIGNINFO.npy`, and `conditions.tsv`,
    which names the picture of each condition. Betas outside the region are NaN. `subject` may be any Subject; other arguments and
    errors are as in `export_betas`. Returns the session folders.
    """
    rows = _rows(found, subject, kind)
    targets = {session: folder / f"session{subject.session_labels[session - 1] or '01'}" for session in rows}
    refuse_existing(targets.values())
    for session, target in targets.items():
        with atomic_folder(folder) as partial:
            _write_type(partial / f"{TYPES[kind[-1].upper()]}.hdf5", found, subject, session, kind=kind, rows=rows[session])
            design = _design_info(subject, session)
            np.save(partial / f"{DESIGN}.npy", np.array(design["info"], dtype=object))
            names = subject.image_names(design["images"])
            write_table(partial / CONDITIONS, {"condition": range(len(names)), "image": names})
            partial.rename(target)
    return list(targets.values())


def export_bids(found, subject, folder, *, kind="betas_d"):
    """Write betas as a BIDS derivative with LAION-fMRI's names: a series of maps and a trial table per session.

    Sessions keep their labels. `desc-ConditionMeans` maps hold the mean over all trials of each picture. Maps are 0 outside the
    region, and its mask is written too. Arguments and errors are as in `export_glmsingle`; returns the series of the sessions. A
    `dataset_description.json` from an earlier export of another subject is kept.
    """
    rows = _rows(found, subject, kind)
    label = re.sub("[^A-Za-z0-9]", "", subject.name.rpartition("/")[2].removeprefix("sub-"))
    target, description_file = folder / f"sub-{label}", folder / "dataset_description.json"
    description = {"Name": "Single-trial responses to pictures", "BIDSVersion": BIDS_VERSION, "DatasetType": "derivative"}
    text = as_json(description | {"GeneratedBy": [{"Name": "nsdlib", "Version": __version__}]})
    refuse_existing([target, *([description_file] if description_file.exists() and not _is_ours(description_file) else [])])
    stem, written = f"sub-{label}_task-images", []
    with atomic_folder(folder) as partial:
        mask = as_mask(found.roi_voxel.values, subject.brainmask.shape)
        write_maps(partial / f"{stem}_desc-betas_mask.nii.gz", [mask[mask].astype(np.float32)], mask, subject.affine)
        shown = subject.image_ids[found.trial.values]
        images, image_of_trial, counts = np.unique(shown, return_inverse=True, return_counts=True)
        sums = np.zeros((len(images), found.sizes["roi_voxel"]))
        for session, trial_rows in rows.items():
            session_label = subject.session_labels[session - 1]
            name = f"sub-{label}{f'_ses-{session_label}' if session_label else ''}_task-images"
            session_folder = partial / (f"ses-{session_label}" if session_label else "") / "func"
            betas = found[kind].isel(trial=trial_rows).values
            np.add.at(sums, image_of_trial[trial_rows], betas)
            run = subject.trials["run"].to_numpy()[found.trial.values[trial_rows]]
            names = subject.image_names(shown[trial_rows])
            columns = {"session": [session_label or "n/a"] * len(names), "run": run, "label": names}
            about = f"single-trial betas, type {kind[-1].upper()}"
            path = write_session(session_folder, name, betas, columns, (mask, subject.affine), about=about, unit=PERCENT)
            r2 = found[f"r2_{kind[-1]}"].sel(session=session, voxel=found.roi_voxel.values).values
            write_maps(session_folder / f"{name}_stat-rsquare_desc-R2_statmap.nii.gz", [r2], mask, subject.affine)
            written.append(target / path.relative_to(partial))
        path = partial / f"{stem}_stat-effect_desc-ConditionMeans_statmap.nii.gz"
        write_maps(path, sums / counts[:, None], mask, subject.affine)
        describe(path, "means of single-trial betas of each picture", PERCENT)
        means = {"index": range(len(images)), "label": subject.image_names(images), "n_trials": counts}
        write_table(partial / f"{stem}_desc-ConditionMeans_conditions.tsv", means)
        partial.rename(target)
    if not description_file.exists():
        description_file.write_text(text)
    return written


def _is_ours(path):
    """Whether an export by any version of nsdlib wrote this dataset description."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["GeneratedBy"][0]["Name"] == "nsdlib"
    except (ValueError, LookupError, TypeError):
        return False


EXPORTS = {"nsd": export_betas, "bids": export_bids, "glmsingle": export_glmsingle}


def _rows(found, subject, kind, *, holds="wanted"):
    """Trial rows of each session in `found`: a dict of session to (n_trials,) int; a ValueError if they cannot be written."""
    if kind not in BETAS:
        raise ValueError(f"kind {kind!r} is unknown. Known: {', '.join(BETAS)}.")
    if (unit := found[kind].attrs["units"]) != PERCENT:
        raise ValueError(f"{kind} is in {unit}: {holds} {PERCENT}. Fit with GLMOptions(percent=True).")
    session_of = subject.session[found.trial.values]
    rows = {int(session): np.flatnonzero(session_of == session) for session in found.session.values}
    for session, trial_rows in rows.items():
        if len(trial_rows) != (expected := np.count_nonzero(subject.session == session)):
            raise ValueError(f"Session {session} has {len(trial_rows)} trials here, {expected} in the experiment: fit it again.")
    return rows


def _write_type(path, found, subject, session, *, kind, rows):
    """Write one type of GLMsingle's results, the betas one slab of the volume at a time."""
    import h5py

    shape, fit = subject.brainmask.shape, found.sel(session=session)
    betas, letter = found[kind].isel(trial=rows).values, kind[-1]  # (n_trials, n_voxels)
    with h5py.File(path, "w") as file:
        data = file.create_dataset("betasmd", (*shape, len(rows)), np.float32)
        x, *yz = np.unravel_index(found.roi_voxel.values, shape)
        for x_slab in range(shape[0]):
            slab, in_slab = np.full((*shape[1:], len(rows)), np.nan, np.float32), x == x_slab
            slab[tuple(axis[in_slab] for axis in yz)] = betas[:, in_slab].T
            data[x_slab] = slab
        for their_name, our_name in {"b": MAPS, "c": MAPS_C, "d": MAPS_D}[letter].items():
            if our_name.format(letter) in found:
                file[their_name] = _volume(found, shape, fit[our_name.format(letter)].values, DTYPES.get(their_name, np.float32))
        if letter == "d" and {"scale", "offset"} <= set(found):
            file["scaleoffset"] = np.stack([_volume(found, shape, fit[name].values) for name in ("scale", "offset")], axis=-1)
        if letter != "b":
            file.attrs["pcnum"] = int(fit["n_pcs"])


def _volume(found, shape, values, dtype=np.float32):
    """Map of the fitted voxels as a volume; other voxels are NaN, or 0 for dtypes without NaN."""
    volume = np.full(shape, np.nan if dtype is np.float32 else 0, dtype)
    volume.flat[found.voxel.values] = values
    return volume


def _design_info(subject, session):
    """Contents of a session's DESIGNINFO, as "info", and the image numbers of its conditions, as "images"."""
    runs = [subject.design(session, run) for run in range(1, subject.n_runs(session) + 1)]
    images = np.unique(np.concatenate([labels[labels > 0] for labels in runs])) - 1
    matrices = [(labels[:, None] == images + 1).astype(np.float32) for labels in runs]  # (n_volumes, n_conditions)
    n_trials = [int(matrix.sum()) for matrix in matrices]
    order = np.concatenate([np.searchsorted(images + 1, labels[labels > 0]) for labels in runs])
    single = [np.zeros((len(labels), len(order))) for labels in runs]
    for matrix, labels, end in zip(single, runs, np.cumsum(n_trials), strict=True):
        rows = np.flatnonzero(labels)
        matrix[rows, np.arange(end - len(rows), end)] = 1
    info = {
        "design": matrices, "stimdur": float(subject.duration), "tr": float(subject.tr), "params": {"wantpercentbold": 1},
        "designSINGLE": single, "stimorder": list(order.astype(np.int64)), "numtrialrun": n_trials,
        "condcounts": list(np.bincount(order).astype(np.int64)),
        "condinruns": list(np.sum([matrix.any(axis=0) for matrix in matrices], axis=0).astype(np.int64)),
        "endbuffers": [np.float64((len(labels) - 1 - np.flatnonzero(labels).max(initial=-1)) * subject.tr) for labels in runs],
    }  # fmt: skip
    return {"info": info, "images": images}
