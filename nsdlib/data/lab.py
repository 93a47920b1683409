"""What subjects of any laboratory share: images are files that tables name, voxels those of a mask."""

from abc import abstractmethod
from functools import cached_property
from pathlib import Path

import numpy as np

from nsdlib.data.bids import volumes
from nsdlib.data.bids.files import VOLUME, problem
from nsdlib.data.bids.pictures import Pictures, read_captions
from nsdlib.data.subject import Subject
from nsdlib.params import find_root


class LabSubject(Subject):
    """A subject whose images are files. The number of an image is its row in the sorted list of names in the sessions in use.

    `settings`, a section of the parameter file, has the folder `images`, `fit`, `side`, and `captions`, a table or None.
    """

    session_labels, regions_from = (), ""  # where regions come from, for people

    def __init__(self, settings):
        self.settings, self.has_captions = settings, settings.captions is not None
        self.pictures = Pictures(settings.images, fit=settings.fit, side=settings.side)

    def _use(self, labels, n_sessions):
        """Use the first sessions of those with some labels, all when `n_sessions` is None; a ValueError when there are fewer."""
        self.n_sessions = len(labels) if n_sessions is None else n_sessions
        if not 1 <= self.n_sessions <= len(labels):
            raise ValueError(f"n_sessions={n_sessions}: {self.name} has sessions 1 to {len(labels)} ({', '.join(labels)}).")
        self.session_labels = labels[: self.n_sessions]

    @property
    @abstractmethod
    def _shown(self):
        """Trials in order of time: a DataFrame with columns session, run, name of the picture, and others."""

    @property
    @abstractmethod
    def _mask(self):
        """Voxels in use, (X, Y, Z) bool, and the affine, (4, 4); more may follow."""

    @cached_property
    def _names(self):
        """Distinct names of pictures, sorted: (n_images,) array of str."""
        return np.unique(self._shown["name"].to_numpy(str))

    def _trials(self, *columns):
        """Session, run and number of the image of each trial, and other columns of its table."""
        image = np.searchsorted(self._names, self._shown["name"].to_numpy(str))
        return self._shown[["session", "run"]].assign(image=image, **{column: self._shown[column] for column in columns})

    @property
    def brainmask(self):
        """Voxels of the mask, see `Subject`."""
        return self._mask[0]

    @property
    def affine(self):
        """From voxel indices to millimetres, see `Subject`."""
        return self._mask[1]

    def voxels(self, roi):
        """Voxels to decode from: (X, Y, Z) bool.

        `roi` is brainmask; one of `regions`; visual, all of them, unless one is called so; or the path, from the project's
        folder, of a NIfTI mask in the same space, on any grid. A ValueError for another, and when no voxel is in the mask.
        """
        if roi == "brainmask":
            return self.brainmask
        if paths := self._mask_file(roi):
            chosen = volumes.read_labels(paths[0], self.brainmask.shape, self.affine) > 0
        elif self.regions and (roi == "visual" or roi in self.regions):
            chosen = self.regions[roi] if roi in self.regions else np.any(list(self.regions.values()), axis=0)
        else:
            known = dict.fromkeys(["brainmask", "the path of a NIfTI mask", *(["visual", *self.regions] if self.regions else [])])
            raise ValueError(f"roi {roi!r} is unknown. Known: {', '.join(known)}. {self.regions_from}")
        if not (chosen := chosen & self.brainmask).any():
            raise ValueError(f"roi {roi!r} has no voxel in the mask of {self.name}: is it in the same space?")
        return chosen

    @staticmethod
    def _mask_file(roi):
        """The file of a mask, in a list, empty for a region; ~ is home, and other paths begin in the project's folder."""
        path = Path(roi).expanduser()
        return [path if path.is_absolute() else find_root() / path] if path.name.endswith(VOLUME) else []

    def image_names(self, image_ids):
        """Names of images, as the tables have them: a list of str. A ValueError for a number that there is not."""
        image_ids = np.asarray(image_ids, dtype=np.int64)
        wrong = image_ids[(image_ids < 0) | (image_ids >= len(self._names))]
        if wrong.size:
            raise ValueError(f"image_ids holds {wrong[0]}: images of {self.name} have numbers from 0 to {len(self._names) - 1}.")
        return self._names[image_ids].tolist()

    def stimuli(self, image_ids):
        """Pictures as shown, made square: (n_images, side, side, 3) uint8; a FileNotFoundError names those that are missing."""
        return self.pictures.read(self.image_names(image_ids))

    def captions(self, image_ids):
        """Captions of pictures, each a list of str; empty where the section names no table; a ValueError where one has none."""
        names = self.image_names(image_ids)
        found = [self._captions.get(self.pictures.identify(name), []) for name in names]
        if self.has_captions and (absent := [name for name, texts in zip(names, found, strict=True) if not texts]):
            raise ValueError(
                f"{self.settings.captions} has no caption of {len(absent)} of {len(names)} pictures, such as {absent[0]}: add a "
                "row of each."
            )
        return found

    @cached_property
    def _captions(self):
        """Captions by picture."""
        return read_captions(self.settings.captions, self.pictures) if self.has_captions else {}

    def concepts(self, image_ids):
        """The folder of each picture, where there are several, or its name up to the number at its end: a list of str."""
        return self.pictures.concepts(self.image_names(image_ids))

    def missing_files(self, **settings):
        """Those of the needed files that are not there, or stand for what was not fetched, with what is wrong, see `Subject`.

        Where there are none, pictures that are missing.
        """
        needed = self.needed_files(self.n_sessions, **settings)
        missing = [(path, f"{what}: {wrong}") for path, what in needed if (wrong := problem(path))]
        return missing or self.pictures.missing(self._names.tolist())
