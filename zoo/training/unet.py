"""The demo zoo's dual UNet: Versatile Diffusion's structure, small, on the latents of 128 x 128 scenes.

v-prediction and larger tokens make conditioning take effect early: training multiplies tokens by eight, and `save` multiplies
this factor into the attention's key and value weights, so that the saved UNet takes unscaled tokens. The UNet learns
image-to-image from rough images (`_walk`). Tokens decoded from a brain are uncertain, so a growing share of tokens and rough
images is replaced by simulated predictions (`zoo.training.tokens`). Backgrounds are learned early and fill most of an image, so
errors on things weigh more. The cross-entropy of `zoo.training.reader` is a second loss.
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional
from tqdm import trange

from nsdlib.core import clip, diffusion, vdvae
from nsdlib.core.images import resize
from nsdlib.core.weights import find_files, load_diffusers
from nsdlib.params import load_run
from nsdlib.store import provenance
from nsdlib.store.sources import digest
from zoo.training import data, namer, optimise, reader
from zoo.training.tokens import Decoded

CONFIG = {
    "sample_size": 16,
    "in_channels": 8,
    "out_channels": 8,
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    "block_out_channels": [48, 96, 112],
    "layers_per_block": 1,
    "cross_attention_dim": 64,
    "attention_head_dim": 4,
    "norm_num_groups": 16,
}
SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "clip_sample": False,
    "prediction_type": "v_prediction",
}
N_STEPS, BATCH, RATE, SEED = 50_600, (32, 256), 1e-3, 14
START = 500  # lowest timestep at which image-to-image starts
ENLARGE = 8.0
N_MEASURED = 200
N_ROUGH_LAYERS = 15
ENCODERS = ("vae", "text_encoder", "image_encoder")  # folders of Versatile Diffusion
EMPTY_FRACTION, DECODED_FRACTION = 0.1, 0.8  # shares of images with empty tokens, and with decoded ones at the end of training
READER_WEIGHT = 0.8  # weight of the reader's cross-entropy; the squared error has weight 1
THING_WEIGHT = 4.0  # additional weight of errors on things; errors on the background have weight 1


def train(folder: Path, cache: Path, resources: optimise.Resources):
    """Train and save image_unet, text_unet (its attention tensors) and scheduler below `folder`."""
    from diffusers import DDIMScheduler, UNet2DConditionModel

    scene_set = data.load_scenes("train", cache)
    inputs, empty = _encode_scenes(scene_set, folder, cache, resources.device)
    factors = torch.from_numpy(scene_set.attributes).to(resources.device)
    decoded = Decoded({name: inputs[name] for name in ("rough", "text", "vision")}, factors)
    weights = _weights(scene_set.covers).to(resources.device)
    shown = reader.as_shown(torch.from_numpy(scene_set.covers)).to(resources.device)
    checkpoints = {name: cache / f"{name}_{_of_encoders(folder)}.checkpoint" for name in ("reader", "unet")}
    frozen_reader = reader.train(
        inputs["latents"], shown, checkpoints["reader"], resources, seconds=0.05 * resources.seconds("unet")
    )
    scheduler = DDIMScheduler(**SCHEDULER)
    torch.manual_seed(SEED)
    model = diffusion.DualUNet(UNet2DConditionModel(**CONFIG)).to(resources.device, memory_format=torch.channels_last)
    resources.compile(model)
    n, options = resources.batch(*BATCH), {"device": resources.device}

    def loss_of_batch(generator, progress):
        rows = torch.randint(len(inputs["latents"]), (n,), generator=generator, **options)
        batch = {name: inputs[name][rows].float() for name in inputs}
        tokens = {name: batch[name] for name in decoded.maps}
        batch |= decoded(tokens, factors[rows], progress * DECODED_FRACTION, generator)
        t, noise = _walk(batch["latents"], batch["rough"], scheduler, generator)
        contexts = [_drop(batch[name], empty[name], generator) for name in ("text", "vision")]
        text_weight = _text_weight(n, generator)
        with resources.autocast():
            x = scheduler.add_noise(batch["latents"], noise, t).contiguous(memory_format=torch.channels_last)
            predicted = model(x, t, model.condition(*contexts, text_weight))
            reader_error = reader.error(frozen_reader, _clean(x, predicted, t, scheduler), shown[rows], generator)
        error = (predicted.float() - scheduler.get_velocity(batch["latents"], noise, t)).square()
        return (weights[rows] * error.mean(1)).sum() / weights[rows].sum() + READER_WEIGHT * reader_error

    settings = {"n_steps": N_STEPS, "learning_rate": RATE, "seed": SEED, "checkpoint": checkpoints["unet"]}
    save(optimise.train(model, loss_of_batch, resources, **settings, seconds=resources.seconds("unet")), folder)
    scheduler.save_pretrained(folder / "scheduler")


def _weights(covers):
    """Weight of each latent position (n, 16, 16), from the share that things cover; `covers` is (n, 16 patches, n_kinds)."""
    patches = torch.from_numpy(covers).sum(2).clamp(max=1).unflatten(1, (1, data.PATCHES, data.PATCHES))
    side = CONFIG["sample_size"]
    return 1 + THING_WEIGHT * functional.interpolate(patches, (side, side), mode="bilinear")[:, 0]


def _walk(z, rough, scheduler, generator):
    """Draw timesteps (n,) and noise for training image-to-image that starts from a rough image's latents.

    The noise includes the rough image's error, scaled such that the noisy latents at the starting timestep are the rough image's;
    at lower timesteps the error shrinks with the noise. So the UNet learns to remove both (any pairs of noise and image may be
    interpolated: Albergo & Vanden-Eijnden 2023).
    """
    start_draw, level = torch.rand(2, len(z), generator=generator, device=z.device)
    start = START + (scheduler.config.num_train_timesteps - START) * start_draw.square()
    signal = scheduler.alphas_cumprod.to(z.device)[start.long(), None, None, None]
    noise = torch.randn(z.shape, generator=generator, device=z.device)
    return (start * level.sqrt()).long(), noise + (signal / (1 - signal)).sqrt() * (rough - z)


def _clean(x, velocity, t, scheduler):
    """Compute the clean latents that a predicted velocity implies at timesteps t (n,)."""
    signal = scheduler.alphas_cumprod.to(x.device)[t, None, None, None]
    return signal.sqrt() * x - (1 - signal).sqrt() * velocity


def _drop(tokens, empty, generator):
    """Replace some tokens of a batch by the empty ones, and enlarge all."""
    dropped = torch.rand(len(tokens), 1, 1, generator=generator, device=tokens.device) < EMPTY_FRACTION
    return ENLARGE * torch.where(dropped, empty, tokens)


def _text_weight(n, generator):
    """Draw the text weight of each image: vision alone, text alone, or any mixture."""
    weight, kind = (torch.rand(n, generator=generator, device=generator.device) for _ in range(2))
    weight = torch.where(kind < 0.15, 0.0, torch.where(kind < 0.3, 1.0, weight))
    return weight[:, None, None, None]


def _encode_scenes(scene_set, folder, cache, device):
    """Encode training scenes: latents, latents of rough images, tokens, and empty tokens; cached by the encoders' hashes."""
    vae, text, vision = (find_files(folder / part) for part in ENCODERS)
    parts = {"latents": (vae, _encode_images), "rough": ([*vae, _first_stage(folder)], _encode_rough)}
    parts |= {"vision": (vision, _encode_vision), "text": (text, _encode_text)}
    inputs, empty = {}, {}
    for name, (weights, encode) in parts.items():
        path = cache / f"unet_{name}_{'_'.join(provenance.file_hash(file)[:12] for file in weights)}.pt"
        if not path.exists():
            torch.save(encode(folder, scene_set, device), path)
        inputs[name], empty[name] = torch.load(path, weights_only=True, map_location=device)
    return inputs, empty


