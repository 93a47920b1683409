"""The demo zoo's image autoencoder: diffusers' AutoencoderKL, 64 x 64 pixels to 8 x 8 x 16 and back.

Beside the pixels, their differences to their neighbours enter the loss: outlines stay soft without them.
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
    "block_out_channels": [16, 48, 80, 96],
    "layers_per_block": 1,
    "latent_channels": 16,
    "norm_num_groups": 8,
    "sample_size": 64,
}
N_STEPS, BATCH, RATE, SEED, KL_WEIGHT = 10_000, 16, 1.5e-3, 11, 2e-5


def train(folder: Path, cache: Path):
    """Train, measure the latents' spread (the scaling factor), and save below `folder`/vae in diffusers' layout."""
    from diffusers import AutoencoderKL

    images = data.load_scenes("train", cache).images
    torch.manual_seed(SEED)
    model = AutoencoderKL(**CONFIG).to(memory_format=torch.channels_last)
    optimise.compile_where_possible(model.encoder, model.decoder)

    def loss_of_batch(generator, progress):
        rows = torch.randint(len(images), (BATCH,), generator=generator).numpy()
        x = data.to_unit(images[rows]).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = model.encode(x).latent_dist
            z = posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=generator)
            output = model.decode(z).sample.float()
        error = (output - x).abs().mean() + 2 * (output - x).square().mean()
        edges = sum((output.diff(dim=d) - x.diff(dim=d)).abs().mean() for d in (2, 3))
        return error + edges + KL_WEIGHT * posterior.kl().mean()

    averaged = optimise.train(
        model, loss_of_batch, n_steps=N_STEPS, learning_rate=RATE, seed=SEED, checkpoint=cache / "autoencoder.checkpoint"
    )
    with torch.inference_mode():
        z = torch.cat([averaged.encode(data.to_unit(images[i : i + 64])).latent_dist.mean for i in range(0, 1024, 64)])
    averaged.register_to_config(scaling_factor=round(1 / z.std().item(), 5))
    averaged.half().save_pretrained(folder / "vae")


@torch.inference_mode()
def measure(folder: Path, cache: Path) -> dict[str, float]:
    """Peak signal-to-noise ratio (dB) on validation scenes."""
    from diffusers import AutoencoderKL

    model = load_diffusers(AutoencoderKL, folder / "vae")
    x = data.to_unit(data.load_scenes("validation", cache).images[:256])
    error = (model.decode(model.encode(x).latent_dist.mean).sample.clamp(-1, 1) - x).square().mean((1, 2, 3))
    return {"psnr_db": (10 * torch.log10(4 / error)).mean().item()}
