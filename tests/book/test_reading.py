"""Notebook pages: folded code, the main figure first, alternative texts from the heading and the text above."""

import json
from types import SimpleNamespace

from conftest import ROOT
from docutils import nodes

from book._ext.reading import (
    FINDING,
    LONGEST,
    MAIN,
    alternative,
    describe_images,
    fold_code,
    link_to_explore,
    open_with_figure,
)  # fmt: skip


def paragraph(text):
    return nodes.paragraph("", text)


def cell(code, *figures):
    """A code cell as MyST-NB makes it: its code and its figures stand in containers, not in the section itself."""
    code = nodes.container("", nodes.literal_block(code, code), classes=["cell_input"])
    return [code, *(nodes.container("", paragraph("<Figure>"), nodes.image(uri=name)) for name in figures)]


def page():
    """Two sections with figures, and one whose author described it."""
    document = nodes.document(None, None)
    for title, parts in {
        "The data": [paragraph("Prose."), paragraph("How to read the figure: a dot is a trial. Look up."), *cell("plot(x)", "a")],
        "The fit?": [
            *cell('plot(x, title="By rank")', "b"),
            paragraph("Later."),
            *cell("y", "c"),
            *cell('plot(title="Last")', "d"),
        ],
    }.items():
        document += nodes.section("", nodes.title("", title), *parts)
    document += nodes.image(uri="e.png", alt="By hand")
    return document


def test_each_image_gets_its_heading_its_title_and_the_last_words_before_it():
    document = page()
    describe_images(None, document, "page")
    assert [image["alt"] for image in document.findall(nodes.image)] == [
        "The data. A dot is a trial. Look up.",
        "The fit? By rank.",
        "The fit? Later.",
        "The fit? Last.",
        "By hand",
    ]
    assert {image["loading"] for image in document.findall(nodes.image)} == {"lazy"}


def test_long_prose_ends_with_a_sentence():
    text = alternative("Title", "", "How to read the next figure: " + "One sentence of forty characters is here. " * 20)
    assert text.startswith("Title. One sentence") and text.endswith("here.") and 200 < len(text) < LONGEST + 10


def test_without_a_heading_the_words_alone_are_taken():
    assert alternative("", "", "Colours: blue is\ncold.") == "Colours: blue is cold."


def test_links_to_the_explorers_lead_to_the_page_about_them():
    source = ['"[explore.ipynb](explore.ipynb) and [03](03_decoder_ablation.ipynb)"']
    link_to_explore(None, "page", source)
    assert source == ['"[explore.ipynb](/explore.md) and [03](03_decoder_ablation.ipynb)"']
    assert (ROOT / "book" / "explore.md").is_file()


def test_code_is_folded_unless_its_cell_says_otherwise():
    document = nodes.document(None, None)
    document += [nodes.container("", nb_element="cell_code"), nodes.container("", nb_element="cell_code", hide_mode="all")]
    document += nodes.container("", nb_element="cell_markdown")
    fold_code(None, document)
    assert [one.get("hide_mode") for one in document.children] == ["input", "all", None]
    assert [one.get("prompt_show") for one in document.children] == ["Show code", "Show code and output", None]


def test_the_main_figure_stands_below_the_first_paragraph_and_leads_to_its_section():
    document = nodes.document(None, None)
    late = nodes.container("", nodes.image(uri="b"), classes=["cell", f"tag_{MAIN}"])
    said = nodes.container("", nodes.literal_block("", "It is\n0.5.", classes=["output", "stream"]), classes=["cell_output"])
    first = nodes.container("", nodes.image(uri="a"), said, classes=["cell", f"tag_{FINDING}"])
    results = nodes.section("", nodes.title("", "Results"), first, late)
    results["ids"] = ["results"]
    document += nodes.section("", nodes.title("", "Decoders"), paragraph("Which?"), paragraph("Words."), results)
    open_with_figure(SimpleNamespace(srcdir="nowhere"), document, "page")
    _, question, lead, words, _ = document[0].children
    assert (question.astext(), words.astext()) == ("Which?", "Words.")
    assert lead[0].astext() == "It is 0.5."
    assert [image["uri"] for image in lead.findall(nodes.image)] == ["b"]
    assert [(link["refid"], link.astext()) for link in lead.findall(nodes.reference)] == [("results", "Results")]
    assert [image["uri"] for image in results.findall(nodes.image)] == ["a", "b"]


def test_a_page_without_a_main_figure_stays_as_it_is():
    document = page()
    before = document.pformat()
    open_with_figure(SimpleNamespace(srcdir="nowhere"), document, "page")
    assert document.pformat() == before


def test_the_lead_says_how_long_the_page_ran_by_its_record(tmp_path):
    record = {"seconds": 77.7, "machine": "A processor, 2 cores"}
    (tmp_path / "page.json").write_text(json.dumps(record))
    texts = {}
    for name in ("page", "other"):
        document = nodes.document(None, None)
        results = nodes.section("", nodes.title("", "R"), nodes.container("", nodes.image(uri="a"), classes=[f"tag_{MAIN}"]))
        results["ids"] = ["r"]
        document += nodes.section("", nodes.title("", "T"), paragraph("Which?"), results)
        open_with_figure(SimpleNamespace(srcdir=tmp_path), document, name)
        texts[name] = document[0][2].astext().split("\n\n")[-1]
    assert texts == {"page": "From the section R. This page ran in 1:17 on A processor, 2 cores.", "other": "From the section R"}
