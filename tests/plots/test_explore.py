"""Explorers without a browser: they open with figures, a moved control updates them, an error becomes a sentence."""

import base64
import io
import re
import shutil
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from nibabel import Nifti1Image
from PIL import Image

from nsdlib.data.nsd.layout import TR
from nsdlib.data.nsd.subject import NSDSubject
from nsdlib.plots import explore, panels, pickers
from nsdlib.plots.style import use_style
from nsdlib.store import zoo
from nsdlib.store.store import Store
from nsdlib.study import explorations
from nsdlib.study.reconstruction import STORED

pytestmark = pytest.mark.slow


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
    return assemble(read_trials(data, version=run.betas_version)).isel(train_image=slice(60))


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
    ids = images["test"]
    rough = first.decode(predicted[1][0], seed=run.seed, image_ids=ids)
    half = [made[f"{kind}_pred"][1] for kind in ("text", "vision")]
    few = {"image_ids": ids[:2], **zoo.refinement(run)}  # the others do not matter
    refined = zoo.load_diffusion(run).refine(rough[:2], *(tokens[:2] for tokens in half), **few)
    refined = np.concatenate([refined, resize(rough[2:], refined.shape[1])])
    pictures = dict.fromkeys(STORED, refined[::-1]) | {
        "stimulus": resize(data.stimuli(ids), refined.shape[1]),
        "rough": rough,
        "refined": refined,
    }
    made |= {name: (("test_image", f"{name}_row", f"{name}_column", "colour"), values) for name, values in pictures.items()}
    store.save("reconstruction", xr.Dataset(made, coords={"test_image": ids}))
    systems = {"refined": (("system", "test_image", "row", "column", "colour"), refined[None, ::-1])}
    store.save("systems", xr.Dataset(systems, coords={"system": ["takagi"], "test_image": ids}))


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


EXPLORERS = {
    "systems_explorer": {},
    "hrf_explorer": {"number": 2, "voxel": None},
    "roi_explorer": {"region": "V1", "measure": "correlation of repeats"},
    "reconstruction_explorer": {"n_layers": 0, "strength": 0.5, "text_weight": 1.0, "guidance": 0.0, "seed": 3},
    "what_if": {"scale": 3.0, "add": -2.0},
}


def other_option(picker):
    """Something else to choose."""
    return picker.buttons.options[-1][1]


@pytest.mark.parametrize(("opened", "moves"), EXPLORERS.items(), indirect=["opened"])
def test_it_says_what_it_does_shows_something_and_every_moved_control_changes_that(opened, moves):
    assert opened.heard[-2].endswith("...</em></p>") and opened.heard[-1] == opened.message.value
    pickers = [control for control in opened.controls.values() if hasattr(control, "buttons")]
    assert set(opened.box.children) >= {*pickers, opened.message, opened.images}
    row = opened.box.children[len(pickers)]
    assert {*pickers, *row.children} == {*opened.controls.values(), *opened.buttons}
    assert not any(getattr(control, "continuous_update", False) for control in opened.controls.values())
    assert figures(opened) and all(pixels.std() > 5 for pixels in figures(opened).values())
    assert "Not drawn" not in opened.message.value and "..." not in opened.message.value
    if "image" in opened.controls:
        moves = moves | {"image": None}
    for name, value in moves.items():
        assert changes(opened, name, other_option(opened.controls[name]) if value is None else value), name
    assert "Not drawn" not in opened.message.value


@pytest.mark.parametrize("opened", EXPLORERS, indirect=True)
def test_reset_brings_back_what_was_shown_at_first(opened):
    before, message = opened.images.value, opened.message.value
    name, control = next(iter(opened.controls.items()))
    assert changes(opened, name, other_option(control) if hasattr(control, "buttons") else control.options[-1])
    opened.heard.clear()
    opened.buttons[0].click()
    assert (opened.images.value, opened.message.value) == (before, message)
    assert len(opened.heard) == 2  # drawn once
    assert changes(opened, name, other_option(control) if hasattr(control, "buttons") else control.options[-1])


