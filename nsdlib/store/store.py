"""Results between notebooks: labelled arrays with a manifest that says what they came from.

An artifact is a folder `<store>/<run>/<name>-<hash>/` with `arrays.nc` (netCDF-4) and `manifest.json`. The hash is that
of the artifact's provenance: parameters, earlier artifacts, model weights, and the code that computes it. A changed method
therefore makes a new artifact beside the old one, and nothing is overwritten.

The result of a single long call can be kept in the same way (`Store.memoise`), in `<store>/<run>/kept-<function>-<hash>/`: what a
notebook did before it was killed, or before it got another figure, it then does not do again.
"""

import shutil
import warnings
from functools import wraps

import numpy as np

from nsdlib.store.artifact import MANIFEST, Artifact, MissingArtifact, StoreFull, read_manifest
from nsdlib.store.commands import how_to_make
from nsdlib.store.provenance import all_fields, call_provenance, changed_fields, differences, digest, find_step, provenance


class Store:
    """The artifacts of one run (nsdlib.params.Run), which says where the store lies and from which parameters they are made."""

    def __init__(self, run):
        self.run = run

    def path(self, name):
        """Return the folder of an artifact, whether it exists or not."""
        return self._artifact(name).folder

    def has(self, name):
        """Return whether an artifact is on disk, complete and undamaged."""
        return self._artifact(name).is_sound()

    def scratch(self, name):
        """Return the folder for what is in progress before the artifact is saved; `save` removes it.

        Each run that shares the store has its own, so that none takes another's away.
        """
        return self.run.store / f".scratch-{self.run.name}-{self.path(name).name}"

    def save(self, name, dataset):
        """Write an artifact, a key of `ARTIFACTS`, and hand it back as `load` returns it.

        The arrays of the xarray.Dataset may be of bool, integer, floating or string type. Where another process has finished the
        same artifact meanwhile, that one is returned. A ValueError for an unknown name, or something that is no Dataset; a
        StoreFull when there is no room for it: nothing half-written stays.
        """
        if not hasattr(dataset, "data_vars"):
            raise ValueError(f"The store keeps an xarray.Dataset; for {name!r} it got a {type(dataset).__name__}.")
        artifact = self._artifact(name)
        artifact.write(dataset)
        shutil.rmtree(self.scratch(name), ignore_errors=True)
        return artifact.read()

    def load(self, name):
        """Open an artifact, an xarray.Dataset whose arrays are read from disk when they are used.

        Close it, or use it in a `with` block, when the file must be free again.

        Raises
        ------
        MissingArtifact
            When it has not been made from the present parameters and code.
        DamagedArtifact
            When its manifest cannot be read, or its arrays do not fit it.
        """
        artifact = self._artifact(name)
        if not artifact.is_finished():
            raise MissingArtifact(self._what_is_missing(name, artifact.provenance))
        return artifact.read()

    def cached(self, name, make):
        """Load the artifact, or make it with `make()` (a callable that returns the Dataset) and save it."""
        return self.load(name) if self.has(name) else self.save(name, make())

    def memoise(self, function, *, weights=(), kind=None):
        """Return the same function, but what it returned for equal arguments is read from the store.

        It raises TypeError for arguments and functions that `provenance.call_provenance` cannot tell apart, and for results of
        another kind. Where there is no room for a result, it warns and hands it out all the same.

        Parameters
        ----------
        function : callable
            From a module of nsdlib, a method as well. Its result must follow from its arguments, that module's code with what it
            imports, and `weights`; see `provenance.call_provenance` for the arguments that it may take.
        weights : tuple of str
            Folders of the zoo whose models compute it.
        kind : type, optional
            Of what it returns, with `to_dataset` and `from_dataset`; when not given, it returns NumPy's or xarray's arrays.
        """

        @wraps(function)
        def memoised(*arguments, **options):
            artifact = self._result(function, call_provenance(self.run, function, arguments, options, weights=weights))
            if not artifact.is_sound():
                result = function(*arguments, **options)
                try:
                    artifact.write(_packed(result, kind, function))
                except StoreFull as full:
                    warnings.warn(f"{full} Until then it is computed each time.", stacklevel=2)
                    return result
            with artifact.read() as dataset:
                return _unpacked(dataset.load(), kind)

        return memoised

    def _artifact(self, name):
        """An artifact of the table."""
        notebook, inputs = find_step(name).notebook, provenance(self.run, name)
        folder = self.run.store / f"{name}-{digest(inputs)}"
        phrases = f"artifact {name!r}", f"notebook {notebook}", lambda: f"{how_to_make(self.run, name)} again"
        return Artifact(self.run, folder, inputs, {"notebook": notebook}, *phrases)

    def _result(self, function, inputs):
        """The result of one call."""
        name = function.__name__
        folder = self.run.store / f"kept-{name}-{digest(inputs)}"
        made_by = {"function": f"{function.__module__}.{function.__qualname__}"}
        return Artifact(self.run, folder, inputs, made_by, f"result of {name}", name, lambda: "call it again")

    def _what_is_missing(self, name, wanted):
        """Message of a missing artifact: who makes it, and how those that are there differ."""
        text = (
            f"The artifact {name!r} of run {self.run.name!r} has not been made from the present parameters and code: "
            f"{how_to_make(self.run, name)} first."
        )
        fields = self.run.model_dump(mode="json", include=all_fields(name))
        for path in sorted(self.run.store.glob(f"{name}-*/{MANIFEST}")):
            manifest = read_manifest(path)
            if manifest is None:
                text += f"\n  {path.parent.name} is there, but its manifest cannot be read"
                continue
            changed = changed_fields(manifest["run"], fields) + differences(manifest["provenance"], wanted)
            text += f"\n  {path.parent.name} is there, but differs: {'; '.join(changed)}"
        return text


def _packed(result, kind, function):
    """The result of a call as a Dataset."""
    import xarray as xr

    if kind is not None:
        return result.to_dataset()
    if type(result) not in (np.ndarray, xr.DataArray):
        raise TypeError(
            f"{function.__name__} returned a {type(result).__name__}; wanted an array, or a `kind` that says how to keep it."
        )
    return xr.DataArray(result).to_dataset(name="plain" if type(result) is np.ndarray else "labelled")


def _unpacked(dataset, kind):
    """The inverse of `_packed`."""
    if kind is not None:
        return kind.from_dataset(dataset)
    return dataset["plain"].values if "plain" in dataset else dataset["labelled"].rename(None)
