"""Ridge regression from one factorisation for all targets, without weights, from kernels that can be added and taken apart.

In the dual form everything follows from the n_images x n_images Gram matrix K of the centred patterns. Predictions are
k (K + a)^-1 Y with k the products of new and old patterns: the left factor is small, and the targets pass by once, block by
block, from memory or from a file. Leaving image i out changes its prediction to y_i - e_i / (1 - h_i), where e is the residual
and h the diagonal of the smoother (exact for least squares with an intercept); so penalties are chosen, and honest predictions
of training images had, without a second fit. K is a sum over voxels: decoders of one region, or of all but one, come from it.
"""

from dataclasses import dataclass

import numpy as np
import torch

from nsdlib.core.device import check_finite, to_tensor

PUBLISHED_ALPHAS = {  # penalties: Veronese et al. 2025, section 3.3.2; the public code of Ozcelik & VanRullen 2023
    "paper": {"latents": 50_000.0, "text": 50_000.0, "vision": 50_000.0},
    "brain_diffuser": {"latents": 50_000.0, "text": 100_000.0, "vision": 60_000.0},
}
CHOOSING_TARGETS = 8192  # enough to choose one penalty for all
HELD_OUT_IMAGES = 500  # a standard deviation is known to 3 % from as many
KERNEL_ROWS = 512  # rows of targets read, and of a symmetric kernel made, at a time: half of it need not be computed
KERNEL_VOXELS = 2048  # voxels whose products are summed in single precision before they are added up in double
LARGEST = 1e17  # of patterns: the products of larger ones leave single precision
SMALL_PENALTY = 1e-3  # of a kernel's mean eigenvalue other than 0; below, all is done in double precision


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of each target, both (n_targets,) float32."""

    mean: np.ndarray
    sd: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> "Moments":
        """Compute the moments over rows of (n_images, n_targets), summed in float64, by blocks of targets."""
        moments = np.empty((2, values.shape[1]), dtype=np.float32)
        for start in range(0, values.shape[1], CHOOSING_TARGETS):
            part = slice(start, start + CHOOSING_TARGETS)
            moments[:, part] = values[:, part].mean(0, dtype=np.float64), values[:, part].std(0, dtype=np.float64)
        return cls(*moments)


def check_pair(X: np.ndarray, Y: np.ndarray, *, of: str = ""):
    """Raise ValueError for patterns and targets that do not belong together, and for patterns too large or no numbers."""
    check_finite(f"{of}X", X)
    if X.ndim != 2 or np.ndim(Y) != 2 or len(X) != len(Y):
        raise ValueError(
            f"{of}X must be (n_images, n_voxels) and Y (n_images, n_targets) with as many images, got {X.shape} and {np.shape(Y)}"
        )
    if (largest := max(X.max(initial=0), -X.min(initial=0))) > LARGEST:
        raise ValueError(f"{of}X holds {largest:.3g}, wanted at most {LARGEST:g}: standardise the patterns")


def check_patterns(X: np.ndarray, n_voxels: int | None):
    """Raise ValueError for patterns before a fit, of another width than at the fit, or with non-finite values."""
    if n_voxels is None:
        raise ValueError("this decoder has not been fitted; call fit(X, Y) first")
    check_finite("X", X)
    if X.ndim != 2 or X.shape[1] != n_voxels:
        raise ValueError(f"X must be (n_images, {n_voxels}) as at the fit, got {X.shape}")


class Ridge:
    """Ridge regression from voxels to any number of targets.

    Parameters
    ----------
    alphas : sequence of float
        Positive penalties on the sum of squared weights (scikit-learn's `alpha`); of several, the one with the smallest
        leave-one-image-out error is kept (over all targets, or over 8,192 of them, evenly spaced).
    batch_size : int
        Targets handled at a time; bounds the memory.
    device : torch.device or str
        Factors are computed in float64, their products with targets in float32; kernels in short sums of float32 that are
        added up in float64, or in float64 where a penalty is small.

    Attributes
    ----------
    alpha : float
        The penalty kept.
    errors : (n_alphas,) float64 array, or None
        Mean squared leave-one-out error of each penalty, in squared units of the targets; None for a single penalty.
    held_out, targets : Moments
        Of the leave-one-out predictions of the training images (or of 500 of them), and of the training targets.
    """

    def __init__(self, alphas=(1.0,), *, batch_size: int = 8192, device="cpu"):
        if not len(alphas) or not all(0 < alpha < np.inf for alpha in alphas):
            raise ValueError(f"alphas must be positive penalties, at least one, got {list(alphas)}")
        self.alphas, self.batch_size, self.device = tuple(alphas), batch_size, torch.device(device)
        self.n_voxels = self.targets = None

    def fit(self, X: np.ndarray, Y: np.ndarray) -> "Ridge":
        """Fit from X (n_images, n_voxels) to Y (n_images, n_targets).

        Y may lie in a file (a memory map, an HDF5 dataset) and be of half precision; it is kept by reference, because
        predictions are made from it. Raises ValueError for shapes that do not fit and for non-finite values.
        """
        check_pair(X, Y)
        self._mean, self._precision = X.mean(0, dtype=np.float64), torch.float32
        self._X = self._centred_patterns(X)
        if min(self.alphas) < SMALL_PENALTY * torch.linalg.vector_norm(self._X).square() / min(X.shape):
            self._precision = torch.float64
            self._X = self._centred_patterns(X)
        self._fit(_gram(self._X), Y)
        self.n_voxels = X.shape[1]
        return self

    def fit_kernel(self, kernel: np.ndarray, Y: np.ndarray) -> "Ridge":
        """Fit the same from the Gram matrix (n_images, n_images) of centred patterns; then use `predict_kernel`."""
        if kernel.shape != (len(Y), len(Y)):
            raise ValueError(f"the kernel must be (n_images, n_images) for {len(Y)} images of Y, got {kernel.shape}")
        check_finite("kernel", kernel)
        self._X = None
        self._fit(self._tensor(kernel).clone(), Y)
        return self

    @property
    def n_bytes(self) -> int:
        """Size of what a fitted ridge needs to predict: centred patterns, factor, and the targets, in memory or in their file."""
        return sum(part.nbytes for part in (self._X, self._root, self._Y) if part is not None)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predict the targets of X (n_images, n_voxels): (n_images, n_targets) float32."""
        if self.targets is not None and self.n_voxels is None:
            raise ValueError("this ridge was fitted to a kernel and knows no voxels; call predict_kernel(products)")
        check_patterns(X, self.n_voxels)
        return self._predict(_products(self._centred_patterns(X), self._X))

    def predict_kernel(self, kernel) -> np.ndarray:
        """Predict the same from the products (n_images, n_train) of new and training patterns, both minus the training mean."""
        if self.targets is None:
            raise ValueError("this ridge has not been fitted; call fit(X, Y) or fit_kernel(kernel, Y) first")
        if kernel.ndim != 2 or kernel.shape[1] != len(self._Y):
            raise ValueError(f"the kernel must be (n_images, {len(self._Y)}) as at the fit, got {kernel.shape}")
        check_finite("kernel", kernel)
        return self._predict(kernel)

    def _predict(self, kernel):
        """Predict targets from products, block by block."""
        weights = torch.cholesky_solve(self._tensor(kernel).T, self._root).T.float()  # (n_images, n_train)
        predicted = torch.empty(len(weights), self._Y.shape[1])
        for part, targets in self._blocks():
            mean = torch.as_tensor(self.targets.mean[part]).to(self.device)
            block = torch.addmm(mean, weights, targets.sub_(mean))
            predicted[:, part] = torch.empty(block.shape, pin_memory=True).copy_(block) if block.is_cuda else block
        return check_finite("predictions", predicted.numpy())

    def _fit(self, kernel, Y):
        """Choose the penalty, factorise the kernel in place, and pass once over the targets for their moments."""
        self._Y, self.errors, self.n_voxels, self.targets = Y, None, None, None  # unfitted, should this fail
        if len(Y) < 2:
            raise ValueError(f"a ridge needs at least two training images, one to predict the other, got {len(Y)}")
        if len(self.alphas) > 1:
            some = self._tensor(Y[:, :: -(-Y.shape[1] // CHOOSING_TARGETS)])
            self.errors = _leave_one_out_errors(kernel, some - some.mean(0), self.alphas)
        self.alpha = self.alphas[0 if self.errors is None else int(np.argmin(self.errors))]
        kernel.diagonal().add_(self.alpha)
        self._root = torch.linalg.cholesky(kernel, out=kernel)
        rows = self._held_out_rows()
        units = torch.nn.functional.one_hot(rows, len(Y)).T.to(kernel)
        dual = torch.cholesky_solve(units, self._root).T  # (n_held_out, n_images)
        remaining = self.alpha * dual[torch.arange(len(rows)), rows] - 1 / len(Y)  # 1 - h
        weights = (dual * (self.alpha / remaining)[:, None]).float()  # from targets to the errors of leaving out
        moments = np.empty((4, Y.shape[1]), dtype=np.float32)
        for part, targets in self._blocks():
            mean = targets.mean(0)
            if not mean.isfinite().all():
                check_finite(f"Y[:, {part.start}:{part.stop}]", targets.cpu().numpy())
            held = torch.addmm(targets.sub_(mean)[rows], weights, targets, alpha=-1)
            held_sd, held_mean = torch.std_mean(held, 0, correction=0)
            sd = targets.square_().mean(0).sqrt()
            moments[:, part] = torch.stack([mean, sd, held_mean + mean, held_sd]).cpu().numpy()
        self.targets, self.held_out = Moments(*moments[:2]), Moments(*moments[2:])

    def _blocks(self):
        """Pass over the targets: slices of at most `batch_size`, and (n_images, n_block) float32, all in the same memory."""
        n_images, n_targets = self._Y.shape
        room = torch.empty(n_images * min(self.batch_size, n_targets), device=self.device)
        for start in range(0, n_targets, self.batch_size):
            part = slice(start, min(start + self.batch_size, n_targets))
            block = room[: n_images * (part.stop - start)].view(n_images, -1)
            for row in range(0, n_images, KERNEL_ROWS):  # pieces whose memory the system need not clear anew each time
                values = to_tensor(self._Y[row : row + KERNEL_ROWS, part])
                pinned = room.is_cuda and not values.is_cuda  # six times as fast as from memory that can be swapped
                block[row : row + KERNEL_ROWS] = values.pin_memory().to(self.device) if pinned else values
            yield part, block

    def _held_out_rows(self):
        """Draw the rows of the training images that are left out in turn."""
        drawn = np.random.default_rng(0).choice(len(self._Y), min(len(self._Y), HELD_OUT_IMAGES), replace=False)
        return torch.as_tensor(np.sort(drawn), device=self.device)

    def _centred_patterns(self, X):
        """Subtract the training mean from patterns, in the precision of the kernels."""
        return to_tensor(X, self.device, self._precision) - to_tensor(self._mean, self.device, self._precision)

    def _tensor(self, values):
        return to_tensor(values, self.device, torch.float64)


def _gram(X):
    """Compute X X' of (n_images, n_voxels) patterns in float64, its upper half mirrored from the lower."""
    kernel = X.new_empty(len(X), len(X), dtype=torch.float64)
    for start in range(0, len(X), KERNEL_ROWS):
        rows = slice(start, start + KERNEL_ROWS)
        kernel[rows, : start + KERNEL_ROWS] = _products(X[rows], X[: start + KERNEL_ROWS])
        kernel[:start, rows] = kernel[rows, :start].T
    return kernel


def _products(A, B):
    """Compute A B' of patterns (n_a, n_voxels) and (n_b, n_voxels): (n_a, n_b) float64."""
    if A.dtype == torch.float64:
        return A @ B.T
    total = A.new_zeros(len(A), len(B), dtype=torch.float64)
    for part_a, part_b in zip(A.split(KERNEL_VOXELS, dim=1), B.split(KERNEL_VOXELS, dim=1), strict=True):
        total += part_a @ part_b.T
    return total


def _leave_one_out_errors(kernel, targets, alphas):
    """Compute the mean squared leave-one-out error of every penalty, from one factorisation and one product of matrices each.

    Along the kernel's eigenvectors a penalty leaves alpha / (eigenvalue + alpha) of the targets. With more targets than images,
    their Gram matrix stands for them.
    """
    spectrum, vectors = torch.linalg.eigh(kernel)
    spectrum, many, errors = spectrum.clamp(min=0), targets.shape[1] > len(targets), []
    along = vectors.T @ (targets @ targets.T) @ vectors if many else vectors.T @ targets
    for alpha in alphas:
        kept = alpha / (spectrum + alpha)
        shrunk = vectors * kept
        residuals = shrunk @ along
        squares = (residuals * (shrunk if many else residuals)).sum(1)
        remaining = vectors.square() @ kept - 1 / len(vectors)  # 1 - h, the intercept's leverage included
        errors.append((squares / remaining.square()).sum().item() / targets.numel())
    return np.array(errors)


def region_kernels(X_train: np.ndarray, X_test: np.ndarray, voxels=slice(None)) -> tuple[np.ndarray, np.ndarray]:
    """Compute products of centred patterns over some voxels; those of all other voxels are the products over all minus these.

    From X_train, X_test (n_images, n_voxels) and voxels (n_voxels,) bool: (n_train, n_train) and (n_test, n_train) float64 arrays
    for `Ridge.fit_kernel` and `Ridge.predict_kernel`.
    """
    if getattr(voxels, "dtype", np.dtype(bool)).kind != "b":  # numbers would be taken for places
        raise ValueError(f"voxels must be a (n_voxels,) bool array, got {voxels.dtype}")
    train, test = X_train[:, voxels], X_test[:, voxels]
    mean = train.mean(0, dtype=np.float64)
    train, test = train - mean, test - mean
    return train @ train.T, test @ train.T


def decode(X, Y, X_test, *, alphas, mode, device="cpu") -> np.ndarray:
    """Fit a ridge to X (n_images, n_voxels) and Y (n_images, n_targets), and predict with the spread from `rescale`.

    The result is (n_test, n_targets) float32, for X_test (n_test, n_voxels).
    """
    decoder = Ridge(alphas, device=device).fit(X, Y)
    return rescale(decoder.predict(X_test), decoder, mode=mode)


def rescale(predicted: np.ndarray, decoder, *, mode: str) -> np.ndarray:
    """Give predictions back the spread that regression took from them, target by target: (n_images, n_targets) float32.

    They get the training targets' mean and standard deviation where they vary.

    Parameters
    ----------
    predicted : (n_images, n_targets) float32 array
        From a fitted decoder.
    decoder : Ridge or NeuralDecoder
        With `held_out` and `targets` (`Moments`).
    mode : str
        "none" leaves them; "train" standardises by the moments of held-out predictions of training images; "test" by the
        moments of these predictions themselves, as Brain-Diffuser does: then each image's result leans on the other test images
        (transductive), and one image alone cannot be decoded.
    """
    if mode not in ("none", "train", "test"):
        raise ValueError(f'mode must be "none", "train" or "test", got {mode!r}')
    if mode == "none":
        return predicted
    source = decoder.held_out if mode == "train" else Moments.of(predicted)
    varies = source.sd > 1e-6 * np.maximum(decoder.targets.sd, 1e-12)
    scale = np.divide(decoder.targets.sd, source.sd, out=np.zeros_like(source.sd), where=varies)
    return (predicted - source.mean) * scale + decoder.targets.mean
