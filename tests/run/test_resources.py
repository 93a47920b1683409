"""Resources of notebooks on one machine: they run in parallel if memory and GPU allow it, and no page is rebuilt for that."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

NAMES = ("00_meet_the_data", "01_hrf_glmsingle")  # neither waits for the other
# In the place of notebooks: together, they wait for each other; alone and like it, they fail beside another. The doctor refuses.
PYTHON = """#!/bin/sh
case "$3" in doctor) echo "the doctor was asked about $4"; exit 1;; simulate) touch "simulated-$4"; exit;; esac
touch "begun-$4-$5"
case "$4" in
together) for _ in $(seq 300); do test $(ls begun-together-* | wc -l) = 2 && break; sleep 0.2; done
    test $(ls begun-together-* | wc -l) = 2;;
alone|huge|one_gpu) mkdir busy && sleep 0.5 && rmdir busy;;
esac && mkdir -p "runs/$4" && touch "runs/$4/$5.ipynb"
"""
# Read by every Python at its start: this machine has 8 GB, or what is said, and a notebook wants 3 of them, one of them 9.
START = """import os, sys, types
import nsdlib, nsdlib.run.rates
nsdlib.run.costs = sys.modules["nsdlib.run.costs"] = types.ModuleType("nsdlib.run.costs")
nsdlib.run.costs.amounts = lambda run: open("gone/" + run.name) if run.name == "gone" else None
nsdlib.run.costs.job_memory = lambda run, sizes, name: (3e9 + 6e9 * (run.name == "huge" and name.startswith("01")),) * 2
nsdlib.run.costs.simulation_memory = lambda run: 1e9
nsdlib.run.rates.total_memory = lambda: int(os.environ.get("TEST_MEMORY", 8 * 10**9))
"""


@pytest.fixture
def project(tmp_path):
    """A project with the shipped Snakefile and profiles, runs whose data are there, and a `python` that only pretends.

    Its path is one that format strings and wildcards could be seen in, and its parameter files are not all in order.
    """
    project = tmp_path / "{run} of 100%"
    project.mkdir()
    for name in ("params", "profiles", "Snakefile"):
        source = ROOT / name
        shutil.copytree(source, project / name) if source.is_dir() else shutil.copy(source, project)
    (project / "notebooks").mkdir()
    for name in NAMES:
        (project / "notebooks" / f"{name}.ipynb").write_text('{"cells": []}')
    small = (project / "params" / "small.yaml").read_text()
    for name in ("alone", "together", "one_gpu", "huge", "first", "gone"):
        (project / "params" / f"{name}.yaml").write_text(small.replace("data/small", f"data/{name}"))
        (project / "data" / name).mkdir(parents=True)
        (project / "data" / name / f".made-{name}").touch()
    shutil.copy(project / "params" / "first.yaml", project / "params" / "copy.yaml")
    (project / "params" / "typo.yaml").write_text("subjekt: [1")
    write(project / "bin" / "python", PYTHON)
    write(project / "start" / "sitecustomize.py", START)
    return project


def write(file, text):
    """A program."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)


def snakemake(project, *runs, **settings):
    """Make the pages of runs by the local profile; status and words."""
    environment = os.environ | {"NSDLIB_HOME": str(project), "PYTHONPATH": f"{project / 'start'}:{ROOT}"}
    environment |= {"PATH": f"{project / 'bin'}:{os.environ['PATH']}"} | settings
    program = Path(sys.executable).with_name("snakemake")
    cores = ["--cores", str(2 * max(1, os.cpu_count() // 2))]  # two halves, which a limit on this process may forbid
    command = [sys.executable, program, "--profile", "profiles/local", *cores, "--config", f"runs={','.join(runs)}"]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def pages(project, run):
    """Notebooks that have been made."""
    return sorted(path.stem for path in (project / "runs" / run).glob("*.ipynb"))


def test_what_does_not_fit_together_runs_one_after_the_other_and_what_fits_not_at_all_asks_the_doctor(project):
    status, words = snakemake(project, "alone", "huge", TEST_MEMORY="5000000000")
    assert pages(project, "alone") == list(NAMES) and pages(project, "huge") == [NAMES[0]], words
    assert status != 0 and words.count("the doctor was asked about huge") == 1


def test_what_fits_runs_together_but_on_a_gpu_one_at_a_time_and_no_page_is_made_again_for_it(project):
    status, words = snakemake(project, "together")
    assert status == 0 and pages(project, "together") == list(NAMES), words
    (project / f"begun-together-{NAMES[0]}").unlink()
    write(project / "bin" / "nvidia-smi", "#!/bin/sh\n")
    status, words = snakemake(project, "together", "one_gpu", TEST_MEMORY="7000000000")
    assert status == 0 and pages(project, "one_gpu") == list(NAMES), words
    assert not (project / f"begun-together-{NAMES[0]}").exists()


def test_two_runs_may_share_their_data_and_a_file_that_cannot_be_read_stops_its_own_run_only(project):
    status, words = snakemake(project, "first", "copy")
    assert status == 0 and pages(project, "first") == pages(project, "copy") == list(NAMES), words
    assert (project / "simulated-copy").exists() and not (project / "simulated-first").exists()
    status, words = snakemake(project, "typo")
    assert status != 0 and "params/typo.yaml is not valid YAML" in words
    status, words = snakemake(project, "alnoe")
    assert status != 0 and "There is no run 'alnoe': did you mean 'alone'?" in words


def test_a_run_whose_data_cannot_be_read_is_told_of(project):
    status, words = snakemake(project, "gone")
    assert status != 0 and "nsdlib: run 'gone': [Errno 2] No such file or directory: 'gone/gone'" in words


def test_braces_in_a_folder_of_data_elsewhere_are_refused(project):
    """Snakemake takes them for wildcards, however they are written."""
    file = project / "params" / "first.yaml"
    file.write_text(file.read_text().replace("data/first", f"'{project.parent}/{{run}}/first'"))
    status, words = snakemake(project, "first")
    assert status != 0 and "nsdlib: params/first.yaml: data lies in ../{run}/first: name a folder without braces." in words
