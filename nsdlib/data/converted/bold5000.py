"""BOLD5000, release 2.0: a series of betas per session, the names of the pictures of all trials, and a brain mask."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from nsdlib.data.bids import volumes
from nsdlib.data.bids.files import existing
from nsdlib.data.converted.source import Source, first_file
from nsdlib.data.formats.guards import DamagedFile

KINDS = {"A": "TYPEA-ASSUMEHRF", "B": "TY[PB]EB-FITHRF", "C": "TYPEC-FITHRF-GLMDENOISE", "D": "TYPED-FITHRF-GLMDENOISE-RR"}
N_SESSIONS, RUN_TRIALS = {"1": 15, "2": 15, "3": 15, "4": 9}, 37
REGION = r"sub-CSI\d_mask-(LH|RH)(EarlyVis|LOC?|OPA|PPA|R?RSC)\.nii(\.gz)?"
SPELLINGS = {"LO": "LOC", "RRSC": "RSC"}  # spelling in two subjects' files


def open_bold5000(root, label, *, kind="D", regions=None):
    """Open BOLD5000's betas of a subject, `label` 1 to 4 or CSI1 to CSI4, as a Source; repeated pictures are the test set.

    `kind` is GLMsingle's type, A to D; `regions` is the folder sub-CSI<label> of ds001499's derivatives/spm, by default in
    `root`. `CSI<label>_imgnames.txt` names the trials of all sessions in sequence, so sessions must be present without a gap from
    the first on. The affine is the brain mask's, since that of the published betas is wrong. Raises a FileNotFoundError for
    missing files; a ValueError, with what was wanted and found, if trials, names and volumes do not match.
    """
    number = label.removeprefix("CSI")
    if number not in N_SESSIONS or kind not in KINDS:
        raise ValueError(f"subject {label!r}, kind {kind!r}: wanted CSI1 to CSI4, and one of {', '.join(KINDS)}.")
    name = f"CSI{number}"
    folders = ("", f"Stimuli_Presentation_Lists/{name}/", f"*/Stimuli_Presentation_Lists/{name}/")
    path = first_file(root, [f"{folder}{name}_imgnames.txt" for folder in folders], "the names of the pictures")
    names = [Path(line.strip()).name for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    mask_file = first_file(root, [f"{name}_brainmask.nii*", f"*/{name}_brainmask.nii*"], "the brain mask")
    [mask], affine = volumes.read_masks([mask_file])
    files = _sessions(root, name, KINDS[kind])
    counts = []
    for file in files:
        with volumes.opened(file) as image:
            if len(image.shape) != 4 or image.shape[:3] != mask.shape:
                raise DamagedFile(f"{file.name} has shape {image.shape}, wanted {mask.shape} of the brain mask, and trials.")
            counts.append(image.shape[3])
    is_complete = len(files) == N_SESSIONS[number]
    if any(count % RUN_TRIALS for count in counts) or sum(counts) > len(names) or (is_complete and sum(counts) < len(names)):
        raise DamagedFile(
            f"{path} names {len(names)} trials, sessions have {', '.join(map(str, counts))}: wanted as many, in runs of "
            f"{RUN_TRIALS}. Is it the list of {name}?"
        )
    sessions = []
    for k, (n, end) in enumerate(zip(counts, np.cumsum(counts), strict=True), start=1):
        sessions.append((f"{k:02d}", pd.DataFrame({"run": np.arange(n) // RUN_TRIALS + 1, "name": names[end - n : end]})))
    pictures, n_shown = np.unique(names, return_counts=True)
    masks = _regions(Path(regions) if regions else root / f"sub-{name}", mask)
    return Source(
        sessions=sessions, read=lambda session: volumes.read_series(files[session], mask), mask=mask, affine=affine,
        unit="percent signal change",
        notes=["Order: the list of names, session after session. Notebook 02 shows whether repeats agree by it."], regions=masks,
        test=tuple(pictures[n_shown > 1]), settings={"scaling": ("sessions", "as the authors recommend")},
    )  # fmt: skip


def _sessions(root, name, kind):
    """Files of betas, one per session, from the first session on."""
    pattern = f"{name}_GLMbetas-{kind}_ses-*.nii*"
    files = sorted(first_file(root, [pattern, f"*/{pattern}"], "the betas").parent.glob(pattern))
    numbers = [int(re.search(r"_ses-(\d+)", file.name)[1]) for file in files]
    if numbers != list(range(1, len(files) + 1)):
        raise DamagedFile(
            f"{root} holds sessions {', '.join(map(str, numbers))}: the list names trials from the first session on, wanted each "
            "session once and without a gap."
        )
    return [existing(file) for file in files]


def _regions(folder, mask):
    """Regions of both hemispheres together: a dict of str to (X, Y, Z) bool, empty without files."""
    regions = {}
    for path in sorted(folder.glob("*_mask-*.nii*")):
        if match := re.fullmatch(REGION, path.name):
            [voxels], _ = volumes.read_masks([path])
            if voxels.shape != mask.shape or not (voxels & mask).any():
                raise DamagedFile(f"{path} has no voxel in the brain mask, or shape {voxels.shape}, wanted {mask.shape}.")
            region = SPELLINGS.get(match[2], match[2])
            regions[region] = regions.get(region, False) | (voxels & mask)
    return regions
