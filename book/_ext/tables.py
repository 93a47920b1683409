"""Tables of the book's pages: means, with their intervals a click away; and on a phone, where a table is too wide, a block a row.

A block names each value by its column. The style sheet draws it (`nsd-stacked`); wider windows show the table as it is.
"""

import re

LONG = 20  # rows of a notebook's table, of which more are folded
TABLE = re.compile(r"<table\b(?! class=\"nsd).*?</table>", re.DOTALL)
INTERVAL = re.compile(r" \[[-+]?[\d.]+, [-+]?[\d.]+\]")  # as `statistics.as_text` writes it
NAME = re.compile(r"[^\s<>]{22,}(?=[^<>]*<)")  # a long word outside of tags
BREAK = re.compile(r"(?<=[_/.:])(?=\w)")  # where one may be broken
PHONE, SIZE, SIDES = 343, 10.9, 4.5  # pixels there: the text's width, the letters of a table, what a cell leaves beside its text
THIN, WIDTHS = set(" fijlrtI.,:;'|()[]-"), (0.64, 0.36)  # letters, and how wide others and these are, of their size
BOLD, CODE = 1.08, 14  # how much wider bold letters are, and code, which has a frame, in pixels
TALL = 3  # phones' widths that the longest lines of all columns may have together: more would stand in narrow towers
UPRIGHT = 6  # columns from which on heads stand upright on a phone, as book.css has it
HALF = 13.5  # of the letters' size: half a line of a block


def fold_tables(_app, page, _template, context, _doctree):
    """Show the means of each table and fold the table with its intervals; of a notebook's long table, fold the whole.

    `context["body"]` is changed, the HTML of a page. The lab shows the tables as they are.
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
        return f'<details class="nsd-fold"><summary>Table of {n_rows} rows</summary>{stacked(table)}</details>'
    means, n_intervals = INTERVAL.subn("", table)
    if not n_intervals:
        return stacked(table)
    whole = stacked(re.sub(r' id="[^"]*"', "", table))  # each place on a page has its name once
    return f'{stacked(means)}<details class="nsd-fold"><summary>The same with intervals</summary>{whole}</details>'


def stacked(table):
    """Return the HTML of a table; where it is too wide for a phone, unless words broke, each of its cells names its column."""
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(table, "html.parser")
    if soup.thead is None or soup.tbody is None:
        return table
    heads, cells = (_columns(part) for part in (soup.thead, soup.tbody))
    upright = len(soup.thead.find("tr").find_all("th")) >= UPRIGHT
    if _fits(_by_column(cells + [(k, head) for k, head in heads if not (upright and k)])):
        return table
    names = dict(enumerate(" ".join(filter(None, map(_text, column))) for column in _by_column(heads)))
    is_name = {id(c): c.name == "th" or (k == 0 and c.find_previous_sibling("th") is None) for k, c in cells}
    pairs = dict.fromkeys(range(1 + max(k for k, _ in cells)), 0)
    for k, cell in cells:
        if not is_name[id(cell)]:
            pairs[k] = max(pairs[k], _length(f"{names.get(k, '')} {_text(cell)}"))
    for k, cell in cells:
        kinds = {"nsd-row": is_name[id(cell)], "nsd-wide": pairs[k] > HALF, "nsd-empty": not _text(cell)}
        cell["class"] = [*cell.get("class", []), *(kind for kind, holds in kinds.items() if holds)]
        cell["data-column"] = names.get(k, "")
    soup.table["class"] = [*soup.table.get("class", []), "nsd-stacked"]
    soup.table["style"] = f"--nsd-pair: {max((pair for pair in pairs.values() if pair <= HALF), default=HALF):.1f}em"
    return str(soup)


def _columns(part):
    """The cells of a table's head or body, each with the number of its column: (int, bs4.Tag)."""
    placed, taken = [], set()
    for row, line in enumerate(part.find_all("tr")):
        k = 0
        for cell in line.find_all(["th", "td"]):
            while (row, k) in taken:
                k += 1
            n_rows, n_columns = (int(cell.get(name, 1)) for name in ("rowspan", "colspan"))
            taken |= {(row + i, k + j) for i in range(n_rows) for j in range(n_columns)}
            placed += [(k + j, cell) for j in range(n_columns)]
    return placed


def _by_column(placed):
    """The cells of each column, a list a column."""
    return [[cell for k, cell in placed if k == column] for column in range(1 + max(k for k, _ in placed))]


def _fits(columns):
    """Whether columns of cells stand side by side on a phone, with no word broken and no cell much higher than wide."""
    narrowest = longest = 0
    for column in columns:
        alone = [cell for cell in column if "colspan" not in cell.attrs]
        lines = [(_text(cell), BOLD if cell.name == "th" else 1) for cell in alone]
        words = [(word, bold) for text, bold in lines for word in re.split(r"\s|(?<=\w)-(?=\w)", text)]
        sides = SIDES + CODE * any(cell.code for cell in alone)
        narrowest += sides + SIZE * max((_length(word) * bold for word, bold in words), default=0)
        longest += sides + SIZE * max((_length(text) * bold for text, bold in lines), default=0)
    return narrowest <= PHONE and longest <= TALL * PHONE


def _length(text):
    """How long a text is, in parts of its letters' size."""
    return sum(WIDTHS[letter in THIN] for letter in text)


def _text(cell):
    """The words of a cell."""
    return " ".join(cell.get_text(" ").split())
