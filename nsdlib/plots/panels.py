"""Panels of explorers: a sentence and figures of what `nsdlib.study.explorations` computed.

Each function returns a sentence, and a dict of alternative text to matplotlib figure.
"""

import numpy as np

from nsdlib.plots.brain import plot_boxes, plot_fits
from nsdlib.plots.maps import plot_map, plot_regions
from nsdlib.plots.pictures import plot_grid
from nsdlib.plots.style import new_axes


def plot_voxel(fits, results):
    """Draw a voxel on its slice, what each HRF explains of it, and its series with all fits.

    Takes an `explorations.VoxelFits` and what its `compute` returned.
    """
    (x, y, z), chosen, r2, peaks = results.position, results.chosen, results.r2.values, fits.peaks
    label = "Peak of the HRF, seconds"
    brain = plot_map(peaks[fits.hrf_index], fits.background, voxels=fits.voxels, slices=[z], label=label)
    brain.axes[1].plot(x, y, "s", markersize=9, markerfacecolor="none", markeredgecolor="red", markeredgewidth=2)
    brain.suptitle("The voxel on its slice")
    figures = {
        f"slice {z} with the voxel marked": brain,
        "variance explained by each HRF": _draw_r2(peaks, r2, chosen).figure,
        "measured series and twenty fits": _draw_fits(results).figure,
    }
    sentence = (
        f"Voxel x = {x}, y = {y}, z = {z}: HRF {chosen + 1} of {len(r2)} explains most of its session, {r2[chosen]:.2f} % "
        f"(the worst {r2.min():.2f} %), and has its peak at {peaks[chosen]:.1f} s."
    )
    return sentence, figures


def plot_measure(background, masks, slices, values, *, label):
    """Draw where regions lie, and the spread of a measure, `label`, over their voxels.

    The first four arguments are the background and what `explorations.RegionMeasures.compute` returned.
    """
    brain = plot_regions(background, masks, slices=slices)
    brain.suptitle("The regions on their slices")
    ax = plot_boxes(values, label=label, title=f"{label[0].upper()}{label[1:]} by region")
    figures = {f"regions on slices {slices[0]} to {slices[-1]}": brain, f"{label} by region": ax.figure}
    medians = ", ".join(f"{name} {np.median(inside):.2f}" for name, inside in values.items())
    return f"Median {label}: {medians}.", figures


def plot_stages(images, scores):
    """Draw one image as seen, rough and refined, with the scores that need no network, from `Reconstruction.compute`."""
    words = "; ".join(f"{stage} PixCorr {r:.2f}, SSIM {similarity:.2f}" for stage, (r, similarity) in scores.items())
    figure = _draw_pictures({"": list(images.values())}, list(images))
    sentence = f"This image alone: {words}. Whether a setting is better, only many images can tell."
    return sentence, {"the image as seen, rough and refined": figure}


def plot_alteration(seen, rough, refined, moved, *, region, n_voxels):
    """Draw one image from a pattern as measured, with a region altered, and with as many other voxels altered (`n_voxels`).

    The first four arguments are what `explorations.RegionAlteration.compute` returned.
    """
    titles = ["seen", "as measured", f"{region} altered", "others altered"]
    figure = _draw_pictures({"rough": [seen, *rough], "refined": [seen, *refined]}, titles)
    sentence = (
        f"{n_voxels} voxels of {region} altered move the refined image by {moved[0]:.1f} grey levels in the mean, as many "
        f"others, drawn at random, by {moved[1]:.1f}: what the decoder used, not what the brain would need."
    )
    return sentence, {f"the image as measured, with {region} altered, and with as many other voxels altered": figure}


def _draw_r2(peaks, r2, chosen):
    """Variance explained against the time of the peak, the chosen HRF marked."""
    ax = new_axes(4.2, 3.4)
    ax.plot(peaks, r2, "o-", color="0.6", markersize=4)
    ax.plot(peaks[chosen], r2[chosen], "o", color="C1", markersize=9, label="chosen")
    ax.set(xlabel="peak of the HRF (s)", ylabel="percent of variance, whole session")
    ax.legend()
    ax.set_title("What each HRF explains")
    return ax


def _draw_fits(results):
    """The series with all fits thin behind the chosen one."""
    import matplotlib.pyplot as plt

    ax, seconds, fits = new_axes(9, 3.2), results.volume.values, results.fit.values
    for colour, fit in zip(plt.colormaps["viridis"](np.linspace(0, 1, len(fits))), fits, strict=True):
        ax.plot(seconds, fit, color=colour, linewidth=0.5)
    plot_fits(seconds, results.measured.values, {"chosen HRF": fits[results.chosen]}, results.onset.values, ax=ax)
    ax.set_title("One voxel, one run: measured, and twenty fits (thin, early peaks dark)", pad=24)
    return ax


def _draw_pictures(rows, titles):
    """Images in columns, large enough to look at one by one."""
    figure = plot_grid(rows, titles=titles)
    figure.set_size_inches(2.1 * len(titles), 2.1 * len(rows) + 0.3)
    return figure
