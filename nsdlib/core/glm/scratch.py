"""Batches of voxels, and intermediate arrays in memory or in a folder, from which an interrupted fit resumes."""

import math
import shutil
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from tqdm import tqdm

from nsdlib.core.device import to_tensor
from nsdlib.core.files import FULL, preallocate

SUFFIXES = (".npy", ".partial", ".finished")  # of the files in a scratch folder, besides `inputs`
CPU_BATCH = 2000  # voxels
GPU_SHARE = 0.25  # fraction of a GPU's free memory for the data, and again for a batch
WORKING = 64  # bytes per voxel and volume during a fit: eight series in float64


class ScratchFull(OSError):
    """There is no disk space for an intermediate array."""


class Scratch:
    """Intermediate arrays, and a record of each step's finished batches; in memory if there is no folder.

    `inputs` identifies the input of the fit: a scratch folder of other input is emptied first. Raises ValueError for a folder
    that is not empty and not a scratch folder.
    """

    def __init__(self, folder=None, inputs=""):
        self.folder, self._arrays = folder, []
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        marker, files = folder / "inputs", list(folder.iterdir())
        if files and marker not in files:
            raise ValueError(
                f"scratch={str(folder)!r}: wanted a new or empty folder, or that of an interrupted fit; this one holds "
                f"{len(files)} files that no fit wrote. Nothing was changed: give another folder."
            )
        if not files or marker.read_text() != inputs:
            marker.write_text("")  # if this is interrupted, the folder matches no input
            for path in files:
                if path.suffix in SUFFIXES:
                    path.unlink()
            marker.write_text(inputs)

    def array(self, name, shape, dtype):
        """Return an array to fill: from an interrupted fit if there is one, else uninitialised.

        In a folder, the last axis (voxels) varies slowest, so that each batch writes only its own pages of the file. Disk space
        for the whole file is reserved at once, because a disk that fills up later would kill the process (memory map). Raises
        ScratchFull when there is no space; finished batches are kept.
        """
        if self.folder is None:
            return np.empty(shape, dtype)
        path = self.folder / f"{name}.npy"
        if not path.is_file():
            partial = path.with_suffix(".partial")
            try:
                np.lib.format.open_memmap(partial, mode="w+", dtype=dtype, shape=shape, fortran_order=True).flush()
                preallocate(partial, partial.stat().st_size)
            except OSError as error:
                partial.unlink(missing_ok=True)
                if error.errno not in FULL:
                    raise
                needed, free = np.dtype(dtype).itemsize * math.prod(shape), shutil.disk_usage(self.folder).free
                raise ScratchFull(
                    f"There is no room for the intermediate array {name!r}: it takes {needed:,} bytes, and {free:,} are free in "
                    f"{self.folder}. Free disk space, raise the quota or limit, or set another folder as `store` in "
                    "params/_common.yaml; then run the same command again to resume."
                ) from error
            partial.rename(path)
        self._arrays.append(np.lib.format.open_memmap(path, mode="r+"))
        return self._arrays[-1]

    def finished(self, step):
        """Return the numbers of the batches of a step that are complete."""
        if self.folder is None or not (journal := self._journal(step)).is_file():
            return set()
        return {int(line) for line in journal.read_text().splitlines(keepends=True) if line.endswith("\n")}

    def finish(self, step, batch):
        """Record that a batch is complete, after its arrays have reached the disk."""
        for array in self._arrays:
            array.flush()
        if self.folder is not None:
            with self._journal(step).open("a") as file:
                file.write(f"{batch}\n")

    def _journal(self, step):
        return self.folder / f"{step.replace(' ', '_')}.finished"


@dataclass(frozen=True, kw_only=True)
class Voxels:
    """The data, one (n_volumes, n_voxels) array per run, which are processed in batches of voxels on a device.

    `voxel_batch` and `progress` are those of `GLMOptions`.
    """

    data: list
    scratch: Scratch
    device: torch.device
    voxel_batch: int | None
    progress: bool

    @property
    def n_voxels(self):
        """Number of voxels."""
        return self.data[0].shape[1]

    @cached_property
    def batch(self):
        """Number of voxels fitted at once."""
        if self.voxel_batch or self.device.type == "cpu":
            return self.voxel_batch or CPU_BATCH
        return max(1, int(GPU_SHARE * self._free / (WORKING * sum(map(len, self.data)))))

    @cached_property
    def series(self):
        """The BOLD series that batches are taken from: on the GPU if all of it fits."""
        if self.device.type == "cpu" or sum(run.nbytes for run in self.data) > GPU_SHARE * self._free:
            return self.data
        return self.send(self.data)

    @cached_property
    def _free(self):
        return torch.cuda.mem_get_info(self.device)[0]

    def send(self, arrays):
        """Move a list of arrays or tensors to the device."""
        return [to_tensor(array, self.device) for array in arrays]

    def arrays(self, **rows):
        """Return float32 scratch arrays by name, (rows, n_voxels), or (n_voxels,) where rows are None."""
        shapes = {name: (self.n_voxels,) if n is None else (n, self.n_voxels) for name, n in rows.items()}
        return {name: self.scratch.array(name, shape, np.float32) for name, shape in shapes.items()}

    def batches(self, label, *, resumable=False):
        """Yield slices of at most `batch` voxels, with a progress bar; a resumable step skips its finished batches."""
        step = f"{label} by {self.batch}"
        finished = self.scratch.finished(step) if resumable else set()
        hidden = {} if self.progress else {"disable": True}
        with tqdm(total=self.n_voxels, desc=label, unit="voxel", mininterval=1, **hidden) as bar:
            for number, start in enumerate(range(0, self.n_voxels, self.batch)):
                voxels = slice(start, min(start + self.batch, self.n_voxels))
                if number not in finished:
                    yield voxels
                    if resumable:
                        self.scratch.finish(step, number)
                bar.update(voxels.stop - voxels.start)

    def bold(self, voxels, order=None):
        """Return BOLD of a batch, or of its voxels `order`: a list of (n_volumes, n_batch) float64 tensors."""
        runs = self.send([run[:, voxels] for run in self.series])
        return [(run if order is None else run.index_select(1, order)).double() for run in runs]


def write_batch(arrays, voxels, batch):
    """Write a batch's tensors, by name, into the arrays of the same name."""
    for name, values in batch.items():
        torch.from_numpy(arrays[name])[..., voxels] = values
