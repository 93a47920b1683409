"""Selection of images by rank and by similarity."""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import spearmanr

from nsdlib.study import selection

RNG = np.random.default_rng(0)


def test_the_mean_rank_counts_distances_the_other_way():
    scores = xr.DataArray([[0.1, 0.2, 0.3], [0.9, 0.5, 0.7]], {"metric": ["ssim", "swav"]}, ["metric", "test_image"])
    np.testing.assert_array_equal(selection.mean_rank(scores), [0, 0.75, 0.75])


@pytest.mark.parametrize(("n_images", "n_chosen", "wanted"), [(5, 3, [0, 2, 4]), (3, 9, [0, 1, 2]), (4, 1, [0]), (0, 2, [])])
def test_positions_are_evenly_spaced_from_the_first_to_the_last(n_images, n_chosen, wanted):
    assert selection.evenly_spaced(n_images, n_chosen).tolist() == wanted


def test_relative_ranks_run_from_the_worst_to_the_best():
    np.testing.assert_array_equal(selection.relative_rank([3.0, 1.0, 2.0]), [1, 0, 0.5])
    np.testing.assert_array_equal(selection.relative_rank([3.0, 1.0, 2.0], higher_is_better=False), [0, 1, 0.5])
    np.testing.assert_array_equal(selection.relative_rank([5.0, 5.0, 1.0]), [0.75, 0.75, 0])


def test_their_correlation_is_spearmans():
    a, b = RNG.normal(size=(2, 30))
    got = np.corrcoef(selection.relative_rank(a), selection.relative_rank(b))[0, 1]
    assert got == pytest.approx(spearmanr(a, b).statistic)


def test_percentiles_hold_the_best_and_the_worst():
    values = RNG.normal(size=101)
    chosen, percentiles = selection.at_percentiles(values, 5)
    np.testing.assert_array_equal(percentiles, [100, 75, 50, 25, 0])
    np.testing.assert_array_equal(values[chosen], np.quantile(values, [1, 0.75, 0.5, 0.25, 0]))
    np.testing.assert_array_equal(selection.at_percentiles(-values, 5, higher_is_better=False)[0], chosen)


def test_no_more_are_chosen_than_there_are():
    chosen, percentiles = selection.at_percentiles([2.0, 2.0, 1.0], 9)
    assert list(chosen) == [0, 1, 2] and list(percentiles) == [100, 50, 0]
    assert list(selection.at_percentiles([2.0], 3)[0]) == [0]


def test_values_that_rounding_alone_tells_apart_are_ties():
    assert 0.1 + 0.2 > 0.3
    assert list(selection.at_percentiles([0.3, 0.1 + 0.2, 0.0], 3)[0]) == [0, 1, 2]
    assert list(selection.relative_rank([0.3, 0.1 + 0.2, 0.0])) == [0.75, 0.75, 0]
    assert list(selection.most_opposed([0.3, 0.1 + 0.2, 1.0], [0.0, 0.0, 0.0], 3)) == [2, 0, 1]


def test_the_most_opposed_come_first():
    assert list(selection.most_opposed([1, 0, 0.5], [0, 1, 0.5], 2)) == [0, 2]


def test_the_nearest_pattern_is_the_planted_one():
    train = RNG.normal(size=(20, 50))
    rows = RNG.permutation(20)[:8]
    noisy = train[rows] + 0.3 * RNG.normal(size=(8, 50))
    r = selection.resemblance(train + 7, noisy + 7)  # what all have in common does not count
    np.testing.assert_array_equal(r.argmax(axis=0), rows)
    assert r[rows[0], 0] == pytest.approx(np.corrcoef(noisy[0] - train.mean(0), train[rows[0]] - train.mean(0))[0, 1])


def test_resemblance_is_a_correlation_whatever_the_unit_and_the_batch(monkeypatch):
    monkeypatch.setattr(selection, "BATCH", 6)
    known = RNG.normal(size=(20, 30))
    of_test = known[:5] + RNG.normal(size=(5, 30))
    wanted = np.corrcoef(known - known.mean(0), of_test - known.mean(0))[:20, 20:]
    np.testing.assert_allclose(selection.resemblance(1e3 * known, 1e3 * of_test), wanted)


def test_a_constant_pattern_is_no_error():
    assert (selection.resemblance(np.ones((3, 4)), RNG.normal(size=(1, 4))) == 0).all()


def test_errors_say_what_came():
    with pytest.raises(ValueError, match=r"at least two of them, got shape \(1,\)"):
        selection.relative_rank([1.0])
