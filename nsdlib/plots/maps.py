"""Brain maps drawn by nilearn: slices of the head (notebooks 00 to 03), inflated cortex, and nilearn's viewer."""

import gc
import warnings
from contextlib import contextmanager
from html import escape

import numpy as np

from nsdlib.plots.style import ACCENT

PANEL = 2.1  # inches per slice
TITLE, FOOT = 0.35, 0.85  # inches above and below the slices
LETTERS = 11  # points; still legible at half the size, on a phone
LINE = 70  # characters per line of the legend
HIDDEN = 1e-12  # threshold: nilearn does not support NaN, and hides values up to this one
VIEWED = 150_000  # voxels of the viewer's volume
REGION_COLOURS = ("#332288", "#0077bb", "#33bbee", "#009988", "#cc3311", "#ee7733", "#ee3377", "#ddcc77")


def plot_map(values, background, *, voxels, label, slices=None, limits=None):
    """Draw a map in colour over axial slices of the head, by nilearn's `plot_stat_map`.

    Parameters
    ----------
    values, voxels : (n_voxels,) float, (n_voxels,) int
        NaN is not drawn; voxels are flat C-order indices into the volume.
    background : (X, Y, Z) nibabel image, or array
        Drawn in grey. Coordinates are its millimetres, or indices for an array without an affine.
    label : str
        Meaning of the colours; the part before the first comma is the title.
    slices : sequence of int, optional
        Indices of slices, from 0 at the bottom; by default six through the map.
    limits : pair of float, optional
        Ends of the colour scale; by default the map's range. A constant map has one colour.
    """
    low, high = _limits(values, limits)
    volume = _volume(values, background, voxels, (low, high))
    if low == high:
        return _draw_slices(volume, background, slices, (ACCENT,), (low, low + 1), label, legend={label: ACCENT})
    figure = _draw_slices(volume, background, slices, "viridis", (low, high), label.split(",")[0])
    _draw_bar(figure, values, (low, high), label)
    return figure


def plot_regions(background, regions, *, slices=None):
    """Draw regions in colour over axial slices.

    `background` and `slices` are as in `plot_map`; `regions` are masks (X, Y, Z) bool by name, with later ones drawn over earlier
    ones.
    """
    from matplotlib import colormaps

    labels = np.full(background.shape, np.nan)
    for number, mask in enumerate(regions.values(), start=1):
        labels[mask] = number
    n_more = max(0, len(regions) - len(REGION_COLOURS))
    colours = (*REGION_COLOURS, *map(tuple, colormaps["turbo"](np.linspace(0, 1, n_more))))
    limits, legend = (0.5, len(colours) + 0.5), dict(zip(regions, colours, strict=False))
    return _draw_slices(labels, background, slices, colours, limits, "Visual regions", legend=legend)


def view_map(values, background, *, voxels, label, limits=None):
    """Show a map in nilearn's viewer (self-contained Html): a click on one of three slices moves the others.

    Parameters are those of `plot_map`.
    """
    from nilearn.image import resample_img
    from nilearn.plotting import view_img

    from nsdlib.plots.interactive import Html

    low, high = _limits(values, limits)
    volume, head = _cropped(*_upright(_volume(values, background, voxels, (low, high)), background))
    factor = (VIEWED / head.dataobj.size) ** (1 / 3)  # small volumes get a thin crosshair, large ones take few kilobytes
    step = 1 / (int(factor) if factor >= 1 else factor)
    affine = head.affine @ np.diag([step, step, step, 1])
    affine[:3, 3] += head.affine[:3, :3] @ np.full(3, (step - 1) / 2)
    shape = [int(np.ceil(n / step)) for n in head.shape]
    centre = None if np.any(volume.dataobj) else (affine @ [*(np.array(shape) / 2), 1])[:3]  # nilearn finds a map's own
    options = {"cmap": "viridis", "symmetric_cmap": False, "vmin": low, "vmax": high, "black_bg": True}
    with _quiet_nilearn():
        head = resample_img(head, affine, shape, interpolation="linear")
        view = view_img(volume, head, centre, threshold=HIDDEN, resampling_interpolation="nearest", **options)
    frame = f'loading="lazy" style="width:100%;aspect-ratio:{view.width}/{view.height};border:0;background:#000"'
    page = view.html.replace("<body>", '<body style="margin:0;background:#000">')
    hint = f"{label}. Click or tap on a slice: the other two move to that place (mm)."
    return Html(f'<figure><iframe title="{escape(label)}" {frame} srcdoc="{escape(page)}"></iframe>{escape(hint)}</figure>', hint)


