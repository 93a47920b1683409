"""Explorers for JupyterLab: figures with controls that recompute them; `notebooks/explore.ipynb` shows all of them.

`nsdlib.study.explorations` loads and computes, `panels` draws, `pickers` selects, and an `Explorer` connects them. An explorer
appears before it loads anything, reports its progress, and shows errors as text. A finished page has no kernel; there,
`nsdlib.plots.interactive` shows precomputed results.
"""

import base64
import io
import itertools
import traceback
from contextlib import contextmanager
from html import escape

from nsdlib.core.files import atomic_write
from nsdlib.plots import panels
from nsdlib.plots.publication import figures_folder
from nsdlib.plots.style import use_style
from nsdlib.study import explorations


class Explorer:
    """Controls, a sentence, and the figures for the controls' values; buttons reset the controls and save the figures.

    `load` takes the run and returns the loaded data, such as an exploration. `controls` takes the data and returns widgets by
    name; the attribute `controls` is empty until `open`. `draw` takes the data and the controls' values by name; it returns a
    sentence, shown in `message`, and figures by their alternative texts, shown in `images`. `reading` and `doing` are progress
    messages. Files are saved under `name` beside the run's executed notebooks.
    """

    def __init__(self, run, name, load, controls, draw, *, reading="Reading", doing="Drawing"):
        from ipywidgets import HTML, Button, VBox

        self._run, self._name, self._load, self._make_controls, self._draw = run, name, load, controls, draw
        self._reading, self._doing, self._loaded, self._start, self._pngs = reading, doing, None, {}, []
        self.controls, self.message, self.images, self.saved = {}, HTML(), HTML(), HTML()
        save = Button(description="Save as PNG", icon="download", disabled=True)  # until something is drawn
        self.buttons = [Button(description="Reset", icon="undo"), save]
        for button, act in zip(self.buttons, (self.reset, self.save), strict=True):
            button.on_click(act)
        self.box = VBox([self.message, self.images])

    def open(self):
        """Load the data and draw the first figures."""
        from ipywidgets import HBox, Layout, VBox

        with self._reporting(self._reading):
            self._loaded = self._load(self._run)
            self.controls = self._make_controls(self._loaded)
            self._start = self._values()
            pictures = [control for control in self.controls.values() if isinstance(control, VBox)]
            widgets = [control for control in self.controls.values() if control not in pictures]
            for control in widgets:
                control.style.description_width = "initial"
                if hasattr(control, "continuous_update"):
                    control.continuous_update = False  # sliders report on release, not while they move
            self._listen(True)
            row = HBox([*widgets, *self.buttons], layout=Layout(flex_flow="row wrap"))
            self.box.children = (*pictures, row, self.message, self.saved, self.images)
            self.draw()
        return self

    def draw(self, _=None):
        """Draw the figures for the present values; on an error, the message holds its text and the old figures stay."""
        import matplotlib as mpl

        with self._reporting(self._doing), mpl.rc_context():
            use_style()
            sentence, figures = self._draw(self._loaded, **self._values())
            self._pngs = [_as_png(figure, sentence) for figure in figures.values()]
            images = (_as_image(png, text) for png, text in zip(self._pngs, figures, strict=True))
            self.images.value = f'<div style="display: flex; flex-wrap: wrap; align-items: start">{"".join(images)}</div>'
            self.message.value, self.saved.value = f"<p>{escape(sentence)}</p>", ""
            self.buttons[1].disabled = False

    def reset(self, _=None):
        """Set all controls to their initial values, and draw once."""
        self._listen(False)
        for name, value in self._start.items():
            self.controls[name].value = value
        self._listen(True)
        self.draw()

    def save(self, _=None):
        """Write the figures as one PNG below `runs/`, beside those saved before, and show its path."""
        folder = figures_folder(self._run) / "explored"
        with self._reporting():
            folder.mkdir(parents=True, exist_ok=True)
            path = next(path for n in itertools.count(1) if not (path := folder / f"{self._name}_{n}.png").exists())
            atomic_write(path, _stack(self._pngs))
            self.saved.value = f'<p role="status">Saved as <code>{escape(str(path.relative_to(self._run.root)))}</code></p>'

    def _values(self):
        return {name: control.value for name, control in self.controls.items()}

    def _listen(self, active):
        for control in self.controls.values():
            (control.observe if active else control.unobserve)(self.draw, names="value")

    @contextmanager
    def _reporting(self, doing=None):
        """Show what is being done, and any error as text."""
        if doing:
            self.message.value = f"<p><em>{escape(doing)} ...</em></p>"
        try:
            yield
        except Exception as error:
            is_expected = isinstance(error, (ValueError, OSError))  # these say what to do; others need a traceback
            text = str(error) if is_expected else "".join(traceback.format_exception(error))
            self.message.value = f'<p role="alert" style="white-space: pre-wrap"><b>Not drawn:</b> {escape(text)}</p>'

    def _ipython_display_(self):
        from IPython.display import display

        display(self.box)
        if self._loaded is None:
            self.open()


