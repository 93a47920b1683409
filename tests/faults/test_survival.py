"""No results are lost: after every fault injected by `benchmarks/survival.py`, the same command gives the same results."""

import json
import subprocess
import sys
from itertools import cycle
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import xarray as xr
from conftest import ROOT, add

from nsdlib.params import load_run
from nsdlib.run.runner import NotebookFailed, run_notebooks
from nsdlib.store.store import Store

SAVE = """import numpy as np, xarray as xr
from nsdlib.params import load_run
from nsdlib.store.store import Store
saved = Store(load_run(run)).cached("glm", lambda: xr.Dataset({"a": ("i", np.arange(9.0))}))
print(saved.a.values.sum())"""


@pytest.fixture
def survival(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import survival

    return survival


def outcomes(file, *options):
    """Rows of the benchmark's table: kind to how many were injected, survived, lost."""
    command = [sys.executable, "benchmarks/survival.py", "--json", file, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1) and not done.stderr, done.stderr
    table = {row["case"]: (row["injected"], row["ours"], row["lost"]) for row in json.loads(file.read_text())}
    assert done.returncode == (table["all"][2] > 0)
    return table


@pytest.mark.slow
def test_kill_9_at_four_moments_of_a_notebook_loses_nothing(survival, bare_project, twin, monkeypatch):
    """A chain of runs of a small notebook, killed before and after it saves, compared with an undisturbed run.

    The book's table is of two real notebooks and more kills, at random moments.
    """
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (bare_project / "data").mkdir()
    (bare_project / "data" / "small").symlink_to(twin.data)
    add(bare_project, "01_hrf_glmsingle", SAVE, "import time\ntime.sleep(1)")
    shares = cycle([0.7, 0.3, 0.9, 0.5])  # of an undisturbed run
    moments = SimpleNamespace(uniform=lambda low, high: next(shares) * high)
    found = survival.as_table(survival.kill_notebooks(bare_project, ["01_hrf_glmsingle"], 4, moments))
    assert found.loc["all"].tolist() == [4, 4, 0]
    assert set(found.index) - {"all"} == set(survival.FAULTS["kills"])


@pytest.mark.slow
def test_kill_9_at_any_line_of_a_save_full_disks_and_damage_lose_nothing(survival, tmp_path):
    table = outcomes(tmp_path / "rows.json", "--only", "lines", "full", "damage")
    assert [kind for kind, (_, _, lost) in table.items() if lost] == []
    assert set(table) - {"all"} == {kind for name in ("lines", "full", "damage") for kind in survival.FAULTS[name]}
    assert table[survival.WRITER][0] > 30
    for kind in (survival.BEFORE, survival.MIDDLE, survival.IN_PROGRESS, "artifact damaged: byte flipped"):
        assert table[kind][0] >= 4


def test_a_loss_is_counted(survival):
    table = survival.as_table([("a", True), ("a", False), ("b", True)])
    assert table.loc["a"].tolist() == [2, 1, 1] and table.loc["b"].tolist() == [1, 1, 0]
    assert table.loc["all"].tolist() == [3, 2, 1]


def test_the_comparison_sees_one_bit_and_leaves_out_only_times(survival):
    one = xr.Dataset(
        {"x": ("i", np.array([0.0, np.nan])), "seconds": ("i", [1.0, 2.0]), "name": ("i", np.array(["a", "b"], object))}
    )
    assert survival.same(one, one.assign(seconds=("i", [3.0, 4.0])))
    changes = [("x", [-0.0, np.nan]), ("x", [np.nextafter(0, 1), np.nan]), ("name", np.array(["a", "c"], object))]
    for name, values in changes:
        assert not survival.same(one, one.assign({name: ("i", values)}))
    assert not survival.same(one, one.drop_vars("x")) and not survival.same(one.drop_vars("x"), one)


def test_an_artifact_that_was_damaged_is_made_again_by_its_notebook_which_says_so(bare_project):
    add(bare_project, "01_hrf_glmsingle", SAVE)
    run_notebooks("small")
    folder = Store(load_run("small")).path("glm")
    (folder / "manifest.json").write_text("garbage")
    (page,) = run_notebooks("small")
    printed = [output.text for cell in nbformat.read(page, 4).cells for output in cell.get("outputs", [])]
    assert any("was damaged and has been made again" in text for text in printed) and "36.0\n" in printed
    assert Store(load_run("small")).load("glm").a.values.sum() == 36


def test_a_full_disk_ends_a_notebook_in_words_and_the_next_run_goes_on(bare_project):
    limit = "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    add(bare_project, "01_hrf_glmsingle", limit + "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))", SAVE)
    with pytest.raises(NotebookFailed, match="StoreFull: There is no room for the artifact 'glm' of run 'small': it takes up to"):
        run_notebooks("small")
    assert list(load_run("small").store.iterdir()) == []
    add(bare_project, "01_hrf_glmsingle", SAVE)
    assert run_notebooks("small")[0].is_file()
