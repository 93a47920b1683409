"""Check what a run needs before it starts (versions, device, memory, disk, data, weights), and predict its duration."""

import math
import platform
import shutil
import tomllib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

import numpy as np
import torch
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from nsdlib.core.device import pick_device
from nsdlib.data.nsd import checks as nsd_checks
from nsdlib.data.nsd.subject import NSDSubject
from nsdlib.data.subject import open_subject
from nsdlib.params import usable_runs
from nsdlib.run import costs, forecast
from nsdlib.run.forecast import GIGABYTE, UNKNOWN
from nsdlib.run.rates import existing, machine_name, n_cores, total_memory
from nsdlib.store import zoo
from nsdlib.study.betas import split_hash
from nsdlib.twin.marker import check_subject

SPARE = 0.2e9  # bytes of disk space required beyond the results
MARKS = {"ok": "ok  ", "WRONG": "FAIL"}  # results of a check of the data; any other result means that it was not possible
N_LISTED = 8  # missing files that are listed by name


@dataclass(frozen=True)
class Finding:
    """One line of the report: what was checked, whether it suffices, what was found, and a remedy if it does not suffice."""

    what: str
    fine: bool
    found: str
    remedy: str = ""

    def __str__(self):
        line = f"{'ok  ' if self.fine else 'LACK'} {self.what:<9} {self.found}"
        return line if self.fine or not self.remedy else f"{line}\n     -> {self.remedy}"


def examine(run):
    """Check everything that a run needs; returns a list of Finding.

    The order is python, packages, device, memory, GPU (if the run uses one), disk, data, weights. If the subject cannot be
    opened, nothing can be estimated, and only data is reported.
    """
    total = _gpu_memory(run)
    try:
        table = forecast.predict(run, is_gpu=total is not None)
    except (ValueError, OSError) as error:
        data = _data(run)
        return [Finding("data", False, str(error)) if data.fine else data]
    memory = [_memory(table, "memory", total_memory(), "run on a machine with more memory.")]
    if total is not None:
        advice = "set device to cpu; the estimate already assumes diffusion in batches of one image."
        memory.append(_memory(table, "GPU", total, advice))
    return [_python(), _packages(), _device(run), *memory, _disk(run, table), _data(run), _weights(run)]


def expected(run):
    """Return lines of text with a run's expected time and memory on this machine, from records of earlier runs and rehearsals."""
    sizes, table = costs.amounts(run), forecast.predict(run, is_gpu=_gpu_memory(run) is not None)
    hours, source = forecast.run_hours(run, table, sizes)
    printed = table.drop(columns="lower").assign(seconds=table["seconds"].map(_duration))
    typical = f" ({sizes.typical}: typical values, because files are missing)" if sizes.typical else ""
    return [
        f"Expected for {sizes.n_train:,} + {sizes.n_test:,} images, {sizes.n_voxels:,} voxels{typical}",
        f"on {machine_name(run.device)}:",
        *printed.rename(columns={"seconds": "time"}).to_markdown(floatfmt=".1f").splitlines(),
        f"The whole run: {_duration(3600 * hours)} ({source}).",
    ]


def first_contact(run):
    """Check that the subject's files are consistent, and for NSD that they agree with its manual.

    Returns lines of text, and whether no needed file is missing and no check failed. For NSD, the lines give for each check the
    expected value, the found value, and a remedy if they differ; for other data sets, the decisions made and rows left out. The
    split and its hash follow.
    """
    subject, data = open_subject(run), _data(run)
    if not isinstance(subject, NSDSubject):
        return [str(data), *(f"-    {note}" for note in subject.notes), _split(subject)], data.fine
    table, lines = nsd_checks.first_contact(subject, version=run.betas_version), [str(data)]
    for row in table.itertuples():
        outcome = f": expected {row.wanted}, found {row.found}" if row.result in MARKS else f": {row.result}"
        lines.append(f"{MARKS.get(row.result, '-   ')} {row.check}{outcome}")
        lines += [f"     -> {row.remedy}"] if row.remedy else []
    if subject.paths.expdesign.is_file() and table["result"][0] == "ok":
        lines.append(_split(subject))
    return lines, data.fine and not (table["result"] == "WRONG").any()


def outlook(run, n_nodes):
    """Forecast the runs in the run's group, on one node and on `n_nodes` nodes like this machine.

    Returns a Markdown table and its assumptions.
    """
    table = forecast.forecast(usable_runs(run.group), is_gpu=_gpu_memory(run) is not None)
    alone, together = (_duration(3600 * forecast.spread(table["hours"], n)) for n in (1, n_nodes))
    ends = f"One node: {alone} for all" + (f"; {n_nodes} nodes: {together}." if n_nodes > 1 else ".")
    lines = (f"- {line}" for line in forecast.assumptions(run.device))
    return "\n".join([forecast.as_markdown(table), "", ends, "", *lines])


def _split(subject):
    """Description of the split of the sessions in use, with its hash."""
    train, test = (np.unique(subject.image_ids[part]) for part in (~subject.is_test, subject.is_test))
    counts = f"{len(train):,} images to train, {len(test):,} to test"
    return f"Split of {subject.n_sessions} sessions: {counts}, {split_hash(train, test)}"


def _duration(seconds):
    """A duration as text in a suitable unit; NaN as "not known yet"."""
    if math.isnan(seconds):
        return UNKNOWN
    units = (("days", 86400), ("h", 3600), ("min", 60), ("s", 1))
    unit, size = next(((unit, size) for unit, size in units if seconds >= 2 * size), units[-1])
    return f"{seconds / size:.0f} {unit}"


