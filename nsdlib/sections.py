"""Sections of a parameter file: `simulation` (a simulated subject), `bids` (BIDS and fMRIPrep), and `betas_files`."""

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_serializer, model_validator

from nsdlib.strict import Strict, local_folder

Folder = Annotated[Path, AfterValidator(local_folder)]
Edge = Annotated[int, Field(ge=8, le=256)]


def _tasks(text):
    """Comma-separated labels of tasks, without spaces."""
    labels = [label.strip() for label in text.split(",")]
    if not all(labels):
        raise ValueError("wanted the label of a task, or several separated by commas: nsdcore,floc")
    return ",".join(labels)


class Simulation(Strict):
    """Settings of a simulated subject; with the run's subject they determine everything that `nsdlib.twin.simulate` writes."""

    shape: tuple[Edge, Edge, Edge] = Field((26, 30, 22), description="voxels left-right, back-front, bottom-top")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(1, description="seed of the subject, independent of the run's seed")
    kind: Literal["nsd_like", "easy"] = Field(
        "nsd_like", description="levels as measured in NSD, or white noise, one-hot meaning and no sessions"
    )
    quality: Annotated[float, Field(gt=0)] = Field(1.0, description="factor on signal-to-noise; 1 is NSD's subject 1")
    unseen: Annotated[float, Field(ge=0, le=1)] = Field(
        1.0, description="fraction of test scenes with a combination of main kind, colour and background that training lacks"
    )
    onsets: Literal["volumes", "between"] = Field(
        "volumes",
        description="between (BIDS only): onsets up to 1 s after volumes, and series that start half a TR late",
    )
    runs: Annotated[int, Field(ge=1, le=12)] = Field(12, description="task runs per session; fewer than 12 only in BIDS")

    @model_serializer(mode="wrap")
    def _serialised(self, handler):
        """Omit BIDS-only settings at their defaults, because results in NSD's layout do not depend on them."""
        return {name: value for name, value in handler(self).items() if name not in self.in_bids_only or self.differs(name)}

    in_bids_only: ClassVar = ("onsets", "runs")
    marker: ClassVar = "simulation.json"  # the file with these settings in a simulated data set

    def differs(self, name):
        """Whether a setting differs from its default."""
        return getattr(self, name) != type(self).model_fields[name].default


class Bids(Strict):
    """Paths of a BIDS subject and how to read it, written by `nsdlib import bids`. The raw data set is in the run's `data`."""

    derivatives: Folder = Field(description="the folder of fMRIPrep's results")
    label: str = Field(description="the subject, sub-<label>")
    task: Annotated[str, AfterValidator(_tasks)] = Field(description="the task, task-<task>; or several, with commas")
    space: str = Field("T1w", description="the space of the preprocessed BOLD, as fMRIPrep names it")
    images: Folder = Field(description="the folder of the pictures that were shown")
    image_column: str = Field("stim_file", description="the column of the events that names the picture")
    drop: dict[str, tuple[str, ...]] = Field({}, description="rows of the events that are not trials: by column, values or 1..9")
    test: dict[str, tuple[str, ...]] = Field({}, description="rows whose pictures form the official test set, in the same form")
    captions: Folder | None = Field(None, description="a .tsv with columns image and caption, one row a caption")
    onsets: Literal["resample", "round"] = Field(
        "resample", description="onsets between volumes: resample the series to a grid that contains them, or round to volumes"
    )
    confounds: tuple[str, ...] = Field(
        (), description="confounds to regress out, named as in nilearn's load_confounds; none is often best"
    )
    fit: Literal["crop", "pad"] = Field("crop", description="pictures that are not square are cropped or padded, never squashed")
    side: Annotated[int, Field(ge=8, le=1024)] = Field(425, description="side of the resized pictures in pixels")
    tr: Annotated[float, Field(gt=0)] | None = Field(None, description="seconds between volumes, if no file states them")

    def __hash__(self):  # dicts are not hashable
        return hash(self.model_dump_json())


class BetasFiles(Strict):
    """Layout and metadata of existing betas in the folder `data`. Without time series, the run's `betas` must be nsd."""

    kind: Literal["glmsingle", "laion", "statmaps", "algonauts"] = Field(
        description="GLMsingle's folders; series of maps, as in LAION-fMRI; a map per trial, as from nilearn; Algonauts 2023"
    )
    label: str = Field("01", description="the subject, sub-<label>; subj<label> of algonauts")
    space: str | None = Field(None, description="the space in the names of the files, if they have one; laion")
    images: Folder = Field(description="the folder of the pictures that were shown")
    table: Folder | None = Field(
        None,
        description="a .tsv: image and condition (from 0) or one row a trial, glmsingle; image and trial, session, run, statmaps",
    )
    pattern: str | None = Field(None, description="regular expression whose group is the number of a trial; statmaps")
    mask: Folder | None = Field(None, description="a NIfTI mask of the voxels with betas, where the files have none of their own")
    flat_order: Literal["C", "F"] | None = Field(
        None, description="order of a list of voxels in the mask: C, as in Python (default), or F, as in MATLAB; glmsingle"
    )
    regions: Folder | None = Field(None, description="a folder of NIfTI masks on the same grid, <region>.nii.gz")
    test: Folder | None = Field(
        None, description="the official test set: a .tsv with a column image, or a .json of splits as in LAION-fMRI"
    )
    captions: Folder | None = Field(None, description="a .tsv with columns image and caption, one row a caption")
    fit: Literal["crop", "pad"] = Field("crop", description="pictures that are not square are cropped or padded, never squashed")
    side: Annotated[int, Field(ge=8, le=1024)] = Field(425, description="side of the resized pictures in pixels")
    unit: Literal["percent signal change", "z", "arbitrary"] | None = Field(
        None, description="unit of the betas, if not the files'"
    )

    read_by: ClassVar = {
        "space": ("laion",),
        "table": ("glmsingle", "statmaps"),
        "pattern": ("statmaps",),
        "mask": ("glmsingle", "laion", "statmaps"),
        "flat_order": ("glmsingle",),
    }

    @model_validator(mode="after")
    def _fields_agree(self):
        if self.kind == "statmaps" and self.table is None:
            raise ValueError("statmaps: set table to a .tsv with the columns image and trial; the files do not name pictures.")
        for name, kinds in self.read_by.items():
            if getattr(self, name) is not None and self.kind not in kinds:
                raise ValueError(f"{name} is used by {', '.join(kinds)}, not by {self.kind}: leave it out.")
        try:
            n_groups = re.compile(self.pattern or "()").groups
        except re.error as error:
            raise ValueError(f"pattern {self.pattern!r} is no regular expression: {error}.") from None
        if n_groups != 1:
            raise ValueError(f"pattern {self.pattern!r}: wanted one group, the number of the trial, such as t([0-9]+).")
        return self
