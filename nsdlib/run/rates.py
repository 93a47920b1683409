"""Properties of this machine: its name, the memory available to a process, and its rate of matrix products."""

import os
import platform
import time
from pathlib import Path

MY_GROUPS = Path("/proc/self/cgroup")  # the control groups of this process on Linux
GROUPS = Path("/sys/fs/cgroup")  # the limits that containers and queues set for each control group
PROCESSORS = Path("/proc/cpuinfo")
CARDS = Path("/proc/driver/nvidia/gpus")
SIDE, SIDE_CUDA = 2048, 8192  # sizes of the square matrices in the timed product
ASSUMED_MEMORY = 8 * 2**30  # bytes, if the system does not report its memory


def machine_name(device="auto"):
    """Return a name for this type of machine: processor, cores, and the GPU if `device` permits one.

    For example "AMD EPYC 9354 32-Core Processor, 2 cores".
    """
    model = entry(PROCESSORS, "model name") or platform.processor() or platform.machine()
    cards = [entry(card, "Model") for card in sorted(CARDS.glob("*/information"))] if device != "cpu" else []
    return ", ".join([model, f"{n_cores()} cores", *cards[:1]])


def n_cores():
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def product_rate(device, dtype, n_times=5, clock=None):
    """Measure the rate of a large matrix product on a device, in operations per second; `clock` is as in `seconds_of`.

    The result is the fastest of `n_times` repetitions, after one warm-up.
    """
    import torch

    side = SIDE_CUDA if device.type == "cuda" else SIDE
    a = torch.randn(side, side, device=device).to(dtype)
    seconds = [seconds_of(lambda: a @ a, device, clock) for _ in range(n_times + 1)]
    return 2 * side**3 / min(seconds[1:])


def seconds_of(work, device, clock=None):
    """Return the seconds of `work()` until the device has finished, by a clock (default: wall time)."""
    clock = clock or time.perf_counter
    start = clock()
    work()
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)
    return clock() - start


def total_memory():
    """Return the bytes of memory available to this process: the machine's, or a lower limit of a container or a queue."""
    try:
        limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, ValueError, OSError):  # Windows, or a system without these names
        limits = [ASSUMED_MEMORY]
    for line in _lines(MY_GROUPS):
        _, controllers, group = line.split(":", 2)
        is_v1 = "memory" in controllers.split(",")  # cgroup v1; v2 has one hierarchy for all controllers, and the line names none
        root, file = (GROUPS / "memory", "memory.limit_in_bytes") if is_v1 else (GROUPS, "memory.max")
        own_group = root / group.lstrip("/")
        folders = [own_group, *own_group.parents] if is_v1 or not controllers else []
        texts = [_lines(folder / file) for folder in folders if folder.is_relative_to(root)]
        limits += [int(text[0]) for text in texts if text and text[0].isdigit()]
    return min(limits)


def existing(folder):
    """Return the folder (an absolute path), or its nearest existing parent."""
    return next(parent for parent in (folder, *folder.parents) if parent.is_dir())


def entry(path, name):
    """Return the value of the first line `name: value` of a file, or an empty string."""
    pairs = (line.partition(":") for line in _lines(path))
    return next((value.strip() for key, _, value in pairs if key.strip() == name), "")


def _lines(path):
    """Lines of a small file, or an empty list if it cannot be read."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
