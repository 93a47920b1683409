"""Stable Diffusion 1 (Rombach et al. 2022), which Takagi & Nishimoto (2023) refine with, in the same loop: text tokens alone.

Its tokens are its own: the text encoder's last hidden states after the final norm, neither projected nor normalised. Its UNet is
a plain one, the text twins of `DualUNet` without any for vision.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nsdlib.core.clip import ClipEmbedder
from nsdlib.core.diffusion.pipeline import VersatileDiffusion, load_parts
from nsdlib.core.diffusion.unet import DualUNet
from nsdlib.core.weights import load_tokenizer, load_transformers, read_config, read_folder


class StableDiffusion(VersatileDiffusion):
    """Stable Diffusion's UNet, of text twins alone, and its autoencoder, in the loop of the second stage."""

    def __init__(self, unet: DualUNet, vae, scheduler, empty_text: Tensor):
        super().__init__(unet, vae, scheduler, empty_text, empty_text.new_zeros(1, 0, 0))

    def refine(self, rough, text, vision=None, *, text_weight=1.0, **options) -> np.ndarray:
        """Refine rough images, conditioned on text tokens (n_images, n_tokens, n_features), as `TextEmbedder` gives them.

        Options and what is returned are those of `VersatileDiffusion.refine`. Tokens of vision are not looked at; a ValueError
        for a `text_weight` other than 1, which would need them.
        """
        if text_weight != 1:
            raise ValueError(f"Stable Diffusion is conditioned on text alone, wanted text_weight 1, got {text_weight}")
        none = np.zeros((len(rough), 0, 0), np.float32)
        return super().refine(rough, text, none, text_weight=1, **options)


class TextEmbedder(ClipEmbedder):
    """Embedder of texts with Stable Diffusion's text encoder; see `load_embedder`."""

    def __init__(self, text_encoder, tokenizer):
        super().__init__(None, text_encoder, tokenizer)

    def _image_tokens(self, images):
        raise ValueError("Stable Diffusion is conditioned on text alone and embeds no images; wanted `text`")

    def _caption_tokens(self, captions) -> Tensor:
        return self.text_encoder.text_model(input_ids=self._ids(captions)).last_hidden_state.float().cpu()


def load_embedder(folder: Path, device="cpu") -> TextEmbedder:
    """Load the text embedder of a Stable Diffusion folder (text_encoder, tokenizer); in half precision on a GPU."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    folder, dtype = Path(folder), torch.float16 if torch.device(device).type == "cuda" else torch.float32
    config = CLIPTextConfig(**read_config(folder / "text_encoder"))
    config.projection_dim = config.hidden_size
    unused = {"text_projection.weight": torch.eye(config.hidden_size)}  # that the class has and the folder has not
    kind, place = CLIPTextModelWithProjection, folder / "text_encoder"
    text_encoder = load_transformers(kind, place, config=config, dtype=dtype, added=unused)
    return TextEmbedder(text_encoder.to(device), load_tokenizer(folder / "tokenizer", config.vocab_size))


def load(folder: Path, device="cpu") -> StableDiffusion:
    """Load a Stable Diffusion folder (unet, vae, scheduler, text_encoder, tokenizer); in half precision on a GPU.

    FileNotFoundError and ValueError as of `nsdlib.core.weights`, when a part is missing or does not fit its config.
    """
    from diffusers import UNet2DConditionModel

    folder = Path(folder)
    with torch.device("meta"):
        unet = DualUNet(UNet2DConditionModel.from_config(read_config(folder / "unet")), twins=("text",))
    unet.fill("text", read_folder(folder / "unet"))
    parts, empty = load_parts(folder, unet, device), load_embedder(folder, device).text([[""]])
    return StableDiffusion(*parts, torch.from_numpy(empty).to(unet.unet.conv_in.weight))
