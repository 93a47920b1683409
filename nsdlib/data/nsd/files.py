"""Readers of single NSD files: each takes a path, checks that the file is what it should be, and returns arrays.

Files come from elsewhere, so none of their content is trusted (`nsdlib.data.formats.guards`).
"""

import gzip
import math
import warnings
from contextlib import contextmanager

import numpy as np

from nsdlib.data.formats import guards
from nsdlib.data.formats.guards import DamagedFile, check_shape, damaged, reading
from nsdlib.data.nsd import layout as nsd

MAX_SIDE = 256  # voxels along a side of a volume; NSD's own have at most 113 at 1.8 mm
MAX_HEADER = 2**20  # bytes of a NIfTI file before its values
HEADER = 348  # bytes of a NIfTI header without extensions
MAX_DESIGN = 2**24  # bytes of the experimental design, uncompressed; NSD's own has about two million


def read_expdesign(path):
    """Read the experimental design: a dict of str to int64 arrays; ids count from 1, as in the file.

    masterordering (30000,), subjectim (8, 10000), sharedix (1000,) and stimpattern (40, 12, 75).
    """
    from scipy.io import loadmat, whosmat

    wanted = {  # shape, least and largest value
        "masterordering": ((1, nsd.N_PLANNED_TRIALS), 1, nsd.N_SUBJECT_IMAGES),
        "subjectim": ((nsd.N_SUBJECTS, nsd.N_SUBJECT_IMAGES), 1, nsd.N_STIMULI),
        "sharedix": ((1, nsd.N_SHARED_IMAGES), 1, nsd.N_STIMULI),
        "stimpattern": ((nsd.N_PLANNED_SESSIONS, nsd.N_TASK_RUNS, nsd.N_SLOTS), 0, 1),
    }
    with reading(path):
        guards.check_unpacked_size(path, MAX_DESIGN)
        shapes_in_file = [(name, shape if kind in guards.MATLAB_NUMBERS else kind) for name, shape, kind in whosmat(path)]
        for name, (shape, *_) in wanted.items():
            shapes = [found for other, found in shapes_in_file if other == name]
            check_shape(f"{name} in {path}", shapes[0] if len(shapes) == 1 else None, shape)
        raw = loadmat(path, variable_names=list(wanted))
        arrays = {}
        for name, (_, low, high) in wanted.items():
            # MATLAB stores small integers; in uint16, 1 - 2 would be 65535
            arrays[name] = raw[name].astype(np.int64) if ((raw[name] >= low) & (raw[name] <= high)).all() else None
            if arrays[name] is None or (arrays[name] != raw[name]).any():
                raise damaged(path, f"must hold whole numbers from {low} to {high} in {name}")
    return arrays | {name: arrays[name][0] for name in ("masterordering", "sharedix")}


def read_images(path, image_ids):
    """Read images by 0-based id, in any order, repeats allowed: (n_images, 425, 425, 3) uint8."""
    image_ids = _checked_ids(image_ids)
    images = np.empty((len(image_ids), nsd.IMAGE_SIZE, nsd.IMAGE_SIZE, 3), dtype=np.uint8)
    with _dataset(path, "imgBrick", (nsd.N_STIMULI, *images.shape[1:]), np.uint8) as brick:
        for image_id in np.unique(image_ids):  # each image once, in file order
            images[image_ids == image_id] = brick[image_id]
    black = image_ids[~images.any(axis=(1, 2, 3))]
    if black.size:
        raise ValueError(
            f"image_ids: image {black[0]} is black in {path}. A simulated subject's file holds only the images that were "
            "shown: take ids from `NSDSubject.image_ids`."
        )
    return images


def read_captions(path, image_ids):
    """Read the captions of images by 0-based id: a list of non-blank texts for each."""
    image_ids = _checked_ids(image_ids)
    with reading(path), path.open("rb") as file:
        guards.npy_header(path, file)
        # np.load would accept other formats, too
        table = np.lib.format.open_memmap(path, mode="r", max_header_size=guards.MAX_NPY_HEADER)
        check_shape(path, table.shape, (nsd.N_STIMULI, 5))
        if table.dtype.kind != "U":
            raise damaged(path, f"must hold texts, but it holds {table.dtype}")
        captions = [[str(text) for text in table[image_id] if text] for image_id in image_ids]
    for image_id, texts in zip(image_ids, captions, strict=True):
        if not texts:
            raise ValueError(f"image_ids: image {image_id} has no caption in {path}; was it ever shown?")
    return captions


