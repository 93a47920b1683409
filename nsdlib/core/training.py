"""Training of the neural decoders, with one of two recipes, on tensors that stay on the device.

Both recipes minimise the mean squared error with NAdam, learning rate 1e-3 and weight decay 5e-6. The rate is halved when the
validation error stops falling. Training ends after 12 epochs without a lower error, or after `max_epochs`. A new network is
then fitted to all images with the recorded rates. A `Recipe` holds what differs: "public_code" has the settings of the paper's
public code, "ours" those that this project chose before reading that code.
"""

from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from nsdlib.core.device import Captured

RATE, WEIGHT_DECAY = 1e-3, 5e-6
BETA1, BETA2, MOMENTUM_DECAY, EPSILON = 0.9, 0.999, 4e-3, 1e-8  # of NAdam, as in torch
PATIENCE_STOP = 12
VALIDATION_SHARE = 0.1


@dataclass(frozen=True)
class Recipe:
    """The settings in which the training recipes differ."""

    patience_rate: int  # epochs without a better error before the rate is halved
    threshold: float  # relative fall of the error that counts as better for the rate; early stopping counts any fall
    replays_all: bool  # whether the final fit uses all recorded rates, or only those up to the best epoch
    scales_targets: bool  # whether each target is centred and all are divided by one common standard deviation
    probability: float = 0.0  # of noise, and independently of a mask, for each pattern of each batch
    noise_sd: float = 0.0  # in units of a z-scored voxel
    longest_mask: int = 0  # largest number of adjacent voxels set to 0


RECIPES = {
    "ours": Recipe(patience_rate=6, threshold=0.0, replays_all=False, scales_targets=True),
    # github.com/LorenzoVeronese/GRU-Decoding_JNE, scripts/02_vdvae_regression_nn.py at commit 43a4f67. Its noise is meant for
    # betas but added to z-scores. Its mask length is drawn below 500, so at most 499. Its schedule is ReduceLROnPlateau(6).
    "public_code": Recipe(7, 1e-4, replays_all=True, scales_targets=False, probability=0.3, noise_sd=1.0, longest_mask=499),
}


@dataclass(frozen=True)
class History:
    """Errors and learning rates of `search`."""

    errors: tuple[float, ...]  # mean squared validation error after each epoch, in units of the (possibly scaled) targets
    rates: tuple[float, ...]  # learning rate of each epoch of the final fit

    @property
    def best_epoch(self) -> int:
        """The first epoch with the lowest error, counted from 1."""
        return int(np.nanargmin(self.errors)) + 1

    @property
    def finished(self) -> bool:
        """Whether training ended by early stopping rather than at `max_epochs`."""
        return len(self.errors) - self.best_epoch >= PATIENCE_STOP


def split(n_images: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the rows of training and of validation images: a tenth, at least two, for validation."""
    order = np.random.default_rng(seed).permutation(n_images)
    n_validation = max(2, round(VALIDATION_SHARE * n_images))
    return np.sort(order[n_validation:]), np.sort(order[:n_validation])


def search(
    new_network, x, y, rows_fit, rows_validation, *, max_epochs, seed, batch_size, name, recipe=RECIPES["ours"]
) -> tuple[History, nn.Module]:
    """Train with early stopping; return a `History` and the network of the best epoch.

    `new_network` makes an untrained network. x (n_images, n_voxels) and y (n_images, n_latents) are float32 tensors on its
    device; `rows_fit` and `rows_validation` are (n_rows,) int arrays. `name` is shown in the progress bar and messages. Raises
    ValueError when the validation error is finite in no epoch.
    """
    trainer = Trainer(new_network(), x[rows_fit], y[rows_fit], seed=seed, batch_size=batch_size, recipe=recipe)
    x_validation, y_validation = x[rows_validation], y[rows_validation]
    errors, rates, rate, best_state, best_epoch, lowest_error = [], [], RATE, None, 0, float("inf")
    reference_error, n_worse = float("inf"), 0  # these set the rate: see Recipe.threshold
    bar = tqdm(total=max_epochs, desc=f"{name}: finding the schedule", unit="epoch", mininterval=5)
    with seeded(seed), bar:
        for _ in range(max_epochs):
            trainer.run_epoch(rate)
            rates.append(rate)
            errors.append(_error(trainer.network, x_validation, y_validation))
            bar.update()
            if errors[-1] < lowest_error:  # never true of NaN
                best_state = {key: tensor.clone() for key, tensor in trainer.network.state_dict().items()}
                best_epoch, lowest_error = len(errors), errors[-1]
            elif len(errors) - best_epoch >= PATIENCE_STOP:
                break
            if errors[-1] < reference_error * (1 - recipe.threshold):
                reference_error, n_worse = errors[-1], 0
            else:
                n_worse += 1
            if n_worse == recipe.patience_rate:
                rate, n_worse = rate / 2, 0
    if best_state is None:
        raise ValueError(
            f"{name}: the validation error must be a finite number in at least one epoch, got {errors[-1]} in the last of "
            f"{len(errors)}; z-score X over the training images, and check X and Y for huge values."
        )
    trainer.network.load_state_dict(best_state)
    return History(tuple(errors), tuple(rates if recipe.replays_all else rates[:best_epoch])), trainer.network


def follow(network, x, y, rates, *, seed, batch_size, name, recipe=RECIPES["ours"]) -> nn.Module:
    """Train a network on all rows, one epoch per learning rate; the other arguments are those of `search`."""
    trainer = Trainer(network, x, y, seed=seed, batch_size=batch_size, recipe=recipe)
    with seeded(seed):
        for rate in tqdm(rates, desc=f"{name}: training on all images", unit="epoch", mininterval=5):
            trainer.run_epoch(rate)
    return network.eval()


@contextmanager
def seeded(seed):
    """Seed the global generator, which draws initial weights and dropout, and restore its state afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@contextmanager
def _tensor_float(device):
    """Allow TF32 (10-bit mantissa) in float32 matrix products on a GPU; the CPU is not affected."""
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if device.type == "cuda" else precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)


