"""The doctor: each missing requirement is found, named and reported with a remedy."""

import json
import os
import re
import shutil
import tomllib
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from nsdlib import cli
from nsdlib.cli import main
from nsdlib.core.device import pick_device
from nsdlib.data.nsd import checks as nsd_checks
from nsdlib.data.nsd.subject import NSDSubject
from nsdlib.params import load_run
from nsdlib.run import costs, doctor, rates
from nsdlib.study import betas


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
    assert capsys.readouterr().out.endswith("small has everything it needs.\n")


def test_missing_files_of_a_real_subject_are_named(project):
    data = found(load_run("subj01"), "data")
    assert not data.fine and "files are missing" in data.found and "nsd_stimuli.hdf5" in data.found
    assert (
        "more" in data.found
        and data.found.count("\n") <= doctor.N_LISTED + 1
        and "`nsdlib fetch nsd --run subj01`" in data.remedy
    )


def test_a_subject_that_cannot_be_opened_is_the_one_finding(project, capsys):
    text = "data: nowhere\nbetas: nsd\ntext_weight: 0\nsplit: random\nbetas_files: {kind: laion, images: nowhere}\n"
    (project / "params" / "mine.yaml").write_text(text)
    assert main(["doctor", "mine"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("LACK data") and "wanted one folder sub-01" in said and said.endswith("mine lacks: data\n")


def test_time_series_for_notebook_01_are_asked_for(project, twin):
    run = load_run("small").model_copy(update={"data": project / "data", "simulation": None})
    shutil.copytree(twin.data, run.data, ignore=shutil.ignore_patterns("nsddata_timeseries", "simulation.json"))
    data = found(run, "data")
    assert not data.fine and data.found.startswith("24 files are missing") and "BOLD of session 1, run 1" in data.found
    assert data.remedy.endswith("Only notebook 01 reads these.")


def test_the_subject_of_another_run_is_not_taken_for_its_own(project, twin):
    run = load_run("small").model_copy(update={"data": twin.data})
    assert found(run, "data").fine
    other = run.model_copy(update={"name": "mine", "simulation": run.simulation.model_copy(update={"seed": 2})})
    data = found(other, "data")
    assert not data.fine and "another run (seed=1 there, 2 wanted). Give params/mine.yaml a folder of its own" in data.found
    assert (
        "holds a simulated subject, and run 'small' is of a real one"
        in found(run.model_copy(update={"simulation": None}), "data").found
    )


def test_missing_weights_come_with_their_source(project):
    weights = found(load_run("subj01"), "weights")
    assert not weights.fine and "imagenet64-iter-1600000-model-ema.th: https://" in weights.found


def test_a_judge_that_is_not_there_is_named(project):
    weights = found(load_run("demo", clip_judge="weights/bigg"), "weights")
    assert not weights.fine and f"{project / 'weights' / 'bigg'}: you: a folder with a CLIP" in weights.found
    assert weights.remedy == "Put it at this path, or correct the line of the parameter file that names it."
    (project / "params" / "recipes" / "mine.yaml").write_text("clip: weights/vit\ndemo: {clip: weights/other}\n")
    weights = found(load_run("demo", recipes=["mine"]), "weights")
    place = f"{project / 'weights' / 'other'}: you: a folder with a CLIP, or correct `clip` of the recipe mine"
    assert not weights.fine and weights.found.endswith(place)
    (project / "weights" / "other").mkdir(parents=True)
    assert found(load_run("demo", recipes=["mine"]), "weights").fine


def test_a_device_that_is_absent_is_named(project, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    device = found(load_run("demo", device="cuda"), "device")
    assert not device.fine and "device is 'cuda', but torch finds no CUDA device" in device.found
    assert found(load_run("demo"), "device").found.startswith("cpu, ")


def test_what_does_not_fit_is_refused_and_the_parameter_to_lower_is_named(project, monkeypatch, capsys):
    run = load_run("demo")
    monkeypatch.setattr(doctor, "total_memory", lambda: 1e9)
    memory = found(run, "memory")
    assert not memory.fine and memory.found == "1 GB, wanted 2 GB by notebook 04" and "Lower layer_counts" in memory.remedy
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
    for device, size in (("cpu", None), ("cuda", 80e9)):
        monkeypatch.setattr(doctor, "_gpu_memory", lambda run, size=size: size)
        monkeypatch.setattr(doctor, "total_memory", lambda: 0)
        wanted[device] = int(found(run, "memory").found.split("wanted ")[1].split()[0])
    assert wanted["cpu"] > wanted["cuda"] + 5


def test_data_that_are_there_are_not_asked_for_again(project, twin):
    there = load_run("small").model_copy(update={"data": twin.data})
    sizes = [float(found(run, "disk").found.split("wanted ")[1].split()[0]) for run in (there, load_run("small"))]
    assert sizes[0] < sizes[1]


def test_the_preflight_says_what_a_run_takes_and_how_it_knows(project, capsys):
    main(["doctor", "demo"])
    said = capsys.readouterr().out
    assert "typical values, because files are missing" in said and f"on {rates.machine_name('auto')}:" in said
    assert all(f"| {name} " in said for name in costs.COUNTED) and "| not known yet |" in said
    assert "The whole run: not known yet (its first run records it)." in said
    record(project, "demo", *costs.COUNTED)
    main(["doctor", "demo"])
    said = capsys.readouterr().out
    assert "| 3 h " in said and "demo, 2026-01-02" in said and "The whole run: 30 h (records of 10 notebooks)." in said


def record(project, run, *names):
    """Write records of notebooks that took three hours each."""
    (project / "runs" / run).mkdir(parents=True)
    kept = {"started": "2026-01-02T10:00:00+00:00", "longest": 10800.0, "parameters": {}}
    kept["machine"] = rates.machine_name("auto")
    for name in names:
        (project / "runs" / run / f"{name}.json").write_text(json.dumps(kept))


def test_checks_of_the_data_print_what_was_expected_and_what_came(project, twin, monkeypatch, capsys):
    run = load_run("small").model_copy(update={"data": twin.data})
    monkeypatch.setattr(cli, "load_run", lambda name: run)
    assert main(["doctor", "small", "--data"]) == 0
    said = capsys.readouterr().out
    assert "beginning with image 2951: expected 2951, found 2951" in said and "FAIL" not in said
    subject = NSDSubject(twin.data, twin.subject, twin.n_sessions)
    train, test = (np.unique(subject.image_ids[some]) for some in (~subject.is_test, subject.is_test))
    name = betas.split_hash(train, test)
    assert f"Split of 1 sessions: {len(train)} images to train, {len(test)} to test, {name}" in said
    broken = pd.DataFrame([("A thing", "5", "4", "WRONG", "Get it."), ("Another", "", "", "not there", "")])
    broken.columns = ["check", "found", "wanted", "result", "remedy"]
    monkeypatch.setattr(nsd_checks, "first_contact", lambda subject, version: broken)
    assert main(["doctor", "small", "--data"]) == 1
    said = capsys.readouterr().out
    assert "FAIL A thing: expected 4, found 5\n     -> Get it.\n-    Another: not there" in said


def test_data_that_are_missing_fail(project, capsys):
    assert main(["doctor", "subj03", "--data"]) == 1
    assert "files are missing" in capsys.readouterr().out


def test_the_outlook_is_a_table_with_what_it_rests_on(project, capsys):
    assert main(["doctor", "subj01", "--forecast", "4"]) == 0
    said = capsys.readouterr().out
    assert all(f"| {name} | 8,859 + 982 |" in said for name in ("subj01", "subj02", "subj05", "subj07"))
    assert "| not known yet | `nsdlib rehearse subj01` measures it |" in said
    assert "One node: not known yet for all; 4 nodes: not known yet." in said
    assert f"- Machine: {rates.machine_name('auto')}" in said
    record(project, "subj05", *costs.COUNTED)  # of the four, one is known, and the others from it
    main(["doctor", "subj01", "--forecast", "4"])
    assert "4 nodes: 31 h." in capsys.readouterr().out.replace("30 h", "31 h")
    main(["doctor", "subj01", "--forecast", "1"])
    assert re.search(r"^One node: \d+ (h|days) for all\.$", capsys.readouterr().out, re.MULTILINE)


def test_wrong_versions_are_named(project, monkeypatch):
    wanted = ["numpy>=99", "absent-package>=1", "scipy; extra == 'test'"]
    monkeypatch.setattr(doctor, "requirements", lambda: (">=3.11", wanted))
    packages = found(load_run("demo"), "packages")
    assert not packages.fine and "numpy 2" in packages.found and "(wanted >=99)" in packages.found
    assert "absent-package absent" in packages.found and "scipy" not in packages.found


@pytest.mark.parametrize("is_installed", [True, False])
def test_what_is_asked_for_is_what_the_project_declares(project, monkeypatch, is_installed):
    def absent(name):
        raise PackageNotFoundError(name)

    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    metadata = {"Requires-Python": declared["requires-python"]}
    installed = SimpleNamespace(metadata=metadata, requires=declared["dependencies"])
    monkeypatch.setattr(doctor, "distribution", absent if not is_installed else {declared["name"]: installed}.get)
    assert doctor.requirements() == (declared["requires-python"], declared["dependencies"])
    assert found(load_run("demo"), "packages").fine and found(load_run("demo"), "python").fine


@pytest.mark.parametrize(("version", "fine"), [("3.10.9", False), ("3.11.0", True), ("3.13.2", True), ("3.14.0", False)])
def test_the_interpreter_is_held_against_what_the_project_declares(project, monkeypatch, version, fine):
    monkeypatch.setattr(doctor, "requirements", lambda: (">=3.11,<3.14", []))
    monkeypatch.setattr(doctor.platform, "python_version", lambda: version)
    python = found(load_run("demo"), "python")
    assert python.fine == fine and python.found == version and ">=3.11,<3.14" in python.remedy


def test_the_doctor_works_where_linux_is_not(project, monkeypatch, tmp_path):
    for name in ("PROCESSORS", "CARDS", "MY_GROUPS"):
        monkeypatch.setattr(rates, name, tmp_path / "absent")
    for name in ("sched_getaffinity", "sysconf", "posix_fadvise"):
        monkeypatch.delattr(os, name)
    assert f"{rates.ASSUMED_MEMORY / 1e9:.0f} GB, wanted" in found(load_run("demo"), "memory").found
    assert main(["doctor", "demo"]) == 1


def test_pick_chooses_and_refuses(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert pick_device("auto").type == pick_device("cpu").type == "cpu"
    with pytest.raises(ValueError, match="torch finds no CUDA device"):
        pick_device("cuda")
    with pytest.raises(ValueError, match="device must be 'auto', 'cpu' or 'cuda', got 'gpu'"):
        pick_device("gpu")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert pick_device("auto").type == pick_device("cuda").type == "cuda" and pick_device("cpu").type == "cpu"
