"""Comparison of decoders: all are fitted to the same training images and scored on held-out images.

The validation images are the tenth of the training images that the first fit of a network leaves out (`training.split`). They
determine when training stops, so their error is slightly optimistic. For comparison, a second ridge is fitted without them, and
its penalty is chosen without them. No fit uses the test images.

`train` and `test` are (X, Y): patterns (n_images, n_voxels) and latents (n_images, n_latents).
"""

import time
from dataclasses import dataclass

import numpy as np
import xarray as xr

from nsdlib.core import device, networks, training
from nsdlib.core.ridge import PUBLISHED_ALPHAS, Moments, Ridge, region_kernels
from nsdlib.core.scores.similarity import two_way
from nsdlib.store import zoo
from nsdlib.study import statistics

MEASURES = ("mse", "mae")
PUBLISHED_RIDGE, ENSEMBLE, PUBLIC_GRU = "ridge, 50,000", "ridge and gru", "gru, public code"  # beside the decoders


@dataclass(frozen=True)
class Fitted:
    """A fitted decoder and its predictions for the validation images."""

    decoder: object  # NeuralDecoder, Ridge or Ensemble, fitted to all training images
    rows: np.ndarray  # (n_validation,) int, rows of the training images that are used for validation
    validation: np.ndarray  # (n_validation, n_latents) float32, predictions of a fit without them
    seconds: float  # duration of the fit of `decoder`


@dataclass(frozen=True)
class Ensemble:
    """The mean of the predictions of several fitted decoders, itself a fitted decoder."""

    parts: tuple
    held_out: Moments  # of predictions for validation images

    @property
    def targets(self) -> Moments:
        """Moments of the training latents."""
        return self.parts[0].targets

    @property
    def finished(self) -> bool:
        """Whether the training of all parts finished before `max_epochs`."""
        return all(map(_finished, self.parts))

    def predict(self, X):
        """Predict the latents of X (n_images, n_voxels): (n_images, n_latents) float32."""
        return np.mean([part.predict(X) for part in self.parts], axis=0, dtype=np.float32)


def options(run, in_region=None) -> dict:
    """Return the decoder settings of a run; `in_region` (n_regions, n_voxels) bool defines the sequence steps of `roi_gru`."""
    return {
        "groups": None if in_region is None else networks.region_groups(in_region),
        "recipe": run.recipe,
        "max_epochs": run.max_epochs,
        "batch_size": run.batch_size,
        "alphas": zoo.alphas(run, "latents"),
        "device": device.pick_device(run.device),
    }


def fit_systems(run, train, *, in_region, fit=networks.fit) -> dict:
    """Fit every system with each seed of the run: dict of name to list of Fitted; arguments as in `options` and `fit_seeds`.

    The systems are the decoders, the mean of the predictions of ridge and GRU, ridge with the published penalty if the run uses
    another one, and the GRU trained by the recipe of the public code if the run has `rivals`.
    """
    settings = options(run, in_region)

    def fitted(name, **changed):
        return fit_seeds(name, train, seeds=run.decoder_seeds, fit=fit, **settings | changed)

    fits = {name: fitted(name) for name in networks.DECODERS}
    if settings["alphas"] != (published := (PUBLISHED_ALPHAS["paper"]["latents"],)):
        fits[PUBLISHED_RIDGE] = fitted("ridge", alphas=published)
    fits[ENSEMBLE] = []
    for ridge, gru in zip(fits["ridge"], fits["gru"], strict=True):  # of one seed: the same validation images
        validation = np.mean([ridge.validation, gru.validation], axis=0, dtype=np.float32)
        decoder = Ensemble((ridge.decoder, gru.decoder), Moments.of(validation))
        fits[ENSEMBLE].append(Fitted(decoder, ridge.rows, validation, ridge.seconds + gru.seconds))
    if run.rivals:
        fits[PUBLIC_GRU] = fitted("gru", recipe="public_code")
    return fits


def _finished(decoder):
    """Whether a decoder's training finished before `max_epochs`; always true for ridge."""
    return getattr(getattr(decoder, "history", decoder), "finished", True)


