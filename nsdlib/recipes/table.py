"""Comparison of systems: scores of each recipe's images and of its brain side, their bounds, and costs.

The artifact `systems` holds scores (system, metric, test_image): value under the run's protocol, null with images mispaired, and
own under the protocol of the recipe's authors, NaN if it is not one of ours. brain and brain_null (system, measure, test_image)
score the decoded targets. If recipes lift pooled vectors, lifted (ceiling, metric, test_image) scores images drawn from the true
vectors. If a recipe scores all its samples, scores are means over them.
"""

import numpy as np
import pandas as pd
import xarray as xr

from nsdlib.core.scores.metrics import METRICS
from nsdlib.core.scores.retrieval import retrieval
from nsdlib.core.scores.similarity import two_way
from nsdlib.store.zoo import load_scorer
from nsdlib.study import floors, statistics
from nsdlib.study.reconstruction import score_all

FIRST = "veronese"  # the paper's own system, to which the others are compared
CEILING = "refined, all true"  # of the artifact `scores`
LIFTED = "true vector lifted"
CANDIDATES = 300  # number of candidates in published retrieval
TOPS = (1, 5)


def measure(systems, inputs, stimulus, shown):
    """Score all systems: the artifact `systems` (xarray.Dataset).

    `systems` maps a name to its recipe, `brain.Decoded` and `pictures.Drawn`. The test images are `stimulus`, at the size at
    which the run scores, and `shown` as presented, for protocols that resize them themselves.
    """
    run, store, ids = inputs.run, inputs.store, inputs.test.ids
    samples, all_rows = {name: drawn.scored for name, (*_, drawn) in systems.items()}, slice(None)
    order = mispair(len(ids), seed=run.seed)
    score = _mean_over_samples(store.memoise(load_scorer(run).score, weights=("features",)))
    value, null = (
        score_all(score, stimulus, {name: [images[rows] for images in sets] for name, sets in samples.items()}, ids=ids)
        for rows in (all_rows, order)
    )
    brain_scores = zip(*(_score_brain(recipe, decoded, inputs, order) for recipe, decoded, _ in systems.values()), strict=True)
    brain, brain_null = (xr.concat(arrays, xr.Variable("system", list(systems))) for arrays in brain_scores)
    arrays = {"value": value, "null": null, "own": _score_by_own(systems, value, shown, inputs)}
    arrays |= {"brain": brain, "brain_null": brain_null}
    arrays["refined"] = (("system", "test_image", "row", "column", "colour"), np.stack([sets[0] for sets in samples.values()]))
    if lifted := {f"{name}, {LIFTED}": [drawn.lifted] for name, (*_, drawn) in systems.items() if drawn.lifted is not None}:
        arrays["lifted"] = score_all(score, stimulus, lifted, ids=ids, along="ceiling")
    recipes, brain_sides, drawings = zip(*systems.values(), strict=True)
    columns = {
        "badge": [decoded.badge for decoded in brain_sides],
        "own_protocol": [recipe.protocol or "" for recipe in recipes],
        "title": [recipe.title for recipe in recipes],
        "target": [recipe.retrieval_target for recipe in recipes],
        "n_parameters": [decoded.n_parameters for decoded in brain_sides],
        "brain_seconds": [decoded.seconds for decoded in brain_sides],
        "picture_seconds": [drawn.seconds for drawn in drawings],
    }
    arrays |= {name: ("system", values) for name, values in columns.items()}
    return xr.Dataset(arrays, coords={"test_image": ids})


def _mean_over_samples(score):
    """Wrap a function that scores one set of images, so that it averages the scores of several sets."""

    def mean(truth, samples):
        return xr.concat([score(truth, images) for images in samples], "sample").mean("sample", keep_attrs=True)

    return mean


def mispair(n_images, *, seed) -> np.ndarray:
    """Draw a permutation of the images, (n_images,) int, that leaves none in its place: one cycle through all of them."""
    cycle, order = np.random.default_rng(seed).permutation(n_images), np.empty(n_images, dtype=int)
    order[cycle] = np.roll(cycle, 1)
    return order


def retrieve(decoded, truth):
    """Retrieve images by decoded embeddings, and the reverse: DataArray (measure, test_image) float64, from 0 to 1.

    Both are (n_images, n_targets), two images or more; similarity is the cosine (`core.scores.retrieval`). "image, top 1" is 1 if
    no other true embedding is as similar to the decoded one as the image's own; "brain, top 1" exchanges decoded and true. With
    more than 300 images, "of 300" is the expected fraction of draws of 300 in which the image's own is first.
    """
    scores = {f"top {k}": retrieval(decoded, truth, k) for k in TOPS if k < len(decoded)}
    if len(decoded) > CANDIDATES:
        scores[f"top 1 of {CANDIDATES}"] = retrieval(decoded, truth, among=CANDIDATES)
    directions = ("image", "brain")  # rows of each score
    rows = {f"{name}, {top}": values[row] for row, name in enumerate(directions) for top, values in scores.items()}
    return xr.DataArray(np.stack(list(rows.values())), dims=("measure", "test_image"), coords={"measure": list(rows)})


