"""Figures of reconstructions and their scores (notebooks 05 to 08)."""

import textwrap

from nsdlib.plots.style import COLOURS, FONT_SIZE, REFERENCE, WIDTH, draw_intervals, draw_legend, new_axes, new_panels, stand_ins

PANEL = 1.15  # inches per image, less if the figure would be too wide
LABEL = 15  # characters per line of a row label
NULL = ", permuted"  # suffix of the name of a system's null, see `recipes.table.with_null`
ROLES = {  # colour, marker
    "decoded": (COLOURS[0], "o"),
    "left out": (COLOURS[1], "s"),
    "floor": (REFERENCE, "v"),
    "null": (REFERENCE, "v"),
    "label": (COLOURS[5], "P"),
    "retrieval": (COLOURS[3], "D"),
    "ceiling": (COLOURS[2], "^"),
}
CHANCE = {"color": REFERENCE, "linewidth": 1.2, "linestyle": ":", "label": "chance, where there is one"}


def plot_grid(rows, *, titles=None, title=None):
    """Draw images in columns, one row per kind.

    `rows` maps a row label to its images (n_images, height, width, 3) uint8, the same number in each; without images, only the
    labels are drawn. `titles` are the column titles.
    """
    n_images = len(next(iter(rows.values())))
    n_columns = max(1, n_images)
    panel = min(PANEL, (WIDTH - 1) / n_columns)
    height = panel * len(rows) + 0.35 * bool(titles) + 0.35 * bool(title)
    figure, axes = new_panels(len(rows), n_columns, panel * n_columns + 1, height)
    figure.set_layout_engine("compressed", w_pad=0.02, h_pad=0.02)
    for row, (label, images) in zip(axes, rows.items(), strict=True):
        row[0].set_ylabel("\n".join(textwrap.wrap(label, LABEL, break_long_words=False)), rotation=0, ha="right", va="center")
        for ax in row:
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        for ax, image in zip(row, images, strict=n_images > 0):
            ax.imshow(image)
    for ax, text in zip(axes[0], titles or [], strict=False):
        ax.set_title(text, fontsize=FONT_SIZE - 2, loc="center")
    if title:
        figure.suptitle(title)
    return figure


def plot_scores(table, metrics, roles, *, title="Scores with floors and ceilings"):
    """Draw every system's mean and interval, one panel per metric.

    Parameters
    ----------
    table : xarray.Dataset
        mean, low, high over (system, metric), see `statistics.summary`.
    metrics : dict of str to metrics.Metric
        Supplies labels, chance levels and directions.
    roles : dict of str to str
        System to one of `ROLES`; systems are drawn in this order from the top. A null (`recipes.table.with_null`) is drawn in the
        row of its system.
    """
    rows = [system.removesuffix(NULL) if system.removesuffix(NULL) in roles else system for system in roles]
    table = table.sel(system=list(roles)).assign_coords(row=("system", rows))
    figure, panels = _metric_panels(metrics, 0.44 * len(set(rows)) + 1.8, across=True, sharey=True)
    order = [role for role in ROLES if role in roles.values()]
    _draw_roles(panels, table, list(roles.values()), order, y="row")
    _add_legend_and_title(figure, title, f"mean and {100 * table.level:.0f} % interval, n = {table.n} images", metrics)
    return figure


def plot_noise_curves(table, metrics, *, pure=None, reference=None):
    """Draw scores against the noise on the rough image, one panel per metric.

    `table` has mean, low, high over (amplitude, stage, metric); `metrics` is as in `plot_scores`. `pure` is the same over (stage,
    metric) with pure noise in place of the rough image, drawn separately at the right. `reference` holds the paper's values, a
    DataFrame of amplitudes by metrics, drawn as thin lines.
    """
    figure, panels = _metric_panels(metrics, 5, sharex=True)
    amplitudes = table.amplitude.values
    ticks = [f"{amplitude:g}" for amplitude in amplitudes]
    table = table.assign_coords(amplitude=ticks, stage=[f"{stage} image" for stage in table.stage.values])
    looks = {"x": "amplitude", "hue": "stage", "palette": COLOURS[: table.sizes["stage"]]}
    for name, ax in panels.items():
        draw_intervals(ax, table.sel(metric=name), **looks, bands=True, y="value")
        if pure is not None:
            pure_row = pure.sel(metric=name).expand_dims(amplitude=["pure"]).assign_coords(stage=table.stage)
            draw_intervals(ax, pure_row, y="value", order=[*ticks, "pure"], legend=False, **looks)
        if reference is not None and set(amplitudes) <= set(reference.index):
            printed = reference.loc[list(amplitudes), name]
            ax.plot(ticks, printed, color=REFERENCE, linewidth=1, linestyle="--", label="paper")
        ax.set_title(f"{ax.get_title(loc='left')}\n{'semantic' if metrics[name].semantic else 'low level'}")
    for ax in figure.axes[4:]:
        ax.set_xlabel("noise amplitude")
        ax.tick_params(axis="x", rotation=90)
    subtitle = f"mean and {100 * table.level:.0f} % interval, n = {table.n} images"
    _add_legend_and_title(figure, "Scores against noise on the rough image (grey levels, not to scale)", subtitle, metrics)
    return figure


