"""Decoded VDVAE latents: training and differences of the decoders (notebook 03), and what each number of layers gives (04)."""

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
MARGIN = 0.01  # of either: fewer layers do as well where more gain less
PAIRS = (  # of decoders whose errors answer the paper's question; ablation.fit_systems says what they are
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
# latents that images are drawn from: predicted, true, the training images' mean
SYSTEMS = ("decoded", "oracle", "floor")


def training_table(ablation):
    """Tabulate how long each decoder of an artifact `ablation` trained, and what ended it (pandas.DataFrame)."""
    rows = {}
    for name in ablation.decoder.values:
        one = ablation.sel(decoder=name)
        n_epochs = one.validation.notnull().sum("epoch").values
        rows[name] = {"seconds a fit": f"{one.seconds.mean().item():.1f}"}
        if n_epochs.any():
            epochs = zip(one.best_epoch.values, n_epochs, strict=True)
            rows[name]["best epoch"] = ", ".join(f"{best} of {last}" for best, last in epochs)
            rows[name]["ended"] = "by itself" if one.finished.all() else "cut off by max_epochs"
        elif one.penalty.notnull():
            rows[name]["penalty"] = f"{one.penalty.item():g}"
    return pd.DataFrame(rows).T.fillna("")


def learning(ablation):
    """Return the first seed's validation MSE, for `plot_learning`: of networks after each epoch, of ridge and of the floor."""
    first = ablation.isel(seed=0)
    curves = {name: first.validation.sel(decoder=name).dropna("epoch").values for name in ablation.decoder.values}
    lines = {
        name: first.scores.sel(decoder=name, split="validation", measure="mse").item() for name in curves if not len(curves[name])
    }
    lines["mean latent"] = first.floor_scores.sel(split="validation", measure="mse").item()
    return {name: curve for name, curve in curves.items() if len(curve)}, lines


def error_table(ablation):
    """Tabulate errors by decoder, means over images and seeds, with those of the floor (pandas.DataFrame)."""
    table = ablation.scores.mean("seed").to_series().unstack(["split", "measure"]).loc[ablation.decoder.values]
    table.loc["mean latent"] = ablation.floor_scores.mean("seed").to_series()
    return table


def error_differences(errors, pairs, **bootstrap):
    """Compare the `errors` (decoder, measure, test_image) of pairs of decoders, by `statistics.differences`.

    Pairs of which the errors lack one are left out. Negative is better for the first.
    """
    values = errors.rename(measure="metric").assign_coords(metric=[name.upper() for name in errors.measure.values])
    pairs = statistics.present(pairs, values.decoder.values)
    return statistics.differences(values, pairs, along="decoder", **bootstrap)


def answers(ablation, pairs=PAIRS, **bootstrap):
    """Say for pairs of decoders of an artifact `ablation` which one is better, where the training of both has ended by itself.

    A DataFrame of text by (pair, measure): the difference of the errors, the mean over seeds, with its interval over test images
    (negative is better for the first); the difference of each seed; the verdict. A decoder is better where the interval does not
    hold 0, the p value, corrected for all rows, is below 0.05, and all seeds agree.
    """
    rows, tested = {}, ablation.scores.sel(split="test")
    for (pair, measure), row in error_differences(ablation["errors"], pairs, **bootstrap).iterrows():
        first, second = pair.split(" - ")
        by_seed = tested.sel(decoder=first, measure=measure.lower()) - tested.sel(decoder=second, measure=measure.lower())
        sure = row.low * row.high > 0 and row["p corrected"] < 1 - statistics.LEVEL
        better = first if row["mean"] < 0 else second
        verdict = f"{better} is better" if sure else "cannot be told apart"
        if sure and not (np.sign(by_seed) == np.sign(row["mean"])).all():
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

    `truth` and `predicted` are (n_images, n_latents), `mean` the mean latent of the training images, and `sizes` the number
    of latents of each layer, in order: they add up to n_latents, or a ValueError says so.
    """
    if sum(sizes) != truth.shape[1]:
        raise ValueError(f"the layers' sizes must add up to n_latents={truth.shape[1]}, got {sum(sizes)} in {len(sizes)}")
    starts = np.cumsum([0, *sizes[:-1]])
    error, floor = (np.add.reduceat(np.square(truth - other).mean(0, dtype=np.float64), starts) for other in (predicted, mean))
    return 1 - error / floor


def regimes():
    """Load the explained variance of ridge, the GRU and their mean under the simulated conditions of `benchmarks/regimes.py`.

    A DataFrame, a row a fit: target, response, images, snr, seed, decoder, explained. Targets are "latents", and for the linear
    response the same "within backgrounds". The input of the decoder "background" is each scene's background alone.
    """
    return pd.read_csv(Path(__file__).with_name("regimes.csv"))


def regime_gains(scores):
    """Compute by how much one decoder beats another in each simulated regime, from the rows of `regimes` with one target.

    Returns a Dataset: mean, low, high (difference, response, images, snr) of differences in explained variance, mean and range
    over seeds.
    """
    axes = ["response", "images", "snr", "seed", "decoder"]
    explained = scores.set_index(axes).explained.to_xarray()
    ridge, gru, both = (explained.sel(decoder=name, drop=True) for name in ("ridge", "gru", "mean of both"))
    gains = {"gru minus ridge": gru - ridge, "mean of both minus the better one": both - np.maximum(gru, ridge)}
    gain = xr.concat(gains.values(), xr.Variable("difference", list(gains)))
    attributes = {"target": scores.target.unique().item(), "n_seeds": gain.sizes["seed"]}
    return xr.Dataset({"mean": gain.mean("seed"), "low": gain.min("seed"), "high": gain.max("seed")}, attrs=attributes)


@dataclass(frozen=True)
class LayerFit:
    """A decoder of the latents of the first so many layers."""

    n_latents: int
    variance: float  # of the training images' latents, summed over latents
    n_parameters: int
    seconds: float  # of fit and prediction
    megabytes: float  # what the fitted decoder holds to predict
    errors: dict  # "all its layers" and those of the smallest count to (2, n_images): of the prediction, and of the mean latent
    images: dict  # each of `SYSTEMS` to (n_images, size, size, 3) uint8, the rough images drawn from it


def fit_by_layers(model, X, targets, *, run, in_region, ids) -> dict:
    """Fit the run's decoder to each number of layers in its `layer_counts`, and draw the test images from its predictions.

    `X` is (X_train, X_test), each (n_images, n_voxels), `targets` the artifact, `in_region` (n_regions, n_voxels) bool.
    Returns a LayerFit by number of layers.
    """
    options = {"seed": run.decoder_seeds[0], **ablation.options(run, in_region)}
    # a small fit, whose result is thrown away, keeps the loading of libraries out of the seconds
    warm_up = networks.make(run.decoder, **options | {"max_epochs": 1})
    warm_up.fit(X[0], targets.latents_train[:, :16].values)
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

    Indexed by (number of layers, which layers): mean, low, high, n (pandas.DataFrame); see `ablation.explained_variance`.
    """
    rows = {
        (n_layers, name): ablation.explained_variance(*errors, **bootstrap)
        for n_layers, fit in fits.items()
        for name, errors in fit.errors.items()
    }
    return pd.DataFrame(rows).T


def score_by_layers(fits, stimulus, *, ids):
    """Score the rough images of each fit: (n_layers, system, measure, test_image) float64, `MEASURES` of images of `SYSTEMS`."""
    values = [[[f(stimulus, fit.images[s]) for f in MEASURES.values()] for s in SYSTEMS] for fit in fits.values()]
    axes = {"n_layers": list(fits), "system": list(SYSTEMS), "measure": list(MEASURES), "test_image": ids}
    return xr.DataArray(np.array(values), coords=axes, name="score")


def what_suffices(score, **bootstrap):
    """Say whether fewer layers do as well as the largest number, where more could do better, from `score_by_layers`.

    A DataFrame of text by (measure, number of layers): what the largest number gains, "decoded" and from the true latents
    ("true"), with 95 % intervals over test images, and the verdict. Where the true latents gain less than `MARGIN` there is no
    headroom: no decoder could have shown a difference. Otherwise fewer layers suffice where what is gained lies below it, and
    what the largest number has above the images of mean latents lies above it: else there was nothing to lose.
    """
    rows, (*fewer, most) = {}, sorted(score.n_layers.values.tolist())
    of_most = score.sel(n_layers=most, drop=True)
    table = statistics.summary(of_most - score.sel(n_layers=fewer), **bootstrap).to_dataframe()  # by (system, measure, n_layers)
    stake = statistics.summary(of_most.sel(system="decoded") - of_most.sel(system="floor"), **bootstrap).low
    for key in product(score.measure.values, fewer):
        decoded, oracle = (table.loc[(system, *key)] for system in ("decoded", "oracle"))
        told = "suffice" if decoded.high < MARGIN else "do not suffice" if decoded.low > MARGIN else "undecided"
        told = "nothing to lose" if told == "suffice" and stake.sel(measure=key[0]) < MARGIN else told
        texts = (f"{gain['mean']:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]" for gain in (decoded, oracle))
        rows[key] = dict(zip(("decoded", "true"), texts, strict=True))
        rows[key]["verdict"] = "no headroom" if oracle.high < MARGIN else told
    return pd.DataFrame(rows).T


def layer_dataset(score, explained_variance, fits):
    """Pack the artifact `latent_size`: scores, explained variance of all layers of each fit, what each costs.

    `variance_share` (n_layers) is the share of the latents' variance that these layers hold of the most layers' variance.
    """
    dataset = xr.Dataset({"score": score})
    for name in ("n_latents", "seconds", "megabytes", "n_parameters"):
        dataset[name] = ("n_layers", [getattr(fit, name) for fit in fits.values()])
    variance = np.array([fit.variance for fit in fits.values()])
    dataset["variance_share"] = ("n_layers", variance / variance.max())
    of_all = explained_variance.xs("all its layers", level=1)
    for bound in ("mean", "low", "high"):
        dataset[f"explained_{bound}"] = ("n_layers", of_all.loc[list(fits), bound].to_numpy(dtype=np.float64))
    return dataset
