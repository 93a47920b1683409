"""The look of every figure: colours that colour-blind readers can tell apart, quiet axes, letters that print."""

from dataclasses import replace

import numpy as np

# Okabe & Ito (2008), darkest contrasts first; yellow is left out, it vanishes on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
REFERENCE = "0.55"  # floors, ceilings, chance
FONT_SIZE = 9
STAND_IN = "†"  # behind the label of a measure for which a small network stands in
NOTE = f"{STAND_IN} a small network of the demo zoo stands in"


def use_style():
    """Set matplotlib's defaults for this process, and nobody's matplotlibrc; notebooks call it once, the library never does.

    Tables of pandas show their cells whole.
    """
    import matplotlib as mpl
    import pandas as pd

    pd.set_option("display.max_colwidth", None)
    mpl.rcdefaults()
    mpl.rcParams.update(
        {
            "axes.prop_cycle": mpl.cycler(color=COLOURS),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": FONT_SIZE + 1,
            "axes.titlelocation": "left",
            "axes.labelsize": FONT_SIZE,
            "font.size": FONT_SIZE,
            "xtick.labelsize": FONT_SIZE - 1,
            "ytick.labelsize": FONT_SIZE - 1,
            "legend.fontsize": FONT_SIZE - 1,
            "legend.frameon": False,
            "figure.dpi": 100,
            "savefig.dpi": 150,
            "savefig.bbox": "tight",
            "image.interpolation": "nearest",
            "image.cmap": "cividis",
            "lines.linewidth": 1.6,
        }
    )


def measures(run):
    """Return `METRICS` with the labels for a run's tables and figures (dict of str to Metric).

    A dagger follows the label of a published network where one of the demo zoo stands in for it.
    """
    from nsdlib.core.scores.metrics import METRICS

    def named(name, metric):
        is_own = run.zoo != "demo" or not metric.network or (name == "clip" and run.clip_judge is not None)
        return metric if is_own else replace(metric, label=f"{metric.label}{STAND_IN}")

    return {name: named(name, metric) for name, metric in METRICS.items()}


def name_measures(table, run):
    """Return a DataFrame whose rows and columns of measures, by key or label, have the labels of `measures`.

    Where a label has the dagger, the corner of the table says what it means.
    """
    labels = {word: own.label for name, own in measures(run).items() for word in (name, own.label.removesuffix(STAND_IN))}
    named = table.rename(index=labels, columns=labels)
    is_marked = any(STAND_IN in str(label) for axis in named.axes for label in axis)
    return named.rename_axis(columns=f"{STAND_IN} stand-in network") if is_marked and named.columns.nlevels == 1 else named


def stand_ins(metrics):
    """Return a line that says what the dagger in the labels of a figure means; nothing where there is none."""
    return f"\n{NOTE}" * any(STAND_IN in metric.label for metric in metrics.values())


def new_axes(width, height):
    """Return the axes of a new figure, width by height inches."""
    return new_panels(1, 1, width, height)[1][0, 0]


def new_panels(n_rows, n_columns, width, height, **shared):
    """Return a new figure, width by height inches, and its axes (n_rows, n_columns); `shared` is sharex and sharey."""
    import matplotlib.pyplot as plt

    size = (width, height)
    return plt.subplots(n_rows, n_columns, figsize=size, squeeze=False, layout="constrained", **shared)


def draw_intervals(ax, positions, table, *, color, marker="o", label=None, across=False):
    """Draw the means of a `statistics.summary` of one dimension as markers on their intervals; `across` draws them along x."""
    mean, low, high = (np.atleast_1d(table[name]) for name in ("mean", "low", "high"))
    reach = np.maximum([mean - low, high - mean], 0)  # rounding can put the end of an interval beside its mean
    places = {"x": mean, "y": positions, "xerr": reach} if across else {"x": positions, "y": mean, "yerr": reach}
    ax.errorbar(**places, fmt=marker, color=color, markersize=5, label=label)


def draw_band(ax, positions, table, *, color, label=None):
    """Draw the means of a `statistics.summary` of one dimension as a line, their intervals as a band around it."""
    ax.fill_between(positions, table.low, table.high, color=color, alpha=0.2, linewidth=0)
    ax.plot(positions, table["mean"], "o-", color=color, markersize=4, label=label)
