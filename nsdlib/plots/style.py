"""The look of every figure: colours that colour-blind readers can tell apart, quiet axes, letters that print."""

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
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(width, height), layout="constrained")[1]
