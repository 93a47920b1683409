"""Tests of the paper's claims, and of related ones, each as a difference that is positive where the claim is true.

The unit of a test is the image, within a subject; the verdict needs all subjects to agree, with p values corrected for the number
of tests. A claim that the results cannot decide gets no verdict but the reason. Where networks are compared that had not finished
training, the results of finished ones take their place that are shipped for that subject (`nsdlib.store.shipped`).
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import numpy as np

from nsdlib.params import usable_runs
from nsdlib.store.shipped import beside
from nsdlib.store.store import Store
from nsdlib.study import statistics

ARTIFACTS = ("scores", "noise", "ablation", "latent_size")


@dataclass(frozen=True)
class Claim:
    """A claim and its test."""

    statement: str  # the claim as a sentence
    section: str  # section and number in the paper; "" where the paper does not make the claim
    pair: Callable  # {artifact: Dataset} -> two (n_test,) arrays, the first above the second where true; None if not measured
    allowed: float = 0.0  # margin by which the first may lie below the second
    networks: tuple = ()  # that it compares; they must have finished training


def _compare(artifact, variable, along, first, second, **where):
    """Values of two entries of a dimension of an artifact (of "amplitude" by position), None where a run has not both."""

    def pair(artifacts):
        if artifact not in artifacts:
            return None
        values = artifacts[artifact][variable].sel(where)
        entries = [first, second] if along != "amplitude" else values.amplitude.values[[first, second]]
        if not set(entries) <= set(values[along].values):
            return None
        return tuple(values.sel({along: entry}).values for entry in entries)

    return pair


_errors = partial(_compare, "ablation", "errors", "decoder")  # the worse first
_layers = partial(_compare, "latent_size", "score", "n_layers", system="decoded")
_systems = partial(_compare, "scores", "value", "system")
_decoders = partial(_compare, "controls", "value", "system")
_noise = partial(_compare, "noise", "value", "amplitude", stage="refined")

CLAIMS = (
    Claim("refined images are more like the seen ones with the GRU than with ridge (SSIM)", "5: by about 2 %",
          _decoders("refined, gru", "refined, ridge", metric="ssim"), networks=("gru",)),
    Claim("refined images are closer in meaning to the seen ones with the GRU than with ridge (CLIP)", "5: by about 4 %",
          _decoders("refined, gru", "refined, ridge", metric="clip"), networks=("gru",)),
    Claim("the GRU's latents have a smaller MSE than ridge's", "4.2, Table 3: 0.0681 against 0.0690",
          _errors("ridge", "gru", measure="mse"), networks=("gru",)),
    Claim("ridge's latents have a smaller MAE than the GRU's", "4.2: no number",
          _errors("gru", "ridge", measure="mae"), networks=("gru",)),
    Claim("the GRU's latents have a smaller MSE than the CNN's", "4.1, Table 2: 0.0681 against 0.0683",
          _errors("cnn", "gru", measure="mse"), networks=("gru", "cnn")),
    Claim("the GRU's latents have a smaller MSE than the Transformer's", "4.1, Table 2: 0.0681 against 0.0685",
          _errors("transformer", "gru", measure="mse"), networks=("gru", "transformer")),
    Claim("15 layers do as well as 31 (SSIM of rough images, 0.01 allowed)", "5, Table 4: 0.370 against 0.374, refined",
          _layers(15, 31, measure="SSIM"), allowed=0.01),
    Claim("noise on the rough image costs structure (SSIM)", "4.3, Table 6: 0.361 to 0.140", _noise(0, -1, metric="ssim")),
    Claim("noise on the rough image does not cost meaning (CLIP, 0.02 allowed)", "4.3, Table 6: 0.914 to 0.939",
          _noise(-1, 0, metric="clip"), allowed=0.02),
    Claim("refining adds meaning (CLIP)", "4.4: no number", _systems("refined", "rough", metric="clip")),
    Claim("refining adds meaning (Inception)", "4.4: no number", _systems("refined", "rough", metric="inception")),
    Claim("refining gives up structure (PixCorr)", "", _systems("rough", "refined", metric="pixcorr")),
    Claim("the brain adds meaning (CLIP, against prior only)", "", _systems("refined", "prior only", metric="clip")),
    Claim("the brain adds structure (PixCorr, against prior only)", "", _systems("refined", "prior only", metric="pixcorr")),
    Claim("generation beats retrieval (CLIP, against the nearest training image)", "",
          _systems("refined", "nearest training image", metric="clip")),
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


def measure(stores, finished=None, *, n_bootstrap=2000, seed=0):
    """Test every claim in every subject.

    Parameters
    ----------
    stores : dict of str to Store
        Of each run, from `ready`; any object with `load(name)` for `ARTIFACTS`, and for "controls" where it `has` it.
    finished : dict of str to dict, optional
        Of runs, the stores of the same subject whose networks have finished, from `complete`.

    Returns
    -------
    xarray.Dataset
        mean, low, high, p (claim, subject): differences with their 95 % intervals over images, and p values corrected
        for all tests together (Holm); NaN where a run has not measured it. finished (claim, subject): whether the networks that
        are compared had finished training; source (claim, subject): name of the run in `finished` whose results were taken, or
        nothing. The coordinate claim holds the statements.
    """
    import xarray as xr

    names = ("mean", "low", "high", "p")
    table = np.full((len(names), len(CLAIMS), len(stores)), np.nan)
    sources, ended = np.full(table.shape[1:], "", dtype="U64"), np.zeros(table.shape[1:], dtype=bool)
    for j, (name, store) in enumerate(stores.items()):
        with ExitStack() as files:
            others = {label: _loaded(other, files) for label, other in (finished or {}).get(name, {}).items()}
            candidates = {"": _loaded(store, files)} | others
            for i, claim in enumerate(CLAIMS):
                sources[i, j], ended[i, j] = _source(claim, candidates)
                if (pair := claim.pair(candidates[sources[i, j]])) is not None:
                    test = statistics.paired_difference(
                        *pair, allowed=claim.allowed, n_bootstrap=n_bootstrap, seed=seed
                    )
                    table[:, i, j] = [test[name] for name in names]
    p_values, measured = table[-1], np.isfinite(table[-1])
    p_values[measured] = statistics.holm(p_values[measured])
    arrays = dict(zip(names, table, strict=True)) | {"source": sources, "finished": ended}
    arrays = {name: (("claim", "subject"), values) for name, values in arrays.items()}
    return xr.Dataset(arrays, coords={"claim": [claim.statement for claim in CLAIMS], "subject": list(stores)})


def _loaded(store, files):
    """The artifacts of a store that claims are tested with, those that it has; `files` closes them."""
    return {name: files.enter_context(store.load(name)) for name in (*ARTIFACTS, "controls") if store.has(name)}


def _source(claim, candidates):
    """Where a claim is tested, and whether its networks have finished there: the first such place, or the run itself."""
    for label, artifacts in candidates.items():
        ended = artifacts["ablation"].finished.all("seed") if "ablation" in artifacts else None
        fit = ended is not None and set(claim.networks) <= set(ended.decoder.values[ended.values])
        if not claim.networks or (fit and claim.pair(artifacts) is not None):
            return label, True
    return "", False


def verdicts(tested):
    """Return the verdict on each claim that `measure` tested: statement to `statistics.verdict`, or why there is none."""

    def verdict(claim):
        test = tested.sel(claim=claim.statement)
        if np.isnan(test.p).any():
            return "not decidable: not measured in every subject"
        judged = test.isel(subject=test.finished.values)
        if not judged.sizes["subject"]:
            return "not decidable: the networks were cut off before they had finished training"
        text = statistics.verdict(judged["mean"].values + claim.allowed, judged.p.values)
        alone = "" if len(judged.subject) == len(test.subject) else f" in {', '.join(judged.subject.values)} alone"
        return f"{text}{alone}"

    return {claim.statement: verdict(claim) for claim in CLAIMS}


def as_table(tested, runs):
    """Format the claims, their place in the paper, the measured differences and the verdicts (pandas.DataFrame of str).

    Verdicts from a simulated brain or from small models carry the addition "on the twin", differences the name of the run with
    finished networks that they are from.
    """
    import pandas as pd

    rows, twin = {}, any(run.zoo != "paper" or run.simulation is not None for run in runs)
    for claim, verdict in zip(CLAIMS, verdicts(tested).values(), strict=True):
        test = tested.sel(claim=claim.statement)
        cells = zip(*(test[name].values for name in ("mean", "low", "high", "source")), strict=True)
        texts = ["not measured" if np.isnan(m) else f"{m:.4f} [{a:.4f}, {b:.4f}] {of}".strip() for m, a, b, of in cells]
        rows[claim.statement] = {
            "the paper": f"section {claim.section}" if claim.section else "does not say it",
            "difference [95 %]": ", ".join(texts),
            "verdict": f"{verdict}, on the twin" if twin and not verdict.startswith("not decidable") else verdict,
        }
    return pd.DataFrame(rows).T.rename_axis("claim")
