"""Generic Object Decoding (Kamitani laboratory): `SubjectN.h5`, a matrix with described columns in bdpy's format."""

import re

import h5py
import numpy as np
import pandas as pd

from nsdlib.data.converted.source import Source, checked_dataset, first_file, own_group
from nsdlib.data.formats.guards import DamagedFile, own_dataset, reading
from nsdlib.data.formats.series import as_mask

TRAIN, TEST, IMAGERY = 1, 2, 3  # values of DataType
TASKS = {"perception": TEST, "imagery": IMAGERY}  # of the trials of the test set
NAMES = {"voxels": ("VoxelData",), "kind": ("DataType",), "run": ("Run",), "picture": ("Label", "stimulus_id")}
NOTES = {
    "perception": "Training pictures were shown once, test pictures 35 times: averages have other noise.",
    "imagery": "A category was imagined, not a picture: the category's test picture stands for it.",
}
GRID_TOLERANCE = 1e-3  # as a fraction of the voxel spacing


def open_god(root, label, *, task="perception"):
    """Open the matrix of a subject, `label` 1 to 5, as a Source: the 50 pictures of the perception test are the test set.

    `task` is "perception" for trials that show the test pictures, or "imagery" for trials in which their categories were
    imagined; the others are left out. All trials form one session, since the file defines none; runs of the test follow those of
    training. Pictures have ImageNet's names, such as n02766534_15976. If voxel coordinates are not on a regular grid, voxels are
    stacked into a block without a place in space, and a note says so. Raises a FileNotFoundError without the file; a ValueError,
    with what was wanted and found, for another task, and for columns that are missing or hold something else.
    """
    if task not in TASKS:
        raise ValueError(f"task {task!r}: wanted {' or '.join(TASKS)}.")
    number = label.lstrip("0")
    path = first_file(root, [f"Subject{number}.h5", f"*/Subject{number}.h5"], "the matrix")
    described, columns = _describe(path)
    data = {name: _read(path, columns[name]) for name in NAMES if name != "voxels"}
    kind, run, picture = (values[:, 0] for values in data.values())
    if unknown := sorted(set(kind.tolist()) - {TRAIN, TEST, IMAGERY}):
        raise DamagedFile(f"{path}: DataType holds {unknown}, wanted 1, 2 and 3: training, test, imagery.")
    if not np.array_equal(run, np.rint(run)):
        raise DamagedFile(f"{path}: Run holds {run[run != np.rint(run)][0]}, wanted the whole number of a run for each trial.")
    run = run.astype(np.int64) + np.where(kind == TRAIN, 0, run[kind == TRAIN].max(initial=0)).astype(np.int64)
    if task == "imagery":
        picture = np.where(kind == IMAGERY, _of_category(path, picture, kind), picture)
    rows = np.flatnonzero((kind == TRAIN) | (kind == TASKS[task]))
    names, is_train = _names(path, picture[rows]), kind[rows] == TRAIN
    train, test = (set(names[is_chosen].tolist()) for is_chosen in (is_train, ~is_train))
    if not train or not test or train & test:
        raise DamagedFile(
            f"{path}: wanted training pictures and other test pictures, got {len(train)} and {len(test)}, of which "
            f"{len(train & test)} are in both."
        )
    of_voxels = {name: values[columns["voxels"]] for name, values in described.items()}
    flat, mask, affine, note = _place(path, [of_voxels.get(f"voxel_{axis}") for axis in "xyz"])
    order = np.argsort(flat)
    regions = {}
    for name, values in of_voxels.items():
        if (match := re.fullmatch(r"ROI_(\w+)", name)) and (values == 1).any():
            regions[match[1]] = as_mask(flat[values == 1], mask.shape)
    return Source(
        sessions=[("all", pd.DataFrame({"run": run[rows], "name": names}))],
        read=lambda _: _read(path, columns["voxels"][order])[rows].astype(np.float32), mask=mask, affine=affine, unit="arbitrary",
        notes=[NOTES[task], note], regions=regions, test=tuple(sorted(test)),
    )  # fmt: skip


