"""Voxels batch by batch: data on the way to their device, and arrays that fill, in memory or in a folder.

In a folder, what was interrupted goes on where it stopped.
"""

import math
import shutil
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from tqdm import tqdm

from nsdlib.core.device import to_tensor
from nsdlib.core.files import FULL, preallocate

OWN = (".npy", ".partial", ".finished")  # endings of the files that a folder holds beside its mark
CPU_BATCH = 2000  # voxels
GPU_SHARE = 0.25  # of a GPU's free memory: for the data, and again for a batch
WORKING = 64  # bytes of a volume of one voxel while it is fitted: eight series in double precision


class ScratchFull(OSError):
    """There is no room for an array in progress."""


class Scratch:
    """Arrays in progress, and which batches of which step are in them: in a folder, or in memory where there is none.

    `inputs` says what they are computed from: a folder that was begun from anything else is emptied first. ValueError when it
    holds something and no Scratch began it.
    """

    def __init__(self, folder=None, inputs=""):
        self.folder, self._arrays = folder, []
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        mark, files = folder / "inputs", list(folder.iterdir())
        if files and mark not in files:
            raise ValueError(
                f"scratch={str(folder)!r}: wanted a new or empty folder, or one that this function began; this one holds "
                f"{len(files)} files of another origin. Nothing was changed: give another folder."
            )
        if not files or mark.read_text() != inputs:
            mark.write_text("")  # should this be interrupted, the folder is nobody's
            for path in files:
                if path.suffix in OWN:
                    path.unlink()
            mark.write_text(inputs)

    def array(self, name, shape, dtype):
        """Return an array to be filled: with what an interrupted fit left in it, or with anything.

        In a folder its last axis, along which batches lie, is the slowest: a batch then touches its own pages of the file
        alone. The whole file gets its room on the disk at once: to a disk that fills later, the system answers by ending the
        process. ScratchFull when there is no room; what was finished stays.
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
                raise ScratchFull(self._what_to_free(name, np.dtype(dtype).itemsize * math.prod(shape))) from error
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

    def _what_to_free(self, name, needed):
        """Return the message of a full disk: how much is needed, how much is there, what to do."""
        return (
            f"There is no room for the array {name!r} in progress: it takes {needed:,} bytes, and "
            f"{shutil.disk_usage(self.folder).free:,} are free in {self.folder}. Free some, raise the quota or limit that is in "
            "the way, or name another folder as `store` in params/_common.yaml; the same command then goes on."
        )

    def _journal(self, step):
        return self.folder / f"{step.replace(' ', '_')}.finished"


@dataclass(frozen=True, kw_only=True)
class Voxels:
    """The data, (n_volumes, n_voxels) arrays, one a run, and how they are gone through: in batches, on a device, into arrays.

    `voxel_batch` and `progress` are those of `GLMOptions`.
    """

    data: list
    scratch: Scratch
    device: torch.device
    voxel_batch: int | None
    progress: bool

    @property
    def n_voxels(self):
        """Voxels of the data."""
        return self.data[0].shape[1]

    @cached_property
    def batch(self):
        """Voxels that are fitted at once."""
        if self.voxel_batch or self.device.type == "cpu":
            return self.voxel_batch or CPU_BATCH
        return max(1, int(GPU_SHARE * self._free / (WORKING * sum(map(len, self.data)))))

    @cached_property
    def series(self):
        """BOLD as batches are cut from it: on a GPU that has room for all of it, there."""
        if self.device.type == "cpu" or sum(run.nbytes for run in self.data) > GPU_SHARE * self._free:
            return self.data
        return self.send(self.data)

    @cached_property
    def _free(self):
        return torch.cuda.mem_get_info(self.device)[0]

    def send(self, arrays):
        """Return arrays or tensors, a list, on the device."""
        return [to_tensor(array, self.device) for array in arrays]

    def arrays(self, **rows):
        """Return float32 arrays of the scratch by their names, (rows, n_voxels), or (n_voxels,) where rows are None."""
        shapes = {name: (self.n_voxels,) if n is None else (n, self.n_voxels) for name, n in rows.items()}
        return {name: self.scratch.array(name, shape, np.float32) for name, shape in shapes.items()}

    def batches(self, label, *, resumable=False):
        """Yield all voxels, as slices, at most `batch` at a time, with a bar.

        Of a resumable step, batches that are in the scratch arrays already are passed over.
        """
        step = f"{label} by {self.batch}"
        finished = self.scratch.finished(step) if resumable else set()
        silent = {} if self.progress else {"disable": True}
        with tqdm(total=self.n_voxels, desc=label, unit="voxel", mininterval=1, **silent) as bar:
            for number, start in enumerate(range(0, self.n_voxels, self.batch)):
                voxels = slice(start, min(start + self.batch, self.n_voxels))
                if number not in finished:
                    yield voxels
                    if resumable:
                        self.scratch.finish(step, number)
                bar.update(voxels.stop - voxels.start)

    def bold(self, voxels, order=None):
        """Return BOLD of a batch, or some voxels of it in another order: a list of (n_volumes, n_batch) float64 tensors."""
        runs = self.send([run[:, voxels] for run in self.series])
        return [(run if order is None else run.index_select(1, order)).double() for run in runs]


def keep(results, voxels, found):
    """Write what was found for a batch of voxels, tensors by their names, into arrays of that name."""
    for name, values in found.items():
        torch.from_numpy(results[name])[..., voxels] = values
