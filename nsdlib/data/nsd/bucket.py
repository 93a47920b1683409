"""The Natural Scenes Dataset (NSD) on the web: files, addresses and terms of use."""

import json
import sys
from pathlib import Path

from nsdlib.core.files import atomic_write
from nsdlib.data.nsd import layout as nsd
from nsdlib.data.nsd.subject import NSDSubject
from nsdlib.store.record import File

BUCKET = "https://natural-scenes-dataset.s3.amazonaws.com"
CAPTIONS = "https://huggingface.co/datasets/pscotti/naturalscenesdataset/resolve/main/COCO_73k_annots_curated.npy"
TERMS_PAGE = "https://cvnlab.slite.page/p/IB6BSeW_7o/Terms-and-Conditions"
TERMS = f"""The Natural Scenes Dataset is free for research and teaching, for those who keep its terms. In short:
  - fill in the data access form first (https://naturalscenesdataset.org);
  - hand neither the data nor parts of them on; everyone who works with them is bound;
  - do not try to find out who the participants are;
  - cite Allen et al. 2022 (doi:10.1038/s41593-021-00962-x) and thank NSF IIS-1822683 and IIS-1822929.
The terms themselves, which alone count: {TERMS_PAGE}"""
STAGES = {
    "nsddata": "design, behaviour, masks and regions (notebooks 00 and 02)",
    "nsddata_stimuli": "images and captions (00, 03 to 08)",
    "nsddata_betas": "published betas (02 to 08)",
    "nsddata_timeseries": "BOLD and onsets (01)",
}


def subject_files(data, subject, *, n_sessions, glm_sessions, version, roi="brainmask"):
    """List every file of a subject that the notebooks read, in the order of the stages (list of File).

    Parameters
    ----------
    data : path-like
        Folder that mirrors NSD's bucket.
    subject, n_sessions : int
        As in `NSDSubject`, which raises a ValueError for invalid values.
    glm_sessions : int
        Sessions of time series, from the first; 0 for none.
    version : str
        Version of the betas.
    roi : str
        Volume of regions to read in addition to those of the figures.
    """
    layout = NSDSubject(data, subject, n_sessions).paths
    if not 0 <= glm_sessions <= (available := nsd.N_SESSIONS[subject]):
        raise ValueError(f"{glm_sessions} of time series: subject {subject} has sessions 1 to {available}.")
    needed = [(layout.stim_info, "where each image came from")]
    needed += layout.needed(n_sessions, version=version, glm_sessions=glm_sessions, roi=roi)
    order = list(STAGES)
    needed.sort(key=lambda file: order.index(file[0].relative_to(layout.root).parts[0]))
    return [_as_file(layout, path, what) for path, what in needed]


def accept_terms(data, *, accepted=False):
    """Show NSD's terms once, and record their acceptance in the data folder (`terms_accepted.json`).

    Unless `accepted`, asks the user at a terminal. Raises a RuntimeError if the terms are not accepted or there is no terminal.
    """
    record = Path(data) / "terms_accepted.json"
    if record.exists():
        return
    print(TERMS)
    if not accepted and sys.stdin.isatty():
        print("Do you accept them? Type yes or no:", end=" ", flush=True)
        accepted = sys.stdin.readline().strip().lower() == "yes"
    if not accepted:
        raise RuntimeError(f"NSD's terms are not accepted: read {TERMS_PAGE}, then repeat with --accept-terms.")
    record.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(record, json.dumps({"accepted": TERMS_PAGE}) + "\n")


def _as_file(layout, path, what):
    """File object of a path of the layout, with its address and approximate size in bytes."""
    key = path.relative_to(layout.root)
    is_nsd = path != layout.captions
    return File(
        path=path,
        address=f"{BUCKET}/{key.as_posix()}" if is_nsd else CAPTIONS,
        what=what if is_nsd else f"{what} (from huggingface.co, not part of NSD)",
        stage=f"{key.parts[0]}, {STAGES[key.parts[0]]}",
        about=layout.n_bytes(path),
        md5_etag=is_nsd,
    )
