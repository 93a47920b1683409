"""Surfaces in NSD's layout, written here with planted positions: reading, sampling and drawing."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from nibabel import MGHImage, Nifti1Image
from nibabel.freesurfer import write_geometry, write_morph_data
from scipy.ndimage import map_coordinates
from scipy.spatial import ConvexHull

from nsdlib.data.nsd.subject import NSDSubject
from nsdlib.data.nsd.surfaces import read_surfaces
from nsdlib.plots import maps

SHAPE, N_VERTICES = (12, 14, 10), 400
RNG = np.random.default_rng(0)
VOLUME = RNG.random(SHAPE)


@pytest.fixture
def places():
    """Places of the vertices of both sides in voxels, counted from 0: in the volume, but for the first vertex, which has none."""
    found = {lh: RNG.uniform(-0.49, np.array(SHAPE) - 0.51, (N_VERTICES, 3)) for lh in ("lh", "rh")}
    for where in found.values():
        where[0] = 9998
    return found


@pytest.fixture
def subject(tmp_path, places):
    surf, transforms = tmp_path / "nsddata/freesurfer/subj02/surf", tmp_path / "nsddata/ppdata/subj02/transforms"
    for folder in (surf, transforms):
        folder.mkdir(parents=True)
    for lh, where in places.items():
        points = RNG.standard_normal((N_VERTICES, 3))
        points *= 50 / np.linalg.norm(points, axis=1, keepdims=True)
        write_geometry(surf / f"{lh}.inflated", points, ConvexHull(points).simplices)
        write_morph_data(surf / f"{lh}.sulc", points[:, 2])
        image = MGHImage((where + 1).astype(np.float32).reshape(N_VERTICES, 1, 1, 3), np.eye(4))  # NSD counts from 1
        image.to_filename(transforms / f"{lh}.func1pt8-to-layerB2.mgz")
    return NSDSubject(tmp_path, 2)


def test_vertices_take_the_value_of_the_nearest_voxel(subject, places):
    surfaces = read_surfaces(subject)
    assert list(surfaces) == ["left", "right"]
    for surface, where in zip(surfaces.values(), places.values(), strict=True):
        sampled = surface.sample(VOLUME)
        assert np.isnan(sampled[0])
        np.testing.assert_allclose(sampled[1:], map_coordinates(VOLUME, where[1:].T, order=0, mode="nearest"))
        assert surface.faces.max() == N_VERTICES - 1 and surface.depth == pytest.approx(surface.coordinates[:, 2], rel=1e-5)


def test_a_subject_without_all_files_has_no_surfaces(subject):
    next(subject.root.rglob("rh.sulc")).unlink()
    assert read_surfaces(subject) == {} and read_surfaces(object()) == {}


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("lh.inflated", lambda file: file.write_bytes(b"no surface"), r"lh.inflated cannot be read"),
        ("rh.sulc", lambda file: write_morph_data(file, np.ones(7)), r"rh.sulc has shape \(7,\), wanted \(400,\)"),
        (
            "lh.func1pt8-to-layerB2.mgz",
            lambda file: MGHImage(np.ones((9, 1, 1, 3), np.float32), np.eye(4)).to_filename(file),
            r"layerB2.mgz has shape \(9, 3\), wanted \(400, 3\): it belongs to another subject",
        ),
        (
            "rh.inflated",
            lambda file: write_geometry(file, np.ones((400, 3)), np.array([[0, 1, 400]])),
            "triangles of vertices that it does",
        ),
    ],
)
def test_damaged_files_are_named(subject, name, change, message):
    change(next(subject.root.rglob(name)))
    with pytest.raises(ValueError, match=message):
        read_surfaces(subject)


def test_a_map_is_drawn_on_the_hemisphere_in_which_its_voxels_lie(subject, places):
    plt.switch_backend("agg")
    nearest = np.rint(places["rh"][1:]).astype(int)
    voxels = np.unique(np.ravel_multi_index(nearest.T, SHAPE))
    other = np.ravel_multi_index(np.rint(places["lh"][1:]).astype(int).T, SHAPE)
    voxels = np.setdiff1d(voxels, other)  # voxels of the right side alone
    head = Nifti1Image(VOLUME, np.diag([1.8, 1.8, 1.8, 1]))
    given = {"voxels": voxels, "label": "Noise ceiling, percent", "limits": (0, 100)}
    figure = maps.plot_surfaces(np.full(len(voxels), 100.0), head, read_surfaces(subject), **given)
    yellow, coloured = mpl.colormaps["viridis"](1.0)[:3], {}
    for ax in figure.axes[:4]:
        faces = ax.collections[0].get_facecolor()[:, :3]
        coloured[ax.get_title()] = int((abs(faces - yellow) < 0.02).all(axis=1).sum())
    assert coloured["left, medial"] == coloured["left, ventral"] == 0
    assert coloured["right, medial"] > 5 and coloured["right, ventral"] > 5
    assert figure.axes[-1].get_xlabel() == "Noise ceiling, percent"
    plt.close("all")
