"""Tests of the paper's claims, and of related ones, each as a difference that is positive where the claim is true.

The unit of a test is the image, within a subject; the verdict needs all subjects to agree, with intervals on one side and p
values corrected for the number of tests. A claim that the results cannot decide gets no verdict but the reason: it was not
measured, its networks were cut off (results of finished ones take their place where they are shipped, `nsdlib.store.shipped`),
there is no headroom, since what the claim asks for does not fit between the systems and the best that they could have reached, or
there is nothing to lose: what may be lost is more than what the better system has above the best picture without the brain.

Margins come from the paper, which reads 2 % in SSIM and 4 % in CLIP as gains. A claim of a gain needs room for so much, and
is told where it is smaller; a claim that something costs nothing allows the loss of half of it, as tests of non-inferiority do.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
import xarray as xr

from nsdlib.params import usable_runs
from nsdlib.store.shipped import beside
from nsdlib.store.store import Store
from nsdlib.study import floors, statistics

ARTIFACTS = ("scores", "noise", "ablation", "latent_size")
CEILINGS = {"refined": "refined, all true", "rough": "rough, true latents"}  # of other images it is the maximum, 1


@dataclass(frozen=True)
class Pair:
    """The values of a claim's two systems, and what bounds them: arrays over the test images."""

    first: np.ndarray
    second: np.ndarray
    room: tuple = ()  # pairs: the best that could be, and what is; where all of them meet, nothing can be seen
    floor: np.ndarray | None = None  # what the second has without the brain, where the claim is that the first loses nothing
    against: str = ""  # the second system, where the results say which it is


@dataclass(frozen=True)
class Claim:
    """A claim and its test."""

    statement: str  # the claim as a sentence
    section: str  # section and number in the paper; "" where the paper does not make the claim
    find: Callable  # {artifact: Dataset}, *compared -> Pair, its first above its second where true; None if not measured
    compared: tuple  # the two systems, and the score
    asked: float = 0.0  # by how much the first is to lie above the second, in percent of it
    allowed: float = 0.0  # instead, by how much it may lie below
    networks: tuple = ()  # that it compares; they must have finished training


def _errors(artifacts, worse, better, measure):
    """Latents of two decoders; how small their errors could be is not known, so there is always room."""
    errors = artifacts["ablation"].errors
    if not {worse, better} <= set(errors.decoder.values):
        return None
    return Pair(*(errors.sel(decoder=name, measure=measure).values for name in (worse, better)))


def _layers(artifacts, first, second, measure):
    """Rough images of two numbers of layers; those of true latents say how much there is to gain, of mean latents, to lose."""
    score = artifacts["latent_size"].score.sel(measure=measure)
    if not {first, second} <= set(score.n_layers.values):
        return None
    decoded, true = ([score.sel(n_layers=n, system=name).values for n in (first, second)] for name in ("decoded", "oracle"))
    floor = score.sel(n_layers=second, system="floor").values
    return Pair(*decoded, room=((true[1], true[0]), (true[0], true[1])), floor=floor)


def _systems(artifacts, first, second, metric, artifact="scores"):
    """Images of two systems; the second may be one of those of `floors.best`."""
    if artifact not in artifacts:
        return None
    values, names, against = artifacts[artifact].value.sel(metric=[metric]), [first, second], ""
    if second.startswith("best "):
        bars = floors.best(values)
        if second not in bars.system:
            return None
        names[1] = against = bars.floor.sel(system=second).item()
    values = values.sel(metric=metric)
    if not set(names) <= set(values.system.values):
        return None
    return _bounded(artifacts, names, [values.sel(system=name).values for name in names], metric, against)


_decoders = partial(_systems, artifact="controls")


