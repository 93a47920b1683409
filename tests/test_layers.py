"""A module imports only from lower layers, and importing a light one loads nothing heavy."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = [
    ["files", "alt_text"],
    ["params", "device", "draws", "images", "weights", "download"],
    ["lineage", "zoo", "progress", "rates", "nsd_layout", "published", "protocols"],
    [
        "store",
        "nsd_files",
        "fetch",
        "scratch",
        "sprites",
        "hrf",
        "ridge",
        "training",
        "similarity",
        "mixture",
        "glm_linear",
    ],
    ["nsd", "scenes", "trials", "nsd_write", "glm_options", "glm_design", "fracridge", "selection", "degrade"],
    ["anatomy", "brain", "bold", "nsd_checks", "glm_denoise"],
    ["truth", "glm_steps"],
    ["simulate", "glm", "reliability", "decoders", "vdvae", "embed"],
    ["betas", "diffusion", "judges", "glmsingle"],
    ["metrics", "stats", "glm_sessions", "audit", "leaks"],
    ["ablation", "full_size", "claims", "costs"],
    ["rehearsal", "forecast"],
    ["plots"],
    ["panels"],
    ["explore"],
    ["engine", "autopsy", "publish", "faults"],
    ["runner", "doctor", "pages", "snippets"],
    ["book"],
    ["cli"],
    ["__main__", "zoo_training"],
]
LEVEL = {module: level for level, modules in enumerate(LAYERS) for module in modules}
FILES = sorted(path for path in (ROOT / "nsdlib").rglob("*.py") if path != ROOT / "nsdlib" / "__init__.py")
LIGHT = ["nsdlib", "nsdlib.params", "nsdlib.lineage", "nsdlib.store", "nsdlib.nsd", "nsdlib.cli", "nsdlib.runner"]


def unit(path):
    """The module, or the package below nsdlib, that a file belongs to."""
    return path.relative_to(ROOT / "nsdlib").parts[0].removesuffix(".py")


def imported(path):
    """Modules and packages of nsdlib that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "nsdlib":
            yield from (alias.name for alias in node.names if alias.name != "__version__")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nsdlib."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("nsdlib."))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_come_from_lower_layers(path):
    module = unit(path)
    assert [other for other in imported(path) if other != module and LEVEL[other] >= LEVEL[module]] == []


def test_the_table_is_complete():
    assert {unit(path) for path in FILES} == set(LEVEL)


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_load_nothing_heavy(module):
    code = f"import sys, {module}\nprint(*{{'torch', 'matplotlib', 'papermill', 'transformers'}} & set(sys.modules))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400  # one algorithm, one file: the largest is the whole VDVAE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            documented = bool(ast.get_docstring(node))
            assert node.end_lineno - node.body[documented if len(node.body) > 1 else 0].lineno < 50, node.name