def fit_seeds(name, train, *, seeds, fit=networks.fit, **settings) -> list[Fitted]:
    """Fit one decoder with each seed; ridge is deterministic and is fitted once.

    `name` is one of `networks.DECODERS`; any other raises a ValueError. The seed sets a network's initial weights and draws the
    validation images. `fit` is `networks.fit` or its memoised form (`Store.memoise`), and `settings` are those of `options`.
    """
    decoder = networks.make(name, **settings)  # refuses unknown names
    if name == "ridge":
        return _fit_ridge(decoder, train, seeds)
    settings = {key: value for key, value in settings.items() if key != "alphas"}
    fits = (fit(name, *train, seed=seed, **settings) for seed in seeds)
    return [Fitted(net, net.rows_validation, net.predicted_validation, net.seconds) for net in fits]


def _fit_ridge(decoder, train, seeds):
    """Fit the ridge, and for each seed a second ridge whose weights and penalty ignore that seed's validation images."""
    start = time.perf_counter()
    decoder.fit(*train)
    seconds = time.perf_counter() - start
    fits = []
    for seed in seeds:
        rows_fit, rows_validation = training.split(len(train[0]), seed=seed)
        reduced = Ridge(decoder.alphas, device=decoder.device).fit(*(array[rows_fit] for array in train))
        fits.append(Fitted(decoder, rows_validation, reduced.predict(train[0][rows_validation]), seconds))
    return fits


def image_errors(truth, predicted) -> np.ndarray:
    """Compute the mean squared and mean absolute error of each image: (2, n_images) float64, in the order of `MEASURES`.

    `truth` and `predicted` are (n_images, n_latents); other shapes raise a ValueError.
    """
    if truth.shape != predicted.shape:
        raise ValueError(
            f"true and predicted latents must have the same shape, (n_images, n_latents), got {truth.shape} and "
            f"{predicted.shape}; both must hold the same layers of the same images."
        )
    difference = predicted - truth
    return np.stack([np.mean(error, axis=1, dtype=np.float64) for error in (np.square(difference), np.abs(difference))])


def compare(fits, train, test):
    """Compute the validation and test errors of all decoders and of the floor, the mean training latent.

    `fits` maps each system to its Fitted, one per seed. Returns a Dataset: `scores` (decoder, seed, split, measure), means over
    images; `errors` (decoder, measure, test_image), means over seeds; `floor_scores` and `floor_errors`, the same for the floor;
    `seconds`, `best_epoch` (0 without epochs) and `finished` (decoder, seed), false if `max_epochs` ended the training
    before the validation error stopped falling; `validation` (decoder, seed, epoch), the validation error, NaN after the last
    epoch; and `penalty` (decoder), NaN except for ridge.
    """
    scores, errors = [], []
    for by_seed in fits.values():
        decoders = {id(fit.decoder): fit.decoder for fit in by_seed}  # a decoder shared by the seeds predicts once
        by_decoder = {key: image_errors(test[1], decoder.predict(test[0])) for key, decoder in decoders.items()}
        errors_test = [by_decoder[id(fit.decoder)] for fit in by_seed]
        errors_validation = [image_errors(train[1][fit.rows], fit.validation) for fit in by_seed]
        scores.append([[v.mean(1), t.mean(1)] for v, t in zip(errors_validation, errors_test, strict=True)])
        errors.append(np.mean(errors_test, axis=0))
    mean = Moments.of(train[1]).mean
    truths = (test[1], *(train[1][fit.rows] for fit in next(iter(fits.values()))))
    floor_test, *floors_validation = [image_errors(truth, np.broadcast_to(mean, truth.shape)) for truth in truths]
    arrays = {
        "scores": (("decoder", "seed", "split", "measure"), np.array(scores)),
        "errors": (("decoder", "measure", "test_image"), np.array(errors)),
        "floor_scores": (("seed", "split", "measure"), np.array([[v.mean(1), floor_test.mean(1)] for v in floors_validation])),
        "floor_errors": (("measure", "test_image"), floor_test),
    }
    axes = {"decoder": list(fits), "split": ["validation", "test"], "measure": list(MEASURES)}
    return xr.Dataset(arrays | _training(fits), coords=axes)


