"""Figures for print, read back as a printer, a browser and a slide would read them."""

import itertools
import re
import xml.etree.ElementTree as ET
import zlib

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from nsdlib.params import load_run
from nsdlib.plots.pictures import plot_error_kinds, plot_grid
from nsdlib.plots.publication import ONE_COLUMN, TWO_COLUMNS, export, figures_folder
from nsdlib.plots.style import use_style

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, size=(3, 12, 12, 3), dtype=np.uint8)
WORDS = {"title": "Best & worst", "description": "Three images < four.", "source": "reconstruction-0123"}
SVG = "{http://www.w3.org/2000/svg}"


pytestmark = pytest.mark.usefixtures("house_style")


def grid(n_images=3):
    rows = {"seen": IMAGES[:n_images], "nearest\nin training": IMAGES[:n_images]}
    return plot_grid(rows, titles=["best\n100 %", "median\n50 %", "worst\n0 %"][:n_images])


def objects(path):
    """Objects of a PDF by number, found through its table of places as a reader finds them."""
    data = path.read_bytes()
    assert data.startswith(b"%PDF-") and data.rstrip().endswith(b"%%EOF")
    start = int(re.search(rb"startxref\s+(\d+)\s+%%EOF\s*$", data)[1])
    table = data[start:]
    _, n_objects = map(int, re.match(rb"xref\s+(\d+) (\d+)\s", table).groups())
    places = re.findall(rb"(\d{10}) \d{5} ([nf])", table)
    assert len(places) == n_objects
    found = {}
    for number, (place, kind) in enumerate(places):
        if kind == b"n":
            body = data[int(place) :]
            assert re.match(rb"%d 0 obj" % number, body)
            found[number] = body[: body.index(b"endobj")]
    return found


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """PDF, SVG and PNG of a grid for two columns."""
    with mpl.rc_context():
        use_style()
        return export(grid(), tmp_path_factory.mktemp("figures"), "figure", width=TWO_COLUMNS, **WORDS)


def test_the_pdf_has_its_width_and_carries_its_fonts(written):
    found = objects(written[0])
    [page] = [body for body in found.values() if re.search(rb"/Type /Page\b", body)]
    left, _, right, _ = map(float, re.search(rb"/MediaBox \[ ([\d. ]+) \]", page)[1].split())
    assert (right - left) * 25.4 / 72 == pytest.approx(TWO_COLUMNS, abs=0.01)
    fonts = [body for body in found.values() if re.search(rb"/Type /FontDescriptor\b", body)]
    assert fonts
    for font in fonts:
        program = found[int(re.search(rb"/FontFile2 (\d+) 0 R", font)[1])]
        compressed = program[program.index(b"stream") + 6 :].lstrip(b"\r\n")
        assert zlib.decompressobj().decompress(compressed)[:4] in (b"\0\1\0\0", b"true")  # a TrueType font
    assert any(b"Three images < four." in body for body in found.values())


def test_the_svg_is_whole_says_what_it_shows_and_needs_no_font(written):
    root = ET.fromstring(written[1].read_bytes())
    assert float(root.get("width").removesuffix("pt")) * 25.4 / 72 == pytest.approx(TWO_COLUMNS, abs=0.01)
    assert [root[i].tag for i in (0, 1)] == [f"{SVG}title", f"{SVG}desc"]
    assert [root[i].text for i in (0, 1)] == [WORDS["title"], WORDS["description"]]
    assert len(root.findall(f".//{SVG}image")) == 6 and not root.findall(f".//{SVG}text")


def test_the_png_has_three_hundred_dots_an_inch(written):
    with Image.open(written[2]) as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)
        assert image.width == pytest.approx(TWO_COLUMNS / 25.4 * 300, abs=1)
        assert image.info["Description"] == WORDS["description"]


def test_images_fill_the_width_and_the_height_follows(tmp_path):
    figure = grid()
    export(figure, tmp_path, "figure", width=ONE_COLUMN, **WORDS)
    with Image.open(tmp_path / "figure.png") as image:
        ink = np.asarray(image.convert("L")) < 250
    columns, rows = np.flatnonzero(ink.any(axis=0)), np.flatnonzero(ink.any(axis=1))
    assert np.ptp(columns) > 0.97 * ink.shape[1] and np.ptp(rows) > 0.97 * ink.shape[0]
    boxes = [ax.get_position() for ax in figure.axes[:3]]
    assert max(b.x0 - a.x1 for a, b in itertools.pairwise(boxes)) < 0.02


def test_the_same_figure_gives_the_same_bytes(tmp_path):
    first, second = (export(grid(), tmp_path / name, "figure", width=ONE_COLUMN, **WORDS) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_letters_too_small_for_print_are_refused(tmp_path):
    figure = grid()
    figure.axes[0].set_title("tiny", fontsize=5)
    with pytest.raises(ValueError, match=r"'tiny' has 5 points, and print needs 6 or more: give it a larger fontsize"):
        export(figure, tmp_path, "figure", width=ONE_COLUMN, **WORDS)
    assert list(tmp_path.iterdir()) == []


def test_a_figure_that_does_not_fit_is_refused(tmp_path):
    ax = plot_error_kinds(*RNG.random((2, 9)))
    ax.set_xlabel("a label that is much longer than a column of a journal is wide, so that it would be cut off on both sides")
    with pytest.raises(ValueError, match=r"At 85 mm the figure's parts do not fit, .* draw fewer columns or shorter titles"):
        export(ax.figure, tmp_path, "figure", width=ONE_COLUMN, **WORDS)


def test_a_figure_whose_writing_fails_leaves_the_old_one(tmp_path, monkeypatch):
    figure, old = grid(1), tmp_path / "figure.pdf"
    old.write_bytes(b"the old one")
    monkeypatch.setattr(type(old), "replace", lambda *_: (_ for _ in ()).throw(OSError("no room")))
    with pytest.raises(OSError, match="no room"):
        export(figure, tmp_path, "figure", width=ONE_COLUMN, **WORDS)
    assert old.read_bytes() == b"the old one"


def test_figures_lie_beside_the_runs_pages_and_those_of_a_variant_apart():
    run, variant = load_run("small"), load_run("small", n_shown=2)
    assert figures_folder(run) == run.root / "runs" / "small" / "figures"
    assert figures_folder(variant) == run.root / "runs" / "small" / "figures__n_shown-2"
