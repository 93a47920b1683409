"""Alternative texts of figures: the heading above and the words before."""

from docutils import nodes

from book._ext.alt_text import LONGEST, alternative, describe_images


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
