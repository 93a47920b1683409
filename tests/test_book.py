"""The book: built from the small run with warnings as errors, then opened in a browser that has no network."""

import functools
import http.server
import shutil
import threading
from pathlib import Path

import pytest
import yaml
from conftest import make, needs_browser

from nsdlib.book import build, chapters, contents
from nsdlib.pages import GENERATED

ROOT = Path(__file__).parents[1]
TABLE = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
LISTED = [TABLE["root"], *(chapter["file"] for part in TABLE["parts"] for chapter in part["chapters"])]
RESULTS = [page for page in LISTED if page.startswith("runs/")]
FORMULAS = ["method"]


@pytest.fixture(scope="session")
def html(small_project):
    """Folder of the built book; the small run stands in for the demo."""
    (small_project / "runs" / "demo").symlink_to(small_project / "runs" / "small")
    (small_project / "book" / "runs").symlink_to(small_project / "runs")
    make(small_project, "nsdlib", "book")
    return small_project / "book" / "_build" / "html"


@pytest.fixture(scope="module")
def address(html):
    """Address of a server on this machine that hands out the book."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=html)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def page(browser, address):
    """A tab, with everything that goes wrong in it noted in `page.troubles`."""
    tab, troubles = browser.new_page(viewport={"width": 1300, "height": 900}), []

    def only_here(route):
        if route.request.url.startswith((address, "data:", "blob:")):
            route.continue_()
        else:
            troubles.append(f"asked for {route.request.url}")
            route.abort()

    tab.route("**/*", only_here)
    tab.on("console", lambda message: message.type == "error" and troubles.append(message.text))
    tab.on("pageerror", lambda error: troubles.append(str(error)))
    tab.on("response", lambda answer: answer.status >= 400 and troubles.append(f"{answer.status} {answer.url}"))
    tab.troubles = troubles
    yield tab
    tab.close()


def test_the_contents_name_pages_that_exist_and_all_notebooks():
    for name in LISTED:
        if name in GENERATED:
            continue
        folder = ROOT / "notebooks" if name.startswith("runs/") else ROOT / "book"
        assert any((folder / f"{Path(name).name}{ending}").is_file() for ending in (".md", ".ipynb")), name
    notebooks = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert [Path(name).name for name in RESULTS] == notebooks


def test_a_run_that_is_complete_gets_a_part_of_its_own(tmp_path):
    shutil.copytree(ROOT / "book", tmp_path / "book", ignore=shutil.ignore_patterns("_build", "runs"))
    (tmp_path / "book" / "runs").symlink_to(tmp_path / "runs")
    for run, pages in (("demo", RESULTS), ("sim02", RESULTS), ("sim05", RESULTS[:-1])):
        (tmp_path / "runs" / run).mkdir(parents=True)
        for page in pages:
            (tmp_path / "runs" / run / f"{Path(page).name}.ipynb").write_text(
                '{"metadata": {"nsdlib": {"simulated": true}}}'
            )
    captions = [part["caption"] for part in contents(tmp_path)["parts"]]
    assert captions[1:3] == ["The notebooks, run on the demo subject", "The notebooks, run on sim02"]
    assert not any("sim05" in caption for caption in captions)
    assert set(chapters(tmp_path)) - set(LISTED) == {page.replace("demo", "sim02") for page in RESULTS}


def test_the_reference_lists_every_module():
    text = (ROOT / "book" / "api.md").read_text()
    modules = {path.stem for path in (ROOT / "nsdlib").glob("*.py")} - {"__init__", "__main__"}
    plots = {f"plots.{path.stem}" for path in (ROOT / "nsdlib" / "plots").glob("*.py")} - {"plots.__init__"}
    listed = {line.split("nsdlib.")[1].strip() for line in text.splitlines() if line.startswith(".. automodule::")}
    assert listed == modules | plots


def test_execution_is_off():
    assert yaml.safe_load((ROOT / "_config.yml").read_text())["execute"]["execute_notebooks"] == "off"


def test_a_missing_chapter_is_named(tmp_path):
    (tmp_path / "book").mkdir()
    shutil.copy(ROOT / "book" / "_toc.yml", tmp_path / "book")
    with pytest.raises(FileNotFoundError, match=r"intro, .*runs/demo/00_meet_the_data.* made by `make demo`"):
        build(tmp_path)


@pytest.mark.slow
def test_a_second_build_does_nothing_and_says_so(small_project, html):
    before = (html / "index.html").stat().st_mtime_ns
    assert "Nothing to be done: the book is newer" in make(small_project, "nsdlib", "book")
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
@pytest.mark.parametrize("name", LISTED)
def test_every_chapter_opens_without_a_complaint(page, address, name):
    answer = page.goto(f"{address}/{name}.html", wait_until="load")
    assert answer.ok and page.locator("article h1").first.is_visible()
    images = page.locator("article img").all()
    for image in images:
        assert image.evaluate("i => i.decode().then(() => i.naturalWidth, () => 0)") > 0
        assert image.is_visible() or image.evaluate("i => i.closest('.nsd-move') !== null")  # a frame not yet shown
    if name in RESULTS:
        assert images
    if name in FORMULAS:
        page.wait_for_selector("main mjx-container", timeout=10_000)
        assert page.locator("main mjx-container").count() >= 9 and not page.locator("mjx-merror").count()
    assert page.troubles == []


@pytest.mark.slow
@needs_browser
def test_the_first_page_leads_to_every_chapter(page, address):
    page.goto(f"{address}/{LISTED[0]}.html")
    links = page.eval_on_selector_all("nav a, .sidebar-primary-item a", "all => all.map(a => a.href.split('#')[0])")
    assert {f"{address}/{name}.html" for name in LISTED[1:]} <= set(links)
