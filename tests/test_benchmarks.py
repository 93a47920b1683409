"""What benchmarks measure against must compute what it stands for, and the benchmarks must run."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nsdlib import ablation

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
    command = [sys.executable, "benchmarks/glm.py", "--voxels", "60", "--runs", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    row = re.search(r"\|\s+2 \|\s+60 \|\s+(\S+) \|\s+(\S+) \|\s+(\S+) \|\s+(\d+) = (\d+)", done.stdout)
    difference, same_hrf, same_fraction, ours, theirs = map(float, row.groups())
    assert difference < 2e-5 and same_hrf == same_fraction == 1 and ours == theirs


def test_the_benchmark_of_stage_1_agrees_with_scikit_learn():
    command = [sys.executable, "benchmarks/stage1.py", "ridge", "gru", "--quick", "--threads", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    ours = re.search(r"\| nsdlib, all tokens +\|.*\| +(\S+) \|\n", done.stdout)
    assert float(ours[1]) < 1e-4 and "the matrix products alone" in done.stdout


def test_the_benchmark_of_regimes_writes_the_table_that_is_shown(tmp_path):
    command = [sys.executable, "benchmarks/regimes.py", "--quick", "--to", tmp_path / "t.csv"]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    found, shown = pd.read_csv(tmp_path / "t.csv"), ablation.regimes()
    assert list(found) == list(shown) and np.isfinite(found.explained).all()
    assert set(zip(found.target, found.decoder, strict=True)) == set(zip(shown.target, shown.decoder, strict=True))


def test_the_benchmark_of_a_session_reports_memory():
    command = [sys.executable, "benchmarks/glm.py", "--session", "100"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.search(r"100 voxels, 750 trials, 2700 volumes on cpu\n.*\npeak memory [\d.]+ GiB", done.stdout)


def test_the_benchmark_of_stage_2_compares_the_same_images():
    command = [sys.executable, "benchmarks/stage2.py", "loop", "--images", "2", "--device", "cpu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(re.search(r"images differ by (\d+) of 255", done.stderr).group(1)) <= 1
    assert re.search(r"\| nsdlib( +\| +[\d.]+){3} +\|", done.stdout)
