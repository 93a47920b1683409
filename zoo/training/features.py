"""The demo zoo's feature extractors: stand-ins for the networks of the scores, and a separate CLIP.

Three learn to predict a scene's attributes, with different seeds and widths. One, the stand-in for SwAV, learns without labels to
tell scenes apart under shifts, tints and noise. None shares weights with a model that makes reconstructions, and the CLIP of
the scores is not the one that conditions the diffusion.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional as F
from transformers import CLIPTokenizer

from nsdlib.core.scores import features
from nsdlib.twin.scenes import ATTRIBUTES, KINDS
from zoo.training import clip, data, optimise

WIDTHS = {"alexnet": 20, "inception": 24, "effnet": 16, "swav": 20}
N_STEPS, BATCH, RATE, SEED = {"alexnet": 1_500, "inception": 1_500, "effnet": 1_200, "swav": 500}, 64, 3e-3, 15
CLIP_STEPS, CLIP_WIDTH, CLIP_LAYERS = 400, 64, 3
N_CODES = 64


def train(folder: Path, cache: Path, resources: optimise.Resources):
    """Train all extractors and save them below `folder`."""
    scene_set, seconds = data.load_scenes("train", cache), resources.seconds("features") / (len(WIDTHS) + 1)
    images, targets = (torch.from_numpy(x).to(resources.device) for x in (scene_set.small, scene_set.attributes))
    folder.mkdir(parents=True, exist_ok=True)
    for k, (name, width) in enumerate(WIDTHS.items()):
        torch.manual_seed(SEED + k)
        model = features.StandIn(width, N_CODES if name == "swav" else len(ATTRIBUTES))
        loss = _contrastive_loss if name == "swav" else _attribute_loss
        settings = {"n_steps": N_STEPS[name], "seed": SEED + k, "checkpoint": cache / f"eval_{name}.checkpoint"}
        averaged = optimise.train(
            model, lambda generator, progress, loss=loss, model=model: loss(model, images, targets, generator), resources,
            learning_rate=RATE, average=0.99, seconds=seconds, **settings,
        )  # fmt: skip
        save_file(optimise.half(averaged.state_dict()), folder / f"{name}.safetensors")
    _train_clip(folder, cache, scene_set, resources, seconds)


def _draw(images, generator):
    """Draw a batch of images, standardised by ImageNet's statistics, and their rows."""
    rows = torch.randint(len(images), (BATCH,), generator=generator, device=images.device)
    return data.standardise(images[rows], features.IMAGENET_MEAN, features.IMAGENET_STD), rows


def _noise(x, generator):
    """Standard normal noise of the shape of x."""
    return torch.empty_like(x).normal_(generator=generator)


def _attribute_loss(model, images, targets, generator):
    """Cross-entropy of the attributes and of the main object's kind."""
    x, rows = _draw(images, generator)
    logits = model(x + 0.3 * torch.rand(1, generator=generator, device=x.device) * _noise(x, generator))
    truth = targets[rows]
    kind = F.cross_entropy(logits[:, : len(KINDS)], truth[:, : len(KINDS)].argmax(1))
    return F.binary_cross_entropy_with_logits(logits, truth) + 0.3 * kind


def _contrastive_loss(model, images, targets, generator):
    """Contrastive loss between two views of the same scenes: shifted, tinted, noisy."""
    x, _ = _draw(images, generator)
    first, second = (F.normalize(model(_view(x, generator)), dim=1) for _ in range(2))
    return optimise.contrastive_loss(first @ second.T / 0.1)


def _view(x, generator):
    shift = torch.randint(-8, 9, (2,), generator=generator, device=x.device).tolist()
    tint = 1 + 0.3 * (torch.rand(len(x), 3, 1, 1, generator=generator, device=x.device) - 0.5)
    return torch.roll(x, shift, dims=(2, 3)) * tint + 0.2 * _noise(x, generator)


def _train_clip(folder, cache, scene_set, resources, seconds):
    tokenizer = CLIPTokenizer.from_pretrained(folder.parent / "versatile_diffusion" / "tokenizer")
    torch.manual_seed(SEED + 10)
    encoders = clip.build(len(tokenizer), tokenizer.eos_token_id, width=CLIP_WIDTH, n_layers=CLIP_LAYERS)
    settings = {"n_steps": CLIP_STEPS, "seed": SEED + 10, "checkpoint": cache / "eval_clip.checkpoint", "seconds": seconds}
    image, _ = clip.fit(*encoders, tokenizer, scene_set, resources, **settings)
    image.half().save_pretrained(folder / "clip")


def measure(folder: Path, cache: Path) -> dict[str, float]:
    """Measure each network's accuracy for the main object of validation scenes."""
    scene_set = data.load_scenes("validation", cache)
    names = ("alexnet", "inception", "effnet")
    return {f"{name}_names_the_object": accuracy(folder, name, scene_set.small, scene_set.kinds) for name in names}


@torch.inference_mode()
def accuracy(folder: Path, name: str, images, kinds) -> float:
    """Measure a network's accuracy for the kind (n_images,) of the main object of images (n_images, rows, columns, 3)."""
    network = features.StandIn.from_file(folder / f"{name}.safetensors")
    logits = features.FeatureExtractor(lambda x: {"logits": network(x)}, side=features.SIZE, device="cpu")(images)["logits"]
    return float((logits[:, : len(KINDS)].argmax(1) == kinds).mean())
