"""How the networks are trained: the recipe of the paper's public code, on tensors that stay on the device.

NAdam at 1e-3 with weight decay 5e-6 on the mean squared error, batches of 64; the rate is halved after 6 epochs without a
better validation error, training ends after 12, or `max_epochs`. Then a new network is fitted to training and validation images
together, following the rates that were recorded up to the best epoch. Patterns may be augmented as that code can: a sample
gets Gaussian noise, and another (or the same) loses a span of neighbouring voxels, each with some probability.
"""

import copy
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

RATE, WEIGHT_DECAY = 1e-3, 5e-6
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
    network = new_network()
    optimiser = new_optimiser(network)
    batches = {"generator": torch.Generator().manual_seed(seed), "batch_size": batch_size, "augment": augment}
    x_fit, y_fit, x_validation, y_validation = x[rows_fit], y[rows_fit], x[rows_validation], y[rows_validation]
    errors, rates, rate, waited = [], [], RATE, 0
    best, n_best, lowest = None, 0, float("inf")
    bar = tqdm(total=max_epochs, desc=f"{name}: finding the schedule", unit="epoch", mininterval=5)
    with _seeded(seed), bar:
        for _ in range(max_epochs):
            run_epoch(network, optimiser, x_fit, y_fit, rate=rate, **batches)
            rates.append(rate)
            errors.append(_error(network, x_validation, y_validation))
            bar.update()
            if errors[-1] < lowest:  # never true of NaN
                best, n_best, lowest, waited = copy.deepcopy(network), len(errors), errors[-1], 0
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
    return History(tuple(errors), tuple(rates[:n_best])), best


def follow(network, x, y, rates, *, seed, batch_size, name, augment=0.0) -> nn.Module:
    """Train a network on all rows, one epoch for each of the rates; the other arguments are those of `search`."""
    optimiser = new_optimiser(network)
    batches = {"generator": torch.Generator().manual_seed(seed), "batch_size": batch_size, "augment": augment}
    with _seeded(seed):
        for rate in tqdm(rates, desc=f"{name}: training on all images", unit="epoch", mininterval=5):
            run_epoch(network, optimiser, x, y, rate=rate, **batches)
    return network.eval()


@contextmanager
def _seeded(seed):
    """Seed dropout, which only the global generator feeds, and put the generator back afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def new_optimiser(network) -> torch.optim.NAdam:
    """Return NAdam (Dozat 2016) for a network's parameters, with the published rate and weight decay.

    torch's own. A version that went over all of a step's operations block by block, in the cache, made epochs on a CPU 1.2 to
    1.3 times as fast at the paper's size, and slower ones at the demo's.
    """
    return torch.optim.NAdam(network.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)


def run_epoch(network, optimiser, x: Tensor, y: Tensor, *, rate, generator, batch_size, augment=0.0):
    """Pass once over the rows in a random order.

    A last batch of one row, which batch normalisation cannot take, is left out. On a GPU the network computes in bfloat16.

    Parameters
    ----------
    network : nn.Module
    optimiser : torch.optim.Optimizer
    x, y : (n_images, n_voxels) and (n_images, n_latents) float32 tensors
    rate : float
        Learning rate of the epoch.
    generator : torch.Generator
        On the CPU; draws the order and the augmentation.
    batch_size : int
    augment : float
        As in `search`.
    """
    network.train()
    for group in optimiser.param_groups:
        group["lr"] = rate
    order = torch.randperm(len(x), generator=generator).to(x.device)
    for rows in order.split(batch_size):
        if len(rows) < 2:
            continue
        optimiser.zero_grad(set_to_none=True)
        patterns = augmented(x[rows], augment, generator) if augment else x[rows]
        with torch.autocast(x.device.type, torch.bfloat16, enabled=x.is_cuda):
            predicted = network(patterns)
        F.mse_loss(predicted.float(), y[rows]).backward()
        optimiser.step()


def augmented(x: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Copy patterns (n_images, n_voxels), with noise added to some and a span of voxels set to 0 in some."""
    x, n_voxels = x.clone(), x.shape[1]
    noisy, masked = (
        (torch.rand(len(x), generator=generator) < probability).nonzero()[:, 0].to(x.device) for _ in range(2)
    )
    x[noisy] += NOISE_SD * torch.randn(len(noisy), n_voxels, generator=generator).to(x.device)
    start, length = (torch.rand(2, len(masked), 1, generator=generator) * n_voxels).to(x.device)
    place = torch.arange(n_voxels, device=x.device)
    x[masked] = torch.where((place >= start) & (place < start + LONGEST_SPAN * length), 0.0, x[masked])
    return x


@torch.inference_mode()
def _error(network, x, y) -> float:
    """Return the mean squared error, without dropout, summed in float64."""
    return (network.eval()(x) - y).square().mean(dtype=torch.float64).item()
