"""Figures of decoders and latents (notebooks 03 and 04)."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from nsdlib.plots.style import COLOURS, REFERENCE, WIDTH, draw_intervals, draw_legend, new_axes, new_panels

DECODER_COLOURS = dict(
    zip(("gru", "cnn", "transformer", "ridge", "gated_mlp", "roi_gru", "ridge and gru"), COLOURS, strict=True)
) | {"gru, public code": "#003A5C", "ridge, 50,000": "#7A3E60"}  # darker than their siblings
USED = {"alone": "the region alone", "without": "all voxels but the region"}
LOWEST_EXPLAINED = -0.5  # explained variance; smaller values are drawn here
SYSTEM_COLOURS = {"decoded": COLOURS[0], "oracle": COLOURS[2], "floor": REFERENCE}


def plot_learning(errors, *, lines=None, ax=None):
    """Draw validation errors over epochs, one curve per network; a ring marks the best epoch.

    `errors` maps a decoder to (n_epochs,) float; `lines` maps what has no epochs (another decoder, or the floor) to its level.
    """
    ax = ax or new_axes(WIDTH, 3.4)
    _draw_lines(ax, errors)
    for name, values in errors.items():
        best, colour = int(np.nanargmin(values)), DECODER_COLOURS.get(name, "black")
        ax.plot(best + 1, values[best], "o", color=colour, markerfacecolor="white")
    for name, value in (lines or {}).items():
        ax.axhline(value, color=DECODER_COLOURS.get(name, REFERENCE), linestyle="--", linewidth=1.2, label=name)
    ax.set(xlabel="epoch", ylabel="validation MSE of the latents", title="How the networks learn")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def _draw_lines(ax, values, **options):
    """Draw one line per decoder, in its colour, through its values (n,) at 1 to n."""
    lines = {name: pd.Series(series, index=np.arange(1, len(series) + 1)) for name, series in values.items()}
    colours = {name: DECODER_COLOURS.get(name, "black") for name in lines}
    sns.lineplot(lines, palette=colours, dashes=False, ax=ax, **options)
    ax.xaxis.get_major_locator().set_params(integer=True)


def plot_errors(table, floor, *, cut_off=(), of=None):
    """Draw each decoder's test errors with intervals over images, one panel per measure, and the floor as a line.

    `table` has mean, low, high over (decoder, measure), see `statistics.summary`; `floor` maps a measure to the mean latent's
    error. Decoders are sorted by the first measure; crosses mark those `cut_off` at `max_epochs`. `of` names the run.
    """
    table = table.sortby(table["mean"].isel(measure=0, drop=True))
    names = [str(name) for name in table.decoder.values]
    figure, axes = new_panels(1, table.sizes["measure"], WIDTH, 1.4 + 0.24 * len(names), sharey=True)
    colours = {name: DECODER_COLOURS.get(name, "black") for name in names}
    looks = {"palette": colours, "markers": ["x" if name in cut_off else "o" for name in names], "legend": False}
    for ax, measure in zip(axes[0], table.measure.values, strict=True):
        draw_intervals(ax, table.sel(measure=measure), x="value", y="decoder", hue="decoder", **looks)
        ax.axvline(floor[measure], color=REFERENCE, linestyle=":", label="floor: mean latent")
        ax.set_title(f"{measure.upper()} ↓")
    draw_legend(figure)
    crosses = "; crosses: cut off" if len(cut_off) else ""
    title = f"Errors of latents, {of}" if of else "Errors of latents"
    figure.suptitle(f"{title} ({100 * table.level:.0f} % intervals, n = {table.n} test images{crosses})")
    return figure


def plot_layers(explained, resolutions, *, ax=None):
    """Draw the explained variance of each VDVAE layer, one line per decoder; bands separate the resolutions.

    `explained` maps a decoder to (n_layers,) float; values below -0.5 are drawn as triangles at -0.5. `resolutions` (n_layers,)
    are the numbers of rows of each layer's latents.
    """
    ax = ax or new_axes(WIDTH, 3.4)
    resolutions = np.asarray(resolutions)
    layers = np.arange(1, len(resolutions) + 1)
    clipped = {name: np.maximum(values, LOWEST_EXPLAINED) for name, values in explained.items()}
    _draw_lines(ax, clipped, marker="o", markersize=5)
    for name, values in clipped.items():
        is_clipped = values > explained[name]
        ax.plot(layers[is_clipped], values[is_clipped], "v", color=DECODER_COLOURS.get(name, "black"), markersize=8)
    ax.axhline(0, color=REFERENCE, linewidth=0.8, linestyle=":")
    for k, resolution in enumerate(np.unique(resolutions)):
        inside = layers[resolutions == resolution]
        ax.axvspan(inside[0] - 0.5, inside[-1] + 0.5, color="0.5", alpha=0.12 * (k % 2), linewidth=0)
        ax.text(inside.mean(), 1.01, f"{resolution}²", transform=ax.get_xaxis_transform(), ha="center")
    ax.set(xlabel="VDVAE layer, coarse to fine (above: its resolution)", ylabel="explained variance")
    ax.set_xlim(0.5, len(layers) + 0.5)
    ax.set_title("Which layers are decoded", pad=18)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def plot_region_scores(table):
    """Draw two-way identification from each region alone, and from all voxels outside it, one panel per target.

    `table` has mean, low, high over (target, used, region), see `statistics.summary`; the last region is all voxels.
    """
    figure, axes = new_panels(1, table.sizes["target"], 3.5 * table.sizes["target"], 3.6, sharey=True)
    looks = {"hue": "used", "palette": COLOURS[:2], "markers": ["o", "s"], "dodge": 0.25}
    regions = table.isel(region=slice(-1)).assign_coords(used=[USED[used] for used in table.used.values])
    for ax, target in zip(axes[0], table.target.values, strict=True):
        draw_intervals(ax, regions.sel(target=target), x="region", y="value", **looks)
        all_voxels = table.sel(target=target, used="alone").isel(region=-1)
        ax.axhspan(all_voxels.low, all_voxels.high, color=COLOURS[2], alpha=0.25, linewidth=0)
        ax.axhline(all_voxels["mean"], color=COLOURS[2], linewidth=1, label="all voxels")
        ax.axhline(0.5, color=REFERENCE, linestyle=":", label="chance")
        ax.tick_params(axis="x", rotation=45)
        ax.set_title(target)
    axes[0, 0].set_ylabel("two-way identification ↑")
    draw_legend(figure)
    figure.suptitle(f"What regions tell ({100 * table.level:.0f} % intervals, n = {table.n} test images)")
    return figure


def plot_regimes(gains):
    """Draw the gain of one decoder over another in each regime (`latents.regime_gains`): responses by images and SNR."""
    gains = gains.stack(regime=["images", "snr"])
    names = [f"{images:,} images\nSNR {snr:g}" for images, snr in gains.regime.values]
    figure, axes = new_panels(gains.sizes["difference"], 1, WIDTH, 2 + 1.1 * gains.sizes["response"], sharex=True)
    limit = float(np.abs(gains.to_array()).max())
    palette = sns.diverging_palette(20, 250, s=90, l=65, as_cmap=True)  # pale enough for black text
    looks = {"cmap": palette, "vmin": -limit, "vmax": limit, "cbar": False, "annot_kws": {"fontsize": 8, "color": "black"}}
    for ax, difference in zip(axes[:, 0], gains.difference.values, strict=True):
        part = gains.sel(difference=difference)
        texts = np.vectorize("{:+.3f}\n{:+.2f} to {:+.2f}".format)(part["mean"], part.low, part.high)
        sns.heatmap(part["mean"], annot=texts, fmt="", xticklabels=names, yticklabels=part.response.values, ax=ax, **looks)
        ax.tick_params(axis="y", rotation=0)
        ax.set(title=difference, ylabel="response")
    figure.colorbar(axes[0, 0].collections[0], ax=axes, label="difference in explained variance", shrink=0.8)
    figure.suptitle(f"Predicted: {gains.target}. In each cell: mean and range of {gains.n_seeds} seeds")
    return figure


def plot_latent_size(table, costs):
    """Draw the scores and the costs of predicting more layers.

    `table` has mean, low, high over (n_layers, system, measure), see `statistics.summary`, with the systems "decoded", "oracle"
    and "floor"; `costs` maps an axis label to the cost at each number of layers.
    """
    counts = table.n_layers.values
    figure = plt.figure(figsize=(WIDTH, 5.4), layout="constrained")
    upper, lower = figure.subfigures(2, 1)
    score_axes = upper.subplots(1, table.sizes["measure"], squeeze=False)[0]
    cost_axes = lower.subplots(1, len(costs), squeeze=False)[0]
    for ax, measure in zip(score_axes, table.measure.values, strict=True):
        draw_intervals(ax, table.sel(measure=measure), x="n_layers", hue="system", palette=SYSTEM_COLOURS, bands=True, y="value")
        ax.set_title(f"{measure} ↑")
    for ax, (label, values) in zip(cost_axes, costs.items(), strict=True):
        sns.lineplot(x=counts, y=values, marker="s", color=COLOURS[1], ax=ax)
        ax.set_title(label.replace(", ", ",\n"))
        ax.set_ylim(bottom=0)
    for ax in (*score_axes, *cost_axes):
        ax.set(xticks=counts, xlabel="VDVAE layers")
    draw_legend(upper)
    figure.suptitle(f"Quality and cost ({100 * table.level:.0f} % intervals, n = {table.n} test images)")
    return figure
