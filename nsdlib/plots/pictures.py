"""Figures of reconstructions and their scores (notebooks 05 to 08). They draw; what they draw is computed elsewhere."""

import numpy as np

from nsdlib.plots.style import COLOURS, REFERENCE, new_axes

PANEL = 1.15  # inches an image
ROLE_COLOURS = {
    "decoded": COLOURS[0],
    "floor": REFERENCE,
    "ceiling": COLOURS[2],
    "left out": COLOURS[1],
    "retrieval": COLOURS[3],
}
ROLE_MARKERS = {"decoded": "o", "floor": "v", "ceiling": "^", "left out": "s", "retrieval": "D"}


def plot_grid(rows, *, titles=None, title=None):
    """Draw images in columns, one row a kind.

    Parameters
    ----------
    rows : dict of str to (n_images, height, width, 3) uint8
        Label of a row to its images; as many in each, and of none only the labels are drawn.
    titles : list of str, optional
        One a column.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    import matplotlib.pyplot as plt

    n_images = len(next(iter(rows.values())))
    n_columns = max(1, n_images)
    size = (PANEL * n_columns + 1.3, PANEL * len(rows) + 0.35 * bool(titles) + 0.35 * bool(title))
    figure, axes = plt.subplots(len(rows), n_columns, figsize=size, squeeze=False, layout="constrained")
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
        System to "decoded", "floor", "retrieval", "ceiling" or "left out"; systems are drawn in this order, from above.

    Returns
    -------
    matplotlib.figure.Figure
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 4, figsize=(10, 0.42 * len(roles) + 2.4), sharey=True, layout="constrained")
    height = np.arange(len(roles))[::-1]
    for ax, (name, metric) in zip(axes.flat, metrics.items(), strict=True):
        part = table.sel(metric=name, system=list(roles))
        _draw_chance(ax.axvline, metric)
        for y, (system, role) in zip(height, roles.items(), strict=True):
            interval = part.sel(system=system)
            ax.hlines(y, interval.low, interval.high, color=ROLE_COLOURS[role])
            ax.plot(interval["mean"], y, ROLE_MARKERS[role], color=ROLE_COLOURS[role], markersize=5)
        ax.set_title(f"{metric.label} {'↑' if metric.higher_is_better else '↓'}")
        ax.set_ylim(-0.6, len(roles) - 0.4)
        ax.margins(x=0.12)
    axes[0, 0].set_yticks(height, list(roles))
    handles = [
        plt.Line2D([], [], color=ROLE_COLOURS[role], marker=ROLE_MARKERS[role], label=role)
        for role in dict.fromkeys(roles.values())
    ]
    handles.append(plt.Line2D([], [], color=REFERENCE, linestyle=":", label="chance, where there is one"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    figure.suptitle(f"{title} (mean and {100 * table.level:.0f} % interval, n = {table.n} images; arrows: better)")
    return figure


def plot_noise_curves(table, metrics, *, reference=None):
    """Draw how scores change with the noise on the rough image, one panel a metric.

    Parameters
    ----------
    table : xarray.Dataset
        mean, low, high over (amplitude, stage, metric).
    metrics : dict of str to metrics.Metric
    reference : pandas.DataFrame, optional
        The paper's values, amplitudes by metrics; drawn thin.

    Returns
    -------
    matplotlib.figure.Figure
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 4, figsize=(10, 5), sharex=True, layout="constrained")
    positions = np.arange(table.sizes["amplitude"])
    for ax, (name, metric) in zip(axes.flat, metrics.items(), strict=True):
        for colour, stage in zip(COLOURS, table.stage.values, strict=False):
            part = table.sel(metric=name, stage=stage)
            ax.fill_between(positions, part.low, part.high, color=colour, alpha=0.25, linewidth=0)
            ax.plot(positions, part["mean"], "o-", color=colour, markersize=4, label=f"{stage} image")
        if reference is not None and set(table.amplitude.values) <= set(reference.index):
            printed = reference.loc[list(table.amplitude.values), name]
            ax.plot(positions, printed, color=REFERENCE, linewidth=1, linestyle="--", label="paper, other networks")
        _draw_chance(ax.axhline, metric)
        kind = "semantic" if metric.semantic else "low level"
        ax.set_title(f"{metric.label} {'↑' if metric.higher_is_better else '↓'} ({kind})")
        ax.set_xticks(positions, [f"{amplitude:g}" for amplitude in table.amplitude.values])
    for ax in axes[1]:
        ax.set_xlabel("amplitude of the noise (not to scale)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    shown = f"mean and {100 * table.level:.0f} % interval, n = {table.n} images"
    figure.suptitle(f"Scores against noise on the rough image, in grey levels ({shown})")
    return figure


def plot_error_kinds(structure, meaning, *, marked=None, ax=None):
    """Draw each image's rank in structure against its rank in meaning.

    Parameters
    ----------
    structure, meaning : (n_images,) float
        Ranks scaled to 0 for the worst and 1 for the best, see `selection.relative_rank`.
    marked : dict of str to (n,) int, optional
        Label to positions of images drawn in colour.
    ax : matplotlib axes, optional
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

    Parameters
    ----------
    table : xarray.Dataset
        mean, low, high over (subject, metric) with the images of a subject as the units.
    metrics : dict of str to metrics.Metric
    system : str
        Named in the title.

    Returns
    -------
    matplotlib.figure.Figure
    """
    import matplotlib.pyplot as plt

    subjects = list(table.subject.values)
    figure, axes = plt.subplots(2, 4, figsize=(10, 4.6), sharex=True, layout="constrained")
    for ax, (name, metric) in zip(axes.flat, metrics.items(), strict=True):
        part, positions = table.sel(metric=name), np.arange(len(subjects))
        ax.vlines(positions, part.low, part.high, color=COLOURS[0])
        ax.plot(positions, part["mean"], "o", color=COLOURS[0], markersize=5)
        ax.axhline(part["mean"].mean(), color=COLOURS[1], linewidth=1)
        _draw_chance(ax.axhline, metric)
        ax.set_title(f"{metric.label} {'↑' if metric.higher_is_better else '↓'}")
        ax.set_xticks(positions, subjects)
        ax.set_xlim(-0.6, len(subjects) - 0.4)
    handles = [
        plt.Line2D([], [], color=COLOURS[0], marker="o", label="subject, interval over images"),
        plt.Line2D([], [], color=COLOURS[1], label="mean of subjects"),
        plt.Line2D([], [], color=REFERENCE, linestyle=":", label="chance, where there is one"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    n = f"n = {len(subjects)} subject{'s' * (len(subjects) > 1)}"
    shown = f"mean and {100 * table.level:.0f} % interval over each one's images, {n}"
    figure.suptitle(f"The {system} images of each subject ({shown}; arrows: better)")
    return figure


def _draw_chance(line, metric):
    """A dotted line at the level of chance, for scores that have one; `line` is axhline or axvline of the axes."""
    if metric.chance is not None:
        line(metric.chance, color=REFERENCE, linewidth=0.8, linestyle=":")
