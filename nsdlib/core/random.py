"""Random numbers that belong to an image, and pixels that are drawn with them.

The numbers follow from (seed, image id), never from the batch or the device. Pixels come from a discretised mixture of
logistics, as PixelCNN++ parameterises it (Salimans et al. 2017).
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


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


def split_parameters(parameters: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Split (n, 10 m, rows, columns) into mixture logits (n, m, ...) and, each (n, 3, m, ...), means, log scales, couplings.

    The couplings are those of red to green, red to blue, and green to blue.
    """
    n, channels, rows, columns = parameters.shape
    m = channels // 10
    logits, rest = parameters[:, :m], parameters[:, m:].reshape(n, 3, 3 * m, rows, columns)
    means, log_scales, couplings = rest.split(m, dim=2)
    return logits, means, log_scales.clamp(min=-7), couplings.tanh()


def read_pixels(parameters: Tensor, generators=None) -> Tensor:
    """Return pixels in [-1, 1], (n_images, 3, rows, columns): the mixture's mean, or a draw when generators are given.

    Green depends on red, and blue on both, through the couplings; in a draw each colour is clamped before the next uses it.
    """
    logits, means, log_scales, couplings = split_parameters(parameters)
    if generators is None:
        weights = logits.softmax(1)
        return torch.stack([(weights * x).sum(1) for x in _couple(means, couplings)], dim=1).clamp(-1, 1)
    gumbel = -torch.log(-torch.log(_open_uniform(logits, generators)))
    chosen = F.one_hot((logits + gumbel).argmax(1), logits.shape[1]).movedim(-1, 1).to(logits).unsqueeze(1)
    means, scales, couplings = ((x * chosen).sum(2) for x in (means, log_scales.exp(), couplings))
    u = _open_uniform(means, generators)
    colours = means + scales * (torch.log(u) - torch.log1p(-u))  # (n_images, 3, rows, columns)
    return torch.stack(_couple(colours, couplings, lambda x: x.clamp(-1, 1)), dim=1)


def _couple(colours, couplings, bound=lambda x: x):
    """Red, green and blue, each bounded before the next one uses it."""
    red = bound(colours[:, 0])
    green = bound(colours[:, 1] + couplings[:, 0] * red)
    return red, green, bound(colours[:, 2] + couplings[:, 1] * red + couplings[:, 2] * green)


def _open_uniform(like, generators):
    """Uniform numbers in (1e-5, 1 - 1e-5), each image's from its own generator."""
    numbers = torch.stack([torch.rand(like.shape[1:], generator=generator) for generator in generators])
    return numbers.to(like) * (1 - 2e-5) + 1e-5
