"""Random numbers that belong to an image: they follow from (seed, image id), never from the batch or the device."""

import numpy as np
import torch
from torch import Tensor


def generators(seed: int, image_ids) -> list[torch.Generator]:
    """Make one generator an image, seeded by the pair of seed and image id; ValueError for ids that are none from 0 on."""
    ids = np.asarray(image_ids)
    if ids.size and (ids.dtype.kind not in "iu" or ids.min() < 0):
        raise ValueError(f"image_ids must be whole numbers from 0, got {ids[:5]}")
    sequences = (np.random.SeedSequence([seed, int(image_id)]) for image_id in image_ids)
    states = (sequence.generate_state(1, np.uint64)[0] for sequence in sequences)
    return [torch.Generator().manual_seed(int(state >> 1)) for state in states]


def normal(like: Tensor, generators: list[torch.Generator]) -> Tensor:
    """Draw standard normal numbers of a batch's shape (n_images, ...), each image's from its own generator."""
    return torch.stack([torch.randn(like.shape[1:], generator=generator) for generator in generators]).to(like)


def uniform(like: Tensor, generators: list[torch.Generator]) -> Tensor:
    """Draw uniform numbers in [0, 1) of a batch's shape (n_images, ...), each image's from its own generator."""
    return torch.stack([torch.rand(like.shape[1:], generator=generator) for generator in generators]).to(like)
