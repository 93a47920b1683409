"""Writers of NSD's files, for the simulated subject: same names, types, shapes and pitfalls as the real files."""

import warnings
from contextlib import contextmanager

import h5py
import numpy as np

from nsdlib.data.nsd import layout as nsd

CAPTION_LENGTH = 120  # characters


def write_expdesign(path, expdesign):
    """Write the experimental design as MATLAB does: as rows, in the smallest unsigned integers that hold the values."""
    from scipy.io import savemat

    rows = {name: np.atleast_2d(values) for name, values in expdesign.items()}
    rows["basiccnt"] = np.zeros((3, nsd.N_PLANNED_SESSIONS), dtype=int)
    compact = {name: values.astype(np.uint32 if values.max() > 65535 else np.uint16) for name, values in rows.items()}
    savemat(_prepared(path), compact, do_compression=True)


def write_volume(path, values, affine, *, seconds=None):
    """Write an unscaled NIfTI volume or, given the `seconds` between its volumes, a series."""
    import nibabel

    image = nibabel.Nifti1Image(values, affine)
    image.set_sform(affine, code=1)
    image.set_qform(None, code=0)
    if seconds:
        image.header["pixdim"][4] = seconds
    nibabel.save(image, _prepared(path))


def write_betas(paths, betas, mask, affine):
    """Write the betas of a session x 300 in both of NSD's forms, to the `paths` "hdf5" and "nii.gz".

    `betas`, (750, n_voxels) float32, are percent signal change of the voxels of `mask`, in C order. Values beyond 109 %, the
    range of int16, are clipped with a warning.
    """
    scaled, limits = np.rint(nsd.BETA_SCALE * betas), np.iinfo(np.int16)
    if n_clipped := np.count_nonzero((scaled < limits.min) | (scaled > limits.max)):
        warnings.warn(f"{n_clipped} betas lie beyond 109 percent signal change, the range of the file: clipped.", stacklevel=2)
    scaled = np.clip(scaled, limits.min, limits.max).astype(np.int16)
    volume = np.zeros((*mask.shape, len(scaled)), dtype=np.int16, order="F")
    volume[mask] = scaled.T
    write_volume(paths["nii.gz"], volume, affine, seconds=nsd.TR)
    with h5py.File(_prepared(paths["hdf5"]), "w") as file:
        shape = volume.shape[::-1]  # (n_trials, Z, Y, X)
        data = file.create_dataset("betas", shape, dtype=np.int16, chunks=(len(scaled), 1, 1, 1))
        for (x, y, z), column in zip(np.argwhere(mask), scaled.T, strict=True):
            data[:, z, y, x] = column  # chunks outside the mask are never stored, and read as 0


def write_design(path, rows, image_ids):
    """Write the onsets of a run: 225 rows without a header, the 1-based image id in the row of an onset, else 0."""
    column = np.zeros(nsd.N_DESIGN_ROWS, dtype=int)
    column[rows] = image_ids + 1
    np.savetxt(_prepared(path), column, fmt="%d")


def write_roi_names(path, labels):
    """Write the label names of a region volume, in the format of FreeSurfer's tables."""
    _prepared(path).write_text("".join(f"{i} {label}\n" for i, label in enumerate(["Unknown", *labels])))


@contextmanager
def stimulus_files(layout):
    """Open the image and caption files at full size; yields a function (image_id, image, captions) that fills a row.

    Rows that are never filled take no disk space.
    """
    captions = np.lib.format.open_memmap(
        _prepared(layout.captions), mode="w+", dtype=f"<U{CAPTION_LENGTH}", shape=(nsd.N_STIMULI, 5)
    )
    side = (nsd.IMAGE_SIZE, nsd.IMAGE_SIZE, 3)
    with h5py.File(_prepared(layout.stimuli), "w") as file:
        brick = file.create_dataset(
            "imgBrick", (nsd.N_STIMULI, *side), dtype=np.uint8, chunks=(1, *side), compression="gzip", compression_opts=1
        )

        def fill(image_id, image, texts):
            brick[image_id] = image
            captions[image_id] = texts

        yield fill
    captions.flush()


def _prepared(path):
    """Return `path` after creating its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
