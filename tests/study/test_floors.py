"""Floors do not depend on test patterns, retrieval finds planted matches, and the best floor is the best for each score."""

import numpy as np
import pytest
import xarray as xr
from test_reconstruction import N_TEST, SIZE, Stages, split, stimuli

from nsdlib.core.scores.metrics import METRICS
from nsdlib.core.scores.similarity import two_way
from nsdlib.study import floors
from nsdlib.study.reconstruction import ROLES

RNG = np.random.default_rng(3)


@pytest.fixture(scope="module")
def splits():
    weights = RNG.standard_normal((30, 26)).astype(np.float32)
    return split(60, 100, weights), split(N_TEST, 500, weights)


def made(splits, **labels):
    train, test = splits
    stimulus = stimuli(test.ids)[:, :SIZE, :SIZE]
    return stimulus, floors.make(Stages(), train, stimulus, ids=test.ids, read=stimuli, labels=labels)


def test_floors_know_nothing_of_the_test_patterns(splits, monkeypatch):
    monkeypatch.setattr(floors, "BATCH", 7)
    stimulus, images = made(splits)
    assert list(images) == [name for name, role in ROLES.items() if role == "floor"]
    assert (images["mean image"] == round(np.mean(splits[0].ids % 200))).all()
    assert (images["another test image"] == np.roll(stimulus, 1, axis=0)).all()
    assert len(np.unique(images["prior only"])) == 1  # the same for every image
    assert all(floor.shape == stimulus.shape for floor in images.values())


def test_the_mean_image_of_a_label_is_of_the_training_images_that_have_it(splits):
    train, test = splits
    of_train, of_test = train.ids % 3, test.ids % 4
    _, images = made(splits, kind=(of_train, of_test))
    for image, label in zip(images["mean image of the kind"], of_test, strict=True):
        same = train.ids[of_train == label] if label < 3 else train.ids  # no training image has label 3
        assert (image == round(np.mean(same % 200))).all()


def test_another_test_image_is_expected_below_one_half():
    """Over all ways to take another image, its mean two-way score is (n - 2) / (2 (n - 1)) exactly: it loses against itself."""
    truth, n = RNG.standard_normal((7, 20)), 7
    scores = [two_way(truth, np.roll(truth, shift, axis=0)).mean() for shift in range(1, n)]
    assert np.mean(scores) == pytest.approx((n - 2) / (2 * (n - 1)), abs=1e-12)
    unrelated = [two_way(truth, RNG.standard_normal((n, 20))).mean() for _ in range(500)]
    assert np.mean(unrelated) == pytest.approx(0.5, abs=0.02)


def test_retrieval_finds_the_planted_image_by_what_it_is_asked_with(splits):
    train, _ = splits
    rows = {"patterns": [3, 1, 4], "tokens": [10, 20, 30], "latents": [40, 50, 59]}
    tokens = {kind: values[rows["tokens"]] for kind, values in train.tokens.items()}
    found = floors.retrieve(train, train.patterns[rows["patterns"]], train.latents[rows["latents"]], tokens)
    assert found["nearest training image"].tolist() == train.ids[rows["patterns"]].tolist()
    assert found["nearest by tokens"].tolist() == train.ids[rows["tokens"]].tolist()
    both = floors.retrieve(train, train.patterns[:3], 1e3 * train.latents[rows["tokens"]], tokens)
    assert both["nearest by tokens and latents"].tolist() == train.ids[rows["tokens"]].tolist()
    assert list(found) == [name for name, role in ROLES.items() if role == "retrieval"]


def test_the_best_floor_is_chosen_by_the_mean_in_the_direction_of_each_score():
    levels = {"refined": 0.9, "mean image": 0.1, "mean image of the kind": 0.6, "nearest by tokens": 0.4, "prior only": 0.2}
    sign = xr.DataArray([1 if metric.higher_is_better else -1 for metric in METRICS.values()], dims="metric")
    names = {"system": list(levels), "metric": list(METRICS), "test_image": np.arange(30)}
    values = xr.DataArray(RNG.normal(0, 0.01, size=(5, 8, 30)), dims=tuple(names), coords=names)
    values = (values + sign * xr.DataArray(list(levels.values()), dims="system")).transpose(*names)
    values[1, 0] += 1  # in SSIM, "mean image" is the best floor
    values = values.assign_coords(role=("system", list(map(ROLES.get, levels))))
    best = floors.best(values)
    assert best.dims == values.dims and best.system.values.tolist() == ["best floor", "best label", "best retrieval"]
    assert best.floor.sel(system="best floor").values.tolist() == ["mean image", *["prior only"] * 7]
    assert (best.floor.sel(system="best retrieval") == "nearest by tokens").all()
    np.testing.assert_array_equal(best.sel(system="best floor")[1:], values.sel(system="prior only")[1:])
    np.testing.assert_array_equal(best.sel(system="best floor")[0], values.sel(system="mean image")[0])
    alone = floors.best(values.sel(system=["refined", "prior only"]))
    assert alone.system.values.tolist() == ["best floor"] and (alone.floor == "prior only").all()
