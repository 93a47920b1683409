"""Visual pickers: thumbnails of pictures, and voxels on a slice of the brain.

They are radio buttons that CSS rules draw as pictures, so a click, Tab and the arrow keys work. This module imports ipywidgets;
import it only when controls are made.
"""

import matplotlib as mpl
import numpy as np
from ipywidgets import HTML, RadioButtons, SelectionSlider, ValueWidget, VBox
from PIL import Image

from nsdlib.plots.interactive import data_url

SIDE, COLUMNS = 56, 32  # pixels of a thumbnail, and thumbnails per row of the sprite sheet
EDGE, WIDEST = 5, 330  # pixels: smallest voxel, and preferred width of a slice
# Arrow keys move among radio buttons of one name; the data attribute keeps JupyterLab from taking them.
OWN_KEYS = (
    "const box = this.closest('.{0}'); box.addEventListener('focusin', () => box.querySelectorAll('[type=radio]').forEach("
    "one => {{ one.name = '{0}'; one.dataset.lmSuppressShortcuts = true }}))"
)
RULES = """
.{0} .widget-radio-box {{ position: relative; display: flex; flex-flow: row wrap; max-width: none; margin: 4px; overflow: auto }}
.{0} .widget-radio-box input {{ position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; cursor: pointer }}
.{0} .widget-radio-box > label {{ position: relative; flex: none; margin: 0 3px 3px 0; font-size: 0; line-height: 0 }}
.{0} .widget-radio-box > label:hover {{ outline: 2px solid #56b4e9; z-index: 1 }}
.{0} .widget-radio-box > label:has(:checked) {{ outline: 3px solid #d55e00; z-index: 2 }}
.{0} .widget-radio-box > label:has(:focus-visible) {{ outline-style: double; outline-width: 6px }}
"""


class Picker(VBox, ValueWidget):
    """Radio buttons drawn as pictures; the chosen one is `value`, an int, which may be set."""

    def __init__(self, *above):
        self.buttons, self._rules = RadioButtons(options=[], layout={"width": "auto"}), HTML(layout={"display": "none"})
        super().__init__([*above, self.buttons, self._rules])
        self._name = f"nsd-{self.model_id}"  # the CSS class of this picker's element, unique to it
        self.add_class(self._name)
        self.buttons.observe(self._choose, "value")
        self.observe(self._follow, "value")

    def _offer(self, options, value, rules):
        """Replace the options, pairs of text and value, select `value`, and draw the options by CSS `rules` (str)."""
        own = "\n".join(f".{self._name} .widget-radio-box{rule}" for rule in rules)
        self._rules.value = f'<style onload="{OWN_KEYS.format(self._name)}">{RULES.format(self._name)}{own}</style>'
        self.buttons.index = None  # otherwise new options select the first one
        self.buttons.options = options
        self.buttons.value = value

    def _choose(self, change):
        if change["new"] is not None:
            self.value = change["new"]

    def _follow(self, change):
        self.buttons.value = change["new"]


class Thumbnails(Picker):
    """Pictures, of which one is chosen.

    `images`, each (rows, columns, 3) uint8, are shrunk one by one; `captions` maps their numbers, in the same order, to captions.
    The numbers are the values.
    """

    def __init__(self, images, captions):
        super().__init__()
        thumbnails = [Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR) for image in images]
        sheet = Image.new("RGB", (SIDE * COLUMNS, SIDE * -(-len(thumbnails) // COLUMNS)))
        positions = [(SIDE * (i % COLUMNS), SIDE * (i // COLUMNS)) for i in range(len(thumbnails))]
        for image, position in zip(thumbnails, positions, strict=True):
            sheet.paste(image, position)
        rules = [
            " { max-height: 182px }",
            f" > label {{ width: {SIDE}px; height: {SIDE}px; background: url({data_url(sheet, 'JPEG')}) }}",
            *(f" > label:nth-child({i}) {{ background-position: {-x}px {-y}px }}" for i, (x, y) in enumerate(positions, start=1)),
        ]
        self._offer([(f"image {i}: {caption}", i) for i, caption in captions.items()], next(iter(captions)), rules)


class Voxels(Picker):
    """Voxels on an axial slice, coloured by a map, of which one is chosen; a slider changes the slice.

    `voxels` (n_voxels,) are flat C-order indices into the volume, `values` (n_voxels,) the map, and `label` its name.
    `background`, a nibabel image with axes left to right, back to front and upwards, is drawn in grey. The voxel `start` is
    chosen initially.
    """

    def __init__(self, voxels, values, background, *, start, label):
        self._voxels, self._values, self._background = voxels, values, np.nan_to_num(background.dataobj)
        self._positions = np.stack(np.unravel_index(voxels, background.shape), axis=1)  # (n_voxels, 3)
        slices = np.unique(self._positions[:, 2]).tolist()
        self.slice = SelectionSlider(options=slices, description="slice z", continuous_update=False)
        self._scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(np.nanmin(values), np.nanmax(values)), "viridis")
        stops = ", ".join(mpl.colors.to_hex(colour) for colour in mpl.colormaps["viridis"](np.linspace(0, 1, 9)))
        low, high = self._scale.get_clim()
        bar = (
            f'<span style="display: inline-block; width: 8em; height: .8em; background: linear-gradient(90deg, {stops})"></span>'
        )
        super().__init__(self.slice, HTML(f"{label}: {low:.1f} {bar} {high:.1f}"))
        self.slice.observe(self._turn, "value")
        self.value = start

    def _turn(self, _):
        """Choose the voxel of the new slice that is nearest to the one chosen before."""
        position = self._positions[self._voxels == self.value][0]
        if position[2] != self.slice.value:
            rows = np.flatnonzero(self._positions[:, 2] == self.slice.value)
            self.value = int(self._voxels[rows[np.square(self._positions[rows] - position).sum(axis=1).argmin()]])

    def _follow(self, change):
        z = int(self._positions[self._voxels == change["new"]][0, 2])
        if change["new"] not in [value for _, value in self.buttons.options]:
            self._lay_out(z, change["new"])
        self.slice.value = z
        super()._follow(change)

    def _lay_out(self, z, value):
        """Show the voxels of a slice."""
        n_x, n_y, _ = self._background.shape
        edge, rows = max(EDGE, WIDEST // max(n_x, n_y)), np.flatnonzero(self._positions[:, 2] == z)
        grey = mpl.colors.Normalize(0, self._background.max())(self._background[:, ::-1, z].T)
        picture = data_url(Image.fromarray((255 * grey).astype(np.uint8)), "PNG")
        size = f"width: {n_x * edge}px; height: {n_y * edge}px"
        rules = [
            f" {{ {size}; background: url({picture}) 0 0/100% 100%; image-rendering: pixelated; overflow: hidden }}",
            "::before { content: 'L'; position: absolute; left: 6px; color: white }",
            "::after { content: 'R'; position: absolute; right: 6px; color: white }",
            f" > label {{ position: absolute; width: {edge}px; height: {edge}px; margin: 0 }}",
        ]
        for i, row in enumerate(rows, start=1):
            (x, y, _), colour = self._positions[row], mpl.colors.to_hex(self._scale.to_rgba(self._values[row]))
            rules.append(f" > label:nth-child({i}) {{ left: {x * edge}px; bottom: {y * edge}px; background: {colour} }}")
        names = [f"voxel x = {x}, y = {y}, z = {z}" for x, y, _ in self._positions[rows]]
        self._offer(list(zip(names, self._voxels[rows].tolist(), strict=True)), value, rules)
