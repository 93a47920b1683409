"""Figures of decoders and latents (notebooks 03 and 04)."""

import numpy as np

from nsdlib.plots.style import COLOURS, REFERENCE, draw_band, draw_intervals, new_axes, new_panels

DECODER_COLOURS = dict(
    zip(("gru", "cnn", "transformer", "ridge", "gated_mlp", "roi_gru", "ridge and gru"), COLOURS, strict=True)
) | {"gru, public code": "#003A5C", "ridge, 50,000": "#7A3E60"}  # darker than their siblings
USED = {"alone": "the region alone", "without": "all voxels but the region"}
LOWEST_EXPLAINED = -0.5  # explained variance: further below zero there is nothing to tell apart
SYSTEM_COLOURS = {"decoded": COLOURS[0], "oracle": COLOURS[2], "floor": REFERENCE}


def plot_learning(errors, *, lines=None, ax=None):
    """Draw validation errors over epochs, one curve a network; a ring marks the best epoch.

    `errors` maps a decoder to (n_epochs,) float, `lines` what has no epochs (another decoder, or the floor) to its level.
    """
    ax = ax or new_axes(6.5, 3.4)
    for name, values in errors.items():
        epochs, colour = np.arange(1, len(values) + 1), DECODER_COLOURS.get(name, "black")
        ax.plot(epochs, values, color=colour, label=name)
        best = int(np.nanargmin(values))
        ax.plot(epochs[best], values[best], "o", color=colour, markerfacecolor="white")
    for name, value in (lines or {}).items():
        ax.axhline(value, color=DECODER_COLOURS.get(name, REFERENCE), linestyle="--", linewidth=1.2, label=name)
    ax.set(xlabel="epoch", ylabel="validation MSE of the latents")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_title("How the networks learn")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def plot_errors(table, floor, *, cut_off=(), of=None):
    """Draw each decoder's test errors with intervals over images, a panel a measure, the floor as a line; `of` names the run.

    The table has mean, low, high over (decoder, measure), see `statistics.summary`; `floor` maps a measure to the error of the
    mean latent. Points of decoders whose training `max_epochs` ended, `cut_off`, are crosses.
    """
    figure, axes = new_panels(1, table.sizes["measure"], 8, 3.6)
    names = list(table.decoder.values)
    for ax, measure in zip(axes[0], table.measure.values, strict=True):
        ax.axhline(floor[measure], color=REFERENCE, linestyle=":", label="floor: mean latent")
        for position, name in enumerate(names):
            errors = table.sel(measure=measure, decoder=name)
            marker, colour = "x" if name in cut_off else "o", DECODER_COLOURS.get(name, "black")
            draw_intervals(ax, position, errors, color=colour, marker=marker)
        ax.set_xticks(range(len(names)), names, rotation=40, ha="right")
        ax.set_xlim(-0.5, len(names) - 0.5)
        ax.margins(y=0.15)
        ax.set_title(f"{measure.upper()} ↓")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center")
    crosses = "; crosses: cut off" if len(cut_off) else ""
    title = f"Errors of latents, {of}" if of else "Errors of latents"
    figure.suptitle(f"{title} ({100 * table.level:.0f} % intervals, n = {table.n} test images{crosses})")
    return figure


