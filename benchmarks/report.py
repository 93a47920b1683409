"""Rows of measured results: every program here prints them as a table, and with `--json FILE` writes them to a file as a list.

A row has the keys of `row`, then the program's own keys, then `about`, the conditions of the measurement. `ratio` is above 1 if
ours is better: peer / ours (times faster) if the unit is "s", else ours / peer, because all other units with a peer are rates.
Values that do not apply are null. Seconds and rates are medians of several runs, unless the case says that they were scaled or
measured once.
"""

import argparse
import datetime
import json
import platform
import resource
import shlex
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch

from nsdlib import __version__
from nsdlib.core.files import atomic_write
from nsdlib.run.rates import machine_name, n_cores
from nsdlib.store.shipped import commit

ROOT = Path(__file__).parents[1]
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "scikit-image", "diffusers", "transformers", "triton")
WIDTHS = {"case": 56, "ours": 9, "peer": 9, "unit": 15, "ratio": 7, "agreement": 9, "peak_gb": 7, "device": 6}  # as printed


def parser(about, *, quick="small sizes, to see that all runs", parts=()):
    """Return a program's argument parser with `--json FILE` (default None), `--quick`, and parts to choose from."""
    argument_parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    argument_parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there, with machine and versions")
    argument_parser.add_argument("--quick", action="store_true", help=f"a minute or less: {quick}")
    if parts:
        names = {"choices": [*parts, "all"], "default": "all", "metavar": "part"}
        argument_parser.add_argument("parts", nargs="*", **names, help=f"any of {', '.join(parts)} (%(default)s)")
    return argument_parser


def of_parts(parts, options):
    """Yield the rows of the requested parts; `parts` maps names to functions of the options."""
    for name, measure in parts.items():
        if name in options.parts or "all" in options.parts:
            yield from measure(options)


def row(case, ours, unit="s", *, peer=None, **more):
    """Return a row; `more` holds `agreement` (largest difference from the peer's result), `peak_gb`, `device`, and own keys."""
    ratio = None if ours is None or peer is None else peer / ours if unit == "s" else ours / peer
    columns = {"case": case, "ours": ours, "peer": peer, "unit": unit, "ratio": ratio}
    return columns | {"agreement": None, "peak_gb": None, "device": "cpu"} | more


def peak_gb(device="cpu"):
    """Peak memory in GiB: of a GPU since its last reset, else of this process since its start."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def show(rows, options):
    """Print rows as one table and write them to `options.json`, each as soon as it is measured; return them.

    `about` holds the `command`, the resulting `settings`, the `date`, the `commit` (null outside a repository, with a + if files
    differ from it), the `machine` (processor, cores, threads, and the GPU's name or null) and the `versions` of software.
    """
    command = shlex.join(["/".join(Path(sys.argv[0]).parts[-2:]), *sys.argv[1:]])
    about = {"command": command, "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}
    about |= {"settings": vars(options), "commit": commit(ROOT), "machine": machine(), "versions": versions()}
    written = []
    _write(options.json, written)  # removes rows of an earlier call before the first measurement
    print(_line(WIDTHS, "more"), _line(("-" * width for width in WIDTHS.values()), "----"), sep="\n")
    for measured in rows:
        others = (f"{name} {_text(value)}" for name, value in measured.items() if name not in WIDTHS)
        print(_line((_text(measured[name]) for name in WIDTHS), ", ".join(others)), flush=True)
        written.append(measured | {"about": about})
        _write(options.json, written)
    return written


def write_table(file, table, about, *packages):
    """Write a DataFrame with its index to the book's data, after lines with a description, the date and versions."""
    package_versions = {"nsdlib": __version__} | {package: version(package) for package in packages}
    day, python = datetime.date.today(), platform.python_version()
    conditions = ", ".join([f"{day}, {platform.system()}, Python {python}", *map(" ".join, package_versions.items())])
    atomic_write(file, f"# {about}\n# {conditions}\n{table.to_csv()}")


def machine():
    """Processor, number of cores and threads that this process uses, and the GPU's name."""
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    processor = machine_name("cpu").rpartition(", ")[0]
    return {"processor": processor, "cores": n_cores(), "threads": torch.get_num_threads(), "card": card}


def versions():
    """Versions of Python, CUDA and `PACKAGES`; None for a package that is not installed."""
    numbers = {"python": platform.python_version(), "cuda": torch.version.cuda} | dict.fromkeys(PACKAGES)
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            numbers[package] = version(package)
    return numbers


def _write(file, rows):
    """Write rows atomically, if a file is given."""
    if file is not None:
        atomic_write(file.resolve(), json.dumps(rows, indent=1, default=_plain) + "\n")


def _line(texts, more):
    """A line of the printed table."""
    cells = [f"{text:{width}}" for text, width in zip(texts, WIDTHS.values(), strict=True)]
    return f"| {' | '.join([*cells, more])} |"


def _text(value):
    """Format a value for printing: empty for None, four significant digits for floats."""
    return "" if value is None else f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)


def _plain(value):
    """Convert NumPy and torch values to Python's, and other objects to text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
