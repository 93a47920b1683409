"""Estimate the memory, GPU memory and disk space that each notebook of a run needs, from the sizes of its data and models."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch

from nsdlib.core import vdvae
from nsdlib.core.networks import DECODERS, NETWORKS, count_parameters
from nsdlib.core.training import VALIDATION_SHARE
from nsdlib.data.nsd import layout as nsd
from nsdlib.data.subject import open_subject
from nsdlib.store.zoo import extra_models
from nsdlib.twin.marker import MARKER

BASE = 0.8e9  # bytes of a kernel with its packages
CONTEXT = 0.6e9  # bytes of the CUDA context
MARGIN, OVERHEAD = 1.25, 1.5e9  # a job requests this factor, plus these bytes for the programs around the kernel
GLM_BYTES = 34e3  # bytes per voxel: book/measured.md, 6.3 GiB at the peak for 200,000
IN_BRAIN, SIMULATED_IN_BRAIN, SIMULATED_GENERAL = 0.29, 0.26, 0.095  # fractions of a volume's voxels
SIMULATED_SESSION = 1e8  # bytes on disk
OTHER_WEIGHTS = 3.1e9  # bytes on a GPU of the models other than the diffusion model
STABLE_DIFFUSION = 4 * 1.066e9  # bytes in float32: its UNet, autoencoder and text encoder; half of that on a GPU
N_FEATURES = 140_000  # features per image of all feature extractors
# Additional refined sets of test images: "prior only" and two ceilings (05), controls (09), and with `rivals` (09).
BOUNDS, CONTROLS, RIVALS = 3, 11, 3
N_ROUGH = 7  # sets of rough images
STORED_TOKENS, STORED_LATENTS = 6, 5  # stored sets of predicted tokens and of predicted latents


@dataclass(frozen=True)
class Models:
    """Sizes of a zoo's models and of their outputs."""

    n_text: int  # values in all text tokens of an image
    n_vision: int  # values in all vision tokens of an image
    side: int  # pixels of a refined image
    weights: float  # bytes in float32
    on_gpu: float  # bytes: loaded weights, and the diffusion of one image (full_size.gpu_memory)


ZOOS = {
    "paper": Models(n_text=77 * 768, n_vision=257 * 768, side=512, weights=8.7e9, on_gpu=2.63 * 2**30 + OTHER_WEIGHTS),
    "demo": Models(n_text=20 * 64, n_vision=17 * 64, side=128, weights=0.1e9, on_gpu=0.5e9),
}


@dataclass(frozen=True)
class Amounts:
    """How large a run is; `typical` names the sizes that are typical values because the subject's files are missing."""

    n_train: int
    n_test: int
    n_voxels: int
    n_brain: int
    volume: int  # voxels of the whole volume
    n_session_trials: float = nsd.N_SESSION_TRIALS
    typical: str = ""

    @property
    def n_images(self):
        """All images of a subject."""
        return self.n_train + self.n_test


@dataclass(frozen=True)
class Needs:
    """What a notebook needs, in bytes: peak memory, peak GPU memory, and disk space of its results."""

    memory: float = BASE
    on_gpu: float = 0
    disk: float = 0
    lower: str = "n_sessions"  # the parameter to lower to reduce them
    models: float = 0  # weights of its models, added to `memory` without a GPU


def amounts(run):
    """Return the sizes of a run from the subject's files, or typical sizes where files are missing."""
    shape = run.simulation.shape if run.simulation else nsd.VOLUME_SHAPES.get(run.subject)
    n_trials = nsd.N_SESSION_TRIALS
    if run.bids is not None and run.simulation and not (run.data / MARKER).is_file():  # planned, but not written yet
        (n_train, n_test), (n_brain, n_voxels) = _typical_split(run), _typical_voxels(run, shape)
        n_trials, typical = sum(nsd.RUN_TRIALS[: run.simulation.runs]), ["numbers of images and voxels"]
    else:
        subject, typical = open_subject(run), []
        if run.section:  # the trials of a user's own data are known once opened
            shape, n_trials = subject.brainmask.shape, subject.n_trials / run.n_sessions
        try:
            n_train, n_test = (len(np.unique(subject.image_ids[part])) for part in (~subject.is_test, subject.is_test))
        except (FileNotFoundError, ValueError):
            n_train, n_test = _typical_split(run)
            typical.append("numbers of images")
        try:
            n_brain, n_voxels = int(subject.brainmask.sum()), int(subject.voxels(run.roi).sum())
        except (FileNotFoundError, ValueError):
            n_brain, n_voxels = _typical_voxels(run, shape)
            typical.append("numbers of voxels (nsdgeneral)")
    n_test, n_voxels = min(n_test, run.n_test or n_test), min(n_voxels, run.n_voxels or n_voxels)
    return Amounts(n_train, n_test, n_voxels, n_brain, int(np.prod(shape)), n_trials, " and ".join(typical))