def _noise(artifacts, first, second, metric):
    """Refined images in two conditions, by position: no noise, the strongest, pure noise in place of the rough image."""
    if "by_seed" not in artifacts["noise"]:
        return None
    values = artifacts["noise"].by_seed.sel(metric=metric).mean("diffusion_seed")
    pair = _bounded(artifacts, ["refined"] * 2, [values.isel(condition=i).values for i in (first, second)], metric)
    if "scores" not in artifacts:
        return pair
    bars = floors.best(artifacts["scores"].value.sel(metric=[metric]))
    return replace(pair, floor=bars.sel(system="best floor", metric=metric).values)


def _bounded(artifacts, names, values, metric, against=""):
    """A pair of images, each with its ceiling."""
    scores = artifacts["scores"].value.sel(metric=metric) if "scores" in artifacts else None
    known = set() if scores is None else set(scores.system.values)
    ceilings = [CEILINGS.get(name.partition(",")[0]) for name in names]
    best = [scores.sel(system=c).values if c in known else np.ones_like(v) for c, v in zip(ceilings, values, strict=True)]
    return Pair(*values, room=tuple(zip(best, values, strict=True)), against=against)


CLAIMS = (
    Claim("refined images are more like the seen ones with the GRU than with ridge (SSIM)", "5: by about 2 %",
          _decoders, ("refined, gru", "refined, ridge", "ssim"), asked=2, networks=("gru",)),
    Claim("refined images are closer in meaning to the seen ones with the GRU than with ridge (CLIP)", "5: by about 4 %",
          _decoders, ("refined, gru", "refined, ridge", "clip"), asked=4, networks=("gru",)),
    Claim("the GRU's latents have a smaller MSE than ridge's", "4.2, Table 3: 0.0681 against 0.0690",
          _errors, ("ridge", "gru", "mse"), asked=1.3, networks=("gru",)),
    Claim("the GRU's latents have a smaller MSE than ridge's with the published penalty",
          "3.3.2 and Table 3: a penalty of 50,000", _errors, ("ridge, 50,000", "gru", "mse"), asked=1.3, networks=("gru",)),
    Claim("ridge's latents have a smaller MAE than the GRU's", "4.2: no number",
          _errors, ("gru", "ridge", "mae"), networks=("gru",)),
    Claim("the GRU's latents have a smaller MSE than the CNN's", "4.1, Table 2: 0.0681 against 0.0683",
          _errors, ("cnn", "gru", "mse"), asked=0.3, networks=("gru", "cnn")),
    Claim("the GRU's latents have a smaller MSE than the Transformer's", "4.1, Table 2: 0.0681 against 0.0685",
          _errors, ("transformer", "gru", "mse"), asked=0.6, networks=("gru", "transformer")),
    Claim("15 layers do as well as 31 (SSIM of rough images)", "5, Table 4: 0.370 against 0.374, refined",
          _layers, (15, 31, "SSIM"), allowed=1),
    Claim("noise on the rough image costs structure (SSIM)", "4.3, Table 6: 0.361 to 0.140", _noise, (0, 1, "ssim"), asked=2),
    Claim("pure noise in place of the rough image costs structure (SSIM)", "4.3, Table 6, as the public code has it",
          _noise, (0, 2, "ssim"), asked=2),
    Claim("noise on the rough image does not cost meaning (CLIP)", "4.3, Table 6: 0.914 to 0.939",
          _noise, (1, 0, "clip"), allowed=2),
    Claim("pure noise in place of the rough image does not cost meaning (CLIP)", "4.3, Table 6, as the public code has it",
          _noise, (2, 0, "clip"), allowed=2),
    Claim("refining adds meaning (CLIP)", "4.4: no number", _systems, ("refined", "rough", "clip")),
    Claim("refining adds meaning (Inception)", "4.4: no number", _systems, ("refined", "rough", "inception")),
    Claim("refining gives up structure (PixCorr)", "", _systems, ("rough", "refined", "pixcorr")),
    Claim("refining beats the best picture without the brain (CLIP)", "", _systems, ("refined", "best floor", "clip")),
    Claim("refining beats the best picture without the brain (SSIM)", "", _systems, ("refined", "best floor", "ssim")),
    Claim("refining beats the best picture without the brain (PixCorr)", "", _systems, ("refined", "best floor", "pixcorr")),
    Claim("refining beats the best picture from a label of the seen image (CLIP)", "",
          _systems, ("refined", "best label", "clip")),
    Claim("refining beats the best picture from a label of the seen image (SSIM)", "",
          _systems, ("refined", "best label", "ssim")),
    Claim("generation beats retrieval (CLIP)", "", _systems, ("refined", "best retrieval", "clip")),
)  # fmt: skip


