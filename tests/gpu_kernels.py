"""Kernels of the second stage against layers of PyTorch and diffusers; `test_diffusion` runs this in Triton's interpreter."""

import torch
from diffusers.models.activations import GEGLU
from torch import nn
from torch.nn import functional as F

from nsdlib.core.diffusion import kernels

GENERATOR = torch.Generator().manual_seed(0)


def drawn(*shape):
    return torch.randn(shape, generator=GENERATOR)


def scaled(norm):
    """A norm with weights and biases that are not 1 and 0."""
    for parameter in norm.parameters():
        parameter.normal_(generator=GENERATOR)
    return norm


def norms_of_groups(shape, n_groups, n_shifts):
    x, norm, shift = 3 * drawn(*shape) + 5, scaled(nn.GroupNorm(n_groups, shape[1])), drawn(n_shifts, shape[1])
    wanted = norm(x + shift[:, :, None, None] if n_shifts else x)
    for silu, expected in ((True, F.silu(wanted)), (False, wanted)):
        made = kernels.group_norm(x, norm, silu, shift if n_shifts else None)
        assert made.is_contiguous(memory_format=torch.channels_last)
        yield made, expected


def sums_and_gates():
    x, added, norm, gate = drawn(2, 9, 24), drawn(2, 9, 24), scaled(nn.LayerNorm(24)), GEGLU(24, 12)
    yield kernels.add_norm(x, added, norm), (x + added, norm(x + added))
    yield kernels.gated(gate.proj(x)), gate(x)


with torch.inference_mode():
    pairs = [
        pair
        for case in (((2, 40, 5, 7), 4, 2), ((1, 96, 3, 700), 16, 1), ((2, 8, 2, 2), 8, 0))
        for pair in norms_of_groups(*case)
    ]
    pairs += sums_and_gates()
    for made, wanted in pairs:
        torch.testing.assert_close(made, wanted, atol=1e-5, rtol=1e-5)
print(len(pairs), "comparisons")
