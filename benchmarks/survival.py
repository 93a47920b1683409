"""What is lost when something goes wrong: `python benchmarks/survival.py`; `--write` rewrites the book's table.

Faults are injected into runs of the small subject and into the store: kill -9 of the runner, the kernel or both at random moments
of the two cheapest notebooks that make artifacts; kill -9 at every line of a save; a full disk before and during a write, and
for an array in progress; damaged files. The same command is then repeated. A fault is survived if this command succeeds and its
arrays equal those of an undisturbed run bit for bit. One thread is used, so that results are reproducible.
"""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from itertools import count
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import psutil
import report
import xarray as xr
from report import ROOT

from nsdlib.core.glm import scratch
from nsdlib.params import load_run
from nsdlib.store import artifact, store

SHARES = {"01_hrf_glmsingle": 0.2, "02_roi_betas": 0.8}  # of the kills
VICTIMS = ("runner and kernel", "runner", "kernel")
VARYING = ("seconds",)  # computation times, the only arrays that differ from run to run
LIMITS = (0, 1000, 100_000, 800_000)  # largest file in bytes; the example takes just over 0.8 MB
KINDS = ("kills", "lines", "full", "damage")
TABLE = ROOT / "book" / "data" / "faults.csv"

# Names of the faults in the table and on the book's page.
KILLED = "{} killed in the middle of a notebook"
WRITER = "writer killed, at each line of a save"
BEFORE, MIDDLE = "no room, noticed before the write", "no room in the middle of the write"
IN_PROGRESS = "no room for an array in progress"
DAMAGES = ("byte flipped", "arrays cut short", "arrays gone", "manifest garbled", "manifest gone")
FAULTS = {
    "kills": [KILLED.format(victim) for victim in VICTIMS],
    "lines": [WRITER],
    "full": [BEFORE, MIDDLE, IN_PROGRESS],
    "damage": [f"artifact damaged: {kind}" for kind in DAMAGES],
}


