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
        raise ValueError("wanted the label of a task, or several with commas between: nsdcore,floc")
    return ",".join(labels)


class Simulation(Strict):
    """Settings of a simulated subject; with the run's subject they determine everything that `nsdlib.twin.simulate` writes."""

    shape: tuple[Edge, Edge, Edge] = Field((26, 30, 22), description="voxels left-right, back-front, bottom-top")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(1, description="the one seed of the subject, not the run's")
    kind: Literal["nsd_like", "easy"] = Field(
        "nsd_like", description="levels as measured in NSD, or white noise, one-hot meaning and no sessions"
    )
    quality: Annotated[float, Field(gt=0)] = Field(1.0, description="factor on signal-to-noise; 1 is NSD's subject 1")
    unseen: Annotated[float, Field(ge=0, le=1)] = Field(
        1.0, description="share of test scenes whose main kind, its colour and background no training scene's main thing has"
    )
    onsets: Literal["volumes", "between"] = Field(
        "volumes",
        description="in BIDS only, between: up to 1 s after volumes, and series that begin half a TR late",
    )
    runs: Annotated[int, Field(ge=1, le=12)] = Field(12, description="task runs of a session that are kept; fewer in BIDS only")

    @model_serializer(mode="wrap")
    def _as_named(self, handler):
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
    drop: dict[str, tuple[str, ...]] = Field({}, description="rows of the events that are no trial: column, values or 1..9")
    test: dict[str, tuple[str, ...]] = Field({}, description="rows whose pictures are the official test set: the same")
    captions: Folder | None = Field(None, description="a .tsv with columns image and caption, one row a caption")
    onsets: Literal["resample", "round"] = Field(
        "resample", description="off the grid of volumes: resample the series to a grid that holds them, or round to volumes"
    )
    confounds: tuple[str, ...] = Field(
        (), description="what is taken out, as nilearn's load_confounds names it; none is often best"
    )
    fit: Literal["crop", "pad"] = Field("crop", description="pictures that are not square are cropped or padded, never squashed")
    side: Annotated[int, Field(ge=8, le=1024)] = Field(425, description="pixels a side that pictures are brought to")
    tr: Annotated[float, Field(gt=0)] | None = Field(None, description="seconds between volumes, where no file says so")

    def __hash__(self):  # dicts are not hashable
        return hash(self.model_dump_json())


class BetasFiles(Strict):
    """Layout and metadata of existing betas in the folder `data`. Without time series, the run's `betas` must be nsd."""

    kind: Literal["glmsingle", "laion", "statmaps", "algonauts"] = Field(
        description="GLMsingle's folders; series of maps, as LAION-fMRI's; a map for each trial, as nilearn's; Algonauts 2023"
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
        None, description="of a list of voxels in the mask: C, Python's, also when not given, or F, MATLAB's; glmsingle"
    )
    regions: Folder | None = Field(None, description="a folder of NIfTI masks on the same grid, <region>.nii.gz")
    test: Folder | None = Field(
        None, description="the official test set: a .tsv with a column image, or a .json of splits as LAION-fMRI's"
    )
    captions: Folder | None = Field(None, description="a .tsv with columns image and caption, one row a caption")
    fit: Literal["crop", "pad"] = Field("crop", description="pictures that are not square are cropped or padded, never squashed")
    side: Annotated[int, Field(ge=8, le=1024)] = Field(425, description="pixels a side that pictures are brought to")
    unit: Literal["percent signal change", "z", "arbitrary"] | None = Field(None, description="of the betas, if you know better")

    read_by: ClassVar = {
        "space": ("laion",),
        "table": ("glmsingle", "statmaps"),
        "pattern": ("statmaps",),
        "mask": ("glmsingle", "laion", "statmaps"),
        "flat_order": ("glmsingle",),
    }

    @model_validator(mode="after")
    def _says_enough(self):
        if self.kind == "statmaps" and self.table is None:
            raise ValueError("statmaps: set table, a .tsv with the columns image and trial; no file knows the pictures.")
        for name, kinds in self.read_by.items():
            if getattr(self, name) is not None and self.kind not in kinds:
                raise ValueError(f"{name} is read of {', '.join(kinds)}, and not of {self.kind}: leave it out.")
        try:
            n_groups = re.compile(self.pattern or "()").groups
        except re.error as error:
            raise ValueError(f"pattern {self.pattern!r} is no regular expression: {error}.") from None
        if n_groups != 1:
            raise ValueError(f"pattern {self.pattern!r}: wanted one group, the number of the trial, such as t([0-9]+).")
        return self
