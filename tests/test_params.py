"""Parameters: files as they are shipped, strictness, and the words of every refusal."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nsdlib.params import Run, find_root, load_run, nearest, run_names

ROOT = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project folder of its own with the shipped parameter files."""
    shutil.copytree(ROOT / "params", tmp_path / "params")
    monkeypatch.setenv("NSDLIB_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", run_names(ROOT))
def test_shipped_runs_load(name, monkeypatch):
    monkeypatch.setenv("NSDLIB_HOME", str(ROOT))
    run = load_run(name)
    assert run.name == name
    assert (run.simulation is not None) == (not name.startswith("subj"))
    assert run.store == ROOT / "store" / name and run.data.is_absolute() and run.weights.is_absolute()


def test_subjects_have_the_published_numbers_of_sessions(project):
    sessions = [load_run(f"subj0{subject}").n_sessions for subject in range(1, 9)]
    assert sessions == [37, 37, 29, 27, 37, 29, 37, 27]  # Allen et al. 2022, before the last three were released
    assert [load_run(f"subj0{subject}").subject for subject in range(1, 9)] == list(range(1, 9))


def test_the_common_file_holds_the_papers_values(project):
    run = load_run("subj01")
    assert (run.n_layers, run.decoder, run.strength, run.n_steps) == (15, "gru", 0.75, 50)
    assert run.noise_amplitudes == (0, 8, 16, 32, 64, 256) and run.group == ("subj01", "subj02", "subj05", "subj07")


def test_overrides_win_and_none_means_as_in_the_file(project):
    run = load_run("demo", decoder="ridge", n_steps=None)
    assert run.decoder == "ridge" and run.n_steps == load_run("demo").n_steps


def test_a_run_is_frozen_and_prints_its_parameters(project):
    run = load_run("demo")
    with pytest.raises(ValueError, match="frozen"):
        run.decoder = "cnn"
    assert "Parameters as used: run 'demo'" in repr(run) and f"decoder          {run.decoder}" in str(run)
    assert f"<td><code>decoder</code></td><td>{run.decoder}</td>" in run._repr_html_()
    assert str(project) not in repr(run) + run._repr_html_()


def test_unknown_run_names_the_nearest_and_all(project):
    with pytest.raises(
        ValueError, match=r"no run 'subj1': did you mean 'subj\d+'\? Known runs: demo, .*, small, subj01"
    ):
        load_run("subj1")
    with pytest.raises(ValueError, match=r"no run 'zzz'\. Known runs"):
        load_run("zzz")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"decodr": "gru"}, "'decodr' is no parameter: did you mean 'decoder'"),
        ({"root": "x"}, "'root' is no parameter"),
        ({"simulation": {"drfit": 1}}, "'drfit' is no setting of the simulation: did you mean 'drift'"),
        (
            {"decoder": "gro"},
            "decoder: Input should be 'gru', 'gated_mlp', 'roi_gru', 'cnn', 'transformer' or 'ridge', got 'gro'",
        ),
        ({"subject": 9}, "subject: Input should be less than or equal to 8, got 9"),
        ({"n_steps": "many"}, "n_steps: Input should be a valid integer.*got 'many'"),
        ({"strength": 1.5}, "strength: Input should be less than or equal to 1, got 1.5"),
        ({"n_sessions": 1, "glm_sessions": 2}, "glm_sessions=2 is more than n_sessions=1.*lower glm_sessions"),
        ({"n_layers": 40}, r"n_layers=40 is more than the largest of layer_counts=\[5, 15, 31\]"),
    ],
)
def test_wrong_values_are_refused_in_words(project, given, message):
    with pytest.raises(ValueError, match=message):
        load_run("demo", **given)


def test_files_are_strict(project):
    (project / "params" / "mine.yaml").write_text("subject: 1\nguidence: 3\n")
    with pytest.raises(ValueError, match=r"params/mine.yaml: 'guidence' is no parameter: did you mean 'guidance'"):
        load_run("mine")
    (project / "params" / "mine.yaml").write_text("- 1\n")
    with pytest.raises(ValueError, match="must hold lines 'field: value', but it holds a list"):
        load_run("mine")
    (project / "params" / "mine.yaml").write_text("a: [1\n")
    with pytest.raises(ValueError, match=r"params/mine.yaml is not valid YAML"):
        load_run("mine")


def test_root_is_found_from_below_and_its_absence_is_explained(project, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.delenv("NSDLIB_HOME")
    (project / "notebooks" / "deep").mkdir(parents=True)
    assert find_root(project / "notebooks" / "deep") == project
    monkeypatch.chdir(elsewhere)
    with pytest.raises(FileNotFoundError, match=r"No params/_common.yaml in .* or a folder above it: run inside"):
        load_run("demo")
    monkeypatch.setenv("NSDLIB_HOME", str(elsewhere))
    with pytest.raises(FileNotFoundError, match="in NSDLIB_HOME="):
        load_run("demo")


def test_a_relative_home_is_taken_from_where_the_command_was_started(project, monkeypatch):
    monkeypatch.chdir(project / "params")
    for home in ("..", f"../../{project.name}"):
        monkeypatch.setenv("NSDLIB_HOME", home)
        assert find_root() == project and load_run("demo").store == project / "store" / "demo"


def test_nearest_says_nothing_when_nothing_is_near():
    assert nearest("gro", ["gru", "cnn"]) == ": did you mean 'gru'?" and nearest("zzzz", ["gru"]) == "."


def test_parameters_do_not_import_torch():
    code = "import sys, nsdlib, nsdlib.params, nsdlib.store.store; sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def test_every_field_is_in_the_common_file_or_peculiar_to_a_subject():
    import yaml

    common = yaml.safe_load((ROOT / "params" / "_common.yaml").read_text())
    assert set(Run.model_fields) - set(common) == {"name", "root", "subject", "simulation"}
