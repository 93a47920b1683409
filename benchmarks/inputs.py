"""What readers make of damaged files: `python benchmarks/inputs.py`; with `--write`, the book's table of it is written anew.

Each reader of `tests/faults/test_fuzz.py` meets its file in some two hundred states, cut, flipped, overwritten or made to do
harm, in a process with limited memory; an answer that is wrong and not refused, a crash or a hang ends this program.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import report

from nsdlib.params import load_run
from nsdlib.twin.simulate import simulate

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "book" / "data" / "inputs.csv"
sys.path.insert(0, str(ROOT / "tests"))


def main():
    """Attack every reader and print what came of it."""
    from fuzz_files import READERS

    parser = report.parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=READERS, default=list(READERS), help="these readers")
    parser.add_argument("--quick", action="store_true", help="the first reader alone")
    parser.add_argument("--write", action="store_true", help=f"{TABLE.relative_to(ROOT)}, when no reader was left out")
    options = parser.parse_args()
    options.only = options.only[:1] if options.quick else options.only
    if options.write and set(options.only) != set(READERS):
        parser.error("--write wants every reader: leave out --only.")
    with tempfile.TemporaryDirectory() as folder:
        run = load_run("small").model_copy(update={"data": Path(folder) / "small"})
        simulate(run, progress=False)
        rows = {reader: attack(reader, run.data, Path(folder) / reader) for reader in options.only}
    table = pd.DataFrame(rows).T.rename_axis("reader")
    print(table.to_markdown())
    report.write(options.json, table.reset_index().to_dict("records"))
    if options.write:
        write(table)


def write(table):
    """The table as the book's data, with the day and what it was made with."""
    about = "Damaged files given to readers by `python benchmarks/inputs.py --write`; no hand has been at it"
    report.write_table(TABLE, table, about, "hypothesis")


def attack(reader, data, folder):
    """How many states of its file a reader met, read rightly, refused by name, and how many megabytes it took at most."""
    command = [sys.executable, ROOT / "tests" / "faults" / "test_fuzz.py", reader, data, folder]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PYTHONFAULTHANDLER": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    report = json.loads(done.stdout.splitlines()[-1])
    right, refused = report["right"], report["clear error"]
    return {"inputs": right + refused, "right": right, "refused": refused, "megabytes": report["peak"] // 10**6}


if __name__ == "__main__":
    main()
