"""How fast stage 2 is, and what fewer steps cost: `python benchmarks/stage2.py [loop] [samplers]`.

loop: image steps a second of our loop against the published loop's structure (one image at a time, the pass with tokens and the
one without apart, tokens projected at every step) on the same weights: the demo zoo's on a CPU, random ones of the published size
with `--full`. samplers: scores of the demo subject's refined images for each sampler and number of steps, against DDIM with 50
(wants `make demo` first).
"""

import argparse
import sys
import time

import numpy as np
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from nsdlib.core import diffusion, random
from nsdlib.core.device import pick_device
from nsdlib.core.scores.metrics import METRICS
from nsdlib.params import load_run
from nsdlib.run import full_size
from nsdlib.run.rates import product_rate
from nsdlib.store import zoo
from nsdlib.store.store import Store
from nsdlib.study.statistics import paired_difference

N_STEPS, STRENGTH, GUIDANCE, SHARE = 10, 0.5, 7.5, 0.4
COMPARED = {"ddim": (50, 25, 10, 5), "dpm++": (25, 10, 5), "unipc": (25, 10, 5)}
SHOWN = ("ssim", "pixcorr", "inception", "effnet", "swav")


def main():
    """Print a table for each part asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="*", help=f"any of {', '.join(PARTS)} (all)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (%(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--full", action="store_true", help="the published size with random weights; wants a GPU")
    parser.add_argument("--images", type=int, default=32, help="images of the loop (%(default)s)")
    options = parser.parse_args()
    if unknown := set(options.part) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    torch.set_num_threads(options.threads)
    device = pick_device(options.device)
    print(f"{options.threads} threads, {device}")
    for part in options.part or PARTS:
        table = pd.DataFrame(PARTS[part](options, device))
        print(f"\n## {part}\n\n{table.to_markdown(index=False, floatfmt='.3g')}", flush=True)


@torch.inference_mode()
def measure_loop(options, device):
    """Image steps a second, and the share of the machine's matrix-product rate that they reach."""
    run = load_run("demo").model_copy(update={"device": str(device)})
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    second = full_size.build_second_stage(full_size.Sizes(), device, dtype) if options.full else zoo.load_diffusion(run)
    n = options.images
    rough = np.random.default_rng(0).integers(0, 256, (n, 64, 64, 3), dtype=np.uint8)
    tokens = [empty.expand(n, -1, -1).float().cpu().numpy() for empty in second.unconditional]
    settings = {"strength": STRENGTH, "n_steps": N_STEPS, "guidance": GUIDANCE, "text_weight": SHARE}
    ids, image_steps = np.arange(n), n * int(STRENGTH * N_STEPS)
    second.refine(rough[:2], *(t[:2] for t in tokens), image_ids=ids[:2], **settings)  # libraries choose their kernels
    began = time.perf_counter()
    ours = second.refine(rough, *tokens, image_ids=ids, **settings)
    seconds = time.perf_counter() - began
    few = min(n, 4)
    began = time.perf_counter()
    theirs = np.concatenate([_one_by_one(second, rough[[i]], [t[[i]] for t in tokens], i) for i in range(few)])
    naive = (time.perf_counter() - began) * n / few
    difference = np.abs(theirs.astype(int) - ours[:few]).max()
    operations, rate = _operations(second) * image_steps, product_rate(device, dtype)
    print(f"images differ by {difference} of 255 at most", file=sys.stderr)
    return [
        {"program": name, "image steps a second": image_steps / taken, "of the product rate": operations / taken / rate,
         "times faster": naive / taken}
        for name, taken in (("nsdlib", seconds), ("one by one", naive))
    ]  # fmt: skip


def _one_by_one(second, rough, tokens, image_id):
    """The published loop's structure for one image."""
    scheduler = second.scheduler
    add_at, steps = diffusion.img2img_timesteps(scheduler, strength=STRENGTH, n_steps=N_STEPS)
    clean = second.encode(rough)
    noise = random.normal(clean, random.generators(0, [image_id]))
    x = scheduler.add_noise(clean, noise, torch.tensor([add_at], device=clean.device))
    given = [torch.from_numpy(one).to(second.unconditional[0]) for one in tokens]
    for t in steps:
        without, told = (
            second.unet(
                x.to(given[0].dtype), torch.tensor(t, device=x.device), diffusion.Conditioning(*pair, SHARE)
            ).float()
            for pair in (second.unconditional, given)
        )
        x = scheduler.step(without + GUIDANCE * (told - without), t, x).prev_sample
    return second.decode(x)


def _operations(second):
    """Operations of one step of one image: two passes of the UNet."""
    shape = (2, second.vae.config.latent_channels, *(second.unet.unet.config.sample_size,) * 2)
    guide = diffusion.Conditioning(*(empty.expand(2, -1, -1) for empty in second.unconditional), SHARE)
    with FlopCounterMode(display=False) as counter:
        second.unet(
            torch.zeros(shape).to(second.unconditional[0]),
            torch.tensor(1, device=second.unconditional[0].device),
            guide,
        )
    return counter.get_total_flops()


def measure_samplers(options, device):
    """Scores of the demo subject's refined images; differences to DDIM with 50 steps, positive is better."""
    run = load_run("demo").model_copy(update={"device": str(device)})
    made, second, scorer = Store(run).load("reconstruction"), zoo.load_diffusion(run), zoo.load_scorer(run)
    inputs = [made[name].values for name in ("rough", "text_pred", "vision_pred")]
    settings, rows, reference = zoo.refinement(run) | {"image_ids": made.test_image.values}, [], None
    for sampler, counts in COMPARED.items():
        for n_steps in counts:
            began = time.perf_counter()
            refined = second.refine(*inputs, **settings | {"sampler": sampler, "n_steps": n_steps})
            seconds = time.perf_counter() - began
            scores = scorer.score(made.stimulus.values, refined)
            reference = scores if reference is None else reference
            row = {"sampler": sampler, "n_steps": n_steps, "images a second": len(refined) / seconds}
            for name in SHOWN:
                sign = 1 if METRICS[name].higher_is_better else -1
                pair = (sign * one.sel(metric=name).values for one in (scores, reference))
                found = paired_difference(*pair)
                row[METRICS[name].label] = (
                    f"{scores.sel(metric=name).mean():.3f} ({found['mean']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}])"
                )
            rows.append(row)
    return rows


PARTS = {"loop": measure_loop, "samplers": measure_samplers}

if __name__ == "__main__":
    main()
