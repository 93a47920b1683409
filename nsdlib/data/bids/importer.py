"""The door for any laboratory's data: look at a BIDS data set, decide how it is read, write the decisions down with their reasons.

Nothing is written but `params/NAME.yaml`, `runs/NAME/import.txt` (the check list) and `runs/NAME/import.png` (the sheet), all in the
project's folder; the parameter file comes last, so that it is there only when the others are.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nsdlib.core.files import atomic_write
from nsdlib.core.glm.hrf import sampled_library
from nsdlib.data.bids import files
from nsdlib.data.bids.events import read_events
from nsdlib.data.bids.subject import BIDSSubject
from nsdlib.params import find_root, load_run
from nsdlib.sections import Bids

GUESSES = (
    "stim_file", "image_path", "file_path", "stim_name", "stimulus_name", "ImgName", "image", "stimulus", "stim_id",
)  # fmt: skip
FEWEST_TYPES = 20  # values of trial_type above which it may name pictures rather than conditions
MANY_VOXELS = 20_000  # above this, decoders are given the best
N_VOXELS = 10_000
FEWEST_IMAGES = 300  # to train with, below which a decoder has little to learn from
N_SHOWN = 24  # pictures on the sheet


@dataclass(frozen=True)
class Import:
    """What a look at a data set came to: the subject, the text of its parameter file, and the check list (list of str)."""

    name: str
    subject: BIDSSubject
    parameters: str
    checks: list


def look(name, raw, *, command, image_column=None, space=None, **settings):
    """Look at a subject of a BIDS data set and decide how it is read; nothing is written.

    Parameters
    ----------
    name : str
        Of the run that shall be: `params/NAME.yaml`.
    raw : path-like
        The raw data set.
    command : str
        That led here, for the head of the parameter file.
    image_column, space : str, optional
        As in the section `bids`; guessed when not given, and the guess is written down.
    **settings
        Other fields of the section `bids`: derivatives, label, task and images must be among them.

    Returns
    -------
    Import
        A ValueError or FileNotFoundError, with what to do, for anything that `BIDSSubject` refuses, when the column or the space
        cannot be guessed, and when the project lies in one of the user's folders.
    """
    raw, notes = Path(raw).expanduser().resolve(), {}
    for key in ("derivatives", "images", "captions"):
        if settings.get(key) is not None:
            settings[key] = Path(settings[key]).expanduser().resolve()
    inside = [folder for folder in (raw, settings["derivatives"], settings["images"]) if find_root().is_relative_to(folder)]
    if inside:
        raise ValueError(f"the project {find_root()} lies in {inside[0]}, where nothing is written: move the project elsewhere.")
    label, task = settings["label"], settings["task"]
    if space is None:
        spaces = files.find_spaces(settings["derivatives"], label=label, task=task)
        space = "T1w" if "T1w" in spaces or not spaces else spaces[0]
        notes["space"] = f"guessed from {', '.join(spaces)}"
    runs, odd = files.find_runs(raw, settings["derivatives"], label=label, task=task, space=space)
    tables = [read_events(run.events) for run in runs]
    if image_column is None:
        image_column, notes["image_column"] = guess_image_column(tables)
    section = Bids(image_column=image_column, space=space, **settings)
    subject = BIDSSubject(raw, **section.model_dump())
    found = _facts(subject, runs, tables, section)
    text = _parameters(name, command, subject, section, found, notes)
    return Import(name, subject, text, _checks(subject, section, found, notes, odd))


def guess_image_column(tables):
    """Guess which column of tables of events (list of pandas.DataFrame) names the picture.

    Returned are the first of `GUESSES` that all tables have and some row fills, and why; last, trial_type, when it has more
    than `FEWEST_TYPES` values. A ValueError, with the columns that there are, when it is none of them.
    """
    columns = list(dict.fromkeys(column for table in tables for column in table))
    for name in (*GUESSES, "trial_type"):
        held = [table[name].dropna() for table in tables if name in table]
        values = {str(value) for column in held for value in column}
        if len(held) == len(tables) and len(values) > (FEWEST_TYPES if name == "trial_type" else 0):
            return name, f"guessed: the first of {', '.join(GUESSES)} in the events; {len(values)} distinct values"
    raise ValueError(
        f"The events name no picture in any column that is known ({', '.join(GUESSES)}; or trial_type with more than "
        f"{FEWEST_TYPES} values). They have {', '.join(columns)}: say which one it is with --image-column."
    )


def sheet(found):
    """Collect what the sheet of an `Import` shows: keyword arguments of `plots.plot_import`."""
    subject = found.subject
    ids, first = np.unique(subject.image_ids, return_index=True)
    shown = ids[np.argsort(first)][:N_SHOWN]
    names = subject.image_names(shown)
    captions = [own[0] if own else name for own, name in zip(subject.captions(shown), names, strict=True)]
    onsets = np.flatnonzero(subject.design(1, 1))
    response = canonical(subject.tr, subject.duration)
    lag = np.arange(len(subject.design(1, 1)))[:, None] - onsets
    regressors = np.where(lag >= 0, np.pad(response, (0, len(lag)))[np.maximum(lag, 0)], 0)  # (n_volumes, n_trials)
    depth = np.flatnonzero(subject.brainmask.any(axis=(0, 1)))
    slices = np.unique(np.linspace(depth[0], depth[-1], 6).round().astype(int)[1:-1])
    return {
        "images": subject.stimuli(shown),
        "names": captions,
        "regressors": regressors,
        "background": subject.background,
        "mask": subject.brainmask,
        "slices": slices,
    }


def write(found, figure):
    """Write an `Import` into the project: the sheet (a matplotlib figure), the check list, and last the parameter file.

    Returned is the path of the parameter file, which `load_run` then takes.
    """
    file = _file(found)
    folder = file.parents[1] / "runs" / found.name
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / "import.png", picture.getvalue())
    atomic_write(folder / "import.txt", "\n".join([*found.checks, ""]))
    atomic_write(file, found.parameters)
    load_run(found.name)
    return file


def is_written(found):
    """Whether an `Import` was written already, the same; a FileExistsError when its parameter file says something else."""
    file = _file(found)
    if not file.is_file():
        return False
    theirs, ours = file.read_text().splitlines(), found.parameters.splitlines()
    if theirs == ours:
        return (file.parents[1] / "runs" / found.name / "import.png").is_file()
    number, (old, new) = next(
        (i, pair) for i, pair in enumerate(zip_longest(theirs, ours, fillvalue="(no line)"), start=1) if pair[0] != pair[1]
    )
    raise FileExistsError(
        f"{file} is already there and says something else, and is not overwritten. Line {number} has {old!r}, this import "
        f"{new!r}. Remove it, or name another run with --name."
    )