def refined_sets(run):
    """Return how many sets of test images notebooks 05 and 06 refine; 06 uses all seeds for the strongest and for pure noise."""
    n_seeds, n_noisy = len(run.diffusion_seeds), sum(amplitude > 0 for amplitude in run.noise_amplitudes)
    return n_seeds + BOUNDS, n_noisy - 1 + 2 * n_seeds


def notebook_needs(run, sizes, name, *, is_gpu):
    """Estimate what one notebook needs (Needs) on a machine with or without a GPU.

    Unknown notebooks are assumed to need as much as notebook 05, which needs the most.
    """
    needs = COUNTED.get(name, _other)(run, sizes, ZOOS[run.zoo])
    return needs if is_gpu else replace(needs, memory=needs.memory + needs.models, on_gpu=0)


def job_memory(run, sizes, name):
    """Return the peak memory of one notebook run as a job, and the memory to request for the job, in bytes.

    The peak is that of the kernel, including the models unless the run's device is cuda. The request adds a margin and the
    programs around the kernel.
    """
    peak = notebook_needs(run, sizes, name, is_gpu=run.device == "cuda").memory
    return peak, MARGIN * peak + OVERHEAD


def simulation_memory(run):
    """Return the bytes to request for simulating the subject of a run: two copies of its trials over the whole volume."""
    return BASE + OVERHEAD + 8 * run.n_sessions * nsd.N_SESSION_TRIALS * int(np.prod(run.simulation.shape))


def data_bytes(run):
    """Return the approximate bytes of the missing data that a run needs: images, betas and time series."""
    if run.simulation:
        return 0 if run.data.exists() else SIMULATED_SESSION * run.n_sessions
    if run.section:
        return 0
    subject = open_subject(run)
    missing = subject.missing_files(version=run.betas_version, glm_sessions=run.glm_sessions, roi=run.roi)
    return sum(subject.paths.n_bytes(path) for path, _ in missing)


def _glm(run, a, models):
    """Notebook 01: one session over the whole brain, and the betas of the ROI."""
    betas = 3 * 4 * run.glm_sessions * a.n_session_trials * a.n_voxels
    return Needs(BASE + GLM_BYTES * a.n_brain + betas, CONTEXT, betas, "glm_sessions")


def _betas(run, a, models):
    """Notebook 02: all trials of the ROI, and another copy if they are scaled by session."""
    trials = 4 * run.n_sessions * a.n_session_trials * a.n_voxels
    return Needs(BASE + (3 + (run.scaling == "sessions")) * trials, 0, 4 * a.n_images * a.n_voxels)


def _ablation(run, a, models):
    """Notebook 03: targets for all layer counts, captions, all systems (`ablation.fit_systems`) and their results."""
    n_latents, n_saved = _n_latents(run.n_layers), _n_latents(max(run.layer_counts))
    memory = BASE + 4 * a.n_images * (n_saved + 3 * n_latents + a.n_voxels) + 6 * a.n_images * models.n_text
    validation = VALIDATION_SHARE * a.n_train * n_latents
    networks, n_systems = [*NETWORKS, *["gru"] * run.rivals], len(DECODERS) + 2 + run.rivals
    fits = sum(_n_parameters(name, a.n_voxels, n_latents) + validation for name in networks)
    disk = 4 * (a.n_images * n_saved + 2 * n_systems * a.n_test * n_latents + len(run.decoder_seeds) * fits)
    return Needs(memory, CONTEXT + 4 * a.n_images * (2 * n_latents + a.n_voxels), disk, "layer_counts")


def _latent_size(run, a, models):
    """Notebook 04: the largest decoder, and three sets of latents for each number of layers."""
    n_latents = _n_latents(max(run.layer_counts))
    memory = BASE + 4 * (a.n_train * (3 * n_latents + a.n_voxels) + 3 * len(run.layer_counts) * a.n_test * n_latents / 2)
    return Needs(memory, CONTEXT + 4 * a.n_train * (2 * n_latents + a.n_voxels), 1e7, "layer_counts")


