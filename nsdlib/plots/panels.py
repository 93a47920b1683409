"""What explorers show: plain functions from the values of controls to a sentence and its figures.

`nsdlib.plots.explore` puts widgets beside them. Each panel is a sentence and a dict of alternative text to matplotlib figure.
"""

import numpy as np


def nearest_voxel(places, wanted):
    """Row of `places` (n_voxels, 3) that lies nearest to `wanted` (x, y, z) on its slice z; a slice without any is an error."""
    on_slice = np.flatnonzero(places[:, 2] == wanted[2])
    if not len(on_slice):
        raise ValueError(f"no voxel of the region lies on slice z = {wanted[2]}; choose another slice.")
    return int(on_slice[np.square(places[on_slice, :2] - wanted[:2]).sum(axis=1).argmin()])


def hrf_fits(labels, series, *, hrfs, tr, mean=None):
    """One voxel's series in one run, and what single trials explain of it with each HRF.

    Parameters
    ----------
    labels : (n_volumes,) int
        The run's design, a number other than 0 at each onset.
    series : (n_volumes,) float
        BOLD, scanner units.
    hrfs : (n_hrfs, n_samples) float
        Sampled at the volumes.
    tr : float
        Seconds between volumes.
    mean : float, optional
        Of the voxel, of which the results are percent; of this run when not given.

    Returns
    -------
    measured : (n_volumes,) float64
        Percent of the mean, without drift.
    fits : (n_hrfs, n_volumes) float64
        Of the same, by least squares; trials of different runs never overlap, so the other runs do not matter.
    """
    import torch

    from nsdlib.core.glm.design import voxel_series
    from nsdlib.core.glm.linear import least_squares, solve_block

    design, measured = voxel_series(labels, series, tr=tr, mean=mean)
    regressors = [design.regressors(design.drift.new_tensor(hrf)) for hrf in hrfs]
    blocks = [solve_block(columns, design.no_columns, run=1) for columns in regressors]
    fits = [(block.regressors @ least_squares([block], [measured]))[:, 0] for block in blocks]
    return measured[:, 0].numpy(), torch.stack(fits).numpy()


def hrf_panel(maps, voxel, *, labels, series, background, shape):
    """Sentence and figures of one voxel's HRF.

    Parameters
    ----------
    maps : xarray.Dataset
        Of one session's fit: hrf_r2 (hrf, voxel), hrf_index and mean (voxel), with the coordinate voxel.
    voxel : int
        Position along the axis voxel.
    labels, series : (n_volumes,) arrays
        As in `hrf_fits`.
    background : (X, Y, Z) float
    shape : (X, Y, Z)

    Returns
    -------
    sentence : str
    figures : dict of str to matplotlib.figure.Figure
    """
    from nsdlib.core.glm import hrf
    from nsdlib.data.nsd import TR
    from nsdlib.plots.brain import plot_map

    one, peaks = maps.isel(voxel=voxel), hrf.peak_seconds()
    x, y, z = (int(i) for i in np.unravel_index(int(one.voxel), shape))
    measured, fits = hrf_fits(labels, series, hrfs=hrf.sampled_library(TR), tr=TR, mean=float(one["mean"]))
    r2, chosen = one.hrf_r2.values, int(one.hrf_index)
    seen = plot_map(peaks[maps.hrf_index], background, voxels=maps.voxel, slices=[z], label="Peak of the HRF, seconds")
    seen.set_size_inches(3.6, 3.4)
    seen.axes[0].plot(x, y, "s", markersize=9, markerfacecolor="none", markeredgecolor="red", markeredgewidth=2)
    seen.suptitle("The voxel on its slice")
    sentence = (
        f"Voxel x = {x}, y = {y}, z = {z}: HRF {chosen + 1} of {len(r2)} explains most of its session, {r2[chosen]:.2f} % "
        f"(the worst {r2.min():.2f} %), and has its peak at {peaks[chosen]:.1f} s."
    )
    figures = {f"slice {z} with the voxel marked": seen}
    figures["variance explained by each HRF"] = _draw_r2(peaks, r2, chosen)
    onsets = TR * np.flatnonzero(labels)
    figures["measured series and twenty fits"] = _draw_fits(
        TR * np.arange(len(measured)), measured, fits, chosen, onsets
    )
    return sentence, figures


