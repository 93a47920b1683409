"""Checks of the built pages without a browser: links and anchors, alternative texts, loading, size."""

import re
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from conftest import ROOT

LIMIT = 3e6  # bytes of a page with its own pictures
pytestmark = pytest.mark.slow


class Page(HTMLParser):
    """What a page holds: names that can be linked to, links, files that it asks for, images."""

    def __init__(self, file):
        super().__init__()
        self.names, self.links, self.files, self.images, self.language = set(), [], [], [], None
        self.feed(file.read_text())

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.names |= {found[key] for key in ("id", "name") if found.get(key)}
        if tag == "html":
            self.language = found.get("lang")
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag == "img":
            self.images.append(found)
        if tag in ("img", "script") and "src" in found:
            self.files.append(found["src"])
        if tag == "link" and found.get("rel") in ("stylesheet", "preload", "icon"):
            self.files.append(found["href"])


@pytest.fixture(scope="module")
def pages(html):
    """Every page but the theme's templates, by its file."""
    static = html / "_static"
    return {file: Page(file) for file in sorted(html.rglob("*.html")) if static not in file.parents}


def test_the_side_bar_names_each_notebook_by_its_number_and_title(html):
    text = (html / "intro.html").read_text()
    for path in sorted((ROOT / "notebooks").glob("0*.ipynb")):
        title = nbformat.read(path, as_version=4).cells[0].source.splitlines()[0].removeprefix("# ")
        assert re.search(rf">\s*{path.name[:2]} {re.escape(title)}\s*<", text), path.name


def target(file, link):
    """The file that a link inside the book means."""
    path = unquote(urlsplit(link).path)
    return (file.parent / path).resolve() if path else file


def test_every_link_inside_the_book_leads_to_a_page_and_a_place_on_it(pages, html):
    lost, n_places = [], 0
    for file, page in pages.items():
        for link in page.links:
            address = urlsplit(link)
            if address.scheme:
                continue
            there = target(file, link)
            n_places += bool(address.fragment)
            known = there not in pages or not address.fragment or unquote(address.fragment) in pages[there].names
            if not (html in there.parents and there.is_file() and known):
                lost.append((file.name, link))
    assert lost == [] and n_places > 100


def test_links_to_the_world_are_well_formed(pages):
    world = {link for page in pages.values() for link in page.links if urlsplit(link).scheme}
    wrong = [link for link in world if not re.fullmatch(r"https://[\w.-]+\.[a-z]{2,}(/[^\s<>\"]*)?", link)]
    assert wrong == [] and len(world) > 5


def test_every_file_that_a_page_asks_for_is_in_the_book(pages, html):
    asked = [(file, link) for file, page in pages.items() for link in page.files if not link.startswith("data:")]
    lost = [(file.name, link) for file, link in asked if urlsplit(link).scheme or not target(file, link).is_file()]
    assert lost == [] and len(asked) > 100


def test_every_image_is_described_in_words_of_its_own(pages):
    n_images = 0
    for file, page in pages.items():
        texts = [image.get("alt") or "" for image in page.images if not image["src"].startswith("data:")]
        n_images += len(texts)
        vague = [text for text in texts if len(text.split()) < 5 or re.search(r"\.(png|svg|jpg)|<Figure", text)]
        assert (file.name, vague) == (file.name, [])
        assert (file.name, sorted(texts)) == (file.name, sorted(set(texts)))
        inside = [image.get("alt") or "" for image in page.images if image["src"].startswith("data:")]
        assert all(len(text.split()) > 2 for text in inside), file.name
    assert n_images > 20


def test_images_are_loaded_when_they_come_near(pages):
    images = [image for page in pages.values() for image in page.images if not image["src"].startswith("data:")]
    assert {image.get("loading") for image in images} == {"lazy"}


def test_pages_stay_small(pages):
    for file, page in pages.items():
        own = {target(file, image["src"]) for image in page.images if not image["src"].startswith("data:")}
        assert file.stat().st_size + sum(picture.stat().st_size for picture in own) < LIMIT, file.name


def test_pages_say_their_language(pages):
    assert {page.language for file, page in pages.items() if file.name != "index.html"} == {"en"}
