"""Figures of brain and betas: they draw what they are given, on the axes they are given."""

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
    "counts": (brain.plot_counts, ([0, 1, 1], [0, 1, 0], ["a", "b"]), {"label": "r", "title": "t"}),
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
    figure = brain.plot_map(
        np.ones(2), np.zeros((2, 3, 4)), voxels=np.array([0, 23]), slices=[0, 3], label="Noise pool"
    )
    first, second = (ax.images[1] for ax in figure.axes)
    assert first.get_clim() == second.get_clim()
    assert (first.cmap(first.norm(1.0)) == np.array(second.cmap(second.norm(1.0)))).all()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["Noise pool"]


def test_estimates_are_counted_for_each_planted_class():
    ax = brain.plot_counts([0, 1, 1], [0, 1, 0], ["a", "b"], label="r", title="t")
    np.testing.assert_allclose(ax.images[0].get_array(), [[100, 50], [0, 50]])
