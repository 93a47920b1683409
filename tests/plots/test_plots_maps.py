"""Maps on slices of the head, against the positions of their voxels, and nilearn's viewer in a browser without a network."""

import io
import re
from html import unescape

import matplotlib as mpl
import numpy as np
import pytest
from conftest import needs_browser
from nibabel import Nifti1Image
from nibabel.affines import apply_affine
from nibabel.orientations import axcodes2ornt
from PIL import Image

from nsdlib.plots import maps

pytestmark = pytest.mark.usefixtures("house_style")
RNG = np.random.default_rng(0)
SHAPE = (4, 5, 6)
HEAD = np.ones(SHAPE)
AFFINES = {
    "NSD's, from left to right": np.array([[2, 0, 0, -3], [0, 2, 0, -4], [0, 0, 3, -6], [0, 0, 0, 1]]),
    "from right to left, as many scanners store": np.array([[-2, 0, 0, 3], [0, 2, 0, -4], [0, 0, 3, -6], [0, 0, 0, 1]]),
}


def slices_of(figure):
    """The axes that hold a slice, which are those that hold a map over a background (and nilearn's empty picture)."""
    return [ax for ax in figure.axes if len(ax.images) == 3]


def seen(ax):
    """Colours of a map's voxels by their place on the axes: dict of (x, y) to value."""
    image = ax.images[2]
    values, (left, right, below, above) = image.get_array(), image.get_extent()  # of the outer voxels' centres
    assert image.origin == "upper"
    wide, high = ((end - start) / (n - 1) for start, end, n in ((left, right, values.shape[1]), (below, above, values.shape[0])))
    places = np.argwhere(~np.ma.getmaskarray(values))
    return {(round(left + x * wide, 3), round(above - y * high, 3)): float(values[y, x]) for y, x in places}


def words(ax):
    return [text.get_text() for text in ax.texts]


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_a_map_puts_values_at_their_voxels_in_millimetres_and_left_on_the_left(affine):
    places = np.array([(0, 0, 1), (3, 1, 1), (2, 4, 3)])
    voxels, values = np.ravel_multi_index(places.T, SHAPE), np.array([0.0, np.nan, 3.0])
    head = Nifti1Image(HEAD.astype(np.float32), affine)
    figure = maps.plot_map(values, head, voxels=voxels, slices=[1, 3], label="Peak, seconds", limits=(0, 4))
    below, above = slices_of(figure)
    for ax, (place, value) in zip((below, above), ((places[0], 0), (places[2], 3)), strict=True):
        (found,) = seen(ax).items()
        np.testing.assert_allclose(found[0], apply_affine(affine, place)[:2])
        assert found[1] == pytest.approx(value, abs=1e-6)
        assert words(ax) == ["L", "R", f"z={apply_affine(affine, place)[2]:.0f}"]
        left, right, *_ = (text.get_position()[0] for text in ax.texts)
        assert left < right and not ax.xaxis_inverted()
    assert figure.axes[-1].get_xlabel() == "Peak, seconds" and figure.axes[-1].get_xlim() == (0, 4)


def test_slices_are_axial_and_left_is_left_however_the_axes_of_a_file_run():
    values = np.full(SHAPE, np.nan)
    values[0, 1, 1], values[3, 4, 3] = 1, 2
    drawn = []
    for axes in ("RAS", "LAS", "SRA", "PIL"):
        image = Nifti1Image(values, AFFINES["NSD's, from left to right"]).as_reoriented(axcodes2ornt(axes))
        volume, head = np.asarray(image.dataobj), Nifti1Image(np.ones(image.shape, np.float32), image.affine)
        shown = {"voxels": np.flatnonzero(np.isfinite(volume)), "label": "x", "slices": [1, 3]}
        figure = maps.plot_map(volume[np.isfinite(volume)], head, **shown)
        drawn.append([(words(ax), seen(ax)) for ax in slices_of(figure)])
        assert drawn[-1] == drawn[0] and all(len(found) == 1 for _, found in drawn[-1]), axes


def test_between_two_regions_of_an_oblique_volume_no_third_is_drawn():
    affine, masks = np.diag([3.0, 3, 3, 1]), np.zeros((3, 12, 12, 12), bool)
    affine[1:3, 1:3] = 3 * np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    masks[0, 3:9, 2:6, 3:9] = masks[2, 3:9, 6:10, 3:9] = True
    head = Nifti1Image(np.ones(masks[0].shape, np.float32), affine)
    figure = maps.plot_regions(head, dict(zip(("V1", "V2", "V3"), masks, strict=True)), slices=[5, 6])
    assert set(np.concatenate([list(seen(ax).values()) for ax in slices_of(figure)])) == {1, 3}


