"""What the book shows of a run: of a simulated subject everything, of a real one nothing that NSD's terms keep at home.

The terms of the Natural Scenes Dataset forbid passing its images on, and a good reconstruction is a copy of one. So a page goes
into the book as it was run only if the runner noted in it that its data are simulated. Of every other run the book takes copies
in `book/published/`, where pictures are replaced by a note, but for the figures of cells tagged `derived-figure`: curves, maps,
scores. What is not known to be harmless is withheld. `nsdlib book --local` takes all pages as they are, into a folder of its own.
"""

import json
import re

from nsdlib.core.files import atomic_write
from nsdlib.store import variants

SIMULATED = "simulated"  # in the metadata of an executed page, below "nsdlib"
DERIVED = "derived-figure"  # tag of a cell whose figures hold no stimulus and no reconstruction
PLACE = "published"  # folder of the copies, below book/
HARMLESS = {"text/plain", "text/html", "text/markdown", "text/latex"}
HOLDS_PICTURE = re.compile(r"data:|url\(|!\[|<\s*(img|image|picture|video|canvas|object|embed|iframe|script|link)\b", re.I)
NOTE = (
    '<div class="nsd-withheld" role="note">Withheld: this picture shows images of the Natural Scenes Dataset or what was '
    "reconstructed from them, and its terms forbid passing them on. Whoever has the data sees it in the executed notebook, "
    "and with <code>nsdlib book --local</code> in a book for their own eyes.</div>"
)


def note(run, notebook, changed):
    """Return what the runner notes in a page (a dictionary), of a run as the notebook (a Path) uses it.

    simulated : whether its data are; changed : in which parameters it differs from the run's file; run and artifacts : see
    `nsdlib.store.variants.origin`.
    """
    return {SIMULATED: run.simulation is not None, "changed": changed} | variants.origin(run, notebook)


def read_note(file):
    """Return what the runner noted in a page, an empty dictionary where it has not."""
    return json.loads(file.read_text())["metadata"].get("nsdlib", {})


def withheld_runs(root):
    """Return the names of the runs, folders below `runs/`, whose pictures may not be shown."""
    return {folder.name for folder in (root / "runs").glob("*/") if not may_be_shown(root, folder.name)}


def may_be_shown(root, run):
    """Return whether there are executed pages of a run, and in each the runner noted that its data are simulated."""
    files = sorted((root / "runs" / run).glob("[!.]*.ipynb"))
    return bool(files) and all(read_note(file).get(SIMULATED) is True for file in files)


def may_show(run):
    """Return whether pictures of a run (nsdlib.params.Run) may be shown: it is simulated, and so were its pages."""
    return run.simulation is not None and may_be_shown(run.root, run.name)


def place(page, withheld):
    """Return the name under which the book takes a page: "published/subj01/NAME" for "runs/subj01/NAME" of a withheld run."""
    folder, _, rest = page.partition("/")
    return f"{PLACE}/{rest}" if folder == "runs" and rest.partition("/")[0] in withheld else page


def origin(page):
    """Return the executed page that a page of the book is made from, the inverse of `place`."""
    return f"runs/{page.removeprefix(f'{PLACE}/')}" if page.startswith(f"{PLACE}/") else page


def write(root, pages):
    """Write the copies among `pages` of the book into `book/published/`."""
    for page in pages:
        if page != origin(page):
            notebook = json.loads((root / f"{origin(page)}.ipynb").read_text())
            copy = root / "book" / f"{page}.ipynb"
            copy.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(copy, json.dumps(withhold(notebook)))


def withhold(notebook):
    """Copy an executed notebook, a dictionary, without pictures, but for the figures of cells tagged `derived-figure`.

    One note stands for all that was taken out of a cell; the state of widgets and attached files are gone.
    """
    metadata = {key: value for key, value in notebook["metadata"].items() if key != "widgets"}
    return notebook | {"metadata": metadata, "cells": [_without_pictures(cell) for cell in notebook["cells"]]}


def _without_pictures(cell):
    """A copy of a cell, with its outputs as a stranger may see them."""
    cell = {key: value for key, value in cell.items() if key != "attachments"}
    if cell["cell_type"] != "code" or DERIVED in cell["metadata"].get("tags", []):
        return cell
    kept = [output for output in cell["outputs"] if _is_harmless(output)]
    if len(kept) < len(cell["outputs"]):
        kept.append({"output_type": "display_data", "metadata": {}, "data": {"text/html": NOTE}})
    return cell | {"outputs": kept}


def _is_harmless(output):
    """Whether an output is text that brings no picture."""
    shown = output.get("data", {})
    text = "".join("".join(shown.get(kind, "")) for kind in HARMLESS - {"text/plain"})
    return shown.keys() <= HARMLESS and not HOLDS_PICTURE.search(text)
