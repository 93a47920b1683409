"""The README's pictures are those that the rule selects from the shipped scores, and their pixels have these scores."""

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from book._ext import strip
from nsdlib.core.scores.metrics import METRICS
from nsdlib.store.shipped import Shipped
from nsdlib.study import statistics

SHIPPED = "complete"


def images_of(drawn, n_images):
    """The images in a strip (3, n_images, SIDE, SIDE, 3) uint8: seen, rough, refined."""
    pixels = np.asarray(drawn.convert("RGB"))
    side = strip.SIDE

    def cut(row, column):
        x, y = strip.place(row, column)
        return pixels[y : y + side, x : x + side]

    return np.stack([[cut(row, column) for column in range(n_images)] for row in range(len(strip.KINDS))])


@pytest.fixture(scope="module")
def shipped():
    """Shipped results, and their scores (system, metric, test_image) and (diffusion_seed, metric, test_image)."""
    results = Shipped(ROOT / "book" / "data" / SHIPPED)
    with results.load("scores") as scores:
        return results, scores.load()


@pytest.fixture(scope="module")
def pictures():
    with Image.open(ROOT / strip.PLACE) as image:
        return images_of(image, strip.N_SHOWN)


def chosen(scores):
    """Positions of the images at evenly spaced places of the mean rank, by pandas' ranks."""
    table = scores.value.sel(system="refined").to_pandas().round(12)  # metric by image; equal shares are ties
    ranks = [table.loc[name].rank(ascending=metric.higher_is_better) for name, metric in METRICS.items()]
    order = np.argsort(-np.mean(ranks, axis=0), kind="stable")
    return order[np.linspace(0, len(order) - 1, strip.N_SHOWN).round().astype(int)]


def test_the_pixels_have_the_scores_of_the_images_that_the_rule_chooses(shipped, pictures):
    _, scores = shipped
    seen, rough, refined = pictures.reshape(3, strip.N_SHOWN, -1).astype(float)
    for images, of_kind in ((refined, scores.by_seed[0]), (rough, scores.value.sel(system="rough"))):
        measured = [np.corrcoef(a, b)[0, 1] for a, b in zip(seen, images, strict=True)]
        np.testing.assert_allclose(measured, of_kind.sel(metric="pixcorr").values[chosen(scores)], atol=1e-4)


def test_the_readme_has_the_caption_that_the_shipped_scores_give(shipped):
    results, scores = shipped
    made = results.about["run"]
    text = strip.PICTURE + strip.caption(scores.value, n_bootstrap=made["n_bootstrap"], seed=made["seed"])
    readme = (ROOT / "README.md").read_text()
    assert strip.with_caption(readme, text) == readme and strip.BEGIN in readme
    means = scores.value.sel(metric="inception").mean("test_image")
    retrieved, labelled = (f"{means.values[means.role == role].max():.2f}" for role in ("retrieval", "label"))
    said = " ".join(text.split())
    assert f"training image {retrieved}, mean image of the background {labelled}). SSIM is" in said
    assert f"in {means.sel(system='refined'):.2f} [" in said and f"n = {scores.sizes['test_image']} test" in said
    ssim = scores.value.sel(metric="ssim").mean("test_image")
    assert f"SSIM is {ssim.sel(system='refined'):.2f} [" in said and f"]({strip.PLACE})" in said
    assert f"(the best floor, mean image: {ssim.values[ssim.role == 'floor'].max():.2f})." in said


def test_what_is_drawn_is_found_again():
    rows = {
        kind: np.random.default_rng(k).integers(0, 256, (2, strip.SIDE, strip.SIDE, 3), dtype=np.uint8)
        for k, kind in enumerate("abc")
    }
    drawn = strip.draw(rows, [100, 0])
    np.testing.assert_array_equal(images_of(drawn, 2), list(rows.values()))
    assert drawn.getpixel((0, drawn.height - 1))[3] == 0  # transparent: it lies on white and on black


def test_a_readme_without_the_marks_stays_as_it_is():
    assert strip.with_caption("# Title\n", "text") == "# Title\n"
    assert strip.with_caption(f"a\n{strip.BEGIN}old\n{strip.END}b", "new\n") == f"a\n{strip.BEGIN}\nnew\n\n{strip.END}b"


def test_the_measured_table_of_recipes_is_that_of_the_shipped_results(shipped):
    results, _ = shipped
    systems, made = results.load("systems"), results.about["run"]
    bootstrap = {"n_bootstrap": made["n_bootstrap"], "seed": made["seed"]}
    scores, brain = (statistics.summary(systems[name], **bootstrap) for name in ("value", "brain"))
    lines = (ROOT / "book" / "measured.md").read_text().splitlines()
    for system in systems.system.values:
        cells = [scores.sel(system=system, metric=name) for name in ("ssim", "clip")]
        cells += [brain.sel(system=system, measure=name) for name in ("image, top 1", "error")]
        cells = [f"{float(one['mean']):.2f} [{float(one.low):.2f}, {float(one.high):.2f}]" for one in cells]
        cells.insert(2, f"{float(systems.null.sel(system=system, metric='clip').mean()):.2f}")
        assert any(line.startswith(f"| `{system}`") and line.endswith(f"| {' | '.join(cells)} |") for line in lines), system