def _score_brain(recipe, decoded, inputs, order):
    """Scores of one brain side, with true and with permuted pairs: two DataArrays (measure, test_image)."""
    train, test = inputs.truth(recipe.retrieval_target, **recipe.truth_options)
    mean = train.mean(axis=0, dtype=np.float64).astype(np.float32)
    unit_error, values, arrays = np.square(test - mean).mean(dtype=np.float64), decoded.targets[recipe.retrieval_target], []
    for rows in (slice(None), order):
        retrieved = retrieve(decoded.retrieval[rows], test)
        error = np.square(values[rows] - test).mean(axis=1, dtype=np.float64) / unit_error
        others = {"two-way": two_way(test - mean, values[rows] - mean), "error": error}
        others = xr.DataArray(np.stack(list(others.values())), dims=retrieved.dims, coords={"measure": list(others)})
        arrays.append(xr.concat([retrieved, others], "measure").assign_coords(test_image=inputs.test.ids))
    return arrays


def _score_by_own(systems, value, shown, inputs):
    """Scores of each system under its authors' protocol, in the form of `value`; NaN if there is none."""
    own = value.copy(data=np.full(value.shape, np.nan))
    for protocol in sorted({recipe.protocol for recipe, *_ in systems.values() if recipe.protocol}):
        score = _mean_over_samples(inputs.store.memoise(load_scorer(inputs.run, protocol=protocol).score, weights=("features",)))
        for name, (recipe, _, drawn) in systems.items():
            if recipe.protocol == protocol:
                own.loc[{"system": name}] = score(shown, drawn.scored)
    return own


def scores_table(dataset, scores, **bootstrap):
    """Tabulate all systems' scores with intervals, the best floor and retrieval, and the ceilings of notebook 05 and of lifts.

    `dataset` is the artifact `systems`, `scores` the value (system, metric, test_image) of the artifact `scores`; a DataFrame of
    str.
    """
    best = floors.best(scores).sel(system=["best floor", "best retrieval"]).drop_vars(["floor", "role"], errors="ignore")
    bounds = xr.concat([best, scores.sel(system=[CEILING]).drop_vars("role")], "system").rename(system="system")
    rows = [dataset.value.reset_coords(drop=True), bounds]
    rows += [dataset.lifted.rename(ceiling="system")] if "lifted" in dataset else []
    return _as_text(xr.concat(rows, "system", join="override"), **bootstrap)


def null_table(dataset, **bootstrap):
    """Tabulate the scores of all systems with images mispaired: the chance level of images like these."""
    return _as_text(dataset.null, **bootstrap)


def with_null(dataset):
    """Join the scores of all systems and of their nulls: (system, metric, test_image), and a dict of roles for `plot_scores`."""
    names = [str(name) for name in dataset.system.values]
    null_roles = {f"{name}, permuted": "null" for name in names}
    null = dataset.null.assign_coords(system=list(null_roles))
    return xr.concat([dataset.value, null], "system"), dict.fromkeys(names, "decoded") | null_roles


def own_table(dataset, **bootstrap):
    """Tabulate the scores of systems under their authors' protocol, if they have one, with its name (str DataFrame)."""
    names = [name for name in dataset.system.values if dataset.own_protocol.sel(system=name).item()]
    if not names:
        return pd.DataFrame({"protocol": []})
    table = _as_text(dataset.own.sel(system=names), **bootstrap)
    table.insert(0, "protocol", dataset.own_protocol.sel(system=names).values)
    return table


def brain_table(dataset, **bootstrap):
    """Tabulate each brain side: scores, retrieval, its null, the linter's badge, seconds and parameters (DataFrame)."""
    table = statistics.as_text(statistics.summary(dataset.brain, **bootstrap), digits=2)
    table["permuted: image, top 1"] = dataset.brain_null.sel(measure="image, top 1").mean("test_image").values
    table["linter"], table["found by"] = dataset.badge.values, dataset.target.values
    for name, column in {"brain_seconds": "s, brain", "picture_seconds": "s, pictures"}.items():
        table[column] = dataset[name].values.round(1)
    table["parameters"] = [f"{n / 1e6:.2f} M" if np.isfinite(n) else "not known" for n in dataset.n_parameters.values]
    return table


def gains(dataset, **bootstrap):
    """Compare every system with the paper's, or the first, by `statistics.differences`; positive means that it is better.

    Holm's correction is over all rows. A ValueError is raised if there is no other system.
    """
    names = dataset.system.values.tolist()
    first = FIRST if FIRST in names else names[0]
    return statistics.differences(dataset.value, [(name, first) for name in names if name != first], METRICS, **bootstrap)


def deviations(systems) -> list[str]:
    """List how each system departs from what was published, one sentence each: from its recipe, and from its fit."""
    lines = []
    for name, (recipe, decoded, _) in systems.items():
        missing = [f"No counterpart: {recipe.no_counterpart}"] if recipe.no_counterpart else []
        lines += [f"{name}: {sentence}" for sentence in (*recipe.deviations, *decoded.notes, *missing)]
    return lines


def _as_text(values, **bootstrap):
    """Means and intervals of (system, metric, test_image) as text, columns by the metrics' labels."""
    table = statistics.as_text(statistics.summary(values, **bootstrap), digits=2)
    return table.rename(columns={name: metric.label for name, metric in METRICS.items()})
