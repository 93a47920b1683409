"""The zoo: every name in both, what is missing is said with its source, and the demo zoo is whole and small."""

import json

import pytest

from nsdlib import zoo
from nsdlib.params import load_run


def test_both_zoos_hold_the_same_models():
    assert zoo.ZOOS["demo"].keys() == zoo.ZOOS["paper"].keys()


def test_the_demo_zoo_is_whole_and_small():
    run = load_run("demo")
    assert zoo.missing(run) == []
    assert sum(file.stat().st_size for file in zoo.root(run).rglob("*") if file.is_file()) < 20e6


def test_what_is_missing_is_said_with_its_source(tmp_path):
    run = load_run("demo", zoo="paper").model_copy(update={"weights": tmp_path})
    with pytest.raises(FileNotFoundError, match=r"'swav' \(paper zoo\) are not at .*deepcluster.*CC BY-NC"):
        zoo.path(run, "swav")
    with pytest.raises(ValueError, match="no model 'dalle' in the paper zoo; it has vdvae"):
        zoo.path(run, "dalle")
    assert len(zoo.missing(run)) == len(zoo.ZOOS["paper"])


def test_the_model_card_states_what_was_measured():
    folder = zoo.root(load_run("demo"))
    card, quality = (folder / "README.md").read_text(), json.loads((folder / "quality.json").read_text())
    values = [value for measured in quality.values() for value in measured.values()]
    assert len(values) >= 10 and all(f"| {value:.3f} |" in card for value in values)
