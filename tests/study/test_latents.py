"""Decoded latents: training, differences and numbers of layers, with planted errors and a small VDVAE."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from nsdlib.core.training import PATIENCE_STOP, History
from nsdlib.params import load_run
from nsdlib.store.zoo import load_vdvae
from nsdlib.study import ablation, latents

BOOTSTRAP = {"n_bootstrap": 100, "seed": 0}


def network(best, last, *, error=1.0):
    """A network of so many epochs whose validation error, in units of the latents' variance of 4, falls to the best one."""
    errors = error + np.abs(np.arange(1, last + 1) - best)
    return SimpleNamespace(history=History(tuple(errors), (0.1,) * best), scale=2.0)


@pytest.fixture
def compared():
    """The artifact of a GRU and a CNN with histories that are planted, and of a ridge, with two seeds; latents of variance 4."""
    Y = 2 * (-1.0) ** np.add.outer(np.arange(40), np.arange(8))
    train = test = (Y, Y)
    histories = {"gru": [(8, 8 + PATIENCE_STOP)] * 2, "cnn": [(8, 8 + PATIENCE_STOP), (19, 20)], "ridge": [None, None]}
    ridge = SimpleNamespace(alpha=10.0)
    fits = {}
    for name, by_seed in histories.items():
        decoders = [network(*epochs) if epochs else ridge for epochs in by_seed]
        for decoder in decoders:
            decoder.predict = lambda X: X + 0.5
        fits[name] = [ablation.Fitted(decoder, np.arange(4), Y[:4] + 1, 2.0) for decoder in decoders]
    return ablation.compare(fits, train, test)


def test_a_network_that_max_epochs_ended_was_cut_off(compared):
    table = latents.training_table(compared)
    assert table.loc["cnn", "best epoch"] == f"8 of {8 + PATIENCE_STOP}, 19 of 20"
    assert table.ended.to_dict() == {"gru": "by itself", "cnn": "cut off by max_epochs", "ridge": ""}
    assert table.penalty.to_dict() == {"gru": "", "cnn": "", "ridge": "10"} and set(table["seconds a fit"]) == {"2.0"}
    assert compared.finished.values.tolist() == [[True, True], [True, False], [True, True]]


def test_curves_have_the_unit_of_the_latents_and_tables_the_means(compared):
    curves, lines = latents.learning(compared)
    assert list(curves) == ["gru", "cnn"] and set(lines) == {"ridge", "mean latent"}
    assert len(curves["gru"]) == 8 + PATIENCE_STOP
    assert curves["gru"].min() == 4.0  # an error of 1, in units of the variance
    assert lines["ridge"] == 1.0
    table = latents.error_table(compared)
    assert list(table.index) == ["gru", "cnn", "ridge", "mean latent"]
    assert table.loc["cnn", ("test", "mse")] == 0.25 and table.loc["cnn", ("validation", "mae")] == 1.0
    assert table.loc["mean latent", ("test", "mse")] == 4


def test_a_question_about_a_network_that_was_cut_off_gets_no_answer(compared):
    sign = np.array([0.1, 0.2, 0.3])[:, None, None]
    noise = 0.01 * np.random.default_rng(0).standard_normal((3, 2, 40))
    compared["errors"] = compared["errors"].copy(data=sign + noise)
    compared["errors"].loc["ridge", "mae"] = 0.1 + noise[0, 1][::-1]
    compared.scores.loc["gru", :, "test"] -= 0.2
    pairs = (("gru", "ridge"), ("gru", "cnn"), ("gru", "another"))
    table = latents.decoder_verdicts(compared, pairs, **BOOTSTRAP)
    assert table.verdict.tolist() == ["gru is better", "cannot be told apart", *["none: cut off by max_epochs"] * 2]
    assert table.loc[("gru - ridge", "MSE"), "difference [95 %]"].startswith("-0.2")
    by_seed = compared.scores.sel(split="test", measure="mse")
    wanted = (by_seed.sel(decoder="gru") - by_seed.sel(decoder="ridge")).values
    found = [float(text) for text in table.loc[("gru - ridge", "MSE"), "of each seed"].split(", ")]
    np.testing.assert_allclose(found, wanted, atol=5e-5)


