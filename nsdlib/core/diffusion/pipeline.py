"""Stage 2: dual-guided image-to-image diffusion, with which Versatile Diffusion refines a rough image (Xu et al. 2023).

The loop adds noise to a rough image and denoises it with classifier-free guidance.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from nsdlib.core import clip, random
from nsdlib.core.device import Captured, check_finite, to_tensor
from nsdlib.core.diffusion import autoencoder
from nsdlib.core.diffusion.unet import DualUNet
from nsdlib.core.images import check_images, resize
from nsdlib.core.weights import half_on_gpu, load_diffusers, read_config, read_folder

SAMPLERS = ("ddim", "dpm++", "unipc")
PIXEL_BATCH = 8  # largest batch of the autoencoder; an H100 is no faster with more


def make_scheduler(sampler: str, config: dict):
    """Return a diffusers scheduler with the model's noise levels: `ddim` as published; `dpm++` and `unipc` need fewer steps.

    `dpm++` is DPM-Solver++ (second order, multistep; Lu et al. 2022), `unipc` is UniPC (Zhao et al. 2023).
    """
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler

    kinds = dict(zip(SAMPLERS, (DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler), strict=True))
    if sampler not in kinds:
        raise ValueError(f"sampler must be one of {', '.join(SAMPLERS)}, got {sampler!r}")
    spacing = {} if sampler == "ddim" else {"timestep_spacing": "linspace"}  # their default; starts at strength * 1000
    return kinds[sampler].from_config(config, **spacing)


def img2img_timesteps(scheduler, *, strength: float, n_steps: int, faithful: bool = False) -> tuple[int, list[int]]:
    """Return the timestep at which noise is added, and the list of denoising timesteps.

    By default, noise is added at the first denoising timestep. `faithful` adds it at the preceding, noisier timestep, as the
    published Brain-Diffuser code does (741 and 721 for strength 0.75, 50 steps).
    """
    if not 0 < strength <= 1:
        raise ValueError(f"strength must lie in (0, 1], got {strength}")
    n_timesteps = scheduler.config.num_train_timesteps
    if n_steps not in range(1, n_timesteps + 1):
        raise ValueError(f"n_steps must be a whole number from 1 to {n_timesteps}, got {n_steps}")
    scheduler.set_timesteps(n_steps)
    steps = scheduler.timesteps.tolist()
    if max(steps) >= n_timesteps:
        last = n_timesteps - 1
        raise ValueError(f"{n_steps} steps begin at {max(steps)}, but the model's last timestep is {last}; use fewer steps")
    n_denoising = int(strength * n_steps)
    if n_denoising < 1:
        raise ValueError(f"strength {strength} of {n_steps} steps leaves no denoising step; increase one of them")
    first = n_steps - n_denoising
    return steps[max(first - 1, 0) if faithful else first], steps[first:]


def denoise_latents(
    unet: DualUNet, scheduler, x, *, steps, conditions, unconditional, guidance, text_weight, progress=None
) -> Tensor:
    """Denoise x, (n_images, channels, rows, columns), over the steps with classifier-free guidance (Ho & Salimans 2022).

    The prediction is `unconditioned + guidance * (conditioned - unconditioned)`, both from one pass of the UNet. `conditions` and
    `unconditional` are (text, vision) pairs of tokens; the unconditional tokens have one row.
    """
    tokens = [torch.cat([empty.expand_as(full), full]) for empty, full in zip(unconditional, conditions, strict=True)]
    conditioning = unet.condition(*tokens, text_weight)
    predict = Captured(lambda x, t: unet(x, t, conditioning))
    for step, t in zip(steps, torch.tensor(steps, device=x.device), strict=True):
        unconditioned, conditioned = predict(x.to(tokens[0].dtype), t).float().chunk(2)
        x = scheduler.step(unconditioned + guidance * (conditioned - unconditioned), step, x).prev_sample
        if progress is not None:
            progress.update(len(x))
    return x


class VersatileDiffusion:
    """Models of the second stage and its img2img loop; `load` returns a trained one."""

    def __init__(self, unet: DualUNet, vae, scheduler, empty_text: Tensor, empty_vision: Tensor):
        self.unet, self.vae, self.scheduler = unet, vae, scheduler
        self.unconditional = (empty_text, empty_vision)  # each (1, n_tokens, n_features)
        self.pixel_batch = PIXEL_BATCH

    @property
    def image_size(self) -> int:
        """Side length in pixels of the refined image."""
        return self.unet.unet.config.sample_size * 2 ** (len(self.vae.config.block_out_channels) - 1)

    @torch.inference_mode()
    def refine(
        self, rough, text, vision, *, image_ids, seed=0, strength=0.75, n_steps=50, guidance=7.5, text_weight=0.4,
        sampler="ddim", faithful=False, unconditional="empty", batch_size=32,
    ) -> np.ndarray:  # fmt: skip
        """Refine rough images, guided by CLIP tokens.

        Parameters
        ----------
        rough : (n_images, rows, columns, 3) uint8 array
            Images of any size.
        text, vision : (n_images, n_tokens, n_features) arrays
            Tokens, normalised as in `nsdlib.core.clip`.
        image_ids : (n_images,) array of int
        seed : int
            Noise depends only on seed and image id, never on the batch.
        strength : float
            Fraction of the steps to run, in (0, 1]; sets how much noise the rough image gets.
        n_steps : int
            Number of steps from pure noise to image.
        guidance : float
            Guidance scale.
        text_weight : float
            From 0, only vision tokens, to 1, only text tokens.
        sampler : {"ddim", "dpm++", "unipc"}
        faithful : bool
            Start as in the published code (see `img2img_timesteps`), and sample the rough image's latents from the posterior.
        unconditional : {"empty", "zeros"}
            Unconditional tokens: those of an empty text and a grey image, or zeros as in MindEye.
        batch_size : int
            Largest number of images at once; halved whenever the GPU runs out of memory.

        Returns
        -------
        (n_images, size, size, 3) uint8 array
        """
        self._check(rough, text, vision, image_ids)
        if not 0 <= text_weight <= 1:
            raise ValueError(f"text_weight must be from 0 (vision alone) to 1 (text alone), got {text_weight}")
        if faithful and sampler != "ddim":
            raise ValueError(f"faithful reproduces the published code and needs sampler 'ddim', got {sampler!r}")
        if unconditional not in ("empty", "zeros"):
            raise ValueError(f"unconditional must be 'empty' or 'zeros', got {unconditional!r}")
        scheduler = make_scheduler(sampler, self.scheduler.config)
        start = {"strength": strength, "n_steps": n_steps, "faithful": faithful}
        empty = tuple(tokens * (unconditional == "empty") for tokens in self.unconditional)
        options = {"guidance": guidance, "text_weight": text_weight, "unconditional": empty}
        n_denoising = len(img2img_timesteps(scheduler, **start)[1])

        def refine_batch(batch):
            options["progress"].n = batch.start * n_denoising
            noise_timestep, steps = img2img_timesteps(scheduler, **start)  # also resets the scheduler's state
            generators = random.generators(seed, image_ids[batch])
            conditions = [to_tensor(x[batch]).to(self.unconditional[0]) for x in (text, vision)]
            clean = self.encode(rough[batch], generators if faithful else None)
            noise = random.normal(clean, generators)
            x = scheduler.add_noise(clean, noise, torch.tensor([noise_timestep] * len(clean), device=clean.device))
            x = denoise_latents(self.unet, scheduler, x, steps=steps, conditions=conditions, **options)
            return self.decode(x, image_ids[batch])

        with tqdm(total=len(rough) * n_denoising, desc="refining", unit="step", mininterval=5) as options["progress"]:
            return np.concatenate(_in_batches(refine_batch, len(rough), batch_size)[0])

    def _check(self, rough, text, vision, image_ids):
        """Raise ValueError when images, tokens and ids do not match, or tokens are not finite."""
        check_images(rough, "rough")
        if len(image_ids) != len(rough):
            raise ValueError(f"image_ids must name each of the {len(rough)} images, got {len(image_ids)}")
        for name, tokens, empty in zip(("text", "vision"), (text, vision), self.unconditional, strict=True):
            if np.shape(tokens) != (len(rough), *empty.shape[1:]):
                raise ValueError(f"{name} tokens must be {(len(rough), *empty.shape[1:])}, got {np.shape(tokens)}")
            check_finite(f"{name} tokens", tokens, image_ids)

    def as_input(self, images, size=None) -> np.ndarray:
        """Resize uint8 images to the model's input, as published: (n_images, size, size, 3) uint8, bicubic."""
        return resize(images, size or self.image_size, "pil bicubic")

    @torch.inference_mode()
    def encode(self, images, generators=None, *, size=None) -> Tensor:
        """Encode uint8 images as scaled latents: the posterior's mean, or a draw when generators are given.

        Images are first resized to `size` pixels per side, by default to the size of a refined image.
        """

        def encode(pixels):  # (n_images, size, size, 3) uint8 -> (n_images, 2, channels, rows, columns): mean and sd
            x = (pixels.permute(0, 3, 1, 2) / 127.5 - 1).to(self.unconditional[0])
            return torch.stack(autoencoder.encode(self.vae, x), dim=1)

        pixels = to_tensor(self.as_input(images, size), self.unconditional[0].device)
        z, sd = self._in_batches(encode, pixels).float().unbind(1)
        if generators is not None:
            z = z + sd * random.normal(z, generators)
        return z * self.vae.config.scaling_factor

    @torch.inference_mode()
    def decode(self, latents, image_ids=None) -> np.ndarray:
        """Decode scaled latents as uint8 images; ValueError, naming the images, if pixels are not finite."""
        z = (latents / self.vae.config.scaling_factor).to(self.unconditional[0])
        pixels = self._in_batches(lambda z: autoencoder.decode(self.vae, z), z).float()
        if not pixels.isfinite().all():
            check_finite("the refined pixels", pixels.cpu().numpy(), image_ids)
        return ((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()

    def _in_batches(self, function, x):
        """Call a function of the autoencoder in batches that fit into memory."""
        results, self.pixel_batch = _in_batches(lambda batch: function(x[batch]), len(x), self.pixel_batch)
        return torch.cat(results)


def _in_batches(function, n_images, batch_size):
    """Call a function of slices of images, halving the batch size when memory runs out; also returns the final batch size."""
    results, start = [], 0
    while start < n_images:
        try:
            results.append(function(slice(start, start + batch_size)))
            start += batch_size
        except torch.cuda.OutOfMemoryError:
            if batch_size == 1:
                raise
            batch_size //= 2
    return results, batch_size


def load(folder: Path, device="cpu") -> VersatileDiffusion:
    """Load a Versatile Diffusion folder, in float16 on a GPU."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        dual = DualUNet(UNet2DConditionModel.from_config(read_config(folder / "image_unet")))
    dual.fill("vision", read_folder(folder / "image_unet"))
    dual.fill("text", read_folder(folder / "text_unet"))
    parts, embedder = load_parts(folder, dual, device), clip.load(folder, device)
    grey = np.full((1, 224, 224, 3), 127, dtype=np.uint8)
    empty = (torch.from_numpy(tokens).to(dual.unet.conv_in.weight) for tokens in (embedder.text([[""]]), embedder.vision(grey)))
    return VersatileDiffusion(*parts, *empty)


def load_parts(folder: Path, dual: DualUNet, device):
    """Load autoencoder and scheduler of a diffusers folder; return UNet, autoencoder and scheduler, in float16 on a GPU."""
    from diffusers import AutoencoderKL, DDIMScheduler

    dtype = half_on_gpu(device)
    dual = dual.to(device, dtype, memory_format=torch.channels_last).eval()
    vae = load_diffusers(AutoencoderKL, folder / "vae", dtype=dtype).to(device, memory_format=torch.channels_last)
    return dual, vae, DDIMScheduler.from_config(read_config(folder / "scheduler", "scheduler_config.json"), clip_sample=False)
