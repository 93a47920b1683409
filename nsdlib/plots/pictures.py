"""Figures of reconstructions and their scores (notebooks 05 to 08)."""

import numpy as np

from nsdlib.plots.style import COLOURS, REFERENCE, draw_band, draw_intervals, new_axes, new_panels, stand_ins

PANEL = 1.15  # inches an image
ROLES = {  # colour, marker
    "decoded": (COLOURS[0], "o"),
    "floor": (REFERENCE, "v"),
    "ceiling": (COLOURS[2], "^"),
    "left out": (COLOURS[1], "s"),
    "retrieval": (COLOURS[3], "D"),
    "label": (COLOURS[5], "P"),
}
CHANCE = {"color": REFERENCE, "linewidth": 1.2, "linestyle": ":", "label": "chance, where there is one"}


def plot_grid(rows, *, titles=None, title=None):
    """Draw images in columns, one row a kind.

    `rows` maps the label of a row to its images (n_images, height, width, 3) uint8; as many in each, and of none only the labels
    are drawn. `titles` are those of the columns.
    """
    n_images = len(next(iter(rows.values())))
    n_columns = max(1, n_images)
    height = PANEL * len(rows) + 0.35 * bool(titles) + 0.35 * bool(title)
    figure, axes = new_panels(len(rows), n_columns, PANEL * n_columns + 1.3, height)
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02)
    for row, (label, images) in zip(axes, rows.items(), strict=True):
        row[0].set_ylabel(label, rotation=0, ha="right", va="center")
        for ax in row:
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        for ax, image in zip(row, images, strict=n_images > 0):
            ax.imshow(image)
    for ax, text in zip(axes[0], titles or [], strict=False):
        ax.set_title(text, fontsize=8, loc="center")
    if title:
        figure.suptitle(title)
    return figure


def plot_scores(table, metrics, roles, *, title="Scores with floors and ceilings"):
    """Draw every system's mean and interval, one panel a metric.

    Parameters
    ----------
    table : xarray.Dataset
        mean, low, high over (system, metric), see `statistics.summary`.
    metrics : dict of str to metrics.Metric
        Gives labels, chance and direction.
    roles : dict of str to str
        System to "decoded", "floor", "label", "retrieval", "ceiling" or "left out"; systems are drawn in this order, from above.
    """
    figure, panels = _metric_panels(metrics, 0.42 * len(roles) + 2.4, across=True, sharey=True)
    for name, ax in panels.items():
        for height, (system, role) in enumerate(roles.items()):
            interval = table.sel(metric=name, system=system)
            colour, marker = ROLES[role]
            draw_intervals(ax, height, interval, across=True, color=colour, marker=marker, label=role)
        ax.set_ylim(len(roles) - 0.4, -0.6)  # the first system above
        ax.margins(x=0.12)
    figure.axes[0].set_yticks(range(len(roles)), list(roles))
    _draw_legend(figure)
    figure.suptitle(
        f"{title} (mean and {100 * table.level:.0f} % interval, n = {table.n} images; arrows: better){stand_ins(metrics)}"
    )
    return figure


def plot_noise_curves(table, metrics, *, pure=None, reference=None):
    """Draw how scores change with the noise on the rough image, one panel a metric.

    The table has mean, low, high over (amplitude, stage, metric); `metrics` is as in `plot_scores`. `pure` is the same over
    (stage, metric) with pure noise in the place of the rough image, drawn apart, to the right; `reference` are the paper's
    values, a DataFrame of amplitudes by metrics, drawn thin.
    """
    figure, panels = _metric_panels(metrics, 5, sharex=True)
    amplitudes = table.amplitude.values
    positions = np.arange(len(amplitudes))
    for name, ax in panels.items():
        for colour, stage in zip(COLOURS, table.stage.values, strict=False):
            draw_band(ax, positions, table.sel(metric=name, stage=stage), color=colour, label=f"{stage} image")
            if pure is not None:
                draw_intervals(ax, len(positions), pure.sel(metric=name, stage=stage), color=colour)
        if reference is not None and set(amplitudes) <= set(reference.index):
            printed = reference.loc[list(amplitudes), name]
            ax.plot(positions, printed, color=REFERENCE, linewidth=1, linestyle="--", label="paper, other networks")
        ax.set_title(f"{_label(metrics[name])} ({'semantic' if metrics[name].semantic else 'low level'})")
        ticks = [f"{amplitude:g}" for amplitude in amplitudes] + ["pure"] * (pure is not None)
        ax.set_xticks(range(len(ticks)), ticks)
    for ax in figure.axes[4:]:
        ax.set_xlabel("amplitude of the noise (not to scale)")
    _draw_legend(figure)
    shown = f"mean and {100 * table.level:.0f} % interval, n = {table.n} images"
    figure.suptitle(f"Scores against noise on the rough image, in grey levels ({shown}){stand_ins(metrics)}")
    return figure


