"""Ridge regression with one factorisation for all targets and penalties, and the spread of held-out predictions.

In the dual form everything follows from the n_images x n_images Gram matrix K of the centred patterns: with K = U S U', the fit
at a penalty a is U (S + a)^-1 U' Y, and leaving image i out changes its prediction to y_i - e_i / (1 - h_i), where e is the
residual and h the diagonal of the smoother (exact for least squares with an intercept). So penalties are chosen, and honest
predictions of the training images had, without a second fit. Weights, n_voxels x n_targets, are never formed.
"""

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of each target, both (n_targets,) float32."""

    mean: np.ndarray
    sd: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> "Moments":
        """The moments over rows of (n_images, n_targets), summed in float64."""
        return cls(
            values.mean(0, dtype=np.float64).astype(np.float32), values.std(0, dtype=np.float64).astype(np.float32)
        )


def check_pair(X: np.ndarray, Y: np.ndarray):
    """Refuse patterns and targets that do not belong together or hold numbers that are none."""
    if X.ndim != 2 or Y.ndim != 2 or len(X) != len(Y):
        raise ValueError(
            f"X must be (n_images, n_voxels) and Y (n_images, n_targets) with as many images, got {X.shape} and {Y.shape}"
        )
    for name, values in (("X", X), ("Y", Y)):
        if not np.isfinite(values).all():
            raise ValueError(
                f"{name} holds {np.count_nonzero(~np.isfinite(values))} values that are not finite numbers"
            )


def check_patterns(X: np.ndarray, n_voxels: int | None):
    """Refuse patterns for prediction before a fit, or of another width than at the fit."""
    if n_voxels is None:
        raise ValueError("this decoder has not been fitted; call fit(X, Y) first")
    if X.ndim != 2 or X.shape[1] != n_voxels:
        raise ValueError(f"X must be (n_images, {n_voxels}) as at the fit, got {X.shape}")


class Ridge:
    """Ridge regression from voxels to any number of targets.

    Parameters
    ----------
    alphas : penalties on the sum of squared weights (scikit-learn's `alpha`); of several, the one with the smallest
        leave-one-image-out error over all targets is kept.
    batch_size : targets handled at a time; bounds the memory.
    device : where the arithmetic is done, in float64.

    Attributes
    ----------
    alpha : the penalty kept.
    errors : mean squared leave-one-out error of each penalty, (n_alphas,).
    held_out : `Moments` of the leave-one-out predictions.
    targets : `Moments` of the training targets.
    """

    def __init__(self, alphas=(1.0,), *, batch_size: int = 8192, device="cpu"):
        if not len(alphas) or min(alphas) <= 0:
            raise ValueError(f"alphas must be positive penalties, at least one, got {list(alphas)}")
        self.alphas, self.batch_size, self.device = tuple(alphas), batch_size, torch.device(device)
        self.n_voxels = None

    def fit(self, X: np.ndarray, Y: np.ndarray) -> "Ridge":
        """Fit from X (n_images, n_voxels) to Y (n_images, n_targets)."""
        check_pair(X, Y)
        X = self._tensor(X)
        self._mean = X.mean(0)
        self._X = X - self._mean
        spectrum, self._U = torch.linalg.eigh(self._X @ self._X.T)
        self._spectrum = spectrum.clamp(min=0)
        self.targets = Moments.of(Y)
        self.errors = self._leave_one_out_errors(Y) if len(self.alphas) > 1 else None
        self.alpha = self.alphas[0 if self.errors is None else int(np.argmin(self.errors))]
        self._solve(Y)
        self.n_voxels = X.shape[1]
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Targets of X (n_images, n_voxels): (n_images, n_targets) float32."""
        check_patterns(X, self.n_voxels)
        kernel = (self._tensor(X) - self._mean) @ self._X.T  # (n_images, n_train)
        predicted = np.empty((len(X), self._dual.shape[1]), dtype=np.float32)
        for part in self._batches(self._dual.shape[1]):
            predicted[:, part] = (kernel @ self._tensor(self._dual[:, part])).cpu().numpy()
        return predicted + self.targets.mean

    def _tensor(self, values):
        return torch.as_tensor(values).to(self.device, torch.float64)

    def _batches(self, n_targets):
        return [slice(i, i + self.batch_size) for i in range(0, n_targets, self.batch_size)]

    def _leverage(self, alpha):
        """Diagonal of the smoother, intercept included: (n_images,)."""
        return (self._U**2 @ (self._spectrum / (self._spectrum + alpha))) + 1 / len(self._U)

    def _leave_one_out_errors(self, Y):
        """Mean squared leave-one-out error of every penalty, from the one factorisation and the targets' Gram matrix."""
        gram = self._X.new_zeros(len(Y), len(Y))
        for part in self._batches(Y.shape[1]):
            centred = self._tensor(Y[:, part] - self.targets.mean[part])
            gram += centred @ centred.T
        errors = []
        for alpha in self.alphas:
            smoother = (self._U * (self._spectrum / (self._spectrum + alpha))) @ self._U.T
            left_out = (torch.eye(len(Y)).to(gram) - smoother) / (1 - self._leverage(alpha))[:, None]
            errors.append(((left_out @ gram) * left_out).sum().item() / Y.size)
        return np.array(errors)

    def _solve(self, Y):
        """Dual weights at the kept penalty, and the moments of the leave-one-out predictions."""
        self._dual = np.empty(Y.shape, dtype=np.float32)
        mean, sd = np.empty(Y.shape[1], np.float32), np.empty(Y.shape[1], np.float32)
        remaining = (1 - self._leverage(self.alpha))[:, None]
        for part in self._batches(Y.shape[1]):
            centred = self._tensor(Y[:, part] - self.targets.mean[part])
            dual = self._U @ ((self._U.T @ centred) / (self._spectrum + self.alpha)[:, None])
            self._dual[:, part] = dual.cpu().numpy()
            held_out = centred - self.alpha * dual / remaining  # the residual of ridge is alpha times the dual weights
            mean[part] = held_out.mean(0).cpu().numpy() + self.targets.mean[part]
            sd[part] = held_out.std(0, correction=0).cpu().numpy()
        self.held_out = Moments(mean, sd)


def rescale(predicted: np.ndarray, decoder, *, mode: str) -> np.ndarray:
    """Give predictions back the spread that regression took from them, target by target.

    Parameters
    ----------
    predicted : (n_images, n_targets) float32, from a fitted decoder.
    decoder : with `held_out` and `targets` (`Moments`) as `Ridge` has them.
    mode : "none" leaves them; "train" standardises by the moments of held-out predictions of training images; "test" by the
        moments of these predictions themselves, as Brain-Diffuser does: then each image's result leans on the other test images
        (transductive), and one image alone cannot be decoded.

    Returns
    -------
    (n_images, n_targets) float32, with the training targets' mean and standard deviation where the predictions vary.
    """
    if mode not in ("none", "train", "test"):
        raise ValueError(f'mode must be "none", "train" or "test", got {mode!r}')
    if mode == "none":
        return predicted
    source = Moments.of(predicted) if mode == "test" else decoder.held_out
    varies = source.sd > 1e-6 * np.maximum(decoder.targets.sd, 1e-12)
    scale = np.divide(decoder.targets.sd, source.sd, out=np.zeros_like(source.sd), where=varies)
    return (predicted - source.mean) * scale + decoder.targets.mean
