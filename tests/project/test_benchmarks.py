"""Reference implementations in the benchmarks compute what they represent, and the benchmarks run."""

import argparse
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

KEYS = ["case", "ours", "peer", "unit", "ratio", "agreement", "peak_gb", "device"]
HELPERS = {"report", "timing", "plain_glm"}


@pytest.fixture
def benchmark(monkeypatch, capfd, tmp_path):
    """A function that runs a program of `benchmarks/` in this process; it returns the rows that it wrote, and what it printed.

    Each row must have the keys that other tools rely on, in the file, and its line in the one table.
    """
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.setattr(rates, "SIDE", 256)  # products whose rate nobody asks for here
    n_threads = torch.get_num_threads()

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, "--json", str(file := tmp_path / f"{name}.json"), *map(str, arguments)])
        runpy.run_path(str(ROOT / "benchmarks" / f"{name}.py"), run_name="__main__")
        rows, said = json.loads(file.read_text()), capfd.readouterr().out
        for row in rows:
            assert list(row)[:8] == KEYS and list(row)[-1] == "about" and f"\n| {row['case']} " in said
            wanted = "" if row["ours"] is None or row["peer"] is None else row["ours"] / row["peer"]
            assert row["ratio"] == (pytest.approx(1 / wanted if row["unit"] == "s" else wanted) if wanted else None)
        assert said.count("| case ") == 1 and len(re.findall(r"^\| ", said, re.M)) == len(rows) + 2
        return rows, said

    yield run
    torch.set_num_threads(n_threads)


def test_the_benchmark_of_the_glm_reports_time_and_agreement(benchmark):
    """What stands for GLMsingle agrees with nsdlib, which agrees with GLMsingle's own results (`test_glm.py`)."""
    rows, _ = benchmark("glm", "--quick", "--voxels", 80, 30, "--runs", 2, 4)
    assert {row["case"].partition(",")[0] for row in rows} == {"2 runs x 30 voxels"}  # quick: one case
    row = rows[-1]  # the peer's single precision parts them: below 2e-5 on one processor, 2.01e-5 on another
    assert row["agreement"] == row["with the same HRF and fraction"] < 3e-5 and len(set(row["components"].split(" = "))) == 1
    assert [row[f"same {what}"] for what in ("HRF", "fraction", "noise pool")] == [1, 1, 1]
    assert row["against"].startswith(("GLMsingle 1", "plain NumPy, not GLMsingle"))


def test_the_benchmark_of_bids_compares_reading_with_the_fit(benchmark):
    (read, fitted), _ = benchmark("bids", "--quick")
    assert fitted["reading / GLM"] == read["ours"] / fitted["ours"] > 0 and fitted["peak_gb"] >= read["peak_gb"] > 0.1


def test_the_benchmark_of_scores_agrees_with_scikit_image(benchmark):
    rows, _ = benchmark("scores", "--quick")
    assert [row["case"].partition(";")[0] for row in rows] == ["SSIM of 32 pairs", "PixCorr of 32 pairs"]
    assert all(row["agreement"] < 1e-5 and row["ours"] > 0 and row["cpu_ratio"] > 0 for row in rows)


def test_the_benchmark_of_events_tells_of_every_table(benchmark):
    rows, said = benchmark("events", "--quick")
    assert sum(row["ours"] for row in rows) > 400 and {row["unit"] for row in rows} == {"trials"} and "onset" in said


def test_every_benchmark_writes_its_rows_in_the_same_way():
    """What is too slow to run here calls the functions that the others are tested with, and has `--quick` by the first."""
    programs = {path.stem: path.read_text() for path in (ROOT / "benchmarks").glob("*.py") if path.stem not in HELPERS}
    assert len(programs) == 12
    for name, source in programs.items():
        assert "report.parser(" in source and "report.show(" in source and "report.row(" in source, name


