"""Figures of responses and betas (notebooks 01 and 02)."""

import numpy as np

from nsdlib.plots.style import ACCENT, COLOURS, WIDTH, new_axes

SMALLEST_R2 = 1e-4  # percent; smaller values are left out of the logarithmic axis


def plot_hrfs(seconds, hrfs, peaks, *, canonical=None, ax=None):
    """Draw a library of HRFs, coloured by the time of their peak.

    `hrfs` (n_hrfs, n_samples), with a maximum of 1, are sampled at `seconds` (n_samples,) from stimulus onset; `peaks` (n_hrfs,)
    are in seconds. A `canonical` HRF, drawn in black, is sampled at the first of `seconds`.
    """
    import matplotlib.pyplot as plt

    ax = ax or new_axes(6.5, 3.4)
    scale = plt.cm.ScalarMappable(plt.Normalize(peaks.min(), peaks.max()), "viridis")
    for curve, peak in zip(hrfs, peaks, strict=True):
        ax.plot(seconds, curve, color=scale.to_rgba(peak), linewidth=1.2)
    if canonical is not None:
        ax.plot(seconds[: len(canonical)], canonical, "k--", label="canonical HRF")
        ax.legend(frameon=False)
    ax.axhline(0, color="0.7", linewidth=0.8, zorder=0)
    ax.set(xlabel="seconds from the onset of an image", ylabel="BOLD, peak = 1", xlim=(0, 30))
    ax.set_title("The twenty HRFs of the library")
    ax.figure.colorbar(scale, ax=ax, label="peak (s)")
    return ax


def plot_fits(seconds, measured, fits, onsets, *, ax=None):
    """Draw a voxel's series in one run and its fits by betas.

    `measured` and each of the `fits`, by label, are (n_volumes,), percent of the mean without drift, at `seconds`; `onsets`
    (n_trials,) are in seconds.
    """
    ax = ax or new_axes(9, 3.2)
    ax.plot(seconds, measured, ".-", color="0.6", markersize=3, linewidth=0.7, label="measured")
    for label, fit in fits.items():
        ax.plot(seconds, fit, linewidth=1.6, label=label)
    ax.plot(onsets, np.full(len(onsets), ax.get_ylim()[0]), "|", color="k", markersize=5, label="an image appears")
    ax.set(xlabel="seconds", ylabel="BOLD (percent)", xlim=(seconds[0], seconds[-1]))
    ax.legend(ncols=4, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=8)
    ax.set_title("One voxel, one run: measured and explained", pad=24)
    return ax


def plot_r2(onoff, fitted, *, threshold, ax=None):
    """Draw the variance explained by single trials against that of a common response, as a density of voxels.

    `onoff` and `fitted` are (n_voxels,) percent; `threshold` is the ON-OFF R2 from which voxels count as responsive.
    """
    ax, is_large = ax or new_axes(5.2, 3.8), onoff > SMALLEST_R2
    _draw_density(ax, onoff[is_large], fitted[is_large], xscale="log", gridsize=45)
    ax.axvline(threshold, color=ACCENT, linewidth=1.2, label=f"threshold, {threshold:.2g} %")
    ax.set(xlabel="ON-OFF: percent of variance", ylabel="single trials: percent of variance")
    ax.legend(frameon=False, loc="upper left")
    ax.set_title("One response to all images, and one for each trial")
    return ax


def plot_components(curves, chosen, *, ax=None):
    """Draw how the error between repeats falls as noise components are removed, one line per session.

    `curves` maps a session to (n_pcs + 1,) float, `chosen` to the selected number. If there are many sessions, none is labelled.
    """
    ax = ax or new_axes(WIDTH, 3.4)
    is_labelled = len(curves) <= len(COLOURS)
    for name, curve in curves.items():
        [line] = ax.plot(curve, ".-", label=f"{name}: {chosen[name]} removed" if is_labelled else None)
        ax.plot(chosen[name], curve[chosen[name]], "o", markersize=10, markerfacecolor="none", color=line.get_color())
    ax.axhline(0, color="0.7", linewidth=0.8, zorder=0)
    ax.set(xlabel="noise components removed", ylabel="fall in error between repeats", title="How many noise components to remove")
    if is_labelled:
        ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))  # beside the curves, which fall to the right
    return ax


