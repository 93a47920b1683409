"""Statistical inference on scores: bootstrap intervals over images, paired differences, sign-flip tests, and their tables.

The unit is whatever the last axis counts: images within a subject, subjects within a group. What was drawn several times for one
image, such as its refined image under several seeds, is averaged first: seeds are nested in the images, which are resampled. Sums
are float64.
"""

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

LEVEL = 0.95  # of every interval
TAILS = (1 - LEVEL) / 2, (1 + LEVEL) / 2
N_PERMUTATIONS = 10_000  # of a sign-flip test
CHUNK = 1 << 22  # random numbers held at once


def bootstrap_interval(values, *, n_bootstrap=2000, seed=0):
    """Compute the percentile bootstrap interval of the mean over the last axis (Efron & Tibshirani 1993, chapter 13).

    `values` are (..., n_units), one an image (or a subject). All rows share their resamples, so that intervals of differences
    are paired. Samples that have nothing to do with each other need seeds of their own where their resamples meet: NumPy takes
    pairs, such as (seed, subject). Returns low and high, (...) float64, whose coverage is `LEVEL`. No units, or a value that is
    not finite, is a ValueError.
    """
    return tuple(np.quantile(bootstrap_means(values, n_bootstrap=n_bootstrap, seed=seed), TAILS, axis=0))


def bootstrap_means(values, *, n_bootstrap=2000, seed=0):
    """Compute the means of resamples with replacement of the last axis: (..., n_units) -> (n_bootstrap, ...) float64.

    No units, no resamples, or a value that is not finite is a ValueError.
    """
    values = _finite(values)
    if n_bootstrap < 1:
        raise ValueError(f"n_bootstrap must be at least 1, got {n_bootstrap}.")
    n_units = values.shape[-1]
    rng = np.random.default_rng(seed)
    flat = values.reshape(-1, n_units).T / n_units  # (n_units, n_rows)
    uniform = np.full(n_units, 1 / n_units)
    means = [rng.multinomial(n_units, uniform, size=size) @ flat for size in _chunk_sizes(n_bootstrap, n_units)]
    return np.concatenate(means).reshape(n_bootstrap, *values.shape[:-1])


def sign_flip_test(differences, *, n_permutations=N_PERMUTATIONS, seed=0):
    """Test by permutation, two-sided, whether paired differences (n_units,) are symmetric around zero: a p value.

    It is never 0: the observed pattern of signs counts as one of the patterns (Phipson & Smyth 2010), which are drawn at
    random, or taken each once where there are no more than `n_permutations`.
    """
    differences = _finite(differences)
    if differences.ndim != 1:
        raise ValueError(f"differences must be (n_units,), got shape {differences.shape}.")
    n_units = len(differences)
    observed = abs(differences.sum()) - 1e-12 * np.abs(differences).sum()  # ties survive rounding
    if n_units < 63 and 2**n_units <= n_permutations:
        patterns = np.arange(2**n_units)[:, None] >> np.arange(n_units) & 1
        return float((np.abs((2 * patterns - 1) @ differences) >= observed).mean())
    rng, n_extreme = np.random.default_rng(seed), 0
    for size in _chunk_sizes(n_permutations, n_units):
        signs = rng.integers(0, 2, size=(size, n_units), dtype=np.int8) * 2 - 1
        n_extreme += int((np.abs(signs @ differences) >= observed).sum())
    return (1 + n_extreme) / (1 + n_permutations)


def paired_difference(a, b, *, allowed=0.0, n_bootstrap=2000, seed=0):
    """Compute the mean of a - b over the same units, its interval and the p value of a sign-flip test: mean, low, high, p, n.

    `a` and `b` are (n_units,), of the same images (or subjects) in the same order, or a ValueError. With `allowed`, the margin of
    a test of non-inferiority, p is of the difference plus this.
    """
    a, b = _paired(a, b)
    low, high = bootstrap_interval(a - b, n_bootstrap=n_bootstrap, seed=seed)
    p = sign_flip_test(a - b + allowed, seed=seed)
    return {"mean": float((a - b).mean()), "low": float(low), "high": float(high), "p": p, "n": len(a)}