@pytest.mark.parametrize("opened", ["roi_explorer"], indirect=True)
def test_figures_are_saved_below_runs_with_what_they_show_and_never_over_others(opened, run, tmp_path, monkeypatch):
    monkeypatch.setattr(opened, "_run", run.model_copy(update={"root": tmp_path}))
    first, last = (Image.fromarray(pixels) for pixels in figures(opened).values())
    for number in (1, 2):
        opened.buttons[1].click()
        folder = "figures__decoder-ridge__diffusion_seeds-3"  # the run differs from its file
        path = Path("runs", "small", folder, "explored", f"regions_{number}.png")
        assert f"<code>{path}</code>" in opened.saved.value
        with Image.open(tmp_path / path) as saved:
            assert saved.size == (max(first.width, last.width), first.height + last.height)
            assert saved.info["Description"] in opened.message.value
            assert (np.asarray(saved.convert("L"))[: first.height, : first.width] == np.asarray(first)).all()
    assert opened.controls["region"].value == explorations.ALL_REGIONS
    opened.controls["region"].value = "V1"
    assert opened.saved.value == ""


def test_there_is_nothing_to_save_before_something_was_drawn(run):
    draws = iter([ValueError("no"), ("done", {})])

    def draw(_):
        if isinstance(drawn := next(draws), ValueError):
            raise drawn
        return drawn

    explorer = explore.Explorer(run, "x", lambda _: "all", lambda _: {}, draw).open()
    assert explorer.buttons[1].disabled
    explorer.draw()
    assert not explorer.buttons[1].disabled


def test_controls_hold_the_settings_of_any_run(run):
    own, stored = {"strength": 0.02, "guidance": 20.0}, explorations.Reconstruction(run)
    stored.start |= own
    controls = explore.reconstruction_explorer(run)._make_controls(stored)
    assert {name: controls[name].value for name in own} == own


@pytest.mark.parametrize("opened", ["reconstruction_explorer"], indirect=True)
def test_an_error_becomes_one_sentence_and_the_figures_stay(opened):
    assert not changes(opened, "strength", 0.2)  # of four steps none is left
    assert "leaves no denoising step" in opened.message.value and opened.message.value.count("<p") == 1
    assert changes(opened, "strength", 0.5) and "Not drawn" not in opened.message.value


@pytest.mark.parametrize("name", EXPLORERS)
def test_an_empty_store_is_explained_by_the_notebook_that_fills_it(twin, tmp_path, name):
    explorer = getattr(explore, name)(twin.model_copy(update={"store": tmp_path})).open()
    assert re.search(r"Not drawn.*run `nsdlib run small 0\d_\w+` first", explorer.message.value)
    assert explorer.controls == {} and explorer.images.value == ""


def test_the_cause_of_an_error_is_shown_with_what_to_do(run):
    store = Store(run)
    store.save("scores", xr.Dataset({"x": ("n", np.zeros(3))}))
    asked = Store(run.model_copy(update={"strength": 0.9}))
    draw = {"controls": lambda _: {}, "draw": lambda _: ("done", {})}
    explorer = explore.Explorer(run, "x", lambda _: asked.load("scores"), **draw).open()
    said = explorer.message.value
    assert "white-space: pre-wrap" in said and f"\n  {store.path('scores').name} exists, but differs: " in said
    assert f"strength was {run.strength}, is 0.9" in said and "-p strength=0.9" in said


def test_the_full_text_of_any_error_is_shown_and_the_controls_stay_alive(run):
    from ipywidgets import IntSlider

    controls = {"controls": lambda _: {"number": IntSlider(1, 0, 2)}, "draw": lambda _, number: (f"{1 / number:.1f} drawn", {})}
    explorer = explore.Explorer(run, "x", lambda _: "all", **controls).open()
    explorer.controls["number"].value = 0
    said = explorer.message.value
    assert "Not drawn" in said and "Traceback" in said and "test_explore.py" in said and "ZeroDivisionError: " in said
    explorer.controls["number"].value = 2
    assert explorer.message.value == "<p>0.5 drawn</p>"
    explorer.save()
    assert "Not drawn" in explorer.message.value  # there is no figure to save