def plot_error_kinds(structure, meaning, *, marked=None, ax=None):
    """Draw each image's rank in structure against its rank in meaning.

    Both are (n_images,), 0 for the worst and 1 for the best, see `selection.relative_rank`; `marked` maps a label to the
    positions of images drawn in colour.
    """
    import seaborn as sns

    ax, marked = ax or new_axes(4.6, 4.4), marked or {}
    ax.axhline(0.5, color=REFERENCE, linewidth=0.8, linestyle=":")
    ax.axvline(0.5, color=REFERENCE, linewidth=0.8, linestyle=":")
    sns.scatterplot(x=structure, y=meaning, s=14, color="0.7", linewidth=0, ax=ax)
    for colour, (label, chosen) in zip(COLOURS[1:], marked.items(), strict=False):
        sns.scatterplot(x=structure[chosen], y=meaning[chosen], s=30, color=colour, linewidth=0, label=label, ax=ax)
    corners = {"semantic error": (1, 0), "structural error": (0, 1), "both right": (1, 1), "both wrong": (0, 0)}
    for label, (x, y) in corners.items():
        position = {"ha": ("left", "right")[x], "va": ("bottom", "top")[y], "transform": ax.transAxes}
        ax.text(0.02 + 0.96 * x, 0.02 + 0.96 * y, label, fontsize=FONT_SIZE - 1, color="0.4", **position)
    if marked:
        ax.legend(loc="lower left", bbox_to_anchor=(-0.03, 1), borderpad=0.2)
    ax.set(xlabel="structure: fraction of images below", ylabel="meaning: fraction of images below")
    ax.set(xlim=(-0.05, 1.05), ylim=(-0.1, 1.1), aspect="equal")
    ax.set_title(f"Structural and semantic errors, n = {len(structure)}", pad=6 + 1.6 * FONT_SIZE * len(marked))
    return ax


def plot_group(table, metrics, *, subjects=None):
    """Draw every subject's refined images between its best floor and its ceiling, one panel per metric, one row per subject.

    Parameters
    ----------
    table : xarray.Dataset
        mean, low, high over (subject, system, metric), with a subject's images as units, for the systems "best floor", "refined"
        and "refined, all true".
    metrics : dict of str to metrics.Metric
        As in `plot_scores`.
    subjects : list of str, optional
        The distinct subjects, all by default; with two or more, a line marks their mean.
    """
    bounds = {"refined": "decoded", "best floor": "floor", "refined, all true": "ceiling"}
    table, roles = table.sel(system=list(bounds)), list(bounds.values())
    subjects = [str(name) for name in table.subject.values] if subjects is None else subjects
    figure, panels = _metric_panels(metrics, 0.5 * table.sizes["subject"] + 2.1, across=True, sharey=True)
    _draw_roles(panels, table, roles, roles, y="subject")
    if len(subjects) > 1:
        for name, ax in panels.items():
            mean = table["mean"].sel(metric=name, system="refined", subject=subjects).mean()
            ax.axvline(mean, color=COLOURS[1], linewidth=1, zorder=0, label="mean of subjects")
    n_subjects = f"n = {len(subjects)} subject{'s' * (len(subjects) > 1)}"
    subtitle = f"mean and {100 * table.level:.0f} % interval over images, {n_subjects}"
    _add_legend_and_title(figure, "The refined images of each subject", subtitle, metrics)
    return figure


def _metric_panels(metrics, height, *, across=False, **shared):
    """A figure with a titled panel per metric, chance as a line, scores along y or `across`; and a dict of metric to axes."""
    figure, axes = new_panels(2, 4, WIDTH, height, **shared)
    for ax, metric in zip(axes.flat, metrics.values(), strict=True):
        ax.set_title(metric.title)
        if metric.chance is not None:
            (ax.axvline if across else ax.axhline)(metric.chance, **CHANCE)
        if across:
            ax.locator_params(axis="x", nbins=4, steps=[1, 2, 5, 10])  # ticks with one decimal fit a narrow panel
            ax.tick_params(axis="x", labelsize="small")
    return figure, dict(zip(metrics, axes.flat, strict=True))


def _draw_roles(panels, table, roles, order, *, y):
    """Draw the scores of systems, coloured and marked by their `roles`, one row per `y`; the legend is in `order`."""
    table = table.assign_coords(role=("system", roles))
    looks = {"hue_order": order, "palette": [ROLES[role][0] for role in order], "markers": [ROLES[role][1] for role in order]}
    for name, ax in panels.items():
        draw_intervals(ax, table.sel(metric=name), x="value", y=y, hue="role", **looks)
        ax.margins(x=0.12)


def _add_legend_and_title(figure, title, subtitle, metrics):
    """Draw the legend and the title of metric panels, and below the title what they show."""
    draw_legend(figure)
    figure.suptitle(f"{title}\n{subtitle}; arrows: better{stand_ins(metrics)}")
