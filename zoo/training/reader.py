"""A small network that predicts from latents which kind of thing covers each of 4 x 4 patches; its error is a loss of the UNet.

The squared error of latents says little about kinds, because colours and edges weigh more. So the UNet is also trained on the
reader's cross-entropy, a perceptual loss (Johnson et al. 2016). The reader sees noisy latents in training and in use, so that
visible changes alter its output and adversarial patterns do not (Salman et al. 2020). It is not shipped, sees no pixels, and is
neither the judge nor a network of the scores.
"""

import math
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from nsdlib.twin.scenes import KINDS
from zoo.training import optimise

N_STEPS, BATCH, RATE, SEED = 3_000, 64, 2e-3, 19
WIDTH, DROPOUT = 48, 0.1  # channels, dropout rate
NOISE = 1.0  # largest SD of the noise; latents have an SD of about 1
UNCOVERED_WEIGHT = 0.2  # weight of an uncovered patch; a covered patch has weight 1


def build(n_channels: int) -> nn.Module:
    """Build an untrained reader: latents (n, n_channels, 16, 16) to logits (n, 1 + n_kinds, 4, 4), "nothing" first."""
    parts, n_in = [], n_channels
    for n_out, stride in ((WIDTH, 1), (WIDTH, 1), (2 * WIDTH, 2), (2 * WIDTH, 1), (3 * WIDTH, 2)):
        parts += [nn.Conv2d(n_in, n_out, 3, stride, padding=1), nn.GroupNorm(8, n_out), nn.SiLU()]
        n_in = n_out
    return nn.Sequential(*parts, nn.Dropout2d(DROPOUT), nn.Conv2d(n_in, 1 + len(KINDS), 1))


def train(latents, shown, checkpoint: Path, resources: optimise.Resources, seconds: float = math.inf) -> nn.Module:
    """Train a reader on latents (n, n_channels, 16, 16) and targets `shown` from `as_shown`; return it frozen."""
    torch.manual_seed(SEED)
    model = build(latents.shape[1]).to(resources.device, memory_format=torch.channels_last)

    def loss_of_batch(generator, progress):
        rows = torch.randint(len(latents), (BATCH,), generator=generator, device=latents.device)
        return error(model, latents[rows].float(), shown[rows], generator)

    settings = {"n_steps": N_STEPS, "learning_rate": RATE, "seed": SEED, "checkpoint": checkpoint}
    return optimise.train(model, loss_of_batch, resources, average=0.99, seconds=seconds, **settings)


def as_shown(covers: torch.Tensor) -> torch.Tensor:
    """Turn `covers` (n, 16 patches, n_kinds) into shares of nothing and of each kind that sum to 1: (n, 1 + n_kinds, 4, 4)."""
    covers = covers / covers.sum(2, keepdim=True).clamp(min=1)
    side = math.isqrt(covers.shape[1])
    return torch.cat([1 - covers.sum(2, keepdim=True), covers], 2).mT.unflatten(2, (side, side))


def error(model: nn.Module, latents: torch.Tensor, shown: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Weighted cross-entropy (nats) of a reader's prediction from noisy latents with `shown`, mean over patches."""
    options = {"generator": generator, "device": latents.device}
    level = NOISE * torch.rand(len(latents), 1, 1, 1, **options)
    logits = model(latents + level * torch.randn(latents.shape, **options))
    weight = 1 - (1 - UNCOVERED_WEIGHT) * shown[:, 0]
    return (weight * F.cross_entropy(logits.float(), shown, reduction="none")).mean()
