"""Images as they travel: (n_images, rows, columns, 3) uint8, RGB; checked, and resized by Pillow where a recipe says so."""

import numpy as np
from PIL import Image


def check_images(images: np.ndarray, name: str = "images"):
    """Refuse what is not a stack of 8-bit colour images."""
    if getattr(images, "dtype", None) != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        came = f"{images.shape} {images.dtype}" if isinstance(images, np.ndarray) else type(images).__name__
        raise ValueError(f"{name} must be (n_images, rows, columns, 3) uint8, got {came}")


def pil_resize(images: np.ndarray, size: int, resample: Image.Resampling) -> np.ndarray:
    """Resize to a square with one of Pillow's antialiased filters; the same array when it has that size already."""
    check_images(images)
    if images.shape[1:3] == (size, size):
        return images
    return np.stack([np.asarray(Image.fromarray(image).resize((size, size), resample)) for image in images])
