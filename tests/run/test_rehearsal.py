"""The rehearsal on small models: every stage runs, and forecasts of time and memory follow from the measurements."""

import datetime

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from conftest import ROOT

from nsdlib.params import load_run
from nsdlib.run import full_size, rehearsal
from nsdlib.run.rates import machine_name


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import gpu

    return gpu.toy_sizes()


@pytest.fixture(scope="module")
def run():
    return load_run("subj01").model_copy(update={"device": "cpu", "n_layers": 2, "layer_counts": (2,)})


@pytest.mark.parametrize("name", rehearsal.STAGES)
def test_every_stage_runs_and_counts_what_it_did(run, toy, name):
    units, seconds = rehearsal.STAGES[name].measure(run.model_copy(update={"n_steps": 4}), toy, torch.device("cpu"), 2)
    expected = {"images": 2, "captions": 4, "epoch": 1, "fit": 1, "image steps": 2 * 3}[rehearsal.STAGES[name].unit]
    assert units == expected + (name == "eight scores") and seconds > 0


def test_a_subject_needs_every_image_and_sets_of_its_test_images(run):
    run = run.model_copy(update={"recipes": ("veronese",)})
    needed = {name: stage.needed(run, full_size.Sizes()) for name, stage in rehearsal.STAGES.items()}
    assert needed["VDVAE: images to latents"] == 9841 and needed["CLIP: captions to tokens"] == 5 * 9841
    assert needed["diffusion: steps"] == (7 + 12 + 11 + 1) * 982 * 37  # 37 of 50 steps at strength 0.75; 05, 06, 09, 10
    assert needed["GRU"] == 2 * 240 * (5 * 3 + len(run.layer_counts))  # five networks, three seeds; counts
    assert needed["Stable Diffusion: steps"] == 0


def test_stable_diffusion_is_rehearsed_where_a_recipe_asks_for_it(run, toy, monkeypatch):
    name = "Stable Diffusion: steps"
    monkeypatch.setattr(rehearsal, "STAGES", {name: rehearsal.STAGES[name]})
    without = run.model_copy(update={"recipes": ("veronese",)})
    assert rehearsal.rehearse(without, n_images=1, n_steps=4, sizes=toy, report=lambda line: None).empty
    run = run.model_copy(update={"recipes": ("veronese", "takagi_intercept")})
    table = rehearsal.rehearse(run, n_images=1, n_steps=4, sizes=toy, report=lambda line: None)
    assert table.loc[name, "measured"] == "3 image steps"
    assert rehearsal.STAGES[name].needed(run, full_size.Sizes()) == 982 * 5 * 40
    hours = rehearsal.subject_hours(table, run, full_size.Sizes())
    assert hours[name] == pytest.approx(982 * 200 * table.loc[name, "seconds"] / 3 / 3600)


def test_a_rehearsal_has_a_row_a_stage_and_tells_which_failed(run, toy, monkeypatch):
    only = {"ridge to latents": rehearsal.STAGES["ridge to latents"]}
    monkeypatch.setattr(rehearsal, "STAGES", only)
    said = []
    table = rehearsal.rehearse(run, n_images=1, sizes=toy, report=said.append)
    row = table.loc["ridge to latents"]
    assert row["hours a subject"] == pytest.approx(row["seconds"] / 3600) and row["memory GiB"] > 0.1
    assert said[0].startswith("ridge to latents: starting (1 of 1")
    with pytest.raises(RuntimeError, match="failed in 'ridge to latents': ValueError"):
        rehearsal.rehearse(run, n_images=1, sizes=full_size.Sizes(n_train=1, n_voxels=3), report=said.append)
    with pytest.raises(ValueError, match="n_images must be at least 1, got 0"):
        rehearsal.rehearse(run, n_images=0)
    with pytest.raises(ValueError, match=r"n_steps=1 means no step at strength .*: wanted at least 2"):
        rehearsal.rehearse(run, n_images=1, n_steps=1)


def test_a_rehearsal_is_kept_for_forecasts(run, tmp_path):
    done = {"measured": ["1 epoch", "1 fit"], "a second": [2.0, 4.0]}
    table = pd.DataFrame(done, index=pd.Index(["GRU", "ridge to latents"], name="stage"))
    file = rehearsal.write(table, run.model_copy(update={"root": tmp_path}))
    kept, machine, day = rehearsal.read(file)
    assert kept.equals(table) and machine == machine_name("cpu") and datetime.date.fromisoformat(day)
    assert file == tmp_path / "runs" / "subj01" / "rehearsal.csv"
    hours = rehearsal.subject_hours(kept, run, full_size.Sizes())
    wanted = [2 * run.max_epochs * (5 * 3 + len(run.layer_counts)) / 2 / 3600, 1 / 4 / 3600]  # twice all epochs; one fit
    assert hours.tolist() == wanted


