"""The sources of a result follow imports: nested modules, data files and cells count; comments and other cells do not."""

import ast
import json
import shutil
import sys

import pytest

from nsdlib.params import load_run
from nsdlib.store import provenance, slices, sources

FILES = {
    "__init__.py": "",
    "params.py": "from nsdlib.wing import unused\n\n\ndef load_run(name):\n    return name\n",
    "wing/__init__.py": "import lazy_loader\n\n"
    'lazy_loader.attach(__name__, submod_attrs={"outer": ("compute", "other"), "unused": ("idle",)})\n',
    "wing/outer.py": "from nsdlib.wing.deep import inner\n\n\ndef compute():\n    return inner.x\n",
    "wing/deep/__init__.py": "",
    "wing/deep/inner.py": '"""A."""\n\nfrom pathlib import Path\n\nx = Path(__file__).with_name("table.csv")\n',
    "wing/deep/table.csv": "1,2\n",
    "wing/deep/unread.csv": "3\n",
    "wing/unused.py": "idle = 1\n",
}
CELLS = {
    "parameters": 'subject = "demo"',
    "imports": "from nsdlib.params import load_run\nfrom nsdlib.wing import compute, idle\n\nrun = load_run(subject)",
    "made": "%time\nvalue, parts = compute(), []\nfor name in run:\n    parts.append(name)",
    "shown": "table = [name for name in value]\nprint(idle, table)",
    "saved": 'if not store.has("result"):\n    store.save("result", [value, parts])',
    "after": "value = 0\nstore.load('other')",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package in the place of nsdlib, and a notebook beside it."""
    monkeypatch.setattr(sources, "PACKAGE", tmp_path / "nsdlib")
    for name, text in FILES.items():
        write(tmp_path / "nsdlib" / name, text)
    write_notebook(tmp_path / "page.ipynb", CELLS)
    forget()
    yield tmp_path
    forget()


def forget():
    for function in (sources._imports, sources.public_names, sources.module_hash, slices._slice, sources._hash_of):
        function.cache_clear()


def write(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def write_notebook(file, cells):
    listed = [
        {"cell_type": "code", "metadata": {"tags": [name]}, "source": text.splitlines(keepends=True)}
        for name, text in cells.items()
    ]
    file.write_text(json.dumps({"cells": listed}))


def everything(package):
    """The notebook's part and the modules that its result depends on, as hashes."""
    forget()
    cells, reached = slices.slice_of(package / "page.ipynb", "result")
    return {"cells": cells} | sources.code_hashes(reached)


def test_imports_are_followed_through_faces_packages_and_functions(package):
    assert set(everything(package)) == {"cells", "nsdlib.wing.outer", "nsdlib.wing.deep.inner"}


@pytest.mark.parametrize(
    ("file", "old", "new", "counts"),
    [
        ("wing/deep/inner.py", "x = ", "x = 1 and ", True),
        ("wing/deep/inner.py", '"""A."""', '"""Another text."""  # and a comment', False),
        ("wing/deep/inner.py", "\n\nx =", "\n\n\n# a comment\nx =", False),
        ("wing/deep/table.csv", "2", "3", True),
        ("wing/deep/unread.csv", "3", "4", False),
        ("wing/unused.py", "1", "2", False),
        ("params.py", "return name", "return name * 2", False),
    ],
)
def test_a_nested_module_and_a_data_file_count_and_comments_do_not(package, file, old, new, counts):
    before = everything(package)
    path = package / "nsdlib" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert (everything(package) != before) == counts


@pytest.mark.parametrize(
    ("cell", "old", "new", "counts"),
    [
        ("parameters", "demo", "small", False),  # what a run is, its fields say
        ("made", "compute()", "compute() + 1", True),
        ("made", "append(name)", "append(2 * name)", True),
        ("made", "%time\n", "# quickly\n", False),
        ("shown", "print(idle, table)", "print(table)", False),
        ("after", "value = 0", "value = 1", False),
        ("saved", "[value, parts]", "[parts]", True),
    ],
)
def test_cells_count_from_which_the_result_follows(package, cell, old, new, counts):
    before = everything(package)
    assert old in CELLS[cell]
    write_notebook(package / "page.ipynb", CELLS | {cell: CELLS[cell].replace(old, new)})
    assert (everything(package) != before) == counts


@pytest.mark.parametrize(
    ("text", "reached"),
    [
        ("from nsdlib.wing import compute", {"outer", "deep.inner"}),
        ("from nsdlib.wing import idle", {"unused"}),
        ("import nsdlib.wing as w", {"outer", "deep.inner", "unused"}),
        ("from nsdlib import wing", {"outer", "deep.inner", "unused"}),
        ("from nsdlib.wing import *", {"outer", "deep.inner", "unused"}),
        ("from nsdlib.wing import outer", {"outer", "deep.inner"}),
        ("from nsdlib.wing.deep import *", set()),
        ("import nsdlib.wing.deep.inner, numpy", {"deep.inner"}),
        ("from nsdlib.gone import compute", set()),
        ("def f():\n    from nsdlib.wing.unused import idle", {"unused"}),
    ],
)
def test_every_form_of_import_reaches_what_it_brings(package, text, reached):
    found = set(sources.code_hashes(sources.imported([ast.parse(text)])))
    assert found - {"nsdlib.wing", "nsdlib.wing.deep"} == {f"nsdlib.wing.{name}" for name in reached}


def test_a_name_that_is_both_a_module_and_on_the_face_reaches_both(package):
    face = package / "nsdlib" / "wing" / "__init__.py"
    face.write_text(face.read_text().replace('("idle",)', '("idle", "outer")'))
    found = sources.imported([ast.parse("from nsdlib.wing import outer")])
    assert found == {"nsdlib.wing.outer", "nsdlib.wing.unused:outer"}


def test_a_statement_that_is_timed_counts(package):
    write_notebook(package / "page.ipynb", CELLS | {"made": "%time value, parts = compute(), []\n%matplotlib inline"})
    assert "nsdlib.wing.outer" in everything(package)


@pytest.mark.parametrize(
    "scratch", ["run?", "?run", "%%html\n<b>no Python</b>", "!ls", "%time\n%%time", "%%time\nx = 1", "await run"]
)
def test_a_scratch_cell_that_ipython_knows_changes_nothing(package, scratch):
    before = everything(package)
    write_notebook(package / "page.ipynb", {"scratch": scratch} | CELLS)
    assert everything(package) == before


@pytest.mark.parametrize("scratch", ["run = !ls", "run = %time 3", "for x in '.':\n    !ls"])
def test_what_a_cell_gets_from_ipython_may_change_anything(package, scratch):
    before = everything(package)
    write_notebook(package / "page.ipynb", {"scratch": scratch} | CELLS)
    assert everything(package)["cells"] != before["cells"] and "nsdlib.wing.outer" in everything(package)


def test_a_cell_that_cannot_be_read_is_named(package):
    write_notebook(package / "page.ipynb", CELLS | {"scratch": "x = = 1"})
    with pytest.raises(ValueError, match=r"\(page.ipynb, code cell 7, line 1\): neither Python nor IPython can parse this cell"):
        everything(package)


def test_a_module_that_was_edited_after_its_import_is_told_of(package, monkeypatch):
    monkeypatch.setitem(sys.modules, "nsdlib.wing.outer", None)
    monkeypatch.setattr(sources, "STARTED", 0)
    with pytest.warns(UserWarning, match=r"nsdlib\.wing\.outer was edited after this kernel had started: restart it"):
        everything(package)


def test_every_statement_that_saves_the_artifact_counts(package):
    branches = 'if run:\n    store.save("result", 1)\nprint(run)\nif not run:\n    store.save("result", {})'
    write_notebook(package / "page.ipynb", CELLS | {"saved": branches.format(2)})
    before = everything(package)
    write_notebook(package / "page.ipynb", CELLS | {"saved": branches.replace("1", "3").format(2)})
    assert everything(package) != before


def test_a_function_that_saves_follows_from_what_is_there_when_it_is_called(package):
    saving = 'def keep():\n    store.save("result", value)\n\nvalue = {}\nkeep()'
    hashes = []
    for number in (2, 3):
        write_notebook(package / "page.ipynb", CELLS | {"saved": saving.format(number)})
        hashes.append(everything(package))
    assert hashes[0] != hashes[1]


def test_a_page_is_made_from_every_file_that_its_notebook_reaches(package):
    files = {str(file.relative_to(package / "nsdlib")) for file in sources.source_files(package / "page.ipynb")}
    assert files == set(FILES) - {"wing/deep/unread.csv", "__init__.py", "wing/__init__.py", "wing/deep/__init__.py"}


def test_a_notebook_that_does_not_save_the_artifact_is_refused(package):
    with pytest.raises(ValueError, match=r"page.ipynb does not save the artifact 'no_result': wanted a cell with `store.save"):
        slices.slice_of(package / "page.ipynb", "no_result")


def test_only_modules_that_compute_tell_results_apart(package):
    assert [sources.computes(name) for name in ("nsdlib.wing.outer", "nsdlib.params", "nsdlib.gone", "numpy")] == [
        True,
        False,
        False,
        False,
    ]


def test_the_library_of_hrfs_tells_versions_of_the_betas_apart(tmp_path, monkeypatch):
    shutil.copytree(sources.PACKAGE, tmp_path / "nsdlib")
    before = provenance.artifact_hash(load_run("small"), "glm"), provenance.artifact_hash(load_run("small"), "noise")
    monkeypatch.setattr(sources, "PACKAGE", tmp_path / "nsdlib")
    table = next((tmp_path / "nsdlib").rglob("hrf_library.csv"))
    table.write_text(table.read_text().replace("1", "2", 1))
    forget()
    after = (
        provenance.artifact_hash(load_run("small"), "glm"),
        provenance.artifact_hash(load_run("small", betas="nsd"), "noise"),
    )
    assert after[0] != before[0]
    forget()


def test_what_comes_before_a_notebook_follows_from_what_it_loads():
    root = load_run("small").root
    assert provenance.notebooks_before(root / "notebooks" / "02_roi_betas.ipynb") == (["01_hrf_glmsingle"], [])
    of_run, of_group = provenance.notebooks_before(root / "notebooks" / "08_across_subjects.ipynb")
    assert "05_two_stage_reconstruction" in of_run and {"06_noise_sensitivity", "09_what_scores_are_worth"} <= set(of_group)
