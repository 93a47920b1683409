"""Images chosen by rank, and the noise laid over them."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from nsdlib.study import selection

RNG = np.random.default_rng(0)


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


def test_the_most_opposed_come_first():
    assert list(selection.most_opposed([1, 0, 0.5], [0, 1, 0.5], 2)) == [0, 2]


def test_the_nearest_pattern_is_the_planted_one():
    train = RNG.normal(size=(20, 50))
    rows = RNG.permutation(20)[:8]
    noisy = train[rows] + 0.3 * RNG.normal(size=(8, 50))
    nearest, r = selection.nearest_training((train + 7, noisy + 7))  # what all have in common does not count
    np.testing.assert_array_equal(nearest, rows)
    assert r[0] == pytest.approx(np.corrcoef(noisy[0] - train.mean(0), train[rows[0]] - train.mean(0))[0, 1])


def test_pairs_count_alike_whatever_their_units(monkeypatch):
    monkeypatch.setattr(selection, "BATCH", 6)
    first, second = RNG.normal(size=(20, 30)), RNG.normal(size=(20, 8))
    asked = (first[:5] + RNG.normal(size=(5, 30)), second[:5] + RNG.normal(size=(5, 8)))
    nearest, r = selection.nearest_training((first, asked[0]), (1e3 * second, 1e3 * asked[1]))
    wanted = (
        sum(
            np.corrcoef(of_test - known.mean(0), known - known.mean(0))[:5, 5:]
            for known, of_test in zip((first, second), asked, strict=True)
        )
        / 2
    )
    np.testing.assert_array_equal(nearest, wanted.argmax(axis=1))
    assert selection.resemblance(first, asked[0]).shape == (20, 5)
    np.testing.assert_allclose(r, wanted.max(axis=1))


def test_a_constant_pattern_is_no_error():
    assert selection.nearest_training((np.ones((3, 4)), RNG.normal(size=(1, 4))))[1] == [0]


def test_errors_say_what_came():
    with pytest.raises(ValueError, match=r"at least two of them, got shape \(1,\)"):
        selection.relative_rank([1.0])
