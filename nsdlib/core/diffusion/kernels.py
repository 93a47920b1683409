"""Kernels for a GPU, in Triton, that read memory once where a sequence of PyTorch's operations would read it many times."""

import torch
import triton
import triton.language as tl
from torch import Tensor

CHANNELS, PLACES, PART = 64, 128, 1024  # of a block that is normalised; places of a block whose moments are taken, at least


def group_norm(x: Tensor, weight: Tensor, bias: Tensor, n_groups: int, eps: float, silu: bool) -> Tensor:
    """Normalise maps (n_images, channels, rows, columns) in groups of channels, then SiLU where asked; channels last."""
    x = x.contiguous(memory_format=torch.channels_last)
    n_images, n_channels, n_places, y = len(x), x.shape[1], x.shape[2] * x.shape[3], torch.empty_like(x)
    n_parts = min(16, triton.next_power_of_2(triton.cdiv(n_places, PART)))
    moments = torch.empty(2, n_images, n_parts, n_groups, dtype=torch.float32, device=x.device)
    in_group = n_channels // n_groups
    _moments[(n_images * n_groups, n_parts)](
        x, moments, n_places, triton.cdiv(n_places, n_parts), n_groups, in_group, moments[0].numel(),
        WIDTH=triton.next_power_of_2(in_group), BLOCK=4096 // triton.next_power_of_2(in_group),
    )  # fmt: skip
    _normalise[(n_images, triton.cdiv(n_places, PLACES), triton.cdiv(n_channels, CHANNELS))](
        x, y, weight, bias, moments, n_places, n_channels, n_groups, in_group, moments[0].numel(), eps,
        N_PARTS=n_parts, SILU=silu, PLACES=PLACES, CHANNELS=CHANNELS,
    )  # fmt: skip
    return y


@triton.jit
def _moments(x, moments, n_places, per_part, n_groups, in_group, n_moments, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Sum, and sum of squares about the first value, of one group of channels in a part of an image's places."""
    image, group, part = tl.program_id(0) // n_groups, tl.program_id(0) % n_groups, tl.program_id(1)
    n_channels = n_groups * in_group
    channel = tl.arange(0, WIDTH)[None, :]
    x += image.to(tl.int64) * n_places * n_channels + group * in_group
    shift = tl.load(x).to(tl.float32)
    total = tl.zeros((BLOCK, WIDTH), tl.float32)
    squares = tl.zeros((BLOCK, WIDTH), tl.float32)
    end = tl.minimum((part + 1) * per_part, n_places)
    for start in range(part * per_part, end, BLOCK):
        place = start + tl.arange(0, BLOCK)[:, None]
        there = (place < end) & (channel < in_group)
        values = tl.load(x + place * n_channels + channel, mask=there, other=0.0).to(tl.float32)
        values = tl.where(there, values - shift, 0.0)
        total += values
        squares += values * values
    moments += (image * tl.num_programs(1) + part) * n_groups + group
    tl.store(moments, tl.sum(tl.sum(total, 1), 0))
    tl.store(moments + n_moments, tl.sum(tl.sum(squares, 1), 0))


@triton.jit
def _normalise(
    x, y, weight, bias, moments, n_places, n_channels, n_groups, in_group, n_moments, eps,
    N_PARTS: tl.constexpr, SILU: tl.constexpr, PLACES: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """One block of places and channels of an image, from the moments of its parts."""
    image = tl.program_id(0)
    place = tl.program_id(1) * PLACES + tl.arange(0, PLACES)[:, None]
    channel = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    known = channel < n_channels
    group = channel // in_group
    x += image.to(tl.int64) * n_places * n_channels
    y += image.to(tl.int64) * n_places * n_channels
    at = moments + (image * N_PARTS + tl.arange(0, N_PARTS)[:, None]) * n_groups + group[None, :]
    total = tl.sum(tl.load(at, mask=known[None, :], other=0.0), 0)
    squares = tl.sum(tl.load(at + n_moments, mask=known[None, :], other=0.0), 0)
    shift = tl.load(x + group * in_group, mask=known, other=0.0).to(tl.float32)
    mean = total / (n_places * in_group)  # about the group's first value
    scale = tl.load(weight + channel, mask=known, other=0.0).to(tl.float32) * tl.rsqrt(squares / (n_places * in_group) - mean * mean + eps)
    offset = tl.load(bias + channel, mask=known, other=0.0).to(tl.float32) - (mean + shift) * scale
    there = (place < n_places) & known[None, :]
    where = place * n_channels + channel[None, :]
    values = tl.load(x + where, mask=there, other=0.0).to(tl.float32) * scale[None, :] + offset[None, :]
    if SILU:
        values = values / (1 + tl.exp(-values))
    tl.store(y + where, values.to(y.dtype.element_ty), mask=there)


def gated(h: Tensor) -> Tensor:
    """First half of the features times the GELU of the second: (n_images, n_places, 2 n_features) to n_features."""
    n_features = h.shape[-1] // 2
    y = h.new_empty(*h.shape[:-1], n_features)
    block = 1024
    _gated[(triton.cdiv(y.numel(), block),)](h, y, y.numel(), n_features, BLOCK=block)
    return y


@triton.jit
def _gated(h, y, n_values, n_features, BLOCK: tl.constexpr):
    """One block of products."""
    where = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = where < n_values
    at = h + where // n_features * (2 * n_features) + where % n_features
    value = tl.load(at, mask=there, other=0.0).to(tl.float32)
    gate = tl.load(at + n_features, mask=there, other=0.0).to(tl.float32)
    tl.store(y + where, (value * gate * 0.5 * (1 + tl.erf(gate * 0.7071067811865476))).to(y.dtype.element_ty), mask=there)
