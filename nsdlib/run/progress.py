"""A progress line: notebook, cell, elapsed time, and number of completed notebooks."""

import sys
import threading

ON_TERMINAL, IN_LOG = 1.0, 20.0  # seconds between two lines


class Progress:
    """A context manager that repeatedly writes a progress line to a stream, by default standard output.

    On a terminal the line is rewritten in place each second; in a log a new line appears every twenty seconds. It consists of
    `label` (run and notebook), the current cell of `n_cells` and the time from a `nsdlib.run.monitor.Watch`, and the text that
    `tail()` returns, such as "3 of 9 notebooks done".
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
        """Body of the writing thread."""
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
