"""The style of all figures: one seaborn theme, a colour-blind-safe palette, and functions for panels, intervals and legends."""

from dataclasses import replace

# Okabe & Ito (2008), strongest contrasts first, without yellow, which is invisible on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
ACCENT = COLOURS[1]
REFERENCE = "0.55"  # floors, ceilings, chance
WIDTH = 7  # inches of the widest figure; the book's pages show it without shrinking its text
FONT_SIZE = 10
LETTERS = 100  # characters per line of a figure's width
STAND_IN = "†"  # after the label of a measure computed by a small stand-in network
NOTE = f"{STAND_IN} a small network of the demo zoo stands in"


def use_style():
    """Set the theme for this process, ignoring any matplotlibrc; notebooks call it once.

    Pandas tables show full cells.
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
    sns.set_theme("paper", "ticks", font="DejaVu Sans", font_scale=FONT_SIZE / 9.6, rc=rc)  # "paper" has 9.6 points


def measures(run):
    """Return `METRICS` with a run's labels for tables and figures (dict of str to Metric).

    A dagger follows the label of a published network that a network of the demo zoo replaces.
    """
    from nsdlib.core.scores.metrics import METRICS

    def relabelled(name, metric):
        is_published = run.zoo != "demo" or not metric.network or (name == "clip" and run.clip_judge is not None)
        return metric if is_published else replace(metric, label=f"{metric.label}{STAND_IN}")

    return {name: relabelled(name, metric) for name, metric in METRICS.items()}


def name_measures(table, run):
    """Return a DataFrame with its measures in rows and columns, by key or label, renamed to the labels of `measures`.

    If a label has the dagger, the corner of the table explains it.
    """
    labels = {}
    for name, metric in measures(run).items():
        labels |= {name: metric.label, metric.label.removesuffix(STAND_IN): metric.label}
    renamed = table.rename(index=labels, columns=labels)
    is_marked = any(STAND_IN in str(label) for axis in renamed.axes for label in axis)
    return renamed.rename_axis(columns=f"{STAND_IN} stand-in network") if is_marked and renamed.columns.nlevels == 1 else renamed


def stand_ins(metrics):
    """Return a line that explains the dagger in a figure's labels, or an empty text if there is none."""
    return f"\n{NOTE}" * any(STAND_IN in metric.label for metric in metrics.values())


def new_axes(width, height):
    """Return the axes of a new figure, width by height inches."""
    return new_panels(1, 1, width, height)[1][0, 0]


def new_panels(n_rows, n_columns, width, height, **shared):
    """Return a new figure, width by height inches, and its axes (n_rows, n_columns); `shared` is sharex and sharey."""
    import matplotlib.pyplot as plt

    return plt.subplots(n_rows, n_columns, figsize=(width, height), squeeze=False, layout="constrained", **shared)


def draw_intervals(ax, table, *, bands=False, **options):
    """Draw a `statistics.summary` as markers with intervals, or as lines with `bands`; `options` are those of seaborn."""
    import seaborn as sns

    # Seaborn computes its own intervals; the median and range of (low, mean, high) are mean, low and high.
    rows = table[["low", "mean", "high"]].to_array("bound", name="value").to_dataframe().reset_index()
    draw, look = (sns.lineplot, {"marker": "o"}) if bands else (sns.pointplot, {"linestyle": "none", "markersize": 5})
    draw(rows, estimator="median", errorbar=("pi", 100), ax=ax, **look, **options)
    ax.set(xlabel="", ylabel="")


def draw_legend(figure):
    """Draw one legend for all axes, each label once, below all panels."""
    handles = {}
    for ax in figure.axes:
        handles |= {label: handle for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
        if ax.get_legend():
            ax.get_legend().remove()
    n_columns = max(1, LETTERS // (6 + max(map(len, handles), default=0)))
    n_columns = -(-len(handles) // max(1, -(-len(handles) // n_columns))) or 1  # balances the lines
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=n_columns)
