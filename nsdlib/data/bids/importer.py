"""Import of a laboratory's data: inspect a BIDS data set, decide how to read it, and write the decisions with their reasons."""

import io
import json
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from nsdlib.core.files import atomic_write, some
from nsdlib.data.bids import files
from nsdlib.data.bids.checklist import MIN_REPEATED, check_list, repeats
from nsdlib.data.bids.events import read_events
from nsdlib.data.bids.subject import BIDSSubject
from nsdlib.data.splits import SHARE
from nsdlib.params import Bids, Simulation, check_run_name, explain, find_root, nearest

IMAGE_COLUMNS = (
    "stim_file", "image_path", "file_path", "stim_name", "stimulus_name", "ImgName", "image", "stimulus", "stim_id", "73k_id",
)  # fmt: skip
MIN_TYPES = 20  # with more values than this, trial_type may name pictures rather than conditions
MANY_VOXELS, N_VOXELS = 20_000, 15_000  # above the first number, decoders get the second (NSD's region has 15,724)
MIN_TEST_IMAGES = 50  # fewest pictures in a test set of those shown more often than the median
NO_REASON = ("as given", "default")  # reasons that do not explain a setting
REASON_COLUMN = 29  # characters before a reason


@dataclass(frozen=True)
class Import:
    """Result of inspecting a data set: the run's name, subject and parameter file (text), and the check list (list of str)."""

    name: str
    subject: BIDSSubject
    parameters: str
    checks: list


def inspect(name, raw, **settings):
    """Inspect a subject of a BIDS data set, `raw`, and decide how the run `name` reads it: an Import; nothing is written.

    `settings` are fields of the section `bids`, including derivatives, label, task and images; space, image_column and confounds
    are chosen if they are missing or None. Raises a ValueError or FileNotFoundError, with a remedy, for an invalid run name,
    unknown settings, anything that `BIDSSubject` refuses, missing pictures, a column or space that cannot be guessed, and a
    project that lies inside the data.
    """
    check_run_name(name)
    raw, settings = Path(raw).expanduser().resolve(), {key: value for key, value in settings.items() if value is not None}
    section, reasons = _section(settings), dict.fromkeys(settings, NO_REASON[0])
    folders = {"RAW": raw, "--derivatives": section.derivatives, "--images": section.images}
    if missing := [f"{option}: there is no folder {path}" for option, path in folders.items() if not path.is_dir()]:
        raise FileNotFoundError(f"{missing[0]}. Wanted one that is on this machine: correct the path.")
    if enclosing := [path for path in folders.values() if find_root().is_relative_to(path)]:
        raise ValueError(f"The project {find_root()} lies in {enclosing[0]}, where nothing is written: move it elsewhere.")
    if "space" not in reasons:
        spaces = files.find_spaces(section.derivatives, label=section.label, task=section.task)
        space, reasons["space"] = (["T1w"] if "T1w" in spaces else [*spaces, "T1w"])[0], f"guessed from {', '.join(spaces)}"
        section = section.model_copy(update={"space": space})
    if "image_column" not in reasons:
        runs, _ = files.find_runs(raw, section.derivatives, label=section.label, task=section.task, space=section.space)
        column, reasons["image_column"] = guess_image_column([read_events(run.events) for run in runs])
        section = section.model_copy(update={"image_column": column})
    subject = BIDSSubject(raw, section)
    if "confounds" not in reasons:
        section, reasons["confounds"] = _choose_confounds(subject)
        subject = BIDSSubject(raw, section) if section.confounds else subject
    if missing := subject.missing_files(glm_sessions=subject.n_sessions):
        listed = "; ".join(f"{path} ({what})" for path, what in missing[:5])
        raise FileNotFoundError(
            f"{len(missing)} files are missing, such as {listed}. Pictures are those that column {section.image_column} names "
            "below --images: take another column with --image-column, or leave out rows that are not trials with "
            "-p 'drop={COLUMN: [VALUE]}'."
        )
    parameters = _decide(name, subject)
    return Import(name, subject, _text(parameters, section, reasons), check_list(subject, parameters, reasons))


def guess_image_column(tables):
    """Guess which column of event tables (list of pandas.DataFrame) names the picture.

    Returns the first of `IMAGE_COLUMNS` that all tables have and that is not empty, and a reason. trial_type is tried last, and
    only if it has more than `MIN_TYPES` values. Raises a ValueError that lists the columns if none fits.
    """
    incomplete = ""
    for name in (*IMAGE_COLUMNS, "trial_type"):
        columns_found = [table[name].dropna() for table in tables if name in table]
        n_values = len({str(value) for column in columns_found for value in column})
        if len(columns_found) == len(tables) and n_values > (MIN_TYPES if name == "trial_type" else 0):
            return name, "guessed: the first of the usual names that the events have"
        if name in IMAGE_COLUMNS and 0 < len(columns_found) < len(tables):
            incomplete += f" {name} is in {len(columns_found)} of {len(tables)} tables."
    known = f"{', '.join(IMAGE_COLUMNS)}; or trial_type with more than {MIN_TYPES} values"
    columns = ", ".join(dict.fromkeys(chain(*tables)))
    raise ValueError(
        f"The events name the picture in no known column that all tables have ({known}). They have {columns}: name the right one "
        f"with --image-column.{incomplete}"
    )


def is_written(found):
    """Whether the same `Import` was written before; raises a FileExistsError if its parameter file differs."""
    path, sheet, _ = _paths(found)
    if not path.exists():
        return False
    lines = zip_longest(path.read_text().splitlines(), found.parameters.splitlines(), fillvalue="nothing")
    for number, (existing, new) in enumerate(lines, start=1):
        if existing != new:
            raise FileExistsError(
                f"{path} already exists with other content, so it is not overwritten. Its line {number} has {existing!r}, "
                f"this import {new!r}. Remove it, or name another run, --name."
            )
    return sheet.is_file()


