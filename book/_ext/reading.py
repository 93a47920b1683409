"""A Sphinx extension for readability: it folds code and intervals in tables, and shows the main figure at the top.

By default, Sphinx uses the file name of a notebook's figure as its alternative text. This extension composes it from the heading
above, the title set in the cell, and the preceding paragraph, which in these notebooks explains how to read the figure.
"""

import json
import re
from itertools import accumulate
from pathlib import Path

from docutils import nodes

from nsdlib.run.monitor import clock

MAIN, FINDING = "main-figure", "finding"  # tags of the cells with the figure and the sentence shown at the top of a page
LONGEST = 300  # characters of prose in an alternative text; at least one sentence is kept
LONG = 20  # rows; longer tables of notebooks are folded
TABLE = re.compile(r"<table\b(?! class=\"nsd).*?</table>", re.DOTALL)
INTERVAL = re.compile(r" \[(?:[-+]?[\d.]+, [-+]?[\d.]+|95 ?%)\]")  # as in `statistics.as_text`, and in the header of its column
NAME = re.compile(r"[^\s<>]{22,}(?=[^<>]*<)")  # a long word outside of tags
BREAK = re.compile(r"(?<=[_/.:])(?=\w)")  # permitted line breaks in such words
TITLE = re.compile(r'\btitle="([^"]+)"')  # in the code of a cell
LABEL = re.compile(r"^How to read the (next )?figures?: ", re.IGNORECASE)


def setup(app):
    """Register the extension with Sphinx, see `extensions` in _config.yml."""
    app.add_config_value("nsd_reading", Path(__file__).read_text(), "env")  # a changed extension rebuilds all pages
    app.connect("source-read", link_to_explore)
    app.connect("doctree-read", fold_code)
    app.connect("doctree-resolved", describe_images)
    app.connect("doctree-resolved", open_with_figure)
    app.connect("html-page-context", fold_tables)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def link_to_explore(_app, _name, source):
    """Redirect links to the explorers' notebook, which needs a kernel and is not a page, to the page about it."""
    source[0] = source[0].replace("](explore.ipynb)", "](/explore.md)")


def fold_code(_app, document):
    """Fold the code of a notebook's cells, together with the output if tagged `hide-cell`."""
    for cell in document.findall(nodes.container):
        if cell.get("nb_element") == "cell_code":
            cell["hide_mode"] = cell.get("hide_mode") or "input"
            content = "code and output" if cell["hide_mode"] == "all" else "code"
            cell["prompt_show"], cell["prompt_hide"] = f"Show {content}", f"Hide {content}"


def open_with_figure(app, document, name):
    """Repeat a page's finding and main figure below its first paragraph, with the figure's section and the page's run time.

    The finding is the printed output of the cell tagged `FINDING`. Pages without a cell tagged `MAIN`, or without its figure, are
    unchanged.
    """
    cells = {tag: [c for c in document.findall(nodes.container) if f"tag_{tag}" in c["classes"]] for tag in (MAIN, FINDING)}
    image, section = next(((image, cell.parent) for cell in cells[MAIN] for image in cell.findall(nodes.image)), (None, None))
    first = next((node for node in document.findall(nodes.paragraph) if isinstance(node.parent, nodes.section)), None)
    if image is None or first is None:
        return
    link = nodes.reference("", section[0].astext(), refid=section["ids"][0], internal=True)
    source = nodes.paragraph("", "From the section ", link, nodes.Text(_duration(app, name)), classes=["nsd-source"])
    printed = (
        text.astext() for cell in cells[FINDING] for text in cell.findall(nodes.literal_block) if "stream" in text["classes"]
    )
    finding = nodes.paragraph("", " ".join(" ".join(printed).split()), classes=["nsd-finding"])
    figure = image.deepcopy()
    figure["alt"] = f"The main figure of this page, from the section {section[0].astext()}."
    lead = nodes.container("", finding, figure, source, classes=["nsd-lead", "cell_output"])
    first.parent.insert(first.parent.index(first) + 1, lead)


def _duration(app, name):
    """Text with the run time and machine of an executed page, from its record, or an empty string."""
    record = Path(app.srcdir, f"{name}.json")
    if not record.is_file():
        return ""
    entries = json.loads(record.read_text())
    return f". This page ran in {clock(entries['seconds'])} on {entries['machine']}."


def fold_tables(_app, page, _template, context, _doctree):
    """Show each table with means only, and fold the version with intervals; fold long tables of notebooks entirely.

    This changes `context["body"]`, the HTML of a page. `book/static/tables.js` fits tables to phones.
    """
    longest = LONG if page.startswith("runs/") else float("inf")
    context["body"] = TABLE.sub(lambda match: _folded(match[0], longest), context.get("body", ""))


def _folded(table, longest):
    """The HTML of a table, folded as `fold_tables` describes, with line breaks allowed in long names (files, tests)."""
    table = NAME.sub(lambda match: BREAK.sub("<wbr>", match[0]), table)
    n_rows = table.count("<tr") - table.partition("</thead>")[0].count("<tr")
    if n_rows > longest:
        return f'<details class="nsd-fold"><summary>Table of {n_rows} rows</summary>{table}</details>'
    means, n_intervals = INTERVAL.subn("", table)
    if not n_intervals:
        return table
    with_intervals = re.sub(r' id="[^"]*"', "", table)  # ids must be unique on a page
    return f'{means}<details class="nsd-fold"><summary>The same with intervals</summary>{with_intervals}</details>'


def describe_images(_app, document, _name):
    """Set the alternative text of every image on a page that has none, and make images load lazily."""
    heading, title, prose, is_used = "", "", "", False
    for node in document.findall():
        if isinstance(node, nodes.title):
            heading, title, prose, is_used = node.astext(), "", "", False
        elif isinstance(node, nodes.paragraph) and isinstance(node.parent, nodes.section):
            prose, is_used = node.astext(), False
        elif isinstance(node, nodes.literal_block) and "cell_input" in node.parent.get("classes", ()):
            title = " ".join(TITLE.findall(node.astext()))
        elif isinstance(node, nodes.image):
            node["loading"] = "lazy"
            node["alt"] = node.get("alt") or alternative(heading, title, "" if is_used and title else prose)
            is_used = True  # a later figure with a title of its own does not repeat the paragraph


def alternative(heading, title, prose):
    """Compose an alternative text, one line, from heading, title and the first sentences of the prose; each may be empty."""
    text = LABEL.sub("", " ".join(prose.split()))
    first, *longer = accumulate(re.split(r"(?<=[.:;?!]) ", text), "{} {}".format)
    prose = [first, *(text for text in longer if len(text) <= LONGEST)][-1]
    prose = prose[:1].upper() + prose[1:].rstrip(" :;")
    names = [part if part[-1] in ".:?!" else f"{part}." for part in (heading, title) if part]
    return " ".join([*names, prose]).strip()
