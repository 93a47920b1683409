"""Build the book from the executed notebooks; nothing is run for it."""

import subprocess
import sys
from pathlib import Path

import yaml

FIRST_PAGE = Path("book", "_build", "html", "index.html")
BUILT = ".built"  # marks a build without a warning, beside the first page


def build(root):
    """Build the book, with warnings as errors.

    Parameters
    ----------
    root : Path
        The project's folder.

    Returns
    -------
    Path
        The first page, `book/_build/html/index.html`.

    Raises
    ------
    FileNotFoundError
        When a chapter's notebook has not been run.
    RuntimeError
        When the build warns or fails; its own words go to standard error.
    """
    missing = [page for page in chapters(root) if not _source(root, page)]
    if missing:
        raise FileNotFoundError(
            f"The book cannot be built: {', '.join(missing)} listed in book/_toc.yml do not exist. Chapters below runs/ are "
            "made by `make demo` or `nsdlib run demo`."
        )
    program = Path(sys.executable).with_name("jupyter-book")
    command = [program, "build", "book", "--config", "_config.yml"]
    command += ["--path-output", "book", "--warningiserror", "--keep-going", "--quiet"]
    done = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True)
    page = root / FIRST_PAGE
    if done.returncode or not page.is_file():
        sys.stderr.write(done.stdout[-4000:] + done.stderr[-8000:])
        raise RuntimeError("The book was not built: see the warnings above; each counts as an error.")
    page.with_name(BUILT).touch()
    return page


def is_current(root):
    """Whether the last build succeeded and nothing that the book is made from has changed since."""
    marker = (root / FIRST_PAGE).with_name(BUILT)
    folders = [
        root / "book",
        root / "book" / "static",
        root / "zoo" / "demo",
        root / "nsdlib",
        root / "nsdlib" / "plots",
    ]
    made_from = [root / "_config.yml"] + [_source(root, page) for page in chapters(root)]
    made_from += [path for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_file()]
    return marker.is_file() and all(path and path.stat().st_mtime < marker.stat().st_mtime for path in made_from)


def chapters(root):
    """Every page that the table of contents names, without its ending, in order."""
    contents = yaml.safe_load((root / "book" / "_toc.yml").read_text())
    pages = [contents["root"]]
    for part in contents["parts"]:
        pages += [chapter["file"] for chapter in part["chapters"]]
    return pages


def _source(root, page):
    """The file that a page is made from, or None."""
    files = [root / "book" / f"{page}{ending}" for ending in (".md", ".ipynb")]
    return next((file for file in files if file.is_file()), None)