def _training(fits):
    """Training time, validation curves and penalties of the decoders, as arrays for `compare`."""
    decoders = [[fit.decoder for fit in by_seed] for by_seed in fits.values()]
    curves = [[_validation_errors(decoder) for decoder in by_seed] for by_seed in decoders]
    best = [[np.nanargmin(curve) + 1 if len(curve) else 0 for curve in by_seed] for by_seed in curves]
    n_epochs = max(len(curve) for by_seed in curves for curve in by_seed)
    validation = [[np.append(curve, np.full(n_epochs - len(curve), np.nan)) for curve in by_seed] for by_seed in curves]
    by_fit = ("decoder", "seed")
    return {
        "seconds": (by_fit, [[fit.seconds for fit in by_seed] for by_seed in fits.values()]),
        "penalty": ("decoder", [float(getattr(first, "alpha", np.nan)) for first, *_ in decoders]),
        "best_epoch": (by_fit, best),
        "finished": (by_fit, [[_finished(decoder) for decoder in by_seed] for by_seed in decoders]),
        "validation": ((*by_fit, "epoch"), validation),
    }


def _validation_errors(decoder):
    """Validation MSE of a network after each epoch, in squared units of the latents: (n_epochs,) float64."""
    return decoder.scale**2 * np.array(decoder.history.errors) if hasattr(decoder, "history") else np.empty(0)


def explained_variance(errors, floor, *, n_bootstrap=2000, seed=0) -> dict:
    """Compute the explained variance, 1 - error / floor, and its bootstrap interval over images.

    `errors` and `floor` (n_images,) are the squared errors of a decoder and of the mean latent. Returns a dict: mean, low, high,
    n. 1 is perfect; 0 is no better than the mean latent.
    """
    place = statistics.place_between(-floor, -errors, np.zeros_like(floor), n_bootstrap=n_bootstrap, seed=seed)
    low, high = statistics.limits(place)
    return {"mean": float(place[0]), "low": low, "high": high, "n": len(errors)}


def by_region(X, in_region, targets, *, alphas, device="cpu"):
    """Compute two-way identification from ridge fitted to each region alone, and to all voxels outside it.

    `X` is (X_train, X_test), patterns (n_images, n_voxels). `in_region` is (n_regions, n_voxels) bool; regions may overlap.
    `targets` maps a name to (Y_train, Y_test), (n_images, n_targets) each. Each fit takes the penalty in `alphas` with the
    smallest leave-one-out error on training images. Pass several, because regions differ in size: a penalty published for all
    voxels (`store.zoo.alphas`) does not suit a small region.

    Returns
    -------
    xarray.DataArray
        (target, used, region, test_image): two-way identification of each test image among the others, from predictions and truth
        minus the training mean; chance is 0.5. `used` is "alone" or "without"; the last region is all voxels.
    """
    # only the kernels of all voxels and of one region are in memory
    scores, kernels = np.full((len(targets), 2, len(in_region) + 1, len(X[1])), 0.5), region_kernels(*X)
    scores[:, 0, -1] = _identification(kernels, targets, alphas, device)
    for region, voxels in enumerate(in_region):
        kernels_region = region_kernels(*X, voxels)
        scores[:, 0, region] = _identification(kernels_region, targets, alphas, device)
        for kernel_all, kernel_region in zip(kernels, kernels_region, strict=True):
            np.subtract(kernel_all, kernel_region, out=kernel_region)  # now of the voxels outside the region
        scores[:, 1, region] = _identification(kernels_region, targets, alphas, device)
    axes = ("target", "used", "region", "test_image")
    return xr.DataArray(scores, dims=axes, coords={"target": list(targets), "used": ["alone", "without"]})


def _identification(kernels, targets, alphas, device):
    """Two-way identification of the test images for each target, from one pair of kernels: (n_targets, n_test)."""
    scores = []
    for Y_train, Y_test in targets.values():
        mean = Moments.of(Y_train).mean
        predicted = Ridge(alphas, device=device).fit_kernel(kernels[0], Y_train).predict_kernel(kernels[1])
        scores.append(two_way(Y_test - mean, predicted - mean))
    return scores
