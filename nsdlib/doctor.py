"""What a run needs, looked at before it starts: versions, device, memory, disk, data, weights."""

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

GIGABYTE = 1e9
# The demo is built to stay within its figures. Those of a real subject are estimates: on disk the stimulus file (40 GB),
# 37 sessions of betas (38 GB), published weights (14 GB) and results; in memory the models and a subject's latents.
NEEDS = {"demo": {"memory": 6.0, "disk": 3.0}, "paper": {"memory": 24.0, "disk": 110.0}}
SHOWN = 8  # missing files that are named one by one


@dataclass(frozen=True)
class Finding:
    """One line of the report: what was looked at, whether it will do, what was found, what to do if not."""

    what: str
    fine: bool
    found: str
    remedy: str = ""

    def __str__(self):
        mark = "ok  " if self.fine else "LACK"
        return f"{mark} {self.what:<9} {self.found}" + (
            f"\n     -> {self.remedy}" if self.remedy and not self.fine else ""
        )


def examine(run):
    """Look at everything that a run needs.

    Parameters
    ----------
    run : nsdlib.params.Run

    Returns
    -------
    list of Finding
        In the order: python, packages, device, memory, disk, data, weights.
    """
    return [_python(), _packages(), _device(run), _memory(run), _disk(run), _data(run), _weights(run)]


def _python():
    """The interpreter's version."""
    fine = (3, 11) <= sys.version_info < (3, 13)
    return Finding("python", fine, platform.python_version(), "Python 3.11 or 3.12 is wanted; `make` takes python3.11.")


def _packages():
    """Whether every package that nsdlib asks for is installed in a version that it allows."""
    from packaging.requirements import Requirement

    wrong = []
    for line in requires("nsdlib") or []:
        wanted = Requirement(line)
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            there = version(wanted.name)
        except PackageNotFoundError:
            there = "absent"
        if there == "absent" or not wanted.specifier.contains(there, prereleases=True):
            wrong.append(f"{wanted.name} {there} (wanted {wanted.specifier})")
    found = ", ".join(wrong) or f"all in place, torch {version('torch')}"
    return Finding("packages", not wrong, found, "Remove .venv and run `make .venv/ready`.")


def _device(run):
    """The device that the run's setting leads to."""
    from nsdlib.device import pick

    try:
        device = pick(run.device)
    except ValueError as error:
        return Finding("device", False, str(error))
    if device.type == "cpu":
        return Finding("device", True, f"cpu, {os.cpu_count()} cores")
    import torch

    properties = torch.cuda.get_device_properties(device)
    return Finding("device", True, f"{properties.name}, {properties.total_memory / GIGABYTE:.0f} GB")


def _memory(run):
    """Memory of the machine."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIGABYTE
    need = NEEDS[run.zoo]["memory"]
    remedy = "Fewer sessions (n_sessions) and a smaller batch_size need less."
    return Finding("memory", total >= need, f"{total:.0f} GB, wanted {need:.0f} GB", remedy)


def _disk(run):
    """Free space where the results go; what the data have already taken is not asked for again."""
    free = shutil.disk_usage(run.root).free / GIGABYTE
    need = 0.5 if run.data.exists() else NEEDS[run.zoo]["disk"]
    remedy = "Free some space, or set data, weights and store in params/_common.yaml to folders on another disk."
    return Finding("disk", free >= need, f"{free:.0f} GB free, wanted {need:.1f} GB", remedy)


def _data(run):
    """Files of the subject that the reader will ask for."""
    from nsdlib.nsd import NSDSubject

    if run.simulation and not run.data.exists():
        return Finding("data", False, "the simulated subject has not been made", f"Run `nsdlib simulate {run.name}`.")
    missing = NSDSubject(run.data, run.subject, run.n_sessions).missing_files()
    if not missing:
        return Finding("data", True, f"subject {run.subject}, {run.n_sessions} sessions, every file is there")
    listed = "".join(f"\n     {path}: {what}" for path, what in missing[:SHOWN])
    more = f"\n     and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
    remedy = f"Run `nsdlib simulate {run.name}`." if run.simulation else "See the README, section Real subjects."
    return Finding("data", False, f"{len(missing)} files are missing:{listed}{more}", remedy)


def _weights(run):
    """Files of the zoo that the models will ask for."""
    from nsdlib import zoo

    missing = zoo.missing(run)
    if not missing:
        return Finding("weights", True, f"the {run.zoo} zoo is complete")
    listed = "".join(f"\n     {path}: {source}" for path, source in missing)
    remedy = "Put each where it is looked for; the demo's weights come with the repository."
    return Finding("weights", False, f"{len(missing)} of the {run.zoo} zoo are missing:{listed}", remedy)
