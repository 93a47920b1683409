"""Files of a subject's tasks in a BIDS data set and in fMRIPrep's results: found by name, checked, with their sidecars."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from nsdlib.core.files import some

INDICES = ("run", "echo")  # compared as numbers, without leading zeros
OF_A_RUN = ("sub", "ses", "task", "acq", "ce", "rec", "dir", "run")  # entities that all files of a run share
VOLUME, TABLE = (".nii.gz", ".nii"), (".tsv", ".tsv.gz")
HOW = "in the section bids (-p name=value of nsdlib import)"  # where to change a setting, for error messages
TR_TOLERANCE = 0.01  # relative difference in repetition time between a sidecar and a header
LEGACY = re.compile(r"_bold_(.+_)?(preproc|confounds|brainmask)\.|\.[LR]\.func\.gii$")
POINTER = re.compile(rb"annex[/\\]objects|^version https://git-lfs")
BEGINNINGS = {".nii.gz": (b"\x1f\x8b",), ".nii": (b"\x5c\x01\0\0", b"\0\0\x01\x5c", b"\x1c\x02\0\0", b"\0\0\x02\x1c")}


@dataclass(frozen=True)
class RunFiles:
    """Files of one run; `boldref`, `confounds` and `regions` (aparcaseg) are None if missing.

    `entities` are those of the BOLD's name; `session` is its label, "" if the subject has no sessions.
    """

    entities: dict
    bold: Path
    mask: Path | None
    boldref: Path | None
    regions: Path | None
    confounds: Path | None
    events: Path | None

    @property
    def session(self):
        """Label of the session."""
        return self.entities.get("ses", "")

    def __str__(self):
        return "_".join(f"{key}-{self.entities[key]}" for key in OF_A_RUN if key in self.entities)


def parse_name(name):
    """Parse a BIDS file name: a dict of its entities with `suffix` and `extension` (from the first dot on).

    The entities may come in any order; run and echo are int, so run-1 is run-01. Returns None if the name does not follow BIDS.
    """
    stem, dot, extension = name.partition(".")
    *pairs, suffix = stem.split("_")
    found = {}
    for pair in pairs:
        parts = re.fullmatch(r"([A-Za-z]+)-([A-Za-z0-9+]+)", pair)
        if parts is None or parts[1] in found or (parts[1] in INDICES and not re.fullmatch("[0-9]+", parts[2])):
            return None
        found[parts[1]] = int(parts[2]) if parts[1] in INDICES else parts[2]
    if not re.fullmatch("[A-Za-z0-9]+", suffix) or not re.fullmatch("[A-Za-z0-9.]+", extension):
        return None
    return found | {"suffix": suffix, "extension": dot + extension}


def find_runs(raw, derivatives, *, label, task, space):
    """Find the runs of a subject and task: preprocessed BOLD below `derivatives`, the events of each below `raw`.

    Both are the Path of a folder that holds `sub-<label>`. `task` may list several tasks, separated by commas; runs of one number
    are then in the order of the tasks. `space` is as in names: T1w prefers BOLD without a resolution; MNI152NLin2009cAsym_res-2
    selects one of several resolutions; func is the BOLD's own space. Returns a list of RunFiles, sorted by session and run with
    numbers in labels in numeric order, and notes, a list of str, on names that do not follow BIDS and runs without preprocessed
    BOLD. Raises a FileNotFoundError that lists what exists if a folder, all BOLD of a task in the space, or a run's events or
    brain mask is missing; a ValueError if two files are the same run.
    """
    preprocessed, ignored = _functional(derivatives, label, "fmriprep")
    measured, ignored_raw = _functional(raw, label, "raw")
    asked, runs, tasks = space.replace(":", "_"), {}, task.split(",")
    kinds = dict(zip(("space", "res"), asked.split("_res-"), strict=False))
    if kinds["space"] == "func":
        kinds["space"] = None
    of_run = {}  # files by run
    for path, name in preprocessed:
        of_run.setdefault(str(_run_of(name)), []).append((path, name))
    for path, name in sorted(preprocessed, key=lambda pair: _space_of(pair[1]) != asked):
        if _is_preprocessed(name, task) and all(name.get(k) == kinds[k] for k in kinds):
            ses, run, *rest = (ordered(name.get(entity, "")) for entity in ("ses", "run", *OF_A_RUN[3:7]))
            key = ses, run, tasks.index(name["task"]), *rest
            if key not in runs:
                runs[key] = _run_files(path, name, of_run[str(_run_of(name))], raw)
            elif _space_of(name) == asked or _space_of(runs[key].entities) != asked:
                raise ValueError(f"{path} and {runs[key].bold} are the same run: keep one, or name space and res, T1w_res-2.")
    found = [runs[key] for key in sorted(runs)]
    for one in sorted({*tasks}.difference(run.entities["task"] for run in found)):
        raise FileNotFoundError(_nothing(derivatives, preprocessed, ignored, label=label, task=one, space=space))
    for run in found:
        if run.events is None or run.mask is None:
            name, root = (f"{run}_events.tsv", raw) if run.events is None else (f"{run}_..._desc-brain_mask.nii.gz", derivatives)
            how = "add it" if run.events is None else "run fMRIPrep again"
            raise FileNotFoundError(f"{run.bold} has no {name} in {root}, nor one that it inherits: {how}, or move the run away.")
    known = [_run_of(run.entities) for run in found]
    lost = sorted({path.name for path, name in measured if _is_bold(name, task) and _run_of(name) not in known})
    notes = [f"Measured, but not preprocessed: {', '.join(lost)}."] if lost else []
    if odd := [path.name for path in ignored + ignored_raw]:
        notes.append(f"Not names of BIDS, ignored: {some(odd, 10)} ({len(odd)} files).")
    return found, notes


def find_spaces(derivatives, *, label, task):
    """List the spaces of a task's preprocessed BOLD volumes, in the form that `find_runs` takes: sorted, empty for none.

    Raises a FileNotFoundError if the subject has no folder.
    """
    preprocessed, _ = _functional(derivatives, label, "fmriprep")
    return sorted({_space_of(name) for _, name in preprocessed if _is_preprocessed(name, task)})


def metadata(root, entities, suffix="bold"):
    """Merge the sidecars that apply to a file into a dict, by BIDS inheritance: keys of files nearer to it override others."""
    found = {}
    for path in _applicable(root, entities, suffix, (".json",)):
        try:
            found |= json.loads(existing(path).read_text(encoding="utf-8-sig"))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} cannot be read as JSON with names and values ({error}): get it again.") from error
    return found


def read_timing(run, raw, derivatives, *, header, tr=None):
    """Read when the volumes of a run (RunFiles) were measured, from its sidecars and the nibabel header of its BOLD.

    Returns the seconds between volumes, the seconds from the events' time 0 to the time that the first volume represents, and
    notes on assumptions, a list of str. `tr`, in seconds, replaces a missing or ambiguous value. Raises a ValueError if no
    file states it, two disagree by more than 1 %, volumes are not evenly spaced, or the start is not within the first `tr`.
    """
    own = metadata(derivatives, run.entities)
    measured = metadata(raw, _run_of(run.entities) | {"echo": 1, "part": "mag"})  # shared by all echoes
    says, notes, both = measured | own, [], f"{run.bold.name} and its sidecars"
    in_header = float(header["pixdim"][4]) * {"msec": 1e-3, "usec": 1e-6}.get(header.get_xyzt_units()[1], 1)
    in_header = None if in_header in (0, 1) else in_header  # placeholders for an unknown value
    if tr is None:
        if "VolumeTiming" in says and "RepetitionTime" not in own:
            raise ValueError(f"{both}: VolumeTiming lists a time for each volume; wanted volumes with a fixed RepetitionTime.")
        tr = says.get("RepetitionTime", in_header)
        if not isinstance(tr, int | float) or not tr > 0:
            raise ValueError(f"{both} do not say RepetitionTime, the seconds between volumes: set tr, {HOW}.")
        if in_header is not None and abs(tr - in_header) > TR_TOLERANCE * tr:
            raise ValueError(f"{both} disagree: RepetitionTime {tr:g} s, header {in_header:g} s. Set tr, {HOW}.")
    elif (known := says.get("RepetitionTime", tr)) != tr:
        notes.append(f"tr={tr:g} s was set; the sidecars say {known} s.")
    start = own.get("StartTime")
    if start is None:
        aligned = own.get("SliceTimingCorrected", "SliceTiming" in measured)
        start = tr / 2 if aligned else 0
        notes.append(
            f"The sidecars do not say StartTime: slices are taken as {'aligned to the middle' if aligned else 'not aligned'}, "
            f"the first volume as of {start:g} s."
        )
    if not isinstance(start, int | float) or not 0 <= start <= tr:
        raise ValueError(f"{both}: StartTime {start} s, wanted seconds from 0 to RepetitionTime, {tr:g} s.")
    return float(tr), float(start), notes


def problem(path):
    """Say why a file's content is missing, and what to do: a str; None if size and first bytes look right."""
    get = f"run `datalad get {path}` (or `git annex get`) in the data set, or copy the file there"
    if not path.exists():
        return f"a link whose target is missing: {get}" if path.is_symlink() else "not there"
    with path.open("rb") as file:
        first = file.read(512)
    if not first:
        return f"an empty file: {get}"
    if POINTER.search(first):
        return f"a text that stands for the file: {get}"
    kind = next((kind for kind in BEGINNINGS if path.name.endswith(kind)), None)
    if kind and not first.startswith(BEGINNINGS[kind]):
        return f"no {kind}, by its first bytes: {get}"
    return None


