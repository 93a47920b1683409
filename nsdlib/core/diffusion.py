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
from nsdlib.core.images import check_images, resize
from nsdlib.core.weights import check_fit, read_tensors


class Tokens:
    """Tokens of one condition, (n_images, n_tokens, n_features), with the keys and values that attention layers made of them."""

    def __init__(self, values: Tensor):
        self.values, self._made = values, {}

    def keys_and_values(self, attention) -> tuple[Tensor, Tensor]:
        """What a diffusers Attention makes of the tokens, each (n_images, n_heads, n_tokens, n_features); computed once."""
        if attention not in self._made:
            made = (attention.to_k(self.values), attention.to_v(self.values))
            self._made[attention] = tuple(_split(one, attention.heads) for one in made)
        return self._made[attention]


def _split(x, n_heads):
    return x.unflatten(2, (n_heads, -1)).transpose(1, 2)


class Conditioning:
    """What a UNet is guided by: text and vision tokens, and the text's share (a number, or (n_images, 1, 1, 1))."""

    def __init__(self, text: Tensor, vision: Tensor, text_weight):
        self.text, self.vision, self.text_weight = Tokens(text), Tokens(vision), text_weight


class TokenAttention:
    """Attention to `Tokens`: a processor in the sense of diffusers, without the parts that no cross-attention here has."""

    def __call__(self, attention, hidden_states, encoder_hidden_states, **_):
        """(n_images, n_places, n_features) -> the same, from the keys and values of the tokens."""
        query = _split(attention.to_q(hidden_states), attention.heads)
        found = F.scaled_dot_product_attention(query, *encoder_hidden_states.keys_and_values(attention))
        return attention.to_out[0](found.transpose(1, 2).flatten(2))


class DualAttention(nn.Module):
    """One transformer block over vision tokens and its twin over text tokens, mixed.

    x + share * (text(x) - x) + (1 - share) * (vision(x) - x).
    """

    def __init__(self, vision: nn.Module, text: nn.Module):
        super().__init__()
        self.vision, self.text = vision, text
        for block in (*vision.transformer_blocks, *text.transformer_blocks):
            block.attn2.set_processor(TokenAttention())

    def forward(self, hidden_states, encoder_hidden_states: Conditioning, **options):
        """As diffusers' Transformer2DModel, whose place it takes; the guide comes where its tokens would."""
        guide, mixed = encoder_hidden_states, hidden_states
        share = guide.text_weight
        if not _is(share, 0):
            mixed = mixed + share * (self.text(hidden_states, guide.text, **options)[0] - hidden_states)
        if not _is(share, 1):
            mixed = mixed + (1 - share) * (self.vision(hidden_states, guide.vision, **options)[0] - hidden_states)
        return (mixed,)


def _is(share, value):
    """Whether the share is this number for all images."""
    return not isinstance(share, Tensor) and share == value


class DualUNet(nn.Module):
    """An image UNet whose attention blocks have text twins; `text_state` fills the twins (None leaves copies)."""

    def __init__(self, image_unet: nn.Module, text_state: dict[str, Tensor] | None = None):
        super().__init__()
        self.unet = image_unet
        blocks = [*image_unet.down_blocks, image_unet.mid_block, *image_unet.up_blocks]
        for block in blocks:
            if getattr(block, "attentions", None) is not None:
                block.attentions = nn.ModuleList(DualAttention(one, copy.deepcopy(one)) for one in block.attentions)
        if text_state is not None:
            self.fill(text_state=text_state)

    def fill(self, **states: dict[str, Tensor]):
        """Take the tensors of `image_state`, `text_state` or both as they are; all must be there and fit, text_unet has more."""
        for part, state in states.items():
            own = getattr(self, part)()
            what = (
                "text_unet does not fit image_unet"
                if part == "text_state"
                else "image_unet does not fit its config.json"
            )
            check_fit(own, state, what=what, ignore_extra=part == "text_state")
            names = self._names(part)
            self.unet.load_state_dict({names[key]: state[key] for key in own}, strict=False, assign=True)

    def text_state(self) -> dict[str, Tensor]:
        """The twins' tensors under text_unet's names (`….attentions.0.norm.weight`)."""
        state = self.unet.state_dict()
        return {key: state[name] for key, name in self._names("text_state").items()}

    def image_state(self) -> dict[str, Tensor]:
        """Every other tensor under image_unet's names."""
        state = self.unet.state_dict()
        return {key: state[name] for key, name in self._names("image_state").items()}

    def _names(self, part) -> dict[str, str]:
        """Names in the published file, and here: its `attentions.0.norm` is our `attentions.0.vision.norm` or `….text.norm`."""
        keep = "text" if part == "text_state" else "vision"
        names = {}
        for name in self.unet.state_dict():
            before, _, after = name.partition(".attentions.")
            number, _, rest = after.partition(".")
            if not after and keep == "vision":
                names[name] = name
            elif rest.startswith(f"{keep}."):
                names[f"{before}.attentions.{number}.{rest.removeprefix(f'{keep}.')}"] = name
        return names

    def forward(self, x: Tensor, t: Tensor, guide: Conditioning) -> Tensor:
        """The UNet's prediction for x (n_images, channels, rows, columns) at step t, a number or one an image."""
        return self.unet(x, t, encoder_hidden_states=guide).sample


