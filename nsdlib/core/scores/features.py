"""Feature extractors for the scores: published networks, and the demo zoo's stand-ins.

An extractor takes uint8 images and returns the features that `metrics` compares. The stand-ins replace AlexNet, Inception,
EfficientNet and SwAV where these are unavailable; their scores are comparable only with each other. Each stand-in was trained on
scenes, separately from the models that make the reconstructions.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nsdlib.core import clip
from nsdlib.core.images import check_images
from nsdlib.core.scores.protocols import resample
from nsdlib.core.weights import check_fit, load_transformers, read_config, read_tensors, unwrapped

SIZE, PAPER_SIZE = 64, 224  # input side length in pixels of stand-ins and of published networks
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
GROWTH = (1, 2, 3, 4, 4)  # width of each of the five layers, relative to the network's width
ALEXNET_2, ALEXNET_5 = 5, 12  # layers of torchvision's `features` up to the ReLU of the 2nd and the 5th convolution
PUBLISHED = {  # torchvision's name of each network, the head to remove, and settings
    "alexnet": ("alexnet", "classifier", {}),
    "inception": ("inception_v3", "fc", {"init_weights": False, "transform_input": True}),  # rescales ImageNet-standardised input
    "effnet": ("efficientnet_b1", "classifier", {}),
    "swav": ("resnet50", "fc", {}),
}
SWAV_HEADS = r"^projection_head\.|^prototypes\."  # tensors of the SwAV file that a ResNet-50 does not have
CLIP_TEXT_TENSORS = r"^text_model\.|^text_projection\.|^logit_scale$"


class StandIn(nn.Module):
    """Five 3 x 3 convolutions with ReLU, 2 x 2 max pooling after each but the last, average pooling and a linear head."""

    def __init__(self, width: int, n_outputs: int):
        super().__init__()
        channels = [3, *(width * growth for growth in GROWTH)]
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(channels))
        self.norms = nn.ModuleList(nn.BatchNorm2d(n) for n in channels[1:])
        self.head = nn.Linear(channels[-1], n_outputs)

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """Return the outputs of layers 2 and 5, (n, channels, rows, columns), and of the average pool, (n, channels)."""
        outputs = {}
        for number, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True), start=1):
            x = F.relu(norm(layer(x)))
            outputs[f"layer{number}"] = x
            x = F.max_pool2d(x, 2) if number < len(self.layers) else x
        return {"layer2": outputs["layer2"], "layer5": outputs["layer5"], "pooled": x.mean((2, 3))}

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs that the network was trained for: (n, n_outputs)."""
        return self.head(self.features(x)["pooled"])

    @classmethod
    def from_file(cls, path: Path) -> "StandIn":
        """Load a network from a safetensors file, whose tensor shapes define its width and number of outputs."""
        state = read_tensors(path)
        sizes = [len(state.get(key, [0])) for key in ("layers.0.weight", "head.weight")]
        model = cls(*sizes)
        model.load_state_dict(check_fit(model.state_dict(), state, what=f"{path} does not fit a stand-in of {sizes}"))
        return model.eval()


class FeatureExtractor:
    """A network with its preprocessing: uint8 images in, features out.

    Parameters
    ----------
    extract : callable
        Maps pixels (n, 3, side, side) to a dict of feature tensors with first axis n.
    side : int
        Side length in pixels of the network's training images.
    device : torch.device
    resampling : str
        Resizing filter unless a protocol sets one, see `nsdlib.core.images.resample`.
    mean, std : tuple of three floats
        Mean and standard deviation of each colour, to standardise pixels in [0, 1].
    """

    def __init__(self, extract, *, side, device, resampling="antialiased", mean=IMAGENET_MEAN, std=IMAGENET_STD):
        self.extract, self.side, self.device, self.resampling = extract, side, device, resampling
        self.mean, self.std = (torch.tensor(numbers, device=device)[:, None, None] for numbers in (mean, std))

    @torch.inference_mode()
    def __call__(self, images, *, preprocess=None, batch_size=32) -> dict[str, np.ndarray]:
        """Compute features: a dict of (n_images, n_features) float32 arrays by name.

        Parameters
        ----------
        images : (n_images, rows, columns, 3) uint8 array
        preprocess : callable, optional
            A protocol's function from a batch of images to pixels (n, 3, side, side) in [0, 1].
        batch_size : int
        """
        check_images(images)
        preprocess = preprocess or (lambda batch: resample(batch, self.side, self.resampling, self.device))
        parts = []
        for start in range(0, len(images), batch_size):
            x = preprocess(images[start : start + batch_size]).to(self.device)
            outputs = self.extract((x - self.mean) / self.std)
            parts.append({name: feature.flatten(1).float().cpu().numpy() for name, feature in outputs.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def stand_in(path: Path, device) -> FeatureExtractor:
    """Load one of the demo zoo's networks."""
    return FeatureExtractor(StandIn.from_file(path).to(device).features, side=SIZE, device=device)


def published(name: str, path: Path | None, device) -> FeatureExtractor:
    """Build one of `PUBLISHED` with the weights of a published file, or with random weights if there is no path.

    Features are the ReLU outputs after AlexNet's second and fifth convolution (torchvision's features 4 and 11), and the average
    pools of the others: 2,048 features for Inception-v3 and SwAV's ResNet-50, 1,280 for EfficientNet-B1.
    """
    from torchvision.models import get_model

    kind, head, settings = PUBLISHED[name]
    model = get_model(kind, weights=None, **settings)
    if name == "swav":  # its file has no classifier
        model.fc = nn.Identity()
    if path is not None:
        state, expected = unwrapped(read_tensors(path)), model.state_dict()
        counters = {key: value for key, value in expected.items() if key.endswith("num_batches_tracked")}  # old files lack them
        what = f"{path} does not fit {type(model).__name__}"
        model.load_state_dict(check_fit(expected, counters | state, what=what, ignore=SWAV_HEADS))
    setattr(model, head, nn.Identity())
    model = model.eval().to(device)

    def extract(x):
        if name != "alexnet":
            return {"pooled": model(x)}
        second = model.features[:ALEXNET_2](x)
        return {"layer2": second, "layer5": model.features[ALEXNET_2:ALEXNET_5](second)}

    return FeatureExtractor(extract, side=PAPER_SIZE, device=device)


def clip_extractor(folder: Path, device) -> FeatureExtractor:
    """Load the extractor of CLIP's projected image embedding, not normalised.

    The folder holds all of CLIP or its vision half in transformers' format, or an open_clip model (`nsdlib.core.open_clip.load`).
    """
    from transformers import AutoConfig, CLIPVisionModelWithProjection

    from nsdlib.core import open_clip

    if (folder / open_clip.CONFIG).exists():
        return open_clip.load(folder, device)
    read_config(folder)
    config, ignore = AutoConfig.from_pretrained(folder), None
    if config.model_type == "clip":  # the projection size is given once for both halves
        config.vision_config.projection_dim = config.projection_dim
        config, ignore = config.vision_config, CLIP_TEXT_TENSORS
    model = load_transformers(CLIPVisionModelWithProjection, folder, config=config, ignore=ignore)
    return embedding_extractor(model.to(device))


def embedding_extractor(model) -> FeatureExtractor:
    """Return the extractor for the projected image embedding, not normalised, of a CLIPVisionModelWithProjection."""
    return FeatureExtractor(
        lambda x: {"pooled": model(pixel_values=x).image_embeds},
        side=model.config.image_size,
        device=model.device,
        resampling="pil bicubic",
        mean=clip.CLIP_MEAN,
        std=clip.CLIP_STD,
    )
