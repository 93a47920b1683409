"""How sure a number is: bootstrap intervals over images, paired differences, sign-flip tests, and the table of them all.

The unit is whatever the last axis counts: images within a subject, subjects within a group. Values in, float64 sums.
"""

import numpy as np

LEVEL = 0.95
CHUNK = 1 << 22  # numbers of a random draw held at once


def bootstrap_interval(values, *, n_bootstrap=2000, seed=0, level=LEVEL):
    """Percentile bootstrap interval of the mean over the last axis (Efron & Tibshirani 1993, chapter 13).

    Parameters
    ----------
    values : (..., n_units) array
        One value an image (or a subject). All rows share their resamples, so intervals of differences are paired.
    n_bootstrap : int
    seed : int
    level : float
        Coverage, between 0 and 1.

    Returns
    -------
    low, high : (...) float64

    Raises
    ------
    ValueError
        When there are no units, a value is not finite, or the level is no share.
    """
    values = _check(values)
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}; 0.95 is a 95 % interval.")
    means = bootstrap_means(values, n_bootstrap=n_bootstrap, seed=seed)
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return low, high


def bootstrap_means(values, *, n_bootstrap=2000, seed=0):
    """Means of resamples with replacement of the last axis: (..., n_units) -> (n_bootstrap, ...) float64."""
    values = _check(values)
    if n_bootstrap < 1:
        raise ValueError(f"n_bootstrap must be at least 1, got {n_bootstrap}.")
    n_units = values.shape[-1]
    rng = np.random.default_rng(seed)
    flat = values.reshape(-1, n_units).T / n_units  # (n_units, n_rows)
    step = max(1, CHUNK // n_units)
    parts = []
    for start in range(0, n_bootstrap, step):
        n_here = min(step, n_bootstrap - start)
        counts = rng.multinomial(n_units, np.full(n_units, 1 / n_units), size=n_here)  # how often each unit is drawn
        parts.append(counts @ flat)
    return np.concatenate(parts).reshape(n_bootstrap, *values.shape[:-1])


def sign_flip_test(differences, *, n_permutations=2000, seed=0):
    """Two-sided permutation test that paired differences are symmetric around zero.

    Parameters
    ----------
    differences : (n_units,) array
    n_permutations : int
        Random sign patterns; all of them instead, where there are no more than that many.
    seed : int

    Returns
    -------
    float
        p value, never 0: the observed pattern counts as one of the patterns (Phipson & Smyth 2010).
    """
    differences = _check(differences)
    if differences.ndim != 1:
        raise ValueError(f"differences must be (n_units,), got shape {differences.shape}.")
    n_units = len(differences)
    observed = abs(differences.sum())
    enough = observed - 1e-12 * np.abs(differences).sum()  # ties survive rounding
    if n_units < 63 and 2**n_units <= n_permutations:
        patterns = np.arange(2**n_units)[:, None] >> np.arange(n_units) & 1
        return float((np.abs((2 * patterns - 1) @ differences) >= enough).mean())
    rng = np.random.default_rng(seed)
    step, hits = max(1, CHUNK // n_units), 0
    for start in range(0, n_permutations, step):
        signs = rng.integers(0, 2, size=(min(step, n_permutations - start), n_units), dtype=np.int8) * 2 - 1
        hits += int((np.abs(signs @ differences) >= enough).sum())
    return (1 + hits) / (1 + n_permutations)


def paired_difference(a, b, *, allowed=0.0, n_bootstrap=2000, n_permutations=10_000, seed=0, level=LEVEL):
    """Mean of a - b over units that both share, its interval and the p value of a sign-flip test.

    Parameters
    ----------
    a, b : (n_units,) arrays
        The same images (or subjects) in the same order.
    allowed : float
        How far a may lie below b and still count as no worse: p is of the difference plus this.

    Returns
    -------
    dict
        mean, low, high, p, n.

    Raises
    ------
    ValueError
        When the two differ in shape.
    """
    a, b = _check(a), _check(b)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(
            f"paired values must be two (n_units,) arrays of one length, got shapes {a.shape} and {b.shape}."
        )
    low, high = bootstrap_interval(a - b, n_bootstrap=n_bootstrap, seed=seed, level=level)
    p = sign_flip_test(a - b + allowed, n_permutations=n_permutations, seed=seed)
    return {"mean": float((a - b).mean()), "low": float(low), "high": float(high), "p": p, "n": len(a)}


def falling_share(values, *, n_bootstrap=2000, seed=0):
    """How surely a mean falls from level to level.

    Parameters
    ----------
    values : (n_levels, n_units) array
        In the order of the levels; the same units at each.

    Returns
    -------
    float
        Share of the bootstrap resamples in which every step goes down.
    """
    means = bootstrap_means(values, n_bootstrap=n_bootstrap, seed=seed)  # (n_bootstrap, n_levels)
    return float((np.diff(means, axis=1) < 0).all(axis=1).mean())


def differences(values, pairs, metrics, *, along="system", n_bootstrap=2000, seed=0):
    """Paired differences of systems in every score, signed so that positive is better for the first.

    Parameters
    ----------
    values : xarray.DataArray
        (along, metric, test_image).
    pairs : sequence of (str, str)
        Entries of `along`.
    metrics : dict of str to metrics.Metric
        Gives labels and directions.
    along : str

    Returns
    -------
    pandas.DataFrame
        Indexed by (pair, score): mean, low, high, p, n, and p corrected for all rows together (Holm).
    """
    import pandas as pd

    rows = {}
    for first, second in pairs:
        for name, metric in metrics.items():
            both = (values.sel({along: one, "metric": name}).values for one in (first, second))
            a, b = (one if metric.higher_is_better else -one for one in both)
            rows[f"{first} - {second}", metric.label] = paired_difference(a, b, n_bootstrap=n_bootstrap, seed=seed)
    table = pd.DataFrame(rows).T.astype({"n": int})
    table["p corrected"] = holm(table["p"])
    return table


def differences_as_text(table):
    """A table of `differences` as strings "+mean [low, high]", pairs by scores; * where the corrected p is below 0.05."""
    import pandas as pd

    cells = [
        f"{one['mean']:+.3f} [{one['low']:+.3f}, {one['high']:+.3f}]{'*' if one['p corrected'] < 0.05 else ''}"
        for _, one in table.iterrows()
    ]
    return pd.Series(cells, index=table.index).unstack(sort=False)


def place_between(floor, own, ceiling, *, n_bootstrap=2000, seed=0):
    """Where a mean lies between a floor and a ceiling, 0 and 1, over the same images.

    Parameters
    ----------
    floor, own, ceiling : (n_units,) arrays

    Returns
    -------
    (1 + n_bootstrap,) float64
        Of all units first, then of each resample; not finite where floor and ceiling meet.
    """
    values = _check(np.stack([floor, own, ceiling]))
    resampled = bootstrap_means(values, n_bootstrap=n_bootstrap, seed=seed)
    means = np.vstack([values.mean(axis=1), resampled])
    with np.errstate(invalid="ignore", divide="ignore"):
        return (means[:, 1] - means[:, 0]) / (means[:, 2] - means[:, 0])


def holm(p_values):
    """p values corrected for their number, step by step down (Holm 1979): any shape in, the same shape out.

    Below 0.05 after it, the chance of one or more false findings among all of them is below 5 %, however they depend on each
    other.

    Raises
    ------
    ValueError
        When a value is no probability.
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    if not ((p_values >= 0) & (p_values <= 1)).all():
        raise ValueError("p values must lie between 0 and 1, and each must be a number.")
    flat = p_values.ravel()
    order = np.argsort(flat)
    corrected = np.empty_like(flat)
    corrected[order] = np.maximum.accumulate(flat[order] * np.arange(len(flat), 0, -1))
    return np.minimum(corrected, 1).reshape(p_values.shape)


def verdict(means, p_values, *, level=LEVEL):
    """What differences that should be above zero say about a claim, over one or more subjects.

    Parameters
    ----------
    means, p_values : (n_subjects,) arrays
        Mean difference of each subject, and its p value, corrected where several claims are tested.
    level : float

    Returns
    -------
    str
        "holds" when every subject's difference is surely above zero, "does not hold" when every one is surely below, "mixed"
        when subjects surely contradict each other, "undecided" otherwise.
    """
    sure = np.where(np.asarray(p_values) < 1 - level, np.sign(means), 0)
    if len(sure) == 0:
        return "not measured"
    if abs(sure.sum()) == len(sure):
        return "holds" if sure[0] > 0 else "does not hold"
    return "mixed" if {-1, 1} <= set(sure) else "undecided"


def summary(values, *, over="test_image", n_bootstrap=2000, seed=0, level=LEVEL):
    """Mean and interval of every row of a labelled array.

    Parameters
    ----------
    values : xarray.DataArray
        With the dimension `over` and any others, such as (system, metric, test_image).
    over : str
        The dimension whose entries are the units.

    Returns
    -------
    xarray.Dataset
        mean, low, high over the other dimensions; attributes n, level, over.

    Raises
    ------
    ValueError
        When there is no such dimension.
    """
    import xarray as xr

    if over not in values.dims:
        raise ValueError(
            f"values have the dimensions {values.dims}, none is over={over!r}: name the one to average over."
        )
    last = values.transpose(..., over)
    low, high = bootstrap_interval(last.values, n_bootstrap=n_bootstrap, seed=seed, level=level)
    mean = last.mean(over, dtype=np.float64)
    table = xr.Dataset({"mean": mean, "low": mean.copy(data=low), "high": mean.copy(data=high)})
    return table.assign_attrs(n=values.sizes[over], level=level, over=over)


def as_text(table, *, digits=3):
    """A summary as a table of strings "mean [low, high]": two dimensions give rows and columns, one gives one column.

    Parameters
    ----------
    table : xarray.Dataset
        From `summary`, of one or two dimensions.

    Returns
    -------
    pandas.DataFrame
    """
    import pandas as pd

    mean, low, high = (np.asarray(table[name], dtype=float) for name in ("mean", "low", "high"))
    texts = [
        f"{m:.{digits}f} [{a:.{digits}f}, {b:.{digits}f}]"
        for m, a, b in zip(mean.flat, low.flat, high.flat, strict=True)
    ]
    rows, *columns = table["mean"].dims
    cells = np.array(texts, dtype=object).reshape(len(table[rows]), -1)
    names = table[columns[0]].values if columns else [f"mean (n = {table.n})"]
    return pd.DataFrame(cells, index=pd.Index(table[rows].values, name=rows), columns=names)


def _check(values):
    """Values as float64, refused when empty or not finite."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 0 or values.shape[-1] == 0:
        raise ValueError(f"values must hold at least one unit on their last axis, got shape {values.shape}.")
    if not np.isfinite(values).all():
        raise ValueError(
            f"{int((~np.isfinite(values)).sum())} of {values.size} values are not finite; mend them before averaging."
        )
    return values