def test_a_difference_that_one_seed_contradicts_is_none(compared):
    compared["errors"] = compared["errors"] + np.array([0.0, 0.0, 0.1])[:, None, None]
    compared.scores.loc["ridge", :, "test"] += np.array([[-0.1], [0.3]])
    answers = latents.decoder_verdicts(compared, [("gru", "ridge")], **BOOTSTRAP)
    assert answers.verdict.tolist() == ["seeds disagree"] * 2
    assert answers["of each seed"].tolist() == ["+0.1000, -0.3000"] * 2


def test_differences_of_errors_are_those_that_were_planted():
    noise = 0.001 * np.random.default_rng(0).standard_normal((3, 2, 50))
    errors = xr.DataArray(
        noise + np.array([0.0, 0.1, -0.1])[:, None, None],
        dims=("decoder", "measure", "test_image"),
        coords={"decoder": ["gru", "ridge", "cnn"], "measure": ["mse", "mae"]},
    )
    table = latents.error_differences(errors, [("gru", "ridge"), ("gru", "cnn"), ("cnn", "other")], **BOOTSTRAP)
    np.testing.assert_allclose(table["mean"], [-0.1, -0.1, 0.1, 0.1], atol=0.001)
    assert table.index.tolist()[0] == ("gru - ridge", "MSE") and (table["p corrected"] == 4 * table["p"]).all()


@pytest.fixture(scope="module")
def fits():
    """A ridge fitted to patterns from which the first latents follow, and the others do not."""
    run = load_run("small").model_copy(update={"device": "cpu", "decoder": "ridge", "alphas": (1.0,), "layer_counts": (2, 5)})
    model, rng = load_vdvae(run), np.random.default_rng(0)
    n_first, n_all = model.n_latents(2), model.n_latents(5)
    X = [rng.standard_normal((n, 40)).astype(np.float32) for n in (80, 6)]
    weights = 0.1 * rng.standard_normal((40, n_first)).astype(np.float32)  # latents as large as a VDVAE's
    values = {}
    for split, patterns in zip(("train", "test"), X, strict=True):
        noise = rng.standard_normal((len(patterns), n_all - n_first)).astype(np.float32)
        values[f"latents_{split}"] = ((f"{split}_image", "latent"), np.hstack([patterns @ weights, noise]))
    in_region = np.ones((1, 40), bool)
    targets = xr.Dataset(values)
    return run, model, targets, latents.fit_by_layers(
        model, X, targets, run=run, in_region=in_region, ids=np.arange(6)
    )  # fmt: skip


def test_each_number_of_layers_has_a_decoder_and_three_sets_of_images(fits):
    _, model, targets, by_layers = fits
    assert list(by_layers) == [2, 5]
    for n_layers, fit in by_layers.items():
        assert fit.n_latents == model.n_latents(n_layers) and fit.seconds > 0 and fit.megabytes > 0
        assert list(fit.images) == list(latents.SYSTEMS)
        truth = targets.latents_test[:, : fit.n_latents].values
        np.testing.assert_array_equal(fit.images["oracle"], model.decode(truth, seed=0, image_ids=np.arange(6)))


def test_explained_variance_is_high_where_it_was_planted(fits):
    *_, by_layers = fits
    table = latents.explained(by_layers, **BOOTSTRAP)
    assert table.loc[(5, "the first 2"), "mean"] > 0.95 > 0.5 > table.loc[(5, "all its layers"), "mean"]
    assert table.loc[(2, "all its layers"), "mean"] == table.loc[(2, "the first 2"), "mean"]


