"""Interactive images: their content, and their behaviour in a browser without server or network."""

import io
import re

import numpy as np
import pytest
from conftest import needs_browser
from PIL import Image

from nsdlib.plots import interactive

RNG = np.random.default_rng(0)
N_IMAGES = 30
SCORES = {"likeness": RNG.permutation(N_IMAGES) / 30.0, "distance": RNG.permutation(N_IMAGES) / 30.0}
CATEGORIES = {"even <b>": np.arange(N_IMAGES) % 2 == 0, "first five": np.arange(N_IMAGES) < 5}
KINDS = {"seen": (200, 30, 30), "rough": (30, 200, 30), "refined": (30, 30, 200)}


def plain(n_images):
    """Images of one colour a kind."""
    return {kind: np.broadcast_to(np.uint8(colour), (n_images, 16, 16, 3)).copy() for kind, colour in KINDS.items()}


def pieces():
    """One of each and a second wipe, as they would stand on a page."""
    frames = {f"noise {a}": {kind: images + np.uint8(a) for kind, images in plain(3).items()} for a in (0, 8, 16)}
    settings = {"lower_is_better": ["distance"], "categories": CATEGORIES}
    return {
        "one": interactive.compare(plain(1), title="One <image>"),
        "several": interactive.compare(plain(4)),
        "steps": interactive.steps(frames, title="Noise", names=[7, 8, 9]),
        "again": interactive.steps(frames),
        "gallery": interactive.gallery(plain(N_IMAGES), SCORES, **settings),
    }


@pytest.mark.parametrize("name", list(pieces()))
def test_the_same_input_gives_the_same_bytes_and_no_id(name):
    text = pieces()[name]._repr_html_()
    assert text == pieces()[name]._repr_html_()
    assert not re.search(r"\bid=|<script|https?:|url\(", text)
    assert repr(pieces()[name]).startswith(("Wipe: seen", "Steps: noise 0", "Gallery of 30"))


@pytest.mark.parametrize("name", list(pieces()))
def test_every_image_is_inside_the_page_and_described(name):
    images = re.findall(r"<img[^>]*>", pieces()[name]._repr_html_())
    assert images and all(re.search(r'src="data:image/webp;base64,\w', one) for one in images)
    texts = [re.search(r'alt="([^"]+)"', one).group(1) for one in images]
    assert len(set(texts)) == len(texts) and all(re.match("(seen|rough|refined), image ", text) for text in texts)


@pytest.mark.parametrize("name", list(pieces()))
def test_what_can_be_focused_keeps_its_keys_in_jupyterlab(name):
    focusable = re.findall(r"<(?:input|select)[^>]*>|<[^>]*tabindex[^>]*>", pieces()[name]._repr_html_())
    assert focusable and all('data-lm-suppress-shortcuts="true"' in one for one in focusable)


def test_text_is_escaped():
    assert "One &lt;image&gt;" in pieces()["one"]._repr_html_()
    assert "even &lt;b&gt;" in pieces()["gallery"]._repr_html_()


def test_large_images_are_shrunk_and_small_ones_left():
    large = {kind: np.zeros((1, 300, 200, 3), np.uint8) for kind in KINDS}
    assert 'width="40" height="60"' in interactive.compare(large, side=60)._repr_html_()
    assert 'width="16" height="16"' in interactive.compare(plain(1), side=60)._repr_html_()


def test_a_gallery_of_many_holds_evenly_spaced_ones_and_says_so():
    text = interactive.gallery(plain(N_IMAGES), SCORES, max_images=4)._repr_html_()
    assert sorted(int(i) for i in re.findall(r"<b>image (\d+)</b>", text)) == [1, 11, 20, 30]
    assert "among 30 images" in text and "shows 4 of them, evenly spaced" in text
    best = int(SCORES["likeness"].argmax())
    assert f"<b>image {best + 1}</b>" not in text and "percentile 100<" not in text.split("distance")[0]


