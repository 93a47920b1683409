"""Explorers: a figure beside controls that compute it anew, for JupyterLab.

What is computed stands in `panels` and below; an `Explorer` only wires it to widgets. It shows itself before it reads
anything, says what it is doing, and turns an error into a sentence. A finished page has no kernel to ask: there
`nsdlib.plots.interactive` moves what has been computed.
"""

import base64
import io
from html import escape

import numpy as np

from nsdlib.plots import panels


class Explorer:
    """Controls, a sentence, and the figures that belong to the controls' values.

    Parameters
    ----------
    opening : callable
        Takes `say`, a function that shows a text while things are read, and returns the controls (dict of str to widget) and
        `draw`, which takes the controls' values by name and returns a sentence and the figures, dict of alternative text to
        matplotlib figure.
    doing : str
        What is said while `draw` works, with what it costs.

    Attributes
    ----------
    controls : dict of str to widget
        Empty until it is opened.
    said, shown : ipywidgets.HTML
        The sentence, and the figures as images.
    box : ipywidgets.VBox
        All of it.
    """

    def __init__(self, opening, *, doing):
        from ipywidgets import HTML, VBox

        self._opening, self._doing, self._draw = opening, doing, None
        self.controls, self.said, self.shown = {}, HTML(), HTML()
        self.box = VBox([self.said, self.shown])

    def open(self):
        """Read what is needed and draw the first figures; once."""
        from ipywidgets import HBox, Layout

        try:
            self.controls, self._draw = self._opening(self._say)
        except (ValueError, OSError) as error:
            self._complain(error)
            return self
        for control in self.controls.values():
            control.style.description_width = "initial"
            control.observe(self.draw, names="value")
        row = HBox(list(self.controls.values()), layout=Layout(flex_flow="row wrap"))
        self.box.children = (row, self.said, self.shown)
        self.draw()
        return self

    def draw(self, _=None):
        """Draw what belongs to the present values; with an error, the sentence explains it and the old figures stay."""
        self._say(self._doing)
        try:
            sentence, figures = self._draw(**{name: control.value for name, control in self.controls.items()})
        except (ValueError, OSError) as error:
            self._complain(error)
            return
        self.shown.value = "".join(_as_image(figure, text) for text, figure in figures.items())
        self.said.value = f"<p>{escape(sentence)}</p>"

    def _say(self, text):
        self.said.value = f"<p><em>{escape(text)} ...</em></p>"

    def _complain(self, error):
        self.said.value = f'<p role="alert"><b>Not drawn:</b> {escape(str(error).splitlines()[0])}</p>'

    def _ipython_display_(self):
        from IPython.display import display

        display(self.box)
        if self._draw is None:
            self.open()