def test_the_ends_of_a_map_and_what_lies_beyond_given_limits_are_drawn():
    values = np.array([0.7, 0.8, 0.9])  # in single precision, 0.7 is less than 0.7
    (ax,) = slices_of(maps.plot_map(values, HEAD, voxels=[5, 11, 17], slices=[5], label="x"))
    assert sorted(seen(ax).values()) == pytest.approx(values)
    for limits, beyond in ((0.79, 0.85), "both"), ((0.79, 0.9), "min"), ((0.5, 0.85), "max"), ((0, 1), "neither"):
        figure = maps.plot_map(values, HEAD, voxels=[5, 11, 17], slices=[5], label="x", limits=limits)
        (ax,) = slices_of(figure)
        assert sorted(seen(ax).values()) == pytest.approx(values.clip(*limits))
        assert figure.axes[-1]._colorbar.extend == beyond


def test_an_array_has_indices_for_coordinates_and_nobody_knows_its_left():
    figure = maps.plot_map(np.ones(1), HEAD, voxels=[23], slices=[5], label="Noise pool")
    (ax,) = slices_of(figure)
    assert words(ax) == ["z=5"] and list(seen(ax)) == [(0, 3)]


def test_the_empty_space_around_the_head_is_cut_away():
    large = np.zeros((30, 40, 20))
    large[10:14, 20:25, 5:11] = 1
    voxel = np.ravel_multi_index((11, 22, 7), large.shape)
    (ax,) = slices_of(maps.plot_map(np.ones(1), large, voxels=[voxel], slices=[7], label="Noise pool"))
    assert list(seen(ax)) == [(11, 22)]
    (left, right), (below, above) = ax.get_xlim(), ax.get_ylim()
    assert 9 < left < 10 and 13 < right < 14 and 19 < below < 20 and 24 < above < 25


@pytest.mark.parametrize(
    ("step", "lowest", "heights"), [(0.6, 0, ["z=0.6", "z=1.2"]), (2.0, 0, ["z=2", "z=4"]), (1.8, -2.7, ["z=-0.9", "z=0.9"])]
)
def test_slices_between_whole_millimetres_have_heights_of_their_own(step, lowest, heights):
    affine = np.diag([2, 2, step, 1])
    affine[2, 3] = lowest
    head = Nifti1Image(HEAD.astype(np.float32), affine)
    figure = maps.plot_regions(head, {"V1": HEAD > 0}, slices=[1, 2])
    assert [words(ax)[2] for ax in slices_of(figure)] == heights


def test_six_slices_go_through_a_map_when_none_are_named():
    volume = np.ones((4, 4, 40))
    inside = np.flatnonzero(np.isin(np.arange(40), range(10, 32)) & (volume > 0))
    figure = maps.plot_map(np.arange(len(inside)), volume, voxels=inside, label="x")
    heights = [int(words(ax)[0][2:]) for ax in slices_of(figure)]
    assert len(heights) == 6 and heights == sorted(heights) and heights[0] > 10 and heights[-1] < 31
    assert len(slices_of(maps.plot_map(np.ones(1), HEAD, voxels=[0], label="Noise pool"))) == 1


def test_a_map_of_one_value_has_one_colour_on_all_slices_and_no_bar():
    figure = maps.plot_map(np.ones(2), HEAD, voxels=np.array([0, 23]), slices=[0, 5], label="Noise pool")
    first, second = (ax.images[2] for ax in slices_of(figure))
    colours = [mpl.colors.to_hex(one.cmap(one.norm(1.0))) for one in (first, second)]
    assert colours == [maps.ACCENT.lower()] * 2
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["Noise pool"]


def test_a_map_without_values_shows_the_head_alone():
    given = {"voxels": np.arange(HEAD.size), "label": "Noise ceiling, percent"}
    figure = maps.plot_map(np.full(HEAD.size, np.nan), HEAD, **given)
    assert [seen(ax) for ax in slices_of(figure)] == [{}] * len(slices_of(figure)) and len(slices_of(figure)) > 1
    assert "<iframe" in maps.view_map(np.full(HEAD.size, np.nan), HEAD, **given).text


