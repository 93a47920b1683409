"""Parameters: the shipped files, strict checking, and the text of every error."""

import shutil

import pytest
from conftest import ROOT

from nsdlib.params import Run, find_root, load_run, nearest, parameter_files, run_names, usable_runs


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
    assert run.store == ROOT / "store" / (run.like or name) and run.data.is_absolute() and run.weights.is_absolute()


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


def test_a_run_that_is_like_another_has_its_data_store_and_parameters_but_for_its_own(project):
    (project / "params" / "longer.yaml").write_text("like: small\nmax_epochs: 7\n")
    longer, small = load_run("longer"), load_run("small")
    assert (longer.name, longer.max_epochs, longer.store, longer.data) == ("longer", 7, small.store, small.data)
    assert longer == small.model_copy(update={"name": "longer", "like": "small", "max_epochs": 7})
    assert [file.name for file in parameter_files("longer")] == ["_common.yaml", "small.yaml", "longer.yaml"]


@pytest.mark.parametrize(
    ("like", "hint"), [("smalll", "did you mean 'small'"), ("complete", "wanted a known run without `like`")]
)
def test_a_run_can_be_like_one_that_there_is_and_that_stands_for_itself(project, like, hint):
    (project / "params" / "longer.yaml").write_text(f"like: {like}\n")
    with pytest.raises(ValueError, match=rf"params/longer.yaml: like '{like}': .*") as refused:
        load_run("longer")
    assert hint in str(refused.value)


def test_a_run_is_frozen_and_prints_its_parameters(project):
    run = load_run("demo")
    with pytest.raises(ValueError, match="frozen"):
        run.decoder = "cnn"
    assert "Parameters as used: run 'demo'" in repr(run) and f"decoder          {run.decoder}" in str(run)
    assert f"<td><code>decoder</code></td><td>{run.decoder}</td>" in run._repr_html_()
    assert str(project) not in repr(run) + run._repr_html_()


def test_unknown_run_names_the_nearest_and_all(project):
    with pytest.raises(
        ValueError, match=r"no run 'subj1': did you mean 'subj\d+'\? Known runs: bids, complete, demo, .*, small, subj01"
    ):
        load_run("subj1")
    with pytest.raises(ValueError, match=r"no run 'zzz'\. Known runs"):
        load_run("zzz")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"decodr": "gru"}, "'decodr' is no parameter: did you mean 'decoder'"),
        ({"root": "x"}, "'root' is no parameter"),
        ({"simulation": {"qualty": 1}}, "'qualty' is no setting of the section simulation: did you mean 'quality'"),
        (
            {"decoder": "gro"},
            "decoder: Input should be 'gru', 'gated_mlp', 'roi_gru', 'cnn', 'transformer' or 'ridge', got 'gro'",
        ),
        ({"subject": 9}, "subject: Input should be less than or equal to 8, got 9"),
        ({"n_steps": "many"}, "n_steps: Input should be a valid integer.*got 'many'"),
        ({"strength": 1.5}, "strength: Input should be less than or equal to 1, got 1.5"),
        ({"n_sessions": 1, "glm_sessions": 2}, "glm_sessions=2 is more than n_sessions=1.*lower glm_sessions"),
        ({"layer_counts": []}, r"layer_counts=\[\]: wanted two"),
        ({"layer_counts": [15]}, r"layer_counts=\[15\]: wanted two values or more, ascending"),
        ({"layer_counts": [31, 15]}, r"layer_counts=\[31, 15\]: wanted two"),
        ({"noise_amplitudes": [0]}, r"noise_amplitudes=\[0\.0\]: wanted two"),
        ({"noise_amplitudes": [256, 0]}, r"noise_amplitudes=\[256\.0, 0\.0\]: wanted two"),
        ({"n_layers": 40}, r"n_layers=40 exceeds all layer_counts=\[5, 15, 31\]"),
    ],
)
def test_wrong_values_are_refused_in_words(project, given, message):
    with pytest.raises(ValueError, match=message):
        load_run("demo", **given)


def test_a_bids_run_that_does_not_fit_its_betas_is_refused(project):
    with pytest.raises(ValueError, match="bids: the data contain no betas; wanted betas: glm, the betas that notebook 01 fits"):
        load_run("bids", betas="nsd")


