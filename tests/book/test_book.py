"""The book is built from the small run with warnings as errors, then opened as files in a browser without a network."""

import io
import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ROOT, needs_browser
from PIL import Image
from test_tables import BROKEN

from book._ext import build as build_module
from book._ext import pages, reference
from book._ext.build import build, chapters, contents, first_page, is_current
from book._ext.pages import GENERATED
from nsdlib.cli import main
from nsdlib.params import load_run
from nsdlib.run import publish
from nsdlib.run.runner import notebook_names
from nsdlib.store.variants import differing, name_of

TABLE = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
LISTED = [TABLE["root"], *(chapter["file"] for part in TABLE["parts"] for chapter in part["chapters"])]
RESULTS = [page for page in LISTED if page.startswith("runs/")]
FORMULAS = ["method"]
# What reaches over the right edge of the window and neither scrolls in a box of its own nor is a sign that shows on pointing.
TOO_WIDE = """() => {
    const wide = document.documentElement.clientWidth
    const scrolls = e => ["auto", "scroll"].includes(getComputedStyle(e).overflowX) && e.getBoundingClientRect().right <= wide + 1
    const inside = e => e && (scrolls(e) || inside(e.parentElement))
    const over = [...document.querySelectorAll("article *:not(.headerlink)")].filter(e => {
        const box = e.getBoundingClientRect()
        return box.width && box.right > wide + 1 && !inside(e.parentElement)
    })
    const body = document.documentElement.scrollWidth > wide ? ["the page"] : []
    return body.concat(over.map(e => e.tagName + " " + e.textContent.slice(0, 40)))
}"""

# What is cut at the right edge of its own box; formulas are wider than they look, and xarray shortens what it shows by itself.
CUT = """() => [...document.querySelectorAll("article *")].filter(e =>
    e.clientWidth && e.scrollWidth > e.clientWidth + 1 && !["visible", "clip"].includes(getComputedStyle(e).overflowX)
    && getComputedStyle(e).display !== "inline" && !e.closest(".nsd-bar, .math, mjx-container, [class^=xr-]")
).map(e => e.tagName + " " + e.textContent.trim().slice(0, 40))"""


@pytest.fixture
def page(browser, html, request):
    """A tab that opens the book's files without server and network; what goes wrong in it is noted in `page.troubles`."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **getattr(request, "param", {})})
    context.set_offline(True)
    tab, troubles = context.new_page(), []
    tab.on("request", lambda asked: asked.url.startswith((html.as_uri(), "data:", "blob:")) or troubles.append(asked.url))
    tab.on("requestfailed", lambda asked: troubles.append(f"failed: {asked.url}"))
    tab.on("console", lambda message: message.type in ("error", "warning") and troubles.append(message.text))
    tab.on("pageerror", lambda error: troubles.append(str(error)))
    tab.troubles = troubles
    yield tab
    context.close()
    assert troubles == []


def test_the_contents_name_pages_that_exist_and_all_notebooks():
    for name in LISTED:
        if name in (*GENERATED, *reference.NAMES):
            continue
        folder = ROOT / "notebooks" if name.startswith("runs/") else ROOT / "book"
        assert any((folder / f"{Path(name).name}{ending}").is_file() for ending in (".md", ".ipynb")), name
    assert [Path(name).name for name in RESULTS] == notebook_names(ROOT)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with the book's sources and an executed page of every notebook of the demo."""
    for name in ("params", "notebooks"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "book", tmp_path / "book", ignore=shutil.ignore_patterns("_build", "runs"))
    (tmp_path / "book" / "runs").symlink_to(tmp_path / "runs")
    monkeypatch.setenv("NSDLIB_HOME", str(tmp_path))
    execute(tmp_path, "demo")
    return tmp_path


def execute(project, run, pages=RESULTS, **parameters):
    """Write executed pages as the runner leaves them, with a title as their only text."""
    used = load_run(run, **parameters)
    changed = differing(used)
    (project / "runs" / run).mkdir(parents=True, exist_ok=True)
    for name in (Path(page).name for page in pages):
        note = publish.note(used, project / "notebooks" / f"{name}.ipynb", changed)
        heading = {"cell_type": "markdown", "source": ["# A title\n", "\n", "A question?"]}
        notebook = {"metadata": {"nsdlib": note}, "cells": [heading]}
        (project / "runs" / run / f"{name_of(name, changed)}.ipynb").write_text(json.dumps(notebook))


def test_a_run_that_is_complete_gets_a_part_of_its_own(project):
    execute(project, "sim02")
    execute(project, "sim05", RESULTS[:-1])
    parts = contents(project)[0]["parts"]
    for part in parts[1:3]:
        assert [chapter["title"] for chapter in part["chapters"]] == [f"{Path(page).name[:2]} A title" for page in RESULTS]
    captions = [part["caption"] for part in parts]
    assert captions[1:3] == ["The notebooks, run on the demo subject", "The notebooks, run on sim02"]
    assert not any("sim05" in caption for caption in captions)
    assert set(chapters(project)) - set(LISTED) == {page.replace("demo", "sim02") for page in RESULTS}


