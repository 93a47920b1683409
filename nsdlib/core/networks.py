"""Brain decoders: from voxel patterns to VDVAE latents, six kinds behind one `fit` and `predict`.

The GRU is the paper's Table 1 to the parameter. An image is one time step, so its recurrent weights meet a zero state: it is
a gated feed-forward network, which `gated_mlp` is without those weights. `roi_gru` has a sequence: the voxels' regions, from
early visual cortex onwards. CNN and Transformer follow the paper's words (section 3.3.1), which leave their sizes open; all
networks keep within a tenth of the GRU's number of parameters at the paper's sizes. Ridge is the linear baseline.
"""

import difflib
import time

import numpy as np
import torch
from torch import Tensor, nn

from nsdlib.core import ridge, training
from nsdlib.core.ridge import Moments, check_finite, check_pair, check_patterns

HIDDEN = 100  # units a direction of each bidirectional GRU
DROPOUT = 0.5
REGION_WIDTH = 580  # numbers that `roi_gru` makes of each region: as many weights as the GRU has for its voxels


class BidirectionalGRU(nn.Module):
    """A bidirectional GRU over a sequence of one step, with layer normalisation: (n, n_in) -> (n, 200)."""

    def __init__(self, n_in: int):
        super().__init__()
        self.gru = nn.GRU(n_in, HIDDEN, batch_first=True, bidirectional=True)
        self.norm = nn.LayerNorm(2 * HIDDEN)

    def forward(self, x: Tensor) -> Tensor:
        """Run both directions over the one step."""
        return self.norm(self.gru(x.unsqueeze(1))[0]).squeeze(1)


class GatedLayer(nn.Module):
    """What a bidirectional GRU computes in one step from a zero state, with layer normalisation: (n, n_in) -> (n, 200).

    `from_gru` takes over a GRU's weights; the outputs are then the same.
    """

    def __init__(self, n_in: int):
        super().__init__()
        self.gates = nn.Linear(n_in, 6 * HIDDEN)  # reset, update and candidate, of both directions
        self.candidate_bias = nn.Parameter(torch.empty(2 * HIDDEN).uniform_(-(HIDDEN**-0.5), HIDDEN**-0.5))
        self.norm = nn.LayerNorm(2 * HIDDEN)

    def forward(self, x: Tensor) -> Tensor:
        """Gate the candidate."""
        reset, update, candidate = self.gates(x).chunk(3, dim=1)
        return self.norm((1 - update.sigmoid()) * torch.tanh(candidate + reset.sigmoid() * self.candidate_bias))

    @classmethod
    def from_gru(cls, layer: BidirectionalGRU) -> "GatedLayer":
        """The same function as that layer, without its recurrent weights."""
        own, gru = cls(layer.gru.input_size), layer.gru
        with torch.no_grad():
            weights, biases = [], []
            for gate in range(3):
                part = slice(gate * HIDDEN, (gate + 1) * HIDDEN)
                for end in ("", "_reverse"):
                    weights.append(getattr(gru, f"weight_ih_l0{end}")[part])
                    recurrent = getattr(gru, f"bias_hh_l0{end}")[part]
                    biases.append(getattr(gru, f"bias_ih_l0{end}")[part] + (recurrent if gate < 2 else 0))
            own.gates.weight.copy_(torch.cat(weights))
            own.gates.bias.copy_(torch.cat(biases))
            own.candidate_bias.copy_(torch.cat([gru.bias_hh_l0[2 * HIDDEN :], gru.bias_hh_l0_reverse[2 * HIDDEN :]]))
            own.norm.load_state_dict(layer.norm.state_dict())
        return own


class RegionSequence(nn.Module):
    """A bidirectional GRU over regions, one step each, and the mean over the steps: (n, n_voxels) -> (n, 200)."""

    def __init__(self, groups: np.ndarray):
        super().__init__()
        for number in range(groups.max() + 1):
            self.register_buffer(
                f"voxels_{number}", torch.from_numpy(np.flatnonzero(groups == number)), persistent=False
            )
        sizes = np.bincount(groups)
        self.project = nn.ModuleList(nn.Linear(int(size), REGION_WIDTH) for size in sizes if size)
        self.gru = nn.GRU(REGION_WIDTH, HIDDEN, batch_first=True, bidirectional=True)
        self.norm = nn.LayerNorm(2 * HIDDEN)

    def forward(self, x: Tensor) -> Tensor:
        """Walk through the regions."""
        voxels = [self.get_buffer(f"voxels_{number}") for number in range(len(self.project))]
        steps = [torch.tanh(project(x[:, own])) for project, own in zip(self.project, voxels, strict=True)]
        return self.norm(self.gru(torch.stack(steps, dim=1))[0].mean(1))


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


