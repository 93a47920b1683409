"""Decoding targets: VDVAE latents and CLIP tokens of a subject's stimuli, computed in batches."""

import numpy as np

BATCH = 128  # images read from a subject's files at a time


def latent_targets(model, data, ids, **encoding):
    """Compute the artifact `targets`: latents_train and latents_test (image, latent) float32, the true latents of images.

    Parameters
    ----------
    model : nsdlib.core.vdvae.VDVAE
    data : nsdlib.data.subject.Subject
    ids : dict of str to (n_images,) int
        Image numbers of "train" and "test".
    **encoding
        Settings of `VDVAE.encode`: n_layers, sample, seed.
    """
    arrays = {}
    for split, images in ids.items():
        latents = np.empty((len(images), model.n_latents(encoding["n_layers"])), dtype=np.float32)
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            latents[start : start + BATCH] = model.encode(data.stimuli(batch), image_ids=batch, **encoding)
        arrays[f"latents_{split}"] = ((f"{split}_image", "latent"), latents)
    return _by_image(arrays, ids)


def token_targets(embedder, data, ids):
    """Compute the artifact `embeddings`: CLIP tokens of images, and of captions, averaged over each image's captions.

    `embedder` is a `core.clip.ClipEmbedder`; `data` and `ids` are as in `latent_targets`. Returns text_train, vision_train,
    text_test and vision_test (image, token, feature) float16. All images without captions get the tokens of an empty text.
    """
    arrays = {}
    for split, images in ids.items():
        batches = (images[i : i + BATCH] for i in range(0, len(images), BATCH))
        vision = np.concatenate([embedder.vision(data.stimuli(batch), image_ids=batch) for batch in batches])
        captions = [texts or [""] for texts in data.captions(images)]
        text = embedder.text(captions, image_ids=images)
        arrays[f"text_{split}"] = ((f"{split}_image", "text_token", "feature"), text)
        arrays[f"vision_{split}"] = ((f"{split}_image", "vision_token", "feature"), vision)
    return _by_image(arrays, ids)


def _by_image(arrays, ids):
    """Label the arrays of both splits with their image numbers."""
    import xarray as xr

    return xr.Dataset(arrays, coords={f"{split}_image": images for split, images in ids.items()})
