"""One line that says what is running: notebook, cell, time so far, how many notebooks are done."""

import sys
import threading

ON_TERMINAL, IN_LOG = 1.0, 20.0  # seconds between two lines


class Progress:
    """Writes the line to a stream, or standard output, again and again until it is closed; use it in a `with` block.

    On a terminal the line is rewritten in place each second; in a log a new one appears every twenty seconds. It begins with
    `label`, run and notebook, tells what a `nsdlib.run.monitor.Watch` sees, of `n_cells` code cells, and ends with what `tail()`
    gives, such as "3 of 9 notebooks done".
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
        """Cell, and time since the start."""
        return f"cell {self.watch.cell} of {self.n_cells}, {clock(self.watch.seconds)}"

    def _write(self, text):
        """One line, in place or new."""
        line = f"{self.label}: {text} ({self.tail()})"
        self.stream.write(f"\r\033[K{line}" if self.in_place else f"{line}\n")
        self.stream.flush()


def clock(seconds):
    """Return seconds as minutes and seconds, "1:05"."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
