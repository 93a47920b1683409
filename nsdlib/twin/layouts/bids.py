"""A simulated subject as a BIDS data set without raw volumes, and its fMRIPrep derivatives."""

import json
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from nsdlib import __version__
from nsdlib.data.nsd import layout as nsd
from nsdlib.twin import bold
from nsdlib.twin.layouts.confounds import simulate_confounds
from nsdlib.twin.marker import CAPTIONS, MARKER, STIMULI

README = """A subject simulated by nsdlib: nobody was scanned.

Raw volumes (*_bold.nii.gz) were not simulated: their sidecars are here, and the preprocessed volumes in fMRIPrep's
derivatives, a data set of their own. The folder truth, which is no part of BIDS, holds what was planted.
"""
COLUMNS = {
    "trial_type": {"LongName": "Kind of event", "Levels": {"shared": "a test picture", "own": "any other", "rest": "none"}},
    "stim_file": {"LongName": "Picture", "Description": "below the folder stimuli"},
}
CTX = {"cuneus": 5, "fusiform": 7, "inferiorparietal": 8, "lateraloccipital": 11, "lingual": 13, "pericalcarine": 21}
# area: FreeSurfer's parcel in the lower half of the volume, and in the upper half
PARCELS = {
    "V1": ("pericalcarine", "pericalcarine"), "V2": ("lingual", "cuneus"), "V3": ("lateraloccipital", "lateraloccipital"),
    "hV4": ("lateraloccipital", "lateraloccipital"), "other": ("fusiform", "inferiorparietal"),
}  # fmt: skip


def picture_name(image_id):
    """Return the file name of a picture; names sort like the 0-based ids."""
    return f"nsd-{image_id:05d}.png"


