"""The demo zoo's image autoencoder: diffusers' AutoencoderKL, 128 x 128 pixels to 16 x 16 x 8 and back.

The loss also compares differences between neighbouring pixels: without them, outlines stay soft.
"""

from pathlib import Path

import torch

from nsdlib.core.weights import load_diffusers
from zoo.training import data, optimise

CONFIG = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [16, 32, 64, 96],
    "layers_per_block": 1,
    "latent_channels": 8,
    "norm_num_groups": 8,
    "sample_size": data.SIZE,
}
N_STEPS, BATCH, RATE, SEED, KL_WEIGHT = 4_000, (8, 64), 2e-3, 11, 1e-6
LOG_VARIANCE = -4.0  # of the posterior, at the start


def train(folder: Path, cache: Path, resources: optimise.Resources):
    """Train, set the scaling factor to 1 / sd of the latents, and save below `folder`/vae in diffusers' layout."""
    from diffusers import AutoencoderKL

    images = torch.from_numpy(data.load_scenes("train", cache).images).to(resources.device)
    torch.manual_seed(SEED)
    model = AutoencoderKL(**CONFIG).to(resources.device, memory_format=torch.channels_last)
    with torch.no_grad():
        model.quant_conv.weight[CONFIG["latent_channels"] :] *= 0.1
        model.quant_conv.bias[CONFIG["latent_channels"] :] = LOG_VARIANCE
    resources.compile(model.encoder, model.decoder)
    size = resources.batch(*BATCH)

    def loss_of_batch(generator, progress):
        x = data.batch(images, size, generator)
        with resources.autocast():
            posterior = model.encode(x).latent_dist
            z = posterior.mean + posterior.std * torch.empty_like(posterior.mean).normal_(generator=generator)
            output = model.decode(z).sample.float()
        error = (output - x).abs().mean() + 2 * (output - x).square().mean()
        edges = sum((output.diff(dim=d) - x.diff(dim=d)).abs().mean() for d in (2, 3))
        return error + edges + KL_WEIGHT * posterior.kl().mean()

    settings = {"n_steps": N_STEPS, "learning_rate": RATE, "seed": SEED, "checkpoint": cache / "autoencoder.checkpoint"}
    averaged = optimise.train(model, loss_of_batch, resources, **settings, seconds=resources.seconds("autoencoder"))
    with torch.inference_mode():
        parts = images[:1024].split(64)
        z = torch.cat([averaged.encode(data.to_unit(part)).latent_dist.mean for part in parts])
    averaged.register_to_config(scaling_factor=round(1 / z.std().item(), 5))
    averaged.cpu().half().save_pretrained(folder / "vae")


@torch.inference_mode()
def measure(folder: Path, cache: Path) -> dict[str, float]:
    """Peak signal-to-noise ratio (dB) on validation scenes."""
    from diffusers import AutoencoderKL

    model, errors = load_diffusers(AutoencoderKL, folder / "vae"), []
    images = data.load_scenes("validation", cache).images[:256]
    for i in range(0, len(images), 32):
        x = data.to_unit(images[i : i + 32])
        errors.append((model.decode(model.encode(x).latent_dist.mean).sample.clamp(-1, 1) - x).square().mean((1, 2, 3)))
    return {"psnr_db": (10 * torch.log10(4 / torch.cat(errors))).mean().item()}
