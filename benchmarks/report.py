"""What a benchmark measured, as a file: `--json FILE` of each program here writes its rows and what they belong to.

A row is a dict of a table; see `write` for what stands beside the rows.
"""

import argparse
import datetime
import json
import platform
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from nsdlib import __version__
from nsdlib.core.files import atomic_write
from nsdlib.run.rates import machine_name, n_cores
from nsdlib.store.shipped import commit

ROOT = Path(__file__).parents[1]
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "scikit-image", "diffusers", "transformers", "triton")


def parser(about):
    """Return a program's parser of arguments with `--json FILE`; the path is None where it was not asked for."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", type=Path, metavar="FILE", help="write the rows there, with machine and versions")
    return made


def write(path, rows, **settings):
    """Write rows (a list of dicts) as JSON, whole or not at all; with a path of None nothing is written.

    Beside `rows` stand `machine` (processor, cores, threads, and the card's name or null), `versions`, `commit` (null outside a
    repository, with a + where files differ from it), `date`, `command` and `settings`.
    """
    if path is None:
        return
    about = {"rows": rows, "settings": settings, "machine": machine(), "versions": versions(), "commit": commit(ROOT)}
    command = shlex.join(["/".join(Path(sys.argv[0]).parts[-2:]), *sys.argv[1:]])
    about |= {"command": command, "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}
    atomic_write(Path(path).resolve(), json.dumps(about, indent=1, default=_plain) + "\n")


def write_table(file, table, about, *packages):
    """Write a table of the book's data: a description in one line, day and versions, the rows of a DataFrame with their index."""
    numbers = {"nsdlib": __version__} | {package: version(package) for package in packages}
    day, python = datetime.date.today(), platform.python_version()
    made = ", ".join([f"{day}, {platform.system()}, Python {python}", *map(" ".join, numbers.items())])
    atomic_write(file, f"# {about}\n# {made}\n{table.to_csv()}")


def machine():
    """Processor, cores and threads that this process uses, and the card's name."""
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    processor = machine_name("cpu").rpartition(", ")[0]
    return {"processor": processor, "cores": n_cores(), "threads": torch.get_num_threads(), "card": card}


def versions():
    """Versions of Python and of the packages that do the work; null for one that is not installed."""
    found = {"python": platform.python_version(), "cuda": torch.version.cuda}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def _plain(value):
    """NumPy's and torch's numbers and arrays as Python's; a path as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
