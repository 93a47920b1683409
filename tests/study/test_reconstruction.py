"""Both stages with small stand-in models: the inputs of each system, and that an image decoded alone gives the same result."""

import numpy as np
import pytest
import xarray as xr
from sklearn.linear_model import Ridge as Peer

from nsdlib.params import load_run
from nsdlib.store.store import Store
from nsdlib.study import reconstruction
from nsdlib.study.reconstruction import ROLES, STORED, Split

RNG = np.random.default_rng(0)
N_TRAIN, N_TEST, N_VOXELS, N_LATENTS, SIZE = 60, 9, 30, 6, 8


def split(n_images, first_id, weights):
    """Images whose latents and tokens follow from their patterns, but for a little noise."""
    patterns = RNG.standard_normal((n_images, N_VOXELS)).astype(np.float32)
    every = patterns @ weights + 0.01 * RNG.standard_normal((n_images, weights.shape[1])).astype(np.float32)
    tokens = {"text": every[:, 6:14].reshape(-1, 2, 4), "vision": every[:, 14:].reshape(-1, 3, 4)}
    return Split(np.arange(n_images) + first_id, patterns, every[:, :N_LATENTS], tokens)


@pytest.fixture(scope="module")
def splits():
    weights = RNG.standard_normal((N_VOXELS, 26)).astype(np.float32)
    return split(N_TRAIN, 100, weights), split(N_TEST, 500, weights)


@pytest.fixture
def run():
    return load_run("small").model_copy(update={"alphas": (0.1,), "renormalise": "none", "device": "cpu"})


class Stages:
    """Draws the mean latent as a grey level; refining adds the mean of the text tokens."""

    def draw(self, latents, ids):
        assert len(latents) == len(ids)
        return np.broadcast_to((100 + latents.mean(1)).astype(np.uint8)[:, None, None, None], (len(ids), SIZE, SIZE, 3))

    def refine(self, rough, tokens, ids, **changed):
        assert len(rough) == len(ids) and list(tokens) == list(reconstruction.KINDS)
        return (rough + 10 * tokens["text"].mean((1, 2))[:, None, None, None]).astype(np.uint8)


def stimuli(ids):
    """Each image is as grey as its id says."""
    return np.broadcast_to((ids % 200).astype(np.uint8)[:, None, None, None], (len(ids), 2 * SIZE, 2 * SIZE, 3)).copy()


def test_a_split_takes_its_own_images_and_the_first_latents(splits):
    train, _ = splits
    betas = xr.Dataset({"X_train": (("train_image", "voxel"), train.patterns)}, coords={"train_image": train.ids})
    targets = xr.Dataset({"latents_train": (("train_image", "latent"), train.latents)})
    tokens = {f"{kind}_train": (("train_image", f"{kind}_token", "feature"), values) for kind, values in train.tokens.items()}
    taken = Split.of("train", betas, targets, xr.Dataset(tokens), n_latents=4)
    assert (taken.latents == train.latents[:, :4]).all() and (taken.ids == train.ids).all()
    assert all((taken.tokens[kind] == train.tokens[kind]).all() for kind in reconstruction.KINDS)


def test_tokens_are_decoded_as_scikit_learn_does(splits, run):
    train, test = splits
    decoded = reconstruction.decode_tokens(train, test.patterns, run=run)
    for kind, tokens in train.tokens.items():
        peer = Peer(alpha=0.1).fit(train.patterns, tokens.reshape(N_TRAIN, -1)).predict(test.patterns)
        np.testing.assert_allclose(decoded[kind].reshape(N_TEST, -1), peer, atol=1e-3)
        assert np.corrcoef(decoded[kind].ravel(), test.tokens[kind].ravel())[0, 1] > 0.99  # as planted


@pytest.mark.parametrize(("mode", "kind"), [("train", "inductive"), ("test", "transductive")])
def test_the_linter_is_asked_about_the_tokens_as_they_are_used(splits, run, mode, kind):
    train, test = splits
    reports = reconstruction.check_tokens(train, test, run=run.model_copy(update={"renormalise": mode}))
    assert {name: (penalty, report.kind) for name, (penalty, report) in reports.items()} == dict.fromkeys(
        reconstruction.KINDS, (0.1, kind)
    )


