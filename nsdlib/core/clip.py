"""CLIP embeddings for Versatile Diffusion: all tokens, projected and divided by the norm of the summary token.

The summary token is the first end-of-text token of a caption and the class token of an image (Xu et al. 2023). Text
embeddings are averaged over an image's captions. Images are resized here, as uint8, with PIL's bicubic filter.
"""

import numpy as np
import torch
from torch import Tensor

from nsdlib.core.device import check_finite
from nsdlib.core.images import check_images, resample
from nsdlib.core.weights import half_on_gpu, load_tokenizer, load_transformers

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def prepare(images: np.ndarray, size: int, device="cpu", *, mean=CLIP_MEAN, std=CLIP_STD) -> Tensor:
    """Resize (n_images, rows, columns, 3) uint8 to (n_images, 3, size, size) by bicubic interpolation, and standardise."""
    mean, std = (torch.tensor(numbers, device=device)[:, None, None] for numbers in (mean, std))
    return (resample(images, size, "pil bicubic", device) - mean) / std


def vision_tokens(model, pixels: Tensor) -> Tensor:
    """Compute all normalised tokens of transformers' CLIPVisionModelWithProjection: (n_images, n_tokens, n_features)."""
    hidden = model.vision_model(pixel_values=pixels).last_hidden_state
    tokens = model.visual_projection(model.vision_model.post_layernorm(hidden))
    return tokens / tokens[:, :1].norm(dim=-1, keepdim=True)


def text_tokens(model, ids: Tensor, *, end_of_text: int) -> Tensor:
    """Compute all normalised tokens of transformers' CLIPTextModelWithProjection: (n_captions, n_tokens, n_features)."""
    tokens = model.text_projection(model.text_model(input_ids=ids).last_hidden_state)
    first_end = (ids == end_of_text).int().argmax(1)
    return tokens / tokens[torch.arange(len(ids)), first_end].norm(dim=-1)[:, None, None]


class ClipEmbedder:
    """Embeds texts and images with the encoders of a Versatile Diffusion folder; see `load`."""

    def __init__(self, image_encoder, text_encoder, tokenizer):
        self.image_encoder, self.text_encoder, self.tokenizer = image_encoder, text_encoder, tokenizer

    @property
    def device(self):
        """Device of the encoders."""
        return self.text_encoder.device

    @torch.inference_mode()
    def vision(self, images: np.ndarray, *, image_ids=None, batch_size: int = 64) -> np.ndarray:
        """Embed (n_images, rows, columns, 3) uint8 images as tokens, (n_images, n_tokens, n_features) float16.

        Raises ValueError for tokens that are not finite in float16, naming the images by `image_ids` or by row.
        """
        check_images(images)
        parts = (self._image_tokens(images[i : i + batch_size]) for i in range(0, len(images), batch_size))
        return check_finite("vision tokens", np.concatenate([part.half().cpu().numpy() for part in parts]), image_ids)

    @torch.inference_mode()
    def text(self, captions: list[list[str]], *, image_ids=None, batch_size: int = 64) -> np.ndarray:
        """Embed captions as tokens, averaged over each image's captions: (n_images, n_tokens, n_features) float16.

        Raises ValueError for no images, an image without captions, captions that are not lists of strings, and as in `vision`.
        """
        for texts in captions:
            if isinstance(texts, str) or not all(isinstance(caption, str) for caption in texts):
                raise ValueError(f"captions must be a list of texts for each image, got {texts!r} for one")
        n_captions = [len(texts) for texts in captions]
        if not n_captions:
            raise ValueError("captions must cover at least one image, got none")
        if 0 in n_captions:
            missing = [i for i, n in enumerate(n_captions) if n == 0]
            raise ValueError(f"every image needs at least one caption; the images at positions {missing[:5]} have none")
        flat = [caption for texts in captions for caption in texts]
        means, pending = [], torch.empty(0)  # pending: caption tokens of an image with captions in a later batch
        for i in range(0, len(flat), batch_size):
            tokens = self._caption_tokens(flat[i : i + batch_size])
            pending = torch.cat([pending, tokens]) if len(pending) else tokens
            while len(means) < len(captions) and n_captions[len(means)] <= len(pending):
                n = n_captions[len(means)]
                means.append(pending[:n].mean(0).half())
                pending = pending[n:]
        return check_finite("text tokens", torch.stack(means).numpy(), image_ids)

    def _image_tokens(self, images) -> Tensor:
        """Return tokens of images, (n_images, n_tokens, n_features), on the device."""
        pixels = prepare(images, self.image_encoder.config.image_size, self.device).to(self.image_encoder.dtype)
        return vision_tokens(self.image_encoder, pixels)

    def _caption_tokens(self, captions) -> Tensor:
        """Return tokens of captions, (n_captions, n_tokens, n_features) float32, on the CPU."""
        return text_tokens(self.text_encoder, self._ids(captions), end_of_text=self.tokenizer.eos_token_id).float().cpu()

    def _ids(self, captions) -> Tensor:
        """Return token ids of captions, (n_captions, n_tokens), on the device, padded with the end of text."""
        length = self.text_encoder.config.max_position_embeddings
        ids = self.tokenizer(captions, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        return ids.input_ids.to(self.device)


def load(folder, device="cpu") -> ClipEmbedder:
    """Load the embedder of a Versatile Diffusion folder (image_encoder, text_encoder, tokenizer), in float16 on a GPU."""
    from transformers import CLIPTextModelWithProjection, CLIPVisionModelWithProjection

    dtype = half_on_gpu(device)
    image_encoder = load_transformers(CLIPVisionModelWithProjection, folder / "image_encoder", dtype=dtype)
    text_encoder = load_transformers(CLIPTextModelWithProjection, folder / "text_encoder", dtype=dtype)
    tokenizer = load_tokenizer(folder / "tokenizer", text_encoder.config.vocab_size)
    return ClipEmbedder(image_encoder.to(device), text_encoder.to(device), tokenizer)
