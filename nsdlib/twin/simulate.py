"""Simulation of a subject: scenes, brain responses, BOLD and the planted truth, as NSD's files or as BIDS.

The planted effects are receptive fields for edge and colour energy, graded meaning in higher areas, noise ceilings that differ by
area, trial and session effects, one HRF of the library per voxel, noise correlated in time and space, and drift. Their strengths
are in `nsdlib.twin.levels`. NSD's beta files hold the planted betas plus as much noise as NSD's denoised betas have; the time
series have the larger noise of least-squares betas. Voxels outside nsdgeneral do not respond.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
from tqdm import tqdm

from nsdlib.data.nsd import layout as nsd
from nsdlib.twin import bold, brain, captions, scenes, trials, truth
from nsdlib.twin.layouts.bids import BIDSWriter
from nsdlib.twin.layouts.nsd import NSDWriter
from nsdlib.twin.marker import MARKER, folders, is_complete, planned_subject, settings_of
from nsdlib.twin.truth import load_truth

__all__ = ["load_truth", "simulate"]

# each part of the simulation has its own random stream, so that it can change alone; confounds are seeded by session and run
NAMES = ("trials", "scene", "captions", "head", "tuning", "noise", "session", "run", "onsets")
STREAMS = {name: i for i, name in enumerate(NAMES)}


def simulate(run, *, progress=True):
    """Simulate the subject of a run and write its files below `run.data`, unless they are complete there.

    The files are NSD's or, if the run has a section `bids`, a BIDS data set and its fMRIPrep derivatives. Both layouts hold the
    same subject, and the same time series if onsets lie on volumes. A temporary folder next to `run.data` takes the files and is
    renamed at the end: an interrupted call leaves nothing half written; of two concurrent calls, the first to finish is kept.

    Parameters
    ----------
    run : Run
        Uses subject, n_sessions, data, simulation and bids.
    progress : bool
        Show progress bars.

    Returns
    -------
    bool
        True if the subject was written, False if it was already complete. Raises ValueError if the run has no simulation or
        its layout cannot hold it, and FileExistsError if its folders hold another simulated subject or other files.
    """
    if is_complete(run):
        if progress:
            print(f"The simulated subject is complete in {run.data.name}/: nothing to do.")
        return False
    targets = folders(run)
    for folder in targets:
        folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{run.data.name}-partial-", dir=run.data.parent) as parent:
        partial = [Path(parent) / str(number) for number in range(len(targets))]
        writer = NSDWriter(run, *partial) if run.bids is None else BIDSWriter(run, *partial)
        _write_subject(writer, partial[-1], run, progress)
        for folder in partial:
            (folder / MARKER).write_text(json.dumps(settings_of(run), indent=1))
        return [_rename(folder, target, run) for folder, target in zip(partial, targets, strict=True)][-1]


def _rename(folder, target, run):
    """Rename a finished folder to its target; return False if another process has just written the same subject there."""
    try:
        folder.rename(target)
    except OSError:
        if not is_complete(run, target):
            raise
        return False
    return True


def _write_subject(writer, data, run, progress):
    """Write all files of the subject, and the planted truth into the new folder `data`."""
    settings = run.simulation

    def rng(name, *numbers):
        return np.random.default_rng([settings.seed, STREAMS[name], *numbers])

    expdesign = trials.make_expdesign(run.n_sessions, rng("trials"))
    positions = expdesign["masterordering"][: run.n_sessions * nsd.N_SESSION_TRIALS] - 1
    image_ids = expdesign["subjectim"][planned_subject(run) - 1, positions] - 1
    writer.write_experiment(expdesign, rng("trials", 1))
    shared_ids = set(expdesign["sharedix"] - 1)
    scene_of_image = {image: sample(rng("scene", image), image in shared_ids, settings.unseen) for image in np.unique(image_ids)}
    maps = _write_scenes(writer, scene_of_image, rng, progress)
    planted = truth.plant(settings, expdesign, image_ids, maps=maps, shown=list(scene_of_image.values()), rng=rng)
    _write_sessions(writer, planted, run, rng, progress)
    writer.finish(planted)
    truth.save_truth(truth.truth_path(data, planned_subject(run)), planted, n_runs=settings.runs)


def sample(rng, is_shared, unseen):
    """Sample the scene of an image. If `unseen` > 0, held-out combinations occur only in that share of the shared images."""
    held_out = is_shared and rng.random() < unseen
    while True:
        scene = scenes.sample_scene(rng)
        if unseen == 0 or scenes.is_held_out(scene) == held_out:
            return scene


def _write_scenes(writer, scene_of_image, rng, progress):
    """Write scenes and captions, image by image; return their channel maps (n_images, n_channels, 32, 32)."""
    maps = []
    with writer.pictures() as write_picture:
        for image_id, scene in tqdm(scene_of_image.items(), desc="drawing scenes", disable=not progress, mininterval=2):
            image = scenes.draw(scene)
            write_picture(image_id, image, captions.describe(scene, rng("captions", image_id)))
            maps.append(brain.visual_maps(image))
    return np.stack(maps)


def _write_sessions(writer, planted, run, rng, progress):
    """Simulate and write all sessions, task run by task run."""
    betas = np.zeros((nsd.N_SESSION_TRIALS, len(planted.head.responds)), dtype=np.float32)
    n_runs, start = run.simulation.runs, bold.START if run.simulation.onsets == "between" else 0
    run_trials = np.split(np.arange(nsd.N_SESSION_TRIALS), np.cumsum(nsd.RUN_TRIALS)[:-1])
    with tqdm(total=run.n_sessions * n_runs, desc="scanning", disable=not progress, mininterval=2) as bar:
        for session in range(1, run.n_sessions + 1):
            first = (session - 1) * nsd.N_SESSION_TRIALS
            betas[:, planted.head.responds] = planted.betas[first : first + nsd.N_SESSION_TRIALS]
            writer.write_session(planted, session, rng("session", session))
            for run_number, rows in enumerate(run_trials[:n_runs], start=1):
                onsets = trials.onset_rows(planted.expdesign, session, run_number)
                if start:
                    delays = rng("onsets", session, run_number).integers(bold.MAX_DELAY + 1, size=len(onsets))
                    onsets = onsets + delays / bold.STEPS_PER_VOLUME
                series = bold.draw_run(
                    betas[rows], onsets, planted.hrf_index, start=start,
                    noise=planted.noise, mean=planted.mean, rng=rng("run", session, run_number),
                )  # fmt: skip
                image_ids = planted.image_ids[first : first + nsd.N_SESSION_TRIALS][rows]
                writer.write_run(planted, session, run_number, series, onsets=onsets, image_ids=image_ids)
                bar.update()