def requirements():
    """Return the required Python versions (">=3.11,<3.14") and packages (a list of PEP 508 requirements).

    They come from the installed distribution, or from the source tree if none is installed.
    """
    try:
        installed = distribution("nsd-decoding")
        return installed.metadata["Requires-Python"], installed.requires or []
    except PackageNotFoundError:
        file = Path(__file__).resolve().parents[2] / "pyproject.toml"
        project = tomllib.loads(file.read_text())["project"]
        return project["requires-python"], project["dependencies"]


def _python():
    """The interpreter's version."""
    required, installed = requirements()[0], platform.python_version()
    fine = SpecifierSet(required).contains(installed, prereleases=True)
    remedy = f"Python {required} is required; `make` searches for one, `make PYTHON=...` uses yours."
    return Finding("python", fine, installed, remedy)


def _packages():
    """Whether every required package is installed in an allowed version."""
    wrong = []
    for required in map(Requirement, requirements()[1]):
        if required.marker and not required.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(required.name)
        except PackageNotFoundError:
            installed = "absent"
        if installed == "absent" or not required.specifier.contains(installed, prereleases=True):
            wrong.append(f"{required.name} {installed} (wanted {required.specifier})")
    found = ", ".join(wrong) or f"all installed, torch {version('torch')}"
    return Finding("packages", not wrong, found, "Remove .venv and run `make .venv/ready`, or install the packages named above.")


def _device(run):
    """The device selected by the run's setting."""
    try:
        device = pick_device(run.device)
    except ValueError as error:
        return Finding("device", False, str(error))
    if device.type == "cpu":
        return Finding("device", True, f"cpu, {n_cores()} cores")
    properties = torch.cuda.get_device_properties(device)
    return Finding("device", True, f"{properties.name}, {properties.total_memory / GIGABYTE:.0f} GB")


def _gpu_memory(run):
    """Memory of the run's GPU in bytes; None without a GPU."""
    if run.device == "cpu" or not torch.cuda.is_available():
        return None
    return torch.cuda.get_device_properties(0).total_memory


def _memory(table, what, total, remedy):
    """Whether `total` bytes of "memory" or "GPU" suffice for the most demanding notebook in a table of `forecast.predict`."""
    name, total = table[f"{what} GB"].astype(float).idxmax(), total / GIGABYTE
    needed = table[f"{what} GB"][name]
    found = f"{total:.0f} GB, wanted {needed:.0f} GB by notebook {name[:2]}"
    return Finding(what, bool(total >= needed), found, f"Lower {table['lower'][name]}, or {remedy}")


def _disk(run, table):
    """Whether the disks have room for the data, weights and results; data and weights already there need no more space."""
    published = zoo.files(run) if run.zoo == "paper" else []
    weights = sum(file.about for file in published if not file.path.exists())
    results = SPARE + GIGABYTE * table["disk GB"].sum()
    disks = {}
    for folder, size in {run.data: costs.data_bytes(run), run.weights: weights, run.store: results}.items():
        device = existing(folder).stat().st_dev
        path, other_size = disks.get(device, (existing(folder), 0))
        disks[device] = (path, other_size + size)
    rows = [(shutil.disk_usage(path).free, size) for path, size in disks.values() if size]
    found = "; ".join(f"{free / GIGABYTE:.0f} GB free, wanted {size / GIGABYTE:.1f} GB" for free, size in rows)
    remedy = (
        "Free some space, set data, weights and store in params/_common.yaml to folders on another disk, or lower "
        f"{table['lower'][table['disk GB'].astype(float).idxmax()]}."
    )
    return Finding("disk", all(free >= size for free, size in rows), found, remedy)


def _data(run):
    """Whether the subject's files that the notebooks need exist."""
    if run.simulation and not run.data.exists():
        return Finding("data", False, "the simulated subject does not exist yet", f"Run `nsdlib simulate {run.name}`.")
    try:
        check_subject(run)
        subject = open_subject(run)
        missing = subject.missing_files(version=run.betas_version, glm_sessions=run.glm_sessions, roi=run.roi)
    except (ValueError, OSError) as error:
        return Finding("data", False, str(error))
    if not missing:
        return Finding("data", True, f"{subject.name}, {run.n_sessions} sessions, no file is missing")
    more = f"\n     and {len(missing) - N_LISTED} more" if len(missing) > N_LISTED else ""
    remedy = f"Run `nsdlib fetch nsd --run {run.name}`, or put NSD's own files at these paths."
    if run.section:
        remedy = f"Get them, or correct the section {run.section} of params/{run.name}.yaml."
    if all("nsddata_timeseries" in path.parts for path, _ in missing):
        remedy += " Only notebook 01 reads these."
    if run.simulation:
        remedy = f"Move {run.data} away, then run `nsdlib simulate {run.name}`."
    return Finding("data", False, f"{len(missing)} files are missing:{_listed(missing[:N_LISTED])}{more}", remedy)


def _weights(run):
    """Whether the weights that the models need exist."""
    missing = zoo.missing(run)
    if not missing:
        return Finding("weights", True, f"the {run.zoo} zoo is complete")
    remedy = f"Run `nsdlib fetch weights --run {run.name}`, or put each at its path."
    if run.zoo == "demo":
        remedy = "Restore the folder zoo/demo from the repository, or train the networks again with `make zoo`."
    if all(source.startswith("you: ") for _, source in missing):
        remedy = "Put it at this path, or correct the line of the parameter file that names it."
    return Finding("weights", False, f"{len(missing)} of the {run.zoo} zoo are missing:{_listed(missing)}", remedy)


def _listed(missing):
    """A line for each pair (path, what it is or where it comes from)."""
    return "".join(f"\n     {path}: {what}" for path, what in missing)