def main():
    """Inject the faults and print the outcomes."""
    parser = report.parser(__doc__, quick="no notebooks are run and killed")
    parser.add_argument("--kills", type=int, default=20, help="number of kills of notebooks (%(default)s)")
    parser.add_argument("--notebooks", nargs="+", choices=SHARES, default=list(SHARES), help="notebooks to kill (both)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments of kills (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS, help="kinds of faults (all)")
    parser.add_argument("--write", action="store_true", help=f"{TABLE.relative_to(ROOT)}, if every kind was injected")
    options = parser.parse_args()
    kinds = [kind for kind in KINDS if kind in options.only and not (options.quick and kind == "kills")]
    warnings.filterwarnings("ignore", message=r"glm-\w+ was damaged")  # the expected warning
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        inject = {
            "kills": lambda: kill_notebooks(Path(folder), options.notebooks, options.kills, np.random.default_rng(options.seed)),
            "lines": kill_saves,
            "full": lambda: [*fill_disk(), *fill_scratch(Path(folder))],
            "damage": lambda: damage_artifacts(np.random.default_rng(options.seed)),
        }
        table = as_table([outcome for kind in kinds for outcome in inject[kind]()])
    report.show((report.row(kind, row.survived, "faults survived", **row) for kind, row in table.iterrows()), options)
    if options.write:
        write(table)
    return int(table["lost"].sum() > 0)


def as_table(outcomes):
    """Count injected, survived and lost faults by kind, from pairs (kind, whether it was survived)."""
    results = pd.DataFrame(outcomes, columns=["kind", "survived"]).astype({"survived": int})
    table = results.groupby("kind", sort=False)["survived"].agg(injected="size", survived="sum")
    table.loc["all"] = table.sum()
    return table.assign(lost=table["injected"] - table["survived"])


def write(table):
    """Write the table to the book's data; raises ValueError if a kind of fault was not injected."""
    missing = [kind for kinds in FAULTS.values() for kind in kinds if kind not in table.index]
    if missing:
        raise ValueError(
            f"Not written: wanted every kind of fault, not injected: {'; '.join(missing)}. Raise --kills or omit --only."
        )
    about = "Faults put in by `python benchmarks/survival.py --write`, and what became of them; no hand has been at it"
    report.write_table(TABLE, table.drop(index="all"), about, "numpy", "xarray", "h5netcdf")


def prepare(folder):
    """Make a project without data in a folder, and point this process and its children to it."""
    for name in ("params", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    os.environ |= {"NSDLIB_HOME": str(folder), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def same(found, expected):
    """Return whether two datasets agree bit for bit, except for the arrays `VARYING`."""
    found, expected = (dataset.drop_vars(VARYING, errors="ignore") for dataset in (found, expected))
    values = ((found[name].values, expected[name].values) for name in found.variables)
    return found.identical(expected) and all(a.tobytes() == b.tobytes() for a, b in values if a.dtype.kind != "O")


def kill_notebooks(folder, names, n_kills, rng):
    """Yield outcomes of kills at random moments of notebooks; each notebook is restarted until it finishes."""
    subprocess.run([sys.executable, "-m", "nsdlib", "simulate", "small"], check=True, capture_output=True)
    remaining, times = n_kills, dict.fromkeys(VICTIMS, 0)
    for name in names:
        n_here = remaining if name == names[-1] else round(SHARES[name] * n_kills)
        remaining -= n_here
        shutil.rmtree(folder / "store", ignore_errors=True)
        start = time.monotonic()
        if start_notebook(name).wait():
            raise RuntimeError(f"notebook {name} fails undisturbed: `nsdlib run small {name}` says why")
        seconds, expected = time.monotonic() - start, artifacts(folder)
        while n_here:
            shutil.rmtree(folder / "store")
            victims, finished = kill_until_finished(name, seconds, n_here, rng, times)
            n_here -= len(victims)
            arrays = artifacts(folder)
            is_same = finished and list(arrays) == list(expected) and all(same(arrays[key], expected[key]) for key in arrays)
            yield from ((KILLED.format(victim), is_same) for victim in victims)


def kill_until_finished(name, seconds, n_kills, rng, times):
    """Run a notebook until it ends, with at most `n_kills` kills; the victim is the one with the fewest kills so far.

    Returns the killed victims, and whether the notebook finished without error.
    """
    victims = []
    while True:
        process = start_notebook(name)
        try:
            moment = rng.uniform(0, seconds) if len(victims) < n_kills else None
            return victims, process.wait(moment) == 0
        except subprocess.TimeoutExpired:
            victims.append(kill(process, min(VICTIMS, key=times.get)))
            times[victims[-1]] += 1


def start_notebook(name):
    """Start the process that runs a notebook of the small run."""
    command = [sys.executable, "-m", "nsdlib", "run", "small", name]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill(process, victim):
    """Kill -9 a running notebook's runner, kernel or both, and return the victim: the runner if there is no kernel yet."""
    kernels = psutil.Process(process.pid).children(recursive=True)
    victim = victim if kernels else "runner"
    if "runner" in victim:
        os.killpg(process.pid, signal.SIGKILL)
    for kernel in kernels if "kernel" in victim else ():
        kernel.kill()
    process.wait()
    return victim


def artifacts(folder):
    """Load the arrays of every complete artifact of the small run, by folder name."""
    manifests = sorted((folder / "store" / "small").glob("[!.]*/manifest.json"))
    return {path.parent.name: xr.load_dataset(path.with_name("arrays.nc"), engine="h5netcdf") for path in manifests}


def example():
    """Arrays to save: 0.8 MB."""
    rng = np.random.default_rng(0)
    return xr.Dataset({"a": ("i", rng.normal(size=100_000)), "b": ("j", rng.normal(size=9).astype(np.float32))})


def recovered(shelf):
    """Return whether the right artifact is there or can be made, with no partial one left behind; remove it afterwards."""
    with shelf.cached("glm", example) as loaded:
        is_same = same(loaded.load(), example()) and not any(shelf.run.store.glob(".partial-*"))
    shutil.rmtree(shelf.run.store)
    return is_same


def in_child(action, limit=None):
    """Run an action silently in a forked process; return its exit status, or minus the signal that ended it.

    With a limit (bytes), larger files cannot be written.
    """
    child = os.fork()
    if not child:
        if limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        try:
            action()
        except (artifact.StoreFull, scratch.ScratchFull):
            os._exit(3)
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_saves():
    """Yield outcomes of kill -9 at each line of the store that a save runs, from the first to the last."""
    shelf = store.Store(load_run("small"))

    def save_and_die(line):
        lines = count(1)

        def trace(frame, event, _):
            if frame.f_code.co_filename not in (store.__file__, artifact.__file__):
                return None
            if event == "line" and next(lines) == line:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        shelf.save("glm", example())

    for line in count(1):
        if in_child(partial(save_and_die, line)) != -signal.SIGKILL:
            shutil.rmtree(shelf.run.store)
            return
        yield WRITER, recovered(shelf)


def fill_disk():
    """Yield outcomes of saves to a full disk, noticed before the write and, if space disappears, only during it."""
    shelf = store.Store(load_run("small"))
    save = partial(shelf.save, "glm", example())
    for limit in LIMITS:
        is_refused = in_child(save, limit) == 3
        is_clean = not any(shelf.run.store.iterdir())
        yield BEFORE, is_refused and is_clean and recovered(shelf)
    for limit in LIMITS:
        with mock.patch.object(artifact, "preallocate", lambda *_: None):
            failed = in_child(save, limit) != 0
        yield MIDDLE, failed and not shelf.has("glm") and recovered(shelf)


def fill_scratch(folder):
    """Yield outcomes of arrays in progress on a full disk; an existing array must stay unchanged."""
    values, scratch_folder = np.arange(9.0), folder / "scratch"

    def begin():
        arrays = scratch.Scratch(scratch_folder)
        arrays.array("large", (100_000,), np.float64)[:] = 1
        return arrays

    for limit in LIMITS:
        scratch.Scratch(scratch_folder).array("kept", values.shape, np.float64)[:] = values
        is_refused = in_child(begin, limit) == 3
        is_clean = sorted(path.name for path in scratch_folder.iterdir()) == ["inputs", "kept.npy"]
        yield IN_PROGRESS, is_refused and is_clean and (begin().array("kept", values.shape, np.float64) == values).all()
        shutil.rmtree(scratch_folder)


def damage_artifacts(rng):
    """Yield outcomes of damage to an artifact: loading must refuse it, and `cached` must make it anew."""
    shelf = store.Store(load_run("small"))
    arrays, manifest = (shelf.path("glm") / name for name in (artifact.ARRAYS, artifact.MANIFEST))
    half = json.dumps({"sha256": "0"})

    def flip():
        content = bytearray(arrays.read_bytes())
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        arrays.write_bytes(content)

    cuts = [lambda size=size: os.truncate(arrays, size) for size in (0, 100, 500_000)]
    garbled = [lambda text=text: manifest.write_text(text) for text in ("", "{", "[]", half)]
    for kind, actions in zip(DAMAGES, ([flip] * 5, cuts, [arrays.unlink], garbled, [manifest.unlink]), strict=True):
        for action in actions:
            shelf.save("glm", example()).close()
            action()
            try:
                shelf.load("glm")
                refused = False
            except (artifact.DamagedArtifact, artifact.MissingArtifact):
                refused = True
            yield f"artifact damaged: {kind}", refused and recovered(shelf)


if __name__ == "__main__":
    sys.exit(main())
