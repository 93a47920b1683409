"""Decoders side by side: every kind fitted to the same images, judged on images that it was not fitted to.

The validation images are the tenth of the training images that a network's first fit leaves out (`training.split`); they say when
to stop, so their error is a little too kind. A ridge is fitted without them once more, its penalty chosen without them too, to be
asked about the same images. The test images have no say in any fit.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nsdlib.core import device, networks, training
from nsdlib.core.ridge import Moments, Ridge, region_kernels
from nsdlib.core.similarity import two_way
from nsdlib.store import zoo
from nsdlib.study import statistics

MEASURES = ("mse", "mae")


@dataclass(frozen=True)
class Fitted:
    """A decoder and what it predicted for its validation images.

    Attributes
    ----------
    decoder : as `decoders.make` gives it, fitted to all training images.
    rows : (n_validation,) int, the validation images among the training images.
    validation : (n_validation, n_latents) float32, predicted without having been fitted to these images.
    seconds : float, what the fit of `decoder` took.
    """

    decoder: object
    rows: np.ndarray
    validation: np.ndarray
    seconds: float


def options(run, in_region=None) -> dict:
    """The settings of a run that decoders take; `in_region` (n_regions, n_voxels) bool gives `roi_gru` its steps."""
    return {
        "groups": None if in_region is None else networks.region_groups(in_region),
        "augment": run.augment,
        "max_epochs": run.max_epochs,
        "batch_size": run.batch_size,
        "alphas": zoo.alphas(run, "latents"),
        "device": device.pick(run.device),
    }


def fit_seeds(name, train, *, seeds, fit=networks.fit, **settings) -> list[Fitted]:
    """Fit one kind of decoder once a seed; a ridge, which has nothing random, only once.

    Parameters
    ----------
    name : str
        One of `decoders.DECODERS`.
    train : (X, Y)
        Patterns (n_images, n_voxels) and latents (n_images, n_latents) of the training images.
    seeds : sequence of int
        Each fixes a network's weights, and which images are for validation.
    fit : callable
        How a network is fitted: `decoders.fit`, or what `Store.memoise` makes of it.
    **settings
        See `options`.

    Returns
    -------
    list of Fitted
        One a seed.

    Raises
    ------
    ValueError
        For an unknown decoder, and for patterns and latents that do not belong together.
    """
    decoder = networks.make(name, **settings)  # refuses unknown names
    if name == "ridge":
        return _fit_ridge(decoder, train, seeds)
    settings = {key: value for key, value in settings.items() if key != "alphas"}
    fitted = (fit(name, *train, seed=seed, **settings) for seed in seeds)
    return [Fitted(one, one.rows_validation, one.predicted_validation, one.seconds) for one in fitted]


def _fit_ridge(decoder, train, seeds):
    """The ridge, and for each seed's validation images another one; they have no say in its penalty either."""
    start = time.perf_counter()
    decoder.fit(*train)
    seconds = time.perf_counter() - start
    fits = []
    for seed in seeds:
        rows_fit, rows = training.split(len(train[0]), seed=seed)
        without = Ridge(decoder.alphas, device=decoder.device).fit(*(part[rows_fit] for part in train))
        fits.append(Fitted(decoder, rows, without.predict(train[0][rows]), seconds))
    return fits


def image_errors(truth, predicted) -> np.ndarray:
    """Mean squared and mean absolute error of each image: two (n_images, n_latents) arrays -> (2, n_images) float64.

    Raises
    ------
    ValueError
        When the two differ in shape.
    """
    if truth.shape != predicted.shape:
        raise ValueError(
            f"true and predicted latents must have one shape, (n_images, n_latents), got {truth.shape} and "
            f"{predicted.shape}; both must hold the same layers of the same images."
        )
    difference = predicted - truth
    return np.stack([np.mean(f(difference), axis=1, dtype=np.float64) for f in (np.square, np.abs)])


def compare(fits, train, test):
    """Errors of all decoders on validation and test images, and those of the floor.

    Parameters
    ----------
    fits : dict of str to list of Fitted
        Decoder to its fits, one a seed; as many for each.
    train, test : (X, Y)
        Patterns and latents, as for the fits, and of the test images.

    Returns
    -------
    xarray.Dataset
        `scores` (decoder, seed, split, measure), means over images; `errors` (decoder, measure, test_image), means over
        seeds; `floor_scores` and `floor_errors` the same of the mean latent of the training images, whatever the pattern.
    """
    import xarray as xr

    scores, errors = [], []
    for by_seed in fits.values():
        tested = _test_errors(by_seed, *test)
        validated = [image_errors(train[1][one.rows], one.validation) for one in by_seed]
        scores.append([[v.mean(1), t.mean(1)] for v, t in zip(validated, tested, strict=True)])
        errors.append(np.mean(tested, axis=0))
    tested, validated = _floor_errors(next(iter(fits.values())), train[1], test[1])
    arrays = {
        "scores": (("decoder", "seed", "split", "measure"), np.array(scores)),
        "errors": (("decoder", "measure", "test_image"), np.array(errors)),
        "floor_scores": (("seed", "split", "measure"), np.array([[v.mean(1), tested.mean(1)] for v in validated])),
        "floor_errors": (("measure", "test_image"), tested),
    }
    axes = {"decoder": list(fits), "split": ["validation", "test"], "measure": list(MEASURES)}
    return xr.Dataset(arrays, coords=axes)


