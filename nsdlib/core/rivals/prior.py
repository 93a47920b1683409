"""A diffusion prior, which maps predicted tokens of an image to samples of true image tokens (Ramesh et al. 2022).

Tokens are scaled by c = sqrt(n_features), so that the elements of unit-norm tokens have size 1. Noise is added over T steps, and
a network learns to predict the clean tokens. MindEye subclasses the prior of DALLE2-pytorch. Here, a transformer encoder with
learned positions replaces its rotary and relative positions, shared keys and null key.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nsdlib.core.random import normal

OFFSET, LARGEST_BETA = 0.008, 0.999  # cosine schedule (Nichol & Dhariwal 2021, eq. 17)
KEPT = 0.8  # probability of keeping the condition, and of keeping the noisy tokens, in training


def cosine_schedule(n_times: int) -> Tensor:
    """Return the cumulative signal variance (alpha bar) at each time, (n_times,) float64."""
    times = torch.arange(n_times + 1, dtype=torch.float64) / n_times
    signal = torch.cos((times + OFFSET) / (1 + OFFSET) * math.pi / 2) ** 2
    return torch.cumprod((signal[1:] / signal[:-1]).clamp(min=1 - LARGEST_BETA), 0)


class Prior(nn.Module):
    """The prior of tokens (n, n_tokens, n_features), conditioned on tokens of the same shape, with `n_times` diffusion steps.

    The transformer has `depth` layers with `n_heads` heads. Raises ValueError unless `n_features` is even and a multiple of
    `n_heads`.
    """

    def __init__(self, n_tokens: int, n_features: int, *, depth: int = 6, n_heads: int = 12, n_times: int = 100):
        super().__init__()
        if n_features % n_heads or n_features % 2:
            raise ValueError(f"n_features must be even and a multiple of n_heads, got {n_features} and {n_heads}")
        self.scale = n_features**0.5
        self.register_buffer("signal", cosine_schedule(n_times).float())
        self.nulls = nn.Parameter(torch.randn(2, n_tokens, n_features) / self.scale)  # replace condition and noisy tokens
        self.positions = nn.Parameter(torch.randn(2 * n_tokens + 1, n_features) / self.scale)
        self.time = nn.Sequential(nn.Linear(n_features, 2 * n_features), nn.SiLU(), nn.Linear(2 * n_features, n_features))
        layer = nn.TransformerEncoderLayer(
            n_features, n_heads, 4 * n_features, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        norm = nn.LayerNorm(n_features)
        self.encoder = nn.TransformerEncoder(layer, depth, norm, enable_nested_tensor=False)
        self.out = nn.Linear(n_features, n_features, bias=False)

    def forward(self, noisy: Tensor, times: Tensor, condition: Tensor, is_kept: Tensor | None = None) -> Tensor:
        """Predict clean tokens from noisy tokens at `times` (n,), both (n, n_tokens, n_features) and scaled by c.

        Where `is_kept` (2, n) bool is False, learned tokens replace the condition and the noisy tokens, respectively.
        """
        if is_kept is not None:
            condition, noisy = torch.where(is_kept[:, :, None, None], torch.stack([condition, noisy]), self.nulls[:, None])
        n_features = noisy.shape[-1]
        rates = torch.exp(torch.arange(n_features // 2, device=noisy.device) * (-2 * math.log(10_000) / n_features))
        angles = times[:, None] * rates
        time = self.time(torch.cat([angles.sin(), angles.cos()], dim=1))
        sequence = torch.cat([condition, time[:, None], noisy], dim=1) + self.positions  # (n, 2 n_tokens + 1, n_features)
        return self.out(self.encoder(sequence)[:, -noisy.shape[1] :])

    def loss(self, target: Tensor, condition: Tensor) -> Tensor:
        """Return the mean squared error of tokens scaled by c, at a random time for each of (n, n_tokens, n_features)."""
        clean, n = target * self.scale, len(target)
        times = torch.randint(len(self.signal), (n,), device=target.device)
        signal = self.signal[times, None, None]
        noisy = signal.sqrt() * clean + (1 - signal).sqrt() * torch.randn_like(clean)
        is_kept = torch.rand(2, n, device=target.device) < KEPT
        return F.mse_loss(self(noisy, times, condition, is_kept), clean)

    def sample(self, condition: Tensor, generators: list[torch.Generator], *, n_steps: int | None = None) -> Tensor:
        """Sample tokens given conditions, both (n, n_tokens, n_features), with one generator per row.

        Uses all steps of DDPM (Ho et al. 2020, eq. 7), or `n_steps` of DDIM without noise (Song et al. 2021, eq. 12). Raises
        ValueError unless `n_steps` is from 1 to the number of times.
        """
        n_times = len(self.signal)
        if n_steps is not None and not 1 <= n_steps <= n_times:
            raise ValueError(f"n_steps of sampling must be from 1 to the {n_times} times of the prior, got {n_steps}")
        times = list(range(n_times)) if n_steps is None else [round(i * n_times / n_steps) for i in range(n_steps)]
        signal = self.signal.double().tolist()
        x = normal(condition, generators)
        for index in reversed(range(len(times))):
            now, previous = signal[times[index]], signal[times[index - 1]] if index else 1.0
            clean = self(x, torch.full((len(x),), times[index], device=x.device), condition)
            if n_steps is None:
                alpha = now / previous
                x = (previous**0.5 * (1 - alpha) * clean + alpha**0.5 * (1 - previous) * x) / (1 - now)
                if index:
                    x = x + ((1 - alpha) * (1 - previous) / (1 - now)) ** 0.5 * normal(x, generators)
            else:
                noise = (x - now**0.5 * clean) / (1 - now) ** 0.5
                x = previous**0.5 * clean + (1 - previous) ** 0.5 * noise
        return x / self.scale
