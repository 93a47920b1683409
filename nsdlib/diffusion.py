"""Stage 2: dual-guided image-to-image diffusion, the way Versatile Diffusion refines a rough image (Xu et al. 2023).

The folder's `image_unet` is a plain diffusers UNet that attends to CLIP vision tokens. Each of its transformer blocks gets a
twin with the weights that `text_unet` holds at the same place, which attends to CLIP text tokens; their residuals are mixed
(`text_share`). The loop is DDIM from a partly noised rough image, with classifier-free guidance.
"""

import copy
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from nsdlib import device, draws, embed, zoo
from nsdlib.images import check_images, pil_resize
from nsdlib.weights import check_fit


class DualAttention(nn.Module):
    """One transformer block over vision tokens and its twin over text tokens, mixed.

    x + share * (text(x) - x) + (1 - share) * (vision(x) - x); the context holds the text tokens first. `guide` is shared by
    all blocks of a UNet: n_text_tokens and text_share (a number, or one an image as (n_images, 1, 1, 1)).
    """

    def __init__(self, vision: nn.Module, text: nn.Module, guide: dict):
        super().__init__()
        self.vision, self.text, self.guide = vision, text, guide

    def forward(self, hidden_states, encoder_hidden_states=None, **options):
        """As diffusers' Transformer2DModel, whose place it takes."""
        n, share = self.guide["n_text_tokens"], self.guide["text_share"]
        text, vision = encoder_hidden_states[:, :n], encoder_hidden_states[:, n:]
        mixed = hidden_states
        if not _is(share, 0):
            mixed = mixed + share * (self.text(hidden_states, text, **options)[0] - hidden_states)
        if not _is(share, 1):
            mixed = mixed + (1 - share) * (self.vision(hidden_states, vision, **options)[0] - hidden_states)
        return (mixed,)


def _is(share, value):
    """Whether the share is this number for all images."""
    return not isinstance(share, Tensor) and share == value


class DualUNet(nn.Module):
    """An image UNet whose attention blocks have text twins; `text_state` fills the twins (None leaves copies)."""

    def __init__(self, image_unet: nn.Module, text_state: dict[str, Tensor] | None = None):
        super().__init__()
        self.guide = {"n_text_tokens": 0, "text_share": 0.0}
        self.unet = image_unet
        blocks = [*image_unet.down_blocks, image_unet.mid_block, *image_unet.up_blocks]
        for block in blocks:
            if getattr(block, "attentions", None) is not None:
                twins = (DualAttention(one, copy.deepcopy(one), self.guide) for one in block.attentions)
                block.attentions = nn.ModuleList(twins)
        if text_state is not None:
            self._fill_twins(text_state)

    def _fill_twins(self, state):
        """Load text_unet's attention tensors; all of them must be there and fit."""
        own = self.text_state()
        check_fit(own, state, what="text_unet does not fit image_unet", ignore_extra=True)
        with torch.no_grad():
            for key, tensor in own.items():
                tensor.copy_(state[key])

    def text_state(self) -> dict[str, Tensor]:
        """The twins' tensors under text_unet's names (`….attentions.0.norm.weight`)."""
        return self._part("text", "vision")

    def image_state(self) -> dict[str, Tensor]:
        """Every other tensor under image_unet's names."""
        return self._part("vision", "text")

    def _part(self, keep, drop):
        state = self.unet.state_dict()
        kept = {}
        for key, value in state.items():
            parts = key.split(".")
            if "attentions" in parts:
                place = parts.index("attentions") + 2
                if parts[place] == drop:
                    continue
                key = ".".join(parts[:place] + parts[place + 1 :])
            elif keep == "text":
                continue
            kept[key] = value
        return kept

    def forward(self, x: Tensor, t: Tensor, text: Tensor, vision: Tensor, *, text_share) -> Tensor:
        """The UNet's prediction: x (n, channels, rows, columns), text (n, n_text, d), vision (n, n_vision, d)."""
        self.guide.update(n_text_tokens=text.shape[1], text_share=text_share)
        return self.unet(x, t, encoder_hidden_states=torch.cat([text, vision], dim=1)).sample


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


