"""Files of a subject's tasks in a BIDS data set and in fMRIPrep's results: found by name, checked, with their sidecars."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from nsdlib.core.files import some

NUMBERED = ("run", "echo")  # compared as numbers, without leading zeros
RUN_ENTITIES = ("sub", "ses", "task", "acq", "ce", "rec", "dir", "run")  # entities that all files of a run share
VOLUME, TABLE = (".nii.gz", ".nii"), (".tsv", ".tsv.gz")
WHERE_TO_SET = "in the section bids (-p name=value of nsdlib import)"  # where to change a setting, for error messages
TR_TOLERANCE = 0.01  # relative difference in repetition time between a sidecar and a header
NAME = re.compile(r"((?:[A-Za-z]+-[A-Za-z0-9+]+_)*)(?P<suffix>[A-Za-z0-9]+)(?P<extension>[.][A-Za-z0-9.]+)")
LEGACY = re.compile(r"_bold_(.+_)?(preproc|confounds|brainmask)\.|\.[LR]\.func\.gii$")
POINTER = re.compile(rb"annex[/\\]objects|^version https://git-lfs")
FIRST_BYTES = {".nii.gz": (b"\x1f\x8b",), ".nii": (b"\x5c\x01\0\0", b"\0\0\x01\x5c", b"\x1c\x02\0\0", b"\0\0\x02\x1c")}


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
        return "_".join(f"{key}-{self.entities[key]}" for key in RUN_ENTITIES if key in self.entities)


def parse_name(name):
    """Parse a BIDS file name: a dict of its entities with `suffix` and `extension` (from the first dot on).

    The entities may come in any order; run and echo are int, so run-1 is run-01. Returns None if the name does not follow BIDS.
    """
    if (match := NAME.fullmatch(name)) is None:
        return None
    pairs = [pair.split("-") for pair in match[1].split("_")[:-1]]
    entities = dict(pairs)
    numbers = {key: entities[key] for key in NUMBERED if key in entities}
    if len(entities) < len(pairs) or not all(map(str.isdecimal, numbers.values())):
        return None
    return entities | {key: int(number) for key, number in numbers.items()} | match.groupdict()


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
    space_name, tasks = space.replace(":", "_"), task.split(",")
    space_entities = dict(zip(("space", "res"), space_name.split("_res-"), strict=False))
    if space_entities["space"] == "func":
        space_entities["space"] = None  # names of BOLD in its own space do not state one
    runs, files_by_run = {}, {}
    for path, name in preprocessed:
        files_by_run.setdefault(str(_run_of(name)), []).append((path, name))
    for path, name in sorted(preprocessed, key=lambda pair: _space_of(pair[1]) != space_name):
        if _is_bold(name, tasks, desc="preproc") and all(name.get(key) == value for key, value in space_entities.items()):
            ses, run, *rest = (ordered(name.get(entity, "")) for entity in ("ses", "run", *RUN_ENTITIES[3:7]))
            key = ses, run, tasks.index(name["task"]), *rest
            if key not in runs:
                runs[key] = _run_files(path, name, files_by_run[str(_run_of(name))], raw)
            elif _space_of(name) == space_name or _space_of(runs[key].entities) != space_name:
                raise ValueError(f"{path} and {runs[key].bold} are the same run: keep one, or name space and res, T1w_res-2.")
    found_runs = [runs[key] for key in sorted(runs)]
    for missing_task in sorted({*tasks}.difference(run.entities["task"] for run in found_runs)):
        raise FileNotFoundError(_no_bold(derivatives, preprocessed, ignored, label=label, task=missing_task, space=space))
    for run in found_runs:
        if run.events is None or run.mask is None:
            missing = f"{run}_..._desc-brain_mask.nii.gz in {derivatives}: run fMRIPrep again"
            if run.events is None:
                missing = f"{run}_events.tsv in {raw}, nor one that it inherits: add it"
            raise FileNotFoundError(f"{run.bold} has no {missing}, or move the run away.")
    identified = [_run_of(run.entities) for run in found_runs]
    unprocessed = sorted({path.name for path, name in measured if _is_bold(name, tasks) and _run_of(name) not in identified})
    notes = [f"Measured, but not preprocessed: {', '.join(unprocessed)}."] if unprocessed else []
    if invalid := [path.name for path in ignored + ignored_raw]:
        notes.append(f"Names that do not follow BIDS, ignored: {some(invalid, 10)} ({len(invalid)} files).")
    return found_runs, notes


def find_spaces(derivatives, *, label, task):
    """List the spaces of a task's preprocessed BOLD volumes, in the form that `find_runs` takes: sorted, empty for none.

    Raises a FileNotFoundError if the subject has no folder.
    """
    preprocessed, _ = _functional(derivatives, label, "fmriprep")
    return sorted({_space_of(name) for _, name in preprocessed if _is_bold(name, task.split(","), desc="preproc")})


def metadata(root, entities, suffix="bold"):
    """Merge the sidecars that apply to a file into a dict, by BIDS inheritance: keys of files nearer to it override others."""
    merged = {}
    for path in _inherited(root, entities, suffix, (".json",)):
        try:
            merged |= json.loads(existing(path).read_text(encoding="utf-8-sig"))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} cannot be read as JSON with names and values ({error}): get it again.") from error
    return merged


def read_timing(run, raw, derivatives, *, header, tr=None):
    """Read when the volumes of a run (RunFiles) were measured, from its sidecars and the nibabel header of its BOLD.

    Returns the seconds between volumes, the seconds from the events' time 0 to the time that the first volume represents, and
    notes on assumptions, a list of str. `tr`, in seconds, overrides the files, for those that lack the value or disagree. Raises
    a ValueError if no file states it, two disagree by more than 1 %, volumes are not evenly spaced, or the start is not within
    the first `tr`.
    """
    derived = metadata(derivatives, run.entities)
    measured = metadata(raw, _run_of(run.entities) | {"echo": 1, "part": "mag"})  # shared by all echoes
    stated, notes, sources = measured | derived, [], f"{run.bold.name} and its sidecars"
    header_tr = float(header["pixdim"][4]) * {"msec": 1e-3, "usec": 1e-6}.get(header.get_xyzt_units()[1], 1)
    header_tr = None if header_tr in (0, 1) else header_tr  # placeholders for an unknown value
    if tr is None:
        if "VolumeTiming" in stated and "RepetitionTime" not in derived:
            raise ValueError(f"{sources}: VolumeTiming lists a time for each volume; wanted volumes with a fixed RepetitionTime.")
        tr = stated.get("RepetitionTime", header_tr)
        if not isinstance(tr, int | float) or not tr > 0:
            raise ValueError(f"{sources} do not say RepetitionTime, the seconds between volumes: set tr, {WHERE_TO_SET}.")
        if header_tr is not None and abs(tr - header_tr) > TR_TOLERANCE * tr:
            raise ValueError(f"{sources} disagree: RepetitionTime {tr:g} s, header {header_tr:g} s. Set tr, {WHERE_TO_SET}.")
    elif (stated_tr := stated.get("RepetitionTime", tr)) != tr:
        notes.append(f"tr={tr:g} s was set; the sidecars state {stated_tr} s.")
    start = derived.get("StartTime")
    if start is None:
        aligned = derived.get("SliceTimingCorrected", "SliceTiming" in measured)
        start = tr / 2 if aligned else 0
        slices = f"slices are assumed {'aligned to the middle' if aligned else 'not aligned'}"
        notes.append(f"The sidecars do not state StartTime: {slices}, and the first volume at {start:g} s.")
    if not isinstance(start, int | float) or not 0 <= start <= tr:
        raise ValueError(f"{sources}: StartTime {start} s, wanted seconds from 0 to RepetitionTime, {tr:g} s.")
    return float(tr), float(start), notes


def problem(path):
    """Say why a file's content is missing, and what to do: a str; None if size and first bytes look right."""
    remedy = f"run `datalad get {path}` (or `git annex get`) in the data set, or copy the file there"
    if not path.exists():
        return f"a link whose target is missing: {remedy}" if path.is_symlink() else "not there"
    with path.open("rb") as file:
        first_bytes = file.read(512)
    if not first_bytes:
        return f"an empty file: {remedy}"
    if POINTER.search(first_bytes):
        return f"a placeholder for the file: {remedy}"
    extension = next((extension for extension in FIRST_BYTES if path.name.endswith(extension)), None)
    if extension and not first_bytes.startswith(FIRST_BYTES[extension]):
        return f"not a {extension} file, by its first bytes: {remedy}"
    return None


