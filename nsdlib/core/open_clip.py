"""CLIP checkpoints of the open_clip project (Ilharco et al. 2021) from local files, as embedder and as feature extractor.

Supports models such as ViT-B/32, ViT-H/14 and ViT-bigG/14: a vision transformer with a class token, and a causal text
transformer. As in `nsdlib.core.clip`, all tokens are projected and divided by the norm of the summary token, so token 0 of an
image is its pooled embedding with unit length.
"""

from pathlib import Path

import torch
from torch import Tensor

from nsdlib.core import clip
from nsdlib.core.scores.features import FeatureExtractor
from nsdlib.core.weights import check_fit, read_config, read_folder, read_tensors, unwrapped

CONFIG = "open_clip_config.json"  # beside the weights: sizes, and mean and sd of pixels
SIZES = {  # settings allowed in the config; others of open_clip make another kind of model, or a download
    "vision_cfg": {"layers", "width", "head_width", "mlp_ratio", "patch_size", "image_size"},
    "text_cfg": {"layers", "width", "heads", "mlp_ratio", "context_length", "vocab_size"},
}
NAMES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")


class OpenClip(clip.ClipEmbedder):
    """Embeds texts and images like `ClipEmbedder`, and extracts image features like `FeatureExtractor`; see `load`.

    `model` is an open_clip.CLIP. `tokenizer` maps a list of texts to ids, (n_captions, n_tokens) int64, of which the largest is
    the end of text. `mean` and `std` of each colour standardise pixels in [0, 1].
    """

    def __init__(self, model, tokenizer, *, mean=clip.CLIP_MEAN, std=clip.CLIP_STD):
        self.model, self.tokenizer = model, tokenizer
        self.side, self.standard = model.visual.image_size[0], {"mean": tuple(mean), "std": tuple(std)}
        embed, settings = model.encode_image, {"resampling": "pil bicubic", **self.standard}
        self.extract = FeatureExtractor(lambda x: {"pooled": embed(x)}, side=self.side, device=self.device, **settings)

    @property
    def device(self):
        """Device of the model."""
        return self.model.logit_scale.device

    def __call__(self, images, **options):
        """Compute the projected image embedding, not normalised: `pooled`, (n_images, n_features) float32.

        Options are those of `FeatureExtractor`.
        """
        return self.extract(images, **options)

    def _image_tokens(self, images) -> Tensor:
        visual = self.model.visual
        pixels = clip.prepare(images, self.side, self.device, **self.standard)
        last = {"indices": 1, "normalize_intermediates": True, "intermediates_only": True}
        outputs = visual.forward_intermediates(pixels, output_fmt="NLC", output_extra_tokens=True, **last)
        hidden = torch.cat([*outputs["image_intermediates_prefix"], *outputs["image_intermediates"]], dim=1)
        tokens = hidden @ visual.proj  # (n_images, n_tokens, n_features)
        return tokens / tokens[:, :1].norm(dim=-1, keepdim=True)

    def _caption_tokens(self, captions) -> Tensor:
        ids = self.tokenizer(captions).to(self.device)
        positions, ends = torch.arange(ids.shape[1], device=ids.device), ids.argmax(1)
        ids = torch.where(positions > ends[:, None], ids.amax(1)[:, None], ids)  # padded as by transformers' tokenizers
        last = {"text_indices": 1, "normalize_intermediates": True, "intermediates_only": True}
        [hidden] = self.model.forward_intermediates(text=ids, **last)["text_intermediates"]
        tokens = hidden @ self.model.text_projection  # (n_captions, n_tokens, n_features)
        return (tokens / tokens[torch.arange(len(ids)), ends].norm(dim=-1)[:, None, None]).float().cpu()


def load(path, device="cpu") -> OpenClip:
    """Load a checkpoint in float32 from a folder with open_clip_config.json and one of `NAMES`, or from a weight file beside it.

    Raises FileNotFoundError when config or weights are missing, and ValueError when they do not match or belong to another kind
    of model (ResNet, SigLIP, a text encoder of transformers), which has other tokens.
    """
    from open_clip import SimpleTokenizer

    path = Path(path)
    folder = path.parent if path.is_file() else path
    config = read_config(folder, CONFIG)
    model, preprocessing = _build(config.get("model_cfg"), folder / CONFIG), config.get("preprocess_cfg") or {}
    state = unwrapped(read_tensors(path, mmap=True) if path.is_file() else read_folder(folder, NAMES))
    state = check_fit(model.state_dict(), state, what=f"the weights in {path} do not fit {CONFIG}")
    model.load_state_dict({key: tensor.float() for key, tensor in state.items()}, assign=True)
    length = model.context_length
    model.attn_mask = torch.full((length, length), -torch.inf).triu(1)  # not a weight, so still on the meta device
    standard = {key: preprocessing[key] for key in ("mean", "std") if key in preprocessing}
    return OpenClip(model.eval().to(device), SimpleTokenizer(context_length=length), **standard)


def _build(sizes, file):
    """Build a model of these sizes on the meta device; ValueError for another kind of model."""
    import open_clip

    try:
        extra = {key for key, value in sizes.items() if value and key not in {"embed_dim", "quick_gelu", *SIZES}}
        extra |= {key for part, keys in SIZES.items() for key, value in sizes[part].items() if value and key not in keys}
        if extra or isinstance(sizes["vision_cfg"]["layers"], list) or sizes["text_cfg"].get("vocab_size", 49_408) != 49_408:
            raise ValueError(f"it sets {', '.join(sorted(extra)) or 'stages of a ResNet, or another vocabulary'}")
        arguments = {part: {key: value for key, value in sizes[part].items() if key in keys} for part, keys in SIZES.items()}
        with torch.device("meta"):
            return open_clip.CLIP(sizes["embed_dim"], **arguments, quick_gelu=bool(sizes.get("quick_gelu")))
    except Exception as error:  # wrong sizes raise many kinds of errors
        raise ValueError(
            f"{file} must describe a CLIP of two transformers with 49,408 tokens, such as ViT-B-32, ViT-H-14 or ViT-bigG-14 of "
            f"open_clip ({type(error).__name__}: {error}); use the config and the weights of one of these."
        ) from error