def guided_ddim(
    unet: DualUNet, scheduler, x, *, steps, contexts, empty_contexts, guidance, text_share, progress=None
) -> Tensor:
    """Walk x down the steps: DDIM (eta 0) on `empty + guidance * (conditional - empty)`, both in one pass of the UNet.

    x is (n_images, channels, rows, columns); contexts and empty_contexts are (text, vision) pairs, the empty ones of one row.
    """
    pairs = [torch.cat([e.expand_as(c), c]) for e, c in zip(empty_contexts, contexts, strict=True)]
    for t in steps:
        both = unet(
            torch.cat([x, x]).to(pairs[0].dtype), torch.tensor(t, device=x.device), *pairs, text_share=text_share
        )
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
        self, rough, text, vision, *, image_ids, seed=0, strength=0.75, n_steps=50, guidance=7.5, text_share=0.4,
        faithful=False, batch_size=32,
    ) -> np.ndarray:  # fmt: skip
        """Refine rough images under the guidance of CLIP tokens.

        Parameters
        ----------
        rough : (n_images, rows, columns, 3) uint8, of any size.
        text, vision : (n_images, n_tokens, n_features), normalised as `nsdlib.embed` does.
        image_ids : (n_images,) int; noise follows from (seed, image id), so no image depends on its batch.
        strength : share of the steps that is walked. guidance : weight of the conditions. text_share : 0 vision, 1 text only.
        faithful : start as the published code does (see `img2img_timesteps`) and draw the rough image's latents.

        Returns
        -------
        (n_images, size, size, 3) uint8.
        """
        self._check(rough, text, vision, image_ids)
        add_at, steps = img2img_timesteps(self.scheduler, strength=strength, n_steps=n_steps, faithful=faithful)
        refined = []
        with tqdm(total=len(rough) * len(steps), desc="refining", unit="step", mininterval=5) as progress:
            for i in range(0, len(rough), batch_size):
                part = slice(i, i + batch_size)
                generators = draws.generators(seed, image_ids[part])
                clean = self._to_latents(rough[part], generators if faithful else None)
                noise = draws.normal(clean, generators)
                x = self.scheduler.add_noise(clean, noise, torch.tensor([add_at] * len(clean), device=clean.device))
                contexts = [torch.as_tensor(np.asarray(c[part])).to(self.empty[0]) for c in (text, vision)]
                x = guided_ddim(
                    self.unet, self.scheduler, x, steps=steps, contexts=contexts, empty_contexts=self.empty,
                    guidance=guidance, text_share=text_share, progress=progress,
                )  # fmt: skip
                refined.append(self._to_images(x))
        return np.concatenate(refined)

    def _check(self, rough, text, vision, image_ids):
        check_images(rough, "rough")
        for name, tokens, empty in zip(("text", "vision"), (text, vision), self.empty, strict=True):
            if tokens.shape != (len(rough), *empty.shape[1:]):
                raise ValueError(f"{name} tokens must be {(len(rough), *empty.shape[1:])}, got {tokens.shape}")
        if len(image_ids) != len(rough):
            raise ValueError(f"image_ids must name each of the {len(rough)} images, got {len(image_ids)}")

    def _to_latents(self, images, generators) -> Tensor:
        """uint8 images -> scaled latents: the posterior's mean, or a draw when generators are given."""
        resized = pil_resize(images, self.image_size, Image.Resampling.BICUBIC)
        x = torch.from_numpy(np.ascontiguousarray(resized)).permute(0, 3, 1, 2).to(self.empty[0]) / 127.5 - 1
        posterior = self.vae.encode(x).latent_dist
        z = (
            posterior.mean
            if generators is None
            else posterior.mean + posterior.std * draws.normal(posterior.mean, generators)
        )
        return z.float() * self.vae.config.scaling_factor

    def _to_images(self, latents) -> np.ndarray:
        """Scaled latents -> uint8 images."""
        pixels = self.vae.decode((latents / self.vae.config.scaling_factor).to(self.empty[0])).sample.float()
        return ((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def _read_text_attentions(folder: Path) -> dict[str, Tensor]:
    """The attention tensors of text_unet's file, safetensors or the published .bin."""
    from safetensors.torch import load_file

    found = sorted(folder.glob("diffusion_pytorch_model.*"))
    if not found:
        raise FileNotFoundError(f"no diffusion_pytorch_model.safetensors or .bin in {folder}")
    file = next((f for f in found if f.suffix == ".safetensors"), found[0])
    state = load_file(file) if file.suffix == ".safetensors" else torch.load(file, weights_only=True, mmap=True)
    return {key: value for key, value in state.items() if ".attentions." in key}


def from_folder(folder: Path, where="cpu") -> VersatileDiffusion:
    """Load a Versatile Diffusion folder component by component, in half precision on a GPU."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

    dtype = torch.float16 if torch.device(where).type == "cuda" else torch.float32
    unet = UNet2DConditionModel.from_pretrained(folder / "image_unet", torch_dtype=dtype)
    dual = DualUNet(unet, _read_text_attentions(folder / "text_unet")).to(where, dtype).eval()
    vae = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=dtype).to(where).eval()
    embedder = embed.from_folder(folder)
    grey = np.full((1, 224, 224, 3), 127, dtype=np.uint8)
    empty = (torch.from_numpy(tokens).to(where, dtype) for tokens in (embedder.text([[""]]), embedder.vision(grey)))
    return VersatileDiffusion(dual, vae, DDIMScheduler.from_pretrained(folder / "scheduler"), *empty)


def load(run) -> VersatileDiffusion:
    """The run's second stage, on the run's device."""
    return from_folder(zoo.path(run, "versatile_diffusion"), device.pick(run.device))