def test_files_are_strict(project):
    (project / "params" / "mine.yaml").write_text("subject: 1\nguidence: 3\n")
    with pytest.raises(ValueError, match=r"params/mine.yaml: 'guidence' is no parameter: did you mean 'guidance'"):
        load_run("mine")
    (project / "params" / "mine.yaml").write_text("guidance: 3\n")
    with pytest.raises(ValueError, match=r"as its parameters stand:\n  a run has either a subject of NSD, `subject: 1` to 8, or"):
        load_run("mine")
    (project / "params" / "mine.yaml").write_text("- 1\n")
    with pytest.raises(ValueError, match="must hold lines 'field: value', but it holds a list"):
        load_run("mine")
    (project / "params" / "mine.yaml").write_text("a: [1\n")
    with pytest.raises(ValueError, match=r"params/mine.yaml is not valid YAML"):
        load_run("mine")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("seed: 1\nseed: 2", r"mine.yaml is not valid YAML: 'seed' is given twice; keep one of the lines\n.*line 3"),
        ("simulation: {quality: 1, quality: 2}", "'quality' is given twice"),
        ("seed: 010", "010 can be read as octal or base 60: write a decimal number, or quote a text"),
        ("seed: 08", "08 can be read as octal"),  # PyYAML makes a text of it, and pydantic 8 of the text
        ("simulation: {quality: 007.5}", "007.5 can be read as octal"),
        ("n_steps: 1:30", "1:30 can be read as octal or base 60"),
        ("guidance: 1:30.5", "1:30.5 can be read as octal or base 60"),
        ("guidance: on", r"guidance: Input should not be true or false .*got True"),
        ("n_steps: yes", "n_steps: Input should not be true or false"),
        ("decoder_seeds: [1, yes]", r"decoder_seeds: Input should not be true or false .*got \[1, True\]"),
        ("simulation: {seed: yes}", r"simulation\.seed: Input should not be true or false"),
        ("roi: no", "roi: Input should not be true or false"),
        ("data: $HOME/nsd", r"data: wanted a folder of this machine, written out \(~ is your home\): '\$H' is not looked up"),
        ("store: ${SCRATCH}", r"store: wanted a folder of this machine.*'\$\{' is not looked up"),
        ("data: s3://natural-scenes-dataset", r"data: wanted a folder of this machine.*'s3:/' is not looked up"),
        ("weights: https://example.org/x", "weights: wanted a folder of this machine"),
        ("weights: ~nobody-of-that-name/x", "weights: wanted a folder, but it begins with the home of a user"),
        ("seed: -1", "seed: Input should be greater than or equal to 0, got -1"),
        ("decoder_seeds: [0, 4294967296]", r"decoder_seeds\.1: Input should be less than 4294967296"),
        ("decoder_seeds: [0, 1, 0]", r"decoder_seeds=\[0, 1, 0\] contains a value twice, so its result would count twice"),
    ],
)
def test_what_can_be_misread_is_refused(project, line, message):
    (project / "params" / "mine.yaml").write_text(f"subject: 1\n{line}\n")
    with pytest.raises(ValueError, match=message):
        load_run("mine")


def test_what_reads_the_same_everywhere_is_taken(project):
    text = "subject: 1\nseed: 0\nalphas: [1e3, 1_000, 0.5, 0x10]\nfaithful: yes\nroi: '010'\n"
    (project / "params" / "mine.yaml").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())  # by Windows
    run = load_run("mine")
    assert (run.seed, run.alphas, run.faithful, run.roi) == (0, (1000, 1000, 0.5, 16), True, "010")


def test_a_home_is_expanded_and_no_other_dollar_or_tilde_is(project, monkeypatch):
    monkeypatch.setenv("HOME", str(project / "home"))
    (project / "params" / "mine.yaml").write_text("subject: 1\ndata: ~/nsd\nweights: w~1\nstore: '~'\n")
    run = load_run("mine", weights="cost$5")
    assert (run.data, run.store) == (project / "home" / "nsd", project / "home" / "mine")
    assert run.weights == project / "cost$5" and load_run("mine").weights == project / "w~1"


def test_a_run_reads_its_own_file_only(project):
    shutil.copy(project / "params" / "demo.yaml", project / "params" / "copy.yaml")
    (project / "params" / "typo.yaml").write_text("subject: [1\n")
    assert load_run("copy").data == load_run("demo").data and "typo" in run_names()


def test_runs_that_cannot_be_used_are_left_out_and_named(project):
    (project / "params" / "typo.yaml").write_text("subjekt: 1\n")
    with pytest.warns(UserWarning, match=r"typo is left out: params/typo.yaml: 'subjekt' is no parameter"):
        runs = usable_runs(["demo", "typo", "small"])
    assert [run.name for run in runs] == ["demo", "small"]


def test_root_is_found_from_below_and_its_absence_is_explained(project, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.delenv("NSDLIB_HOME")
    (project / "notebooks" / "deep").mkdir(parents=True)
    assert find_root(project / "notebooks" / "deep") == project
    monkeypatch.chdir(elsewhere)
    with pytest.raises(FileNotFoundError, match=r"No params/_common.yaml in .* or a folder above it: run in"):
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


def test_every_field_is_in_the_common_file_or_peculiar_to_a_subject():
    import yaml

    common = yaml.safe_load((ROOT / "params" / "_common.yaml").read_text())
    assert set(Run.model_fields) - set(common) == {
        "name",
        "root",
        "like",
        "subject",
        "n_voxels",
        "n_test",
        "simulation",
        "bids",
        "betas_files",
    }