def existing(path):
    """Return `path` if it has content; otherwise raise a FileNotFoundError that says what to do."""
    if reason := problem(path):
        raise FileNotFoundError(f"{path} is {reason}.")
    return path


def _functional(root, label, usual_name):
    """Files in a subject's func folders as pairs (path, name), and those with invalid names or of another subject or session."""
    subject = root / f"sub-{label}"
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is {problem(root) or 'no folder'}: correct its path.")
    if not subject.is_dir():
        labels = ", ".join(sorted(path.name for path in root.glob("sub-*") if path.is_dir()))
        advice = f"There are {labels or 'no subjects'}"
        if (root / usual_name / subject.name).is_dir():  # the user named the parent of the folder
            advice = f"It is in {root / usual_name}: name that folder"
        raise FileNotFoundError(f"{root} has no folder {subject.name}. {advice}.")
    parsed, ignored = [], []
    for path in sorted([*subject.glob("func/*"), *subject.glob("ses-*/func/*")]):
        name, folder = parse_name(path.name), path.parent.parent.name
        if name and name.get("sub") == label and name.get("ses") == (folder[4:] if folder.startswith("ses-") else None):
            parsed.append((path, name))
        elif not path.name.startswith("."):
            ignored.append(path)
    return parsed, ignored


def _run_files(path, name, run_files, raw):
    """Collect the files of a BOLD's run: preprocessed ones from `run_files`, and its events below `raw`."""

    def find(extensions=VOLUME, **wanted):
        if extensions == VOLUME:  # must be in the space of the BOLD; tables state no space
            wanted |= {key: name.get(key) for key in ("space", "res")}
        for path, entities in run_files:
            if entities["extension"] in extensions and all(entities.get(key) == value for key, value in wanted.items()):
                return path
        return None

    mask = find(suffix="mask", desc="brain") or find(suffix="mask", label="brain")
    confounds = find(TABLE, suffix="timeseries", desc="confounds") or find(TABLE, suffix="regressors", desc="confounds")
    events = _inherited(raw, _run_of(name), "events", TABLE)
    regions = find(suffix="dseg", desc="aparcaseg")
    return RunFiles(name, path, mask, find(suffix="boldref"), regions, confounds, events[-1] if events else None)


