"""Tables of the page on faults: injected faults, damaged files, interrupted transfers, and the forecast for four subjects.

The first three are files in `book/data/`, two of them written by benchmarks; the forecast is computed when the page is made.
"""

import datetime
import platform
from importlib.metadata import version

from nsdlib.core.files import atomic_write
from nsdlib.params import load_run
from nsdlib.run.forecast import assumptions, forecast
from nsdlib.run.rates import REFERENCE, WORKSTATION

SUBJECT = "subj01"  # whose group is forecast
N_NODES = 4  # of the small cluster


def read(root, name):
    """Load a table of `book/data/` (pandas.DataFrame), and the last line of its head: date and versions (str)."""
    import pandas as pd

    file = root / "book" / "data" / f"{name}.csv"
    head = [line for line in file.read_text().splitlines() if line.startswith("#")]
    return pd.read_csv(file, comment="#"), head[-1].removeprefix("# ")


def write(file, table, about, *, packages):
    """Write a table of `book/data/` for `read`: a description, date and versions, and the rows.

    Parameters
    ----------
    file : Path
    table : pandas.DataFrame
        Its index is the first column.
    about : str
        Description in one line.
    packages : sequence of str
        Packages whose versions are recorded.
    """
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    made = f"{datetime.date.today()}, {platform.system()}, Python {platform.python_version()}, {versions}"
    atomic_write(file, f"# {about}\n# {made}\n{table.to_csv()}")


def faults_table(root):
    """Injected faults by kind."""
    table, _ = read(root, "faults")
    table.loc[len(table)] = {"kind": "**all**"} | {name: table[name].sum() for name in ("injected", "survived", "lost")}
    return table.to_markdown(index=False)


def inputs_table(root):
    """Damaged files by reader."""
    table, _ = read(root, "inputs")
    counts = table[["inputs", "right", "refused"]].sum()
    table.loc[len(table)] = {"reader": "**all**", **counts, "megabytes": table["megabytes"].max()}
    names = {"right": "read rightly", "refused": "refused by name", "megabytes": "memory beyond a true file's, MB"}
    return table.rename(columns=names).to_markdown(index=False)


def forecast_table(_):
    """Hours of each notebook of one subject, and of all four subjects, on three machines."""
    import pandas as pd

    rows = {}
    machines = {"one A100": (REFERENCE, 1), f"{N_NODES} nodes with an A100 each": (REFERENCE, N_NODES)}
    for name, (rates, n_nodes) in (machines | {"a workstation without a GPU": (WORKSTATION, 1)}).items():
        table, hours = forecast(_runs(), rates, n_nodes=n_nodes)
        first = table.loc[SUBJECT]
        rows[name] = {f"{SUBJECT}, {column}": first[column] for column in table if column.endswith(" h")}
        rows[name] |= {f"{SUBJECT}, hours": first["hours"], "four subjects, hours": round(hours)}
        rows[name] |= {kind: table[kind].max() for kind in ("memory GB", "GPU GB")}
    return pd.DataFrame(rows).rename_axis("forecast").to_markdown()


def assumptions_list(_):
    """Assumptions of the forecast."""
    lines = dict.fromkeys(line for rates in (REFERENCE, WORKSTATION) for line in assumptions(rates))
    return "\n".join(f"- {line}" for line in lines)


def _runs():
    """The runs of the paper's four subjects."""
    return [load_run(name) for name in load_run(SUBJECT).group]


TABLES = {
    "faults": faults_table,
    "faults_made": lambda root: read(root, "faults")[1],
    "inputs": inputs_table,
    "inputs_made": lambda root: read(root, "inputs")[1],
    "transfers": lambda root: read(root, "transfers")[0][["fault", "then"]].to_markdown(index=False),
    "forecast": forecast_table,
    "sizes": lambda _: forecast(_runs(), REFERENCE)[0][["images", "results GB", "to fetch GB"]].to_markdown(),
    "assumptions": assumptions_list,
}
