"""Results passed between notebooks: labelled arrays with a manifest of their provenance.

An artifact is a folder `<store>/<run>/<name>-<hash>/` with `arrays.nc` (netCDF-4) and `manifest.json`. The hash is that
of the artifact's provenance: parameters, earlier artifacts, model weights, and the code that computes it. A changed method
therefore makes a new artifact beside the old one, and nothing is overwritten.

`Store.memoise` caches the result of a single long call in the same way, in `<store>/<run>/kept-<function>-<hash>/`, so that a
notebook that was killed or edited does not repeat it.
"""

import shutil
import warnings
from functools import wraps

import numpy as np

from nsdlib.store.artifact import MANIFEST, Artifact, MissingArtifact, StoreFull, read_manifest
from nsdlib.store.commands import command_that_makes
from nsdlib.store.provenance import all_fields, call_provenance, changed_fields, differences, digest, find_step, provenance


class Store:
    """The artifacts of one run (nsdlib.params.Run), which gives the store's folder and the parameters."""

    def __init__(self, run):
        self.run = run

    def path(self, name):
        """Return the folder of an artifact, which may not exist yet."""
        return self._artifact(name).folder

    def has(self, name):
        """Return whether an artifact is on disk, complete and undamaged."""
        return self._artifact(name).is_sound()

    def scratch(self, name):
        """Return the folder for intermediate files of an unfinished artifact; `save` removes it.

        Runs that share a store have separate folders.
        """
        return self.run.store / f".scratch-{self.run.name}-{self.path(name).name}"

    def save(self, name, dataset):
        """Write an artifact, a key of `ARTIFACTS`, and return it as `load` does.

        The arrays of the xarray.Dataset may be of bool, integer, floating or string type. If another process has finished the
        same artifact meanwhile, that one is returned. Raises ValueError for an unknown name or if `dataset` is no Dataset, and
        StoreFull when the disk has no room; no partial files remain.
        """
        if not hasattr(dataset, "data_vars"):
            raise ValueError(f"The store keeps an xarray.Dataset; for {name!r} it got a {type(dataset).__name__}.")
        artifact = self._artifact(name)
        artifact.write(dataset)
        shutil.rmtree(self.scratch(name), ignore_errors=True)
        return artifact.read()

    def load(self, name):
        """Open an artifact as an xarray.Dataset with lazy arrays.

        Close it, or use it in a `with` block, to release the file.

        Raises
        ------
        MissingArtifact
            When it has not been made from the present parameters and code.
        DamagedArtifact
            When its manifest cannot be read, or its arrays do not match it.
        """
        artifact = self._artifact(name)
        if not artifact.is_finished():
            raise MissingArtifact(self._missing(name, artifact.provenance))
        return artifact.read()

    def cached(self, name, make):
        """Load the artifact, or make the Dataset with `make()` and save it."""
        return self.load(name) if self.has(name) else self.save(name, make())

    def memoise(self, function, *, weights=(), kind=None):
        """Wrap a function so that its results are cached in the store.

        The wrapper raises TypeError for arguments and functions that `provenance.call_provenance` cannot hash, and for results of
        another type. If the disk has no room for a result, it warns and returns the result without caching it.

        Parameters
        ----------
        function : callable
            A function or method from a module of nsdlib. Its result must depend only on its arguments, the code of that module
            and its imports, and `weights`; see `provenance.call_provenance` for the permitted arguments.
        weights : tuple of str
            Folders of the zoo with the models that compute it.
        kind : type, optional
            The type of its result, with `to_dataset` and `from_dataset`; by default the result is a NumPy array or a DataArray.
        """

        @wraps(function)
        def memoised(*arguments, **options):
            artifact = self._result(function, call_provenance(self.run, function, arguments, options, weights=weights))
            if not artifact.is_sound():
                result = function(*arguments, **options)
                try:
                    artifact.write(_packed(result, kind, function))
                except StoreFull as full:
                    warnings.warn(f"{full} Until then, each call computes it.", stacklevel=2)
                    return result
            with artifact.read() as dataset:
                return _unpacked(dataset.load(), kind)

        return memoised

    def _artifact(self, name):
        """An artifact of `ARTIFACTS`."""
        notebook, inputs = find_step(name).notebook, provenance(self.run, name)
        folder = self.run.store / f"{name}-{digest(inputs)}"
        messages = f"artifact {name!r}", f"notebook {notebook}", lambda: f"{command_that_makes(self.run, name)} again"
        return Artifact(self.run, folder, inputs, {"notebook": notebook}, *messages)

    def _result(self, function, inputs):
        """The artifact of one function call."""
        name = function.__name__
        folder = self.run.store / f"kept-{name}-{digest(inputs)}"
        made_by = {"function": f"{function.__module__}.{function.__qualname__}"}
        return Artifact(self.run, folder, inputs, made_by, f"result of {name}", name, lambda: "call it again")

    def _missing(self, name, wanted):
        """Error message for a missing artifact: the command that makes it, and how the existing versions differ."""
        text = (
            f"The artifact {name!r} of run {self.run.name!r} has not been made from the present parameters and code: "
            f"{command_that_makes(self.run, name)} first."
        )
        fields = self.run.model_dump(mode="json", include=all_fields(name))
        for path in sorted(self.run.store.glob(f"{name}-*/{MANIFEST}")):
            manifest = read_manifest(path)
            if manifest is None:
                text += f"\n  {path.parent.name} exists, but its manifest cannot be read"
                continue
            changed = changed_fields(manifest["run"], fields) + differences(manifest["provenance"], wanted)
            text += f"\n  {path.parent.name} exists, but differs: {'; '.join(changed)}"
        return text


def _packed(result, kind, function):
    """The result of a call as a Dataset."""
    import xarray as xr

    if kind is not None:
        return result.to_dataset()
    if type(result) not in (np.ndarray, xr.DataArray):
        raise TypeError(f"{function.__name__} returned a {type(result).__name__}; wanted an array, or a `kind` with to_dataset.")
    return xr.DataArray(result).to_dataset(name="plain" if type(result) is np.ndarray else "labelled")


def _unpacked(dataset, kind):
    """The inverse of `_packed`."""
    if kind is not None:
        return kind.from_dataset(dataset)
    return dataset["plain"].values if "plain" in dataset else dataset["labelled"].rename(None)
