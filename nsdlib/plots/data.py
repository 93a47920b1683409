"""Figures of stimuli and measurements (notebook 00)."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import ListedColormap

from nsdlib.plots.style import COLOURS, FONT_SIZE, REFERENCE, WIDTH, draw_legend, new_axes, new_panels

CAPTION_WIDTH = 24  # characters per line
SCALE_BAR = 5  # percent of the mean signal


def plot_scenes(images, captions, *, n_columns=4):
    """Draw a sheet of images (n_images, side, side, 3) uint8, each above its caption, in `n_columns` columns."""
    n_rows = -(-len(images) // n_columns)
    figure, axes = new_panels(n_rows, n_columns, WIDTH, n_rows * WIDTH / n_columns * 1.4)
    _draw_sheet(axes, images, [textwrap.fill(caption, CAPTION_WIDTH) for caption in captions], fontsize=FONT_SIZE - 1, y=-0.06)
    figure.suptitle("What was shown: images and one caption of each")
    return figure


def _draw_sheet(axes, images, captions, **options):
    """Draw images above their captions, without axes; axes beyond the images stay empty."""
    for ax in axes.flat:
        ax.axis("off")
    for ax, image, caption in zip(axes.flat, images, captions, strict=False):
        ax.imshow(image)
        ax.set_title(caption, va="top", loc="left", **options)


def plot_trials(image_ids, is_test, session, ax=None):
    """Draw which image was shown when: one dot per trial, with images ordered by their first showing.

    The first three arguments are (n_trials,): int, bool and int.
    """
    ax = ax or new_axes(WIDTH, 3.8)
    _, first, row = np.unique(image_ids, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))[row]
    order = np.argsort(is_test, kind="stable")  # draws the few test images on top
    kind, sizes = np.where(is_test, "test image", "training image")[order], {"training image": 3, "test image": 12}
    looks = {"hue": kind, "hue_order": list(sizes), "palette": COLOURS[:2], "size": kind, "sizes": sizes, "linewidth": 0}
    sns.scatterplot(x=order + 1, y=rank[order], **looks, ax=ax)
    for start in np.flatnonzero(np.diff(session)) + 1.5:
        ax.axvline(start, color="0.7", linewidth=0.8, zorder=0)
    ax.set(xlabel="trial (lines separate sessions)", ylabel="image, by first showing", title="Which image was shown when")
    sns.move_legend(ax, "lower right", bbox_to_anchor=(1, 1), ncols=2, markerscale=2, title=None, borderpad=0)
    return ax


def plot_run(series, onsets, labels, *, tr, ax=None):
    """Draw the time series of some voxels over one run, one above the other.

    `series` (n_volumes, n_voxels) is in percent of each voxel's mean, with a volume every `tr` seconds; `onsets` (n_trials,) are
    the image onsets in seconds; `labels` name the voxels.
    """
    ax = ax or new_axes(WIDTH, 3.6)
    seconds = tr * np.arange(len(series))
    step = 0.8 * np.ptp(series, axis=0).max()
    for i, label in enumerate(labels):
        ax.plot(seconds, series[:, i] - i * step, linewidth=1)
        ax.text(seconds[-1] + 4, series[:, i].mean() - i * step, label, va="center", color=f"C{i}")
    lowest = series[:, -1].min() - (len(labels) - 1) * step
    ax.vlines(onsets, lowest - 0.2 * step, lowest - 0.05 * step, color="0.5", linewidth=0.8)
    ax.plot([-9, -9], [0, SCALE_BAR], color="black", linewidth=2)
    ax.text(-13, SCALE_BAR / 2, f"{SCALE_BAR} %", rotation=90, ha="right", va="center")
    ax.set(xlabel="seconds from the start of the run (ticks: an image appears)", yticks=[])
    ax.set(xlim=(-30, 1.15 * seconds[-1]), title="BOLD of one run")
    ax.spines["left"].set_visible(False)
    return ax


def plot_agreement(right, shifted, ax=None):
    """Draw how well the patterns of two showings of an image agree, with the correct mapping and with a wrong one.

    Both are correlations (n_images,), see `nsd_checks.repeat_agreement`.
    """
    ax = ax or new_axes(6, 3)
    values = {"image of the trial": right, "image of the trial before": shifted}
    sns.histplot(values, bins=40, palette=COLOURS[:2], alpha=0.75, linewidth=0, ax=ax)
    ax.axvline(0, ymax=0.8, color="0.4", linewidth=0.8)
    ax.set(xlabel="correlation of the patterns of two showings", ylabel="images", title="Do betas and images belong together?")
    ax.set_ylim(top=1.35 * ax.get_ylim()[1])
    sns.move_legend(ax, "upper right", ncols=2)
    return ax


def plot_session(seconds, run, is_old, ax=None):
    """Draw one session as rows of ticks, one row per run and one tick per trial.

    Arguments are (n_trials,): seconds within the run, the run's number from 1, and whether the image had been shown before. If
    all seconds are NaN, the figure says so.
    """
    ax = ax or new_axes(WIDTH, 3.4)
    if np.isnan(seconds).all():
        ax.set_axis_off()
        ax.text(0.5, 0.5, "Nothing says when images were shown.", transform=ax.transAxes, ha="center")
        return ax
    for mask, label, colour in ((~is_old, "for the first time", COLOURS[0]), (is_old, "seen before", COLOURS[1])):
        ax.vlines(seconds[mask], run[mask] - 0.36, run[mask] + 0.36, color=colour, linewidth=1.6, label=label)
    ax.set(xlabel="seconds within the run", ylabel="run", yticks=np.unique(run))
    ax.invert_yaxis()
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderpad=0)
    ax.set_title("One session: a row is a run, a tick a trial")
    return ax


def plot_responses(seconds, halves, labels, *, duration):
    """Draw the mean response of some voxels to an image, estimated from odd and from even runs, one panel per voxel.

    `seconds` (n_lags,) count from image onset; an image is shown for `duration` seconds. Each of the two `halves` (n_lags,
    n_voxels) is in percent of the voxel's mean.
    """
    figure, axes = new_panels(1, len(labels), min(WIDTH, max(5, 1.8 * len(labels))), 2.9, sharey=True)
    for ax, curves, label in zip(axes[0], np.moveaxis(np.array(halves), 2, 0), labels, strict=True):
        runs = pd.DataFrame(curves.T, index=seconds, columns=["odd runs", "even runs"])
        sns.lineplot(runs, palette=COLOURS[:2], ax=ax)
        ax.axvspan(0, duration, color="0.92", linewidth=0, zorder=0)
        ax.set(title=label, xlabel="seconds from onset")
    axes[0, 0].set_ylabel("BOLD (percent)")
    draw_legend(figure)
    figure.suptitle("Mean response of each voxel to an image (grey: it is shown)")
    return figure


def plot_repeats(first, second, labels, *, unit=None):
    """Draw voxels' responses to the same images at two showings, both (n_images, n_voxels) in a unit, one panel per voxel."""
    unit_text = f" ({unit})" if unit else ""
    figure, axes = new_panels(1, len(labels), 3.2 * len(labels), 3.4)
    for ax, x, y, label in zip(axes[0], first.T, second.T, labels, strict=True):
        sns.scatterplot(x=x, y=y, s=10, linewidth=0, alpha=0.7, ax=ax)
        ends = np.array([min(x.min(), y.min()), max(x.max(), y.max())])
        ends += 0.05 * np.ptp(ends) * np.array([-1, 1])
        ax.plot(ends, ends, color=REFERENCE, linewidth=0.8, linestyle=":")
        ax.set(aspect="equal", xlim=ends, ylim=ends, xlabel=f"beta, first showing{unit_text}", title=label)
    axes[0, 0].set_ylabel(f"beta, second showing{unit_text}")
    return figure


