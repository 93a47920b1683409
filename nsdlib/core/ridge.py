"""Ridge regression from one factorisation for all targets, without weights, from kernels that can be added and taken apart.

In the dual form everything follows from the n_images x n_images Gram matrix K of the centred patterns. Predictions are
k (K + a)^-1 Y with k the products of new and old patterns: the left factor is small, and the targets pass by once, block by
block, from memory or from a file. Leaving image i out changes its prediction to y_i - e_i / (1 - h_i), where e is the residual
and h the diagonal of the smoother (exact for least squares with an intercept); so penalties are chosen, and honest predictions
of training images had, without a second fit. K is a sum over voxels, hence over regions: decoders of one region, or of all but
one, come from the same matrices. Weights, n_voxels x n_targets, are never formed.
"""

from dataclasses import dataclass

import numpy as np
import torch

PUBLISHED_ALPHAS = {  # penalties: Veronese et al. 2025, section 3.3.2; the public code of Ozcelik & VanRullen 2023
    "paper": {"latents": 50_000.0, "text": 50_000.0, "vision": 50_000.0},
    "brain_diffuser": {"latents": 50_000.0, "text": 100_000.0, "vision": 60_000.0},
}
CHOOSING_TARGETS = 8192  # enough to choose one penalty for all
HELD_OUT_IMAGES = 500  # a standard deviation is known to 3 % from as many
KERNEL_ROWS = 1024  # rows of a symmetric kernel made at a time: half of it need not be computed
KERNEL_VOXELS = 2048  # voxels whose products are summed in single precision before they are added up in double
SMALL_PENALTY = 1e-3  # of a kernel's mean diagonal; below, all is done in double precision


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
    """Refuse patterns and targets that do not belong together, and patterns that hold numbers that are none."""
    if X.ndim != 2 or Y.ndim != 2 or len(X) != len(Y):
        raise ValueError(
            f"X must be (n_images, n_voxels) and Y (n_images, n_targets) with as many images, got {X.shape} and {Y.shape}"
        )
    check_finite("X", X)


def check_finite(name: str, values: np.ndarray):
    """Refuse numbers that are none."""
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds {np.count_nonzero(~np.isfinite(values))} values that are not finite numbers")


def blocks(n_targets: int, size: int) -> list[slice]:
    """Targets a block at a time."""
    return [slice(i, i + size) for i in range(0, n_targets, size)]


def check_patterns(X: np.ndarray, n_voxels: int | None):
    """Refuse patterns for prediction before a fit, of another width than at the fit, or that hold numbers that are none."""
    if n_voxels is None:
        raise ValueError("this decoder has not been fitted; call fit(X, Y) first")
    if X.ndim != 2 or X.shape[1] != n_voxels:
        raise ValueError(f"X must be (n_images, {n_voxels}) as at the fit, got {X.shape}")
    check_finite("X", X)


