"""The single-trial GLM, decoders, generative models and scores: arrays in, arrays out, on the device of the input.

Imports nothing else from nsdlib, and is independent of runs and of the store."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "clip": ["ClipEmbedder"],
        "device": ["pick_device"],
        "diffusion.pipeline": ["VersatileDiffusion"],
        "diffusion.unet": ["DualUNet"],
        "glm.events": ["design_from_events"],
        "glm.fit": ["explain", "fit_glm"],
        "glm.options": ["GLMOptions"],
        "images": ["add_noise", "resize"],
        "networks": ["DECODERS", "NeuralDecoder"],
        "ridge": ["Ridge", "rescale"],
        "scores.features": ["FeatureExtractor"],
        "scores.metrics": ["METRICS", "Scorer"],
        "scores.protocols": ["PROTOCOLS"],
        "scores.reliability": ["correlate", "reliability"],
        "scores.similarity": ["correlation_distance", "pixcorr", "ssim", "two_way"],
        "vdvae": ["VDVAE"],
    },
)
