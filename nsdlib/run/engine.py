"""A papermill engine for unattended runs: this interpreter's kernel, watched, and cells with widgets that cannot hang.

nbclient waits for a cell's reply on the same socket on which it sends widget messages. When both happen at once, the
socket's wake-up can be lost and the wait never ends (jupyter/nbclient issue 312). Here the wait is cut into short
slices, and each slice looks at the socket anew, and at the kernel's memory.
"""

import os
import re
import sys
import sysconfig
from pathlib import Path
from queue import Empty
from time import monotonic

from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient.util import run_sync
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines

from nsdlib.store.variants import words_for

SLICE = 0.5  # seconds between two looks at the socket
START_TIMEOUT = 300  # seconds that a kernel may take to start, on a machine that is busy with other jobs
OUTPUT_TIMEOUT = 120  # seconds that the outputs of a finished cell may take to arrive; large figures on a busy machine
# What every kernel starts with, whatever its user has set: no bars and advice of the model libraries, which have no place in a
# page; figures in the page; no start-up file, and none of the switches that turn warnings into errors or drop docstrings.
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
# How often a thread of GNU's OpenMP, which torch's wheels bring, looks for work before it sleeps. Without a bound threads wait
# spinning, and take the cores from each other where there are more of them than cores. Image steps a second of `refine`, two
# threads on two cores (AMD EPYC, torch 2.15): alone 93 to 131, and 104 to 124 without a bound; beside eight busy processes 12 to
# 17, as with one thread, and 2 to 3 without. 10,000 gave 94 to 127 and 6 to 9, OMP_WAIT_POLICY=PASSIVE 77 to 105 and 10 to 13.
SPIN = {"GOMP_SPINCOUNT": "1000"}


def kernel_environment(root):
    """Return the environment of a kernel, which starts in another folder, with absolute paths to the project and this library.

    How threads wait is as the user has set it, and else `SPIN`. Call it before papermill changes the working directory.
    """
    tree = Path(__file__).resolve().parents[2]
    entries = [Path(entry).resolve() for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    if tree != Path(sysconfig.get_path("purelib")).resolve():  # a source tree
        entries = [tree, *(entry for entry in entries if entry != tree)]
    return SPIN | os.environ | {"NSDLIB_HOME": str(root), "PYTHONPATH": os.pathsep.join(map(str, entries))}


class PrivateKernel(AsyncKernelManager):
    """Starts the kernel of the running interpreter, whatever kernels, start-up files and switches the user has."""

    @property
    def kernel_spec(self):
        """The specification, made here and never looked up."""
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=CRITICAL"]
        environment = HOUSE | {"IPYTHONDIR": f"{sys.prefix}/share/ipython-of-nsdlib"}
        return KernelSpec(argv=command, env=environment, display_name="nsdlib", language="python")


class PolledClient(PapermillNotebookClient):
    """papermill's client with its wait for replies cut into slices, and a watch (see `nsdlib.run.monitor`) over its kernel."""

    watch = None

    async def async_start_new_kernel_client(self):
        """Connect to the kernel and look at its replies in slices."""
        self.watch.process = self.km.provisioner.process
        client = await super().async_start_new_kernel_client()
        wait_in_slices(client.shell_channel, self.watch.look)
        return client

    start_new_kernel_client = run_sync(async_start_new_kernel_client)


class PolledEngine(Engine):
    """The engine `polled`: private kernel, sliced waits, a watch over the kernel and its cells, a note in the page."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, *, watch, note, environment, **_):
        """Run all cells in a kernel with that environment.

        `note`, a dictionary, goes into the metadata; what it says of a variant, into the title as well.
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
    """Make `channel.get_msg` look at its socket every `SLICE` seconds until its timeout, if any, is over, and call `look()`."""
    get_message = channel.get_msg

    async def sliced(timeout=None):
        end = None if timeout is None else monotonic() + timeout
        while True:
            look()
            left = SLICE if end is None else min(SLICE, max(0.0, end - monotonic()))
            try:
                return await get_message(timeout=left)
            except Empty:
                if end is not None and monotonic() >= end:
                    raise

    channel.get_msg = sliced


def register():
    """Make the engine known to papermill under the name `polled`."""
    papermill_engines.register("polled", PolledEngine)
