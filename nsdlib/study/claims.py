"""Tests of the paper's claims and of related ones, each as a difference that is positive if the claim is true.

The unit of a test is the image, within a subject. Margins come from the paper, which interprets 2 % in SSIM and 4 % in CLIP as
gains. A claimed gain needs this much headroom, and the verdict says if the gain is smaller. A claim that something costs nothing
allows half of it as loss (non-inferiority test).
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
import xarray as xr

from nsdlib.params import usable_runs
from nsdlib.store.shipped import shipped_like
from nsdlib.store.store import Store
from nsdlib.study import floors, statistics

ARTIFACTS = ("scores", "noise", "ablation", "latent_size")
CEILINGS = {"refined": "refined, all true", "rough": "rough, true latents"}  # other systems have the maximum, 1


@dataclass(frozen=True)
class Pair:
    """The scores of a claim's two systems, and their bounds: arrays over the test images."""

    first: np.ndarray
    second: np.ndarray
    room: tuple = ()  # pairs of ceiling and score; if all of them are equal, no difference can be seen
    floor: np.ndarray | None = None  # baseline of the second system, for claims that the first loses nothing
    against: str = ""  # name of the second system, if the results select it


@dataclass(frozen=True)
class Claim:
    """A claim and its test."""

    statement: str  # the claim as a sentence
    section: str  # section and number in the paper; "" where the paper does not make the claim
    find: Callable  # {artifact: Dataset}, *compared -> Pair, the first larger if the claim is true; None if not measured
    compared: tuple  # the two systems, and the score
    asked: float = 0.0  # required gain of the first over the second, in percent of the second
    allowed: float = 0.0  # or allowed loss, in the same unit
    networks: tuple = ()  # compared networks; they must have finished training


def _errors(artifacts, worse, better, measure):
    """Latent errors of two decoders; the smallest possible error is not known, so there is always headroom."""
    errors = artifacts["ablation"].errors
    if not {worse, better} <= set(errors.decoder.values):
        return None
    return Pair(*(errors.sel(decoder=name, measure=measure).values for name in (worse, better)))


def _layers(artifacts, first, second, measure):
    """Rough images from two numbers of layers; true latents bound the gain, mean latents the loss."""
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
        baselines = floors.best(values)
        if second not in baselines.system:
            return None
        names[1] = against = baselines.floor.sel(system=second).item()
    values = values.sel(metric=metric)
    if not set(names) <= set(values.system.values):
        return None
    return _bounded(artifacts, names, [values.sel(system=name).values for name in names], metric, against)


_decoders = partial(_systems, artifact="controls")


def _noise(artifacts, first, second, metric):
    """Refined images in two conditions, by position: no noise, the strongest noise, pure noise in place of the rough image."""
    if "by_seed" not in artifacts["noise"]:
        return None
    values = artifacts["noise"].by_seed.sel(metric=metric).mean("diffusion_seed")
    pair = _bounded(artifacts, ["refined"] * 2, [values.isel(condition=i).values for i in (first, second)], metric)
    if "scores" not in artifacts:
        return pair
    baselines = floors.best(artifacts["scores"].value.sel(metric=[metric]))
    return replace(pair, floor=baselines.sel(system="best floor", metric=metric).values)


def _bounded(artifacts, names, values, metric, against=""):
    """A Pair of scores, each with its ceiling."""
    scores = artifacts["scores"].value.sel(metric=metric) if "scores" in artifacts else None
    available = set() if scores is None else set(scores.system.values)
    ceilings = [CEILINGS.get(name.partition(",")[0]) for name in names]
    maxima = [scores.sel(system=c).values if c in available else np.ones_like(v) for c, v in zip(ceilings, values, strict=True)]
    return Pair(*values, room=tuple(zip(maxima, values, strict=True)), against=against)


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

    Runs whose parameter file cannot be used are left out with a warning.
    """
    runs = {member.name: member for member in usable_runs(name for name in run.group if name != run.name)} | {run.name: run}
    stores = {name: Store(runs[name]) for name in run.group if name in runs}
    return {name: store for name, store in stores.items() if all(store.has(artifact) for artifact in ARTIFACTS)}


def complete(stores):
    """Return the shipped results of finished networks for each run of `ready` (dict of dict of Shipped)."""
    return {name: shipped_like(store.run) for name, store in stores.items()}


def measure(stores, finished=None, **bootstrap):
    """Test every claim in every subject.

    `stores`, from `ready`, maps each run's name to its store, or to any object with `load` and `has`; `finished`, from
    `complete`, maps it to a dict of stores of the same subject whose networks have finished, which replace unfinished ones.
    `bootstrap` is n_bootstrap and seed.

    Returns a Dataset over (claim, subject), NaN where a claim was not measured: mean, low, high of the difference with its 95 %
    interval over images; p, corrected for all tests together (Holm), of the difference plus the allowed loss, if any; margin,
    asked or allowed, and room, the largest difference that could have been seen, in units of the score; has_room, whether it is
    above the margin and its interval above 0; stake, for claims that allow a loss, the lower limit of the second system's lead
    over its floor; finished, whether the compared networks had finished; source, the run in `finished` that the results come
    from, or ""; against, the second system if the results select it, or "". The coordinate claim holds the statements.
    """
    rows = {}
    for name, store in stores.items():
        with ExitStack() as files:
            shipped_results = {label: _loaded(shipped, files) for label, shipped in (finished or {}).get(name, {}).items()}
            candidates = {"": _loaded(store, files)} | shipped_results
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
    """Test one claim in one subject: a dict with the keys of `NOT_MEASURED`."""
    source, has_finished = _source(claim, candidates)
    test = NOT_MEASURED | {"source": source, "finished": has_finished}
    if (pair := claim.find(candidates[source], *claim.compared)) is None:
        return test
    unit = pair.second.mean() / 100
    test |= statistics.paired_difference(pair.first, pair.second, allowed=unit * claim.allowed, **bootstrap)
    margin = unit * (claim.asked or claim.allowed)
    gaps = [ceiling - score for ceiling, score in pair.room]
    is_wide = [gap.mean() > margin and statistics.bootstrap_interval(gap, **bootstrap)[0] > 0 for gap in gaps]
    has_room, room = not gaps or any(is_wide), max((max(gap.mean(), 0.0) for gap in gaps), default=np.nan)
    if claim.allowed and pair.floor is not None:
        test["stake"] = float(statistics.bootstrap_interval(pair.second - pair.floor, **bootstrap)[0])
    return test | {"margin": margin, "room": room, "has_room": has_room, "against": pair.against}


def _loaded(store, files):
    """Load the artifacts that a store has of those needed to test claims; `files` closes them."""
    return {name: files.enter_context(store.load(name)) for name in (*ARTIFACTS, "controls") if store.has(name)}


def _source(claim, candidates):
    """The first source in which a claim's networks have finished, or the run itself, and whether they have finished."""
    for label, artifacts in candidates.items():
        finished = artifacts["ablation"].finished.all("seed") if "ablation" in artifacts else None
        is_trained = finished is not None and set(claim.networks) <= set(finished.decoder.values[finished.values])
        if not claim.networks or (is_trained and claim.find(artifacts, *claim.compared) is not None):
            return label, True
    return "", False


