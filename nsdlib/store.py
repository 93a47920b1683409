"""Results between notebooks: labelled arrays with a manifest that says what they came from.

An artifact is a folder `<store>/<run>/<name>-<hash>/` with `arrays.nc` (netCDF-4) and `manifest.json`. The hash is that
of the artifact's lineage: parameters, earlier artifacts, model weights, and the code that computes it. A changed method
therefore makes a new artifact beside the old one, and nothing is overwritten. The manifest is written last: a folder
without one is no artifact, and one whose arrays do not fit it counts as missing where results are made, so that running the
notebook again mends it; both are kept beside as `.incomplete-*` and `.damaged-*`. What a killed writer leaves, `.partial-*`, goes
with the next artifact that is written: at once when that is seen to have no writer, on any other machine after a day of rest.
"""

import datetime
import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
import time
import warnings
from functools import cache
from importlib.metadata import version
from pathlib import Path

from nsdlib.files import FULL, reserve
from nsdlib.lineage import all_fields, differences, file_hash, find_step, lineage, lineage_hash

ARRAYS, MANIFEST = "arrays.nc", "manifest.json"
OVERHEAD = 2**20  # bytes that a file takes at most beside its arrays
DAY = 86400  # seconds: no save rests so long


class MissingArtifact(FileNotFoundError):
    """An artifact that no notebook has made yet, or that an earlier run made from other parameters or code."""


class DamagedArtifact(ValueError):
    """An artifact whose manifest cannot be read, or whose arrays are not those that the manifest was written for."""


class StoreFull(OSError):
    """There is no room for an artifact where the store lies."""


