"""Costs: bytes grow with every size, and agree with counts from models, artifacts and records."""

import dataclasses
import json

import pytest

from nsdlib.data.nsd import layout as nsd
from nsdlib.params import load_run
from nsdlib.run import costs, full_size
from nsdlib.run.runner import notebook_names

SIZES = costs.Amounts(n_train=900, n_test=100, n_voxels=1600, n_brain=4500, volume=17_160)


def needs(run, sizes=SIZES, *, is_gpu=True):
    """{notebook: (memory, bytes of a GPU, disk)}."""
    counted = {name: costs.notebook_needs(run, sizes, name, is_gpu=is_gpu) for name in costs.COUNTED}
    return {name[:2]: (count.memory, count.on_gpu, count.disk) for name, count in counted.items()}


def grow(before, after, notebooks):
    """Nothing shrinks, and each of the notebooks and no other needs more."""
    assert all(a <= b for name in before for a, b in zip(before[name], after[name], strict=True))
    assert [name for name in before if after[name] != before[name]] == notebooks


@pytest.mark.parametrize(
    ("size", "notebooks"),
    [
        ("n_train", ["02", "03", "04", "05", "10"]),
        ("n_test", ["02", "03", "04", "05", "06", "07", "10"]),
        ("n_voxels", ["01", "02", "03", "04", "05", "10"]),
        ("n_brain", ["01"]),
    ],
)
def test_more_data_need_more(size, notebooks):
    larger = dataclasses.replace(SIZES, **{size: 2 * getattr(SIZES, size)})
    grow(needs(load_run("demo")), needs(load_run("demo"), larger), notebooks)


@pytest.mark.parametrize(
    ("change", "notebooks"),
    [
        ({"glm_sessions": 3}, ["01"]),
        ({"n_sessions": 8}, ["02"]),
        ({"decoder_seeds": (0, 1)}, ["03"]),
        ({"n_layers": 31}, ["03", "05"]),
        ({"layer_counts": (5, 15, 31, 40)}, ["03", "04", "10"]),
        ({"noise_amplitudes": (0, 1, 2, 3, 4, 5, 6, 7)}, ["06"]),
        ({"diffusion_seeds": (0, 1, 2, 3, 4)}, ["05", "06", "10"]),
        ({"recipes": tuple("abcdefghi")}, ["10"]),
        ({"zoo": "paper"}, ["03", "05", "06", "07", "10"]),
    ],
)
def test_more_work_needs_more(change, notebooks):
    run = load_run("demo").model_copy(update={"glm_sessions": 2, "n_sessions": 4})
    grow(needs(run), needs(run.model_copy(update=change)), notebooks)


def test_models_take_memory_where_there_is_no_gpu():
    on_cpu, on_gpu = (needs(load_run("subj01"), is_gpu=is_gpu) for is_gpu in (False, True))
    assert on_cpu["05"][0] - on_gpu["05"][0] == costs.ZOOS["paper"].weights and on_cpu["05"][1] == 0 < on_gpu["05"][1]


def test_latents_are_the_published_numbers():
    assert (costs._n_latents(15), costs._n_latents(31)) == (13_344, 91_168)


def test_tokens_are_those_of_the_published_models():
    paper, sizes = costs.ZOOS["paper"], full_size.Sizes()
    tokens = (sizes.n_text_tokens * sizes.token_width, sizes.n_vision_tokens * sizes.token_width)
    assert (paper.n_text, paper.n_vision) == tokens


def test_the_memory_of_a_gpu_is_that_of_the_tensors():
    """Beside the weights of CLIP and of the VDVAE, what the diffusion model and its tensors take with one image."""
    table = full_size.gpu_memory(load_run("subj01"), batch_sizes=(1,))
    assert costs.ZOOS["paper"].on_gpu - costs.OTHER_WEIGHTS == pytest.approx(table["peak"][1] * 2**30, rel=0.01)


def test_an_unknown_notebook_counts_as_the_one_that_refines():
    run, known, unknown = load_run("demo"), "05_two_stage_reconstruction", "99_of_somebody"
    for is_gpu in (False, True):
        ours, other = (costs.notebook_needs(run, SIZES, name, is_gpu=is_gpu) for name in (known, unknown))
        assert (other.memory, other.on_gpu, other.disk) == (ours.memory, ours.on_gpu, 0)


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
    for run in (load_run("subj01"), load_run("demo", data=tmp_path / "none")):
        few = costs.amounts(run.model_copy(update={"n_test": 7, "n_voxels": 30}))
        assert (few.n_test, few.n_voxels) == (7, 30) and few.typical


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


@pytest.mark.slow
def test_a_job_asks_for_more_than_its_notebook_was_seen_to_take(small_project, monkeypatch):
    """The records beside the pages say how much memory each kernel had in use; the runner around it has its share, too."""
    monkeypatch.setenv("NSDLIB_HOME", str(small_project))
    run = load_run("small")
    seen = {file.stem: json.loads(file.read_text())["memory"] for file in (small_project / "runs/small").glob("*.json")}
    assert sorted(seen) == notebook_names(small_project)
    for name, memory in seen.items():
        wanted, asked = costs.job_memory(run, costs.amounts(run), name)
        assert memory + 0.5e9 < asked < 3 * memory + 2e9 and wanted < asked


def test_a_job_asks_for_the_count_with_a_margin_and_for_the_models_unless_a_gpu_is_certain():
    run, notebook = load_run("subj01"), "05_two_stage_reconstruction"
    for name in [*costs.COUNTED, "99_of_somebody"]:
        memory = costs.notebook_needs(run, SIZES, name, is_gpu=False).memory
        assert costs.job_memory(run, SIZES, name) == (memory, costs.MARGIN * memory + costs.OVERHEAD)
    on_gpu = costs.job_memory(run.model_copy(update={"device": "cuda"}), SIZES, notebook)[0]
    assert costs.job_memory(run, SIZES, notebook)[0] - on_gpu == costs.ZOOS["paper"].weights


def test_a_simulation_asks_for_more_the_more_it_makes(tmp_path):
    small, demo = load_run("small"), load_run("demo")
    assert costs.simulation_memory(small) < costs.simulation_memory(demo) < 4e9
