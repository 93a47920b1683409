"""Tokens, or latents, as they are decoded from a brain, for networks that are to draw from such.

A linear decoder errs in every token of an image at once, and gives back little of what it knows little about: its prediction is
the mean of what the tokens may be, given a noisy measurement. So a prediction is simulated along the principal axes of the
tokens: with noise of variance s beside a signal of variance v, the share v / (v + s) of the signal is left, with the error that
belongs to it. What a brain tells of an axis does not follow from the axis' variance: shares differ from axis to axis.
"""

import torch

LEVELS = (-2.5, 3.0)  # log of v / s of an axis of typical variance
UNEVENNESS = 1.0  # SD of log v / s from axis to axis
TINY = 1e-12  # variance, for features that never vary


class Decoded:
    """What tokens (n_images, n_tokens, n_features) of many images vary in, and predictions of some of them."""

    def __init__(self, tokens: torch.Tensor):
        flat = tokens.flatten(1).double()
        self.mean = flat.mean(0)
        variance, axes = torch.linalg.eigh((flat - self.mean).T @ (flat - self.mean) / len(flat))
        self.variance, self.axes, self.mean = variance.clamp(min=0).float(), axes.float(), self.mean.float()
        typical = self.variance.square().sum() / self.variance.sum()
        self.log_variance = (self.variance / typical).clamp(min=1e-6).log()

    def __call__(self, tokens: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
        """Replace a share of tokens (n_images, ...) by predictions of them; half of these have the spread of tokens again."""
        options = {"generator": generator, "device": tokens.device}
        flat = tokens.flatten(1)
        drawn, level, steepness = torch.rand(3, len(flat), 1, **options)  # steepness 1: noise is the same on all axes
        uneven = UNEVENNESS * torch.randn(flat.shape, **options)
        kept = torch.sigmoid(torch.lerp(*map(level.new_tensor, LEVELS), level) + steepness * self.log_variance + uneven)
        error = torch.randn(flat.shape, **options) * (kept * (1 - kept) * self.variance).sqrt()
        predicted = (kept * ((flat - self.mean) @ self.axes) + error) @ self.axes.T
        loadings = self.axes.T.square()
        rescaling = ((self.variance @ loadings + TINY) / ((kept * self.variance) @ loadings + TINY)).sqrt()
        predicted = torch.where(drawn < share / 2, predicted * rescaling, predicted)
        return torch.where(drawn < share, self.mean + predicted, flat).view_as(tokens)
