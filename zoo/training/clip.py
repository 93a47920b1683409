"""The demo zoo's CLIP: small models of transformers' classes, contrastive on scenes and captions (the paper's equation 1).

The contrastive loss uses only the summary tokens. A second, dense loss trains each image token to predict its patch's content and
the main thing's kind and colour, and the class token to predict the scene. Uninformative tokens cannot guide a diffusion model,
and information that has little of the tokens' variance is lost when they are decoded from a brain.
"""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from nsdlib.core import clip
from nsdlib.twin.scenes import ATTRIBUTES, COLOURS, KINDS
from zoo.training import data, optimise

N_STEPS, BATCH, RATE, SEED = 4_000, 128, 1e-3, 13
N_FEATURES, N_TOKENS = 64, 20
N_NAMES = len(KINDS) + len(COLOURS)
INVERSE_TEMPERATURE = 10.0  # inverse temperature of the softmax over kinds and over colours


def make_tokenizer(captions, folder: Path):
    """Make a byte-pair vocabulary in which every word of the captions is one token, and save it in CLIP's format.

    tokenizers' own trainer orders merges of equal frequency differently in each run.
    """
    from tokenizers import models
    from transformers import CLIPTokenizer

    words = sorted({word for five in captions for caption in five for word in re.findall(r"\w+|[^\w\s]+", caption.lower())})
    merges, special = _merges(words), ["<|startoftext|>", "<|endoftext|>"]
    letters = sorted({piece for word in words for piece in _pieces(word)})
    vocabulary = dict.fromkeys([*special, *letters, *map("".join, merges)])
    vocabulary = {token: number for number, token in enumerate(vocabulary)}
    models.BPE(vocab=vocabulary, merges=merges, end_of_word_suffix="</w>", unk_token=special[1]).save(str(folder))
    tokenizer = CLIPTokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), model_max_length=N_TOKENS)
    tokenizer.save_pretrained(folder)
    return tokenizer


def _pieces(word):
    """Split a word into its letters, the last one marked as the end."""
    return [*word[:-1], word[-1] + "</w>"]


def _merges(words):
    """Pairs of pieces to merge, in order of priority, that join every word; later pairs never change earlier words."""
    priority = {}
    for word in words:
        pieces = _pieces(word)
        while len(pieces) > 1:
            pair = min(pairwise(pieces), key=lambda pair: priority.get(pair, len(priority)))
            priority.setdefault(pair, len(priority))
            start = next(i for i in range(len(pieces)) if (*pieces[i : i + 2],) == pair)
            pieces[start : start + 2] = ["".join(pair)]
    return list(priority)


def build(n_vocabulary: int, end_of_text: int, *, width: int = 128, n_layers: int = 4):
    """Build untrained image and text encoders."""
    import transformers

    shared = {"projection_dim": N_FEATURES, "intermediate_size": 2 * width, "hidden_size": width}
    shared |= {"num_attention_heads": 4, "hidden_act": "quick_gelu"}
    image = transformers.CLIPVisionConfig(image_size=64, patch_size=16, num_hidden_layers=n_layers, **shared)
    special = {"bos_token_id": end_of_text - 1, "eos_token_id": end_of_text, "pad_token_id": end_of_text}
    text = transformers.CLIPTextConfig(
        vocab_size=n_vocabulary, max_position_embeddings=N_TOKENS, num_hidden_layers=2, **special, **shared
    )
    return transformers.CLIPVisionModelWithProjection(image), transformers.CLIPTextModelWithProjection(text)


def _token_ids(tokenizer, captions):
    """Token ids of captions: (n_captions, n_tokens)."""
    options = {"padding": "max_length", "max_length": N_TOKENS, "truncation": True, "return_tensors": "pt"}
    return tokenizer(captions, **options).input_ids


def _summary(tokens, ids, end):
    """The summary token of each caption, its first end-of-text token: (n_captions, n_features)."""
    return tokens[torch.arange(len(ids), device=ids.device), (ids == end).int().argmax(1)]


