"""What is lost when something goes wrong: `python benchmarks/survival.py`; with `--write`, the book's table is made anew.

Faults are put into runs of the small subject and into the store: kill -9 at random moments of the two cheapest notebooks that
make artifacts (of the runner, of the kernel, of both) and at every line of a save, a full disk before and in the middle of a
write and for an array in progress, and damaged files. After each the same command is given again. A fault is survived when it
then succeeds and its arrays are, bit for bit, those of an undisturbed run; one thread is used, so that these are always the same.
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
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import report
import xarray as xr

from nsdlib.core.glm import scratch
from nsdlib.params import load_run
from nsdlib.store import artifact, store

ROOT = Path(__file__).parents[1]
SHARES = {"01_hrf_glmsingle": 0.2, "02_roi_betas": 0.8}  # of the kills
VICTIMS = ("runner and kernel", "runner", "kernel")
# Seconds that a computation took are another number each time; they are the only such arrays.
MEASURED = ("seconds",)
LIMITS = (0, 1000, 100_000, 800_000)  # bytes that a file may have; the example takes 0.8 MB and some
KINDS = ("kills", "lines", "full", "damage")
TABLE = ROOT / "book" / "data" / "faults.csv"

# What the faults are called, in the table and on the book's page.
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
    """Put in the faults and print what became of them."""
    parser = report.parser(__doc__, quick="no notebooks are run and killed")
    parser.add_argument("--kills", type=int, default=20, help="of notebooks (%(default)s)")
    parser.add_argument("--notebooks", nargs="+", choices=SHARES, default=list(SHARES), help="that are killed (both)")
    parser.add_argument("--seed", type=int, default=0, help="of their moments (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS, help="these kinds of faults")
    parser.add_argument("--write", action="store_true", help=f"{TABLE.relative_to(ROOT)}, when every kind was put in")
    options = parser.parse_args()
    kinds = [kind for kind in KINDS if kind in options.only and not (options.quick and kind == "kills")]
    warnings.filterwarnings("ignore", message=r"glm-\w+ was damaged")  # the store says so, as it should
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        put_in = {
            "kills": lambda: kill_notebooks(Path(folder), options.notebooks, options.kills, np.random.default_rng(options.seed)),
            "lines": kill_saves,
            "full": lambda: [*fill_disk(), *fill_scratch(Path(folder))],
            "damage": lambda: damage_artifacts(np.random.default_rng(options.seed)),
        }
        table = as_table([outcome for kind in kinds for outcome in put_in[kind]()])
    report.show((report.row(kind, own.survived, "faults survived", **own) for kind, own in table.iterrows()), options)
    if options.write:
        write(table)
    return int(table["lost"].sum() > 0)


def as_table(outcomes):
    """Kinds of faults, how many were put in, survived, lost; from pairs of a kind and whether it was survived."""
    found = pd.DataFrame(outcomes, columns=["kind", "survived"]).astype({"survived": int})
    table = found.groupby("kind", sort=False)["survived"].agg(injected="size", survived="sum")
    table.loc["all"] = table.sum()
    return table.assign(lost=table["injected"] - table["survived"])


def write(table):
    """The table as the book's data; a ValueError when a kind of fault was not put in."""
    absent = [kind for kinds in FAULTS.values() for kind in kinds if kind not in table.index]
    if absent:
        raise ValueError(f"not written, for these were not put in: {'; '.join(absent)}. Raise --kills, leave out --only.")
    about = "Faults put in by `python benchmarks/survival.py --write`, and what became of them; no hand has been at it"
    report.write_table(TABLE, table.drop(index="all"), about, "numpy", "xarray", "h5netcdf")


