"""Whether executed pages belong together: made with the parameters of their run's file, and from the same results.

The runner notes in each page what it was made from (`nsdlib.store.variants.origin`).
"""

import json

from nsdlib.params import load_run
from nsdlib.run.publish import read_note
from nsdlib.store.artifact import MANIFEST
from nsdlib.store.provenance import all_fields, changed_fields
from nsdlib.store.store import Store
from nsdlib.store.variants import MARK, fields, run_with


def disagreements(files):
    """List in what executed pages of one run contradict its parameter file, each other, or the results that tables are made of.

    Of a variant, what its own parameters bring about is no contradiction.
    """
    notes = {file.stem: read_note(file) for file in files}
    if silent := [page for page, note in notes.items() if "artifacts" not in note]:
        return [f"what {', '.join(silent)} was made from is not noted there"]
    try:
        return _other_parameters(notes) or _other_results(notes)
    except ValueError as error:  # of a parameter file that is gone or cannot be read
        return [str(error)]


def variants(page):
    """Return the executed pages of a page's variants, each with what differs from the run as it is in its file."""
    files = sorted(page.parent.glob(f"{page.stem}{MARK}*.ipynb"))
    changed = {file: read_note(file).get("changed") for file in files if not file.stem.endswith(".partial")}
    return {file: differing for file, differing in changed.items() if differing}


def _other_parameters(notes):
    """The parameters that are others now than when a page was made."""
    pages = {}
    for page, note in notes.items():
        for phrase in changed_fields(note["run"], fields(run_with(note["run"]["name"], note["changed"]))):
            pages.setdefault(phrase, []).append(page)
    return [f"{phrase} (made before that: {', '.join(those)})" for phrase, those in pages.items()]


def _other_results(notes):
    """The artifacts of which two pages, or a page and the tables, have different versions."""
    versions = {}  # (artifact, what changes it) -> version -> pages
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
        f"{name} is " + ", but ".join(f"{version} in {', '.join(those)}" for version, those in pages.items())
        for (name, _), pages in versions.items()
        if len(pages) > 1
    ]
