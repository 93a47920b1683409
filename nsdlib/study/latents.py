"""Analyses of decoded VDVAE latents: training and comparison of decoders (notebook 03), and the number of layers (04)."""

import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from nsdlib.core import networks
from nsdlib.core.ridge import rescale
from nsdlib.core.scores.similarity import pixcorr, ssim
from nsdlib.study import ablation, statistics

MEASURES = {"PixCorr": pixcorr, "SSIM": ssim}
MARGIN = 0.01  # of either measure: fewer layers suffice if more layers gain less
PAIRS = (  # decoders to compare for the paper's question; see ablation.fit_systems
    ("gru", "ridge"),
    ("gru", ablation.PUBLISHED_RIDGE),
    ("ridge", ablation.PUBLISHED_RIDGE),
    (ablation.PUBLIC_GRU, "ridge"),
    (ablation.PUBLIC_GRU, "gru"),
    (ablation.ENSEMBLE, "ridge"),
    (ablation.ENSEMBLE, "gru"),
    ("roi_gru", "ridge"),
    ("roi_gru", ablation.ENSEMBLE),
)
# latents from which images are generated: predicted, true, mean of the training images
SYSTEMS = ("decoded", "oracle", "floor")


def training_table(ablation):
    """Tabulate how long each decoder of the artifact `ablation` was trained, and why training ended (pandas.DataFrame)."""
    rows = {}
    for name in ablation.decoder.values:
        results = ablation.sel(decoder=name)
        n_epochs = results.validation.notnull().sum("epoch").values
        rows[name] = {"seconds a fit": f"{results.seconds.mean().item():.1f}"}
        if n_epochs.any():
            epochs = zip(results.best_epoch.values, n_epochs, strict=True)
            rows[name]["best epoch"] = ", ".join(f"{best} of {last}" for best, last in epochs)
            rows[name]["ended"] = "by itself" if results.finished.all() else "cut off by max_epochs"
        elif results.penalty.notnull():
            rows[name]["penalty"] = f"{results.penalty.item():g}"
    return pd.DataFrame(rows).T.fillna("")


def learning(ablation):
    """Return the first seed's validation MSE for `plot_learning`: curves of the networks, levels of ridge and of the floor."""
    first = ablation.isel(seed=0).sel(split="validation", measure="mse")
    curves = {name: first.validation.sel(decoder=name).dropna("epoch").values for name in ablation.decoder.values}
    lines = {name: first.scores.sel(decoder=name).item() for name, curve in curves.items() if not len(curve)}
    lines["mean latent"] = first.floor_scores.item()
    return {name: curve for name, curve in curves.items() if len(curve)}, lines


def error_table(ablation):
    """Tabulate the errors of the decoders, means over images and seeds, and those of the floor (pandas.DataFrame)."""
    table = ablation.scores.mean("seed").to_series().unstack(["split", "measure"]).loc[ablation.decoder.values]
    table.loc["mean latent"] = ablation.floor_scores.mean("seed").to_series()
    return table


def error_differences(errors, pairs, **bootstrap):
    """Compare the `errors` (decoder, measure, test_image) of pairs of decoders with `statistics.differences`.

    Pairs with a decoder that `errors` lacks are left out. Negative differences mean that the first decoder is better.
    """
    values = errors.rename(measure="metric").assign_coords(metric=[name.upper() for name in errors.measure.values])
    pairs = statistics.present(pairs, values.decoder.values)
    return statistics.differences(values, pairs, along="decoder", **bootstrap)


def decoder_verdicts(ablation, pairs=PAIRS, **bootstrap):
    """Decide which decoder of each pair in the artifact `ablation` is better, if training of both has finished.

    A DataFrame of text by (pair, measure): the difference of the errors (mean over seeds, negative if the first is better) with
    its interval over test images; the difference for each seed; the verdict. A decoder is better if the interval excludes 0, the
    p value corrected for all rows is below 0.05, and all seeds agree.
    """
    rows, scores = {}, ablation.scores.sel(split="test")
    for (pair, measure), row in error_differences(ablation["errors"], pairs, **bootstrap).iterrows():
        first, second = pair.split(" - ")
        by_seed = scores.sel(decoder=first, measure=measure.lower()) - scores.sel(decoder=second, measure=measure.lower())
        is_significant = row.low * row.high > 0 and row["p corrected"] < 1 - statistics.LEVEL
        better = first if row["mean"] < 0 else second
        verdict = f"{better} is better" if is_significant else "cannot be told apart"
        if is_significant and not (np.sign(by_seed) == np.sign(row["mean"])).all():
            verdict = "seeds disagree"
        ended = ablation.finished.sel(decoder=[first, second]).all()
        rows[pair, measure] = {
            "difference [95 %]": f"{row['mean']:+.4f} [{row.low:+.4f}, {row.high:+.4f}]",
            "of each seed": ", ".join(f"{value:+.4f}" for value in by_seed.values),
            "verdict": verdict if ended else "none: cut off by max_epochs",
        }
    return pd.DataFrame(rows).T