def _draw_r2(peaks, r2, chosen):
    """Variance explained against the time of the peak, the chosen HRF marked."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(4.2, 3.4), layout="constrained")
    ax.plot(peaks, r2, "o-", color="0.6", markersize=4)
    ax.plot(peaks[chosen], r2[chosen], "o", color="C1", markersize=9, label="chosen")
    ax.set(xlabel="peak of the HRF (s)", ylabel="percent of variance, whole session")
    ax.legend()
    ax.set_title("What each HRF explains")
    return figure


def _draw_fits(seconds, measured, fits, chosen, onsets):
    """The series with all fits thin behind the chosen one."""
    import matplotlib.pyplot as plt

    from nsdlib.plots.brain import plot_fits

    figure, ax = plt.subplots(figsize=(9, 3.2), layout="constrained")
    for colour, fit in zip(plt.colormaps["viridis"](np.linspace(0, 1, len(fits))), fits, strict=True):
        ax.plot(seconds, fit, color=colour, linewidth=0.5)
    plot_fits(seconds, measured, {"chosen HRF": fits[chosen]}, onsets, ax=ax)
    ax.set_title("One voxel, one run: measured, and twenty fits (thin, early peaks dark)", pad=24)
    return figure


def region_panel(members, values, *, background, voxels, z, label):
    """Sentence and figures of regions: where they lie, and the spread of a measure over their voxels.

    Parameters
    ----------
    members : dict of str to (n_voxels,) bool
    values : (n_voxels,) float
    background : (X, Y, Z) float
    voxels : (n_voxels,) int
        Flat C-order indices into the volume.
    z : int
        The slice in the middle; its neighbours are drawn as well.
    label : str
        What the values are.

    Returns
    -------
    sentence : str
    figures : dict of str to matplotlib.figure.Figure
    """
    from nsdlib.plots.brain import plot_boxes
    from nsdlib.plots.data import plot_regions

    masks = {name: np.zeros(background.shape, dtype=bool) for name in members}
    for name, inside in members.items():
        masks[name].flat[voxels[inside]] = True
    slices = [i for i in (z - 1, z, z + 1) if 0 <= i < background.shape[2]]
    groups = {name: values[inside] for name, inside in members.items()} | {"all voxels": values}
    ax = plot_boxes(groups, label=label, title=f"{label[0].upper()}{label[1:]} by region")
    medians = ", ".join(f"{name} {np.median(some):.2f}" for name, some in groups.items())
    figures = {
        f"regions on slices around {z}": plot_regions(background, masks, slices=slices),
        f"{label} by region": ax.figure,
    }
    return f"Median {label}: {medians}.", figures


def image_panel(stimulus, rough, refined):
    """Sentence and figure of one image in two stages, with the two scores that need no network.

    Parameters
    ----------
    stimulus, rough, refined : (1, rows, columns, 3) uint8
    """
    from nsdlib.core.images import resize
    from nsdlib.core.scores.similarity import pixcorr, ssim

    scores = []
    for name, image in (("rough", rough), ("refined", refined)):
        truth = resize(stimulus, image.shape[1])
        scores.append(f"{name} PixCorr {pixcorr(truth, image)[0]:.2f}, SSIM {ssim(truth, image)[0]:.2f}")
    figure = _draw_pictures({"": [stimulus[0], rough[0], refined[0]]}, ["seen", "rough", "refined"])
    sentence = f"This image alone: {'; '.join(scores)}. Whether a setting is better, only many images can tell."
    return sentence, {"the image as seen, rough and refined": figure}


def alterations(pattern, voxels, *, scale, add, seed):
    """A pattern as it is, with the responses of a region multiplied and shifted, and with those of other voxels instead.

    Parameters
    ----------
    pattern : (n_voxels,) float
        Z-scored: 0 is a voxel's mean over training images, 1 a standard deviation above it.
    voxels : (n_voxels,) bool
        The region.
    scale : float
        0 silences: the voxels answer as to the average image.
    add : float
        Standard deviations; drives the voxels, whatever the image.
    seed : int
        Of the other voxels: as many as the region has, drawn at random outside it; all of them where they do not suffice.

    Returns
    -------
    (3, n_voxels) float32
    """
    drawn = np.random.default_rng(seed).permutation(np.flatnonzero(~voxels))[: voxels.sum()]
    others = np.isin(np.arange(len(voxels)), drawn)
    altered = scale * pattern + add
    return np.stack([pattern, *(np.where(some, altered, pattern) for some in (voxels, others))]).astype(np.float32)


def fit_ridges(X_train, targets, *, alphas, device="cpu"):
    """One ridge a kind of target.

    Parameters
    ----------
    X_train : (n_images, n_voxels) float
    targets : dict of str to (n_images, ...) array
    alphas : dict of str to sequence of float
        Penalties of each kind, see `ridge.penalties`.

    Returns
    -------
    dict of str to Ridge
    """
    from nsdlib.core.ridge import Ridge

    return {
        kind: Ridge(alphas[kind], device=device).fit(X_train, target.reshape(len(target), -1))
        for kind, target in targets.items()
    }


def decode(ridges, X, *, mode):
    """What fitted ridges read in patterns (n_images, n_voxels): dict of str to (n_images, n_targets), see `ridge.rescale`.

    Raises
    ------
    ValueError
        For the mode "test", which needs the other test images as well.
    """
    from nsdlib.core.ridge import rescale

    if mode == "test":
        raise ValueError('a pattern by itself cannot be rescaled with mode "test"; take "train" or "none".')
    return {kind: rescale(ridge.predict(X), ridge, mode=mode) for kind, ridge in ridges.items()}


def what_if_panel(stimulus, rough, refined, *, region, n_voxels):
    """Sentence and figure of one image from a pattern as measured, with a region altered, and with other voxels altered.

    Parameters
    ----------
    stimulus : (rows, columns, 3) uint8
    rough, refined : (3, rows, columns, 3) uint8
        In that order.
    region : str
    n_voxels : int
        How many were altered.
    """
    moved = [np.abs(refined[0].astype(int) - other.astype(int)).mean() for other in refined[1:]]
    rows = {"rough": [stimulus, *rough], "refined": [stimulus, *refined]}
    figure = _draw_pictures(rows, ["seen", "as measured", f"{region} altered", "others altered"])
    sentence = (
        f"{n_voxels} voxels of {region} altered move the refined image by {moved[0]:.1f} grey levels in the mean, as many "
        f"others, drawn at random, by {moved[1]:.1f}: what the decoder used, not what the brain would need."
    )
    return sentence, {f"the image as measured, with {region} altered, and with as many other voxels altered": figure}


def _draw_pictures(rows, titles):
    """Images in columns, large enough to look at one by one."""
    from nsdlib.plots.pictures import plot_grid

    figure = plot_grid(rows, titles=titles)
    figure.set_size_inches(2.1 * len(titles), 2.1 * len(rows) + 0.3)
    return figure
