"""Figures of notebook 00 draw the given data on the given axes."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from drawn import lines

from nsdlib.plots import data


@pytest.fixture(autouse=True)
def close():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def test_scenes_fill_a_sheet_and_leave_the_rest_empty():
    images = np.arange(5)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    figure = data.plot_scenes(images.astype(np.uint8), [f"caption {i}" for i in range(5)], n_columns=3)
    drawn = [ax for ax in figure.axes if ax.images]
    assert [int(ax.images[0].get_array().max()) for ax in drawn] == [0, 1, 2, 3, 4]
    assert [ax.get_title(loc="left") for ax in drawn] == [f"caption {i}" for i in range(5)]
    assert len(figure.axes) == 6


def test_an_import_shows_pictures_names_design_and_mask():
    images = np.arange(9, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    mask = np.zeros((5, 6, 4), bool)
    mask[1:3, 2:5, 1:3] = True
    regressors, background = np.eye(7)[:, :4], np.random.default_rng(0).random(mask.shape)
    names = [f"thing_{i}.png" for i in range(9)]
    figure = data.plot_import(images, names, regressors, background, mask, slices=[1, 3])
    drawn = [[np.ma.filled(image.get_array().astype(float), np.nan) for image in ax.images] for ax in figure.axes if ax.images]
    assert [int(pictures[0].max()) for pictures in drawn[:9]] == list(range(9))
    assert [ax.get_title(loc="left") for ax in figure.axes[:9]] == names
    np.testing.assert_array_equal(drawn[9][0], regressors)
    for z, (mean, inside) in zip([1, 3], drawn[10:], strict=True):
        np.testing.assert_allclose(mean, background[:, :, z].T)
        np.testing.assert_array_equal(inside == 1, mask[:, :, z].T)
    figure.canvas.draw()


def test_trials_are_dots_at_their_place():
    ax = plt.subplots()[1]
    image_ids, shared = np.array([7, 3, 7, 5]), np.array([False, True, False, False])
    assert data.plot_trials(image_ids, shared, np.array([1, 1, 2, 2]), ax=ax) is ax
    [dots] = ax.collections
    assert dots.get_offsets().tolist() == [[1, 0], [3, 0], [4, 2], [2, 1]]
    sizes, colours = dots.get_sizes(), dots.get_facecolors()
    assert sizes[0] == sizes[2] < sizes[3] and tuple(colours[0]) == tuple(colours[2]) != tuple(colours[3])
    assert [line.get_xdata()[0] for line in lines(ax)] == [2.5]


def test_a_run_is_one_line_a_voxel_over_seconds():
    ax = plt.subplots()[1]
    series = np.random.default_rng(0).standard_normal((20, 2))
    assert data.plot_run(series, np.array([4.0, 8.0]), ["a", "b"], tr=0.5, ax=ax) is ax
    np.testing.assert_allclose(ax.lines[0].get_ydata(), series[:, 0])
    np.testing.assert_allclose(ax.lines[1].get_xdata(), 0.5 * np.arange(20))
    assert [text.get_text() for text in ax.texts] == ["a", "b", "5 %"]


def test_agreement_counts_every_image():
    ax = plt.subplots()[1]
    data.plot_agreement(np.array([0.2, 0.3, 0.4]), np.array([-0.1, 0.1]), ax=ax)
    assert sorted(sum(bar.get_height() for bar in bars) for bars in ax.containers) == [2, 3]


def test_a_session_has_a_tick_a_trial_in_the_row_of_its_run():
    seconds, run = np.array([0.0, 4.0, 0.0, 8.0]), np.array([1, 1, 2, 2])
    ax = data.plot_session(seconds, run, np.array([False, True, False, True]))
    new, old = (np.array(part.get_segments()) for part in ax.collections)
    np.testing.assert_allclose(new.mean(axis=1), [[0, 1], [0, 2]])
    np.testing.assert_allclose(old.mean(axis=1), [[4, 1], [8, 2]])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["for the first time", "seen before"]
    assert ax.yaxis_inverted()
    unknown = data.plot_session(np.full(4, np.nan), run, run > 1)
    assert [text.get_text() for text in unknown.texts] == ["Nothing says when images were shown."] and not unknown.axison


def test_responses_are_drawn_twice_a_panel_a_voxel():
    halves = [np.arange(6.0).reshape(3, 2), -np.arange(6.0).reshape(3, 2)]
    figure = data.plot_responses(np.arange(3), halves, ["visual", "not visual"], duration=1.5)
    for voxel, (ax, label) in enumerate(zip(figure.axes, ("visual", "not visual"), strict=True)):
        assert (ax.get_title(loc="left") or ax.get_title()) == label
        odd, even = lines(ax)
        assert [patch.get_width() for patch in ax.patches] == [1.5]
        assert not odd.is_dashed() and even.is_dashed() and odd.get_color() != even.get_color()
        for line, half in zip((odd, even), halves, strict=True):
            np.testing.assert_array_equal(line.get_ydata(), half[:, voxel])


def test_repeats_have_a_panel_a_voxel_and_a_dot_an_image():
    first, second = np.random.default_rng(0).normal(size=(2, 7, 2))
    figure = data.plot_repeats(first, second, ["one", "other"], unit="z")
    assert [figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()] == ["beta, first showing (z)", "beta, second showing (z)"]
    (small,) = data.plot_repeats(first[:, :1] / 1e4, second[:, :1] / 1e4, ["one"]).axes
    assert small.get_xlim() == pytest.approx(np.array(figure.axes[0].get_xlim()) / 1e4) and small.get_xlabel()[-1] == "g"
    assert [ax.get_title(loc="left") or ax.get_title() for ax in figure.axes] == ["one", "other"]
    np.testing.assert_array_equal(figure.axes[1].collections[0].get_offsets(), np.c_[first, second][:, [1, 3]])
