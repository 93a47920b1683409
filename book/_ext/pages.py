"""Pages of the book generated from results and data files: "Why", comparison with the paper, reliability, your own data, state.

The text of all but the last is `book/*.template.md`; each `{{name}}` in it is replaced by a table computed here, in
`book._ext.why` or in `book._ext.faults`.
"""

import re

import matplotlib as mpl
import numpy as np
import pandas as pd

from book._ext import faults, why
from book._ext.audit import audit
from book._ext.state import state_page, write_if_changed
from nsdlib.core.scores.metrics import METRICS
from nsdlib.params import run_names, usable_runs
from nsdlib.plots.style import STAND_IN, measures, use_style
from nsdlib.store.shipped import shipped_like
from nsdlib.store.store import Store
from nsdlib.study import claims, controls, statistics
from nsdlib.study.published import RETRIEVAL, latent_errors, paper_table, sources, systems

GENERATED = ("why", "paper", "reliability", "state", "your_own_data")
LABELS = {name: metric.title for name, metric in METRICS.items()}
MEANINGS = {
    "pairwise": "compares pixels",
    "two-way": "fraction of other images that it resembles less; chance 0.5",
    "distance": "1 - correlation of features",
}


def why_page(run, template) -> str:
    """Return the page "Why this suite" in Markdown: the template, filled with `why.tables` from the results of a run."""
    with mpl.rc_context():
        use_style()
        return fill(template, why.tables(run), Store(run))


def fill(template, tables, source) -> str:
    """Replace each `{{name}}` in a text by the table that the function `tables[name]` makes from `source`.

    The source is a Store, a dict of str to Store, or the project's folder. Raises ValueError unless the template names each
    table exactly once.
    """
    names = re.findall(r"\{\{(\w+)\}\}", template)
    if sorted(names) != sorted(tables):
        raise ValueError(f"the template must contain each of {', '.join(tables)} once, it contains {', '.join(names)}.")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: tables[match[1]](source), template)


def _who(stores):
    """The runs on the page."""
    lines = []
    for name, store in stores.items():
        run = store.run
        with store.load("scores") as scores:
            n_images = scores.sizes["test_image"]
        kind = "simulated subject" if run.simulation else "subject" if run.section else "NSD subject"
        subject = kind if run.section else f"{kind} {run.subject}"
        lines.append(
            f"- `{name}`: {subject}, {n_images} test images, zoo `{run.zoo}`, protocol `{run.protocol}`, "
            f"decoder {run.decoder} with {run.n_layers} layers, renormalise `{run.renormalise}`"
        )
        lines += [f"- shipped beside `{name}`: {shipped}" for shipped in shipped_like(run).values()]
    return "\n".join(lines)


def _claims(stores):
    """Every claim and its verdict."""
    runs = [store.run for store in stores.values()]
    return claims.as_table(claims.measure(stores, claims.complete(stores), **_bootstrap(stores)), runs).to_markdown()


def _places(stores):
    """Each score of the refined images between floors and ceiling, for each subject."""
    rows = {}
    for name, store in stores.items():
        with store.load("scores") as scores:
            values = scores.value.load()
        places = controls.place_table(values, **_bootstrap(stores)).assign(n=values.sizes["test_image"])
        places["refined"] = "**" + places["refined"] + "**"
        labels = [metric.title for metric in measures(store.run).values()]
        rows |= {f"`{name}`, {label}": row for label, (_, row) in zip(labels, places.iterrows(), strict=True)}
    table = pd.DataFrame(rows).T.rename(columns={"refined": "**refined**"})
    return table.rename_axis("subject, score").to_markdown()


def _meanings(_):
    """Definition of each score."""
    rows = {}
    for name, metric in METRICS.items():
        compared = f"{metric.network}, {metric.feature}" if metric.network else "the images"
        level = "meaning" if metric.semantic else "structure"
        rows[LABELS[name]] = {"compares": compared, "how": MEANINGS[metric.kind], "level": level}
    return pd.DataFrame(rows).T.rename_axis("score").to_markdown()


def _latents(stores):
    """Tables 2 and 3 beside the errors of every subject's test images."""
    paper = latent_errors()["test"].map(lambda value: "" if np.isnan(value) else f"{value:.4f}")
    columns = {f"paper, {measure.upper()}": paper[measure] for measure in paper}
    for name, store in _with_shipped(stores, "ablation").items():
        with store.load("ablation") as ablation:
            cut_off = ablation.finished.all("seed").to_series().map({True: "", False: " (cut off)"})
            for measure in ("mse", "mae"):
                table = statistics.summary(ablation.errors.sel(measure=measure), **_bootstrap(stores))
                text = statistics.as_text(table, digits=4).iloc[:, 0] + cut_off
                columns[f"`{name}`, {measure.upper()} (n = {table.n})"] = text
    table = pd.DataFrame(columns)
    unpublished = [name for name in table.index if name not in paper.index]
    return table.reindex([*paper.index, *unpublished]).fillna("").rename_axis("decoder").to_markdown()


