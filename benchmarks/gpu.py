"""Agreement with the CPU, and speed, on a GPU: `PYTHONPATH=. python benchmarks/gpu.py --json out.json --budget 360`.

First it compares the demo zoo's results with the CPU's. Then it measures the speed of every stage at the paper's size with random
weights, the most important first. Each row is printed and written to the file as soon as it is measured. If a measurement fails
or does not fit into the remaining budget (seconds), its row says so, and the next one starts. Needs this source tree, torch
and transformers, and diffusers for the second stage. Without a GPU, or with `--quick`, small models are measured.
"""

import argparse
import gc
import json
import os
import signal
import sys
import time
import traceback
from functools import cache, partial
from pathlib import Path

os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import numpy as np
import pandas as pd
import report
import torch
from timing import median

from nsdlib.core import device
from nsdlib.core.ridge import Ridge
from nsdlib.params import load_run
from nsdlib.run import full_size, rehearsal
from nsdlib.store import zoo

N_DEMO = 2  # number of images for the comparison with the CPU
CPU = torch.device("cpu")
N_VOXELS = 100_000  # of the single-trial GLM
MARGIN = 3  # time limit of a row, in multiples of its usual time


def main():
    """Measure, or write an earlier measurement to the book's data."""
    parser = report.parser(__doc__, quick="small models, as without a GPU")
    parser.add_argument("--budget", type=float, default=360, help="seconds in all (%(default)s)")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="measure nothing: write FILE's rehearsal to the book's data")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), help="these rows")
    options = parser.parse_args()
    options.device = device.pick_device()
    options.quick |= options.device.type == "cpu"
    keep(options.keep) if options.keep else report.show(measure_all(options), options)


def measure_all(options):
    """Measure and yield row by row."""
    begin = time.monotonic()
    for name in options.only:
        measure, usual = ROWS[name]
        start = time.monotonic()
        remaining = options.budget - (start - begin)
        fits = remaining > (0 if options.quick else usual)
        not_measured = [report.row("", None, error=f"not measured: wanted {usual} s, {remaining:.0f} s remain")]
        for row in attempt(measure, options, min(remaining, MARGIN * usual)) if fits else not_measured:
            yield row | {"case": ": ".join(filter(None, (name, row["case"]))), "device": options.device}
        print(f"{name}: {time.monotonic() - start:.1f} s, {time.monotonic() - begin:.0f} s so far", file=sys.stderr, flush=True)


def attempt(measure, options, seconds):
    """Yield rows of a measurement, and one with the error if it fails or times out; free its memory."""

    def stop(*_):
        raise TimeoutError(f"stopped after {seconds:.0f} s")

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield from measure(options)
    except Exception as error:
        traceback.print_exc(limit=-3)
        yield report.row("", None, error=f"{type(error).__name__}: {error}"[:300])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        gc.collect()
        if options.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def timed(pairs, options, n=None, unit="s"):
    """Yield a row for each pair (name, function): seconds, or the rate per second of `n` items."""
    for what, work in pairs:
        seconds = median(work, options.device)[0]
        yield report.row(what, n / seconds if n else seconds, unit, peak_gb=report.peak_gb(options.device))


# Agreement with the CPU: each function returns an array made on a device.


def agreement(make, unit=None):
    """Return a measurement of the difference between a device's results and the CPU's, in `unit` or relative to the largest."""

    def measure(options):
        peer = np.asarray(make(CPU), dtype=np.float64)
        ours = peer if options.device == CPU else np.asarray(make(options.device), dtype=np.float64)
        difference, scale = np.abs(ours - peer), 1 if unit else np.abs(peer).max()
        columns = {"agreement": difference.max() / scale, "in the mean": difference.mean() / scale}
        yield report.row("", None, unit or "of the largest", **columns)

    return measure


def demo(place):
    """The demo run on a device."""
    return load_run("demo").model_copy(update={"device": place.type})


@cache
def scenes():
    """Drawn scenes, (N_DEMO, 425, 425, 3) uint8, and five captions each."""
    from nsdlib.twin import captions, scenes

    rng = np.random.default_rng(0)
    drawn = [scenes.sample_scene(rng) for _ in range(N_DEMO)]
    return np.stack([scenes.draw(scene, 425) for scene in drawn]), [captions.describe(scene, rng) for scene in drawn]


@cache
def latents(place):
    """VDVAE latents of the scenes."""
    return zoo.load_vdvae(demo(place)).encode(scenes()[0], n_layers=15)


@cache
def rough(place):
    """Images that the VDVAE decodes from the CPU's latents."""
    return zoo.load_vdvae(demo(place)).decode(latents(CPU))


@cache
def tokens(place, flat=True):
    """CLIP tokens of the scenes and their captions."""
    embedder, (images, captions) = zoo.load_embedder(demo(place)), scenes()
    text, vision = embedder.text(captions), embedder.vision(images)
    return np.concatenate([text.ravel(), vision.ravel()]) if flat else (text, vision)


