"""A small extension of Sphinx: what a figure says to those who cannot see it, and that browsers fetch it when it is near.

Sphinx gives the figure of a notebook its file's name as alternative text. Here it gets the heading that it stands under, the
title that its cell gives it, and the paragraph before it, which in these notebooks says how to read it.
"""

import re

LONGEST = 300  # characters of prose in an alternative text; at least one sentence is kept
TITLE = re.compile(r'\btitle="([^"]+)"')  # in the code of a cell
LABEL = re.compile(r"^How to read the (next )?figures?: ", re.IGNORECASE)


def setup(app):
    """Called by Sphinx, see `extensions` in _config.yml."""
    app.connect("doctree-resolved", describe_images)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def describe_images(_app, document, _name):
    """Give every image of a page an alternative text, unless its author did, and let it be loaded when it comes near.

    Parameters
    ----------
    document : docutils.nodes.document
        Changed in place.
    """
    from docutils import nodes

    heading, title, prose, is_told = "", "", "", False
    for node in document.findall():
        if isinstance(node, nodes.title):
            heading, title, prose, is_told = node.astext(), "", "", False
        elif isinstance(node, nodes.paragraph) and isinstance(node.parent, nodes.section):
            prose, is_told = node.astext(), False
        elif isinstance(node, nodes.literal_block) and "cell_input" in node.parent.get("classes", ()):
            title = " ".join(TITLE.findall(node.astext()))
        elif isinstance(node, nodes.image):
            node["loading"] = "lazy"
            node["alt"] = node.get("alt") or alternative(heading, title, "" if is_told and title else prose)
            is_told = True  # the words were about this figure; one that follows and has a title goes without them


def alternative(heading, title, prose):
    """Heading, title and the first sentences of the prose, as one line.

    Parameters
    ----------
    heading, title, prose : str
        Any of them may be empty.

    Returns
    -------
    str
    """
    text = LABEL.sub("", " ".join(prose.split()))
    sentences = re.split(r"(?<=[.:;?!]) ", text)
    kept = sentences[0]
    for sentence in sentences[1:]:
        if len(kept) + 1 + len(sentence) > LONGEST:
            break
        kept += f" {sentence}"
    kept = kept[:1].upper() + kept[1:].rstrip(" :;")
    named = [part if part[-1] in ".:?!" else f"{part}." for part in (heading, title) if part]
    return " ".join([*named, kept]).strip()
