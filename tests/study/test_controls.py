"""Each control changes one thing, and planted effects of decoders, leaks, noise and protocols are recovered."""

import numpy as np
import pytest
import xarray as xr
from test_reconstruction import N_TEST, Stages, split

from nsdlib.core import networks
from nsdlib.core.scores.metrics import METRICS
from nsdlib.core.scores.similarity import two_way
from nsdlib.params import load_run
from nsdlib.study import controls, floors, leaks
from nsdlib.study.reconstruction import fit_ridges, flat

IDS = np.arange(N_TEST)


@pytest.fixture(scope="module")
def splits():
    weights = np.random.default_rng(5).standard_normal((30, 26)).astype(np.float32)
    return split(60, 100, weights), split(N_TEST, 500, weights)


class Recorder(Stages):
    """Notes what each refinement was asked for."""

    def __init__(self):
        self.asked = []

    def refine(self, rough, tokens, ids, **changed):
        self.asked.append((rough, tokens, changed))
        return super().refine(rough, tokens, ids)


def scores(level, axis, names):
    """(axis, metric, test_image): the mean of each entry as planted, the better the higher whatever the metric's direction."""
    rng = np.random.default_rng(0)
    sign = np.array([1 if metric.higher_is_better else -1 for metric in METRICS.values()])
    noise = 0.001 * rng.standard_normal((len(names), len(METRICS), 40))
    values = 0.5 + sign[None, :, None] * np.array(level)[:, None, None] + noise
    return xr.DataArray(values, dims=(axis, "metric", "test_image"), coords={axis: names, "metric": list(METRICS)})


def test_one_source_is_left_out_at_a_time(splits):
    _, test = splits
    stages, rough = Recorder(), np.full((N_TEST, 8, 8, 3), 50, np.uint8)
    images = controls.leave_out(stages, rough, test.tokens, test.ids)
    changes = dict(zip(images, stages.asked, strict=True))
    assert [changed for *_, changed in changes.values()] == [
        {"text_weight": 0.0}, {"text_weight": 1.0}, {"strength": 1.0}, {"guidance": 0.0}]  # fmt: skip
    assert all((drawn == (128 if name == "no rough image" else 50)).all() for name, (drawn, *_) in changes.items())
    assert all(tokens is test.tokens for _, tokens, _ in changes.values())


def test_decoders_differ_in_their_latents_alone(splits):
    _, test = splits
    latents = np.stack([np.zeros((N_TEST, 6)), np.full((N_TEST, 6), 20.0)])
    axes = {"decoder": ["ridge", "gru"], "test_image": test.ids}
    predicted = xr.DataArray(latents, dims=("decoder", "test_image", "latent"), coords=axes)
    stages = Recorder()
    images = controls.refine_by_decoder(stages, predicted, test.tokens)
    ours = controls.refine_by_decoder(Recorder(), predicted, test.tokens, decoders={controls.OURS_CLIP: "gru"})
    np.testing.assert_array_equal(ours[controls.OURS_CLIP], images["refined, gru"])
    assert list(images) == ["refined, gru", "refined, ridge"]
    assert [rough.flat[0] for rough, *_ in stages.asked] == [120, 100]
    assert all(tokens is test.tokens and not changed for _, tokens, changed in stages.asked)


def test_leak_gains_are_those_that_were_planted():
    values = scores([0.3, 0.1, 0.4], "system", ["refined, gru", "refined, ridge", controls.OURS_CLIP])
    gains = controls.gains_by_decoder(values, METRICS, n_bootstrap=50)
    for pair, gain in (("refined, gru - refined, ridge", 0.2), ("Ours (CLIP) - refined, gru", 0.1)):
        np.testing.assert_allclose(gains.loc[pair, "mean"], gain, atol=0.001)
    ssim = values.sel(metric="ssim").mean("test_image")
    wanted = 100 * (ssim.sel(system="refined, gru") / ssim.sel(system="refined, ridge") - 1)
    assert gains.loc[("refined, gru - refined, ridge", METRICS["ssim"].label), "% of the second's"] == pytest.approx(wanted)
    assert len(controls.gains_by_decoder(values[:2], METRICS, n_bootstrap=50)) == len(METRICS)
    names = [controls.NO_LEAK, "penalty by test score", controls.HONEST_GRU, leaks.EARLY_STOPPING]
    bought = controls.leak_gains(scores([0.3, 0.4, 0.1, 0.3], "leak", names), METRICS, n_bootstrap=50)
    assert list(bought.index.unique(0)) == [f"{names[1]} - {names[0]}", f"{names[3]} - {names[2]}"]
    np.testing.assert_allclose(bought["mean"].unstack().mean(axis=1).sort_values(), [0.1, 0.2], atol=0.001)


