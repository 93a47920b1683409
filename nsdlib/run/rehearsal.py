"""Rehearsal: run every stage at the paper's sizes with random weights, to measure what a subject will cost on this machine.

The classes, loops and shapes are those of the notebooks; only the weights and data are random.
"""

import datetime
import gc
import math
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from nsdlib.core import diffusion, networks, training
from nsdlib.core.device import pick_device
from nsdlib.core.files import atomic_write
from nsdlib.core.ridge import Ridge
from nsdlib.core.scores.metrics import Scorer
from nsdlib.recipes import recipe
from nsdlib.run import costs, full_size
from nsdlib.run.forecast import n_walked
from nsdlib.run.full_size import GIB, Sizes
from nsdlib.run.rates import entry, machine_name, seconds_of
from nsdlib.store.zoo import extra_models

FILE = "rehearsal.csv"  # in the folder of a run's executed pages
STATUS, FORGET_PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs")  # on Linux: peak memory, and its reset
SHORT = 20.0  # seconds; shorter calls on a GPU are repeated
N_DECODED, N_SCORED = 8, 18  # approximate numbers of decoded sets of test images, and of scored sets besides the refined ones
TAKAGI = 5 * 40  # steps of Stable Diffusion per test image: five samples, 0.8 of 50 steps (Takagi & Nishimoto 2023)


@dataclass(frozen=True)
class Stage:
    """One stage: its unit of work, the number of units that a subject needs, and its measurement."""

    unit: str
    needed: Callable  # (run, sizes) -> units that one subject needs
    measure: Callable  # (run, sizes, device, n_images) -> (units done, seconds without building the models)


def rehearse(run, *, n_images, n_steps=None, sizes=None, report=print):
    """Measure all stages that a run needs, on its device, with its n_layers, layer_counts, diffusion settings, noise amplitudes.

    Parameters
    ----------
    run : nsdlib.params.Run
    n_images : int
        Images per network; the ridge regressions and the GRU's epoch run at full size.
    n_steps : int, optional
        Diffusion steps to measure, fewer than the run's; the forecast still counts all of the run's steps.
    sizes : Sizes, optional
        Smaller sizes, for tests.
    report : callable
        Called with a line of text before and after each stage.

    Returns
    -------
    pandas.DataFrame
        One row per stage: work done, seconds, units per second, peak memory of process and GPU (GiB), hours for one subject.

    Raises
    ------
    ValueError, RuntimeError
        When n_images is not positive or no step is left at the run's strength; when a stage fails (the message names it).
    """
    if n_images < 1:
        raise ValueError(f"n_images must be at least 1, got {n_images}.")
    steps = n_steps or run.n_steps
    if int(steps * run.strength) < 1:
        minimum = math.ceil(1 / run.strength)
        raise ValueError(f"n_steps={steps} means no step at strength {run.strength:g}: wanted at least {minimum}.")
    sizes, measured_run = sizes or Sizes(), run.model_copy(update={"n_steps": steps})
    rows, start, device = {}, time.monotonic(), pick_device(run.device)
    needed = {name: stage for name, stage in STAGES.items() if stage.needed(run, sizes)}
    for number, (name, stage) in enumerate(needed.items(), start=1):
        report(f"{name}: starting ({number} of {len(needed)}, {time.monotonic() - start:.0f} s so far)")
        _forget_peaks(device)
        try:
            units, seconds = stage.measure(measured_run, sizes, device, n_images)
        except Exception as error:
            raise RuntimeError(f"the rehearsal failed in {name!r}: {type(error).__name__}: {error}") from error
        rows[name] = (f"{units:,} {stage.unit}", seconds, units / seconds, *_peaks(device))
        report(f"{name}: {rows[name][0]} in {seconds:.1f} s, {rows[name][3]:.1f} GiB")
    columns = ("measured", "seconds", "a second", "memory GiB", "of the GPU GiB")
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("stage")
    return table.assign(**{"hours a subject": subject_hours(table, run, sizes)})


def subject_hours(table, run, sizes):
    """Return the hours of each stage for one subject, a pandas.Series, from the table of `rehearse`.

    They depend on the run's epochs, seeds, diffusion settings and noise amplitudes, and on the numbers of training and test
    images in the sizes (`Sizes` or `costs.Amounts`). The time of a ridge regression is taken from the rehearsal unchanged, and an
    epoch of every network is assumed to take as long as the GRU's.
    """
    needed = {name: STAGES[name].needed(run, sizes) for name in table.index}
    return pd.Series(needed) / table["a second"] / 3600


def missing_stages(table, run, sizes) -> str:
    """Name the stages that a subject needs but the table lacks, as the end of a sentence, or return an empty string."""
    names = [name for name, stage in STAGES.items() if name not in table.index and stage.needed(run, sizes)]
    return f", without {', '.join(names)}" if names else ""


