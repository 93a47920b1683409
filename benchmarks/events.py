"""What becomes of real event tables: `python benchmarks/events.py FOLDER`; `--write` writes the book's table of it anew.

FOLDER is a clone of https://github.com/bids-standard/bids-examples, whose tables are those of real experiments (its images are
empty, so a run is taken to end 20 s after its last onset). Each table of an experiment with BOLD is given to `design_from_events`
as it is, and then as often as the error names what to do: the column, the rows to leave out, the grid. The tables of other
recordings are read as well, as if volumes came each 2 s. Any error but a `ValueError` of ours ends this program.
"""

import ast
import json
import re
import warnings
from pathlib import Path

import pandas as pd
import report

from nsdlib.core import design_from_events
from nsdlib.data import read_events

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "book" / "data" / "events.csv"
REST = 20.0  # seconds of a run behind its last onset
OTHER_TR = 2.0  # seconds, for recordings that are no BOLD
AS_IS = "taken as it is"
REFUSALS = {"begin in volume": "events at the same time", "begins at": "events overlap", "is no number": "no number"}


def main():
    """Try every set of tables and print what came of it."""
    parser = report.parser(__doc__)
    parser.add_argument("folder", type=Path, help="a clone of bids-examples")
    parser.add_argument("--write", action="store_true", help=f"{TABLE.relative_to(ROOT)}")
    options = parser.parse_args()
    sets = {}
    for path in sorted(options.folder.rglob("*_events.tsv")):
        dataset = path.relative_to(options.folder).parts[0]
        sets.setdefault((dataset, re.search(r"task-([^_]+)", path.name)[1]), []).append(path)
    rows = []
    for (dataset, task), paths in sets.items():
        tr = repetition_time(options.folder / dataset, task)
        for path in paths:
            is_bold = tr and path.parent in (options.folder / dataset, path.parent.with_name("func"))
            outcome = follow(path, tr if is_bold else OTHER_TR)
            rows += [(dataset, task, tr, outcome)] if is_bold else []
    table = pd.DataFrame(rows, columns=["dataset", "task", "tr", "outcome"])
    table = table.value_counts(sort=False).rename("tables").reset_index().set_index("dataset")
    print(table.to_markdown())
    report.write(options.json, table.reset_index().to_dict("records"))
    if options.write:
        about = "Event tables of bids-examples given to design_from_events by `python benchmarks/events.py FOLDER --write`"
        report.write_table(TABLE, table, about, "pandas")


def repetition_time(dataset, task):
    """Seconds between the volumes of a task, or None where it has no BOLD."""
    times = {json.loads(file.read_text()).get("RepetitionTime") for file in dataset.rglob(f"*task-{task}_*bold.json")}
    return max(times - {None}, default=None)


def follow(path, tr):
    """Give a table to `design_from_events` until its errors name nothing more to do; return what was done, or the refusal."""
    table, arguments, done = read_events(path), {"tr": tr}, []
    end = REST + pd.to_numeric(table.onset, errors="coerce").clip(0).fillna(0).max() if len(table) else REST
    while True:
        n_volumes = [int((end - tr) / arguments["tr"]) + 1]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                [design], _ = design_from_events([table], n_volumes=n_volumes, **arguments)
        except ValueError as error:
            said = str(error)
        else:
            return ", ".join(done) or AS_IS if design.any() else "refused: no trial is left"
        if "wanted one column 'trial_type'" in said:
            texts = [name for name in table if table[name].dtype.kind not in "iuf"]
            if texts:
                arguments["condition"] = texts[0]
            else:
                table = table.assign(trial_type="trial")
            done.append("column named")
        elif kind := re.search(r"drop=(\[.*?\])", said):
            arguments["drop"] = ast.literal_eval(kind[1])
            done.append(f"{arguments['drop'][-1]} rows left out")
        elif grid := re.search(r"new_tr=([\d.]+)\).*?tr=[\d.]+(?: and max_shift=([\d.]+))? here", said):
            arguments |= {"tr": float(grid[1])} | ({"max_shift": float(grid[2])} if grid[2] else {})
            done.append("resampled")
        else:
            return next(f"refused: {reason}" for words, reason in REFUSALS.items() if words in said)


if __name__ == "__main__":
    main()
