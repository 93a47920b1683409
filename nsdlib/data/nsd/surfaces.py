"""Cortical surfaces of an NSD subject, used only by figures.

Functional and anatomical volumes are not in register. Therefore FreeSurfer's files give only the surface; NSD's own transforms,
whose names and meaning are those of NSD's `nsdcode`, give the position of each vertex in the 1.8 mm volume.
"""

from dataclasses import dataclass

import numpy as np

from nsdlib.data.formats.guards import check_shape, damaged, reading
from nsdlib.data.nsd.subject import NSDSubject

HEMISPHERES = {"left": "lh", "right": "rh"}
LAYER = "layerB2"  # halfway between white matter and pial surface
MAX_BYTES = 2**26  # of a file; NSD's own have up to 10 million


@dataclass(frozen=True)
class Hemisphere:
    """One inflated hemisphere, and the positions of its vertices in the volume."""

    coordinates: np.ndarray  # (n_vertices, 3) mm, inflated
    faces: np.ndarray  # (n_faces, 3) int, vertices of each triangle
    depth: np.ndarray  # (n_vertices,) sulcal depth, positive inside sulci
    places: np.ndarray  # (n_vertices, 3) fractional voxel indices from 0; outside the volume for vertices without a position

    def sample(self, volume):
        """Take the value of the nearest voxel for each vertex: (n_vertices,) float, NaN outside the volume (X, Y, Z)."""
        nearest = np.rint(self.places).astype(int)
        inside = ((nearest >= 0) & (nearest < volume.shape)).all(axis=1)
        values = np.full(len(nearest), np.nan)
        values[inside] = volume[tuple(nearest[inside].T)]
        return values


def read_surfaces(subject):
    """Read the surfaces of a subject: dict of "left" and "right" to `Hemisphere`, empty unless all their files exist.

    The files of a hemisphere (`lh` or `rh`) are `nsddata/freesurfer/subjXX/surf/lh.inflated` and `lh.sulc`, and
    `nsddata/ppdata/subjXX/transforms/lh.func1pt8-to-layerB2.mgz`. Raises a ValueError for damaged files. Only NSD's subjects have
    surfaces.
    """
    if not isinstance(subject, NSDSubject):
        return {}
    name = f"subj{subject.subject:02d}"
    surf, transforms = (subject.root / "nsddata" / path for path in (f"freesurfer/{name}/surf", f"ppdata/{name}/transforms"))
    files = {
        side: (surf / f"{prefix}.inflated", surf / f"{prefix}.sulc", transforms / f"{prefix}.func1pt8-to-{LAYER}.mgz")
        for side, prefix in HEMISPHERES.items()
    }
    if not all(file.is_file() for paths in files.values() for file in paths):
        return {}
    return {side: _read(*paths) for side, paths in files.items()}


def _read(inflated, sulc, transform):
    """One hemisphere from its three files."""
    from nibabel import MGHImage
    from nibabel.freesurfer import read_geometry, read_morph_data

    for file in (inflated, sulc, transform):
        if file.stat().st_size > MAX_BYTES:
            raise damaged(file, f"is larger than {MAX_BYTES} bytes")
    with reading(inflated):
        coordinates, faces = read_geometry(inflated)
        if faces.min() < 0 or faces.max() >= len(coordinates):
            raise damaged(inflated, "has triangles of vertices that it does not have")
    with reading(sulc):
        depth = read_morph_data(sulc)
    check_shape(str(sulc), depth.shape, (len(coordinates),))
    with reading(transform):
        image = MGHImage.load(transform)
        shape = tuple(int(side) for side in image.shape if side > 1)
        check_shape(str(transform), shape, (len(coordinates), 3))  # before memory is allocated
        places = np.asarray(image.dataobj, dtype=float).reshape(shape, order="F")
    return Hemisphere(coordinates, faces, depth, places - 1)  # NSD counts voxels from 1; 9999 means no position
