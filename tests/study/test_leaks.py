"""The linter finds planted leaks and clears every decoder that this project uses."""

import re

import numpy as np
import pytest
from conftest import ROOT

from nsdlib.core import networks
from nsdlib.core.ridge import Ridge, rescale
from nsdlib.study import leaks

pytestmark = pytest.mark.numerical

RNG = np.random.default_rng(0)
HIDDEN = RNG.standard_normal((90, 5)).astype(np.float32)
X_ALL = HIDDEN @ RNG.standard_normal((5, 40)).astype(np.float32) + RNG.standard_normal((90, 40)).astype(np.float32)
Y_ALL = HIDDEN @ RNG.standard_normal((5, 12)).astype(np.float32)
TRAIN, X, Y = (X_ALL[:70], Y_ALL[:70]), X_ALL[70:], Y_ALL[70:]
ALPHAS = (1.0, 30.0, 1000.0, 100_000.0)


@pytest.mark.parametrize("name", networks.DECODERS)
def test_every_decoder_is_inductive(name):
    groups = np.arange(40) % 3
    decoder = networks.make(name, max_epochs=2, batch_size=32, groups=groups, alphas=ALPHAS).fit(*TRAIN)
    for mode in ("none", "train"):
        report = leaks.lint(lambda x, _, mode=mode: rescale(decoder.predict(x), decoder, mode=mode), X, Y)
        assert report.kind == "inductive", report


def test_a_ridge_is_inductive_without_a_leak():
    report = leaks.lint(leaks.decoder(TRAIN, alphas=ALPHAS), X, Y)
    assert report.kind == "inductive" and len(report.changes) == 8 and report.n_checked == 3


@pytest.mark.parametrize(
    ("leak", "kind"), list(zip(leaks.LEAKS, ("transductive", "transductive", "reads test labels"), strict=True))
)
def test_published_leaks_are_found(leak, kind):
    report = leaks.lint(leaks.decoder(TRAIN, alphas=ALPHAS, leak=leak), X, Y)
    assert report.kind == kind and kind in str(report)
    html = report._repr_html_()
    assert f">{kind}</strong>" in html and "style=" not in html
    sheet = (ROOT / "book" / "static" / "book.css").read_text()
    assert all(f".{name} {{" in sheet for name in re.search('class="([^"]+)"', html)[1].split())


def test_a_penalty_by_test_score_is_found_where_the_largest_one_wins_anyway():
    rng = np.random.default_rng(5)  # patterns that say nothing: labels that are harder to predict still leave the largest
    for _ in range(20):
        X, Y = rng.standard_normal((90, 40)), rng.standard_normal((90, 12))
        decoder = leaks.decoder((X[:70], Y[:70]), alphas=ALPHAS, leak="penalty by test score")
        assert leaks.lint(decoder, X[70:], Y[70:]).kind == "reads test labels"


def test_a_network_that_the_test_set_stops_reads_test_labels():
    brief = {"max_epochs": 2, "width": 16, "batch_size": 16}
    honest, leaky = (leaks.network(TRAIN, leak=leak, **brief) for leak in (None, leaks.EARLY_STOPPING))
    assert leaks.lint(honest, X, Y).kind == "inductive" and leaks.lint(leaky, X, Y).kind == "reads test labels"
    fitted = networks.make("gru", recipe="ours", **brief).fit(*TRAIN)
    np.testing.assert_array_equal(honest(X, Y), rescale(fitted.predict(X), fitted, mode="train"))


@pytest.mark.parametrize(
    ("predict", "kind"),
    [
        (lambda x, y: x, "inductive"),
        (lambda x, y: x - x.mean(0), "transductive"),
        (lambda x, y: x[::-1], "transductive"),  # depends on its place
        (lambda x, y: x / x.std(0), "transductive"),  # one image alone has no spread
        (lambda x, y: x + 0.01 * y.mean(), "reads test labels"),
        (lambda x, y: y, "reads test labels"),
        (lambda x, y: np.full((len(x), 3), y.mean()), "reads test labels"),  # without a spread
        (lambda x, y: np.zeros((len(x), 3)), "inductive"),
        (lambda x, y: x + RNG.standard_normal(x.shape), "differs from call to call"),
        (lambda x, y: x * (RNG.random(x.shape) < 0.5), "differs from call to call"),  # dropout left on
    ],
)
def test_planted_leaks_are_found(predict, kind):
    assert leaks.lint(predict, X, Y).kind == kind and kind in leaks.KINDS


def test_the_leak_free_prediction_is_the_librarys():
    ridge = Ridge(ALPHAS).fit(*TRAIN)
    wanted = rescale(ridge.predict(X), ridge, mode="train")
    np.testing.assert_array_equal(leaks.decoder(TRAIN, alphas=ALPHAS)(X, Y), wanted)


def test_the_penalty_chosen_on_the_test_set_is_the_best_there():
    found = {alpha: np.square(Ridge([alpha]).fit(*TRAIN).predict(X) - Y).mean() for alpha in ALPHAS}
    best = Ridge([min(found, key=found.get)]).fit(*TRAIN)
    wanted = rescale(best.predict(X), best, mode="train")
    np.testing.assert_array_equal(leaks.decoder(TRAIN, alphas=ALPHAS, leak="penalty by test score")(X, Y), wanted)


def test_errors_say_what_came():
    with pytest.raises(ValueError, match="got 2 patterns, 2 labels"):
        leaks.lint(lambda x, y: x, X[:2], Y[:2])
    with pytest.raises(ValueError, match=r"leak must be None or one of z-score .*, got 'all'"):
        leaks.decoder(TRAIN, alphas=ALPHAS, leak="all")
    with pytest.raises(ValueError, match="the leak of a network must be None or early stopping on the test set, got 'all'"):
        leaks.network(TRAIN, leak="all")
