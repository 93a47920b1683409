"""Stage 2, Versatile Diffusion: UNet, autoencoder, and the diffusion loop that refines a rough image."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "pipeline": ["VersatileDiffusion", "denoise_latents", "img2img_timesteps", "load", "make_scheduler"],
        "unet": ["DualUNet"],
    },
)
