"""Arrays that fill batch by batch, in memory or in a folder; in a folder, what was interrupted goes on where it stopped."""

import math
import shutil

import numpy as np

from nsdlib.core.files import FULL, preallocate

OWN = (".npy", ".partial", ".finished")  # endings of the files that a folder holds beside its mark


class ScratchFull(OSError):
    """There is no room for an array in progress."""


class Scratch:
    """Arrays in progress, and which batches of which step are in them.

    Parameters
    ----------
    folder : Path, optional
        Where they lie; in memory when not given.
    inputs : str
        What they are computed from. A folder that was begun from anything else is emptied first.

    Raises
    ------
    ValueError
        When the folder holds something and no Scratch began it.
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

        In a folder its last axis, along which batches lie, is the slowest: a batch then touches its own pages of the file alone.
        The whole file gets its room on the disk at once: to a disk that fills later, the system answers by ending the process.

        Raises
        ------
        ScratchFull
            When there is no room; what was finished stays.
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
        journal = self._journal(step)
        if journal is None or not journal.is_file():
            return set()
        return {int(line) for line in journal.read_text().splitlines(keepends=True) if line.endswith("\n")}

    def finish(self, step, batch):
        """Record that a batch is complete, after its arrays have reached the disk."""
        journal = self._journal(step)
        if journal is None:
            return
        for array in self._arrays:
            array.flush()
        with journal.open("a") as file:
            file.write(f"{batch}\n")

    def _what_to_free(self, name, needed):
        """Return the message of a full disk: how much is needed, how much is there, what to do."""
        return (
            f"There is no room for the array {name!r} in progress: it takes {needed:,} bytes, and "
            f"{shutil.disk_usage(self.folder).free:,} are free in {self.folder}. Free some, raise the quota or limit that is in "
            "the way, or name another folder as `store` in params/_common.yaml; the same command then goes on."
        )

    def _journal(self, step):
        return None if self.folder is None else self.folder / f"{step.replace(' ', '_')}.finished"