class Trainer:
    """A network, its optimiser and its training data: x (n_images, n_voxels) and y (n_images, n_latents) float32.

    The data are on the network's device. On a GPU, matrix products use TF32, and forward and backward passes are captured in one
    CUDA graph per batch size. `seed` sets the order of images and, on a CPU, the augmentation; all other random numbers come
    from the device's global generator.
    """

    def __init__(self, network, x: Tensor, y: Tensor, *, seed, batch_size, recipe=RECIPES["ours"]):
        self.network, self.x, self.batch_size = network, x, batch_size
        self.optimiser, self.generator = NAdam(network.parameters()), torch.Generator().manual_seed(seed)
        torch.empty(31 << 20, dtype=torch.uint8)  # freeing it makes glibc keep the gradients' memory between steps
        parameters, generator = self.optimiser.parameters, None if x.is_cuda else self.generator

        def gradients(rows):  # contiguous, as the optimiser requires; does not capture `self`, which would keep the trainer alive
            inputs = augmented(x[rows], recipe, generator) if recipe.probability else x[rows]
            loss = F.mse_loss(network(inputs), y[rows])
            return [part.contiguous() for part in torch.autograd.grad(loss, parameters, materialize_grads=True)]

        self._gradients, self._captured = gradients, {}  # one CUDA graph per batch size, because a graph has fixed shapes

    def run_epoch(self, rate: float):
        """Train one epoch, with images in random order; skip a last batch of one image, as batch normalisation needs two."""
        self.network.train()
        order = torch.randperm(len(self.x), generator=self.generator).to(self.x.device)
        with _tensor_float(self.x.device):
            for rows in order.split(self.batch_size):
                if len(rows) > 1:
                    gradients = self._captured.setdefault(len(rows), Captured(self._gradients))
                    self.optimiser.step(gradients(rows), rate)


class NAdam:
    """NAdam (Dozat 2016), with the published weight decay and `torch.optim.NAdam`'s other settings.

    A NAdam step is an Adam step with another momentum and rate, so torch's fused Adam does it in one pass over the weights.
    With gradient g, mean m = b1 m' + (1 - b1) g, and their weights c_m, c_g from Dozat's schedule,

        c_m m + c_g g  =  (c_m + c_g) (b m' + (1 - b) g),   b = b1 c_m / (c_m + c_g).

    Adam stores the mean for momentum b, and m is interpolated from it. torch.optim.NAdam takes 5 times as long on a CPU.
    """

    def __init__(self, parameters):
        self.parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self.n_steps, self.mu_product = 0, 1.0
        self._means, self._squares = ([torch.zeros_like(p) for p in self.parameters] for _ in range(2))
        self._step_counts = [p.new_tensor(1e9) for p in self.parameters]  # disable Adam's bias correction: we do it

    @torch.no_grad()
    def step(self, gradients, rate: float):
        """Update the parameters; overwrites the gradients."""
        self.n_steps += 1
        mu, mu_next = (BETA1 * (1 - 0.5 * 0.96 ** (n * MOMENTUM_DECAY)) for n in (self.n_steps, self.n_steps + 1))
        self.mu_product *= mu
        c_m, c_g = mu_next / (1 - self.mu_product * mu_next), (1 - mu) / (1 - self.mu_product)
        momentum, correction = BETA1 * c_m / (c_m + c_g), (1 - BETA2**self.n_steps) ** 0.5
        torch._foreach_add_(gradients, self.parameters, alpha=WEIGHT_DECAY)
        torch._fused_adam_(
            self.parameters, gradients, self._means, self._squares, [], self._step_counts, beta1=momentum, beta2=BETA2,
            lr=rate * (c_m + c_g) * correction, eps=EPSILON * correction, weight_decay=0.0, amsgrad=False, maximize=False,
        )  # fmt: skip
        torch._foreach_lerp_(self._means, gradients, 1 - BETA1 / momentum)


def augmented(x: Tensor, recipe: Recipe, generator: torch.Generator | None) -> Tensor:
    """Return a copy of patterns (n_images, n_voxels), with the recipe's noise added to some and its mask applied to some."""
    x, n_voxels, position = x.clone(), x.shape[1], torch.arange(x.shape[1], device=x.device)
    draws = torch.rand(4, len(x), 1, generator=generator, device=x.device)
    rows = slice(None) if x.is_cuda else (draws[:2] < recipe.probability).any(0).nonzero()[:, 0]  # a graph needs fixed shapes
    noisy, masked, start, length = draws[:, rows]
    noise = torch.randn(x[rows].shape, generator=generator, device=x.device)
    changed = torch.addcmul(x[rows], noisy < recipe.probability, noise, value=recipe.noise_sd)
    length = 1 + (min(recipe.longest_mask, n_voxels) * length).floor()
    start = ((n_voxels - length + 1) * start).floor()
    inside = (position >= start) & (position < start + length)
    x[rows] = changed.masked_fill(inside & (masked < recipe.probability), 0.0)
    return x


@torch.inference_mode()
def _error(network, x, y) -> float:
    """Return the mean squared error, without dropout, summed in float64."""
    return (network.eval()(x) - y).square().mean(dtype=torch.float64).item()
