"""Explorers, without a browser: they open with figures, a moved control changes them, an error becomes a sentence."""

import base64
import io
import re

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from PIL import Image

from nsdlib.data.nsd.subject import TR, NSDSubject
from nsdlib.plots import explore
from nsdlib.store import zoo
from nsdlib.store.store import Store
from nsdlib.study import explorations


@pytest.fixture(scope="module", autouse=True)
def _quiet_figures():
    mpl.use("Agg")


@pytest.fixture(scope="module")
def run(twin, tmp_path_factory):
    """The small run with what notebooks 01 to 05 would have left in its store, with a ridge as the only decoder."""
    changed = {"store": tmp_path_factory.mktemp("store"), "decoder": "ridge", "diffusion_seeds": (3,)}  # other than the seed
    run = twin.model_copy(update=changed)
    data, store = NSDSubject(run.data, run.subject, run.n_sessions), Store(run)
    X = store.save("betas", _betas(run, data, store)).load()
    images = {split: X[f"{split}_image"].values for split in ("train", "test")}
    _save_models(run, data, store, X, images)
    return run


def _betas(run, data, store):
    """Saves the GLM, without its slower steps, and averages the betas."""
    from nsdlib.core.glm.fit import GLMOptions
    from nsdlib.data.glm_sessions import fit_sessions
    from nsdlib.study.betas import assemble, read_trials

    store.save("glm", fit_sessions(data, 1, options=GLMOptions(n_pcs=0, fractions=(1.0,))))
    return assemble(read_trials(data, version=run.betas_version))


def _save_models(run, data, store, X, images):
    """Saves latents, tokens, and what a ridge reads of them."""
    from nsdlib.core import ridge
    from nsdlib.core.images import resize

    first, embedder = zoo.load_vdvae(run), zoo.load_embedder(run)
    latents = {split: first.encode(data.stimuli(ids), n_layers=run.n_layers) for split, ids in images.items()}
    tokens = {("vision", split): embedder.vision(data.stimuli(ids)) for split, ids in images.items()}
    tokens |= {("text", split): embedder.text(data.captions(ids)) for split, ids in images.items()}
    coords = {f"{split}_image": ids for split, ids in images.items()}
    targets = {f"latents_{split}": ((f"{split}_image", "latent"), values) for split, values in latents.items()}
    store.save("targets", xr.Dataset(targets, coords=coords))
    embeddings = {f"{kind}_{split}": ((f"{split}_image", f"{kind}_token", "feature"), values)
                  for (kind, split), values in tokens.items()}  # fmt: skip
    store.save("embeddings", xr.Dataset(embeddings, coords=coords))

    def decode(target):
        flat = target.reshape(len(target), -1)
        decoded = ridge.decode(X.X_train.values, flat, X.X_test.values, alphas=(1000,), mode="train")
        return decoded.reshape(len(decoded), *target.shape[1:])

    predicted = (("decoder", "test_image", "latent"), decode(latents["train"])[None])
    store.save("ablation", xr.Dataset({"predicted": predicted}, coords={"decoder": ["ridge"], "test_image": images["test"]}))
    made = {
        f"{kind}_pred": (("test_image", f"{kind}_token", "feature"), decode(tokens[kind, "train"])) for kind in ("text", "vision")
    }
    made["stimulus"] = (("test_image", "row", "column", "colour"), resize(data.stimuli(images["test"]), 64))
    store.save("reconstruction", xr.Dataset(made, coords={"test_image": images["test"]}))


@pytest.fixture
def opened(run, request):
    """One explorer, open, with all that it said noted in `heard`."""
    explorer = getattr(explore, request.param)(run)
    explorer.heard = []
    explorer.message.observe(lambda change: explorer.heard.append(change["new"]), names="value")
    return explorer.open()


def figures(explorer):
    """Alternative texts and pixels of what it shows."""
    found = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="([^"]+)"', explorer.images.value)
    return {text: np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("L")) for data, text in found}


def changes(explorer, name, value):
    """Whether the figures are others after a control has been moved."""
    before = explorer.images.value
    explorer.controls[name].value = value
    return explorer.images.value != before