class Store:
    """The artifacts of one run.

    Parameters
    ----------
    run : nsdlib.params.Run
        Says where the store lies and from which parameters the artifacts are made.
    """

    def __init__(self, run):
        self.run = run

    def path(self, name):
        """Folder of the artifact, whether it exists or not."""
        return self.run.store / f"{name}-{lineage_hash(self.run, name)}"

    def has(self, name):
        """Whether the artifact is on disk, complete and undamaged."""
        folder = self.path(name)
        return (folder / MANIFEST).is_file() and _damage(folder) is None

    def scratch(self, name):
        """Folder for what is in progress before the artifact is saved; `save` removes it."""
        return self.run.store / f".scratch-{self.path(name).name}"

    def save(self, name, dataset):
        """Write an artifact and hand it back as it was stored.

        Parameters
        ----------
        name : str
            A key of `LINEAGE`.
        dataset : xarray.Dataset
            Arrays of bool, integer, floating or string type.

        Returns
        -------
        xarray.Dataset
            As `load` returns it. Where another process has finished the same artifact meanwhile, that one.

        Raises
        ------
        ValueError
            For an unknown name, or something that is no Dataset.
        StoreFull
            When there is no room for it; nothing half-written stays.
        """
        folder = self.path(name)
        if not hasattr(dataset, "data_vars"):
            raise ValueError(f"The store keeps an xarray.Dataset; for {name!r} it got a {type(dataset).__name__}.")
        partial = folder.with_name(f".partial-{_machine()}-{os.getpid()}-{folder.name}")
        shutil.rmtree(partial, ignore_errors=True)
        for left in filter(_is_abandoned, self.run.store.glob(".partial-*")):
            shutil.rmtree(left, ignore_errors=True)
        try:
            partial.mkdir(parents=True)
            reserve(partial / ARRAYS, dataset.nbytes + OVERHEAD)
            dataset.to_netcdf(partial / ARRAYS, engine="h5netcdf")
            manifest = self._manifest(name, partial / ARRAYS)
            (partial / MANIFEST).write_text(json.dumps(manifest, indent=2))
            for file in (ARRAYS, MANIFEST):
                _sync(partial / file)
            self._publish(partial, folder)
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise StoreFull(self._what_to_free(name, dataset.nbytes + OVERHEAD)) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(self.scratch(name), ignore_errors=True)
        return self.load(name)

    def load(self, name):
        """Open an artifact; its arrays are read from disk when they are used.

        Returns
        -------
        xarray.Dataset
            Close it, or use it in a `with` block, when the file must be free again.

        Raises
        ------
        MissingArtifact
            When it has not been made from the present parameters and code.
        DamagedArtifact
            When its manifest cannot be read, or its arrays do not fit it.
        """
        import xarray as xr

        folder = self.path(name)
        if not (folder / MANIFEST).is_file():
            raise MissingArtifact(self._what_is_missing(name))
        again = f"run `nsdlib run {self.run.name} {find_step(name).notebook}` again"
        wrote = f"is not the file that notebook {find_step(name).notebook} wrote"
        damage = _damage(folder)
        if damage:
            file, problem = damage
            raise DamagedArtifact(f"{file} {wrote}: {problem}. To make it anew, {again}; this one is kept beside.")
        try:
            return xr.open_dataset(folder / ARRAYS, engine="h5netcdf")
        except Exception as error:  # the libraries below fail on damaged files in ways of their own
            raise DamagedArtifact(
                f"{folder / ARRAYS} {wrote} ({type(error).__name__}: {error}). Move the folder away and {again}."
            ) from error

    def cached(self, name, make):
        """Load the artifact, or make it with `make()` (a callable that returns the Dataset) and save it."""
        return self.load(name) if self.has(name) else self.save(name, make())

    def _manifest(self, name, arrays):
        """What is written beside the arrays."""
        packages = {package: version(package) for package in ("nsdlib", "numpy", "torch", "xarray")}
        return {
            "lineage": lineage(self.run, name),
            "notebook": find_step(name).notebook,
            "run": self.run.model_dump(mode="json", exclude={"root", "data", "weights", "store"}),
            "sha256": file_hash(arrays),
            "bytes": arrays.stat().st_size,
            "versions": {"python": platform.python_version(), **packages},
            "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }

    def _publish(self, partial, folder):
        """Rename the finished folder into place; where another process was first, its copy stays."""
        damaged = (folder / MANIFEST).is_file() and _damage(folder)
        if damaged or (folder.exists() and not (folder / MANIFEST).is_file()):
            kind = "damaged" if damaged else "incomplete"
            aside = tempfile.mkdtemp(prefix=f".{kind}-{folder.name}-", dir=folder.parent)
            folder.rename(aside)
            if damaged:
                warnings.warn(f"{folder.name} was damaged and has been made anew; it is kept as {aside}.", stacklevel=3)
        try:
            partial.rename(folder)
        except OSError:
            if not (folder / MANIFEST).is_file():
                raise
        _sync(folder.parent)

    def _what_to_free(self, name, needed):
        """Message of a full disk: how much is needed, how much is there, what to do."""
        free = shutil.disk_usage(self.run.store).free
        more = (
            f"Free {needed - free:,} bytes"
            if free < needed
            else "A quota or a limit on file sizes is in the way: raise it"
        )
        return (
            f"There is no room for the artifact {name!r} of run {self.run.name!r}: it takes up to {needed:,} bytes, and "
            f"{free:,} are free in {self.run.store}. {more}, or name another folder as `store` in params/_common.yaml; then "
            f"run `nsdlib run {self.run.name} {find_step(name).notebook}` again."
        )

    def _what_is_missing(self, name):
        """Message of a missing artifact: who makes it, and how those that are there differ."""
        notebook = find_step(name).notebook
        text = (
            f"The artifact {name!r} of run {self.run.name!r} has not been made from the present parameters and code: "
            f"run `nsdlib run {self.run.name} {notebook}` first."
        )
        fields = self.run.model_dump(mode="json", include=all_fields(name))
        wanted = lineage(self.run, name)
        for path in sorted(self.run.store.glob(f"{name}-*/{MANIFEST}")):
            found = _read_manifest(path)
            if found is None:
                text += f"\n  {path.parent.name} is there, but its manifest cannot be read"
                continue
            was = found["run"]
            changed = [
                f"{key} was {was.get(key)!r}, is {value!r}" for key, value in fields.items() if was.get(key) != value
            ]
            changed += differences(found["lineage"], wanted)
            text += f"\n  {path.parent.name} is there, but differs: {'; '.join(changed)}"
        return text


def _damage(folder):
    """The file of a finished artifact that is not as it was written, and what is wrong; None when all is sound."""
    manifest, arrays = _read_manifest(folder / MANIFEST), folder / ARRAYS
    if manifest is None:
        return folder / MANIFEST, "it cannot be read"
    if not arrays.is_file() or file_hash(arrays) != manifest["sha256"]:
        return arrays, "its sha256 differs from the manifest's"
    return None


@cache
def _machine():
    """A name of where the processes live whose numbers are seen here: one start of one machine, and one container of it."""
    try:
        place = Path("/proc/sys/kernel/random/boot_id").read_text() + str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # no Linux: nobody is known, and age alone tells
        place = os.urandom(8).hex()
    return hashlib.sha256(place.encode()).hexdigest()[:12]


def _is_abandoned(partial):
    """Whether surely nobody is writing there: its process would be seen here and has ended, or nothing changed for a day."""
    writer = re.match(r"\.partial-([0-9a-f]{12})-(\d+)-", partial.name)
    try:
        if writer is None or writer[1] != _machine():
            return time.time() - max(path.stat().st_mtime for path in (partial, *partial.iterdir())) > DAY
        os.kill(int(writer[2]), 0)
    except ProcessLookupError:
        return True
    except OSError:  # another's process, or somebody else has just removed it
        return False
    return False


def _read_manifest(path):
    """A manifest with all that is looked up in it, or None when the file is none."""
    try:
        manifest = json.loads(path.read_text())
        lineages = [manifest["lineage"][kind] for kind in ("code", "weights", "after")]
        whole = all(isinstance(part, dict) for part in (manifest["run"], *lineages)) and isinstance(
            manifest["sha256"], str
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return manifest if whole else None


def _sync(path):
    """Force a file or folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