def plot_error_kinds(structure, meaning, *, marked=None, ax=None):
    """Draw each image's rank in structure against its rank in meaning.

    Both are (n_images,), 0 for the worst and 1 for the best, see `selection.relative_rank`; `marked` maps a label to the
    positions of images drawn in colour.
    """
    ax = ax or new_axes(4.6, 4.2)
    ax.axhline(0.5, color=REFERENCE, linewidth=0.8, linestyle=":")
    ax.axvline(0.5, color=REFERENCE, linewidth=0.8, linestyle=":")
    ax.scatter(structure, meaning, s=12, color="0.7", linewidths=0)
    for colour, (label, chosen) in zip(COLOURS[1:], (marked or {}).items(), strict=False):
        ax.scatter(structure[chosen], meaning[chosen], s=26, color=colour, label=label)
    corners = {"semantic error": (1, 0), "structural error": (0, 1), "both right": (1, 1), "both wrong": (0, 0)}
    for label, (x, y) in corners.items():
        place = {"ha": ("left", "right")[x], "va": ("bottom", "top")[y], "transform": ax.transAxes}
        ax.text(0.02 + 0.96 * x, 0.02 + 0.96 * y, label, fontsize=8, color="0.4", **place)
    if marked:
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1.06), borderpad=0)
    others = f"share of {len(structure)} images below it"
    ax.set(xlabel=f"structure: {others}", ylabel=f"meaning: {others}")
    ax.set(xlim=(-0.05, 1.05), ylim=(-0.08, 1.08))
    ax.set_title("Structural and semantic errors", pad=4)
    ax.set_aspect("equal")
    return ax


def plot_group(table, metrics, *, system="refined"):
    """Draw one system's score of every subject, one panel a metric, and the mean over subjects.

    The table has mean, low, high over (subject, metric) with the images of a subject as the units; `metrics` is as in
    `plot_scores`, and the title names the system.
    """
    figure, panels = _metric_panels(metrics, 4.6, sharex=True)
    subjects = list(table.subject.values)
    for name, ax in panels.items():
        part = table.sel(metric=name)
        draw_intervals(ax, np.arange(len(subjects)), part, color=COLOURS[0], label="subject, interval over images")
        ax.axhline(part["mean"].mean(), color=COLOURS[1], linewidth=1, label="mean of subjects")
        ax.set_xticks(range(len(subjects)), subjects)
        ax.set_xlim(-0.6, len(subjects) - 0.4)
    _draw_legend(figure)
    n = f"n = {len(subjects)} subject{'s' * (len(subjects) > 1)}"
    shown = f"mean and {100 * table.level:.0f} % interval over each one's images, {n}"
    figure.suptitle(f"The {system} images of each subject ({shown}; arrows: better){stand_ins(metrics)}")
    return figure


def _metric_panels(metrics, height, *, across=False, **shared):
    """A figure with a titled panel a metric, chance as a line, scores along y or `across`; its axes by the metrics' names."""
    figure, axes = new_panels(2, 4, 10, height, **shared)
    for ax, metric in zip(axes.flat, metrics.values(), strict=True):
        ax.set_title(_label(metric))
        if metric.chance is not None:
            (ax.axvline if across else ax.axhline)(metric.chance, **CHANCE)
    return figure, dict(zip(metrics, axes.flat, strict=True))


def _label(metric):
    """A metric's label with an arrow in its better direction."""
    return f"{metric.label} {'↑' if metric.higher_is_better else '↓'}"


def _draw_legend(figure):
    """What is drawn in any panel, each label once, below all panels."""
    handles = {}
    for ax in figure.axes:
        handles |= {label: handle for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=len(handles))
