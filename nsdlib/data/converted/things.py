"""THINGS-fMRI's table of single-trial betas: responses in HDF5, and CSV tables of the trials and of the voxels."""

from pathlib import Path

import h5py
import numpy as np

from nsdlib.data.bids import volumes
from nsdlib.data.converted.source import Source, checked_dataset, first_file
from nsdlib.data.formats.guards import DamagedFile, reading
from nsdlib.data.formats.series import as_mask
from nsdlib.data.nsd.files import read_table

PARTS = {  # names in different releases
    "responses": ("ResponseData.h5", "task-things_voxel-wise-responses.h5"),
    "trials": ("StimulusMetadata.csv", "task-things_stimulus-metadata.csv", "task-things_stimulus-metadata.tsv"),
    "voxels": ("VoxelMetadata.csv", "task-things_voxel-metadata.csv", "task-things_voxel-metadata.tsv"),
}
CEILINGS = {1: "nc_singletrial", 12: "nc_testset"}  # number of repeats averaged: column of the noise ceiling
RESPONSES = "ResponseData/block{}_values"  # as pandas names them
REGIONS = (
    "V1", "V2", "V3", "hV4", "VO1", "VO2", "LO1 (prf)", "LO2 (prf)", "TO1", "TO2", "V3b", "V3a", "IT",
    *(f"{side}{name}" for name in ("EBA", "FFA", "OFA", "STS", "PPA", "RSC", "TOS", "LOC") for side in "lr"),
)  # fmt: skip
BATCH = 2**27  # bytes of responses in memory at once, in addition to the result


def open_things(root, label, *, mask=None):
    """Open THINGS-fMRI's table of a subject, `label` 01 to 03, as a Source; the trials of type test are the test set.

    The tables lie in `root` or its folder betas_csv. `mask` is the brain mask of the release, sub-<label>_space-T1w_brainmask, by
    default in `root`; it defines the grid. Raises a FileNotFoundError for missing files; a ValueError, with what was wanted and
    found, if responses, trials, voxels and mask do not match.
    """
    files = {
        part: first_file(root, [f"{folder}sub-{label}_{name}" for folder in ("", "betas_csv/") for name in names], f"the {part}")
        for part, names in PARTS.items()
    }
    trials, table = _read_trials(files["trials"]), _read(files["voxels"], "voxel_id", "voxel_x", "voxel_y", "voxel_z")
    patterns = [f"{folder}sub-{label}*brainmask.nii*" for folder in ("", "brainmasks/", "*/brainmasks/")]
    path = Path(mask) if mask else first_file(root, patterns, "the brain mask (or give -p mask=FILE)")
    flat, brain, affine = _place(table, path, files["voxels"])
    block, note = _find_responses(files["responses"], len(trials), table)
    order = np.argsort(flat)  # rows of the table in C order of the volume
    labels = sorted(trials["session"].unique())

    def read(number):
        columns = np.flatnonzero(trials["session"] == labels[number])
        return _read_columns(files["responses"], block, columns)[:, order]

    members = {name.partition(" ")[0]: flat[table[name].to_numpy() == 1] for name in REGIONS if name in table}
    named, ceilings = trials.rename(columns={"stimulus": "name"}), {n: name for n, name in CEILINGS.items() if name in table}
    return Source(
        sessions=[(f"{session:02d}", named[named["session"] == session][["run", "name"]]) for session in labels],
        read=read, mask=brain, affine=affine, unit="arbitrary",
        notes=[
            "Betas are in units of z-scored BOLD. Test pictures are of concepts that training has, but for a few.",
            f"Noise ceilings: columns {', '.join(ceilings.values()) or 'none'} of the table of voxels.", note,
        ],
        regions={name: as_mask(voxels, brain.shape) for name, voxels in members.items() if len(voxels)},
        test=tuple(named["name"][named["trial_type"] == "test"].unique()),
        ceilings={n: table[name].to_numpy()[order] for n, name in ceilings.items()},
    )  # fmt: skip


def _read_trials(path):
    """The table of trials, one row per column of the responses."""
    table = _read(path, "session", "run")
    if missing := {"trial_type", "stimulus"} - set(table):
        raise DamagedFile(f"{path}: wanted columns {', '.join(sorted(missing))}, got {', '.join(table)}.")
    if unknown := set(table["trial_type"]) - {"train", "test"}:
        raise DamagedFile(f"{path}: trial_type holds {', '.join(map(str, unknown))}, wanted train and test: drop other trials.")
    return table


def _read(path, *integer_columns):
    """A table, .csv or .tsv, with some columns of whole numbers."""
    return read_table(path, integer_columns, sep="\t" if path.suffix == ".tsv" else ",")


def _place(table, path, source):
    """Flat index of each row of the table of voxels, (n_voxels,) int, the voxels, (X, Y, Z) bool, and the affine."""
    [mask], affine = volumes.read_masks([path])
    places = table[["voxel_x", "voxel_y", "voxel_z"]].to_numpy()
    outside = ((places < 0) | (places >= mask.shape)).any(axis=1)
    flat = np.ravel_multi_index(np.where(outside[:, None], 0, places).T, mask.shape)
    if n_outside := np.count_nonzero(outside | ~mask.flat[flat]):
        raise DamagedFile(
            f"{source}: {n_outside} of {len(table)} voxels lie outside {path}: wanted indices from 0 into that mask. Give the "
            "brain mask of the release of this subject, -p mask=FILE."
        )
    if len(np.unique(flat)) < len(flat):
        raise DamagedFile(f"{source}: several rows are the same voxel: get it again.")
    return flat, as_mask(flat, mask.shape), affine


def _find_responses(path, n_trials, table):
    """Name of the dataset of responses, (n_voxels, n_trials), and a note on whether its rows name the voxels of the table."""
    with reading(path), h5py.File(path, "r") as file:
        names = [RESPONSES.format(k) for k in range(2) if RESPONSES.format(k) in file]
        blocks = {name: checked_dataset(path, file, name, 2) for name in names or [RESPONSES.format(0)]}
        shapes = {name: block.shape for name, block in blocks.items()}
        matching = [name for name, shape in shapes.items() if shape == (len(table), n_trials) and blocks[name].dtype.kind == "f"]
        if len(matching) != 1:
            raise DamagedFile(
                f"{path} holds {shapes}: wanted one of floats with a row for each of {len(table)} voxels and a column for each "
                f"of {n_trials} trials, as the tables beside it have them. Are all three of one subject?"
            )
        ids = [block[:, 0] for block in blocks.values() if block.dtype.kind in "iu" and block.shape == (len(table), 1)]
    if not ids:
        return matching[0], "The responses name no voxels: their rows are taken to be those of the table."
    if not np.array_equal(ids[0], table["voxel_id"]):
        raise DamagedFile(f"{path}: its voxel_id are not those of the table of voxels, in its order: get files of one release.")
    return matching[0], "The responses name the voxels of the table, in its order."


def _read_columns(path, name, columns):
    """Responses in some trials: (n_trials, n_voxels) float32; only the result and one batch are in memory."""
    first, last = columns.min(), columns.max() + 1
    with reading(path), h5py.File(path, "r") as file:
        data = checked_dataset(path, file, name, 2)
        responses, step = np.empty((len(columns), len(data)), np.float32), max(1, BATCH // (8 * int(last - first)))
        for row in range(0, len(data), step):
            responses[:, row : row + step] = data[row : row + step, first:last][:, columns - first].T
    return responses