def test_a_report_holds_its_rows_and_what_they_were_measured_with(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import report

    file, slower = (
        tmp_path / "out.json",
        report.row("one", np.float32(0.5), peer=0.25, device=torch.device("cpu"), kinds=np.arange(2)),
    )
    rate = report.row("two", 8.0, "images/s", peer=2.0, agreement=1e-6, peak_gb=3.0)
    report.show([slower, rate, report.row("three", 1.0)], argparse.Namespace(json=file, quick=True))
    *found, alone = json.loads(file.read_text())
    assert [row["ratio"] for row in found] == [0.5, 4] and found[0]["device"] == "cpu" and found[0]["kinds"] == [0, 1]
    assert (found[1]["agreement"], found[1]["peak_gb"], alone["peer"], alone["ratio"]) == (1e-6, 3, None, None)
    about = alone["about"]
    assert about["settings"] == {"json": str(file), "quick": True} and about["versions"]["numpy"] == np.__version__
    assert about["machine"]["threads"] == torch.get_num_threads()
    parts = {"one": lambda options: [1, 2], "two": lambda options: [3]}
    for words, rows in (([], [1, 2, 3]), (["two"], [3]), (["all", "two"], [1, 2, 3])):
        assert list(report.of_parts(parts, report.parser("about", parts=parts).parse_args(words))) == rows
    monkeypatch.setattr(report, "ROOT", tmp_path)  # no repository
    assert report.show([], argparse.Namespace(json=file)) == json.loads(file.read_text()) == []
    [row] = report.show([rate], argparse.Namespace(json=None))
    assert row["about"]["commit"] is None and list(tmp_path.iterdir()) == [file]


def test_seconds_are_the_medians_of_rounds_in_turn(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import timing

    now, taken, calls = np.zeros(2), iter(((20, 1), (2, 3), (5, 2))), []
    monkeypatch.setattr(timing, "clock", now.copy)
    programs = {"a": lambda: (calls.append("a"), now.__iadd__(next(taken)))[0], "b": lambda: calls.append("b") or len(calls)}
    seconds, made = timing.medians(programs, torch.device("cpu"))
    assert calls == ["a", "b"] * 3 and made == {"a": None, "b": 6}
    assert seconds["a"].tolist() == [5, 2] and seconds["b"].tolist() == [0, 0]


def test_a_noise_pool_that_differs_counts_and_so_do_voxels_with_other_choices(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import glm as benchmark

    axes = {"hrf_index": [3, 3], "fraction": [1.0, 0.5], "noise_pool": [True, False]}
    ours = xr.Dataset({name: ("voxel", values) for name, values in axes.items()}, attrs={"n_pcs": 2})
    ours["betas_d"] = (("trial", "voxel"), np.ones((4, 2)))
    other = {"hrf_index": np.array([3, 4]), "noise_pool": np.array([True, True]), "betas_d": np.array([[1.0, 3.0]] * 4)}
    found = benchmark.compare_results(ours, other | {"fraction": np.array([1.0, 0.5]), "n_pcs": 2})
    assert found["agreement"] == pytest.approx(np.sqrt(2))
    assert found["with the same HRF and fraction"] == 0 and found["same noise pool"] == 0.5


def test_the_benchmark_of_stage_1_agrees_with_scikit_learn(benchmark):
    (ridge, gru), _ = benchmark("stage1", "ridge", "gru", "--quick", "--threads", 1)
    assert ridge["case"] == "ridge to 3 tokens; peer: scikit-learn, scaled from 2" and 0 < ridge["agreement"] < 1e-4
    assert gru["case"].startswith("GRU, an epoch of 200 images") and gru["products alone, s"] > 0 and gru["cpu_ratio"] > 0


def test_the_benchmark_of_regimes_writes_the_table_that_is_shown(benchmark, tmp_path):
    rows, _ = benchmark("regimes", "--quick", "--to", tmp_path / "t.csv")
    found, shown = pd.read_csv(tmp_path / "t.csv"), latents.regimes()
    assert list(found) == list(shown) and np.isfinite(found.explained).all() and len(found) == len(rows)
    assert set(zip(found.target, found.decoder, strict=True)) == set(zip(shown.target, shown.decoder, strict=True))


def test_the_benchmark_of_a_session_reports_memory(benchmark, tmp_path):
    (scratch := tmp_path / "scratch").mkdir()
    [row], _ = benchmark("glm", "--session", 100, "--scratch", scratch)
    assert row["case"] == "session of 100 voxels, 12 runs, 750 trials, once" and row["peak_gb"] > row["results GiB"] > 0
    assert sum(row[stage] for stage in ("ON-OFF", "HRFs", "number of components", "ridge")) < row["ours"]
    assert not list(scratch.iterdir())


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
def test_the_benchmark_of_a_gpu_runs_its_small_version_without_one(benchmark):
    import gpu

    left_out = ("second stage, compiled", "rehearsal")  # the stages of the latter run in `test_rehearsal.py`
    names = [name for name in gpu.ROWS if name not in left_out]
    rows, said = benchmark("gpu", "--quick", "--budget", 1000, "--only", *names)
    assert list(dict.fromkeys(next(filter(row["case"].startswith, names)) for row in rows)) == names and not said.count("error ")
    assert all(row["about"]["settings"]["quick"] for row in rows)
    found = {row["case"]: row["agreement"] for row in rows if row["agreement"] is not None}
    assert max(apart for case, apart in found.items() if case.startswith("second stage, whole")) <= 1  # of 255
    assert {apart for case, apart in found.items() if case.startswith("agreement")} == {0.0} or torch.cuda.is_available()


def test_what_a_card_did_becomes_the_table_of_forecasts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import gpu

    from nsdlib.run import rehearsal

    def write(card, n_rows=None):
        about = {"machine": {"card": card}, "date": "2026-01-02T03:04:05+00:00"}
        stage = gpu.report.row("rehearsal: GRU", 8.0, "items/s", stage="GRU", **{"a second": 8.0, "of the GPU GiB": 1.5})
        rows = [gpu.report.row("GLM", 3.0), gpu.report.row("rehearsal: all stages", 9.0), stage]
        (tmp_path / "out.json").write_text(json.dumps([row | {"about": about} for row in rows[:n_rows]]))

    (tmp_path / "book" / "data").mkdir(parents=True)
    write("NVIDIA H200")
    monkeypatch.setattr(gpu.report, "ROOT", tmp_path)
    gpu.keep(tmp_path / "out.json")
    [(stages, machine, day)] = rehearsal.saved(tmp_path)
    assert (machine, day) == ("NVIDIA H200", "2026-01-02")
    assert (tmp_path / "book" / "data" / "rehearsal_h200.csv").is_file()
    assert stages.to_dict("index") == {"GRU": {"a second": 8.0, "of the GPU GiB": 1.5}}
    write("NVIDIA GeForce RTX 3090")
    gpu.keep(tmp_path / "out.json")
    assert (tmp_path / "book" / "data" / "rehearsal_geforce_rtx_3090.csv").is_file()
    for nothing in (("NVIDIA H200", 2), (None,)):
        write(*nothing)
        with pytest.raises(ValueError, match="holds no rehearsal on a card"):
            gpu.keep(tmp_path / "out.json")


def test_a_row_that_fails_or_does_not_fit_says_so_and_the_next_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import gpu

    def halfway(options):
        yield gpu.report.row("", 1.0)
        raise ImportError("No module named 'diffusers'")

    def endless(options):
        time.sleep(60)
        yield gpu.report.row("", 3.0)

    rows = {"broken": (halfway, 1), "endless": (endless, 0.02), "sound": (lambda options: [gpu.report.row("", 2.0)], 1)}
    monkeypatch.setattr(gpu, "ROWS", rows)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--json", str(tmp_path / "out.json")])
    gpu.main()
    written = [(row["case"], row["ours"], row.get("error")) for row in json.loads((tmp_path / "out.json").read_text())]
    failed, late = "ImportError: No module named 'diffusers'", "TimeoutError: stopped after 0 s"
    assert written == [("broken", 1.0, None), ("broken", None, failed), ("endless", None, late), ("sound", 2.0, None)]
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--budget", "0", "--only", "sound"])
    gpu.main()
    assert re.search(r"\| sound .* error not measured: wanted 1 s, -?0 s remain", capsys.readouterr().out)


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
