"""The paper's claims, and others that matter, each as a difference that is above zero where the claim is true.

A claim is tested image by image within a subject; the verdict needs all subjects to agree, with p values that are corrected for
the number of tests. What a run cannot tell is said to be so, and not guessed.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from nsdlib.params import load_run
from nsdlib.store.store import Store
from nsdlib.study import stats

ARTIFACTS = ("scores", "noise", "ablation", "latent_size")
TRAINED = 200  # epochs that networks may take in the published recipe; with fewer they may not have finished learning


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes
    ----------
    words : str
    section : str
        Where the paper says it, with the number that it gives; "" where it does not say it.
    pair : callable
        {artifact: Dataset} -> two (n_test,) arrays, the first above the second where the claim is true; None where the run
        has not measured it.
    allowed : float
        How far the first may lie below the second and still count as no worse.
    of_networks : bool
        Whether it compares trained networks.
    """

    words: str
    section: str
    pair: Callable
    allowed: float = 0.0
    of_networks: bool = False


def _systems(better, worse, metric, *, artifact="scores"):
    """Scores of two systems of notebook 05, or of 09 (`controls`, which a run need not have made)."""

    def pair(found):
        if artifact not in found:
            return None
        values = found[artifact].value.sel(metric=metric)
        return values.sel(system=better).values, values.sel(system=worse).values

    return pair


def _noise(first, second, metric):
    """Scores of refined images at two amplitudes of notebook 06, by position."""

    def pair(found):
        values = found["noise"].value.sel(stage="refined", metric=metric)
        return values.isel(amplitude=first).values, values.isel(amplitude=second).values

    return pair


def _errors(other, measure):
    """Errors of another decoder's latents and of the GRU's (notebook 03)."""

    def pair(found):
        errors = found["ablation"].errors.sel(measure=measure)
        return errors.sel(decoder=other).values, errors.sel(decoder="gru").values

    return pair


def _layers(few, many, measure):
    """Scores of rough images from few and from many layers (notebook 04)."""

    def pair(found):
        score = found["latent_size"].score.sel(system="decoded", measure=measure)
        if not {few, many} <= set(score.n_layers.values):
            return None
        return score.sel(n_layers=few).values, score.sel(n_layers=many).values

    return pair


CLAIMS = (
    Claim("refined images are more like the seen ones with the GRU than with ridge (SSIM)", "5: by about 2 %",
          _systems("refined, gru", "refined, ridge", "ssim", artifact="controls"), of_networks=True),
    Claim("refined images are closer in meaning to the seen ones with the GRU than with ridge (CLIP)", "5: by about 4 %",
          _systems("refined, gru", "refined, ridge", "clip", artifact="controls"), of_networks=True),
    Claim("the GRU's latents have a smaller MSE than ridge's", "4.2, Table 3: 0.0681 against 0.0690",
          _errors("ridge", "mse"), of_networks=True),
    Claim("ridge's latents have a smaller MAE than the GRU's", "4.2: no number",
          lambda found: _errors("ridge", "mae")(found)[::-1], of_networks=True),
    Claim("the GRU's latents have a smaller MSE than the CNN's", "4.1, Table 2: 0.0681 against 0.0683",
          _errors("cnn", "mse"), of_networks=True),
    Claim("the GRU's latents have a smaller MSE than the Transformer's", "4.1, Table 2: 0.0681 against 0.0685",
          _errors("transformer", "mse"), of_networks=True),
    Claim("15 layers do as well as 31 (SSIM of rough images, 0.01 allowed)", "5, Table 4: 0.370 against 0.374, refined",
          _layers(15, 31, "SSIM"), allowed=0.01),
    Claim("noise on the rough image costs structure (SSIM)", "4.3, Table 6: 0.361 to 0.140", _noise(0, -1, "ssim")),
    Claim("noise on the rough image does not cost meaning (CLIP, 0.02 allowed)", "4.3, Table 6: 0.914 to 0.939",
          _noise(-1, 0, "clip"), allowed=0.02),
    Claim("refining adds meaning (CLIP)", "4.4: no number", _systems("refined", "rough", "clip")),
    Claim("refining adds meaning (Inception)", "4.4: no number", _systems("refined", "rough", "inception")),
    Claim("refining gives up structure (PixCorr)", "", _systems("rough", "refined", "pixcorr")),
    Claim("the brain adds meaning (CLIP, against prior only)", "", _systems("refined", "prior only", "clip")),
    Claim("the brain adds structure (PixCorr, against prior only)", "", _systems("refined", "prior only", "pixcorr")),
    Claim("generation beats retrieval (CLIP, against the nearest training image)", "",
          _systems("refined", "nearest training image", "clip")),
)  # fmt: skip


