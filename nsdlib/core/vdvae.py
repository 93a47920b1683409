"""The very deep VAE (Child 2020) of stage 1: encodes images as latents, and decodes latents as a rough image.

One class serves the published ImageNet-64 checkpoint and the demo zoo. `Hyperparameters` defines the architecture, and the
parameter names are those of the checkpoint. A brain decoder predicts the latents of the first `n_layers` decoder blocks,
flattened block by block in (channel, row, column) order. Later blocks draw their latents from the prior.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nsdlib.core import random
from nsdlib.core.device import check_finite
from nsdlib.core.images import resize
from nsdlib.core.weights import check_fit, read_tensors, unwrapped

PIXEL_MEAN, PIXEL_SCALE = 115.92961967, 69.37404  # of ImageNet-64, in grey levels


@dataclass(frozen=True)
class Hyperparameters:
    """Architecture of the network; the defaults are those of the published ImageNet-64 model.

    `enc_blocks` and `dec_blocks` are lists of `RxN` (N blocks at resolution R), `RdD` (one block at R, then pooling by D) and
    `RmM` (one block at R that first adds the upsampled state of resolution M).
    """

    width: int = 512
    zdim: int = 16
    bottleneck_multiple: float = 0.25
    num_mixtures: int = 10
    image_size: int = 64
    enc_blocks: str = "64x11,64d2,32x20,32d2,16x9,16d2,8x8,8d2,4x7,4d4,1x5"
    dec_blocks: str = "1x2,4m1,4x3,8m4,8x7,16m8,16x15,32m16,32x31,64m32,64x12"


def parse_blocks(text: str) -> list[tuple[int, str, int]]:
    """Expand a block list into one (resolution, "x" | "d" | "m", argument) per block."""
    blocks = []
    for part in text.split(","):
        mark = next((m for m in "xdm" if m in part), None)
        if mark is None:
            raise ValueError(f"a block must be RxN, RdD or RmM, got {part!r} in {text!r}")
        resolution, argument = (int(number) for number in part.split(mark))
        blocks += [(resolution, "x", 1)] * argument if mark == "x" else [(resolution, mark, argument)]
    return blocks


class Block(nn.Module):
    """Bottleneck of four convolutions, each after a GELU, with optional residual connection and pooling."""

    def __init__(self, n_in, n_middle, n_out, *, resolution, residual=False, pool=1):
        super().__init__()
        kernel_size = 3 if resolution > 2 else 1
        self.c1 = nn.Conv2d(n_in, n_middle, 1)
        self.c2 = nn.Conv2d(n_middle, n_middle, kernel_size, padding=kernel_size // 2)
        self.c3 = nn.Conv2d(n_middle, n_middle, kernel_size, padding=kernel_size // 2)
        self.c4 = nn.Conv2d(n_middle, n_out, 1)
        self.residual, self.pool = residual, pool

    def forward(self, x: Tensor) -> Tensor:
        """Map (n_images, n_in, rows, columns) to (n_images, n_out, rows / pool, columns / pool)."""
        h = x
        for convolution in (self.c1, self.c2, self.c3, self.c4):
            h = convolution(F.gelu(h))
        h = x + h if self.residual else h
        return F.avg_pool2d(h, self.pool) if self.pool > 1 else h


class Encoder(nn.Module):
    """Encoder from images to one activation per resolution."""

    def __init__(self, hp: Hyperparameters):
        super().__init__()
        self.in_conv = nn.Conv2d(3, hp.width, 3, padding=1)
        middle = int(hp.width * hp.bottleneck_multiple)
        self.enc_blocks = nn.ModuleList(
            Block(hp.width, middle, hp.width, resolution=r, residual=True, pool=n if mark == "d" else 1)
            for r, mark, n in parse_blocks(hp.enc_blocks)
        )

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        """Map (n_images, 3, size, size) to {resolution: (n_images, width, resolution, resolution)}."""
        x = self.in_conv(x)
        activations = {x.shape[-1]: x}
        for block in self.enc_blocks:
            x = block(x)
            activations[x.shape[-1]] = x
        return activations


class DecoderBlock(nn.Module):
    """One stochastic layer: prior and posterior of its latent, and the new state."""

    def __init__(self, hp: Hyperparameters, resolution: int, mixin: int | None):
        super().__init__()
        self.resolution, self.mixin = resolution, mixin
        middle = int(hp.width * hp.bottleneck_multiple)
        self.enc = Block(2 * hp.width, middle, 2 * hp.zdim, resolution=resolution)
        self.prior = Block(hp.width, middle, 2 * hp.zdim + hp.width, resolution=resolution)
        self.z_proj = nn.Conv2d(hp.zdim, hp.width, 1)
        self.resnet = Block(hp.width, middle, hp.width, resolution=resolution, residual=True)
        self.splits = (hp.zdim, hp.zdim, hp.width)

    def forward(self, states: dict[int, Tensor], choose, activations: dict[int, Tensor] | None) -> Tensor:
        """Return the new state at this resolution; `choose(prior, posterior)` returns z.

        `prior` is a pair (mean, log sd), and `posterior` a function that computes such a pair from the activations.
        """
        x = states[self.resolution]
        if self.mixin is not None:
            x = x + F.interpolate(states[self.mixin], scale_factor=self.resolution // self.mixin, mode="nearest")
        *prior, residual = self.prior(x).split(self.splits, dim=1)

        def posterior():
            return self.enc(torch.cat([x, activations[self.resolution]], dim=1)).chunk(2, dim=1)

        z = choose(prior, posterior)
        return self.resnet(x + residual + self.z_proj(z))


class Decoder(nn.Module):
    """Decoder from latents, coarsest first, to the state from which pixels are computed."""

    def __init__(self, hp: Hyperparameters):
        super().__init__()
        blocks = parse_blocks(hp.dec_blocks)
        self.dec_blocks = nn.ModuleList(DecoderBlock(hp, r, n if mark == "m" else None) for r, mark, n in blocks)
        self.resolutions = sorted({r for r, _, _ in blocks} | {n for _, mark, n in blocks if mark == "m"})
        self.bias_xs = nn.ParameterList(torch.zeros(1, hp.width, r, r) for r in self.resolutions)
        self.out_net = nn.ModuleDict({"out_conv": nn.Conv2d(hp.width, 10 * hp.num_mixtures, 1)})  # see random
        self.gain = nn.Parameter(torch.ones(1, hp.width, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, hp.width, 1, 1))

    def forward(self, n_images: int, choose, activations=None, n_layers: int | None = None) -> Tensor:
        """Return the final state, (n_images, width, size, size), after all blocks or the first `n_layers`.

        `choose(index, prior, posterior)` returns each block's z.
        """
        states = {r: bias.expand(n_images, -1, -1, -1) for r, bias in zip(self.resolutions, self.bias_xs, strict=True)}
        for index, block in enumerate(self.dec_blocks[:n_layers]):
            states[block.resolution] = block(states, lambda p, q, i=index: choose(i, p, q), activations)
        return states[self.resolutions[-1]] * self.gain + self.bias


class VDVAE(nn.Module):
    """Very deep VAE; `load` returns a trained one.

    `fast` runs the convolutions of `decode` in bfloat16, which is faster on some hardware; it changes pixels of the demo model
    by 0.2 grey levels on average and 3 at most. `encode` uses float32 on every device, because latents are saved as targets
    under a name that does not depend on the device.
    """

    def __init__(self, hp: Hyperparameters):
        super().__init__()
        self.hp, self.fast = hp, False
        self.encoder = Encoder(hp)
        self.decoder = Decoder(hp)

    @property
    def latent_shapes(self) -> list[tuple[int, int, int]]:
        """(channels, rows, columns) of each decoder block's latent."""
        return [(self.hp.zdim, block.resolution, block.resolution) for block in self.decoder.dec_blocks]

    def n_latents(self, n_layers: int) -> int:
        """Return the number of latents of the first `n_layers` blocks (published model: 15 -> 13,344, 31 -> 91,168)."""
        if not 0 <= n_layers <= len(self.latent_shapes):
            raise ValueError(f"n_layers must lie between 0 and {len(self.latent_shapes)}, got {n_layers}")
        return sum(math.prod(shape) for shape in self.latent_shapes[:n_layers])

    def prepare(self, images: np.ndarray) -> Tensor:
        """Convert (n_images, rows, columns, 3) uint8 to network input (n_images, 3, size, size), resized as published."""
        x = torch.from_numpy(resize(images, self.hp.image_size, "pil bilinear").astype(np.float32)).permute(0, 3, 1, 2)
        return ((x - PIXEL_MEAN) / PIXEL_SCALE).to(self.decoder.gain.device)

    @torch.inference_mode()
    def encode(self, images, *, n_layers, sample=False, seed=0, image_ids=None, batch_size=64) -> np.ndarray:
        """Encode images as posterior latents of the first blocks: (n_images, n_latents) float32.

        Parameters
        ----------
        images : (n_images, rows, columns, 3) uint8 array
        n_layers : int
            Number of blocks.
        sample : bool
            Draw from the posterior, as for the published targets, instead of using its mean.
        seed, image_ids : int, and (n_images,) array of int, optional
            A draw depends only on seed and id, never on the batch; ids are 0, 1, ... by default.
        batch_size : int
        """
        self.n_latents(n_layers)
        encoded = []
        for batch, ids in _batches("images", images, image_ids, batch_size):
            x, generators = self.prepare(batch), random.generators(seed, ids)
            latents = [x.new_zeros(len(x), 0)]

            def choose(index, prior, posterior, generators=generators, latents=latents):
                mean, log_sd = posterior()
                z = mean + log_sd.exp() * random.normal(mean, generators) if sample else mean
                latents.append(z.flatten(1))
                return z

            with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # full float32 precision
                self.decoder(len(x), choose, self.encoder(x), n_layers)
            encoded.append(check_finite("encoded latents", torch.cat(latents, dim=1).cpu().numpy(), ids))
        return np.concatenate(encoded)

    @torch.inference_mode()
    def decode(self, latents, *, seed=0, temperature=1.0, image_ids=None, output="mean", batch_size=64) -> np.ndarray:
        """Decode latents of the first blocks as (n_images, size, size, 3) uint8 images; later blocks draw from their prior.

        Parameters
        ----------
        latents : (n_images, n_latents) float array
            Latents of any whole number of layers, including 0.
        seed, image_ids, batch_size
            As in `encode`.
        temperature : float
            Factor of the prior's standard deviation; 0 uses the mean.
        output : {"mean", "sample"}
            Mean of the pixel mixture, or a draw from it (as published).
        """
        if output not in ("mean", "sample"):
            raise ValueError(f'output must be "mean" or "sample", got {output!r}')
        images = []
        for batch, ids in _batches("latents", latents, image_ids, batch_size):
            layers, generators = self._unflatten(batch), random.generators(seed, ids)
            later = self.latent_shapes[len(layers) :] if temperature > 0 else []
            noise = random.normals(later, self.decoder.gain, generators)

            def choose(index, prior, posterior, layers=layers, noise=noise):
                if index < len(layers):
                    return layers[index]
                mean, log_sd = (part.float() for part in prior)
                return mean + temperature * log_sd.exp() * noise[index - len(layers)] if noise else mean

            with torch.autocast(self.decoder.gain.device.type, torch.bfloat16, enabled=self.fast):
                parameters = self.decoder.out_net.out_conv(self.decoder(len(batch), choose))
            pixels = random.read_pixels(parameters.float(), generators if output == "sample" else None)
            check_finite("decoded pixels", pixels.cpu().numpy(), ids)
            images.append(((pixels.float() + 1) * 127.5).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())
        return np.concatenate(images)

    def _unflatten(self, latents) -> list[Tensor]:
        """Split (n_images, n_latents) into one (n_images, channels, rows, columns) per block."""
        sizes = [math.prod(shape) for shape in self.latent_shapes]
        ends = np.cumsum([0, *sizes]).tolist()
        if latents.shape[1] not in ends:
            listed = ", ".join(map(str, ends[1:41]))
            raise ValueError(f"{latents.shape[1]} latents are not a whole number of layers; the layers end at {listed}")
        flat = torch.as_tensor(np.ascontiguousarray(latents, dtype=np.float32)).to(self.decoder.gain)
        n_layers = ends.index(latents.shape[1])
        parts = flat.split(sizes[:n_layers], dim=1) if n_layers else []
        return [part.reshape(-1, *shape) for part, shape in zip(parts, self.latent_shapes, strict=False)]


