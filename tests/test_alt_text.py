"""Alternative texts of figures: the heading above and the words before."""

from docutils import nodes

from nsdlib.alt_text import LONGEST, alternative, describe_images


def paragraph(text):
    return nodes.paragraph("", text)


def page():
    """Two sections with figures, as MyST-NB makes them: a figure stands in containers, not in the section itself."""
    document = nodes.document(None, None)
    for title, parts in {
        "The data": [paragraph("Prose."), paragraph("How to read the figure: a dot is a trial. Look up."), "a.png"],
        "The fit": ["b.png", paragraph("Later."), "c.png"],
    }.items():
        section = nodes.section("", nodes.title("", title))
        for part in parts:
            inside = (
                part
                if isinstance(part, nodes.Node)
                else nodes.container("", paragraph("<Figure>"), nodes.image(uri=part))
            )
            section += inside
        document += section
    document += nodes.image(uri="d.png", alt="By hand")
    return document


def test_each_image_gets_its_heading_and_the_last_words_before_it():
    document = page()
    describe_images(None, document, "page")
    texts = [image["alt"] for image in document.findall(nodes.image)]
    assert texts == ["The data. A dot is a trial. Look up.", "The fit.", "The fit. Later.", "By hand"]
    assert {image["loading"] for image in document.findall(nodes.image)} == {"lazy"}


def test_long_prose_ends_with_a_sentence():
    text = alternative("Title", "How to read the next figure: " + "One sentence of forty characters is here. " * 20)
    assert text.startswith("Title. One sentence") and text.endswith("here.") and 200 < len(text) < LONGEST + 10


def test_without_a_heading_the_words_alone_are_taken():
    assert alternative("", "Colours: blue is\ncold.") == "Colours: blue is cold."