def rank_correlation(a, b, *, n_bootstrap=2000, seed=0):
    """Compute Spearman's correlation of a and b, (n_units,) each, and its percentile bootstrap interval.

    Each resample is ranked anew and gets its own coefficient, so that the limits lie within [-1, 1]; where all values of one side
    are equal there is none. Returns a dict: mean (the coefficient), low, high, n. Two shapes are a ValueError, equal values too.
    """
    both = np.stack(_paired(a, b))
    if (both.min(axis=1) == both.max(axis=1)).any():
        raise ValueError("a rank correlation needs values that differ, got equal ones alone.")
    n_units, rng = both.shape[1], np.random.default_rng(seed)
    rows = (rng.integers(n_units, size=(size, n_units)) for size in _chunk_sizes(n_bootstrap, n_units))
    drawn = np.concatenate([_spearman(*both[:, chosen]) for chosen in rows])
    low, high = np.nanquantile(drawn, TAILS)
    return {"mean": float(_spearman(*both)), "low": float(low), "high": float(high), "n": n_units}


def _spearman(a, b):
    """Correlation of the ranks on the last axis; NaN where one side does not vary."""
    a, b = (ranks - ranks.mean(axis=-1, keepdims=True) for ranks in (stats.rankdata(a, axis=-1), stats.rankdata(b, axis=-1)))
    with np.errstate(invalid="ignore"):
        return (a * b).sum(axis=-1) / np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))


def differences(values, pairs, metrics=None, *, along="system", n_bootstrap=2000, seed=0):
    """Compute the paired differences of systems in every score, signed so that positive is better for the first.

    `values` is (along, metric, test_image), and `pairs` are of entries of `along`; a ValueError when there is no pair. `metrics`
    (name to Metric) gives labels and directions; without it, differences have the sign that they have. Returns a DataFrame,
    indexed by (pair, score): mean, low, high, p, n, and p corrected for all rows together (Holm).
    """
    if not pairs:
        raise ValueError(f"there is no pair to compare; {along} has {', '.join(map(str, values[along].values))}.")
    scores = {name: (name, 1) for name in values.metric.values}
    if metrics is not None:
        scores = {name: (metric.label, metric.sign) for name, metric in metrics.items()}
    rows = {}
    for first, second in pairs:
        for name, (label, sign) in scores.items():
            a, b = (sign * values.sel({along: system, "metric": name}).values for system in (first, second))
            rows[f"{first} - {second}", label] = paired_difference(a, b, n_bootstrap=n_bootstrap, seed=seed)
    table = pd.DataFrame(rows).T.astype({"n": int})
    table["p corrected"] = holm(table["p"])
    return table


def present(pairs, names) -> list:
    """Select the pairs whose two entries are both among `names`, such as those along a dimension that `differences` compares."""
    return [pair for pair in pairs if set(pair) <= set(names)]


def differences_as_text(table):
    """Format a table of `differences` as "+mean [low, high]", pairs by scores; * where the corrected p is below 0.05."""

    def cell(row):
        return f"{row['mean']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]{'*' if row['p corrected'] < 0.05 else ''}"

    return table.apply(cell, axis=1).unstack(sort=False)


def place_between(floor, own, ceiling, *, n_bootstrap=2000, seed=0):
    """Compute where a mean lies between a floor (0) and a ceiling (1), each (n_units,) of the same images, higher is better.

    Returns (1 + n_bootstrap,) float64: of all units first, then of each resample; NaN where the ceiling is not surely above the
    floor.
    """
    values = _finite(np.stack([floor, own, ceiling]))
    resampled = bootstrap_means(values, n_bootstrap=n_bootstrap, seed=seed)
    floor, own, ceiling = np.vstack([values.mean(axis=1), resampled]).T
    room = ceiling - floor
    return (own - floor) / room if limits(room)[0] > 0 else np.full_like(room, np.nan)


def place_as_text(place):
    """Format a place of `place_between`, or a difference of two, as "mean [low, high]", "no room" where there is none."""
    return "{:.2f} [{:.2f}, {:.2f}]".format(place[0], *limits(place)) if np.isfinite(place[0]) else "no room"


def limits(drawn):
    """Return low and high of the interval of (1 + n_bootstrap,) values, of which the first is not of a resample."""
    return np.quantile(drawn[1:], TAILS)


