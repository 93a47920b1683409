"""Files of the Algonauts 2023 challenge: averages of NSD's betas on the cortical surface, one row per picture."""

import re

import numpy as np

from nsdlib.data.formats.guards import check_shape, damaged, npy_header, reading
from nsdlib.data.formats.layouts import Layout, make_trials
from nsdlib.data.formats.pickled import read_dictionary

HEMISPHERES = ("lh", "rh")
PICTURE = r"train-(\d+)_nsd-(\d+)"  # row from 1, and NSD's image id from 0


class AlgonautsLayout(Layout):
    """The training split of a folder `subjNN`; its vertices, left hemisphere first, form a volume of (n_vertices, 1, 1).

    Raises a `DamagedFile` if a file is not a numeric matrix, hemispheres differ in rows, or the pictures do not match the rows.
    """

    labels, unit = ("training",), "z"
    note = (
        "Betas are averages over repeats, z-scored by the challenge over all trials of a session, those of its test images too: "
        "transductive, and nothing tells how reliable they are."
    )

    def __init__(self, root, settings):
        name = f"subj{settings.label.removeprefix('subj')}"
        if not (root / name).is_dir() and re.fullmatch(r"subj\d+", root.name) and root.name != name:
            raise ValueError(f"{root} is not of label {settings.label}: set label to {root.name[4:]}, or data to {name}.")
        self.home = root / name if (root / name).is_dir() else root
        training = self.home / "training_split"
        paths = [training / "training_fmri" / f"{side}_training_fmri.npy" for side in HEMISPHERES]
        self.paths = [paths]  # one session
        self.sides = [_matrix(path, 2) for path in paths]
        self.n_vertices = [side.shape[1] for side in self.sides]
        check_shape(paths[1], (len(self.sides[1]),), (len(self.sides[0]),))
        folder = training / "training_images"
        self.names = sorted(path.stem for path in folder.glob("train-*.png"))
        numbers = [int(match[1]) for name in self.names if (match := re.fullmatch(PICTURE, name))]
        if numbers != list(range(1, len(self.sides[0]) + 1)):
            wanted = f"train-0001_nsd-....png and the next, one for each of the {len(self.sides[0])} rows of betas"
            raise damaged(folder, f"must hold {wanted}")

    def _trials(self, session):
        return make_trials(1, self.names)

    def volume(self):
        """Return all vertices, (n_vertices, 1, 1) bool, and the identity as affine, since they have no place in the volume."""
        return np.ones((sum(self.n_vertices), 1, 1), dtype=bool), np.eye(4)

    def regions(self):
        """Read the regions of the challenge: a dict of label, such as V1v or FFA-1, to (n_vertices, 1, 1) bool."""
        regions, folder = {}, self.home / "roi_masks"
        for path in sorted(folder.glob("mapping_*.npy")):
            kind = path.stem.removeprefix("mapping_")
            masks = [_matrix(folder / f"{side}.{kind}_challenge_space.npy", 1) for side in HEMISPHERES]
            for side, mask, n_vertices in zip(HEMISPHERES, masks, self.n_vertices, strict=True):
                check_shape(f"{side}.{kind} in {folder}", mask.shape, (n_vertices,))
            for number, label in read_dictionary(path, keys=int).items():
                if number:  # 0 means no label
                    regions[label] = (np.concatenate(masks) == number)[:, None, None]
        return regions

    def read(self, session, mask):
        """Read the betas: (n_images, n_voxels) float32."""
        parts = np.split(mask.ravel(), self.n_vertices[:1])
        return np.hstack([side[:, part] for side, part in zip(self.sides, parts, strict=True)]).astype(np.float32)


def _matrix(path, n_axes):
    """A numeric array in a `.npy` file, not yet read."""
    with reading(path), path.open("rb") as file:
        npy_header(path, file)
        matrix = np.lib.format.open_memmap(path, mode="r")
    if matrix.ndim != n_axes or matrix.dtype.kind not in "iuf":
        raise damaged(path, f"holds {matrix.dtype} of shape {matrix.shape}, wanted numbers with {n_axes} axes")
    return matrix
