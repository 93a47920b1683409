"""Two decoders to a pooled vector: Mind Reader convolves along the list of voxels, Gu et al. over neighbours in the volume.

Only the brain decoders of both systems are implemented; their generators are GANs without an open counterpart.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from nsdlib.core.rivals.contrastive import bimixco
from nsdlib.core.rivals.decoder import Batches, Best, Residual, Rival, Steps, hold_out

COSINE_WEIGHT, CONTRAST_WEIGHT, TAU = 0.6, 0.5, 0.5  # Mind Reader's loss weights and temperature
CONTRAST_BATCH = 4  # batch size relative to that of the first loss: 128 for 32
DECAY, DECAY_AFTER = 0.8, 0.25  # factor of Mind Reader's learning rate after each quarter of a loss's epochs: 10 of 40
DROPOUT = 0.5


class _Mapper(Rival):
    """Training that keeps the weights with the lowest error on validation images."""

    def _fit_part(self, x, y, images, loss, error, *, optimiser, n_epochs, batch_size, schedule=None):
        """Train with `loss`, and keep the weights with the lowest `error` on validation images."""
        rows_fit, rows_validation = hold_out(images, self.validation, seed=self.seed)
        batches = Batches(images[rows_fit], batch_size, seed=self.seed)
        rows_validation = torch.from_numpy(rows_validation).to(x.device)
        network, best = self.network, Best(self.network)
        step = Steps(network, optimiser, lambda rows: loss(network(x[rows]), y[rows]))
        for _ in tqdm(range(n_epochs), desc=self.name, unit="epoch", mininterval=5):
            network.train()
            for rows in torch.from_numpy(rows_fit[batches.epoch()]).to(x.device):
                step(rows)
            if schedule:
                schedule.step()
            network.eval()
            with torch.no_grad():
                predicted = torch.cat([network(x[rows]) for rows in rows_validation.split(256)])
                best.note(error(predicted, y[rows_validation]))
        best.restore()


class LineNetwork(nn.Module):
    """Convolutions along the list of voxels, (n, n_voxels) to (n, n_targets); the result depends on the order of voxels."""

    def __init__(self, n_voxels: int, n_targets: int, *, width: int = 64, n_blocks: int = 4):
        super().__init__()

        def block():
            first, second = (nn.Conv1d(width, width, 3, padding=1) for _ in range(2))
            return nn.Sequential(Residual(first, nn.ReLU(), second, nn.ReLU(), nn.Conv1d(width, width, 1)), nn.ReLU())

        self.along = nn.Sequential(
            nn.Conv1d(1, width, 4, stride=2, padding=1), nn.ReLU(),
            *(block() for _ in range(n_blocks)), nn.Conv1d(width, n_targets, 1), nn.ReLU(),
        )  # fmt: skip
        self.across = nn.Sequential(nn.Linear(n_voxels // 2, 128), nn.ReLU(), nn.Linear(128, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, then combine list positions with the same weights for all targets."""
        return self.across(self.along(x.unsqueeze(1))).squeeze(-1)


@dataclass(kw_only=True, eq=False)
class MindReader(_Mapper):
    """Mind Reader's mapper (Lin et al. 2022), trained with `similarity_loss`, then with `contrastive_loss` and larger batches.

    Each loss gets half of the epochs. The published 40 epochs over all single trials equal 120 epochs over images.
    """

    name = "mindreader"
    width: int = 64  # channels
    n_blocks: int = 4
    n_epochs: int = 240
    rate: float = 2e-4
    validation: float = 0.15  # fraction of the training images

    def _build(self, n_voxels, n_targets):
        return LineNetwork(n_voxels, n_targets, width=self.width, n_blocks=self.n_blocks)

    def _train(self, x, y, images):
        """Train with the two losses in turn; `similarity_loss` on validation images selects the weights."""
        first = self.n_epochs // 2
        second = self.n_epochs - first
        parts = (similarity_loss, first, self.batch_size), (contrastive_loss, second, CONTRAST_BATCH * self.batch_size)
        for loss, n_epochs, batch_size in parts:
            optimiser = torch.optim.Adam(self.network.parameters(), lr=self.rate, weight_decay=1e-5, fused=True)
            schedule = torch.optim.lr_scheduler.StepLR(optimiser, max(1, round(DECAY_AFTER * n_epochs)), DECAY)
            sizes = {"n_epochs": n_epochs, "batch_size": batch_size}
            self._fit_part(x, y, images, loss, similarity_loss, optimiser=optimiser, schedule=schedule, **sizes)


def similarity_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """Return 0.4 times the mean squared error plus 0.6 times (1 - mean cosine) of two (n, n_targets)."""
    cosine = F.cosine_similarity(predicted, true).mean()
    return (1 - COSINE_WEIGHT) * F.mse_loss(predicted, true) + COSINE_WEIGHT * (1 - cosine)


def contrastive_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """Return the mean of `similarity_loss` and of InfoNCE in both directions with temperature 0.5, for two (n, n_targets)."""
    rows = torch.arange(len(true), device=true.device)
    info = bimixco(predicted, true, torch.ones_like(rows), rows, tau=TAU)
    return (1 - CONTRAST_WEIGHT) * similarity_loss(predicted, true) + CONTRAST_WEIGHT * info


