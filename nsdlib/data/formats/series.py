"""Writer of a session's betas as a BIDS derivative with LAION-fMRI's names: a series of maps, and a table of its trials."""

import gzip
import json
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np

OFFSET = 352  # bytes before the values of a NIfTI file
COLUMNS = {
    "session": "label of the session",
    "run": "task run within the session, from 1",
    "beta_index": "volume of the map that holds the trial, from 0",
    "label": "name of the picture that was shown",
}


def write_session(folder, name, betas, trials, grid, *, about, unit):
    """Write the betas of a session into a folder (Path), created if missing: the Path of the series.

    `betas` are (n_trials, n_voxels) float, `trials` is a dict of the columns session, run and label, `grid` the mask, (X, Y, Z)
    bool, of these voxels in C order, and the affine, (4, 4). `name` is the file names' prefix; `about` and `unit` describe the
    betas.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_stat-effect_desc-SingletrialBetas_statmap.nii.gz"
    write_maps(path, betas, *grid)
    describe(path, about, unit)
    table = {"session": trials["session"], "run": trials["run"], "beta_index": range(len(betas)), "label": trials["label"]}
    write_table(folder / f"{name}_desc-SingletrialBetas_trials.tsv", table)
    columns = {column: {"Description": text} for column, text in COLUMNS.items()}
    (folder / f"{name}_desc-SingletrialBetas_trials.json").write_text(as_json(columns))
    return path


def as_mask(voxels, shape) -> np.ndarray:
    """Mark voxels, given as flat C-order indices, in a volume of this shape: (X, Y, Z) bool."""
    mask = np.zeros(shape, dtype=bool)
    mask.flat[voxels] = True
    return mask


def write_maps(path, rows, mask, affine):
    """Write rows of values of a mask's voxels, in C order, as a gzipped NIfTI series; a single row as a volume."""
    import nibabel

    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape((*mask.shape, len(rows)) if len(rows) > 1 else mask.shape)
    header.set_sform(affine, code=1)
    header["magic"], header["vox_offset"] = b"n+1", OFFSET
    header["pixdim"][1:4] = nibabel.affines.voxel_sizes(affine)
    with gzip.open(path, "wb", compresslevel=1) as file:
        header.write_to(file)
        file.write(bytes(OFFSET - file.tell()))
        for row in rows:
            volume = np.zeros(mask.shape, np.float32)
            volume[mask] = row
            file.write(volume.tobytes(order="F"))


def describe(path, what, unit):
    """Write the sidecar of a map."""
    path.with_name(path.name.replace(".nii.gz", ".json")).write_text(as_json({"Description": what, "Units": unit}))


def as_json(content):
    """Text of a JSON file."""
    return json.dumps(content, indent=2) + "\n"


def write_table(path, columns):
    """Write a dict of columns as a tab-separated table; None becomes n/a."""
    import pandas as pd

    table = pd.DataFrame({name: pd.Series(values) for name, values in columns.items()})
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")


def refuse_existing(paths):
    """Raise a FileExistsError if one of the paths exists."""
    if existing := [path for path in paths if path.exists()]:
        raise FileExistsError(f"{existing[0]} is already there, and is not overwritten: name another folder, or remove it.")


@contextmanager
def atomic_folder(folder):
    """A temporary folder inside `folder`, for output that is renamed when complete; removed if it is not renamed."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder, ignore_cleanup_errors=True) as partial:
        Path(partial).chmod(0o755)
        yield Path(partial)
