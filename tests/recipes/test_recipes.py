"""Recipes: valid files; a recipe on planted truth; selection, lifting and retrieval against plain loops; errors for bad input."""

import importlib
import re
import shutil

import numpy as np
import pytest
import xarray as xr
from conftest import ROOT
from recipe_inputs import real_images
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge as TheirRidge

from nsdlib.core import METRICS
from nsdlib.core.images import resize
from nsdlib.core.scores.retrieval import retrieval
from nsdlib.params import load_run
from nsdlib.recipes import brain, own, pictures, recipe, table
from nsdlib.store import Store, load_scorer, provenance, sources
from nsdlib.store.provenance import artifact_hash
from nsdlib.study.reconstruction import Split

N_TRAIN, N_TEST, N_VOXELS, N_LATENTS = 40, 8, 30, 336  # latents of the first five layers
ORACLE = """
import numpy as np
import torch

class Oracle:
    def __init__(self, file):
        self.truth = np.load(file)  # the first voxel says which row

    def fit(self, X, Y):
        return self

    def predict(self, X):
        return self.truth[X[:, 0].astype(int) % len(self.truth)]

class Whitened:
    def fit(self, X, Y):
        self.weights = np.linalg.lstsq(X, Y, rcond=None)[0]

    def predict(self, X):
        return (X - X.mean(0)) @ self.weights

class Short(Whitened):
    def predict(self, X):
        return super().predict(X)[:, 1:]

class Lost(Whitened):
    def predict(self, X):
        return super().predict(X) * np.nan

class Huge(Whitened):
    def predict(self, X):
        return np.full_like(super().predict(X), 1e39, dtype=float)

class Moody(Whitened):
    def predict(self, X):
        raise KeyError("my own trouble")

class Stubborn(Whitened):
    def fit(self, X, Y):
        return 1 / 0

class Words(Whitened):
    def predict(self, X):
        return super().predict(X).astype(str)

class Deaf:
    def fit(self, X, Y):
        pass

class Careless(Whitened):
    def fit(self, X, Y):
        X -= 1
        Y *= 2
        super().fit(X, Y)

    def predict(self, X):
        X -= 1
        return X @ self.weights

class Half:
    __slots__ = ["n"]

    def fit(self, X, Y):
        self.n = Y.shape[1]

    def predict(self, X):
        return torch.full((len(X), self.n), 0.5, dtype=torch.bfloat16, requires_grad=True)

class Two:
    def fit(self, X, Y):
        torch.manual_seed(0)
        self.first, self.second = torch.nn.Linear(X.shape[1], 3), torch.nn.Linear(3, Y.shape[1], bias=False)
        self.again = self.first

    def predict(self, X):
        return self.second(self.first(torch.from_numpy(X)))

NUMBER = 3
"""


def write(root, name="mine", **fields):
    """Write a recipe, the given fields over those of a sound one."""
    import yaml

    sound = {"title": "Mine", "paper": "none", "targets": {"text": {}, "vision": {}, "latents": {}}}
    (root / recipe.FOLDER).mkdir(parents=True, exist_ok=True)
    (root / recipe.FOLDER / f"{name}.yaml").write_text(yaml.safe_dump(sound | fields))


class Kept:
    """A store that hands out no result, and keeps the settings that were asked for."""

    def __init__(self, settings):
        self.settings = settings

    def memoise(self, _):
        return lambda *_, settings, **more: self.settings.append(settings)


