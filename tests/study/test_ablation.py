"""Comparison of decoders: planted truth, sums computed with numpy, and images held out from every fit."""

import tracemalloc

import numpy as np
import pytest

from nsdlib.core import networks
from nsdlib.core.ridge import Ridge
from nsdlib.params import load_run
from nsdlib.study import ablation, latents

pytestmark = pytest.mark.numerical

SETTINGS = {"max_epochs": 2, "batch_size": 16, "alphas": (1.0,), "device": "cpu"}


@pytest.fixture(scope="module")
def planted():
    """Patterns, latents that are a linear map of them and of noise, for training and test."""
    rng = np.random.default_rng(8)
    X = rng.standard_normal((160, 30)).astype(np.float32)
    Y = X[:, :5] @ rng.standard_normal((5, 14)) + 0.5 * rng.standard_normal((160, 14)) + 2
    Y = Y.astype(np.float32)
    return (X[:120], Y[:120]), (X[120:], Y[120:])


@pytest.fixture(scope="module")
def fits(planted):
    return {name: ablation.fit_seeds(name, planted[0], seeds=(0, 3), **SETTINGS) for name in ("gru", "ridge")}


def test_validation_images_are_predicted_by_a_ridge_that_has_not_seen_them(planted, fits):
    X, Y = planted[0]
    for one in fits["ridge"]:
        rest = np.setdiff1d(np.arange(len(X)), one.rows)
        expected = Ridge((1.0,)).fit(X[rest], Y[rest]).predict(X[one.rows])
        np.testing.assert_allclose(one.validation, expected, rtol=1e-5, atol=1e-5)
    assert fits["ridge"][0].decoder is fits["ridge"][1].decoder
    assert set(fits["ridge"][0].rows) != set(fits["ridge"][1].rows)


def test_validation_images_have_no_say_in_the_penalty_of_that_ridge(planted):
    (X, Y), alphas = planted[0], tuple(np.linspace(0.5, 3, 200))
    one = ablation.fit_seeds("ridge", (X, Y), seeds=(1,), **SETTINGS | {"alphas": alphas})[0]
    rest = np.setdiff1d(np.arange(len(X)), one.rows)
    without = Ridge(alphas).fit(X[rest], Y[rest])
    assert without.alpha != one.decoder.alpha
    np.testing.assert_array_equal(one.validation, without.predict(X[one.rows]))


def test_validation_errors_of_a_network_are_those_that_stopped_it(planted, fits):
    Y = planted[0][1]
    for one in fits["gru"]:
        assert one.decoder.scale == pytest.approx(Y.std(dtype=np.float64))
        error = np.square(one.validation - Y[one.rows]).mean() / one.decoder.scale**2
        assert error == pytest.approx(min(one.decoder.history.errors), rel=1e-5)
    assert fits["gru"][0].decoder is not fits["gru"][1].decoder


def test_watching_a_network_changes_nothing(planted, fits):
    alone = networks.make("gru", seed=3, **SETTINGS).fit(*planted[0])
    np.testing.assert_array_equal(alone.predict(planted[1][0]), fits["gru"][1].decoder.predict(planted[1][0]))


def test_scores_are_the_means_of_the_images(planted, fits):
    found = ablation.compare(fits, *planted)
    X, Y = planted[1]
    for name in fits:
        errors = [fits[name][seed].decoder.predict(X) - Y for seed in (0, 1)]
        np.testing.assert_allclose(
            found.scores.sel(decoder=name, split="test", measure="mae"), [np.abs(e).mean() for e in errors], rtol=1e-5
        )
        np.testing.assert_allclose(
            found["errors"].sel(decoder=name, measure="mse"), np.mean([np.square(e).mean(1) for e in errors], 0), rtol=1e-5
        )
    floor = np.square(planted[0][1].mean(0) - Y).mean()
    assert found.floor_scores.sel(split="test", measure="mse").values == pytest.approx([floor, floor], rel=1e-5)
    assert found.sizes["seed"] == 2 and set(found.split.values) == {"validation", "test"}


def test_explained_variance_is_scikit_learns(planted, fits):
    from sklearn.metrics import r2_score

    X, Y = planted[1]
    predicted = fits["ridge"][0].decoder.predict(X)
    mean = Y.mean(0)  # of the same images: then the floor is the variance, and the share R2
    errors, floor = (np.square(Y - other).mean(1) for other in (predicted, mean))
    found = ablation.explained_variance(errors, floor, n_bootstrap=300)
    assert found["mean"] == pytest.approx(r2_score(Y, predicted, multioutput="variance_weighted"), rel=1e-4)
    assert found["low"] < found["mean"] < found["high"] and found["n"] == 40
    layers = latents.explained_by_layer(Y, predicted, mean, sizes=[4, 10])
    parts = [r2_score(Y[:, p], predicted[:, p], multioutput="variance_weighted") for p in (slice(4), slice(4, 14))]
    np.testing.assert_allclose(layers, parts, rtol=1e-4)


