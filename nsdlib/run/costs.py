"""What each notebook of a run needs: operations of each kind, memory, disk, all counted from sizes before anything starts.

Operations of the networks were counted; how much of a machine's rate of large matrix products each kind of work reaches is a
constant, measured once. So what follows from them is rough (`nsdlib.run.forecast.ROUGH`).
"""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from nsdlib.core import vdvae
from nsdlib.core.networks import DECODERS, NETWORKS, count_parameters
from nsdlib.core.ridge import CHOOSING_TARGETS, HELD_OUT_IMAGES
from nsdlib.core.training import VALIDATION_SHARE
from nsdlib.data import nsd_layout as nsd
from nsdlib.store import zoo
from nsdlib.study.leaks import LEAKS

# How often notebook 05 does what takes long; a test counts them in its text. Each leak is one more way to all images.
DECODED_05 = 3 + 1 + 1 + len(LEAKS)  # rough, its ceiling and floor, the other decoder, and without a leak
REFINED_05 = 9 + 1 + len(LEAKS)  # refined, three floors and ceilings, four with a source left out, the other decoder
SCORED_05 = 24 + 1 + len(LEAKS)  # nine systems, the stimulus, four left out, two decoders, four under two protocols
LINTED = 19  # predictions of a check for leaks that watches three images
LINTED_ANEW = 7  # of one image, each with a fit of its own: of the text tokens, for the two leaks that change the fit

# Share of the rate of large matrix products that each kind of work reaches on a CPU (measured with the demo on one core of 70 to
# 200 GFLOP/s) and on a GPU (assumed, not measured), and the precision that a GPU computes it in.
SHARES = {
    "glm": (1.0, 0.02, "single"),  # in units of the README's table of betas, see GLM_VOXEL
    "products": (0.37, 0.3, "single"),  # ridge, partly in double precision
    "training": (0.5, 0.02, "half"),  # small networks and batches
    "vdvae": (0.25, 0.2, "single"),
    "transformer": (0.5, 0.3, "half"),
    "diffusion": (0.7, 0.3, "half"),
    "judging": (0.4, 0.3, "single"),
}
GLM_SESSION, GLM_VOXEL = 1.5e11, 6e7  # operations of a session and of a voxel: README, 12 runs, 500 to 200,000 voxels
GLM_BYTES = 34e3  # memory a voxel: README, 6.3 GiB at the peak of 200,000
OPTIMISER_BYTES = 48  # a parameter and step: NAdam reads and writes weight, gradient and two moments, in three passes
HANDLED = 300  # pictures of 425 pixels read, unpacked and resized in a second
SCORED_PIXELS = (
    7e6  # in a second, SSIM and correlation of pixels: 982 images of 425 pixels were published to take 11 to 23 s
)
UNPACKED = 150e6  # bytes of a .nii.gz file in a second
VOXEL_READS = 1e4  # voxels' chunks of a session's HDF5 betas in a second
PAGE_SECONDS = 8  # start of a kernel, imports, figures
BASE = 0.8e9  # memory of a kernel with its packages
CONTEXT = 0.6e9  # a GPU's own, beside the tensors
MARGIN, AROUND = 1.25, 1.5e9  # what a job asks for beyond the count, and bytes of the programs and libraries around it
IN_BRAIN, SIMULATED_IN_BRAIN, SIMULATED_GENERAL = 0.29, 0.26, 0.095  # share of a volume's voxels


@dataclass(frozen=True)
class Networks:
    """Operations an image of a zoo's networks, counted by torch.utils.flop_counter, and the sizes of what they make."""

    encode: float  # VDVAE, posterior of 31 layers
    decode: float
    vision: float  # CLIP
    text: float  # CLIP, a caption
    step: float  # diffusion, with and without the tokens
    pixels: float  # autoencoder, in and out
    extractors: float  # the five networks
    n_text: int  # numbers of an image's tokens
    n_vision: int
    side: int  # pixels of a refined image
    weights: float  # bytes in float32
    on_gpu: float  # bytes: weights as loaded there, and the diffusion model with one image (rehearsal.gpu_memory)


