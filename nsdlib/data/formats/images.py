"""Reader of saved images, a folder of pictures or a file of arrays, as (n_images, side, side, 3) uint8.

Grey becomes colour; transparent images lie over grey 127; 16 bits become 8 (grey divided by 257, for colour Pillow keeps the
upper byte); images that are not square are cropped to their centre; if sides differ, all are resized to the smallest. Nothing in
a file is unpickled, and no file may redirect the reader to another.
"""

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nsdlib.core.device import check_finite
from nsdlib.core.files import some
from nsdlib.core.images import resize
from nsdlib.data.bids.files import existing
from nsdlib.data.bids.pictures import GREY, KINDS, read_picture
from nsdlib.data.formats.guards import own_dataset

ARRAY_IN_FILE = re.compile(r"(.+\.(?:npz|h5|hdf5|pt|pth)):(.+)")  # a file, and the name of an array in it
ROUNDING = 1e-3  # allowed beyond a range, as a fraction of its length: a quarter of a grey level
RANGES = {  # kinds of numbers, black, white, and a condition on minimum and maximum that excludes the other ranges
    "0 to 1": ("f", 0, 1, lambda low, high: True),
    "-1 to 1 (below -0.5 somewhere)": ("f", -1, 1, lambda low, high: low < -0.5),
    "0 to 255 (above 63 somewhere)": ("fiu", 0, 255, lambda low, high: high > 63),
    "16 bits (above 4095 somewhere)": ("iu", 0, 65535, lambda low, high: high > 4095),
}
CHANNELS = (1, 3, 4)
N_EXAMPLES = 5  # of files that a message names
PICKLED = "it is damaged, or holds pickled objects, which could run code: save the arrays alone"


@dataclass(frozen=True)
class Images:
    """Images of one folder or file, and notes on how they were converted."""

    place: str
    names: list  # (n_images,) names of pictures without extension, or "row 0", ... for rows of an array
    pixels: np.ndarray  # (n_images, side, side, 3) uint8
    notes: list
    is_array: bool


def read(place) -> Images:
    """Read a folder of pictures, or `file.npy`, `file.npz:name`, `file.h5:dataset`, `file.pt:key`.

    The name can be omitted if the file has only one array. Arrays are (n_images, rows, columns), or have 1, 3 or 4 channels on
    the last axis or the second; their numbers are 8 bits or one of `RANGES`. Raises a FileNotFoundError if nothing is there; a
    ValueError that names the files if they cannot be read, or can be read in two ways.
    """
    place = str(place)
    match = ARRAY_IN_FILE.fullmatch(place)
    name, array_name = match.groups() if match else (place, None)
    path = Path(name)
    if path.is_dir():
        return _square(place, *_read_folder(path), is_array=False)
    if existing(path).suffix.lower() not in LOADERS:
        raise ValueError(f"{path} is no folder of pictures, nor a file of arrays: {', '.join(LOADERS)}.")
    pixels = _in_8_bits(_channels_last(_read_array(path, array_name), place), place)
    if pixels.shape[-1] == 4:
        opaque = pixels[..., 3:] / np.float32(255)
        pixels = (pixels[..., :3] * opaque + GREY * (1 - opaque)).round().astype(np.uint8)
    pixels = np.broadcast_to(pixels, (*pixels.shape[:3], 3))
    return _square(place, [f"row {row}" for row in range(len(pixels))], pixels, is_array=True)