def write(table, run):
    """Save a rehearsal beside a run's executed pages, unless a larger one of this machine is there; return the path."""
    file, machine = run.root / "runs" / run.name / FILE, machine_name(run.device)
    with suppress(FileNotFoundError, ValueError):
        previous, previous_machine, _ = read(file)
        if previous_machine == machine and _n_units(previous) > _n_units(table):
            return file
    file.parent.mkdir(parents=True, exist_ok=True)
    keep(table, file, machine, datetime.date.today())
    return file


def _n_units(table):
    """The units of work of all stages together."""
    return sum(int(text.split()[0].replace(",", "")) for text in table["measured"])


def keep(table, file, machine, day):
    """Write a rehearsal's table, machine and day to a file, for `read`."""
    atomic_write(file, f"# {machine}\n# {day}\n{table.to_csv()}")


def saved(root):
    """Yield (table, machine, day) of each rehearsal, first those shipped with the project; warn of damaged files."""
    for file in [*sorted((root / "book" / "data").glob("rehearsal*.csv")), *sorted((root / "runs").glob(f"*/{FILE}"))]:
        try:
            yield read(file)
        except ValueError as error:
            warnings.warn(str(error), stacklevel=2)


def read(file):
    """Return the table, machine and day that `keep` has written; raises ValueError for any other file."""
    try:
        machine, day = (line.removeprefix("# ") for line in file.read_text().splitlines()[:2])
        table = pd.read_csv(file, skiprows=2, index_col="stage")
        if not (set(table.index) <= set(STAGES) and (table["a second"].astype(float) > 0).all()):
            raise ValueError("unknown stages, or a rate that is not positive")
    except (ValueError, KeyError) as error:
        raise ValueError(f"{file} is not a complete rehearsal ({error}): remove it, or rehearse that run again.") from None
    return table, machine, day


