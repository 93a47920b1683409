"""How readers handle damaged files: `python benchmarks/inputs.py`; `--write` rewrites the book's table.

Each reader of `tests/faults/test_fuzz.py` gets some two hundred damaged versions of its file (cut, flipped, overwritten or
malicious), in a process with limited memory. A wrong result without an error, a crash or a hang ends this program.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import report
from report import ROOT

from nsdlib.params import load_run
from nsdlib.twin.simulate import simulate

TABLE = ROOT / "book" / "data" / "inputs.csv"
sys.path.insert(0, str(ROOT / "tests"))


def main():
    """Attack every reader and print the outcomes."""
    from fuzz_files import READERS

    parser = report.parser(__doc__, quick="the first reader alone")
    parser.add_argument("--only", nargs="+", choices=READERS, default=list(READERS), help="these readers")
    parser.add_argument("--write", action="store_true", help=f"{TABLE.relative_to(ROOT)}, if no reader is omitted")
    options = parser.parse_args()
    options.only = options.only[:1] if options.quick else options.only
    if options.write and set(options.only) != set(READERS):
        parser.error("--write wants every reader: leave out --only.")
    with tempfile.TemporaryDirectory() as folder:
        run = load_run("small").model_copy(update={"data": Path(folder) / "small"})
        simulate(run, progress=False)
        rows = report.show((attack(reader, run.data, Path(folder) / reader) for reader in options.only), options)
    if options.write:
        write(rows)


def write(rows):
    """Write the rows to the book's data, with date and versions."""
    table = pd.DataFrame(rows).rename(columns={"case": "reader", "ours": "inputs"}).set_index("reader")
    about = "Damaged files given to readers by `python benchmarks/inputs.py --write`; no hand has been at it"
    report.write_table(TABLE, table[["inputs", "right", "refused", "megabytes"]], about, "hypothesis")


def attack(reader, data, folder):
    """Return a reader's row: the number of damaged files, of those read correctly and refused, and the peak memory."""
    command = [sys.executable, ROOT / "tests" / "faults" / "test_fuzz.py", reader, data, folder]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PYTHONFAULTHANDLER": "1"}
    process = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    outcome = json.loads(process.stdout.splitlines()[-1])
    right, refused, peak = outcome["right"], outcome["clear error"], outcome["peak"]
    columns = {"right": right, "refused": refused, "megabytes": peak // 10**6}
    return report.row(reader, right + refused, "damaged files", peak_gb=peak / 2**30, **columns)


if __name__ == "__main__":
    main()
