"""A simulated subject in NSD's files: the experiment, betas and time series."""

import numpy as np

from nsdlib.core.scores import reliability
from nsdlib.data.nsd import layout as nsd
from nsdlib.data.nsd import write as nsd_write
from nsdlib.data.nsd.subject import DEFAULT_VERSION
from nsdlib.twin import trials

MAX_BETA = 109.0  # percent signal change: NSD's files clip outliers at the largest value that their format can hold


class NSDWriter:
    """Writes a run's simulated subject into a folder that mirrors NSD's bucket."""

    def __init__(self, run, folder):
        self.run, self.layout = run, nsd.Layout(folder, run.subject)
        self.measured = []  # of each session, the betas as written: (750, n_general)

    def write_experiment(self, expdesign, rng):
        """Write the design of `trials.make_expdesign`, the table of images, and behaviour drawn from `rng`."""
        nsd_write.write_expdesign(self.layout.expdesign, expdesign)
        trials.stim_info(expdesign).to_csv(self.layout.stim_info)
        self.layout.responses.parent.mkdir(parents=True)
        behaviour = trials.responses(expdesign, self.run.subject, self.run.n_sessions, rng)
        behaviour.to_csv(self.layout.responses, sep="\t", index=False)

    def pictures(self):
        """Open the files of images; yields a function (image_id, image, captions) that writes one."""
        return nsd_write.stimulus_files(self.layout)

    def write_session(self, planted, session, rng):
        """Write the betas of a session: the planted betas plus as much noise as NSD's denoised betas have."""
        betas = planted.betas[(session - 1) * nsd.N_SESSION_TRIALS : session * nsd.N_SESSION_TRIALS]
        measured = planted.noise.draw(len(betas), planted.noise.beta_shares, (0, 0, 0, 0), rng)
        measured *= planted.noise.beta_sd.astype(np.float32)
        measured[:, planted.head.responds] += betas
        measured = np.clip(measured, -MAX_BETA, MAX_BETA)
        paths = {ending: self.layout.betas(DEFAULT_VERSION, session, ending) for ending in ("hdf5", "nii.gz")}
        nsd_write.write_betas(paths, measured, planted.head.brain, planted.head.affine)
        self.measured.append(measured[:, planted.head.responds])

    def write_run(self, planted, session, run, series, *, onsets, image_ids):
        """Write time series (226, n_voxels) int16 and design of a task run; onsets are volumes (n_trials,)."""
        volume = np.zeros((*planted.head.brain.shape, nsd.N_VOLUMES), dtype=np.int16, order="F")
        volume[planted.head.brain] = series.T
        nsd_write.write_volume(self.layout.timeseries(session, run), volume, planted.head.affine, seconds=nsd.TR)
        nsd_write.write_design(self.layout.design(session, run), onsets, image_ids)

    def finish(self, planted):
        """Write the maps of the head, and the ncsnr computed from the written betas as in NSD."""
        head, layout, measured = planted.head, self.layout, np.concatenate(self.measured)
        mean, ratio = np.zeros((2, *head.brain.shape), np.float32)
        mean[head.brain] = planted.mean
        session = np.arange(len(measured)) // nsd.N_SESSION_TRIALS
        ratio[head.general] = reliability.ncsnr(measured, planted.image_ids, session=session)
        mask = head.brain.astype(np.int16)
        for name, values in (("brainmask", mask), ("valid", mask), ("mean", mean)):
            nsd_write.write_volume(layout.volume(name), values, head.affine)
        nsd_write.write_volume(layout.ncsnr(DEFAULT_VERSION), ratio, head.affine)
        for name, labels in head.rois.items():
            nsd_write.write_volume(layout.roi(name), labels, head.affine)
            nsd_write.write_roi_names(layout.roi_names(name), nsd.ROI_LABELS[name])
