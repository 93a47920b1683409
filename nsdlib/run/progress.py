"""One line that says what is running: notebook, cell, time so far, how many notebooks are done."""

import sys
import threading
import time

ON_TERMINAL, IN_LOG = 1.0, 20.0  # seconds between two lines


class Progress:
    """Writes the line again and again until it is closed; use it in a `with` block.

    On a terminal the line is rewritten in place each second; in a log a new one appears every twenty seconds.

    Parameters
    ----------
    label : str
        Run and notebook, the first words of the line.
    n_cells : int
        Code cells of the notebook.
    tail : callable
        Gives the last words, such as "3 of 9 notebooks done", whenever a line is written.
    stream : text file, optional
        Where to write; standard output when not given.
    """

    def __init__(self, label, *, n_cells, tail, stream=None):
        self.label, self.n_cells, self.tail = label, n_cells, tail
        self.stream = stream or sys.stdout
        self.in_place = self.stream.isatty()
        self.cell, self.start = 0, time.monotonic()
        self._stop = threading.Event()
        self._writer = threading.Thread(target=self._repeat, daemon=True)

    def __enter__(self):
        self._write("starting")
        self._writer.start()
        return self

    def __exit__(self, kind, *_):
        self._stop.set()
        self._writer.join()
        self._write(f"{'stopped in' if kind else 'finished'} cell {self.cell} of {self.n_cells}, {self._so_far()}")
        if self.in_place:
            self.stream.write("\n")

    def next_cell(self, cell, **_):
        """Count one more code cell as running; other cells do not count."""
        self.cell += cell.cell_type == "code" and bool(cell.source.strip())

    def _repeat(self):
        """Body of the writing thread."""
        while not self._stop.wait(ON_TERMINAL if self.in_place else IN_LOG):
            self._write(f"cell {self.cell} of {self.n_cells}, {self._so_far()}")

    def _so_far(self):
        """Time since the start."""
        return clock(time.monotonic() - self.start)

    def _write(self, text):
        """One line, in place or new."""
        line = f"{self.label}: {text} ({self.tail()})"
        self.stream.write(f"\r\033[K{line}" if self.in_place else f"{line}\n")
        self.stream.flush()


def clock(seconds):
    """Return seconds as minutes and seconds, "1:05"."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
