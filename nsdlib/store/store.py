"""Results between notebooks: labelled arrays with a manifest that says what they came from.

An artifact is a folder `<store>/<run>/<name>-<hash>/` with `arrays.nc` (netCDF-4) and `manifest.json`. The hash is that
of the artifact's provenance: parameters, earlier artifacts, model weights, and the code that computes it. A changed method
therefore makes a new artifact beside the old one, and nothing is overwritten. The manifest is written last: a folder
without one is no artifact, and one whose arrays do not fit it counts as missing where results are made, so that running the
notebook again mends it; both are kept beside as `.incomplete-*` and `.damaged-*`. What a killed writer leaves, `.partial-*`, goes
with the next artifact that is written: at once when that is seen to have no writer, on any other machine after a day of rest.

The result of a single long call can be kept in the same way (`Store.memoise`), in `<store>/<run>/kept-<function>-<hash>/`: what a
notebook did before it was killed, or before it got another figure, it then does not do again.
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
from dataclasses import dataclass
from functools import cache, wraps
from importlib.metadata import version
from pathlib import Path

import numpy as np

from nsdlib import __version__
from nsdlib.core.files import FULL, preallocate
from nsdlib.store.provenance import all_fields, call_provenance, differences, digest, file_hash, find_step, provenance

ARRAYS, MANIFEST = "arrays.nc", "manifest.json"
OVERHEAD = 2**20  # bytes that a file takes at most beside its arrays
DAY = 86400  # seconds: no save rests so long


class MissingArtifact(FileNotFoundError):
    """An artifact that no notebook has made yet, or that an earlier run made from other parameters or code."""


class DamagedArtifact(ValueError):
    """An artifact whose manifest cannot be read, or whose arrays are not those that the manifest was written for."""


class StoreFull(OSError):
    """There is no room for an artifact where the store lies."""


@dataclass(frozen=True)
class _Entry:
    """One folder of the store.

    `what` it holds, who `made` it and how it is made `again` are phrases for messages; `by` goes into the manifest.
    """

    folder: Path
    provenance: dict
    by: dict
    what: str
    made: str
    again: str


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
        return self._artifact(name).folder

    def has(self, name):
        """Whether the artifact is on disk, complete and undamaged."""
        return _is_sound(self.path(name))

    def scratch(self, name):
        """Folder for what is in progress before the artifact is saved; `save` removes it."""
        return self.run.store / f".scratch-{self.path(name).name}"

    def save(self, name, dataset):
        """Write an artifact and hand it back as it was stored.

        Parameters
        ----------
        name : str
            A key of `ARTIFACTS`.
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
        if not hasattr(dataset, "data_vars"):
            raise ValueError(f"The store keeps an xarray.Dataset; for {name!r} it got a {type(dataset).__name__}.")
        entry = self._artifact(name)
        self._write(entry, dataset)
        shutil.rmtree(self.scratch(name), ignore_errors=True)
        return _read(entry)

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
        entry = self._artifact(name)
        if not (entry.folder / MANIFEST).is_file():
            raise MissingArtifact(self._what_is_missing(name, entry.provenance))
        return _read(entry)

    def cached(self, name, make):
        """Load the artifact, or make it with `make()` (a callable that returns the Dataset) and save it."""
        return self.load(name) if self.has(name) else self.save(name, make())

    def memoise(self, function, *, weights=(), kind=None):
        """The same function, but what it returned for equal arguments is read from the store.

        Parameters
        ----------
        function : callable
            From a module of nsdlib, a method as well. Its result must follow from its arguments, that module's code with what it
            imports, and `weights`; see `provenance.call_provenance` for the arguments that it may take.
        weights : tuple of str
            Folders of the zoo whose models compute it.
        kind : type, optional
            Of what it returns, with a method `to_dataset` and a class method `from_dataset`; when not given, it returns an array,
            NumPy's or xarray's.

        Returns
        -------
        callable
            Raises TypeError for arguments and functions that `provenance.call_provenance` cannot tell apart, and for results of another
            kind. Where there is no room for a result, it warns and hands it out all the same.
        """

        @wraps(function)
        def remembered(*arguments, **options):
            entry = self._call(function, call_provenance(self.run, function, arguments, options, weights=weights))
            if not _is_sound(entry.folder):
                made = function(*arguments, **options)
                try:
                    self._write(entry, _packed(made, kind, function))
                except StoreFull as full:
                    warnings.warn(f"{full} Until then it is computed each time.", stacklevel=2)
                    return made
            with _read(entry) as dataset:
                return _unpacked(dataset.load(), kind)

        return remembered

    def _artifact(self, name):
        """The folder of an artifact."""
        notebook, came_from = find_step(name).notebook, provenance(self.run, name)
        folder = self.run.store / f"{name}-{digest(came_from)}"
        again = f"run `nsdlib run {self.run.name} {notebook}` again"
        made = (f"artifact {name!r}", f"notebook {notebook}", again)
        return _Entry(folder, came_from, {"notebook": notebook}, *made)

    def _call(self, function, came_from):
        """The folder of the result of one call."""
        name = function.__name__
        folder = self.run.store / f"kept-{name}-{digest(came_from)}"
        made = (f"result of {name}", name, "call it again")
        return _Entry(folder, came_from, {"function": f"{function.__module__}.{function.__qualname__}"}, *made)

    def _write(self, entry, dataset):
        """Write arrays and manifest beside their place and rename them into it."""
        folder, n_bytes = entry.folder, dataset.nbytes + OVERHEAD
        partial = folder.with_name(f".partial-{_machine()}-{os.getpid()}-{folder.name}")
        shutil.rmtree(partial, ignore_errors=True)
        for left in filter(_is_abandoned, self.run.store.glob(".partial-*")):
            shutil.rmtree(left, ignore_errors=True)
        try:
            partial.mkdir(parents=True)
            preallocate(partial / ARRAYS, n_bytes)
            dataset.to_netcdf(partial / ARRAYS, engine="h5netcdf")
            (partial / MANIFEST).write_text(json.dumps(self._manifest(entry, partial / ARRAYS), indent=2))
            for file in (ARRAYS, MANIFEST):
                _sync(partial / file)
            self._publish(partial, folder)
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise StoreFull(self._what_to_free(entry, n_bytes)) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _manifest(self, entry, arrays):
        """What is written beside the arrays."""
        packages = {package: version(package) for package in ("numpy", "torch", "xarray")}
        return {
            "provenance": entry.provenance,
            **entry.by,
            "run": self.run.model_dump(mode="json", exclude={"root", "data", "weights", "store"}),
            "sha256": file_hash(arrays),
            "bytes": arrays.stat().st_size,
            "versions": {"python": platform.python_version(), "nsdlib": __version__, **packages},
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
                warnings.warn(f"{folder.name} was damaged and has been made anew; it is kept as {aside}.", stacklevel=4)
        try:
            partial.rename(folder)
        except OSError:
            if not (folder / MANIFEST).is_file():
                raise
        _sync(folder.parent)

    def _what_to_free(self, entry, needed):
        """Message of a full disk: how much is needed, how much is there, what to do."""
        free = shutil.disk_usage(self.run.store).free
        more = (
            f"Free {needed - free:,} bytes"
            if free < needed
            else "A quota or a limit on file sizes is in the way: raise it"
        )
        return (
            f"There is no room for the {entry.what} of run {self.run.name!r}: it takes up to {needed:,} bytes, and "
            f"{free:,} are free in {self.run.store}. {more}, or name another folder as `store` in params/_common.yaml; then "
            f"{entry.again}."
        )

    def _what_is_missing(self, name, wanted):
        """Message of a missing artifact: who makes it, and how those that are there differ."""
        notebook = find_step(name).notebook
        text = (
            f"The artifact {name!r} of run {self.run.name!r} has not been made from the present parameters and code: "
            f"run `nsdlib run {self.run.name} {notebook}` first."
        )
        fields = self.run.model_dump(mode="json", include=all_fields(name))
        for path in sorted(self.run.store.glob(f"{name}-*/{MANIFEST}")):
            found = _read_manifest(path)
            if found is None:
                text += f"\n  {path.parent.name} is there, but its manifest cannot be read"
                continue
            was = found["run"]
            changed = [
                f"{key} was {was.get(key)!r}, is {value!r}" for key, value in fields.items() if was.get(key) != value
            ]
            changed += differences(found["provenance"], wanted)
            text += f"\n  {path.parent.name} is there, but differs: {'; '.join(changed)}"
        return text


def _packed(made, kind, function):
    """The result of a call as a Dataset."""
    import xarray as xr

    if kind is not None:
        return made.to_dataset()
    if type(made) not in (np.ndarray, xr.DataArray):
        raise TypeError(
            f"{function.__name__} returned a {type(made).__name__}; wanted an array, or a `kind` that says how to keep it."
        )
    return xr.DataArray(made).to_dataset(name="plain" if type(made) is np.ndarray else "labelled")


def _unpacked(dataset, kind):
    """The inverse of `_packed`."""
    if kind is not None:
        return kind.from_dataset(dataset)
    return dataset["plain"].values if "plain" in dataset else dataset["labelled"].rename(None)


def _read(entry):
    """Open the arrays of a finished folder, or say what is wrong with it."""
    import xarray as xr

    arrays, wrote = entry.folder / ARRAYS, f"is not the file that {entry.made} wrote"
    damage = _damage(entry.folder)
    if damage:
        file, problem = damage
        raise DamagedArtifact(f"{file} {wrote}: {problem}. To make it anew, {entry.again}; this one is kept beside.")
    try:
        return xr.open_dataset(arrays, engine="h5netcdf")
    except Exception as error:  # the libraries below fail on damaged files in ways of their own
        raise DamagedArtifact(
            f"{arrays} {wrote} ({type(error).__name__}: {error}). Move the folder away and {entry.again}."
        ) from error


def _is_sound(folder):
    """Whether a folder is finished and as it was written."""
    return (folder / MANIFEST).is_file() and _damage(folder) is None


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
        lineages = [manifest["provenance"][kind] for kind in ("code", "weights", "after")]
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