SAMPLERS = ("ddim", "dpm++", "unipc")
PIXEL_BATCH = 4  # images that the autoencoder sees at once: at 512 pixels it needs more memory than the UNet


def make_scheduler(sampler: str, config: dict):
    """A diffusers scheduler with the model's noise levels: `ddim` as published; `dpm++` and `unipc` need fewer steps.

    Lu et al. 2022 (DPM-Solver++, second order, multistep) and Zhao et al. 2023 (UniPC).
    """
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler

    kinds = dict(zip(SAMPLERS, (DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler), strict=True))
    if sampler not in kinds:
        raise ValueError(f"sampler must be one of {', '.join(SAMPLERS)}, got {sampler!r}")
    spacing = {} if sampler == "ddim" else {"timestep_spacing": "linspace"}  # theirs, which starts at strength * 1000
    return kinds[sampler].from_config(config, **spacing)


def img2img_timesteps(scheduler, *, strength: float, n_steps: int, faithful: bool = False) -> tuple[int, list[int]]:
    """The step at which noise is added, and the steps then walked down.

    Standard: both start at the same step. `faithful` adds the noise one step above the first one walked, as the published
    Brain-Diffuser code does (741 and 721 for strength 0.75, 50 steps).
    """
    if not 0 < strength <= 1:
        raise ValueError(f"strength must lie in (0, 1], got {strength}")
    scheduler.set_timesteps(n_steps)
    steps = scheduler.timesteps.tolist()
    n_walked = int(strength * n_steps)
    if n_walked < 1:
        raise ValueError(f"strength {strength} of {n_steps} steps leaves no step to walk; raise one of them")
    first = n_steps - n_walked
    return steps[max(first - 1, 0) if faithful else first], steps[first:]


def guided_walk(
    unet: DualUNet, scheduler, x, *, steps, contexts, unconditional, guidance, text_weight, progress=None
) -> Tensor:
    """Walk x down the steps on `empty + guidance * (conditional - empty)`, both in one pass of the UNet.

    x is (n_images, channels, rows, columns); contexts and unconditional are (text, vision) pairs, the empty ones of one row.
    """
    pairs = [torch.cat([e.expand_as(c), c]) for e, c in zip(unconditional, contexts, strict=True)]
    guide = Conditioning(*pairs, text_weight)
    for t in steps:
        both = unet(torch.cat([x, x]).to(pairs[0].dtype), torch.tensor(t, device=x.device), guide)
        empty, conditional = both.float().chunk(2)
        x = scheduler.step(empty + guidance * (conditional - empty), t, x).prev_sample
        if progress is not None:
            progress.update(len(x))
    return x