def build_network(name: str, n_voxels: int, n_latents: int, groups: np.ndarray | None = None) -> nn.Module:
    """An untrained network.

    Parameters
    ----------
    name : "gru" (12,400,344 parameters at the paper's 15,724 voxels and 13,344 latents), "gated_mlp", "roi_gru", "cnn" or
        "transformer".
    groups : (n_voxels,) int, the region of each voxel for "roi_gru", numbered from 0 without gaps in the order of the steps;
        all voxels are one region when not given.
    """
    if name == "gated_mlp":  # from the same start as the GRU
        gru = build_network("gru", n_voxels, n_latents)
        return nn.Sequential(*(GatedLayer.from_gru(one) if isinstance(one, BidirectionalGRU) else one for one in gru))
    if name == "gru":
        layers = [BidirectionalGRU(n_voxels), nn.Dropout(DROPOUT), BidirectionalGRU(2 * HIDDEN)]
    elif name == "roi_gru":
        groups = np.zeros(n_voxels, dtype=np.int64) if groups is None else groups
        layers = [RegionSequence(groups), nn.Dropout(DROPOUT), GatedLayer.from_gru(BidirectionalGRU(2 * HIDDEN))]
    else:
        block = {"cnn": ConvolutionBlock, "transformer": SelfAttentionBlock}[name]()
        layers = [BidirectionalGRU(n_voxels), block, BidirectionalGRU(block.n_out)]
    return nn.Sequential(*layers, Head(n_latents))


def region_groups(in_region: np.ndarray) -> np.ndarray:
    """The region of each voxel: the first that holds it, or one more for voxels in none.

    Parameters
    ----------
    in_region : (n_regions, n_voxels) bool, in the order of the steps.

    Returns
    -------
    (n_voxels,) int64, numbered from 0 without gaps: regions without a voxel of their own are left out.
    """
    first = np.where(in_region.any(0), in_region.argmax(0), len(in_region))
    return np.unique(first, return_inverse=True)[1].astype(np.int64)