@pytest.mark.parametrize(
    ("opened", "moves"),
    [
        ("hrf_explorer", {"number": 2, "y": 0}),
        ("roi_explorer", {"region": "V1", "measure": "noise ceiling (percent)"}),
        ("reconstruction_explorer", {"n_layers": 0, "strength": 0.5, "text_weight": 1.0, "guidance": 0.0, "seed": 3}),
        ("what_if", {"scale": 3.0, "add": -2.0}),
    ],
    indirect=["opened"],
)
def test_it_says_what_it_does_shows_something_and_every_moved_control_changes_that(opened, moves):
    assert opened.heard[-2].endswith("...</em></p>") and opened.heard[-1] == opened.message.value
    assert any(word in opened.heard[0] for word in ("Reading", "Loading"))
    assert len(opened.box.children) == 3 and set(opened.box.children[0].children) == set(opened.controls.values())
    assert not any(getattr(control, "continuous_update", False) for control in opened.controls.values())
    assert figures(opened) and all(pixels.std() > 5 for pixels in figures(opened).values())
    assert "Not drawn" not in opened.message.value and "..." not in opened.message.value
    if "image" in opened.controls:
        moves = moves | {"image": opened.controls["image"].options[-1]}
    for name, value in moves.items():
        assert changes(opened, name, value), name
    assert "Not drawn" not in opened.message.value


@pytest.mark.parametrize("opened", ["reconstruction_explorer"], indirect=True)
def test_an_error_becomes_one_sentence_and_the_figures_stay(opened):
    assert not changes(opened, "strength", 0.2)  # of four steps none is left
    assert "leaves no step to walk" in opened.message.value and opened.message.value.count("<p") == 1
    assert changes(opened, "strength", 0.5) and "Not drawn" not in opened.message.value


@pytest.mark.parametrize("name", ["hrf_explorer", "roi_explorer", "reconstruction_explorer", "what_if"])
def test_an_empty_store_is_explained_by_the_notebook_that_fills_it(twin, tmp_path, name):
    explorer = getattr(explore, name)(twin.model_copy(update={"store": tmp_path})).open()
    assert re.search(r"Not drawn.*run `nsdlib run small 0\d_\w+` first", explorer.message.value)
    assert explorer.controls == {} and explorer.images.value == ""


def test_the_cause_of_an_error_is_shown_with_what_to_do(run):
    store = Store(run)
    store.save("scores", xr.Dataset({"x": ("n", np.zeros(3))}))
    asked = Store(run.model_copy(update={"strength": 0.9}))
    draw = {"controls": lambda _: {}, "draw": lambda _: ("done", {})}
    explorer = explore.Explorer(lambda: asked.load("scores"), **draw, reading="Reading", doing="Working").open()
    said = explorer.message.value
    assert "white-space: pre-line" in said and f"\n  {store.path('scores').name} is there, but differs: " in said
    assert f"strength was {run.strength}, is 0.9" in said and "-p strength=0.9" in said


def test_the_first_image_is_the_one_of_notebook_05(run):
    store = Store(run)
    stored = store.load("reconstruction").isel(test_image=[0])
    settings = {name: control.value for name, control in explore.reconstruction_explorer(run).open().controls.items()}
    images, scores = explorations.Reconstruction(run).compute(**settings)
    image_ids = stored.test_image.values
    rough = zoo.load_vdvae(run).decode(store.load("ablation").predicted.values[0, :1], seed=run.seed, image_ids=image_ids)
    tokens = stored.text_pred.values, stored.vision_pred.values
    refined = zoo.load_diffusion(run).refine(rough, *tokens, image_ids=image_ids, **zoo.refinement(run))
    for image, expected in zip(images.values(), (stored.stimulus.values, rough, refined), strict=True):
        np.testing.assert_array_equal(image, expected[0])
    assert list(images) == ["seen", "rough", "refined"] and list(scores) == ["rough", "refined"]
    truth = stored.stimulus.values[0].astype(float)
    r = np.corrcoef(truth.ravel(), refined[0].ravel())[0, 1]
    assert refined[0].shape == truth.shape and scores["refined"][0] == pytest.approx(r, abs=1e-6)


def test_nothing_altered_leaves_the_image_as_it_is(run):
    explorer = explore.what_if(run).open()
    explorer.controls["scale"].value = 1.0
    assert re.search(r"by 0\.0 grey levels in the mean.*by 0\.0", explorer.message.value)


