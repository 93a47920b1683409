"""The planted truth of a simulated subject and its file, which the readers of NSD never open."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from nsdlib.core.glm import hrf
from nsdlib.core.scores.reliability import noise_ceiling
from nsdlib.data.nsd import layout as nsd
from nsdlib.twin import anatomy, bold, brain, meaning, scenes, trials
from nsdlib.twin.levels import LEVELS
from nsdlib.twin.marker import check_subject, planned_subject


@dataclass(frozen=True)
class Planted:
    """Planted truth of a simulated subject, for n_voxels voxels of the brain and n_general voxels of nsdgeneral."""

    expdesign: dict
    image_ids: np.ndarray  # (n_trials,)
    shown: np.ndarray  # (n_images,)
    attributes: np.ndarray  # (n_images, n_attributes)
    head: anatomy.Anatomy
    tuning: brain.Tuning
    response: np.ndarray  # (n_images, n_general)
    gain: np.ndarray  # (n_trials,)
    betas: np.ndarray  # (n_trials, n_general)
    snr: np.ndarray  # (n_general,)
    noise: bold.Noise
    hrf_index: np.ndarray  # (n_voxels,)
    mean: np.ndarray  # (n_voxels,) scanner units


def plant(settings, expdesign, image_ids, *, maps, shown, rng):
    """Simulate the brain of a subject and its noiseless responses to every trial (Planted).

    Takes the Simulation, the design of `trials.make_expdesign`, and the 0-based image id of each trial (n_trials,). `maps`
    (n_images, n_channels, 32, 32) and `shown` are the channel maps and Scenes of the images, in the order of their ids.
    `rng(name, *numbers)` returns the random generator of a stream of `simulate.STREAMS`.
    """
    levels, head = LEVELS[settings.kind], anatomy.make_anatomy(settings.shape, rng("head"))
    attributes = np.stack([scenes.attributes(scene) for scene in shown])
    tuning = brain.make_tuning(head, levels, rng("tuning"))
    n_dimensions = tuning.semantic.shape[1]
    graded = meaning.embed(shown, n_dimensions) if levels.dimensions else brain.standardise(attributes)
    private = meaning.private(maps, n_dimensions)
    drive = brain.drive(tuning, maps, meaning=graded, private=private, attributes=attributes, levels=levels)
    response = brain.respond(drive, area=tuning.area, levels=levels, rng=rng("tuning", 1))
    images, row = np.unique(image_ids, return_inverse=True)
    snr = bold.draw_ncsnr(head, settings.quality, levels, rng("noise"))
    is_dead, total_sd = snr == 0, response.std(axis=0, dtype=np.float64) / np.where(snr > 0, snr, np.median(snr))
    response[:, is_dead] = response[:, is_dead].mean(axis=0)
    gain = brain.draw_gain(len(image_ids), levels.gain_sd, rng("tuning", 2), ar=levels.gain_ar)
    gain_variance = np.expm1(levels.gain_sd**2)  # of a log-normal gain
    other_variance = np.square(response, dtype=np.float64).mean(axis=0) * gain_variance + levels.aligned * total_sd**2
    onsets = trials.onset_rows(expdesign, 1, 1)
    noise = bold.make_noise(total_sd, other_variance, head=head, levels=levels, onsets=onsets, rng=rng("noise", 1))
    aligned = total_sd.astype(np.float32) * brain.aligned_noise(response, len(row), rng("tuning", 3))
    betas = gain[:, None] * brain.repetition(image_ids, tuning.area, levels) * response[row]
    betas += np.float32(np.sqrt(levels.aligned)) * aligned
    return Planted(
        expdesign, image_ids, images, attributes, head, tuning, response, gain,
        betas=_across_sessions(betas, np.hypot(total_sd, response.std(axis=0)), levels, rng("tuning", 4)),
        snr=response.std(axis=0, dtype=np.float64) / np.sqrt(noise.beta_sd[head.responds] ** 2 + other_variance),
        noise=noise,
        hrf_index=bold.draw_hrfs(head, rng("noise", 2)),
        mean=bold.draw_mean(head, rng("noise", 3)),
    )  # fmt: skip


def _across_sessions(betas, beta_sd, levels, rng):
    """Apply each voxel's gain and offset in each session to the betas: (n_trials, n_general) float32."""
    session = np.arange(len(betas)) // nsd.N_SESSION_TRIALS
    gain, offset = brain.session_effects(session[-1] + 1, betas.shape[1], levels, rng)
    return gain[session] * betas + (offset * beta_sd.astype(np.float32))[session]


