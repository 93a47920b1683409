"""Tables of pages: means with intervals on click, folded long tables, and blocks instead of broken words on phones."""

import pytest
from conftest import ROOT, needs_browser

from book._ext.reading import LONG, fold_tables

STYLE, SCRIPT = ((ROOT / "book" / "static" / name).read_text() for name in ("book.css", "tables.js"))
# Words of tables that stand in two lines, and tables that scroll sideways.
BROKEN = """() => {
    const lines = (node, word) => {
        const range = document.createRange()
        range.setStart(node, word.index), range.setEnd(node, word.index + word[0].length)
        return new Set([...range.getClientRects()].filter(box => box.width).map(box => Math.round(box.bottom))).size
    }
    const found = [...document.querySelectorAll("table:not([class^=nsd])")].filter(table => {
        const box = table.closest(".pst-scrollable-table-container, .output, .nsd-fold") || table.parentElement
        return box.scrollWidth > box.clientWidth + 1
    }).map(table => `scrolls: ${table.innerText.slice(0, 40)}`)
    for (const cell of document.querySelectorAll("table:not([class^=nsd]) :is(td, th)")) {
        const walk = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT)
        const level = getComputedStyle(cell).writingMode === "horizontal-tb"
        for (let node = walk.nextNode(); level && node; node = walk.nextNode())
            for (const word of node.data.matchAll(/[^\\s-]+/g))
                if (word[0].length < 16 && lines(node, word) > 1) found.push(word[0])
    }
    return found
}"""


def shown(body, page="runs/demo/05"):
    """The body of a page after its tables were folded."""
    context = {"body": body}
    fold_tables(None, page, None, context, None)
    return context["body"]


def table(*cells):
    """A table of one column, as pandas and docutils write them."""
    rows = "".join(f'<tr id="r{k}"><td>{cell}</td></tr>' for k, cell in enumerate(cells))
    return f'<table class="dataframe"><thead><tr><th>SSIM</th></tr></thead><tbody>{rows}</tbody></table>'


def test_a_table_shows_means_and_its_intervals_are_a_click_away():
    whole = table("0.54 [0.52, 0.56]", "-0.021 [-0.032, +0.012]*", "[3, 4]", "first [a, b]")
    means, fold = shown(f"<p>1</p>{whole}<p>2</p>").split("<details")
    assert means == "<p>1</p>" + table("0.54", "-0.021*", "[3, 4]", "first [a, b]")
    assert (
        "0.54 [0.52, 0.56]" in fold and "[-0.032, +0.012]*" in fold and " id=" not in fold and fold.endswith("</details><p>2</p>")
    )


def test_a_long_table_of_a_notebook_is_folded_and_that_of_another_page_is_not():
    long, short = table(*range(LONG + 1)), table(*range(LONG))
    assert shown(long) == f'<details class="nsd-fold"><summary>Table of {LONG + 1} rows</summary>{long}</details>'
    assert shown(short) == short and shown(long, "paper") == long


def test_pictures_in_a_table_are_left_alone():
    pictures = '<table class="nsd-first"><tr><td>0.54 [0.52, 0.56]</td></tr></table>'
    assert shown(pictures) == pictures


SCORES = [f"score {k}" for k in range(8)]


def of_scores(rows, value):
    """A table of eight scores, as pandas writes it: the rows' names, the level of those above, and one value for all cells."""
    cells = f"<td>{value}</td>" * len(SCORES)
    group = f'<th rowspan="{len(rows)}">group</th>'
    lines = "".join(f"<tr>{group * (k == 0)}<th>{name}</th>{cells}</tr>" for k, name in enumerate(rows))
    heads = "".join(f"<th>{name}</th>" for name in SCORES)
    return f'<table class="dataframe"><thead><tr><th></th><th></th>{heads}</tr></thead><tbody>{lines}</tbody></table>'


TABLES = {
    "numbers": of_scores(["ridge", "gru"], "0.54"),
    "intervals": of_scores(["ridge", "nearest by tokens"], "0.541 [0.523, 0.562]"),
    "differences": of_scores(["renormalised", "early_stopping"], "+0.0214*"),
    "sentences": of_scores(["claim"], "a sentence that goes on, as verdicts do"),
    "names": table("<code>test_a_file.py::test_that_what_it_says_of_a_table_is_so</code>"),
}


def opened(browser, body, width):
    """A page that holds a table, as wide as a phone's text or a desktop's, all folds open."""
    tab = browser.new_page(viewport={"width": width + 32, "height": 740})
    look = "body { margin: 0 16px; font: 16px/1.6 DejaVu Sans; } table { border-collapse: collapse; }"
    tab.set_content(f"<style>{look}{STYLE}</style><article>{shown(body)}</article><script>{SCRIPT}</script>")
    tab.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    tab.wait_for_timeout(100)
    return tab


@needs_browser
@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("width", [343, 784])
def test_no_table_breaks_a_word_or_scrolls(browser, name, width):
    tab = opened(browser, TABLES[name], width)
    assert tab.evaluate(BROKEN) == []
    tab.close()


@needs_browser
def test_on_a_phone_each_value_of_a_wide_table_names_its_column_and_a_narrow_table_stays_as_it_is(browser):
    tab = opened(browser, TABLES["numbers"] + TABLES["intervals"], 343)
    kinds = tab.eval_on_selector_all("table", "all => all.map(table => table.classList.contains('nsd-stacked'))")
    assert kinds[0] is False and kinds[-1] is True
    columns = tab.eval_on_selector_all("table.nsd-stacked td", "all => all.map(cell => cell.dataset.column)")
    assert columns[-2 * len(SCORES) :] == SCORES * 2
    names = tab.eval_on_selector_all("table.nsd-stacked .nsd-row", "all => all.map(cell => cell.textContent)")
    assert names[-3:] == ["group", "ridge", "nearest by tokens"]
    tab.close()