def test_what_is_missing_beside_recipes_is_shown_without_them(run, tmp_path):
    shutil.copytree(run.store, tmp_path / "store", ignore=shutil.ignore_patterns("systems-*"))
    explorer = explore.systems_explorer(run.model_copy(update={"store": tmp_path / "store"})).open()
    assert len(figures(explorer)) == 1 and "run `nsdlib run small 10_systems_side_by_side" in explorer.message.value


def test_all_that_was_made_of_an_image_stands_side_by_side(run):
    stored, store = explorations.StoredImages(run), Store(run)
    image, reconstruction = stored.image_ids[1], store.load("reconstruction").isel(test_image=1)
    groups, missing = stored.collect(image)
    assert missing == "" and list(groups["decoders, rough"]) == ["ridge"] and list(groups["recipes"]) == ["takagi"]
    assert [len(groups["stages and bounds"]), stored.captions[image][:2].strip() != ""] == [len(STORED), True]
    np.testing.assert_array_equal(groups["decoders, rough"]["ridge"][0], reconstruction.rough)
    np.testing.assert_array_equal(groups["recipes"]["takagi"][0], store.load("systems").refined[0, 1])
    truth, (refined, r) = reconstruction.stimulus.values, groups["stages and bounds"]["refined"]
    assert r == pytest.approx(np.corrcoef(truth.ravel(), refined.ravel())[0, 1], abs=1e-6)


def test_the_first_image_is_the_one_of_notebook_05(run, monkeypatch):
    store = Store(run)
    stored = store.load("reconstruction").isel(test_image=[0])
    settings = {name: control.value for name, control in explore.reconstruction_explorer(run).open().controls.items()}
    images, scores = explorations.Reconstruction(run).compute(**settings)
    for image, name in zip(images.values(), ("stimulus", "rough", "refined"), strict=True):
        np.testing.assert_array_equal(image, stored[name].values[0])
    reconstruction = explorations.Reconstruction(run)
    monkeypatch.setattr(reconstruction, "start", {})  # so it is drawn anew
    for image, drawn in zip(images.values(), reconstruction.compute(**settings)[0].values(), strict=True):
        assert np.abs(image.astype(int) - drawn).max() <= 2  # several images at once round otherwise
    assert list(images) == ["seen", "rough", "refined"] and list(scores) == ["rough", "refined"]
    r = np.corrcoef(stored.stimulus.values.ravel(), stored.refined.values.ravel())[0, 1]
    assert scores["refined"][0] == pytest.approx(r, abs=1e-6)


def test_nothing_altered_is_notebook_05_and_what_hardly_alters_moves_nothing(run):
    alteration, region = explorations.RegionAlteration(run), "V1"
    image = alteration.image_ids[0]
    seen, rough, refined, moved = alteration.compute(image, region, 1, 0)
    stored = Store(run).load("reconstruction").isel(test_image=[0])
    for made, name in zip((seen[None], rough, refined), ("stimulus", "rough", "refined"), strict=True):
        np.testing.assert_array_equal(made, stored[name])
    assert moved == ()
    _, rough, _, moved = alteration.compute(image, region, 1.0, 1e-9)
    assert len(rough) == 3 and np.ptp(rough.astype(int), axis=0).max() <= 2 and max(moved) < 0.1


def test_the_altered_voxels_are_those_drawn_on_the_brain(run):
    alteration = explorations.RegionAlteration(run)
    region, others = (mask.ravel() for mask in alteration.masks("V1"))
    betas = Store(run).load("betas")
    np.testing.assert_array_equal(np.flatnonzero(region), betas.voxel.values[betas.in_region.sel(region="V1")])
    pattern = np.ones(betas.sizes["voxel"], dtype=np.float32)
    altered = explorations.alter(pattern, alteration.regions["V1"], scale=0, add=0, seed=run.seed)
    for row, mask in zip(altered[1:], (region, others), strict=True):
        np.testing.assert_array_equal(row == 0, mask[betas.voxel.values])


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


