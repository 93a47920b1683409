"""The published models at their true sizes with random weights: what a rehearsal and a benchmark run on.

Configurations are those of the files' own config.json; a test counts the parameters.
"""

from dataclasses import dataclass, field

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPVisionConfig, CLIPVisionModelWithProjection

from nsdlib.core import diffusion, vdvae
from nsdlib.core.clip import ClipEmbedder
from nsdlib.core.scores import features

UNET = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
}
AUTOENCODER = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "latent_channels": 4,
    "layers_per_block": 2,
    "sample_size": 256,
}
SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "clip_sample": False,
}
VISION = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 14,
    "projection_dim": 768,
}
TEXT = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "projection_dim": 768,
    "vocab_size": 49_408,
    "max_position_embeddings": 77,
}


@dataclass(frozen=True)
class Sizes:
    """How large everything is; the defaults are subject 1 of the paper and the published models."""

    n_train: int = 8859
    n_test: int = 982
    n_voxels: int = 15_724
    n_captions: int = 5  # an image
    image_side: int = 425
    vdvae: dict = field(default_factory=dict)
    unet: dict = field(default_factory=lambda: UNET)
    autoencoder: dict = field(default_factory=lambda: AUTOENCODER)
    vision: dict = field(default_factory=lambda: VISION)
    text: dict = field(default_factory=lambda: TEXT)

    @property
    def n_images(self):
        """All images of a subject."""
        return self.n_train + self.n_test

    @property
    def n_vision_tokens(self):
        """Patches of an image, and the class token."""
        return (self.vision["image_size"] // self.vision["patch_size"]) ** 2 + 1

    @property
    def n_text_tokens(self):
        """Places of a caption."""
        return self.text["max_position_embeddings"]

    @property
    def token_width(self):
        """Numbers of a token."""
        return self.text["projection_dim"]


def build_vdvae(sizes, device) -> vdvae.VDVAE:
    """The VDVAE of stage 1."""
    with torch.device(device):
        model = vdvae.VDVAE(vdvae.Hyperparameters(**sizes.vdvae)).eval().to(memory_format=torch.channels_last)
    model.fast = device.type == "cuda"
    return model


class Words:
    """Stands in for CLIP's tokenizer, whose vocabulary is a file too: each word is a number."""

    def __init__(self, n_words):
        self.eos_token_id = n_words - 1

    def __call__(self, captions, *, max_length, **_):
        """As transformers' tokenizers: an object with `input_ids` (n_captions, max_length)."""
        ids = torch.full((len(captions), max_length), self.eos_token_id)
        for row, caption in zip(ids, captions, strict=True):
            words = caption.split()[: max_length - 1]
            row[: len(words)] = torch.tensor([sum(map(ord, word)) % self.eos_token_id for word in words])
        return type("Encoded", (), {"input_ids": ids})


def build_embedder(sizes, device) -> ClipEmbedder:
    """CLIP's two encoders; in half precision on a GPU."""
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    with torch.device(device):
        image = CLIPVisionModelWithProjection(CLIPVisionConfig(**sizes.vision)).to(dtype).eval()
        text = CLIPTextModelWithProjection(CLIPTextConfig(**sizes.text)).to(dtype).eval()
    return ClipEmbedder(image, text, Words(sizes.text["vocab_size"]))


def build_second_stage(sizes, device, dtype) -> diffusion.VersatileDiffusion:
    """Versatile Diffusion's two UNets in one, and its autoencoder."""
    with torch.device(device):
        unet = diffusion.DualUNet(UNet2DConditionModel(**sizes.unet)).to(dtype).eval()
        autoencoder = nn.Module.to(AutoencoderKL(**sizes.autoencoder), dtype).eval()  # diffusers' own warns of nothing
        n_tokens = (sizes.n_text_tokens, sizes.n_vision_tokens)
        empty = [torch.randn(1, n, sizes.token_width, dtype=dtype) for n in n_tokens]
    if device.type == "cuda":
        unet, autoencoder = (part.to(memory_format=torch.channels_last) for part in (unet, autoencoder))
    return diffusion.VersatileDiffusion(unet, autoencoder, DDIMScheduler(**SCHEDULER), *empty)


def build_extractors(sizes, device) -> dict[str, features.FeatureExtractor]:
    """The five networks that judge."""
    with torch.device(device):
        clip = CLIPVisionModelWithProjection(CLIPVisionConfig(**sizes.vision)).eval()
        networks = {name: features.published(name, None, device) for name in features.PUBLISHED}
    return networks | {"clip": features.embedding_extractor(clip)}