def plot_import(images, names, regressors, background, mask, *, slices):
    """Draw an imported data set on one sheet: pictures above their names, the design of a run, the mask on the mean image.

    `images` are (n_images, side, side, 3) uint8, at most 24 for a readable sheet; `regressors` (n_volumes, n_trials) are in order
    of time; `slices` are indices along the third axis of `background` and `mask`, (X, Y, Z) float and bool.
    """
    n_columns = 6
    n_rows = max(1, -(-len(images) // n_columns))
    figure = plt.figure(figsize=(WIDTH, 1.6 * n_rows + 3), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.6 * n_rows, 3))
    captions = [textwrap.fill(textwrap.shorten(name, 32, placeholder=" …"), 16) for name in names]
    _draw_sheet(upper.subplots(n_rows, n_columns, squeeze=False), images, captions, fontsize=FONT_SIZE - 2, y=-0.08)
    upper.suptitle("Pictures in the order of their first showing")
    design_figure, mask_figure = lower.subfigures(1, 2, width_ratios=(1, 2))
    ax = design_figure.subplots()
    ax.imshow(regressors, aspect="auto", cmap="gray_r", interpolation="nearest")
    ax.set(xlabel="trial", ylabel="volume")
    design_figure.suptitle("Design of the first run")
    for ax, z in zip(mask_figure.subplots(1, len(slices), squeeze=False)[0], slices, strict=True):
        ax.imshow(background[:, :, z].T, origin="lower", cmap="gray")
        inside = np.where(mask[:, :, z].T, 1.0, np.nan)
        ax.imshow(inside, origin="lower", cmap=ListedColormap([COLOURS[1]]), alpha=0.35)
        ax.set(xticks=[], yticks=[], xlabel=f"z = {z}")
    mask_figure.suptitle(f"Mask ({mask.sum():,} voxels) on the mean image")
    return figure
