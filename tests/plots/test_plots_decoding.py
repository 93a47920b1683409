"""Figures of notebooks 03 and 04 draw the given data."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from drawn import lines, points

from nsdlib.plots import decoding
from nsdlib.study.statistics import summary


@pytest.fixture(autouse=True)
def close():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def values(*sizes, **coords):
    return xr.DataArray(np.random.default_rng(0).random(sizes), dims=(*coords, "test_image"), coords=coords)


def test_learning_curves_mark_the_best_epoch_and_levels():
    ax = plt.subplots()[1]
    assert decoding.plot_learning({"gru": [3.0, 1.0, 2.0]}, lines={"ridge": 0.5}, ax=ax) is ax
    curve, ring, level = lines(ax)
    assert curve.get_xydata().tolist() == [[1, 3], [2, 1], [3, 2]]
    assert (ring.get_xdata(), ring.get_ydata()) == ([2], [1]) and list(level.get_ydata()) == [0.5, 0.5]


def test_errors_stand_beside_their_decoders_in_order_with_the_intervals_of_the_table():
    errors = values(2, 2, 9, decoder=["gru", "ridge"], measure=["mse", "mae"])
    errors.loc["ridge", "mse"] = errors.loc["ridge", "mse"] - 1  # the best
    table = summary(errors, n_bootstrap=50)
    figure = decoding.plot_errors(table, {"mse": 2.0, "mae": 3.0}, cut_off=["gru"])
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["ridge", "gru"]
    for ax, measure, floor in zip(figure.axes, ("mse", "mae"), (2.0, 3.0), strict=True):
        there = table.sel(measure=measure, decoder=["ridge", "gru"])
        marked, ends = points(ax)
        np.testing.assert_allclose(marked, np.c_[there["mean"], [0, 1]])
        np.testing.assert_allclose(ends[:, :, 0], np.c_[there.low, there.high])
        level = next(line for line in ax.lines if line.get_linestyle() == ":")
        assert list(level.get_xdata()) == [floor, floor]
        assert [line.get_marker() for line in lines(ax) if line.get_marker() not in ("None", None)] == ["o", "x"]


def test_layers_are_counted_from_one_and_banded_by_resolution():
    ax = plt.subplots()[1]
    assert decoding.plot_layers({"cnn": [0.5, 0.2, -90.0]}, [1, 4, 4], ax=ax) is ax
    curve, below, _ = (line.get_xydata().tolist() for line in lines(ax))
    assert curve == [[1, 0.5], [2, 0.2], [3, -0.5]]
    assert below == [[3, -0.5]]  # is marked
    assert [text.get_text() for text in ax.texts] == ["1²", "4²"]


def test_latent_size_draws_quality_then_cost():
    systems = ["decoded", "oracle", "floor"]
    table = summary(values(2, 3, 1, 9, n_layers=[5, 15], system=systems, measure=["SSIM"]), n_bootstrap=50)
    quality, cost = decoding.plot_latent_size(table, {"seconds": [1.0, 4.0]}).axes
    for line, band, system in zip(lines(quality), quality.collections, systems, strict=True):
        there = table.sel(system=system, measure="SSIM")
        np.testing.assert_allclose(line.get_ydata(), there["mean"])
        assert set(band.get_paths()[0].vertices[:, 1]) == {*there.low.values, *there.high.values}
    assert (
        cost.lines[0].get_xydata().tolist() == [[5, 1], [15, 4]] and (cost.get_title(loc="left") or cost.get_title()) == "seconds"
    )


def test_regions_stand_at_their_values_beside_all_voxels():
    told = values(2, 2, 3, 9, target=["layout", "meaning"], used=["alone", "without"], region=["V1", "faces", "all"])
    told[0, 0, 0] = 0.9  # the same of every image: rounding puts the interval beside the mean
    table = summary(told, n_bootstrap=50)
    figure = decoding.plot_region_scores(table)
    for ax, target in zip(figure.axes, ("layout", "meaning"), strict=True):
        assert ax.get_title() == target and [text.get_text() for text in ax.get_xticklabels()] == ["V1", "faces"]
        there = table.sel(target=target).isel(region=slice(2)).stack(point=["used", "region"])
        marked, ends = points(ax)
        np.testing.assert_allclose(marked[:, 1], there["mean"])
        np.testing.assert_allclose(ends[:, :, 1], np.c_[there.low, there.high])


def test_regimes_show_differences_of_decoders_and_the_range_of_the_seeds():
    axes = {"difference": ["gru minus ridge"], "response": ["linear", "saturating"], "images": [100], "snr": [0.3, 1.0]}
    gain = xr.DataArray([[[[-0.05, 0.0]], [[0.15, 0.1]]]], coords=axes)
    gains = xr.Dataset({"mean": gain, "low": gain - 0.05, "high": gain + 0.05}, attrs={"target": "latents", "n_seeds": 2})
    figure = decoding.plot_regimes(gains)
    ax = figure.axes[0]
    np.testing.assert_allclose(ax.collections[0].get_array(), [[-0.05, 0], [0.15, 0.1]])
    assert ax.texts[0].get_text() == "-0.050\n-0.10 to +0.00"
    assert [text.get_text() for text in ax.get_yticklabels()] == ["linear", "saturating"]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["100 images\nSNR 0.3", "100 images\nSNR 1"]
    assert figure.get_suptitle() == "Predicted: latents. In each cell: mean and range of 2 seeds"
