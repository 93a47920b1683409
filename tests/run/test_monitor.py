"""Reports of how a notebook ended: why and where it failed, its memory, how to continue; and the record."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from datetime import datetime
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
from conftest import ROOT, add
from nbclient.exceptions import DeadKernelError
from nbformat.v4 import new_code_cell, new_markdown_cell

from nsdlib import __version__
from nsdlib.cli import main
from nsdlib.run import monitor
from nsdlib.run.monitor import BARS, Watch, cause, curve, record
from nsdlib.run.rates import machine_name
from nsdlib.run.runner import NotebookFailed, run_notebooks
from nsdlib.store.commands import command
from nsdlib.store.variants import name_of

LIMITED = """import resource
from pathlib import Path
lines = Path("/proc/self/status").read_text().splitlines()
limit = 2**28 + 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmSize")))
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))"""


def fail(project, *sources, **parameters):
    """Run a notebook that fails: the error, the first cell of its page, and its record."""
    add(project, "00_first", *sources)
    with pytest.raises(NotebookFailed) as error:
        run_notebooks("small", parameters=parameters)
    folder, page = project / "runs" / "small", name_of("00_first", parameters)
    notebook = nbformat.read(folder / f"{page}.partial.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert not (folder / f"{page}.ipynb").exists() and notebook.cells[0].cell_type == "markdown"
    return str(error.value), notebook.cells[0].source, json.loads((folder / f"{page}.json").read_text())


def test_a_kernel_that_is_killed_leaves_a_page_that_says_so(bare_project):
    fill = "import os, signal, time\ndata = bytearray(b'1' * 2**28)\ntime.sleep(1)"
    said, page, kept = fail(bare_project, fill, "os.kill(os.getpid(), signal.SIGKILL)\nprint()", decoder="cnn")
    assert "00_first__decoder-cnn failed in its cell [4]: its kernel was ended by SIGKILL: most likely the machine" in said
    assert "ran out of memory (highest seen 0." in said and "GiB, the machine has" in said
    assert "`nsdlib run small 00_first -p decoder=cnn` resumes" in said and "00_first__decoder-cnn.partial.ipynb" in said
    assert page.startswith("# Failed: small 00_first__decoder-cnn") and "**Cause:** its kernel was ended by SIGKILL" in page
    assert "**Last cell that ran:** [4], which begins with `os.kill(os.getpid(), signal.SIGKILL)`." in page
    assert "**Time elapsed:** 0:0" in page and "**To resume:** `nsdlib run small 00_first -p decoder=cnn`" in page
    bars = next(line for line in page.splitlines() if line[:1] in BARS and line)
    assert BARS.index(bars[0]) < BARS.index(bars[-1]) and BARS[-1] in bars  # memory has grown
    assert kept["state"] == "failed" and kept["cause"].startswith("its kernel was ended by SIGKILL")
    assert kept["memory"] > 2**28


@pytest.mark.parametrize(
    ("sources", "why"),
    [
        (["1 / 0", "1"], "ZeroDivisionError: division by zero"),
        (["import sys\nsys.exit()", "1"], "RuntimeError: a cell called sys.exit(), and the cells after it have not run"),
        (["import sys\nsys.exit(3)", "1"], "SystemExit: 3"),
        (["import os\nos._exit(3)", "1"], "its kernel exited with status 3"),
        ([LIMITED + "\nbytearray(2**40)"], "MemoryError: no memory was left (highest seen 0."),
    ],
)
def test_other_ends_are_told_apart(bare_project, sources, why):
    said, page, kept = fail(bare_project, *sources)
    assert said.startswith(f"00_first failed in its cell [3]: {why}") and f"**Cause:** {why}" in page
    assert f"[3], which begins with `{sources[0].splitlines()[0]}`" in page
    assert kept["state"] == "failed" and kept["cause"].startswith(why) and kept["memory"] > 2**20


def test_the_next_run_goes_on_and_takes_the_failed_page_away(bare_project):
    fail(bare_project, "1 / 0")
    add(bare_project, "00_first", "print('well')")
    (page,) = run_notebooks("small")
    kept = json.loads(page.with_suffix(".json").read_text())
    assert set(kept) == {"state", "started", "seconds", "longest", "memory", "machine", "parameters", "versions", "cause"}
    assert kept["longest"] == kept["seconds"] and kept["machine"] == machine_name("auto") and kept["parameters"] == {}
    assert kept["state"] == "done" and kept["cause"] is None and kept["memory"] > 2**20 and kept["seconds"] > 0
    assert datetime.fromisoformat(kept["started"]).utcoffset().total_seconds() == 0
    assert set(kept["versions"]) == {"python", "nsdlib", "torch", "numpy"}
    assert kept["versions"]["nsdlib"] == __version__
    assert kept["versions"]["numpy"] == np.__version__
    assert sorted(path.name for path in page.parent.iterdir()) == [".00_first.lock", "00_first.ipynb", "00_first.json"]


@pytest.mark.slow
def test_a_time_limit_of_a_queue_leaves_a_page_and_no_kernel(bare_project):
    add(
        bare_project,
        "00_first",
        "import os, time\nfrom pathlib import Path\nPath('../pid').write_text(str(os.getpid()))\ntime.sleep(60)",
    )
    starting = [sys.executable, "-m", "nsdlib", "run", "small"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(starting, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        while not (bare_project / "pid").is_file() or not (bare_project / "pid").read_text():
            assert running.poll() is None
            time.sleep(0.1)
        running.send_signal(signal.SIGTERM)
        assert "the same command resumes after them" in running.communicate()[1] and running.returncode == 130
    page = nbformat.read(bare_project / "runs" / "small" / "00_first.partial.ipynb", as_version=4).cells[0].source
    assert "the run was ended by SIGTERM: something stopped it, most likely a queue at the time limit" in page
    with pytest.raises(ProcessLookupError):
        os.kill(int((bare_project / "pid").read_text()), 0)


def test_a_page_that_cannot_be_written_does_not_hide_the_cause(bare_project, monkeypatch):
    def full(path, text):
        raise OSError("no space left")

    monkeypatch.setattr("nsdlib.run.runner.atomic_write", full)
    add(bare_project, "00_first", "1 / 0")
    with pytest.raises(NotebookFailed, match=r"cell \[3\]: ZeroDivisionError"):
        run_notebooks("small")


def test_what_is_unknown_is_not_invented():
    watch = Watch()
    watch.look()
    watch.next_cell(cell=new_markdown_cell("# x"))
    assert (watch.cell, watch.line, watch.memory, watch.highest) == (0, "", [], None)
    watch.process = SimpleNamespace(pid=2**22 + 1, poll=lambda: -signal.SIGUSR1)  # beyond the highest that Linux gives
    watch.look()
    assert watch.memory == [] and record(watch, "why")["memory"] is None
    assert cause(DeadKernelError("Kernel died"), watch) == "its kernel was ended by SIGUSR1"
    watch.process.poll = lambda: -signal.SIGKILL
    assert "(not measured, the machine has" in cause(DeadKernelError("Kernel died"), watch)
    assert cause(KeyboardInterrupt(), watch) == "the run was ended by SIGINT: it was interrupted"
    assert cause(TimeoutError("no answer"), watch) == "TimeoutError: no answer"


def test_where_linux_is_not_memory_is_not_seen_and_pages_are_made(bare_project, tmp_path, monkeypatch):
    monkeypatch.setattr(monitor, "PROCESSES", tmp_path / "absent")
    add(bare_project, "00_first", "print('well')")
    (page,) = run_notebooks("small")
    kept = json.loads(page.with_suffix(".json").read_text())
    assert kept["state"] == "done" and kept["memory"] is None
    page.unlink()
    _, page, kept = fail(bare_project, "1 / 0")
    assert "**Memory of the kernel:** not measured, the machine has" in page and kept["state"] == "failed"


def test_the_longest_complete_run_under_the_same_conditions_is_kept():
    watch = Watch()
    watch._start -= 100
    first = record(watch, parameters={"decoder": "cnn", "alphas": (1, 2)})
    assert first["longest"] == first["seconds"] == pytest.approx(100, abs=1)
    again = record(Watch(), parameters={"decoder": "cnn", "alphas": (1, 2)}, before=first)  # most was in the store
    assert again["longest"] == first["seconds"] > again["seconds"]
    failed = record(watch, "why", parameters={"decoder": "cnn", "alphas": (1, 2)}, before=again)
    assert failed["longest"] == first["seconds"] and record(watch, "why")["longest"] is None
    assert record(Watch(), before=first)["longest"] < 1  # with other parameters
    elsewhere = first | {"machine": "an abacus"}
    assert record(Watch(), parameters={"decoder": "cnn", "alphas": (1, 2)}, before=elsewhere)["longest"] < 1
    assert record(Watch(), before={"state": "done", "seconds": 5.0})["longest"] < 1  # an older record, without it


def test_a_record_that_cannot_be_read_is_none(tmp_path):
    (tmp_path / "cut.json").write_text('{"state"')
    (tmp_path / "list.json").write_text("[]")
    assert [monitor.read_record(tmp_path / f"{name}.json") for name in ("cut", "list", "absent")] == [{}] * 3


def test_a_watch_sees_the_most_memory_and_the_last_cell():
    watch = Watch()
    watch.process = SimpleNamespace(pid=os.getpid())
    watch.look()
    watch.next_cell(cell=new_code_cell("\nx = 1\ny = 2"), cell_index=3)
    assert watch.highest >= watch.memory[0][1] > 2**20 and (watch.cell, watch.line) == (1, "x = 1")


def test_the_curve_shows_each_part_of_the_time():
    assert curve([(0, 0), (1, 70), (9, 10), (10, 35)], width=10) == "▁██████" + "██▅"
    assert curve([(0, 5)], width=3) == "███" and curve([(1, 0)], width=2) == "▁▁"


def test_the_command_can_be_given_to_a_shell(bare_project):
    add(bare_project, "00_first", "print('it is', decoder)")
    words = shlex.split(command("small", "00_first", {"decoder": "cnn"}))
    assert words[0] == "nsdlib" and main(words[1:]) == 0
    given = shlex.split(command("small", "03", {"decoder_seeds": (0, 1), "guidance": 7.5, "zoo": None}))
    assert given[5::2] == ["decoder_seeds=[0, 1]", "guidance=7.5", "zoo=null"]
