"""Recipes with Stable Diffusion: a small model in the published layout, beside the demo zoo's models as the published ones."""

import json

import numpy as np
import pytest
import torch
import xarray as xr
from recipe_inputs import real_images
from safetensors.torch import load_file
from stable_folder import write_stable_diffusion

from nsdlib.core import vdvae
from nsdlib.core.diffusion import stable
from nsdlib.params import load_run
from nsdlib.recipes import brain, pictures, recipe
from nsdlib.run import costs
from nsdlib.store import Store, zoo
from nsdlib.store.provenance import provenance
from nsdlib.study.reconstruction import Split

N_TRAIN, N_TEST, N_VOXELS = 20, 4, 30


@pytest.fixture(scope="module")
def run(twin, tmp_path_factory):
    """A run of the paper zoo whose folder holds the demo's second stage, a small Stable Diffusion, and a place for the VDVAE."""
    place = tmp_path_factory.mktemp("paper")
    folder = place / "weights" / "paper"
    (folder / "vdvae").mkdir(parents=True)
    (folder / "versatile-diffusion").symlink_to(zoo.path(twin, "versatile_diffusion"))
    write_stable_diffusion(folder / "stable-diffusion-v1-4")
    settings = {"zoo": "paper", "weights": place / "weights", "store": place / "store", "device": "cpu"}
    demo = zoo.path(twin, "vdvae")
    torch.save(load_file(demo), folder / "vdvae" / "imagenet64-iter-1600000-model-ema.th")
    return twin.model_copy(update=settings | {"recipes": ("takagi", "takagi_intercept")})


@pytest.fixture(scope="module")
def drawing(run, twin):
    """Models of the run; the demo's VDVAE, which has sizes of its own, is in the published one's place."""
    with pytest.MonkeyPatch.context() as patch:
        own = json.loads((zoo.path(twin, "vdvae").parent / "hyperparameters.json").read_text())
        patch.setattr(vdvae, "Hyperparameters", lambda kind=vdvae.Hyperparameters: kind(**own))
        return pictures.Pictures(run, Store(run))


@pytest.fixture(scope="module")
def inputs(run, drawing):
    """Real images and captions, planted patterns; two showings of each training image."""
    (subject, ids, tokens), rng = real_images(run, n_train=N_TRAIN, n_test=N_TEST), np.random.default_rng(0)
    patterns = {name: rng.standard_normal((len(chosen), N_VOXELS)).astype(np.float32) for name, chosen in ids.items()}
    splits = (Split(ids[name], patterns[name], np.zeros((len(ids[name]), 1), np.float32), tokens[name]) for name in ids)
    regions = np.zeros((2, N_VOXELS), bool)
    regions[0, :12], regions[1, 12:] = True, True
    betas = xr.Dataset({"in_region": (("region", "voxel"), regions)}, coords={"region": ["V1", "faces"]})
    made = brain.Inputs(run, Store(run), *splits, betas, {}, None, drawing.encode, subject, drawing.embed_captions)
    shown = np.repeat(ids["train"], 2)
    trials = np.repeat(patterns["train"], 2, axis=0) + 0.1 * rng.standard_normal((2 * N_TRAIN, N_VOXELS)).astype(np.float32)
    vars(made)["trials"] = trials, patterns["test"], shown
    return made


@pytest.mark.parametrize("name", ["takagi", "takagi_intercept"])
def test_a_recipe_that_names_stable_diffusion_learns_and_draws_with_it(run, drawing, inputs, name):
    one = recipe.load(name, run)
    assert one.generator.model == "stable_diffusion" and not any("not Stable Diffusion" in said for said in one.deviations)
    folder = zoo.path(run, "stable_diffusion")
    theirs, embedder = stable.load(folder), stable.load_embedder(folder)
    true = {target: inputs.truth(target, model="stable_diffusion") for target in ("text", "autoencoder")}
    for row, split in enumerate((inputs.train, inputs.test)):
        captions = inputs.subject.captions(split.ids)
        np.testing.assert_array_equal(true["text"][row].reshape(-1, 12, 32), embedder.text(captions))
        latents = theirs.encode(inputs.subject.stimuli(split.ids), size=20).flatten(1)  # 5/8 of 32 pixels
        np.testing.assert_array_equal(true["autoencoder"][row], latents)
    decoded = brain.decode(one, inputs)
    drawn = drawing.make(one, decoded, inputs)
    rough = theirs.decode(torch.from_numpy(decoded.targets["autoencoder"]).reshape(N_TEST, 4, 10, 10))
    np.testing.assert_array_equal(drawn.rough, rough)
    text = decoded.targets["text"].reshape(N_TEST, 12, 32)
    told = {"strength": 0.8, "n_steps": 50, "guidance": 5, "sampler": "ddim", "faithful": True, "seed": run.diffusion_seeds[0]}
    np.testing.assert_array_equal(drawn.refined, theirs.refine(rough, text, image_ids=inputs.test.ids, **told))
    assert drawn.refined.shape == (N_TEST, 32, 32, 3) and drawn.refined.std() > 5
    for function in ("sample", "decode", "encoded", "texts"):
        manifests = [json.loads(file.read_text()) for file in run.store.glob(f"kept-{function}-*/manifest.json")]
        assert manifests and all(kept["provenance"]["weights"] == {"stable_diffusion": "paper"} for kept in manifests)
    assert "stable_diffusion" in provenance(run, "systems")["weights"]