def _test_errors(by_seed, X, Y):
    """Errors of each test image for each seed; decoders that are the same one predict once."""
    found = {}
    for one in by_seed:
        if id(one.decoder) not in found:
            found[id(one.decoder)] = image_errors(Y, one.decoder.predict(X))
    return [found[id(one.decoder)] for one in by_seed]


def _floor_errors(by_seed, Y_train, Y_test):
    """Errors of the mean latent: of the test images, and of each seed's validation images."""
    mean = Moments.of(Y_train).mean
    parts = [Y_test, *(Y_train[one.rows] for one in by_seed)]
    tested, *validated = [image_errors(part, np.broadcast_to(mean, part.shape)) for part in parts]
    return tested, validated


def explained_variance(errors, floor, *, n_bootstrap=2000, seed=0) -> dict:
    """Share of the floor's squared error that is gone, and its bootstrap interval over images.

    Parameters
    ----------
    errors, floor : (n_images,) arrays
        Mean squared errors of each image: of a decoder, and of the mean latent.

    Returns
    -------
    dict
        mean, low, high, n. 1 is perfect, 0 no better than the mean latent.
    """
    both = np.stack([errors, floor])
    means = statistics.bootstrap_means(both, n_bootstrap=n_bootstrap, seed=seed)  # (n_bootstrap, 2)
    low, high = np.quantile(1 - means[:, 0] / means[:, 1], [0.025, 0.975])
    return {"mean": float(1 - both[0].mean() / both[1].mean()), "low": low, "high": high, "n": len(errors)}


def explained_by_layer(truth, predicted, mean, *, sizes) -> np.ndarray:
    """Explained variance of each VDVAE layer's latents.

    Parameters
    ----------
    truth, predicted : (n_images, n_latents) arrays
    mean : (n_latents,) array
        Mean latent of the training images, the floor.
    sizes : sequence of int
        Latents of each layer, in their order; their sum is n_latents.

    Returns
    -------
    (n_layers,) float64

    Raises
    ------
    ValueError
        When the sizes do not add up.
    """
    if sum(sizes) != truth.shape[1]:
        raise ValueError(
            f"the layers' sizes must add up to n_latents={truth.shape[1]}, got {sum(sizes)} in {len(sizes)}"
        )
    starts = np.cumsum([0, *sizes[:-1]])
    left = np.add.reduceat(np.square(truth - predicted).mean(0, dtype=np.float64), starts)
    return 1 - left / np.add.reduceat(np.square(truth - mean).mean(0, dtype=np.float64), starts)


def regimes():
    """Explained variance of ridge, the GRU and their mean under simulated conditions, as `benchmarks/regimes.py` found it.

    Returns
    -------
    pandas.DataFrame
        One row a fit: target, response, images, snr, seed, decoder, explained. Targets are "latents", and for the linear
        response the same "within backgrounds". The decoder "background" is told each scene's background, and nothing else.
    """
    import pandas as pd

    return pd.read_csv(Path(__file__).with_name("regimes.csv"))


def by_region(X, in_region, targets, *, alphas, device="cpu"):
    """What each region tells a ridge by itself, and what is left without it.

    Parameters
    ----------
    X : (X_train, X_test)
        Patterns (n_images, n_voxels).
    in_region : (n_regions, n_voxels) bool
        Regions may overlap.
    targets : dict of str to (Y_train, Y_test)
        (n_images, n_targets), such as latents and embeddings.
    alphas : sequence of float
        Penalties; each fit takes the one with the smallest leave-one-out error on training images. Give several: regions differ
        in size, and a penalty published for all voxels (`ridge.penalties`) is not meant for a few of them.
    device : torch.device or str

    Returns
    -------
    xarray.DataArray
        (target, used, region, test_image): two-way identification of each test image among the others, by predictions and
        truth minus the training mean; chance is 0.5. `used` is "alone" or "without". The last region is all voxels; without
        them nothing is left, and 0.5 stands there. Kernels of all voxels and of one region are held at a time.
    """
    import xarray as xr

    scores, every = np.full((len(targets), 2, len(in_region) + 1, len(X[1])), 0.5), region_kernels(*X)
    scores[:, 0, -1] = _identified(every, targets, alphas, device)
    for region, voxels in enumerate(in_region):
        some = region_kernels(*X, voxels)
        scores[:, 0, region] = _identified(some, targets, alphas, device)
        for both, one in zip(every, some, strict=True):
            np.subtract(both, one, out=one)  # now of all voxels but the region's
        scores[:, 1, region] = _identified(some, targets, alphas, device)
    axes = ("target", "used", "region", "test_image")
    return xr.DataArray(scores, dims=axes, coords={"target": list(targets), "used": ["alone", "without"]})


def _identified(kernels, targets, alphas, device):
    """Two-way identification of the test images by each target from one pair of kernels: (n_targets, n_test)."""
    scores = []
    for Y_train, Y_test in targets.values():
        mean = Moments.of(Y_train).mean
        predicted = Ridge(alphas, device=device).fit_kernel(kernels[0], Y_train).predict_kernel(kernels[1])
        scores.append(two_way(Y_test - mean, predicted - mean))
    return scores