def existing(path):
    """Return `path` if it has content; otherwise raise a FileNotFoundError that says what to do."""
    if wrong := problem(path):
        raise FileNotFoundError(f"{path} is {wrong}.")
    return path


def _functional(root, label, usual):
    """Files in a subject's func folders as pairs (path, name), and those with invalid names or of another subject or session.

    `usual` is the folder's usual name, for users who name its parent.
    """
    subject = root / f"sub-{label}"
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is {problem(root) or 'no folder'}: correct its path.")
    if not subject.is_dir():
        there = sorted(path.name for path in root.glob("sub-*") if path.is_dir())
        is_below = (root / usual / subject.name).is_dir()
        advice = f"It is in {root / usual}: name that folder" if is_below else f"There are {', '.join(there) or 'no subjects'}"
        raise FileNotFoundError(f"{root} has no folder {subject.name}. {advice}.")
    named, ignored = [], []
    for path in sorted([*subject.glob("func/*"), *subject.glob("ses-*/func/*")]):
        name, folder = parse_name(path.name), path.parent.parent.name
        if name and name.get("sub") == label and name.get("ses") == (folder[4:] if folder.startswith("ses-") else None):
            named.append((path, name))
        elif not path.name.startswith("."):
            ignored.append(path)
    return named, ignored


