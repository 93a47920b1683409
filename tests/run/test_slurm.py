"""A batch on a real Slurm: the resources of its jobs, the isolation of a failing subject, and a second submission."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import slurm
from conftest import ROOT
from nbformat.v4 import new_code_cell, new_notebook

from nsdlib.params import load_run
from nsdlib.run import costs

ABSENT = ", ".join(slurm.missing())
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(ABSENT), reason=f"no Slurm here ({ABSENT} absent): apt-get install slurm-wlm munge"),
]
# The plugin asks ten seconds later each time that nothing has ended: here it asks every second.
SOON = """from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake.cli import main
RemoteExecutor.next_seconds_between_status_checks = property(lambda self: 1, lambda self, seconds: None)
main()"""
NO_GPU = ["--resources", "gpu=0"]
REAL, STUB = "00_meet_the_data", "01_hrf_glmsingle"
STUBBED = "assert run != 'failing', 'it was to fail'\nif run == 'saving':\n    store.save('glm', run)"  # each 01 has to save


@pytest.fixture(scope="module")
def project(tmp_path_factory, twin):
    """A project with data of the small run, a real and a stub of a notebook, and runs that go wrong in different places."""
    project = tmp_path_factory.mktemp("project")
    for name in ("params", "profiles", "Snakefile"):
        source = ROOT / name
        shutil.copytree(source, project / name) if source.is_dir() else shutil.copy(source, project)
    (project / "nsdlib").symlink_to(ROOT / "nsdlib")
    (project / "notebooks").mkdir()
    shutil.copy(ROOT / "notebooks" / f"{REAL}.ipynb", project / "notebooks")
    cells = [new_code_cell('run = "demo"', metadata={"tags": ["parameters"]}), new_code_cell(STUBBED)]
    nbformat.write(new_notebook(cells=cells), project / "notebooks" / f"{STUB}.ipynb")
    small = (project / "params" / "small.yaml").read_text().replace("data/small", "data/{name}")
    for name in ("small", "failing", "huge"):
        text = small.replace("[14, 16, 12]", "[200, 200, 200]") if name == "huge" else small
        (project / "params" / f"{name}.yaml").write_text(text.replace("{name}", name))
        (project / "data" / name).mkdir(parents=True)
        (project / "data" / name / f".made-{name}").touch()
    shutil.copytree(twin.data, project / "data" / "small", dirs_exist_ok=True)
    return project


@pytest.fixture(scope="module")
def batch(project, tmp_path_factory):
    """A function that makes pages with the profile: its status, its words, and the jobs that Slurm has had since its start."""
    with slurm.cluster(tmp_path_factory.mktemp("slurm")) as environment:
        environment |= {"NSDLIB_HOME": str(project), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"

        def run(*pages, options=()):
            targets = [f"runs/{page}.ipynb" for page in pages]
            command = [sys.executable, "-c", SOON, "--profile", "profiles/slurm", *options, "--", *targets]
            done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
            return done.returncode, done.stdout + done.stderr, jobs(environment)

        yield run


def key(run, name):
    """What Snakemake calls the job of a notebook."""
    return f"rule_notebook_wildcards_{run}_{name}"


def jobs(environment):
    """{what for: fields} of every job since Slurm's start."""
    lines = slurm.ask(environment, "scontrol", "--oneliner", "show", "job").splitlines()
    fields = [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in lines if line.startswith("JobId=")]
    found = {job["Comment"]: job for job in fields}
    assert len(found) == len(fields)  # nothing is asked for twice
    return found


@pytest.fixture(scope="module")
def mixed(batch):
    """A batch in which one run fails and one asks for more than any node has."""
    return batch(f"small/{STUB}", f"failing/{STUB}", f"huge/{STUB}")


@pytest.fixture(scope="module")
def without_gpus(batch, mixed):
    """Two pages, one of which is there, from nodes without a GPU."""
    return batch(f"small/{STUB}", f"small/{REAL}", options=NO_GPU)


def test_a_run_that_fails_leaves_the_others_alone(project, mixed):
    status, words, found = mixed
    states = {name: found[name]["JobState"] for name in found}
    assert states == {key("small", STUB): "COMPLETED", key("failing", STUB): "FAILED", key("huge", STUB): "FAILED"}
    assert status != 0 and found[key("huge", STUB)]["Reason"] == "BadConstraints"  # refused, and not waiting for ever
    pages = sorted(str(path.relative_to(project)) for path in (project / "runs").rglob("*.ipynb"))
    assert pages == [f"runs/failing/{STUB}.partial.ipynb", f"runs/small/{STUB}.ipynb"]
    log = found[key("failing", STUB)]["StdOut"]
    assert log in words and "AssertionError: it was to fail" in Path(log).read_text()


def test_jobs_ask_for_the_memory_and_the_gpu_that_were_counted(project, mixed, without_gpus, monkeypatch):
    monkeypatch.setenv("NSDLIB_HOME", str(project))
    jobs = without_gpus[2]
    for run, name in (("small", STUB), ("huge", STUB), ("small", REAL)):
        asked = costs.job_memory(load_run(run), costs.amounts(load_run(run)), name)[1]
        assert jobs[key(run, name)]["MinMemoryNode"] in (f"{int(asked / 1e6)}M", f"{asked / 1e6 / 1024:g}G")
    assert float(jobs[key("huge", STUB)]["MinMemoryNode"][:-1]) > slurm.MEMORY
    assert {name for name, job in jobs.items() if job.get("TresPerJob") == "gres:gpu:1"} == set(mixed[2])
    assert "TresPerJob" not in jobs[key("small", REAL)]


def test_what_is_there_is_not_made_again(mixed, without_gpus, project):
    status, words, found = without_gpus
    assert status == 0 and found.keys() == {*mixed[2], key("small", REAL)}, words
    assert found[key("small", REAL)]["JobState"] == "COMPLETED"
    outputs = [
        out for cell in nbformat.read(project / "runs" / "small" / f"{REAL}.ipynb", 4).cells for out in cell.get("outputs", [])
    ]
    assert any("missing files: 0" in out.get("text", "") for out in outputs)
