"""Figures of reconstructions draw the given data and nothing else."""

from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from drawn import lines, points

from nsdlib.core.scores.metrics import METRICS
from nsdlib.plots import pictures
from nsdlib.plots.style import COLOURS, measures, name_measures
from nsdlib.recipes.table import with_null
from nsdlib.study import statistics
from nsdlib.study.published import paper_table

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, size=(4, 12, 12, 3), dtype=np.uint8)


pytestmark = pytest.mark.usefixtures("house_style")


def table_of(**dims):
    """A summary of random values over the named dimensions, the eight metrics and 20 images."""
    names = {**dims, "metric": list(METRICS)}
    values = RNG.random([*(len(one) for one in names.values()), 20])
    return statistics.summary(xr.DataArray(values, dims=(*names, "test_image"), coords=names), n_bootstrap=50)


def panels(figure):
    """Axes by title, without the arrow."""
    return {ax.get_title(loc="left").split()[0]: ax for ax in figure.axes}


def test_a_grid_shows_every_image_in_its_place():
    figure = pictures.plot_grid({"seen": IMAGES, "made": IMAGES[::-1]}, titles=list("abcd"), title="All")
    assert len(figure.axes) == 8 and figure.get_suptitle() == "All"
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), IMAGES[0])
    np.testing.assert_array_equal(figure.axes[4].images[0].get_array(), IMAGES[3])
    assert [figure.axes[i].get_ylabel() for i in (0, 4)] == ["seen", "made"]
    assert figure.axes[2].get_title(loc="center") == "c"
    figure.draw_without_rendering()


def test_a_grid_of_no_image_has_its_labels_only_and_rows_must_be_alike():
    figure = pictures.plot_grid({"seen": IMAGES[[]], "made": IMAGES[[]]}, title="None")
    assert [ax.get_ylabel() for ax in figure.axes] == ["seen", "made"]
    assert not any(ax.images for ax in figure.axes)
    figure.draw_without_rendering()
    with pytest.raises(ValueError, match=r"zip\(\) argument 2 is shorter"):
        pictures.plot_grid({"seen": IMAGES, "made": IMAGES[:3]})


def test_scores_stand_at_their_means_and_chance_only_where_there_is_one():
    roles = {"refined": "decoded", "mean image": "floor", "all true": "ceiling"}
    table = table_of(system=[*roles, "not shown"])
    figure = pictures.plot_scores(table, METRICS, roles)
    ax = panels(figure)["SSIM"]
    there = table.sel(metric="ssim", system=list(roles))
    marked, ends = points(ax)
    order = np.argsort(marked[:, 1])  # rows are named from above, kinds of systems drawn one after the other
    np.testing.assert_allclose(marked[order], np.c_[there["mean"], range(3)])
    np.testing.assert_allclose(ends[order][:, :, 0], np.c_[there.low, there.high])
    chance = {name: any(line.get_linestyle() == ":" for line in ax.lines) for name, ax in panels(figure).items()}
    assert chance == {metric.label: metric.kind == "two-way" for metric in METRICS.values()}
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == list(roles)
    assert "n = 20 images" in figure.get_suptitle()
    figure.draw_without_rendering()


def test_a_system_and_its_null_share_a_row():
    sizes = {"system": ["gru", "ridge"], "metric": list(METRICS), "test_image": range(20)}
    value, null = (xr.DataArray(RNG.random((2, 8, 20)), sizes, list(sizes)) for _ in range(2))
    both, roles = with_null(xr.Dataset({"value": value, "null": null}))
    table = statistics.summary(both, n_bootstrap=50)
    figure = pictures.plot_scores(table, METRICS, roles)
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["gru", "ridge"]
    marked, _ = points(panels(figure)["SSIM"])
    np.testing.assert_allclose(marked, np.c_[table["mean"].sel(metric="ssim"), [0, 1, 0, 1]])
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["decoded", "null", pictures.CHANCE["label"]]


@pytest.mark.parametrize(("amplitudes", "n_lines"), [([0.0, 8.0, 256.0], 3), ([0.0, 5.0], 2)])
def test_noise_curves_have_the_papers_where_its_amplitudes_were_run(amplitudes, n_lines):
    table = table_of(stage=["rough", "refined"], amplitude=amplitudes)
    figure = pictures.plot_noise_curves(table, METRICS, reference=paper_table(6))
    ax = panels(figure)["SSIM"]
    curves, there = lines(ax), table.sel(stage="refined", metric="ssim")
    assert len(curves) == n_lines
    np.testing.assert_allclose(curves[1].get_ydata(), there["mean"])
    assert set(ax.collections[1].get_paths()[0].vertices[:, 1]) == {*there.low.values, *there.high.values}
    assert ("paper" in [text.get_text() for text in figure.legends[0].get_texts()]) == (n_lines == 3)
    if n_lines == 3:
        np.testing.assert_allclose(curves[2].get_ydata(), [0.361, 0.311, 0.140])
    figure.draw_without_rendering()