class BIDSWriter:
    """Writes a run's simulated subject into two new folders: derivatives, and the data set itself.

    A task run has the 225 volumes of NSD's design files, or all 226 if onsets lie between volumes. Confounds are computed from
    the volumes, except motion, which is simulated and does not affect the volumes.
    """

    def __init__(self, run, derivatives, raw):
        self.run, self.raw, self.derivatives = run, raw, derivatives
        between = run.simulation.onsets == "between"
        self.start, self.n_volumes = (bold.START * nsd.TR, nsd.N_VOLUMES) if between else (0.0, nsd.N_DESIGN_ROWS)

    def _stem(self, folder, session, run):
        """Return the path of a task run's files up to and including the run number; make its folder."""
        label, task = self.run.bids.label, self.run.bids.task
        func = folder / f"sub-{label}" / f"ses-{session:02d}" / "func"
        func.mkdir(parents=True, exist_ok=True)
        return str(func / f"sub-{label}_ses-{session:02d}_task-{task}_run-{run:02d}")

    def write_experiment(self, expdesign, rng):
        """Write the files of the whole data set; `rng` is not used."""
        task = self.run.bids.task
        generator = [{"Name": "nsdlib", "Version": __version__, "Description": "simulated, in the layout of fMRIPrep"}]
        description = {"Name": "Simulated subject", "BIDSVersion": "1.10.0", "License": "CC0"}
        files = {
            self.raw / "dataset_description.json": description | {"DatasetType": "raw"},
            self.raw / f"task-{task}_bold.json": {"TaskName": task, "RepetitionTime": nsd.TR},
            self.raw / f"task-{task}_events.json": COLUMNS,
            self.derivatives / "dataset_description.json": description | {"DatasetType": "derivative", "GeneratedBy": generator},
        }
        for path, content in files.items():
            _write_json(path, content)
        (self.raw / "README").write_text(README)
        (self.raw / ".bidsignore").write_text(f"{MARKER}\ntruth/\n")
        (self.derivatives / ".bidsignore").write_text(f"{MARKER}\n")
        (self.raw / "participants.tsv").write_text(f"participant_id\nsub-{self.run.bids.label}\n")
        self.shared = expdesign["sharedix"] - 1

    @contextmanager
    def pictures(self):
        """Make the folder of pictures and captions; yields a function (image_id, image, captions) that writes one."""
        folder, rows = self.raw / STIMULI, []
        folder.mkdir()

        def write_picture(image_id, image, texts):
            Image.fromarray(image).save(folder / picture_name(image_id), compress_level=1)
            rows.extend((picture_name(image_id), text) for text in texts)

        yield write_picture
        _write_table(folder / CAPTIONS, pd.DataFrame(rows, columns=["image", "caption"]))

    def write_session(self, planted, session, rng):
        """Write nothing: there are no betas in this layout."""

    def write_run(self, planted, session, run, series, *, onsets, image_ids):
        """Write the events and fMRIPrep derivatives of a task run.

        Takes time series (226, n_voxels) int16, and each trial's onset (in volumes) and NSD image id.
        """
        head, series = planted.head, series[: self.n_volumes]
        raw, derivative = (self._stem(folder, session, run) for folder in (self.raw, self.derivatives))
        _write_json(f"{raw}_bold.json", {"NumberOfVolumesDiscardedByScanner": 0})
        rest = pd.DataFrame({"onset": [0.0], "duration": [onsets[0] * nsd.TR], "trial_type": ["rest"], "stim_file": ["n/a"]})
        trials = pd.DataFrame(
            {
                "onset": onsets * nsd.TR,
                "duration": nsd.STIMULUS_SECONDS,
                "trial_type": np.where(np.isin(image_ids, self.shared), "shared", "own"),
                "stim_file": [picture_name(image_id) for image_id in image_ids],
            }
        )
        _write_table(f"{raw}_events.tsv", pd.concat([rest, trials]))
        space = f"{derivative}_space-{self.run.bids.space}"
        timing = {"RepetitionTime": nsd.TR, "StartTime": self.start, "SliceTimingCorrected": bool(self.start)}
        _write_json(f"{space}_desc-preproc_bold.json", {"TaskName": self.run.bids.task, "SkullStripped": False} | timing)
        self._write_volume(f"{space}_desc-preproc_bold.nii.gz", head, series)
        self._write_volume(f"{space}_desc-brain_mask.nii.gz", head, np.ones(series.shape[1], np.uint8))
        self._write_volume(f"{space}_boldref.nii.gz", head, series.mean(axis=0).astype(np.float32))
        self._write_volume(f"{space}_desc-aparcaseg_dseg.nii.gz", head, _parcels(head))
        seed = [self.run.simulation.seed, session, run]
        table, metadata = simulate_confounds(series, head, tr=nsd.TR, rng=np.random.default_rng(seed))
        _write_table(f"{derivative}_desc-confounds_timeseries.tsv", table)
        _write_json(f"{derivative}_desc-confounds_timeseries.json", metadata)

    def finish(self, planted):
        """Write the names of the regions' labels."""
        names = {"unknown": 0} | CTX
        ctx = [(base + n, f"ctx-{side}-{name}") for base, side in ((1000, "lh"), (2000, "rh")) for name, n in names.items()]
        white_matter = [(2, "Left-Cerebral-White-Matter"), (41, "Right-Cerebral-White-Matter")]
        table = pd.DataFrame(sorted([*ctx, *white_matter]), columns=["index", "name"])
        _write_table(self.derivatives / "desc-aparcaseg_dseg.tsv", table)

    def _write_volume(self, path, head, values):
        """Write values of the brain's voxels, (n_voxels,) or (n_volumes, n_voxels), 0 elsewhere."""
        import nibabel

        volume = np.zeros((*head.brain.shape, *values.shape[:-1]), dtype=values.dtype, order="F")
        volume[head.brain] = values.T
        image = nibabel.Nifti1Image(volume, head.affine)
        image.header.set_xyzt_units("mm", "sec")
        if values.ndim > 1:
            image.header["pixdim"][4] = nsd.TR
        nibabel.save(image, path)


def _parcels(head):
    """FreeSurfer's label of each voxel of the brain: (n_voxels,) int16."""
    area = np.full(head.brain.shape, "white", dtype="<U5")
    area[head.cortex], area[head.general] = "cort", head.areas()[0]
    x, _, z = (axis[head.brain] for axis in np.indices(head.brain.shape))
    right, above = x >= head.brain.shape[0] / 2, z >= head.brain.shape[2] / 2
    area = area[head.brain]
    label = np.where(area == "white", np.where(right, 41, 2), np.where(right, 2000, 1000))
    for name, (lower, upper) in PARCELS.items():
        label += (area == name) * np.where(above, CTX[upper], CTX[lower])
    return label.astype(np.int16)


def _write_json(path, content):
    """Write a JSON file, and make its folder."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(content, indent=1))


def _write_table(path, table):
    """Write a table in BIDS format: separated by tabs, n/a for missing values."""
    table.to_csv(path, sep="\t", index=False, na_rep="n/a", float_format=lambda value: f"{value:.9g}")
