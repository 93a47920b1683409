"""What a run needs, looked at before it starts: versions, device, memory, disk, data, weights, and the time that it will take."""

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

from nsdlib.run.rates import total_memory

GIGABYTE = 1e9
SPARE = 0.2e9  # bytes that a disk must have beyond the results
MARKS = {"ok": "ok  ", "WRONG": "FAIL"}  # of a check of the data; others could not be made
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
        In the order: python, packages, device, memory, GPU (where the run has one), disk, data, weights.
    """
    from nsdlib.run import costs

    total = _gpu_memory(run)
    pages = costs.pages(run, costs.amounts(run), is_gpu=total is not None)
    gpu = [] if total is None else [_on_gpu(pages, total)]
    machine = [_python(), _packages(), _device(run), _memory(pages), *gpu, _disk(run, pages)]
    return [*machine, _data(run), _weights(run)]


def expected(run):
    """Measure this machine for some seconds and say what the run will take, as lines of text.

    Parameters
    ----------
    run : nsdlib.params.Run

    Returns
    -------
    list of str
    """
    from nsdlib.run import costs
    from nsdlib.run.forecast import ROUGH, predict
    from nsdlib.run.rates import calibrate

    sizes, rates = costs.amounts(run), calibrate(run)
    table = predict(run, rates, sizes)
    shown = table.assign(seconds=table["seconds"].map(_duration)).rename(columns={"seconds": "time"})
    size = f"{sizes.n_train:,} + {sizes.n_test:,} images, {sizes.n_voxels:,} voxels"
    typical = f" ({sizes.typical}: typical, for want of files)" if sizes.typical else ""
    return [
        f"Measured: {rates}.",
        f"Expected for {size}{typical}, right to a factor of {ROUGH}:",
        *shown.to_markdown(floatfmt=".1f").splitlines(),
        f"All notebooks: {_duration(table['seconds'].sum())}.",
    ]


def first_contact(run):
    """Check the subject's files against each other and against NSD's manual.

    Parameters
    ----------
    run : nsdlib.params.Run

    Returns
    -------
    lines : list of str
        For each check what was expected, what came, and what to do if they differ; then the split and its hash.
    fine : bool
        Whether no needed file is missing and no check failed.
    """
    from nsdlib.data import nsd_checks
    from nsdlib.data.nsd import NSDSubject

    subject = NSDSubject(run.data, run.subject, run.n_sessions)
    table, there = nsd_checks.first_contact(subject, version=run.betas_version), _data(run)
    lines = [str(there)]
    for row in table.itertuples():
        told = f": expected {row.wanted}, came {row.found}" if row.result in MARKS else f": {row.result}"
        lines.append(f"{MARKS.get(row.result, '-   ')} {row.check}{told}")
        lines += [f"     -> {row.remedy}"] if row.remedy else []
    if subject.paths.expdesign.is_file() and table["result"][0] == "ok":
        lines.append(_split(subject))
    return lines, there.fine and not (table["result"] == "WRONG").any()


def outlook(run, n_nodes):
    """The forecast of the runs in the run's group on nodes with a GPU each, as markdown with its assumptions.

    Parameters
    ----------
    run : nsdlib.params.Run
        Where it has no GPU, a data sheet's takes its place.
    n_nodes : int

    Returns
    -------
    str
    """
    from nsdlib.params import load_run
    from nsdlib.run.forecast import assumptions, forecast
    from nsdlib.run.rates import REFERENCE, calibrate

    rates = REFERENCE if _gpu_memory(run) is None else calibrate(run)
    runs = [load_run(name) for name in run.group]
    table, alone = forecast(runs, rates)
    together = forecast(runs, rates, n_nodes=n_nodes)[1]
    ends = f"One GPU: {alone:.0f} h for all; {n_nodes} nodes with one each: {together:.0f} h."
    return "\n".join([table.to_markdown(), "", ends, "", *(f"- {line}" for line in assumptions(rates))])


def _split(subject):
    """The split of the sessions in use, with its hash."""
    from nsdlib.study.betas import split_hash

    shared = subject.is_shared
    train, test = (set(subject.image_ids[some].tolist()) for some in (~shared, shared))
    name = split_hash(sorted(train), sorted(test))
    return f"Split of {subject.n_sessions} sessions: {len(train):,} images to train, {len(test):,} to test, {name}"


def _duration(seconds):
    """Seconds in the unit that suits them."""
    units = (("days", 86400), ("h", 3600), ("min", 60))
    unit, size = next((one for one in units if seconds >= 2 * one[1]), ("s", 1))
    return f"{seconds / size:.0f} {unit}"


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
    from nsdlib.core.device import pick

    try:
        device = pick(run.device)
    except ValueError as error:
        return Finding("device", False, str(error))
    if device.type == "cpu":
        return Finding("device", True, f"cpu, {os.cpu_count()} cores")
    import torch

    properties = torch.cuda.get_device_properties(device)
    return Finding("device", True, f"{properties.name}, {properties.total_memory / GIGABYTE:.0f} GB")


def _gpu_memory(run):
    """Bytes of the run's GPU; None where it has none."""
    import torch

    if run.device == "cpu" or not torch.cuda.is_available():
        return None
    return torch.cuda.get_device_properties(0).total_memory


