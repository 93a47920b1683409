"""Ridge regression in the dual form: one factorisation serves all targets, and the weights are never computed.

K is the n_images x n_images Gram matrix of the centred patterns. Predictions are k (K + a I)^-1 Y, where k holds the products
of new and training patterns. k (K + a I)^-1 is small, and the targets are read once, in blocks, from memory or from a file.
The leave-one-out prediction of image i is y_i - e_i / (1 - h_i), with residual e and the smoother's diagonal h (exact for
least squares with an intercept). It selects the penalty and gives held-out predictions of training images without refitting.
K is a sum over voxels, so kernels of single regions, or of all regions but one, are obtained by adding or subtracting.
"""

from dataclasses import dataclass

import numpy as np
import torch

from nsdlib.core.device import check_finite, to_tensor

PUBLISHED_ALPHAS = {  # penalties: Veronese et al. 2025, section 3.3.2; the public code of Ozcelik & VanRullen 2023
    "paper": {"latents": 50_000.0, "text": 50_000.0, "vision": 50_000.0},
    "brain_diffuser": {"latents": 50_000.0, "text": 100_000.0, "vision": 60_000.0},
}
SELECTION_TARGETS = 8192  # enough to choose one penalty for all
HELD_OUT_IMAGES = 500  # enough to estimate a standard deviation to 3 %
KERNEL_ROWS = 512  # rows of targets, or of a symmetric kernel, processed at a time; half of the kernel is mirrored
KERNEL_VOXELS = 2048  # voxels summed in float32 before the sum is added in float64
LARGEST = 1e17  # largest pattern value: products of larger ones overflow float32
SMALL_PENALTY = 1e-3  # relative to the kernel's mean nonzero eigenvalue; smaller penalties need float64 throughout


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of each target, both (n_targets,) float32."""

    mean: np.ndarray
    sd: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> "Moments":
        """Compute the moments over the rows of (n_images, n_targets), in float64 and in blocks of targets."""
        moments = np.empty((2, values.shape[1]), dtype=np.float32)
        for start in range(0, values.shape[1], SELECTION_TARGETS):
            part = slice(start, start + SELECTION_TARGETS)
            moments[:, part] = values[:, part].mean(0, dtype=np.float64), values[:, part].std(0, dtype=np.float64)
        return cls(*moments)


def check_pair(X: np.ndarray, Y: np.ndarray, *, prefix: str = ""):
    """Raise ValueError when the shapes of X and Y do not match, or X holds values that are too large or not finite."""
    check_finite(f"{prefix}X", X)
    if X.ndim != 2 or np.ndim(Y) != 2 or len(X) != len(Y):
        raise ValueError(
            f"{prefix}X must be (n_images, n_voxels) and Y (n_images, n_targets) with as many images, "
            f"got {X.shape} and {np.shape(Y)}"
        )
    largest = max(X.max(initial=0), -X.min(initial=0))
    if largest > LARGEST:
        raise ValueError(f"{prefix}X holds {largest:.3g}, wanted at most {LARGEST:g}: standardise the patterns")


def check_patterns(X: np.ndarray, n_voxels: int | None):
    """Raise ValueError when the decoder is not fitted, the number of voxels differs from the fit, or values are not finite."""
    if n_voxels is None:
        raise ValueError("this decoder has not been fitted; call fit(X, Y) first")
    check_finite("X", X)
    if X.ndim != 2 or X.shape[1] != n_voxels:
        raise ValueError(f"X must be (n_images, {n_voxels}) as in the fit, got {X.shape}")


class Ridge:
    """Ridge regression from voxels to any number of targets.

    Parameters
    ----------
    alphas : sequence of float
        Positive penalties on the sum of squared weights (scikit-learn's `alpha`). If there are several, the one with the
        smallest leave-one-image-out error is selected (over all targets, or over at most 8,192 evenly spaced ones).
    batch_size : int
        Targets processed at a time; bounds the memory.
    device : torch.device or str
        Factorisations use float64, their products with targets float32. Kernels are short float32 sums accumulated in float64,
        or all float64 when a penalty is small.

    Attributes
    ----------
    alpha : float
        The selected penalty.
    errors : (n_alphas,) float64 array, or None
        Mean squared leave-one-out error of each penalty, in squared units of the targets; None for a single penalty.
    held_out, targets : Moments
        Moments of the leave-one-out predictions of the training images (at most 500 of them), and of the training targets.
    """

    def __init__(self, alphas=(1.0,), *, batch_size: int = 8192, device="cpu"):
        if not len(alphas) or not all(0 < alpha < np.inf for alpha in alphas):
            raise ValueError(f"alphas must be positive penalties, at least one, got {list(alphas)}")
        self.alphas, self.batch_size, self.device = tuple(alphas), batch_size, torch.device(device)
        self.n_voxels = self.targets = None

    def fit(self, X: np.ndarray, Y: np.ndarray) -> "Ridge":
        """Fit from X (n_images, n_voxels) to Y (n_images, n_targets).

        Y may be a memory map or an HDF5 dataset, also in float16. It is kept by reference, because predictions are computed
        from it. Raises ValueError when shapes do not match or values are not finite.
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
        """Fit from the Gram matrix (n_images, n_images) of the centred patterns; predict with `predict_kernel`."""
        if kernel.shape != (len(Y), len(Y)):
            raise ValueError(f"the kernel must be (n_images, n_images) for {len(Y)} images of Y, got {kernel.shape}")
        check_finite("kernel", kernel)
        self._X = None
        self._fit(self._tensor(kernel).clone(), Y)
        return self

    @property
    def n_bytes(self) -> int:
        """Bytes of the arrays needed for prediction: centred patterns, Cholesky factor and targets (in memory or on disk)."""
        return sum(part.nbytes for part in (self._X, self._cholesky, self._Y) if part is not None)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predict the targets of X (n_images, n_voxels): (n_images, n_targets) float32."""
        if self.targets is not None and self.n_voxels is None:
            raise ValueError("this ridge was fitted to a kernel, not to voxels; call predict_kernel(kernel)")
        check_patterns(X, self.n_voxels)
        return self._predict(_products(self._centred_patterns(X), self._X))

    def predict_kernel(self, kernel) -> np.ndarray:
        """Predict from the products (n_images, n_train) of new and training patterns, both centred by the training mean."""
        if self.targets is None:
            raise ValueError("this ridge has not been fitted; call fit(X, Y) or fit_kernel(kernel, Y) first")
        if kernel.ndim != 2 or kernel.shape[1] != len(self._Y):
            raise ValueError(f"the kernel must be (n_images, {len(self._Y)}) as in the fit, got {kernel.shape}")
        check_finite("kernel", kernel)
        return self._predict(kernel)

    def _predict(self, kernel):
        """Predict targets from products, block by block."""
        weights = torch.cholesky_solve(self._tensor(kernel).T, self._cholesky).T.float()  # (n_images, n_train)
        predicted = torch.empty(len(weights), self._Y.shape[1])
        for part, targets in self._blocks():
            mean = torch.as_tensor(self.targets.mean[part]).to(self.device)
            block = torch.addmm(mean, weights, targets.sub_(mean))
            predicted[:, part] = torch.empty(block.shape, pin_memory=True).copy_(block) if block.is_cuda else block
        return check_finite("predictions", predicted.numpy())

    def _fit(self, kernel, Y):
        """Select the penalty, factorise the kernel in place, and read the targets once to compute the moments."""
        self._Y, self.errors, self.n_voxels, self.targets = Y, None, None, None  # stays unfitted if this fails
        if len(Y) < 2:
            raise ValueError(f"a ridge needs at least two training images, to predict one from the other, got {len(Y)}")
        if len(self.alphas) > 1:
            subset = self._tensor(Y[:, :: -(-Y.shape[1] // SELECTION_TARGETS)])
            self.errors = _leave_one_out_errors(kernel, subset - subset.mean(0), self.alphas)
        self.alpha = self.alphas[0 if self.errors is None else int(np.argmin(self.errors))]
        kernel.diagonal().add_(self.alpha)
        self._cholesky = torch.linalg.cholesky(kernel, out=kernel)
        rows = self._held_out_rows()
        unit_vectors = torch.nn.functional.one_hot(rows, len(Y)).T.to(kernel)
        dual = torch.cholesky_solve(unit_vectors, self._cholesky).T  # (n_held_out, n_images)
        remaining = self.alpha * dual[torch.arange(len(rows)), rows] - 1 / len(Y)  # 1 - h
        weights = (dual * (self.alpha / remaining)[:, None]).float()  # map targets to leave-one-out errors
        moments = np.empty((4, Y.shape[1]), dtype=np.float32)
        for part, targets in self._blocks():
            mean = targets.mean(0)
            if not mean.isfinite().all():
                check_finite(f"Y[:, {part.start}:{part.stop}]", targets.cpu().numpy())
            held_out = torch.addmm(targets.sub_(mean)[rows], weights, targets, alpha=-1)
            held_sd, held_mean = torch.std_mean(held_out, 0, correction=0)
            sd = targets.square_().mean(0).sqrt()
            moments[:, part] = torch.stack([mean, sd, held_mean + mean, held_sd]).cpu().numpy()
        self.targets, self.held_out = Moments(*moments[:2]), Moments(*moments[2:])

    def _blocks(self):
        """Yield slices of at most `batch_size` targets and their (n_images, n_block) float32 values, in one reused buffer."""
        n_images, n_targets = self._Y.shape
        buffer = torch.empty(n_images * min(self.batch_size, n_targets), device=self.device)
        for start in range(0, n_targets, self.batch_size):
            part = slice(start, min(start + self.batch_size, n_targets))
            block = buffer[: n_images * (part.stop - start)].view(n_images, -1)
            for row in range(0, n_images, KERNEL_ROWS):  # small pieces, whose memory is reused instead of cleared each time
                values = to_tensor(self._Y[row : row + KERNEL_ROWS, part])
                pinned = buffer.is_cuda and not values.is_cuda  # six times as fast as from pageable memory
                block[row : row + KERNEL_ROWS] = values.pin_memory().to(self.device) if pinned else values
            yield part, block

    def _held_out_rows(self):
        """Draw the training images that get leave-one-out predictions."""
        rows = np.random.default_rng(0).choice(len(self._Y), min(len(self._Y), HELD_OUT_IMAGES), replace=False)
        return torch.as_tensor(np.sort(rows), device=self.device)

    def _centred_patterns(self, X):
        """Subtract the training mean from patterns, in the precision used for kernels."""
        return to_tensor(X, self.device, self._precision) - to_tensor(self._mean, self.device, self._precision)

    def _tensor(self, values):
        return to_tensor(values, self.device, torch.float64)


def _gram(X):
    """Compute X X' of (n_images, n_voxels) patterns in float64; the upper half is copied from the lower."""
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
    """Compute the mean squared leave-one-out error of every penalty: one eigendecomposition, then one matrix product each.

    Along an eigenvector of the kernel, the residual is alpha / (eigenvalue + alpha) of the targets. When there are more targets
    than images, the Gram matrix of the targets replaces them.
    """
    spectrum, vectors = torch.linalg.eigh(kernel)
    spectrum, wide, errors = spectrum.clamp(min=0), targets.shape[1] > len(targets), []
    rotated = vectors.T @ (targets @ targets.T) @ vectors if wide else vectors.T @ targets
    for alpha in alphas:
        shrinkage = alpha / (spectrum + alpha)
        scaled = vectors * shrinkage
        residuals = scaled @ rotated
        squares = (residuals * (scaled if wide else residuals)).sum(1)
        remaining = vectors.square() @ shrinkage - 1 / len(vectors)  # 1 - h, the intercept's leverage included
        errors.append((squares / remaining.square()).sum().item() / targets.numel())
    return np.array(errors)


def region_kernels(X_train: np.ndarray, X_test: np.ndarray, voxels=slice(None)) -> tuple[np.ndarray, np.ndarray]:
    """Compute kernels of centred patterns over some voxels. The kernels of all voxels minus these are those of the others.

    X_train and X_test are (n_images, n_voxels), and `voxels` is a (n_voxels,) bool mask. Returns (n_train, n_train) float64 for
    `Ridge.fit_kernel` and (n_test, n_train) float64 for `Ridge.predict_kernel`.
    """
    if getattr(voxels, "dtype", np.dtype(bool)).kind != "b":  # integers would be used as indices
        raise ValueError(f"voxels must be a (n_voxels,) bool array, got {voxels.dtype}")
    train, test = X_train[:, voxels], X_test[:, voxels]
    mean = train.mean(0, dtype=np.float64)
    train, test = train - mean, test - mean
    return train @ train.T, test @ train.T


def decode(X, Y, X_test, *, alphas, mode, device="cpu") -> np.ndarray:
    """Fit a ridge to X (n_images, n_voxels) and Y (n_images, n_targets), predict X_test (n_test, n_voxels), and rescale.

    Returns (n_test, n_targets) float32; `mode` is that of `rescale`.
    """
    decoder = Ridge(alphas, device=device).fit(X, Y)
    return rescale(decoder.predict(X_test), decoder, mode=mode)


def rescale(predicted: np.ndarray, decoder, *, mode: str) -> np.ndarray:
    """Undo the shrinkage of predictions, target by target: (n_images, n_targets) float32.

    Each target gets the mean and standard deviation of the training targets; a target with constant predictions gets the mean.

    Parameters
    ----------
    predicted : (n_images, n_targets) float32 array
        From a fitted decoder.
    decoder : Ridge or NeuralDecoder
        With `held_out` and `targets` (`Moments`).
    mode : str
        "none" returns the predictions unchanged. "train" standardises with the moments of held-out predictions of training
        images. "test" uses the moments of the given predictions, as Brain-Diffuser does: each result then depends on the other
        test images (transductive), and a single image cannot be decoded.
    """
    if mode not in ("none", "train", "test"):
        raise ValueError(f'mode must be "none", "train" or "test", got {mode!r}')
    if mode == "none":
        return predicted
    source = decoder.held_out if mode == "train" else Moments.of(predicted)
    varies = source.sd > 1e-6 * np.maximum(decoder.targets.sd, 1e-12)
    scale = np.divide(decoder.targets.sd, source.sd, out=np.zeros_like(source.sd), where=varies)
    return (predicted - source.mean) * scale + decoder.targets.mean
