"""Decoded VDVAE latents: training and differences of the decoders (notebook 03), and what each number of layers gives (04)."""

import time
from dataclasses import dataclass

import numpy as np

from nsdlib.core import networks
from nsdlib.core.ridge import rescale
from nsdlib.core.scores.similarity import pixcorr, ssim
from nsdlib.study import ablation, leaks, statistics

MEASURES = {"PixCorr": pixcorr, "SSIM": ssim}
# latents that images are drawn from: predicted, true, the training images' mean
SYSTEMS = ("decoded", "oracle", "floor")


def training_table(ablation):
    """Tabulate how long each decoder of an artifact `ablation` trained, and what ended it (pandas.DataFrame)."""
    import pandas as pd

    rows = {}
    for name in ablation.decoder.values:
        one = ablation.sel(decoder=name)
        n_epochs = one.validation.notnull().sum("epoch").values
        rows[name] = {"seconds a fit": f"{one.seconds.mean().item():.1f}"}
        if n_epochs.any():
            epochs = zip(one.best_epoch.values, n_epochs, strict=True)
            rows[name]["best epoch"] = ", ".join(f"{best} of {last}" for best, last in epochs)
            rows[name]["ended"] = "by itself" if one.finished.all() else "cut off by max_epochs"
        else:
            rows[name]["penalty"] = f"{one.penalty.item():g}"
    return pd.DataFrame(rows).T.fillna("")


def learning(ablation):
    """Return the first seed's validation MSE, for `plot_learning`: of networks after each epoch, of ridge and of the floor."""
    first = ablation.isel(seed=0)
    curves = {name: first.validation.sel(decoder=name).dropna("epoch").values for name in ablation.decoder.values}
    lines = {
        name: first.scores.sel(decoder=name, split="validation", measure="mse").item()
        for name in curves
        if not len(curves[name])
    }
    lines["mean latent"] = first.floor_scores.sel(split="validation", measure="mse").item()
    return {name: curve for name, curve in curves.items() if len(curve)}, lines


def error_table(ablation):
    """Tabulate errors by decoder, means over images and seeds, with those of the floor (pandas.DataFrame)."""
    table = ablation.scores.mean("seed").to_series().unstack(["split", "measure"]).loc[ablation.decoder.values]
    table.loc["mean latent"] = ablation.floor_scores.mean("seed").to_series()
    return table


def error_differences(errors, first, others, **bootstrap):
    """Compare one decoder's `errors` (decoder, measure, test_image) with those of others, by `statistics.differences`.

    Negative is better for the first.
    """
    values = errors.rename(measure="metric").assign_coords(metric=[name.upper() for name in errors.measure.values])
    return statistics.differences(values, [(first, other) for other in others], along="decoder", **bootstrap)


def lint_decoders(fits, X_test, Y_test, *, mode) -> dict:
    """Lint the first seed's decoder of every kind, its predictions rescaled as `mode` says: dict of leaks.Report."""
    return {name: leaks.lint_decoder(fit.decoder, X_test, Y_test, mode=mode) for name, (fit, *_) in fits.items()}


@dataclass(frozen=True)
class LayerFit:
    """A decoder of the latents of the first so many layers."""

    n_latents: int
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
            networks.count_parameters(run.decoder, X[0].shape[1], n_latents, options["groups"]),
            seconds,
            decoder.n_bytes / 1e6,
            {
                name: np.stack([e[:, part].mean(axis=1, dtype=np.float64) for e in squared])
                for name, part in parts.items()
            },
            {system: model.decode(values, **draw) for system, values in latents.items()},
        )
    return fits


def explained(fits, **bootstrap):
    """Compute the explained variance of each fit, over all its layers and over those of the smallest count.

    Indexed by (number of layers, which layers): mean, low, high, n (pandas.DataFrame); see `ablation.explained_variance`.
    """
    import pandas as pd

    rows = {
        (n_layers, name): ablation.explained_variance(*errors, **bootstrap)
        for n_layers, fit in fits.items()
        for name, errors in fit.errors.items()
    }
    return pd.DataFrame(rows).T


def score_by_layers(fits, stimulus, *, ids):
    """Score the rough images of each fit: (n_layers, system, measure, test_image) float64, `MEASURES` of images of `SYSTEMS`."""
    import xarray as xr

    values = [[[f(stimulus, fit.images[s]) for f in MEASURES.values()] for s in SYSTEMS] for fit in fits.values()]
    axes = {"n_layers": list(fits), "system": list(SYSTEMS), "measure": list(MEASURES), "test_image": ids}
    return xr.DataArray(np.array(values), coords=axes, name="score")


def gains_of_most(score, **bootstrap):
    """Compare the largest number of layers with each smaller one, as decoded, image by image.

    Takes what `score_by_layers` returns. Returns a DataFrame indexed by (measure, number of layers), ascending: mean, low,
    high, p, n of the differences; and for each measure the smallest number of layers whose score cannot be told from that of
    the largest, or is better.
    """
    import pandas as pd

    rows, sufficient, counts = {}, {}, sorted(score.n_layers.values.tolist())
    for measure in score.measure.values:
        decoded = score.sel(system="decoded", measure=measure)
        for n_layers in counts:
            pair = (decoded.sel(n_layers=k).values for k in (counts[-1], n_layers))
            rows[measure, n_layers] = gain = statistics.paired_difference(*pair, **bootstrap)
            if gain["low"] <= 0:
                sufficient.setdefault(measure, n_layers)
    return pd.DataFrame(rows).T, sufficient


def layer_dataset(score, explained_variance, fits):
    """Pack the artifact `latent_size`: scores, explained variance of all layers of each fit, and what each costs."""
    import xarray as xr

    dataset = xr.Dataset({"score": score})
    for name in ("n_latents", "seconds", "megabytes", "n_parameters"):
        dataset[name] = ("n_layers", [getattr(fit, name) for fit in fits.values()])
    of_all = explained_variance.xs("all its layers", level=1)
    for bound in ("mean", "low", "high"):
        dataset[f"explained_{bound}"] = ("n_layers", of_all.loc[list(fits), bound].to_numpy(dtype=np.float64))
    return dataset
