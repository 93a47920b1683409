"""What benchmarks measure against must compute what it stands for, and the benchmarks must run."""

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from nsdlib.study import ablation

ROOT = Path(__file__).parents[1]


@pytest.fixture
def benchmark(monkeypatch, capfd):
    """A function that runs a program of `benchmarks/` in this process; it returns what was printed, to both streams."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    n_threads = torch.get_num_threads()

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(ROOT / "benchmarks" / f"{name}.py"), run_name="__main__")
        return capfd.readouterr()

    yield run
    torch.set_num_threads(n_threads)


def test_the_benchmark_of_the_glm_reports_time_and_agreement(benchmark):
    """What stands for GLMsingle agrees with nsdlib, which agrees with GLMsingle's own results (`test_glm.py`)."""
    said = benchmark("glm", "--quick", "--voxels", 80, 60, "--runs", 3, 4).out
    row = re.search(r"\|\s+3 \|\s+60 \|" + r"\s+(\S+) \|" * 5 + r"\s+(\d+) = (\d+)", said)
    everywhere, difference, *same, ours, theirs = map(float, row.groups())
    assert everywhere == difference < 2e-5 and same == [1, 1, 1] and ours == theirs
    assert "against GLMsingle 1" in said or "against plain NumPy, not GLMsingle" in said
    assert not re.search(r"\|\s+(4 \|\s+\d+|\d+ \|\s+80) \|", said)  # quick: one case


def test_a_noise_pool_that_differs_counts_and_so_do_voxels_with_other_choices(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import glm as benchmark

    axes = {"hrf_index": [3, 3], "fraction": [1.0, 0.5], "noise_pool": [True, False]}
    ours = xr.Dataset({name: ("voxel", values) for name, values in axes.items()}, attrs={"n_pcs": 2})
    ours["betas_d"] = (("trial", "voxel"), np.ones((4, 2)))
    other = {"hrf_index": np.array([3, 4]), "noise_pool": np.array([True, True]), "betas_d": np.array([[1.0, 3.0]] * 4)}
    found = benchmark.compare_results(ours, other | {"fraction": np.array([1.0, 0.5]), "n_pcs": 2})
    assert found["betas, relative rms"] == pytest.approx(np.sqrt(2))
    assert found["with the same HRF and fraction"] == 0 and found["same noise pool"] == 0.5


def test_the_benchmark_of_stage_1_agrees_with_scikit_learn(benchmark):
    said = benchmark("stage1", "ridge", "gru", "--quick", "--threads", 1).out
    ours = re.search(r"\| nsdlib, all tokens +\|.*\| +(\S+) \|\n", said)
    assert float(ours[1]) < 1e-4 and "the matrix products alone" in said


def test_the_benchmark_of_regimes_writes_the_table_that_is_shown(benchmark, tmp_path):
    benchmark("regimes", "--quick", "--to", tmp_path / "t.csv")
    found, shown = pd.read_csv(tmp_path / "t.csv"), ablation.regimes()
    assert list(found) == list(shown) and np.isfinite(found.explained).all()
    assert set(zip(found.target, found.decoder, strict=True)) == set(zip(shown.target, shown.decoder, strict=True))


def test_the_benchmark_of_a_session_reports_memory(benchmark, tmp_path):
    said = benchmark("glm", "--session", 100, "--scratch", tmp_path).out
    assert re.search(r"100 voxels, 750 trials, 2700 volumes on cpu\n.*\npeak memory [\d.]+ GiB", said)
    assert not any(tmp_path.iterdir())


def test_the_benchmark_of_stage_2_compares_the_same_images(benchmark):
    said = benchmark("stage2", "loop", "--images", 2, "--device", "cpu")
    assert int(re.search(r"images differ by (\d+) of 255", said.err).group(1)) <= 1
    assert re.search(r"\| nsdlib( +\| +[\d.]+){3} +\|", said.out)


def test_the_benchmark_of_a_batch_sees_memory_and_failure(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import batch

    project = batch.make(tmp_path)
    hold = 'import pathlib, time; held = bytearray(300 << 20); time.sleep(2); pathlib.Path("done").touch()'
    (project / "Snakefile").write_text(f'rule all:\n    output: "done"\n    shell: """python -c \'{hold}\'"""\n')
    seconds, gibibytes = batch.measure(project, ["small1"])
    assert (project / "done").exists() and seconds > 2 and 0.3 < gibibytes < 2
    (project / "Snakefile").write_text('rule all:\n    output: "other"\n    shell: "exit 7"\n')
    with pytest.raises(RuntimeError, match=r"snakemake.*runs=small1` failed:"):
        batch.measure(project, ["small1"])
