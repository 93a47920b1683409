"""The look of every figure: colours that colour-blind readers can tell apart, quiet axes, letters that print."""

import numpy as np

# Okabe & Ito (2008), darkest contrasts first; yellow is left out, it vanishes on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
REFERENCE = "0.55"  # floors, ceilings, chance
FONT_SIZE = 9


def use_style():
    """Set matplotlib's defaults for this process, and nobody's matplotlibrc; notebooks call it once, the library never does."""
    import matplotlib as mpl

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
