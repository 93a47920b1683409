"""Readers of single NSD files: each takes a path and gives arrays, after checking that the file is what it should be."""

import numpy as np

from nsdlib import nsd_layout as nsd


def read_expdesign(path):
    """Read the experiment's design.

    Returns
    -------
    dict of str to ndarray of int64
        masterordering (30000,), subjectim (8, 10000), sharedix (1000,) and stimpattern (40, 12, 75); the ids count from
        1, as in the file.
    """
    from scipy.io import loadmat

    raw = loadmat(path)
    shapes = {
        "masterordering": (1, nsd.N_PLANNED_TRIALS),
        "subjectim": (nsd.N_SUBJECTS, nsd.N_SUBJECT_IMAGES),
        "sharedix": (1, nsd.N_SHARED_IMAGES),
        "stimpattern": (nsd.N_PLANNED_SESSIONS, nsd.N_TASK_RUNS, nsd.N_SLOTS),
    }
    for name, shape in shapes.items():
        check_shape(f"{name} in {path.name}", raw[name].shape if name in raw else None, shape)
    # MATLAB stores small integers; in uint16, 1 - 2 would be 65535
    arrays = {name: raw[name].astype(np.int64) for name in shapes}
    return arrays | {name: arrays[name][0] for name in ("masterordering", "sharedix")}


def read_images(path, image_ids):
    """Read images by 0-based id, in any order, repeats allowed: (n_images, 425, 425, 3) uint8."""
    import h5py

    image_ids = _checked_ids(image_ids)
    images = np.empty((len(image_ids), nsd.IMAGE_SIZE, nsd.IMAGE_SIZE, 3), dtype=np.uint8)
    with h5py.File(path, "r") as file:
        brick = file["imgBrick"]
        check_shape(f"imgBrick in {path.name}", brick.shape, (nsd.N_STIMULI, *images.shape[1:]))
        for image_id in np.unique(image_ids):  # each once, in the order of the file
            image = brick[image_id]
            if not image.any():
                raise ValueError(
                    f"image_ids: image {image_id} is black in {path.name}. A simulated subject's file holds only the images "
                    "that were shown: take ids from `NSDSubject.image_ids`."
                )
            images[image_ids == image_id] = image
    return images


def read_captions(path, image_ids):
    """Read the captions of images by 0-based id: a list of non-blank texts for each."""
    table = np.load(path, mmap_mode="r")
    check_shape(path.name, table.shape, (nsd.N_STIMULI, 5))
    captions = []
    for image_id in _checked_ids(image_ids):
        captions.append([str(text) for text in table[image_id] if text])
        if not captions[-1]:
            raise ValueError(f"image_ids: image {image_id} has no caption in {path.name}; was it ever shown?")
    return captions


def read_design(path, n_trials):
    """Read the onsets of a task run with `n_trials` trials: (225,) int64, 1-based image id at an onset, else 0."""
    rows = np.loadtxt(path, dtype=np.int64, ndmin=1)  # there is no header
    check_shape(path.name, rows.shape, (nsd.N_DESIGN_ROWS,))
    if np.count_nonzero(rows) != n_trials:
        raise ValueError(
            f"{path} holds {np.count_nonzero(rows)} trials, this task run has {n_trials}: is it a resting run's file?"
        )
    return rows


def read_beta_columns(path, mask):
    """Read betas x 300 of the voxels of `mask` from HDF5, one chunk each: (750, n_voxels) int16."""
    import h5py

    with h5py.File(path, "r") as file:
        betas = file["betas"]  # (n_trials, Z, Y, X)
        check_shape(f"betas in {path.name}", betas.shape, (nsd.N_SESSION_TRIALS, *mask.shape[::-1]))
        columns = [betas[:, z, y, x] for x, y, z in np.argwhere(mask)]
    return np.array(columns, dtype=np.int16).reshape(len(columns), nsd.N_SESSION_TRIALS).T


def read_masked(path, mask, n_last):
    """Read the voxels of `mask` from a four-dimensional NIfTI file: (n_last, n_voxels), in the file's own type."""
    import nibabel

    image = nibabel.load(path)
    check_shape(path.name, image.shape, (*mask.shape, n_last))
    return np.asanyarray(image.dataobj)[mask].T  # get_fdata() would make 8 GB of a real session's betas


def check_shape(name, shape, wanted):
    """Complain when something does not have the shape that it must have."""
    if shape != wanted:
        raise ValueError(f"{name} has shape {shape}, wanted {wanted}: it belongs to another subject or is not whole.")


def _checked_ids(image_ids):
    """Image ids as int64, all among the 73,000."""
    image_ids = np.asarray(image_ids, dtype=np.int64)
    if image_ids.ndim != 1:
        raise ValueError(f"image_ids must have shape (n_images,), got {image_ids.shape}.")
    wrong = image_ids[(image_ids < 0) | (image_ids >= nsd.N_STIMULI)]
    if wrong.size:
        raise ValueError(f"image_ids holds {wrong[0]}: ids count from 0 to {nsd.N_STIMULI - 1}.")
    return image_ids