def _run_files(path, name, of_run, raw):
    """Collect the files of a BOLD's run: preprocessed ones from `of_run`, and its events below `raw`."""

    def beside(suffix, spaces=("space", "res"), extensions=VOLUME, **values):
        for path, other in of_run:
            same = all(other.get(key) == name.get(key) for key in spaces)
            fits = other["suffix"] == suffix and other["extension"] in extensions
            if same and fits and all(other.get(key) in wanted for key, wanted in values.items()):
                return path
        return None

    mask = beside("mask", desc=("brain",)) or beside("mask", label=("brain",))
    table = beside("timeseries", (), TABLE, desc=("confounds",)) or beside("regressors", (), TABLE, desc=("confounds",))
    events = _applicable(raw, _run_of(name), "events", TABLE)
    regions = beside("dseg", desc=("aparcaseg",))
    return RunFiles(name, path, mask, beside("boldref"), regions, table, events[-1] if events else None)


def _applicable(root, entities, suffix, extensions):
    """Files of a suffix that apply to a file by BIDS inheritance, from the root of the data set down to the file's folder."""
    folders = [root, root / f"sub-{entities['sub']}"]
    folders += [folders[-1] / f"ses-{entities['ses']}"] if "ses" in entities else []
    found = []
    for depth, folder in enumerate([*folders, folders[-1] / "func"]):
        for path in folder.glob(f"*{suffix}.*"):
            name = parse_name(path.name)
            if name and name.pop("suffix") == suffix and name.pop("extension") in extensions and name.items() <= entities.items():
                found.append((depth, len(name), path))
    return [path for *_, path in sorted(found)]


def _run_of(name):
    """Entities that identify the run of a file."""
    return {key: name[key] for key in OF_A_RUN if key in name}


def _is_bold(name, task):
    """Whether a name is that of BOLD volumes of one of the tasks, excluding single echoes and phase."""
    kind = name["suffix"] == "bold" and name["extension"] in VOLUME and name.get("task") in task.split(",")
    return kind and name.get("part", "mag") == "mag" and not (name.get("desc") and "echo" in name)


def _is_preprocessed(name, task):
    """Whether a name is that of a task's BOLD volumes preprocessed by fMRIPrep."""
    return _is_bold(name, task) and name.get("desc") == "preproc"


def _space_of(name):
    """Space and resolution of a BOLD, in the form that `find_runs` takes."""
    return name.get("space", "func") + (f"_res-{name['res']}" if "res" in name else "")


def ordered(value):
    """Sort key of a label, with its numbers in numeric order."""
    parts = re.split("([0-9]+)", str(value))
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part)


def _nothing(derivatives, preprocessed, ignored, *, label, task, space):
    """Error message for a task without BOLD in a space, with what exists instead."""
    there = f"{derivatives} has no preprocessed BOLD volumes of sub-{label}, task-{task} in space {space}."
    if any(LEGACY.search(path.name) for path in ignored):
        return f"{there} Its names are those of fMRIPrep 1.0 or 1.1: run fMRIPrep 20.2 or later again."
    bold = [name for _, name in preprocessed if name["suffix"] == "bold" and name.get("desc") == "preproc"]
    bold = [name for name in bold if name["extension"] in VOLUME]
    if not bold:
        return (
            f"{there} No task has any in volumes: fMRIPrep writes them with --level full (neither minimal nor resampling) and a "
            "volumetric space, such as --output-spaces T1w."
        )
    spaces = {_space_of(name) for name in bold}
    tasks = sorted({name.get("task", "") for name in bold})
    return f"{there} There are the tasks {', '.join(tasks)}, and the spaces {', '.join(sorted(spaces))}."
