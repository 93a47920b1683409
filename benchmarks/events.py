"""How real event tables are read: `python benchmarks/events.py [FOLDER]`; `--write` rewrites the book's table.

Without FOLDER, it reads the tables in `tests/bids_examples` with the choices of somebody who knows the experiment (`CHOICES`).
The book's chapter on one's own data shows the errors and the number of trials that were finally read.

FOLDER is a clone of https://github.com/bids-standard/bids-examples, with tables of real experiments (its images are empty, so a
run is assumed to end 20 s after its last onset). Each table of an experiment with BOLD is given to `design_from_events`
unchanged, and again as long as the error names a remedy: the column, the rows to drop, the grid. Tables of other recordings are
read too, as if volumes came every 2 s. Any error other than a `ValueError` of ours ends this program.
"""

import ast
import json
import re
import warnings
from pathlib import Path

import pandas as pd
import report
from report import ROOT

from nsdlib.core import design_from_events
from nsdlib.data import read_events

TABLE = ROOT / "book" / "data" / "events.csv"
EXAMPLES = ROOT / "tests" / "bids_examples"
EXAMPLES_TABLE = ROOT / "book" / "data" / "event_tables.csv"
CHOICES = {  # dataset and task -> name, TR in seconds, column that names the stimulus, rows that are not trials
    "ds001499 5000scenes": ("BOLD5000", 2.0, "stim_file", {}),
    "ds004192 things": ("THINGS", 1.5, "file_path", {"trial_type": ["catch"]}),
    "ds001246 perception": ("Generic Object Decoding", 3.0, "stimulus_name", {"event_type": ["rest"]}),
    "ds001246 imagery": ("the same, imagery", 3.0, "category_name", {"event_type": ["rest", "cue", "evaluation", "inter_rest"]}),
    "ds000117 facerecognition": ("faces", 2.0, "stim_file", {}),
    "ds105 objectviewing": ("Haxby's objects", 2.5, "trial_type", {}),
    "ds107 onebacktask": ("words and objects", 3.0, "trial_type", {}),
    "ds008 stopsignal": ("stop signal", 2.0, "trial_type", {}),
    "ds002 deterministicclassification": ("classification", 2.0, "trial_type", {}),
    "synthetic nback": ("made up, one table for all runs", 2.5, "trial_type", {}),
    "eyetracking_fmri rest": ("rest", 0.8, "trial_type", {}),
}
TAIL_SECONDS = 20.0  # seconds of a run after its last onset
OTHER_TR = 2.0  # seconds, for recordings other than BOLD
AS_IS = "taken as it is"
REFUSALS = {"begin in volume": "events at the same time", "begins at": "events overlap", "wanted seconds": "no number"}


def main():
    """Try every set of tables and print the outcomes."""
    parser = report.parser(__doc__, quick="a hundred tables of FOLDER; the others take seconds")
    parser.add_argument("folder", type=Path, nargs="?", help="a clone of bids-examples")
    parser.add_argument("--write", action="store_true", help="a table of the book's data")
    options = parser.parse_args()
    if options.quick and options.folder and options.write:
        parser.error("--write wants every table: leave out --quick.")
    if options.folder is None:
        table, file, unit = examples(), EXAMPLES_TABLE, "trials"
        about = "Event tables in tests/bids_examples: `python benchmarks/events.py --write`"
    else:
        table, file, unit = clone(options.folder, 100 if options.quick else None), TABLE, "tables"
        about = "Event tables of bids-examples given to design_from_events by `python benchmarks/events.py FOLDER --write`"
    cases = [f"{name} {row.task}: {row.outcome}" if options.folder else name for name, row in table.iterrows()]
    rows = table.drop(columns=unit).to_dict("records")
    report.show((report.row(*first, unit, **row) for *first, row in zip(cases, table[unit], rows, strict=True)), options)
    if options.write:
        report.write_table(file, table, about, "pandas")


