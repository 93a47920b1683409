"""Results shipped with the project in `book/data/<run>/`: the small arrays of runs that take hours.

A run may name a similar run (`Run.like`). `nsdlib ship complete` copies the small arrays (scores, errors, curves; no images,
latents or weights) of every artifact that differs between the two. `about.json` records where they come from. They are loaded
by artifact name, as from a store, and are shown beside the results of the similar run.
"""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from nsdlib.params import load_run
from nsdlib.store.artifact import MANIFEST, read_manifest
from nsdlib.store.provenance import ARTIFACTS, artifact_hash, changed_fields, differences, provenance
from nsdlib.store.sources import file_hash
from nsdlib.store.store import Store
from nsdlib.store.variants import fields

PLACE = Path("book", "data")
ABOUT = "about.json"
LARGEST = 2**17  # bytes: larger arrays are not shipped


class Shipped:
    """Shipped results of one run, read like a `Store`, from a folder (Path) with arrays and `about.json`.

    The attribute `about` is a dictionary with the keys run (its parameters), command, commit, machine, and artifacts (for each,
    its manifest and the hash of the copied file).
    """

    def __init__(self, folder):
        self.folder, self.about = folder, json.loads((folder / ABOUT).read_text())

    @property
    def run(self):
        """The run, loaded from its present parameter file."""
        return load_run(self.about["run"]["name"])

    def has(self, name):
        """Return whether an artifact was shipped."""
        return name in self.about["artifacts"]

    def load(self, name):
        """Open the shipped arrays of an artifact as an xarray.Dataset.

        Raises ValueError when there are none, or when the file is not the shipped one.
        """
        import xarray as xr

        file = self.folder / f"{name}.nc"
        if not self.has(name):
            raise ValueError(
                f"{self.folder} does not have {name}: once it has been made, `{self.about['command']}` copies it there."
            )
        if not (file.is_file() and file_hash(file) == self.about["artifacts"][name]["sha256"]):
            raise ValueError(
                f"{file} is not the file that {ABOUT} beside it describes: get both anew from the repository, or make them by "
                f"`{self.about['command']}`."
            )
        return xr.open_dataset(file, engine="h5netcdf")

    def outdated(self):
        """List the changes of parameters, code and weights since the results were made."""
        run, changed = self.run, []
        for name, manifest in self.about["artifacts"].items():
            made, wanted = manifest["provenance"], provenance(run, name)
            made["after"], wanted["after"] = (
                {other: version for other, version in inputs["after"].items() if not self.has(other.rpartition("/")[2])}
                for inputs in (made, wanted)
            )
            changed += changed_fields(made["fields"], wanted["fields"]) + differences(made, wanted)
        return sorted(set(changed))

    def __str__(self):
        run, manifest = self.about["run"], next(iter(self.about["artifacts"].values()))
        changed = self.outdated()
        more = [f"and {len(changed) - 3} more"] if len(changed) > 3 else []
        text = "; ".join(changed[:3] + more)
        state = f"by an EARLIER VERSION ({text})" if changed else "by the present parameters and code"
        return (
            f"{run['name']}: networks trained to their end, or for {run['max_epochs']} epochs, seeds "
            f"{', '.join(map(str, run['decoder_seeds']))}; made {state} on {manifest['made'][:10]}, commit "
            f"{self.about['commit']}, {self.about['machine']}, torch {manifest['versions']['torch']}"
        )


def shipped_like(run):
    """Return the shipped results of runs like this one, to show beside its own (dict of str to Shipped)."""
    results = [Shipped(file.parent) for file in sorted((run.root / PLACE).glob(f"*/{ABOUT}"))]
    return {shipped.about["run"]["name"]: shipped for shipped in results if shipped.about["run"]["like"] == run.name}


def ship(run, *, machine):
    """Copy the small arrays of a run from its store into the project, replacing earlier ones; returns a Shipped.

    `machine` describes the computer that made the results. Raises ValueError when the run's `like` is not set, or when the store
    has no artifact that differs from those of the similar run.
    """
    if run.like is None:
        raise ValueError(f"{run.name} is like no other run, beside which its results could stand: set `like` in its file.")
    store, like = Store(run), load_run(run.like)
    names = [name for name in ARTIFACTS if artifact_hash(run, name) != artifact_hash(like, name) and store.has(name)]
    if not names:
        raise ValueError(f"There is nothing to ship in which {run.name} differs from {like.name}: `nsdlib run {run.name}` first.")
    target = run.root / PLACE / run.name
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{run.name}-", dir=target.parent) as temporary:
        folder = Path(temporary) / run.name
        folder.mkdir()
        manifests = {name: _copy(store, name, folder) for name in names}
        about = {"run": fields(run), "command": f"nsdlib ship {run.name}", "commit": commit(run.root), "machine": machine}
        about["artifacts"] = {name: manifest for name, manifest in manifests.items() if manifest}
        if not about["artifacts"]:
            raise ValueError(
                f"There is nothing to ship of {run.name}: no array of {', '.join(names)} is below {LARGEST:,} bytes."
            )
        (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n")
        shutil.rmtree(target, ignore_errors=True)
        folder.rename(target)
    return Shipped(target)


def _copy(store, name, folder):
    """Copy the small arrays of an artifact; returns its manifest with the hash of the copy, or None if no array is small."""
    file, manifest = folder / f"{name}.nc", read_manifest(store.path(name) / MANIFEST)
    with store.load(name) as dataset:
        small = dataset[[variable for variable, array in dataset.items() if array.nbytes <= LARGEST]]
        if not small.data_vars:
            return None
        small.to_netcdf(file, engine="h5netcdf", encoding={variable: {"zlib": True} for variable in small})
    keys = ("provenance", "made", "versions")
    return {key: manifest[key] for key in keys} | {"sha256": file_hash(file), "bytes": file.stat().st_size}


def commit(root):
    """Return the commit of a source tree, with a + if files were modified; None without a repository."""
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"]
    environment = os.environ | {"GIT_CEILING_DIRECTORIES": str(root.parent)}
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    except OSError:  # git is not installed
        return None
    return result.stdout.strip() or None
