"""The preflight: each lack is found, named and comes with what to do."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from nsdlib import cli
from nsdlib.cli import main
from nsdlib.core.device import pick
from nsdlib.data import nsd_checks
from nsdlib.data.nsd import NSDSubject
from nsdlib.params import load_run
from nsdlib.run import doctor, rates
from nsdlib.study import betas

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
    assert (
        "more" in data.found
        and data.found.count("\n") <= doctor.SHOWN + 1
        and "`nsdlib fetch nsd --subject 1`" in data.remedy
    )


def test_missing_weights_come_with_their_source(project):
    weights = found(load_run("subj01"), "weights")
    assert not weights.fine and "imagenet64-iter-1600000-model-ema.th: https://" in weights.found


def test_a_device_that_is_absent_is_named(project, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    device = found(load_run("demo", device="cuda"), "device")
    assert not device.fine and "device='cuda' was asked for, but torch sees no CUDA device here" in device.found
    assert found(load_run("demo"), "device").found.startswith("cpu, ")


def test_what_does_not_fit_is_refused_and_the_parameter_to_lower_is_named(project, monkeypatch, capsys):
    run = load_run("demo")
    monkeypatch.setattr(doctor, "total_memory", lambda: 1e9)
    memory = found(run, "memory")
    assert (
        not memory.fine and memory.found == "1 GB, wanted 2 GB by notebook 04" and "Lower layer_counts" in memory.remedy
    )
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda place: SimpleNamespace(free=10**8))
    disk = found(run, "disk")
    assert not disk.fine and "0 GB free, wanted 1." in disk.found and "Free some space" in str(disk)
    assert main(["doctor", "demo"]) == 1
    assert "demo lacks: memory, disk, data" in capsys.readouterr().out


def test_a_gpu_that_is_too_small_is_refused(project, monkeypatch):
    for size, fine in ((40e9, True), (4e9, False)):
        monkeypatch.setattr(doctor, "_gpu_memory", lambda run, size=size: size)
        gpu = found(load_run("subj01"), "GPU")
        assert gpu.fine == fine and "by notebook" in gpu.found and "set device to cpu" in gpu.remedy


def test_without_a_gpu_the_networks_take_memory(project, monkeypatch):
    run = load_run("subj01")
    wanted = {}
    for where, size in (("cpu", None), ("cuda", 80e9)):
        monkeypatch.setattr(doctor, "_gpu_memory", lambda run, size=size: size)
        monkeypatch.setattr(doctor, "total_memory", lambda: 0)
        wanted[where] = int(found(run, "memory").found.split("wanted ")[1].split()[0])
    assert wanted["cpu"] > wanted["cuda"] + 5


def test_data_that_are_there_are_not_asked_for_again(project, twin):
    there = load_run("small").model_copy(update={"data": twin.data})
    sizes = [float(found(run, "disk").found.split("wanted ")[1].split()[0]) for run in (there, load_run("small"))]
    assert sizes[0] < sizes[1]


@pytest.fixture
def slow_machine(monkeypatch):
    """A machine that is not measured."""
    machine = rates.Rates("an abacus", 1e9, 1e9, 1e8, 1e8, 1e8)
    monkeypatch.setattr(rates, "calibrate", lambda run: machine)
    return machine


def test_the_preflight_says_what_a_run_takes_and_how_roughly(project, slow_machine, capsys):
    main(["doctor", "demo"])
    said = capsys.readouterr().out
    assert "Measured: an abacus" in said and "right to a factor of 3:" in said and "typical, for want of files" in said
    assert all(f"| 0{number}_" in said for number in range(1, 7)) and " h " in said


def test_checks_of_the_data_print_what_was_expected_and_what_came(project, twin, monkeypatch, capsys):
    run = load_run("small").model_copy(update={"data": twin.data})
    monkeypatch.setattr(cli, "load_run", lambda name: run)
    assert main(["doctor", "small", "--data"]) == 0
    said = capsys.readouterr().out
    assert "beginning with image 2951: expected 2951, came 2951" in said and "FAIL" not in said
    subject = NSDSubject(twin.data, twin.subject, twin.n_sessions)
    train, test = (np.unique(subject.image_ids[some]) for some in (~subject.is_shared, subject.is_shared))
    name = betas.split_hash(train, test)
    assert f"Split of 1 sessions: {len(train)} images to train, {len(test)} to test, {name}" in said
    broken = pd.DataFrame([("A thing", "5", "4", "WRONG", "Get it."), ("Another", "", "", "not there", "")])
    broken.columns = ["check", "found", "wanted", "result", "remedy"]
    monkeypatch.setattr(nsd_checks, "first_contact", lambda subject, version: broken)
    assert main(["doctor", "small", "--data"]) == 1
    said = capsys.readouterr().out
    assert "FAIL A thing: expected 4, came 5\n     -> Get it.\n-    Another: not there" in said


def test_data_that_are_missing_fail(project, capsys):
    assert main(["doctor", "subj03", "--data"]) == 1
    assert "files are missing" in capsys.readouterr().out


def test_the_outlook_is_a_table_with_its_assumptions(project, slow_machine, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_gpu_memory", lambda run: None)
    assert main(["doctor", "subj01", "--forecast", "4"]) == 0
    said = capsys.readouterr().out
    assert all(f"| {name} | 8,859 + 982 |" in said for name in ("subj01", "subj02", "subj05", "subj07"))
    assert "4 nodes with one each" in said and "- Device: an A100 GPU" in said and "3 times too high or too low" in said
    monkeypatch.setattr(doctor, "_gpu_memory", lambda run: 8e10)
    main(["doctor", "subj01", "--forecast", "4"])
    assert "- Device: an abacus" in capsys.readouterr().out


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