def _batches(name, rows, image_ids, batch_size):
    """Yield batches of rows with their image ids, after checking that all values are finite."""
    image_ids = np.arange(len(rows)) if image_ids is None else image_ids
    if len(image_ids) != len(rows):
        raise ValueError(f"image_ids must name each of the {len(rows)} images, got {len(image_ids)}")
    check_finite(name, rows, image_ids)
    for start in range(0, len(rows), batch_size):
        batch = slice(start, start + batch_size)
        yield rows[batch], image_ids[batch]


def load_weights(model: VDVAE, state: dict[str, Tensor]) -> VDVAE:
    """Load a state dict, wrapped or not (`core.weights.unwrapped`); ValueError, naming the keys, for any other difference."""
    model.load_state_dict(check_fit(model.state_dict(), unwrapped(state), what="these weights do not fit the VDVAE"))
    return model.eval()


def load(path: Path, device="cpu") -> VDVAE:
    """Load OpenAI's `imagenet64-iter-1600000-model-ema.th`, or safetensors beside a `hyperparameters.json`.

    On a GPU, the model decodes in bfloat16 (`VDVAE.fast`).
    """
    if path.suffix == ".th":
        model, state = VDVAE(Hyperparameters()), read_tensors(path)
    else:
        settings = json.loads((path.parent / "hyperparameters.json").read_text())
        model = VDVAE(Hyperparameters(**settings))
        state = {key: value.float() for key, value in read_tensors(path).items()}
    model = load_weights(model, state).to(device, memory_format=torch.channels_last)
    model.fast = torch.device(device).type == "cuda"
    return model
