"""Results between notebooks: labelled arrays with a manifest that says what they came from.

An artifact is a folder `<store>/<run>/<name>-<hash>/` with `arrays.nc` (netCDF-4) and `manifest.json`. The hash is that
of the artifact's lineage: parameters, earlier artifacts, model weights, and the code that computes it. A changed method
therefore makes a new artifact beside the old one, and nothing is overwritten. The manifest is written last: a folder
without one is no artifact.
"""

import datetime
import json
import os
import platform
import shutil
from importlib.metadata import version

from nsdlib.lineage import all_fields, differences, file_hash, find_step, lineage, lineage_hash

ARRAYS, MANIFEST = "arrays.nc", "manifest.json"


class MissingArtifact(FileNotFoundError):
    """An artifact that no notebook has made yet, or that an earlier run made from other parameters or code."""


class DamagedArtifact(ValueError):
    """An artifact whose arrays are not those that its manifest was written for."""


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
        """Whether the artifact is complete on disk."""
        return (self.path(name) / MANIFEST).is_file()

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
        """
        folder = self.path(name)
        if not hasattr(dataset, "data_vars"):
            raise ValueError(f"The store keeps an xarray.Dataset; for {name!r} it got a {type(dataset).__name__}.")
        partial = folder.with_name(f".partial-{os.getpid()}-{folder.name}")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            dataset.to_netcdf(partial / ARRAYS, engine="h5netcdf")
            manifest = self._manifest(name, partial / ARRAYS)
            (partial / MANIFEST).write_text(json.dumps(manifest, indent=2))
            for file in (ARRAYS, MANIFEST):
                _sync(partial / file)
            self._publish(partial, folder)
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
            When its arrays do not fit its manifest.
        """
        import xarray as xr

        folder = self.path(name)
        if not self.has(name):
            raise MissingArtifact(self._what_is_missing(name))
        manifest = json.loads((folder / MANIFEST).read_text())
        if not (folder / ARRAYS).is_file() or file_hash(folder / ARRAYS) != manifest["sha256"]:
            raise DamagedArtifact(
                f"{folder / ARRAYS} is not the file that notebook {find_step(name).notebook} wrote: its sha256 differs from "
                f"the manifest's. Move the folder away and run `nsdlib run {self.run.name} {find_step(name).notebook}` again."
            )
        return xr.open_dataset(folder / ARRAYS, engine="h5netcdf")

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
        if folder.exists() and not (folder / MANIFEST).is_file():
            folder.rename(folder.with_name(f".incomplete-{os.getpid()}-{folder.name}"))
        try:
            partial.rename(folder)
        except OSError:
            if not (folder / MANIFEST).is_file():
                raise
        _sync(folder.parent)

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
            found = json.loads(path.read_text())
            was = found["run"]
            changed = [
                f"{key} was {was.get(key)!r}, is {value!r}" for key, value in fields.items() if was.get(key) != value
            ]
            changed += differences(found["lineage"], wanted)
            text += f"\n  {path.parent.name} is there, but differs: {'; '.join(changed)}"
        return text


def _sync(path):
    """Force a file or folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
