"""Figures of brain and betas: they draw what they are given, on the axes they are given."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from nsdlib.plots import brain


@pytest.fixture(autouse=True)
def closed():
    plt.switch_backend("agg")
    yield
    plt.close("all")


RNG = np.random.default_rng(0)
UNIT = RNG.random(50) + 0.1
DRAWN = {
    "hrfs": (brain.plot_hrfs, (np.arange(9), RNG.random((3, 9)), np.arange(3.0)), {"canonical": np.ones(7)}),
    "fits": (brain.plot_fits, (np.arange(9), np.ones(9), {"fit": np.zeros(9)}, np.array([1, 4])), {}),
    "r2": (brain.plot_r2, (UNIT, UNIT), {"threshold": 0.5}),
    "components": (brain.plot_components, ({"session 1": np.arange(4)}, {"session 1": 2}), {}),
    "fractions": (brain.plot_fractions, (np.array([1, 0.5]), {"all": np.array([1, 1, 0.5])}), {}),
    "boxes": (brain.plot_boxes, ({"V1": UNIT, "V2": UNIT},), {"label": "r", "title": "t"}),
    "truth": (brain.plot_truth, (UNIT, UNIT), {"label": "r", "title": "t"}),
    "confusion": (brain.plot_confusion, (100 * np.eye(2), ["a", "b"]), {"label": "r", "title": "t"}),
}


@pytest.mark.parametrize("name", DRAWN)
def test_it_draws_on_the_axes_it_is_given(name):
    plot, data, more = DRAWN[name]
    _, ax = plt.subplots()
    assert plot(*data, **more, ax=ax) is ax
    assert ax.get_title(loc="left") or ax.get_title()
    assert ax.get_xlabel() or name == "boxes"
    assert plot(*data, **more) is not ax


def test_a_map_puts_values_at_their_voxels():
    voxels, values = np.array([0, 5, 23]), np.array([1.0, np.nan, 3.0])
    figure = brain.plot_map(values, np.zeros((2, 3, 4)), voxels=voxels, slices=[0, 3], label="Peak, seconds")
    maps = [ax.images[1].get_array() for ax in figure.axes[:2]]
    assert maps[0][0, 0] == 1 and maps[1][2, 1] == 3
    assert sum(np.ma.count(shown) for shown in maps) == 2


def test_a_map_of_one_value_has_one_colour_on_all_slices_and_no_bar():
    figure = brain.plot_map(np.ones(2), np.zeros((2, 3, 4)), voxels=np.array([0, 23]), slices=[0, 3], label="Noise pool")
    first, second = (ax.images[1] for ax in figure.axes)
    assert first.get_clim() == second.get_clim()
    assert (first.cmap(first.norm(1.0)) == np.array(second.cmap(second.norm(1.0)))).all()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["Noise pool"]


def test_a_planted_class_is_a_column_and_an_estimated_one_a_row_from_below():
    ax = brain.plot_confusion(np.array([[100, 0], [50, 50]]), ["a", "b"], label="r", title="t")
    np.testing.assert_allclose(ax.collections[0].get_array(), [[100, 50], [0, 50]])
    assert ax.get_xlabel() == "planted r" and not ax.yaxis_inverted()


def test_regions_are_coloured_where_they_lie_and_the_last_is_on_top():
    masks = np.zeros((2, 4, 5, 3), bool)
    masks[:, 1, 4, 2] = masks[0, 2, 3, 2] = True
    figure = brain.plot_regions(np.ones(masks.shape[1:]), dict(zip(("V1", "faces"), masks, strict=True)), slices=[0, 2])
    below, above = (ax.images[1] for ax in figure.axes)
    assert np.ma.count(below.get_array()) == 0
    drawn = above.get_array()
    assert np.argwhere(~drawn.mask).tolist() == [[3, 2], [4, 1]]  # rows are the second axis of the volume
    colours = [mpl.colors.to_hex(above.cmap(above.norm(drawn[place]))) for place in ((3, 2), (4, 1))]
    assert colours == list(brain.REGION_COLOURS[:2])
    assert [mpl.colors.to_hex(patch.get_facecolor()) for patch in figure.legends[0].get_patches()] == colours
