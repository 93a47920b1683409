"""Names of variants: they give the differences from the run's file, and different values never share a name."""

import json
import re
from pathlib import Path

import pytest
from conftest import ROOT

from nsdlib.params import load_run
from nsdlib.store.provenance import ARTIFACTS, artifact_hash
from nsdlib.store.variants import differing, fields, name_of, origin, words_for


@pytest.mark.parametrize(
    ("overrides", "changed"),
    [
        ({}, {}),
        ({"decoder": "gru"}, {"decoder": "gru"}),
        ({"decoder": "ridge", "strength": 0.6, "n_steps": 7}, {}),  # as params/demo.yaml has them
        ({"strength": 1}, {"strength": 1.0}),
        ({"alphas": [1, 10]}, {"alphas": [1.0, 10.0]}),
        ({"device": "cpu"}, {}),  # where it is computed, which no result is named by either
    ],
)
def test_only_what_differs_from_the_file_counts(overrides, changed):
    assert differing(load_run("demo", **overrides)) == changed


def test_a_folder_that_was_moved_is_no_other_parameter_and_another_judge_is():
    run = load_run("bids")
    moved = run.model_copy(update={"bids": run.bids.model_copy(update={"images": Path("elsewhere")})})
    assert fields(moved) == fields(run) and fields(run)["bids"]["task"] == run.bids.task
    assert set(differing(load_run("bids", clip_judge="judge"))) == {"clip_judge"}


def test_names_and_words_say_what_differs_in_one_order():
    assert name_of("05_a", {}) == "05_a" and words_for({}) == ""
    changed = {"strength": 0.9, "decoder": "gru"}
    assert name_of("05_a", changed) == "05_a__decoder-gru__strength-0.9" == name_of("05_a", dict(sorted(changed.items())))
    assert words_for(changed) == "decoder=gru, strength=0.9" and words_for({"seeds": [0, 1]}) == "seeds=0,1"


def test_other_values_have_other_names_that_every_file_system_takes():
    values = ["a b", "a-b", "a/b", "../a", "a:b", "é", [1, 2], [12], [1.2], 1.2, -1, [-1], {"a": 1}, "x" * 300, "x" * 301]
    names = [name_of("05_a", {"roi": value}) for value in values]
    assert len(set(names)) == len(names) - 2  # a list of one number and the number: a field holds one or the other
    assert all(re.fullmatch(r"[\w.,-]{1,120}", name, re.ASCII) for name in names)


def test_a_page_notes_the_artifacts_of_its_own_parameters():
    run, notebook = load_run("demo", decoder="gru"), ROOT / "notebooks" / "05_two_stage_reconstruction.ipynb"
    noted = json.loads(json.dumps(origin(run, notebook)))
    assert noted["run"]["decoder"] == "gru" and noted["run"]["name"] == "demo" and "device" not in noted["run"]
    made = {name for name, step in ARTIFACTS.items() if step.notebook == notebook.stem}
    assert {f"demo/{name}" for name in {*made, "betas", "targets", "ablation"}} == set(noted["artifacts"])
    for name in ("reconstruction", "betas"):
        assert noted["artifacts"][f"demo/{name}"] == artifact_hash(run, name)


def test_a_notebook_that_makes_nothing_notes_what_it_loads_and_one_of_the_group_whose():
    notebooks = ROOT / "notebooks"
    assert set(origin(load_run("demo"), notebooks / "07_qualitative_figures.ipynb")["artifacts"]) == {
        "demo/reconstruction",
        "demo/scores",
    }
    assert {"demo/group", "demo/scores", "sim02/scores"} <= set(
        origin(load_run("demo"), notebooks / "08_across_subjects.ipynb")["artifacts"]
    )