def ready(run):
    """Return the stores of the runs in a run's group that hold all of `ARTIFACTS` (dict of str to Store).

    A run whose parameter file cannot be used is left out, with a warning.
    """
    others = {other.name: other for other in usable_runs(name for name in run.group if name != run.name)}
    stores = {name: Store(member) for name in run.group if (member := {**others, run.name: run}.get(name))}
    return {name: store for name, store in stores.items() if all(store.has(artifact) for artifact in ARTIFACTS)}


def complete(stores):
    """Return what is shipped beside each run of `ready`, with networks trained to their end (dict of dict of Shipped)."""
    return {name: beside(store.run) for name, store in stores.items()}


def measure(stores, finished=None, **bootstrap):
    """Test every claim in every subject.

    `stores`, from `ready`, are those of the runs by name; any objects with `load` and `has` of artifacts. `finished`, from
    `complete`, are of each run the stores of the same subject whose networks have finished, by name; `bootstrap` is n_bootstrap
    and seed.

    A Dataset over (claim, subject), NaN where a run has not measured it: mean, low, high of the differences with their 95 %
    intervals over images; p values corrected for all tests together (Holm), for claims that allow a loss those of the difference
    plus this loss; margin, asked or allowed, and room, the largest difference that could have been seen, in units of the score;
    has_room, whether that is more than the margin and surely more than nothing; stake, how much the second system has above its
    floor at least, of claims that allow a loss. finished: whether the networks that are compared had finished; source: name of
    the run in `finished` whose results were taken, or nothing; against: the system that the results chose as the second, or
    nothing. The coordinate claim holds the statements.
    """
    rows = {}
    for name, store in stores.items():
        with ExitStack() as files:
            others = {label: _loaded(other, files) for label, other in (finished or {}).get(name, {}).items()}
            candidates = {"": _loaded(store, files)} | others
            rows[name] = [_tested(claim, candidates, bootstrap) for claim in CLAIMS]
    arrays = {key: (("claim", "subject"), [[row[i][key] for row in rows.values()] for i in range(len(CLAIMS))])
              for key in NOT_MEASURED}  # fmt: skip
    tested = xr.Dataset(arrays, coords={"claim": [claim.statement for claim in CLAIMS], "subject": list(stores)})
    measured = np.isfinite(tested.p.values)
    tested.p.values[measured] = statistics.holm(tested.p.values[measured])
    return tested


NOT_MEASURED = dict.fromkeys(("mean", "low", "high", "p", "margin", "room", "stake"), np.nan)
NOT_MEASURED |= {"has_room": False, "finished": False, "source": "", "against": ""}


def _tested(claim, candidates, bootstrap):
    """One claim in one subject, with the keys of `NOT_MEASURED`."""
    source, ended = _source(claim, candidates)
    test = NOT_MEASURED | {"source": source, "finished": ended}
    if (pair := claim.find(candidates[source], *claim.compared)) is None:
        return test
    unit = pair.second.mean() / 100
    test |= statistics.paired_difference(pair.first, pair.second, allowed=unit * claim.allowed, **bootstrap)
    margin = unit * (claim.asked or claim.allowed)
    gaps = [best - own for best, own in pair.room]
    seen = [gap.mean() > margin and statistics.bootstrap_interval(gap, **bootstrap)[0] > 0 for gap in gaps]
    has_room, room = not gaps or any(seen), max((max(gap.mean(), 0.0) for gap in gaps), default=np.nan)
    if claim.allowed and pair.floor is not None:
        test["stake"] = float(statistics.bootstrap_interval(pair.second - pair.floor, **bootstrap)[0])
    return test | {"margin": margin, "room": room, "has_room": has_room, "against": pair.against}


