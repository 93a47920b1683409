"""Costs: counts grow with every size, and agree with what is counted elsewhere: notebooks, networks, artifacts."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nsdlib.core import clip, diffusion
from nsdlib.data import nsd_layout as nsd
from nsdlib.params import load_run
from nsdlib.run import costs, full_size
from nsdlib.run.rates import Rates

ROOT = Path(__file__).parents[1]
CPU = Rates("a CPU", 1e11, 1e11, 1e10, 1e9, 1e9)
SIZES = costs.Amounts(n_train=900, n_test=100, n_voxels=1600, n_brain=4500, volume=17_160)


def needs(run, sizes=SIZES, *, is_gpu=False):
    """{notebook: (seconds, memory, bytes of a GPU, disk)}."""
    pages = costs.pages(run, sizes, is_gpu=is_gpu)
    return {page.name[:2]: (page.duration(CPU), page.memory, page.on_gpu, page.disk) for page in pages}


def grow(before, after, notebooks):
    """Nothing shrinks, and each of the notebooks takes longer."""
    assert all(a <= b for name in before for a, b in zip(before[name], after[name], strict=True))
    assert [name for name in before if after[name][0] > before[name][0]] == notebooks


@pytest.mark.parametrize(
    ("size", "notebooks"),
    [
        ("n_train", ["02", "03", "04", "05"]),
        ("n_test", ["02", "03", "04", "05", "06"]),
        ("n_voxels", ["01", "02", "03", "04", "05"]),
        ("n_brain", ["01"]),
        ("volume", ["01"]),
    ],
)
def test_more_data_cost_more(size, notebooks):
    larger = dataclasses.replace(SIZES, **{size: 2 * getattr(SIZES, size)})
    grow(needs(load_run("demo")), needs(load_run("demo"), larger), notebooks)


@pytest.mark.parametrize(
    ("change", "notebooks"),
    [
        ({"glm_sessions": 3}, ["01"]),
        ({"n_sessions": 8}, ["02"]),
        ({"max_epochs": 40}, ["03"]),
        ({"max_epochs": 40, "decoder": "gru"}, ["03", "04"]),
        ({"decoder_seeds": (0, 1)}, ["03"]),
        ({"n_layers": 31}, ["03", "05"]),
        ({"layer_counts": (5, 15, 31, 40)}, ["03", "04"]),
        ({"alphas": (1.0,) * 9}, ["03", "04", "05"]),
        ({"n_steps": 50}, ["05", "06"]),
        ({"strength": 1.0}, ["05", "06"]),
        ({"noise_amplitudes": (0, 1, 2, 3, 4, 5, 6, 7)}, ["06"]),
        ({"zoo": "paper"}, ["03", "04", "05", "06"]),
    ],
)
def test_more_work_costs_more(change, notebooks):
    base = {"glm_sessions": 2, "n_sessions": 4} | ({"decoder": "gru"} if "decoder" in change else {})
    run = load_run("demo").model_copy(update=base)
    grow(needs(run), needs(run.model_copy(update=change)), notebooks)


def test_networks_take_memory_where_there_is_no_gpu():
    on_cpu, on_gpu = (needs(load_run("subj01"), is_gpu=is_gpu) for is_gpu in (False, True))
    assert on_cpu["05"][1] - on_gpu["05"][1] == costs.ZOOS["paper"].weights and on_cpu["05"][2] == 0 < on_gpu["05"][2]


def test_latents_are_the_published_numbers():
    assert (costs.latents(15), costs.latents(31)) == (13_344, 91_168)


def flops(work):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def test_operations_are_those_that_torch_counts():
    paper, sizes, meta = costs.ZOOS["paper"], full_size.Sizes(), torch.device("meta")
    second = full_size.build_second_stage(sizes, meta, torch.float16)
    with meta:
        x = torch.zeros(2, 4, 64, 64, dtype=torch.float16)
        guide = diffusion.Conditioning(*(torch.zeros(2, *e.shape[1:], dtype=torch.float16) for e in second.empty), 0.4)
        assert flops(lambda: second.unet(x, torch.tensor(1), guide)) == pytest.approx(paper.step, rel=0.02)
        picture = torch.zeros(1, 3, 512, 512, dtype=torch.float16)
        both = flops(lambda: second.vae.encode(picture)) + flops(lambda: second.vae.decode(x[:1]))
        assert both == pytest.approx(paper.pixels, rel=0.02)
        embedder = full_size.build_embedder(sizes, meta)
        pixels = torch.zeros(1, 3, 224, 224)
        counted = flops(lambda: clip.vision_tokens(embedder.image_encoder, pixels))
    assert counted == pytest.approx(paper.vision, rel=0.02)
    assert (paper.n_text, paper.n_vision) == (
        sizes.n_text_tokens * sizes.token_width,
        sizes.n_vision_tokens * sizes.token_width,
    )


def test_sizes_come_from_the_files(twin):
    sizes = costs.amounts(twin)
    assert sizes.typical == "" and sizes.n_images == 250 and sizes.volume == 14 * 16 * 12
    assert 0 < sizes.n_voxels < sizes.n_brain < sizes.volume


def test_sizes_are_typical_where_there_are_no_files(tmp_path):
    for number in range(1, 9):
        run = load_run(f"subj0{number}").model_copy(update={"data": tmp_path})
        sizes = costs.amounts(run)
        assert sizes.n_voxels == nsd.N_GENERAL_VOXELS[number] and sizes.typical
        assert 150_000 < sizes.n_brain < 280_000 and sizes.n_test < sizes.n_train / 8
    assert (costs.amounts(load_run("subj02")).n_train, costs.amounts(load_run("subj02")).n_test) == (8859, 982)
    small = costs.amounts(load_run("demo").model_copy(update={"data": tmp_path}))
    assert (small.n_train, small.n_test) == (900, 100) and 1000 < small.n_voxels < 2500


def test_data_are_asked_for_until_they_are_there(tmp_path, twin):
    run = load_run("subj01").model_copy(update={"data": tmp_path, "glm_sessions": 0})
    whole = costs.data_bytes(run)
    session = 2 * 750 * 81 * 104 * 83
    assert whole == pytest.approx(73_000 * 425**2 * 3 + 37 * session)
    path = tmp_path / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"
    path.parent.mkdir(parents=True)
    path.touch()
    assert costs.data_bytes(run) == pytest.approx(37 * session)
    assert costs.data_bytes(twin) == 0


def test_a_job_asks_for_more_than_its_notebook_was_seen_to_take(small_project, monkeypatch):
    """The records beside the pages say how much memory each kernel had in use; the runner around it has its share, too."""
    monkeypatch.setenv("NSDLIB_HOME", str(small_project))
    run = load_run("small")
    seen = {file.stem: json.loads(file.read_text())["memory"] for file in (small_project / "runs/small").glob("*.json")}
    assert len(seen) == 10
    for name, memory in seen.items():
        wanted, asked = costs.job_memory(run, costs.amounts(run), name)
        assert memory + 0.5e9 < asked < 3 * memory + 2e9 and wanted < asked


def test_a_job_asks_for_what_the_doctor_counts_and_for_the_networks_unless_a_gpu_is_certain():
    run, notebook = load_run("subj01"), "05_two_stage_reconstruction"
    counted = {page.name: page.memory for page in costs.pages(run, SIZES, is_gpu=False)}
    for name, memory in counted.items():
        assert costs.job_memory(run, SIZES, name) == (memory, costs.MARGIN * memory + costs.AROUND)
    on_gpu = costs.job_memory(run.model_copy(update={"device": "cuda"}), SIZES, notebook)[0]
    assert counted[notebook] - on_gpu == costs.ZOOS["paper"].weights
    many = dataclasses.replace(SIZES, n_test=10 * SIZES.n_test)
    assert costs.job_memory(run, many, "07_qualitative_figures") > costs.job_memory(
        run, SIZES, "07_qualitative_figures"
    )
    assert costs.job_memory(run, many, "00_meet_the_data") == costs.job_memory(run, SIZES, "00_meet_the_data")


def test_a_simulation_asks_for_more_the_more_it_makes(tmp_path):
    small, demo = load_run("small"), load_run("demo")
    assert costs.simulation_memory(small) < costs.simulation_memory(demo) < 4e9
