"""Time of several subjects by one command, compared with one command per subject: `python benchmarks/batch.py`.

Each measurement is a separate project, from the simulation of the subjects to their last notebook, without the book. By default,
these are four subjects of the size of `small` with different seeds; `--runs demo sim02 sim05 sim07` takes those of `make group`,
which needs about an hour.
"""

import os
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import report
import yaml
from report import ROOT

COPIED = ("nsdlib", "zoo", "params", "notebooks", "profiles", "book", "Snakefile")
INTERVAL = 0.5  # seconds between measurements of memory


def main():
    """Measure batches and print a table."""
    parser = report.parser(__doc__, quick="two subjects are simulated and no more, one of them alone")
    parser.add_argument("--runs", nargs="+", help="files in params/ (copies of small)")
    parser.add_argument("--subjects", type=int, help="how many copies (4)")
    options = parser.parse_args()
    options.subjects = options.subjects or (2 if options.quick else 4)
    options.runs = options.runs or [f"small{seed}" for seed in range(1, options.subjects + 1)]
    report.show(rows(options), options)


def rows(options):
    """Yield the rows: each run alone; all by one command, compared with their sum; the same command again."""
    runs, alone = options.runs, {}
    targets = [f"data/{run}/.made-{run}" for run in runs] if options.quick else []
    for number, run in enumerate(runs[:1] if options.quick else runs):
        with tempfile.TemporaryDirectory() as folder:
            alone[run], memory = measure(make(Path(folder), options.subjects), [run], *targets[number : number + 1])
        yield report.row(f"{run} alone, once", alone[run], peak_gb=memory)
    with tempfile.TemporaryDirectory() as folder:
        project = make(Path(folder), options.subjects)
        seconds, memory = measure(project, runs, *targets)
        peer, case = np.mean([*alone.values()]) * len(runs), f"all by one command, once; peer: {len(alone)} alone"
        yield report.row(f"{case}, scaled to {len(runs)}", seconds, peer=peer, peak_gb=memory)
        seconds, memory = measure(project, runs, *targets)
        yield report.row("the same command again, once", seconds, peak_gb=memory)


def make(folder, n_subjects):
    """Make a project without data in a folder, with a parameter file for each copy of the small subject."""
    ignored = shutil.ignore_patterns("_build", "runs", "__pycache__", ".ipynb_checkpoints")
    for source in (ROOT / name for name in COPIED):
        shutil.copytree(source, folder / source.name, ignore=ignored) if source.is_dir() else shutil.copy(source, folder)
    for seed in range(1, n_subjects + 1):
        run = yaml.safe_load((ROOT / "params" / "small.yaml").read_text())
        run |= {"data": f"data/small{seed}", "group": [f"small{seed}"]}
        run["simulation"]["seed"] = seed
        (folder / "params" / f"small{seed}.yaml").write_text(yaml.safe_dump(run))
    return folder


def measure(project, runs, *targets):
    """Return seconds and peak memory (GiB, shared pages counted once) of one Snakemake command on runs, or for some files."""
    environment = os.environ | {
        "NSDLIB_HOME": str(project),
        "PYTHONPATH": str(project),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    command = ["snakemake", *targets, "--profile", "profiles/local", "--config", f"runs={','.join(runs)}"]
    start, peak = time.monotonic(), 0
    with (project / "log").open("w") as log:
        process = psutil.Popen(command, cwd=project, env=environment, stdout=log, stderr=log)
        while process.poll() is None:
            peak = max(peak, memory(process))
            time.sleep(INTERVAL)
    seconds = time.monotonic() - start
    if process.returncode:
        raise RuntimeError(f"`{' '.join(command)}` failed:\n{(project / 'log').read_text()[-4000:]}")
    return seconds, peak / 2**30


def memory(process):
    """Return the memory (bytes) of a process and all its descendants."""
    total = 0
    with suppress(psutil.NoSuchProcess):  # it ended during the measurement
        for member in [process, *process.children(recursive=True)]:
            total += member.memory_full_info().pss
    return total


if __name__ == "__main__":
    main()
