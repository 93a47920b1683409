"""What a batch saves: several subjects by one command against each by its own: `python benchmarks/batch.py`.

Each measurement is a project of its own, from the simulation of the subjects to their last notebook, without the book. By
default there are four subjects of the size of `small`, which differ in their seeds; `--runs demo sim02 sim05 sim07` takes those
of `make group`, for which an hour should be free.
"""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import psutil
import report
import yaml

ROOT = Path(__file__).parents[1]
NEEDED = ("nsdlib", "zoo", "params", "notebooks", "profiles", "book", "Snakefile")
LOOK = 0.5  # seconds between two looks at the memory


def main():
    """Measure batches and print a table."""
    parser = report.parser(__doc__)
    parser.add_argument("--runs", nargs="+", help="files in params/ (copies of small)")
    parser.add_argument("--subjects", type=int, default=4, help="how many copies (%(default)s)")
    options = parser.parse_args()
    runs = options.runs or [f"small{seed}" for seed in range(1, options.subjects + 1)]
    rows = {}
    for run in runs:
        with tempfile.TemporaryDirectory() as folder:
            rows[f"{run} alone"] = measure(make(Path(folder), options.subjects), [run])
    rows["sum of these"] = (sum(seconds for seconds, _ in rows.values()), max(memory for _, memory in rows.values()))
    with tempfile.TemporaryDirectory() as folder:
        project = make(Path(folder), options.subjects)
        rows["all by one command"] = measure(project, runs)
        rows["the same command again"] = measure(project, runs)
    table = pd.DataFrame(rows, index=["seconds", "peak memory, GiB"]).T
    print(table.round(1).to_markdown())
    report.write(options.json, table.rename_axis("case").reset_index().to_dict("records"), runs=runs)
    print(f"\n{table.seconds['all by one command'] / table.seconds['sum of these']:.2f} of the sum, {os.cpu_count()} cores")


def make(folder, n_subjects):
    """Make a project without data in a folder, with a parameter file for each copy of the small subject."""
    for name in NEEDED:
        source = ROOT / name
        ignored = shutil.ignore_patterns("_build", "runs", "__pycache__", ".ipynb_checkpoints")
        shutil.copytree(source, folder / name, ignore=ignored) if source.is_dir() else shutil.copy(source, folder)
    for seed in range(1, n_subjects + 1):
        run = yaml.safe_load((ROOT / "params" / "small.yaml").read_text())
        run |= {"data": f"data/small{seed}", "group": [f"small{seed}"]}
        run["simulation"]["seed"] = seed
        (folder / "params" / f"small{seed}.yaml").write_text(yaml.safe_dump(run))
    return folder


def measure(project, runs):
    """Return the seconds of wall time and the most memory (GiB, shared pages counted once) of one Snakemake command on runs."""
    environment = os.environ | {
        "NSDLIB_HOME": str(project),
        "PYTHONPATH": str(project),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    command = ["snakemake", "--profile", "profiles/local", "--config", f"runs={','.join(runs)}"]
    start, most = time.monotonic(), 0
    with (project / "log").open("w") as log:
        running = psutil.Popen(command, cwd=project, env=environment, stdout=log, stderr=log)
        while running.poll() is None:
            most = max(most, memory(running))
            time.sleep(LOOK)
    seconds = time.monotonic() - start
    if running.returncode:
        raise RuntimeError(f"`{' '.join(command)}` failed:\n{(project / 'log').read_text()[-4000:]}")
    return seconds, most / 2**30


def memory(process):
    """Return the bytes that a process and all that it started hold."""
    total = 0
    try:
        for member in [process, *process.children(recursive=True)]:
            total += member.memory_full_info().pss
    except psutil.NoSuchProcess:  # it ended while we looked
        pass
    return total


if __name__ == "__main__":
    main()
