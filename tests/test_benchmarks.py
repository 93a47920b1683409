"""What benchmarks measure against must compute what it stands for, and the benchmarks must run."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from nsdlib.core.glm.fit import fit_glm
from nsdlib.study import ablation

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests" / "data"


@pytest.fixture
def plain_glm(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import plain_glm

    return plain_glm


def test_the_plain_glm_gives_glmsingles_results(plain_glm):
    with np.load(DATA / "glm_small.npz") as stored:
        file = dict(stored)
    design = [file[f"design_{run}"] for run in range(4)]
    design = [np.where(events.any(1), events.argmax(1) + 1, 0) for events in design]
    data = [file[f"data_{run}"].T for run in range(4)]
    hrfs = {"hrfs": file["hrflibrary"].T, "canonical": file["hrftoassume"]}
    found = plain_glm.fit(design, data, tr=float(file["tr"]), threshold=float(file["brainR2"]), **hrfs)
    assert found["n_pcs"] == file["pcnum"]
    for ours, theirs in (("hrf_index", "HRFindex"), ("noise_pool", "noisepool")):
        assert np.array_equal(found[ours], file[theirs]), ours
    np.testing.assert_allclose(found["fraction"], file["typeD_FRACvalue"], rtol=1e-5)
    for kind in "bcd":
        betas = file[f"type{kind.upper()}_betasmd"].T
        assert np.sqrt(np.square(found[f"betas_{kind}"] - betas).mean() / np.square(betas).mean()) < 2e-5, kind


def test_the_benchmark_of_the_glm_reports_time_and_agreement():
    command = [sys.executable, "benchmarks/glm.py", "--quick", "--voxels", "80", "60", "--runs", "3", "4"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    row = re.search(r"\|\s+3 \|\s+60 \|" + r"\s+(\S+) \|" * 5 + r"\s+(\d+) = (\d+)", done.stdout)
    everywhere, difference, *same, ours, theirs = map(float, row.groups())
    assert everywhere == difference < 2e-5 and same == [1, 1, 1] and ours == theirs
    assert "against GLMsingle 1" in done.stdout or "against plain NumPy, not GLMsingle" in done.stdout
    assert not re.search(r"\|\s+(4 \|\s+\d+|\d+ \|\s+80) \|", done.stdout)  # quick: one case


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


def test_the_benchmark_of_stage_1_agrees_with_scikit_learn(tmp_path):
    command = [sys.executable, "benchmarks/stage1.py", "ridge", "gru", "--quick", "--threads", "1"]
    command += ["--json", tmp_path / "stage1.json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    ours = re.search(r"\| nsdlib, all tokens +\|.*\| +(\S+) \|\n", done.stdout)
    assert float(ours[1]) < 1e-4 and "the matrix products alone" in done.stdout
    rows = json.loads((tmp_path / "stage1.json").read_text())["rows"]
    assert [row["part"] for row in rows] == 4 * ["ridge"] + 4 * ["gru"] and rows[-1]["CPU seconds"] > 0


def test_the_benchmark_of_regimes_writes_the_table_that_is_shown(tmp_path):
    command = [sys.executable, "benchmarks/regimes.py", "--quick", "--to", tmp_path / "t.csv"]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    found, shown = pd.read_csv(tmp_path / "t.csv"), ablation.regimes()
    assert list(found) == list(shown) and np.isfinite(found.explained).all()
    assert set(zip(found.target, found.decoder, strict=True)) == set(zip(shown.target, shown.decoder, strict=True))


def test_the_benchmark_of_a_session_reports_memory(tmp_path):
    command = [
        sys.executable,
        "benchmarks/glm.py",
        "--session",
        "100",
        "--scratch",
        tmp_path,
        "--json",
        tmp_path / "out.json",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.search(r"100 voxels, 12 runs, 750 trials, 2700 volumes on cpu\n", done.stdout)
    [row] = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert row["peak GiB"] > row["results GiB"] > row["GPU GiB"] == 0
    assert sum(row[stage] for stage in ("ON-OFF", "HRFs", "number of components", "ridge")) < row["seconds"]
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_the_simulated_session_holds_what_the_glm_finds(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import glm as benchmark

    design, data, tr = benchmark.simulate_session(60)
    assert sum(map(np.count_nonzero, design)) == 750 and {run.shape for run in data} == {(225, 60)}
    found = fit_glm(design, data, tr=tr)
    assert (
        0.2 < found.pc_voxels.mean() < 0.8 and found.r2_b[found.pc_voxels].mean() > found.r2_b[~found.pc_voxels].mean()
    )


def test_the_benchmark_of_stage_2_compares_the_same_images():
    command = [sys.executable, "benchmarks/stage2.py", "loop", "--images", "2", "--device", "cpu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(re.search(r"images differ by (\d+) of 255", done.stderr).group(1)) <= 1
    assert re.search(r"\| nsdlib( +\| +[\d.]+){3} +\|", done.stdout)


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


def test_the_benchmark_of_a_gpu_runs_its_small_version_without_one(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import gpu

    rows = [name for name in gpu.ROWS if name != "second stage, compiled"]
    command = [sys.executable, "benchmarks/gpu.py", "--quick", "--json", tmp_path / "out.json", "--budget", "1000"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--only", *rows], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    written = json.loads((tmp_path / "out.json").read_text())
    assert list(dict.fromkeys(row["case"] for row in written["rows"])) == rows and written["settings"]["quick"]
    assert not [row for row in written["rows"] if "error" in row], done.stdout
    assert {row["agreement"] for row in written["rows"] if "agreement" in row} == {0.0} or torch.cuda.is_available()
    assert all(f"{name} | " in done.stdout for name in rows)


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
    [file] = rehearsal.files(tmp_path)
    stages, machine, day = rehearsal.read(file)
    assert (file.name, machine, day) == ("rehearsal_h200.csv", "NVIDIA H200", "2026-01-02")
    assert stages.to_dict("index") == {"GRU": {"a second": 8.0, "of the GPU GiB": 1.5}}
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
        (row["case"], row.get("ours"), row.get("error"))
        for row in json.loads((tmp_path / "out.json").read_text())["rows"]
    ]
    failed, late = "ImportError: No module named 'diffusers'", "TimeoutError: stopped after 0 s"
    assert written == [("broken", 1.0, None), ("broken", None, failed), ("endless", None, late), ("sound", 2.0, None)]
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--budget", "0", "--only", "sound"])
    gpu.main()
    assert "sound | error not measured: wants 1 s, 0 s were left" in capsys.readouterr().out.replace("-0 s", "0 s")