def ready(run):
    """The stores of those runs in a run's group that have made all of `ARTIFACTS`: dict of str to Store."""
    stores = {name: Store(run if name == run.name else load_run(name)) for name in run.group}
    return {name: store for name, store in stores.items() if all(store.has(one) for one in ARTIFACTS)}


def measure(stores, *, n_bootstrap=2000, seed=0):
    """Test every claim in every subject.

    Parameters
    ----------
    stores : dict of str to Store
        Of each run, from `ready`; anything that can `load(name)` for `ARTIFACTS`, and for "controls" where it `has` it.
    n_bootstrap, seed : int

    Returns
    -------
    xarray.Dataset
        mean, low, high, p (claim, subject): differences with their 95 % intervals over images, and p values corrected
        for all tests together (Holm); NaN where a run has not measured it. The coordinate claim has the claims' words.
    """
    import xarray as xr

    table = np.full((4, len(CLAIMS), len(stores)), np.nan)
    for j, store in enumerate(stores.values()):
        with ExitStack() as files:
            made = [name for name in (*ARTIFACTS, "controls") if name in ARTIFACTS or store.has(name)]
            found = {name: files.enter_context(store.load(name)) for name in made}
            for i, claim in enumerate(CLAIMS):
                if (pair := claim.pair(found)) is not None:
                    one = stats.paired_difference(*pair, allowed=claim.allowed, n_bootstrap=n_bootstrap, seed=seed)
                    table[:, i, j] = [one[name] for name in ("mean", "low", "high", "p")]
    tested = np.isfinite(table[3])
    table[3][tested] = stats.holm(table[3][tested])
    axes = {"claim": [claim.words for claim in CLAIMS], "subject": list(stores)}
    names = ("mean", "low", "high", "p")
    return xr.Dataset(
        {name: (("claim", "subject"), part) for name, part in zip(names, table, strict=True)}, coords=axes
    )


def verdicts(tested, runs):
    """What the tests say of each claim.

    Parameters
    ----------
    tested : xarray.Dataset
        From `measure`.
    runs : sequence of nsdlib.params.Run
        Those of its subjects.

    Returns
    -------
    dict of str to str
        A claim's words to its verdict: as `stats.verdict`, or why it cannot be judged.
    """
    epochs, said = min(run.max_epochs for run in runs), {}
    for claim in CLAIMS:
        one = tested.sel(claim=claim.words)
        if np.isnan(one.p).any():
            said[claim.words] = "cannot be judged: not measured in every subject"
        elif claim.of_networks and epochs < TRAINED:
            said[claim.words] = f"cannot be judged: the networks were stopped after {epochs} epochs"
        else:
            said[claim.words] = stats.verdict(one["mean"].values + claim.allowed, one.p.values)
    return said


def as_table(tested, runs):
    """Claims with the paper's words, what was measured and the verdict, for people (pandas.DataFrame).

    Where a brain was simulated or models are small, the verdicts say so: on the twin.
    """
    import pandas as pd

    rows, twin = {}, any(run.zoo != "paper" or run.simulation is not None for run in runs)
    for claim, said in zip(CLAIMS, verdicts(tested, runs).values(), strict=True):
        one = tested.sel(claim=claim.words)
        cells = zip(*(one[name].values for name in ("mean", "low", "high")), strict=True)
        text = ", ".join("not measured" if np.isnan(m) else f"{m:.4f} [{a:.4f}, {b:.4f}]" for m, a, b in cells)
        rows[claim.words] = {
            "the paper": f"section {claim.section}" if claim.section else "does not say it",
            "difference [95 %]": text,
            "verdict": f"{said}, on the twin" if twin and not said.startswith("cannot") else said,
        }
    return pd.DataFrame(rows).T.rename_axis("claim")