def _systems(stores):
    """Published systems, with ours below: one table of scores and one of other properties."""
    table = systems().reset_index().astype(object)
    table["recipe"] = table["recipe"].map(lambda name: name and f"`{name}`")
    for name in METRICS:
        table[name] = table[name].map(lambda value: "" if np.isnan(value) else f"{value:.3f}")
    for name in RETRIEVAL:
        table[name] = table[name].map(lambda value: "" if np.isnan(value) else f"{value:g}")  # digits as printed
    for name, store in stores.items():
        ours = _summary(store).sel(system="refined")
        row = {"system": f"**ours**, zoo `{store.run.zoo}`, `{name}`", "year": "", "subjects": str(store.run.subject or "")}
        row |= {"n_test": ours.n, "protocol": store.run.protocol, "source": "measured"}
        table.loc[len(table)] = row | _cells(ours, store.run)
    names = LABELS | RETRIEVAL | {"n_test": "test images", "recipe": "recipe here"}
    parts = ["subjects", "n_test", "protocol", *METRICS], ["recipe", "year", "subjects", *RETRIEVAL, "source"]
    table = table.astype(object).fillna("").astype(str)
    tables = (table[["system", *part]].rename(columns=names) for part in parts)
    return "\n\n".join(part.to_markdown(index=False, disable_numparse=True) for part in tables)


def _sources(_):
    """The sources, with their letters."""
    return "\n".join(f"- {source}" for source in sources())


def _layers(stores):
    """Table 4 of the paper, and the refined images of both decoders here."""
    paper = paper_table(4)
    paper.index = [f"paper, subject 1: {system}, {layers} layers" for system, layers in paper.index]
    rows = {}
    for name, store in _with_shipped(stores, "controls").items():
        table = _summary(store, "controls")
        for decoder in ("ridge", "gru"):
            label = f"`{name}`: {decoder}, {store.run.n_layers} layers (n = {table.n})"
            rows[label] = _cells(table.sel(system=f"refined, {decoder}"), store.run)
    return _below(paper, rows, "refined images")


def _noise(stores):
    """Table 6 beside our refined images under the same noise."""
    paper = paper_table(6)
    paper.index = [f"paper: {amplitude}" for amplitude in paper.index]
    rows = {}
    for name, store in stores.items():
        with store.load("noise") as noise:
            refined = noise[["value", "pure_noise"]].sel(stage="refined").load()
        table = statistics.summary(refined.value, **_bootstrap(stores))
        for amplitude in table.amplitude.values:
            rows[f"`{name}`: {amplitude:g} (n = {table.n})"] = _cells(table.sel(amplitude=amplitude), store.run)
        pure = statistics.summary(refined.pure_noise, **_bootstrap(stores))
        rows[f"`{name}`: pure noise instead (n = {pure.n})"] = _cells(pure, store.run)
    return _below(paper, rows, "noise")


def _below(paper, rows, name):
    """A table of the paper with rows of ours below it."""
    table = pd.concat([paper.map(lambda value: f"{value:.3f}"), pd.DataFrame(rows).T])
    return table.rename(columns=LABELS).rename_axis(name).to_markdown()


def _with_shipped(stores, artifact):
    """The stores that have an artifact, each followed by the shipped results of similar runs with fully trained networks."""
    with_shipped = {}
    for name, store in stores.items():
        with_shipped |= {name: store} | shipped_like(store.run)
    return {name: store for name, store in with_shipped.items() if store.has(artifact)}


def _audit(_):
    """The paper's arithmetic recomputed."""
    table = audit().reset_index()
    table["agrees"] = table["agrees"].map({True: "yes", False: "**no**"})
    return table.to_markdown(index=False, disable_numparse=True)


def _summary(store, artifact="scores"):
    """Scores of every system of one run: mean, low, high (system, metric), over its test images."""
    with store.load(artifact) as scores:
        return statistics.summary(scores.value, n_bootstrap=store.run.n_bootstrap, seed=store.run.seed).load()


def _cells(table, run):
    """{score: mean and interval as text}, with a dagger if a small stand-in network computed it."""
    texts = statistics.as_text(table.sel(metric=list(METRICS))).iloc[:, 0]
    return {name: f"{texts[name]}{STAND_IN * metric.label.endswith(STAND_IN)}" for name, metric in measures(run).items()}


def _bootstrap(stores):
    """Settings of the bootstrap from the group's first run."""
    run = next(iter(stores.values())).run
    return {"n_bootstrap": run.n_bootstrap, "seed": run.seed}


TABLES = {
    "who": _who,
    "claims": _claims,
    "meanings": _meanings,
    "places": _places,
    "latents": _latents,
    "layers": _layers,
    "noise": _noise,
    "systems": _systems,
    "sources": _sources,
    "audit": _audit,
}


def _rank(run):
    """Sort key for the runs compared with the paper."""
    return run.section is not None, run.simulation is not None, run.like or "", run.name


def write(root):
    """Write the generated pages below `book/` in the project's folder, unless they are unchanged.

    The group of the first complete run is compared with the paper. The order is NSD subjects, simulated subjects, a laboratory's
    own subjects; within these, runs with `like` come last, then by name. Raises FileNotFoundError when no run is complete.
    """
    runs = sorted(usable_runs(run_names(root)), key=_rank)
    run = next((run for run in runs if claims.ready(run)), None)
    if run is None:
        raise FileNotFoundError("no run has all results that the page on the paper shows: run `make demo` first.")
    book = root / "book"
    for name, text in (
        ("why", why_page(run, (book / "why.template.md").read_text())),
        ("paper", fill((book / "paper.template.md").read_text(), TABLES, claims.ready(run))),
        ("reliability", fill((book / "reliability.template.md").read_text(), faults.TABLES, root)),
        ("state", state_page(root)),
        ("your_own_data", fill((book / "your_own_data.template.md").read_text(), faults.OWN_DATA_TABLES, root)),
    ):
        write_if_changed(book / f"{name}.md", text)