def test_regions_are_coloured_where_they_lie_and_the_last_is_on_top():
    masks = np.zeros((2, *SHAPE), bool)
    masks[:, 1, 4, 2] = masks[0, 2, 3, 2] = True
    figure = maps.plot_regions(HEAD, dict(zip(("V1", "faces"), masks, strict=True)), slices=[0, 2])
    above = slices_of(figure)[-1]
    drawn, image = seen(above), above.images[2]
    assert set(drawn) == {(2, 3), (1, 4)}
    colours = [mpl.colors.to_hex(image.cmap(image.norm(drawn[place]))) for place in ((2, 3), (1, 4))]
    assert colours == list(maps.REGION_COLOURS[:2])
    assert [mpl.colors.to_hex(patch.get_facecolor()) for patch in figure.legends[0].get_patches()] == colours


def viewer(shape=(20, 28, 22)):
    """A view of a map whose value is its place from left to right, in a head that fills most of its volume."""
    head = np.zeros(shape, dtype=np.float32)
    head[1:-1, 1:-1, 1:-1] = RNG.random([n - 2 for n in shape]) + 0.5
    voxels = np.flatnonzero(head)
    affine = np.diag([2.0, 2, 2, 1])
    left_to_right = np.unravel_index(voxels, shape)[0].astype(float)
    return maps.view_map(left_to_right, Nifti1Image(head, affine), voxels=voxels, label="Peak <s>")


def test_the_viewer_asks_for_nothing_and_is_small_for_a_head_of_nsd_as_well():
    text = viewer((81, 104, 83)).text
    assert len(text) < 600_000
    inside = unescape(re.search(r'srcdoc="([^"]*)"', text).group(1))
    asked = re.findall(r"""<(?:script|img|link|iframe)[^>]*?(?:src|href)=["']?([^"'>]{0,9})""", inside)
    assert set(asked) == {"data:imag"}
    assert "Peak &lt;s&gt;. Click or tap" in text and 'loading="lazy"' in text


@needs_browser
@pytest.mark.parametrize("width", [390, 1000])
def test_a_click_turns_the_viewer(browser, tmp_path, width):
    page, asked = tmp_path / "page.html", []
    style = "<meta name=viewport content='width=device-width'><style>body{margin:0}figure{margin:0}</style>"
    page.write_text(f"<!doctype html><meta charset=utf-8>{style}{viewer().text}")
    context = browser.new_context(viewport={"width": width, "height": 700}, has_touch=True, offline=True)
    tab = context.new_page()
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("pageerror", lambda error: asked.append(str(error)))
    tab.goto(page.as_uri())
    frame = tab.frame_locator("iframe")
    canvas = frame.locator("canvas")
    canvas.wait_for()
    tab.wait_for_function("document.querySelector('iframe').contentDocument.querySelector('canvas').width > 300")
    box, before = canvas.bounding_box(), canvas.screenshot()
    assert box["x"] >= 0 and width * 0.8 < box["width"] <= width  # as wide as the page and no wider
    tab.touchscreen.tap(box["x"] + box["width"] * 0.93, box["y"] + box["height"] * 0.3)  # right on the axial slice
    right = canvas.screenshot()
    tab.touchscreen.tap(box["x"] + box["width"] * 0.75, box["y"] + box["height"] * 0.3)
    left = canvas.screenshot()
    assert len({before, right, left}) == 3
    sagittal = [np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"))[:, : int(box["width"] * 0.3)] for shot in (left, right)]
    bright = [part[(np.ptp(part, axis=2) > 60) & (part[..., 2] < 200)].mean(axis=0) for part in sagittal]
    assert bright[1][1] > bright[0][1] + 30  # viridis is greener for larger values, which lie on the right
    assert [url for url in asked if not url.startswith(("file:", "data:", "about:"))] == []
    context.close()


def test_each_of_many_regions_has_its_own_colour():
    regions = {f"region number {i}": np.eye(30, dtype=bool)[i].reshape(1, 30, 1).repeat(30, 0).repeat(3, 2) for i in range(30)}
    figure = maps.plot_regions(np.ones((30, 30, 3), np.float32), regions, slices=[0, 1, 2])
    handles = figure.legends[0].legend_handles
    assert len({handle.get_facecolor() for handle in handles}) == len(handles) == 30
    assert figure.get_tightbbox().width < 1.1 * figure.get_figwidth()