def test_ceilings_are_made_from_what_is_true(splits):
    _, test = splits
    stages, rough = Stages(), np.full((N_TEST, SIZE, SIZE, 3), 50, np.uint8)
    ceilings = reconstruction.ceilings(stages, test, rough)
    drawn = stages.draw(test.latents, test.ids)
    assert (ceilings["rough, true latents"] == drawn).all()
    assert (ceilings["refined, true CLIP"] == stages.refine(rough, test.tokens, test.ids)).all()
    assert (ceilings["refined, all true"] == stages.refine(drawn, test.tokens, test.ids)).all()


def test_the_noise_of_the_diffusion_is_told_from_what_images_differ_in():
    n_seeds, n_images = 5, 400
    values = RNG.normal(0, 0.3, size=(1, n_images)) + RNG.normal(0, 0.2, size=(n_seeds, n_images))
    values = xr.DataArray(values[:, None], dims=("diffusion_seed", "metric", "test_image"), coords={"metric": ["ssim"]})
    row = reconstruction.spread_over_seeds(values).loc["ssim"]
    assert row["SD within an image"] == pytest.approx(0.2, abs=0.01)
    assert row["SD between images"] == pytest.approx((0.3**2 + 0.2**2 / n_seeds) ** 0.5, abs=0.03)
    assert row["independent noise predicts"] == pytest.approx(row["SD within an image"] / 20)
    means = values.mean("test_image")[:, 0].values
    assert row["SD of the seeds' means"] == pytest.approx(means.std(ddof=1)) and row["mean"] == pytest.approx(means.mean())
    alone = reconstruction.spread_over_seeds(values[:1]).loc["ssim"]
    assert alone.isna().tolist() == [False, False, True, True, True]


def test_scores_keep_the_order_of_systems_and_the_ids():
    def score(truth, images):
        return xr.DataArray((images == truth).mean((1, 2, 3))[None], dims=("metric", "test_image"))

    stimulus, ids = stimuli(np.arange(5)), np.arange(5) + 7
    systems = {"same": stimulus, "other": stimulus + 1}
    scores = reconstruction.score_all(score, stimulus, systems, ids=ids, along="which")
    assert scores.dims == ("which", "metric", "test_image") and scores.which.values.tolist() == ["same", "other"]
    assert scores.sel(which="same").values.tolist() == [[1] * 5] and not scores.sel(which="other").any()
    assert (scores.test_image == ids).all()


def test_the_artifact_holds_every_system_that_later_notebooks_read(splits):
    _, test = splits
    systems = [name for name in ("stimulus", *ROLES) if name in STORED.values()]
    images = {name: np.full((N_TEST, 2, 2, 3), k, np.uint8) for k, name in enumerate(systems)}
    dataset = reconstruction.as_dataset(images, test.tokens, ids=test.ids, nearest=test.ids)
    assert all((dataset[array].values == images[name]).all() for array, name in STORED.items())
    assert dataset.text_pred.dtype == np.float16 and dataset.text_pred.shape == (N_TEST, 2, 4)
    assert set(STORED.values()) - {"stimulus"} <= set(ROLES)
    large = {"vision": np.ones((N_TEST, 3, 4), np.float32)}
    large["vision"][1, 2, 3] = 65_521  # the first that float16 makes infinite
    with pytest.raises(ValueError, match=rf"decoded vision tokens holds 1 values .* in images {test.ids[1]}$"):
        reconstruction.as_dataset(images, large, ids=test.ids, nearest=test.ids)


def test_an_image_alone_is_what_it_was_among_others(tmp_path):
    run = load_run("small").model_copy(update={"store": tmp_path, "device": "cpu"})
    stages = reconstruction.TwoStages(run, Store(run))
    ids, rng = np.array([3, 8]), np.random.default_rng(1)
    latents = rng.standard_normal((2, stages.vdvae.n_latents(5))).astype(np.float32)
    tokens = {kind: rng.standard_normal((2, *empty.shape[1:])).astype(np.float32) for kind, empty in
              zip(reconstruction.KINDS, stages.diffusion.unconditional, strict=True)}  # fmt: skip
    refined = stages.refine(stages.draw(latents, ids), tokens, ids)
    alone = stages.refine_one(latents, tokens, ids, 1)
    assert np.abs(alone.astype(int) - refined[1].astype(int)).max() <= 2
    assert len(list(tmp_path.glob("kept-*"))) == 2  # what was drawn and what was refined; nothing of the one alone
    other = stages.refine(stages.draw(latents, ids), tokens, ids, seed=run.diffusion_seeds[1])
    assert (other[0] != refined[0]).any() and (other[1] != refined[1]).any()
    changed = stages.refine(stages.draw(latents, ids), tokens, ids, guidance=0.0)
    assert (changed != refined).any()