def read_table(path, columns, **options):
    """Read a table with pandas' `read_csv` and its options, and check that its `columns` exist and hold whole numbers."""
    import pandas as pd

    with reading(path), warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # a row has more values than there are columns
        table = pd.read_csv(path, index_col=False, low_memory=False, **options)
        for column in columns:
            if column not in table or table[column].dtype.kind not in "iub":
                raise damaged(path, f"must hold whole numbers in a column {column!r}")
    return table


def read_design(path, n_trials):
    """Read the onsets of a task run with `n_trials` trials: (225,) int64, 1-based image id at an onset, else 0."""
    with reading(path):
        rows = np.array(path.read_text().split(), dtype=np.int64)  # there is no header
    check_shape(path, rows.shape, (nsd.N_DESIGN_ROWS,))
    if (n_found := np.count_nonzero(rows)) != n_trials:
        raise DamagedFile(f"{path} holds {n_found} trials, this task run has {n_trials}: is it a resting run's file?")
    if rows.min() < 0 or rows.max() > nsd.N_STIMULI:
        raise damaged(path, f"must hold image ids from 1 to {nsd.N_STIMULI}")
    return rows


def read_betas(hdf5, mask, n_trials=nsd.N_SESSION_TRIALS):
    """Read betas of the voxels of `mask` from HDF5, or NIfTI if only that exists: (n_trials, n_voxels) float32, in percent."""
    nifti = hdf5.with_suffix(".nii.gz")
    read, path = (read_beta_volumes, nifti) if nifti.is_file() and not hdf5.is_file() else (read_beta_columns, hdf5)
    return read(path, mask, n_trials).astype(np.float32) / np.float32(nsd.BETA_SCALE)


def read_beta_columns(path, mask, n_trials=nsd.N_SESSION_TRIALS):
    """Read betas x 300 of the voxels of `mask` from HDF5, one chunk per voxel: (n_trials, n_voxels) int16."""
    shape = (n_trials, *mask.shape[::-1])  # (n_trials, Z, Y, X)
    with _dataset(path, "betas", shape, np.int16) as betas:
        columns = [betas[:, z, y, x] for x, y, z in np.argwhere(mask)]
    return np.array(columns, dtype=np.int16).reshape(len(columns), n_trials).T


def read_beta_volumes(path, mask, n_trials=nsd.N_SESSION_TRIALS):
    """Read betas x 300 of the voxels of `mask` from NIfTI: (n_trials, n_voxels) int16; betas in percent are refused."""
    with _nifti(path) as (header, _):
        kind, scale = header.get_data_dtype().newbyteorder("="), header.get_slope_inter()
        if kind != np.int16 or scale not in ((None, None), (1, 0)):
            raise DamagedFile(
                f"{path} holds {kind} with a slope of {scale[0] or 1:g}, wanted int16 without one, 300 times the percent signal "
                "change. If these are percent already, write 300 times them, rounded, as int16."
            )
    return read_masked(path, mask, n_trials)


def read_masked(path, mask, n_last):
    """Read the voxels of `mask` from a four-dimensional NIfTI file: (n_last, n_voxels), in the file's own type."""
    voxels = np.nonzero(mask)  # in C order
    with _nifti(path) as (header, file):
        check_shape(path, header.get_data_shape(), (*mask.shape, n_last))
        columns = np.stack([volume[voxels] for volume in _volumes(path, header, file)], axis=1).T
    if columns.dtype.kind == "f" and not (np.abs(columns) <= np.finfo(np.float32).max).all():
        raise damaged(path, "must hold numbers, but it holds infinite ones or NaN")
    return columns


