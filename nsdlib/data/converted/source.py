"""Writer of betas from any layout in the form that `BetasSubject` reads: series of maps, tables, masks, a parameter file.

Betas keep their values and trials their order. Trials that did not show a picture have no name.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import h5py
import numpy as np

from nsdlib.core.files import atomic_write
from nsdlib.data.bids.files import existing
from nsdlib.data.bids.importer import MANY_VOXELS, N_VOXELS, line
from nsdlib.data.bids.pictures import Pictures
from nsdlib.data.formats.guards import DamagedFile, own_dataset
from nsdlib.data.formats.series import atomic_folder, refuse_existing, write_maps, write_session, write_table
from nsdlib.params import check_run_name, find_root

MAX_COMPRESSION = 1100  # largest compression ratio


@dataclass(frozen=True)
class Source:
    """One subject's data in any layout; no betas are read before `read` is called."""

    sessions: list  # pairs (label, DataFrame): one row per trial, columns run (from 1) and name (of the picture, or None)
    read: Callable  # maps a session's number (from 0) to betas, (n_trials, n_voxels) float32; voxels in C order of `mask`
    mask: np.ndarray  # (X, Y, Z) bool
    affine: np.ndarray  # (4, 4)
    unit: str  # of the betas
    notes: list  # of str, for the user
    regions: dict = field(default_factory=dict)  # maps names to (X, Y, Z) bool
    test: tuple = ()  # names of the official test pictures
    pictures: Callable | None = None  # writes the pictures into a folder, if they come with the data
    roi: str = "visual"  # region to decode from
    settings: dict = field(default_factory=dict)  # maps names of other parameters of the run to (value, reason)
    # maps a number of repeats to the published noise ceilings of their averages, (n_voxels,) percent
    ceilings: dict = field(default_factory=dict)

    @property
    def shown(self):
        """Names of the pictures of all trials: a list of str."""
        return [name for _, table in self.sessions for name in table["name"].dropna()]


def write(source, folder, *, run, label, about, images=None):
    """Write a Source into a new folder, and then params/<run>.yaml, which opens it: the Path of that file.

    The volume is cropped to the voxels with betas. `images` is the folder of the pictures, if they do not come with the data;
    `about` is a description. Raises a ValueError for an invalid run name and without pictures; a FileNotFoundError if some are
    missing; a FileExistsError if folder or file exist. Nothing is written in these cases.
    """
    check_run_name(run)
    path = find_root() / "params" / f"{run}.yaml"
    refuse_existing([folder, path])
    if source.pictures is None:
        if images is None:
            raise ValueError("The pictures do not come with these data: name the folder with those that were shown, --images.")
        Pictures(images).refuse_missing(source.shown)
    box = tuple(slice(axis.min(), axis.max() + 1) for axis in np.nonzero(source.mask))
    affine = source.affine.copy()
    affine[:3, 3] += source.affine[:3, :3] @ [extent.start for extent in box]
    mask, stem = source.mask[box], f"sub-{label}"
    with atomic_folder(folder.parent) as partial:
        if source.pictures is not None:
            (partial / "pictures").mkdir()
            source.pictures(partial / "pictures")
        for number, (session, table) in enumerate(source.sessions):
            trials = {"session": [session] * len(table), "run": table["run"].to_numpy(), "label": table["name"].tolist()}
            name, session_folder = f"{stem}_ses-{session}_task-images", partial / stem / f"ses-{session}" / "func"
            description = " ".join([f"{about}.", *source.notes])
            write_session(session_folder, name, source.read(number), trials, (mask, affine), about=description, unit=source.unit)
        ones = [np.ones(mask.sum(), np.float32)]
        write_maps(partial / stem / f"{stem}_task-images_desc-betas_mask.nii.gz", ones, mask, affine)
        for n_repeats, values in source.ceilings.items():
            name = f"{stem}_task-images_desc-Noiseceiling{n_repeats}rep_statmap.nii.gz"
            write_maps(partial / stem / name, [np.float32(values)], mask, affine)
        roi_folder = partial / "derivatives" / "atlases" / stem / "rois"
        roi_folder.mkdir(parents=True)
        for region, voxels in source.regions.items():
            write_maps(roi_folder / f"{region}.nii.gz", [voxels[box][mask].astype(np.float32)], mask, affine)
        if source.test:
            write_table(partial / "test.tsv", {"image": sorted(source.test)})
        partial.rename(folder)
    atomic_write(path, _parameters(source, folder, run=run, label=label, about=about, images=images))
    return path


