"""What is seen of a notebook's kernel while it runs, and what is written about it at the end: a record, and a first cell.

The record `runs/<run>/NAME.json` stands beside every executed notebook. Where a notebook failed, its half-run copy begins
with a cell that says why, how far it came, how much memory it took over time, and with which command to go on.
"""

import datetime
import json
import platform
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from signal import Signals
from subprocess import Popen

from nsdlib import __version__
from nsdlib.run.progress import clock
from nsdlib.run.rates import entry, machine_name, total_memory

PROCESSES = Path("/proc")  # where Linux tells what a process has in use

BARS, WIDTH = "▁▂▃▄▅▆▇█", 60
SIGNALS = {
    "SIGKILL": "most likely the machine, or what a queue or container allows, ran out of memory",
    "SIGTERM": "something asked it to end, most likely a queue at the time limit of its job",
    "SIGXCPU": "its limit of processor time was over",
    "SIGSEGV": "compiled code touched memory that is not its own",
    "SIGBUS": "a file that it had mapped into memory could not grow, most likely because the disk is full",
    "SIGABRT": "compiled code gave up",
    "SIGINT": "it was interrupted",
}


@dataclass
class Watch:
    """What is seen of one kernel."""

    process: Popen | None = None  # the kernel, once it has been started
    cell: int = 0  # the code cell that began last, as the kernel counts; 0 before the first
    line: str = ""  # with which it begins
    memory: list[tuple[float, int]] = field(default_factory=list)  # seconds since the start, and the bytes in use then
    highest: int | None = None  # the most bytes in use at once; None where nothing could be seen
    started: datetime.datetime = field(default_factory=lambda: datetime.datetime.now(datetime.UTC))
    _start: float = field(default_factory=time.monotonic)

    @property
    def seconds(self):
        """Time since the start."""
        return time.monotonic() - self._start

    def next_cell(self, cell, **_):
        """Note which code cell begins; other cells do not count."""
        if cell.cell_type == "code" and cell.source.strip():
            self.cell, self.line = self.cell + 1, cell.source.strip().splitlines()[0]

    def look(self):
        """Note the memory that the kernel has in use, as Linux tells it."""
        if self.process is None:
            return
        status = PROCESSES / str(self.process.pid) / "status"
        used, most = (entry(status, name).removesuffix("kB") for name in ("VmRSS", "VmHWM"))
        if used and most:  # else it has ended, or this is not Linux
            self.memory.append((self.seconds, 1024 * int(used)))
            self.highest = 1024 * int(most)


def cause(error, watch):
    """Return why a notebook ended early, by what running it raised, as one sentence without its full stop."""
    from nbclient.exceptions import DeadKernelError

    if isinstance(error, DeadKernelError) and watch.process is not None:
        status = watch.process.poll()
        if status is not None and status < 0:
            return _of_signal(Signals(-status).name, "its kernel was ended by", watch)
        return f"its kernel ended by itself with exit status {status}, as os._exit or a crash of compiled code does it"
    if isinstance(error, KeyboardInterrupt):
        return _of_signal(str(error) or "SIGINT", "the run was ended by", watch)
    kind, message = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", error)
    if kind == "MemoryError":
        message = f"{message or 'there was no memory left'} ({_memory(watch)})"
    return f"{kind}: {message}"


def explain(file, why, watch, *, title, command):
    """Return the text of a half-run notebook with a first cell that says what happened.

    `why` is from `cause`, `title` names run and notebook, and `command` goes on.
    """
    import nbformat

    last = f"[{watch.cell}], which begins with `{watch.line}`"
    parts = [
        f"# Failed: {title}",
        f"**Cause:** {why}.",
        f"**Last cell that ran:** {last if watch.cell else 'none: it failed before its first cell'}.",
        f"**Time elapsed:** {clock(watch.seconds)}, from {watch.started:%Y-%m-%d %H:%M} UTC.",
        f"**Memory of the kernel:** {_memory(watch)}.",
        *([f"```\n{curve(watch.memory)}\n0:00{clock(watch.memory[-1][0]):>{WIDTH - 4}}\n```"] if watch.memory else []),
        f"**To go on:** `{command}`. Results that were complete are kept and are not computed again.",
    ]
    notebook = nbformat.read(file, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell("\n\n".join(parts), metadata={"tags": ["failed"]}))
    return nbformat.writes(notebook)


def curve(memory, *, width=WIDTH):
    """Draw memory over time, as in `Watch`, as a line of bars from nothing to the highest; each is the most in its part of it."""
    end, top = memory[-1][0] or 1, max(used for _, used in memory) or 1
    columns = [0] * width
    for seconds, used in memory:
        column = min(int(width * seconds / end), width - 1)
        columns[column] = max(columns[column], used)
    for column in range(1, width):
        columns[column] = columns[column] or columns[column - 1]
    return "".join(BARS[round((len(BARS) - 1) * used / top)] for used in columns)


def record(watch, why=None, *, device="auto", parameters=None, before=None):
    """Return the record of an executed notebook, as it stands in `runs/<run>/NAME.json`; `why` it failed, if so, is from `cause`.

    It is of the last run that came to an end, well or badly: a run that was itself killed leaves the earlier record, and an
    earlier complete page stays beside the record of a failure. `seconds` count from `started`, the kernel's start included;
    `memory` is the most bytes that the kernel had in use at once, null where that could not be seen. `longest` are the seconds of
    the longest complete run on this machine with these parameters and versions, the one `before` among them, since a later one
    reads much of what it needs from the store.
    """
    packages = {name: version(name) for name in ("torch", "numpy")}
    conditions = {
        "machine": machine_name(device),
        "parameters": json.loads(json.dumps(parameters or {})),
        "versions": {"python": platform.python_version(), "nsdlib": __version__, **packages},
    }
    before = before or {}
    comparable = all(before.get(key) == value for key, value in conditions.items())
    complete = [before["longest"]] if comparable and before.get("longest") else []
    complete += [] if why else [round(watch.seconds, 2)]
    return {
        "state": "failed" if why else "done",
        "started": watch.started.isoformat(timespec="seconds"),
        "seconds": round(watch.seconds, 2),
        "longest": max(complete, default=None),
        "memory": watch.highest,
        **conditions,
        "cause": why,
    }


def records(root):
    """Load the records that can be read: (run, page, record) of each `runs/<run>/NAME.json`."""
    files = sorted((root / "runs").glob("*/*.json"))
    return [(file.parent.name, file.stem, record) for file in files if (record := read_record(file))]


def read_record(file):
    """Return a record; an empty dictionary where there is none that can be read."""
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _of_signal(signal, what, watch):
    """A signal and what it usually means."""
    meaning = f": {SIGNALS[signal]}" if signal in SIGNALS else ""
    return f"{what} {signal}{meaning}" + (f" ({_memory(watch)})" if signal == "SIGKILL" else "")


def _memory(watch):
    """The highest memory seen, and what the machine has."""
    seen = "none was seen" if watch.highest is None else f"highest seen {watch.highest / 2**30:.2f} GiB"
    return f"{seen}, the machine has {total_memory() / 2**30:.2f} GiB"