def test_leaks_are_planted_and_named(splits):
    train, test = splits
    run = load_run("small").model_copy(update={"alphas": (0.1, 1000.0), "device": "cpu"})
    stages, calls = Recorder(), []

    def predict(*arguments, **options):
        calls.append(options["leak"])
        return leaks.predict(*arguments, **options)

    images, badges = controls.refine_with_leaks(stages, train, test, run=run, predict=predict)
    assert list(images) == list(badges) == [controls.NO_LEAK, *leaks.LEAKS]
    assert list(badges.values()) == ["inductive", "transductive", "transductive", "reads test labels"]
    assert calls == [leak for leak in (None, *leaks.LEAKS) for _ in range(3)]  # latents and both kinds of tokens
    wanted = leaks.predict((train.patterns, train.latents), test.patterns, test.latents, alphas=run.alphas)
    np.testing.assert_array_equal(stages.asked[0][0], stages.draw(wanted, test.ids))
    assert all(tokens["text"].shape == test.tokens["text"].shape for _, tokens, _ in stages.asked)


def test_tokens_are_decoded_by_networks_of_the_published_size(splits):
    train, test = splits
    run, calls = load_run("small").model_copy(update={"max_epochs": 1, "device": "cpu", "renormalise": "none"}), []

    def fit(**settings):
        calls.append(settings)
        return networks.fit(**settings)

    tokens = controls.decode_tokens_by_gru(train, test.patterns, run=run, fit=fit)
    assert {kind: values.shape for kind, values in tokens.items()} == {k: v.shape for k, v in test.tokens.items()}
    assert all((call["width"], call["batch_size"], call["recipe"]) == (256, 128, "ours") for call in calls)
    settings = {key: calls[0][key] for key in ("width", "batch_size", "recipe", "seed", "max_epochs")}
    alone = networks.make("gru", **settings).fit(train.patterns, train.tokens["text"].reshape(60, -1))
    np.testing.assert_array_equal(tokens["text"].reshape(N_TEST, -1), alone.predict(test.patterns))


def test_early_stopping_is_planted_in_the_text_tokens_alone(splits):
    train, test = splits
    run, stages = load_run("small").model_copy(update={"max_epochs": 2, "device": "cpu"}), Recorder()
    tokens = {"text": None, "vision": test.tokens["vision"]}
    images, badges = controls.refine_with_early_stopping(
        stages, train, test, tokens, latents=test.latents, run=run
    )  # fmt: skip
    assert badges == {controls.HONEST_GRU: "inductive", leaks.EARLY_STOPPING: "reads test labels"}
    assert list(images) == list(badges) and len(stages.asked) == 2
    assert all(asked["vision"] is tokens["vision"] for _, asked, _ in stages.asked)
    truth = test.tokens["text"].reshape(N_TEST, -1)
    both = (train.patterns, train.tokens["text"].reshape(60, -1))
    for leak, (_, asked, _) in zip((None, leaks.EARLY_STOPPING), stages.asked, strict=True):
        predict = leaks.network(both, leak=leak, seed=0, max_epochs=2)
        np.testing.assert_array_equal(asked["text"].reshape(N_TEST, -1), predict(test.patterns, truth))


def test_protocols_are_scored_beside_the_runs_own(monkeypatch):
    def load_scorer(run, *, protocol):
        level = {"native": 0.1, "brain_diffuser": 0.2, "mindeye2": 0.3}[protocol]

        class Scorer:
            def score(self, truth, images):
                assert truth is stimulus
                return scores([level], "system", ["a"]).isel(system=0, drop=True).isel(test_image=slice(N_TEST))

        return Scorer()

    class Keeper:
        def memoise(self, function, *, weights):
            assert weights == ("features",)
            return function

    monkeypatch.setattr(controls, "load_scorer", load_scorer)
    stimulus = np.zeros((N_TEST, 4, 4, 3), np.uint8)
    systems = {"refined": stimulus, "rough": stimulus}
    own = scores([0.0, 0.0, 0.0], "system", ["rough", "other", "refined"]).isel(test_image=slice(N_TEST))
    own = own.assign_coords(test_image=IDS, role=("system", ["decoded", "floor", "decoded"]))
    run = load_run("small").model_copy(update={"protocol": "mindeye2"})
    table = controls.score_under_protocols(run, Keeper(), stimulus, systems, ids=IDS, own=own)
    assert table.protocol.values.tolist() == ["mindeye2", "native", "brain_diffuser"]
    assert table.system.values.tolist() == ["refined", "rough"] and (table.test_image == IDS).all()
    np.testing.assert_allclose(table.sel(metric="clip").mean(("system", "test_image")), [0.5, 0.6, 0.7], atol=0.01)


def test_orders_are_best_first_whatever_the_direction():
    names = ["a", "b"]
    both = [scores(level, "system", names).mean("test_image") for level in ([0.1, 0.2], [0.2, 0.1])]
    orders = controls.orders(xr.concat(both, xr.Variable("protocol", ["native", "other"])))
    assert (orders["native"] == "b > a").all() and (orders["other"] == "a > b").all() and len(orders) == 8


