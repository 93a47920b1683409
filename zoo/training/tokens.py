"""Tokens as they are decoded from a brain, for networks that are to draw from such tokens.

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

    def predict(self, tokens: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Simulate predictions of tokens (n_images, n_tokens, n_features), each image's with noise of some level."""
        which = torch.randint(N_LEVELS, (len(tokens),), generator=generator, device=tokens.device)
        kept = self.variance / (self.variance + self.noise[which, None])  # (n_images, n_axes)
        along = (tokens.flatten(1) - self.mean) @ self.axes
        error = torch.randn(along.shape, generator=generator, device=tokens.device) * (kept * (1 - kept) * self.variance).sqrt()
        return (self.mean + (kept * along + error) @ self.axes.T).view_as(tokens)
