"""Simulation of a subject: scenes, brain responses and BOLD in the files of NSD or of BIDS, and the planted truth.

Planted are receptive fields for energies of edges and colours, graded meaning in higher areas, ceilings that differ by area, what
trials and sessions add, one HRF of the library for each voxel, noise that is correlated in time and space, and drift; how much of
each, `nsdlib.twin.levels` says. NSD's files of betas hold the planted ones plus noise of the size that NSD's denoised betas
have; the time series have the larger noise that least squares would show. Outside nsdgeneral nothing responds.
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

# parts of the simulation have their own random streams, so that one can change without the others; confounds are numbered by runs
NAMES = ("trials", "scene", "captions", "head", "tuning", "noise", "session", "run", "onsets")
STREAMS = {name: i for i, name in enumerate(NAMES)}


def simulate(run, *, progress=True):
    """Simulate the subject of a run and write its files below `run.data`, unless they are complete there.

    They are NSD's files, or, where the run has a section `bids`, a BIDS data set and fMRIPrep's derivatives of it: the same
    subject, and where its onsets lie on volumes the same time series. The files are written into a temporary folder beside, which
    is renamed at the end: an interrupted call leaves nothing half written, and of two calls at once the first to finish is kept.

    Parameters
    ----------
    run : Run
        Its subject, n_sessions, data, simulation and bids are used.
    progress : bool
        Show progress bars.

    Returns
    -------
    bool
        True when the subject was written, False when it was complete already. A ValueError when the run has no simulation, or one
        that its layout cannot hold, and a FileExistsError when its folders hold another simulated subject, or anything else.
    """
    if is_complete(run):
        if progress:
            print(f"The simulated subject is complete in {run.data.name}/: nothing to do.")
        return False
    targets = folders(run)
    for folder in targets:
        folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{run.data.name}-partial-", dir=run.data.parent) as beside:
        made = [Path(beside) / str(number) for number in range(len(targets))]
        writer = NSDWriter(run, *made) if run.bids is None else BIDSWriter(run, *made)
        _write_subject(writer, made[-1], run, progress)
        for folder in made:
            (folder / MARKER).write_text(json.dumps(settings_of(run), indent=1))
        return [_keep(folder, target, run) for folder, target in zip(made, targets, strict=True)][-1]


def _keep(made, target, run):
    """Give a finished folder its name, unless another process has just written the same subject there; says whether it did."""
    try:
        made.rename(target)
    except OSError:
        if not is_complete(run, target):
            raise
        return False
    return True


def _write_subject(writer, data, run, progress):
    """Write all files of the subject, and its truth into the new folder `data`."""
    settings = run.simulation

    def rng(name, *numbers):
        return np.random.default_rng([settings.seed, STREAMS[name], *numbers])

    expdesign = trials.make_expdesign(run.n_sessions, rng("trials"))
    positions = expdesign["masterordering"][: run.n_sessions * nsd.N_SESSION_TRIALS] - 1
    image_ids = expdesign["subjectim"][planned_subject(run) - 1, positions] - 1
    writer.write_experiment(expdesign, rng("trials", 1))
    shared = set(expdesign["sharedix"] - 1)
    shown = {image: sample(rng("scene", image), image in shared, settings.unseen) for image in np.unique(image_ids)}
    maps = _write_scenes(writer, shown, rng, progress)
    planted = truth.plant(settings, expdesign, image_ids, maps=maps, shown=list(shown.values()), rng=rng)
    _write_sessions(writer, planted, run, rng, progress)
    writer.finish(planted)
    truth.save_truth(truth.truth_path(data, planned_subject(run)), planted, n_runs=settings.runs)


def sample(rng, is_shared, unseen):
    """Sample the scene of an image; a share `unseen` of the shared ones are the only ones whose combination can be held out."""
    wanted = is_shared and rng.random() < unseen
    while True:
        scene = scenes.sample_scene(rng)
        if unseen == 0 or scenes.is_held_out(scene) == wanted:
            return scene


def _write_scenes(writer, shown, rng, progress):
    """Write scenes and captions, image by image; returns their maps (n_images, n_channels, 32, 32)."""
    maps = []
    with writer.pictures() as fill:
        for image_id, scene in tqdm(shown.items(), desc="drawing scenes", disable=not progress, mininterval=2):
            image = scenes.draw(scene)
            fill(image_id, image, captions.describe(scene, rng("captions", image_id)))
            maps.append(brain.visual_maps(image))
    return np.stack(maps)


def _write_sessions(writer, planted, run, rng, progress):
    """Simulate and write all sessions, task run by task run."""
    betas = np.zeros((nsd.N_SESSION_TRIALS, len(planted.head.responds)), dtype=np.float32)
    n_runs, start = run.simulation.runs, bold.START if run.simulation.onsets == "between" else 0
    of_runs = np.split(np.arange(nsd.N_SESSION_TRIALS), np.cumsum(nsd.RUN_TRIALS)[:-1])
    with tqdm(total=run.n_sessions * n_runs, desc="scanning", disable=not progress, mininterval=2) as bar:
        for session in range(1, run.n_sessions + 1):
            first = (session - 1) * nsd.N_SESSION_TRIALS
            betas[:, planted.head.responds] = planted.betas[first : first + nsd.N_SESSION_TRIALS]
            writer.write_session(planted, session, rng("session", session))
            for number, of_run in enumerate(of_runs[:n_runs], start=1):
                onsets = trials.onset_rows(planted.expdesign, session, number)
                if start:
                    places = rng("onsets", session, number).integers(bold.LATEST + 1, size=len(onsets))
                    onsets = onsets + places / bold.PLACES
                series = bold.draw_run(
                    betas[of_run], onsets, planted.hrf_index, start=start,
                    noise=planted.noise, mean=planted.mean, rng=rng("run", session, number),
                )  # fmt: skip
                ids = planted.image_ids[first : first + nsd.N_SESSION_TRIALS][of_run]
                writer.write_run(planted, session, number, series, onsets=onsets, image_ids=ids)
                bar.update()
