"""The planted truth of a simulated subject, and its file, which no reader of NSD opens."""

from dataclasses import dataclass

import numpy as np

from nsdlib.core.glm import hrf
from nsdlib.core.scores.reliability import noise_ceiling
from nsdlib.data.nsd_layout import N_REPEATS
from nsdlib.twin import anatomy, bold, brain, scenes
from nsdlib.twin.marker import check_subject


@dataclass(frozen=True)
class Planted:
    """Planted truth of a simulated subject; n_voxels counts the brain, n_general nsdgeneral."""

    expdesign: dict
    image_ids: np.ndarray  # (n_trials,)
    shown: np.ndarray  # (n_images,)
    meaning: np.ndarray  # (n_images, n_attributes)
    head: anatomy.Anatomy
    general: np.ndarray  # (n_voxels,) bool, the voxels of nsdgeneral
    tuning: brain.Tuning
    response: np.ndarray  # (n_images, n_general)
    gain: np.ndarray  # (n_trials,)
    betas: np.ndarray  # (n_trials, n_general)
    snr: np.ndarray  # (n_general,)
    noise: bold.Noise
    hrf_index: np.ndarray  # (n_voxels,)
    mean: np.ndarray  # (n_voxels,) scanner units


def plant(settings, expdesign, image_ids, *, maps, meaning, rng):
    """Simulate the brain of a subject and its noiseless responses to every trial (Planted).

    Parameters
    ----------
    settings : params.Simulation
    expdesign : dict
        See `trials.make_expdesign`.
    image_ids : (n_trials,) int
        0-based image of each trial.
    maps, meaning : (n_images, n_channels, 32, 32), (n_images, n_attributes) arrays
        Channels and attributes of the images, in the order of their ids.
    rng : callable
        Name of a stream of `simulate.STREAMS`, and numbers, to its random generator.
    """
    head = anatomy.make_anatomy(settings.shape, rng("head"))
    tuning = brain.make_tuning(head, rng("tuning"))
    drive = brain.drive(tuning, maps, meaning)
    response = brain.respond(drive, saturation=settings.saturation, rng=rng("tuning", 1))
    gain = brain.draw_gain(len(image_ids), settings.gain_sd, rng("tuning", 2))
    shown, row = np.unique(image_ids, return_inverse=True)
    general = head.general[head.brain]
    snr = settings.snr * rng("noise").lognormal(0, settings.snr_spread, general.sum())
    noise = bold.make_noise(
        response, snr, general=general, gain_sd=settings.gain_sd, shared=settings.shared_noise, rng=rng("noise", 1)
    )
    return Planted(
        expdesign, image_ids, shown, meaning, head, general, tuning, response, gain,
        betas=gain[:, None] * response[row],
        snr=bold.signal_to_noise(response, noise.beta_sd[general], settings.gain_sd),
        noise=noise,
        hrf_index=bold.draw_hrfs(head.brain, rng("noise", 2)),
        mean=bold.draw_mean(head.brain, rng("noise", 3)),
    )  # fmt: skip


def load_truth(run):
    """Load the planted truth of a run's simulated subject, for the voxels of nsdgeneral (xarray.Dataset).

    Axes voxel (flat C-order index into the volume), trial (from 0), image (0-based 73k id), channel, attribute. Variables: betas
    (trial, voxel) percent signal change, with the gain and without noise; response (image, voxel) without gain; gain (trial);
    hrf_index, hrf_peak (s), snr, noise_ceiling (percent, three repeats), area, x, y, size, channels and attributes (weights) for
    each voxel; scene (image, attribute). A subject that was not simulated raises a FileNotFoundError, another run's a ValueError.
    """
    import xarray as xr

    check_subject(run)
    path = truth_path(run.data, run.subject)
    if not path.is_file():
        how = (
            f"Run `nsdlib simulate {run.name}`."
            if run.simulation
            else f"Run {run.name!r} is of a real subject, which has none."
        )
        raise FileNotFoundError(
            f"Missing {path.name} (the planted truth of a simulated subject) in {path.parent}. {how}"
        )
    return xr.load_dataset(path, engine="h5netcdf")


def save_truth(path, planted):
    """Save the planted truth as the labelled arrays that `load_truth` documents."""
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
            "noise_ceiling": ("voxel", noise_ceiling(planted.snr, N_REPEATS)),
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
    """Return the path of the truth file of a simulated subject."""
    return folder / "truth" / f"subj{subject:02d}.nc"
