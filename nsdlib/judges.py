"""Small stand-ins for the networks that judge reconstructions, for the demo zoo.

They take the places of AlexNet, Inception, EfficientNet and SwAV where those cannot be had, and their scores are comparable
with nothing but each other. Each was trained on scenes, apart from the models that make the reconstructions.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

SIZE = 64
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
GROWTH = (1, 2, 3, 4, 4)  # width of each of the five layers, in units of the network's width


class StandIn(nn.Module):
    """Five 3 x 3 convolutions with ReLU, halving the picture after each but the last, an average pool and a linear head."""

    def __init__(self, width: int, n_outputs: int):
        super().__init__()
        channels = [3, *(width * growth for growth in GROWTH)]
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in zip(channels, channels[1:], strict=False))
        self.norms = nn.ModuleList(nn.BatchNorm2d(n) for n in channels[1:])
        self.head = nn.Linear(channels[-1], n_outputs)

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """Outputs of the second and fifth layer and the average pool: (n, channels, rows, columns), …, (n, channels)."""
        kept = {}
        for number, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True), start=1):
            x = F.relu(norm(layer(x)))
            kept[f"layer{number}"] = x
            x = F.max_pool2d(x, 2) if number < len(self.layers) else x
        return {"layer2": kept["layer2"], "layer5": kept["layer5"], "pooled": x.mean((2, 3))}

    def forward(self, x: Tensor) -> Tensor:
        """What the network was trained to say: (n, n_outputs)."""
        return self.head(self.features(x)["pooled"])

    @classmethod
    def from_file(cls, path: Path) -> "StandIn":
        """Load a network whose width and outputs follow from the shapes in its safetensors file."""
        from safetensors.torch import load_file

        state = {key: value.float() if value.is_floating_point() else value for key, value in load_file(path).items()}
        model = cls(width=len(state["layers.0.weight"]), n_outputs=len(state["head.weight"]))
        model.load_state_dict(state)
        return model.eval()


def prepare(images: np.ndarray) -> Tensor:
    """(n_images, rows, columns, 3) uint8 -> (n_images, 3, 64, 64), bilinear and antialiased, by ImageNet's mean and deviation."""
    if images.shape[1:3] != (SIZE, SIZE):
        images = np.stack([np.asarray(Image.fromarray(i).resize((SIZE, SIZE), Image.BILINEAR)) for i in images])
    x = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(IMAGENET_MEAN)[:, None, None]) / torch.tensor(IMAGENET_STD)[:, None, None]