def _of_encoders(folder):
    """Hash of the encoders' weights: a checkpoint is valid only for their tokens and latents."""
    files = [file for part in ENCODERS for file in find_files(folder / part)]
    return digest(*map(provenance.file_hash, [*files, _first_stage(folder)]))


def _first_stage(folder):
    return folder.parent / "vdvae" / "vdvae.safetensors"


def _encode_rough(folder, scene_set, device):
    """Latents of the images that the first stage decodes from true latents of 15 layers."""
    first_stage = vdvae.load(_first_stage(folder), device)

    def draw(rows):
        rough = first_stage.decode(first_stage.encode(scene_set.small[rows], n_layers=N_ROUGH_LAYERS))
        return resize(rough, data.SIZE, "pil bicubic")  # as the second stage reads it

    return _encode_images(folder, scene_set, device, draw)


@torch.inference_mode()
def _encode_images(folder, scene_set, device, draw=None):
    """Latents of the scenes, or of the images that `draw` makes of slices of them; and a 0 in place of empty tokens."""
    from diffusers import AutoencoderKL

    vae = load_diffusers(AutoencoderKL, folder / "vae").to(device)
    latents = []
    for i in trange(0, len(scene_set.images), 50, desc="encoding images", mininterval=10):
        rows = slice(i, i + 50)
        pixels = data.to_unit(draw(rows) if draw else scene_set.images[rows]).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            latents.append(vae.encode(pixels).latent_dist.mean.half().cpu())
    return torch.cat(latents) * vae.config.scaling_factor, torch.zeros(0)