def test_the_artifact_holds_scores_and_costs(fits):
    _, _, targets, by_layers = fits
    stimulus = by_layers[5].images["oracle"]
    score = latents.score_by_layers(by_layers, stimulus, ids=np.arange(6))
    assert score.sel(n_layers=5, system="oracle").values == pytest.approx(1)  # of itself
    dataset = latents.layer_dataset(score, latents.explained(by_layers, **BOOTSTRAP), by_layers)
    assert dataset.n_latents.values.tolist() == [fit.n_latents for fit in by_layers.values()]
    assert (dataset.explained_low <= dataset.explained_mean).all() and set(dataset.sizes) == set(score.dims)
    variances = targets.latents_train.var("train_image", dtype=np.float64)
    wanted = [variances[: fit.n_latents].sum() / variances.sum() for fit in by_layers.values()]
    np.testing.assert_allclose(dataset.variance_share, wanted, rtol=1e-5)


def test_layers_suffice_only_where_more_could_have_done_better():
    noise = 0.001 * np.random.default_rng(0).standard_normal((3, 3, 2, 40))
    decoded = [[0.1, 0.4], [0.5, 0.4495], [0.502, 0.45]]  # PixCorr and SSIM of 1, 5, 15 layers
    oracle = [[0.8, 0.5], [0.9, 0.999], [1.0, 1.0]]
    floor = [[0.1, 0.1]] * 3
    level = np.array([decoded, oracle, floor]).transpose(1, 0, 2)[..., None]
    axes = {"n_layers": [1, 5, 15], "system": list(latents.SYSTEMS), "measure": ["PixCorr", "SSIM"]}
    score = xr.DataArray(level + noise, dims=("n_layers", "system", "measure", "test_image"), coords=axes)
    table = latents.layer_verdicts(score, **BOOTSTRAP)
    assert float(table.loc[("SSIM", 1), "true"].split()[0]) == pytest.approx(0.5, abs=0.001)
    assert table.index.tolist()[:3] == [("PixCorr", 1), ("PixCorr", 5), ("SSIM", 1)]
    verdicts = table.verdict.to_dict()
    assert verdicts == {("PixCorr", 1): "do not suffice", ("PixCorr", 5): "suffice",
                        ("SSIM", 1): "do not suffice", ("SSIM", 5): "no headroom"}  # fmt: skip
    nothing = score.copy()
    nothing.loc[{"n_layers": 15, "system": "floor"}] = 0.6
    assert latents.layer_verdicts(nothing, **BOOTSTRAP).verdict["PixCorr", 5] == "nothing to lose"
    score.loc[{"n_layers": 5, "measure": "PixCorr", "system": "decoded"}] += np.resize([-0.2, 0.2], 40)
    assert latents.layer_verdicts(score, **BOOTSTRAP).verdict["PixCorr", 5] == "undecided"


def test_gains_in_regimes_are_means_and_ranges_over_seeds():
    rows = [
        {"response": response, "images": 100, "snr": snr, "seed": seed, "target": "latents", "decoder": name,
         "explained": value + 0.1 * seed * (name == "gru")}
        for response in ("linear", "saturating")
        for snr in (0.3, 1.0)
        for seed in (0, 1)
        for name, value in {"ridge": 0.3, "gru": 0.2 + 0.2 * (response == "saturating"), "mean of both": 0.5}.items()
    ]  # fmt: skip
    gains = latents.regime_gains(pd.DataFrame(rows))
    first = gains.sel(difference="gru minus ridge", images=100)
    np.testing.assert_allclose(first["mean"], [[-0.05, -0.05], [0.15, 0.15]])
    np.testing.assert_allclose(first.low, [[-0.1, -0.1], [0.1, 0.1]], atol=1e-12)
    np.testing.assert_allclose(first.high, [[0, 0], [0.2, 0.2]], atol=1e-12)
    both = gains.sel(difference="mean of both minus the better one", images=100)
    np.testing.assert_allclose(both["mean"], [[0.2, 0.2], [0.05, 0.05]])
    assert gains.attrs == {"target": "latents", "n_seeds": 2}
