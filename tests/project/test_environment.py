"""The package lists agree: imports in the code, pyproject.toml, requirements.lock, and the lock in environment.yml."""

import ast
import json
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from setuptools import find_packages

import nsdlib

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT, SETUP = PYPROJECT["project"], PYPROJECT["tool"]["setuptools"]
LOCK = [
    Requirement(line)
    for line in (ROOT / "requirements.lock").read_text().splitlines()
    if line.strip() and not line.lstrip().startswith("#")
]
WANTED = [Requirement(line) for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]]
OPTIONAL = [Requirement(line) for line in PROJECT["optional-dependencies"]["glmsingle"]]
PYTHONS = [f"3.{minor}" for minor in range(30) if f"3.{minor}" in SpecifierSet(PROJECT["requires-python"])]
STACK = {
    "jupyterlab",
    "jupyter-book",
    "papermill",
    "torch",
    "diffusers",
    "transformers",
    "open-clip-torch",
    "nilearn",
    "matplotlib",
    "seaborn",
    "ipywidgets",
}
FOLDERS = ("nsdlib", "notebooks", "tests", "benchmarks", "zoo", "book")
IMPORTED_AS = {
    "open-clip-torch": "open_clip",  # where the name of the import is another than the package's
    "ipython": "IPython",
    "pillow": "PIL",
    "pytest-xdist": "xdist",
    "pyyaml": "yaml",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
}
PROGRAMS = {  # never imported: where each is called or named instead
    "codespell": ("tests/book/test_pages_text.py", "codespell_lib"),
    "h5netcdf": ("nsdlib/store/*.py", 'engine="h5netcdf"'),
    "ipykernel": ("profiles/lab/kernels/python3/kernel.json", "ipykernel_launcher"),
    "jupyter-book": ("_config.yml", "jupyter_book"),
    "jupyterlab": ("Makefile", "jupyter lab"),
    "ruff": ("Makefile", "ruff check"),
    "snakemake": ("Makefile", "snakemake --profile"),
    "snakemake-executor-plugin-slurm": ("profiles/slurm/config.yaml", "executor: slurm"),
    "sphinx-mathjax-offline": ("_config.yml", "sphinx-mathjax-offline"),
    "tabulate": ("nsdlib/**/doctor.py", ".to_markdown("),
    "uv": ("Makefile", "uv pip install"),
}
THROUGH = {"setuptools": "torch", "triton": "torch"}  # imported, and there because another package asks for it


def named(requirement):
    """A requirement's name in the index's spelling."""
    return canonicalize_name(requirement.name)


def pins(python):
    """Requirements of the lock that hold on Linux with this Python, by name."""
    there = {"python_version": python, "python_full_version": f"{python}.1", "sys_platform": "linux", "extra": ""}
    held = [pin for pin in LOCK if pin.marker is None or pin.marker.evaluate(there)]
    assert len({named(pin) for pin in held}) == len(held)  # one version of each
    return {named(pin): next(iter(pin.specifier)).version for pin in held}


def source(path):
    """Python of a file or a notebook, without the lines that only IPython understands."""
    if path.suffix == ".py":
        return path.read_text()
    cells = (cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code")
    lines = "\n".join("".join(cell["source"]) for cell in cells).splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))


@cache
def imports():
    """First names of all packages that are neither Python's own nor the project's, and are imported anywhere in its code."""
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".ipynb")]
    files = [path for path in files if not {"_build", "runs", ".ipynb_checkpoints"} & set(path.parts)]
    found = set()
    for node in (node for path in files for node in ast.walk(ast.parse(source(path)))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.split(".")[0])
    beside = {path.stem for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")}
    return found - sys.stdlib_module_names - set(FOLDERS) - beside


def import_name(requirement):
    """What a package is imported as."""
    return IMPORTED_AS.get(named(requirement), named(requirement).replace("-", "_"))


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_fixes_what_the_project_asks_for(python):
    fixed = pins(python)
    for requirement in WANTED:
        assert requirement.specifier.contains(fixed[named(requirement)], prereleases=True), requirement


def test_the_lock_is_what_is_installed():
    fixed = pins(f"{sys.version_info.major}.{sys.version_info.minor}")
    assert {one.name: version(one.name) for one in WANTED} == {one.name: fixed[named(one)] for one in WANTED}


def test_the_lock_says_how_it_is_made():
    command = (ROOT / "requirements.lock").read_text().splitlines()[1].removeprefix("#").strip()
    assert "--universal" in command and f"--python-version {PYTHONS[0]}" in command and "--extra test" in command
    assert command in (ROOT / "CONTRIBUTING.md").read_text()


def test_each_python_is_tried_by_make_and_stated():
    tried = re.search(r"for p in (.*?);", (ROOT / "Makefile").read_text())[1].split()
    assert tried == [f"python{python}" for python in reversed(PYTHONS)]
    stated = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if line.startswith("Programming Language")]
    assert stated == ["3", *PYTHONS]


def test_conda_installs_the_same():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, packages = environment["dependencies"]
    assert (pip, packages) == ("pip", {"pip": ["-r requirements.lock"]})
    assert python == f"python{PROJECT['requires-python']}"


def test_the_promised_packages_are_asked_for():
    assert {named(requirement) for requirement in WANTED} >= STACK
    assert "GLMsingle" in PROJECT["optional-dependencies"]["glmsingle"][0]


def test_what_is_asked_for_is_used():
    for files, text in PROGRAMS.values():
        assert any(text in path.read_text() for path in ROOT.glob(files)), text
    others = [one for one in WANTED + OPTIONAL if named(one) not in PROGRAMS]
    assert {named(one) for one in others if import_name(one) not in imports()} == set()


def test_what_is_used_is_asked_for():
    assert imports() == {import_name(one) for one in WANTED + OPTIONAL if import_name(one) in imports()} | set(THROUGH)
    assert set(PROGRAMS) <= {named(requirement) for requirement in WANTED}
    assert all(pins(PYTHONS[0]).keys() >= {name, through} for name, through in THROUGH.items())


def test_the_version_has_one_place():
    assert "version" not in PROJECT and "version" in PROJECT["dynamic"]
    assert SETUP["dynamic"]["version"] == {"attr": "nsdlib.__version__"}
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == nsdlib.__version__


def test_the_model_card_has_a_front_matter_that_the_book_leaves_out():
    _, front, card = (ROOT / "zoo" / "demo" / "README.md").read_text().split("---\n", 2)
    found = yaml.safe_load(front)
    assert (found["license"], found["library_name"]) == (PROJECT["license"].lower(), "diffusers")
    (mark,) = re.findall(":start-after: (.*)", (ROOT / "book" / "demo_zoo.md").read_text())
    assert card.startswith(f"{mark}\n\n# Model card")


def test_every_folder_of_the_library_is_packaged():
    folders = {path.parent for path in (ROOT / "nsdlib").rglob("*.py")}
    found = find_packages(ROOT, include=SETUP["packages"]["find"]["include"])
    assert {".".join(folder.relative_to(ROOT).parts) for folder in folders} == set(found)
    tables = {path.suffix for path in (ROOT / "nsdlib").rglob("*") if path.is_file()} - {".py", ".pyc"}
    assert tables == {Path(pattern).suffix for pattern in SETUP["package-data"]["*"]}