def checked_dataset(path, file, name, n_axes):
    """Return a numeric dataset of an open HDF5 file, if it lies in this file; `name` begins with its groups, a/b.

    Raises a `DamagedFile` that says what was found if it is missing, lies in another file, is larger than the file can hold, or
    has another number of axes.
    """
    *groups, last = name.split("/")
    for group in groups:
        file = own_group(path, file, group)
    data = own_dataset(path, file, last)
    if data.ndim != n_axes or data.dtype.kind not in "biuf" or data.nbytes > MAX_COMPRESSION * path.stat().st_size:
        raise DamagedFile(
            f"{path}: {name} holds {data.dtype} of shape {data.shape}, wanted numbers with {n_axes} axes that fit into the file."
        )
    return data


def own_group(path, file, name):
    """Return a group of an open HDF5 file or group, if it lies in this file; a `DamagedFile` lists what exists otherwise."""
    if not isinstance(file.get(name, getlink=True), h5py.HardLink) or not isinstance(file[name], h5py.Group):
        raise DamagedFile(f"{path}: wanted a group {name!r}, there are {', '.join(file) or 'none'}: is it another file?")
    return file[name]


def first_file(root, patterns, what):
    """Return the first file below a folder that matches one of the patterns, if it has content.

    Raises a FileNotFoundError that names `what` it is and the patterns if there is none; or says what is wrong with the one
    found.
    """
    for pattern in patterns:
        if found := sorted(root.glob(pattern)):
            return existing(found[0])
        if (root / pattern).is_symlink():  # a link without a target, which glob skips
            return existing(root / pattern)
    raise FileNotFoundError(f"{root} holds {what} under none of the names {', '.join(patterns)}: get it, or name its folder.")


def _parameters(source, folder, *, run, label, about, images):
    """Text of the parameter file."""
    n_voxels, shown = int(source.mask.sum()), source.shown
    roi = source.roi if source.regions else "brainmask"
    lines = [f"# {about}: written by nsdlib convert.", *(f"# {note}" for note in source.notes)]
    lines += [
        line("data", str(folder), "what was written; nothing of it is changed"),
        line("n_sessions", len(source.sessions), f"all there are: {', '.join(session for session, _ in source.sessions)}"),
        line("glm_sessions", 1, "without effect, as there are no time series"),
        line("betas", "nsd", "those in the files"),
        line("roi", roi, f"or brainmask, all {n_voxels:,} voxels; {', '.join(source.regions) or 'no regions are known'}"),
    ]
    training_names = [name for name in shown if name not in set(source.test)]
    if roi == "brainmask" and n_voxels > MANY_VOXELS and len(set(training_names)) < len(training_names):
        lines.append(line("n_voxels", N_VOXELS, f"the best of {n_voxels:,}, chosen in training trials by repeats"))
    lines += [
        line("split", "official", "the data set's own test pictures")
        if source.test
        else line("split", "random", "a fifth of the pictures; or cluster, concept"),
        line("alphas", [100, 1000, 10000, 50000], "the best on held-out training images"),
        *(line(name, *setting) for name, setting in source.settings.items()),
        line("text_weight", 0, "no captions: vision alone guides the refined image"),
        line("group", [run], "runs that notebook 08 compares"),
        "betas_files:",
        line("  kind", "laion", "the form in which it was written"),
        line("  label", label, "the subject"),
        line("  images", str(folder / "pictures" if source.pictures else images), "the pictures that were shown"),
        *([line("  test", str(folder / "test.tsv"), "the official test set")] if source.test else []),
        line("  unit", source.unit, "of the betas"),
    ]
    return "\n".join([*lines, ""])