def test_pure_noise_stands_apart_to_the_right():
    table = table_of(stage=["rough", "refined"], amplitude=[0.0, 8.0])
    pure = table_of(stage=["rough", "refined"])
    figure = pictures.plot_noise_curves(table, METRICS, pure=pure)
    ax = panels(figure)["SSIM"]
    marked, ends = points(ax)
    np.testing.assert_allclose(marked[marked[:, 0] == 2, 1], pure["mean"].sel(metric="ssim"))
    there = pure.sel(metric="ssim")
    np.testing.assert_allclose(ends[ends[:, 0, 0] == 2][:, :, 1], np.c_[there.low, there.high])
    assert [tick.get_text() for tick in figure.axes[-1].get_xticklabels()] == ["0", "8", "pure"]


def test_error_kinds_mark_the_chosen():
    import matplotlib.pyplot as plt

    structure, meaning = RNG.random((2, 10))
    ax = plt.subplots()[1]
    assert pictures.plot_error_kinds(structure, meaning, marked={"odd": np.array([3, 5])}, ax=ax) is ax
    np.testing.assert_allclose(ax.collections[1].get_offsets(), np.c_[structure, meaning][[3, 5]])
    assert pictures.plot_error_kinds(structure, meaning).get_legend() is None
    corners = {text.get_text(): text.get_position() for text in ax.texts}
    assert corners["structural error"][0] < 0.5 < corners["structural error"][1]  # meaning high, structure low
    assert corners["semantic error"][1] < 0.5 < corners["semantic error"][0]


BOUNDED = ["refined", "best floor", "refined, all true"]


@pytest.mark.parametrize("subjects", [["a"], ["a", "c"], None])
def test_the_group_has_a_row_a_subject_between_its_bounds_and_a_line_at_the_mean_of_subjects(subjects):
    table = table_of(subject=["a", "b", "c"], system=BOUNDED)
    figure = pictures.plot_group(table, METRICS, subjects=subjects)
    ax, means = panels(figure)["CLIP"], table["mean"].sel(metric="clip")
    marked, _ = points(ax)
    np.testing.assert_allclose(marked, [(means.sel(subject=s, system=n), k) for n in BOUNDED for k, s in enumerate("abc")])
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["a", "b", "c"]
    mean = [line.get_xdata() for line in lines(ax) if line.get_label() == "mean of subjects"]
    whose = subjects or ["a", "b", "c"]
    expected = [[means.sel(system="refined", subject=whose).mean()] * 2]
    np.testing.assert_allclose(mean, expected if len(whose) > 1 else np.empty(0))
    assert f"n = {len(whose)} subject" in figure.get_suptitle() and lines(ax)[0].get_xdata()[0] == METRICS["clip"].chance


def test_the_style_is_set_and_its_colours_differ_in_lightness_or_hue():
    assert mpl.rcParams["axes.prop_cycle"].by_key()["color"] == list(COLOURS) and len(set(COLOURS)) == 7


def run_of(zoo, judge=None):
    """What `measures` reads of a run."""
    return SimpleNamespace(zoo=zoo, clip_judge=judge)


def test_measures_that_small_networks_take_are_marked_in_labels_and_tables():
    marked = {name for name, own in measures(run_of("demo")).items() if own.label.endswith("†")}
    assert marked == {name for name, own in METRICS.items() if own.network}
    assert measures(run_of("paper")) == METRICS
    assert measures(run_of("demo", "a folder"))["clip"] == METRICS["clip"]  # another judge is no stand-in
    table = pd.DataFrame({"clip": [1], "SSIM": [2]}, index=["SwAV"])
    shown = name_measures(table, run_of("demo"))
    assert (list(shown.columns), list(shown.index)) == (["CLIP†", "SSIM"], ["SwAV†"]) and "†" in shown.columns.name
    shown = name_measures(table, run_of("paper"))
    assert (list(shown.columns), list(shown.index)) == (["CLIP", "SSIM"], ["SwAV"]) and shown.columns.name is None


def test_a_figure_with_marked_labels_says_what_the_mark_means():
    table = table_of(subject=["one"], system=BOUNDED)
    for zoo in ("demo", "paper"):
        figure = pictures.plot_group(table, measures(run_of(zoo)))
        assert ("stands in" in figure.get_suptitle()) == (zoo == "demo")