class VolumeConvolution(nn.Module):
    """Linear layer on a voxel, its Laplacian and its three differences: (n_voxels, n, n_in) -> (n_voxels, n, n_out).

    The Laplacian is the mean of those of the six neighbours that are in the mask, minus the voxel. Differences are central, along
    each axis; neighbours outside the mask are replaced by the voxel. The published surface convolution has two differences.
    """

    def __init__(self, places: np.ndarray, n_in: int, n_out: int):
        super().__init__()
        row = {tuple(place): number for number, place in enumerate(places.tolist())}
        steps = np.kron(np.eye(3, dtype=int), [[1], [-1]])  # two opposite directions per axis
        table = np.array([[row.get(tuple(place), -1) for place in (places + step).tolist()] for step in steps])
        n_neighbours = (table >= 0).sum(0).clip(min=1)[:, None, None]
        self.register_buffer("table", torch.from_numpy(np.where(table < 0, np.arange(len(places)), table)))
        self.register_buffer("n_neighbours", torch.from_numpy(n_neighbours))
        self.weigh = nn.Linear(5 * n_in, n_out)

    def forward(self, x: Tensor) -> Tensor:
        """Concatenate the five and apply the linear layer."""
        around = x[self.table]  # (6, n_voxels, n, n_in)
        laplacian = (around - x).sum(0) / self.n_neighbours
        differences = (around[::2] - around[1::2]) / 2
        return self.weigh(torch.cat([x, laplacian, *differences], dim=-1))


class VolumePool(nn.Module):
    """Max pooling over 2 x 2 x 2 voxels, (n_voxels, n, n_in) -> (n_blocks, n, n_in); `self.places` are the blocks' positions."""

    def __init__(self, places: np.ndarray):
        super().__init__()
        self.places, block = np.unique(places // 2, axis=0, return_inverse=True)
        block = block.reshape(-1)
        order = np.argsort(block, kind="stable")
        within = np.arange(len(block)) - np.searchsorted(block[order], block[order])
        table = np.full((len(self.places), 8), len(block))  # index of the padding unless filled
        table[block[order], within] = order
        self.register_buffer("table", torch.from_numpy(table))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the maximum of each block."""
        padded = F.pad(x, (0, 0, 0, 0, 0, 1), value=-torch.inf)
        return padded.index_select(0, self.table.flatten()).unflatten(0, self.table.shape).amax(1)


class Norm(nn.BatchNorm1d):
    """Batch normalisation over voxels and patterns of (n_voxels, n, n_in)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each channel."""
        return super().forward(x.flatten(0, 1)).view_as(x)


class Down(nn.Module):
    """A residual block with downsampling, (n_voxels, n, n_in) -> (n_blocks, n, n_out)."""

    def __init__(self, pool: VolumePool, n_in: int, n_out: int):
        super().__init__()
        self.main = nn.Sequential(
            nn.Linear(n_in, n_in), Norm(n_in), nn.ReLU(), pool, VolumeConvolution(pool.places, n_in, n_in), Norm(n_in), nn.ReLU(),
            nn.Linear(n_in, n_out), Norm(n_out),
        )  # fmt: skip
        self.skip = nn.Sequential(nn.Linear(n_in, n_out), pool, Norm(n_out))

    def forward(self, x: Tensor) -> Tensor:
        """Add the main and the skip path."""
        return F.relu(self.main(x) + self.skip(x))


class VolumeNetwork(nn.Module):
    """Convolutions over neighbours with repeated downsampling, averaged over voxels: (n, n_voxels) to (n, n_targets).

    All outputs have norm `length`. The last ReLU of the published network, meant for nonnegative features, is omitted.
    """

    def __init__(self, places: np.ndarray, n_targets: int, *, widths):
        super().__init__()
        layers = [VolumeConvolution(places, 1, widths[0]), Norm(widths[0]), nn.ReLU()]
        for n_in, n_out in pairwise(widths):
            pool = VolumePool(places)
            layers, places = [*layers, Down(pool, n_in, n_out)], pool.places
        self.trunk, self.length = nn.Sequential(*layers), 1.0  # set by training
        self.head = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(widths[-1], n_targets), nn.BatchNorm1d(n_targets))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, average over the remaining voxels, and scale to `length`."""
        return F.normalize(self.head(self.trunk(x.T.unsqueeze(-1)).mean(0))) * self.length


@dataclass(kw_only=True, eq=False)
class VolumeMapper(_Mapper):
    """The decoder of Gu et al. 2023, on voxels instead of the surface; state this difference wherever results are shown.

    Outputs have the mean norm of the training targets. The mean over voxels discards positions, so information that is not
    shared by neighbours is lost.
    """

    name = "gu"
    places: np.ndarray  # (n_voxels, 3) int, the positions of the voxels
    widths: tuple[int, ...] = (32, 128, 512, 2048)
    n_epochs: int = 100
    rate: float = 1e-3
    weight_decay: float = 0.1
    validation: float = 1 / 18  # fraction of the training images: 500 of 9,000

    def _build(self, n_voxels, n_targets):
        places = np.asarray(self.places)
        if places.shape != (n_voxels, 3) or places.dtype.kind not in "iu" or len(np.unique(places, axis=0)) < n_voxels:
            raise ValueError(f"places must be {n_voxels} different positions of 3 integers, got {places.shape} {places.dtype}")
        return VolumeNetwork(places.astype(np.int64), n_targets, widths=tuple(self.widths))

    def _train(self, x, y, images):
        """Train with the mean squared error."""
        self.network.length = float(y.norm(dim=1).mean())
        parameters = self.network.parameters()
        optimiser = torch.optim.AdamW(parameters, lr=self.rate, weight_decay=self.weight_decay, fused=True)
        settings = {"optimiser": optimiser, "n_epochs": self.n_epochs, "batch_size": self.batch_size}
        self._fit_part(x, y, images, F.mse_loss, F.mse_loss, **settings)