def test_responses_are_those_to_images_shown_as_long_as_the_subject_saw_them(run, monkeypatch):
    from nsdlib.core.glm import hrf

    subject, given = NSDSubject(run.data, run.subject, 1), []
    subject.duration = 1.0
    monkeypatch.setattr(explorations, "open_subject", lambda run: subject)
    monkeypatch.setattr(explorations, "fit_hrfs", lambda *_, hrfs, **__: given.append(hrfs) or (np.zeros(2), np.zeros((20, 2))))
    fits = explorations.VoxelFits(run)
    fits.compute(fits.voxels[5], number=2)
    np.testing.assert_array_equal(fits.peaks, hrf.peak_seconds(1.0))
    np.testing.assert_array_equal(given[0], hrf.sampled_library(TR, 1.0))
    assert (fits.peaks < hrf.peak_seconds()).any()


def test_a_voxel_is_computed_where_it_was_clicked(run):
    fits = explorations.VoxelFits(run)
    results = fits.compute(fits.voxels[5], number=2)
    stored = Store(run).load("glm").isel(session=0).sel(voxel=fits.voxels[5])
    position = np.unravel_index(fits.voxels[5], fits.background.shape)
    assert results.position == list(position) and results.chosen == int(stored.hrf_index) == fits.hrf_index[5]
    np.testing.assert_array_equal(results.r2, stored.hrf_r2)
    assert results.volume.values[1] == TR and set(results.onset.values) < set(results.volume.values)


def test_brains_stand_upright_however_the_axes_of_the_files_run(run, monkeypatch):
    plain, regions = explorations.VoxelFits(run), explorations.RegionMeasures(run)
    i, j, k = (int(n) for n in np.unravel_index(plain.voxels[5], plain.background.shape))
    swapped = NSDSubject(run.data, run.subject, 1).affine[:, [2, 0, 1, 3]] * [-1, 1, 1, 1]
    monkeypatch.setattr(NSDSubject, "affine", swapped)  # as if the same files ran downwards, to the right, to the front
    fits, turned = explorations.VoxelFits(run), explorations.RegionMeasures(run)
    results = fits.compute(fits.voxels[5], number=2)
    assert results.position == [j, k, plain.background.shape[0] - 1 - i] and fits.background.shape[2] == plain.background.shape[0]
    assert results.equals(plain.compute(plain.voxels[5], number=2))
    masks = [one.compute("V1", int(one.slices[0]), explorations.CEILING)[0]["V1"] for one in (regions, turned)]
    np.testing.assert_array_equal(masks[1], masks[0].transpose(1, 2, 0)[..., ::-1])


def test_without_repeats_regions_say_why_nothing_is_drawn(run, monkeypatch):
    betas = Store(run).load("betas")
    monkeypatch.setattr(Store, "load", lambda *_: betas.assign(noise_ceiling=betas.noise_ceiling * np.nan))
    assert "No training image was shown twice" in explore.roi_explorer(run).open().message.value


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
    assert len(explorations.alter(pattern, np.ones(10, bool), scale=0, add=0, seed=0)) == 2


@pytest.mark.parametrize(("n_others", "said"), {2: "2 others, drawn at random, move it by 0.2", 0: "There are no others"}.items())
def test_no_more_others_are_named_than_were_altered(n_others, said):
    inside, others = np.zeros((2, 4, 5, 6), bool)
    inside[:, 2, 3], others[0, 0, :n_others] = True, True
    n_made, background = 3 if n_others else 2, Nifti1Image(np.ones(inside.shape, np.float32), np.eye(4))
    images = np.zeros((n_made, 8, 8, 3), np.uint8)
    given = images[0], images, images, (0.1, 0.2)[: n_made - 1], background, inside, others
    sentence, (pictures, brain) = panels.plot_alteration(*given, region="V1", caption="Image 1.")
    assert said in sentence and "4 voxels of V1 altered move the refined image by 0.1" in sentence
    assert ("others altered" in pictures) == bool(n_others)
    plotted = panels.plot_alteration(*given, region="V1", caption="Image 1.")[1][brain]
    assert [text.get_text() for text in plotted.legends[0].get_texts()][1:] == [f"{n_others} others"] * bool(n_others)


