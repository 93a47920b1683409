"""How the networks are trained: the recipe of the paper's public code, on tensors that stay on the device.

NAdam at 1e-3 with weight decay 5e-6 on the mean squared error, batches of 64; the rate is halved after 6 epochs without a
better validation error, training ends after 12, or `max_epochs`. Then a new network is fitted to training and validation images
together, following the rates that were recorded up to the best epoch. Patterns may be augmented as that code can: a sample
gets Gaussian noise, and another (or the same) loses a span of neighbouring voxels, each with some probability.
"""

import copy
from concurrent.futures import ThreadPoolExecutor
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
BLOCK = 30_000  # parameters updated at a time: they stay in the cache of a core, and are too few for torch to spread over cores


@dataclass(frozen=True)
class History:
    """What the search saw: errors (validation, an epoch each; in units of the scaled targets) and the rates to follow."""

    errors: tuple[float, ...]
    rates: tuple[float, ...]


class BlockwiseNAdam(torch.optim.NAdam):
    """torch's NAdam (Dozat 2016), the same numbers faster on a CPU, where a step waits for memory.

    torch walks over all parameters once for each of a step's ten operations; here a block goes through all of them at once, and
    each thread has its own blocks.
    """

    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        self._pool = ThreadPoolExecutor(torch.get_num_threads())

    @torch.no_grad()
    def step(self):
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, self.state[parameter], group)

    def _update(self, parameter, state, group):
        """One parameter, block by block."""
        if not state:
            flat = parameter.reshape(-1)
            state.update(step=0, mu_product=1.0, mean=torch.zeros_like(flat), square=torch.zeros_like(flat))
        state["step"] += 1
        beta1, beta2 = group["betas"]
        mu, mu_next = (
            beta1 * (1 - 0.5 * 0.96 ** (t * group["momentum_decay"])) for t in (state["step"], state["step"] + 1)
        )
        state["mu_product"] *= mu
        rate = -group["lr"]
        by_gradient = rate * (1 - mu) / (1 - state["mu_product"])
        by_mean = rate * mu_next / (1 - state["mu_product"] * mu_next)
        correction = 1 - beta2 ** state["step"]

        def update(blocks):
            for p, g, mean, square in blocks:
                g = g.add(p, alpha=group["weight_decay"])
                mean.lerp_(g, 1 - beta1)
                square.mul_(beta2).addcmul_(g, g, value=1 - beta2)
                scale = (
                    square.div(correction).pow_(0.5).add_(group["eps"])
                )  # sqrt_ would call all threads for each block
                p.addcdiv_(g, scale, value=by_gradient).addcdiv_(mean, scale, value=by_mean)

        tensors = (parameter.view(-1), parameter.grad.reshape(-1), state["mean"], state["square"])
        blocks = list(zip(*(tensor.split(BLOCK) for tensor in tensors), strict=True))
        n_threads = torch.get_num_threads()
        shares = [blocks[i::n_threads] for i in range(min(n_threads, len(blocks)))]
        list(self._pool.map(torch.no_grad()(update), shares))


def split(n_images: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to fit and rows to validate on, by image: a tenth, at least two, for validation."""
    order = np.random.default_rng(seed).permutation(n_images)
    n_validation = max(2, round(VALIDATION_SHARE * n_images))
    return np.sort(order[n_validation:]), np.sort(order[:n_validation])


def search(
    new_network, x, y, rows_fit, rows_validation, *, max_epochs, seed, batch_size, name, augment=0.0
) -> tuple[History, nn.Module]:
    """Train until the validation error stops falling; returns the history and the best network, of equals the first.

    x (n_images, n_voxels) and y (n_images, n_latents) lie on the device; rows index them. `augment` is the probability of
    noise, and of a masked span, for each sample. ValueError when the validation error was a finite number in no epoch.
    """
    network = new_network()
    optimiser = new_optimiser(network)
    batches = {"generator": torch.Generator().manual_seed(seed), "batch_size": batch_size, "augment": augment}
    x_fit, y_fit, x_validation, y_validation = x[rows_fit], y[rows_fit], x[rows_validation], y[rows_validation]
    errors, rates, rate, waited = [], [], RATE, 0
    best, n_best, lowest = None, 0, float("inf")
    with (
        _seeded(seed),
        tqdm(total=max_epochs, desc=f"{name}: finding the schedule", unit="epoch", mininterval=5) as bar,
    ):
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
    """Train on all rows, one epoch for each of the rates."""
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


def new_optimiser(network):
    """NAdam as published; on a GPU torch's own, which is fused there."""
    parameters = list(network.parameters())
    kind = BlockwiseNAdam if parameters[0].device.type == "cpu" else torch.optim.NAdam
    return kind(parameters, lr=RATE, weight_decay=WEIGHT_DECAY)


def run_epoch(network, optimiser, x: Tensor, y: Tensor, *, rate, generator, batch_size, augment=0.0):
    """One pass over the rows in a random order; a last batch of one row, which batch normalisation cannot take, is left out."""
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
    """Patterns (n, n_voxels), some with noise, some with a span of voxels set to 0; no Python work a sample."""
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
    """Mean squared error, without dropout."""
    return F.mse_loss(network.eval()(x), y).item()
