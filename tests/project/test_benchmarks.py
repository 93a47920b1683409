"""What benchmarks measure against must compute what it stands for, and the benchmarks must run."""

import json
import re
import runpy
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from conftest import ROOT

from nsdlib.core.glm.fit import fit_glm
from nsdlib.run import rates
from nsdlib.study import latents
from nsdlib.twin import scenes


@pytest.fixture
def benchmark(monkeypatch, capfd):
    """A function that runs a program of `benchmarks/` in this process; it returns what was printed, to both streams."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.setattr(rates, "SIDE", 256)  # products whose rate nobody asks for here
    n_threads = torch.get_num_threads()

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(ROOT / "benchmarks" / f"{name}.py"), run_name="__main__")
        return capfd.readouterr()

    yield run
    torch.set_num_threads(n_threads)


def test_the_benchmark_of_the_glm_reports_time_and_agreement(benchmark):
    """What stands for GLMsingle agrees with nsdlib, which agrees with GLMsingle's own results (`test_glm.py`)."""
    said = benchmark("glm", "--quick", "--voxels", 80, 30, "--runs", 2, 4).out
    row = re.search(r"\|\s+2 \|\s+30 \|" + r"\s+(\S+) \|" * 5 + r"\s+(\d+) = (\d+)", said)
    everywhere, difference, *same, ours, theirs = map(float, row.groups())
    assert everywhere == difference < 2e-5 and same == [1, 1, 1] and ours == theirs
    assert "against GLMsingle 1" in said or "against plain NumPy, not GLMsingle" in said
    assert not re.search(r"\|\s+(4 \|\s+\d+|\d+ \|\s+80) \|", said)  # quick: one case


def test_the_benchmark_of_bids_compares_reading_with_the_fit(benchmark, tmp_path):
    small = ("--voxels", 300, "--shape", 8, 8, 8, "--runs", 2, "--volumes", 90, "--json", tmp_path / "out.json")
    said = benchmark("bids", *small).out
    [row] = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert row["reading / GLM"] == row["read, s"] / row["GLM, s"] > 0 and "GiB at the peak: " in said


