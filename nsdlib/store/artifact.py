"""One folder of the store: written to a temporary folder, renamed into place, verified when it is read, and never deleted.

The manifest is written last, so a folder without one is incomplete. An artifact that does not match its manifest is damaged.
Making the artifact again replaces either and keeps the old folder as `.incomplete-*` or `.damaged-*`. A killed writer leaves a
`.partial-*` folder. The next write deletes it: at once if its process ran on this machine and has ended, after a day without
changes if it came from another machine, boot or container.
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
OVERHEAD = 2**20  # bytes: upper bound of a file's size beyond its arrays
DAY = 86400  # seconds; no save is idle for that long
BOOT, NAMESPACE = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
# Errors of file systems that cannot sync a folder.
UNSYNCED = {errno.EINVAL, errno.EBADF, errno.EACCES, errno.ENOTSUP, errno.EISDIR}


class MissingArtifact(FileNotFoundError):
    """The artifact does not exist, or exists only for other parameters or code."""


class DamagedArtifact(ValueError):
    """The artifact's manifest cannot be read, or its arrays do not match the manifest."""


class StoreFull(OSError):
    """The store's disk has no room for the artifact."""


@dataclass(frozen=True)
class Artifact:
    """A result of a run and its folder, which may not exist yet."""

    run: Run
    folder: Path
    provenance: dict  # everything that its values depend on
    made_by: dict  # its notebook or function, for the manifest
    contents: str  # for messages
    maker: str  # for messages: the notebook or function that makes it
    how_again: Callable  # for messages: returns how to make it again; called only when needed

    def is_finished(self):
        """Return whether the folder has a manifest, which is written last."""
        return (self.folder / MANIFEST).is_file()

    def is_sound(self):
        """Return whether the folder is finished and matches its manifest."""
        return self.is_finished() and self._damage() is None

    def read(self):
        """Open the arrays of a finished folder as an xarray.Dataset.

        Raises DamagedArtifact when the manifest cannot be read or the arrays do not match it.
        """
        import xarray as xr

        arrays, problem = self.folder / ARRAYS, f"is not the file that {self.maker} wrote"
        if damage := self._damage():
            file, reason = damage
            raise DamagedArtifact(f"{file} {problem}: {reason}. To replace it, {self.how_again()}; the damaged one is kept.")
        try:
            return xr.open_dataset(arrays, engine="h5netcdf")
        except Exception as error:  # h5netcdf and HDF5 raise many types of errors on damaged files
            raise DamagedArtifact(
                f"{arrays} {problem} ({type(error).__name__}: {error}). Move the folder away and {self.how_again()}."
            ) from error

    def write(self, dataset):
        """Write an xarray.Dataset and its manifest to a temporary folder, then rename it into place.

        Raises StoreFull when the disk has no room; no partial files remain.
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
            raise StoreFull(self._disk_full(n_bytes)) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _damage(self):
        """The damaged file of a finished folder and the reason, or None when all is sound."""
        manifest, arrays = read_manifest(self.folder / MANIFEST), self.folder / ARRAYS
        if manifest is None:
            return self.folder / MANIFEST, "it cannot be read"
        if not arrays.is_file() or file_hash(arrays) != manifest["sha256"]:
            return arrays, "its sha256 differs from the manifest's"
        return None

    def _manifest(self, arrays):
        """The contents of the manifest."""
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
        """Rename the finished folder into place; if another process was first, keep its copy."""
        folder, damaged = self.folder, self.is_finished() and self._damage()
        if damaged or (folder.exists() and not self.is_finished()):
            kind = "damaged" if damaged else "incomplete"
            backup = tempfile.mkdtemp(prefix=f".{kind}-{folder.name}-", dir=folder.parent)
            folder.rename(backup)
            if damaged:
                warnings.warn(f"{folder.name} was damaged and has been made again; it is kept as {backup}.", stacklevel=4)
        try:
            partial.rename(folder)
        except OSError:
            if not self.is_finished():
                raise
        _sync(folder.parent)

    def _disk_full(self, needed):
        """Error message for a full disk: the space needed, the space free, and what to do."""
        free = shutil.disk_usage(self.run.store).free
        quota = "A quota or a limit on file sizes prevents it: raise the limit"
        remedy = f"Free {needed - free:,} bytes" if free < needed else quota
        return (
            f"There is no room for the {self.contents} of run {self.run.name!r}: it takes up to {needed:,} bytes, and "
            f"{free:,} are free in {self.run.store}. {remedy}, or name another folder as `store` in params/_common.yaml; then "
            f"{self.how_again()}."
        )


def read_manifest(path):
    """Read a manifest; None when the file cannot be read or lacks a required key."""
    try:
        manifest = json.loads(path.read_text())
        sections = [manifest["run"], *(manifest["provenance"][kind] for kind in ("code", "weights", "after"))]
        is_valid = all(isinstance(section, dict) for section in sections) and isinstance(manifest["sha256"], str)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return manifest if is_valid else None


@cache
def machine_id():
    """Identify the boot of this machine and its PID namespace (container), within which process ids are comparable."""
    try:
        identity = BOOT.read_text() + str(NAMESPACE.readlink())
    except OSError:  # not Linux: no writer matches this id, so only the age of a folder counts
        identity = os.urandom(8).hex()
    return hashlib.sha256(identity.encode()).hexdigest()[:12]


def _is_abandoned(partial):
    """Whether no process writes there: its writer ran here and has ended, or ran elsewhere and changed nothing for a day."""
    writer = re.match(r"\.partial-([0-9a-f]{12})-(\d+)-", partial.name)
    try:
        if writer is None or writer[1] != machine_id():
            return time.time() - max(path.stat().st_mtime for path in (partial, *partial.iterdir())) > DAY
        os.kill(int(writer[2]), 0)
    except ProcessLookupError:
        return True
    except OSError:  # the process belongs to another user, or another process has just removed the folder
        return False
    return False


def _sync(path):
    """Sync a file to disk, or a folder if the file system supports it."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if not path.is_dir() or error.errno not in UNSYNCED:
            raise
