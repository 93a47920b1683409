"""Which subpackage may import which; importing a light one loads nothing heavy; files and functions stay short."""

import ast
import os
import subprocess
import sys

from conftest import ROOT

from book._ext.reference import SUBPACKAGES

MAY_IMPORT = {
    "strict": "",
    "sections": "strict",
    "params": "strict sections",
    "arguments": "strict params",
    "core": "",
    "store": "strict params core",
    "data": "params core store",
    "twin": "params core store data",
    "study": "params core store data",
    "recipes": "strict params core store data study",
    "run": "params core store data twin study recipes",
    "plots": "params core store data study",
    "book": "params core store data twin study run plots",
    "laboratory": "arguments data plots",
    "cli": "arguments laboratory strict params core store data twin study recipes run plots book",
    "__main__": "cli",
}
FILES = sorted([*(ROOT / "nsdlib").rglob("*.py"), *(ROOT / "book" / "_ext").glob("*.py")])
FACES = ", ".join(f"nsdlib.{wing}" for wing in SUBPACKAGES)
LIGHT = "nsdlib.store.store, nsdlib.data.nsd.subject, nsdlib.cli, nsdlib.run.runner, nsdlib.plots.explore"
LOADED = "print(*{'torch', 'transformers', 'matplotlib', 'papermill', 'ipywidgets'} & set(sys.modules))"


def wing(module):
    """The wing that a module belongs to, by its dotted name."""
    package, *rest = module.split(".")
    return "book" if package == "book" else rest[0] if rest else ""


def imported(path):
    """Wings that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert not node.level, "imports name their package"
            names = [f"{node.module}.{alias.name}" if node.module == "nsdlib" else node.module for alias in node.names]
        yield from (wing(name) for name in names if name.split(".")[0] in ("nsdlib", "book"))


def test_wings_import_only_those_below_them():
    for path in FILES:
        own = wing(".".join(path.relative_to(ROOT).with_suffix("").parts))
        allowed = {own, "__version__", "face", *MAY_IMPORT.get(own, "").split()}
        assert set(imported(path)) <= allowed, path


def test_faces_load_no_arrays_and_light_modules_nothing_heavy():
    code = f"import sys, nsdlib, {FACES}\nprint(*{{'pandas', 'xarray'}} & set(sys.modules))\nimport {LIGHT}\n{LOADED}"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "\n\n"


def test_files_and_functions_stay_short():
    for path in FILES:
        text = path.read_text()
        assert len(text.splitlines()) <= 300, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                documented = bool(ast.get_docstring(node))
                first = node.body[documented if len(node.body) > 1 else 0]
                assert node.end_lineno - first.lineno < 50, f"{path}: {node.name}"


def test_no_folder_holds_more_than_a_dozen_modules():
    for folder in {path.parent for path in FILES}:
        modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(modules) <= 12, folder