class VersatileDiffusion:
    """The second stage's models and its img2img loop; see `load`."""

    def __init__(self, unet: DualUNet, vae, scheduler, empty_text: Tensor, empty_vision: Tensor):
        self.unet, self.vae, self.scheduler = unet, vae, scheduler
        self.empty = (empty_text, empty_vision)  # each (1, n_tokens, n_features)

    @property
    def image_size(self) -> int:
        """Pixels a side of the refined image."""
        return self.unet.unet.config.sample_size * 2 ** (len(self.vae.config.block_out_channels) - 1)

    @torch.inference_mode()
    def refine(
        self, rough, text, vision, *, image_ids, seed=0, strength=0.75, n_steps=50, guidance=7.5, text_weight=0.4,
        sampler="ddim", faithful=False, batch_size=32,
    ) -> np.ndarray:  # fmt: skip
        """Refine rough images under the guidance of CLIP tokens.

        Parameters
        ----------
        rough : (n_images, rows, columns, 3) uint8, of any size.
        text, vision : (n_images, n_tokens, n_features), normalised as `nsdlib.core.clip` does.
        image_ids : (n_images,) int; noise follows from (seed, image id), so no image depends on its batch.
        strength : share of the steps that is walked. guidance : weight of the conditions. text_weight : 0 vision, 1 text only.
        sampler : see `make_scheduler`.
        faithful : start as the published code does (see `img2img_timesteps`) and draw the rough image's latents.
        batch_size : images at once, at most; halved as often as the GPU's memory asks for it.

        Returns
        -------
        (n_images, size, size, 3) uint8.
        """
        self._check(rough, text, vision, image_ids)
        if faithful and sampler != "ddim":
            raise ValueError(f"faithful is what the published code does, which is sampler 'ddim', not {sampler!r}")
        scheduler = make_scheduler(sampler, self.scheduler.config)
        begin = {"strength": strength, "n_steps": n_steps, "faithful": faithful}
        walk = {"guidance": guidance, "text_weight": text_weight, "unconditional": self.empty}
        n_walked, refined, done = len(img2img_timesteps(scheduler, **begin)[1]), [], 0
        with tqdm(total=len(rough) * n_walked, desc="refining", unit="step", mininterval=5) as progress:
            while done < len(rough):
                part = slice(done, done + batch_size)
                add_at, steps = img2img_timesteps(scheduler, **begin)  # a scheduler remembers the last walk: begin anew
                generators = random.generators(seed, image_ids[part])
                contexts = [torch.as_tensor(np.asarray(c[part])).to(self.empty[0]) for c in (text, vision)]
                try:
                    clean = self.encode(rough[part], generators if faithful else None)
                    noise = random.normal(clean, generators)
                    x = scheduler.add_noise(clean, noise, torch.tensor([add_at] * len(clean), device=clean.device))
                    x = guided_walk(self.unet, scheduler, x, steps=steps, contexts=contexts, progress=progress, **walk)
                    refined.append(self.decode(x))
                except torch.cuda.OutOfMemoryError:
                    if batch_size == 1:
                        raise
                    batch_size, progress.n = batch_size // 2, done * n_walked
                    continue
                done += len(clean)
        return np.concatenate(refined)

    def _check(self, rough, text, vision, image_ids):
        check_images(rough, "rough")
        for name, tokens, empty in zip(("text", "vision"), (text, vision), self.empty, strict=True):
            if tokens.shape != (len(rough), *empty.shape[1:]):
                raise ValueError(f"{name} tokens must be {(len(rough), *empty.shape[1:])}, got {tokens.shape}")
        if len(image_ids) != len(rough):
            raise ValueError(f"image_ids must name each of the {len(rough)} images, got {len(image_ids)}")

    @torch.inference_mode()
    def encode(self, images, generators=None) -> Tensor:
        """uint8 images -> scaled latents: the posterior's mean, or a draw when generators are given."""
        resized = resize(images, self.image_size, "pil bicubic")
        x = torch.from_numpy(np.ascontiguousarray(resized)).permute(0, 3, 1, 2) / 127.5 - 1
        found = [self.vae.encode(few.to(self.empty[0])).latent_dist for few in x.split(PIXEL_BATCH)]
        z, sd = (torch.cat([getattr(one, name) for one in found]).float() for name in ("mean", "std"))
        if generators is not None:
            z = z + sd * random.normal(z, generators)
        return z * self.vae.config.scaling_factor

    @torch.inference_mode()
    def decode(self, latents) -> np.ndarray:
        """Scaled latents -> uint8 images."""
        z = (latents / self.vae.config.scaling_factor).to(self.empty[0])
        pixels = torch.cat([self.vae.decode(few).sample.float().cpu() for few in z.split(PIXEL_BATCH)])
        return ((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def _read(folder: Path) -> dict[str, Tensor]:
    """The tensors of a folder's file, safetensors or the published .bin, mapped into memory: read when they are used."""
    found = sorted(folder.glob("diffusion_pytorch_model.*"))
    if not found:
        raise FileNotFoundError(f"no diffusion_pytorch_model.safetensors or .bin in {folder}")
    file = next((f for f in found if f.suffix == ".safetensors"), found[0])
    return read_tensors(file, mmap=True)


def load(folder: Path, device="cpu") -> VersatileDiffusion:
    """Load a Versatile Diffusion folder component by component; on a GPU in half precision and with channels last."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

    on_gpu = torch.device(device).type == "cuda"
    dtype, layout = (torch.float16, torch.channels_last) if on_gpu else (torch.float32, torch.contiguous_format)
    with torch.device("meta"):
        dual = DualUNet(UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(folder / "image_unet")))
    dual.fill(image_state=_read(folder / "image_unet"), text_state=_read(folder / "text_unet"))
    vae = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=dtype, low_cpu_mem_usage=False)
    dual, vae = dual.to(device, dtype, memory_format=layout).eval(), vae.to(device, memory_format=layout).eval()
    embedder = clip.load(folder, device)
    grey = np.full((1, 224, 224, 3), 127, dtype=np.uint8)
    empty = (torch.from_numpy(tokens).to(device, dtype) for tokens in (embedder.text([[""]]), embedder.vision(grey)))
    return VersatileDiffusion(dual, vae, DDIMScheduler.from_pretrained(folder / "scheduler"), *empty)
