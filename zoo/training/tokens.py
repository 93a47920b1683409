"""Simulated decoder predictions of tokens and latents, to train networks that draw from decoded ones.

A linear decoder shrinks uncertain predictions: it predicts the mean of the tokens given a noisy measurement. Brain activity
tells most about a scene's factors (kinds, colours, background) and less about the rest of the tokens; an error about a factor
affects all tokens together. So noise is added to the factors and, separately, to the rest of each kind of token. Along a
principal axis with signal variance v and noise variance s, a prediction keeps the share v / (v + s) of the signal and has the
corresponding error. Shares vary from axis to axis independently of the variances.
"""

import torch

LEVELS = {"factors": (-2.5, 3.0), "rest": (-4.0, 2.0)}  # range of log(v / s) on an axis of typical variance
UNEVENNESS = 1.0  # SD of log(v / s) over axes
TINY = 1e-12  # variance, for features that never vary


class Axes:
    """Principal axes of values (n_images, n_features), and simulated decoding along them."""

    def __init__(self, values: torch.Tensor, levels: tuple[float, float]):
        self.mean, self.levels = values.mean(0), levels
        variance, axes = torch.linalg.eigh((values - self.mean).T @ (values - self.mean) / len(values))
        self.mean, self.variance, self.axes = self.mean.float(), variance.clamp(min=0).float(), axes.float()
        typical = self.variance.square().sum() / (self.variance.sum() + TINY)
        self.log_variance = (self.variance / (typical + TINY)).clamp(min=1e-6).log()

    def decode(self, values: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Predict deviations of values from their mean (n_images, n_features), and each axis's remaining variance."""
        options = {"generator": generator, "device": values.device}
        level, steepness = torch.rand(2, len(values), 1, **options)  # steepness 1: equal noise on all axes
        uneven, noise = torch.randn(2, *values.shape, **options)
        level = torch.lerp(*map(level.new_tensor, self.levels), level)
        shrinkage = torch.sigmoid(level + steepness * self.log_variance + UNEVENNESS * uneven)
        error = noise * (shrinkage * (1 - shrinkage) * self.variance).sqrt()
        return (shrinkage * ((values - self.mean) @ self.axes) + error) @ self.axes.T, shrinkage * self.variance


class Decoded:
    """Simulated predictions of several kinds of tokens (n_images, ...) of images with known `factors` (n_images, n_factors)."""

    def __init__(self, tokens: dict[str, torch.Tensor], factors: torch.Tensor):
        factors = factors.double()
        self.factors = Axes(factors, LEVELS["factors"])
        deviations, self.means, self.maps, self.rest = factors - factors.mean(0), {}, {}, {}
        self.loadings, self.variances = {}, {}  # per token feature: squared loadings on axes; total
        inverse = torch.linalg.pinv(deviations.T @ deviations, hermitian=True)
        for name, values in tokens.items():
            flat = values.flatten(1).double()
            weights = inverse @ (deviations.T @ flat)
            self.means[name], self.maps[name] = flat.mean(0).float(), weights.float()
            self.rest[name] = rest = Axes(flat - deviations @ weights, LEVELS["rest"])
            of_factors, of_rest = (self.factors.axes.T @ self.maps[name]).square(), rest.axes.T.square()
            self.loadings[name] = of_factors, of_rest
            self.variances[name] = self.factors.variance @ of_factors + rest.variance @ of_rest

    def __call__(self, tokens: dict, factors: torch.Tensor, share: float, generator: torch.Generator) -> dict:
        """Replace the tokens of a share of images by predictions; half of these are rescaled to the variance of tokens."""
        draws = torch.rand(len(factors), 1, generator=generator, device=factors.device)
        factor_part, factor_variance = self.factors.decode(factors, generator)
        decoded = {}
        for name, values in tokens.items():
            flat, weights, (of_factors, of_rest) = values.flatten(1), self.maps[name], self.loadings[name]
            rest_part, rest_variance = self.rest[name].decode(flat - (factors - self.factors.mean) @ weights, generator)
            rescaling = ((self.variances[name] + TINY) / (factor_variance @ of_factors + rest_variance @ of_rest + TINY)).sqrt()
            predicted = factor_part @ weights + rest_part
            predicted = torch.where(draws < share / 2, predicted * rescaling, predicted)
            decoded[name] = torch.where(draws < share, self.means[name] + predicted, flat).view_as(values)
        return decoded
