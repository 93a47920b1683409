"""The page "Why this suite": its claims, each with a number and a small picture drawn when the book is built.

The text is `book/why.template.md`; each `{{name}}` in it is replaced by sentences and a picture from the results of a run.
"""

import io

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from PIL import Image

from book._ext import faults, strip
from book._ext.snippets import KINDS, NOT_SIMULATED, WITHHELD
from nsdlib.core.images import resize
from nsdlib.core.scores.metrics import METRICS
from nsdlib.plots.interactive import image
from nsdlib.plots.style import COLOURS, REFERENCE, draw_intervals, measures, new_panels
from nsdlib.run import publish
from nsdlib.study import floors, statistics
from nsdlib.study.controls import NO_LEAK, leak_gains
from nsdlib.study.selection import at_percentiles, mean_rank
from nsdlib.twin.calibration import explained
from nsdlib.twin.simulate import load_truth

WIDTH, SIDE = 3.4, 340  # width of a picture in inches, and in CSS pixels on the page; it is drawn at twice that resolution
CLEAN, RENORMALISED = "inductive", "renormalised on the test set"  # a badge of the leak linter, and a leak
CLASSES = {True: "nsd-passed", False: "nsd-failed"}  # of a badge, by whether it is `CLEAN`


def tables(run):
    """Return {name in the template: function}; each function makes Markdown from the store of a run."""
    bootstrap = {"n_bootstrap": run.n_bootstrap, "seed": run.seed}
    plain = {"who": who, "nobody": nobody, "truth": truth, "own_data": own_data}
    of_scores = {"floors": between, "leaks": leaky, "protocols": protocols, "rivals": rivals}
    return plain | {name: lambda store, make=make: make(store, **bootstrap) for name, make in of_scores.items()}


def who(store):
    """Description of the run."""
    run = store.run
    with store.load("scores") as scores:
        n = scores.sizes["test_image"]
    kind = "a simulated subject" if run.simulation else "a measured subject"
    daggers = "; † marks scores computed with small networks in place of published ones" if run.zoo == "demo" else ""
    return f"the run `{run.name}` ({kind}, zoo `{run.zoo}`, n = {n} test images, 95 % intervals over images{daggers})"


def between(store, **bootstrap):
    """SSIM and CLIP of the refined images, between floor and ceiling."""
    with store.load("scores") as scores:
        values = scores.value.load()
    values = xr.concat([values.drop_vars("role"), floors.best(values).drop_vars("floor")], "system")
    names = {"best floor": "floor", "refined": "refined", "refined, all true": "ceiling"}
    table = statistics.summary(values.sel(system=list(names), metric=["ssim", "clip"]), **bootstrap)
    text = statistics.as_text(table, digits=2)
    labels = {name: measures(store.run)[name].label for name in ("ssim", "clip")}
    figure = _dots([(table.sel(metric=name), labels[name]) for name in labels], list(names.values()))
    sentence = "; ".join(
        f"{label}: " + ", ".join(f"{short} {text.loc[name, metric]}" for name, short in names.items())
        for metric, label in labels.items()
    )
    alt = "Two panels, SSIM and CLIP: the refined images between the best floor and the ceiling."
    return f"{_embedded(figure, alt)}{sentence}."


def leaky(store, **bootstrap):
    """The linter's badge for each planted leak, and the gain from renormalising on the test set."""
    with store.load("controls") as controls:
        values, badges = controls.leaky.load(), controls.badge.to_series()
    planted = badges[~badges.index.str.startswith(NO_LEAK)]
    n_marked, clean = int((planted != CLEAN).sum()), badges[NO_LEAK]
    rows = "".join(
        f'<tr><td>{name}</td><td><span class="nsd-badge {CLASSES[badge == CLEAN]}">{badge}</span></td></tr>'
        for name, badge in badges.items()
    )
    text = f"It marked {n_marked} of {len(planted)} planted leaks, and called the decoder without one {clean}."
    gains = leak_gains(values, measures(store.run), **bootstrap)
    label = measures(store.run)["clip"].label
    if (pair := (f"{RENORMALISED} - {NO_LEAK}", label)) in gains.index:
        gain = gains.loc[pair]
        text += f" Renormalising on test images changes {label} by {gain['mean']:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]."
    return f'<table class="nsd-why">{rows}</table>\n\n{text}'


def protocols(store, **bootstrap):
    """SSIM of the same refined images under each protocol."""
    with store.load("controls") as controls:
        values = controls.by_protocol.sel(compared="refined", metric=["ssim"]).load()
    table = statistics.summary(values, **bootstrap)
    names = [str(name) for name in table.protocol.values]
    cells = statistics.as_text(table, digits=2).iloc[:, 0]
    figure = _dots([(table.isel(metric=0), "SSIM of the same images")], names)
    sentence = ", ".join(f"{cells[name]} under `{name}`" for name in names)
    return f"{_embedded(figure, 'SSIM of the same refined images, one mark for each protocol.')}Their SSIM is {sentence}."