def test_a_report_holds_its_rows_and_what_they_were_measured_with(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import report

    file = tmp_path / "out.json"
    report.write(file, [{"case": "one", "ours": np.float32(0.5), "peer": np.arange(2)}], quick=True)
    found = json.loads(file.read_text())
    assert found["rows"] == [{"case": "one", "ours": 0.5, "peer": [0, 1]}] and found["settings"] == {"quick": True}
    assert found["versions"]["numpy"] == np.__version__ and found["machine"]["threads"] == torch.get_num_threads()
    assert report.write(None, []) is None and list(tmp_path.iterdir()) == [file]
    monkeypatch.setattr(report, "ROOT", tmp_path)  # no repository
    report.write(file, [])
    assert json.loads(file.read_text())["commit"] is None


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


def test_the_benchmark_of_stage_1_agrees_with_scikit_learn(benchmark, tmp_path):
    file = tmp_path / "stage1.json"
    said = benchmark("stage1", "ridge", "gru", "--quick", "--threads", 1, "--json", file).out
    ours = re.search(r"\| nsdlib, all tokens +\|.*\| +(\S+) \|\n", said)
    assert float(ours[1]) < 1e-4 and "the matrix products alone" in said
    rows = json.loads(file.read_text())["rows"]
    assert [row["part"] for row in rows] == 4 * ["ridge"] + 4 * ["gru"] and rows[-1]["CPU seconds"] > 0


def test_the_benchmark_of_regimes_writes_the_table_that_is_shown(benchmark, tmp_path):
    benchmark("regimes", "--quick", "--to", tmp_path / "t.csv")
    found, shown = pd.read_csv(tmp_path / "t.csv"), latents.regimes()
    assert list(found) == list(shown) and np.isfinite(found.explained).all()
    assert set(zip(found.target, found.decoder, strict=True)) == set(zip(shown.target, shown.decoder, strict=True))


def test_the_benchmark_of_a_session_reports_memory(benchmark, tmp_path):
    file = tmp_path / "out.json"
    said = benchmark("glm", "--session", 100, "--scratch", tmp_path, "--json", file).out
    assert re.search(r"100 voxels, 12 runs, 750 trials, 2700 volumes on cpu\n", said)
    [row] = json.loads(file.read_text())["rows"]
    assert row["peak GiB"] > row["results GiB"] > row["GPU GiB"] == 0
    assert sum(row[stage] for stage in ("ON-OFF", "HRFs", "number of components", "ridge")) < row["seconds"]
    assert list(tmp_path.iterdir()) == [file]


def test_the_simulated_session_holds_what_the_glm_finds(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import glm as benchmark

    design, data, tr = benchmark.simulate_session(60)
    assert sum(map(np.count_nonzero, design)) == 750 and {run.shape for run in data} == {(225, 60)}
    found = fit_glm(design, data, tr=tr)
    assert 0.2 < found.pc_voxels.mean() < 0.8 and found.r2_b[found.pc_voxels].mean() > found.r2_b[~found.pc_voxels].mean()


def test_the_benchmark_of_a_batch_sees_memory_and_failure(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import batch

    project = batch.make(tmp_path, 2)
    hold = 'import pathlib, time; held = bytearray(300 << 20); time.sleep(2); pathlib.Path("done").touch()'
    (project / "Snakefile").write_text(f'rule all:\n    output: "done"\n    shell: """python -c \'{hold}\'"""\n')
    seconds, gibibytes = batch.measure(project, ["small1"])
    assert (project / "done").exists() and seconds > 2 and 0.3 < gibibytes < 2
    (project / "Snakefile").write_text('rule all:\n    output: "other"\n    shell: "exit 7"\n')
    with pytest.raises(RuntimeError, match=r"snakemake.*runs=small1` failed:"):
        batch.measure(project, ["small1"])


@pytest.mark.slow
def test_the_benchmark_of_a_gpu_runs_its_small_version_without_one(benchmark, tmp_path):
    import gpu

    left_out = ("second stage, compiled", "rehearsal")  # the stages of the latter run in `test_rehearsal.py`
    rows, file = [name for name in gpu.ROWS if name not in left_out], tmp_path / "out.json"
    said, errors = benchmark("gpu", "--quick", "--json", file, "--budget", 1000, "--only", *rows)
    assert int(re.search(r"images differ by (\d+) of 255", errors).group(1)) <= 1
    written = json.loads(file.read_text())
    assert list(dict.fromkeys(row["case"] for row in written["rows"])) == rows and written["settings"]["quick"]
    assert not [row for row in written["rows"] if "error" in row], said
    assert {row["agreement"] for row in written["rows"] if "agreement" in row} == {0.0} or torch.cuda.is_available()
    assert all(f"{name} | " in said for name in rows)


def test_what_a_card_did_becomes_the_table_of_forecasts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import gpu

    from nsdlib.run import rehearsal

    stage = {"case": "rehearsal", "stage": "GRU", "a second": 8.0, "of the GPU GiB": 1.5, "device": "cuda"}
    rows = [{"case": "GLM", "seconds": 3.0}, {"case": "rehearsal", "what": "all stages", "ours": 9.0}, stage]
    written = {"machine": {"card": "NVIDIA H200"}, "date": "2026-01-02T03:04:05+00:00", "rows": rows}
    (tmp_path / "book" / "data").mkdir(parents=True)
    (tmp_path / "out.json").write_text(json.dumps(written))
    monkeypatch.setattr(gpu.report, "ROOT", tmp_path)
    gpu.keep(tmp_path / "out.json")
    [(stages, machine, day)] = rehearsal.kept(tmp_path)
    assert (machine, day) == ("NVIDIA H200", "2026-01-02")
    assert (tmp_path / "book" / "data" / "rehearsal_h200.csv").is_file()
    assert stages.to_dict("index") == {"GRU": {"a second": 8.0, "of the GPU GiB": 1.5}}
    (tmp_path / "out.json").write_text(json.dumps(written | {"machine": {"card": "NVIDIA GeForce RTX 3090"}}))
    gpu.keep(tmp_path / "out.json")
    assert (tmp_path / "book" / "data" / "rehearsal_geforce_rtx_3090.csv").is_file()
    (tmp_path / "out.json").write_text(json.dumps(written | {"rows": rows[:2]}))
    with pytest.raises(ValueError, match="holds no rehearsal on a card"):
        gpu.keep(tmp_path / "out.json")


def test_a_row_that_fails_or_does_not_fit_says_so_and_the_next_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import gpu

    def halfway(options):
        yield {"ours": 1.0}
        raise ImportError("No module named 'diffusers'")

    def endless(options):
        time.sleep(60)
        yield {"ours": 3.0}

    rows = {"broken": (halfway, 1), "endless": (endless, 0.02), "sound": (lambda options: [{"ours": 2.0}], 1)}
    monkeypatch.setattr(gpu, "ROWS", rows)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--json", str(tmp_path / "out.json")])
    gpu.main()
    written = [
        (row["case"], row.get("ours"), row.get("error")) for row in json.loads((tmp_path / "out.json").read_text())["rows"]
    ]
    failed, late = "ImportError: No module named 'diffusers'", "TimeoutError: stopped after 0 s"
    assert written == [("broken", 1.0, None), ("broken", None, failed), ("endless", None, late), ("sound", 2.0, None)]
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--budget", "0", "--only", "sound"])
    gpu.main()
    assert "sound | error not measured: wants 1 s, 0 s were left" in capsys.readouterr().out.replace("-0 s", "0 s")


def test_the_judge_of_pictures_names_scenes_and_not_noise(monkeypatch):
    """Colours or pixels in another order than it was trained with would bring the judge to chance, as noise does."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import pictures

    rng = np.random.default_rng(8)
    shown = [scenes.sample_scene(rng) for _ in range(60)]
    kinds = np.array([scenes.attributes(scene)[: len(scenes.KINDS)].argmax() for scene in shown])
    drawn = np.stack([scenes.draw(scene, 128) for scene in shown])
    noise = rng.permuted(drawn.reshape(60, -1), axis=1).reshape(drawn.shape)
    found = pictures.named(ROOT / "zoo" / "demo" / "namer", {"seen": drawn, "noise": noise}, kinds)
    assert found["seen"]["named"] > 0.9 and found["noise"]["named"] < 0.2
    assert 0.8 < found["seen"]["low"] < found["seen"]["named"] <= found["seen"]["high"]
