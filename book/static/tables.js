// On a phone, a table that would be cut or would stand in towers becomes blocks: a row's name, then each value behind its column's.
const phone = matchMedia("(max-width: 576px)")
const TOWER = 0.5 // height of a row, of the page's width
const HALF = 24 // letters in half a line of a block

// Give the number of its column with each cell of these rows, whatever the cells span.
function* placed(rows) {
  const taken = Array.from(rows, () => new Set())
  for (const [i, row] of Array.from(rows).entries()) {
    let column = 0
    for (const cell of row.cells) {
      while (taken[i].has(column)) column++
      yield [column, cell]
      for (let k = 0; k < cell.colSpan; k++, column++)
        for (const later of taken.slice(i, i + cell.rowSpan)) later.add(column)
    }
  }
}

// Write into each cell the name of its column.
function label(table) {
  const names = []
  for (const [column, cell] of placed(table.tHead.rows))
    for (let k = column; k < column + cell.colSpan; k++) names[k] = `${names[k] ?? ""} ${cell.textContent.trim()}`.trim()
  for (const [column, cell] of placed(table.tBodies[0].rows)) {
    const text = cell.textContent.trim(), isName = cell.tagName === "TH" || column === 0
    cell.dataset.column = names[column] ?? ""
    cell.classList.toggle("nsd-row", isName)
    cell.classList.toggle("nsd-empty", !text)
    cell.classList.toggle("nsd-wide", text.length + cell.dataset.column.length > HALF)
  }
}

function fit() {
  for (const table of document.querySelectorAll("article table:is(.table, .dataframe)")) {
    table.classList.remove("nsd-stacked")
    if (!phone.matches || !table.tHead || !table.tBodies.length || !table.offsetWidth) continue
    const width = document.querySelector("article").clientWidth
    const isTower = Array.from(table.tBodies[0].rows).some((row) => row.offsetHeight > TOWER * width)
    if (table.offsetWidth <= table.parentElement.clientWidth && !isTower) continue
    label(table)
    table.classList.add("nsd-stacked")
  }
}

addEventListener("load", fit)
phone.addEventListener("change", fit)
document.addEventListener("toggle", fit, true) // a fold that opens shows its table