def hrf_explorer(run):
    """Pick a voxel on a slice: its series in a run, the fits of the twenty HRFs to it, and the one that was chosen.

    Parameters
    ----------
    run : nsdlib.params.Run
        Needs the artifact `glm` (notebook 01) and the time series of session 1.

    Returns
    -------
    Explorer
    """

    def opening(say):
        from ipywidgets import IntSlider, SelectionSlider

        from nsdlib.data.glm_sessions import read_session
        from nsdlib.data.nsd import NSDSubject
        from nsdlib.store.store import Store

        say("Reading the time series of session 1, seconds for the demo and minutes for a real subject")
        glm = Store(run).load("glm").isel(session=0)
        data = NSDSubject(run.data, run.subject, run.n_sessions)
        shape, voxels = data.brainmask.shape, glm.roi_voxel.values
        mask = np.zeros(shape, dtype=bool)
        mask.flat[voxels] = True
        design, series = read_session(data, 1, mask)
        places = np.stack(np.unravel_index(voxels, shape), axis=1)  # (n_voxels, 3)
        maps = glm[["hrf_r2", "hrf_index", "onoff_r2", "mean"]].sel(voxel=voxels).load()
        x, y, z = places[maps.onoff_r2.values.argsort()[3 * len(voxels) // 4]]
        controls = {
            "z": SelectionSlider(options=np.unique(places[:, 2]).tolist(), value=int(z), description="slice z"),
            "x": IntSlider(int(x), *_range(places[:, 0]), description="x, left to right"),
            "y": IntSlider(int(y), *_range(places[:, 1]), description="y, back to front"),
            "number": IntSlider(1, 1, len(series), description="run"),
        }
        background = data.volume("mean")

        def draw(x, y, z, number):
            voxel = panels.nearest_voxel(places, (x, y, z))
            part = {"labels": design[number - 1], "series": series[number - 1][:, voxel]}
            return panels.hrf_panel(maps, voxel, background=background, shape=shape, **part)

        return _lazy(controls), draw

    return Explorer(opening, doing="Fitting twenty HRFs to one voxel")


def roi_explorer(run):
    """Where the regions lie, and how well repeats agree in each.

    Parameters
    ----------
    run : nsdlib.params.Run
        Needs the artifact `betas` (notebook 02), and single trials: `glm` or the betas of the files, as the run says.

    Returns
    -------
    Explorer
    """

    def opening(say):
        from ipywidgets import Dropdown, SelectionSlider

        from nsdlib.data.nsd import NSDSubject
        from nsdlib.store.store import Store
        from nsdlib.study.betas import read_trials, trials_from_glm
        from nsdlib.study.reliability import reliability

        say("Reading single-trial betas, seconds for the demo and minutes for a real subject")
        store, data = Store(run), NSDSubject(run.data, run.subject, run.n_sessions)
        ceiling = store.load("betas").noise_ceiling.values
        if run.betas == "glm":
            trials = trials_from_glm(store.load("glm"), data, roi=run.roi)
        else:
            trials = read_trials(data, roi=run.roi, version=run.betas_version)
        measures = {
            "correlation of repeats": reliability(trials.betas.values, trials.image_id.values),
            "noise ceiling (percent)": ceiling,
        }
        members = {
            str(name): inside for name, inside in zip(trials.region.values, trials.in_region.values, strict=True)
        }
        members = {name: inside for name, inside in members.items() if inside.any()}
        slices = np.unique(np.unravel_index(trials.voxel.values, data.brainmask.shape)[2])
        controls = {
            "region": Dropdown(options=["all regions", *members], description="region"),
            "z": SelectionSlider(options=slices.tolist(), value=int(slices[len(slices) // 2]), description="slice z"),
            "measure": Dropdown(options=list(measures), description="measure"),
        }
        background, voxels = data.volume("mean"), trials.voxel.values

        def draw(region, z, measure):
            shown = members if region == "all regions" else {region: members[region]}
            return panels.region_panel(
                shown, measures[measure], background=background, voxels=voxels, z=z, label=measure
            )

        return _lazy(controls), draw

    return Explorer(opening, doing="Drawing")


def reconstruction_explorer(run):
    """Refine a test image anew with other settings: a second or so in the demo zoo.

    Parameters
    ----------
    run : nsdlib.params.Run
        Needs the artifacts `ablation` (notebook 03) and `reconstruction` (notebook 05), and the run's models.

    Returns
    -------
    Explorer
    """

    def opening(say):
        from ipywidgets import Dropdown, FloatSlider, IntSlider

        from nsdlib.store import zoo
        from nsdlib.store.store import Store

        store = Store(run)
        made, ablation = store.load("reconstruction"), store.load("ablation")
        first, second = _models(run, say)
        ids, rough_latents = made.test_image.values, ablation.predicted
        rest = {
            name: value for name, value in zoo.refinement(run).items() if name in ("n_steps", "sampler", "faithful")
        }
        controls = {
            "image": Dropdown(options=ids.tolist(), description="image"),
            "decoder": Dropdown(options=ablation.decoder.values.tolist(), value=run.decoder, description="decoder"),
            "n_layers": IntSlider(run.n_layers, 0, run.n_layers, description="decoded layers"),
            "strength": FloatSlider(run.strength, min=0.05, max=1, step=0.05, description="strength"),
            "text_weight": FloatSlider(run.text_weight, min=0, max=1, step=0.1, description="text share"),
            "guidance": FloatSlider(run.guidance, min=0, max=15, step=0.5, description="guidance"),
            "seed": IntSlider(run.seed, 0, max(9, run.seed), description="seed"),
        }

        def draw(image, decoder, n_layers, seed, **walk):
            row = slice(i := int(np.flatnonzero(ids == image)[0]), i + 1)
            latents = rough_latents.sel(decoder=decoder)[row, : first.n_latents(n_layers)].values
            tokens = made.text_pred[row].values, made.vision_pred[row].values
            rough = first.decode(latents, seed=seed, image_ids=ids[row])
            refined = second.refine(rough, *tokens, image_ids=ids[row], seed=seed, **walk, **rest)
            return panels.image_panel(made.stimulus[row].values, rough, refined)

        return _lazy(controls), draw

    return Explorer(
        opening, doing="Drawing and refining one image, about a second in the demo zoo, longer with larger models"
    )


def what_if(run):
    """Silence or drive a region in the pattern of a test image, and see what ridges and both stages make of it.

    Parameters
    ----------
    run : nsdlib.params.Run
        Needs the artifacts `betas`, `targets`, `embeddings` and `reconstruction` (notebooks 02, 03 and 05), and the run's models.

    Returns
    -------
    Explorer

    Notes
    -----
    All three targets are read by ridges, whatever decoder the run has, and given back their spread as in training.
    """

    def opening(say):
        from ipywidgets import Dropdown, FloatSlider

        from nsdlib.core.device import pick
        from nsdlib.store import zoo
        from nsdlib.store.store import Store

        store = Store(run)
        betas, made, given = (store.load(name) for name in ("betas", "reconstruction", "embeddings"))
        latents = store.load("targets").latents_train
        first, second = _models(run, say)
        say("Fitting three ridges, seconds for the demo and minutes for a real subject")
        targets = {"latents": latents[:, : first.n_latents(run.n_layers)].values}
        targets |= {kind: given[f"{kind}_train"].values for kind in ("text", "vision")}
        alphas = {kind: zoo.alphas(run, kind) for kind in targets}
        ridges = panels.fit_ridges(betas.X_train.values, targets, alphas=alphas, device=pick(run.device))
        shapes = {kind: target.shape[1:] for kind, target in targets.items()}
        ids, patterns = betas.test_image.values, betas.X_test.values
        mode = "none" if run.renormalise == "none" else "train"
        members = dict(zip(betas.region.values.tolist(), betas.in_region.values, strict=True))
        controls = {
            "image": Dropdown(options=ids.tolist(), description="image"),
            "region": Dropdown(
                options=[name for name, inside in members.items() if inside.any()], description="region"
            ),
            "scale": FloatSlider(0, min=0, max=3, step=0.25, description="times (0 silences)"),
            "add": FloatSlider(0, min=-3, max=3, step=0.5, description="plus (drives, in sd)"),
        }

        def draw(image, region, scale, add):
            i, inside = int(np.flatnonzero(ids == image)[0]), members[region]
            changed = panels.alterations(patterns[i], inside, scale=scale, add=add, seed=run.seed)
            found = panels.decode(ridges, changed, mode=mode)
            found = {kind: values.reshape(3, *shapes[kind]) for kind, values in found.items()}
            rough = first.decode(found["latents"], seed=run.seed, image_ids=[image] * 3)
            refined = second.refine(rough, found["text"], found["vision"], image_ids=[image] * 3, **zoo.refinement(run))
            stimulus = made.stimulus.sel(test_image=image).values
            return panels.what_if_panel(stimulus, rough, refined, region=region, n_voxels=int(inside.sum()))

        return _lazy(controls), draw

    return Explorer(
        opening, doing="Drawing and refining three images, seconds in the demo zoo, longer with larger models"
    )


def _models(run, say):
    """The models of both stages."""
    from nsdlib.store import zoo

    say(f"Loading the models of the {run.zoo} zoo, some ten seconds")
    return zoo.load_vdvae(run), zoo.load_diffusion(run)


def _lazy(controls):
    """The same controls; sliders report when they are let go, not on the way."""
    for control in controls.values():
        if hasattr(control, "continuous_update"):
            control.continuous_update = False
    return controls


def _range(values):
    """Smallest and largest, as a slider takes them."""
    return int(values.min()), int(values.max())


def _as_image(figure, text):
    """A figure as an HTML image with its alternative text; the figure is closed."""
    import matplotlib.pyplot as plt

    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    plt.close(figure)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{escape(text)}" style="max-width:100%">'
