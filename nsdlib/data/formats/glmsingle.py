"""Readers of GLMsingle 1.2's result files: Python's (`.npy`, `.hdf5`) and MATLAB's (`.mat`, version 7.3 or 5).

Axes and indices follow Python's convention, whoever wrote the file. Trials are the last axis in Python's files, and the first in
MATLAB's as h5py reads them; conditions and HRFs count from 0 here, from 1 in MATLAB's files.
"""

from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np

from nsdlib.data.formats.guards import check_unpacked_size, damaged, own_dataset, reading
from nsdlib.data.formats.pickled import read_dictionary

TYPES = {"D": "TYPED_FITHRF_GLMDENOISE_RR", "C": "TYPEC_FITHRF_GLMDENOISE", "B": "TYPEB_FITHRF"}  # best first
DESIGN = "DESIGNINFO"
ENDINGS = ("hdf5", "npy", "mat")
ONE_BASED = ("HRFindex", "HRFindexrun", "stimorder")  # 1-based in MATLAB
BETAS = {"hdf5": "betasmd", "npy": "betasmd", "mat": "modelmd"}
MATLAB_HDF5 = b"MATLAB 7.3 MAT-file"  # first bytes
MAX_MATLAB_5 = 2**31  # bytes of an array that the format can hold
BATCH = 2**26  # bytes of betas in memory at once, in addition to the result