class Ridge:
    """Ridge regression from voxels to any number of targets.

    Parameters
    ----------
    alphas : penalties on the sum of squared weights (scikit-learn's `alpha`); of several, the one with the smallest
        leave-one-image-out error is kept (over all targets, or over 8,192 of them, evenly spaced).
    batch_size : targets handled at a time; bounds the memory.
    device : where the arithmetic is done: factors in float64, their products with targets in float32; kernels in short sums
        of float32 that are added up in float64, or in float64 where a penalty is small.

    Attributes
    ----------
    alpha : the penalty kept.
    errors : mean squared leave-one-out error of each penalty, (n_alphas,).
    held_out : `Moments` of the leave-one-out predictions of the training images, or of 500 of them.
    targets : `Moments` of the training targets.
    """

    def __init__(self, alphas=(1.0,), *, batch_size: int = 8192, device="cpu"):
        if not len(alphas) or min(alphas) <= 0:
            raise ValueError(f"alphas must be positive penalties, at least one, got {list(alphas)}")
        self.alphas, self.batch_size, self.device = tuple(alphas), batch_size, torch.device(device)
        self.n_voxels = self.targets = None

    def fit(self, X: np.ndarray, Y: np.ndarray) -> "Ridge":
        """Fit from X (n_images, n_voxels) to Y (n_images, n_targets).

        Y may lie in a file (a memory map, an HDF5 dataset) and be of half precision; it is kept by reference, because
        predictions are made from it.
        """
        check_pair(X, Y)
        self._mean = X.mean(0, dtype=np.float64)
        small = min(self.alphas) < SMALL_PENALTY * X.var(0, dtype=np.float64).sum()
        self._precision = torch.float64 if small else torch.float32
        self._X = self._centred_patterns(X)
        self._fit(_gram(self._X), Y)
        self.n_voxels = X.shape[1]
        return self

    def fit_kernel(self, kernel: np.ndarray, Y: np.ndarray) -> "Ridge":
        """The same from the Gram matrix (n_images, n_images) of centred patterns; then use `predict_kernel`."""
        if kernel.shape != (len(Y), len(Y)):
            raise ValueError(f"the kernel must be (n_images, n_images) for {len(Y)} images of Y, got {kernel.shape}")
        check_finite("kernel", kernel)
        self._X = None
        self._fit(self._tensor(kernel).clone(), Y)
        return self

    @property
    def n_bytes(self) -> int:
        """What a fitted ridge holds to predict: centred patterns, factor, and the targets, in memory or in their file."""
        return sum(part.nbytes for part in (self._X, self._root, self._Y) if part is not None)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Targets of X (n_images, n_voxels): (n_images, n_targets) float32."""
        if self.targets is not None and self.n_voxels is None:
            raise ValueError("this ridge was fitted to a kernel and knows no voxels; call predict_kernel(products)")
        check_patterns(X, self.n_voxels)
        return self._predict(_products(self._centred_patterns(X), self._X))

    def predict_kernel(self, kernel) -> np.ndarray:
        """The same from the products (n_images, n_train) of new and training patterns, both minus the training mean."""
        if self.targets is None:
            raise ValueError("this ridge has not been fitted; call fit(X, Y) or fit_kernel(kernel, Y) first")
        if kernel.ndim != 2 or kernel.shape[1] != len(self._Y):
            raise ValueError(f"the kernel must be (n_images, {len(self._Y)}) as at the fit, got {kernel.shape}")
        check_finite("kernel", kernel)
        return self._predict(kernel)

    def _predict(self, kernel):
        """Targets from products, block by block."""
        weights = torch.cholesky_solve(self._tensor(kernel).T, self._root).T.float()  # (n_images, n_train)
        predicted = np.empty((len(weights), self._Y.shape[1]), dtype=np.float32)
        for part in blocks(self._Y.shape[1], self.batch_size):
            mean = torch.as_tensor(self.targets.mean[part]).to(self.device)
            predicted[:, part] = (weights @ (self._target(part) - mean) + mean).cpu().numpy()
        return predicted

    def _fit(self, kernel, Y):
        """Choose the penalty, factorise, and look at the targets once for their moments and the held-out ones.

        The kernel is used up.
        """
        self._Y, self.errors, self.n_voxels, self.targets = Y, None, None, None  # unfitted, should this fail
        if len(Y) < 2:
            raise ValueError(f"a ridge needs at least two training images, one to predict the other, got {len(Y)}")
        if len(self.alphas) > 1:
            self.errors = _leave_one_out_errors(kernel, self._some_targets(), self.alphas)
        self.alpha = self.alphas[0 if self.errors is None else int(np.argmin(self.errors))]
        kernel.diagonal().add_(self.alpha)
        self._root = torch.linalg.cholesky(kernel, out=kernel)
        rows = self._held_out_rows()
        units = kernel.new_zeros(len(Y), len(rows))
        units[rows, torch.arange(len(rows))] = 1
        dual = torch.cholesky_solve(units, self._root).T  # (n_held_out, n_images)
        remaining = self.alpha * dual[torch.arange(len(rows)), rows] - 1 / len(Y)
        weights = (dual * (self.alpha / remaining)[:, None]).float()  # from targets to how far leaving out is off
        moments = np.empty((4, Y.shape[1]), dtype=np.float32)
        for part in blocks(Y.shape[1], self.batch_size):
            block = self._target(part)
            mean = block.mean(0)
            if not mean.isfinite().all():
                check_finite(f"Y[:, {part.start}:{part.stop}]", block.cpu().numpy())
            centred = block - mean
            held_sd, held_mean = torch.std_mean(centred[rows] - weights @ centred, 0, correction=0)
            sd = centred.square_().mean(0).sqrt()
            moments[:, part] = torch.stack([mean, sd, held_mean + mean, held_sd]).cpu().numpy()
        self.targets, self.held_out = Moments(*moments[:2]), Moments(*moments[2:])

    def _held_out_rows(self):
        """Rows of the training images that are left out in turn."""
        n = len(self._Y)
        rows = np.arange(n)
        if n > HELD_OUT_IMAGES:
            rows = np.sort(np.random.default_rng(0).choice(n, HELD_OUT_IMAGES, replace=False))
        return torch.as_tensor(rows, device=self.device)

    def _some_targets(self):
        """Centred targets for the choice of the penalty: (n_images, n_some)."""
        step = -(-self._Y.shape[1] // CHOOSING_TARGETS)
        some = self._tensor(np.ascontiguousarray(self._Y[:, ::step]))
        return some - some.mean(0)

    def _target(self, part):
        """A block of targets: (n_images, n_some) float32."""
        return torch.as_tensor(np.ascontiguousarray(self._Y[:, part])).to(self.device, torch.float32)

    def _centred_patterns(self, X):
        """Patterns minus the training mean, in the precision of the kernels."""
        X = torch.as_tensor(X).to(self.device, self._precision)
        return X - torch.as_tensor(self._mean).to(X)

    def _tensor(self, values):
        return torch.as_tensor(values).to(self.device, torch.float64)


def _gram(X):
    """X X' of (n_images, n_voxels) patterns in float64, its upper half mirrored from the lower."""
    kernel = X.new_empty(len(X), len(X), dtype=torch.float64)
    for start in range(0, len(X), KERNEL_ROWS):
        rows = slice(start, start + KERNEL_ROWS)
        kernel[rows, : start + KERNEL_ROWS] = _products(X[rows], X[: start + KERNEL_ROWS])
        kernel[:start, rows] = kernel[rows, :start].T
    return kernel


