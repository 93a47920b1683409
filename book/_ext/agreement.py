"""Check that executed pages are consistent: made with the parameters of their run's file, and from the same results.

The runner records the provenance of each page in its metadata (`nsdlib.store.variants.origin`).
"""

import json

from nsdlib.params import load_run
from nsdlib.run.publish import read_note
from nsdlib.store.artifact import MANIFEST
from nsdlib.store.provenance import all_fields, changed_fields
from nsdlib.store.store import Store
from nsdlib.store.variants import MARK, fields, run_with


def disagreements(files):
    """List how executed pages of one run contradict its parameter file, each other, or the results in the store.

    Differences caused by a variant's own parameters do not count.
    """
    notes = {file.stem: read_note(file) for file in files}
    without_note = [page for page, note in notes.items() if "artifacts" not in note]
    if without_note:
        return [f"{', '.join(without_note)}: no record of parameters and results"]
    try:
        return _other_parameters(notes) or _other_results(notes)
    except ValueError as error:  # the parameter file is missing or invalid
        return [str(error)]


def variants(page):
    """Return the executed pages of a page's variants: {page: parameters that differ from the run's file}."""
    files = sorted(page.parent.glob(f"{page.stem}{MARK}*.ipynb"))
    changed = {file: read_note(file).get("changed") for file in files if not file.stem.endswith(".partial")}
    return {file: parameters for file, parameters in changed.items() if parameters}


def _other_parameters(notes):
    """The parameters that have changed since a page was made."""
    pages_of = {}
    for page, note in notes.items():
        for change in changed_fields(note["run"], fields(run_with(note["run"]["name"], note["changed"]))):
            pages_of.setdefault(change, []).append(page)
    return [f"{change} (pages made before: {', '.join(pages)})" for change, pages in pages_of.items()]


def _other_results(notes):
    """The artifacts with different versions in two pages, or in a page and the store."""
    versions = {}  # {(artifact, parameters of a variant that change it): {version: pages}}
    for page, note in notes.items():
        for name, version in note["artifacts"].items():
            changed = note["changed"].keys() & all_fields(name.rpartition("/")[2])
            key = name, json.dumps({field: note["changed"][field] for field in sorted(changed)})
            versions.setdefault(key, {}).setdefault(version, []).append(page)
    store = Store(load_run(next(iter(notes.values()))["run"]["name"]))
    for (name, changed), pages in versions.items():
        run, _, artifact = name.rpartition("/")
        path = store.path(artifact) if (run, changed) == (store.run.name, "{}") else None
        if path and (path / MANIFEST).is_file():
            pages.setdefault(path.name.rpartition("-")[2], []).append("the store for the present code")
    return [
        f"{name} is " + ", but ".join(f"{version} in {', '.join(names)}" for version, names in pages.items())
        for (name, _), pages in versions.items()
        if len(pages) > 1
    ]
