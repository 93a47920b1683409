"""A Sphinx extension for reading: folded code, means in tables with their intervals a click away, the main figure first.

Sphinx gives the figure of a notebook its file's name as alternative text. This extension composes one from the heading above it,
the title set in its cell, and the paragraph before it, which in these notebooks explains how to read it.
"""

import json
import re
from itertools import accumulate
from pathlib import Path

from docutils import nodes

from nsdlib.run.progress import clock

MAIN, FINDING = "main-figure", "finding"  # tags of the cells whose figure and whose sentence open their page
LONGEST = 300  # characters of prose in an alternative text; at least one sentence is kept
LONG = 20  # rows of a notebook's table, of which more are folded
TABLE = re.compile(r"<table\b(?! class=\"nsd).*?</table>", re.DOTALL)
INTERVAL = re.compile(r" \[(?:[-+]?[\d.]+, [-+]?[\d.]+|95 ?%)\]")  # as `statistics.as_text` writes it, and the head of its column
NAME = re.compile(r"[^\s<>]{22,}(?=[^<>]*<)")  # a long word outside of tags
BREAK = re.compile(r"(?<=[_/.:])(?=\w)")  # where one may be broken
TITLE = re.compile(r'\btitle="([^"]+)"')  # in the code of a cell
LABEL = re.compile(r"^How to read the (next )?figures?: ", re.IGNORECASE)


def setup(app):
    """Register the extension with Sphinx, see `extensions` in _config.yml."""
    app.add_config_value("nsd_reading", Path(__file__).read_text(), "env")  # pages that an earlier version made are made anew
    app.connect("source-read", link_to_explore)
    app.connect("doctree-read", fold_code)
    app.connect("doctree-resolved", describe_images)
    app.connect("doctree-resolved", open_with_figure)
    app.connect("html-page-context", fold_tables)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def link_to_explore(_app, _name, source):
    """Let links to the explorers' notebook, which needs a kernel and is no page, lead to the page about it."""
    source[0] = source[0].replace("](explore.ipynb)", "](/explore.md)")


def fold_code(_app, document):
    """Fold the code of a notebook's cells, and with it the output of those tagged `hide-cell`; a click opens both."""
    for cell in document.findall(nodes.container):
        if cell.get("nb_element") == "cell_code":
            cell["hide_mode"] = cell.get("hide_mode") or "input"
            what = "code and output" if cell["hide_mode"] == "all" else "code"
            cell["prompt_show"], cell["prompt_hide"] = f"Show {what}", f"Hide {what}"


def open_with_figure(app, document, name):
    """Show a page's finding and main figure below its first paragraph, too, where the latter is from, and how long the page ran.

    Pages without a cell tagged `MAIN`, or without its figure, stay as they are. A finding is what the cell tagged `FINDING`
    prints.
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
    copy = image.deepcopy()
    copy["alt"] = f"The main figure of this page, from the section {section[0].astext()}."
    lead = nodes.container("", finding, copy, source, classes=["nsd-lead", "cell_output"])
    first.parent.insert(first.parent.index(first) + 1, lead)


def _duration(app, name):
    """How long an executed page ran, from the record beside it; nothing where there is none."""
    record = Path(app.srcdir, f"{name}.json")
    if not record.is_file():
        return ""
    found = json.loads(record.read_text())
    return f". This page ran in {clock(found['seconds'])} on {found['machine']}."


def fold_tables(_app, page, _template, context, _doctree):
    """Show the means of each table and fold the table with its intervals; of a notebook's long table, fold the whole.

    `context["body"]` is changed, the HTML of a page; `book/static/tables.js` fits tables to phones. The lab shows them whole.
    """
    longest = LONG if page.startswith("runs/") else float("inf")
    context["body"] = TABLE.sub(lambda found: _folded(_breakable(found[0]), longest), context.get("body", ""))


def _breakable(table):
    """The HTML of a table whose long names, as of files and tests, may be broken between their parts."""
    return NAME.sub(lambda name: BREAK.sub("<wbr>", name[0]), table)


def _folded(table, longest):
    """The HTML of a table, as `fold_tables` shows it."""
    n_rows = table.count("<tr") - table.partition("</thead>")[0].count("<tr")
    if n_rows > longest:
        return f'<details class="nsd-fold"><summary>Table of {n_rows} rows</summary>{table}</details>'
    means, n_intervals = INTERVAL.subn("", table)
    if not n_intervals:
        return table
    whole = re.sub(r' id="[^"]*"', "", table)  # each place on a page has its name once
    return f'{means}<details class="nsd-fold"><summary>The same with intervals</summary>{whole}</details>'


def describe_images(_app, document, _name):
    """Set the alternative text of every image of a page, unless its author did, and make it load lazily."""
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
    """Compose an alternative text from heading, title and the first sentences of the prose, as one line; each may be empty."""
    text = LABEL.sub("", " ".join(prose.split()))
    first, *longer = accumulate(re.split(r"(?<=[.:;?!]) ", text), "{} {}".format)
    kept = [first, *(whole for whole in longer if len(whole) <= LONGEST)][-1]
    kept = kept[:1].upper() + kept[1:].rstrip(" :;")
    names = [part if part[-1] in ".:?!" else f"{part}." for part in (heading, title) if part]
    return " ".join([*names, kept]).strip()
