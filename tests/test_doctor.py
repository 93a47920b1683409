"""The preflight: each lack is found, named and comes with what to do."""

import shutil
from pathlib import Path

import pytest

from nsdlib import doctor
from nsdlib.cli import main
from nsdlib.device import pick
from nsdlib.params import load_run

ROOT = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with parameters and weights, but without data."""
    shutil.copytree(ROOT / "params", tmp_path / "params")
    (tmp_path / "zoo").symlink_to(ROOT / "zoo")
    monkeypatch.setenv("NSDLIB_HOME", str(tmp_path))
    return tmp_path


def found(run, what):
    (finding,) = [finding for finding in doctor.examine(run) if finding.what == what]
    return finding


def test_this_machine_has_what_the_demo_needs_but_data(project, capsys):
    lacking = [finding.what for finding in doctor.examine(load_run("demo")) if not finding.fine]
    assert lacking == ["data"]
    assert main(["doctor", "demo"]) == 1
    said = capsys.readouterr().out
    assert "LACK data" in said and "-> Run `nsdlib simulate demo`." in said and "demo lacks: data" in said


@pytest.mark.slow
def test_a_complete_run_has_all_it_needs(small_project, monkeypatch, capsys):
    monkeypatch.setenv("NSDLIB_HOME", str(small_project))
    assert main(["doctor", "small"]) == 0
    assert capsys.readouterr().out.endswith("small has all it needs.\n")


def test_missing_files_of_a_real_subject_are_named(project):
    data = found(load_run("subj01"), "data")
    assert not data.fine and "files are missing" in data.found and "nsd_stimuli.hdf5" in data.found
    assert "more" in data.found and data.found.count("\n") <= doctor.SHOWN + 1 and "README" in data.remedy


def test_missing_weights_come_with_their_source(project):
    weights = found(load_run("subj01"), "weights")
    assert not weights.fine and "imagenet64-iter-1600000-model-ema.th: https://" in weights.found


def test_a_device_that_is_absent_is_named(project, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    device = found(load_run("demo", device="cuda"), "device")
    assert not device.fine and "device='cuda' was asked for, but torch sees no CUDA device here" in device.found
    assert found(load_run("demo"), "device").found.startswith("cpu, ")


def test_too_little_memory_and_disk_are_lacks(project, monkeypatch):
    monkeypatch.setattr(doctor, "NEEDS", {"demo": {"memory": 1e6, "disk": 1e9}})
    run = load_run("demo")
    assert not found(run, "memory").fine and "wanted 1000000 GB" in found(run, "memory").found
    assert not found(run, "disk").fine and "Free some space" in str(found(run, "disk"))


def test_wrong_versions_are_named(project, monkeypatch):
    monkeypatch.setattr(doctor, "requires", lambda _: ["numpy>=99", "absent-package>=1", "scipy; extra == 'test'"])
    packages = found(load_run("demo"), "packages")
    assert not packages.fine and "numpy 2" in packages.found and "(wanted >=99)" in packages.found
    assert "absent-package absent" in packages.found and "scipy" not in packages.found


def test_an_old_interpreter_is_named(project, monkeypatch):
    monkeypatch.setattr(doctor.sys, "version_info", (3, 9))
    assert not found(load_run("demo"), "python").fine


def test_pick_chooses_and_refuses(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert pick("auto").type == pick("cpu").type == "cpu"
    with pytest.raises(ValueError, match="torch sees no CUDA device here"):
        pick("cuda")
    with pytest.raises(ValueError, match="device must be 'auto', 'cpu' or 'cuda', got 'gpu'"):
        pick("gpu")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert pick("auto").type == pick("cuda").type == "cuda" and pick("cpu").type == "cpu"