def test_a_book_with_a_run_that_is_gone_is_not_current(project):
    execute(project, "sim02")
    first = first_page(project)
    first.parent.mkdir(parents=True)
    (first.parents[1] / build_module.TABLE).write_text(yaml.safe_dump(contents(project)[0], sort_keys=False))
    (project / "book" / "reference").mkdir(exist_ok=True)
    for name in (*GENERATED, *reference.NAMES):
        (project / "book" / f"{name}.md").touch()
    (project / "_config.yml").touch()
    (marker := first.with_name(build_module.BUILT)).touch()
    os.utime(marker, (marker.stat().st_mtime + 9,) * 2)
    assert is_current(project)
    shutil.rmtree(project / "runs" / "sim02")
    assert not is_current(project)


def test_variants_stand_below_the_page_of_their_notebook(project):
    for strength in (0.9, 0.3):
        execute(project, "demo", [RESULTS[5]], strength=strength, decoder="gru")
    (part,) = (part for part in contents(project)[0]["parts"] if part["chapters"][0]["file"] == RESULTS[0])
    (chapter,) = (chapter for chapter in part["chapters"] if "sections" in chapter)
    assert chapter["file"] == RESULTS[5] and chapter["title"] == "05 A title"
    assert chapter["sections"] == [
        {"file": f"{RESULTS[5]}__decoder-gru__strength-{strength}", "title": f"05 with decoder=gru, strength={strength}"}
        for strength in (0.3, 0.9)
    ]
    assert [page for page in chapters(project) if page not in LISTED] == [page["file"] for page in chapter["sections"]]


def test_a_book_whose_pages_do_not_agree_is_refused(project):
    """Someone made 05 anew after the parameter file was edited, and put nothing else right."""
    file = project / "params" / "demo.yaml"
    file.write_text(file.read_text().replace("decoder: ridge", "decoder: gru"))
    execute(project, "demo", [RESULTS[5]])
    with pytest.raises(
        ValueError, match=r"The book cannot be built: the pages of runs/demo do not agree: decoder was 'ridge'"
    ) as error:
        build(project)
    assert "06_noise" in str(error.value) and "05_two" not in str(error.value) and "`nsdlib run demo`" in str(error.value)


def test_other_runs_and_variants_that_do_not_agree_are_left_out_and_named(project, capsys, monkeypatch):
    execute(project, "sim02")
    execute(project, "sim05")
    file = project / "params" / "sim05.yaml"
    file.write_text(f"{file.read_text()}\nseed: 4711\n")
    execute(project, "demo", [RESULTS[5]], decoder="gru")
    page = project / "runs" / "demo" / f"{Path(RESULTS[5]).name}__decoder-gru.ipynb"
    page.write_text(page.read_text().replace('"demo/betas": "', '"demo/betas": "0'))
    monkeypatch.setattr(pages, "write", lambda root: 1 / 0)  # from here on the book would be built
    with pytest.raises(ZeroDivisionError):
        build(project)
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("Left out of the book: the pages of runs/sim05 do not agree: seed was")
    assert said[1].startswith(
        f"Left out of the book: {RESULTS[5]}__decoder-gru and the pages of its run do not agree: demo/betas"
    )
    assert "`nsdlib run demo 05_two_stage_reconstruction -p decoder=gru`" in said[1] and len(said) == 2
    assert set(chapters(project)) - set(LISTED) == {page.replace("demo", "sim02") for page in RESULTS}


def test_execution_is_off():
    assert yaml.safe_load((ROOT / "_config.yml").read_text())["execute"]["execute_notebooks"] == "off"


def test_a_missing_chapter_is_named(tmp_path):
    (tmp_path / "book").mkdir()
    shutil.copy(ROOT / "book" / "_toc.yml", tmp_path / "book")
    with pytest.raises(FileNotFoundError, match=r"intro, .*runs/demo/00_meet_the_data.* made by `make demo`"):
        build(tmp_path)