def _products(A, B):
    """A B' of patterns (n_a, n_voxels) and (n_b, n_voxels): (n_a, n_b) float64."""
    if A.dtype == torch.float64:
        return A @ B.T
    total = A.new_zeros(len(A), len(B), dtype=torch.float64)
    for some_a, some_b in zip(A.split(KERNEL_VOXELS, dim=1), B.split(KERNEL_VOXELS, dim=1), strict=True):
        total += some_a @ some_b.T
    return total


def _leave_one_out_errors(kernel, targets, alphas):
    """Mean squared leave-one-out error of every penalty, from one factorisation and one product of matrices a penalty.

    Along the kernel's eigenvectors all penalties see the same targets, and each leaves its own share. With more targets than
    images, their Gram matrix stands for them.
    """
    spectrum, vectors = torch.linalg.eigh(kernel)
    spectrum, many, errors = spectrum.clamp(min=0), targets.shape[1] > len(targets), []
    along = vectors.T @ (targets @ targets.T) @ vectors if many else vectors.T @ targets
    for alpha in alphas:
        left = alpha / (spectrum + alpha)
        shrunk = vectors * left
        residuals = shrunk @ along
        squares = (residuals * (shrunk if many else residuals)).sum(1)
        remaining = vectors.square() @ left - 1 / len(vectors)  # 1 - h, the intercept's leverage included
        errors.append((squares / remaining.square()).sum().item() / targets.numel())
    return np.array(errors)


def region_kernels(X_train: np.ndarray, X_test: np.ndarray, voxels=slice(None)) -> tuple[np.ndarray, np.ndarray]:
    """Products of centred patterns over some voxels; those of all other voxels are the products over all minus these.

    Parameters
    ----------
    X_train, X_test : (n_images, n_voxels)
    voxels : (n_voxels,) bool; all when not given.

    Returns
    -------
    (n_train, n_train) and (n_test, n_train) float64, for `Ridge.fit_kernel` and `Ridge.predict_kernel`.
    """
    old, new = X_train[:, voxels], X_test[:, voxels]
    mean = old.mean(0, dtype=np.float64)
    old, new = old - mean, new - mean
    return old @ old.T, new @ old.T


def decode(X, Y, X_test, *, alphas, mode, device="cpu") -> np.ndarray:
    """Predictions of a ridge fitted to X (n_images, n_voxels) and Y (n_images, n_targets), with their spread from `rescale`.

    Returns
    -------
    (n_test, n_targets) float32, for X_test (n_test, n_voxels).
    """
    one = Ridge(alphas, device=device).fit(X, Y)
    return rescale(one.predict(X_test), one, mode=mode)


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
