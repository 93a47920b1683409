"""The demo zoo's VDVAE: the published topology up to its 31st stochastic layer, with fewer channels.

A plain evidence lower bound leaves the first layers nearly empty at this size. So each step samples only the first K layers from
the posterior (K = 15, 31 or all), sets later layers to the prior's mean, and counts the KL terms of the first K layers only. A
learned offset of the output's log scale for each K adapts the likelihood to the precision that K layers reach.
"""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from nsdlib.core import random, vdvae
from nsdlib.core.scores.similarity import pixcorr
from nsdlib.core.vdvae import PIXEL_MEAN, PIXEL_SCALE
from zoo.training import data, optimise

HYPERPARAMETERS = vdvae.Hyperparameters(
    width=64,
    num_mixtures=3,
    enc_blocks="64x1,64d2,32x2,32d2,16x3,16d2,8x3,8d2,4x2,4d4,1x2",
    dec_blocks="1x2,4m1,4x3,8m4,8x7,16m8,16x15,32m16,32x1,64m32",
)
N_STEPS, BATCH, RATE, SEED = 3_000, (16, 64), 2e-3, 12
DEPTHS = (15, 31, 33)
DEPTH_PROBABILITIES = (0.55, 0.35, 0.1)


def train(folder: Path, cache: Path, resources: optimise.Resources):
    """Train and save `vdvae.safetensors` and `hyperparameters.json` below `folder`."""
    images = torch.from_numpy(data.load_scenes("train", cache).small).to(resources.device)
    torch.manual_seed(SEED)
    model = vdvae.VDVAE(HYPERPARAMETERS)
    _initialise(model)
    parts = torch.nn.ModuleDict({"model": model})
    parts.register_parameter("scale_offsets", torch.nn.Parameter(torch.zeros(len(DEPTHS))))
    model.to(resources.device, memory_format=torch.channels_last)
    size = resources.batch(*BATCH)

    def loss_of_batch(generator, progress):
        x = data.batch(images, size, generator)
        choice = int(torch.multinomial(torch.tensor(DEPTH_PROBABILITIES, device=x.device), 1, generator=generator))
        kl_weight = 0.3 + 0.7 * min(1.0, progress / 0.5)
        with resources.autocast():
            parameters, kl = posterior_pass(model, (127.5 * (x + 1) - PIXEL_MEAN) / PIXEL_SCALE, DEPTHS[choice], generator)
        nll = mixture_nll(parameters.float(), x, parts.scale_offsets[choice])
        return (nll + kl_weight * kl).mean() / x[0].numel()

    settings = {"n_steps": N_STEPS, "learning_rate": RATE, "seed": SEED, "checkpoint": cache / "vdvae.checkpoint"}
    averaged = optimise.train(parts, loss_of_batch, resources, **settings, seconds=resources.seconds("vdvae"))
    folder.mkdir(parents=True, exist_ok=True)
    save_file(optimise.half(averaged["model"].state_dict()), folder / "vdvae.safetensors")
    (folder / "hyperparameters.json").write_text(json.dumps(asdict(HYPERPARAMETERS), indent=1) + "\n")


def _initialise(model):
    """Set biases to zero, divide residual branches by the root of the number of blocks, start with a standard normal prior."""
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.zeros_(module.bias)
    with torch.no_grad():
        for block in model.encoder.enc_blocks:
            block.c4.weight *= len(model.encoder.enc_blocks) ** -0.5
        for block in model.decoder.dec_blocks:
            block.prior.c4.weight.zero_()
            block.resnet.c4.weight *= len(model.decoder.dec_blocks) ** -0.5
            block.z_proj.weight *= len(model.decoder.dec_blocks) ** -0.5


def posterior_pass(model, x, depth, generator):
    """Mixture parameters with the first `depth` layers from the posterior, and their summed KL terms: (n_images,) nats."""
    x = x.contiguous(memory_format=torch.channels_last)
    kl = x.new_zeros(len(x))

    def choose(index, prior, posterior):
        nonlocal kl
        if index >= depth:
            return prior[0]
        (pm, pv), (qm, qv) = [[part.float() for part in pair] for pair in (prior, posterior())]
        kl = kl + (pv - qv - 0.5 + 0.5 * (torch.exp(2 * qv) + (qm - pm) ** 2) * torch.exp(-2 * pv)).sum((1, 2, 3))
        return qm + qv.exp() * torch.empty_like(qm).normal_(generator=generator)

    state = model.decoder(len(x), choose, model.encoder(x))
    return model.decoder.out_net.out_conv(state), kl


def mixture_nll(parameters, target, scale_offset=0.0):
    """Negative log-likelihood of 8-bit pixels, target in [-1, 1] (n, 3, rows, columns): (n,) nats (Salimans et al. 2017)."""
    logits, means, log_scales, couplings = random.split_parameters(parameters)
    log_scales = log_scales + scale_offset
    x = target.unsqueeze(2)
    red, green, (green_of_red, blue_of_red, blue_of_green) = x[:, 0], x[:, 1], couplings.unbind(1)
    shifts = [torch.zeros_like(green_of_red), green_of_red * red, blue_of_red * red + blue_of_green * green]
    centred, inverse = x - means - torch.stack(shifts, dim=1), torch.exp(-log_scales)
    upper, lower = inverse * (centred + 1 / 255), inverse * (centred - 1 / 255)
    inside = torch.log((torch.sigmoid(upper) - torch.sigmoid(lower)).clamp(min=1e-12))
    log_p = torch.where(x < -0.999, upper - F.softplus(upper), torch.where(x > 0.999, -F.softplus(lower), inside))
    return -torch.logsumexp(log_p.sum(1) + logits.log_softmax(1), dim=1).sum((1, 2))


def measure(folder: Path, cache: Path) -> dict[str, float]:
    """Mean pixel correlation of validation scenes with images decoded from true latents of 15 and 31 layers."""
    model = vdvae.load(folder / "vdvae.safetensors")
    images = data.load_scenes("validation", cache).small[:128]
    decoded = {n_layers: model.decode(model.encode(images, n_layers=n_layers)) for n_layers in (15, 31)}
    return {f"pixcorr_{n_layers}_layers": float(pixcorr(images, made).mean()) for n_layers, made in decoded.items()}