def plot_surfaces(values, background, surfaces, *, voxels, label, limits=None):
    """Draw a map on the inflated hemispheres, in medial and ventral views, by nilearn's `plot_surf_stat_map`.

    `surfaces` are those of `nsdlib.data.nsd.surfaces.read_surfaces`, for both sides; the other parameters are those of
    `plot_map`. A vertex has the colour of the voxel that contains it, or grey, darker in the sulci, where the map has no value.
    """
    import matplotlib.pyplot as plt
    from nilearn.plotting import plot_surf_stat_map

    low, high = _limits(values, limits)
    volume = _volume(values, background, voxels, (low, high))
    figure, axes = plt.subplots(2, 2, figsize=(6.3, 5.2), subplot_kw={"projection": "3d"})
    figure.subplots_adjust(0, 0.14, 1, 0.9, 0, 0)
    for column, (side, surface) in zip(axes.T, surfaces.items(), strict=True):
        options = {"cmap": "viridis", "vmin": low, "vmax": high, "colorbar": False, "hemi": side, "bg_map": surface.depth}
        for ax, view in zip(column, ("medial", "ventral"), strict=True):
            mesh, texture = (surface.coordinates, surface.faces), surface.sample(volume)
            with _quiet_nilearn():
                plot_surf_stat_map(mesh, texture, view=view, axes=ax, figure=figure, **options)
            ax.set_box_aspect(None, zoom=1.45)
            ax.set_title(f"{side}, {view}", y=0.92)
    figure.suptitle(f"{label.split(',')[0]}, inflated cortex", fontsize=LETTERS + 1)
    _draw_bar(figure, values, (low, high), label)
    return figure


@contextmanager
def _quiet_nilearn():
    """Disable nilearn's garbage collection, which takes seconds when networks are loaded, and its needless warnings."""
    gc.freeze()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "empty mask|The given float|Resampling binary|All-NaN")  # a map may be empty
            warnings.simplefilter("ignore", PendingDeprecationWarning)  # nilearn 0.13 with matplotlib 3.11
            yield
    finally:
        gc.unfreeze()


def _limits(values, limits):
    """Ends of the colour scale: those given, or the map's range, or 0 and 1 for an empty map."""
    finite = np.asarray(values)[np.isfinite(values)]
    return limits or ((finite.min(), finite.max()) if finite.size else (0, 1))


def _volume(values, background, voxels, limits):
    """A map as a volume (X, Y, Z), NaN where it has no value; clipped, because nilearn hides values below the limits."""
    volume = np.full(background.shape, np.nan)
    lowest = np.nextafter(np.float32(limits[0]), np.float32(np.inf))  # nilearn computes in single precision
    volume.flat[voxels] = np.clip(values, lowest, limits[1])
    return volume


def _upright(volume, background):
    """A map and its background as images with axes left to right, back to front, and upwards."""
    from nibabel import Nifti1Image, as_closest_canonical

    affine = getattr(background, "affine", np.eye(4))
    background = np.asarray(getattr(background, "dataobj", background), dtype=np.float32)
    return (as_closest_canonical(Nifti1Image(values, affine)) for values in (volume, background))


