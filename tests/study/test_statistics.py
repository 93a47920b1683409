"""Intervals and tests, against SciPy and known properties of random numbers."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats as scipy_stats

from nsdlib.core.scores.metrics import METRICS
from nsdlib.study import statistics

pytestmark = pytest.mark.numerical

RNG = np.random.default_rng(0)


def test_the_interval_is_scipys_percentile_bootstrap():
    values = RNG.gamma(2, size=80)
    wanted = scipy_stats.bootstrap((values,), np.mean, n_resamples=9999, method="percentile", rng=1).confidence_interval
    low, high = statistics.bootstrap_interval(values, n_bootstrap=9999, seed=2)
    assert low == pytest.approx(wanted.low, abs=0.03) and high == pytest.approx(wanted.high, abs=0.03)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    values = RNG.normal(1, 2, size=(400, 60))
    low, high = statistics.bootstrap_interval(values, n_bootstrap=500)
    assert low.shape == (400,) and 0.91 < ((low < 1) & (high > 1)).mean() < 0.98


def test_seeds_nested_in_images_are_covered_by_resampling_images():
    """Of 95 % intervals of means over seeds, 95 % hold the truth; with the seeds resampled besides they would be too wide."""
    n_images, n_seeds, within = 80, 4, 1.0
    drawn = RNG.normal(0, 0.3, size=(600, 1, n_images)) + RNG.normal(0, within, size=(600, n_seeds, n_images))
    low, high = statistics.bootstrap_interval(drawn.mean(axis=1), n_bootstrap=400)
    assert 0.92 < ((low < 0) & (high > 0)).mean() < 0.97
    chosen = RNG.integers(n_seeds, size=(400, n_seeds, n_images))  # of the first, each image's seeds resampled, then images
    doubly = np.take_along_axis(drawn[:1], chosen, axis=1).mean(axis=1)
    doubly = np.take_along_axis(doubly, RNG.integers(n_images, size=(400, n_images)), axis=1).mean(axis=1)
    assert doubly.std() > 1.15 * drawn.mean(axis=(1, 2)).std()  # the truth, over all 600


def test_rows_share_their_resamples_and_the_seed_fixes_them():
    values = RNG.normal(size=(2, 30))
    means = statistics.bootstrap_means(values, n_bootstrap=50, seed=3)
    np.testing.assert_allclose(means[:, 1], statistics.bootstrap_means(values[1], n_bootstrap=50, seed=3))
    assert (means != statistics.bootstrap_means(values, n_bootstrap=50, seed=4)).any()


def test_memory_is_bounded_and_chunks_join(monkeypatch):
    monkeypatch.setattr(statistics, "CHUNK", 64)
    assert statistics.bootstrap_means(RNG.normal(size=30), n_bootstrap=7).shape == (7,)
    assert 0 < statistics.sign_flip_test(RNG.normal(size=30), n_permutations=11) <= 1


def test_the_sign_flip_test_is_scipys_exact_permutation_test():
    differences = RNG.normal(0.5, 1, size=9)
    wanted = scipy_stats.permutation_test((differences,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert statistics.sign_flip_test(differences, n_permutations=512) == pytest.approx(wanted.pvalue)


def test_its_random_version_agrees_with_the_exact_one():
    differences = RNG.normal(0.4, 1, size=12)
    exact = statistics.sign_flip_test(differences, n_permutations=4096)
    assert statistics.sign_flip_test(differences, n_permutations=4095) == pytest.approx(exact, abs=0.03)


def test_p_values_of_nothing_are_uniform():
    p = [statistics.sign_flip_test(RNG.normal(size=20), n_permutations=199, seed=k) for k in range(200)]
    assert scipy_stats.kstest(p, "uniform").pvalue > 0.01


def test_a_paired_difference_finds_what_was_planted():
    b = RNG.normal(size=200)
    found = statistics.paired_difference(b + 0.3 + 0.1 * RNG.normal(size=200), b)
    assert found["low"] < 0.3 < found["high"] and found["high"] - found["low"] < 0.04
    assert found["p"] < 0.01 and found["n"] == 200
    assert statistics.paired_difference(b, b)["p"] == 1


def test_an_allowance_shifts_the_test_and_not_the_difference():
    b = RNG.normal(size=200)
    a = b - 0.01 + 0.02 * RNG.normal(size=200)
    strict, lenient = statistics.paired_difference(a, b), statistics.paired_difference(a, b, allowed=0.02)
    assert lenient["mean"] == strict["mean"] < 0 and lenient["low"] == strict["low"]
    assert lenient["p"] == statistics.sign_flip_test(a - b + 0.02, n_permutations=10_000) < 0.01


def test_holm_by_its_definition():
    p = RNG.uniform(0, 0.2, size=12)
    order, running, wanted = np.argsort(p), 0.0, np.empty(12)
    for k, i in enumerate(order):
        running = max(running, (12 - k) * p[i])
        wanted[i] = min(1.0, running)
    np.testing.assert_allclose(statistics.holm(p.reshape(3, 4)), wanted.reshape(3, 4))


def test_holm_keeps_the_chance_of_any_false_finding():
    nothing = RNG.uniform(size=(2000, 20))
    found = [(statistics.holm(p) < 0.05).any() for p in nothing]
    assert 0.03 < np.mean(found) < 0.07 and (nothing < 0.05).any(axis=1).mean() > 0.6


@pytest.mark.parametrize(
    ("means", "p", "said"),
    [
        ([0.1, 0.2], [0.01, 0.04], "holds"),
        ([-0.1, -0.2], [0.01, 0.04], "does not hold"),
        ([0.1, -0.2], [0.01, 0.04], "mixed"),
        ([0.1, -0.2], [0.01, 0.06], "undecided"),
        ([0.1, 0.2], [0.01, 0.06], "undecided"),
        ([0.1, 0.04], [0.01, 0.01], "undecided"),
    ],
)
def test_a_verdict_needs_every_subject_its_interval_and_its_p(means, p, said):
    assert statistics.verdict(np.array(means) - 0.05, np.array(means) + 0.05, p) == said


@pytest.fixture
def scores():
    """Two systems, a score and a distance: the first system is better by 0.5 in both."""
    values = RNG.normal(0, 0.1, size=(2, 2, 50)) + np.array([[[0.5], [0.0]], [[0.0], [0.5]]])
    axes = {"system": ["ours", "theirs"], "metric": ["ssim", "swav"]}
    return xr.DataArray(values, dims=("system", "metric", "test_image"), coords=axes)


def test_differences_point_to_the_better_one(scores):
    chosen = {name: METRICS[name] for name in ("ssim", "swav")}
    table = statistics.differences(scores, [("ours", "theirs"), ("theirs", "ours")], chosen)
    assert table.loc["ours - theirs", "mean"].to_numpy() == pytest.approx([0.5, 0.5], abs=0.1)
    assert table.loc["theirs - ours", "high"].max() < 0 and (table["n"] == 50).all()
    np.testing.assert_array_equal(table["p corrected"], statistics.holm(table["p"]))
    text = statistics.differences_as_text(table)
    assert list(text) == ["SSIM", "SwAV"] and list(text.index) == ["ours - theirs", "theirs - ours"]
    assert text.loc["ours - theirs", "SSIM"].startswith("+0.") and text.loc["ours - theirs", "SSIM"].endswith("]*")


def test_a_place_between_floor_and_ceiling():
    noise = RNG.normal(0, 0.05, size=(3, 200))
    place = statistics.place_between(0.2 + noise[0], 0.5 + noise[1], 0.6 + noise[2], n_bootstrap=300)
    assert place.shape == (301,) and place[0] == pytest.approx(0.75, abs=0.03)
    assert np.quantile(place[1:], 0.025) < place[0] < np.quantile(place[1:], 0.975)
    assert statistics.place_as_text(place).startswith(f"{place[0]:.2f} [0.")


@pytest.mark.parametrize("ceiling", [0.42, 0.41, 0.421])  # at the floor, below it, and not surely above it
def test_there_is_no_place_where_the_ceiling_is_not_surely_above_the_floor(ceiling):
    noise = RNG.normal(0, 0.1, size=(3, 50))
    place = statistics.place_between(0.42 + noise[0], 0.36 + noise[1], ceiling + noise[2], n_bootstrap=300)
    assert np.isnan(place).all() and statistics.place_as_text(place) == "no room"


def test_the_rank_correlation_is_scipys_with_ties():
    a = RNG.integers(8, size=50)
    found = statistics.rank_correlation(a, b := a + RNG.integers(5, size=50), n_bootstrap=300)
    assert found["mean"] == pytest.approx(scipy_stats.spearmanr(a, b).statistic) and found["n"] == 50
    assert found["low"] < found["mean"] < found["high"]


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.95])
def test_its_interval_covers_the_planted_correlation_as_often_as_it_says(rho):
    planted = 6 / np.pi * np.arcsin(rho / 2)  # Spearman's of a normal pair whose correlation is rho
    pairs = RNG.multivariate_normal([0, 0], [[1, rho], [rho, 1]], size=(300, 80)).transpose(2, 0, 1)
    found = [statistics.rank_correlation(*pair, n_bootstrap=200, seed=k) for k, pair in enumerate(pairs.swapaxes(0, 1))]
    low, high = (np.array([interval[end] for interval in found]) for end in ("low", "high"))
    assert 0.90 < ((low < planted) & (planted < high)).mean() < 0.985
    assert low.min() >= -1 and high.max() <= 1


def test_a_resample_without_spread_has_no_coefficient():
    assert np.isfinite(statistics.rank_correlation([0.0, 0.0, 1.0], [0.0, 1.0, 2.0], n_bootstrap=50)["low"])
    with pytest.raises(ValueError, match="needs values that differ, but all values of one variable are equal"):
        statistics.rank_correlation([1.0, 1.0], [0.0, 1.0])


def test_the_t_interval_is_scipys_and_covers_four_subjects_where_a_bootstrap_does_not():
    draws = RNG.normal(1, 2, size=(500, 4))
    values = xr.DataArray(draws, dims=("draw", "subject"))
    table = statistics.t_summary(values)
    wanted = scipy_stats.ttest_1samp(draws[0], 0).confidence_interval(0.95)
    assert (table.low[0], table.high[0]) == (pytest.approx(wanted.low), pytest.approx(wanted.high)) and table.n == 4
    resampled = statistics.summary(values, over="subject", n_bootstrap=300)
    covered, too_few = (((t.low < 1) & (t.high > 1)).mean().item() for t in (table, resampled))
    assert 0.92 < covered < 0.98 and too_few < 0.88
    with pytest.raises(ValueError, match="over subject needs at least two of them, got 1"):
        statistics.t_summary(values[:, :1])


def test_a_summary_keeps_names():
    values = xr.DataArray(
        RNG.normal([[0.0], [5.0]], 1, size=(3, 2, 40)),
        dims=("system", "metric", "test_image"),
        coords={"system": ["a", "b", "c"], "metric": ["low", "high"]},
    )
    table = statistics.summary(values, n_bootstrap=200)
    assert table.sizes == {"system": 3, "metric": 2} and table.n == 40
    assert (table.low < table["mean"]).all() and (table["mean"] < table.high).all()
    assert table["mean"].sel(system="b", metric="high").item() == pytest.approx(values[1, 1].mean().item())
    cell = statistics.as_text(table, digits=2).loc["b", "high"]
    assert cell.startswith(f"{values[1, 1].mean().item():.2f} [") and cell.endswith("]")
    assert list(statistics.as_text(table.sel(system="a")).columns) == ["mean (n = 40)"]


def test_errors_say_what_came():
    with pytest.raises(ValueError, match="at least one unit"):
        statistics.bootstrap_interval(np.empty((3, 0)))
    with pytest.raises(ValueError, match="1 of 2 values are not finite"):
        statistics.bootstrap_interval([1, np.nan])
    with pytest.raises(ValueError, match="at least 1, got 0"):
        statistics.bootstrap_interval([1, 2], n_bootstrap=0)
    with pytest.raises(ValueError, match=r"got \(2,\) and \(3,\)"):
        statistics.paired_difference([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match=r"got shape \(2, 2\)"):
        statistics.sign_flip_test(np.ones((2, 2)))
    with pytest.raises(ValueError, match="between 0 and 1, and each must be a number"):
        statistics.holm([0.1, np.nan])
    with pytest.raises(ValueError, match="no pair to compare; system has a, b"):
        statistics.differences(xr.DataArray(np.ones((2, 1, 3)), {"system": ["a", "b"]}, ("system", "metric", "test_image")), [])
    with pytest.raises(ValueError, match=r"over must be one of the dimensions .*, got 'image'"):
        statistics.summary(xr.DataArray([1.0, 2.0], dims="test_image"), over="image")