def explained_by_layer(truth, predicted, mean, *, sizes) -> np.ndarray:
    """Compute the explained variance of each VDVAE layer's latents: (n_layers,) float64.

    `truth` and `predicted` are (n_images, n_latents), `mean` is the mean latent of the training images, and `sizes` the number of
    latents of each layer, in order. A ValueError is raised if the sizes do not add up to n_latents.
    """
    if sum(sizes) != truth.shape[1]:
        raise ValueError(f"the layers' sizes must add up to n_latents={truth.shape[1]}, got {sum(sizes)} in {len(sizes)} layers.")
    starts = np.cumsum([0, *sizes[:-1]])
    squared = (np.square(truth - estimate).mean(0, dtype=np.float64) for estimate in (predicted, mean))
    error, floor = (np.add.reduceat(errors, starts) for errors in squared)
    return 1 - error / floor


def regimes():
    """Load the explained variance of ridge, the GRU and their mean under the simulated conditions of `benchmarks/regimes.py`.

    A DataFrame with one row per fit: target, response, images, snr, seed, decoder, explained. The target is "latents", or "within
    backgrounds" for the linear response only. The decoder "background" sees only the background of each scene.
    """
    return pd.read_csv(Path(__file__).with_name("regimes.csv"))


def regime_gains(scores):
    """Compute the gain of one decoder over another in each simulated regime, from the rows of `regimes` with one target.

    Returns a Dataset: mean, low and high (difference, response, images, snr), the mean and range over seeds of the difference in
    explained variance.
    """
    explained = scores.set_index(["response", "images", "snr", "seed", "decoder"]).explained.to_xarray()
    ridge, gru, average = (explained.sel(decoder=name, drop=True) for name in ("ridge", "gru", "mean of both"))
    gains = {"gru minus ridge": gru - ridge, "mean of both minus the better one": average - np.maximum(gru, ridge)}
    gain = xr.concat(gains.values(), xr.Variable("difference", list(gains)))
    attributes = {"target": scores.target.unique().item(), "n_seeds": gain.sizes["seed"]}
    return xr.Dataset({"mean": gain.mean("seed"), "low": gain.min("seed"), "high": gain.max("seed")}, attrs=attributes)


@dataclass(frozen=True)
class LayerFit:
    """A decoder of the latents of the first n layers, with its errors, images and costs."""

    n_latents: int
    variance: float  # total variance of the training latents
    n_parameters: int
    seconds: float  # of fit and prediction
    megabytes: float  # size of the fitted decoder
    errors: dict  # "all its layers", "the first <smallest count>": (2, n_images), MSE of prediction and mean latent
    images: dict  # each of `SYSTEMS` to its rough images (n_images, size, size, 3) uint8


def fit_by_layers(model, X, targets, *, run, in_region, ids) -> dict:
    """Fit the run's decoder for each number of layers in `layer_counts`, and generate the test images from its predictions.

    `X` is (X_train, X_test), each (n_images, n_voxels), `targets` the artifact, and `in_region` (n_regions, n_voxels) bool.
    Returns a dict of number of layers to LayerFit.
    """
    options = {"seed": run.decoder_seeds[0], **ablation.options(run, in_region)}
    # a small warm-up fit keeps the loading of libraries out of the measured seconds
    networks.make(run.decoder, **options | {"max_epochs": 1}).fit(X[0], targets.latents_train[:, :16].values)
    n_first, draw, fits = model.n_latents(min(run.layer_counts)), {"seed": run.seed, "image_ids": ids}, {}
    for n_layers in run.layer_counts:
        n_latents = model.n_latents(n_layers)
        Y_train, Y_test = (targets[f"latents_{split}"][:, :n_latents].values for split in ("train", "test"))
        decoder = networks.make(run.decoder, **options)
        start = time.perf_counter()
        predicted = decoder.fit(X[0], Y_train).predict(X[1])
        seconds = time.perf_counter() - start
        mean = np.broadcast_to(decoder.targets.mean, Y_test.shape)
        squared = [np.square(latents - Y_test) for latents in (predicted, mean)]
        parts = {"all its layers": slice(None), f"the first {min(run.layer_counts)}": slice(n_first)}
        latents = dict(zip(SYSTEMS, (rescale(predicted, decoder, mode=run.renormalise), Y_test, mean), strict=True))
        fits[n_layers] = LayerFit(
            n_latents,
            float(np.square(decoder.targets.sd, dtype=np.float64).sum()),
            networks.count_parameters(run.decoder, X[0].shape[1], n_latents, options["groups"]),
            seconds,
            decoder.n_bytes / 1e6,
            {name: np.stack([e[:, part].mean(axis=1, dtype=np.float64) for e in squared]) for name, part in parts.items()},
            {system: model.decode(values, **draw) for system, values in latents.items()},
        )
    return fits


