"""The autoencoder of the second stage (diffusers' AutoencoderKL), run entirely in the channels-last memory layout."""

import torch
from torch import Tensor

from nsdlib.core.diffusion import layers


def encode(vae, x: Tensor) -> tuple[Tensor, Tensor]:
    """Encode pixels in [-1, 1], (n_images, 3, size, size), as the mean and standard deviation of their latents."""
    encoder = vae.encoder
    x = encoder.conv_in(x)
    for block in encoder.down_blocks:
        for resnet in block.resnets:
            x = layers.residual(resnet, x)
        for sampler in block.downsamplers or ():
            x = sampler(x)
    x = encoder.conv_out(layers.group_norm(encoder.conv_norm_out, _middle(encoder.mid_block, x), silu=True))
    mean, log_variance = vae.quant_conv(x).chunk(2, dim=1)
    return mean, torch.exp(0.5 * log_variance.clamp(-30, 20))


def decode(vae, z: Tensor) -> Tensor:
    """Decode latents as pixels, (n_images, 3, size, size), nominally in [-1, 1] but not clipped."""
    decoder = vae.decoder
    x = _middle(decoder.mid_block, decoder.conv_in(vae.post_quant_conv(z)))
    for block in decoder.up_blocks:
        for resnet in block.resnets:
            x = layers.residual(resnet, x)
        for sampler in block.upsamplers or ():
            x = layers.upsample(sampler, x)
    return decoder.conv_out(layers.group_norm(decoder.conv_norm_out, x, silu=True))


def _middle(block, x):
    """Apply the blocks of the lowest resolution, which include self-attention."""
    first, *later = block.resnets
    x = layers.residual(first, x)
    for attention, resnet in zip(block.attentions, later, strict=True):
        h = layers.to_places(layers.group_norm(attention.group_norm, x))
        h = layers.attend(attention, h, layers.keys_and_values(attention, h))
        x = layers.residual(resnet, x + layers.to_maps(h, x.shape))
    return x
