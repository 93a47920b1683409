"""How the networks are trained: the recipe of the paper's public code, on tensors that stay on the device.

NAdam at 1e-3 with weight decay 5e-6 on the mean squared error, batches of 64; the rate is halved after 6 epochs without a
better validation error, training ends after 12, or `max_epochs`. Then a new network is fitted to training and validation images
together, following the rates that were recorded up to the best epoch. Patterns may be augmented as that code can: a sample
gets Gaussian noise, and another (or the same) loses a span of neighbouring voxels, each with some probability.
"""

from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from nsdlib.core.device import Captured

RATE, WEIGHT_DECAY = 1e-3, 5e-6
BETA1, BETA2, MOMENTUM_DECAY, EPSILON = 0.9, 0.999, 4e-3, 1e-8  # of NAdam, as in torch
PATIENCE_RATE, PATIENCE_STOP = 6, 12
VALIDATION_SHARE = 0.1
NOISE_SD, LONGEST_SPAN = 0.1, 0.1  # of augmentation: in units of a z-scored voxel; share of the voxels


@dataclass(frozen=True)
class History:
    """Errors and learning rates of a search.

    Attributes
    ----------
    errors : tuple of float
        Mean squared validation error after each epoch, in units of the scaled targets.
    rates : tuple of float
        Rate of each epoch up to the best one.
    """

    errors: tuple[float, ...]
    rates: tuple[float, ...]


