"""Check, resize and add noise to images: (n_images, rows, columns, 3) uint8, RGB.

All resizing of the library is here. Published recipes use different filters, which change scores and embeddings, so each
caller names its filter.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

PIL_FILTERS = {"pil bilinear": Image.Resampling.BILINEAR, "pil bicubic": Image.Resampling.BICUBIC}
RESAMPLINGS = ("antialiased", "plain", *PIL_FILTERS)
BATCH = 32  # images converted to float at a time


def check_images(images: np.ndarray, name: str = "images", *, square: bool = False):
    """Raise ValueError unless the array is a stack of 8-bit colour images; `name` is the argument's name in the message."""
    shape = getattr(images, "shape", ())
    fits = len(shape) == 4 and shape[-1] == 3 and (shape[1] == shape[2] or not square)
    if getattr(images, "dtype", None) != np.uint8 or not fits:
        got = f"{shape} {images.dtype}" if isinstance(images, np.ndarray) else type(images).__name__
        sides = "side, side" if square else "rows, columns"
        raise ValueError(f"{name} must be (n_images, {sides}, 3) uint8, got {got}")
    if 0 in shape:
        raise ValueError(f"{name} must be one image or more, got shape {shape}")


def to_unit(images: np.ndarray, device="cpu") -> Tensor:
    """Convert (n_images, rows, columns, 3) uint8 to (n_images, 3, rows, columns) float32 in [0, 1], on a device."""
    check_images(images)
    return torch.from_numpy(np.require(images, requirements="CW")).to(device).permute(0, 3, 1, 2).float() / 255


def resample(images: np.ndarray | Tensor, size: int, how: str, device="cpu") -> Tensor:
    """Resize images to a square, as a (n_images, 3, size, size) float32 tensor in [0, 1].

    Parameters
    ----------
    images : (n_images, rows, columns, 3) uint8 array, or (n_images, 3, rows, columns) float tensor
        A tensor must be in [0, 1]; Pillow's filters accept only uint8.
    size : int
        Side length in pixels.
    how : {"antialiased", "plain", "pil bilinear", "pil bicubic"}
        The first two are bilinear on floats; the others are Pillow's antialiased filters on uint8. Bicubic on floats is not
        offered, because it leaves [0, 1]. Raises ValueError for another.
    device : torch.device or str
        Where an array is converted to float, which takes four times the memory; a tensor stays on its device.
    """
    if how not in RESAMPLINGS:
        raise ValueError(f"how must be one of {', '.join(RESAMPLINGS)}, got {how!r}")
    if how in PIL_FILTERS:
        return to_unit(resize(images, size, how), device)
    x = images if isinstance(images, Tensor) else to_unit(images, device)
    if tuple(x.shape[-2:]) == (size, size):
        return x
    return F.interpolate(x, (size, size), mode="bilinear", antialias=how == "antialiased", align_corners=False)


def resize(images: np.ndarray, size: int, how: str = "antialiased") -> np.ndarray:
    """Resize images to a square, in 8 bits.

    Parameters
    ----------
    images : (n_images, rows, columns, 3) uint8 array
    size : int
        Side length in pixels; images of that size are returned unchanged.
    how : str
        As in `resample`; float results are rounded.

    Returns
    -------
    (n_images, size, size, 3) uint8 array
    """
    check_images(images)
    if images.shape[1:3] == (size, size):
        return images
    if how in PIL_FILTERS:
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # Pillow releases the GIL
            resized = pool.map(lambda x: np.asarray(Image.fromarray(x).resize((size, size), PIL_FILTERS[how])), images)
            return np.stack(list(resized))
    batches = [resample(images[i : i + BATCH], size, how) for i in range(0, len(images), BATCH)]
    return torch.cat([(x * 255).round().to(torch.uint8) for x in batches]).permute(0, 2, 3, 1).numpy()


def add_noise(images, amplitude, *, seed, image_ids):
    """Add Gaussian noise and clip to 0 ... 255 (section 3.4 of the paper).

    Parameters
    ----------
    images : (n_images, rows, columns, 3) uint8 array
    amplitude : float
        Standard deviation in grey levels. Raises ValueError if it is negative or not finite.
    seed : int
    image_ids : (n_images,) array of int
        The noise of an image depends only on seed and id, so its pattern is the same at every amplitude.

    Returns
    -------
    (n_images, rows, columns, 3) uint8 array
    """
    check_images(images)
    if not 0 <= amplitude < np.inf:
        raise ValueError(f"amplitude must be a finite standard deviation in grey levels, not negative, got {amplitude}.")
    if len(images) != len(image_ids):
        raise ValueError(f"image_ids must name each of the {len(images)} images, got {len(image_ids)}.")
    noisy = np.empty_like(images)
    for k, image_id in enumerate(image_ids):
        noise = np.random.default_rng([seed, int(image_id)]).standard_normal(images.shape[1:])
        noisy[k] = np.clip(images[k] + amplitude * noise, 0, 255).round()
    return noisy
