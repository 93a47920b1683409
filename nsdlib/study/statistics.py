"""Statistical inference on scores: bootstrap intervals over images, paired differences, sign-flip tests, and their tables.

The units of analysis are on the last axis: images within a subject, or subjects within a group. Repeated measures of an image,
such as its scores under several seeds, are averaged first, because seeds are nested in images and images are resampled. Sums are
float64.
"""

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

LEVEL = 0.95  # coverage of every interval
TAILS = (1 - LEVEL) / 2, (1 + LEVEL) / 2
N_PERMUTATIONS = 10_000  # permutations of a sign-flip test
CHUNK = 1 << 22  # random numbers in memory at once


def bootstrap_interval(values, *, n_bootstrap=2000, seed=0):
    """Compute the percentile bootstrap interval of the mean over the last axis (Efron & Tibshirani 1993, chapter 13).

    `values` are (..., n_units), one per image (or subject). All rows share their resamples, so intervals of differences are
    paired. If resamples of independent samples are combined, give each sample its own seed: NumPy accepts pairs such as (seed,
    subject). Returns low and high, (...) float64, with coverage `LEVEL`. No units or a non-finite value raises a ValueError.
    """
    return tuple(np.quantile(bootstrap_means(values, n_bootstrap=n_bootstrap, seed=seed), TAILS, axis=0))


def bootstrap_means(values, *, n_bootstrap=2000, seed=0):
    """Compute the means of resamples with replacement of the last axis: (..., n_units) -> (n_bootstrap, ...) float64.

    No units, no resamples, or a non-finite value raises a ValueError.
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
    """Test whether paired differences (n_units,) are symmetric around zero by a two-sided permutation test: a p value.

    The p value is never 0, because the observed signs count as one pattern (Phipson & Smyth 2010). All sign patterns are
    enumerated if there are at most `n_permutations`; otherwise patterns are drawn at random.
    """
    differences = _finite(differences)
    if differences.ndim != 1:
        raise ValueError(f"differences must be (n_units,), got shape {differences.shape}.")
    n_units = len(differences)
    observed = abs(differences.sum()) - 1e-12 * np.abs(differences).sum()  # tolerance: rounding must not break ties
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

    `a` and `b` are (n_units,) for the same images (or subjects) in the same order; other shapes raise a ValueError. `allowed` is
    the margin of a non-inferiority test: p then tests a - b + allowed.
    """
    a, b = _paired(a, b)
    low, high = bootstrap_interval(a - b, n_bootstrap=n_bootstrap, seed=seed)
    p = sign_flip_test(a - b + allowed, seed=seed)
    return {"mean": float((a - b).mean()), "low": float(low), "high": float(high), "p": p, "n": len(a)}


def rank_correlation(a, b, *, n_bootstrap=2000, seed=0):
    """Compute Spearman's correlation of a and b, (n_units,) each, and its percentile bootstrap interval.

    Each resample is ranked anew, so the limits lie within [-1, 1]; resamples where a or b is constant have no coefficient.
    Returns a dict: mean (the coefficient), low, high, n. Different shapes or a constant `a` or `b` raise a ValueError.
    """
    pair = np.stack(_paired(a, b))
    if (pair.min(axis=1) == pair.max(axis=1)).any():
        raise ValueError("a rank correlation needs values that differ, but all values of one variable are equal.")
    n_units, rng = pair.shape[1], np.random.default_rng(seed)
    rows = (rng.integers(n_units, size=(size, n_units)) for size in _chunk_sizes(n_bootstrap, n_units))
    coefficients = np.concatenate([_spearman(*pair[:, row]) for row in rows])
    low, high = np.nanquantile(coefficients, TAILS)
    return {"mean": float(_spearman(*pair)), "low": float(low), "high": float(high), "n": n_units}


def _spearman(a, b):
    """Correlation of the ranks on the last axis; NaN where a or b is constant."""
    a, b = (ranks - ranks.mean(axis=-1, keepdims=True) for ranks in (stats.rankdata(a, axis=-1), stats.rankdata(b, axis=-1)))
    with np.errstate(invalid="ignore"):
        return (a * b).sum(axis=-1) / np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))