def verdicts(tested):
    """Return a dict of each claim's statement to its `statistics.verdict`, or to the reason why there is none.

    A verdict needs all subjects to agree, with intervals on one side of 0 and p values corrected for the number of tests. The
    reasons are that the claim was not measured; that its networks were cut off; that there is no headroom, because the systems
    are closer to their ceilings than the margin; or that there is nothing to lose, because the allowed loss is larger than the
    better system's lead over the best image made without the brain.
    """
    return {claim.statement: _verdict(claim, tested.sel(claim=claim.statement)) for claim in CLAIMS}


def _verdict(claim, test):
    """The verdict on one claim from its tests, over subjects."""
    if np.isnan(test.p).any():
        return "not decidable: not measured in every subject"
    finished = test.isel(subject=test.finished.values)
    if not finished.sizes["subject"]:
        return "not decidable: the networks were cut off before they had finished training"
    judged = finished.isel(subject=finished.has_room.values)
    if not judged.sizes["subject"]:
        largest = f"the largest possible difference is {finished.room.max():.3f}"
        return f"no headroom: {largest}; it must exceed the margin, {finished.margin.min():.3f}, and surely be above 0"
    judged = judged.isel(subject=~(judged.stake.values <= judged.margin.values))
    if not judged.sizes["subject"]:
        return "nothing to lose: the allowed loss is not surely smaller than the lead over the best image made without the brain"
    allowed_loss = judged.margin if claim.allowed else 0
    verdict = statistics.verdict(judged.low + allowed_loss, judged.high + allowed_loss, judged.p)
    if verdict != "does not hold" and claim.asked and (judged.high < judged.margin).all():
        verdict += f", but below the {claim.asked:g} % asked for"
    where = "" if len(judged.subject) == len(test.subject) else f" in {', '.join(judged.subject.values)} alone"
    return f"{verdict}{where}"


def as_table(tested, runs):
    """Format the claims, what the paper says, what was measured, and the verdicts (pandas.DataFrame of str).

    Verdicts from a simulated brain or small models end in "on the twin"; differences from shipped results name their run.
    """
    rows, twin = {}, any(run.zoo != "paper" or run.simulation is not None for run in runs)
    for claim, verdict in zip(CLAIMS, verdicts(tested).values(), strict=True):
        test = tested.sel(claim=claim.statement)
        against = [f"against {name}" if name else "" for name in test.against.values]
        cells = zip(*(test[name].values for name in ("mean", "low", "high", "source")), against, strict=True)
        texts = [
            "not measured" if np.isnan(mean) else " ".join(filter(None, (f"{mean:.4f} [{low:.4f}, {high:.4f}]", *notes)))
            for mean, low, high, *notes in cells
        ]
        gain = f"a gain of {claim.asked:g} %" if claim.asked else "a gain"
        rows[claim.statement] = {
            "the paper": f"section {claim.section}" if claim.section else "does not say it",
            "asks for": f"a loss of {claim.allowed:g} % at most" if claim.allowed else gain,
            "difference [95 %]": ", ".join(texts),
            "verdict": f"{verdict}, on the twin" if twin and not verdict.startswith("not decidable") else verdict,
        }
    return pd.DataFrame(rows).T.rename_axis("claim")