@pytest.mark.slow
def test_a_second_build_does_nothing_and_says_so(small_project, html, monkeypatch, capsys):
    before = (html / "index.html").stat().st_mtime_ns
    monkeypatch.setenv("NSDLIB_HOME", str(small_project))
    monkeypatch.setattr(sys, "path", sys.path[:])  # the command adds to it
    assert main(["book"]) == 0 and "Nothing to be done: the book is newer" in capsys.readouterr().out
    assert (html / "index.html").stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_warning_stops_the_build(tmp_path, capfd):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "_toc.yml").write_text("format: jb-book\nroot: intro\nparts:\n- chapters:\n  - file: other\n")
    (tmp_path / "book" / "intro.md").write_text("# Title\n\n[nowhere](nowhere.md)\n")
    (tmp_path / "book" / "other.md").write_text("# Other\n")
    (tmp_path / "_config.yml").write_text("title: A\nexecute:\n  execute_notebooks: 'off'\n")
    with pytest.raises(RuntimeError, match="The book was not built"):
        build(tmp_path)
    assert "nowhere" in capfd.readouterr().err


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("name", [*LISTED, "genindex", "search"])
def test_every_page_opens_as_a_file_and_fits_a_phone(page, html, name):
    page.goto((html / f"{name}.html").as_uri(), wait_until="load")
    assert page.locator("h1:visible").first.is_visible()
    images = page.locator("article img").all()
    for image in images:
        assert image.evaluate("i => (i.loading = 'eager', i.decode()).then(() => i.naturalWidth, () => 0)") > 0
        assert image.is_visible() or image.evaluate("i => i.closest('.nsd-move') !== null")  # a frame not yet shown
    if name in RESULTS:
        assert images
    texts = [image.get_attribute("alt") for image in page.locator("article .cell_output img:not(.nsd-move img)").all()]
    assert len(set(texts)) == len(texts)
    if name in FORMULAS:
        page.wait_for_selector("main mjx-container", timeout=10_000)
        assert page.locator("main mjx-container").count() >= 9 and not page.locator("mjx-merror").count()
    assert page.evaluate(CUT) == []
    page.set_viewport_size({"width": 375, "height": 740})
    assert page.evaluate(TOO_WIDE) == []
    page.evaluate("document.querySelectorAll('article details').forEach(fold => fold.open = true)")
    assert page.evaluate(BROKEN) == []


@pytest.mark.slow
@needs_browser
def test_the_first_page_leads_to_every_chapter(page, html):
    page.goto((html / f"{LISTED[0]}.html").as_uri())
    links = page.eval_on_selector_all("nav a, .sidebar-primary-item a", "all => all.map(a => a.href.split('#')[0])")
    assert {(html / f"{name}.html").as_uri() for name in LISTED[1:]} <= set(links)


@pytest.mark.slow
@needs_browser
def test_the_first_screen_shows_what_was_seen_and_decoded(page, html):
    page.goto((html / "intro.html").as_uri())
    boxes = [image.bounding_box() for image in page.locator("table.nsd-first img").all()]
    assert len(boxes) >= 9 and max(box["y"] + box["height"] for box in boxes) < 800
    assert min(box["width"] for box in boxes) > 60


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("name", RESULTS)
def test_a_chapter_opens_with_its_main_figure_and_its_code_is_a_click_away(page, html, name):
    page.goto((html / f"{name}.html").as_uri())
    box = page.locator(".nsd-lead img").bounding_box()
    assert box["y"] < 400 and 60 < box["height"] <= 480  # with a screen of 900 it is seen whole
    folded = page.locator("details.hide").first
    assert not folded.locator("pre").first.is_visible()
    folded.locator("summary").click()
    assert folded.locator("pre").first.is_visible()


@pytest.mark.slow
@needs_browser
def test_the_first_key_leads_past_the_menus(page, html):
    page.goto((html / f"{RESULTS[0]}.html").as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText").strip() == "Skip to main content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.querySelector(location.hash).contains(document.querySelector('article h1'))")


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("page", [{"color_scheme": "dark"}], indirect=True)
def test_in_the_dark_theme_figures_keep_their_colours_on_white(page, html):
    page.add_init_script("localStorage.setItem('mode', 'dark'); localStorage.setItem('theme', 'dark')")
    page.goto((html / f"{RESULTS[1]}.html").as_uri())
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    parameters = page.locator(".text_html:has(> details)").first  # bright letters, so not on the theme's pale ground
    assert parameters.evaluate("box => getComputedStyle(box).backgroundColor") == "rgba(0, 0, 0, 0)"
    figure = page.locator("article .cell_output img").first
    shown = np.asarray(Image.open(io.BytesIO(figure.screenshot())).convert("L"))
    assert np.median(shown) == 255 and shown.min() < 60
    words = page.locator("article p").first.evaluate(
        "p => getComputedStyle(p).color + getComputedStyle(document.body).backgroundColor"
    )
    text, ground = (sum(map(int, found)) / 3 for found in re.findall(r"rgb\((\d+), (\d+), (\d+)", words))
    assert text - ground > 150


@pytest.mark.slow
@needs_browser
def test_the_gallery_is_turned_by_keys(page, html):
    page.goto((html / "runs" / "demo" / "07_qualitative_figures.html").as_uri())
    chosen, cards = page.locator("select.nsd-way").first, page.locator(".nsd-card:visible")
    first = min((card.bounding_box()["y"], card.bounding_box()["x"], card.locator("b").inner_text()) for card in cards.all())
    chosen.focus()
    page.keyboard.press("ArrowDown")
    after = min((card.bounding_box()["y"], card.bounding_box()["x"], card.locator("b").inner_text()) for card in cards.all())
    assert first[2] != after[2]