def test_options_are_fields_of_the_run():
    run = load_run("small", device="cpu")
    found = ablation.options(run)
    assert found["alphas"] == run.alphas and found["max_epochs"] == run.max_epochs and str(found["device"]) == "cpu"


def test_refusals(planted):
    with pytest.raises(ValueError, match="no decoder 'grru'; did you mean 'gru'"):
        ablation.fit_seeds("grru", planted[0], seeds=(0,), **SETTINGS)
    with pytest.raises(ValueError, match=r"the same shape.*got \(2, 3\) and \(2, 4\)"):
        ablation.image_errors(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="n_latents=3, got 4 in 2"):
        latents.explained_by_layer(np.zeros((2, 3)), np.zeros((2, 3)), np.zeros(3), sizes=[2, 2])


def test_regions_are_asked_alone_and_left_out():
    """Two regions, each with a signal of its own, one voxel that belongs to none."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 21)).astype(np.float32)
    in_region = np.zeros((2, 21), dtype=bool)
    in_region[0, :10], in_region[1, 10:20] = True, True
    layout, meaning = (X[:, own] @ rng.standard_normal((10, 8)) for own in in_region)
    parts = {name: (Y[:200], Y[200:]) for name, Y in (("layout", layout), ("meaning", meaning))}
    told = ablation.by_region((X[:200], X[200:]), in_region, parts, alphas=[0.1, 1.0]).mean("test_image")
    assert told.dims == ("target", "used", "region") and told.shape == (2, 2, 3)
    own = np.array([[True, False], [False, True]])
    alone, without = (told.sel(used=used).values[:, :2] for used in ("alone", "without"))
    assert (alone[own] > 0.99).all() and (abs(alone[~own] - 0.5) < 0.1).all()
    assert (abs(without[own] - 0.5) < 0.1).all() and (without[~own] > 0.99).all()
    assert (told.sel(used="alone")[:, 2] > 0.99).all() and (told.sel(used="without")[:, 2] == 0.5).all()


def test_kernels_of_many_regions_are_not_held_at_once():
    rng = np.random.default_rng(0)
    X, in_region = rng.standard_normal((330, 24)).astype(np.float32), np.eye(8, dtype=bool).repeat(3, axis=1)
    tracemalloc.start()
    ablation.by_region((X[:300], X[300:]), in_region, {"itself": (X[:300], X[300:])}, alphas=[1.0])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 300**2 * 8  # bytes of four kernels


def test_systems_are_the_decoders_two_ridges_their_mean_with_the_gru_and_rivals(planted):
    (X, Y), (X_test, _) = planted
    changed = {"alphas": (0.1, 1.0), "max_epochs": 1, "decoder_seeds": (0, 3), "device": "cpu"}
    run, in_region = load_run("small").model_copy(update=changed), np.ones((1, 30), bool)
    found = ablation.fit_systems(run, (X, Y), in_region=in_region)
    assert list(found) == [*networks.DECODERS, "ridge, 50,000", "ridge and gru"]
    strong = Ridge((50_000.0,)).fit(X, Y)
    np.testing.assert_array_equal(found["ridge, 50,000"][0].decoder.predict(X_test), strong.predict(X_test))
    for seed, one in enumerate(found["ridge and gru"]):
        parts = [found[name][seed] for name in ("ridge", "gru")]
        both = np.mean([part.decoder.predict(X_test) for part in parts], axis=0)
        np.testing.assert_allclose(one.decoder.predict(X_test), both, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(one.decoder.held_out.mean, one.validation.mean(0), atol=1e-5)
        assert (one.rows == parts[1].rows).all() and not one.decoder.finished  # after one epoch
    run = run.model_copy(update={"rivals": True})
    (public,), recipe = ablation.fit_systems(run, (X, Y), in_region=in_region)["gru, public code"][:1], "public_code"
    alone = networks.make("gru", seed=0, max_epochs=1, batch_size=run.batch_size, recipe=recipe).fit(X, Y)
    np.testing.assert_array_equal(public.decoder.predict(X_test), alone.predict(X_test))
    assert public.decoder.scale == 1 and public.decoder.recipe == recipe