def differences(values, pairs, metrics=None, *, along="system", n_bootstrap=2000, seed=0):
    """Compute the paired differences of systems in every score; positive means that the first system is better.

    `values` is (along, metric, test_image), and `pairs` are pairs of entries of `along`; an empty list raises a ValueError.
    `metrics` (name to Metric) supplies labels and directions; without it, signs are left as they are. Returns a DataFrame indexed
    by (pair, score): mean, low, high, p, n, and p corrected over all rows (Holm).
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
    """Select the pairs whose entries are both among `names`, such as the names on the axis that `differences` compares."""
    return [pair for pair in pairs if set(pair) <= set(names)]


def differences_as_text(table):
    """Format a table of `differences` as "+mean [low, high]", pairs by scores; * where the corrected p is below 0.05."""

    def cell(row):
        return f"{row['mean']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]{'*' if row['p corrected'] < 0.05 else ''}"

    return table.apply(cell, axis=1).unstack(sort=False)


def place_between(floor, own, ceiling, *, n_bootstrap=2000, seed=0):
    """Compute the place of a mean between a floor (0) and a ceiling (1), each (n_units,) for the same images, higher is better.

    Returns (1 + n_bootstrap,) float64: the place for all units, then for each resample; NaN where the interval of ceiling minus
    floor does not lie above 0.
    """
    values = _finite(np.stack([floor, own, ceiling]))
    resampled = bootstrap_means(values, n_bootstrap=n_bootstrap, seed=seed)
    floor, own, ceiling = np.vstack([values.mean(axis=1), resampled]).T
    headroom = ceiling - floor
    return (own - floor) / headroom if limits(headroom)[0] > 0 else np.full_like(headroom, np.nan)


def place_as_text(place):
    """Format a place of `place_between`, or a difference of two, as "mean [low, high]", or as "no room" if it is NaN."""
    return "{:.2f} [{:.2f}, {:.2f}]".format(place[0], *limits(place)) if np.isfinite(place[0]) else "no room"


def limits(drawn):
    """Return low and high of the interval of (1 + n_bootstrap,) values; the first value is no resample and is ignored."""
    return np.quantile(drawn[1:], TAILS)


def holm(p_values):
    """Correct p values for multiple testing by Holm's step-down procedure (1979): any shape in, the same shape out.

    It controls the family-wise error rate under any dependence between the tests. Values outside [0, 1] raise a ValueError.
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
    """Return the verdict on a claim from the subjects' differences, which are positive if the claim is true.

    `low`, `high` and `p_values` are (n_subjects,); the p values must be corrected if several claims are tested. A difference is
    significant if its interval excludes 0 and its p is below 0.05. The verdict is "holds" if every subject's difference is
    significantly positive, "does not hold" if every one is significantly negative, "mixed" if both signs occur among the
    significant ones, and "undecided" otherwise.
    """
    is_significant = np.asarray(p_values) < 1 - LEVEL
    signs = is_significant * ((np.asarray(low) > 0).astype(int) - (np.asarray(high) < 0))
    if abs(signs.sum()) == len(signs):
        return "holds" if signs[0] > 0 else "does not hold"
    return "mixed" if {-1, 1} <= set(signs.tolist()) else "undecided"


def summary(values, *, over="test_image", n_bootstrap=2000, seed=0):
    """Compute the mean and interval of every row of a labelled array, such as (system, metric, test_image).

    Returns a Dataset: mean, low, high over the dimensions other than `over`, which is that of the units; attributes n, level,
    over. A missing dimension raises a ValueError.
    """
    if over not in values.dims:
        raise ValueError(f"over must be one of the dimensions {values.dims}, got {over!r}.")
    ordered = values.transpose(..., over)
    low, high = bootstrap_interval(ordered.values, n_bootstrap=n_bootstrap, seed=seed)
    mean = ordered.mean(over, dtype=np.float64)
    table = xr.Dataset({"mean": mean, "low": mean.copy(data=low), "high": mean.copy(data=high)})
    return table.assign_attrs(n=values.sizes[over], level=LEVEL, over=over)


def t_summary(values, *, over="subject"):
    """Compute what `summary` does with Student's t interval, for few units such as subjects; fewer than two raise a ValueError.

    A bootstrap of four subjects gives intervals that are too narrow. If each value is itself a mean over images, its uncertainty
    already contributes to the variance between values, so images nested in subjects need no other interval.
    """
    if (n_units := values.sizes.get(over, 0)) < 2:
        raise ValueError(f"an interval over {over} needs at least two of them, got {n_units}.")
    mean = values.mean(over, dtype=np.float64)
    half_width = stats.t.ppf(TAILS[1], n_units - 1) * values.std(over, ddof=1, dtype=np.float64) / np.sqrt(n_units)
    table = mean.to_dataset(name="mean").assign(low=mean - half_width, high=mean + half_width)
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
    """The numbers of draws per batch that keep `CHUNK` random numbers in memory."""
    step = max(1, CHUNK // n_units)
    return [min(step, n_draws - start) for start in range(0, n_draws, step)]


def _finite(values):
    """Convert values to float64; a ValueError if there are none or any is not finite."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 0 or values.shape[-1] == 0:
        raise ValueError(f"values must hold at least one unit on their last axis, got shape {values.shape}.")
    if n_bad := np.count_nonzero(~np.isfinite(values)):
        raise ValueError(f"{n_bad} of {values.size} values are not finite: find out why, or leave them out.")
    return values


def _paired(a, b):
    """Convert two values of each unit to float64; a ValueError if they are not (n_units,) of one length."""
    a, b = _finite(a), _finite(b)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"paired values must be two (n_units,) arrays of one length, got {a.shape} and {b.shape}.")
    return a, b