def test_the_chosen_fit_is_that_of_the_stored_betas(run):
    from nsdlib.core.glm import hrf
    from nsdlib.core.glm.fit import explain
    from nsdlib.data.glm_sessions import read_session

    glm, data = Store(run).load("glm").isel(session=0), NSDSubject(run.data, run.subject, 1)
    mask = np.zeros(data.brainmask.shape, dtype=bool)
    mask.flat[glm.roi_voxel.values] = True
    design, series, _ = read_session(data, 1, mask)
    row, hrfs = 5, hrf.sampled_library(TR)
    voxel = glm.sel(voxel=glm.roi_voxel.values[row])
    chosen, mean = int(voxel.hrf_index), float(voxel["mean"])
    n_first, n_second = ((labels > 0).sum() for labels in design[:2])
    betas = glm.betas_b.values[n_first : n_first + n_second, row]
    measured, fits = explorations.fit_hrfs(design[1], series[1][:, row], hrfs=hrfs, tr=TR, mean=mean)
    expected = explain(design[1], series[1][:, row], betas, hrf=hrfs[chosen], tr=TR, mean=mean)
    np.testing.assert_allclose(measured, expected[0], atol=1e-9)
    np.testing.assert_allclose(fits[chosen], expected[1], atol=1e-3 * np.abs(measured).max())
    assert fits.shape == (20, len(measured)) and np.ptp(fits, axis=0).max() > 0


def test_the_nearest_voxel_lies_on_the_slice():
    positions = np.array([[0, 0, 1], [5, 5, 1], [4, 4, 2]])
    assert explorations.nearest_voxel(positions, (4, 4, 1)) == 1
    with pytest.raises(ValueError, match="no voxel of the region lies on slice z = 7; choose another"):
        explorations.nearest_voxel(positions, (4, 4, 7))


def test_a_voxel_is_computed_where_it_was_asked_for(run):
    fits = explorations.VoxelFits(run)
    x, y, z = fits.positions[5]
    results = fits.compute(x, y, z, number=2)
    stored = Store(run).load("glm").isel(session=0).sel(voxel=fits.voxels[5])
    assert results.position == [x, y, z] and results.chosen == int(stored.hrf_index) == fits.hrf_index[5]
    np.testing.assert_array_equal(results.r2, stored.hrf_r2)
    assert results.volume.values[1] == TR and set(results.onset.values) < set(results.volume.values)


def test_a_region_lies_where_its_label_volume_has_it(run):
    regions = explorations.RegionMeasures(run)
    masks, slices, values = regions.compute("V1", int(regions.slices[0]), "noise ceiling (percent)")
    stored = Store(run).load("betas")
    inside = stored.in_region.sel(region="V1").values
    np.testing.assert_array_equal(np.flatnonzero(masks["V1"]), stored.voxel.values[inside])
    np.testing.assert_array_equal(values["V1"], stored.noise_ceiling.values[inside])
    assert slices == [regions.slices[0] - 1, regions.slices[0], regions.slices[0] + 1]
    assert list(values) == ["V1", "all voxels"] and len(values["all voxels"]) == stored.sizes["voxel"]


def test_alterations_touch_the_region_or_as_many_others():
    pattern, voxels = np.arange(10, dtype=np.float32) + 1, np.arange(10) < 3
    same, region, others = explorations.alter(pattern, voxels, scale=0, add=0, seed=0)
    np.testing.assert_array_equal(same, pattern)
    np.testing.assert_array_equal(region, np.where(voxels, 0, pattern))
    assert (others == 0).sum() == 3 and not (others == 0)[voxels].any()
    _, driven, _ = explorations.alter(pattern, voxels, scale=1, add=2, seed=0)
    np.testing.assert_array_equal(driven - pattern, 2.0 * voxels)
    _, _, fewer = explorations.alter(pattern, ~voxels, scale=0, add=0, seed=0)
    np.testing.assert_array_equal(fewer == 0, voxels)


def test_it_shows_itself_before_it_reads(monkeypatch):
    order = []
    draw = {"controls": lambda _: {}, "draw": lambda _: ("done", {})}
    explorer = explore.Explorer(lambda: order.append("read") or "all", **draw, reading="Reading", doing="Working")
    monkeypatch.setattr("IPython.display.display", lambda box: order.append("shown"))
    explorer._ipython_display_()
    explorer._ipython_display_()
    assert order == ["shown", "read", "shown"] and "done" in explorer.message.value


def test_figures_do_not_pile_up(run):
    import matplotlib.pyplot as plt

    plt.close("all")
    explore.roi_explorer(run).open()
    assert plt.get_fignums() == []