def refined(place):
    """Refined images of the scenes, from the CPU's rough images and tokens."""
    run = demo(place)
    settings = zoo.refinement(run) | {"image_ids": np.arange(N_DEMO)}
    return zoo.load_diffusion(run).refine(rough(CPU), *tokens(CPU, flat=False), **settings)


def scores(place):
    """Eight scores of the rough images."""
    return zoo.load_scorer(demo(place)).score(scenes()[0], rough(CPU)).values


def problem(n_images=300, n_voxels=500, n_targets=1000):
    """Simulate patterns (n_images, n_voxels) and targets (n_images, n_targets) that depend on them, float32."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_images, n_voxels), dtype=np.float32)
    return X, X[:, :50] @ rng.standard_normal((50, n_targets), dtype=np.float32) / 7


def ridge_predictions(place):
    """Predictions of ridge regression."""
    X, Y = problem()
    return Ridge([100.0], device=place).fit(X[:250], Y[:250]).predict(X[250:])


def betas(place):
    """Single-trial betas."""
    import glm

    design, data, tr = glm.simulate_session(120)
    settings = glm.GLMOptions(device=str(place))
    return glm.fit_glm(design[:3], data[:3], tr=tr, options=settings).betas_d.values


def gru_errors(place):
    """Validation errors of a GRU's first five epochs; they differ between devices, because dropout is drawn on the device."""
    from nsdlib.core import networks

    return networks.make("gru", max_epochs=5, device=place).fit(*problem(n_targets=200)).history.errors


# Speed at the paper's size.


def sizes(options):
    """Sizes of models and data: the paper's, or small ones with `--quick`."""
    return toy_sizes() if options.quick else full_size.Sizes()


def toy_sizes():
    """Small sizes for a quick check."""
    unet = {"sample_size": 8, "cross_attention_dim": 16, "attention_head_dim": 2}
    narrow = {"block_out_channels": (8, 8, 8, 8), "norm_num_groups": 4}
    encoder = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    encoder |= {"projection_dim": 16}
    vdvae = {"width": 16, "enc_blocks": "64x1,64d2,32x1,32d32,1x1", "dec_blocks": "1x1,32m1,32x1,64m32,64x1"}
    return full_size.Sizes(
        n_train=40, n_test=8, n_voxels=30, n_captions=2, image_side=64, vdvae=vdvae,
        unet=full_size.UNET | unet | narrow, autoencoder=full_size.AUTOENCODER | narrow,
        vision=encoder | {"image_size": 32, "patch_size": 16},
        text=encoder | {"vocab_size": 50, "max_position_embeddings": 7, "bos_token_id": 48, "eos_token_id": 49},
    )  # fmt: skip


def rehearsal_run(options):
    """The run for the rehearsal."""
    small = {"n_layers": 2, "layer_counts": (2,), "n_steps": 4} if options.quick else {}
    return load_run("subj01").model_copy(update={"device": options.device.type} | small)


def gru(options):
    """Seconds per epoch of Table 1's GRU, and of the published loop."""
    import stage1

    numbers = stage1.QUICK if options.quick else stage1.PAPER
    return stage1.measure_gru(argparse.Namespace(**numbers, device=str(options.device)))


def networks(options):
    """Seconds per epoch of each network."""
    from nsdlib.core.networks import NETWORKS, build_network
    from nsdlib.core.training import RATE, Trainer

    size, n_latents = sizes(options), 100 if options.quick else 13_344
    arrays = (rehearsal.normal(size.n_train, n, np.float32) for n in (size.n_voxels, n_latents))
    x, y = (torch.from_numpy(array).to(options.device) for array in arrays)
    regions = np.arange(size.n_voxels) * 6 // size.n_voxels
    for name in NETWORKS:
        network = build_network(name, size.n_voxels, n_latents, regions).to(options.device)
        trainer = Trainer(network, x, y, seed=0, batch_size=64)
        trainer.run_epoch(RATE)
        yield from timed([(name, partial(trainer.run_epoch, RATE))], options)


def image_steps(*batches, compile=False):
    """Return a measurement of the UNet's image steps per second, in batches; if compiled, also the seconds to start."""

    def measure(options):
        import stage2

        settings = {"full": not options.quick, "compile": compile and not options.quick, "device": options.device}
        return stage2.measure_steps(argparse.Namespace(**settings, batches=(1,) if options.quick else batches))

    return measure


def published_loop(options):
    """Image steps per second with the autoencoder, compared with the published loop's structure."""
    import stage2

    images = 2 if options.quick else 32
    return stage2.measure_loop(argparse.Namespace(full=not options.quick, images=images, device=options.device))


def session(options):
    """Seconds of a session's single-trial GLM and of its stages."""
    import glm

    yield glm.measure_session(60 if options.quick else N_VOXELS, str(options.device))


