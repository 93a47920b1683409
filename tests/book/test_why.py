"""The page on why to use this suite takes two minutes to read, and each of its numbers comes from a result."""

import re

import numpy as np
import pytest
from conftest import ROOT

from book._ext import pages
from nsdlib.params import load_run
from nsdlib.store.store import Store

TEMPLATE = (ROOT / "book" / "why.template.md").read_text()


@pytest.fixture(scope="module")
def page(small_project):
    """The page's text and its number of pictures, of the small run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NSDLIB_HOME", str(small_project))
        run = load_run("small")
        text = pages.why_page(run, TEMPLATE)
        yield re.sub(r'<table class="nsd-why">.*?</table>|<img [^>]*>', "", text, flags=re.DOTALL), text, run


def test_a_lab_head_reads_it_in_two_minutes(page):
    words, text, _ = page
    assert len(words.split()) <= 450 and "{{" not in words
    reasons = re.split(r"^## ", text, flags=re.MULTILINE)[1:-1]
    assert len(reasons) == 7 and all('class="nsd-why"' in reason and re.search(r"\d", reason) for reason in reasons)


def test_its_numbers_are_those_of_the_results(page):
    words, _, run = page
    with Store(run).load("scores") as scores, Store(run).load("controls") as controls, Store(run).load("systems") as systems:
        ssim = float(scores.value.sel(system="refined", metric="ssim").mean())
        clip = systems.value.sel(metric="clip").mean("test_image").values
        badges = controls.badge.to_series()
        planted = [badge != "inductive" for leak, badge in badges.items() if not leak.startswith("no leak")]
        native = float(controls.by_protocol.sel(compared="refined", metric="ssim", protocol="native").mean())
    assert f"refined {ssim:.2f} [" in words and f"is {native:.2f} [" in words
    assert f"from {clip.min():.2f} [" in words and f"to {clip.max():.2f} [" in words
    assert f"marked {np.sum(planted)} of {len(planted)} planted leaks" in words