def _stages(run, a, models):
    """Notebook 05: tokens and their ridge regression, sets of images, and features for the scores."""
    n_tokens, ridge = models.n_text + models.n_vision, 4 * a.n_train * a.n_voxels + 8 * a.n_train**2
    tokens, features = 2 * a.n_images * n_tokens, a.n_test * (16 * n_tokens + 8 * N_FEATURES)
    pictures = a.n_test * 3 * ((refined_sets(run)[0] + 1) * models.side**2 + 8 * nsd.IMAGE_SIZE**2)
    memory = BASE + ridge + tokens + max(tokens, pictures + features)
    n_sets = N_ROUGH + CONTROLS + RIVALS * run.rivals + refined_sets(run)[0]
    disk = tokens + a.n_test * (3 * n_sets * models.side**2 + 2 * n_tokens)
    disk += 4 * a.n_test * (STORED_TOKENS * n_tokens + STORED_LATENTS * _n_latents(run.n_layers))
    return Needs(memory, CONTEXT + ridge + models.on_gpu, disk, models=models.weights)


def _noise(run, a, models):
    """Notebook 06: the rough images with noise, at the size of the refined ones, and their refined images."""
    n_sets = 2 * len(run.noise_amplitudes) + 5  # each amplitude and pure noise before and after, and the extremes for one seed
    memory = BASE + a.n_test * (3 * n_sets * models.side**2 + 8 * N_FEATURES)
    disk = 1e7 + a.n_test * 3 * refined_sets(run)[1] * models.side**2
    return Needs(memory, CONTEXT + models.on_gpu, disk, "noise_amplitudes", models.weights)


def _figures(run, a, models):
    """Notebook 07: sets of test images shown side by side."""
    return Needs(BASE + a.n_test * 3 * (8 * models.side**2 + 4 * nsd.IMAGE_SIZE**2))


def _systems(run, a, models):
    """Notebook 10: memory as for notebook 05; on disk, two sets of images and all tokens and latents for each recipe.

    If a recipe uses Stable Diffusion, that model and its text tokens are held in addition.
    """
    per_recipe = a.n_test * (3 * models.side**2 * 2 + 4 * (models.n_text + models.n_vision + _n_latents(max(run.layer_counts))))
    needs = replace(_stages(run, a, models), disk=len(run.recipes) * per_recipe, lower="recipes")
    if not extra_models(run):
        return needs
    tokens, weights = 2 * a.n_images * models.n_text, STABLE_DIFFUSION
    needs = replace(needs, memory=needs.memory + tokens, disk=needs.disk + tokens)
    return replace(needs, on_gpu=needs.on_gpu + weights / 2, models=needs.models + weights)


def _other(run, a, models):
    """An unlisted notebook (such as 09): at most as notebook 05, which already counts the disk space of the controls."""
    return replace(_stages(run, a, models), disk=0)


COUNTED = {
    "00_meet_the_data": lambda *_: Needs(),
    "01_hrf_glmsingle": _glm,
    "02_roi_betas": _betas,
    "03_decoder_ablation": _ablation,
    "04_latent_size": _latent_size,
    "05_two_stage_reconstruction": _stages,
    "06_noise_sensitivity": _noise,
    "07_qualitative_figures": _figures,
    "08_across_subjects": lambda *_: Needs(),
    "10_systems_side_by_side": _systems,
}


_n_parameters = cache(count_parameters)


@cache
def _n_latents(n_layers):
    """Number of latents in the first layers of the VDVAE, the same in both zoos."""
    with torch.device("meta"):
        return vdvae.VDVAE(vdvae.Hyperparameters()).n_latents(n_layers)


def _typical_voxels(run, shape):
    """Numbers of voxels of the brain and of the ROI, from the size of the volume or the published numbers."""
    volume = int(np.prod(shape))
    if run.simulation:
        return int(volume * SIMULATED_IN_BRAIN), int(volume * SIMULATED_GENERAL)
    return int(volume * IN_BRAIN), nsd.N_GENERAL_VOXELS.get(run.subject, int(volume * IN_BRAIN))


def _typical_split(run):
    """Numbers of training and test images, from the simulation's plan or interpolated between the published numbers."""
    if run.simulation:
        n_images = run.n_sessions * nsd.N_SESSION_TRIALS // nsd.N_REPEATS
        return n_images - n_images // 10, n_images // 10
    published = {0: (0, 0)} | nsd.SPLITS
    columns = zip(*published.values(), strict=True)
    return tuple(round(float(np.interp(run.n_sessions, list(published), column))) for column in columns)
