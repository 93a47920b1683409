"""Pictures that were shown: found by the names in the events, read, and made square without distortion; their captions."""

import re
from functools import cached_property
from pathlib import PurePosixPath
from unicodedata import normalize

import numpy as np

from nsdlib.data.bids.events import read_table
from nsdlib.data.bids.files import problem

KINDS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
GREY = 127  # behind transparent pictures and around padded ones: the grey of most screens
NUMBERED = re.compile(r"(.+)_\d+[A-Za-z]?")


def read_picture(path):
    """Read a picture file as Pillow's RGB image: upright, 16-bit grey as 8 bits, transparency over grey.

    Raises a ValueError that names the file if it cannot be read or holds floats, whose range is unknown.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file)
            if picture.mode == "F":
                raise ValueError("it holds floats, wanted 8 or 16 bits")
            if picture.mode.startswith("I"):  # 16 bits
                picture = Image.fromarray((np.asarray(picture) / 257).clip(0, 255).round().astype(np.uint8))
            picture = picture.convert("RGBA")
    except Exception as error:  # each picture format raises its own errors
        raise ValueError(
            f"{path} cannot be read as a picture ({type(error).__name__}: {error}): get it again, or save it anew as a PNG."
        ) from error
    grey = Image.new("RGBA", picture.size, (GREY, GREY, GREY, 255))
    return Image.alpha_composite(grey, picture).convert("RGB")


class Pictures:
    """A folder (Path) of pictures of any size, found by name.

    A name is a path below the folder, or its end, with or without the extension: `dog/dog_12s.jpg`, `dog_12s`. Leading folders,
    such as `stimuli/` of a BIDS data set, are ignored unless subfolders hold files of that name. Pictures are resized to `side`
    pixels; those that are not square are cropped to their centre (`fit` "crop") or padded with grey ("pad").
    """

    def __init__(self, folder, *, fit="crop", side=425):
        self.folder, self.fit, self.side = folder, fit, side

    @cached_property
    def _index(self):
        """Pictures by file name and by stem, extensions in lower case: lists of paths."""
        index = {}
        for path in _walk(self.folder):
            if path.suffix.lower() in KINDS:
                for key in {_small(path.name), _small(path.stem)}:
                    index.setdefault(key, []).append(path)
        return index

    def find(self, name):
        """Find the picture of a name: its Path, None if there is none; raises a ValueError if two match."""
        parts, matches = _parts(name), []
        candidates = self._index.get(_small(parts[-1]) if parts else "", ())
        min_shared = parts[-2:-1] not in ((), (self.folder.name,)) and any(path.parent != self.folder for path in candidates)
        for path in candidates:
            folders = _parts(str(path.relative_to(self.folder)))[:-1]
            n_shared = min(len(folders), len(parts) - 1)
            if folders[len(folders) - n_shared :] == parts[len(parts) - 1 - n_shared : -1] and n_shared >= min_shared:
                matches.append((len(folders) == len(parts) - 1 == n_shared, n_shared, parts[-1] in (path.name, path.stem), path))
        best_rank = max((rank for *rank, _ in matches), default=None)
        best = [path for *rank, path in matches if rank == best_rank]
        if len(best) > 1:
            raise ValueError(f"Picture {name!r} can be {best[0]} or {best[1]}: tables must name the folder, or the extension.")
        return best[0] if best else None

    def identify(self, name):
        """Identify a picture by the Path of a name, however it is written, or by the name if it has no file."""
        return self.find(name) or name

    def one_name_each(self, names):
        """Map each name to the first name of the same file: a dict; a ValueError if two names cannot be one picture."""
        name_of_path, name_of = {}, {}
        for name in names:
            path = self.identify(name)
            other = name_of_path.setdefault(path, name)
            folders, other_folders = (_parts(text)[:-1] for text in (name, other))
            n_shared = min(len(folders), len(other_folders))
            if n_shared and folders[-n_shared:] != other_folders[-n_shared:]:
                raise ValueError(f"{name} and {other} would both be {path}: set images to a parent folder that holds both.")
            name_of[name] = other
        return name_of

    def missing(self, names):
        """Pictures that are missing or without content, as pairs (path, what is wrong)."""
        paths = {name: self.find(name) for name in names}
        absent = [(self.folder / name, "a picture that the tables name") for name, path in paths.items() if path is None]
        return absent + [(path, reason) for path in paths.values() if path is not None and (reason := problem(path))]

    def refuse_missing(self, names):
        """Raise a FileNotFoundError, with the number of pictures and some of their names, if any are missing."""
        if missing := self.missing(dict.fromkeys(names)):
            examples = ", ".join(str(path).removeprefix(f"{self.folder}/") for path, _ in missing[:5])
            raise FileNotFoundError(
                f"{len(missing)} of {len(set(names))} pictures are missing in {self.folder}, such as {examples} "
                f"({missing[0][1]}). Set images, in the parameter file or as --images, to the folder in which they lie."
            )

    def read(self, names):
        """Read pictures: (n_names, side, side, 3) uint8 RGB; grey ones become colour, transparent ones lie over grey.

        Raises a FileNotFoundError as `refuse_missing` does.
        """
        self.refuse_missing(names)
        pictures = {name: self._square(self.find(name)) for name in dict.fromkeys(names)}
        return np.stack([pictures[name] for name in names]) if pictures else np.empty((0, self.side, self.side, 3), np.uint8)

    def concepts(self, names):
        """Concept of each picture: its name without the final number, or its folder.

        Folders are used if there are several, and a name has no number or names give no more concepts than folders do.
        """
        folders = {name: (self.find(name) or self.folder / name).parent.name for name in names}
        matches = {name: NUMBERED.fullmatch(PurePosixPath(name).stem) for name in names}
        unnumbered = [name for name, match in matches.items() if match is None]
        concepts, n_folders = {name: match[1] for name, match in matches.items() if match}, len(set(folders.values()))
        if n_folders > 1 and (unnumbered or len(set(concepts.values())) <= n_folders):
            return [folders[name] for name in names]
        if unnumbered:
            raise ValueError(
                f"{len(unnumbered)} pictures of {self.folder} do not say their concept, such as {unnumbered[0]}: wanted a folder "
                "for each concept, or names such as dog_12.jpg. Or choose another split, such as random."
            )
        return [concepts[name] for name in names]

    def _square(self, path):
        """One picture as (side, side, 3) uint8."""
        from PIL import Image, ImageOps

        picture = read_picture(path)
        size, resampling, shortest = (self.side, self.side), Image.Resampling.BICUBIC, min(picture.size)
        if self.fit == "crop":
            left, top = ((length - shortest) // 2 for length in picture.size)
            return np.asarray(picture.crop((left, top, left + shortest, top + shortest)).resize(size, resampling))
        return np.asarray(ImageOps.pad(picture, size, resampling, color=(GREY, GREY, GREY)))


def read_captions(path, pictures):
    """Read captions of `Pictures` from a .tsv with columns image and caption, one row per caption.

    Returns a dict of the results of `Pictures.identify` to a list of str. The column image holds names as in other tables, or
    their ends, with or without the extension; a ValueError if one can be two pictures.
    """
    table, captions = read_table(path, "image", "caption").dropna(subset=["image", "caption"]), {}
    for image, caption in zip(table["image"], table["caption"], strict=True):
        captions.setdefault(pictures.identify(image), []).append(caption)
    return captions


def _walk(folder, parents=()):
    """Yield the files below a folder, sorted; skip hidden ones, and follow links to folders unless they form a cycle."""
    resolved = folder.resolve()
    for path in sorted(folder.iterdir()) if folder.is_dir() and resolved not in parents else ():
        if path.is_dir() and not path.name.startswith("."):
            yield from _walk(path, (*parents, resolved))
        elif not path.name.startswith("."):
            yield path


def _parts(name):
    """Folders and file of a name, with normalized slashes and Unicode."""
    return PurePosixPath(normalize("NFC", name.replace("\\", "/"))).parts


def _small(name):
    """File name in normalized Unicode, with its extension in lower case."""
    stem, dot, extension = normalize("NFC", name).rpartition(".")
    return f"{stem}{dot}{extension.lower()}" if stem else dot + extension
