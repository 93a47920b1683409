"""Brain decoders: from voxel patterns to VDVAE latents, four kinds behind one `fit` and `predict`.

The GRU is the paper's Table 1 to the parameter. An image is one time step, so its recurrent weights meet a zero state: it is
a gated feed-forward network. CNN and Transformer follow the paper's words (section 3.3.1), which leave their sizes open; ours
keep within a tenth of the GRU's number of parameters at the paper's sizes. Ridge is the linear baseline.
"""

import difflib

import numpy as np
import torch
from torch import Tensor, nn

from nsdlib import ridge, training
from nsdlib.ridge import Moments, check_pair, check_patterns

HIDDEN = 100  # units a direction of each bidirectional GRU
DROPOUT = 0.5


class BidirectionalGRU(nn.Module):
    """A bidirectional GRU over a sequence of one step, with layer normalisation: (n, n_in) -> (n, 200)."""

    def __init__(self, n_in: int):
        super().__init__()
        self.gru = nn.GRU(n_in, HIDDEN, batch_first=True, bidirectional=True)
        self.norm = nn.LayerNorm(2 * HIDDEN)

    def forward(self, x: Tensor) -> Tensor:
        """Run both directions over the one step."""
        return self.norm(self.gru(x.unsqueeze(1))[0]).squeeze(1)


class Head(nn.Sequential):
    """From 200 features to the latents, as the last five rows of Table 1."""

    def __init__(self, n_latents: int):
        width = 2 * HIDDEN
        super().__init__(
            nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(width, n_latents)
        )


class ConvolutionBlock(nn.Module):
    """Two 1-d convolutions over the 200 features, each with ReLU and max pooling: (n, 200) -> (n, 1200)."""

    n_out = 24 * 50

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(1, 12, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(12, 24, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Treat the features as a one-dimensional picture."""
        return self.layers(x.unsqueeze(1))


class SelfAttentionBlock(nn.Module):
    """Multi-head self-attention among five groups of forty features: (n, 200) -> (n, 200)."""

    n_out = 2 * HIDDEN

    def __init__(self):
        super().__init__()
        self.place = nn.Parameter(torch.zeros(1, 5, 40))
        self.layer = nn.TransformerEncoderLayer(40, 4, 160, dropout=0.1, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Let the groups look at each other."""
        return self.layer(x.unflatten(1, (5, 40)) + self.place).flatten(1)


def build_network(name: str, n_voxels: int, n_latents: int) -> nn.Module:
    """An untrained "gru" (12,400,344 parameters at the paper's 15,724 voxels and 13,344 latents), "cnn" or "transformer"."""
    if name == "gru":
        middle = [nn.Dropout(DROPOUT), BidirectionalGRU(2 * HIDDEN)]
    else:
        block = {"cnn": ConvolutionBlock, "transformer": SelfAttentionBlock}[name]()
        middle = [block, BidirectionalGRU(block.n_out)]
    return nn.Sequential(BidirectionalGRU(n_voxels), *middle, Head(n_latents))


class NeuralDecoder:
    """One of the three networks with the published training recipe.

    Parameters
    ----------
    name : "gru", "cnn" or "transformer".
    seed : fixes initial weights, the validation images, batches and dropout.
    max_epochs, batch_size : see `nsdlib.training`.

    Attributes
    ----------
    history : `training.History` of the first of the two fits.
    rows_validation, predicted_validation : the images that the first fit left out, (n_validation,), and what it predicted for
        them, (n_validation, n_latents).
    held_out, targets : `Moments` of the predictions of validation images, and of the training latents.
    """

    def __init__(self, name, *, seed=0, max_epochs=200, batch_size=64, device="cpu"):
        self.name, self.seed, self.max_epochs, self.batch_size = name, seed, max_epochs, batch_size
        self.device, self.n_voxels = torch.device(device), None

    def fit(self, X: np.ndarray, Y: np.ndarray) -> "NeuralDecoder":
        """Fit X (n_images, n_voxels) to Y (n_images, n_latents): once to find the schedule, then on all images."""
        check_pair(X, Y)
        if len(X) < 20:
            raise ValueError(f"a network needs at least 20 training images, two of them for validation, got {len(X)}")
        self.targets = Moments.of(Y)
        self._scale = float(Y.std(dtype=np.float64)) or 1.0
        x = torch.from_numpy(np.ascontiguousarray(X, dtype=np.float32)).to(self.device)
        y = torch.from_numpy((Y - self.targets.mean) / self._scale).to(self.device)
        settings = {"seed": self.seed, "batch_size": self.batch_size}
        rows_fit, self.rows_validation = training.split(len(X), seed=self.seed)
        self.history, network = training.search(
            lambda: self._new(X, Y),
            x,
            y,
            rows_fit,
            self.rows_validation,
            max_epochs=self.max_epochs,
            name=self.name,
            **settings,
        )
        self.predicted_validation = self._latents(network, x[self.rows_validation])
        self.held_out = Moments.of(self.predicted_validation)
        self.network = training.follow(self._new(X, Y), x, y, self.history.rates, name=self.name, **settings)
        self.n_voxels = X.shape[1]
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Latents of X (n_images, n_voxels): (n_images, n_latents) float32."""
        check_patterns(X, self.n_voxels)
        return self._latents(self.network, torch.from_numpy(np.ascontiguousarray(X, dtype=np.float32)).to(self.device))

    def _new(self, X, Y):
        """A network with seeded weights; the global random state is left alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return build_network(self.name, X.shape[1], Y.shape[1]).to(self.device)

    @torch.inference_mode()
    def _latents(self, network, x):
        return network.eval()(x).cpu().numpy() * self._scale + self.targets.mean


DECODERS = ("gru", "cnn", "transformer", "ridge")


def make(name, *, seed=0, max_epochs=200, batch_size=64, alphas=(50_000.0,), device="cpu"):
    """A decoder by name, with `fit(X, Y)`, `predict(X)`, `held_out` and `targets`.

    Raises
    ------
    ValueError
        For a name that is none of `DECODERS`; it tells the nearest.
    """
    if name not in DECODERS:
        near = difflib.get_close_matches(str(name), DECODERS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"no decoder {name!r}{hint} There are {', '.join(DECODERS)}.")
    if name == "ridge":
        return ridge.Ridge(alphas, device=device)
    return NeuralDecoder(name, seed=seed, max_epochs=max_epochs, batch_size=batch_size, device=device)


def count_parameters(name: str, n_voxels: int, n_latents: int) -> int:
    """Trained numbers of a decoder; a ridge has a weight for each voxel and latent, and an intercept a latent."""
    if name == "ridge":
        return (n_voxels + 1) * n_latents
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_network(name, n_voxels, n_latents).parameters())