@pytest.fixture(scope="module")
def run(twin, tmp_path_factory):
    """The run `small` in a folder of its own, with the shipped recipes, weights, and decoders of one's own."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "params", root / "params")
    (root / "zoo").symlink_to(ROOT / "zoo")
    (root / "planted_decoders.py").write_text(ORACLE)
    changed = {"root": root, "store": root / "store", "device": "cpu", "n_steps": 2, "alphas": (10.0,), "n_layers": 5}
    return twin.model_copy(update=changed)


@pytest.fixture(scope="module")
def drawing(run):
    return pictures.Pictures(run, Store(run))


@pytest.fixture(scope="module")
def inputs(run, drawing):
    """Real images and tokens of them; patterns of noise whose first voxel numbers the images."""
    (subject, ids, tokens), rng = real_images(run, n_train=N_TRAIN, n_test=N_TEST), np.random.default_rng(0)
    splits, latents = {}, {}
    n_latents = drawing.stages.vdvae.n_latents(5)
    for name, chosen in ids.items():
        patterns = rng.standard_normal((len(chosen), N_VOXELS)).astype(np.float32)
        patterns[:, 0] = np.arange(len(chosen))
        values = rng.standard_normal((len(chosen), n_latents)).astype(np.float32)
        splits[name] = Split(chosen, patterns, values, tokens[name])
        latents[name] = xr.DataArray(values)
    regions = np.zeros((3, N_VOXELS), bool)
    regions[0, :10], regions[1, 10:15], regions[2, 15:25] = True, True, True
    betas = xr.Dataset(
        {"in_region": (("region", "voxel"), regions)}, coords={"region": ["V1", "V2", "faces"], "voxel": np.arange(N_VOXELS)}
    )
    count = drawing.stages.vdvae.n_latents
    functions = {"encode": drawing.encode, "subject": subject, "embed_images": drawing.embed_images}
    return brain.Inputs(run, Store(run), splits["train"], splits["test"], betas, latents, count, **functions)


def planted(inputs, drawing, run, name, target_values):
    """Decode and draw by a recipe whose decoders return the given values."""
    targets = {}
    for target, values in target_values.items():
        file = run.root / f"{name}-{target}.npy"
        np.save(file, values)
        targets[target] = {"decoder": "planted_decoders:Oracle", "settings": {"file": str(file)}}
    write(run.root, name, targets=targets, n_layers=5)
    one = recipe.load(name, run)
    decoded = brain.decode(one, inputs)
    return one, decoded, drawing.make(one, decoded, inputs)


def test_a_decoder_that_knows_the_truth_is_the_ceiling_and_permuted_pairs_are_at_chance(inputs, drawing, run):
    true = {target: inputs.truth(target, n_layers=5)[1] for target in ("latents", "text", "vision")}
    one, decoded, drawn = planted(inputs, drawing, run, "oracle", true)
    assert decoded.badge == "inductive" and np.isnan(decoded.n_parameters)
    test, stages = inputs.test, drawing.stages
    rough = stages.vdvae.decode(test.latents, seed=run.seed, image_ids=test.ids)
    tokens = (np.asarray(test.tokens[kind], np.float32) for kind in recipe.KINDS)
    refined = stages.diffusion.refine(rough, *tokens, image_ids=test.ids, **stages.settings)
    np.testing.assert_array_equal(drawn.refined, refined)
    shown = inputs.subject.stimuli(test.ids)
    dataset = table.measure({"oracle": (one, decoded, drawn)}, inputs, resize(shown, 64), shown)
    brain_side = dataset.brain.mean("test_image").sel(system="oracle").to_series()
    assert (brain_side.drop("error") == 1).all() and brain_side["error"] == 0
    assert dataset.brain_null.sel(measure=["image, top 1", "brain, top 1"]).max() == 0  # a permutation without a fixed place
    chance = dataset.null.sel(metric=[name for name in METRICS if METRICS[name].chance]).mean("test_image")
    assert (np.abs(chance - 0.5) < 0.35).all() and dataset.own.isnull().all()
    columns = table.brain_table(dataset, n_bootstrap=10, seed=0)
    assert list(columns["parameters"]) == ["not known"] and list(columns["linter"]) == ["inductive"]


def test_a_recipe_that_has_all_samples_scored_gets_the_mean_of_their_scores(inputs, drawing, run):
    write(run.root, targets={"vision": {}}, generator={"rough": "none", "text_weight": 0, "n_samples": 3, "scored": "all"})
    one, shown, seed = recipe.load("mine", run), inputs.subject.stimuli(inputs.test.ids), run.diffusion_seeds[0]
    decoded = brain.decode(one, inputs)
    drawn, grey = drawing.make(one, decoded, inputs), np.full((N_TEST, 64, 64, 3), pictures.GREY, np.uint8)
    text = np.repeat(np.asarray(inputs.train.tokens["text"], np.float32).mean(0)[None], N_TEST, axis=0)
    options = {"image_ids": inputs.test.ids, **one.generator.options(run)}
    vision = decoded.targets["vision"].reshape(N_TEST, *inputs.test.tokens["vision"].shape[1:])
    each = [drawing.stages.diffusion.refine(grey, text, vision, seed=seed + k, **options) for k in range(3)]
    np.testing.assert_array_equal(drawn.refined, each[0])
    dataset = table.measure({"mine": (one, decoded, drawn)}, inputs, resize(shown, 64), shown)
    theirs = np.mean([load_scorer(run).score(resize(shown, 64), images) for images in each], axis=0)
    np.testing.assert_allclose(dataset.value.sel(system="mine"), theirs, rtol=1e-12)
    assert np.ptp([images.mean() for images in each]) > 0 and dataset.value.attrs["protocol"] == "native"
    assert "lifted" not in dataset and recipe.describe(one)["drawn"] == "no rough image, mean score of 3 samples"


def test_what_lifting_the_true_vector_draws_bounds_a_recipe_that_lifts(inputs, drawing, run):
    true, drawn = inputs.truth("vision_pooled")[1], {}
    for name, values in {"right": true, "wrong": true[::-1]}.items():
        np.save(file := run.root / f"{name}.npy", values)
        target = {"decoder": "planted_decoders:Oracle", "settings": {"file": str(file)}}
        write(run.root, name, targets={"vision_pooled": target}, generator={"rough": "none", "text_weight": 0, "n_samples": 2})
        one = recipe.load(name, run)
        decoded = brain.decode(one, inputs)
        drawn[name] = one, decoded, drawing.make(one, decoded, inputs)
    ceilings = [made.lifted for *_, made in drawn.values()]
    np.testing.assert_array_equal(*ceilings)
    once = drawn["right"][0].model_copy(update={"generator": drawn["right"][0].generator.model_copy(update={"n_samples": 1})})
    np.testing.assert_array_equal(drawing.make(once, drawn["right"][1], inputs).refined, ceilings[0])
    shown = inputs.subject.stimuli(inputs.test.ids)
    dataset = table.measure(drawn, inputs, resize(shown, 64), shown)
    assert list(dataset.ceiling) == ["right, true vector lifted", "wrong, true vector lifted"]
    theirs = load_scorer(run).score(resize(shown, 64), ceilings[0])
    np.testing.assert_array_equal(dataset.lifted, np.stack([theirs] * 2))
    scores = xr.concat([theirs] * 4, "system").assign_coords(
        system=["mean image", "nearest training image", "refined, all true", "refined"],
        role=("system", ["floor", "retrieval", "ceiling", "decoded"]),
        test_image=inputs.test.ids,
    )
    assert list(table.scores_table(dataset, scores, n_bootstrap=10).index)[-2:] == list(dataset.ceiling)


def test_images_are_found_by_the_embedding_of_another_clip_that_the_recipe_names(inputs, drawing, run):
    folder = run.root / "judge"
    shutil.copytree(run.root / "zoo" / "demo" / "features" / "clip", folder)
    targets = {"vision": {}, "clip": {"decoder": "planted_decoders:Oracle", "settings": {"file": str(run.root / "clip.npy")}}}
    generator = {"rough": "none", "text_weight": 0, "n_samples": 3}
    write(run.root, targets=targets, clip="judge", generator=generator)
    one, embed = recipe.load("mine", run), load_scorer(run).extractors["clip"]
    true = inputs.truth("clip", **one.truth_options | {"n_layers": 5, "model": "stable_diffusion"})
    for split, values in zip((inputs.train, inputs.test), true, strict=True):
        theirs = embed(inputs.subject.stimuli(split.ids))["pooled"]
        np.testing.assert_allclose(values, theirs / np.linalg.norm(theirs, axis=1, keepdims=True), rtol=1e-5, atol=1e-6)
    np.save(run.root / "clip.npy", true[1])
    decoded = brain.decode(one, inputs)
    np.testing.assert_array_equal(decoded.retrieval, true[1])
    drawn, ids, shown = drawing.make(one, decoded, inputs), inputs.test.ids, inputs.subject.stimuli(inputs.test.ids)
    dataset = table.measure({"mine": (one, decoded, drawn)}, inputs, resize(shown, 64), shown)
    assert dataset.target.item() == "clip" and (dataset.brain.sel(measure="image, top 1") == 1).all()
    noise = [drawing.run.diffusion_seeds[0] + number for number in range(3)]
    tokens = [drawing._tokens(one, kind, decoded, inputs) for kind in ("text", "vision")]
    grey, options = np.full((len(ids), 128, 128, 3), 128, np.uint8), one.generator.options(run)
    each = [drawing.stages.diffusion.refine(grey, *tokens, image_ids=ids, seed=seed, **options) for seed in noise]
    near = np.stack([(embed(images)["pooled"] / np.linalg.norm(embed(images)["pooled"], axis=1)[:, None] * true[1]).sum(1)
                     for images in each])  # fmt: skip
    np.testing.assert_array_equal(drawn.refined, np.stack([each[best][i] for i, best in enumerate(near.argmax(0))]))
    before = provenance._recipe_hashes(run, "mine")
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    assert provenance._recipe_hashes(run, "mine") != before
    places = [
        {"folder": place, "version": version, "device": "cpu"} for place, version in (("a", ["1"]), ("b", ["1"]), ("a", ["2"]))
    ]
    one, moved, other = (provenance.call_provenance(run, pictures.embedded_by, (shown,), place) for place in places)
    assert one == moved != other
    write(run.root, targets=targets, clip="nowhere", generator=generator)
    with pytest.raises(ValueError, match=r"mine.yaml: clip: .*nowhere is not a folder, wanted one with a CLIP and its config"):
        recipe.load("mine", run)
    for part in ({"targets": {"vision": {}}, "clip": "judge"}, {"targets": targets}):
        write(run.root, **part, generator=generator)
        with pytest.raises(ValueError, match=r"clip: the folder of another CLIP and a target clip, .* go together"):
            recipe.load("mine", run)


def test_contrastive_training_reaches_for_the_size_of_the_other_clip(inputs, run):
    write(run.root, targets={"vision": {}, "clip": {"decoder": "mindreader"}}, clip="zoo/demo/features/clip",
          generator={"rough": "none", "text_weight": 0})  # fmt: skip
    one = recipe.load("mine", run)
    settings, _ = brain._of_others("clip", one.targets["clip"], one, inputs, slice(None), "train")
    assert settings["n_features"] == inputs.truth("clip", **one.truth_options)[0].shape[1] and not one.is_pretrained("clip")


def test_a_decoder_that_standardises_the_test_patterns_gets_its_badge(inputs, run):
    own = {"decoder": "planted_decoders:Whitened"}
    write(run.root, targets={"latents": own, "text": {}, "vision": dict(own)}, n_layers=5)
    decoded = brain.decode(recipe.load("mine", run), inputs)
    assert decoded.badge == "transductive" and any("Whitened: predictions are not rescaled" in note for note in decoded.notes)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Short", r"Short: predict\(X\) returned shape \(8, 1087\), wanted \(8, 1088\), a row for each pattern"),
        ("Lost", "what planted_decoders:Lost predicts holds 8704 values that are not finite numbers"),
        ("Huge", "what planted_decoders:Huge predicts holds 8704 values that are not finite numbers"),
        ("Words", "what planted_decoders:Words predicts must be an array of real numbers, got <U"),
        ("Moody", r"planted_decoders:Moody: predict\(X\) raised KeyError: 'my own trouble'"),
        ("Stubborn", r"planted_decoders:Stubborn: fit\(X, Y\) raised ZeroDivisionError: division by zero"),
        ("Deaf", r"makes a Deaf without predict, wanted fit\(X, Y\) and predict\(X\)"),
    ],
)
def test_what_a_decoder_of_ones_own_gets_wrong_is_a_sentence(inputs, run, name, message):
    targets = {"latents": {}, "text": {}, "vision": {"decoder": f"planted_decoders:{name}"}}
    write(run.root, targets=targets, n_layers=5)
    with pytest.raises(ValueError, match=message):
        brain.decode(recipe.load("mine", run), inputs)


@pytest.mark.parametrize(("name", "n_parameters"), [("Careless", np.nan), ("Half", np.nan), ("Two", 31 * 3 + 3 * 1088)])
def test_a_decoder_of_ones_own_gets_arrays_of_its_own_and_all_its_numbers_are_counted(inputs, run, name, n_parameters):
    before = [values.copy() for values in (inputs.train.patterns, inputs.test.patterns, *inputs.truth("vision"))]
    targets = {"vision": {"decoder": f"planted_decoders:{name}"}}
    write(run.root, targets=targets, generator={"rough": "none", "text_weight": 0})
    decoded = brain.decode(recipe.load("mine", run), inputs)
    for old, new in zip(before, (inputs.train.patterns, inputs.test.patterns, *inputs.truth("vision")), strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_equal((decoded.badge, decoded.n_parameters), ("inductive", n_parameters))


def test_the_ten_lines_of_the_page_are_a_row(inputs, run):
    page = (ROOT / "book" / "your_own_decoder.md").read_text()
    module, text = (re.search(rf"```{kind}\n(.*?)```", page, re.DOTALL)[1] for kind in ("python", "yaml"))
    (run.root / "my_decoders.py").write_text(module)
    (run.root / recipe.FOLDER / "page.yaml").write_text(text.replace("50", "5").replace("200", "10"))  # of 40 images
    decoded = brain.decode(recipe.load("page", run), inputs)
    reduced = PCA(10, random_state=0).fit(inputs.train.patterns)
    theirs = TheirRidge(1.0).fit(reduced.transform(inputs.train.patterns), inputs.truth("vision")[0])
    np.testing.assert_allclose(decoded.targets["vision"], theirs.predict(reduced.transform(inputs.test.patterns)), atol=1e-4)
    assert decoded.badge == "inductive"


def test_a_ridge_without_intercept_lacks_the_training_mean(inputs, run):
    write(run.root, targets={"latents": {}, "text": {"intercept": False}, "vision": {"rescale": "none"}}, n_layers=5)
    decoded, train, test = brain.decode(recipe.load("mine", run), inputs), inputs.train, inputs.test
    for target, centre in {"text": 1.0, "vision": 0.0}.items():
        (Y, _), mean = inputs.truth(target), inputs.truth(target)[0].mean(0)
        theirs = TheirRidge(run.alphas[0]).fit(train.patterns, Y).predict(test.patterns) - centre * mean
        np.testing.assert_allclose(decoded.targets[target], theirs, atol=1e-4)


@pytest.fixture
def taught(inputs, run, monkeypatch):
    """Inputs of a run beside another subject, whose artifacts are planted: it saw the test images too, and others."""
    (run.root / "params" / "other.yaml").write_text(
        (ROOT / "params" / "small.yaml").read_text().replace("data/small", "data/other")
    )
    (run.root / "params" / "again.yaml").write_text((ROOT / "params" / "small.yaml").read_text())
    monkeypatch.setenv("NSDLIB_HOME", str(run.root))
    ids = np.concatenate([inputs.train.ids, inputs.test.ids])
    draw = np.random.default_rng(2).standard_normal
    X = draw((len(ids), 20)).astype(np.float32)
    X[-N_TEST:] += 100  # patterns of the test images, by which they can be told
    tokens = np.concatenate([inputs.train.tokens["vision"], inputs.test.tokens["vision"]])
    betas = xr.Dataset({"X_train": (("train_image", "voxel"), X)}, coords={"train_image": ids})
    kept = {"betas": betas, "embeddings": xr.Dataset({"vision_train": (("train_image", "token", "feature"), tokens)})}
    trials = xr.Dataset({"betas": (("trial", "voxel"), np.repeat(X, 3, 0))}, coords={"image_id": ("trial", np.repeat(ids, 3))})
    monkeypatch.setattr(Store, "load", lambda store, name: kept[name] if store.run.name == "other" else {}[name])
    monkeypatch.setattr(brain, "open_subject", lambda run: None)
    monkeypatch.setattr(brain, "load_trials", lambda *_: (None, trials))
    return brain.Inputs(**{**vars(inputs), "run": load_run("small", device="cpu").model_copy(update={"root": run.root})})


@pytest.mark.parametrize("rows", ["images", "trials"])
def test_other_subjects_teach_without_the_test_images(inputs, run, taught, rows, monkeypatch):
    target, given = {"decoder": "mindeye"}, []
    named = ["small", "again", "other"]  # itself, itself under another name, and another subject
    write(run.root, targets={"vision": target}, generator={"rough": "none", "text_weight": 0}, rows=rows, pretrain_on=named)
    one = recipe.load("mine", taught.run)
    monkeypatch.setattr(brain, "fit_and_predict", lambda *_, taught_by, **__: given.append(taught_by))
    monkeypatch.setattr(Store, "memoise", lambda store, function, **_: function)
    vars(taught)["trials"] = inputs.train.patterns, inputs.test.patterns, inputs.train.ids
    _, notes = brain._decode_target(one, "vision", one.targets["vision"], taught)
    ((X, Y, images),) = given[0]
    assert len(X) == N_TRAIN * (3 if rows == "trials" else 1)
    np.testing.assert_array_equal(Y, inputs.truth("vision")[0])
    np.testing.assert_array_equal(images, np.repeat(np.arange(N_TRAIN), len(X) // N_TRAIN))
    np.testing.assert_allclose(X.mean(0), 0, atol=1e-6)
    assert notes[-1] == "vision: pretrained on other (40 images)."


def test_what_other_subjects_teach_is_the_decoders_and_a_systems_version(inputs, run, project):
    (X, Y), test = (inputs.train.patterns, inputs.truth("vision")[0]), inputs.test.patterns
    options = {"decoder": "mindeye", "alphas": None, "intercept": True, "mode": "none", "seed": 0, "device": "cpu", "root": None}
    options["settings"] = {"n_features": 64, "n_epochs": 2, "width": 8, "projector_width": 8, "prior": False, "n_blocks": 0}
    alone, taught = (brain.fit(X, Y, taught_by=one, **options).predict(test, None) for one in ((), ((X, Y, np.arange(N_TRAIN)),)))
    assert np.abs(alone - taught).max() > 1e-3
    for name, others_of in (("mine", ["sim02", "demo"]), ("alone", [])):
        write(project, name, targets={"vision": {"decoder": "mindeye"}}, pretrain_on=others_of)
    (project / "zoo").symlink_to(ROOT / "zoo")
    after = {name: set(provenance.provenance(load_run("demo", recipes=[name]), "systems")["after"]) for name in ("mine", "alone")}
    assert after["mine"] - after["alone"] == {"sim02/betas", "sim02/embeddings"}
    for named, wrong in (
        ("sim2", "did you mean 'sim02'"),
        ("bids", "demo cannot be pretrained on bids"),
        ("subj02", "pretrained on subj02"),
    ):
        write(
            project,
            targets={"vision": {"decoder": "mindeye"}},
            generator={"rough": "none", "text_weight": 0},
            pretrain_on=[named],
        )
        with pytest.raises(ValueError, match=wrong):
            recipe.load("mine", load_run("demo"))


def test_voxels_are_chosen_by_regions_and_the_lack_of_them_is_noted(inputs):
    early, (note,) = inputs.voxels("early")
    assert early.sum() == 15 and "V1, V2 (15 of 30)" in note
    assert inputs.voxels("ventral")[0].sum() == 10 and inputs.voxels("all")[0].all()
    unknown = inputs.betas.assign_coords(region=["no region known"] * 3)
    bare = brain.Inputs(**{**vars(inputs), "betas": unknown})
    assert bare.voxels("ventral")[0].all() and "No region of this subject" in bare.voxels("ventral")[1][0]


@pytest.mark.parametrize(
    ("regions", "n_early", "n_ventral"),
    [
        (["V1v", "V2d", "FFA-1"], 15, 10),
        (["L_V1_ROI", "V3-rh", "hV4"], 15, 10),
        (["pericalcarine", "EarlyVis", "V3A"], 15, 10),
        (["V3ab", "early", "bodies"], 5, 20),
        (["hV4", "V3b", "LO1 (prf)"], 30, 25),
    ],
)
def test_early_regions_are_known_by_their_names_and_ventral_voxels_are_in_none(inputs, regions, n_early, n_ventral):
    inside = inputs.betas.in_region.copy()
    inside[2, 12:15] = True  # of the second one as well
    betas = inputs.betas.assign(in_region=inside).assign_coords(region=regions)
    named = brain.Inputs(**{**vars(inputs), "betas": betas})
    assert [named.voxels(which)[0].sum() for which in ("early", "ventral")] == [n_early, n_ventral]


def test_a_network_with_a_step_a_region_has_those_of_the_chosen_voxels(inputs, run):
    early, _ = inputs.voxels("early")
    for settings in ({}, {"width": 16}):
        target = recipe.Target(decoder="roi_gru", voxels="early", settings=settings)
        groups = brain._of_network(target, run, inputs, early)["groups"]
        assert len(groups) == 15 and len(np.unique(groups)) == 2


def test_images_are_found_by_the_target_that_the_recipe_names_alone(inputs, run, monkeypatch):
    both = ["decoded", "retrieval"]
    arrays = {"vision": xr.DataArray(np.zeros((1, N_TEST, 3)), dims=("use", "test_image", "target"), coords={"use": both[:1]})}
    arrays["text"] = xr.DataArray(np.ones((2, N_TEST, 5)), dims=("use", "test_image", "target"), coords={"use": both})
    about = {"badge": "inductive", "seconds": 0.0, "n_parameters": 0.0}
    monkeypatch.setattr(brain, "_decode_target", lambda recipe, target, *_: (arrays[target].assign_attrs(about), ()))
    asked = recipe.Recipe(name="mine", title="", paper="", generator={"rough": "none"}, targets={"text": {}, "vision": {}})
    np.testing.assert_array_equal(brain.decode(asked, inputs).retrieval, arrays["vision"][0])


def test_what_is_said_of_spread_and_epochs_is_what_was_done(inputs, run):
    targets = {"latents": {}, "text": {"rescale": "none"}, "vision": {"decoder": "mindeye"}}
    write(run.root, targets=targets, published_rescale="test", rows="trials", n_layers=5)
    one, ids = recipe.load("mine", run), inputs.train.ids
    said, settings = {}, []
    for mode in ("train", "test", "none"):
        known = brain.Inputs(**{**vars(inputs), "run": run.model_copy(update={"renormalise": mode}), "store": Kept(settings)})
        vars(known)["trials"] = inputs.train.patterns, inputs.test.patterns, ids
        said[mode] = [brain._decode_target(one, target, options, known)[1] for target, options in one.targets.items()]
    spread = "The published code rescales predictions by the spread of the test predictions; here "
    flatter = "latents: predictions are rescaled to single held-out trials, so those from means of several vary less."
    short = f"mindeye: {run.max_epochs} epochs (max_epochs of the run) instead of 240."
    assert said["train"] == [(spread + "the spread is that of held-out training trials.", flatter), (), (short,)]
    assert said["none"] == [(spread + "they are not rescaled.",), (), (short,)] and said["test"] == [(), (), (short,)]
    assert settings[2]["n_epochs"] == run.max_epochs < 240


@pytest.mark.parametrize(("sampler", "wanted"), [("ddim", True), ("unipc", False), ("dpm++", False)])
def test_a_faithful_run_is_so_for_the_sampler_that_was_published_alone(run, sampler, wanted):
    options = recipe.Generator(sampler=sampler).options(run.model_copy(update={"faithful": True}))
    assert options["faithful"] == wanted


def test_tables_of_a_run_without_the_papers_system_and_without_published_protocols():
    names, axes = ["mindeye", "takagi"], ("system", "metric", "test_image")
    values = 0.5 + 0.1 * np.random.default_rng(0).random((2, len(METRICS), 8))
    coords = {"system": names, "metric": list(METRICS), "own_protocol": ("system", ["", ""])}
    dataset = xr.Dataset({"value": (axes, values), "own": (axes, values)}, coords=coords)
    assert {pair for pair, _ in table.gains(dataset, n_bootstrap=20).index} == {"takagi - mindeye"}
    assert table.own_table(dataset, n_bootstrap=20).empty


def test_tokens_become_targets():
    tokens = np.random.default_rng(0).standard_normal((3, 5, 4))
    first, last = tokens[:, 0], tokens[:, -1]
    np.testing.assert_allclose(
        brain.as_target("vision_pooled", tokens), first / np.sqrt((first**2).sum(1, keepdims=True)), rtol=1e-5
    )
    np.testing.assert_allclose(brain.as_target("text_pooled", tokens), last / np.sqrt((last**2).sum(1, keepdims=True)), rtol=1e-5)
    lengths = np.linalg.norm(brain.as_target("retrieval", tokens).reshape(3, 5, 4), axis=2)
    np.testing.assert_allclose(lengths, 1, rtol=1e-5)


def test_the_best_sample_is_the_one_nearest_to_what_was_decoded():
    rng = np.random.default_rng(0)
    decoded, samples = rng.standard_normal((6, 9)), [rng.standard_normal((6, 9)) for _ in range(3)]
    best = np.array([2, 0, 1, 1, 2, 0])
    for image, sample in enumerate(best):
        samples[sample][image] = 5 * decoded[image] + 0.1 * rng.standard_normal(9)
    np.testing.assert_array_equal(pictures.pick_best(samples, decoded), best)
    np.testing.assert_array_equal(pictures.pick_best([samples[0]] * 2, decoded), 0)


def test_lifting_finds_the_tokens_that_follow_from_a_pooled_vector():
    rng = np.random.default_rng(0)
    weights, pooled = rng.standard_normal((6, 40)), pictures.unit(rng.standard_normal((300, 6)))
    tokens = (pooled @ weights).astype(np.float32)
    lifted = pictures.lift(pooled[:250], tokens[:250], 3 * pooled[250:])  # of whatever length
    np.testing.assert_allclose(lifted, tokens[250:], atol=0.01)


def test_retrieval_is_what_a_plain_loop_finds():
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((20, 5))
    decoded = truth + rng.standard_normal((20, 5))
    found = table.retrieve(decoded, truth)

    def cosine(a, b):
        return a @ b / np.sqrt((a @ a) * (b @ b))

    for image in range(20):
        by_pattern = sorted(range(20), key=lambda k: -cosine(decoded[image], truth[k]))
        by_image = sorted(range(20), key=lambda k: -cosine(decoded[k], truth[image]))
        for what, order in (("image", by_pattern), ("brain", by_image)):
            for k in (1, 5):
                assert found.sel(measure=f"{what}, top {k}")[image] == (image in order[:k])
    assert list(table.retrieve(decoded[:3], truth[:3]).measure) == ["image, top 1", "brain, top 1"]
    with pytest.raises(ValueError, match="predicted and true must be"):
        table.retrieve(decoded[:, 1:], truth)


def test_of_more_than_300_images_the_expected_share_of_draws_is_reported():
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((400, 3))
    decoded = truth + rng.standard_normal((400, 3))
    found = table.retrieve(decoded, truth).sel(measure=["image, top 1 of 300", "brain, top 1 of 300"])
    np.testing.assert_array_equal(found, retrieval(decoded, truth, among=300))


@pytest.mark.parametrize("n_images", [2, 3, 50])
def test_no_pair_stays(n_images):
    order = table.mispair(n_images, seed=1)
    assert sorted(order) == list(range(n_images)) and (order != np.arange(n_images)).all()


def test_images_are_blended_by_weight():
    first, second = np.full((1, 4, 4, 3), 200, np.uint8), np.full((1, 4, 4, 3), 100, np.uint8)
    assert (pictures.blend(first, second, 0.75) == 175).all()
    with pytest.raises(ValueError, match="one shape and a weight from 0 to 1"):
        pictures.blend(first, second, 1.5)


@pytest.mark.parametrize("name", recipe.names(ROOT))
def test_shipped_recipes_load_for_both_zoos_and_read_no_test_statistics(name):
    for run in (load_run("demo"), load_run("subj01")):
        one = recipe.load(name, run)
        assert all(part.rescale != "test" for part in one.targets.values())
        assert (one.deviations or one.published_rescale) and all(sentence[0].isupper() for sentence in one.deviations)
        told = [sentence for sentence in one.deviations if sentence.startswith("In the demo zoo: ")]
        assert not told or run.zoo == "demo"


def test_what_the_demo_changes_is_told(run):
    write(
        run.root,
        generator={"n_steps": 50, "text_weight": 0.5},
        demo={"generator": {"n_steps": 7}, "targets": {"text": {"alphas": [3]}}},
    )
    one = recipe.load("mine", run)
    assert one.generator.n_steps == 7 and one.generator.text_weight == 0.5 and one.targets["text"].alphas == (3,)
    assert one.deviations == ("In the demo zoo: generator.n_steps 7 (published 50), targets.text.alphas 3",)
    full = recipe.load("mine", run.model_copy(update={"zoo": "paper"}))
    assert full.generator.n_steps == 50 and full.deviations == ()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"targets": 3}, r"mine.yaml: targets must hold lines 'setting: value', or {}, but it holds 3"),
        ({"targets": {"text": None}}, r"targets.text must hold lines 'setting: value'"),
        ({"demo": [1]}, r"mine.yaml: demo: demo must hold lines"),
        ({"demo": {"generator": 1}}, r"mine.yaml: demo: generator must hold lines"),
        ({"deviations": "none"}, r"deviations must be a list of sentences, each after a '-'"),
        ({"titles": "x"}, r"mine.yaml: 'titles' is not a setting: did you mean 'title'"),
        ({"targets": {"texts": {}}}, "'texts' is not a target: did you mean 'text'"),
        ({"targets": {"text": {"alpha": [1]}}}, "targets.text: 'alpha' is not a setting: did you mean 'alphas'"),
        ({"targets": {"text": {"decoder": "rigde"}, "vision": {}, "latents": {}}}, "no decoder 'rigde': did you mean 'ridge'"),
        ({"generator": {"strength": 2}}, "generator.strength: Input should be less than or equal to 1, got 2"),
        ({"targets": {"text": {}, "vision": {}}}, "vdvae needs the target latents, which is not decoded"),
        ({"targets": {"latents": {}}}, "nothing to refine with, wanted text, vision"),
        ({"targets": {"latents": {}, "text": {}}}, "no vision is decoded, wanted 1, only the other kind"),
        (
            {"targets": {"latents": {"decoder": "mindeye"}, "text": {}, "vision": {}}, "pretrain_on": ["sim02"]},
            "pretrain_on: only mindeye can be pretrained, and it decodes no target of the run's CLIP",
        ),
        (
            {"targets": {"latents": {}, "text": {}}, "generator": {"text_weight": 1, "n_samples": 2}},
            "n_samples: the best sample is the closest to decoded vision, and none is decoded",
        ),
        (
            {"targets": {"text": {"decoder": "nowhere_at:all"}, "vision": {}, "latents": {}}},
            "No module named 'nowhere_at'; wanted",
        ),
        (
            {"targets": {"text": {"decoder": "planted_decoders:Oracel"}, "vision": {}, "latents": {}}},
            "planted_decoders has no 'Oracel': did you mean 'Oracle'",
        ),
        *(
            ({"targets": {"text": target, "vision": {}, "latents": {}}}, f"targets.text: {message}")
            for target, message in (
                ({"settings": {"alpha": 3}}, "settings: a ridge has none, wanted alphas"),
                ({"decoder": "gru", "alphas": [3]}, "alphas and intercept are those of a ridge, and the decoder is 'gru'"),
                ({"decoder": "planted_decoders:Whitened", "intercept": False}, "alphas and intercept are those of a ridge"),
                ({"decoder": "mindeye", "rescale": "train"}, "rescale: predictions of 'mindeye' are not rescaled"),
                (
                    {"decoder": "gru", "settings": {"wide": 9}},
                    "settings of gru: 'wide' is not a setting of it: did you mean 'width'",
                ),
                (
                    {"decoder": "gru", "settings": {"recipe": "oura"}},
                    "settings of gru: no training recipe 'oura'; did you mean 'ours'",
                ),
                ({"decoder": "cnn", "settings": {"width": 256}}, "settings of cnn: 'width' is not a setting of it"),
                ({"decoder": "gru", "settings": {"max_epochs": 0}}, "settings of gru: wanted at least one epoch"),
                ({"decoder": "gu", "settings": {"seed": 1}}, "settings of gu: 'seed' is not a setting of it"),
                ({"decoder": "mindeye", "settings": {"n_epochs": 0}}, "settings of mindeye: n_epochs of 'mindeye' must be at"),
                ({"decoder": "mindeye", "settings": {"depth": 1.5}}, "settings of mindeye: depth must be of type int, got 1.5"),
                ({"decoder": "planted_decoders:Oracle"}, "settings of planted_decoders:Oracle: missing a required"),
            )
        ),
        ({"targets": {"text": {"decoder": "planted_decoders:NUMBER"}, "vision": {}, "latents": {}}}, "is a int, wanted a class"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_in_words(run, fields, message):
    write(run.root, **fields)
    with pytest.raises(ValueError, match=message):
        recipe.load("mine", run)


@pytest.mark.parametrize(
    ("text", "message"), [("1 / 0\n", "ZeroDivisionError: division"), ("class A(:\n", "SyntaxError: invalid")]
)
def test_a_module_whose_import_fails_is_named(run, text, message):
    (run.root / "failing_decoders.py").write_text(text)
    with pytest.raises(ValueError, match=rf"^here: decoder 'failing_decoders:A': its import raised {message}"):
        own.find("failing_decoders:A", run.root, where="here")


def test_a_decoder_that_was_edited_after_its_import_is_refused(run):
    file = run.root / "edited_decoders.py"
    file.write_text("from edited_below import Mine\n")
    (run.root / "edited_below.py").write_text("class Mine: pass\n")
    made = own.find("edited_decoders:Mine", run.root)
    assert own.find("edited_decoders:Mine", run.root) is made
    (run.root / "edited_below.py").write_text("class Mine: new = True\n")
    with pytest.raises(ValueError, match=r"^here: edited_below.py was edited after this kernel had imported it: restart"):
        own.find("edited_decoders:Mine", run.root, where="here")


def test_a_decoder_that_was_imported_before_and_may_have_been_edited_is_refused(run, monkeypatch):
    (run.root / "known_decoders.py").write_text("Mine = dict\n")
    monkeypatch.syspath_prepend(run.root)
    importlib.import_module("known_decoders")
    with pytest.raises(ValueError, match=r"known_decoders.py was edited after"):
        own.find("known_decoders:Mine", run.root)


@pytest.mark.parametrize("name", ["seen", "best floor", "mindeye, permuted"])
def test_a_recipe_is_not_called_as_another_row_is(run, name):
    write(run.root, name)
    with pytest.raises(ValueError, match=f"{name}.yaml: wanted a name of letters, digits, - and _, other than that of the row"):
        recipe.load(name, run)
    (run.root / recipe.FOLDER / f"{name}.yaml").unlink()


def test_an_unknown_recipe_and_a_broken_file_are_refused(run):
    with pytest.raises(ValueError, match="no recipe 'veronse': did you mean 'veronese'"):
        recipe.load("veronse", run)
    (run.root / recipe.FOLDER / "broken.yaml").write_text("- 1\n")
    with pytest.raises(ValueError, match=r"broken.yaml must hold lines 'field: value', but it holds a list"):
        recipe.load("broken", run)
    (run.root / recipe.FOLDER / "broken.yaml").write_text("a: [1\n")
    with pytest.raises(ValueError, match=r"broken.yaml is not valid YAML"):
        recipe.load("broken", run)


def test_without_captions_recipes_are_guided_by_vision_alone_and_those_that_find_by_text_are_refused(run):
    bids = load_run("bids")
    bare = bids.model_copy(update={"root": run.root, "bids": bids.bids.model_copy(update={"captions": None})})
    with pytest.raises(
        ValueError, match=r"takagi_intercept.yaml: .* by text, and bids has no captions: leave it out of `recipes`"
    ):
        recipe.load("takagi_intercept", bare)
    write(run.root, targets={"latents": {}, "text": {}, "retrieval": {}}, generator={"text_weight": 1})
    with pytest.raises(ValueError, match=r"mine.yaml: Mine retrieves or draws images by text, and bids has no captions"):
        recipe.load("mine", bare)
    one = recipe.load("brain_diffuser", bare)
    assert one.generator.text_weight == 0 and "not by text at a weight of 0.4" in one.deviations[0]
    assert recipe.load("brain_diffuser", run).generator.text_weight == 0.4


def test_more_layers_than_were_kept_are_refused(inputs, run):
    write(run.root, n_layers=31)
    with pytest.raises(ValueError, match=r"n_layers=31 are .* add 31 to layer_counts"):
        brain.decode(recipe.load("mine", run), inputs)


def test_the_artifact_changes_with_a_recipe_and_with_ones_own_decoder(project):
    (project / "mine.py").write_text("A = 1\n")
    write(project, targets={"text": {"decoder": "mine:A"}})
    (project / "zoo").symlink_to(ROOT / "zoo")
    seen = [artifact_hash(load_run("small", recipes=["mine"]), "systems")]
    (project / "mine.py").write_text("A = 2, 3\n")
    seen.append(artifact_hash(load_run("small", recipes=["mine"]), "systems"))
    write(project, targets={"text": {"decoder": "mine:A"}}, n_layers=3)
    seen.append(artifact_hash(load_run("small", recipes=["mine"]), "systems"))
    assert len(set(seen)) == 3 and provenance.find_step("systems").notebook == "10_systems_side_by_side"


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ('text: {"decoder": "mine:A"}', "mine.py"),
        ("text: {decoder : mine:A}", "mine.py"),
        ("text:\n    decoder:\n      mine:A", "mine.py"),
        ("text: {decoder: lab.mine:A}", "lab/mine.py"),
        ("text: {decoder: lab:A}", "lab/__init__.py"),
        ("text: {decoder: lab:A}", "lab/below/deep.py"),
        ("text: {decoder: shown:A}", "mine.py"),  # which shown.py imports
    ],
)
def test_however_ones_own_decoder_is_named_its_files_count(tmp_path, line, file):
    for path in (tmp_path / "mine.py", tmp_path / "lab" / "mine.py", tmp_path / "lab" / "below" / "deep.py"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("A = 1\n")
    (tmp_path / "lab" / "__init__.py").write_text("from lab.mine import A\nimport nsdlib, numpy\n")
    (tmp_path / "shown.py").write_text("from mine import A\n")
    (recipe_file := tmp_path / recipe.FOLDER / "own.yaml").parent.mkdir(parents=True)
    recipe_file.write_text(f"targets:\n  {line}\n  vision: {{decoder: ridge}}\n")
    assert {recipe_file, tmp_path / file} <= set(sources.recipe_files(tmp_path, "own"))
    assert not any("nsdlib" in path.name for path in sources.recipe_files(tmp_path, "own"))


def test_a_recipe_that_says_it_names_no_other_clip_has_its_own_file_alone(tmp_path):
    (recipe_file := tmp_path / recipe.FOLDER / "own.yaml").parent.mkdir(parents=True)
    recipe_file.write_text("clip: ''\ntargets:\n  vision: {decoder: ridge}\n")
    (tmp_path / "large.npy").touch()
    assert sources.recipe_files(tmp_path, "own") == [recipe_file]
