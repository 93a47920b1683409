"""Panels of explorers: a sentence and figures about a result of `nsdlib.study.explorations`.

Each function returns a sentence, and a dict of alternative text to matplotlib figure; `caption` is a sentence about the image.
"""

import numpy as np

from nsdlib.plots.brain import plot_boxes, plot_fits
from nsdlib.plots.maps import plot_regions
from nsdlib.plots.pictures import plot_grid
from nsdlib.plots.style import new_axes

WIDE = 9  # pictures per line


def plot_systems(groups, missing, *, caption):
    """Draw all images made of one test image, each with its PixCorr, as returned by `explorations.StoredImages.collect`."""
    lines = [
        (name if start == 0 else "", list(images.items())[start : start + WIDE])
        for name, images in groups.items()
        for start in range(0, len(images), WIDE)
    ]
    ax, line_height = new_axes(9.4, 1.4 * len(lines)), 1.34  # one axes for all pictures: one for each takes seconds
    for row, (name, images) in enumerate(lines):
        ax.text(-0.08, line_height * row + 0.5, name, rotation=90, ha="right", va="center", fontsize=8)
        for column, (label, (image, r)) in enumerate(images):
            ax.imshow(image, extent=(column, column + 0.96, line_height * row + 0.96, line_height * row))
            text = f"{label.replace('nearest training', 'nearest')}\n{'' if label == 'seen' else f'r = {r:.2f}'}"
            ax.text(column + 0.48, line_height * row - 0.04, text.strip(), fontsize=7, ha="center", va="bottom")
    ax.set(xlim=(-0.1, WIDE), ylim=(line_height * len(lines) - 0.3, -0.3))
    ax.set_axis_off()
    sentence = f"{caption} r is the correlation of pixels (PixCorr) with the image seen. {missing}".strip()
    return sentence, {f"one image as seen, and as made by {', '.join(groups)}": ax.figure}


def plot_voxel(peaks, results):
    """Draw the variance of a voxel that each HRF explains, and its series with all fits.

    Takes the `peaks` (n_hrfs,) in seconds of an `explorations.VoxelFits`, and the result of its `compute`.
    """
    (x, y, z), chosen, r2 = results.position, results.chosen, results.r2.values
    figures = {
        "variance explained by each HRF": _draw_r2(peaks, r2, chosen).figure,
        "measured series and twenty fits": _draw_fits(results).figure,
    }
    sentence = (
        f"Voxel x = {x}, y = {y}, z = {z} (from left, back and below): HRF {chosen + 1} of {len(r2)} explains most of its "
        f"session, {r2[chosen]:.2f} % (the worst {r2.min():.2f} %), and has its peak at {peaks[chosen]:.1f} s."
    )
    return sentence, figures


def plot_measure(background, masks, slices, values, *, label):
    """Draw where regions lie, and the spread of a measure, `label`, over their voxels.

    The first four arguments are the background and the result of `explorations.RegionMeasures.compute`.
    """
    brain = plot_regions(background, masks, slices=slices)
    ax = plot_boxes(values, label=label, title=f"{label[0].upper()}{label[1:]} by region")
    figures = {f"regions on slices {slices[0]} to {slices[-1]}": brain, f"{label} by region": ax.figure}
    medians = ", ".join(f"{name} {np.median(inside):.2f}" for name, inside in values.items())
    return f"Median {label}: {medians}.", figures


def plot_stages(images, scores, *, caption):
    """Draw one image as seen, rough and refined, with its PixCorr and SSIM, from `Reconstruction.compute`."""
    values = "; ".join(
        f"{stage.capitalize()}: PixCorr {r:.2f}, SSIM {similarity:.2f}" for stage, (r, similarity) in scores.items()
    )
    figure = _draw_pictures({"": list(images.values())}, list(images))
    sentence = f"{caption} {values}. Only many images can tell whether a setting is better."
    return sentence, {"the image as seen, rough and refined": figure}


def plot_alteration(seen, rough, refined, moved, background, inside, others, *, region, caption):
    """Draw one image from a pattern as measured, with a region altered, and with other voxels altered; and where these lie.

    The first four arguments are the result of `explorations.RegionAlteration.compute`. The next three are its background and the
    result of its `masks`, all (X, Y, Z). Empty `others` are not drawn.
    """
    titles = ["seen", "as measured", f"{region} altered", "others altered"][: 1 + len(rough)]
    figure = _draw_pictures({"rough": [seen, *rough], "refined": [seen, *refined]}, titles)
    slices, n_voxels, n_others = np.percentile(np.nonzero(inside)[2], (25, 50, 75)).astype(int), inside.sum(), others.sum()
    masks = {f"{region}, {n_voxels} voxels": inside} | ({f"{n_others} others": others} if n_others else {})
    brain = plot_regions(background, masks, slices=sorted({*slices}))
    brain.suptitle(f"{region} and {n_others} other voxels, drawn at random" if n_others else region)
    sentence = f"{caption} Nothing is altered yet: silence {region} by moving “times” to 0, or drive it by “plus”."
    if moved:
        control = f"{n_others} others, drawn at random, move it by {moved[1]:.1f}" if n_others else "There are no others"
        sentence = (
            f"{caption} {n_voxels} voxels of {region} altered move the refined image by {moved[0]:.1f} grey levels in the mean: "
            f"what the decoder used, not what the brain would need. {control}."
        )
    return sentence, {f"one image: {', '.join(titles)}": figure, f"where {region} lies": brain}


def _draw_r2(peaks, r2, chosen):
    """Variance explained against the time of the peak, with the chosen HRF marked."""
    ax = new_axes(3, 3)
    ax.plot(peaks, r2, "o-", color="0.6", markersize=4)
    ax.plot(peaks[chosen], r2[chosen], "o", color="C1", markersize=9, label="chosen")
    ax.set(xlabel="peak of the HRF (s)", ylabel="percent of variance, whole session", title="What each HRF explains")
    ax.legend()
    return ax


def _draw_fits(results):
    """The series, with all fits drawn thin behind the chosen one."""
    import matplotlib.pyplot as plt

    ax, seconds, fits = new_axes(5.4, 3), results.volume.values, results.fit.values
    for colour, fit in zip(plt.colormaps["viridis"](np.linspace(0, 1, len(fits))), fits, strict=True):
        ax.plot(seconds, fit, color=colour, linewidth=0.5)
    plot_fits(seconds, results.measured.values, {"chosen HRF": fits[results.chosen]}, results.onset.values, ax=ax)
    ax.set_title("Measured, and twenty fits (thin, early peaks dark)", pad=24)
    return ax


def _draw_pictures(rows, titles):
    """Images in columns, large enough to inspect one by one."""
    figure = plot_grid(rows, titles=titles)
    figure.set_size_inches(1.6 * len(titles) + 0.5, 1.6 * len(rows) + 0.3)
    return figure
