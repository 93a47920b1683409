"""Base class of subjects from any laboratory: images are files named in tables, and voxels come from a mask."""

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
    """A subject whose images are files. An image's number is its row in the sorted list of names in the sessions in use.

    `settings`, a section of the parameter file, has the folder `images`, `fit`, `side`, and `captions`, a table or None.
    """

    session_labels, regions_from = (), ""  # a hint on the source of regions, for error messages

    def __init__(self, settings):
        self.settings, self.has_captions = settings, settings.captions is not None
        self.pictures = Pictures(settings.images, fit=settings.fit, side=settings.side)

    def _select_sessions(self, labels, n_sessions):
        """Use the first `n_sessions` of the labelled sessions, by default all; raise a ValueError if there are fewer."""
        self.n_sessions = len(labels) if n_sessions is None else n_sessions
        if not 1 <= self.n_sessions <= len(labels):
            raise ValueError(f"n_sessions={n_sessions}: {self.name} has sessions 1 to {len(labels)} ({', '.join(labels)}).")
        self.session_labels = labels[: self.n_sessions]

    @property
    @abstractmethod
    def _trial_table(self):
        """Trials in temporal order: a DataFrame with columns session, run, name (of the picture), and others."""

    @property
    @abstractmethod
    def _mask(self):
        """Voxels in use, (X, Y, Z) bool, and the affine, (4, 4); other items may follow."""

    @cached_property
    def _names(self):
        """Distinct picture names, sorted: (n_images,) array of str."""
        return np.unique(self._trial_table["name"].to_numpy(str))

    def _trials(self, *columns):
        """Session, run and image number of each trial, and further columns of its table."""
        table = self._trial_table
        image = np.searchsorted(self._names, table["name"].to_numpy(str))
        return table[["session", "run"]].assign(image=image, **{column: table[column] for column in columns})

    @property
    def brainmask(self):
        """Voxels of the mask, see `Subject`."""
        return self._mask[0]

    @property
    def affine(self):
        """Affine from voxel indices to millimetres, see `Subject`."""
        return self._mask[1]

    def voxels(self, roi):
        """Voxels to decode from, within the mask: (X, Y, Z) bool.

        `roi` is "brainmask"; one of `regions`; "visual", their union unless one has this name; or the path, from the project's
        folder, of a NIfTI mask in the same space, on any grid. Raises a ValueError for other values, and if no voxel is left.
        """
        if roi == "brainmask":
            return self.brainmask
        if paths := self._mask_files(roi):
            voxels = volumes.read_labels(paths[0], self.brainmask.shape, self.affine) > 0
        elif self.regions and (roi == "visual" or roi in self.regions):
            voxels = self.regions[roi] if roi in self.regions else np.any(list(self.regions.values()), axis=0)
        else:
            known = dict.fromkeys(["brainmask", "the path of a NIfTI mask", *(["visual", *self.regions] if self.regions else [])])
            raise ValueError(f"roi {roi!r} is unknown. Known: {', '.join(known)}. {self.regions_from}")
        if not (voxels := voxels & self.brainmask).any():
            raise ValueError(f"roi {roi!r} has no voxel in the mask of {self.name}: is it in the same space?")
        return voxels

    @staticmethod
    def _mask_files(roi):
        """Path of a mask file as a list, empty for a region; ~ is the home folder, other paths start in the project's folder."""
        path = Path(roi).expanduser()
        return [path if path.is_absolute() else find_root() / path] if path.name.endswith(VOLUME) else []

    def image_names(self, image_ids):
        """Names of images as in the tables: a list of str. Raises a ValueError for an unknown number."""
        image_ids = np.asarray(image_ids, dtype=np.int64)
        wrong = image_ids[(image_ids < 0) | (image_ids >= len(self._names))]
        if wrong.size:
            raise ValueError(f"image_ids holds {wrong[0]}: images of {self.name} have numbers from 0 to {len(self._names) - 1}.")
        return self._names[image_ids].tolist()

    def stimuli(self, image_ids):
        """Pictures as shown, made square: (n_images, side, side, 3) uint8; a FileNotFoundError names missing ones."""
        return self.pictures.read(self.image_names(image_ids))

    def captions(self, image_ids):
        """Captions of each picture as a list of str, empty without a table; a ValueError if the table lacks a picture."""
        names = self.image_names(image_ids)
        captions = [self._captions.get(self.pictures.identify(name), []) for name in names]
        if self.has_captions and (without := [name for name, texts in zip(names, captions, strict=True) if not texts]):
            raise ValueError(
                f"{self.settings.captions} has no caption of {len(without)} of {len(names)} pictures, such as {without[0]}: add "
                "a row for each."
            )
        return captions

    @cached_property
    def _captions(self):
        """Captions by picture."""
        return read_captions(self.settings.captions, self.pictures) if self.has_captions else {}

    def concepts(self, image_ids):
        """Concept of each picture, from its folder or its name, see `Pictures.concepts`: a list of str."""
        return self.pictures.concepts(self.image_names(image_ids))

    def missing_files(self, **settings):
        """Needed files that are missing, or only placeholders for their content, with the problem, see `Subject`.

        If there are none, the missing pictures.
        """
        needed = self.needed_files(self.n_sessions, **settings)
        missing = [(path, f"{description}: {reason}") for path, description in needed if (reason := problem(path))]
        return missing or self.pictures.missing(self._names.tolist())
