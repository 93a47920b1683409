"""A small network that reads from latents which kind of thing covers each of 4 x 4 patches: what an image shows, as a loss.

The squared error of latents says little of what a thing is: colours and edges weigh more. So the UNet is also trained on the
reader's cross-entropy, as perceptual losses do (Johnson et al. 2016). The reader sees latents with noise, in training and in use:
what then changes its mind is visible, and no pattern made for it (Salman et al. 2020). It is not shipped, sees no pixels, and is
neither the judge that names things nor one of the networks of the scores.
"""

import math
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from nsdlib.twin.scenes import KINDS
from zoo.training import optimise

N_STEPS, BATCH, RATE, SEED = 3_000, 64, 2e-3, 19
WIDTH, DROPPED = 48, 0.1  # channels, share of features
NOISE = 1.0  # SD of the noise at most; latents have an SD of about 1
ON_NOTHING = 0.2  # weight of a patch that nothing covers, of one that is covered 1


def build(n_channels: int) -> nn.Module:
    """An untrained reader of latents (n, n_channels, 16, 16): logits (n, 1 + n_kinds, 4, 4), those of nothing first."""
    parts, n_in = [], n_channels
    for n_out, stride in ((WIDTH, 1), (WIDTH, 1), (2 * WIDTH, 2), (2 * WIDTH, 1), (3 * WIDTH, 2)):
        parts += [nn.Conv2d(n_in, n_out, 3, stride, padding=1), nn.GroupNorm(8, n_out), nn.SiLU()]
        n_in = n_out
    return nn.Sequential(*parts, nn.Dropout2d(DROPPED), nn.Conv2d(n_in, 1 + len(KINDS), 1))


def train(latents, shown, checkpoint: Path, place: optimise.Place, seconds: float = math.inf) -> nn.Module:
    """Train a reader on latents (n, n_channels, 16, 16) and what they show, of `as_shown`; returned is one that only reads."""
    torch.manual_seed(SEED)
    model = build(latents.shape[1]).to(place.device, memory_format=torch.channels_last)

    def loss_of_batch(generator, progress):
        rows = torch.randint(len(latents), (BATCH,), generator=generator, device=latents.device)
        return error(model, latents[rows].float(), shown[rows], generator)

    settings = {"n_steps": N_STEPS, "learning_rate": RATE, "seed": SEED, "checkpoint": checkpoint}
    return optimise.train(model, loss_of_batch, place, average=0.99, seconds=seconds, **settings)


def as_shown(covers: torch.Tensor) -> torch.Tensor:
    """Share of each patch that nothing and each kind covers, (n, 1 + n_kinds, 4, 4), of covers (n, 16 patches, n_kinds)."""
    covers = covers / covers.sum(2, keepdim=True).clamp(min=1)
    side = math.isqrt(covers.shape[1])
    return torch.cat([1 - covers.sum(2, keepdim=True), covers], 2).mT.unflatten(2, (side, side))


def error(model: nn.Module, latents: torch.Tensor, shown: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Cross-entropy (nats) of what a reader sees in latents to which noise is added with what they show, mean over patches."""
    options = {"generator": generator, "device": latents.device}
    level = NOISE * torch.rand(len(latents), 1, 1, 1, **options)
    logits = model(latents + level * torch.randn(latents.shape, **options))
    weight = 1 - (1 - ON_NOTHING) * shown[:, 0]
    return (weight * F.cross_entropy(logits.float(), shown, reduction="none")).mean()
