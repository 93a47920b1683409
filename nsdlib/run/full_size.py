"""The published models at full size with random weights, for rehearsals and benchmarks.

The configurations are those of the published config.json files; a test counts the parameters.
"""

import weakref
from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPVisionConfig, CLIPVisionModelWithProjection

from nsdlib.core import diffusion, vdvae
from nsdlib.core.clip import ClipEmbedder
from nsdlib.core.diffusion import autoencoder
from nsdlib.core.diffusion.stable import StableDiffusion
from nsdlib.core.scores import features
from nsdlib.core.weights import half_on_gpu

GIB = 2**30
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
    """Sizes of a subject's data and of the models; the defaults are subject 1 of the paper and the published models."""

    n_train: int = 8859
    n_test: int = 982
    n_voxels: int = 15_724
    n_captions: int = 5  # per image
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
        """Patches of an image plus the class token."""
        return (self.vision["image_size"] // self.vision["patch_size"]) ** 2 + 1

    @property
    def n_text_tokens(self):
        """Tokens of a caption."""
        return self.text["max_position_embeddings"]

    @property
    def token_width(self):
        """Dimensions of a token."""
        return self.text["projection_dim"]


def build_vdvae(sizes, device) -> vdvae.VDVAE:
    """Build the VDVAE of stage 1."""
    with torch.device(device):
        model = vdvae.VDVAE(vdvae.Hyperparameters(**sizes.vdvae)).eval().to(memory_format=torch.channels_last)
    model.fast = device.type == "cuda"
    return model


class HashTokenizer:
    """A stand-in for CLIP's tokenizer that needs no vocabulary file: it hashes each word to a token id."""

    def __init__(self, n_words):
        self.eos_token_id = n_words - 1

    def __call__(self, captions, *, max_length, **_):
        """Like tokenizers of transformers, return an object with `input_ids` (n_captions, max_length)."""
        ids = torch.full((len(captions), max_length), self.eos_token_id)
        for row, caption in zip(ids, captions, strict=True):
            words = caption.split()[: max_length - 1]
            row[: len(words)] = torch.tensor([sum(map(ord, word)) % self.eos_token_id for word in words])
        return type("Encoded", (), {"input_ids": ids})


def build_embedder(sizes, device) -> ClipEmbedder:
    """Build CLIP's image and text encoders, in half precision on a GPU."""
    dtype = half_on_gpu(device)
    with torch.device(device):
        image = CLIPVisionModelWithProjection(CLIPVisionConfig(**sizes.vision)).to(dtype).eval()
        text = CLIPTextModelWithProjection(CLIPTextConfig(**sizes.text)).to(dtype).eval()
    return ClipEmbedder(image, text, HashTokenizer(sizes.text["vocab_size"]))


def build_second_stage(sizes, device) -> diffusion.VersatileDiffusion:
    """Build Versatile Diffusion: its dual UNet and its autoencoder, in half precision except on a CPU."""
    return diffusion.VersatileDiffusion(*_parts(sizes, device, twins=("vision", "text")))


def build_stable_diffusion(sizes, device) -> StableDiffusion:
    """Build Stable Diffusion 1; its UNet has the sizes of Versatile Diffusion's image UNet. Precision as `build_second_stage`."""
    return StableDiffusion(*_parts(sizes, device, twins=("text",)))


def _parts(sizes, device, twins):
    """UNet, autoencoder, scheduler, and unconditional tokens for each branch of the UNet, text first."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

    dtype = torch.float32 if device.type == "cpu" else torch.float16
    with torch.device(device):
        unet = diffusion.DualUNet(UNet2DConditionModel(**sizes.unet), twins=twins).to(dtype).eval()
        vae = nn.Module.to(AutoencoderKL(**sizes.autoencoder), dtype).eval()  # diffusers' own `to` warns without reason
        n_tokens = (sizes.n_text_tokens, sizes.n_vision_tokens)[: len(twins)]
        empty = [torch.randn(1, n, sizes.token_width, dtype=dtype) for n in n_tokens]
    if device.type == "cuda":
        unet, vae = (part.to(memory_format=torch.channels_last) for part in (unet, vae))
    return unet, vae, DDIMScheduler(**SCHEDULER), *empty


def build_extractors(sizes, device) -> dict[str, features.FeatureExtractor]:
    """Build the five feature extractors of the scores."""
    with torch.device(device):
        clip = CLIPVisionModelWithProjection(CLIPVisionConfig(**sizes.vision)).eval()
        networks = {name: features.published(name, None, device) for name in features.PUBLISHED}
    return networks | {"clip": features.embedding_extractor(clip)}


class LiveMemory(TorchDispatchMode):
    """Counts the bytes of live tensors created inside this context, and their peak; meta tensors count too."""

    def __init__(self):
        super().__init__()
        self.now, self.peak, self._sizes = 0, 0, {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        outputs = function(*args, **(kwargs or {}))
        before, after = (
            {x.untyped_storage()._cdata: x.untyped_storage() for x in tree_leaves(tree) if isinstance(x, torch.Tensor)}
            for tree in ((args, kwargs), outputs)
        )
        for key in after.keys() - before.keys():  # a view, for example of weights, allocates nothing
            self._count(after[key])
        return outputs

    def _count(self, storage):
        if storage._cdata not in self._sizes:
            self._sizes[storage._cdata] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._release, storage._cdata)

    def _release(self, key):
        self.now -= self._sizes.pop(key)


def gpu_memory(run, batch_sizes=(1, 8, 32)):
    """Count the GPU memory of the second stage from the sizes of all live tensors, without computing them.

    Returns a DataFrame with a row per batch size: GiB of the weights, the diffusion step, the autoencoder (encoding and
    decoding), and the overall peak. Workspaces of libraries are not included.
    """
    second, half, rows = build_second_stage(Sizes(), torch.device("meta")), torch.float16, []
    weights = sum(tensor.nbytes for model in (second.unet, second.vae) for tensor in model.parameters()) / GIB
    side, channels = second.unet.unet.config.sample_size, second.vae.config.latent_channels
    with torch.device("meta"), torch.inference_mode():
        for n in batch_sizes:
            tokens = (torch.empty(2 * n, *empty.shape[1:], dtype=half) for empty in second.unconditional)
            with LiveMemory() as step:
                conditioning = second.unet.condition(*tokens, run.text_weight)
                second.unet(torch.empty(n, channels, side, side, dtype=half), torch.tensor(1), conditioning)
            batch, size = min(n, second.pixel_batch), second.image_size
            with LiveMemory() as pixels:
                autoencoder.encode(second.vae, torch.empty(batch, 3, size, size, dtype=half))
                autoencoder.decode(second.vae, torch.empty(batch, channels, side, side, dtype=half))
            peak = weights + max(step.peak, pixels.peak) / GIB
            rows.append({"images at once": n, "weights": weights, "diffusion step": step.peak / GIB,
                         "autoencoder": pixels.peak / GIB, "peak": peak})  # fmt: skip
    return pd.DataFrame(rows).set_index("images at once")