def plot_fractions(fractions, groups, *, ax=None):
    """Draw how often each of the evenly spaced ridge `fractions` (n_fractions,) was chosen in groups of voxels.

    `groups` maps a name to the fractions of its voxels, (n_voxels,); empty groups are not drawn.
    """
    ax = ax or new_axes(5.6, 3.2)
    fractions = np.sort(fractions)
    for name, values in groups.items():
        if len(values):
            percent = 100 * np.isclose(values[:, None], fractions, atol=1e-3).mean(axis=0)
            ax.step(fractions, percent, where="mid", linewidth=1.8, label=f"{name} (n = {len(values)})")
    ax.set(xlabel="fraction of the betas' length that is kept", ylabel="percent of voxels", ylim=(0, None))
    ax.legend(frameon=False)
    ax.set_title("Ridge: how much each voxel keeps")
    return ax


def plot_boxes(groups, *, label, title, ax=None):
    """Draw the spread of a quantity over voxels in several groups: boxes from 25 to 75, whiskers from 5 to 95 percent.

    `groups` maps a name to (n_voxels,) float, and `label` names the quantity.
    """
    ax = ax or new_axes(1.6 + 0.75 * len(groups), 3.5)
    names = [f"{name}\nn = {len(values)}" for name, values in groups.items()]
    style = {"color": "k", "linewidth": 1.6}
    ax.boxplot(list(groups.values()), tick_labels=names, whis=(5, 95), showfliers=False, medianprops=style)
    ax.axhline(0, color="0.7", linewidth=0.8, zorder=0)
    ax.tick_params(axis="x", labelsize=8)
    ax.set(ylabel=label, title=title)
    return ax


def plot_truth(planted, estimated, *, label, title, ax=None):
    """Draw estimates against the planted truth, both (n_voxels,), with the identity line; `label` gives quantity and unit."""
    ax = ax or new_axes(4.4, 3.8)
    _draw_density(ax, planted, estimated, gridsize=35)
    ends = [min(planted.min(), estimated.min()), max(planted.max(), estimated.max())]
    ax.plot(ends, ends, "k--", linewidth=1.2, label="equal")
    ax.set(xlabel=f"planted {label}", ylabel=f"estimated {label}", title=title)
    ax.legend(frameon=False, loc="upper left", fontsize=8)
    return ax


def _draw_density(ax, x, y, **options):
    """Draw hexagonal bins of two values per voxel, coloured by the logarithm of the voxel count."""
    bins = ax.hexbin(x, y, bins="log", mincnt=1, cmap="cividis", **options)
    ax.figure.colorbar(bins, ax=ax, label="voxels")


def plot_confusion(percent, ticks, *, label, title, ax=None):
    """Draw the confusion matrix of several ordered classes, planted against estimated.

    `percent` (n_classes, n_classes) holds the percentage of each planted class (rows) that was estimated as each class (columns);
    `ticks` are the names of the classes, and `label` says what they classify.
    """
    import seaborn as sns

    ax = ax or new_axes(4.8, 4.2)
    bar = {"label": "percent of the planted", "shrink": 0.85}
    sns.heatmap(percent.T, cmap="cividis", vmin=0, square=True, cbar_kws=bar, ax=ax)
    for set_ticks in (ax.set_xticks, ax.set_yticks):
        set_ticks(np.arange(0, len(ticks), 3) + 0.5, ticks[::3], rotation=0)
    ax.set(xlabel=f"planted {label}", ylabel=f"estimated {label}", title=title)
    ax.invert_yaxis()
    return ax
