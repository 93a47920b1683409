"""A book of a real subject contains no stimuli: marked pictures are put wherever a notebook can hold one, and searched for."""

import ast
import base64
import io
import json

import nbformat
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from book._ext.build import build, chapters, first_page
from nsdlib.params import load_run
from nsdlib.run import publish
from nsdlib.store.variants import fields

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]?_*.ipynb"))
VARIANT = "00_page__strength-0.5"
DRAW_PICTURES = {"plot_grid", "plot_scenes", "compare", "steps", "gallery"}  # of nsdlib.plots


def png(seed):
    """A picture that no other file holds, as the base64 text in a notebook."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, size=(9, 9, 3), dtype=np.uint8)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


SEEN, DERIVED = png(0), png(1)
HOLDERS = {
    "figure": {"image/png": SEEN, "text/plain": "<Figure>"},
    "widget": {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "Image()"},
    "slider": {"text/html": f'<form><img alt="" src="data:image/png;base64,{SEEN}"></form>'},
    "drawing": {"text/html": ["<b>x</b>", f'<svg><image href="data:image/png;base64,{SEEN}"/></svg>']},
    "background": {"text/html": f"<div style=\"background: URL('data:image/png;base64,{SEEN}')\">x</div>"},
    "file elsewhere": {"text/html": '<IMG src="../store/seen.png">'},
    "markdown": {"text/markdown": f"![seen](data:image/png;base64,{SEEN})"},
    "svg": {"image/svg+xml": f'<svg><image href="data:image/png;base64,{SEEN}"/></svg>'},
}


def called(cell):
    """Names of the functions that a code cell calls."""
    tree = ast.walk(ast.parse("".join(cell["source"])))
    return {ast.unparse(node.func) for node in tree if isinstance(node, ast.Call)}


def a_cell(data, *tags):
    """An executed cell with one output."""
    output = nbformat.v4.new_output("display_data", data=data)
    return nbformat.v4.new_code_cell("show()", outputs=[output], execution_count=1, metadata={"tags": list(tags)})


@pytest.fixture
def project(tmp_path):
    """A project whose only run, of a real subject, shows a picture in every way, and one derived figure; a variant does, too."""
    cells = [nbformat.v4.new_markdown_cell("# Page"), *(a_cell(data) for data in HOLDERS.values())]
    cells.append(a_cell({"image/png": DERIVED}, publish.DERIVED))
    states = {"1": {"state": {"value": SEEN}, "model_name": "ImageModel", "model_module": "@jupyter-widgets/controls"}}
    page = nbformat.v4.new_notebook(cells=cells)
    page.metadata = {
        "nsdlib": {publish.SIMULATED: False, "run": fields(load_run("subj01")), "changed": {}, "artifacts": {}},
        "language_info": {"name": "python", "pygments_lexer": "python"},
        "widgets": {"application/vnd.jupyter.widget-state+json": {"state": states, "version_major": 2, "version_minor": 0}},
    }
    (tmp_path / "runs" / "subj01").mkdir(parents=True)
    nbformat.write(page, tmp_path / "runs" / "subj01" / "00_page.ipynb")
    page.metadata["nsdlib"] |= {"run": fields(load_run("subj01", strength=0.5)), "changed": {"strength": 0.5}}
    nbformat.write(page, tmp_path / "runs" / "subj01" / f"{VARIANT}.ipynb")
    book = tmp_path / "book"
    book.mkdir()
    (book / "runs").symlink_to(tmp_path / "runs")
    (book / "intro.md").write_text("# Title\n")
    (book / "_toc.yml").write_text("format: jb-book\nroot: intro\nparts:\n- chapters:\n  - file: runs/subj01/00_page\n")
    settings = {"title": "A", "only_build_toc_files": True, "exclude_patterns": ["_build"]}
    settings |= {
        "execute": {"execute_notebooks": "off"},
        "sphinx": {"config": {"suppress_warnings": ["mystnb.unknown_mime_type"]}},
    }
    (tmp_path / "_config.yml").write_text(json.dumps(settings))
    return tmp_path


def holders(folder, picture):
    """The files in a folder that hold a picture, as itself or as text; its text begins like that of any other."""
    needles = base64.b64decode(picture), picture[80:140].encode()
    files = [file for file in folder.rglob("*") if file.is_file()]
    return [file.name for file in files if any(needle in file.read_bytes() for needle in needles)]


@pytest.mark.slow
def test_no_byte_of_a_picture_gets_into_the_book_unless_it_is_for_the_own_eyes(project):
    kept = build(project, local=True)
    assert holders(kept.parent, SEEN) and holders(kept.parent, DERIVED)
    public = build(project)
    assert public == first_page(project) and not public.is_relative_to(kept.parents[2])
    assert holders(public.parent, SEEN) == [] and holders(public.parent, DERIVED)
    for page in ("00_page", VARIANT):
        text = (public.parent / "published" / "subj01" / f"{page}.html").read_text()
        assert text.count('class="nsd-withheld"') == len(HOLDERS)
    assert "00 with strength=0.5" in text


@pytest.mark.parametrize("name", HOLDERS)
def test_every_way_to_hold_a_picture_is_withheld_and_said(name):
    cell = publish.withhold(nbformat.v4.new_notebook(cells=[a_cell(HOLDERS[name])]))["cells"][0]
    assert [output["data"] for output in cell["outputs"]] == [{"text/html": publish.NOTE}]


@pytest.mark.parametrize(
    "data",
    [
        {"text/plain": "table", "text/html": "<table><tr><td>data</td><td>0.5</td></tr></table>"},
        {"text/plain": "a"},
        {
            "text/plain": "<xarray.Dataset>",
            "text/html": "<svg class='icon'><use xlink:href='#icon-database'></use></svg><b>a</b>",
        },
        {"text/latex": "$x$"},
    ],
)
def test_text_and_tables_stay(data):
    notebook = nbformat.v4.new_notebook(cells=[a_cell(data)])
    assert publish.withhold(notebook)["cells"] == notebook["cells"]


def test_files_attached_to_a_text_are_taken_out():
    cell = nbformat.v4.new_markdown_cell("x", attachments={"seen.png": {"image/png": SEEN}})
    assert SEEN not in json.dumps(publish.withhold(nbformat.v4.new_notebook(cells=[cell])))


def test_a_page_that_does_not_say_where_its_data_are_from_is_withheld(project):
    page = project / "runs" / "subj01" / "00_page.ipynb"
    names = ("00_page", VARIANT)
    assert chapters(project) == ["intro", *(f"published/subj01/{name}" for name in names)]
    assert chapters(project, local=True) == ["intro", *(f"runs/subj01/{name}" for name in names)]
    page.with_name(f"{VARIANT}.ipynb").unlink()
    notebook = json.loads(page.read_text())
    for said, withheld in (({}, {"subj01"}), ({publish.SIMULATED: 1}, {"subj01"}), ({publish.SIMULATED: True}, set())):
        page.write_text(json.dumps(notebook | {"metadata": {"nsdlib": said}}))
        assert publish.withheld_runs(project) == withheld
    page.with_name("01_other.ipynb").write_text(json.dumps(notebook))
    assert publish.withheld_runs(project) == {"subj01"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem[:2])
def test_cells_that_draw_pictures_are_never_called_derived_and_other_figures_always_are(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            calls = called(cell)
            draws = any(name.startswith(("plot_", "view_")) for name in calls) or bool(calls & DRAW_PICTURES)
            derived = publish.DERIVED in cell.metadata.get("tags", [])
            assert derived == (draws and not calls & DRAW_PICTURES), cell.source


def test_the_runner_says_that_the_small_run_is_simulated_and_withheld_it_keeps_its_curves(small_project):
    assert publish.withheld_runs(small_project) == set()
    pages = sorted((small_project / "runs" / "small").glob("[0-9]?_*.ipynb"))
    for page in pages:
        notebook = json.loads(page.read_text())
        notes = json.dumps(publish.withhold(notebook)).count("nsd-withheld")
        outputs = [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and cell["outputs"]]
        pictures = [cell for cell in outputs if called(cell) & DRAW_PICTURES]
        assert notes == len(pictures), page.name
    assert len(pages) == len(NOTEBOOKS)
