"""What is done to a rough image on purpose, to see what survives of it (the paper's section 3.4)."""

import numpy as np


def add_noise(images, amplitude, *, seed, image_ids):
    """Lay Gaussian noise of standard deviation `amplitude` grey levels over images, clipped to 0 ... 255 (paper, 3.4).

    Parameters
    ----------
    images : (n_images, rows, columns, 3) uint8
    amplitude : float
    seed, image_ids : int, (n_images,) int
        The noise of an image depends on these alone: it is the same pattern at every amplitude, only stronger.

    Returns
    -------
    (n_images, rows, columns, 3) uint8

    Raises
    ------
    ValueError
        For a negative amplitude, or not one id an image.
    """
    if amplitude < 0:
        raise ValueError(f"amplitude is a standard deviation in grey levels and cannot be negative, got {amplitude}.")
    if len(images) != len(image_ids):
        raise ValueError(f"image_ids must name each of the {len(images)} images, got {len(image_ids)}.")
    noise = [np.random.default_rng([seed, int(one)]).standard_normal(images.shape[1:]) for one in image_ids]
    return np.clip(images + amplitude * np.stack(noise), 0, 255).round().astype(np.uint8)
