"""The three lists of packages agree: pyproject.toml asks, requirements.lock fixes, environment.yml installs the lock."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
WANTED = [Requirement(line) for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]]
PROMISED = {
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


@pytest.mark.parametrize("requirement", WANTED, ids=str)
def test_the_lock_fixes_what_the_project_asks_for(requirement):
    locked = {canonicalize_name(name): number for name, number in LOCK.items()}
    assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)], prereleases=True)


@pytest.mark.parametrize("requirement", WANTED, ids=str)
def test_the_lock_is_what_is_installed(requirement):
    locked = {canonicalize_name(name): number for name, number in LOCK.items()}
    assert version(requirement.name) == locked[canonicalize_name(requirement.name)]


def test_conda_installs_the_same():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, packages = environment["dependencies"]
    assert (pip, packages) == ("pip", {"pip": ["-r requirements.lock"]})
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python.removeprefix("python="))


def test_the_promised_packages_are_asked_for():
    assert {canonicalize_name(requirement.name) for requirement in WANTED} >= PROMISED
    assert "GLMsingle" in PROJECT["optional-dependencies"]["glmsingle"][0]
