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
        for field, value in ((field.name, getattr(self, field.name)) for field in fields(self)):
            least = {"seed": 0, "n_blocks": 0, "batch_size": 2}.get(field, 1)
            if type(value) is int and value < least:
                raise ValueError(f"{field} of {self.name!r} must be at least {least}, got {value}")

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
    def _apply(self, function, X, *others):
        """Apply a function of patterns (n, n_voxels), and of further lists, in batches: float32 on the CPU."""
        check_patterns(X, self.n_voxels)
        parts = []
        for start in range(0, len(X), 256):
            rows = slice(start, start + 256)
            x = torch.from_numpy(np.array(X[rows], dtype=np.float32)).to(self.device)
            parts.append(function(x, *(values[rows] for values in others)).flatten(1).cpu().numpy())
        return check_finite("predictions", np.concatenate(parts))

    def _check(self, X, Y, images):
        """Raise ValueError for invalid training data; return the images numbered from 0, (n_rows,) int."""
        check_pair(X, Y)
        check_finite("Y", Y)
        if not Y.shape[1] or Y.shape[1] % self.n_features:
            raise ValueError(f"Y must have whole tokens of n_features={self.n_features}, got {Y.shape[1]} numbers a row")
        images = np.arange(len(X)) if images is None else np.asarray(images)
        if images.shape != (len(X),):
            raise ValueError(f"images must name the image of each of {len(X)} rows, got shape {images.shape}")
        names, numbers = np.unique(images, return_inverse=True)
        if len(names) < 20:
            raise ValueError(f"{self.name} needs at least 20 training images, got {len(names)}")
        return numbers


class Residual(nn.Module):
    """Layers with a residual connection."""

    def __init__(self, *layers: nn.Module):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Add the input to the output of the layers."""
        return x + self.layers(x)


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
        turn = self.n_done + np.arange(self.n_steps)[:, None]
        self.n_done += self.n_steps
        return self.rows[self.first[order] + turn % self.n_trials[order]]


class Steps:
    """Optimiser steps for a loss, a function of tensors of fixed shapes; on a GPU, gradients are captured as a CUDA graph."""

    def __init__(self, network: nn.Module, optimiser: torch.optim.Optimizer, loss):
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.optimiser, self.parameters = optimiser, parameters

        def gradients(*given):
            return [part.contiguous() for part in torch.autograd.grad(loss(*given), parameters, materialize_grads=True)]

        self._gradients = Captured(gradients)

    def __call__(self, *given: Tensor):
        """Make one step."""
        for parameter, gradient in zip(self.parameters, self._gradients(*given), strict=True):
            parameter.grad = gradient
        self.optimiser.step()


def hold_out(images: np.ndarray, share: float, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split rows, with image numbers (n_rows,) from 0, into training and validation: `share` of the images, at least two."""
    n_images = images.max() + 1
    chosen = np.random.default_rng(seed).permutation(n_images)[: max(2, round(share * n_images))]
    held = np.isin(images, chosen)
    return np.flatnonzero(~held), np.flatnonzero(held)


class Best:
    """The weights of the first lowest error so far; updated without reading values from the device."""

    def __init__(self, network: nn.Module):
        self.state = [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]
        self.kept, self.lowest = [tensor.clone() for tensor in self.state], self.state[0].new_tensor(torch.inf)

    @torch.no_grad()
    def note(self, error: Tensor):
        """Keep the weights if the error, a scalar, is lower than all before."""
        better = error < self.lowest  # never true of NaN
        self.lowest = torch.where(better, error, self.lowest)
        for kept, tensor in zip(self.kept, self.state, strict=True):
            kept.copy_(torch.where(better, tensor, kept))

    @torch.no_grad()
    def restore(self):
        """Copy the kept weights into the network."""
        for kept, tensor in zip(self.kept, self.state, strict=True):
            tensor.copy_(kept)