ZOOS = {
    "paper": Networks(
        encode=7.78e10, decode=1.57e11, vision=1.62e11, text=1.34e10, step=2.41e12, pixels=3.63e12, extractors=1.79e11,
        n_text=77 * 768, n_vision=257 * 768, side=512, weights=8.7e9, on_gpu=2.63 * 2**30 + 3.1e9,
    ),
    "demo": Networks(
        encode=4.3e8, decode=3.4e8, vision=2.2e7, text=1.1e7, step=6.6e8, pixels=1.13e9, extractors=1.6e8,
        n_text=20 * 64, n_vision=17 * 64, side=64, weights=0.1e9, on_gpu=0.5e9,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Amounts:
    """How large a run is; `typical` says what was taken from elsewhere because a file of the subject is not there."""

    n_train: int
    n_test: int
    n_voxels: int
    n_brain: int
    volume: int  # voxels of the whole volume
    typical: str = ""

    @property
    def n_images(self):
        """All images of a subject."""
        return self.n_train + self.n_test


@dataclass(frozen=True)
class Work:
    """One part of a notebook: operations of a kind, bytes moved through memory, and seconds that no rate changes."""

    kind: str
    operations: float
    moved: float = 0
    seconds: float = 0

    def duration(self, rates):
        """Seconds on a machine."""
        on_cpu, on_gpu, numbers = SHARES[self.kind]
        rate = on_gpu * getattr(rates, numbers) if rates.is_gpu else on_cpu * rates.single
        return self.operations / rate + self.moved / rates.copy + self.seconds


@dataclass(frozen=True)
class Page:
    """What a notebook needs.

    Attributes
    ----------
    name : str
    work : tuple of Work
    memory, on_gpu, disk : float
        Bytes at the peak of memory and of a GPU's memory, and bytes left on disk.
    lower : str
        The parameter that lowers the memory and the disk most.
    models : float
        Bytes of the networks that it loads; they come on top of `memory` where there is no GPU to hold them.
    """

    name: str
    work: tuple
    memory: float
    on_gpu: float
    disk: float
    lower: str
    models: float = 0

    def duration(self, rates):
        """Seconds on a machine, with what is left on disk written, hashed and read again."""
        on_disk = self.disk / rates.write + 2 * self.disk / rates.read
        return PAGE_SECONDS + sum(part.duration(rates) for part in self.work) + on_disk


def amounts(run):
    """Sizes of a run from the subject's files, and typical ones where the files are not there."""
    from nsdlib.data.nsd import NSDSubject

    subject = NSDSubject(run.data, run.subject, run.n_sessions)
    shape = run.simulation.shape if run.simulation else nsd.VOLUME_SHAPES[run.subject]
    volume, typical = int(np.prod(shape)), []
    try:
        counts = subject.split_counts()
        n_train, n_test = counts["images_train"], counts["images_test"]
    except (FileNotFoundError, ValueError):
        n_train, n_test = _typical_split(run)
        typical.append("numbers of images")
    try:
        n_brain, n_voxels = int(subject.brainmask.sum()), int((subject.roi(run.roi) > 0).sum())
    except (FileNotFoundError, ValueError):
        n_brain = int(volume * (SIMULATED_IN_BRAIN if run.simulation else IN_BRAIN))
        n_voxels = int(volume * SIMULATED_GENERAL) if run.simulation else nsd.N_GENERAL_VOXELS[run.subject]
        typical.append("numbers of voxels (nsdgeneral)")
    return Amounts(n_train, n_test, n_voxels, n_brain, volume, " and ".join(typical))


def pages(run, sizes, *, is_gpu):
    """What each notebook from 01 to 06 needs, on a machine with or without a GPU; the others take seconds.

    Parameters
    ----------
    run : nsdlib.params.Run
    sizes : Amounts
    is_gpu : bool

    Returns
    -------
    list of Page
    """
    found = [make(run, sizes, ZOOS[run.zoo]) for make in (_glm, _betas, _ablation, _latent_size, _stages, _noise)]
    return found if is_gpu else [replace(page, memory=page.memory + page.models, on_gpu=0) for page in found]


def job_memory(run, sizes, name):
    """Memory to ask for when one notebook of a run is a job of its own.

    Parameters
    ----------
    run : nsdlib.params.Run
    sizes : Amounts
    name : str
        Such as "05_two_stage_reconstruction".

    Returns
    -------
    wanted, asked : float
        Bytes of the kernel at its peak, with the networks in them unless the run insists on a GPU; and the bytes to ask for,
        with a margin and what runs around the kernel.
    """
    shown = _pictures(sizes, ZOOS[run.zoo]) if name == "07_qualitative_figures" else 0
    counted = {page.name: page.memory for page in pages(run, sizes, is_gpu=run.device == "cuda")}
    wanted = counted.get(name, BASE + shown)
    return wanted, MARGIN * wanted + AROUND


def simulation_memory(run):
    """Bytes to ask for when the subject of a run is simulated: its trials over the whole volume twice, beside the packages."""
    return BASE + AROUND + 8 * run.n_sessions * nsd.N_SESSION_TRIALS * int(np.prod(run.simulation.shape))


def data_bytes(run):
    """Bytes of the data that a run needs and that are not there, roughly: images, betas and time series."""
    from nsdlib.data.nsd import NSDSubject

    if run.simulation:
        return 0 if run.data.exists() else 1e8 * run.n_sessions
    subject = NSDSubject(run.data, run.subject, run.n_sessions)
    missing = subject.missing_files(version=run.betas_version, glm_sessions=run.glm_sessions)
    return sum(subject.paths.n_bytes(path) for path, _ in missing)


def _glm(run, a, zoo):
    """Notebook 01: each session fitted over the brain; the first once more with one HRF."""
    sessions = run.glm_sessions
    read = nsd.N_TASK_RUNS * nsd.N_VOLUMES * 2 * a.volume / UNPACKED
    fits = (sessions + 1) * GLM_SESSION + (sessions * a.n_brain + a.n_voxels) * GLM_VOXEL
    betas = 3 * 4 * sessions * nsd.N_SESSION_TRIALS * a.n_voxels
    memory = BASE + GLM_BYTES * a.n_brain + betas
    return Page(
        "01_hrf_glmsingle", (Work("glm", fits, seconds=sessions * read),), memory, CONTEXT, betas, "glm_sessions"
    )


def _betas(run, a, zoo):
    """Notebook 02: all trials of the region."""
    trials = 4 * run.n_sessions * nsd.N_SESSION_TRIALS * a.n_voxels
    read = run.n_sessions * a.n_voxels / VOXEL_READS if run.betas == "nsd" else 0
    work = (Work("products", 20 * trials, moved=20 * trials, seconds=read),)
    return Page("02_roi_betas", work, BASE + 3 * trials, 0, 4 * a.n_images * a.n_voxels, "n_sessions")


def _ablation(run, a, zoo):
    """Notebook 03: targets, all decoders, the regions one by one."""
    n_latents, n_saved = latents(run.n_layers), latents(max(run.layer_counts))
    encode = Work("vdvae", a.n_images * zoo.encode, seconds=a.n_images / HANDLED)
    fits = [_training(run, a, name, n_latents, len(run.decoder_seeds)) for name in NETWORKS]
    ridges = [_ridge(run, a, n_latents, "latents", n_fits=2, n_predictions=2 + LINTED)]
    regions = _ridge(run, a, n_latents + zoo.n_text, "text", n_fits=9, n_predictions=9)
    captions = Work("transformer", 5 * a.n_images * zoo.text)
    memory = BASE + 4 * a.n_images * (n_saved + 3 * n_latents + a.n_voxels) + 6 * a.n_images * zoo.n_text
    disk = 4 * a.n_images * n_saved + 2 * 4 * len(DECODERS) * a.n_test * n_latents
    held_out = VALIDATION_SHARE * a.n_train * n_latents
    disk += sum(
        4 * len(run.decoder_seeds) * (_n_parameters(name, a.n_voxels, n_latents) + held_out) for name in NETWORKS
    )
    on_gpu = CONTEXT + 4 * a.n_images * (2 * n_latents + a.n_voxels)
    work = (encode, *fits, *ridges, regions, captions)
    return Page("03_decoder_ablation", work, memory, on_gpu, disk, "layer_counts")


def _latent_size(run, a, zoo):
    """Notebook 04: one decoder for each number of layers, its images with their ceiling and floor."""
    most = latents(max(run.layer_counts))
    work = [Work("vdvae", 3 * len(run.layer_counts) * a.n_test * zoo.decode, seconds=a.n_test / HANDLED)]
    for count in map(latents, run.layer_counts):
        if run.decoder == "ridge":
            work.append(_ridge(run, a, count, "latents"))
        else:
            work.append(_training(run, a, run.decoder, count))
    memory = BASE + 4 * (a.n_train * (3 * most + a.n_voxels) + 3 * len(run.layer_counts) * a.n_test * most / 2)
    on_gpu = CONTEXT + 4 * a.n_train * (2 * most + a.n_voxels)
    return Page("04_latent_size", tuple(work), memory, on_gpu, 1e7, "layer_counts")


def _stages(run, a, zoo):
    """Notebook 05: tokens decoded, images drawn and refined, floors, ceilings, leaks, scores."""
    n_tokens, n_latents = zoo.n_text + zoo.n_vision, latents(run.n_layers)
    handled = 2 * a.n_images / HANDLED
    work = [Work("transformer", a.n_images * (zoo.vision + 5 * zoo.text), seconds=handled)]
    for kind, size in (("text", zoo.n_text), ("vision", zoo.n_vision)):
        n_fits = 3 + len(LEAKS) + (1 + len(LEAKS) + 2 * LINTED_ANEW if kind == "text" else 0)
        work.append(_ridge(run, a, size, kind, n_fits=n_fits, n_predictions=n_fits + LINTED))
    n_fits = 1 + len(LEAKS)
    work.append(_ridge(run, a, n_latents, "latents", n_fits=n_fits, n_predictions=n_fits))
    work += [Work("vdvae", DECODED_05 * a.n_test * zoo.decode), _refining(run, a, zoo, REFINED_05)]
    work += _scoring(a, zoo, SCORED_05)
    images, ridge = _pictures(a, zoo), 4 * a.n_train * a.n_voxels + 8 * a.n_train**2
    tokens = 2 * a.n_images * n_tokens
    memory = BASE + ridge + tokens + max(tokens, images + 16 * a.n_test * n_tokens + 8 * a.n_test * 140_000)
    disk = tokens + a.n_test * (3 * (5 + REFINED_05) * zoo.side**2 + 2 * n_tokens)
    disk += 4 * a.n_test * ((2 + len(LEAKS)) * n_tokens + (1 + len(LEAKS)) * n_latents)  # what ridges decoded is kept
    return Page(
        "05_two_stage_reconstruction",
        tuple(work),
        memory,
        CONTEXT + ridge + zoo.on_gpu,
        disk,
        "n_sessions",
        zoo.weights,
    )


def _pictures(a, zoo):
    """Bytes of the sets of test images that are looked at together."""
    return a.n_test * 3 * (8 * zoo.side**2 + 4 * nsd.IMAGE_SIZE**2)


def _noise(run, a, zoo):
    """Notebook 06: the images refined once more for each amplitude but 0."""
    n_refined = sum(amplitude > 0 for amplitude in run.noise_amplitudes)
    work = (_refining(run, a, zoo, n_refined), *_scoring(a, zoo, 2 * len(run.noise_amplitudes)))
    memory = BASE + a.n_test * (3 * (n_refined + 3) * zoo.side**2 + 8 * 140_000)
    disk = 1e7 + a.n_test * 3 * n_refined * zoo.side**2
    return Page("06_noise_sensitivity", work, memory, CONTEXT + zoo.on_gpu, disk, "noise_amplitudes", zoo.weights)


def _training(run, a, name, n_latents, n_fits=1):
    """A network trained to find its schedule and once more on all images, for all of max_epochs."""
    parameters = _n_parameters(name, a.n_voxels, n_latents)
    epochs, batches = 2 * run.max_epochs * n_fits, max(1, a.n_train / run.batch_size)
    return Work("training", 6 * epochs * a.n_train * parameters, moved=epochs * batches * parameters * OPTIMISER_BYTES)


def _ridge(run, a, n_targets, target, *, n_fits=1, n_predictions=1):
    """Ridge regressions: the kernel, a factorisation and a choice for each penalty, moments of images left out, predictions."""
    n_alphas = len(zoo.alphas(run, target))
    choosing = 2 * a.n_train**2 * min(n_targets, CHOOSING_TARGETS) * (n_alphas > 1)
    fit = a.n_train**2 * a.n_voxels + n_alphas * (6 * a.n_train**3 + choosing)
    fit += 2 * min(HELD_OUT_IMAGES, a.n_train) * a.n_train * n_targets
    passed = 8 * a.n_train * n_targets * (n_fits + n_predictions)
    return Work("products", n_fits * fit + n_predictions * 2 * a.n_test * a.n_train * n_targets, moved=passed)


def _refining(run, a, zoo, n_sets):
    """All test images refined, so many times."""
    return Work("diffusion", n_sets * a.n_test * (int(run.strength * run.n_steps) * zoo.step + zoo.pixels))


def _scoring(a, zoo, n_sets):
    """All test images scored, so many times: by networks, by pixels, and each against all others."""
    side = min(zoo.side, nsd.IMAGE_SIZE)
    judging = Work("judging", n_sets * a.n_test * zoo.extractors, seconds=n_sets * a.n_test * side**2 / SCORED_PIXELS)
    return [judging, Work("products", n_sets * 2 * a.n_test**2 * 190_000)]


_n_parameters = cache(count_parameters)


def latents(n_layers):
    """Numbers in the first layers of the VDVAE, the same in both zoos (published: 15 layers hold 13,344, 31 hold 91,168)."""
    return _autoencoder().n_latents(n_layers)


@cache
def _autoencoder():
    """The VDVAE of published size, without numbers."""
    import torch

    with torch.device("meta"):
        return vdvae.VDVAE(vdvae.Hyperparameters())


def _typical_split(run):
    """Images to train and to test, from a simulation's plan or interpolated between the published numbers."""
    if run.simulation:
        n_images = run.n_sessions * nsd.N_SESSION_TRIALS // nsd.N_REPEATS
        return n_images - n_images // 10, n_images // 10
    known = {0: (0, 0)} | nsd.SPLITS
    columns = zip(*known.values(), strict=True)
    return tuple(round(float(np.interp(run.n_sessions, list(known), column))) for column in columns)
