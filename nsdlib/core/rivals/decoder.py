"""Shared parts of the rival decoders: input checks, batches with one trial per image, and seeded training on the device."""

import time
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor, nn

from nsdlib.core import training
from nsdlib.core.device import Captured, check_finite, to_tensor
from nsdlib.core.ridge import check_pair, check_patterns


@dataclass(kw_only=True, eq=False)
class Rival:
    """Base class of the rival decoders, from patterns (n_rows, n_voxels) to tokens (n_rows, n_tokens n_features).

    A fitted decoder has the attributes `network` and `seconds` (duration of the fit).
    """

    name = ""  # one of `rivals.NAMES`
    n_features: int  # width of a token
    seed: int = 0  # for initial weights, batches, dropout and noise
    device: str | torch.device = "cpu"
    batch_size: int = 32

    def __post_init__(self):
        self.n_voxels = None
        for name in (field.name for field in fields(self)):
            value, minimum = getattr(self, name), {"seed": 0, "n_blocks": 0, "batch_size": 2}.get(name, 1)
            if type(value) is int and value < minimum:
                raise ValueError(f"{name} of {self.name!r} must be at least {minimum}, got {value}")

    def fit(self, X: np.ndarray, Y: np.ndarray, *, images=None) -> "Rival":
        """Train on patterns X (n_rows, n_voxels), z-scored, and tokens Y (n_rows, n_tokens n_features).

        `images` (n_rows,) are image ids if rows are single trials. Each epoch uses one trial of each image, in turn, and drops an
        incomplete last batch. Returns self. Raises ValueError when shapes do not match, values are not finite, or there are fewer
        than 20 images.
        """
        images, start = self._check(X, Y, images), time.perf_counter()
        x, y = (to_tensor(values, self.device, torch.float32) for values in (X, Y))
        with training.seeded(self.seed):
            self.network = self._build(X.shape[1], Y.shape[1]).to(self.device)
            self._train(x, y, images)
        self.network.eval().requires_grad_(False)
        self.n_voxels, self.seconds = X.shape[1], time.perf_counter() - start
        return self

    def predict(self, X: np.ndarray, *, image_ids=None) -> np.ndarray:
        """Predict the tokens of X (n_rows, n_voxels): (n_rows, n_tokens n_features) float32; ValueError before a fit.

        `image_ids` (n_rows,) determine the noise of decoders that sample.
        """
        return self._apply(lambda x: self.network(x), X)

    @torch.inference_mode()
    def _apply(self, function, X, *lists):
        """Apply a function of patterns (n, n_voxels), and of further lists, in batches: float32 on the CPU."""
        check_patterns(X, self.n_voxels)
        parts = []
        for start in range(0, len(X), 256):
            rows = slice(start, start + 256)
            x = torch.from_numpy(np.array(X[rows], dtype=np.float32)).to(self.device)
            parts.append(function(x, *(values[rows] for values in lists)).flatten(1).cpu().numpy())
        return check_finite("predictions", np.concatenate(parts))

    def _check(self, X, Y, images):
        """Raise ValueError for invalid training data; return the images numbered from 0, (n_rows,) int."""
        check_pair(X, Y)
        check_finite("Y", Y)
        if not Y.shape[1] or Y.shape[1] % self.n_features:
            raise ValueError(f"Y must have a multiple of n_features={self.n_features} values per row, got {Y.shape[1]}")
        images = np.arange(len(X)) if images is None else np.asarray(images)
        if images.shape != (len(X),):
            raise ValueError(f"images must have an image id for each of {len(X)} rows, got shape {images.shape}")
        unique_images, numbers = np.unique(images, return_inverse=True)
        if len(unique_images) < 20:
            raise ValueError(f"{self.name} needs at least 20 training images, got {len(unique_images)}")
        return numbers


class Residual(nn.Sequential):
    """Layers with a residual connection."""

    def forward(self, x: Tensor) -> Tensor:
        """Add the input to the output of the layers."""
        return x + super().forward(x)


class Batches:
    """Draws batches of rows with no image twice; `images` (n_rows,) is the image number of each row.

    As in MindEye's code, step s uses trial s modulo the number of trials of each image.
    """

    def __init__(self, images: np.ndarray, batch_size: int, *, seed: int):
        self.rows, self.generator, self.n_done = np.argsort(images, kind="stable"), np.random.default_rng(seed), 0
        self.images, self.first, self.n_trials = np.unique(images[self.rows], return_index=True, return_counts=True)
        self.batch_size = min(batch_size, len(self.images))
        self.n_steps = len(self.images) // self.batch_size  # per epoch

    def epoch(self) -> np.ndarray:
        """Draw the rows of an epoch's steps, (n_steps, batch_size) int."""
        order = self.generator.permutation(len(self.images))[: self.n_steps * self.batch_size].reshape(self.n_steps, -1)
        step = self.n_done + np.arange(self.n_steps)[:, None]
        self.n_done += self.n_steps
        return self.rows[self.first[order] + step % self.n_trials[order]]


class Steps:
    """Optimiser steps for a loss, a function of tensors of fixed shapes; on a GPU, gradients are captured as a CUDA graph."""

    def __init__(self, network: nn.Module, optimiser: torch.optim.Optimizer, loss):
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.optimiser, self.parameters = optimiser, parameters

        def gradients(*batch):
            return [gradient.contiguous() for gradient in torch.autograd.grad(loss(*batch), parameters, materialize_grads=True)]

        self._gradients = Captured(gradients)

    def __call__(self, *batch: Tensor):
        """Make one step."""
        for parameter, gradient in zip(self.parameters, self._gradients(*batch), strict=True):
            parameter.grad = gradient
        self.optimiser.step()


def hold_out(images: np.ndarray, fraction: float, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split rows, with image numbers (n_rows,) from 0, into training and validation: `fraction` of the images, at least two."""
    n_images = images.max() + 1
    images_validation = np.random.default_rng(seed).permutation(n_images)[: max(2, round(fraction * n_images))]
    is_validation = np.isin(images, images_validation)
    return np.flatnonzero(~is_validation), np.flatnonzero(is_validation)


class Best:
    """The weights of the first lowest error so far; updated without reading values from the device."""

    def __init__(self, network: nn.Module):
        self.state = [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]
        self.best, self.lowest = [tensor.clone() for tensor in self.state], self.state[0].new_tensor(torch.inf)

    @torch.no_grad()
    def note(self, error: Tensor):
        """Keep the weights if the error, a scalar, is lower than all before."""
        is_lowest = error < self.lowest  # never true of NaN
        self.lowest = torch.where(is_lowest, error, self.lowest)
        for best, tensor in zip(self.best, self.state, strict=True):
            best.copy_(torch.where(is_lowest, tensor, best))

    @torch.no_grad()
    def restore(self):
        """Copy the best weights into the network."""
        for best, tensor in zip(self.best, self.state, strict=True):
            tensor.copy_(best)
