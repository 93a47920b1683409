"""Monitor a notebook's kernel while it runs, print its progress, and report on it afterwards.

Every executed notebook has a record, `runs/<run>/NAME.json`. The incomplete copy of a failed notebook begins with a cell that
gives the cause, the last cell that ran, the memory over time, and the command to resume.
"""

import datetime
import json
import platform
import sys
import threading
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from signal import Signals
from subprocess import Popen

from nsdlib import __version__
from nsdlib.run.rates import entry, machine_name, total_memory

PROCESSES = Path("/proc")  # Linux's information on processes
ON_TERMINAL, IN_LOG = 1.0, 20.0  # seconds between two lines of progress
BARS, WIDTH = "▁▂▃▄▅▆▇█", 60
SIGNALS = {
    "SIGKILL": "most likely the machine, or what a queue or container allows, ran out of memory",
    "SIGTERM": "something stopped it, most likely a queue at the time limit of its job",
    "SIGXCPU": "it reached its limit of processor time",
    "SIGSEGV": "compiled code accessed memory outside its own",
    "SIGBUS": "a file that it had mapped into memory could not grow, most likely because the disk is full",
    "SIGABRT": "compiled code aborted",
    "SIGINT": "it was interrupted",
}


@dataclass
class Watch:
    """Progress and memory of one kernel."""

    process: Popen | None = None  # the kernel, once started
    cell: int = 0  # number of the code cell that started last, as the kernel counts; 0 before the first
    line: str = ""  # its first line
    memory: list[tuple[float, int]] = field(default_factory=list)  # (seconds since the start, bytes in use)
    highest: int | None = None  # peak bytes in use; None if unknown
    started: datetime.datetime = field(default_factory=lambda: datetime.datetime.now(datetime.UTC))
    _start: float = field(default_factory=time.monotonic)

    @property
    def seconds(self):
        """Time since the start."""
        return time.monotonic() - self._start

    def next_cell(self, cell, **_):
        """Record that a code cell starts; other cells do not count."""
        if cell.cell_type == "code" and cell.source.strip():
            self.cell, self.line = self.cell + 1, cell.source.strip().splitlines()[0]

    def look(self):
        """Record the kernel's memory in use and its peak, from Linux's /proc."""
        if self.process is None:
            return
        status = PROCESSES / str(self.process.pid) / "status"
        used, peak = (entry(status, name).removesuffix("kB") for name in ("VmRSS", "VmHWM"))
        if used and peak:  # otherwise the kernel has ended, or this is not Linux
            self.memory.append((self.seconds, 1024 * int(used)))
            self.highest = 1024 * int(peak)


class Progress:
    """A context manager that repeatedly writes a progress line to a stream, by default standard output.

    On a terminal the line is rewritten in place each second; in a log a new line appears every twenty seconds. It consists of
    `label` (run and notebook), the current cell of `n_cells` and the time from a `Watch`, and the text that `tail()` returns,
    such as "3 of 9 notebooks done".
    """

    def __init__(self, label, watch, *, n_cells, tail, stream=None):
        self.label, self.watch, self.n_cells, self.tail = label, watch, n_cells, tail
        self.stream = stream or sys.stdout
        self.in_place = self.stream.isatty()
        self._stop = threading.Event()
        self._writer = threading.Thread(target=self._repeat, daemon=True)

    def __enter__(self):
        self._write("starting")
        self._writer.start()
        return self

    def __exit__(self, kind, *_):
        self._stop.set()
        self._writer.join()
        self._write(f"{'stopped in' if kind else 'finished'} {self._so_far()}")
        if self.in_place:
            self.stream.write("\n")

    def _repeat(self):
        """Write the line repeatedly, in the writing thread, until the end of the `with` block."""
        while not self._stop.wait(ON_TERMINAL if self.in_place else IN_LOG):
            self._write(self._so_far())

    def _so_far(self):
        """Current cell and elapsed time."""
        return f"cell {self.watch.cell} of {self.n_cells}, {clock(self.watch.seconds)}"

    def _write(self, text):
        """Write one line, in place or as a new line."""
        line = f"{self.label}: {text} ({self.tail()})"
        self.stream.write(f"\r\033[K{line}" if self.in_place else f"{line}\n")
        self.stream.flush()


