"""Layers of the UNet and the autoencoder, with the parameters of diffusers' modules, in the channels-last memory layout.

Maps (n_images, channels, rows, columns) are stored with channels last. The same memory is (n_images, n_places, channels), the
input of attention and linear layers, so no copies are needed. The forward passes of diffusers do not keep this layout.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

PLACES = 512  # positions processed at once on a CPU, so that features of the widest layer fit into its caches


def group_norm(norm, x: Tensor, *, silu: bool = False, shift: Tensor | None = None) -> Tensor:
    """Add a shift (n_images or 1, channels) to maps, apply a GroupNorm, and optionally SiLU.

    PyTorch's GPU kernel does not keep channels last; ours does.
    """
    if fused := kernels(x):
        return fused.group_norm(x, norm, silu, shift)
    x = x if shift is None else x + shift[:, :, None, None]
    y = F.group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps)
    return F.silu(y) if silu else y


def add_norm(norm, x: Tensor, added: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return `x + added`, (n_images, n_places, n_features), or `x` alone, and its LayerNorm."""
    if fused := kernels(x):
        return fused.add_norm(x, added, norm)
    x = x if added is None else x + added
    return x, norm(x)


def to_places(x: Tensor) -> Tensor:
    """Reshape (n_images, channels, rows, columns) to (n_images, n_places, channels)."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def to_maps(x: Tensor, shape) -> Tensor:
    """Reshape (n_images, n_places, channels) to (n_images, channels, rows, columns), with rows and columns of `shape`."""
    return x.unflatten(1, shape[-2:]).permute(0, 3, 1, 2)


def project(layer, x: Tensor) -> Tensor:
    """Apply a linear layer or a 1 x 1 convolution to (n_images, n_places, n_features)."""
    return F.linear(x, layer.weight.flatten(1), layer.bias)


def residual(block, x: Tensor, emb: Tensor | None = None) -> Tensor:
    """Apply a ResnetBlock2D; `emb`, (n_images or 1, n_features), is the time embedding after SiLU."""
    shift = None if emb is None else block.time_emb_proj(emb)
    h = block.conv1(group_norm(block.norm1, x, silu=True))
    h = block.conv2(group_norm(block.norm2, h, silu=True, shift=shift))
    return h + (x if block.conv_shortcut is None else to_maps(project(block.conv_shortcut, to_places(x)), x.shape))


def keys_and_values(attention, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return keys and values of an Attention layer, each (n_images, n_heads, n_tokens, n_features)."""
    return tuple(split_heads(layer(x), attention.heads) for layer in (attention.to_k, attention.to_v))


def attend(attention, x: Tensor, keys_values: tuple[Tensor, Tensor]) -> Tensor:
    """Attend from (n_images, n_places, n_features) to keys and values of as many images, or a multiple of n_images."""
    queries = split_heads(repeat_rows(attention.to_q(x), len(keys_values[0])), attention.heads)
    values = F.scaled_dot_product_attention(queries, *keys_values)
    return attention.to_out[0](values.transpose(1, 2).flatten(2))


def split_heads(x: Tensor, n_heads: int) -> Tensor:
    """Reshape (n_images, n_tokens, n_heads * n_features) to (n_images, n_heads, n_tokens, n_features)."""
    return x.unflatten(2, (n_heads, -1)).transpose(1, 2)


def feed_forward(ff, x: Tensor) -> Tensor:
    """Apply a GEGLU feed-forward layer (Shazeer 2020); on a CPU, in blocks of positions."""
    if x.is_cuda:
        return ff.net[2](gated(ff.net[0].proj(x)))
    return torch.cat([ff.net[2](gated(ff.net[0].proj(part))) for part in x.flatten(0, 1).split(PLACES)]).view_as(x)


def gated(h: Tensor) -> Tensor:
    """Multiply the first half of the features by the GELU of the second."""
    if fused := kernels(h):
        return fused.gated(h)
    values, gates = h.chunk(2, dim=-1)
    return values * F.gelu(gates)


def transformer(block, x: Tensor, keys_values: tuple[Tensor, Tensor]) -> Tensor:
    """Apply a BasicTransformerBlock to (n_images, n_places, n_features), with keys and values of the tokens.

    If there are more rows of tokens than images, the images are repeated only at the cross-attention.
    """
    x, h = add_norm(block.norm1, x)
    x, h = add_norm(block.norm2, x, attend(block.attn1, h, keys_and_values(block.attn1, h)))
    attended = attend(block.attn2, h, keys_values)
    x, h = add_norm(block.norm3, repeat_rows(x, len(attended)), attended)
    return x + feed_forward(block.ff, h)


def repeat_rows(x: Tensor, n_rows: int) -> Tensor:
    """Repeat a batch to `n_rows` rows, in its memory layout."""
    return x if len(x) == n_rows else torch.cat([x] * (n_rows // len(x)))


def upsample(sampler, x: Tensor, shape=None) -> Tensor:
    """Apply an Upsample2D to twice the rows and columns, or to those of `shape`."""
    size = [2 * side for side in x.shape[-2:]] if shape is None else shape[-2:]
    return sampler.conv(F.interpolate(x, size, mode="nearest"))


def kernels(x: Tensor):
    """Return the Triton kernels for a GPU tensor, or None when training or compiling, or without Triton."""
    if not x.is_cuda or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return None
    try:
        from nsdlib.core.diffusion import kernels
    except ImportError:
        return None
    return kernels