def split(n_images: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows to fit and rows to validate on, by image: a tenth, at least two, for validation."""
    order = np.random.default_rng(seed).permutation(n_images)
    n_validation = max(2, round(VALIDATION_SHARE * n_images))
    return np.sort(order[n_validation:]), np.sort(order[:n_validation])


def search(
    new_network, x, y, rows_fit, rows_validation, *, max_epochs, seed, batch_size, name, augment=0.0
) -> tuple[History, nn.Module]:
    """Train until the validation error stops falling.

    Parameters
    ----------
    new_network : callable
        Returns an untrained network.
    x, y : (n_images, n_voxels) and (n_images, n_latents) float32 tensors
        On the device of the network.
    rows_fit, rows_validation : (n_rows,) int arrays
        Rows of x and y.
    max_epochs, seed, batch_size : int
    name : str
        Of the decoder, for the bar and messages.
    augment : float
        Probability of noise, and of a masked span, for each pattern.

    Returns
    -------
    History
    nn.Module
        The network of the smallest validation error, of equals the first.

    Raises
    ------
    ValueError
        When the validation error was a finite number in no epoch.
    """
    trainer = Trainer(new_network(), x[rows_fit], y[rows_fit], seed=seed, batch_size=batch_size, augment=augment)
    x_validation, y_validation = x[rows_validation], y[rows_validation]
    errors, rates, rate, waited = [], [], RATE, 0
    best, n_best, lowest = None, 0, float("inf")
    bar = tqdm(total=max_epochs, desc=f"{name}: finding the schedule", unit="epoch", mininterval=5)
    with _seeded(seed), bar:
        for _ in range(max_epochs):
            trainer.run_epoch(rate)
            rates.append(rate)
            errors.append(_error(trainer.network, x_validation, y_validation))
            bar.update()
            if errors[-1] < lowest:  # never true of NaN
                best = {key: tensor.clone() for key, tensor in trainer.network.state_dict().items()}
                n_best, lowest, waited = len(errors), errors[-1], 0
                continue
            waited += 1
            if waited >= PATIENCE_STOP:
                break
            rate = rate / 2 if waited % PATIENCE_RATE == 0 else rate
    if best is None:
        raise ValueError(
            f"{name}: the validation error must be a finite number in at least one epoch, got {errors[-1]} in the last of "
            f"{len(errors)}; z-score X over the training images, and look for huge values in X and Y."
        )
    trainer.network.load_state_dict(best)
    return History(tuple(errors), tuple(rates[:n_best])), trainer.network


def follow(network, x, y, rates, *, seed, batch_size, name, augment=0.0) -> nn.Module:
    """Train a network on all rows, one epoch for each of the rates; the other arguments are those of `search`."""
    trainer = Trainer(network, x, y, seed=seed, batch_size=batch_size, augment=augment)
    with _seeded(seed):
        for rate in tqdm(rates, desc=f"{name}: training on all images", unit="epoch", mininterval=5):
            trainer.run_epoch(rate)
    return network.eval()


@contextmanager
def _seeded(seed):
    """Seed dropout, which only the global generator feeds, and put the generator back afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@contextmanager
def _tensor_float(device):
    """Let products of float32 matrices use a GPU's TF32, whose mantissa has 10 bits; on a CPU nothing changes."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if device.type == "cuda" else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class Trainer:
    """A network, its optimiser and the images that it is fitted to.

    Parameters
    ----------
    network : nn.Module
    x, y : (n_images, n_voxels) and (n_images, n_latents) float32 tensors
        On the device of the network. On a GPU products are of TF32 numbers, and all of a step but the optimiser is captured
        once for each size of batch and then replayed.
    seed : int
        Of the order of images, and on a CPU of the augmentation; the rest is drawn by the device's own generator.
    batch_size : int
    augment : float
        As in `search`.
    """

    def __init__(self, network, x: Tensor, y: Tensor, *, seed, batch_size, augment=0.0):
        self.network, self.x, self.y, self.batch_size, self.augment = network, x, y, batch_size, augment
        self.optimiser, self.generator = NAdam(network.parameters()), torch.Generator().manual_seed(seed)
        torch.empty(31 << 20, dtype=torch.uint8)  # once it is freed, glibc keeps gradients' memory from step to step
        self._captured = {}  # `_gradients` by size of batch, since a graph keeps its shapes

    def run_epoch(self, rate: float):
        """Pass once over the images in a random order.

        A last batch of one image, which batch normalisation cannot take, is left out.
        """
        self.network.train()
        order = torch.randperm(len(self.x), generator=self.generator).to(self.x.device)
        with _tensor_float(self.x.device):
            for rows in order.split(self.batch_size):
                if len(rows) > 1:
                    gradients = self._captured.setdefault(len(rows), Captured(self._gradients))
                    self.optimiser.step(gradients(rows), rate)

    def _gradients(self, rows):
        """Compute the gradient of each parameter, contiguous as it is, which the optimiser takes for granted."""
        x, y = self.x[rows], self.y[rows]
        if self.augment:
            x = augmented(x, self.augment, None if x.is_cuda else self.generator)
        loss = F.mse_loss(self.network(x), y)
        gradients = torch.autograd.grad(loss, self.optimiser.parameters, materialize_grads=True)
        return [gradient.contiguous() for gradient in gradients]


class NAdam:
    """NAdam (Dozat 2016), with the published weight decay and `torch.optim.NAdam`'s other settings.

    Its step is one of Adam with another momentum and rate, so that torch's fused Adam does it in one pass over the weights:
    with the gradient g, the mean m = b1 m' + (1 - b1) g and the weights c_m, c_g that Dozat's schedule gives them,

        c_m m + c_g g  =  (c_m + c_g) (b m' + (1 - b) g),   b = b1 c_m / (c_m + c_g),

    and Adam leaves the mean of momentum b, from which m is interpolated. torch.optim.NAdam takes 5 times as long on a CPU.
    """

    def __init__(self, parameters):
        self.parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self.n_steps, self.mu_product = 0, 1.0
        self._means, self._squares = ([torch.zeros_like(p) for p in self.parameters] for _ in range(2))
        self._never = [p.new_tensor(1e9) for p in self.parameters]  # steps, so many that Adam corrects no bias: we do

    @torch.no_grad()
    def step(self, gradients, rate: float):
        """Change the parameters by their gradients, which are overwritten."""
        self.n_steps += 1
        mu, mu_next = (BETA1 * (1 - 0.5 * 0.96 ** (n * MOMENTUM_DECAY)) for n in (self.n_steps, self.n_steps + 1))
        self.mu_product *= mu
        c_m, c_g = mu_next / (1 - self.mu_product * mu_next), (1 - mu) / (1 - self.mu_product)
        momentum, correction = BETA1 * c_m / (c_m + c_g), (1 - BETA2**self.n_steps) ** 0.5
        torch._foreach_add_(gradients, self.parameters, alpha=WEIGHT_DECAY)
        torch._fused_adam_(
            self.parameters, gradients, self._means, self._squares, [], self._never, beta1=momentum, beta2=BETA2,
            lr=rate * (c_m + c_g) * correction, eps=EPSILON * correction, weight_decay=0.0, amsgrad=False, maximize=False,
        )  # fmt: skip
        torch._foreach_lerp_(self._means, gradients, 1 - BETA1 / momentum)


def augmented(x: Tensor, probability: float, generator: torch.Generator | None) -> Tensor:
    """Copy patterns (n_images, n_voxels), with noise added to some and a span of voxels set to 0 in some."""
    x, n_voxels, place = x.clone(), x.shape[1], torch.arange(x.shape[1], device=x.device)
    draws = torch.rand(4, len(x), 1, generator=generator, device=x.device)
    rows = slice(None) if x.is_cuda else (draws[:2] < probability).any(0).nonzero()[:, 0]  # a graph needs fixed shapes
    noisy, masked, start, length = draws[:, rows]
    noise = torch.randn(x[rows].shape, generator=generator, device=x.device)
    changed = torch.addcmul(x[rows], noisy < probability, noise, value=NOISE_SD)
    inside = (place >= n_voxels * start) & (place < n_voxels * (start + LONGEST_SPAN * length))
    x[rows] = changed.masked_fill(inside & (masked < probability), 0.0)
    return x


@torch.inference_mode()
def _error(network, x, y) -> float:
    """Return the mean squared error, without dropout, summed in float64."""
    return (network.eval()(x) - y).square().mean(dtype=torch.float64).item()
