"""The page "State of the runs", from the records of the runs."""

import pandas as pd

from nsdlib.core.files import atomic_write
from nsdlib.run.monitor import clock, records

STATE = """# State of the runs

Duration and peak memory of each notebook's kernel, from the records beside the executed pages. *Failed* stays here until the same
notebook of the same run is complete; an earlier complete page is still shown then.

{table}

{failures}## Made with

{versions}
"""


def state_page(root) -> str:
    """Return the page "State of the runs" for the project's folder, in Markdown."""
    cells, failures, versions = {}, [], {}
    for run, name, record in records(root):
        memory = f", {record['memory'] / 2**30:.1f} GiB" if record["memory"] else ""
        cost = f"{clock(record['seconds'])}{memory}"
        cells.setdefault(f"`{run}`", {})[name] = cost if record["state"] == "done" else f"**failed** after {cost}"
        if record["state"] != "done":
            failures.append(f"- `{run}`, {name}: {record['cause']}")
        latest = versions.setdefault(f"`{run}`", {"last run": ""})
        if record["started"] > latest["last run"]:
            latest |= {"last run": record["started"], **record["versions"]}
    table = pd.DataFrame(cells).sort_index().fillna("not run").rename_axis("notebook").to_markdown()
    section = "## What failed\n\n" + "\n".join(failures) + "\n\n" if failures else ""
    made_with = pd.DataFrame(versions).T.rename_axis("run").to_markdown(disable_numparse=True)
    return STATE.format(table=table, failures=section, versions=made_with)


def write_if_changed(file, text):
    """Write a text file unless it already has this content."""
    if not file.is_file() or file.read_text() != text:
        atomic_write(file, text)
