"""Pixels as a discretised mixture of logistics, the way PixelCNN++ writes them (Salimans et al. 2017): reading them off."""

import torch
from torch import Tensor
from torch.nn import functional as F

from nsdlib.core import random


def split_parameters(parameters: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Split (n, 10 m, rows, columns) into mixture logits (n, m, ...) and, each (n, 3, m, ...), means, log scales, couplings."""
    n, channels, rows, columns = parameters.shape
    m = channels // 10
    logits, rest = parameters[:, :m], parameters[:, m:].reshape(n, 3, 3 * m, rows, columns)
    means, log_scales, couplings = rest.split(m, dim=2)
    return logits, means, log_scales.clamp(min=-7), couplings.tanh()


def read_pixels(parameters: Tensor, generators=None) -> Tensor:
    """Pixels in [-1, 1], (n_images, 3, rows, columns): the mixture's mean, or a draw when generators are given.

    Green leans on red and blue on both through the couplings; in a draw each colour is clamped before it is leant on.
    """
    logits, means, log_scales, (k_rg, k_rb, k_gb) = _by_colour(parameters)
    if generators is None:
        weights = logits.softmax(1)
        red, green = means[0], means[1] + k_rg * means[0]
        blue = means[2] + k_rb * red + k_gb * green
        return torch.stack([(weights * x).sum(1) for x in (red, green, blue)], dim=1).clamp(-1, 1)
    gumbel = -torch.log(-torch.log(_open_uniform(logits, generators)))
    chosen = F.one_hot((logits + gumbel).argmax(1), logits.shape[1]).movedim(-1, 1).to(logits)
    means, scales, (k_rg, k_rb, k_gb) = (
        [(x * chosen).sum(1) for x in group] for group in (means, [s.exp() for s in log_scales], (k_rg, k_rb, k_gb))
    )
    u = _open_uniform(torch.stack(means, dim=1), generators).unbind(1)
    x = [m + s * (torch.log(v) - torch.log1p(-v)) for m, s, v in zip(means, scales, u, strict=True)]
    red = x[0].clamp(-1, 1)
    green = (x[1] + k_rg * red).clamp(-1, 1)
    blue = (x[2] + k_rb * red + k_gb * green).clamp(-1, 1)
    return torch.stack([red, green, blue], dim=1)


def _by_colour(parameters):
    """Mixture parts with one entry a colour; of the couplings the three used: red to green, red to blue, green to blue."""
    logits, means, log_scales, couplings = split_parameters(parameters)
    return logits, means.unbind(1), log_scales.unbind(1), (couplings[:, 0], couplings[:, 1], couplings[:, 2])


def _open_uniform(like, generators):
    """Uniform numbers in (1e-5, 1 - 1e-5), each image's from its own generator."""
    return random.uniform(like, generators) * (1 - 2e-5) + 1e-5