def truth(store):
    """Noise ceilings estimated from repeats, against the variance that the planted responses explain."""
    if store.run.simulation is None:
        return "This run is of a measured subject, whose true responses are unknown; build the book with the demo to see them."
    planted = load_truth(store.run)
    with store.load("betas") as betas:
        betas = betas[["X_test", "noise_ceiling"]].sel(voxel=np.intersect1d(betas.voxel, planted.voxel)).load()
    response = planted.response.sel(image=betas.test_image.values, voxel=betas.voxel.values).values
    fraction, ceiling = explained(betas.X_test.values, response), betas.noise_ceiling.values
    figure, axes = new_panels(1, 1, WIDTH, WIDTH * 0.75)
    axes[0, 0].plot([0, 100], [0, 100], color=REFERENCE, linewidth=1)
    axes[0, 0].scatter(ceiling, fraction, s=3, color=COLOURS[0], alpha=0.4, linewidths=0)
    axes[0, 0].set(xlabel="ceiling from repeats, %", ylabel="truth explains, %", xlim=(0, 100), ylim=(0, 100))
    alt = "Each voxel's noise ceiling, estimated from repeats, against what the planted response explains, around the diagonal."
    sentence = f"Repeats estimate that {ceiling.mean():.1f} % of the variance can be explained; the planted responses explain"
    return f"{_embedded(figure, alt)}{sentence} {fraction.mean():.1f} % (means over {ceiling.size:,} voxels)."


def nobody(store):
    """The best, the middle and the worst of the test images."""
    run = store.run
    if not publish.may_show(run):
        return WITHHELD.format(name=run.name, why=NOT_SIMULATED)
    with store.load("reconstruction") as made, store.load("scores") as scores:
        values = scores.value.sel(system="refined").load()
        chosen, percentiles = at_percentiles(mean_rank(values), 3)
        rows = {kind: resize(made[name].values[chosen], strip.SIDE) for kind, name in KINDS.items()}
    label, own = measures(run)["pixcorr"].label, values.sel(metric="pixcorr").values
    alt = "Seen, rough and refined images, the best, the middle and the worst of all test images."
    shown = image(np.asarray(strip.draw(rows, percentiles)), alt, 2 * SIDE, ' class="nsd-why"', quality=90)
    sentence = f"Here are percentiles {', '.join(f'{p:.0f}' for p in percentiles)} of the mean rank in eight scores;"
    return f"{shown}\n\n{sentence} over all {own.size} images {label} goes from {own.min():.2f} to {own.max():.2f}."


def rivals(store, **bootstrap):
    """The score CLIP of each system's images."""
    with store.load("systems") as systems:
        values = systems.value.sel(metric=["clip"]).load()
    table = statistics.summary(values, **bootstrap).isel(metric=0)
    table = table.isel(system=np.argsort(-table["mean"].values, kind="stable"))
    names, label = [str(name) for name in table.system.values], measures(store.run)["clip"].label
    figure = _dots([(table, label)], names, chance=METRICS["clip"].chance)
    cells = statistics.as_text(table, digits=2).iloc[:, 0]
    lowest, highest = (f"{cells[name]} (`{name}`)" for name in (names[-1], names[0]))
    sentence = f"Across the {len(names)} that run here, {label} ranges from {lowest} to {highest}"
    return f"{_embedded(figure, f'The score {label} of every system, with intervals, the best above, chance dotted.')}{sentence}."


def own_data(store):
    """Event tables of public data sets, by outcome."""
    table, _ = faults.read(store.run.root, "events")
    refused = table.outcome.str.startswith("refused")
    as_is, n_refused = table[table.outcome == "taken as it is"].tables.sum(), table[refused].tables.sum()
    total = table.tables.sum()
    parts = {"unchanged": as_is, "with the change\nsuggested": total - as_is - n_refused, "refused,\nwith a reason": n_refused}
    figure, axes = new_panels(1, 1, WIDTH, 1.5)
    axes[0, 0].barh(range(len(parts)), list(parts.values()), color=[COLOURS[2], COLOURS[0], REFERENCE])
    axes[0, 0].set_yticks(range(len(parts)), list(parts))
    axes[0, 0].invert_yaxis()
    axes[0, 0].set_xlabel("event tables")
    sentence = f"{total - n_refused:,} of {total:,} event tables of bids-examples became designs"
    alt = "Event tables of public data sets: read unchanged, with a suggested change, or refused."
    return f"{_embedded(figure, alt)}{sentence}, {as_is} unchanged, the others with the change that the message suggests."


def _dots(panels, names, *, chance=None):
    """A figure of means and intervals with a panel per pair (table over one dimension, title) and a row per name."""
    figure, axes = new_panels(1, len(panels), WIDTH, 0.75 + 0.19 * len(names), sharey=True)
    for ax, (table, title) in zip(axes[0], panels, strict=True):
        if chance is not None:
            ax.axvline(chance, color=REFERENCE, linewidth=1, linestyle=":")
        (rows,) = table["mean"].dims
        draw_intervals(ax, table.assign_coords({rows: names}), x="value", y=rows, color=COLOURS[0])
        ax.set_title(title)
    return figure


def _embedded(figure, alt):
    """A figure embedded in HTML, to be followed by a sentence; closes the figure."""
    file = io.BytesIO()
    figure.savefig(file, dpi=2 * SIDE / WIDTH, facecolor="white")
    plt.close(figure)
    return image(np.asarray(Image.open(file).convert("RGB")), alt, 2 * SIDE, ' class="nsd-why"', quality=90) + "\n\n"
