"""Pages of the book that are made from results and data files: the paper beside us, what can go wrong, the state of the runs.

The text around the tables of the first two is `book/*.template.md`; each `{{name}}` in it becomes a table computed here or in
`book._ext.faults`.
"""

import json
import re

import numpy as np

from book._ext import faults
from nsdlib.core.files import atomic_write
from nsdlib.core.metrics import METRICS
from nsdlib.params import load_run, run_names
from nsdlib.run.progress import clock
from nsdlib.study import claims, stats
from nsdlib.study.audit import audit
from nsdlib.study.published import latent_errors, paper_table, sources, systems

GENERATED = ("paper", "reliability", "state")
LABELS = {name: f"{metric.label} {'↑' if metric.higher_is_better else '↓'}" for name, metric in METRICS.items()}
WHAT = {
    "pairwise": "compares pixels",
    "two-way": "share of other images that it resembles less; chance 0.5",
    "distance": "1 - correlation of features",
}


def paper_page(run, template) -> str:
    """The page "The paper beside us".

    Parameters
    ----------
    run : nsdlib.params.Run
        Whose group is compared; at least one of the group must have been run whole.
    template : str
        Text with `{{name}}` where a table goes, for each key of `TABLES`.

    Returns
    -------
    str
        Markdown.

    Raises
    ------
    ValueError
        When the template asks for a table that there is not, or leaves one out.
    """
    stores = claims.ready(run)
    return fill(template, TABLES, stores)


def fill(template, tables, source) -> str:
    """A text with tables in it.

    Parameters
    ----------
    template : str
        With `{{name}}` where a table goes.
    tables : dict of str to callable
        What makes each table from `source`.
    source
        Results, or the project's folder.

    Raises
    ------
    ValueError
        When the template asks for a table that there is not, or leaves one out.
    """
    asked = re.findall(r"\{\{(\w+)\}\}", template)
    if sorted(asked) != sorted(tables):
        raise ValueError(f"the template must hold each of {', '.join(tables)} once, it holds {', '.join(asked)}.")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: tables[found[1]](source), template)


def _who(stores):
    """Whose numbers they are."""
    lines = []
    for name, store in stores.items():
        run = store.run
        with store.load("scores") as scores:
            n_images = scores.sizes["test_image"]
        kind = "NSD subject" if run.simulation is None else "simulated subject"
        lines.append(
            f"- `{name}`: {kind} {run.subject}, {n_images} test images, zoo `{run.zoo}`, protocol `{run.protocol}`, "
            f"decoder {run.decoder} with {run.n_layers} layers, renormalise `{run.renormalise}`"
        )
    return "\n".join(lines)


def _claims(stores):
    """Every claim and its verdict."""
    runs = [store.run for store in stores.values()]
    return claims.as_table(claims.measure(stores, **_bootstrap(stores)), runs).to_markdown()


def _places(stores):
    """Each score of the refined images between floors and ceiling, subject by subject."""
    import pandas as pd

    rows = {}
    for name, store in stores.items():
        table = _summary(store)
        for metric, label in LABELS.items():
            one = table.sel(metric=metric)
            ends = [float(one["mean"].sel(system=s)) for s in ("prior only", "refined", "refined, all true")]
            share = (ends[1] - ends[0]) / (ends[2] - ends[0]) if ends[2] != ends[0] else np.nan
            rows[f"`{name}`", label] = {
                "floor: mean image": _cell(one, "mean image"),
                "floor: prior only": _cell(one, "prior only"),
                "retrieval": _cell(one, "nearest training image"),
                "rough": _cell(one, "rough"),
                "**refined**": f"**{_cell(one, 'refined')}**",
                "ceiling: all true": _cell(one, "refined, all true"),
                "way from prior to ceiling": f"{100 * share:.0f} %",
                "n": table.n,
            }
    table = pd.DataFrame(rows).T
    table.index = [f"{name}, {label}" for name, label in table.index]
    return table.rename_axis("subject, score").to_markdown()


def _meanings(_):
    """What each score is."""
    import pandas as pd

    rows = {
        LABELS[name]: {
            "compares": f"{metric.network}, {metric.feature}" if metric.network else "the images",
            "how": WHAT[metric.kind],
            "level": "meaning" if metric.semantic else "structure",
        }
        for name, metric in METRICS.items()
    }
    return pd.DataFrame(rows).T.rename_axis("score").to_markdown()


def _latents(stores):
    """Tables 2 and 3 beside the errors of every subject's test images."""
    import pandas as pd

    paper = latent_errors()["test"].map(lambda value: "" if np.isnan(value) else f"{value:.4f}")
    columns = {f"paper, {measure.upper()}": paper[measure] for measure in paper}
    for name, store in stores.items():
        with store.load("ablation") as found:
            for measure in ("mse", "mae"):
                table = stats.summary(found.errors.sel(measure=measure), **_bootstrap(stores))
                text = stats.as_text(table, digits=4).iloc[:, 0]
                columns[f"`{name}`, {measure.upper()} (n = {table.n})"] = text
    return pd.DataFrame(columns).loc[list(paper.index)].rename_axis("decoder").to_markdown()


def _systems(stores):
    """Published systems, and ours below them."""
    table = systems().reset_index()
    for name in METRICS:
        table[name] = table[name].map(lambda value: "" if np.isnan(value) else f"{value:.3f}")
    for name, store in stores.items():
        ours = _summary(store).sel(system="refined")
        row = {"system": f"**ours**, zoo `{store.run.zoo}`, `{name}`", "year": "", "subjects": str(store.run.subject)}
        row |= {"n_test": ours.n, "protocol": store.run.protocol, "source": "measured"}
        table.loc[len(table)] = row | {metric: _cell(ours.sel(metric=metric)) for metric in METRICS}
    names = LABELS | {"n_test": "test images"}
    return table.rename(columns=names).astype(object).fillna("").astype(str).to_markdown(index=False)


