"""Names for variants of a run: the parameters that differ from the run's file.

Results in the store are named by the hash of their full provenance. Executed pages and folders of figures are named by the
parameters that differ, so that a variant never overwrites the run's own.
"""

import re

from nsdlib.params import Run, load_run
from nsdlib.store.provenance import ARTIFACTS, FOLDERS, digest, provenance
from nsdlib.store.slices import artifacts_loaded

MARK = "__"  # precedes each parameter that differs
LONGEST = 80  # characters for the parameters that differ; longer names are cut
# Fields that say where and how to compute, not what. `clip_judge` is not among them, because it changes the scores.
_PLACES = dict.fromkeys(("root", "data", "weights", "store", "device", "compile"), True)
_PLACES |= {section: FOLDERS[section] for section in ("bids", "betas_files")}


def run_with(name, parameters):
    """Load a run as a notebook with these parameters does; only fields of `Run` count."""
    return load_run(name, **{key: value for key, value in parameters.items() if key in Run.model_fields})


def fields(run):
    """Return the fields of a run that determine what is computed, in JSON types."""
    return run.model_dump(mode="json", exclude=_PLACES)


def differing(run):
    """Return the fields in which a run differs from its parameter file, in JSON types."""
    from_file = fields(load_run(run.name))
    return {key: value for key, value in fields(run).items() if value != from_file[key]}


def name_of(stem, changed):
    """Add the parameters that differ (see `differing`) to the name of a page or folder.

    For example "05_two_stage_reconstruction__decoder-gru". Different values always give different names: if they do not fit into
    a file name, their hash is added.
    """
    text = "".join(f"{MARK}{key}-{_text(value)}" for key, value in sorted(changed.items()))
    name = re.sub(r"[^\w.,-]+", "-", text, flags=re.ASCII)[:LONGEST]
    return f"{stem}{name}" if name == text else f"{stem}{name}-{digest(changed)}"


def words_for(changed):
    """Describe what differs, "decoder=gru, strength=0.9", or return an empty string."""
    return ", ".join(f"{key}={_text(value)}" for key, value in sorted(changed.items()))


def origin(run, notebook):
    """Return the provenance of a page for its metadata: the run's parameters and the notebook's (a Path) artifacts.

    The dictionary's keys are run (the run's `fields`) and artifacts ({"run/artifact": hash} of the artifacts that the notebook
    makes and of their inputs, or, if it makes none, of those that it loads).
    """
    provenances = {name: provenance(run, name) for name, step in ARTIFACTS.items() if step.notebook == notebook.stem}
    versions = {name: digest(inputs) for name, inputs in provenances.items()}
    for inputs in provenances.values():
        versions |= inputs["after"]
    if not provenances:
        versions = {name: digest(provenance(run, name)) for name in artifacts_loaded(notebook) & set(ARTIFACTS)}
    full_names = {name if "/" in name else f"{run.name}/{name}": version for name, version in versions.items()}
    return {"run": fields(run), "artifacts": dict(sorted(full_names.items()))}


def _text(value):
    """A value as text in descriptions and file names."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