def _inherited(root, entities, suffix, extensions):
    """Files of a suffix that apply to a file by BIDS inheritance, from the root of the data set down to the file's folder."""
    folders = [root, root / f"sub-{entities['sub']}"]
    folders += [folders[-1] / f"ses-{entities['ses']}"] if "ses" in entities else []
    matching = []
    for depth, folder in enumerate([*folders, folders[-1] / "func"]):
        for path in folder.glob(f"*{suffix}.*"):
            name = parse_name(path.name)
            if name and name.pop("suffix") == suffix and name.pop("extension") in extensions and name.items() <= entities.items():
                matching.append((depth, len(name), path))
    return [path for *_, path in sorted(matching)]


def _run_of(name):
    """Entities that identify the run of a file."""
    return {key: name[key] for key in RUN_ENTITIES if key in name}


def _is_bold(name, tasks, **entities):
    """Whether a name is that of BOLD volumes of one of the tasks, not of single echoes or phase, and has these entities."""
    is_bold = name["suffix"] == "bold" and name["extension"] in VOLUME and entities.items() <= name.items()
    is_whole = name.get("part", "mag") == "mag" and not (name.get("desc") and "echo" in name)
    return is_bold and is_whole and name.get("task") in tasks


def _space_of(name):
    """Space and resolution of a BOLD, in the form that `find_runs` takes."""
    return name.get("space", "func") + (f"_res-{name['res']}" if "res" in name else "")


def ordered(value):
    """Sort key of a label, with its numbers in numeric order."""
    parts = re.split("([0-9]+)", str(value))
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part)


def _no_bold(derivatives, preprocessed, ignored, *, label, task, space):
    """Error message for a task without BOLD in a space, with what exists instead."""
    message = f"{derivatives} has no preprocessed BOLD volumes of sub-{label}, task-{task} in space {space}."
    if any(LEGACY.search(path.name) for path in ignored):
        return f"{message} Its names are those of fMRIPrep 1.0 or 1.1: preprocess again with fMRIPrep 20.2 or later."
    bold = [n for _, n in preprocessed if n["suffix"] == "bold" and n.get("desc") == "preproc" and n["extension"] in VOLUME]
    if not bold:
        options = "--level full (neither minimal nor resampling) and a volumetric space, such as --output-spaces T1w"
        return f"{message} No task has any in volumes: fMRIPrep writes them with {options}."
    spaces = {_space_of(name) for name in bold}
    tasks = {name.get("task", "") for name in bold}
    return f"{message} There are the tasks {', '.join(sorted(tasks))}, and the spaces {', '.join(sorted(spaces))}."