def _sources(_):
    """What the letters of the sources stand for."""
    return "\n".join(f"- {source}" for source in sources())


def _layers(stores):
    """Table 4 of the paper, and what one more pass with the other decoder gives here."""
    import pandas as pd

    paper = paper_table(4).map(lambda value: f"{value:.3f}")
    paper.index = [f"paper, subject 1: {system}, {layers} layers" for system, layers in paper.index]
    rows = []
    for name, store in stores.items():
        if not store.has("controls"):
            continue
        table = _summary(store, "controls")
        for decoder in ("ridge", "gru"):
            one = table.sel(system=f"refined, {decoder}")
            label = f"`{name}`: {decoder}, {store.run.n_layers} layers (n = {table.n})"
            rows.append(pd.Series({metric: _cell(one.sel(metric=metric)) for metric in METRICS}, name=label))
    return pd.concat([paper, pd.DataFrame(rows)]).rename(columns=LABELS).rename_axis("refined images").to_markdown()


def _noise(stores):
    """Table 6 beside our refined images under the same noise."""
    import pandas as pd

    paper = paper_table(6).map(lambda value: f"{value:.3f}")
    paper.index = [f"paper: {amplitude}" for amplitude in paper.index]
    rows = []
    for name, store in stores.items():
        with store.load("noise") as found:
            table = stats.summary(found.value.sel(stage="refined"), **_bootstrap(stores))
        for amplitude in table.amplitude.values:
            one = table.sel(amplitude=amplitude)
            cells = {metric: _cell(one.sel(metric=metric)) for metric in METRICS}
            rows.append(pd.Series(cells, name=f"`{name}`: {amplitude:g} (n = {table.n})"))
    return pd.concat([paper, pd.DataFrame(rows)]).rename(columns=LABELS).rename_axis("noise").to_markdown()


def _audit(_):
    """The paper's arithmetic, done again."""
    table = audit().reset_index()
    table["agrees"] = table["agrees"].map({True: "yes", False: "**no**"})
    return table.to_markdown(index=False, disable_numparse=True)


def _summary(store, artifact="scores"):
    """Scores of every system of one run: mean, low, high (system, metric), over its test images."""
    with store.load(artifact) as scores:
        return stats.summary(scores.value, n_bootstrap=store.run.n_bootstrap, seed=store.run.seed).load()


def _cell(table, system=None):
    """Mean and interval of one system, as text."""
    one = table if system is None else table.sel(system=system)
    return f"{float(one['mean']):.3f} [{float(one.low):.3f}, {float(one.high):.3f}]"


def _bootstrap(stores):
    """Settings of the bootstrap, those of the group's first run."""
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


STATE = """# State of the runs

What became of each notebook, from the records beside the executed pages: how long it took, and the most memory that its kernel
had in use. *Failed* stays here until the same notebook of the same run comes to its end; an earlier complete page is still shown
then.

{table}

{failures}## Made with

{versions}
"""


def state_page(root) -> str:
    """The page "State of the runs".

    Parameters
    ----------
    root : Path
        The project's folder; records are `runs/<run>/NAME.json`, see `nsdlib.run.monitor.record`.

    Returns
    -------
    str
        Markdown.
    """
    import pandas as pd

    cells, failures, versions = {}, [], {}
    for file in sorted((root / "runs").glob("*/*.json")):
        run, name, found = file.parent.name, file.stem, json.loads(file.read_text())
        memory = f", {found['memory'] / 2**30:.1f} GiB" if found["memory"] else ""
        done = f"{clock(found['seconds'])}{memory}"
        cells.setdefault(f"`{run}`", {})[name] = done if found["state"] == "done" else f"**failed** after {done}"
        if found["state"] != "done":
            failures.append(f"- `{run}`, {name}: {found['cause']}")
        last = versions.setdefault(f"`{run}`", {"last run": ""})
        if found["started"] > last["last run"]:
            last |= {"last run": found["started"], **found["versions"]}
    table = pd.DataFrame(cells).sort_index().fillna("not run").rename_axis("notebook").to_markdown()
    failed = "## What failed\n\n" + "\n".join(failures) + "\n\n" if failures else ""
    made = pd.DataFrame(versions).T.rename_axis("run").to_markdown(disable_numparse=True)
    return STATE.format(table=table, failures=failed, versions=made)


def write(root):
    """Write the generated pages below `book/`; a page that would not change is left alone.

    Compared with the paper is the group of the first run that has results: NSD subjects before simulated ones, then by name.

    Parameters
    ----------
    root : Path
        The project's folder.

    Raises
    ------
    FileNotFoundError
        When no run has all its results.
    """
    runs = sorted(map(load_run, run_names(root)), key=lambda run: (run.simulation is not None, run.name))
    run = next((run for run in runs if claims.ready(run)), None)
    if run is None:
        raise FileNotFoundError("no run has all its results, which the page of the paper shows: run `make demo` first.")
    book = root / "book"
    for name, text in (
        ("paper", paper_page(run, (book / "paper.template.md").read_text())),
        ("reliability", fill((book / "reliability.template.md").read_text(), faults.TABLES, root)),
        ("state", state_page(root)),
    ):
        page = book / f"{name}.md"
        if not page.is_file() or page.read_text() != text:
            atomic_write(page, text)