def systems_explorer(run):
    """Choose a test image, and see what both stages, every decoder and every published system made of it.

    The run needs the artifacts `ablation` (notebook 03) and `reconstruction` (05); recipes are shown if `systems` (10) exists.
    """

    def draw(stored, image):
        return panels.plot_systems(*stored.collect(image), caption=_caption(stored, image))

    return Explorer(run, "systems", explorations.StoredImages, lambda stored: {"image": _thumbnails(stored)}, draw)


def hrf_explorer(run):
    """Choose a voxel on a slice, and see its series in a run, the fits of the twenty HRFs, and the chosen HRF.

    The run needs the artifact `glm` (notebook 01) and the time series of session 1.
    """

    def controls(fits):
        from ipywidgets import IntSlider

        from nsdlib.plots.pickers import Voxels

        peaks = fits.peaks[fits.hrf_index]
        voxel = Voxels(fits.voxels, peaks, fits.background, start=fits.start, label="Peak of the HRF, seconds")
        return {"voxel": voxel, "number": IntSlider(1, 1, fits.n_runs, description="run")}

    def draw(fits, **values):
        return panels.plot_voxel(fits.peaks, fits.compute(**values))

    reading = "Reading the maps of session 1"
    doing = "Fitting twenty HRFs to one voxel; the first fit in a run loads its series, which takes long for a real subject"
    return Explorer(run, "voxel", explorations.VoxelFits, controls, draw, reading=reading, doing=doing)


