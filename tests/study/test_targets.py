"""Latents and tokens of stimuli belong to their image, whatever batch it was read in."""

import numpy as np
import pytest

from nsdlib.data import targets

IDS = {"train": np.array([7, 3, 300, 12, 5]), "test": np.array([9, 2])}


class Data:
    """Images as grey as their ids, and captions that name them; notes how many are read at once."""

    def __init__(self):
        self.read = []

    def stimuli(self, ids):
        self.read.append(len(ids))
        return np.broadcast_to((ids % 256).astype(np.uint8)[:, None, None, None], (len(ids), 2, 2, 3))

    def captions(self, ids):
        return [[f"{image}"] for image in ids]


class Model:
    """Its latents are an image's grey level and id; its tokens the grey level, and the number in the caption."""

    def n_latents(self, n_layers):
        return 2 * n_layers

    def encode(self, images, *, n_layers, image_ids, seed):
        return np.tile(np.stack([images[:, 0, 0, 0], image_ids + seed], axis=1), n_layers).astype(np.float32)

    def vision(self, images, *, image_ids):
        assert (images[:, 0, 0, 0] == image_ids % 256).all()
        return np.tile(images[:, 0, 0, :1, None], (1, 3, 4)).astype(np.float16)

    def text(self, captions, *, image_ids):
        assert captions == Data().captions(image_ids)
        return np.array([[[int(caption)] * 4] * 2 for (caption,) in captions], dtype=np.float16)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(targets, "BATCH", 2)


def test_latents_are_encoded_batch_by_batch():
    data = Data()
    dataset = targets.latent_targets(Model(), data, IDS, n_layers=3, seed=1)
    assert data.read == [2, 2, 1, 2] and dataset.latents_train.dims == ("train_image", "latent")
    for split, ids in IDS.items():
        assert (dataset[f"{split}_image"] == ids).all() and dataset[f"latents_{split}"].dtype == np.float32
        assert (dataset[f"latents_{split}"].values[:, -2:] == np.stack([ids % 256, ids + 1], axis=1)).all()


def test_tokens_of_images_and_captions_belong_together():
    dataset = targets.token_targets(Model(), Data(), IDS)
    for split, ids in IDS.items():
        assert dataset[f"vision_{split}"].shape == (len(ids), 3, 4) and dataset[f"text_{split}"].shape == (len(ids), 2, 4)
        assert (dataset[f"vision_{split}"].values[:, 0, 0] == ids % 256).all()
        assert (dataset[f"text_{split}"].values[:, 1, 3] == ids).all()
