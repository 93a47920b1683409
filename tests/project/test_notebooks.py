"""The notebooks: their form, and that all of them run on the smallest subject."""

import ast
import re
import statistics

import nbformat
import pytest
from conftest import ROOT, make

from nsdlib.params import Run
from nsdlib.run.runner import notebook_names
from nsdlib.store import slices
from nsdlib.store.sources import default_parameters

NAMES = [
    "00_meet_the_data",
    "01_hrf_glmsingle",
    "02_roi_betas",
    "03_decoder_ablation",
    "04_latent_size",
    "05_two_stage_reconstruction",
    "06_noise_sensitivity",
    "07_qualitative_figures",
    "08_across_subjects",
    "09_what_scores_are_worth",
    "10_systems_side_by_side",
]
EXPLORE = "explore"


def read(name):
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


def code(name):
    return [cell for cell in read(name).cells if cell.cell_type == "code"]


def n_lines(cell):
    return sum(bool(line.strip()) for line in cell.source.splitlines())


def test_these_are_all():
    assert sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb")) == [*NAMES, EXPLORE]
    assert notebook_names(ROOT) == NAMES  # no run has to go through the explorers


@pytest.mark.parametrize("name", [*NAMES, EXPLORE])
def test_it_is_a_stripped_notebook_of_format_4_5(name):
    notebook = read(name)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code(name))


@pytest.mark.parametrize("name", [*NAMES, EXPLORE])
def test_it_begins_with_a_title_and_a_question(name):
    first = read(name).cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ") and "?" in first.source
    titles = [line for cell in read(name).cells if cell.cell_type == "markdown" for line in cell.source.splitlines()]
    assert sum(line.startswith("# ") for line in titles) == 1


@pytest.mark.parametrize("name", [*NAMES, EXPLORE])
def test_it_has_one_parameters_cell_that_names_fields_of_a_run(name):
    tagged = [cell for cell in code(name) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    defaults = default_parameters(ROOT / "notebooks" / f"{name}.ipynb")
    assert defaults.pop("run") == "demo" and set(defaults) <= set(Run.model_fields) - {"name", "root"}
    assert all("#" in line for line in tagged[0].source.splitlines() if "= None" in line)


@pytest.mark.parametrize("name", [*NAMES, EXPLORE])
def test_cells_are_short_and_prose_stands_between_them(name):
    lines = [n_lines(cell) for cell in code(name)]
    assert statistics.median(lines) <= 8 and max(lines) <= 20
    kinds = "".join("c" if cell.cell_type == "code" else "m" for cell in read(name).cells)
    assert "ccc" not in kinds


@pytest.mark.parametrize("name", [*NAMES, EXPLORE])
def test_it_defines_nothing_and_names_no_place(name):
    for cell in code(name):
        tree = ast.parse(cell.source)
        assert not [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef))]
        texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
        assert not [text for text in texts if re.match(r"(/|~/|[A-Z]:\\)\w", text)]


def test_the_main_result_comes_early_and_no_figure_feeds_what_is_saved():
    cells = read("05_two_stage_reconstruction").cells
    first = next(i for i, cell in enumerate(cells) if cell.cell_type == "code" and "plot_grid(" in cell.source)
    assert first <= 12 and len(cells) <= 36
    for name, artifacts in {
        "03_decoder_ablation": ("targets", "ablation"),
        "04_latent_size": ("latent_size",),
        "05_two_stage_reconstruction": ("embeddings", "reconstruction", "scores"),
        "06_noise_sensitivity": ("noise",),
        "09_what_scores_are_worth": ("controls",),
        "10_systems_side_by_side": ("systems",),
    }.items():
        for artifact in artifacts:
            _, reached = slices.slice_of(ROOT / "notebooks" / f"{name}.ipynb", artifact)
            assert not [module for module in reached if module.startswith(("nsdlib.plots", "nsdlib.study.statistics"))]


@pytest.mark.slow
def test_a_whole_small_run(small_project):
    pages = small_project / "runs" / "small"
    assert sorted(path.stem for path in pages.glob("*.ipynb")) == NAMES
    for name in NAMES:
        cells = [cell for cell in nbformat.read(pages / f"{name}.ipynb", as_version=4).cells if cell.cell_type == "code"]
        assert all(cell.execution_count for cell in cells if cell.source.strip())
        assert any("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs)


@pytest.mark.slow
def test_a_second_run_does_nothing(small_project):
    pages = sorted((small_project / "runs" / "small").glob("*.ipynb"))
    before = [page.stat().st_mtime_ns for page in pages]
    said = make(small_project, "snakemake", "--profile", "profiles/local", "--config", "runs=small")
    assert "starting" not in said
    assert [page.stat().st_mtime_ns for page in pages] == before


@pytest.mark.slow
def test_all_explorers_are_drawn_without_a_browser(small_project, tmp_path):
    done = tmp_path / "done.ipynb"
    source = small_project / "notebooks" / f"{EXPLORE}.ipynb"
    make(small_project, "papermill", source, done, "-p", "run", "small", "--kernel", "python3", "--no-progress-bar")
    notebook = nbformat.read(done, as_version=4)
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
    states = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"].values()
    shown = [one["state"].get("value", "") for one in states if one["model_name"] == "HTMLModel"]
    assert sum("<img src=" in text for text in shown) == 5 and not [text for text in shown if "Not drawn" in text]
