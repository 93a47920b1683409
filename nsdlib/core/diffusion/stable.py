"""Stable Diffusion 1 (Rombach et al. 2022), used by Takagi & Nishimoto (2023), in the same loop with text tokens only.

Its tokens are the text encoder's last hidden states after the final norm, neither projected nor normalised.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nsdlib.core.clip import ClipEmbedder
from nsdlib.core.diffusion.pipeline import VersatileDiffusion, load_parts
from nsdlib.core.diffusion.unet import DualUNet
from nsdlib.core.weights import half_on_gpu, load_tokenizer, load_transformers, read_config, read_folder


class StableDiffusion(VersatileDiffusion):
    """Stable Diffusion's UNet and autoencoder in the img2img loop of the second stage; `load` returns a trained one."""

    def __init__(self, unet: DualUNet, vae, scheduler, empty_text: Tensor):
        super().__init__(unet, vae, scheduler, empty_text, empty_text.new_zeros(1, 0, 0))

    def refine(self, rough, text, vision=None, *, text_weight=1.0, **options) -> np.ndarray:
        """Refine rough images, guided by text tokens (n_images, n_tokens, n_features) of `TextEmbedder`.

        Options and result are those of `VersatileDiffusion.refine`. `vision` is ignored. Raises ValueError for a `text_weight`
        other than 1.
        """
        if text_weight != 1:
            raise ValueError(f"Stable Diffusion is conditioned on text alone: text_weight must be 1, got {text_weight}")
        no_vision = np.zeros((len(rough), 0, 0), np.float32)
        return super().refine(rough, text, no_vision, text_weight=1, **options)


class TextEmbedder(ClipEmbedder):
    """Embeds texts with Stable Diffusion's text encoder; see `load_embedder`."""

    def __init__(self, text_encoder, tokenizer):
        super().__init__(None, text_encoder, tokenizer)

    def _image_tokens(self, images):
        raise ValueError("Stable Diffusion is conditioned on text alone and embeds no images; use `text`")

    def _caption_tokens(self, captions) -> Tensor:
        return self.text_encoder.text_model(input_ids=self._ids(captions)).last_hidden_state.float().cpu()


def load_embedder(folder: Path, device="cpu") -> TextEmbedder:
    """Load the text embedder of a Stable Diffusion folder (text_encoder, tokenizer), in float16 on a GPU."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    folder, dtype = Path(folder), half_on_gpu(device)
    config = CLIPTextConfig(**read_config(folder / "text_encoder"))
    config.projection_dim = config.hidden_size
    unused = {"text_projection.weight": torch.eye(config.hidden_size)}  # needed by the class, not in the folder
    path = folder / "text_encoder"
    text_encoder = load_transformers(CLIPTextModelWithProjection, path, config=config, dtype=dtype, added=unused)
    return TextEmbedder(text_encoder.to(device), load_tokenizer(folder / "tokenizer", config.vocab_size))


def load(folder: Path, device="cpu") -> StableDiffusion:
    """Load a Stable Diffusion folder (unet, vae, scheduler, text_encoder, tokenizer), in float16 on a GPU.

    Raises FileNotFoundError when a part is missing, and ValueError when it does not fit its config (`nsdlib.core.weights`).
    """
    from diffusers import UNet2DConditionModel

    folder = Path(folder)
    with torch.device("meta"):
        unet = DualUNet(UNet2DConditionModel.from_config(read_config(folder / "unet")), twins=("text",))
    unet.fill("text", read_folder(folder / "unet"))
    parts, empty = load_parts(folder, unet, device), load_embedder(folder, device).text([[""]])
    return StableDiffusion(*parts, torch.from_numpy(empty).to(unet.unet.conv_in.weight))