def clock(seconds):
    """Return seconds as minutes and seconds, "1:05"."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def cause(error, watch):
    """Return why a notebook ended early, from the error it raised, as a sentence without its full stop."""
    from nbclient.exceptions import DeadKernelError

    if isinstance(error, DeadKernelError) and watch.process is not None:
        status = watch.process.poll()
        if status is not None and status < 0:
            return _of_signal(Signals(-status).name, "its kernel was ended by", watch)
        return f"its kernel exited with status {status}, as after os._exit or a crash of compiled code"
    if isinstance(error, KeyboardInterrupt):
        return _of_signal(str(error) or "SIGINT", "the run was ended by", watch)
    kind, message = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", error)
    if kind == "MemoryError":
        message = f"{message or 'no memory was left'} ({_memory(watch)})"
    return f"{kind}: {message}"


def explain(file, reason, watch, *, title, command):
    """Return the text of an incomplete notebook, with a first cell that explains the failure.

    `reason` is from `cause`, `title` names the run and the notebook, and `command` resumes it.
    """
    import nbformat

    last_cell = f"[{watch.cell}], which begins with `{watch.line}`"
    parts = [
        f"# Failed: {title}",
        f"**Cause:** {reason}.",
        f"**Last cell that ran:** {last_cell if watch.cell else 'none: it failed before its first cell'}.",
        f"**Time elapsed:** {clock(watch.seconds)}, from {watch.started:%Y-%m-%d %H:%M} UTC.",
        f"**Memory of the kernel:** {_memory(watch)}.",
        *([f"```\n{curve(watch.memory)}\n0:00{clock(watch.memory[-1][0]):>{WIDTH - 4}}\n```"] if watch.memory else []),
        f"**To resume:** `{command}`. Results that were complete are kept and are not computed again.",
    ]
    notebook = nbformat.read(file, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell("\n\n".join(parts), metadata={"tags": ["failed"]}))
    return nbformat.writes(notebook)


def curve(memory, *, width=WIDTH):
    """Draw `Watch.memory` as a line of text bars from zero to the peak; each bar is the maximum in its interval of time."""
    end, top = memory[-1][0] or 1, max(used for _, used in memory) or 1
    columns = [0] * width
    for seconds, used in memory:
        column = min(int(width * seconds / end), width - 1)
        columns[column] = max(columns[column], used)
    for column in range(1, width):
        columns[column] = columns[column] or columns[column - 1]
    return "".join(BARS[round((len(BARS) - 1) * used / top)] for used in columns)


def record(watch, why=None, *, device="auto", parameters=None, before=None):
    """Return the record of an executed notebook, for `runs/<run>/NAME.json`; `why` is from `cause` if it failed.

    The record describes the last run that completed or failed. If the runner itself is killed, the earlier record stays; after a
    failure, an earlier complete page stays. `seconds` count from `started` and include the kernel's start. `memory` is the
    kernel's peak in bytes, null if unknown. `longest` is the duration in seconds of the longest complete run on this machine with
    these parameters and versions, including the record `before`, because later runs read many results from the store.
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
    seconds = round(watch.seconds, 2)
    complete += [] if why else [seconds]
    return {
        "state": "failed" if why else "done",
        "started": watch.started.isoformat(timespec="seconds"),
        "seconds": seconds,
        "longest": max(complete, default=None),
        "memory": watch.highest,
        **conditions,
        "cause": why,
    }


def records(root):
    """Load all readable records `runs/<run>/NAME.json` as (run, page, record)."""
    files = sorted((root / "runs").glob("*/*.json"))
    return [(file.parent.name, file.stem, record) for file in files if (record := read_record(file))]


def read_record(file):
    """Return a record, or an empty dictionary if it cannot be read."""
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _of_signal(signal, event, watch):
    """Description of a signal and its usual cause."""
    meaning = f": {SIGNALS[signal]}" if signal in SIGNALS else ""
    return f"{event} {signal}{meaning}" + (f" ({_memory(watch)})" if signal == "SIGKILL" else "")


def _memory(watch):
    """The peak memory seen and the machine's memory, as text."""
    peak = "not measured" if watch.highest is None else f"highest seen {watch.highest / 2**30:.2f} GiB"
    return f"{peak}, the machine has {total_memory() / 2**30:.2f} GiB"