def ridge(options):
    """Fit and predict CLIP-vision tokens, with half-precision targets in host memory or on the device."""
    size = sizes(options)
    n_targets = size.n_vision_tokens * size.token_width
    X, X_test = (rehearsal.normal(n, size.n_voxels, np.float32) for n in (size.n_train, size.n_test))
    Y = rehearsal.normal(size.n_train, n_targets, np.float16)
    label = f"{size.n_voxels:,} voxels x {size.n_train:,} images x {n_targets:,} targets on the "
    fit = lambda Y: Ridge([60_000.0], device=options.device).fit(X, Y).predict(X_test)  # noqa: E731
    Y_on_device = torch.from_numpy(Y).to(options.device)
    return timed([(f"{label}host", partial(fit, Y)), (f"{label}device", partial(fit, Y_on_device))], options)


def vdvae(options):
    """Images per second that the VDVAE encodes and decodes."""
    model, n = full_size.build_vdvae(sizes(options), options.device), 2 if options.quick else 64
    n_layers, images = rehearsal_run(options).n_layers, rehearsal.pictures(n, 64)
    codes = rehearsal.normal(n, model.n_latents(n_layers), np.float32)
    works = {
        f"encoded, {n_layers} layers": partial(model.encode, images, n_layers=n_layers),
        "decoded": partial(model.decode, codes),
    }
    return timed(works.items(), options, n, "images/s")


def autoencoder(options):
    """Images per second that the second stage's autoencoder encodes and decodes."""
    second_stage, n = full_size.build_second_stage(sizes(options), options.device), 2 if options.quick else 32
    images = rehearsal.pictures(n, 64)
    works = {"in": partial(second_stage.encode, images), "out": partial(second_stage.decode, second_stage.encode(images))}
    return timed(works.items(), options, n, "images/s")


def clip(options):
    """Images and captions per second through CLIP ViT-L/14."""
    embedder, n = full_size.build_embedder(sizes(options), options.device), 2 if options.quick else 256
    captions = [[f"picture {i} of a thing"] for i in range(n)]
    works = {"images": partial(embedder.vision, rehearsal.pictures(n, 425)), "captions": partial(embedder.text, captions)}
    return timed(works.items(), options, n, "items/s")


def judges(options):
    """Images per second through each network of the scores."""
    n = 2 if options.quick else 128
    images, extractors = rehearsal.pictures(n, 425), full_size.build_extractors(sizes(options), options.device)
    works = {name: partial(extractor, images) for name, extractor in extractors.items()}
    return timed(works.items(), options, n, "images/s")


def rehearse(options):
    """Seconds of the whole rehearsal."""
    n_images = 1 if options.quick else 32
    start = time.perf_counter()
    table = rehearsal.rehearse(rehearsal_run(options), n_images=n_images, sizes=sizes(options), report=lambda _: None)
    yield report.row("all stages, once", time.perf_counter() - start)
    for stage in table.reset_index().to_dict("records"):
        peak = stage["of the GPU GiB"] or stage["memory GiB"]
        yield report.row(f"{stage['stage']}, once", stage["a second"], "items/s", peak_gb=peak, **stage)


def keep(file):
    """Write a GPU's rehearsal, from a file of this program, as a table for forecasts."""
    rows = json.loads(file.read_text())
    stages = [row for row in rows if "stage" in row]
    if not stages or not (card := stages[0]["about"]["machine"]["card"]):
        raise ValueError(f"{file} holds no rehearsal on a card: wanted rows of the case 'rehearsal', and the card's name")
    table = pd.DataFrame(stages).set_index("stage").drop(columns=[*report.WIDTHS, "about"])
    day, name = stages[0]["about"]["date"][:10], "_".join(card.removeprefix("NVIDIA").lower().split())
    rehearsal.keep(table, report.ROOT / "book" / "data" / f"rehearsal_{name}.csv", card, day)


ROWS = {  # most important first, with their seconds on an H100
    "agreement: VDVAE latents": (agreement(latents), 8),
    "agreement: rough images": (agreement(rough, "grey levels"), 4),
    "agreement: CLIP tokens": (agreement(tokens), 6),
    "agreement: refined images": (agreement(refined, "grey levels"), 10),
    "agreement: eight scores": (agreement(scores, "points"), 5),
    "agreement: ridge": (agreement(ridge_predictions), 3),
    "agreement: betas": (agreement(betas), 8),
    "agreement: GRU, errors of five epochs": (agreement(gru_errors), 5),
    "GRU, an epoch": (gru, 20),
    "second stage, steps": (image_steps(8, 32, 1), 25),
    "second stage, whole": (published_loop, 30),
    "GLM": (session, 25),
    "ridge": (ridge, 15),
    "VDVAE": (vdvae, 10),
    "autoencoder": (autoencoder, 10),
    "networks, an epoch": (networks, 15),
    "CLIP": (clip, 10),
    "judges": (judges, 15),
    "rehearsal": (rehearse, 110),
    "second stage, compiled": (image_steps(8, compile=True), 90),
}


if __name__ == "__main__":
    main()