def test_in_the_demo_the_demos_model_draws_and_that_is_told():
    run = load_run("demo")
    one = recipe.load("takagi", run)
    assert one.generator.model == "versatile_diffusion" and one.generator.n_steps == 5
    assert "not Stable Diffusion 1.4" in one.deviations[0]
    assert "generator.model versatile_diffusion (published stable_diffusion)" in one.deviations[-1]
    assert "stable_diffusion" not in recipe.describe(one)["drawn"]
    assert "stable_diffusion" in recipe.describe(recipe.load("takagi", load_run("subj01")))["drawn"]


def test_what_stable_diffusion_cannot_draw_is_refused(project):
    def write(targets, generator, **more):
        fields = {"title": "Mine", "paper": "none", "targets": targets, "generator": {"model": "stable_diffusion"} | generator}
        (project / recipe.FOLDER / "mine.yaml").write_text(json.dumps(fields | more))

    for targets, generator in (
        ({"latents": {}, "text": {}, "vision": {}}, {"text_weight": 1}),
        ({"latents": {}, "text": {}, "vision_pooled": {}}, {"text_weight": 0.4}),
        ({"latents": {}, "vision": {}}, {"text_weight": 0}),
    ):
        write(targets, generator)
        with pytest.raises(ValueError, match=r"on text alone, wanted text_weight: 1 and no target vision or vision_pooled"):
            recipe.load("mine", load_run("subj01"))
    write({"latents": {}, "text": {}}, {"text_weight": 1})
    assert recipe.load("mine", load_run("subj01")).generator.model == "stable_diffusion"
    with pytest.raises(ValueError, match=r"stable_diffusion is not in the demo zoo; use a run of the published zoo, or"):
        recipe.load("mine", load_run("demo"))
    write({"latents": {}, "text": {}}, {"text_weight": 1}, demo={"generator": {"model": "versatile_diffusion"}})
    assert recipe.load("mine", load_run("demo")).generator.model == "versatile_diffusion"


def test_weights_that_are_not_there_are_missed_before_anything_is_computed(run, tmp_path):
    (tmp_path / "paper").mkdir()
    for name in ("vdvae", "versatile-diffusion"):
        (tmp_path / "paper" / name).symlink_to(run.weights / "paper" / name)
    bare = run.model_copy(update={"weights": tmp_path, "store": tmp_path})
    with pytest.raises(
        FileNotFoundError, match=r"'stable_diffusion' \(paper zoo\) are not at .*`nsdlib fetch weights --run small`"
    ):
        pictures.Pictures(bare, Store(bare))


def test_a_recipes_file_says_whether_stable_diffusion_is_asked_for(project):
    own = project / recipe.FOLDER / "own.yaml"
    for text, is_asked in (
        ("generator:\n  strength: 1\n  model: stable_diffusion\n", True),
        ("generator: {model: versatile_diffusion}\ndemo: {generator: {model: stable_diffusion}}\n", False),
        ("generator: stable_diffusion\n", False),
        ("generator: [\n", False),
    ):
        own.write_text(text)
        assert bool(zoo.extra_models(load_run("subj01", recipes=["veronese", "own"]))) is is_asked
    assert zoo.extra_models(load_run("subj01", recipes=["takagi_intercept"])) == {"stable_diffusion": zoo.STABLE_DIFFUSION}
    assert (
        zoo.extra_models(load_run("demo", recipes=["takagi"])) == {} == zoo.extra_models(load_run("subj01", recipes=["nowhere"]))
    )


def test_stable_diffusion_counts_in_what_notebook_10_needs():
    sizes = costs.Amounts(n_train=900, n_test=100, n_voxels=1600, n_brain=4500, volume=17_160)
    plain, more = (
        costs.notebook_needs(load_run("subj01", recipes=[name]), sizes, "10_systems_side_by_side", is_gpu=True)
        for name in ("veronese", "takagi_intercept")
    )
    parameters = 859_520_964 + 83_653_863 + 123_060_480
    assert more.models - plain.models == pytest.approx(4 * parameters, rel=1e-3)
    assert more.on_gpu - plain.on_gpu == pytest.approx(2 * parameters, rel=1e-3)
    assert more.memory - plain.memory == more.disk - plain.disk == 2 * 1000 * 77 * 768