def test_it_shows_itself_before_it_reads(monkeypatch):
    order = []
    draw = {"controls": lambda _: {}, "draw": lambda _: ("done", {})}
    explorer = explore.Explorer(None, "x", lambda _: order.append("read") or "all", **draw)
    monkeypatch.setattr("IPython.display.display", lambda box: order.append("shown"))
    explorer._ipython_display_()
    explorer._ipython_display_()
    assert order == ["shown", "read", "shown"] and "done" in explorer.message.value


def test_figures_have_the_style_of_the_house_and_leave_the_users_own(run):
    import matplotlib.pyplot as plt

    plt.close("all")
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams["font.size"] = 30
        plain = explore.roi_explorer(run).open().images.value
        assert mpl.rcParams["font.size"] == 30 and plt.get_fignums() == []
        use_style()
        assert explore.roi_explorer(run).open().images.value == plain


def test_thumbnails_are_the_pictures_in_their_order_and_choose_their_numbers():
    images = np.stack([np.full((8, 8, 3), shade, np.uint8) for shade in (0, 120, 240)])
    thumbnails = pickers.Thumbnails(images, {7: "dark", 8: "", 9: "light"})
    assert [thumbnails.value, *(value for _, value in thumbnails.buttons.options)] == [7, 7, 8, 9]
    rules, (data,) = thumbnails.children[-1].value, re.findall(r"jpeg;base64,([^)]+)", thumbnails.children[-1].value)
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("L"))
    for number, image in enumerate(images, start=1):
        left, top = (-int(place) for place in re.search(rf"nth-child\({number}\).*?(-?\d+)px (-?\d+)px", rules).groups())
        assert abs(int(sheet[top + 5, left + 5]) - int(image[0, 0, 0])) < 4
    thumbnails.buttons.index = 2
    assert thumbnails.value == 9
    thumbnails.value = 8
    assert thumbnails.buttons.index == 1


def test_a_slice_offers_its_voxels_where_they_lie_and_the_slider_keeps_the_place():
    volume = np.zeros((4, 5, 3))
    positions = np.array([[0, 1, 1], [3, 4, 1], [0, 0, 2], [2, 4, 2]])
    voxels = np.ravel_multi_index(positions.T, volume.shape)
    volume[0, 0, 0] = np.nan
    slices = pickers.Voxels(voxels, np.arange(4.0), Nifti1Image(volume + 1, np.eye(4)), start=int(voxels[1]), label="Peak")
    assert slices.slice.options == (1, 2) and slices.slice.value == 1 and slices.value == voxels[1]
    assert [label for label, _ in slices.buttons.options] == ["voxel x = 0, y = 1, z = 1", "voxel x = 3, y = 4, z = 1"]
    edge = int(re.search(r"label \{ position: absolute; width: (\d+)px", slices.children[-1].value).group(1))
    places = re.findall(r"left: (\d+)px; bottom: (\d+)px; background: (#\w+)", slices.children[-1].value)
    assert [(int(x) // edge, int(y) // edge) for x, y, _ in places] == [(0, 1), (3, 4)]
    assert places[0][2] == mpl.colors.to_hex(mpl.colormaps["viridis"](0))
    heard = []
    slices.observe(lambda change: heard.append(change["new"]), names="value")
    slices.slice.value = 2
    slices.value = int(voxels[0])
    slices.buttons.index = 1
    assert heard == [voxels[3], voxels[0], voxels[1]] and slices.slice.value == 1
