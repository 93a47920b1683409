"""Explorers: a figure beside controls that compute it anew, for JupyterLab.

`nsdlib.study.explorations` reads and computes, `panels` draws, and an `Explorer` wires both to widgets. It shows itself before it
reads anything, says what it is doing, and turns an error into its words. A finished page has no kernel to ask: there
`nsdlib.plots.interactive` moves what has been computed.
"""

import base64
import io
from html import escape

from nsdlib.plots import panels
from nsdlib.study import explorations


class Explorer:
    """Controls, a sentence, and the figures that belong to the controls' values.

    Parameters
    ----------
    load : callable
        Returns what was read, such as an exploration.
    controls : callable
        Takes what was read and returns the controls, dict of str to widget; the attribute `controls` is empty until it is opened.
    draw : callable
        Takes what was read and the controls' values by name; returns a sentence, shown in the attribute `message`, and dict of
        alternative text to figure, shown in `images`.
    reading, doing : str
        What is said while `load` and `draw` work, with what it costs.
    """

    def __init__(self, load, controls, draw, *, reading, doing):
        from ipywidgets import HTML, VBox

        self._load, self._make_controls, self._draw = load, controls, draw
        self._reading, self._doing, self._loaded = reading, doing, None
        self.controls, self.message, self.images = {}, HTML(), HTML()
        self.box = VBox([self.message, self.images])

    def open(self):
        """Read what is needed and draw the first figures."""
        from ipywidgets import HBox, Layout

        self._say(self._reading)
        try:
            self._loaded = self._load()
            self.controls = self._make_controls(self._loaded)
        except (ValueError, OSError) as error:
            self._report(error)
            return self
        for control in self.controls.values():
            control.style.description_width = "initial"
            if hasattr(control, "continuous_update"):
                control.continuous_update = False  # sliders report when they are let go, not on the way
            control.observe(self.draw, names="value")
        row = HBox(list(self.controls.values()), layout=Layout(flex_flow="row wrap"))
        self.box.children = (row, self.message, self.images)
        self.draw()
        return self

    def draw(self, _=None):
        """Draw what belongs to the present values; with an error, the sentence explains it and the old figures stay."""
        self._say(self._doing)
        values = {name: control.value for name, control in self.controls.items()}
        try:
            sentence, figures = self._draw(self._loaded, **values)
        except (ValueError, OSError) as error:
            self._report(error)
            return
        self.images.value = "".join(_as_image(figure, text) for text, figure in figures.items())
        self.message.value = f"<p>{escape(sentence)}</p>"

    def _say(self, text):
        self.message.value = f"<p><em>{escape(text)} ...</em></p>"

    def _report(self, error):
        text = escape(str(error))
        self.message.value = f'<p role="alert" style="white-space: pre-line"><b>Not drawn:</b> {text}</p>'

    def _ipython_display_(self):
        from IPython.display import display

        display(self.box)
        if self._loaded is None:
            self.open()


def hrf_explorer(run):
    """Pick a voxel on a slice: its series in a run, the fits of the twenty HRFs to it, and the one that was chosen.

    The run needs the artifact `glm` (notebook 01) and the time series of session 1.
    """

    def controls(fits):
        from ipywidgets import IntSlider, SelectionSlider

        (x, y, z), low, high = fits.start.tolist(), fits.positions.min(axis=0), fits.positions.max(axis=0)
        slices = sorted(set(fits.positions[:, 2].tolist()))
        return {
            "z": SelectionSlider(options=slices, value=z, description="slice z"),
            "x": IntSlider(x, int(low[0]), int(high[0]), description="x, left to right"),
            "y": IntSlider(y, int(low[1]), int(high[1]), description="y, back to front"),
            "number": IntSlider(1, 1, fits.n_runs, description="run"),
        }

    def draw(fits, **values):
        return panels.plot_voxel(fits, fits.compute(**values))

    reading = "Reading the time series of session 1, seconds for the demo and minutes for a real subject"
    doing = "Fitting twenty HRFs to one voxel"
    return Explorer(lambda: explorations.VoxelFits(run), controls, draw, reading=reading, doing=doing)


def roi_explorer(run):
    """Pick a region: where it lies, and how well repeats agree in it.

    The run needs the artifact `betas` (notebook 02), and single trials: `glm` or the betas of the files, as it says.
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

    reading = "Reading single-trial betas, seconds for the demo and minutes for a real subject"
    return Explorer(lambda: explorations.RegionMeasures(run), controls, draw, reading=reading, doing="Drawing")


def reconstruction_explorer(run):
    """Refine a test image anew with other settings: a second or so in the demo zoo.

    The run needs the artifacts `ablation` (notebook 03) and `reconstruction` (notebook 05), and its models.
    """

    def controls(reconstruction):
        from ipywidgets import Dropdown, FloatSlider, IntSlider

        return {
            "image": Dropdown(options=reconstruction.image_ids, description="image"),
            "decoder": Dropdown(options=reconstruction.decoders, value=run.decoder, description="decoder"),
            "n_layers": IntSlider(run.n_layers, 0, run.n_layers, description="decoded layers"),
            "strength": FloatSlider(run.strength, min=0.05, max=1, step=0.05, description="strength"),
            "text_weight": FloatSlider(run.text_weight, min=0, max=1, step=0.1, description="text weight"),
            "guidance": FloatSlider(run.guidance, min=0, max=15, step=0.5, description="guidance"),
            "seed": IntSlider(0, 0, 9, description="seed, from the run's"),
        }

    def draw(reconstruction, **values):
        return panels.plot_stages(*reconstruction.compute(**values))

    reading = f"Loading the models of the {run.zoo} zoo, some ten seconds"
    doing = "Drawing and refining one image, about a second in the demo zoo, longer with larger models"
    return Explorer(lambda: explorations.Reconstruction(run), controls, draw, reading=reading, doing=doing)


def what_if(run):
    """Silence or drive a region in the pattern of a test image, and see what ridges and both stages make of it.

    All three targets are read by ridges, whatever decoder the run has, and given back their spread as in training. The run needs
    the artifacts `betas`, `targets`, `embeddings` and `reconstruction` (notebooks 02, 03 and 05), and its models.
    """

    def controls(alteration):
        from ipywidgets import Dropdown, FloatSlider

        return {
            "image": Dropdown(options=alteration.image_ids, description="image"),
            "region": Dropdown(options=list(alteration.regions), description="region"),
            "scale": FloatSlider(0, min=0, max=3, step=0.25, description="times (0 silences)"),
            "add": FloatSlider(0, min=-3, max=3, step=0.5, description="plus (drives, in sd)"),
        }

    def draw(alteration, **values):
        region = values["region"]
        n_voxels = int(alteration.regions[region].sum())
        return panels.plot_alteration(*alteration.compute(**values), region=region, n_voxels=n_voxels)

    reading = f"Loading the models of the {run.zoo} zoo and fitting three ridges, minutes for a real subject"
    doing = "Drawing and refining three images, seconds in the demo zoo, longer with larger models"
    return Explorer(lambda: explorations.RegionAlteration(run), controls, draw, reading=reading, doing=doing)


def _as_image(figure, text):
    """A figure as an HTML image with its alternative text; the figure is closed."""
    import matplotlib.pyplot as plt

    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    plt.close(figure)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{escape(text)}" style="max-width:100%">'
