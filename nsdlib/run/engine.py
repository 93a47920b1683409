"""A papermill engine for unattended runs: it monitors the kernel's memory, and cells with widgets cannot hang."""

import os
import re
import sys
import sysconfig
from math import inf
from pathlib import Path
from queue import Empty
from time import monotonic

from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient.util import run_sync
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine

from nsdlib.store.variants import words_for

SLICE = 0.5  # seconds between two polls of the socket
START_TIMEOUT = 300  # seconds for a kernel to start, on a busy machine
OUTPUT_TIMEOUT = 120  # seconds for the outputs of a finished cell to arrive; large figures on a busy machine
# Environment of every kernel; it overrides the user's. It hides progress bars and advice of the model libraries, shows figures
# in the page, and disables start-up files and the switches that turn warnings into errors or drop docstrings.
HOUSE = {
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYTHONSTARTUP": "",
    "PYTHONWARNINGS": "",
    "PYTHONOPTIMIZE": "",
    "PYTHONDEVMODE": "",
}
# How often an idle thread of GNU OpenMP (in torch's wheels) polls for work before it sleeps. Without a bound, threads spin
# and waste cores when there are more threads than cores. Measured in image steps per second of `refine` with two threads on
# two cores (AMD EPYC, torch 2.15), alone / beside eight busy processes: bound of 1000 93 to 131 / 12 to 17 (as with one thread),
# unbounded 104 to 124 / 2 to 3, 10,000 94 to 127 / 6 to 9, OMP_WAIT_POLICY=PASSIVE 77 to 105 / 10 to 13.
SPIN = {"GOMP_SPINCOUNT": "1000"}


def kernel_environment(root):
    """Return the environment of a kernel, with absolute paths to the project and this library because it starts elsewhere.

    The user's own GOMP_SPINCOUNT overrides `SPIN`. Call this before papermill changes the working directory.
    """
    tree = Path(__file__).resolve().parents[2]
    entries = [Path(entry).resolve() for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    if tree != Path(sysconfig.get_path("purelib")).resolve():  # a source tree
        entries = [tree, *(entry for entry in entries if entry != tree)]
    return SPIN | os.environ | {"NSDLIB_HOME": str(root), "PYTHONPATH": os.pathsep.join(map(str, entries))}


class PrivateKernel(AsyncKernelManager):
    """Starts a kernel with the running interpreter, independent of the user's kernels, start-up files and switches."""

    @property
    def kernel_spec(self):
        """The kernel specification, built here instead of searched for."""
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=CRITICAL"]
        environment = HOUSE | {"IPYTHONDIR": f"{sys.prefix}/share/ipython-of-nsdlib"}
        return KernelSpec(argv=command, env=environment, display_name="nsdlib", language="python")


class PolledClient(PapermillNotebookClient):
    """papermill's client that waits for replies in slices and monitors its kernel (`nsdlib.run.monitor.Watch`)."""

    watch = None

    async def async_start_new_kernel_client(self):
        """Connect to the kernel and wait for its replies in slices."""
        self.watch.process = self.km.provisioner.process
        client = await super().async_start_new_kernel_client()
        wait_in_slices(client.shell_channel, self.watch.look)
        return client

    start_new_kernel_client = run_sync(async_start_new_kernel_client)


class PolledEngine(Engine):
    """The engine `polled`: private kernel, sliced waits, monitoring of kernel and cells, and a note in the page's metadata."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, *, watch, note, environment, **_):
        """Run all cells in a kernel with the given environment.

        `note`, a dictionary, is added to the metadata; the parameters of a variant are also added to the title.
        """
        nb_man.nb.metadata["nsdlib"] = note
        if words := words_for(note["changed"]):
            title = nb_man.nb.cells[0]
            title.source = re.sub(r"^# .*", lambda line: f"{line[0]} ({words})", title.source, count=1)
        client = PolledClient(
            nb_man,
            kernel_name=kernel_name,
            kernel_manager_class=PrivateKernel,
            startup_timeout=START_TIMEOUT,
            iopub_timeout=OUTPUT_TIMEOUT,
            coalesce_streams=True,
            on_cell_start=watch.next_cell,
        )
        client.watch = watch
        return client.execute(env=environment)


def wait_in_slices(channel, look):
    """Make `channel.get_msg` poll its socket every `SLICE` seconds until its timeout, if any, and call `look()` each time.

    nbclient waits for a cell's reply on the socket on which it sends widget messages. When both happen at once, the socket's
    wake-up can be lost (jupyter/nbclient issue 312); then the wait never ends unless the socket is polled again.
    """
    get_message = channel.get_msg

    async def sliced(timeout=None):
        end = inf if timeout is None else monotonic() + timeout
        while True:
            look()
            try:
                return await get_message(timeout=min(SLICE, max(0.0, end - monotonic())))
            except Empty:
                if monotonic() >= end:
                    raise

    channel.get_msg = sliced