def test_a_rehearsal_of_fewer_images_does_not_replace_a_fuller_one(run, tmp_path, monkeypatch):
    def rehearsed(n_images, rate):
        table = pd.DataFrame({"measured": f"{n_images:,} images", "a second": rate}, index=["eight scores"])
        return table.rename_axis("stage")

    run = run.model_copy(update={"root": tmp_path})
    for n_images, rate, kept in ((1200, 2.0, 2.0), (32, 9.0, 2.0), (1200, 3.0, 3.0)):
        file = rehearsal.write(rehearsed(n_images, rate), run)
        assert rehearsal.read(file)[0]["a second"].tolist() == [kept]
    monkeypatch.setattr(rehearsal, "machine_name", lambda device: "an abacus")
    assert rehearsal.read(rehearsal.write(rehearsed(1, 0.1), run))[1] == "an abacus"
    file.write_text("# an abacus")
    assert rehearsal.read(rehearsal.write(rehearsed(1, 0.2), run))[0]["a second"].tolist() == [0.2]


HEAD = "# a\n# b\n"


@pytest.mark.parametrize(
    "text",
    ["", "# a line", HEAD, f"{HEAD}stage,rate\nGRU,1", *(f"{HEAD}stage,a second\n{row}" for row in ("GRU,x", "song,1", "GRU,0"))],
)
def test_a_damaged_rehearsal_is_named_and_left_out(tmp_path, text):
    for name, content in (("bad", text), ("good", f"{HEAD}stage,a second\nGRU,2.0\n")):
        file = tmp_path / "runs" / name / rehearsal.FILE
        file.parent.mkdir(parents=True)
        file.write_text(content)
    with pytest.raises(ValueError, match=r"bad/.* is not a complete rehearsal \(.*remove it, or rehearse that run again"):
        rehearsal.read(tmp_path / "runs" / "bad" / rehearsal.FILE)
    with pytest.warns(UserWarning, match="bad/.* is not a complete rehearsal"):
        [(table, *_)] = rehearsal.saved(tmp_path)
    assert table["a second"].tolist() == [2.0]


def test_the_peak_of_memory_is_that_of_a_stage(monkeypatch, tmp_path):
    cpu = torch.device("cpu")
    held = np.ones(300 << 20, dtype=np.uint8)
    most = rehearsal._peaks(cpu)[0]
    del held
    rehearsal._forget_peaks(cpu)
    now = psutil.Process().memory_info().rss / full_size.GIB
    assert rehearsal._peaks(cpu)[0] == pytest.approx(now, abs=0.05) and most > now + 0.2
    monkeypatch.setattr(rehearsal, "FORGET_PEAK", tmp_path / "nowhere" / "clear_refs")  # not Linux
    monkeypatch.setattr(rehearsal, "STATUS", tmp_path / "status")
    rehearsal._forget_peaks(cpu)
    assert np.isnan(rehearsal._peaks(cpu)[0])


def test_published_sizes_and_their_memory(run):
    """Numbers of parameters as counted from the published files."""
    second = full_size.build_second_stage(full_size.Sizes(), torch.device("meta"))
    counts = [sum(p.numel() for p in part.parameters()) for part in (second.unet, second.vae)]
    assert counts == [1_126_760_324, 83_653_863]
    alone = full_size.build_stable_diffusion(full_size.Sizes(), torch.device("meta"))
    assert sum(p.numel() for p in alone.unet.parameters()) == 859_520_964 and alone.image_size == 512
    table = full_size.gpu_memory(run, batch_sizes=(1, 2, 3))
    np.testing.assert_allclose(table["weights"], 2 * sum(counts) / 2**30)
    first, second = np.diff(table["diffusion step"])  # each image more takes as much
    assert first == pytest.approx(second, rel=0.01) and first > 0.05


def test_live_memory_counts_what_is_alive():
    with full_size.LiveMemory() as memory:
        first = torch.zeros(1000, dtype=torch.float64, device="meta")
        second = first + 1
        view = second[:10]
        del first
        third = second * 2
    assert memory.peak == 16_000 and memory.now == 16_000 and view.shape == (10,) and len(third) == 1000


@pytest.mark.skipif(not torch.cuda.is_available(), reason="the rehearsal at full size needs a GPU to end within minutes")
def test_full_size_on_a_gpu():
    table = rehearsal.rehearse(load_run("subj01"), n_images=4)
    assert (table["of the GPU GiB"] > 0).all() and (table["a second"] > 0).all()
