"""Withhold pictures of real subjects from the book; pages of simulated subjects are shown in full.

The terms of the Natural Scenes Dataset forbid redistribution of its images, and a good reconstruction is a copy of one. A page is
therefore published unchanged only if its metadata say that its data are simulated. For every other run, the book includes copies
in `book/published/` in which a note replaces the outputs, except text without pictures and the figures of cells tagged
`derived-figure`: curves, maps, scores. `nsdlib book --local` includes all pages unchanged, in a separate folder.
"""

import json
import re

from nsdlib.core.files import atomic_write
from nsdlib.store import variants

SIMULATED = "simulated"  # key in the metadata of an executed page, below "nsdlib"
DERIVED = "derived-figure"  # tag of cells with figures that contain no stimulus or reconstruction
PLACE = "published"  # folder of the copies, below book/
HARMLESS = {"text/plain", "text/html", "text/markdown", "text/latex"}
HOLDS_PICTURE = re.compile(r"data:|url\(|!\[|<\s*(img|image|picture|video|canvas|object|embed|iframe|script|link)\b", re.I)
NOTE = (
    '<div class="nsd-withheld" role="note">Withheld: this picture shows images of the Natural Scenes Dataset or '
    "reconstructions of them, and its terms forbid redistributing either. If you have the data, the executed notebook shows it, "
    "and so does the private book of <code>nsdlib book --local</code>.</div>"
)


def note(run, notebook, changed):
    """Return the note (a dictionary) that the runner adds to the metadata of a page; `notebook` is a Path.

    Its keys are simulated (whether the data are simulated), changed (the parameters that differ from the run's file), and run and
    artifacts (see `nsdlib.store.variants.origin`).
    """
    return {SIMULATED: run.simulation is not None, "changed": changed} | variants.origin(run, notebook)


def read_note(file):
    """Return the runner's note in a page, or an empty dictionary."""
    return json.loads(file.read_text())["metadata"].get("nsdlib", {})


def withheld_runs(root):
    """Return the names of the runs (folders in `runs/`) with pictures that may not be shown."""
    return {folder.name for folder in (root / "runs").glob("*/") if not may_be_shown(root, folder.name)}


def may_be_shown(root, run):
    """Return whether a run has executed pages and all of them are noted as simulated."""
    files = sorted((root / "runs" / run).glob("[!.]*.ipynb"))
    return bool(files) and all(read_note(file).get(SIMULATED) is True for file in files)


def may_show(run):
    """Return whether pictures of a run (nsdlib.params.Run) may be shown: the run and all its pages are simulated."""
    return run.simulation is not None and may_be_shown(run.root, run.name)


def place(page, withheld):
    """Return the name of a page in the book: "published/subj01/NAME" for "runs/subj01/NAME" of a withheld run."""
    folder, _, name = page.partition("/")
    return f"{PLACE}/{name}" if folder == "runs" and name.partition("/")[0] in withheld else page


def origin(page):
    """Return the executed page behind a page of the book; the inverse of `place`."""
    return f"runs/{page.removeprefix(f'{PLACE}/')}" if page.startswith(f"{PLACE}/") else page


def write(root, pages):
    """Write copies without pictures into `book/published/`, for those of the book's `pages` that are withheld."""
    for page in pages:
        if page != origin(page):
            notebook = json.loads((root / f"{origin(page)}.ipynb").read_text())
            copy = root / "book" / f"{page}.ipynb"
            copy.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(copy, json.dumps(withhold(notebook)))


def withhold(notebook):
    """Copy an executed notebook, a dictionary, without pictures, except the figures of cells tagged `derived-figure`.

    One note replaces all outputs removed from a cell. Widget states and attachments are removed too.
    """
    metadata = {key: value for key, value in notebook["metadata"].items() if key != "widgets"}
    return notebook | {"metadata": metadata, "cells": [_without_pictures(cell) for cell in notebook["cells"]]}


def _without_pictures(cell):
    """A copy of a cell with only the outputs that may be published."""
    cell = {key: value for key, value in cell.items() if key != "attachments"}
    if cell["cell_type"] != "code" or DERIVED in cell["metadata"].get("tags", []):
        return cell
    outputs = list(filter(_is_harmless, cell["outputs"]))
    if len(outputs) < len(cell["outputs"]):
        outputs.append({"output_type": "display_data", "metadata": {}, "data": {"text/html": NOTE}})
    return cell | {"outputs": outputs}


def _is_harmless(output):
    """Whether an output is text without pictures."""
    data = output.get("data", {})
    text = "".join("".join(data.get(kind, "")) for kind in HARMLESS - {"text/plain"})
    return data.keys() <= HARMLESS and not HOLDS_PICTURE.search(text)