def holm(p_values):
    """Correct p values for their number by Holm's step-down procedure (1979): any shape in, the same shape out.

    It bounds the family-wise error rate, whatever the dependence between the tests. What is no probability is a ValueError.
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    if not ((p_values >= 0) & (p_values <= 1)).all():
        raise ValueError("p values must lie between 0 and 1, and each must be a number.")
    flat = p_values.ravel()
    order = np.argsort(flat)
    corrected = np.empty_like(flat)
    corrected[order] = np.maximum.accumulate(flat[order] * np.arange(len(flat), 0, -1))
    return np.minimum(corrected, 1).reshape(p_values.shape)


def verdict(low, high, p_values):
    """Return the verdict on a claim from the intervals of differences that are positive where it is true.

    `low`, `high` and `p_values` are (n_subjects,), the last corrected where several claims are tested. A difference is sure when
    its interval excludes 0 and its p is below 0.05. "holds" when every subject's difference is surely positive, "does not hold"
    when each is surely negative, "mixed" when sure differences of both signs occur, "undecided" otherwise.
    """
    is_sure = np.asarray(p_values) < 1 - LEVEL
    signs = is_sure * ((np.asarray(low) > 0).astype(int) - (np.asarray(high) < 0))
    if abs(signs.sum()) == len(signs):
        return "holds" if signs[0] > 0 else "does not hold"
    return "mixed" if {-1, 1} <= set(signs.tolist()) else "undecided"


def summary(values, *, over="test_image", n_bootstrap=2000, seed=0):
    """Compute the mean and interval of every row of a labelled array, such as (system, metric, test_image).

    Returns a Dataset: mean, low, high over the dimensions other than `over`, that of the units; attributes n, level, over. A
    ValueError when there is no such dimension.
    """
    if over not in values.dims:
        raise ValueError(f"values have the dimensions {values.dims}, none is over={over!r}: name one to average over.")
    last = values.transpose(..., over)
    low, high = bootstrap_interval(last.values, n_bootstrap=n_bootstrap, seed=seed)
    mean = last.mean(over, dtype=np.float64)
    table = xr.Dataset({"mean": mean, "low": mean.copy(data=low), "high": mean.copy(data=high)})
    return table.assign_attrs(n=values.sizes[over], level=LEVEL, over=over)


def t_summary(values, *, over="subject"):
    """Compute what `summary` does with Student's t interval, for units as few as subjects are; fewer than two are a ValueError.

    A bootstrap of four subjects is too narrow. Where each value is itself a mean over images, how surely it is known is part of
    how much the values differ: images nested in subjects need no interval of another kind.
    """
    if (n_units := values.sizes.get(over, 0)) < 2:
        raise ValueError(f"an interval over {over} needs at least two of them, got {n_units}.")
    mean = values.mean(over, dtype=np.float64)
    half = stats.t.ppf(TAILS[1], n_units - 1) * values.std(over, ddof=1, dtype=np.float64) / np.sqrt(n_units)
    table = mean.to_dataset(name="mean").assign(low=mean - half, high=mean + half)
    return table.assign_attrs(n=n_units, level=LEVEL, over=over)


def as_text(table, *, digits=3):
    """Format a `summary` of one or two dimensions as "mean [low, high]": rows by columns (pandas.DataFrame of str)."""
    mean, low, high = (np.asarray(table[name], dtype=float).flat for name in ("mean", "low", "high"))
    texts = [f"{m:.{digits}f} [{a:.{digits}f}, {b:.{digits}f}]" for m, a, b in zip(mean, low, high, strict=True)]
    rows, *columns = table["mean"].dims
    cells = np.array(texts, dtype=object).reshape(len(table[rows]), -1)
    names = table[columns[0]].values if columns else [f"mean (n = {table.n})"]
    return pd.DataFrame(cells, index=pd.Index(table[rows].values, name=rows), columns=names)


def _chunk_sizes(n_draws, n_units):
    """Yield the numbers of draws that are made at once, so that `CHUNK` random numbers are held."""
    step = max(1, CHUNK // n_units)
    for start in range(0, n_draws, step):
        yield min(step, n_draws - start)


def _finite(values):
    """Values as float64; an error when there are none or one is not finite."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 0 or values.shape[-1] == 0:
        raise ValueError(f"values must hold at least one unit on their last axis, got shape {values.shape}.")
    if not np.isfinite(values).all():
        n_bad = int((~np.isfinite(values)).sum())
        raise ValueError(f"{n_bad} of {values.size} values are not finite; mend them before averaging.")
    return values


def _paired(a, b):
    """Two values of each unit as float64; an error when they are not of the same units."""
    a, b = _finite(a), _finite(b)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"paired values must be two (n_units,) arrays of one length, got {a.shape} and {b.shape}.")
    return a, b
