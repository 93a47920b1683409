"""Tables of the page on reliability: injected faults, damaged files, event tables, interrupted transfers, and the forecast.

The first four, and the event tables in the chapter on the user's own data, are files in `book/data/`; benchmarks write most of
them. Sizes are computed when the page is made. Hours come from rehearsals on this machine and from those in `book/data/`.
"""

import pandas as pd

from nsdlib.params import load_run, usable_runs
from nsdlib.run import costs, rehearsal
from nsdlib.run.forecast import forecast, spread

SUBJECT = "subj01"  # the forecast is for its group
N_NODES = 4  # nodes of a small cluster


def read(root, name):
    """Load a table of `book/data/` (pandas.DataFrame) and the last line of its header: date and versions (str)."""
    file = root / "book" / "data" / f"{name}.csv"
    header = [line for line in file.read_text().splitlines() if line.startswith("#")]
    return pd.read_csv(file, comment="#"), header[-1].removeprefix("# ")


def faults_table(root):
    """Injected faults by kind."""
    table, _ = read(root, "faults")
    table.loc[len(table)] = {"kind": "**all**", **table[["injected", "survived", "lost"]].sum()}
    return table.to_markdown(index=False)


def inputs_table(root):
    """Damaged files by reader."""
    table, _ = read(root, "inputs")
    counts = table[["inputs", "right", "refused"]].sum()
    table.loc[len(table)] = {"reader": "**all**", **counts, "megabytes": table["megabytes"].max()}
    names = {"right": "read rightly", "refused": "refused by name", "megabytes": "memory beyond a true file's, MB"}
    return table.rename(columns=names).to_markdown(index=False)


def events_table(root):
    """Event tables by outcome, and the number of data sets without a refused table."""
    table, _ = read(root, "events")
    table["refused"] = table.outcome.str.startswith("refused")
    is_complete = ~table.groupby(["dataset", "task"]).refused.any()
    table["dataset"] = table.dataset.where(table.refused, "")
    rows = table.groupby(["refused", "outcome"]).agg(
        tables=("tables", "sum"), sets=("tables", "size"), of=("dataset", lambda names: ", ".join(sorted(set(names))))
    )
    rows = rows.sort_values(["refused", "tables"], ascending=[True, False]).reset_index("outcome").to_dict("records")
    total = f"**{is_complete.sum()} of {len(is_complete)} sets: no table refused**"
    rows.append({"outcome": total, "tables": table.tables.sum(), "sets": "", "of": ""})
    return pd.DataFrame(rows).to_markdown(index=False)


def event_tables_table(root):
    """The event tables in the tests: what was changed, the trials read, and the message of the first refusal."""
    table, _ = read(root, "event_tables")
    table["said"] = table["said"].fillna("").str.replace("|", "\\|")
    table["table"] = table["table"] + " (" + table.pop("what") + ")"
    return table.rename(columns={"said": "what the first refusal says"}).to_markdown(index=False)


def forecast_table(root):
    """Hours of each stage for one subject, and of all four subjects, on every machine with a rehearsal."""
    columns, inputs = {}, {run.name: (run, costs.amounts(run)) for run in _runs()}
    for table, machine, day in rehearsal.saved(root):
        hours = {name: rehearsal.subject_hours(table, run, sizes) for name, (run, sizes) in inputs.items()}
        totals = [stages.sum() for stages in hours.values()]
        column = {f"{SUBJECT}, {stage}": value for stage, value in hours[SUBJECT].items()}
        column |= {f"{SUBJECT}, all": hours[SUBJECT].sum(), "four subjects, one machine": spread(totals, 1)}
        column |= {f"four subjects, {N_NODES} such machines": spread(totals, N_NODES)}
        label = f"{machine}, {day}{rehearsal.missing_stages(table, *inputs[SUBJECT])}"
        columns[label] = {stage: f"{value:.3g}" for stage, value in column.items()}
    if not columns:
        return f"No machine has been rehearsed yet: `nsdlib rehearse {SUBJECT}` and the next build of the book fill this table."
    return pd.DataFrame(columns).rename_axis("hours").to_markdown(disable_numparse=True)


def sizes_table(_):
    """Images and bytes of each subject, with and without a GPU."""
    without_gpu, table = (forecast(_runs(), is_gpu=is_gpu) for is_gpu in (False, True))
    names = ["images", "memory GB", "GPU GB", "results GB", "to fetch GB"]
    return table[names].assign(**{"memory GB without a GPU": without_gpu["memory GB"]}).to_markdown()


def _runs():
    """The runs of the paper's four subjects."""
    return usable_runs(load_run(SUBJECT).group)


OWN_DATA_TABLES = {
    "event_tables": event_tables_table,
    "event_tables_made": lambda root: read(root, "event_tables")[1],
}
TABLES = {
    "faults": faults_table,
    "faults_made": lambda root: read(root, "faults")[1],
    "inputs": inputs_table,
    "inputs_made": lambda root: read(root, "inputs")[1],
    "events": events_table,
    "events_made": lambda root: read(root, "events")[1],
    "transfers": lambda root: read(root, "transfers")[0][["fault", "then"]].to_markdown(index=False),
    "forecast": forecast_table,
    "sizes": sizes_table,
}
