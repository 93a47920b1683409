"""Random numbers that belong to an image: they follow from (seed, image id), never from the batch or the device."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor


def generators(seed: int, image_ids) -> list[torch.Generator]:
    """Make one generator an image, seeded by the pair of seed and image id."""
    sequences = (np.random.SeedSequence([seed, int(image_id)]) for image_id in image_ids)
    states = (sequence.generate_state(1, np.uint64)[0] for sequence in sequences)
    return [torch.Generator().manual_seed(int(state >> 1)) for state in states]


def normal(like: Tensor, generators: list[torch.Generator]) -> Tensor:
    """Draw standard normal numbers of a batch's shape (n_images, ...), each image's from its own generator."""
    return torch.stack([torch.randn(like.shape[1:], generator=generator) for generator in generators]).to(like)


def normals(shapes, like: Tensor, generators: list[torch.Generator]) -> list[Tensor]:
    """Draw what `normal` would, (n_images, *shape) for each shape; images side by side, on PyTorch's number of threads."""
    with torch.inference_mode(False):  # which a thread does not share
        numbers = [torch.empty(len(generators), *shape) for shape in shapes]

    def draw(image):
        for part in numbers:
            part[image].normal_(generator=generators[image])

    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        list(threads.map(draw, range(len(generators))))
    return [part.to(like) for part in numbers]


def uniform(like: Tensor, generators: list[torch.Generator]) -> Tensor:
    """Draw uniform numbers in [0, 1) of a batch's shape (n_images, ...), each image's from its own generator."""
    return torch.stack([torch.rand(like.shape[1:], generator=generator) for generator in generators]).to(like)
