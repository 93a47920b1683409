"""The look of every figure: one seaborn theme, colours that colour-blind readers can tell apart, and the intervals of our own."""

from dataclasses import replace

# Okabe & Ito (2008), darkest contrasts first; yellow is left out, it vanishes on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
ACCENT = COLOURS[1]
REFERENCE = "0.55"  # floors, ceilings, chance
WIDTH = 7  # inches of the widest figure, which a page of the book so shows without shrinking its letters
FONT_SIZE = 10
LETTERS = 100  # in a line as wide as a figure
STAND_IN = "†"  # behind the label of a measure for which a small network stands in
NOTE = f"{STAND_IN} a small network of the demo zoo stands in"


def use_style():
    """Set the theme for this process, and nobody's matplotlibrc; notebooks call it once, the library never does.

    Tables of pandas show their cells whole.
    """
    import matplotlib as mpl
    import pandas as pd
    import seaborn as sns

    pd.set_option("display.max_colwidth", None)
    mpl.rcdefaults()
    rc = {
        "axes.prop_cycle": mpl.cycler(color=COLOURS),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "figure.dpi": 100,
        "figure.labelsize": "medium",
        "figure.titlesize": "medium",
        "image.cmap": "cividis",
        "image.interpolation": "nearest",
        "legend.frameon": False,
        "savefig.bbox": "tight",
        "savefig.dpi": 150,
    }
    sns.set_theme("paper", "ticks", font="DejaVu Sans", font_scale=FONT_SIZE / 9.6, rc=rc)  # of "paper" letters have 9.6 points


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


def draw_intervals(ax, table, *, bands=False, **options):
    """Draw a `statistics.summary` as markers on their intervals, or as lines in `bands`; `options` are those of seaborn."""
    import seaborn as sns

    # seaborn would compute intervals of its own. Of three numbers, median and range are the middle one and the two others.
    rows = table[["low", "mean", "high"]].to_array("bound", name="value").to_dataframe().reset_index()
    draw, look = (sns.lineplot, {"marker": "o"}) if bands else (sns.pointplot, {"linestyle": "none", "markersize": 5})
    draw(rows, estimator="median", errorbar=("pi", 100), ax=ax, **look, **options)
    ax.set(xlabel="", ylabel="")


def draw_legend(figure):
    """Draw what is named on any of the axes, each label once, below all panels."""
    named = {}
    for ax in figure.axes:
        named |= {label: handle for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
        if ax.get_legend():
            ax.get_legend().remove()
    n_columns = max(1, LETTERS // (6 + max(map(len, named), default=0)))
    n_columns = -(-len(named) // max(1, -(-len(named) // n_columns))) or 1  # lines of one length
    figure.legend(named.values(), named, loc="outside lower center", ncols=n_columns)
