"""One folder of the store: written beside its place and renamed into it, checked when it is read, never deleted.

The manifest is written last: a folder without one is no artifact, and one whose arrays do not fit it counts as missing where
results are made, so that running the notebook again mends it; both are kept beside as `.incomplete-*` and `.damaged-*`. What a
killed writer leaves, `.partial-*`, goes with the next artifact that is written: at once when that is seen to have no writer, on
any other machine after a day of rest.
"""

import datetime
import errno
import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from nsdlib import __version__
from nsdlib.core.files import FULL, preallocate
from nsdlib.params import Run
from nsdlib.store.sources import file_hash

ARRAYS, MANIFEST = "arrays.nc", "manifest.json"
OVERHEAD = 2**20  # bytes that a file takes at most beside its arrays
DAY = 86400  # seconds: no save rests so long
BOOT, NAMESPACE = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
# Of folders, where they cannot be synced.
UNSYNCED = {errno.EINVAL, errno.EBADF, errno.EACCES, errno.ENOTSUP, errno.EISDIR}


class MissingArtifact(FileNotFoundError):
    """An artifact that no notebook has made yet, or that an earlier run made from other parameters or code."""


class DamagedArtifact(ValueError):
    """An artifact whose manifest cannot be read, or whose arrays are not those that the manifest was written for."""


class StoreFull(OSError):
    """There is no room for an artifact where the store lies."""


@dataclass(frozen=True)
class Artifact:
    """A result of a run and its folder, whether that exists or not."""

    run: Run
    folder: Path
    provenance: dict  # what it depends on
    made_by: dict  # its notebook or function, for the manifest
    what: str  # phrases for messages: what it holds,
    maker: str  # who makes it,
    again: Callable  # -> how to make it again, which only a message wants to know

    def is_finished(self):
        """Return whether the folder has its manifest, which is written last."""
        return (self.folder / MANIFEST).is_file()

    def is_sound(self):
        """Return whether the folder is finished and as it was written."""
        return self.is_finished() and self._damage() is None

    def read(self):
        """Open the arrays of a finished folder, an xarray.Dataset.

        A DamagedArtifact when the manifest cannot be read, or the arrays do not fit it.
        """
        import xarray as xr

        arrays, problem = self.folder / ARRAYS, f"is not the file that {self.maker} wrote"
        if damage := self._damage():
            file, reason = damage
            raise DamagedArtifact(f"{file} {problem}: {reason}. To make it anew, {self.again()}; this one is kept beside.")
        try:
            return xr.open_dataset(arrays, engine="h5netcdf")
        except Exception as error:  # the libraries below fail on damaged files in ways of their own
            raise DamagedArtifact(
                f"{arrays} {problem} ({type(error).__name__}: {error}). Move the folder away and {self.again()}."
            ) from error

    def write(self, dataset):
        """Write the arrays of an xarray.Dataset and the manifest beside their place and rename them into it.

        Where there is no room for it, a StoreFull; nothing half-written stays.
        """
        folder, n_bytes = self.folder, dataset.nbytes + OVERHEAD
        partial = folder.with_name(f".partial-{machine_id()}-{os.getpid()}-{folder.name}")
        shutil.rmtree(partial, ignore_errors=True)
        for abandoned in filter(_is_abandoned, folder.parent.glob(".partial-*")):
            shutil.rmtree(abandoned, ignore_errors=True)
        try:
            partial.mkdir(parents=True)
            preallocate(partial / ARRAYS, n_bytes)
            dataset.to_netcdf(partial / ARRAYS, engine="h5netcdf")
            (partial / MANIFEST).write_text(json.dumps(self._manifest(partial / ARRAYS), indent=2))
            for file in (ARRAYS, MANIFEST):
                _sync(partial / file)
            self._publish(partial)
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise StoreFull(self._what_to_free(n_bytes)) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _damage(self):
        """The file of a finished folder that is not as it was written, and what is wrong; None when all is sound."""
        manifest, arrays = read_manifest(self.folder / MANIFEST), self.folder / ARRAYS
        if manifest is None:
            return self.folder / MANIFEST, "it cannot be read"
        if not arrays.is_file() or file_hash(arrays) != manifest["sha256"]:
            return arrays, "its sha256 differs from the manifest's"
        return None

    def _manifest(self, arrays):
        """What is written beside the arrays."""
        packages = {package: version(package) for package in ("numpy", "torch", "xarray")}
        return {
            "provenance": self.provenance,
            **self.made_by,
            "run": self.run.model_dump(mode="json", exclude={"root", "data", "weights", "store"}),
            "sha256": file_hash(arrays),
            "bytes": arrays.stat().st_size,
            "versions": {"python": platform.python_version(), "nsdlib": __version__, **packages},
            "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }

    def _publish(self, partial):
        """Rename the finished folder into place; where another process was first, its copy stays."""
        folder, damaged = self.folder, self.is_finished() and self._damage()
        if damaged or (folder.exists() and not self.is_finished()):
            kind = "damaged" if damaged else "incomplete"
            aside = tempfile.mkdtemp(prefix=f".{kind}-{folder.name}-", dir=folder.parent)
            folder.rename(aside)
            if damaged:
                warnings.warn(f"{folder.name} was damaged and has been made anew; it is kept as {aside}.", stacklevel=4)
        try:
            partial.rename(folder)
        except OSError:
            if not self.is_finished():
                raise
        _sync(folder.parent)

    def _what_to_free(self, needed):
        """Message of a full disk: how much is needed, how much is there, what to do."""
        free = shutil.disk_usage(self.run.store).free
        more = f"Free {needed - free:,} bytes" if free < needed else "A quota or a limit on file sizes is in the way: raise it"
        return (
            f"There is no room for the {self.what} of run {self.run.name!r}: it takes up to {needed:,} bytes, and "
            f"{free:,} are free in {self.run.store}. {more}, or name another folder as `store` in params/_common.yaml; then "
            f"{self.again()}."
        )


def read_manifest(path):
    """Read a manifest that has all that is looked up in it; None when the file is no such manifest."""
    try:
        manifest = json.loads(path.read_text())
        parts = [manifest["run"], *(manifest["provenance"][kind] for kind in ("code", "weights", "after"))]
        is_whole = all(isinstance(part, dict) for part in parts) and isinstance(manifest["sha256"], str)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return manifest if is_whole else None


@cache
def machine_id():
    """Return a name of where the processes live whose numbers are seen here: one start of a machine, and one container of it."""
    try:
        place = BOOT.read_text() + str(NAMESPACE.readlink())
    except OSError:  # no Linux: nobody is known, and age alone tells
        place = os.urandom(8).hex()
    return hashlib.sha256(place.encode()).hexdigest()[:12]


def _is_abandoned(partial):
    """Whether surely nobody is writing there: its process would be seen here and has ended, or nothing changed for a day."""
    writer = re.match(r"\.partial-([0-9a-f]{12})-(\d+)-", partial.name)
    try:
        if writer is None or writer[1] != machine_id():
            return time.time() - max(path.stat().st_mtime for path in (partial, *partial.iterdir())) > DAY
        os.kill(int(writer[2]), 0)
    except ProcessLookupError:
        return True
    except OSError:  # another's process, or somebody else has just removed it
        return False
    return False


def _sync(path):
    """Force a file to disk, and a folder where the system can."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if not path.is_dir() or error.errno not in UNSYNCED:
            raise
