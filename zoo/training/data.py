"""Training scenes of the demo zoo: tens of thousands, drawn in parallel, none of them shown to a simulated subject."""

import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from nsdlib.run.rates import n_cores
from nsdlib.store.sources import code_hashes, digest
from nsdlib.twin import captions, scenes

SIZE, SMALL = 128, 64  # pixels a side of the second stage and the judge, and of all other models
SPLITS = {"train": (40_000, 6401), "validation": (1_000, 6402), "naming": (40_000, 6403)}  # number of scenes, seed
CHUNK = 250  # scenes per chunk; each chunk has its own seed
PATCHES = 4  # patches a side


@dataclass(frozen=True)
class SceneSet:
    """images (n, 128, 128, 3) and small (n, 64, 64, 3) uint8, attributes (n, n_attributes) float32, captions (n lists of five).

    covers (n, 16, n_kinds) float32 is the share of each of 4 x 4 patches that things of each kind cover.
    """

    images: np.ndarray
    small: np.ndarray
    attributes: np.ndarray
    covers: np.ndarray
    captions: list[list[str]]

    @property
    def kinds(self) -> np.ndarray:
        """Index of the main kind of each scene: (n,)."""
        return self.attributes[:, : len(scenes.KINDS)].argmax(1)


def load_scenes(split: str, cache: Path) -> SceneSet:
    """Draw a split's scenes, or open them if the same code drew them before; arrays are memory-mapped."""
    (n_scenes, seed), code = SPLITS[split], code_hashes({captions.__name__, scenes.__name__})
    folder = cache / f"scenes_{split}_{n_scenes}_{seed}_{digest(*code.values())}"
    if not folder.exists():
        _draw_all(n_scenes, seed, folder, label=split)
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="c") for name in ("images", "small", "attributes", "covers")}
    return SceneSet(**arrays, captions=np.load(folder / "captions.npy").tolist())


def _draw_all(n_scenes, seed, folder, *, label):
    """Draw all chunks, save them to a temporary folder, and rename it."""
    temporary = folder.with_suffix(".partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    starts = range(0, n_scenes, CHUNK)
    with ProcessPoolExecutor(min(len(starts), n_cores())) as pool:
        chunks = pool.map(partial(_draw_chunk, n_scenes=n_scenes, seed=seed), starts)
        parts = list(tqdm(chunks, total=len(starts), desc=f"drawing {label} scenes", mininterval=10))
    for name in parts[0]:
        np.save(temporary / f"{name}.npy", np.concatenate([part[name] for part in parts]))
    temporary.rename(folder)


def _draw_chunk(start, *, n_scenes, seed):
    """Draw scenes at the stimulus size and shrink them as the models do (bilinear, antialiased)."""
    rng, rows = np.random.default_rng((seed, start)), {}
    for _ in range(min(CHUNK, n_scenes - start)):
        scene = scenes.sample_scene(rng)
        image = Image.fromarray(scenes.draw(scene))
        row = {"images": image.resize((SIZE, SIZE), Image.BILINEAR), "small": image.resize((SMALL, SMALL), Image.BILINEAR)}
        row |= {"attributes": scenes.attributes(scene), "covers": _covers(scene), "captions": captions.describe(scene, rng)}
        for name, value in row.items():
            rows.setdefault(name, []).append(np.asarray(value))
    return {name: np.stack(values) for name, values in rows.items()}


def _covers(scene):
    """The share of each patch that the things of each kind cover: (16, n_kinds)."""
    covered, side = np.zeros((PATCHES, PATCHES, len(scenes.KINDS)), dtype=np.float32), 8 * PATCHES
    for thing, mask in zip(scene.things, scenes.masks(scene, side), strict=True):
        share = mask.reshape(PATCHES, 8, PATCHES, 8).mean((1, 3))
        covered[:, :, scenes.KINDS.index(thing.kind)] += share
    return covered.reshape(PATCHES * PATCHES, -1)


def batch(images: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
    """Draw `size` of the images and turn them into floats in [-1, 1], (size, 3, rows, columns), channels last in memory.

    `images` are (n, rows, columns, 3) uint8, on the device.
    """
    rows = torch.randint(len(images), (size,), generator=generator, device=images.device)
    return to_unit(images[rows])


def standardise(images, mean, std) -> torch.Tensor:
    """Standardise pixels (0 to 1) by a network's channel means and standard deviations, three each."""
    x = to_unit(images)
    mean, std = x.new_tensor([mean, std])[:, :, None, None]
    return ((x + 1) / 2 - mean) / std


def to_unit(images) -> torch.Tensor:
    """(n, rows, columns, 3) uint8 -> (n, 3, rows, columns) float tensor in [-1, 1], channels last."""
    return torch.as_tensor(images).permute(0, 3, 1, 2).float().div(127.5).sub(1)