def explained(fits, **bootstrap):
    """Compute the explained variance of each fit, over all its layers and over those of the smallest count.

    A DataFrame by (number of layers, set of layers): mean, low, high, n; see `ablation.explained_variance`.
    """
    rows = {
        (n_layers, name): ablation.explained_variance(*errors, **bootstrap)
        for n_layers, fit in fits.items()
        for name, errors in fit.errors.items()
    }
    return pd.DataFrame(rows).T


def score_by_layers(fits, stimulus, *, ids):
    """Score the rough images of each fit with `MEASURES`: (n_layers, system, measure, test_image) float64."""
    values = [[[f(stimulus, fit.images[s]) for f in MEASURES.values()] for s in SYSTEMS] for fit in fits.values()]
    axes = {"n_layers": list(fits), "system": list(SYSTEMS), "measure": list(MEASURES), "test_image": ids}
    return xr.DataArray(np.array(values), coords=axes, name="score")


def layer_verdicts(score, **bootstrap):
    """Decide whether fewer layers do as well as the largest number, from `score_by_layers`.

    A DataFrame of text by (measure, number of layers): the gain of the largest number, from "decoded" and from "true" latents,
    each with its 95 % interval over test images, and the verdict. "no headroom": the gain from true latents lies below `MARGIN`,
    so no decoder could show a difference. "suffice": the decoded gain lies below it. "nothing to lose": it does, but the largest
    number itself does not beat the images of mean latents by `MARGIN`.
    """
    rows, (*fewer, largest) = {}, sorted(score.n_layers.values.tolist())
    score_largest = score.sel(n_layers=largest, drop=True)
    gains = score_largest - score.sel(n_layers=fewer)
    table = statistics.summary(gains, **bootstrap).to_dataframe()  # by (system, measure, n_layers)
    lead = statistics.summary(score_largest.sel(system="decoded") - score_largest.sel(system="floor"), **bootstrap).low
    for key in product(score.measure.values, fewer):
        decoded, oracle = (table.loc[(system, *key)] for system in ("decoded", "oracle"))
        verdict = "suffice" if decoded.high < MARGIN else "do not suffice" if decoded.low > MARGIN else "undecided"
        verdict = "nothing to lose" if verdict == "suffice" and lead.sel(measure=key[0]) < MARGIN else verdict
        texts = (f"{gain['mean']:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]" for gain in (decoded, oracle))
        rows[key] = dict(zip(("decoded", "true"), texts, strict=True))
        rows[key]["verdict"] = "no headroom" if oracle.high < MARGIN else verdict
    return pd.DataFrame(rows).T


def layer_dataset(score, explained_variance, fits):
    """Pack the artifact `latent_size`: scores, explained variance over all layers of each fit, and costs.

    `variance_share` (n_layers) is the variance of these layers' latents as a fraction of that of the largest number of layers.
    """
    dataset = xr.Dataset({"score": score})
    for name in ("n_latents", "seconds", "megabytes", "n_parameters"):
        dataset[name] = ("n_layers", [getattr(fit, name) for fit in fits.values()])
    variance = np.array([fit.variance for fit in fits.values()])
    dataset["variance_share"] = ("n_layers", variance / variance.max())
    all_layers = explained_variance.xs("all its layers", level=1)
    for bound in ("mean", "low", "high"):
        dataset[f"explained_{bound}"] = ("n_layers", all_layers.loc[list(fits), bound].to_numpy(dtype=np.float64))
    return dataset
