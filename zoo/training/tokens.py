"""Tokens, or latents, as they are decoded from a brain, for networks that are to draw from such.

A linear decoder errs in every token of an image at once, and gives back little of what it knows little about: its prediction is
the mean of what the tokens may be, given a noisy measurement. So a prediction is simulated along the principal axes of the
tokens: with noise of variance s beside a signal of variance v, the share v / (v + s) of the signal is left, with the error that
belongs to it.
"""

import torch

KEPT = (0.15, 0.95)  # shares of the tokens' variance that predictions keep
N_LEVELS = 64


class Decoded:
    """What tokens (n_images, n_tokens, n_features) of many images vary in, and predictions of some of them."""

    def __init__(self, tokens: torch.Tensor):
        flat = tokens.flatten(1).double()
        self.mean = flat.mean(0)
        variance, axes = torch.linalg.eigh((flat - self.mean).T @ (flat - self.mean) / len(flat))
        self.variance, self.axes, self.mean = variance.clamp(min=0).float(), axes.float(), self.mean.float()
        noise = torch.logspace(-6, 3, 400, device=flat.device) * self.variance.max()
        kept = torch.stack([(self.variance**2 / (self.variance + s)).sum() for s in noise]) / self.variance.sum()
        wanted = torch.linspace(*KEPT, N_LEVELS, device=flat.device)
        self.noise = noise[(kept[:, None] - wanted).abs().argmin(0)]  # (n_levels,)
        left = self.variance**2 / (self.variance + self.noise[:, None]) @ self.axes.T.square()  # (n_levels, n_features)
        self.rescaling = (self.variance @ self.axes.T.square() / left).sqrt()

    def __call__(self, tokens: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
        """Replace a share of tokens (n_images, ...) by predictions of them; half of these have the spread of tokens again."""
        options = {"generator": generator, "device": tokens.device}
        which = torch.randint(N_LEVELS, (len(tokens),), **options)
        kept = self.variance / (self.variance + self.noise[which, None])  # (n_images, n_axes)
        flat = tokens.flatten(1)
        error = torch.randn(flat.shape, **options) * (kept * (1 - kept) * self.variance).sqrt()
        predicted = (kept * ((flat - self.mean) @ self.axes) + error) @ self.axes.T
        drawn = torch.rand(len(tokens), 1, **options)
        predicted = torch.where(drawn < share / 2, predicted * self.rescaling[which], predicted)
        return torch.where(drawn < share, self.mean + predicted, flat).view_as(tokens)