class GLMsingleResults:
    """Results in the output folder of one call of GLMsingle: the best available of types D, C and B.

    `kind` is "D", "C" or "B"; `path` the file of that type; `design_file` the DESIGNINFO file or None; `n_trials` an int; `shape`
    the volume's shape, (X, Y, Z), or (n_voxels, 1, 1) if GLMsingle was given a matrix of voxels. Raises a FileNotFoundError if
    the folder holds no single-trial results; a `DamagedFile` for an invalid file.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        candidates = {self.folder / f"{name}.{ending}": kind for kind, name in TYPES.items() for ending in ENDINGS}
        self.path = next(filter(Path.is_file, candidates), None)
        if self.path is None:
            names = ", ".join(f"{name}.npy" for name in TYPES.values())
            wanted = "the outputdir of a call of GLMsingle with wantfileoutputs=[1, 1, 1, 1]"
            raise FileNotFoundError(f"{self.folder} holds none of {names} (or .hdf5, .mat): wanted {wanted}.")
        self.kind = candidates[self.path]
        self.ending = self.path.suffix[1:]
        designs = [self.folder / f"{DESIGN}.{ending}" for ending in ("npy", "mat")]
        self.design_file = next(filter(Path.is_file, designs), None)
        with _opened(self.path) as (arrays, trials_first):
            shape = np.shape(arrays[BETAS[self.ending]])
            if len(shape) != 4:
                raise damaged(self.path, f"has betas of shape {shape}, wanted X, Y, Z and trials")
            *volume, self.n_trials = shape[::-1] if trials_first else shape
        self.shape = tuple(volume)

    def __repr__(self):
        return f"GLMsingleResults({self.path.name}: type {self.kind}, shape {self.shape}, {self.n_trials} trials)"

    def map(self, name):
        """Read a map by GLMsingle's name, such as "R2" or "HRFindex": (X, Y, Z) or (X, Y, Z, any); None if it is missing."""
        with _opened(self.path) as (arrays, trials_first):
            if name not in arrays:
                return None
            values = np.asarray(arrays[name])
        values = values.T if trials_first else values
        if values.shape[:3] != self.shape:
            raise damaged(self.path, f"has {name} of shape {values.shape}, wanted {self.shape} and no more than one other axis")
        return values.astype(np.int64) - 1 if name in ONE_BASED and self.ending == "mat" else values

    def betas(self, index):
        """Read betas of some voxels, all trials in temporal order: (n_trials, n_voxels) float32, NaN where missing.

        `index`, (n_voxels,) int, is flat in C order of `shape`. From HDF5, only the result and one batch are in memory.
        """
        index = np.asarray(index)
        betas = np.empty((self.n_trials, len(index)), np.float32)
        with _opened(self.path) as (arrays, trials_first):
            data = arrays[BETAS[self.ending]]
            if trials_first:
                for trial in range(self.n_trials):
                    betas[trial] = data[trial].T.ravel()[index]
                return betas
            slab_size = int(np.prod(self.shape[1:]))  # voxels
            step = max(1, BATCH // (4 * slab_size * self.n_trials))
            for x in range(0, self.shape[0], step):
                in_slabs = (index >= x * slab_size) & (index < (x + step) * slab_size)
                if in_slabs.any():
                    slabs = np.asarray(data[x : x + step]).reshape(-1, self.n_trials)
                    betas[:, in_slabs] = slabs[index[in_slabs] - x * slab_size].T
        return betas

    @cached_property
    def design(self):
        """Trials according to `DESIGNINFO`, in temporal order: a dict; raises a FileNotFoundError without this file.

        "condition": (n_trials,) int64 from 0, the column of the user's design. "n_conditions": number of columns, inf if the file
        does not state it. "run": (n_trials,) int64 from 1. "onset": (n_trials,) seconds in the run, NaN for MATLAB's files. "tr"
        and "duration": seconds. "unit": "percent signal change" or "scanner units".
        """
        if (path := self.design_file) is None:
            advice = "get it, or give a table with one row per trial (columns run and image)"
            raise FileNotFoundError(f"{self.folder} holds no {DESIGN}.npy or .mat, which says what each trial showed: {advice}.")
        needed = ("stimorder", "numtrialrun", "tr", "stimdur")
        with _opened(path) as (arrays, _):
            if missing := [name for name in needed if name not in arrays]:
                raise damaged(path, f"lacks {', '.join(missing)}")
            order, n_trials, tr, duration = (np.ravel(arrays[name]) for name in needed)
            counts = np.ravel(arrays["condcounts"]) if "condcounts" in arrays else None
            is_percent = _option(arrays, "wantpercentbold", 1)
            rows = [np.flatnonzero(np.any(run, axis=1)) for run in arrays["design"]] if path.suffix == ".npy" else []
        condition = order.astype(np.int64) - (path.suffix == ".mat")
        if len(condition) != self.n_trials or n_trials.sum() != self.n_trials:
            raise damaged(path, f"describes {len(condition)} trials, and {self.path.name} has betas of {self.n_trials}")
        has_counts = counts is not None
        if condition.min() < 0 or (has_counts and not np.array_equal(np.bincount(condition, minlength=len(counts)), counts)):
            raise damaged(path, "numbers its conditions differently than GLMsingle does")
        run = np.repeat(np.arange(1, len(n_trials) + 1), n_trials.astype(np.int64))
        unit = "percent signal change" if is_percent else "scanner units"
        onset = float(tr[0]) * np.concatenate(rows) if sum(map(len, rows)) == len(run) else np.full(len(run), np.nan)
        design = {"condition": condition, "n_conditions": len(counts) if has_counts else np.inf, "run": run, "onset": onset}
        return design | {"unit": unit, "tr": float(tr[0]), "duration": float(duration[0])}


class _HDF5:
    """Datasets of an HDF5 file by name, and its numeric attributes."""

    def __init__(self, path, file):
        self.path, self.file = path, file

    def __contains__(self, name):
        return name in self.file.attrs or (name in self.file and not self.file[name].attrs.get("MATLAB_empty", 0))

    def __getitem__(self, name):
        return self.file.attrs[name] if name in self.file.attrs else own_dataset(self.path, self.file, name)


@contextmanager
def _opened(path):
    """Open a file of results: yields (arrays by GLMsingle's names, whether their axes are reversed, as in MATLAB's HDF5)."""
    import h5py
    from scipy.io import loadmat

    with reading(path):
        with path.open("rb") as file:
            is_hdf5 = path.suffix == ".hdf5" or file.read(len(MATLAB_HDF5)) == MATLAB_HDF5
        if is_hdf5:
            with h5py.File(path, "r") as file:
                yield _HDF5(path, file), path.suffix == ".mat"
        elif path.suffix == ".mat":
            check_unpacked_size(path, MAX_MATLAB_5)
            yield loadmat(path, chars_as_strings=True), False
        else:
            yield read_dictionary(path), False


def _option(arrays, name, default):
    """A numeric option that GLMsingle was given."""
    if "params" in arrays:  # Python's
        return arrays["params"].get(name, default)
    values = []
    if isinstance(arrays, _HDF5):
        if (path := f"opt/{name}") in arrays.file:
            value = own_dataset(arrays.path, arrays.file, path)
            values = [] if value.attrs.get("MATLAB_empty", 0) else np.ravel(value)
    elif (options := arrays.get("opt")) is not None and name in (options.dtype.names or ()):
        values = np.ravel(options[name][0, 0])
    return values[0] if len(values) else default  # to GLMsingle, [] means the default
