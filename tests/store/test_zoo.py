"""The zoos: both have every name, errors for missing weights give their source, and the demo zoo is complete and small."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from nsdlib.params import load_run
from nsdlib.store import zoo
from nsdlib.store.provenance import provenance


def test_both_zoos_hold_the_same_models():
    assert zoo.ZOOS["demo"].keys() == zoo.ZOOS["paper"].keys()


def test_the_demo_zoo_is_whole_and_small():
    run = load_run("demo")
    assert zoo.missing(run) == []
    assert sum(file.stat().st_size for file in zoo.root(run).rglob("*") if file.is_file()) < 20e6


def test_what_is_missing_is_said_with_its_source(tmp_path):
    run = load_run("demo", zoo="paper").model_copy(update={"weights": tmp_path})
    with pytest.raises(
        FileNotFoundError,
        match=r"'swav' \(paper zoo\) are not at .*deepcluster.*CC BY-NC.*`nsdlib fetch weights --run \w+` gets them",
    ):
        zoo.path(run, "swav")
    with pytest.raises(ValueError, match="no model 'dalle' in the paper zoo; it has vdvae"):
        zoo.path(run, "dalle")
    assert len(zoo.missing(run)) == len(zoo.models(run))


def test_every_published_file_has_one_place_and_one_address(tmp_path):
    files = zoo.files(load_run("subj01", recipes=("veronese",)).model_copy(update={"weights": tmp_path}))
    assert len({file.path for file in files}) == len({file.address for file in files}) == len(files) == 22
    assert all(file.address.startswith("https://") and file.path.is_relative_to(tmp_path / "paper") for file in files)
    assert all(Path(file.address).name == file.path.name for file in files)
    assert {file.stage.partition(" ")[0] for file in files} == zoo.ZOOS["paper"].keys()
    assert not any(entry.files(tmp_path, "any") for entry in zoo.ZOOS["demo"].values())


def test_stable_diffusion_is_wanted_only_where_a_recipe_asks_for_it(tmp_path):
    with_takagi = load_run("subj01", recipes=("veronese", "takagi")).model_copy(update={"weights": tmp_path})
    files = [file for file in zoo.files(with_takagi) if file.stage.startswith("stable_diffusion")]
    assert len(files) == 11 and all(
        "CreativeML OpenRAIL-M, which the site may ask to be accepted" in file.stage for file in files
    )
    parts = {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480}  # parameters of four bytes
    for file in files:
        if file.path.suffix == ".safetensors":
            assert file.about == pytest.approx(4 * parts[file.path.parent.name], rel=0.01)
    assert any("stable-diffusion-v1-4" in str(path) for path, _ in zoo.missing(with_takagi))
    with pytest.raises(FileNotFoundError, match=r"'stable_diffusion' \(paper zoo\) are not at .*CompVis.*OpenRAIL-M"):
        zoo.load_stable_text(with_takagi)
    demo = with_takagi.model_copy(update={"zoo": "demo"})
    assert zoo.models(demo) == zoo.ZOOS["demo"] and zoo.missing(demo) == []
    without = with_takagi.model_copy(update={"recipes": ("veronese",)})
    assert zoo.extra_models(without) == {} and "stable_diffusion" not in zoo.models(without)
    with pytest.raises(ValueError, match="no model 'stable_diffusion' in the paper zoo"):
        zoo.load_stable_diffusion(without)


def test_another_judge_takes_the_place_of_the_zoos_clip(tmp_path):
    """The stand-in for CLIP itself, kept elsewhere under one more layer of names, judges as it does in the zoo."""
    run = load_run("demo", clip_judge=str(tmp_path / "judge"), device="cpu")
    assert run.clip_judge == tmp_path / "judge"
    assert zoo.missing(run) == [(tmp_path / "judge", "you: a folder with a CLIP, or correct `clip_judge` of the run")]
    before = provenance(run, "scores")["weights"]
    shutil.copytree(zoo.path(run, "clip"), tmp_path / "judge")
    assert zoo.missing(run) == []
    scorer, usual = zoo.load_scorer(run), zoo.load_scorer(load_run("demo", device="cpu"))
    images = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    found, wanted = (one.score(images, images[::-1]) for one in (scorer, usual))
    np.testing.assert_array_equal(found, wanted)
    assert (found.zoo, wanted.zoo) == ("demo, CLIP of judge", "demo")
    after, plain = (provenance(one, "scores")["weights"]["features"] for one in (run, load_run("demo")))
    assert len({before["features"], after, plain}) == 3
    (tmp_path / "judge" / "config.json").write_text("{}")
    assert provenance(run, "scores")["weights"]["features"] != after
    other = load_run("subj01", clip_judge=str(tmp_path / "judge"))
    assert provenance(other, "scores")["weights"]["features"] not in ("paper", after)


def test_torchvisions_names_and_addresses_are_its_own():
    import torchvision

    ours = {
        "alexnet": torchvision.models.AlexNet_Weights.IMAGENET1K_V1,
        "inception": torchvision.models.Inception_V3_Weights.IMAGENET1K_V1,
        "effnet": torchvision.models.EfficientNet_B1_Weights.IMAGENET1K_V1,
        "effnet_v2": torchvision.models.EfficientNet_B1_Weights.IMAGENET1K_V2,
    }
    for name, weights in ours.items():
        entry = zoo.ZOOS["paper"][name]
        assert entry.address == weights.url and f"-{entry.sha256}." in weights.url and len(entry.sha256) == 8
        assert entry.size == pytest.approx(weights.meta["_file_size"] * 2**20, rel=0.01)


def test_a_folder_is_whole_when_every_file_is_there(tmp_path):
    run = load_run("subj01").model_copy(update={"weights": tmp_path})
    for file in zoo.files(run):
        file.path.parent.mkdir(parents=True, exist_ok=True)
        file.path.touch()
    assert zoo.missing(run) == []
    folder = zoo.path(run, "versatile_diffusion")
    (folder / "vae" / "diffusion_pytorch_model.bin").unlink()
    ((path, source),) = zoo.missing(run)
    assert path == folder / "vae" / "diffusion_pytorch_model.bin" and "shi-labs" in source
    (folder / "vae" / "diffusion_pytorch_model.non_ema.safetensors").touch()  # other weights
    assert len(zoo.missing(run)) == 1
    index, shard = (folder / "vae" / f"diffusion_pytorch_model{end}" for end in (".safetensors.index.json", "-1.safetensors"))
    index.write_text(json.dumps({"weight_map": {"a": shard.name}}))
    assert [path for path, _ in zoo.missing(run)] == [shard]
    index.unlink()
    (folder / "vae" / "diffusion_pytorch_model.safetensors").touch()  # the same tensors in another form
    assert zoo.missing(run) == []
    (folder / "vae" / "config.json").unlink()
    assert [path.name for path, _ in zoo.missing(run)] == ["config.json"]


def test_the_model_card_states_what_was_measured():
    folder = zoo.root(load_run("demo"))
    card, quality = (folder / "README.md").read_text(), json.loads((folder / "quality.json").read_text())
    values = [value for measured in quality.values() for value in measured.values()]
    assert len(values) >= 10 and all(f"| {value:.3f} |" in card for value in values)