def _encode_vision(folder, scene_set, device):
    embedder = clip.load(folder, device)
    grey = np.full((1, data.SMALL, data.SMALL, 3), 127, dtype=np.uint8)
    return torch.from_numpy(embedder.vision(scene_set.small)), torch.from_numpy(embedder.vision(grey)).float()


def _encode_text(folder, scene_set, device):
    embedder = clip.load(folder, device)
    return torch.from_numpy(embedder.text(scene_set.captions)), torch.from_numpy(embedder.text([[""]])).float()


def save(model: diffusion.DualUNet, folder: Path):
    """Save the two UNets in the published folder layout, with `ENLARGE` multiplied into key and value weights."""
    for part, state in (("image_unet", model.published_state("vision")), ("text_unet", model.published_state("text"))):
        (folder / part).mkdir(parents=True, exist_ok=True)
        state = {key: value * ENLARGE if _projects_tokens(key) else value for key, value in state.items()}
        save_file(optimise.half(state), folder / part / "diffusion_pytorch_model.safetensors")
    config = {"_class_name": "UNet2DConditionModel", **CONFIG}
    (folder / "image_unet" / "config.json").write_text(json.dumps(config, indent=1) + "\n")


def _projects_tokens(key):
    return "attn2.to_k." in key or "attn2.to_v." in key


def measure(folder: Path, cache: Path) -> dict[str, float]:
    """Measure the v-prediction error on validation scenes, and the judge's accuracy for the main object of reconstructions.

    Reconstructions use true latents of 15 layers, true tokens and the demo's settings: this is the zoo's ceiling.
    """
    model, embedder = diffusion.load(folder), clip.load(folder)
    scene_set = data.load_scenes("validation", cache)
    images, small, kinds = (part[:N_MEASURED] for part in (scene_set.images, scene_set.small, scene_set.kinds))
    text, vision = embedder.text(scene_set.captions[:N_MEASURED]), embedder.vision(small)
    first_stage = vdvae.load(_first_stage(folder))
    rough = first_stage.decode(first_stage.encode(small, n_layers=N_ROUGH_LAYERS))
    demo = load_run("demo")
    settings = {name: getattr(demo, name) for name in provenance.REFINING}
    refined = model.refine(rough, text, vision, image_ids=np.arange(N_MEASURED), **settings)
    quality = {"v_prediction_mse": _prediction_error(model, images, text, vision)}
    for name, pictures in {"rough": rough, "refined": refined}.items():
        quality[f"object_named_in_{name}"] = namer.accuracy(folder.parent / "namer", pictures, kinds)
    return quality


@torch.inference_mode()
def _prediction_error(model, images, text, vision):
    """Mean squared error of the velocity, at random timesteps and text weight 0.4."""
    generator, errors = torch.Generator().manual_seed(0), []
    for i in range(0, len(images), 50):
        z = model.vae.encode(data.to_unit(images[i : i + 50])).latent_dist.mean * model.vae.config.scaling_factor
        noise = torch.randn(z.shape, generator=generator)
        t = torch.randint(1000, (len(z),), generator=generator)
        contexts = [torch.from_numpy(tokens[i : i + 50]).float() for tokens in (text, vision)]
        predicted = model.unet(model.scheduler.add_noise(z, noise, t), t, model.unet.condition(*contexts, 0.4))
        errors.append((predicted - model.scheduler.get_velocity(z, noise, t)).square().mean((1, 2, 3)))
    return torch.cat(errors).mean().item()
