"""Speed of stage 2, and the cost of fewer steps: `python benchmarks/stage2.py [loop] [steps] [samplers]`.

loop: image steps per second of our loop, compared with the published loop's structure (one image at a time, separate passes with
and without tokens, tokens projected at every step, diffusers' own forward passes) on the same weights: the demo zoo's, or with
`--full` random ones of the published size. steps: the UNet alone in batches, uncompiled, captured as a CUDA graph on a GPU,
and compiled with `--compile`. samplers: judge accuracy and scores of held-out training images of the demo subject, for each
sampler and number of steps, compared with DDIM with 50 (run `make demo` first).
"""

from unittest import mock

import numpy as np
import pictures
import report
import torch
from timing import median, medians
from torch.utils.flop_counter import FlopCounterMode

from nsdlib.core import diffusion, random, ridge
from nsdlib.core.device import Captured, pick_device
from nsdlib.core.diffusion.unet import DualAttention
from nsdlib.core.images import resize
from nsdlib.core.scores.metrics import METRICS
from nsdlib.data import open_subject
from nsdlib.params import load_run
from nsdlib.run import full_size
from nsdlib.run.rates import product_rate, seconds_of
from nsdlib.store import zoo
from nsdlib.store.store import Store
from nsdlib.study.reconstruction import Split
from nsdlib.study.statistics import paired_difference

COMPARED = {"ddim": (50, 25, 10), "dpm++": (50, 17, 10, 7, 5)}
N_HELD_OUT, SHOWN_METRICS = 100, ("ssim", "effnet", "swav")


