"""Build the book from the executed notebooks, without running them and without pictures of real subjects."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from book._ext import agreement, pages, reference, snippets
from nsdlib.run import publish
from nsdlib.store.commands import command
from nsdlib.store.variants import words_for

OUTPUTS = {False: Path("book"), True: Path("book", "_build", "local")}  # by `local`: publishable, private
EXTENSIONS = Path(__file__).parents[2]  # the folder from which Sphinx imports book._ext
TABLE = "_toc.yml"  # a build's table of contents, in the folder above its first page
BUILT = ".built"  # marks a build without warnings, beside the first page


def first_page(root, *, local=False):
    """Return the path of the first page; a local book has its own folder, apart from the publishable one."""
    return root / OUTPUTS[local] / "_build" / "html" / "index.html"


def build(root, *, local=False):
    """Build the book, with warnings as errors, and return its first page.

    A `local` book contains pictures of real subjects (`nsdlib.run.publish`) and must not be passed on. Raises FileNotFoundError
    when a chapter's notebook has not been run, ValueError when the chapters of `book/_toc.yml` are inconsistent
    (`book._ext.agreement`), and RuntimeError, with the output on standard error, when the build warns or fails. Other runs and
    variants with inconsistent pages are left out.
    """
    table, conflicts = contents(root, local=local)
    listed = _pages(table)
    generated = {*pages.GENERATED, *reference.NAMES}
    missing = [page for page in listed if page not in generated and not _source(root, page)]
    if missing:
        raise FileNotFoundError(
            f"The book cannot be built: {', '.join(missing)} listed in book/_toc.yml do not exist. Chapters below runs/ are "
            "made by `make demo` or `nsdlib run demo`."
        )
    for place, conflict in conflicts.items():
        if any(publish.origin(page).startswith(f"{place}/") for page in listed):
            raise ValueError(f"The book cannot be built: {conflict}")
        sys.stderr.write(f"Left out of the book: {conflict}\n")
    if set(reference.NAMES) & set(listed):
        reference.write(root)
    if set(pages.GENERATED) & set(listed):
        pages.write(root)
        snippets.write(root)
    publish.write(root, listed)
    page = first_page(root, local=local)
    if any(publish.origin(name) != name for name in listed):
        shutil.rmtree(page.parent, ignore_errors=True)  # earlier builds may have left pictures
    toc = page.parents[1] / TABLE
    toc.parent.mkdir(parents=True, exist_ok=True)
    toc.write_text(yaml.safe_dump(table, sort_keys=False))
    command = [Path(sys.executable).with_name("jupyter-book"), "build", "book", "--config", "_config.yml", "--toc", toc]
    command += ["--path-output", OUTPUTS[local], "--warningiserror", "--keep-going", "--quiet"]
    paths = filter(None, [str(EXTENSIONS), os.environ.get("PYTHONPATH")])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    process = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True, env=environment)
    if process.returncode or not page.is_file():
        sys.stderr.write(process.stdout[-4000:] + process.stderr[-8000:])
        raise RuntimeError("The book was not built: see the warnings above; each counts as an error.")
    page.with_name(BUILT).touch()
    return page


def is_current(root, *, local=False):
    """Return whether the last build succeeded with the present table of contents, and no source has changed since."""
    marker, (table, _) = first_page(root, local=local).with_name(BUILT), contents(root, local=local)
    toc = marker.parents[1] / TABLE
    if not toc.is_file() or yaml.safe_load(toc.read_text()) != table:
        return False
    files = [root / "_config.yml"] + [_source(root, page) for page in _pages(table)]
    files += [*(root / "runs").glob("*/*.json"), *(root / "book" / "data").glob("*/*.*")]
    for folder in ("book", "book/_ext", "book/static", "book/data", "params"):
        files += (root / folder).glob("*.*")
    for folder in ("nsdlib", "zoo/demo"):
        files += (path for path in (root / folder).rglob("*.*") if path.suffix != ".pyc")
    return marker.is_file() and all(path and path.stat().st_mtime < marker.stat().st_mtime for path in files)


def contents(root, *, local=False):
    """Return the table of contents: `book/_toc.yml`, plus a part after the demo for each other complete run; and conflicts.

    Titles of notebooks begin with their numbers, with variants below them. Unless the book is `local`, pages of real subjects are
    replaced by copies without pictures. Other runs and variants with inconsistent pages are left out; the conflicts are a
    dictionary {path: sentence} about these.
    """
    table, conflicts = _with_all_runs(root, yaml.safe_load((root / "book" / "_toc.yml").read_text()))
    withheld = set() if local else publish.withheld_runs(root)
    for part in table["parts"]:
        sources = {chapter["file"]: _source(root, chapter["file"]) for chapter in part["chapters"]}
        executed = [source for source in sources.values() if source and source.suffix == ".ipynb"]
        for chapter in part["chapters"]:
            if (source := sources[chapter["file"]]) in executed:
                chapter["title"] = f"{source.name[:2]} {_title(source)}"
                sections, variant_conflicts = _variants(chapter["file"], source, executed)
                conflicts |= variant_conflicts
                if sections:
                    chapter["sections"] = sections
            for page in (chapter, *chapter.get("sections", ())):
                page["file"] = publish.place(page["file"], withheld)
    return table, conflicts


def _with_all_runs(root, table):
    """The table with a part for each further run that is complete and consistent; and the conflicts of complete runs."""
    demo = next((part for part in table["parts"] if part["chapters"][0]["file"].startswith("runs/")), None)
    if demo is None:
        return table, {}
    names, conflicts = [Path(chapter["file"]).name for chapter in demo["chapters"]], {}
    place = table["parts"].index(demo) + 1
    for run in sorted((path.name for path in (root / "runs").glob("*/")), reverse=True):
        files = [f"runs/{run}/{name}" for name in names]
        sources = [_source(root, file) for file in files]
        if not all(sources):
            continue
        if problems := agreement.disagreements(sources):
            conflicts[f"runs/{run}"] = _conflict(f"the pages of runs/{run}", problems, f"nsdlib run {run}")
        elif files[0] != demo["chapters"][0]["file"]:
            part = {"caption": f"The notebooks, run on {run}", "chapters": [{"file": file} for file in files]}
            table["parts"].insert(place, part)
    return table, conflicts


def _variants(page, source, executed):
    """Sections for the variants of a page that are consistent with all pages of its run, and the conflicts of the others."""
    sections, conflicts = [], {}
    for file, changed in agreement.variants(source).items():
        place = str(Path(page).with_name(file.stem))
        if problems := agreement.disagreements([*executed, file]):
            again = command(Path(page).parent.name, source.stem, changed)
            conflicts[place] = _conflict(f"{place} and the pages of its run", problems, again)
        else:
            sections.append({"file": place, "title": f"{file.name[:2]} with {words_for(changed)}"})
    return sections, conflicts


def _conflict(what, problems, again):
    """A sentence about inconsistent pages and how to update them."""
    return f"{what} do not agree: {'; '.join(problems)}. `{again}` makes them again; results in the store are reused."


def chapters(root, *, local=False):
    """Return the pages of the table of contents in order, without file extensions."""
    return _pages(contents(root, local=local)[0])


def _pages(table):
    """The pages of a table of contents, in order."""
    chapters = [chapter for part in table["parts"] for chapter in part["chapters"]]
    return [table["root"], *(page["file"] for chapter in chapters for page in (chapter, *chapter.get("sections", ())))]


def _title(notebook):
    """The first heading of a notebook's file, or its name."""
    cells = json.loads(notebook.read_text())["cells"]
    lines = (line for cell in cells for line in "".join(cell["source"]).splitlines())
    return next((line.removeprefix("# ") for line in lines if line.startswith("# ")), notebook.stem)


def _source(root, page):
    """The source file of a page, or None."""
    files = [root / "book" / f"{publish.origin(page)}{ending}" for ending in (".md", ".ipynb")]
    return next((file for file in files if file.is_file()), None)