def test_percentiles_are_shares_of_images_that_score_worse():
    text = interactive.gallery(plain(N_IMAGES), SCORES, lower_is_better=["distance"])._repr_html_()
    found = dict(re.findall(r"<b>image (\d+)</b> <span>likeness [\d.]+, percentile (\d+)", text))
    far = dict(re.findall(r"<b>image (\d+)</b> <span>[^<]+</span><span>distance [\d.]+, percentile (\d+)", text))
    for i in range(N_IMAGES):
        assert float(found[str(i + 1)]) == pytest.approx(100 * np.sum(SCORES["likeness"] < SCORES["likeness"][i]) / 29, abs=0.51)
        assert float(far[str(i + 1)]) == pytest.approx(100 * np.sum(SCORES["distance"] > SCORES["distance"][i]) / 29, abs=0.51)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: interactive.compare({"seen": plain(1)["seen"]}), "at least two kinds of pictures, got seen"),
        (lambda: interactive.compare({}), "at least two kinds of pictures, got none"),
        (lambda: interactive.compare({"a": np.zeros((1, 4, 4, 3)), "b": 0}), "a must be .n_images, rows, columns, 3. uint8"),
        (lambda: interactive.compare(plain(2) | {"other": plain(3)["seen"]}), "same images in the same order, got .*'other': 3"),
        (lambda: interactive.compare(plain(2), names=["a"]), "names must have one entry for each of the 2 images, got 1"),
        (lambda: interactive.steps({}), "at least one frame, got none"),
        (lambda: interactive.steps({"a": plain(2), "b": plain(3)}), "same images in the same order, got .*'b: seen': 3"),
        (lambda: interactive.gallery(plain(3), {}), "values must hold at least one score"),
        (lambda: interactive.gallery(plain(3), {"a": np.arange(3)}, lower_is_better=["b"]), r"lower_is_better, \['b'\]"),
        (lambda: interactive.gallery(plain(3), {"a": np.arange(4)}), "'a' must have one value for each of the 3 images"),
        (
            lambda: interactive.gallery(plain(3), {"a": np.arange(3)}, categories={"c": [True]}),
            "'c' must have one value for each of the 3 images",
        ),
        (lambda: interactive.gallery(plain(2), {"a": np.array([1, np.nan])}), "'a' holds 1 values that are not finite"),
        (lambda: interactive.Html("x" * 2_500_000, "Much"), "Much: 2.5 MB, and a page should stay under 3: show fewer"),
    ],
)
def test_errors_teach(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A file with all pieces on one page, some prose between them, in light and dark."""
    file = tmp_path_factory.mktemp("page") / "page.html"
    parts = "".join(f'<section id="{name}">{piece._repr_html_()}</section>' for name, piece in pieces().items())
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Pieces</title>'
    style = "<style>:root{color-scheme:light dark}body{max-width:50em;margin:1em auto;padding:0 8px}</style>"
    file.write_text(f'<!doctype html><html lang="en"><head>{head}{style}</head><body>{parts}</body></html>')
    return file.as_uri()


@pytest.fixture
def page(browser, address, request):
    """The page in a tab of a wanted kind; whatever goes wrong in it, and whatever it asks for, fails the test."""
    context = browser.new_context(**{"viewport": {"width": 1000, "height": 900}, **getattr(request, "param", {})})
    context.set_offline(True)
    tab, troubles = context.new_page(), []
    tab.on("console", lambda message: troubles.append(message.text))
    tab.on("pageerror", lambda error: troubles.append(str(error)))
    tab.on("requestfailed", lambda asked: troubles.append(asked.url))
    tab.on("request", lambda asked: asked.url.startswith(("data:", address)) or troubles.append(asked.url))
    tab.goto(address)
    yield tab
    context.close()
    assert troubles == []


PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}
WITHOUT_SCRIPTS = {"java_script_enabled": False}
DARK = {"color_scheme": "dark"}
kinds_of_tab = pytest.mark.parametrize(
    "page", [{}, PHONE, DARK, WITHOUT_SCRIPTS], indirect=True, ids=["wide", "phone", "dark", "still"]
)


def pixels(locator):
    """What is seen of an element: (rows, columns, 3) uint8."""
    return np.asarray(Image.open(io.BytesIO(locator.screenshot())).convert("RGB"))


def kind_at(locator, share):
    """Which kind of picture is seen in a box, at a share of its width: the strongest of red, green and blue."""
    seen = pixels(locator)
    return list(KINDS)[int(seen[len(seen) // 2, int(share * (seen.shape[1] - 1))].argmax())]


def wipe(page, section):
    return page.locator(f"#{section} .nsd-cards .nsd-wiped").first


def cards(page):
    """Names of the visible cards of the gallery, in the order in which they are seen."""
    boxes = [
        (card.bounding_box(), card.locator("b").inner_text())
        for card in page.locator("#gallery .nsd-card").all()
        if card.is_visible()
    ]
    return [int(name.split()[1]) for _, name in sorted(boxes, key=lambda one: (round(one[0]["y"]), one[0]["x"]))]


def by_score(label, *, chosen=None):
    """Numbers (from 1) of all images, or of some, the best first."""
    order = np.argsort(-SCORES[label] if label == "likeness" else SCORES[label])
    return [int(i) + 1 for i in order if chosen is None or chosen[i]]


@needs_browser
@kinds_of_tab
def test_a_first_frame_shows_and_fits(page):
    assert page.locator("#steps .nsd-cards").first.is_visible()
    assert [part.is_visible() for part in page.locator("#steps .nsd-cards").all()] == [True, False, False]
    assert wipe(page, "one").is_visible() and len(cards(page)) == 11
    boxes = [one.bounding_box() for one in page.locator("form img:visible, form select, form input:visible").all()]
    assert max(box["x"] + box["width"] for box in boxes) <= page.viewport_size["width"]


@needs_browser
@pytest.mark.parametrize("section", ["one", "several"])
def test_the_slider_wipes_from_one_kind_to_the_next(page, section):
    slider, box = page.locator(f"#{section} input"), wipe(page, section)
    assert [kind_at(box, share) for share in (0.2, 0.8)] == ["rough", "seen"]
    for value, left, right in (
        ("0", "seen", "seen"),
        ("1", "rough", "rough"),
        ("1.5", "refined", "rough"),
        ("2", "refined", "refined"),
    ):
        slider.fill(value)
        assert [kind_at(box, share) for share in (0.2, 0.8)] == [left, right], value


@needs_browser
def test_the_wipe_is_moved_by_keys_and_moves_nothing_else(page):
    page.locator("#one input").focus()
    page.keyboard.press("End")
    assert kind_at(wipe(page, "one"), 0.8) == "refined"
    page.keyboard.press("ArrowLeft")
    assert page.locator("#one input").input_value() == "1.98"
    assert kind_at(wipe(page, "several"), 0.8) == "seen"


@needs_browser
@pytest.mark.parametrize("page", [WITHOUT_SCRIPTS], indirect=True)
def test_without_scripts_the_wipe_shows_all_kinds_side_by_side(page):
    box = wipe(page, "one")
    assert [kind_at(box, share) for share in (0.15, 0.5, 0.85)] == list(KINDS)
    assert not page.locator("#one input").is_visible()


@needs_browser
@pytest.mark.parametrize("page", [{}, WITHOUT_SCRIPTS], indirect=True, ids=["scripts", "still"])
def test_steps_show_one_frame_at_a_time_by_click_and_key(page):
    frames = page.locator("#steps .nsd-cards")
    page.locator("#steps label", has_text="noise 8").click()
    assert [frame.is_visible() for frame in frames.all()] == [False, True, False]
    page.keyboard.press("ArrowRight")
    assert [frame.is_visible() for frame in frames.all()] == [False, False, True]
    page.keyboard.press("Enter")
    assert [frame.is_visible() for frame in frames.all()] == [False, False, True]
    assert page.locator("#again .nsd-cards").first.is_visible()  # the second piece with the same buttons stays where it was
    assert frames.nth(2).locator("img").first.get_attribute("alt") == "seen, image 7, noise 16"


@needs_browser
@pytest.mark.parametrize("page", [{}, WITHOUT_SCRIPTS], indirect=True, ids=["scripts", "still"])
def test_the_gallery_is_sorted_filtered_and_turned(page):
    choose = {name: page.locator(f"#gallery .nsd-{name}") for name in ("by", "show", "way")}
    first = cards(page)
    assert first == [one for one in by_score("likeness") if one in first] and {first[0], first[-1]} == {
        by_score("likeness")[0], by_score("likeness")[-1]}  # fmt: skip
    choose["show"].select_option("all 30 images")
    assert cards(page) == by_score("likeness")
    choose["by"].select_option("distance")
    assert cards(page) == by_score("distance")
    choose["way"].select_option("the worst")
    assert cards(page) == by_score("distance")[::-1]
    choose["show"].select_option("first five (5)")
    assert cards(page) == by_score("distance", chosen=CATEGORIES["first five"])[::-1]
    shown = page.locator("#gallery .nsd-card:visible").first.inner_text()
    assert "distance" in shown and "percentile" in shown and "likeness" not in shown


@needs_browser
@pytest.mark.parametrize("page", [{}, DARK], indirect=True, ids=["light", "dark"])
def test_text_stands_out_from_its_ground(page):
    for place in ("#gallery select.nsd-by", "#steps legend", "#one .nsd-bar", "#gallery .nsd-card b"):
        grey = pixels(page.locator(f"{place}:visible").first).mean(axis=2)[4:-4, 4:-4]  # without borders
        assert np.ptp(grey) > 120, place


def test_tied_images_share_their_percentile_and_say_so():
    pictures = {"seen": np.zeros((4, 8, 8, 3), dtype=np.uint8)}
    text = interactive.gallery(pictures, {"likeness": np.array([0.9, 0.3, 0.1 + 0.2, 0.1])}).text
    said = re.findall(r"likeness [\d.]+, percentile (\d+)(, shared by \d)?<", text)
    assert said == [("100", ""), ("50", ", shared by 2"), ("50", ", shared by 2"), ("0", "")]