def load_truth(run):
    """Load the planted truth of a run's simulated subject, for the voxels of nsdgeneral (xarray.Dataset).

    Axes are voxel (flat C-order index into the volume), trial (from 0), image (its number in the run's subject) and attribute.
    Variables: betas (trial, voxel), percent signal change, with trial and session effects but without measurement noise;
    response (image, voxel), the response to the image alone; gain (trial); hrf_index, hrf_peak (s), snr, noise_ceiling (percent,
    three repeats), area, x, y and size of each voxel; scene (image, attribute). Raises FileNotFoundError if the subject was not
    simulated, and ValueError if the folder holds another run's subject.
    """
    check_subject(run)
    path = truth_path(run.data, planned_subject(run))
    if not path.is_file():
        real = f"Run {run.name!r} is of a real subject, which has no planted truth: choose a run with a `simulation`."
        advice = f"Run `nsdlib simulate {run.name}`." if run.simulation else real
        raise FileNotFoundError(f"Missing {path.name} (the planted truth of a simulated subject) in {path.parent}. {advice}")
    truth = xr.load_dataset(path, engine="h5netcdf")
    return truth if run.bids is None else _as_in_bids(truth, run.n_sessions)


def _as_in_bids(truth, n_sessions):
    """Select the first sessions and number trials and images consecutively, as a BIDS subject does."""
    truth = truth.isel(trial=truth.trial.values < n_sessions * nsd.N_SESSION_TRIALS)
    image_ids, number = np.unique(truth.image_id, return_inverse=True)  # file names of pictures sort like their ids
    coordinates = {"image": np.arange(len(image_ids)), "trial": np.arange(truth.sizes["trial"]), "image_id": ("trial", number)}
    return truth.sel(image=image_ids).assign_coords(coordinates)


def save_truth(path, planted, *, n_runs):
    """Save the planted truth of the first `n_runs` task runs of each session, as the arrays that `load_truth` documents.

    In the file, images have NSD's ids, and trials are numbered as if all task runs were there.
    """
    trial = np.arange(len(planted.gain))
    is_written = trial % nsd.N_SESSION_TRIALS < sum(nsd.RUN_TRIALS[:n_runs])
    hrf_index, tuning = planted.hrf_index[planted.head.responds], planted.tuning
    truth = xr.Dataset(
        {
            "betas": (("trial", "voxel"), planted.betas),
            "response": (("image", "voxel"), planted.response),
            "gain": ("trial", planted.gain),
            "scene": (("image", "attribute"), planted.attributes),
            "hrf_index": ("voxel", hrf_index),
            "hrf_peak": ("voxel", hrf.peak_seconds()[hrf_index]),
            "snr": ("voxel", planted.snr),
            "noise_ceiling": ("voxel", noise_ceiling(planted.snr, nsd.N_REPEATS)),
            **{name: ("voxel", getattr(tuning, name)) for name in ("area", "x", "y", "size")},
        },
        coords={
            "trial": trial,
            "image": planted.shown,
            "voxel": np.flatnonzero(planted.head.general),
            "attribute": list(scenes.ATTRIBUTES),
            "image_id": ("trial", planted.image_ids),
        },
    )
    path.parent.mkdir(parents=True)
    truth = truth.isel(trial=is_written)
    encoding = {name: {"zlib": True, "complevel": 1} for name in ("betas", "response")}
    truth.to_netcdf(path, engine="h5netcdf", encoding=encoding)


def truth_path(folder, subject):
    """Return the path of the truth file of a simulated subject."""
    return folder / "truth" / f"subj{subject:02d}.nc"