class NeuralDecoder:
    """One of the networks with the published training recipe.

    Parameters
    ----------
    name : any of `NETWORKS`.
    seed : fixes initial weights, the validation images, batches and dropout.
    max_epochs, batch_size, augment : see `nsdlib.core.training`.
    groups : see `build_network`.

    Attributes
    ----------
    history : `training.History` of the first of the two fits.
    rows_validation, predicted_validation : the images that the first fit left out, (n_validation,), and what it predicted for
        them, (n_validation, n_latents).
    held_out, targets : `Moments` of the predictions of validation images, and of the training latents.
    seconds : what `fit` took.
    """

    def __init__(self, name, *, seed=0, max_epochs=200, batch_size=64, augment=0.0, groups=None, device="cpu"):
        self.name, self.seed, self.max_epochs, self.batch_size = name, seed, max_epochs, batch_size
        self.augment, self.groups, self.device, self.n_voxels = augment, groups, torch.device(device), None

    def fit(self, X: np.ndarray, Y: np.ndarray) -> "NeuralDecoder":
        """Fit X (n_images, n_voxels) to Y (n_images, n_latents): once to find the schedule, then on all images."""
        check_pair(X, Y)
        check_finite("Y", Y)
        if len(X) < 20:
            raise ValueError(f"a network needs at least 20 training images, two of them for validation, got {len(X)}")
        start = time.perf_counter()
        self.targets = Moments.of(Y)
        self._scale = float(Y.std(dtype=np.float64)) or 1.0
        x = torch.from_numpy(np.ascontiguousarray(X, dtype=np.float32)).to(self.device)
        y = torch.from_numpy((Y - self.targets.mean) / self._scale).to(self.device)
        settings = {"seed": self.seed, "batch_size": self.batch_size, "augment": self.augment}
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
        self.n_voxels, self.seconds = X.shape[1], time.perf_counter() - start
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Latents of X (n_images, n_voxels): (n_images, n_latents) float32."""
        check_patterns(X, self.n_voxels)
        return self._latents(self.network, torch.from_numpy(np.ascontiguousarray(X, dtype=np.float32)).to(self.device))

    def to_dataset(self):
        """All that a fitted decoder is, as an xarray.Dataset that `from_dataset` takes."""
        import xarray as xr

        arrays = {"errors": self.history.errors, "rates": self.history.rates, "seconds": self.seconds}
        arrays |= {name: getattr(self, name) for name in ("groups", "rows_validation", "predicted_validation")}
        for name in ("held_out", "targets"):
            arrays |= {f"{name}_{part}": getattr(getattr(self, name), part) for part in ("mean", "sd")}
        arrays |= {f"network.{key}": tensor.cpu().numpy() for key, tensor in self.network.state_dict().items()}
        arrays = {name: np.asarray(array) for name, array in arrays.items() if array is not None}
        variables = {name: ([f"{name}_{axis}" for axis in range(a.ndim)], a) for name, a in arrays.items()}
        numbers = ("name", "seed", "max_epochs", "batch_size", "augment", "n_voxels", "_scale")
        return xr.Dataset(variables, attrs={name: getattr(self, name) for name in numbers})

    @classmethod
    def from_dataset(cls, dataset) -> "NeuralDecoder":
        """The fitted decoder again; it predicts on the CPU."""
        numbers = {
            key: value.item() if isinstance(value, np.generic) else value for key, value in dataset.attrs.items()
        }
        arrays = {name: array.values for name, array in dataset.items()}
        settings = {name: numbers[name] for name in ("seed", "max_epochs", "batch_size", "augment")}
        one = cls(numbers["name"], groups=arrays.get("groups"), **settings)
        one.n_voxels, one._scale, one.seconds = numbers["n_voxels"], numbers["_scale"], float(arrays["seconds"])
        one.history = training.History(*(tuple(arrays[name].tolist()) for name in ("errors", "rates")))
        one.rows_validation, one.predicted_validation = arrays["rows_validation"], arrays["predicted_validation"]
        one.held_out, one.targets = (
            Moments(arrays[f"{of}_mean"], arrays[f"{of}_sd"]) for of in ("held_out", "targets")
        )
        state = {name.removeprefix("network."): array for name, array in arrays.items() if name.startswith("network.")}
        with torch.random.fork_rng(devices=[]):  # its first weights are drawn for nothing
            one.network = build_network(one.name, one.n_voxels, len(one.targets.mean), one.groups)
        one.network.load_state_dict({key: torch.from_numpy(array) for key, array in state.items()})
        return one

    @property
    def n_bytes(self) -> int:
        """What a fitted network holds to predict: its weights. While it is trained, four times as much, and the best copy."""
        return sum(part.nbytes for part in self.network.state_dict().values())

    def _new(self, X, Y):
        """A network with seeded weights; the global random state is left alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return build_network(self.name, X.shape[1], Y.shape[1], self.groups).to(self.device)

    @torch.inference_mode()
    def _latents(self, network, x):
        return network.eval()(x).cpu().numpy() * self._scale + self.targets.mean


NETWORKS = ("gru", "gated_mlp", "roi_gru", "cnn", "transformer")
DECODERS = (*NETWORKS, "ridge")


def make(name, *, seed=0, max_epochs=200, batch_size=64, augment=0.0, groups=None, alphas=(50_000.0,), device="cpu"):
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
    settings = {"max_epochs": max_epochs, "batch_size": batch_size, "augment": augment, "groups": groups}
    return NeuralDecoder(name, seed=seed, device=device, **settings)


def fit(name, X, Y, **settings):
    """A decoder by name, fitted to X (n_images, n_voxels) and Y (n_images, n_latents); `settings` as for `make`."""
    return make(name, **settings).fit(X, Y)


def count_parameters(name: str, n_voxels: int, n_latents: int, groups: np.ndarray | None = None) -> int:
    """Trained numbers of a decoder; a ridge has a weight for each voxel and latent, and an intercept a latent.

    `groups` (n_voxels,) int is for "roi_gru", as in `build_network`.
    """
    if name == "ridge":
        return (n_voxels + 1) * n_latents
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_network(name, n_voxels, n_latents, groups).parameters())