def fit(image_encoder, text_encoder, tokenizer, scene_set, resources, **settings):
    """Train both encoders and return them with averaged weights."""
    model = nn.ModuleDict({"image": image_encoder, "text": text_encoder})
    model["whole"] = nn.Linear(N_FEATURES, len(ATTRIBUTES))
    model["patch"], model["there"], model["main"] = (nn.Linear(N_FEATURES, n) for n in (48, len(KINDS), N_NAMES))
    resources.compile(model["image"], model["text"])
    model.register_parameter("log_temperature", nn.Parameter(torch.tensor(np.log(1 / 0.07), dtype=torch.float32)))
    images, device = torch.from_numpy(scene_set.small).to(resources.device), resources.device
    captions = [caption for five in scene_set.captions for caption in five]
    ids = _token_ids(tokenizer, captions).reshape(len(images), 5, N_TOKENS).to(device)
    attributes, covers = (torch.from_numpy(x).to(device) for x in (scene_set.attributes, scene_set.covers))
    end = tokenizer.eos_token_id

    def loss_of_batch(generator, progress):
        rows = torch.randint(len(images), (BATCH,), generator=generator, device=device)
        columns = torch.randint(5, (BATCH,), generator=generator, device=device)
        x = data.standardise(images[rows], clip.CLIP_MEAN, clip.CLIP_STD)
        with resources.autocast():
            vision = clip.vision_tokens(model["image"], x).float()
            text = clip.text_tokens(model["text"], ids[rows, columns], end_of_text=end)
        summary = _summary(text, ids[rows, columns], end).float()
        contrastive = optimise.contrastive_loss(vision[:, 0] @ summary.T * model.log_temperature.exp().clamp(max=100))
        return contrastive + _dense_loss(model, vision, x, attributes[rows], covers[rows])

    averaged = optimise.train(model, loss_of_batch, resources, learning_rate=RATE, average=0.995, **settings)
    return averaged["image"].cpu(), averaged["text"].cpu()


def _dense_loss(model, vision, x, attributes, covers):
    """Loss of linear predictions from image tokens (n, 17, n_features): background, number, size and position from the class
    token; colours and kinds in its patch from a patch token; kind and colour of the main thing from every token.

    Weight vectors of kind and colour have unit length, so that this information takes its share of a token's variance.
    """
    names = attributes[:, :N_NAMES]  # kinds, then colours
    predicted, backgrounds = model["whole"](vision[:, 0]), slice(N_NAMES, len(ATTRIBUTES) - 4)
    loss = F.mse_loss(predicted[:, -4:], attributes[:, -4:]) * 10
    loss = loss + 0.3 * F.cross_entropy(predicted[:, backgrounds], attributes[:, backgrounds].argmax(1))
    cells = F.avg_pool2d(x, 4).unfold(2, 4, 4).unfold(3, 4, 4)  # (n, 3, 4, 4, 4, 4)
    cells = cells.permute(0, 2, 3, 1, 4, 5).reshape(len(x), 16, 48)
    loss = loss + 0.5 * F.mse_loss(model["patch"](vision[:, 1:]), cells)
    cover_loss = F.binary_cross_entropy_with_logits(model["there"](vision[:, 1:]), covers)
    main = INVERSE_TEMPERATURE * F.linear(vision, F.normalize(model["main"].weight, dim=1))  # (n, 17, n_names)
    for part in (slice(0, len(KINDS)), slice(len(KINDS), N_NAMES)):
        truth = names[:, part].argmax(1, keepdim=True).expand(-1, main.shape[1])
        loss = loss + F.cross_entropy(main[..., part].transpose(1, 2), truth)
    return loss + 4 * cover_loss


def train(folder: Path, cache: Path, resources: optimise.Resources):
    """Train the guiding CLIP and save tokenizer, text_encoder and image_encoder below `folder`."""
    scene_set = data.load_scenes("train", cache)
    (folder / "tokenizer").mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(scene_set.captions, folder / "tokenizer")
    torch.manual_seed(SEED)
    encoders = build(len(tokenizer), tokenizer.eos_token_id)
    settings = {"n_steps": N_STEPS, "seed": SEED, "checkpoint": cache / "clip.checkpoint", "seconds": resources.seconds("clip")}
    image, text = fit(*encoders, tokenizer, scene_set, resources, **settings)
    image.half().save_pretrained(folder / "image_encoder")
    text.half().save_pretrained(folder / "text_encoder")


def measure(folder: Path, cache: Path) -> dict[str, float]:
    """Top-1 and top-5 accuracy of retrieving the right caption among 1,000, on validation scenes."""
    scene_set = data.load_scenes("validation", cache)
    model = clip.load(folder)
    vision = model.vision(scene_set.small)[:, 0].astype(np.float32)
    with torch.inference_mode():
        ids, end = _token_ids(model.tokenizer, [five[0] for five in scene_set.captions]), model.tokenizer.eos_token_id
        summary = _summary(clip.text_tokens(model.text_encoder, ids, end_of_text=end), ids, end).numpy()
    rank = (-(vision @ summary.T)).argsort(1).argsort(1)[np.arange(len(vision)), np.arange(len(vision))]
    return {"top1_of_1000": float((rank < 1).mean()), "top5_of_1000": float((rank < 5).mean())}
