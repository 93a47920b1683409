"""The judge of the demo zoo: torchvision's ShuffleNet, which names the main object of images of 128 x 128 pixels.

No other model of the zoo saw its training scenes or has its architecture, and no score uses it, so reconstructions were not
fitted to the features that it recognises.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from nsdlib.core.scores.protocols import resample
from nsdlib.twin.scenes import KINDS
from zoo.training import data, optimise

N_STEPS, BATCH, RATE, SEED = 7_000, 64, 2e-3, 17
NOISE, SHIFT = 0.15, 8  # largest sd of pixel noise (pixels range over 2), largest shift in pixels


def build():
    """Build an untrained judge."""
    from torchvision.models import shufflenet_v2_x0_5

    return shufflenet_v2_x0_5(num_classes=len(KINDS))


def train(folder: Path, cache: Path, resources: optimise.Resources):
    """Train on the judge's own scenes, mirrored, blurred, shifted and noisy, and save below `folder`."""
    scene_set = data.load_scenes("naming", cache)
    images, kinds = (torch.from_numpy(x).to(resources.device) for x in (scene_set.images, scene_set.kinds))
    torch.manual_seed(SEED)
    model = build().to(resources.device, memory_format=torch.channels_last)

    def loss_of_batch(generator, progress):
        rows = torch.randint(len(images), (BATCH,), generator=generator, device=images.device)
        x = _view(data.to_unit(images[rows]), generator)
        with resources.autocast():
            logits = model(x)
        return F.cross_entropy(logits.float(), kinds[rows], label_smoothing=0.05)

    settings = {"n_steps": N_STEPS, "learning_rate": RATE, "seed": SEED, "checkpoint": cache / "namer.checkpoint"}
    averaged = optimise.train(model, loss_of_batch, resources, average=0.99, seconds=resources.seconds("namer"), **settings)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(optimise.half(averaged.state_dict()), folder / "shufflenet.safetensors")


def _view(x, generator):
    """Augment images to resemble reconstructions: mirror, blur, shift and add noise."""
    options = {"generator": generator, "device": x.device}
    down, right = torch.randint(-SHIFT, SHIFT + 1, (2,), **options).tolist()
    blurred = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2, mode="bilinear")
    x = torch.lerp(x, blurred, torch.rand(len(x), 1, 1, 1, **options))
    x = torch.roll(x, (down, right), dims=(2, 3))
    x = torch.where(torch.rand(len(x), 1, 1, 1, **options) < 0.5, x, x.flip(3))
    return x + NOISE * torch.rand(len(x), 1, 1, 1, **options) * torch.randn(x.shape, **options)


@torch.inference_mode()
def named(folder: Path, images) -> torch.Tensor:
    """Predict the index of the main object's kind in images (n_images, rows, columns, 3) uint8: (n_images,)."""
    model = build().eval()
    model.load_state_dict(load_file(folder / "shufflenet.safetensors"))
    batches = [images[i : i + 100] for i in range(0, len(images), 100)]
    return torch.cat([model(2 * resample(x, data.SIZE, "antialiased") - 1).argmax(1) for x in batches])


def accuracy(folder: Path, images, kinds) -> float:
    """Measure the judge's accuracy for the kind (n_images,) of the main object."""
    return float((named(folder, images).numpy() == kinds).mean())


def measure(folder: Path, cache: Path) -> dict[str, float]:
    """Measure the judge's accuracy on validation scenes without augmentation."""
    scene_set = data.load_scenes("validation", cache)
    return {"names_the_object": accuracy(folder, scene_set.images, scene_set.kinds)}
