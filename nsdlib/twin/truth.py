"""What is planted in a simulated subject, and the file that keeps it, which no reader of NSD touches."""

from dataclasses import dataclass

import numpy as np

from nsdlib.core.glm import hrf
from nsdlib.twin import anatomy, bold, brain, scenes, trials


@dataclass(frozen=True)
class Planted:
    """Everything that is planted about the simulated subject; voxels are those of the brain, or of nsdgeneral where said."""

    expdesign: dict
    image_ids: np.ndarray  # (n_trials,)
    shown: np.ndarray  # (n_images,)
    meaning: np.ndarray  # (n_images, n_attributes)
    head: anatomy.Anatomy
    general: np.ndarray  # (n_voxels,) bool, which are nsdgeneral
    tuning: brain.Tuning
    response: np.ndarray  # (n_images, n_general)
    gain: np.ndarray  # (n_trials,)
    betas: np.ndarray  # (n_trials, n_general)
    snr: np.ndarray  # (n_general,)
    noise: bold.Noise
    hrf_index: np.ndarray  # (n_voxels,)
    mean: np.ndarray  # (n_voxels,) scanner units


def plant(knobs, expdesign, image_ids, *, maps, meaning, rng):
    """Build the brain of a subject and let it answer every trial.

    Parameters
    ----------
    knobs : params.Simulation
    expdesign : dict
        See `trials.make_expdesign`.
    image_ids : (n_trials,) int
        0-based image of each trial.
    maps, meaning : ndarray
        Channels (n_images, n_channels, 32, 32) and attributes (n_images, n_attributes) of the images, in the order of
        their ids.
    rng : callable
        Gives the generator of a named part, see `simulate.STREAMS`.

    Returns
    -------
    Planted
    """
    head = anatomy.make_anatomy(knobs.shape, rng("head"))
    tuning = brain.make_tuning(head, rng("tuning"))
    drive = brain.drive(tuning, maps, meaning)
    response = brain.respond(drive, saturation=knobs.saturation, rng=rng("tuning", 1))
    gain = brain.draw_gain(len(image_ids), knobs.gain_sd, rng("tuning", 2))
    shown, row = np.unique(image_ids, return_inverse=True)
    general = head.general[head.brain]
    snr = knobs.snr * rng("noise").lognormal(0, knobs.snr_spread, general.sum())
    noise = bold.make_noise(
        response, snr, general=general, gain_sd=knobs.gain_sd, shared=knobs.shared_noise, rng=rng("noise", 1)
    )
    return Planted(
        expdesign, image_ids, shown, meaning, head, general, tuning, response, gain,
        betas=gain[:, None] * response[row],
        snr=bold.signal_to_noise(response, noise.beta_sd[general], knobs.gain_sd),
        noise=noise,
        hrf_index=bold.draw_hrfs(head.brain, rng("noise", 2)),
        mean=bold.draw_mean(head.brain, rng("noise", 3)),
    )  # fmt: skip


def load_truth(run):
    """What was planted, for the voxels of nsdgeneral.

    Returns
    -------
    xarray.Dataset
        Axes voxel (flat C-order index into the volume), trial (from 0), image (0-based 73k id), channel, attribute.
        Variables: betas (trial, voxel) percent signal change, with the gain and without noise; response (image, voxel)
        without gain; gain (trial); hrf_index, hrf_peak (s), snr, noise_ceiling (percent, three repeats), area, x, y, size,
        channels and attributes (weights) for each voxel; scene (image, attribute).

    Raises
    ------
    FileNotFoundError
        When the subject was not simulated.
    """
    import xarray as xr

    path = truth_path(run.data, run.subject)
    if not path.is_file():
        raise FileNotFoundError(
            f"Missing {path.name} (the planted truth of the simulated subject) in {path.parent}. Make it with "
            f"`nsdlib simulate {run.name}`; real subjects have no known truth."
        )
    return xr.load_dataset(path, engine="h5netcdf")


def save_truth(path, planted):
    """Write what was planted, labelled; `load_truth` says what is in it."""
    import xarray as xr

    index, tuning = planted.hrf_index[planted.general], planted.tuning
    truth = xr.Dataset(
        {
            "betas": (("trial", "voxel"), planted.betas),
            "response": (("image", "voxel"), planted.response),
            "gain": ("trial", planted.gain),
            "scene": (("image", "attribute"), planted.meaning),
            "hrf_index": ("voxel", index),
            "hrf_peak": ("voxel", hrf.peak_seconds()[index]),
            "snr": ("voxel", planted.snr),
            "noise_ceiling": ("voxel", 100 * planted.snr**2 / (planted.snr**2 + 1 / trials.N_REPEATS)),
            **{name: ("voxel", getattr(tuning, name)) for name in ("area", "x", "y", "size")},
            "channels": (("voxel", "channel"), tuning.channels),
            "attributes": (("voxel", "attribute"), tuning.attributes),
        },
        coords={
            "trial": np.arange(len(planted.gain)),
            "image": planted.shown,
            "voxel": np.flatnonzero(planted.head.general),
            "channel": list(brain.CHANNELS),
            "attribute": list(scenes.ATTRIBUTES),
            "image_id": ("trial", planted.image_ids),
        },
    )
    path.parent.mkdir(parents=True)
    packed = {name: {"zlib": True, "complevel": 1} for name in ("betas", "response")}
    truth.to_netcdf(path, engine="h5netcdf", encoding=packed)


def truth_path(folder, subject):
    """Where the truth of a simulated subject lies."""
    return folder / "truth" / f"subj{subject:02d}.nc"
