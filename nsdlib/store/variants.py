"""What tells a variant from its run: the parameters that differ from the run's file, named in what it writes beside the store.

Results in the store are named by all that they were made from; an executed page, or a folder of figures, by what differs. So
nothing that a variant writes takes the place of what the run wrote.
"""

import re

from nsdlib.params import Run, load_run
from nsdlib.store.provenance import ARTIFACTS, FOLDERS, digest, provenance
from nsdlib.store.slices import artifacts_loaded

MARK = "__"  # between a page's notebook and each parameter that differs
LONGEST = 80  # characters of a name that say what differs
# Where and how something is computed, not what; another judge makes other scores.
_PLACES = dict.fromkeys(("root", "data", "weights", "store", "device", "compile"), True)
_PLACES |= {section: FOLDERS[section] for section in ("bids", "betas_files")}


def run_with(name, parameters):
    """Load a run as a notebook uses it that gets these parameters: those that are fields of a `Run` count."""
    return load_run(name, **{key: value for key, value in parameters.items() if key in Run.model_fields})


def fields(run):
    """Return the fields of a run that say what is computed, as JSON holds them."""
    return run.model_dump(mode="json", exclude=_PLACES)


def differing(run):
    """Return the fields in which a run differs from its parameter file, as JSON holds them."""
    as_filed = fields(load_run(run.name))
    return {key: value for key, value in fields(run).items() if value != as_filed[key]}


def name_of(stem, changed):
    """Name what a run writes from its name when the run is as in its file, and from what differs (see `differing`).

    "05_two_stage_reconstruction__decoder-gru". Other values give another name: where they cannot be written out in a
    file's name, a hash of them is added.
    """
    text = "".join(f"{MARK}{key}-{_text(value)}" for key, value in sorted(changed.items()))
    name = re.sub(r"[^\w.,-]+", "-", text, flags=re.ASCII)[:LONGEST]
    return f"{stem}{name}" if name == text else f"{stem}{name}-{digest(changed)}"


def words_for(changed):
    """Say what differs, "decoder=gru, strength=0.9"; nothing when nothing does."""
    return ", ".join(f"{key}={_text(value)}" for key, value in sorted(changed.items()))


def origin(run, notebook):
    """Return what a page is made from, for its metadata: of a run as the notebook (a Path) uses it.

    A dictionary of run, the run's `fields`, and artifacts, the hashes of what the notebook makes and of what that is computed
    from, or, where it makes nothing, of what it loads; its keys are "run/artifact".
    """
    made = {name: provenance(run, name) for name, step in ARTIFACTS.items() if step.notebook == notebook.stem}
    versions = {name: digest(inputs) for name, inputs in made.items()}
    for inputs in made.values():
        versions |= inputs["after"]
    if not made:
        versions = {name: digest(provenance(run, name)) for name in artifacts_loaded(notebook) & set(ARTIFACTS)}
    named = {name if "/" in name else f"{run.name}/{name}": version for name, version in versions.items()}
    return {"run": fields(run), "artifacts": dict(sorted(named.items()))}


def _text(value):
    """A value as words and names have it."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