def _loaded(store, files):
    """The artifacts of a store that claims are tested with, those that it has; `files` closes them."""
    return {name: files.enter_context(store.load(name)) for name in (*ARTIFACTS, "controls") if store.has(name)}


def _source(claim, candidates):
    """Where a claim is tested, and whether its networks have finished there: the first such place, or the run itself."""
    for label, artifacts in candidates.items():
        ended = artifacts["ablation"].finished.all("seed") if "ablation" in artifacts else None
        fit = ended is not None and set(claim.networks) <= set(ended.decoder.values[ended.values])
        if not claim.networks or (fit and claim.find(artifacts, *claim.compared) is not None):
            return label, True
    return "", False


def verdicts(tested):
    """Return the verdict on each claim that `measure` tested: statement to `statistics.verdict`, or why there is none."""
    return {claim.statement: _verdict(claim, tested.sel(claim=claim.statement)) for claim in CLAIMS}


def _verdict(claim, test):
    """The verdict on one claim from its tests, over subjects."""
    if np.isnan(test.p).any():
        return "not decidable: not measured in every subject"
    ended = test.isel(subject=test.finished.values)
    if not ended.sizes["subject"]:
        return "not decidable: the networks were cut off before they had finished training"
    judged = ended.isel(subject=ended.has_room.values)
    if not judged.sizes["subject"]:
        seen = f"{ended.room.max():.3f} could have been seen at most"
        return f"no headroom: {seen}, {ended.margin.min():.3f} is the margin, and it must surely be more than nothing"
    judged = judged.isel(subject=~(judged.stake.values <= judged.margin.values))
    if not judged.sizes["subject"]:
        return "nothing to lose: what may be lost is not surely less than what there is above the best picture without the brain"
    lost = judged.margin if claim.allowed else 0
    text = statistics.verdict(judged.low + lost, judged.high + lost, judged.p)
    if text != "does not hold" and claim.asked and (judged.high < judged.margin).all():
        text += f", but below the {claim.asked:g} % asked for"
    alone = "" if len(judged.subject) == len(test.subject) else f" in {', '.join(judged.subject.values)} alone"
    return f"{text}{alone}"


def as_table(tested, runs):
    """Format the claims, what the paper says, what was measured, and the verdicts (pandas.DataFrame of str).

    Verdicts from a simulated brain or small models carry the addition "on the twin", differences the run that they are from.
    """
    rows, twin = {}, any(run.zoo != "paper" or run.simulation is not None for run in runs)
    for claim, verdict in zip(CLAIMS, verdicts(tested).values(), strict=True):
        test = tested.sel(claim=claim.statement)
        against = [f"against {name}" if name else "" for name in test.against.values]
        cells = zip(*(test[name].values for name in ("mean", "low", "high", "source")), against, strict=True)
        texts = [
            "not measured" if np.isnan(m) else " ".join(filter(None, (f"{m:.4f} [{a:.4f}, {b:.4f}]", *rest)))
            for m, a, b, *rest in cells
        ]
        gain = f"a gain of {claim.asked:g} %" if claim.asked else "a gain"
        rows[claim.statement] = {
            "the paper": f"section {claim.section}" if claim.section else "does not say it",
            "asks for": f"a loss of {claim.allowed:g} % at most" if claim.allowed else gain,
            "difference [95 %]": ", ".join(texts),
            "verdict": f"{verdict}, on the twin" if twin and not verdict.startswith("not decidable") else verdict,
        }
    return pd.DataFrame(rows).T.rename_axis("claim")