def _memory(pages):
    """Whether the machine's memory holds the notebook that wants most."""
    worst, total = max(pages, key=lambda page: page.memory), total_memory()
    found = f"{total / GIGABYTE:.0f} GB, wanted {worst.memory / GIGABYTE:.0f} GB by notebook {worst.name[:2]}"
    remedy = f"Lower {worst.lower}, or run on a machine with more memory."
    return Finding("memory", total >= worst.memory, found, remedy)


def _on_gpu(pages, total):
    """Whether the GPU holds the notebook that wants most, its diffusion with one image at a time."""
    worst = max(pages, key=lambda page: page.on_gpu)
    found = f"{total / GIGABYTE:.0f} GB, wanted {worst.on_gpu / GIGABYTE:.0f} GB by notebook {worst.name[:2]}"
    remedy = (
        f"Lower {worst.lower}, or set device to cpu; the batches of diffusion have been lowered to one image already."
    )
    return Finding("GPU", total >= worst.on_gpu, found, remedy)


def _disk(run, pages):
    """Free space where data, weights and results go; what is there is not asked for again."""
    from nsdlib.run import costs
    from nsdlib.run.rates import existing
    from nsdlib.store import zoo

    published = zoo.files(run) if run.zoo == "paper" else []
    weights = sum(file.about for file in published if not file.path.exists())
    asked = {run.data: costs.data_bytes(run), run.weights: weights, run.store: SPARE + sum(page.disk for page in pages)}
    wanted = {}
    for folder, size in asked.items():
        disk = existing(folder).stat().st_dev
        place, before = wanted.get(disk, (existing(folder), 0))
        wanted[disk] = (place, before + size)
    rows = [(shutil.disk_usage(place).free, size) for place, size in wanted.values() if size]
    found = "; ".join(f"{free / GIGABYTE:.0f} GB free, wanted {size / GIGABYTE:.1f} GB" for free, size in rows)
    largest = max(pages, key=lambda page: page.disk)
    remedy = (
        "Free some space, set data, weights and store in params/_common.yaml to folders on another disk, or lower "
        f"{largest.lower}."
    )
    return Finding("disk", all(free >= size for free, size in rows), found, remedy)


def _data(run):
    """Files of the subject that the reader will ask for."""
    from nsdlib.data.nsd import NSDSubject

    if run.simulation and not run.data.exists():
        return Finding("data", False, "the simulated subject has not been made", f"Run `nsdlib simulate {run.name}`.")
    missing = NSDSubject(run.data, run.subject, run.n_sessions).missing_files()
    if not missing:
        return Finding("data", True, f"subject {run.subject}, {run.n_sessions} sessions, every file is there")
    listed = "".join(f"\n     {path}: {what}" for path, what in missing[:SHOWN])
    more = f"\n     and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
    get = f"Run `nsdlib fetch nsd --subject {run.subject}`, or see the README, section Real subjects."
    remedy = f"Run `nsdlib simulate {run.name}`." if run.simulation else get
    return Finding("data", False, f"{len(missing)} files are missing:{listed}{more}", remedy)


def _weights(run):
    """Files of the zoo that the models will ask for."""
    from nsdlib.store import zoo

    missing = zoo.missing(run)
    if not missing:
        return Finding("weights", True, f"the {run.zoo} zoo is complete")
    listed = "".join(f"\n     {path}: {source}" for path, source in missing)
    remedy = (
        "Run `nsdlib fetch weights`, or put each where it is looked for; the demo's weights come with the repository."
    )
    return Finding("weights", False, f"{len(missing)} of the {run.zoo} zoo are missing:{listed}", remedy)
