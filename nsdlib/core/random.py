"""Random numbers that are reproducible per image, and sampling of pixels.

The numbers depend on seed and image id, never on the batch or device. Pixels are drawn from a discretised mixture of logistics
with the parameters of PixelCNN++ (Salimans et al. 2017).
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def generators(seed: int, image_ids) -> list[torch.Generator]:
    """Return one generator per image, seeded by seed and image id; ValueError for ids that are not integers from 0."""
    ids = np.asarray(image_ids)
    if ids.size and (ids.dtype.kind not in "iu" or ids.min() < 0):
        raise ValueError(f"image_ids must be whole numbers from 0, got {ids[:5]}")
    sequences = (np.random.SeedSequence([seed, int(image_id)]) for image_id in image_ids)
    states = (sequence.generate_state(1, np.uint64)[0] for sequence in sequences)
    return [torch.Generator().manual_seed(int(state >> 1)) for state in states]


def normal(like: Tensor, generators: list[torch.Generator]) -> Tensor:
    """Draw standard normal numbers of the shape of `like` (n_images, ...), with one generator per image."""
    return torch.stack([torch.randn(like.shape[1:], generator=generator) for generator in generators]).to(like)


def normals(shapes, like: Tensor, generators: list[torch.Generator]) -> list[Tensor]:
    """Draw (n_images, *shape) for each shape, as `normal` does, with images in parallel on PyTorch's number of threads."""
    with torch.inference_mode(False):  # inference mode is thread-local
        numbers = [torch.empty(len(generators), *shape) for shape in shapes]

    def draw(image):
        for part in numbers:
            part[image].normal_(generator=generators[image])

    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        list(threads.map(draw, range(len(generators))))
    return [part.to(like) for part in numbers]


def split_parameters(parameters: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Split (n, 10 m, rows, columns) into mixture logits (n, m, ...) and, each (n, 3, m, ...), means, log scales, couplings.

    The couplings are red to green, red to blue, and green to blue.
    """
    n, channels, rows, columns = parameters.shape
    m = channels // 10
    logits, rest = parameters[:, :m], parameters[:, m:].reshape(n, 3, 3 * m, rows, columns)
    means, log_scales, couplings = rest.split(m, dim=2)
    return logits, means, log_scales.clamp(min=-7), couplings.tanh()


def read_pixels(parameters: Tensor, generators=None) -> Tensor:
    """Return pixels in [-1, 1], (n_images, 3, rows, columns): the mixture's mean, or a draw when generators are given.

    Green depends on red, and blue on both, through the couplings. In a draw, each colour is clamped before the next one uses it.
    """
    logits, means, log_scales, couplings = split_parameters(parameters)
    if generators is None:
        weights = logits.softmax(1)
        return torch.stack([(weights * x).sum(1) for x in _couple(means, couplings)], dim=1).clamp(-1, 1)
    gumbel = -torch.log(-torch.log(_open_uniform(logits, generators)))
    one_hot = F.one_hot((logits + gumbel).argmax(1), logits.shape[1]).movedim(-1, 1).to(logits).unsqueeze(1)
    means, scales, couplings = ((x * one_hot).sum(2) for x in (means, log_scales.exp(), couplings))
    u = _open_uniform(means, generators)
    colours = means + scales * (torch.log(u) - torch.log1p(-u))  # (n_images, 3, rows, columns)
    return torch.stack(_couple(colours, couplings, lambda x: x.clamp(-1, 1)), dim=1)


def _couple(colours, couplings, bound=lambda x: x):
    """Return red, green and blue, each bounded before the next one uses it."""
    red = bound(colours[:, 0])
    green = bound(colours[:, 1] + couplings[:, 0] * red)
    return red, green, bound(colours[:, 2] + couplings[:, 1] * red + couplings[:, 2] * green)


def _open_uniform(like, generators):
    """Draw uniform numbers in (1e-5, 1 - 1e-5), with one generator per image."""
    numbers = torch.stack([torch.rand(like.shape[1:], generator=generator) for generator in generators])
    return numbers.to(like) * (1 - 2e-5) + 1e-5