def _describe(path):
    """Descriptions of the columns, a dict of key to (n_columns,) float, and the columns of each of `NAMES`."""
    with reading(path), h5py.File(path, "r") as file:
        group = "metaData" if "metaData" in file else "metadata"
        values = checked_dataset(path, file, f"{group}/value", 2)[:]
        keys = own_dataset(path, own_group(path, file, group), "key")[:].ravel().tolist()
        n_columns = _matrix(path, file).shape[1]
    keys = [key.decode() if isinstance(key, bytes) else str(key) for key in keys]
    if values.shape != (len(keys), n_columns):
        raise DamagedFile(f"{path}: the description of its columns has shape {values.shape}, wanted ({len(keys)}, {n_columns}).")
    described, columns = dict(zip(keys, values, strict=True)), {}
    for name, names in NAMES.items():
        matching = [np.flatnonzero(described[key] == 1) for key in names if key in described]
        if not matching or not len(matching[0]) or (name != "voxels" and len(matching[0]) != 1):
            raise DamagedFile(f"{path}: wanted a column {' or '.join(names)}, its columns are {', '.join(keys)}.")
        columns[name] = matching[0]
    return described, columns


def _matrix(path, file):
    """The matrix of an open file, not yet read."""
    return checked_dataset(path, file, "dataSet" if "dataSet" in file else "dataset", 2)


def _read(path, columns):
    """Columns of the matrix, in any order: (n_samples, n_columns) float64."""
    with reading(path), h5py.File(path, "r") as file:
        data = _matrix(path, file)
        if data.dtype != np.float64:
            raise DamagedFile(f"{path} holds {data.dtype}, wanted float64: a smaller type cannot hold the numbers of pictures.")
        first = columns.min()
        return data[:, first : columns.max() + 1][:, columns - first]


def _names(path, numbers):
    """Names of pictures from their numbers, such as n02766534_15976 from 2766534.015976: (n_trials,) array of str."""
    millionths = np.rint(np.nan_to_num(numbers, nan=-1) * 1e6).astype(np.int64)
    wrong = ~(np.abs(millionths / 1e6 - numbers) <= 1e-7) | (millionths < 10**6)
    if wrong.any():
        raise DamagedFile(f"{path}: Label holds {numbers[wrong][0]!r}, wanted numbers of pictures such as 2766534.015976.")
    return np.array([f"n{number // 10**6:08d}_{number % 10**6}" for number in millionths.tolist()])


def _of_category(path, numbers, kind):
    """Number of the test picture of each trial's category, the integer part of `numbers`: (n_trials,) float64, NaN without one.

    Numbers of a picture of the category and of the category alone are treated alike. Only imagery trials need a test picture:
    raises a `DamagedFile` if the category of one of them does not have exactly one.
    """
    category, pictures = np.floor(numbers), np.unique(numbers[kind == TEST])
    for imagined in np.unique(category[kind == IMAGERY]).tolist():
        if (n := np.count_nonzero(np.floor(pictures) == imagined)) != 1:
            raise DamagedFile(f"{path}: imagery trials name category {imagined:.0f}, wanted one test picture in it, got {n}.")
    picture_of = dict(zip(np.floor(pictures).tolist(), pictures.tolist(), strict=True))
    return np.array([picture_of.get(number, np.nan) for number in category.tolist()])


def _place(path, axes):
    """Flat index of each voxel, (n_voxels,) int, voxels with data, (X, Y, Z) bool, affine, (4, 4), and a note."""
    if any(axis is None or not np.isfinite(axis).all() for axis in axes):
        raise DamagedFile(f"{path}: wanted voxel_x, voxel_y and voxel_z of each voxel: get it again.")
    index, affine = [], np.eye(4)
    for number, axis in enumerate(axes):
        values = np.unique(axis)
        step = np.diff(values).min() if len(values) > 1 else 1.0
        index.append((axis - values[0]) / step)
        affine[number, [number, 3]] = step, values[0]
    grid = np.rint(index).astype(np.int64)
    shape = grid.max(axis=1) + 1
    if np.abs(grid - index).max() > GRID_TOLERANCE or len(np.unique(grid, axis=1).T) < grid.shape[1]:
        side = int(np.ceil(grid.shape[1] ** (1 / 3)))
        shape, affine, flat = (side,) * 3, np.eye(4), np.arange(grid.shape[1])
        note = "Coordinates of voxels lie on no regular grid: voxels are stacked into a block, and maps show no brain."
    else:
        flat, note = np.ravel_multi_index(grid, shape), "Coordinates of voxels are taken for millimetres along the axes."
    return flat, as_mask(flat, shape), affine, note
