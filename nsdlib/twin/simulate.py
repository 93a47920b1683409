"""Simulation of a subject: scenes, brain responses and BOLD in the file layout of NSD, and the planted truth.

Planted are receptive fields for energies of edges and colours, graded meaning in higher areas, ceilings that differ by area, what
trials and sessions add, one HRF of the library for each voxel, noise that is correlated in time and space, and drift; how much of
each, `nsdlib.twin.levels` says. The betas in the files are the planted ones plus noise of the size that NSD's denoised betas
have; the time series have the larger noise that least squares would show. Outside nsdgeneral nothing responds.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
from tqdm import tqdm

from nsdlib.core.scores import reliability
from nsdlib.data.nsd import layout as nsd
from nsdlib.data.nsd import write as nsd_write
from nsdlib.data.nsd.subject import DEFAULT_VERSION
from nsdlib.twin import bold, brain, scenes, trials, truth
from nsdlib.twin.marker import MARKER, is_complete, settings_of
from nsdlib.twin.truth import load_truth

__all__ = ["load_truth", "simulate"]

LARGEST = 109.0  # percent signal change: NSD's files hold outliers that were cut at what their form can hold
# every part of the simulation has its own random stream, so that one can change without the others
STREAMS = {name: i for i, name in enumerate(("trials", "scene", "captions", "head", "tuning", "noise", "session", "run"))}


def simulate(run, *, progress=True):
    """Simulate the subject of a run and write its files below `run.data`, unless they are complete there.

    The files are written into a temporary folder beside, which is renamed at the end: an interrupted call leaves nothing, and
    of two calls at once the first to finish is kept.

    Parameters
    ----------
    run : Run
        Its subject, n_sessions, data and simulation are used.
    progress : bool
        Show progress bars.

    Returns
    -------
    bool
        True when the subject was written, False when it was complete already. A ValueError when the run has no simulation, and a
        FileExistsError when `run.data` holds another simulated subject, or anything else.
    """
    if is_complete(run):
        if progress:
            print(f"The simulated subject is complete in {run.data.name}/: nothing to do.")
        return False
    run.data.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{run.data.name}-partial-", dir=run.data.parent) as beside:
        folder = Path(beside) / run.data.name
        _write_subject(folder, run, progress)
        (folder / MARKER).write_text(json.dumps(settings_of(run), indent=1))
        try:
            folder.rename(run.data)
        except OSError:  # another process may just have written the same subject
            if not is_complete(run):
                raise
            return False
    return True


def _write_subject(folder, run, progress):
    """Write all files of the subject and its truth into a new folder."""
    layout, settings = nsd.Layout(folder, run.subject), run.simulation

    def rng(name, *numbers):
        return np.random.default_rng([settings.seed, STREAMS[name], *numbers])

    expdesign = trials.make_expdesign(run.n_sessions, rng("trials"))
    positions = expdesign["masterordering"][: run.n_sessions * nsd.N_SESSION_TRIALS] - 1
    image_ids = expdesign["subjectim"][run.subject - 1, positions] - 1
    nsd_write.write_expdesign(layout.expdesign, expdesign)
    trials.stim_info(expdesign).to_csv(layout.stim_info)
    layout.responses.parent.mkdir(parents=True)
    behaviour = trials.responses(expdesign, run.subject, run.n_sessions, rng("trials", 1))
    behaviour.to_csv(layout.responses, sep="\t", index=False)
    shared = set(expdesign["sharedix"] - 1)
    shown = {image: sample(rng("scene", image), image in shared, settings.unseen) for image in np.unique(image_ids)}
    maps = _write_scenes(layout, shown, rng, progress)
    planted = truth.plant(settings, expdesign, image_ids, maps=maps, shown=list(shown.values()), rng=rng)
    measured = _write_sessions(layout, planted, run, rng, progress)
    _write_maps(layout, planted, measured)
    truth.save_truth(truth.truth_path(folder, run.subject), planted)


def sample(rng, is_shared, unseen):
    """Sample the scene of an image; a share `unseen` of the shared ones are the only ones whose combination can be held out."""
    wanted = is_shared and rng.random() < unseen
    while True:
        scene = scenes.sample_scene(rng)
        if unseen == 0 or scenes.is_held_out(scene) == wanted:
            return scene


def _write_scenes(layout, shown, rng, progress):
    """Write scenes and captions, image by image; returns their maps (n_images, n_channels, 32, 32)."""
    maps = []
    with nsd_write.stimulus_files(layout) as fill:
        for image_id, scene in tqdm(shown.items(), desc="drawing scenes", disable=not progress, mininterval=2):
            image = scenes.draw(scene)
            fill(image_id, image, scenes.describe(scene, rng("captions", image_id)))
            maps.append(brain.visual_maps(image))
    return np.stack(maps)


def _write_sessions(layout, planted, run, rng, progress):
    """Write betas, time series and designs of all sessions; returns the betas as written: (n_trials, n_general)."""
    responds = planted.head.responds
    betas = np.zeros((nsd.N_SESSION_TRIALS, len(responds)), dtype=np.float32)
    measured = []
    with tqdm(total=run.n_sessions * nsd.N_TASK_RUNS, desc="scanning", disable=not progress, mininterval=2) as bar:
        for session in range(1, run.n_sessions + 1):
            of_session = slice((session - 1) * nsd.N_SESSION_TRIALS, session * nsd.N_SESSION_TRIALS)
            betas[:, responds] = planted.betas[of_session]
            noise = planted.noise.draw(len(betas), planted.noise.beta_shares, (0, 0, 0, 0), rng("session", session))
            noise *= planted.noise.beta_sd.astype(np.float32)
            paths = {ending: layout.betas(DEFAULT_VERSION, session, ending) for ending in ("hdf5", "nii.gz")}
            noisy = np.clip(betas + noise, -LARGEST, LARGEST)
            nsd_write.write_betas(paths, noisy, planted.head.brain, planted.head.affine)
            measured.append(noisy[:, responds])
            for number, of_run in enumerate(trials.run_slices(), start=1):
                ids = planted.image_ids[of_session][of_run]
                _write_run(layout, planted, session, number, betas[of_run], ids=ids, rng=rng("run", session, number))
                bar.update()
    return np.concatenate(measured)


def _write_run(layout, planted, session, number, betas, *, ids, rng):
    """Write time series and design of one run."""
    onsets = trials.onset_rows(planted.expdesign, session, number)
    series = bold.draw_run(betas, onsets, planted.hrf_index, noise=planted.noise, mean=planted.mean, rng=rng)
    volume = np.zeros((*planted.head.brain.shape, nsd.N_VOLUMES), dtype=np.int16, order="F")
    volume[planted.head.brain] = series.T
    nsd_write.write_volume(layout.timeseries(session, number), volume, planted.head.affine, seconds=nsd.TR)
    nsd_write.write_design(layout.design(session, number), onsets, ids)


def _write_maps(layout, planted, measured):
    """Write the maps of the head, and the signal-to-noise ratio as NSD computes it from the written betas."""
    head = planted.head
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