def main():
    """Print the rows of each requested part."""
    parser = report.parser(__doc__, quick="two images, no batches, and samplers only if named", parts=PARTS)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (%(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--full", action="store_true", help="the published size with random weights; wants a GPU")
    parser.add_argument("--images", type=int, help="images of the loop (32)")
    parser.add_argument("--compile", action="store_true", help="measure the compiled UNet too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.device, options.images = pick_device(options.device), options.images or (2 if options.quick else 32)
    options.batches = (1,) if options.quick else (8, 32, 1)
    options.parts = ("loop", "steps") if options.quick and options.parts == "all" else options.parts
    report.show(report.of_parts(PARTS, options), options)


@torch.inference_mode()
def measure_loop(options):
    """Image steps per second with the run's steps and the autoencoder, and the share of the machine's product rate."""
    device = options.device
    second_stage, run = load(options.full, device), load_run("subj01" if options.full else "demo", sampler="ddim")
    n, n_peer = options.images, 1 if options.full else min(options.images, 4)
    rough = np.random.default_rng(0).integers(0, 256, (n, 64, 64, 3), dtype=np.uint8)
    tokens = [empty.expand(n, -1, -1).float().cpu().numpy() for empty in second_stage.unconditional]
    settings, image_steps = zoo.refinement(run), n * int(run.strength * run.n_steps)

    def published():
        return np.concatenate([one_by_one(second_stage, rough[[i]], [t[[i]] for t in tokens], i, run) for i in range(n_peer)])

    programs = {"ours": lambda: second_stage.refine(rough, *tokens, image_ids=range(n), **settings), "peer": published}
    seconds, images = medians(programs, device)
    ours, peer = image_steps / seconds["ours"], image_steps / seconds["peer"] / n * n_peer
    difference = np.abs(images["peer"].astype(int) - images["ours"][:n_peer]).max()
    share = operations_of_a_step(second_stage, run) / product_rate(device, second_stage.unconditional[0].dtype)
    own = {"peak_gb": report.peak_gb(device), "device": device, "of the product rate": ours[0] * share, "peer's": peer[0] * share}
    case = f"loop, {n} images; peer: published structure, {n_peer} images"
    yield report.row(case, ours[0], "image steps/s", peer=peer[0], agreement=difference, **own, cpu_ratio=ours[1] / peer[1])


def load(full, device):
    """Load the demo zoo's second stage, or build one of the published size with random weights."""
    if full:
        return full_size.build_second_stage(full_size.Sizes(), device)
    return zoo.load_diffusion(load_run("demo").model_copy(update={"device": str(device)}))


def one_by_one(second_stage, rough, tokens, image_id, run):
    """Refine one image with the published loop's structure: per step, one pass of diffusers' UNet with tokens and one without."""
    scheduler, unet, like = second_stage.scheduler, second_stage.unet.unet, second_stage.unconditional[0]
    start, steps = diffusion.img2img_timesteps(scheduler, strength=run.strength, n_steps=run.n_steps)
    pixels = torch.from_numpy(resize(rough, second_stage.image_size, "pil bicubic")).permute(0, 3, 1, 2) / 127.5 - 1
    scaling = second_stage.vae.config.scaling_factor
    clean = second_stage.vae.encode(pixels.to(like)).latent_dist.mean.float() * scaling
    x = scheduler.add_noise(clean, random.normal(clean, random.generators(run.seed, [image_id])), torch.tensor([start]))
    conditional_tokens = [torch.from_numpy(array).to(like) for array in tokens]
    with mock.patch.object(DualAttention, "forward", mixed_as_published):
        for t in steps:
            unconditional, conditional = (
                unet(x.to(like.dtype), torch.tensor(t, device=x.device), (*pair, run.text_weight)).sample.float()
                for pair in (second_stage.unconditional, conditional_tokens)
            )
            x = scheduler.step(unconditional + run.guidance * (conditional - unconditional), t, x).prev_sample
    pixels = second_stage.vae.decode((x / scaling).to(like.dtype)).sample.float().cpu()
    return ((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def mixed_as_published(self, x, encoder_hidden_states, **options):
    """Forward pass of a DualAttention in diffusers' own UNet: both attention layers in full, with tokens projected again."""
    *tokens, weight = encoder_hidden_states
    text, vision = (layer(x, part, **options)[0] for layer, part in zip((self.text, self.vision), tokens, strict=True))
    return (weight * text + (1 - weight) * vision,)


def operations_of_a_step(second_stage, run):
    """Count the operations of one step of one image: two UNet passes that share nothing."""
    like, (x, t, tokens) = second_stage.unconditional[0], step_inputs(second_stage, 1)
    x = torch.cat([x, x])
    with mock.patch.object(DualAttention, "forward", mixed_as_published), FlopCounterMode(display=False) as counter:
        second_stage.unet.unet(x.to(like), t, (*tokens, run.text_weight))
    return counter.get_total_flops()


def step_inputs(second_stage, n):
    """Latents, timestep and tokens for one step of n images."""
    like, side = second_stage.unconditional[0], second_stage.unet.unet.config.sample_size
    x = torch.randn(n, second_stage.vae.config.latent_channels, side, side).to(like)
    return x, torch.tensor(500, device=like.device), [empty.expand(2 * n, -1, -1) for empty in second_stage.unconditional]


@torch.inference_mode()
def measure_steps(options):
    """Yield rows of image steps per second of the UNet alone: uncompiled, captured as a CUDA graph, and compiled."""
    device, second_stage, run = options.device, load(options.full, options.device), load_run("subj01")
    share = operations_of_a_step(second_stage, run) / product_rate(device, second_stage.unconditional[0].dtype)

    def row(how, n, program):
        rate = 4 * n / median(lambda: [program() for _ in range(4)], device)[0]
        columns = {"peak_gb": report.peak_gb(device), "device": device, "of the product rate": rate * share}
        return report.row(f"UNet, batch {n}, {how}", rate, "image steps/s", **columns)

    for n in options.batches:
        x, t, tokens = step_inputs(second_stage, n)
        conditioning = second_stage.unet.condition(*tokens, run.text_weight)
        predict = lambda x, t, conditioning=conditioning: second_stage.unet(x, t, conditioning)  # noqa: E731
        yield row("as it is", n, lambda x=x, t=t, predict=predict: predict(x, t))
        if device.type == "cuda":
            captured = Captured(predict)
            yield row("captured", n, lambda x=x, t=t, captured=captured: captured(x, t))
    if options.compile:
        x, t, tokens = step_inputs(second_stage, options.batches[0])
        conditioning, compiled = second_stage.unet.condition(*tokens, run.text_weight), torch.compile(second_stage.unet)
        startup = {"seconds to start": seconds_of(lambda: compiled(x, t, conditioning), device)}
        yield row("compiled", options.batches[0], lambda: compiled(x, t, conditioning)) | startup


def measure_samplers(options):
    """Judge accuracy and scores of held-out training images; score differences from DDIM with 50 steps, positive is better."""
    run = load_run("demo").model_copy(update={"device": str(options.device)})
    second_stage, scorer, (ids, *inputs) = zoo.load_diffusion(run), zoo.load_scorer(run), decode_held_out(run)
    shown, kinds = resize(open_subject(run).stimuli(ids), second_stage.image_size), pictures.main_kinds(run, ids)
    settings, reference = zoo.refinement(run) | {"image_ids": ids}, None
    for sampler, n_steps in ((sampler, n_steps) for sampler, counts in COMPARED.items() for n_steps in counts):
        variant = settings | {"sampler": sampler, "n_steps": n_steps}
        seconds, images = medians({"": lambda variant=variant: second_stage.refine(*inputs, **variant)}, options.device)
        scores = scorer.score(shown, images[""])
        reference = scores if reference is None else reference
        columns = pictures.named(zoo.root(run) / "namer", {"": images[""]}, kinds)[""]
        for name in SHOWN_METRICS:
            pair = (METRICS[name].sign * table.sel(metric=name).values for table in (scores, reference))
            mean, low, high = (paired_difference(*pair)[key] for key in ("mean", "low", "high"))
            columns[METRICS[name].label] = f"{scores.sel(metric=name).mean():.3f} ({mean:+.3f} [{low:+.3f}, {high:+.3f}])"
        rate = len(ids) / seconds[""][0]
        yield report.row(f"{sampler}, {n_steps} steps", rate, "images/s", device=options.device, **columns)


def decode_held_out(run):
    """Decode held-out training images by ridge fitted on the others: ids, rough images, text tokens, vision tokens."""
    store, vdvae = Store(run), zoo.load_vdvae(run)
    artifacts = (store.load(name) for name in ("betas", "targets", "embeddings"))
    train = Split.of("train", *artifacts, n_latents=vdvae.n_latents(run.n_layers))
    is_held_out = np.isin(np.arange(len(train.ids)), np.random.default_rng(21).choice(len(train.ids), N_HELD_OUT, replace=False))
    patterns_fit, patterns_held_out = train.patterns[~is_held_out], train.patterns[is_held_out]
    options = {"alphas": run.alphas, "mode": run.renormalise, "device": run.device}
    decoded = {
        name: ridge.decode(patterns_fit, values[~is_held_out], patterns_held_out, **options)
        for name, values in train.targets.items()
    }
    rough = vdvae.decode(decoded["latents"], seed=run.seed, image_ids=train.ids[is_held_out])
    return train.ids[is_held_out], rough, *train.as_tokens(decoded).values()


PARTS = {"loop": measure_loop, "steps": measure_steps, "samplers": measure_samplers}

if __name__ == "__main__":
    main()
