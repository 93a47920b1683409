"""Tests of the paper's claims, and of related ones, each as a difference that is positive where the claim is true.

The unit of a test is the image, within a subject; the verdict needs all subjects to agree, with p values corrected for the number
of tests. A claim that the results cannot decide gets no verdict but the reason.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import numpy as np

from nsdlib.params import usable_runs
from nsdlib.store.store import Store
from nsdlib.study import statistics

ARTIFACTS = ("scores", "noise", "ablation", "latent_size")
TRAINED = 200  # epochs of the published recipe; a smaller limit may stop networks before they converge


@dataclass(frozen=True)
class Claim:
    """A claim and its test."""

    statement: str  # the claim as a sentence
    section: str  # section and number in the paper; "" where the paper does not make the claim
    pair: Callable  # {artifact: Dataset} -> two (n_test,) arrays, the first above the second where true; None if not measured
    allowed: float = 0.0  # margin by which the first may lie below the second
    of_networks: bool = False  # whether trained networks are compared


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
          _decoders("refined, gru", "refined, ridge", metric="ssim"), of_networks=True),
    Claim("refined images are closer in meaning to the seen ones with the GRU than with ridge (CLIP)", "5: by about 4 %",
          _decoders("refined, gru", "refined, ridge", metric="clip"), of_networks=True),
    Claim("the GRU's latents have a smaller MSE than ridge's", "4.2, Table 3: 0.0681 against 0.0690",
          _errors("ridge", "gru", measure="mse"), of_networks=True),
    Claim("ridge's latents have a smaller MAE than the GRU's", "4.2: no number",
          _errors("gru", "ridge", measure="mae"), of_networks=True),
    Claim("the GRU's latents have a smaller MSE than the CNN's", "4.1, Table 2: 0.0681 against 0.0683",
          _errors("cnn", "gru", measure="mse"), of_networks=True),
    Claim("the GRU's latents have a smaller MSE than the Transformer's", "4.1, Table 2: 0.0681 against 0.0685",
          _errors("transformer", "gru", measure="mse"), of_networks=True),
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


def measure(stores, *, n_bootstrap=2000, seed=0):
    """Test every claim in every subject.

    Parameters
    ----------
    stores : dict of str to Store
        Of each run, from `ready`; any object with `load(name)` for `ARTIFACTS`, and for "controls" where it `has` it.

    Returns
    -------
    xarray.Dataset
        mean, low, high, p (claim, subject): differences with their 95 % intervals over images, and p values corrected
        for all tests together (Holm); NaN where a run has not measured it. The coordinate claim holds the statements.
    """
    import xarray as xr

    names = ("mean", "low", "high", "p")
    table = np.full((len(names), len(CLAIMS), len(stores)), np.nan)
    for j, store in enumerate(stores.values()):
        with ExitStack() as files:
            names_made = [name for name in (*ARTIFACTS, "controls") if name in ARTIFACTS or store.has(name)]
            artifacts = {name: files.enter_context(store.load(name)) for name in names_made}
            for i, claim in enumerate(CLAIMS):
                if (pair := claim.pair(artifacts)) is not None:
                    test = statistics.paired_difference(
                        *pair, allowed=claim.allowed, n_bootstrap=n_bootstrap, seed=seed
                    )
                    table[:, i, j] = [test[name] for name in names]
    p_values, measured = table[-1], np.isfinite(table[-1])
    p_values[measured] = statistics.holm(p_values[measured])
    arrays = {name: (("claim", "subject"), values) for name, values in zip(names, table, strict=True)}
    return xr.Dataset(arrays, coords={"claim": [claim.statement for claim in CLAIMS], "subject": list(stores)})


def verdicts(tested, runs):
    """Return the verdict on each claim that `measure` tested: statement to `statistics.verdict`, or why there is none."""
    epochs = min(run.max_epochs for run in runs)

    def verdict(claim):
        test = tested.sel(claim=claim.statement)
        if np.isnan(test.p).any():
            return "not decidable: not measured in every subject"
        if claim.of_networks and epochs < TRAINED:
            return f"not decidable: the networks were stopped after {epochs} epochs"
        return statistics.verdict(test["mean"].values + claim.allowed, test.p.values)

    return {claim.statement: verdict(claim) for claim in CLAIMS}


def as_table(tested, runs):
    """Format the claims, their place in the paper, the measured differences and the verdicts (pandas.DataFrame of str).

    Verdicts from a simulated brain or from small models carry the addition "on the twin".
    """
    import pandas as pd

    rows, twin = {}, any(run.zoo != "paper" or run.simulation is not None for run in runs)
    for claim, verdict in zip(CLAIMS, verdicts(tested, runs).values(), strict=True):
        test = tested.sel(claim=claim.statement)
        cells = zip(*(test[name].values for name in ("mean", "low", "high")), strict=True)
        text = ", ".join("not measured" if np.isnan(m) else f"{m:.4f} [{a:.4f}, {b:.4f}]" for m, a, b in cells)
        rows[claim.statement] = {
            "the paper": f"section {claim.section}" if claim.section else "does not say it",
            "difference [95 %]": text,
            "verdict": f"{verdict}, on the twin" if twin and not verdict.startswith("not decidable") else verdict,
        }
    return pd.DataFrame(rows).T.rename_axis("claim")