def _cropped(volume, background):
    """Both images, cropped to the head; the map is 0 where it was NaN."""
    from nibabel import Nifti1Image

    affine, background, volume = volume.affine, np.nan_to_num(background.dataobj), np.asarray(volume.dataobj)
    volume = np.nan_to_num(np.where(abs(volume) <= HIDDEN, 2 * HIDDEN, volume))  # keeps zeros of the map visible
    filled = np.argwhere((background > 0) | (volume != 0))
    first, last = np.maximum(filled.min(axis=0) - 1, 0), filled.max(axis=0) + 2  # with a margin of a voxel
    box = tuple(slice(*ends) for ends in zip(first, last, strict=True))
    return (Nifti1Image(values, affine).slicer[box] for values in (volume, background))


def _draw_bar(figure, values, limits, label):
    """Draw a horizontal colour bar below a figure's brains, with an arrow at an end that values exceed."""
    import matplotlib.pyplot as plt

    bar = figure.add_axes((0.2, 0.58 / figure.get_figheight(), 0.6, 0.14 / figure.get_figheight()))
    extend = ("neither", "min", "max", "both")[np.any(values < limits[0]) + 2 * np.any(values > limits[1])]
    scale = plt.cm.ScalarMappable(plt.Normalize(*limits), "viridis")
    figure.colorbar(scale, cax=bar, orientation="horizontal", extend=extend)
    bar.set_xlabel(label, fontsize=LETTERS)
    bar.tick_params(labelsize=LETTERS)


def _draw_slices(volume, background, slices, colours, limits, title, *, legend=None):
    """A figure of axial slices of a volume over a grey background, three per row, with room for a colour bar or a legend."""
    import matplotlib.pyplot as plt
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch, Rectangle
    from nilearn.plotting import plot_stat_map

    is_placed, (volume, head) = hasattr(background, "affine"), _upright(volume, background)
    if slices is None:
        filled = np.flatnonzero(np.isfinite(volume.dataobj).any(axis=(0, 1)))
        ends = filled[[0, -1]] if filled.size else (0, volume.shape[2] - 1)
        slices = np.unique(np.linspace(*ends, 8).round().astype(int)[1:-1])
    centre = (np.array(volume.shape) - 1) / 2
    cuts = [volume.affine[2] @ [*centre[:2], z, 1] for z in slices]
    decimals = int(not np.allclose(cuts, np.round(cuts)))  # without decimals nilearn truncates -0.9 and 0.9 to 0
    cropped, head = _cropped(volume, head)
    size = head.header.get_zooms() * np.array(head.shape)
    n_columns = min(3, len(cuts))
    rows = [cuts[i : i + n_columns] for i in range(0, len(cuts), n_columns)]
    width, height = PANEL * n_columns, PANEL * size[1] / size[0]  # inches: figure width, row height
    total = height * len(rows) + TITLE + FOOT  # inches
    figure = plt.figure(figsize=(width, total))
    figure.add_artist(Rectangle((0, (FOOT - 0.05) / total), 1, (total - TITLE - FOOT + 0.05) / total, color="black", zorder=-1))
    cmap = ListedColormap(colours) if isinstance(colours, tuple) else colours
    options = {"cmap": cmap, "vmin": limits[0], "vmax": limits[1], "threshold": HIDDEN, "colorbar": False, "black_bg": True}
    options["resampling_interpolation"] = "nearest"  # interpolating two region numbers would give a third region
    with _quiet_nilearn():
        for number, row in enumerate(rows, start=1):
            box = (0, (total - TITLE - number * height) / total, len(row) / n_columns, height / total)
            cuts = {"display_mode": "z", "cut_coords": row, "figure": figure, "axes": box}
            display = plot_stat_map(cropped, head, annotate=False, **cuts, **options)
            display.annotate(left_right=is_placed, decimals=decimals, size=LETTERS + 2)
    figure.suptitle(f"{title}, axial slices", y=1 - 0.1 / total, fontsize=LETTERS + 1)
    if legend:
        handles = [Patch(color=colour, label=name) for name, colour in legend.items()]
        n_columns = max(1, LINE // (6 + max(map(len, legend))))
        position = {"loc": "upper center", "bbox_to_anchor": (0.5, (FOOT - 0.1) / total), "ncols": n_columns}
        figure.legend(handles=handles, fontsize=LETTERS, **position)
    return figure
