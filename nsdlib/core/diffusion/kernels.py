"""Fused GPU kernels in Triton, which read memory less often than a sequence of PyTorch operations."""

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 4096  # values that a program holds at once
PLACES = 1024  # positions of an image per program of `_moments`; more if there would be over 16 programs


def group_norm(x: Tensor, norm, silu: bool, shift: Tensor | None = None) -> Tensor:
    """Apply `layers.group_norm` to maps (n_images, channels, rows, columns), stored with channels last."""
    x = x.contiguous(memory_format=torch.channels_last)
    n_images, n_channels, n_places = len(x), x.shape[1], x.shape[2] * x.shape[3]
    group_size, width = n_channels // norm.num_groups, triton.next_power_of_2(n_channels // norm.num_groups)
    n_parts = min(16, triton.next_power_of_2(triton.cdiv(n_places, PLACES)))
    moments = torch.empty(2, n_images, n_parts, norm.num_groups, dtype=torch.float32, device=x.device)
    shifts = (x, 0) if shift is None else (shift.contiguous(), n_channels if len(shift) > 1 else 0)
    sizes = (n_places, n_channels, group_size, moments[0].numel())
    _moments[(n_images * norm.num_groups, n_parts)](
        x, *shifts, moments, *sizes, triton.cdiv(n_places, n_parts),
        SHIFTED=shift is not None, WIDTH=width, ROWS=max(1, BLOCK // width),
    )  # fmt: skip
    y, channels, places = torch.empty_like(x), 64, 2 * BLOCK // 64
    _normalise[(n_images, triton.cdiv(n_places, places), triton.cdiv(n_channels, channels))](
        x, *shifts, moments, *sizes, y, norm.weight, norm.bias, norm.eps,
        SHIFTED=shift is not None, SILU=silu, N_PARTS=n_parts, ROWS=places, WIDTH=channels,
    )  # fmt: skip
    return y


@triton.jit
def _moments(
    x, shift, shift_stride, moments, n_places, n_channels, group_size, n_moments, part_size,
    SHIFTED: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Sum, and sum of squares, of one channel group over part of an image's positions, relative to the group's first value."""
    n_groups = n_channels // group_size
    image, group, part = tl.program_id(0) // n_groups, tl.program_id(0) % n_groups, tl.program_id(1)
    channel = tl.arange(0, WIDTH)[None, :]
    channel_mask = channel < group_size
    x += image.to(tl.int64) * n_places * n_channels + group * group_size
    first = tl.load(x).to(tl.float32)
    if SHIFTED:
        shifts = tl.load(shift + image * shift_stride + group * group_size + channel, mask=channel_mask, other=0.0).to(tl.float32)
    total = tl.zeros((ROWS, WIDTH), tl.float32)
    squares = tl.zeros((ROWS, WIDTH), tl.float32)
    end = tl.minimum((part + 1) * part_size, n_places)
    for start in range(part * part_size, end, ROWS):
        place = start + tl.arange(0, ROWS)[:, None]
        mask = (place < end) & channel_mask
        values = tl.load(x + place * n_channels + channel, mask=mask, other=0.0).to(tl.float32) - first
        if SHIFTED:
            values += shifts
        values = tl.where(mask, values, 0.0)
        total += values
        squares += values * values
    moments += (image * tl.num_programs(1) + part) * n_groups + group
    tl.store(moments, tl.sum(tl.sum(total, 1), 0))
    tl.store(moments + n_moments, tl.sum(tl.sum(squares, 1), 0))


@triton.jit
def _normalise(
    x, shift, shift_stride, moments, n_places, n_channels, group_size, n_moments, y, weight, bias, eps,
    SHIFTED: tl.constexpr, SILU: tl.constexpr, N_PARTS: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Normalise a block of positions and channels of an image with the moments of its parts."""
    image = tl.program_id(0)
    place = tl.program_id(1) * ROWS + tl.arange(0, ROWS)[:, None]
    channel = tl.program_id(2) * WIDTH + tl.arange(0, WIDTH)
    channel_mask = channel < n_channels
    group, n_groups = channel // group_size, n_channels // group_size
    x += image.to(tl.int64) * n_places * n_channels
    y += image.to(tl.int64) * n_places * n_channels
    part = moments + (image * N_PARTS + tl.arange(0, N_PARTS)[:, None]) * n_groups + group[None, :]
    mean = tl.sum(tl.load(part, mask=channel_mask[None, :], other=0.0), 0) / (n_places * group_size)
    square = tl.sum(tl.load(part + n_moments, mask=channel_mask[None, :], other=0.0), 0) / (n_places * group_size)
    scale = tl.load(weight + channel, mask=channel_mask, other=0.0).to(tl.float32) * tl.rsqrt(square - mean * mean + eps)
    centre = mean + tl.load(x + group * group_size, mask=channel_mask, other=0.0).to(tl.float32)
    if SHIFTED:
        centre -= tl.load(shift + image * shift_stride + channel, mask=channel_mask, other=0.0).to(tl.float32)
    offset = tl.load(bias + channel, mask=channel_mask, other=0.0).to(tl.float32) - centre * scale
    positions, mask = place * n_channels + channel[None, :], (place < n_places) & channel_mask[None, :]
    values = tl.load(x + positions, mask=mask, other=0.0).to(tl.float32) * scale[None, :] + offset[None, :]
    if SILU:
        values = values / (1 + tl.exp(-values))
    tl.store(y + positions, values.to(y.dtype.element_ty), mask=mask)


def add_norm(x: Tensor, added: Tensor | None, norm) -> tuple[Tensor, Tensor]:
    """Apply `layers.add_norm` to (n_images, n_places, n_features)."""
    x, n_features = x.contiguous(), x.shape[-1]
    total, y = x if added is None else torch.empty_like(x), torch.empty_like(x)
    n_rows, width = x.numel() // n_features, triton.next_power_of_2(n_features)
    rows = max(1, BLOCK // width)
    _add_norm[(triton.cdiv(n_rows, rows),)](
        x, x if added is None else added.contiguous(), total, y, norm.weight, norm.bias, n_rows, n_features, norm.eps,
        ADDED=added is not None, ROWS=rows, WIDTH=width,
    )  # fmt: skip
    return total, y


@triton.jit
def _add_norm(
    x, added, total, y, weight, bias, n_rows, n_features, eps,
    ADDED: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Process some rows of features."""
    row, feature = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None], tl.arange(0, WIDTH)[None, :]
    feature_mask = feature < n_features
    positions, mask = row.to(tl.int64) * n_features + feature, (row < n_rows) & feature_mask
    values = tl.load(x + positions, mask=mask, other=0.0).to(tl.float32)
    if ADDED:
        values += tl.load(added + positions, mask=mask, other=0.0).to(tl.float32)
        values = values.to(total.dtype.element_ty)
        tl.store(total + positions, values, mask=mask)
        values = values.to(tl.float32)
    values = tl.where(feature_mask, values - tl.sum(values, 1)[:, None] / n_features, 0.0)
    values *= tl.rsqrt(tl.sum(values * values, 1)[:, None] / n_features + eps)
    scale = tl.load(weight + feature, mask=feature_mask, other=0.0).to(tl.float32)
    offset = tl.load(bias + feature, mask=feature_mask, other=0.0).to(tl.float32)
    tl.store(y + positions, (values * scale + offset).to(y.dtype.element_ty), mask=mask)


def gated(h: Tensor) -> Tensor:
    """Multiply the first half of the features by the GELU of the second: (n_images, n_places, 2 n_features) to n_features."""
    y = h.new_empty(*h.shape[:-1], h.shape[-1] // 2)
    _gated[(triton.cdiv(y.numel(), BLOCK // 4),)](h.contiguous(), y, y.numel(), y.shape[-1], SIZE=BLOCK // 4)
    return y


@triton.jit
def _gated(h, y, n_values, n_features, SIZE: tl.constexpr):
    """Compute some of the products."""
    positions = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    mask = positions < n_values
    h += positions // n_features * (2 * n_features) + positions % n_features
    value = tl.load(h, mask=mask, other=0.0).to(tl.float32)
    gate = tl.load(h + n_features, mask=mask, other=0.0).to(tl.float32)
    gate *= 0.5 * (1 + tl.erf(gate * 0.7071067811865476))
    tl.store(y + positions, (value * gate).to(y.dtype.element_ty), mask=mask)
