"""Score any reconstructions with the eight scores and their floors, from images alone, without a subject."""

import json
from dataclasses import dataclass

import numpy as np
import xarray as xr

from nsdlib import __version__
from nsdlib.core.files import some
from nsdlib.core.scores.metrics import METRICS
from nsdlib.core.scores.protocols import PROTOCOLS
from nsdlib.data.formats.images import read
from nsdlib.data.formats.pairs import pair
from nsdlib.store import zoo
from nsdlib.study import floors
from nsdlib.study.reconstruction import score_all
from nsdlib.study.statistics import as_text, differences, differences_as_text, summary

OWN = "reconstructions"
ROLES = {OWN: "decoded", "mean image": "floor", "another image": "floor"}
STAND_INS = (
    "The networks are the small stand-ins of the demo zoo: {} of these eight scores are comparable only with scores "
    "of the same stand-ins. Published networks: --zoo paper."
)
FLOORS = (
    "Floors: the mean of the true images, and for each image the next one of them, whose two-way scores are a little below 0.5. "
    "From the best floor: paired differences, positive where the reconstructions are better; * for p < 0.05 (sign flips, Holm)."
)


@dataclass(frozen=True)
class Scored:
    """Scores of one set of reconstructions under one or several protocols."""

    names: list  # (n_images,) str
    truth: np.ndarray  # (n_images, side, side, 3) uint8
    made: np.ndarray  # (n_samples, n_images, side, side, 3) uint8
    values: dict  # {protocol: DataArray (system, metric, test_image)}, with the systems of ROLES
    means: dict  # {protocol: Dataset}, the `statistics.summary` of the values
    gains: dict  # {protocol: DataFrame}, the `statistics.differences` from the best floor
    notes: list  # sentences to print with the numbers
    about: dict  # version of nsdlib, zoo, CLIP judge, paths, numbers of images and samples

    def table(self, protocol):
        """Tabulate every score with its interval, the floors, and the difference from the best floor (DataFrame of str)."""
        table = as_text(self.means[protocol].transpose("metric", "system"))
        table["from the best floor"] = differences_as_text(self.gains[protocol]).iloc[0].tolist()
        return table.set_axis([metric.title for metric in METRICS.values()]).rename_axis("score")

    def __str__(self):
        tables = (f"\nProtocol {name}\n\n{self.table(name).to_markdown()}" for name in self.values)
        places = f"{self.about['reconstructions']}: {len(self.names)} images of {self.about['truth']}"
        return "\n".join([places, *tables, "", *self.notes])

    def as_json(self) -> str:
        """Return all numbers as JSON: `about`, notes, means with intervals, and the scores of each image."""
        scores = {}
        for protocol, means in self.means.items():
            cells = {name: means.sel(metric=name).to_dataframe()[["mean", "low", "high"]].T.to_dict() for name in METRICS}
            gains = self.gains[protocol].droplevel(0)
            scores[protocol] = {n: cells[n] | {"from the best floor": gains.loc[m.label].to_dict()} for n, m in METRICS.items()}
        own = {p: values.sel(system=OWN).to_pandas().to_dict() for p, values in self.values.items()}
        images = {name: {p: of_images[name] for p, of_images in own.items()} for name in self.names}
        return json.dumps({**self.about, "notes": self.notes, "scores": scores, "images": images}, indent=1) + "\n"


def score_folder(folder, truth, *, run, protocols) -> Scored:
    """Score the reconstructions in `folder` against the images in `truth`; `formats.images.read` lists the permitted formats.

    The scores of several samples of one image are averaged, because samples are nested in images; no sample is selected. `run`
    gives the networks (zoo, weights, device) and the number of bootstrap samples; `protocols` are keys of `PROTOCOLS`. Errors are
    those of `read`, `pair` and the loading of weights.
    """
    places = {"reconstructions": str(folder), "truth": str(truth)}
    names, truth, made, notes = pair(read(truth), read(folder))
    notes += _twins(names, truth)
    mean = truth.mean(axis=0, dtype=np.float64).round().astype(np.uint8)
    floor_images = {"mean image": np.broadcast_to(mean, truth.shape), "another image": np.roll(truth, 1, axis=0)}
    values, means, gains = {}, {}, {}
    for protocol in protocols:
        score = zoo.load_scorer(run, protocol=protocol).score
        own = score_all(score, truth, dict(enumerate(made)), ids=names, along="sample").mean("sample").expand_dims(system=[OWN])
        all_scores = xr.concat([own, score_all(score, truth, floor_images, ids=names)], "system")
        values[protocol] = all_scores.assign_coords(role=("system", [ROLES[name] for name in all_scores.system.values]))
        means[protocol] = summary(values[protocol], n_bootstrap=run.n_bootstrap)
        compared = xr.concat([own, floors.best(values[protocol]).drop_vars("floor")], "system")
        gains[protocol] = differences(compared, [(OWN, "best floor")], METRICS, n_bootstrap=run.n_bootstrap)
        if (n_test := PROTOCOLS[protocol].n_test) not in (None, len(names)):
            notes.append(f"{protocol}: published tables use {n_test} images, this set has {len(names)}.")
    if len(made) > 1:
        notes.append(f"Each image has {len(made)} samples: its scores are their mean, and none is selected.")
    notes += [FLOORS] + [STAND_INS.format("six" if run.clip_judge is None else "five")] * (run.zoo == "demo")
    notes += [] if run.clip_judge is None else [f"CLIP is that of {run.clip_judge}."]
    clip = run.clip_judge and str(run.clip_judge)
    about = {"nsdlib": __version__, "zoo": run.zoo, "clip": clip, **places, "n_images": len(names), "n_samples": len(made)}
    return Scored(names, truth, made, values, means, gains, notes, about)


def _twins(names, truth):
    """A list with a note if some true images are equal, otherwise empty."""
    first = {}
    pairs = [(first.setdefault(hash(image.tobytes()), name), name) for name, image in zip(names, truth, strict=True)]
    twins = [f"{one} and {other}" for one, other in pairs if one is not other]
    return [f"True images are equal, and two-way scores count a tie as a failure: {some(twins)}."] if twins else []