def examples():
    """Read the tables of `CHOICES`: pandas.DataFrame of the first refusal, remedies, trials and conditions, by table."""
    rows = {}
    for path in EXAMPLES.rglob("*_events.tsv"):
        dataset, task = path.relative_to(EXAMPLES).parts[1], re.search(r"task-([^_]+)", path.name)[1]
        experiment, tr, condition, dropped = CHOICES[f"{dataset} {task}"]
        table = read_events(path)
        n_rows = len(table)
        for column, values in dropped.items():
            table = table[~table[column].isin(values)].reset_index(drop=True)
        remedies, design, conditions, refusal = follow(table, tr, condition=condition)
        remedies = [f"{column} {', '.join(values)} left out" for column, values in dropped.items()] + remedies
        rows[f"{dataset} {task}"] = {
            "what": experiment,
            "rows": n_rows,
            "image column": condition,
            "done": ", ".join(remedies) or AS_IS,
            "trials": 0 if design is None else int((design > 0).sum()),
            "conditions": len(conditions),
            "said": refusal,
        }
    return pd.DataFrame([rows[name] for name in CHOICES], index=pd.Index(CHOICES, name="table"))


def clone(folder, n_tables=None):
    """Try the first or all tables of a clone of bids-examples: pandas.DataFrame with a row for each task and outcome."""
    sets = {}
    for path in sorted(folder.rglob("*_events.tsv"))[:n_tables]:
        dataset = path.relative_to(folder).parts[0]
        sets.setdefault((dataset, re.search(r"task-([^_]+)", path.name)[1]), []).append(path)
    rows = []
    for (dataset, task), paths in sets.items():
        tr = repetition_time(folder / dataset, task)
        for path in paths:
            is_bold = tr and path.parent in (folder / dataset, path.parent.with_name("func"))
            outcome = outcome_of(path, tr if is_bold else OTHER_TR)
            rows += [(dataset, task, tr, outcome)] if is_bold else []
    table = pd.DataFrame(rows, columns=["dataset", "task", "tr", "outcome"])
    return table.value_counts(sort=False).rename("tables").reset_index().set_index("dataset")


def repetition_time(dataset, task):
    """Seconds between the volumes of a task, or None if it has no BOLD."""
    times = {json.loads(file.read_text()).get("RepetitionTime") for file in dataset.rglob(f"*task-{task}_*bold.json")}
    return max(times - {None}, default=None)


def outcome_of(path, tr):
    """Describe a table's outcome: the remedies before it was accepted, or the kind of refusal."""
    remedies, design, _, refusal = follow(read_events(path), tr)
    if design is None:
        return next(f"refused: {reason}" for words, reason in REFUSALS.items() if words in refusal)
    return ", ".join(remedies) or AS_IS if design.any() else "refused: no trial is left"


def follow(table, tr, **arguments):
    """Give a table to `design_from_events` until its errors name no more remedies.

    Returns the remedies, the design (None if refused in the end), its conditions, and a refusal: the last if the table was
    refused in the end, else the first, or "" if there was none.
    """
    arguments, remedies, refusals = {"tr": tr} | arguments, [], []
    end = TAIL_SECONDS + pd.to_numeric(table.onset, errors="coerce").clip(0).fillna(0).max() if len(table) else TAIL_SECONDS
    while True:
        n_volumes = [int((end - tr) / arguments["tr"]) + 1]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                [design], conditions = design_from_events([table], n_volumes=n_volumes, **arguments)
            return remedies, design, conditions, refusals[0] if refusals else ""
        except ValueError as error:
            refusals.append(str(error))
        if "wanted one column 'trial_type'" in refusals[-1]:
            texts = [name for name in table if table[name].dtype.kind not in "iuf"]
            if texts:
                arguments["condition"] = texts[0]
            else:
                table = table.assign(trial_type="trial")
            remedies.append("column named")
        elif values := re.search(r"drop=(\[.*?\])", refusals[-1]):
            arguments["drop"] = ast.literal_eval(values[1])
            remedies.append(f"{arguments['drop'][-1]} rows left out")
        elif grid := re.search(r"new_tr=([\d.]+)\).*?tr=[\d.]+(?: and max_shift=([\d.]+))? here", refusals[-1]):
            arguments |= {"tr": float(grid[1])} | ({"max_shift": float(grid[2])} if grid[2] else {})
            remedies.append("resampled")
        else:
            return remedies, None, [], refusals[-1]


if __name__ == "__main__":
    main()
