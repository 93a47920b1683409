"""Computed parts of pages: pictures chosen by rule, and the record of what built the book."""

import base64
import io
import json
import re
import shutil

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from book._ext import snippets
from nsdlib.core.scores.metrics import METRICS
from nsdlib.params import load_run
from nsdlib.store.store import Store


@pytest.fixture(scope="module")
def shown(small_project):
    """The first page's pictures of the small run, its images and its scores."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NSDLIB_HOME", str(small_project))
        run = load_run("small")
        with Store(run).load("reconstruction") as made, Store(run).load("scores") as scores:
            yield snippets.first_sight(run), made.load(), scores.value.load()


def test_the_pictures_are_those_at_the_percentiles_of_the_mean_rank(shown):
    text, made, values = shown
    mean_rank = np.zeros(values.sizes["test_image"])
    for name, metric in METRICS.items():
        one = values.sel(system="refined", metric=name).to_series()
        mean_rank += one.rank(ascending=metric.higher_is_better).to_numpy()
    pictures = re.findall(r'<img src="data:image/webp;base64,([^"]+)" alt="(\w+), test image at percentile (\d+)"', text)
    columns = [int(percentile) for _, kind, percentile in pictures if kind == "seen"]
    assert columns[0] == 100 and columns[-1] == 0 and len(pictures) == 3 * len(columns)
    for data, kind, percentile in pictures:
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(float)
        if percentile in ("100", "0"):
            wanted = mean_rank.max() if percentile == "100" else mean_rank.min()
            array = made["stimulus" if kind == "seen" else kind].values.astype(float)
            errors = np.abs(array - pixels).mean(axis=(1, 2, 3))
            assert mean_rank[errors.argmin()] == wanted and errors.min() < 12  # of 255: the picture is packed with loss


def test_the_caption_says_rule_number_and_intervals(shown):
    text, _, values = shown
    means = values.sel(metric="inception").mean("test_image")
    assert (
        f"in {float(means.sel(system='refined')):.2f} [" in text
        and f"{float(means[means.role == 'retrieval'].max()):.2f}," in text
    )
    assert f"n = {values.sizes['test_image']} test" in text and "simulated" in text and "mean rank in eight scores" in text


def test_what_is_not_known_to_be_simulated_is_not_shown(small_project, monkeypatch, tmp_path):
    monkeypatch.setenv("NSDLIB_HOME", str(small_project))
    run = load_run("small")
    assert "<img" in snippets.first_sight(run)
    shutil.copytree(small_project / "runs", tmp_path / "runs")
    elsewhere = run.model_copy(update={"root": tmp_path})
    page = json.loads((tmp_path / "runs" / "small" / "02_roi_betas.ipynb").read_text())
    page["metadata"]["nsdlib"] = {}
    (tmp_path / "runs" / "small" / "02_roi_betas.ipynb").write_text(json.dumps(page))
    real = run.model_copy(update={"simulation": None})
    for one in (real, elsewhere, elsewhere.model_copy(update={"name": "subj01"})):
        text = snippets.first_sight(one)
        assert "<img" not in text and "not shown here: what is not known to be simulated" in text


def test_without_results_a_note_stands_in_their_place(small_project, monkeypatch, tmp_path):
    monkeypatch.setenv("NSDLIB_HOME", str(small_project))
    text = snippets.first_sight(load_run("small").model_copy(update={"store": tmp_path}))
    assert "<img" not in text and "run it again" in text


def test_what_the_book_was_made_with(tmp_path):
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    for name, state, started in (
        ("00_a", "done", "2026-01-01"),
        ("01_b", "done", "2026-01-03"),
        ("02_c", "failed", "2026-01-04"),
        ("01_b__decoder-gru", "done", "2026-01-05"),  # no notebook more
    ):
        (tmp_path / "runs" / "demo" / f"{name}.json").write_text(json.dumps({"state": state, "started": started}))
    text = snippets.made_with(tmp_path)
    assert re.search(r"`demo` +\| 2 +\| 2026-01-01 +\| 2026-01-03", text)
    lock = dict(re.findall(r"^([\w-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    for package in ("torch", "diffusers", "numpy", "jupyter-book"):
        assert re.search(rf"{package} +\| {re.escape(lock[package])} ", text)
    assert "outside a Git repository" in text
    (tmp_path / "runs" / "demo" / "00_a.json").unlink()
    (tmp_path / "runs" / "demo" / "01_b.json").unlink()
    assert "No run has left a record." in snippets.made_with(tmp_path)
