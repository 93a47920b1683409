"""Parts of pages that are computed when the book is built: the pictures on its first page, and the versions used.

They are written beside the pages that include them and never committed.
"""

import platform
from importlib.metadata import version

import pandas as pd

from book._ext.state import write_if_changed
from nsdlib import __version__
from nsdlib.core.images import resize
from nsdlib.params import load_run
from nsdlib.plots.interactive import image
from nsdlib.run import publish
from nsdlib.run.monitor import records
from nsdlib.store.artifact import MissingArtifact
from nsdlib.store.shipped import commit
from nsdlib.store.store import Store
from nsdlib.store.variants import MARK
from nsdlib.study import floors, statistics
from nsdlib.study.selection import at_percentiles, mean_rank

KINDS = {"seen": "stimulus", "rough": "rough", "refined": "refined"}  # {label: array of the artifact `reconstruction`}
N_SHOWN = 6
SIDE = 128  # pixels; larger images are reduced to it
PACKAGES = (
    "torch", "torchvision", "diffusers", "transformers", "open_clip_torch", "numpy", "scipy", "scikit-learn",
    "scikit-image", "xarray", "nibabel", "nilearn", "matplotlib", "seaborn", "papermill", "snakemake", "jupyter-book",
)  # fmt: skip
WITHHELD = """```{{note}}
The pictures of the run `{name}` are not shown here: {why}.
```
"""
NOT_SIMULATED = "what is not known to be simulated stays with those who hold the data"  # a reason to withhold pictures
MEASURE = "inception"  # distinguishes objects; the stand-in for CLIP responds to places and scores a place's mean image as high
CAPTION = """\
Drawn scenes that a **simulated** subject saw, and what was decoded from its brain activity. A rule chose them: the percentiles
are of the mean rank in eight scores (n = {n} test images). Judged by a small stand-in for Inception, a refined image resembles
its own scene more than another in {correct} of comparisons (95 % interval; chance 0.50, best retrieved training image
{retrieved:.2f}, {label} {labelled:.2f}). SSIM is {ssim} (the best floor, {name}: {floor:.2f}).
"""


def write(root):
    """Write the parts into `book/`, except unchanged ones; they show the run with the pages in `runs/demo`."""
    demo = (root / "runs" / "demo").resolve().name
    for name, text in (("first_sight", first_sight(load_run(demo))), ("made_with", made_with(root))):
        write_if_changed(root / "book" / f"{name}.snippet", text)


def first_sight(run) -> str:
    """Return a table of seen, rough and refined images of a run, from the best to the worst, and its caption, in Markdown.

    A note replaces it if pictures are withheld (`nsdlib.run.publish`) or results are missing.
    """
    if not publish.may_show(run):
        return WITHHELD.format(name=run.name, why=NOT_SIMULATED)
    try:
        with Store(run).load("reconstruction") as made, Store(run).load("scores") as scores:
            text = caption(scores.value, n_bootstrap=run.n_bootstrap, seed=run.seed)
            return f"{_strip(made, scores.value.sel(system='refined'))}\n{text}"
    except MissingArtifact:
        return WITHHELD.format(name=run.name, why="its results are not of the present code; run it again")


def caption(values, **bootstrap):
    """Return the caption of the pictures in Markdown, from scores (system, metric, test_image)."""
    table = statistics.summary(values.sel(system=["refined"], metric=[MEASURE, "ssim"]), **bootstrap)
    correct, ssim = statistics.as_text(table, digits=2).iloc[0]
    best = floors.best(values)
    label, means = best.floor.sel(system="best label", metric=MEASURE).item(), best.mean("test_image")
    return CAPTION.format(
        n=table.n, correct=correct, ssim=ssim, label=label, name=best.floor.sel(system="best floor", metric="ssim").item(),
        retrieved=means.sel(system="best retrieval", metric=MEASURE).item(),
        labelled=means.sel(system="best label", metric=MEASURE).item(),
        floor=means.sel(system="best floor", metric="ssim").item(),
    )  # fmt: skip


def made_with(root) -> str:
    """Return the commit of a build, the times of the runs, and versions, as a sentence and two tables in Markdown."""
    times = {}
    for run, page, record in records(root):
        if record["state"] == "done" and MARK not in page:
            times.setdefault(f"`{run}`", []).append(record["started"])
    rows = {run: {"notebooks": len(starts), "first": min(starts), "last": max(starts)} for run, starts in times.items()}
    runs = pd.DataFrame(rows).T.rename_axis("run").to_markdown(disable_numparse=True) if rows else "No run has left a record."
    versions = {"python": platform.python_version(), "nsdlib": __version__} | {name: version(name) for name in PACKAGES}
    packages = pd.DataFrame({"version": versions}).rename_axis("package").to_markdown(disable_numparse=True)
    revision = commit(root)
    source = f"commit {revision}" if revision else "files outside a Git repository"
    return f"This copy was built from {source.replace('+', ', with uncommitted changes')}.\n\n{runs}\n\n{packages}\n"


def _strip(made, scores):
    """An HTML table with a row per kind of image and a column per percentile of the mean rank."""
    chosen, percentiles = at_percentiles(mean_rank(scores), N_SHOWN)
    headers = "".join(f'<th scope="col">{p:.0f}</th>' for p in percentiles)
    rows = [f'<tr><th scope="row">percentile</th>{headers}</tr>']
    for kind, name in KINDS.items():
        images = made[name].values[chosen]
        images = resize(images, min(SIDE, images.shape[1]))
        alts = [f"{kind}, test image at percentile {p:.0f}" for p in percentiles]
        pictures = (image(pixels, alt, SIDE, quality=90) for pixels, alt in zip(images, alts, strict=True))
        cells = "".join(f"<td>{picture}</td>" for picture in pictures)
        rows.append(f'<tr><th scope="row">{kind}</th>{cells}</tr>')
    return "\n".join(['<table class="nsd-first">', *rows, "</table>"]) + "\n"