def write(found, figure):
    """Write an `Import` into the project: its sheet, a matplotlib figure, the check list, and last the parameter file.

    Writes only `import.png` and `import.txt` in `runs/NAME/` and then `params/NAME.yaml`, which exists only if the others do.
    Returns the paths of the parameter file, sheet and check list. Raises a FileExistsError as `is_written` does, before writing.
    """
    is_written(found)
    path, sheet, checks = _paths(found)
    png = io.BytesIO()
    figure.savefig(png, format="png")
    sheet.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(sheet, png.getvalue())
    atomic_write(checks, "\n".join([*found.checks, ""]))
    atomic_write(path, found.parameters)
    return path, sheet, checks


def _section(settings):
    """The section `bids` with some settings and absolute paths of folders."""
    if unknown := [key for key in settings if key not in Bids.model_fields]:
        raise ValueError(f"{unknown[0]!r} is no setting of the section bids{nearest(unknown[0], Bids.model_fields)}")
    try:
        section = Bids(**settings)
    except ValidationError as error:
        raise ValueError(f"The section bids cannot be used as it stands:\n{explain(error)}") from None
    return section.model_copy(update={key: value.resolve() for key, value in section if isinstance(value, Path)})


def _paths(found):
    """Paths of the parameter file, the sheet and the check list."""
    root = find_root()
    folder = root / "runs" / found.name
    return root / "params" / f"{found.name}.yaml", folder / "import.png", folder / "import.txt"


def _choose_confounds(subject):
    """The section with confounds, and the reason; none if images repeat across runs, since the GLM then finds its own."""
    n_repeated = repeats(subject)[1]
    if n_repeated.min() >= MIN_REPEATED:
        return subject.settings, "pictures repeat in different runs: the GLM finds noise regressors of its own by them"
    if without_table := [str(run) for run in subject.runs.values() if not run.confounds]:
        return subject.settings, f"motion is taken out of no run, since there is no table of confounds of {some(without_table)}"
    repeats_text = f"only {n_repeated.min()} pictures of a session repeat" if n_repeated.any() else "no picture repeats"
    reason = f"{repeats_text} in another run, so the GLM finds no noise regressors: motion is taken out"
    return subject.settings.model_copy(update={"confounds": ("motion",)}), reason


def _decide(name, subject):
    """The run's parameters other than its section, with reasons: dict of name to (value, reason)."""
    counts, n_repeated = repeats(subject)
    n_often = int((counts > np.median(counts)).sum())
    regions = ", ".join(subject.regions)
    roi = "visual" if regions else "brainmask"
    n_voxels = int(subject.voxels(roi).sum())
    if subject.official_test is not None:
        split = "official", "the pictures of the rows that `test` chooses"
    elif MIN_TEST_IMAGES <= n_often <= SHARE * len(counts):
        split = "repeated", f"pictures shown more than {np.median(counts):g} times; or random, cluster, concept, last_session"
    else:
        condition = f"fewer than {MIN_TEST_IMAGES}" if n_often < MIN_TEST_IMAGES else "more than that"
        split = "random", f"a fifth of the pictures, as {condition} were shown more often; or cluster, concept, last_session"
    labels = list(dict.fromkeys(run.entities.get("ses", "the only one") for run in subject.runs.values()))
    choices = f" of {regions}; or one of them, brainmask," if regions else ", no regions were found; or"
    parameters = {
        "data": (str(subject.root), "the raw data set; it is only read"),
        "n_sessions": (subject.n_sessions, f"all there are: {', '.join(labels)}"),
        "glm_sessions": (subject.n_sessions, "all, since no betas came with the data"),
        "betas": ("glm", "those that notebook 01 fits"),
        "roi": (roi, f"{n_voxels:,} voxels{choices} the path of a NIfTI mask"),
    }
    if n_voxels > MANY_VOXELS:
        reason = f"the best of {n_voxels:,}, chosen in training trials by {'repeats' if n_repeated.any() else 'ON-OFF R2'}"
        parameters["n_voxels"] = (N_VOXELS, reason)
    parameters["split"] = split
    parameters["alphas"] = ([100, 1000, 10000, 50000], "the best on held-out training images; the published 50,000 is NSD's")
    if not subject.has_captions:
        parameters["text_weight"] = (0, "no captions: vision alone guides the refined image")
    return parameters | {"group": ([name], "runs that notebook 08 compares")}


def _text(parameters, section, reasons):
    """Text of the parameter file."""
    lines = [
        f"# sub-{section.label}, task-{section.task}: written by nsdlib import bids, each line with its reason.",
        "# Change what you know better; what is not here is as in params/_common.yaml.",
        *(line(name, value, reason) for name, (value, reason) in parameters.items()),
        "bids:",
    ]
    for name, field in Bids.model_fields.items():
        if (value := getattr(section, name)) is not None:
            reason = reasons.get(name, "default")
            lines.append(line(f"  {name}", value, f"{reason}: {field.description}" if reason in NO_REASON else reason))
    if (simulation_file := Path(parameters["data"][0]) / Simulation.marker).is_file():
        simulation = json.loads(simulation_file.read_text())
        lines.append("simulation:")
        for name, field in Simulation.model_fields.items():
            if name in simulation:
                lines.append(line(f"  {name}", simulation[name], f"the data are simulated: {field.description}"))
    return "\n".join([*lines, ""])


def line(name, value, reason):
    """A line of YAML with its reason; strings are quoted, so that YAML reads them as strings."""
    text = f"{name}: {json.dumps(value, default=str, ensure_ascii=False)}"
    return f"{text:<{REASON_COLUMN}}  # {reason}"