def read_volume(path):
    """Read a NIfTI volume: (X, Y, Z), in the file's own type."""
    with _nifti(path) as (header, file):
        shape = header.get_data_shape()
        if len(shape) != 3 or not all(1 <= side <= MAX_SIDE for side in shape):
            raise damaged(path, f"has shape {shape}, wanted three sides of 1 to {MAX_SIDE} voxels")
        [volume] = _volumes(path, header, file)
    return volume.copy()


def read_labels(path, brain=None):
    """Read a NIfTI volume of labels: (X, Y, Z) int16; NaN outside the mask `brain`, or anywhere without a mask, becomes -1."""
    labels = read_volume(path)
    outside = np.ones(labels.shape, bool) if brain is None else ~brain
    check_shape(path, labels.shape, outside.shape)
    if labels.dtype.kind == "f":
        labels[np.isnan(labels) & outside] = -1
    wrong = labels[~((labels == np.rint(labels)) & (np.abs(labels) <= np.iinfo(np.int16).max))]
    if wrong.size:
        raise DamagedFile(
            f"{path} must hold labels, small whole numbers (NaN only outside the brain); {wrong.size} voxels hold others, such "
            f"as {wrong[0]:g}. Interpolation makes them: resample labels to the nearest neighbour, or get the file again."
        )
    return labels.astype(np.int16)


def read_affine(path):
    """Read the affine of a NIfTI file, from voxel indices to millimetres: (4, 4)."""
    with _nifti(path) as (header, _):
        affine = header.get_best_affine()
    if not np.isfinite(affine).all():
        raise damaged(path, "has an affine that is not finite")
    return affine


def _checked_ids(image_ids):
    """Image ids as int64, after checking that all are among the 73,000."""
    image_ids = np.asarray(image_ids, dtype=np.int64)
    if image_ids.ndim != 1:
        raise ValueError(f"image_ids must have shape (n_images,), got {image_ids.shape}.")
    wrong = image_ids[(image_ids < 0) | (image_ids >= nsd.N_STIMULI)]
    if wrong.size:
        raise ValueError(f"image_ids holds {wrong[0]}: ids count from 0 to {nsd.N_STIMULI - 1}.")
    return image_ids


@contextmanager
def _dataset(path, name, shape, dtype):
    """Open a dataset of an HDF5 file after checking its shape, its type, and that it lies in this file."""
    import h5py

    with reading(path), h5py.File(path, "r") as file:
        data = guards.own_dataset(path, file, name)
        check_shape(f"{name} in {path}", data.shape, shape)
        if data.dtype.newbyteorder("=") != dtype:
            raise damaged(path, f"must hold {np.dtype(dtype)} in {name}, but it holds {data.dtype}")
        yield data


@contextmanager
def _nifti(path):
    """Header of a gzipped NIfTI file, and the decompressed file positioned after the header."""
    import nibabel

    with reading(path), gzip.open(path) as file:
        yield nibabel.Nifti1Header(file.read(HEADER)), file


def _volumes(path, header, file):
    """Yield the volumes, (X, Y, Z), of an open NIfTI file one by one; its shape must have been checked."""
    from nibabel.volumeutils import apply_read_scaling

    dtype, first, shape = header.get_data_dtype(), header.get_data_offset(), header.get_data_shape()
    if dtype.kind not in "iuf" or dtype.itemsize > 8 or not HEADER <= first <= MAX_HEADER:
        raise damaged(path, f"has values of type {dtype} from byte {first} on")
    n_bytes, n_volumes = math.prod(shape[:3]) * dtype.itemsize, math.prod(shape[3:])
    file.read(first - HEADER)
    for n_left in reversed(range(n_volumes)):
        raw = file.read(n_bytes)
        if len(raw) < n_bytes or (not n_left and file.read(1)):  # gzip verifies its checksum at the end
            raise damaged(path, f"holds more or less than the {n_volumes} volumes that it promises")
        volume = np.frombuffer(raw, dtype).reshape(shape[:3], order="F")
        with np.errstate(all="raise"):
            volume = apply_read_scaling(volume, *header.get_slope_inter())
        yield volume