def _read_folder(folder):
    """Names and pictures of a folder."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in KINDS and not path.name.startswith("."))
    if not paths:
        folders = [path.name for path in sorted(folder.iterdir()) if path.is_dir()]
        raise ValueError(f"{folder} holds no pictures ({', '.join(KINDS)}); folders in it: {some(folders) or 'none'}.")
    path_of_stem, pictures, errors = {}, [], []
    for path in paths:
        if (other := path_of_stem.setdefault(path.stem, path)) is not path:
            raise ValueError(f"{other} and {path} have the same name: keep one of them.")
        try:
            pictures.append(np.asarray(read_picture(existing(path))))
        except (ValueError, FileNotFoundError) as error:
            errors.append(str(error))
    if errors:
        raise ValueError(f"{len(errors)} of {len(paths)} pictures cannot be read: {' '.join(errors[:N_EXAMPLES])}")
    return list(path_of_stem), pictures


def _square(place, names, pictures, *, is_array):
    """Crop images to their central square, and resize them to the smallest side if sides differ."""
    sides, notes, squares = [min(picture.shape[:2]) for picture in pictures], [], []
    if n_oblong := sum(picture.shape[0] != picture.shape[1] for picture in pictures):
        notes.append(f"{n_oblong} of {len(sides)} images of {place} are not square: they were cropped to their centre.")
    if len(set(sides)) > 1:
        notes.append(f"Images of {place} have {min(sides)} to {max(sides)} pixels a side: all were resized to {min(sides)}.")
    for picture, side in zip(pictures, sides, strict=True):
        top, left = ((length - side) // 2 for length in picture.shape[:2])
        squares.append(resize(picture[None, top : top + side, left : left + side], min(sides))[0])
    return Images(place, names, np.stack(squares), notes, is_array)


def _read_array(path, inside):
    """One array of a file."""
    try:
        return LOADERS[path.suffix.lower()](path, inside)
    except (_ArrayChoice, MemoryError):
        raise
    except Exception as error:  # libraries raise various errors for damaged files
        reason = PICKLED if type(error).__name__ == "UnpicklingError" else str(error).partition("\n")[0]
        raise ValueError(f"{path} cannot be read ({type(error).__name__}: {reason}); nothing in it was run.") from error


class _ArrayChoice(ValueError):
    """A file has several arrays, or none with the given name."""


def _choose(path, names, inside):
    """Name of the array to read."""
    matching = names if inside is None else [name for name in names if name == inside.strip("/")]
    if len(matching) != 1:
        advice = f"say which as {path}:name, got {inside or path.suffix.lower()}"
        raise _ArrayChoice(f"{path} holds the arrays {some(names) or 'none'}: {advice}.")
    return matching[0]


def _from_npz(path, inside):
    with np.load(path, allow_pickle=False) as file:
        return file[_choose(path, file.files, inside)]


def _from_hdf5(path, inside):
    import h5py

    names = []
    with h5py.File(path) as file:  # links are not followed
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        return own_dataset(path, file, _choose(path, names, inside))[()]


def _from_torch(path, inside):
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about pickles, which are refused
        content = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(content, dict):
        content = content[_choose(path, [key for key, value in content.items() if isinstance(value, torch.Tensor)], inside)]
    if not isinstance(content, torch.Tensor):
        raise ValueError(f"it holds a {type(content).__name__}, no tensor")
    return (content.float() if content.is_floating_point() else content).numpy()


LOADERS = {
    ".npy": lambda path, inside: np.load(path, mmap_mode="r", allow_pickle=False),
    ".npz": _from_npz,
    **dict.fromkeys((".h5", ".hdf5"), _from_hdf5),
    **dict.fromkeys((".pt", ".pth"), _from_torch),
}


def _channels_last(values, place):
    """Array as (n_images, rows, columns, n_channels), from any of the layouts."""
    shape = values.shape
    last, second = (len(shape) == 4 and shape[axis] in CHANNELS for axis in (3, 1))
    if last != second:
        return values if last else np.moveaxis(values, 1, 3)
    if len(shape) == 3 and shape[0] not in CHANNELS and shape[2] not in CHANNELS:
        return values[..., None]
    raise ValueError(
        f"{place} holds an array {shape}: wanted (n_images, rows, columns), or 1, 3 or 4 channels on the last axis or the second "
        "and no doubt which, for two images or more."
    )


def _in_8_bits(values, place):
    """Array as uint8."""
    if values.dtype == np.uint8:
        return np.asarray(values)
    check_finite(place, values)
    low, high = float(values.min()), float(values.max())
    for kinds, black, white, in_range in RANGES.values():
        tolerance = ROUNDING * (white - black) * (values.dtype.kind == "f")
        if values.dtype.kind in kinds and black - tolerance <= low and high <= white + tolerance and in_range(low, high):
            pixels = np.empty(values.shape, np.uint8)
            for image, array in zip(pixels, values, strict=True):
                image[:] = ((array - np.float64(black)) * (255 / (white - black))).round().clip(0, 255)
            return pixels
    found = f"{values.dtype} from {low:.4g} to {high:.4g}, which is none of the known ranges: {'; '.join(RANGES)}"
    raise ValueError(f"{place} holds {found}. Clip or scale the images, and save them again.")