def prepare(folder):
    """Make a project in a folder, without data, and let this process and those that it starts take it for theirs."""
    for name in ("params", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    os.environ |= {"NSDLIB_HOME": str(folder), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def same(found, expected):
    """Whether two datasets agree bit for bit but for what was `MEASURED`."""
    found, expected = (dataset.drop_vars(MEASURED, errors="ignore") for dataset in (found, expected))
    values = ((found[name].values, expected[name].values) for name in found.variables if name in expected.variables)
    bits = all(a.tobytes() == b.tobytes() for a, b in values if a.dtype.kind != "O")
    return found.identical(expected) and bits


def kill_notebooks(folder, names, n_kills, rng):
    """Yield outcomes of kills at random moments of notebooks, each started again until it comes to its end."""
    subprocess.run([sys.executable, "-m", "nsdlib", "simulate", "small"], check=True, capture_output=True)
    left, times = n_kills, dict.fromkeys(VICTIMS, 0)
    for name in names:
        n_here = left if name == names[-1] else round(SHARES[name] * n_kills)
        left -= n_here
        shutil.rmtree(folder / "store", ignore_errors=True)
        start = time.monotonic()
        if start_notebook(name).wait():
            raise RuntimeError(f"notebook {name} fails undisturbed: `nsdlib run small {name}` says why")
        seconds, expected = time.monotonic() - start, artifacts(folder)
        while n_here:
            shutil.rmtree(folder / "store")
            hit, finished = kill_until_finished(name, seconds, n_here, rng, times)
            n_here -= len(hit)
            found = artifacts(folder)
            sound = finished and list(found) == list(expected) and all(same(found[key], expected[key]) for key in found)
            yield from ((KILLED.format(victim), sound) for victim in hit)


def kill_until_finished(name, seconds, n_kills, rng, times):
    """Run a notebook until it ends, killing at most `n_kills` times, those next who were killed the fewest times.

    Returns who was killed, and whether it ended well.
    """
    hit = []
    while True:
        running = start_notebook(name)
        try:
            moment = rng.uniform(0, seconds) if len(hit) < n_kills else None
            return hit, running.wait(moment) == 0
        except subprocess.TimeoutExpired:
            hit.append(kill(running, min(VICTIMS, key=times.get)))
            times[hit[-1]] += 1


def start_notebook(name):
    """The process that runs a notebook of the small run."""
    command = [sys.executable, "-m", "nsdlib", "run", "small", name]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill(running, victim):
    """Kill -9 a running notebook's runner, kernel or both; returns who it was: before there is a kernel, the runner."""
    kernels = psutil.Process(running.pid).children(recursive=True)
    victim = victim if kernels else "runner"
    if "runner" in victim:
        os.killpg(running.pid, signal.SIGKILL)
    for kernel in kernels if "kernel" in victim else ():
        kernel.kill()
    running.wait()
    return victim


def artifacts(folder):
    """Arrays of every complete artifact of the small run, by the folder's name."""
    manifests = sorted((folder / "store" / "small").glob("[!.]*/manifest.json"))
    return {path.parent.name: xr.load_dataset(path.with_name("arrays.nc"), engine="h5netcdf") for path in manifests}


def example():
    """Arrays to save: 0.8 MB."""
    rng = np.random.default_rng(0)
    return xr.Dataset({"a": ("i", rng.normal(size=100_000)), "b": ("j", rng.normal(size=9).astype(np.float32))})


def recovered(shelf):
    """Whether the artifact can be made, or is there, as it should be, with no half-made one beside; it is removed afterwards."""
    with shelf.cached("glm", example) as found:
        sound = same(found.load(), example()) and not any(shelf.run.store.glob(".partial-*"))
    shutil.rmtree(shelf.run.store)
    return sound


def in_child(action):
    """Do something in a forked process, quietly; returns its exit status, negative for the signal that ended it."""
    child = os.fork()
    if not child:
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
    """Yield outcomes of kill -9 at the first line of the store that a save runs, at the second, and so on to the last."""
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
        if in_child(lambda line=line: save_and_die(line)) != -signal.SIGKILL:
            shutil.rmtree(shelf.run.store)
            return
        yield WRITER, recovered(shelf)


def fill_disk():
    """Yield outcomes of saves for which there is no room, noticed before the write and, room having gone, only in its middle."""
    shelf = store.Store(load_run("small"))

    def save(limit, preallocate):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        artifact.preallocate = preallocate
        shelf.save("glm", example())

    for limit in LIMITS:
        said = in_child(lambda limit=limit: save(limit, artifact.preallocate)) == 3
        clean = not any(shelf.run.store.iterdir())
        yield BEFORE, said and clean and recovered(shelf)
    for limit in LIMITS:
        failed = in_child(lambda limit=limit: save(limit, lambda *_: None)) != 0
        yield MIDDLE, failed and not shelf.has("glm") and recovered(shelf)


def fill_scratch(folder):
    """Yield outcomes of arrays in progress for which there is no room; one that is there already must stay as it is."""
    kept, place = np.arange(9.0), folder / "scratch"

    def begin(limit):
        arrays = scratch.Scratch(place)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        arrays.array("large", (100_000,), np.float64)[:] = 1

    for limit in LIMITS:
        scratch.Scratch(place).array("kept", kept.shape, np.float64)[:] = kept
        said = in_child(lambda limit=limit: begin(limit)) == 3
        clean = sorted(path.name for path in place.iterdir()) == ["inputs", "kept.npy"]
        again = scratch.Scratch(place)
        again.array("large", (100_000,), np.float64)[:] = 1
        yield IN_PROGRESS, said and clean and (again.array("kept", kept.shape, np.float64) == kept).all()
        shutil.rmtree(place)


def damage_artifacts(rng):
    """Yield outcomes of damage to an artifact: it must be refused, made anew by its notebook, and kept beside."""
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
