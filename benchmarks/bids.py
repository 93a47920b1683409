"""Time to read a session from BIDS, compared with its GLM: `python benchmarks/bids.py`.

A session is written as by fMRIPrep (compressed int16; series that start half a TR late and need resampling), read through
`BIDSSubject` by `read_session`, and fitted: CPU seconds of both on one thread, and the peak memory after each.
"""

import json
import tempfile
import time
import warnings
from pathlib import Path

import nibabel
import numpy as np
import report
import torch
from PIL import Image
from threadpoolctl import threadpool_limits

from nsdlib.core.glm.fit import fit_glm
from nsdlib.core.glm.options import GLMOptions
from nsdlib.data.bids.subject import BIDSSubject
from nsdlib.data.glm_sessions import read_session
from nsdlib.sections import Bids

TR, N_IMAGES = 4 / 3, 250
NSD = {"voxels": 200_000, "shape": (81, 104, 83), "runs": 12, "volumes": 226}
QUICK = {"voxels": 300, "shape": (8, 8, 8), "runs": 2, "volumes": 90}


def main():
    """Print the times of both."""
    parser = report.parser(__doc__)
    parser.add_argument("--voxels", type=int, help="in the brain mask (200000)")
    parser.add_argument("--shape", type=int, nargs=3, help="of the volumes (NSD's first subject's)")
    parser.add_argument("--runs", type=int, help="of the session (12)")
    parser.add_argument("--volumes", type=int, help="of a run (226)")
    options = parser.parse_args()
    for name, size in (QUICK if options.quick else NSD).items():
        setattr(options, name, getattr(options, name) or size)
    torch.set_num_threads(1)
    report.show(rows(options), options)


def rows(options):
    """Yield a row for reading, and one for the GLM."""
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # noise alone has no responding voxel
        section = write_session(Path(folder), options.voxels, options.runs, options.volumes, tuple(options.shape))
        rounds = [measure(Path(folder) / "raw", section) for _ in range(3)]
    (reading_s, glm_s, _), reading_gb = np.median(rounds, axis=0), rounds[0][2]
    case = f"{options.voxels} voxels, {options.runs} runs, CPU seconds: "
    yield report.row(f"{case}reading", reading_s, peak_gb=reading_gb)
    yield report.row(f"{case}GLM", glm_s, peak_gb=report.peak_gb(), **{"reading / GLM": reading_s / glm_s})


def measure(root, section):
    """CPU seconds of reading the session and of its GLM, and the peak memory between them."""
    start = time.process_time()
    subject = BIDSSubject(root, section)
    design, series, confounds = read_session(subject, 1)
    end, peak_gb = time.process_time(), report.peak_gb()
    fit_glm(design, series, tr=subject.tr, confounds=confounds, options=GLMOptions(duration=subject.duration))
    return end - start, time.process_time() - end, peak_gb


def write_session(folder, n_voxels, n_runs, n_volumes, shape):
    """Write a session of noise, and return the section `bids` of a parameter file for it."""
    rng, images = np.random.default_rng(0), folder / "images"
    images.mkdir()
    for number in range(N_IMAGES):
        Image.new("RGB", (8, 8)).save(images / f"{number:03d}.png")
    for root, kind in ((folder / "raw", "raw"), (folder / "prep", "derivative")):
        (root / "sub-01" / "func").mkdir(parents=True)
        description = {"Name": "noise", "BIDSVersion": "1.11.1", "DatasetType": kind, "GeneratedBy": [{"Name": "fMRIPrep"}]}
        (root / "dataset_description.json").write_text(json.dumps(description))
    mask = np.zeros(shape, dtype=np.uint8)
    mask.flat[rng.permutation(mask.size)[:n_voxels]] = 1
    affine = np.diag([1.8, 1.8, 1.8, 1.0])
    timing = {"RepetitionTime": TR, "StartTime": TR / 2, "SliceTimingCorrected": True, "TaskName": "nsd"}
    for run in range(1, n_runs + 1):
        name = f"sub-01_task-nsd_run-{run:02d}"
        onsets = 8 + 4.0 * np.arange((n_volumes * TR - 24) // 4)
        rows = (f"{onset:.3f}\t3\t{rng.integers(N_IMAGES):03d}.png" for onset in onsets)
        events = "\n".join(["onset\tduration\tstim_file", *rows, ""])
        (folder / "raw" / "sub-01" / "func" / f"{name}_events.tsv").write_text(events)
        prepared = folder / "prep" / "sub-01" / "func" / f"{name}_space-T1w_desc"
        volumes = np.zeros((*shape, n_volumes), dtype=np.int16)
        volumes[mask > 0] = rng.integers(900, 1100, size=(n_voxels, n_volumes), dtype=np.int16)
        image = nibabel.Nifti1Image(volumes, affine)
        image.header.set_zooms((1.8, 1.8, 1.8, TR))
        image.header.set_xyzt_units("mm", "sec")
        image.to_filename(f"{prepared}-preproc_bold.nii.gz")
        nibabel.Nifti1Image(mask, affine).to_filename(f"{prepared}-brain_mask.nii.gz")
        Path(f"{prepared}-preproc_bold.json").write_text(json.dumps(timing))
    return Bids(derivatives=folder / "prep", label="01", task="nsd", images=images)


if __name__ == "__main__":
    main()
