"""The reference documents exactly what the subpackages export, in pages of readable length."""

import ast
import importlib
import inspect

import pytest
from conftest import ROOT

from book._ext import reference
from nsdlib.store.sources import public_names


@pytest.fixture(scope="module")
def pages():
    return reference.pages()


@pytest.mark.parametrize("wing", reference.SUBPACKAGES)
def test_a_page_documents_every_public_name_of_its_wing(pages, wing):
    package = importlib.import_module(f"nsdlib.{wing}")
    documented = {
        line.split(".")[-1] for line in pages[f"reference/{wing}"].splitlines() if line.startswith((".. auto", ".. py:"))
    }
    assert documented == set(package.__all__) and len(package.__all__) <= 45
    for name in package.__all__:
        value = getattr(package, name)
        assert not callable(value) or inspect.getdoc(value), name


def test_a_hundred_names_or_so_are_public():
    n_names = sum(len(importlib.import_module(f"nsdlib.{wing}").__all__) for wing in reference.SUBPACKAGES)
    assert 60 <= n_names <= 150


@pytest.mark.parametrize("wing", [wing for wing in reference.SUBPACKAGES if wing != "params"])
def test_a_face_names_what_its_modules_define(wing):
    for name, module in public_names(f"nsdlib.{wing}").items():
        file = ROOT.joinpath("nsdlib", wing, *module.split(".")).with_suffix(".py")
        defined = {getattr(node, "name", None) for node in ast.parse(file.read_text()).body}
        targets = [target for node in ast.parse(file.read_text()).body for target in getattr(node, "targets", ())]
        defined |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        assert name in defined, f"{name} is not defined in {file}"


def test_the_page_of_wings_names_each(pages):
    assert all(f"[`nsdlib.{wing}`]({wing}.md)" in pages["reference/index"] for wing in reference.SUBPACKAGES)


def test_only_what_changed_is_written(tmp_path):
    (tmp_path / "book").mkdir()
    reference.write(tmp_path)
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "book" / "reference").iterdir()}
    (tmp_path / "book" / "reference" / "core.md").write_text("other")
    reference.write(tmp_path)
    after = {file: file.stat().st_mtime_ns for file in before}
    assert [file.stem for file in before if after[file] != before[file]] == ["core"]
