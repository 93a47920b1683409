"""Stage 2: dual-guided image-to-image diffusion, the way Versatile Diffusion refines a rough image (Xu et al. 2023).

The folder's `image_unet` is a plain diffusers UNet that attends to CLIP vision tokens. Each of its transformer blocks gets a
twin with the weights that `text_unet` holds at the same place, which attends to CLIP text tokens; their residuals are mixed
(`text_weight`). The loop walks from a partly noised rough image back to a clean one, with classifier-free guidance. Tokens stay
the same all the way, so their keys and values are computed once (`Tokens`).
"""

import copy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from nsdlib.core import clip, random
from nsdlib.core.device import check_finite, to_tensor
from nsdlib.core.images import check_images, resize
from nsdlib.core.weights import check_fit, load_diffusers, read_config, read_folder


class Tokens:
    """Tokens of one condition, (n_images, n_tokens, n_features), with the keys and values that attention layers made of them."""

    def __init__(self, values: Tensor):
        self.values, self._projected = values, {}

    def keys_and_values(self, attention) -> tuple[Tensor, Tensor]:
        """Return a diffusers Attention's keys and values, each (n_images, n_heads, n_tokens, n_features); computed once."""
        if attention not in self._projected:
            projections = (attention.to_k(self.values), attention.to_v(self.values))
            self._projected[attention] = tuple(_split_heads(x, attention.heads) for x in projections)
        return self._projected[attention]


def _split_heads(x, n_heads):
    """(n_images, n_tokens, n_heads * n_features) -> (n_images, n_heads, n_tokens, n_features)."""
    return x.unflatten(2, (n_heads, -1)).transpose(1, 2)


class Conditioning:
    """Text tokens, vision tokens, and the text's weight: a number, or one an image, (n_images, 1, 1, 1)."""

    def __init__(self, text: Tensor, vision: Tensor, text_weight):
        self.text, self.vision, self.text_weight = Tokens(text), Tokens(vision), text_weight


class TokenAttention:
    """Cross-attention to `Tokens`: an attention processor of diffusers, without the options that no layer here uses."""

    def __call__(self, attention, hidden_states, encoder_hidden_states, **_):
        """Attend from (n_images, n_places, n_features) to the tokens; returns the same shape."""
        query = _split_heads(attention.to_q(hidden_states), attention.heads)
        values = F.scaled_dot_product_attention(query, *encoder_hidden_states.keys_and_values(attention))
        return attention.to_out[0](values.transpose(1, 2).flatten(2))


class DualAttention(nn.Module):
    """One transformer block over vision tokens and its twin over text tokens, mixed.

    x + w * (text(x) - x) + (1 - w) * (vision(x) - x), where w is `text_weight`.
    """

    def __init__(self, vision: nn.Module, text: nn.Module):
        super().__init__()
        self.vision, self.text = vision, text
        for block in (*vision.transformer_blocks, *text.transformer_blocks):
            block.attn2.set_processor(TokenAttention())

    def forward(self, hidden_states, encoder_hidden_states: Conditioning, **options):
        """Take the place of diffusers' Transformer2DModel, with a `Conditioning` where that has tokens."""
        tokens, mixed = encoder_hidden_states, hidden_states
        weights = (tokens.text_weight, 1 - tokens.text_weight)
        for twin, part, weight in zip((self.text, self.vision), (tokens.text, tokens.vision), weights, strict=True):
            if isinstance(weight, Tensor) or weight != 0:
                mixed = mixed + weight * (twin(hidden_states, part, **options)[0] - hidden_states)
        return (mixed,)


