"""What this machine does in a second: matrix products, copies in memory, a disk; measured before a long run, in some seconds."""

import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

MY_GROUPS = Path("/proc/self/cgroup")  # where Linux tells which control groups this process is in,
GROUPS = Path("/sys/fs/cgroup")  # and what containers and queues allow to each of them


@dataclass(frozen=True)
class Rates:
    """What a machine does in a second: operations in half and single precision, bytes copied, read and written."""

    device: str
    half: float
    single: float
    copy: float
    read: float
    write: float
    is_gpu: bool = False

    def __str__(self):
        products = f"{self.half / 1e12:.3g} TFLOP/s" + (
            f" ({self.single / 1e12:.3g} in float32)" if self.is_gpu else ""
        )
        disk = f"disk {self.read / 1e6:.0f} MB/s read, {self.write / 1e6:.0f} written"
        return f"{self.device}: matrix products {products}, memory {self.copy / 1e9:.0f} GB/s, {disk}"


REFERENCE = Rates("an A100 GPU (its data sheet, products at 0.8 of the peak)", 2.5e14, 1.5e13, 1.3e12, 1e9, 5e8, True)

WORKSTATION = Rates("32 cores of an EPYC 9354 (their data sheet at 0.8 of the peak)", 2.7e12, 2.7e12, 3.7e11, 1e9, 5e8)


def calibrate(run):
    """Measure this machine in some seconds; a file of at most 256 MB in the folder of the results is written, read and gone.

    Returns
    -------
    Rates
        Of the run's device; on a CPU half precision is not used, and its rate is that of float32.
    """
    import torch

    from nsdlib.core.device import pick

    device = pick(run.device)
    is_gpu = device.type == "cuda"
    single = product_rate(device, torch.float32)
    half = product_rate(device, torch.float16) if is_gpu else single
    name = torch.cuda.get_device_name(device) if is_gpu else f"{torch.get_num_threads()} thread(s) of this CPU"
    read, write = _disk_rates(existing(run.store))
    return Rates(name, half, single, _copy_rate(device), read, write, is_gpu)


def product_rate(device, dtype):
    """Operations a second of a large matrix product on a torch.device, in a torch.dtype: the best of several."""
    import torch

    side = 8192 if device.type == "cuda" else 2048
    a = torch.randn(side, side, device=device).to(dtype)
    return 2 * side**3 / _shortest(lambda: a @ a, device)


def _copy_rate(device):
    """Bytes a second that are read and written in a copy of 256 MB."""
    import torch

    a = torch.zeros(2**26, device=device)
    b = torch.empty_like(a)
    return 2 * a.nbytes / _shortest(lambda: b.copy_(a), device)


def _shortest(work, device, n_times=5):
    """Seconds of the fastest of several calls, after one that warms up."""
    import torch

    seconds = []
    for _ in range(n_times + 1):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


def _disk_rates(folder):
    """Bytes a second read from and written to a file without a name, which is gone when it is closed."""
    block = os.urandom(2**20)
    n_blocks = max(1, min(256, shutil.disk_usage(folder).free // (4 * len(block))))  # at most a quarter of what is free
    with tempfile.TemporaryFile(dir=folder) as file:
        began = time.perf_counter()
        for _ in range(n_blocks):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        written = time.perf_counter()
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # or it would come back from memory
        file.seek(0)
        while file.read(len(block)):
            pass
        n_bytes = n_blocks * len(block)
        return n_bytes / (time.perf_counter() - written), n_bytes / (written - began)


def total_memory():
    """Bytes of memory that this process may have: those of the machine, or fewer where a container or a queue's job says so."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for line in _lines(MY_GROUPS):
        _, kinds, group = line.split(":", 2)
        old = "memory" in kinds.split(",")  # else one tree for all kinds, whose line names none
        root, file = (GROUPS / "memory", "memory.limit_in_bytes") if old else (GROUPS, "memory.max")
        place = root / group.lstrip("/")
        folders = [place, *place.parents] if old or not kinds else []
        found = [_lines(folder / file) for folder in folders if folder.is_relative_to(root)]
        limits += [int(text[0]) for text in found if text and text[0].isdigit()]
    return min(limits)


def _lines(path):
    """Lines of a small file; none where it is not there."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def existing(folder):
    """The folder (an absolute path), or the nearest one above it that is there."""
    return next(place for place in (folder, *folder.parents) if place.is_dir())