def plot_layers(explained, resolutions, *, ax=None):
    """Draw the explained variance of each VDVAE layer, one line a decoder; bands part the resolutions.

    `explained` maps a decoder to (n_layers,) float, of which values below -0.5 are drawn as triangles at -0.5; `resolutions`
    (n_layers,) are the rows of each layer's latents.
    """
    ax = ax or new_axes(7.5, 3.4)
    resolutions = np.asarray(resolutions)
    layers = np.arange(1, len(resolutions) + 1)
    for name, values in explained.items():
        colour, shown = DECODER_COLOURS.get(name, "black"), np.maximum(values, LOWEST_EXPLAINED)
        ax.plot(layers, shown, "o-", color=colour, markersize=3.5, label=name)
        ax.plot(layers[shown > values], shown[shown > values], "v", color=colour, markersize=7)
    ax.axhline(0, color=REFERENCE, linewidth=0.8, linestyle=":")
    for k, resolution in enumerate(np.unique(resolutions)):
        inside = layers[resolutions == resolution]
        ax.axvspan(inside[0] - 0.5, inside[-1] + 0.5, color="0.5", alpha=0.12 * (k % 2), linewidth=0)
        ax.text(inside.mean(), 1.01, f"{resolution}²", transform=ax.get_xaxis_transform(), ha="center", fontsize=8)
    ax.set_xlim(0.5, len(layers) + 0.5)
    ax.set(xlabel="VDVAE layer, coarse to fine (above: its resolution)", ylabel="explained variance")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_title("Which layers are decoded", pad=16)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def plot_region_scores(table):
    """Draw two-way identification from each region alone, and from all voxels but the region, a panel a target.

    The table has mean, low, high over (target, used, region), see `statistics.summary`; the last region is all voxels.
    """
    figure, axes = new_panels(1, table.sizes["target"], 4.2 * table.sizes["target"], 3.6, sharey=True)
    names = list(table.region.values[:-1])
    for ax, target in zip(axes[0], table.target.values, strict=True):
        for used, shift, marker, colour in (("alone", -0.13, "o", COLOURS[0]), ("without", 0.13, "s", COLOURS[1])):
            part = table.sel(target=target, used=used, region=names)
            draw_intervals(ax, np.arange(len(names)) + shift, part, color=colour, marker=marker, label=USED[used])
        all_voxels = table.sel(target=target, used="alone").isel(region=-1)
        ax.axhspan(all_voxels.low, all_voxels.high, color=COLOURS[2], alpha=0.25, linewidth=0)
        ax.axhline(all_voxels["mean"], color=COLOURS[2], linewidth=1, label="all voxels")
        ax.axhline(0.5, color=REFERENCE, linestyle=":", label="chance")
        ax.set_xticks(range(len(names)), names, rotation=45, ha="right")
        ax.set_title(target)
    axes[0, 0].set_ylabel("two-way identification ↑")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.suptitle(f"What regions tell ({100 * table.level:.0f} % intervals, n = {table.n} test images)")
    return figure


def plot_regimes(gains):
    """Draw by how much one decoder beats another in each regime (`latents.regime_gains`): responses by images and SNR."""
    import seaborn as sns

    gains = gains.stack(regime=["images", "snr"])
    names = [f"{images:,} images\nSNR {snr:g}" for images, snr in gains.regime.values]
    figure, axes = new_panels(gains.sizes["difference"], 1, 7, 2.4 + 1.1 * gains.sizes["response"], sharex=True)
    bar = {"label": "difference in\nexplained variance"}
    pale = sns.diverging_palette(20, 250, s=90, l=65, as_cmap=True)  # black letters can be read on all of it
    for ax, difference in zip(axes[:, 0], gains.difference.values, strict=True):
        part = gains.sel(difference=difference)
        texts = np.vectorize("{:+.3f}\n{:+.2f} to {:+.2f}".format)(part["mean"], part.low, part.high)
        reach = float(np.abs(part.to_array()).max())
        colours = {"cmap": pale, "vmin": -reach, "vmax": reach, "cbar_kws": bar}
        sns.heatmap(part["mean"], annot=texts, fmt="", annot_kws={"fontsize": 7, "color": "black"}, ax=ax, **colours)
        ax.set_xticks(np.arange(len(names)) + 0.5, names, fontsize=8)
        ax.set_yticks(np.arange(len(part.response)) + 0.5, part.response.values, rotation=0)
        ax.set_title(difference)
    figure.suptitle(f"Predicted: {gains.target}. In each cell: mean and range of {gains.n_seeds} seeds")
    return figure


def plot_latent_size(table, costs):
    """Draw the scores and the costs of predicting more layers.

    The table has mean, low, high over (n_layers, system, measure), see `statistics.summary`, with the systems "decoded", "oracle"
    and "floor"; `costs` maps the label of an axis to the cost at each number of layers.
    """
    import matplotlib.pyplot as plt

    counts = table.n_layers.values
    figure = plt.figure(figsize=(7.2, 5.4), layout="constrained")
    above, below = figure.subfigures(2, 1)
    scores = above.subplots(1, table.sizes["measure"], squeeze=False)[0]
    paid = below.subplots(1, len(costs), squeeze=False)[0]
    for ax, measure in zip(scores, table.measure.values, strict=True):
        for system in table.system.values:
            part = table.sel(measure=measure, system=system)
            draw_band(ax, counts, part, color=SYSTEM_COLOURS[str(system)], label=system)
        ax.set_title(f"{measure} ↑")
    for ax, (label, values) in zip(paid, costs.items(), strict=True):
        ax.plot(counts, values, "s-", color=COLOURS[1], markersize=4)
        ax.set_title(label)
        ax.set_ylim(bottom=0)
    for ax in (*scores, *paid):
        ax.set_xticks(counts)
        ax.set_xlabel("VDVAE layers")
    scores[0].legend()
    figure.suptitle(f"Quality and cost ({100 * table.level:.0f} % intervals, n = {table.n} test images)")
    return figure