class DualUNet(nn.Module):
    """An image UNet whose attention blocks have text twins; `text_state` fills the twins (None leaves copies)."""

    def __init__(self, image_unet: nn.Module, text_state: dict[str, Tensor] | None = None):
        super().__init__()
        self.unet = image_unet
        for block in (*image_unet.down_blocks, image_unet.mid_block, *image_unet.up_blocks):
            if getattr(block, "attentions", None) is not None:
                block.attentions = nn.ModuleList(DualAttention(part, copy.deepcopy(part)) for part in block.attentions)
        if text_state is not None:
            self.fill("text", text_state)

    def fill(self, twin: str, state: dict[str, Tensor]):
        """Load the tensors of image_unet ("vision") or text_unet ("text"); all must fit, but text_unet has more than is used."""
        what = {"vision": "image_unet does not fit its config.json", "text": "text_unet does not fit image_unet"}[twin]
        state = check_fit(self.published_state(twin), state, what=what, ignore="" if twin == "text" else None)
        tensors = {name: state[key] for key, name in self._names(twin).items()}
        self.unet.load_state_dict(tensors, strict=False, assign=True)

    def published_state(self, twin: str) -> dict[str, Tensor]:
        """Return the text twins' tensors ("text"), or all others ("vision"), under the names of the published files."""
        state = self.unet.state_dict()
        return {key: state[name] for key, name in self._names(twin).items()}

    def _names(self, twin) -> dict[str, str]:
        """Names in the published file, and here: its `attentions.0.norm` is our `attentions.0.vision.norm` or `….text.norm`."""
        names = {}
        for name in self.unet.state_dict():
            before, _, after = name.partition(".attentions.")
            number, _, rest = after.partition(".")
            if not after and twin == "vision":
                names[name] = name
            elif rest.startswith(f"{twin}."):
                names[f"{before}.attentions.{number}.{rest.removeprefix(f'{twin}.')}"] = name
        return names

    def forward(self, x: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """Predict for x (n_images, channels, rows, columns) at step t, a number or one an image."""
        return self.unet(x, t, encoder_hidden_states=conditioning).sample


SAMPLERS = ("ddim", "dpm++", "unipc")
PIXEL_BATCH = 4  # images that the autoencoder sees at once: at 512 pixels it needs more memory than the UNet


def make_scheduler(sampler: str, config: dict):
    """Return a diffusers scheduler with the model's noise levels: `ddim` as published; `dpm++` and `unipc` need fewer steps.

    Lu et al. 2022 (DPM-Solver++, second order, multistep) and Zhao et al. 2023 (UniPC).
    """
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler

    kinds = dict(zip(SAMPLERS, (DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler), strict=True))
    if sampler not in kinds:
        raise ValueError(f"sampler must be one of {', '.join(SAMPLERS)}, got {sampler!r}")
    spacing = {} if sampler == "ddim" else {"timestep_spacing": "linspace"}  # theirs, which starts at strength * 1000
    return kinds[sampler].from_config(config, **spacing)


def img2img_timesteps(scheduler, *, strength: float, n_steps: int, faithful: bool = False) -> tuple[int, list[int]]:
    """Return the step at which noise is added, and the list of steps then walked down.

    By default both start at the same step. `faithful` adds the noise one step above the first one walked, as the published
    Brain-Diffuser code does (741 and 721 for strength 0.75, 50 steps).
    """
    if not 0 < strength <= 1:
        raise ValueError(f"strength must lie in (0, 1], got {strength}")
    if n_steps not in range(1, (most := scheduler.config.num_train_timesteps) + 1):
        raise ValueError(f"n_steps must be a whole number from 1 to {most}, got {n_steps}")
    scheduler.set_timesteps(n_steps)
    steps = scheduler.timesteps.tolist()
    n_walked = int(strength * n_steps)
    if n_walked < 1:
        raise ValueError(f"strength {strength} of {n_steps} steps leaves no step to walk; raise one of them")
    first = n_steps - n_walked
    return steps[max(first - 1, 0) if faithful else first], steps[first:]


def guided_walk(
    unet: DualUNet, scheduler, x, *, steps, conditions, unconditional, guidance, text_weight, progress=None
) -> Tensor:
    """Walk x, (n_images, channels, rows, columns), down the steps with classifier-free guidance (Ho & Salimans 2022).

    The prediction is `without + guidance * (with - without)`, both in one pass of the UNet; conditions and unconditional are
    (text, vision) pairs of tokens, the unconditional ones of one row.
    """
    tokens = [torch.cat([empty.expand_as(full), full]) for empty, full in zip(unconditional, conditions, strict=True)]
    conditioning = Conditioning(*tokens, text_weight)
    for t in steps:
        both = unet(torch.cat([x, x]).to(tokens[0].dtype), torch.tensor(t, device=x.device), conditioning)
        unconditioned, conditioned = both.float().chunk(2)
        x = scheduler.step(unconditioned + guidance * (conditioned - unconditioned), t, x).prev_sample
        if progress is not None:
            progress.update(len(x))
    return x


class VersatileDiffusion:
    """Models of the second stage and its img2img loop; `load` returns trained ones."""

    def __init__(self, unet: DualUNet, vae, scheduler, empty_text: Tensor, empty_vision: Tensor):
        self.unet, self.vae, self.scheduler = unet, vae, scheduler
        self.unconditional = (empty_text, empty_vision)  # each (1, n_tokens, n_features)

    @property
    def image_size(self) -> int:
        """Pixels a side of the refined image."""
        return self.unet.unet.config.sample_size * 2 ** (len(self.vae.config.block_out_channels) - 1)

    @torch.inference_mode()
    def refine(
        self, rough, text, vision, *, image_ids, seed=0, strength=0.75, n_steps=50, guidance=7.5, text_weight=0.4,
        sampler="ddim", faithful=False, batch_size=32,
    ) -> np.ndarray:  # fmt: skip
        """Refine rough images, guided by CLIP tokens.

        Parameters
        ----------
        rough : (n_images, rows, columns, 3) uint8 array
            Of any size.
        text, vision : (n_images, n_tokens, n_features) arrays
            Tokens, normalised as `nsdlib.core.clip` does.
        image_ids : (n_images,) array of int
        seed : int
            Noise depends on seed and image id alone, so no image depends on its batch.
        strength : float
            Share of the steps that is walked, in (0, 1]: how much noise the rough image gets.
        n_steps : int
            Steps of the whole way from noise to image.
        guidance : float
            Factor of the difference between the predictions with and without tokens.
        text_weight : float
            From 0, vision tokens alone, to 1, text tokens alone.
        sampler : {"ddim", "dpm++", "unipc"}
        faithful : bool
            Start as the published code does (see `img2img_timesteps`), and draw the rough image's latents.
        batch_size : int
            Images at once, at most; halved whenever the GPU's memory is too small.

        Returns
        -------
        (n_images, size, size, 3) uint8 array
        """
        self._check(rough, text, vision, image_ids)
        if not 0 <= text_weight <= 1:
            raise ValueError(f"text_weight must be from 0 (vision alone) to 1 (text alone), got {text_weight}")
        if faithful and sampler != "ddim":
            raise ValueError(f"faithful is what the published code does, which is sampler 'ddim', not {sampler!r}")
        scheduler = make_scheduler(sampler, self.scheduler.config)
        start = {"strength": strength, "n_steps": n_steps, "faithful": faithful}
        options = {"guidance": guidance, "text_weight": text_weight, "unconditional": self.unconditional}
        n_walked, refined, done = len(img2img_timesteps(scheduler, **start)[1]), [], 0
        with tqdm(total=len(rough) * n_walked, desc="refining", unit="step", mininterval=5) as options["progress"]:
            while done < len(rough):
                batch = slice(done, done + batch_size)
                add_at, steps = img2img_timesteps(scheduler, **start)  # a scheduler keeps state: begin anew
                generators = random.generators(seed, image_ids[batch])
                conditions = [to_tensor(x[batch]).to(self.unconditional[0]) for x in (text, vision)]
                try:
                    clean = self.encode(rough[batch], generators if faithful else None)
                    noise = random.normal(clean, generators)
                    x = scheduler.add_noise(clean, noise, torch.tensor([add_at] * len(clean), device=clean.device))
                    x = guided_walk(self.unet, scheduler, x, steps=steps, conditions=conditions, **options)
                    refined.append(self.decode(x, image_ids[batch]))
                except torch.cuda.OutOfMemoryError:
                    if batch_size == 1:
                        raise
                    batch_size, options["progress"].n = batch_size // 2, done * n_walked
                    continue
                done += len(clean)
        return np.concatenate(refined)

    def _check(self, rough, text, vision, image_ids):
        """Refuse images, tokens and ids that do not belong together, and tokens that are no numbers."""
        check_images(rough, "rough")
        if len(image_ids) != len(rough):
            raise ValueError(f"image_ids must name each of the {len(rough)} images, got {len(image_ids)}")
        for name, tokens, empty in zip(("text", "vision"), (text, vision), self.unconditional, strict=True):
            if np.shape(tokens) != (len(rough), *empty.shape[1:]):
                raise ValueError(f"{name} tokens must be {(len(rough), *empty.shape[1:])}, got {np.shape(tokens)}")
            check_finite(f"{name} tokens", tokens, image_ids)

    @torch.inference_mode()
    def encode(self, images, generators=None) -> Tensor:
        """Encode uint8 images as scaled latents: the posterior's mean, or a draw when generators are given."""
        pixels = np.ascontiguousarray(resize(images, self.image_size, "pil bicubic"))
        x = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
        posteriors = [self.vae.encode(batch.to(self.unconditional[0])).latent_dist for batch in x.split(PIXEL_BATCH)]
        z, sd = (torch.cat([getattr(p, name) for p in posteriors]).float() for name in ("mean", "std"))
        if generators is not None:
            z = z + sd * random.normal(z, generators)
        return z * self.vae.config.scaling_factor

    @torch.inference_mode()
    def decode(self, latents, image_ids=None) -> np.ndarray:
        """Decode scaled latents as uint8 images; ValueError, which names the images, where one is no number."""
        z = (latents / self.vae.config.scaling_factor).to(self.unconditional[0])
        pixels = torch.cat([self.vae.decode(batch).sample.float().cpu() for batch in z.split(PIXEL_BATCH)])
        check_finite("the refined pixels", pixels.numpy(), image_ids)
        return ((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def load(folder: Path, device="cpu") -> VersatileDiffusion:
    """Load a Versatile Diffusion folder, component by component; on a GPU in half precision and with channels last."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

    on_gpu = torch.device(device).type == "cuda"
    dtype, layout = (torch.float16, torch.channels_last) if on_gpu else (torch.float32, torch.contiguous_format)
    with torch.device("meta"):
        dual = DualUNet(UNet2DConditionModel.from_config(read_config(folder / "image_unet")))
    dual.fill("vision", read_folder(folder / "image_unet"))
    dual.fill("text", read_folder(folder / "text_unet"))
    vae = load_diffusers(AutoencoderKL, folder / "vae", dtype=dtype)
    dual, vae = dual.to(device, dtype, memory_format=layout).eval(), vae.to(device, memory_format=layout)
    embedder = clip.load(folder, device)
    grey = np.full((1, 224, 224, 3), 127, dtype=np.uint8)
    empty = (torch.from_numpy(tokens).to(device, dtype) for tokens in (embedder.text([[""]]), embedder.vision(grey)))
    scheduler = DDIMScheduler.from_config(read_config(folder / "scheduler", "scheduler_config.json"))
    return VersatileDiffusion(dual, vae, scheduler, *empty)
