"""The scenes the demo zoo is trained on: tens of thousands, none of them the simulated subject's."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from nsdlib.twin import scenes

SIZE = 64
SPLITS = {"train": (40_000, 6401), "validation": (1_000, 6402)}  # number of scenes, seed (a simulated subject uses others)


@dataclass(frozen=True)
class SceneSet:
    """images (n, 64, 64, 3) uint8, attributes (n, n_attributes) float32, captions n lists of five.

    covers (n, 16, n_kinds) float32: the share of each of 4 x 4 patches that a thing of each kind covers.
    """

    images: np.ndarray
    attributes: np.ndarray
    captions: list[list[str]]
    covers: np.ndarray


def load_scenes(split: str, cache: Path) -> SceneSet:
    """Draw a split's scenes, or read them from `cache` where they were drawn before."""
    n_scenes, seed = SPLITS[split]
    path = cache / f"scenes_{split}_{n_scenes}_{seed}.npz"
    if not path.exists():
        _draw_all(n_scenes, seed, path, label=split)
    with np.load(path, allow_pickle=False) as stored:
        captions = [list(five) for five in stored["captions"]]
        return SceneSet(stored["images"], stored["attributes"], captions, stored["covers"])


def _draw_all(n_scenes, seed, path, *, label):
    """Draw at the stimulus size, shrink as the models do (bilinear, antialiased), and store."""
    rng = np.random.default_rng(seed)
    images = np.empty((n_scenes, SIZE, SIZE, 3), dtype=np.uint8)
    attributes, captions, covers = [], [], []
    for i in tqdm(range(n_scenes), desc=f"drawing {label} scenes", mininterval=10):
        scene = scenes.sample_scene(rng)
        images[i] = np.asarray(Image.fromarray(scenes.draw(scene)).resize((SIZE, SIZE), Image.BILINEAR))
        attributes.append(scenes.attributes(scene))
        captions.append(scenes.describe(scene, rng))
        covers.append(_covers(scene))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npz")
    arrays = {"attributes": np.stack(attributes), "captions": np.array(captions), "covers": np.stack(covers)}
    np.savez(partial, images=images, **arrays)
    partial.rename(path)


def _covers(scene):
    """The share of each patch that the square around a thing of each kind covers: (16, n_kinds)."""
    covered, edges = np.zeros((4, 4, len(scenes.KINDS)), dtype=np.float32), np.linspace(0, 1, 5)
    for thing in scene.things:
        down, right = (
            np.clip(np.minimum(edges[1:], c + thing.size / 2) - np.maximum(edges[:-1], c - thing.size / 2), 0, None) * 4
            for c in (thing.y, thing.x)
        )
        cover = covered[:, :, scenes.KINDS.index(thing.kind)]
        np.maximum(cover, np.outer(down, right), out=cover)
    return covered.reshape(16, -1)


def to_unit(images: np.ndarray):
    """(n, rows, columns, 3) uint8 -> (n, 3, rows, columns) float tensor in [-1, 1]."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
