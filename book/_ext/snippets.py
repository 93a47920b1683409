"""Parts of the book's pages that are computed when it is built: the pictures of its first page, and what it was made with.

They are written beside the pages that include them and never committed.
"""

import json
import subprocess
from importlib.metadata import version

import numpy as np

from nsdlib.core.files import atomic_write
from nsdlib.core.metrics import METRICS
from nsdlib.core.similarity import resize
from nsdlib.params import load_run
from nsdlib.plots.interactive import image
from nsdlib.run import publish
from nsdlib.store.artifact import MissingArtifact
from nsdlib.store.store import Store
from nsdlib.study import stats
from nsdlib.study.selection import at_percentiles, rank_share

KINDS = {"seen": "stimulus", "rough": "rough", "refined": "refined"}  # label to array of the artifact `reconstruction`
N_SHOWN = 6
SIDE = 128  # pixels, of a larger image
PACKAGES = (
    "nsdlib",
    "torch",
    "torchvision",
    "diffusers",
    "transformers",
    "open_clip_torch",
    "numpy",
    "scipy",
    "scikit-learn",
    "scikit-image",
    "xarray",
    "nibabel",
    "nilearn",
    "matplotlib",
    "seaborn",
    "papermill",
    "snakemake",
    "jupyter-book",
)
WITHHELD = """```{{note}}
The pictures of the run `{name}` are not shown here: {why}.
```
"""
CAPTION = """\
Drawn scenes that a **simulated** subject was shown, and what was decoded from its simulated brain activity in two stages.
**Nobody picked them**: they stand at evenly spaced percentiles of the mean rank in eight scores, from the best to the worst of
n&nbsp;=&nbsp;{n} test images. A judge network tells a refined image's own scene from another one in {clip} of comparisons
(chance 0.50); its pixels correlate with what was seen by {pixcorr}, those of the mean training image by
{floor} (means over images, 95 % intervals).
"""


def write(root):
    """Write the parts below `book/`; one that would not change is left alone.

    Parameters
    ----------
    root : Path
        The project's folder; the run is the one whose pages lie in `runs/demo`.
    """
    demo = (root / "runs" / "demo").resolve().name
    for name, text in (("first_sight", first_sight(load_run(demo))), ("made_with", made_with(root))):
        file = root / "book" / f"{name}.snippet"
        if not file.is_file() or file.read_text() != text:
            atomic_write(file, text)


def first_sight(run) -> str:
    """Seen, rough and refined images of a run, from the best to the worst, and what they come to.

    Parameters
    ----------
    run : nsdlib.params.Run

    Returns
    -------
    str
        Markdown. Where pictures are withheld (`nsdlib.run.publish`), or without results: a note that says so.
    """
    if run.simulation is None or not publish.may_be_shown(run.root, run.name):
        return WITHHELD.format(
            name=run.name, why="what is not known to be simulated stays with those who hold the data"
        )
    try:
        with Store(run).load("reconstruction") as made, Store(run).load("scores") as scores:
            return _strip(made, scores.value.sel(system="refined")) + "\n" + _caption(run, scores.value)
    except MissingArtifact:
        return WITHHELD.format(name=run.name, why="its results are not those of the present code; run it again")


def made_with(root) -> str:
    """Commit, versions and times that the book was made with.

    Parameters
    ----------
    root : Path
        The project's folder; the times are those of the records `runs/<run>/NAME.json`.

    Returns
    -------
    str
        Markdown: a sentence, a table of runs, a table of packages.
    """
    import platform

    import pandas as pd

    times = {}
    for file in sorted((root / "runs").glob("*/*.json")):
        found = json.loads(file.read_text())
        if found["state"] == "done":
            times.setdefault(f"`{file.parent.name}`", []).append(found["started"])
    rows = {run: {"notebooks": len(all_), "first": min(all_), "last": max(all_)} for run, all_ in times.items()}
    runs = (
        pd.DataFrame(rows).T.rename_axis("run").to_markdown(disable_numparse=True)
        if rows
        else "No run has left a record."
    )
    numbers = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    packages = pd.DataFrame({"version": numbers}).rename_axis("package").to_markdown(disable_numparse=True)
    return f"This copy was built from {_commit(root)}.\n\n{runs}\n\n{packages}\n"


def _strip(made, scores):
    """An HTML table, a row a kind, a column an image at a percentile of the mean rank."""
    ranks = [
        rank_share(scores.sel(metric=m), higher_is_better=metric.higher_is_better) for m, metric in METRICS.items()
    ]
    chosen, percentiles = at_percentiles(np.mean(ranks, axis=0), N_SHOWN)
    heads = "".join(f'<th scope="col">{p:.0f}</th>' for p in percentiles)
    rows = [f'<tr><th scope="row">percentile</th>{heads}</tr>']
    for kind, name in KINDS.items():
        images = made[name].values[chosen]
        images = resize(images, min(SIDE, images.shape[1]))
        alts = [f"{kind}, test image at percentile {p:.0f}" for p in percentiles]
        cells = "".join(f"<td>{image(one, alt, SIDE, quality=90)}</td>" for one, alt in zip(images, alts, strict=True))
        rows.append(f'<tr><th scope="row">{kind}</th>{cells}</tr>')
    return "\n".join(['<table class="nsd-first">', *rows, "</table>"]) + "\n"


def _caption(run, values):
    """The rule, n, and three numbers with their intervals."""
    table = stats.summary(values, n_bootstrap=run.n_bootstrap, seed=run.seed).load()

    def cell(system, metric):
        one = table.sel(system=system, metric=metric)
        return f"{float(one['mean']):.2f} [{float(one.low):.2f}, {float(one.high):.2f}]"

    numbers = {
        "clip": cell("refined", "clip"),
        "pixcorr": cell("refined", "pixcorr"),
        "floor": cell("mean image", "pixcorr"),
    }
    return CAPTION.format(n=table.n, **numbers)


def _commit(root):
    """The commit, in words."""
    command = ["git", "-C", root, "describe", "--always", "--dirty=, with changes that are in no commit"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "files that are in no Git repository"
    return f"commit {done.stdout.strip()}"
