"""The scorer: the network behind each metric, and the scores of images with planted similarity."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.spatial.distance import correlation
from test_features import random_clip

from nsdlib.core.images import resize
from nsdlib.core.scores import features, similarity
from nsdlib.core.scores.metrics import METRICS
from nsdlib.params import load_run
from nsdlib.store import zoo

pytestmark = pytest.mark.numerical


@pytest.fixture(scope="module")
def demo_run(tmp_path_factory):
    """A run whose demo zoo holds stand-ins with random weights."""
    torch.manual_seed(1)
    root = tmp_path_factory.mktemp("root")
    folder = root / "zoo" / "demo" / "features"
    folder.mkdir(parents=True)
    for name in ("alexnet", "inception", "effnet", "swav"):
        save_file(features.StandIn(6, 9).half().state_dict(), folder / f"{name}.safetensors")
    random_clip(folder / "clip", 64)
    return load_run("demo", device="cpu").model_copy(update={"root": root})


def test_the_scorer_puts_each_network_under_its_formula(demo_run, images):
    other = np.clip(images.astype(int) + np.random.default_rng(1).integers(-90, 90, images.shape), 0, 255).astype(np.uint8)
    scorer = zoo.load_scorer(demo_run)
    scores = scorer.score(images, other)
    assert scores.dims == ("metric", "test_image") and list(scores.metric.values) == list(METRICS) and scores.zoo == "demo"
    np.testing.assert_array_equal(scores.sel(metric="ssim"), similarity.ssim(images, other))
    truth, got = (scorer.extractors["alexnet"](x)["layer2"] for x in (images, other))
    np.testing.assert_array_equal(scores.sel(metric="alexnet2"), similarity.two_way(truth, got))
    truth, got = (scorer.extractors["swav"](x)["pooled"] for x in (images, other))
    np.testing.assert_allclose(scores.sel(metric="swav"), [correlation(a, b) for a, b in zip(truth, got, strict=True)], atol=1e-5)


def test_a_perfect_reconstruction_scores_perfectly_and_a_wrong_one_does_not(demo_run, images):
    scorer = zoo.load_scorer(demo_run)
    perfect, wrong = scorer.score(images, images), scorer.score(images, np.roll(images, 1, axis=0))
    for name, metric in METRICS.items():
        best = 1 if metric.higher_is_better else 0
        np.testing.assert_allclose(perfect.sel(metric=name), best, atol=1e-5)
        gap = (perfect - wrong).sel(metric=name).mean().item()
        assert gap > 0 if metric.higher_is_better else gap < 0


def test_features_of_the_truth_are_computed_once(demo_run, images, monkeypatch):
    scorer = zoo.load_scorer(demo_run)
    first = scorer.score(images, images[::-1])
    calls = []
    inner = scorer._features
    monkeypatch.setattr(scorer, "_features", lambda x, name: calls.append(len(x)) or inner(x, name))
    np.testing.assert_array_equal(scorer.score(images, images[::-1]), first)
    assert calls == [5]
    scorer.score(images[:3], images[:3])
    assert calls == [5, 3, 3]


def test_another_size_is_resized_to_the_truth(demo_run, images):
    scores = zoo.load_scorer(demo_run).score(images, resize(images, 128))
    assert scores.sel(metric="pixcorr").min() > 0.99 and scores.sel(metric="clip").min() == 1


def test_what_a_metric_is():
    assert len(METRICS) == 8
    assert [name for name, metric in METRICS.items() if not metric.higher_is_better] == ["effnet", "swav"]
    assert METRICS["clip"].chance == 0.5 and METRICS["swav"].chance is None and METRICS["ssim"].chance is None


def test_errors_name_what_is_wrong(demo_run, images):
    with pytest.raises(ValueError, match="no protocol 'mine'; known: native"):
        zoo.load_scorer(demo_run.model_copy(update={"protocol": "mine"}))
    scorer = zoo.load_scorer(demo_run)
    with pytest.raises(ValueError, match="equal numbers of images, got 5 and 2"):
        scorer.score(images, images[:2])
    with pytest.raises(ValueError, match=r"truth must be \(n_images, side, side, 3\) uint8, got list"):
        scorer.score(list(images), images)
    with pytest.raises(ValueError, match=r"reconstruction must be one image or more, got shape \(0, 64, 64, 3\)"):
        scorer.score(images, images[:0])
    with pytest.raises(ValueError, match=r"truth must be \(n_images, side, side, 3\) uint8, got \(5, 64, 40, 3\)"):
        scorer.score(images[:, :, :40], images)
    with pytest.raises(ValueError, match=r"reconstruction must be \(n_images, side, side, 3\) uint8, got \(5, 40, 64, 3\)"):
        scorer.score(images, images[:, :40])
    with pytest.raises(ValueError, match="at least 2 images, got 1"):
        scorer.score(images[:1], images[:1])


def test_a_network_whose_features_are_no_numbers_is_named(demo_run, images):
    scorer = zoo.load_scorer(demo_run)
    inception = scorer.extractors["inception"]

    def overflowing(pictures, **options):
        features = inception(pictures, **options)
        features["pooled"][[1, 4], 0] = np.inf
        return features

    scorer.extractors["inception"] = overflowing
    with pytest.raises(ValueError, match=r"inception's pooled of the truth holds 2 values .* not finite .* in rows 1, 4"):
        scorer.score(images, images)