def test_a_place_between_floor_and_ceiling():
    names = {"prior only": "floor", "mean image": "floor", "refined": "decoded", "refined, all true": "ceiling"}
    values = scores([-0.2, 0.0, 0.1, 0.4], "system", list(names))
    values = values.assign_coords(role=("system", list(names.values())))
    assert set(floors.best(values).floor.sel(system="best floor").values) == {"mean image"}
    places = controls.place_refined(values, n_bootstrap=20)
    assert list(places) == [metric.label for metric in METRICS.values()]
    assert all(place.shape == (21,) and place == pytest.approx(0.25, abs=0.01) for place in places.values())
    rough = values.sel(system=["refined"]).assign_coords(system=["rough"])
    table = controls.place_table(xr.concat([values, rough], "system"), n_bootstrap=20)
    assert list(table) == ["best floor", "rough", "refined", "ceiling: all true", "place"] and list(table.index) == list(places)
    assert (table.rough == table.refined).all() and table.loc["SSIM", "best floor"].startswith("mean image: 0.500 [0.")
    assert table.loc["SSIM", "refined"].startswith("0.600 [") and table.loc["SSIM", "ceiling: all true"].startswith("0.900 [")
    assert table.place.str.startswith("0.25 [0.2").all()


def test_the_artifact_names_roles_badges_and_protocols():
    left_out, decoders = scores([0, 0], "system", ["no text", "no vision"]), scores([0], "system", ["refined, gru"])
    leaky = scores([0, 0], "leak", [controls.NO_LEAK, "penalty by test score"])
    by_protocol = xr.concat([left_out, left_out], xr.Variable("protocol", ["native", "mindeye2"]))
    badges = {"penalty by test score": "reads test labels", controls.NO_LEAK: "inductive"}
    dataset = controls.as_dataset(left_out, decoders, leaky, badges, by_protocol)
    assert dataset.role.values.tolist() == ["left out", "left out", "decoder compared"]
    assert dataset.badge.values.tolist() == ["inductive", "reads test labels"]
    assert dataset.by_protocol.dims == ("protocol", "compared", "metric", "test_image")
    assert (dataset.value.sel(system="refined, gru") == decoders.isel(system=0)).all()


@pytest.fixture
def run():
    changed = {"alphas": (0.01, 0.1), "penalties": "alphas", "renormalise": "none", "device": "cpu"}
    return load_run("small").model_copy(update=changed)


def test_what_is_decoded_is_scored_by_identification_and_by_its_error(splits, run):
    train, test = splits
    ridges = fit_ridges(train, run=run)
    clear = controls.score_decoded(ridges, test, test.patterns, mode="none").mean("test_image")
    noise = 10 * np.random.default_rng(1).standard_normal(test.patterns.shape).astype(np.float32)
    blurred = controls.score_decoded(ridges, test, test.patterns + noise, mode="none").mean("test_image")
    for target in ("latents", "text", "vision"):
        assert clear.sel(metric=f"{target}: two-way") == 1 and clear.sel(metric=f"{target}: error") < 0.01
        assert blurred.sel(metric=f"{target}: two-way") < 0.8 and blurred.sel(metric=f"{target}: error") > 1
    mean = controls.score_decoded(ridges, test, np.tile(train.patterns.mean(0), (N_TEST, 1)), mode="none")
    errors = mean.sel(metric="text: error").mean()
    assert errors == pytest.approx(1, abs=1e-4)  # the training mean is the unit


def test_shuffled_weights_predict_what_shuffled_pairs_predict(splits, run):
    train, test = splits
    ridges = fit_ridges(train, run=run)
    null = controls.shuffle_pairs(ridges, train, test, n_shuffles=3, seed=2)
    assert null.dims == ("shuffle", "target") and null.shape == (4, 3) and (null[0] == 1).all()
    order = np.argsort(np.random.default_rng(2).permutation(len(train.patterns)))
    again = type(ridges["text"])((ridges["text"].alpha,)).fit(train.patterns, flat(train.tokens["text"])[order])
    mean = flat(train.tokens["text"]).mean(0)
    wanted = two_way(flat(test.tokens["text"]) - mean, again.predict(test.patterns) - mean).mean()
    assert null.sel(target="text")[1] == pytest.approx(wanted, abs=1e-9)


def test_many_shuffles_lie_at_chance(splits, run):
    train, test = splits
    null = controls.shuffle_pairs(fit_ridges(train, run=run), train, test, n_shuffles=60, seed=0)
    np.testing.assert_allclose(null[1:].mean("shuffle"), 0.5, atol=0.06)


def test_images_of_shuffled_pairs_have_lost_the_brain(splits, run):
    train, test = splits
    ridges = fit_ridges(train, run=run)
    stages = Recorder()
    images = controls.refine_shuffled(stages, ridges, train, test, mode="none", seed=0)
    assert images.shape == (N_TEST, 8, 8, 3)
    ((_, tokens, _),) = stages.asked
    r = np.corrcoef(flat(tokens["text"]).ravel(), flat(test.tokens["text"]).ravel())[0, 1]
    assert tokens["vision"].shape == test.tokens["vision"].shape and abs(r) < 0.5
