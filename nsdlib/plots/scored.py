"""HTML report of scored reconstructions: tables and pairs of pictures in one self-contained file."""

from html import escape

from nsdlib.core.scores.metrics import METRICS
from nsdlib.plots.interactive import gallery
from nsdlib.study.selection import mean_rank

HEAD = """<meta charset="utf-8"><meta name="viewport" content="width=device-width"><style>
:root{color-scheme:light dark} body{font:16px/1.5 sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;
overflow-wrap:anywhere}
table{display:block;overflow-x:auto;font-size:.9em} td,th{padding:.2rem .8rem .2rem 0;text-align:left;white-space:nowrap}
</style>"""
MAX_PAIRS = 50  # pairs on a page, to keep it below a megabyte or two
TERMS = "The page holds the pictures themselves: pass it on only where the terms of both sets of images allow it."


def page(scored) -> str:
    """Return the page of a `run.scored.Scored` as HTML: a table for each protocol, notes, and the best, middle and worst pairs.

    Pairs are ordered by their mean rank in the eight scores of the first protocol, or by the score that the reader chooses.
    """
    about, title = scored.about, escape(f"Scores of {scored.about['reconstructions']}")
    tables = [f"<h2>Protocol {p}</h2>{scored.table(p).reset_index().to_html(index=False, border=0)}" for p in scored.values]
    notes = "".join(f"<li>{escape(note)}</li>" for note in [*scored.notes, TERMS])
    origin = f"<p>{about['n_images']} images of {escape(about['truth'])}; nsdlib {about['nsdlib']}.</p>"
    pairs = f"<h2>Best, middle and worst pair, {next(iter(scored.values))}</h2>{_pairs(scored)}"
    body = "".join([f"<h1>{title}</h1>", origin, tables[0], f"<ul>{notes}</ul>", pairs, *tables[1:]])
    return f'<!doctype html><html lang="en"><head>{HEAD}<title>{title}</title></head><body>{body}</body></html>\n'


def _pairs(scored):
    """A gallery of the pairs."""
    values = next(iter(scored.values.values())).sel(system="reconstructions")
    by_metric = {metric.label: values.sel(metric=name).values for name, metric in METRICS.items()}
    lower = [metric.label for metric in METRICS.values() if not metric.higher_is_better]
    pairs = {"seen": scored.truth, "made" if len(scored.made) == 1 else "made, first sample": scored.made[0]}
    scores = {"mean rank": mean_rank(values)} | by_metric
    settings = {"names": scored.names, "n_percentiles": 3, "max_images": MAX_PAIRS}
    return gallery(pairs, scores, lower_is_better=lower, **settings).text