def roi_explorer(run):
    """Choose a region, and see its location, its noise ceilings, and how well repeats agree in it.

    The run needs the artifact `betas` (notebook 02). Repeats also need single trials: `glm` or the betas of the files
    (`run.betas`).
    """

    def controls(regions):
        from ipywidgets import Dropdown, SelectionSlider

        names, slices = [explorations.ALL_REGIONS, *regions.regions], regions.slices.tolist()
        return {
            "region": Dropdown(options=names, description="region"),
            "z": SelectionSlider(options=slices, value=slices[len(slices) // 2], description="slice z"),
            "measure": Dropdown(options=list(regions.measures), description="measure"),
        }

    def draw(regions, **values):
        return panels.plot_measure(regions.background, *regions.compute(**values), label=values["measure"])

    doing = "Drawing; repeats load single-trial betas first, which takes minutes for a real subject"
    return Explorer(run, "regions", explorations.RegionMeasures, controls, draw, doing=doing)


def reconstruction_explorer(run):
    """Refine a test image with other settings: about a second in the demo zoo.

    The run needs the artifacts `ablation` (notebook 03) and `reconstruction` (notebook 05), and its models.
    """

    def controls(stored):
        from ipywidgets import Dropdown, FloatSlider, IntSlider

        start, strength = stored.start, stored.start["strength"]
        return {
            "image": _thumbnails(stored),
            "decoder": Dropdown(options=stored.decoders, value=start["decoder"], description="decoder"),
            "n_layers": IntSlider(start["n_layers"], 0, start["n_layers"], description="decoded layers"),
            "strength": FloatSlider(strength, min=min(0.05, strength), max=1, step=0.05, description="strength"),
            "text_weight": FloatSlider(start["text_weight"], min=0, max=1, step=0.1, description="text weight"),
            "guidance": FloatSlider(start["guidance"], min=0, max=max(15, start["guidance"]), step=0.5, description="guidance"),
            "seed": IntSlider(start["seed"], 0, 9, description="seed, from the run's"),
        }

    def draw(stored, image, **settings):
        return panels.plot_stages(*stored.compute(image, **settings), caption=_caption(stored, image))

    doing = f"Drawing; settings other than the run's first load the models of the {run.zoo} zoo, some ten seconds in the demo"
    return Explorer(run, "reconstruction", explorations.Reconstruction, controls, draw, doing=doing)


def what_if(run):
    """Silence or drive a region in the pattern of a test image, and see what ridge and both stages make of it.

    Ridge decodes all three targets, whatever the run's decoder, and restores their spread in training. The run needs the
    artifacts `betas`, `targets`, `embeddings` and `reconstruction` (notebooks 02, 03 and 05), and its models.
    """

    def controls(alteration):
        from ipywidgets import Dropdown, FloatSlider

        return {
            "image": _thumbnails(alteration),
            "region": Dropdown(options=list(alteration.regions), description="region"),
            "scale": FloatSlider(1, min=0, max=3, step=0.25, description="gain (0 silences)"),
            "add": FloatSlider(0, min=-3, max=3, step=0.5, description="add (in SDs)"),
        }

    def draw(alteration, image, region, **settings):
        computed, location = alteration.compute(image, region, **settings), (alteration.background, *alteration.masks(region))
        return panels.plot_alteration(*computed, *location, region=region, caption=_caption(alteration, image))

    doing = f"Drawing; the first change loads the models of the {run.zoo} zoo and fits ridges, seconds in the demo, else minutes"
    return Explorer(run, "what_if", explorations.RegionAlteration, controls, draw, doing=doing)


def _thumbnails(stored):
    """Thumbnails of the test images of a `StoredImages`."""
    from nsdlib.plots.pickers import Thumbnails

    return Thumbnails((image.values for image in stored.stimuli), stored.captions)  # all of a real subject would fill gigabytes


def _caption(stored, image):
    """The number of an image and its caption, in one sentence."""
    return f"Image {image}: “{caption}”." if (caption := stored.captions[image]) else f"Image {image}."


def _as_png(figure, sentence):
    """Encode a figure as PNG bytes with the sentence as metadata, and close the figure."""
    import matplotlib.pyplot as plt

    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Description": sentence})
    plt.close(figure)
    return file.getvalue()


def _as_image(png, text):
    """PNG bytes as an HTML image with alternative text."""
    from PIL import Image

    data, picture = base64.b64encode(png).decode(), Image.open(io.BytesIO(png))
    width = round(96 * picture.width / picture.info["dpi"][0])  # 96 CSS pixels are an inch
    return f'<img src="data:image/png;base64,{data}" alt="{escape(text)}" width="{width}" style="max-width: 100%">'


def _stack(pngs):
    """Stack pictures vertically on white, as the bytes of one PNG."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    parts = [Image.open(io.BytesIO(png)) for png in pngs]
    sheet = Image.new("RGB", (max(part.width for part in parts), sum(part.height for part in parts)), "white")
    for part, top in zip(parts, itertools.accumulate([0, *(part.height for part in parts)]), strict=False):
        sheet.paste(part, (0, top))
    buffer, metadata = io.BytesIO(), PngInfo()
    metadata.add_itxt("Description", parts[0].info["Description"])
    sheet.save(buffer, "PNG", dpi=parts[0].info["dpi"], pnginfo=metadata)
    return buffer.getvalue()