def _forget_peaks(device):
    """Release the memory of the last stage, and reset the counters of peak memory."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):  # not Linux, or a kernel that cannot reset the peak
        FORGET_PEAK.write_text("5")


def _peaks(device):
    """Peak memory (GiB) of this process and of the GPU since the reset; NaN if the system does not report it."""
    kilobytes = entry(STATUS, "VmHWM").removesuffix("kB") or np.nan
    return float(kilobytes) * 1024 / GIB, torch.cuda.max_memory_allocated() / GIB if device.type == "cuda" else 0.0


def _timed(work, device):
    """Seconds of a call; short calls on a GPU are repeated and the second counts, because the first selects kernels."""
    seconds = seconds_of(work, device)
    return seconds_of(work, device) if device.type == "cuda" and seconds <= SHORT else seconds


def pictures(n_images, side):
    """Return random images, (n_images, side, side, 3) uint8."""
    return np.random.default_rng(0).integers(0, 256, (n_images, side, side, 3), dtype=np.uint8)


def normal(n_rows, n_columns, dtype):
    """Return normal random numbers in which rows repeat after 64: fast to draw, and timings do not depend on the values."""
    rows = np.random.default_rng(0).standard_normal((min(n_rows, 64), n_columns), dtype=np.float32).astype(dtype)
    return rows[np.arange(n_rows) % 64]


def _ridge(n_targets, dtype):
    """The stage of one ridge regression: fit and prediction."""

    def measure(run, sizes, device, n_images):
        X, X_test = (normal(n, sizes.n_voxels, np.float32) for n in (sizes.n_train, sizes.n_test))
        Y = normal(sizes.n_train, n_targets(run, sizes), dtype)
        return 1, _timed(lambda: Ridge(run.alphas, device=device).fit(X, Y).predict(X_test), device)

    return Stage("fit", lambda run, sizes: 1, measure)


def _n_latents(run, sizes):
    return full_size.build_vdvae(sizes, torch.device("meta")).n_latents(run.n_layers)


def _n_epochs(run, sizes):
    """Epochs of the networks in notebooks 03 and 04, for the search and the final fit, without early stopping."""
    n_networks = (len(networks.NETWORKS) + run.rivals) * len(run.decoder_seeds)
    return 2 * run.max_epochs * (n_networks + len(run.layer_counts) * (run.decoder in networks.NETWORKS))


def _gru_epoch(run, sizes, device, n_images):
    n_latents = _n_latents(run, sizes)
    x, y = (torch.from_numpy(normal(sizes.n_train, n, np.float32)).to(device) for n in (sizes.n_voxels, n_latents))
    network = networks.build_network("gru", sizes.n_voxels, n_latents).to(device)
    trainer = training.Trainer(network, x, y, seed=0, batch_size=run.batch_size)
    for _ in range(2 if device.type == "cuda" else 0):
        trainer.run_epoch(training.RATE)  # captures the CUDA graphs of the training steps
    return 1, _timed(lambda: trainer.run_epoch(training.RATE), device)


def _encode(run, sizes, device, n_images):
    model, images = full_size.build_vdvae(sizes, device), pictures(n_images, sizes.image_side)
    return n_images, _timed(lambda: model.encode(images, n_layers=max(run.layer_counts)), device)


def _decode(run, sizes, device, n_images):
    model = full_size.build_vdvae(sizes, device)
    latents = normal(n_images, model.n_latents(run.n_layers), np.float32)
    return n_images, _timed(lambda: model.decode(latents), device)


def _vision_tokens(run, sizes, device, n_images):
    embedder, images = full_size.build_embedder(sizes, device), pictures(n_images, sizes.image_side)
    return n_images, _timed(lambda: embedder.vision(images), device)


def _text_tokens(run, sizes, device, n_images):
    embedder = full_size.build_embedder(sizes, device)
    captions = [[f"picture {i} of a thing {j}" for j in range(sizes.n_captions)] for i in range(n_images)]
    return n_images * sizes.n_captions, _timed(lambda: embedder.text(captions), device)


def _n_refined(run, sizes):
    """Images that notebooks 05, 06, 09 and 10 refine; 10 draws as many samples as its recipes ask for."""
    recipes = [recipe.load(name, run) for name in run.recipes]
    drawn = [loaded for loaded in recipes if loaded.generator.model == recipe.MODELS[0]]
    n_samples = sum(loaded.generator.n_samples + loaded.lifts for loaded in drawn)
    return (sum(costs.refined_sets(run)) + costs.CONTROLS + costs.RIVALS * run.rivals + n_samples) * sizes.n_test


def _n_scored(run, sizes):
    return _n_refined(run, sizes) + (N_SCORED + len(run.noise_amplitudes)) * sizes.n_test


def _autoencode(run, sizes, device, n_images):
    second, rough = full_size.build_second_stage(sizes, device), pictures(n_images, 64)
    return n_images, _timed(lambda: second.decode(second.encode(rough)), device)


@torch.inference_mode()
def _walk(run, sizes, device, n_images, *, build=full_size.build_second_stage):
    second = build(sizes, device)
    scheduler = diffusion.make_scheduler(run.sampler, second.scheduler.config)
    _, steps = diffusion.img2img_timesteps(scheduler, strength=run.strength, n_steps=run.n_steps)
    side, channels = second.unet.unet.config.sample_size, second.vae.config.latent_channels
    x = torch.randn(n_images, channels, side, side, device=device)
    settings = {"steps": steps, "guidance": run.guidance, "text_weight": run.text_weight, "unconditional": second.unconditional}
    settings["conditions"] = [tokens.expand(n_images, -1, -1) for tokens in second.unconditional]
    with tqdm(total=n_images * len(steps), desc="refining", unit="step", mininterval=5) as progress:
        seconds = _timed(lambda: diffusion.denoise_latents(second.unet, scheduler, x, **settings, progress=progress), device)
    return n_images * len(steps), seconds


def _walk_sd(run, sizes, device, n_images):
    run = run.model_copy(update={"text_weight": 1.0})
    return _walk(run, sizes, device, n_images, build=full_size.build_stable_diffusion)


def _score(run, sizes, device, n_images):
    scorer = Scorer(full_size.build_extractors(sizes, device), protocol=run.protocol)
    truth, images = pictures(n_images + 1, sizes.image_side), pictures(n_images + 1, 512)
    return n_images + 1, _timed(lambda: scorer.score(truth, images), device) / 2  # two sets are embedded here, one in notebooks


STAGES = {
    "VDVAE: images to latents": Stage("images", lambda run, sizes: sizes.n_images, _encode),
    "CLIP: images to tokens": Stage("images", lambda run, sizes: sizes.n_images, _vision_tokens),
    "CLIP: captions to tokens": Stage("captions", lambda run, sizes: Sizes.n_captions * sizes.n_images, _text_tokens),
    "GRU": Stage("epoch", _n_epochs, _gru_epoch),
    "ridge to latents": _ridge(_n_latents, np.float32),
    "ridge to text tokens": _ridge(lambda run, sizes: sizes.n_text_tokens * sizes.token_width, np.float16),
    "ridge to vision tokens": _ridge(lambda run, sizes: sizes.n_vision_tokens * sizes.token_width, np.float16),
    "VDVAE: latents to rough images": Stage("images", lambda run, sizes: N_DECODED * sizes.n_test, _decode),
    "diffusion: in and out of latents": Stage("images", _n_refined, _autoencode),
    "diffusion: steps": Stage("image steps", lambda run, sizes: _n_refined(run, sizes) * n_walked(run), _walk),
    "Stable Diffusion: steps": Stage("image steps", lambda run, sizes: TAKAGI * sizes.n_test * bool(extra_models(run)), _walk_sd),
    "eight scores": Stage("images", _n_scored, _score),
}
