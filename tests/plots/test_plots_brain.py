"""Figures of brain responses and betas draw the given data on the given axes."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from nsdlib.plots import brain

pytestmark = pytest.mark.usefixtures("house_style")
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


def test_sessions_are_named_where_a_legend_can_hold_them():
    for n, named in ((3, 3), (40, 0)):
        curves = {f"session {i}": np.random.default_rng(i).normal(size=4) for i in range(n)}
        ax = brain.plot_components(curves, dict.fromkeys(curves, 2))
        assert len(ax.get_legend().get_texts() if ax.get_legend() else []) == named


def test_a_group_without_voxels_is_not_drawn():
    ax = brain.plot_fractions(np.array([1, 0.5]), {"respond": np.array([1, 0.5]), "do not": np.array([])})
    assert [line.get_label() for line in ax.lines] == ["respond (n = 2)"]


def test_a_planted_class_is_a_column_and_an_estimated_one_a_row_from_below():
    ax = brain.plot_confusion(np.array([[100, 0], [50, 50]]), ["a", "b"], label="r", title="t")
    np.testing.assert_allclose(ax.collections[0].get_array(), [[100, 50], [0, 50]])
    assert ax.get_xlabel() == "planted r" and not ax.yaxis_inverted()
