"""Six brain decoders from voxel patterns to VDVAE latents, all with `fit` and `predict`.

The GRU reproduces the paper's Table 1, with the same number of parameters. Each image is one time step, so the recurrent
weights multiply a zero state and the GRU is a gated feed-forward network. `gated_mlp` is that network without the recurrent
weights. `roi_gru` runs over a sequence of regions, from early visual cortex onwards. CNN and Transformer follow section 3.3.1
of the paper, which gives no sizes. At the paper's sizes, all networks have the GRU's number of parameters within 10 %. Ridge
is the linear baseline.
"""

import time
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from nsdlib.core import training
from nsdlib.core.device import check_finite
from nsdlib.core.files import check_name
from nsdlib.core.gru import HIDDEN, BidirectionalGRU, GatedLayer, PlainGRU
from nsdlib.core.ridge import Moments, Ridge, check_pair, check_patterns

DROPOUT = 0.5
REGION_WIDTH = 580  # features of each region in `roi_gru`, chosen to match the number of weights of the GRU
NETWORKS = ("gru", "gated_mlp", "roi_gru", "cnn", "transformer")
DECODERS = (*NETWORKS, "ridge")
SETTINGS = ("name", "seed", "max_epochs", "batch_size", "recipe", "width")  # attributes saved with a decoder


class RegionSequence(nn.Module):
    """A bidirectional GRU with one step per region, averaged over the steps: (n, n_voxels) -> (n, 200)."""

    def __init__(self, groups: np.ndarray):
        super().__init__()
        self.sizes = np.bincount(groups).tolist()
        self.register_buffer("order", torch.from_numpy(np.argsort(groups, kind="stable")), persistent=False)
        self.project = nn.ModuleList(nn.Linear(size, REGION_WIDTH) for size in self.sizes)
        self.gru = PlainGRU(REGION_WIDTH, HIDDEN)
        self.norm = nn.LayerNorm(2 * HIDDEN)

    def forward(self, x: Tensor) -> Tensor:
        """Run the GRU over the regions."""
        regions = x[:, self.order].split(self.sizes, dim=1)
        steps = [torch.tanh(project(region)) for project, region in zip(self.project, regions, strict=True)]
        return self.norm(self.gru(torch.stack(steps)).mean(0))


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
        """Convolve along the features."""
        return self.layers(x.unsqueeze(1))


class SelfAttentionBlock(nn.Module):
    """Multi-head self-attention between five groups of forty features: (n, 200) -> (n, 200)."""

    n_out = 2 * HIDDEN

    def __init__(self):
        super().__init__()
        self.place = nn.Parameter(torch.zeros(1, 5, 40))
        self.layer = nn.TransformerEncoderLayer(40, 4, 160, dropout=0.1, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Attend between the groups."""
        return self.layer(x.unflatten(1, (5, 40)) + self.place).flatten(1)


def build_network(name: str, n_voxels: int, n_latents: int, groups=None, *, width: int = HIDDEN) -> nn.Module:
    """Build an untrained network of `NETWORKS`; "gru" has 12,400,344 parameters at the paper's 15,724 voxels and 13,344 latents.

    `groups`, (n_voxels,) int, gives the region of each voxel for "roi_gru", numbered from 0 without gaps in the order of the
    steps; by default all voxels form one region. `width` is the number of units per direction of "gru"; the other networks have
    100. Raises ValueError for gaps in `groups`, and for another width of these networks.
    """
    if name != "gru" and width != HIDDEN:
        raise ValueError(f"only the network 'gru' accepts another width than {HIDDEN}, got {width} for {name!r}")
    if name == "gated_mlp":  # with the same initial weights as the GRU
        gru = build_network("gru", n_voxels, n_latents)
        return nn.Sequential(*(GatedLayer.from_gru(layer) if isinstance(layer, BidirectionalGRU) else layer for layer in gru))
    if name == "gru":
        layers = [BidirectionalGRU(n_voxels, width), nn.Dropout(DROPOUT), BidirectionalGRU(2 * width, width)]
    elif name == "roi_gru":
        groups = np.zeros(n_voxels, dtype=np.int64) if groups is None else np.asarray(groups)
        numbers = np.unique(groups)
        if numbers.tolist() != list(range(len(numbers))) or groups.shape != (n_voxels,):
            raise ValueError(f"groups must number the regions of {n_voxels} voxels from 0 without gaps, got {numbers}")
        layers = [RegionSequence(groups), nn.Dropout(DROPOUT), GatedLayer.from_gru(BidirectionalGRU(2 * HIDDEN))]
    else:
        block = {"cnn": ConvolutionBlock, "transformer": SelfAttentionBlock}[name]()
        layers = [BidirectionalGRU(n_voxels), block, BidirectionalGRU(block.n_out)]
    n = 2 * width  # the last five rows of Table 1
    head = nn.Sequential(nn.Linear(n, n), nn.BatchNorm1d(n), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(n, n_latents))
    return nn.Sequential(*layers, head)


def region_groups(in_region: np.ndarray) -> np.ndarray:
    """Return the region of each voxel, (n_voxels,) int64: the first region that contains it, or an extra last one.

    `in_region` is (n_regions, n_voxels) bool, with regions in the order of the steps. A region to which no voxel is assigned is
    omitted, so that the numbers run from 0 without gaps.
    """
    first = np.where(in_region.any(0), in_region.argmax(0), len(in_region))
    return np.unique(first, return_inverse=True)[1].astype(np.int64)


class NeuralDecoder:
    """A neural decoder, trained with one of two recipes.

    Parameters
    ----------
    name : str
        One of `NETWORKS`.
    seed : int
        Seed of the initial weights, validation split, batches and dropout.
    max_epochs, batch_size : int
        As in `training.search`.
    recipe : str
        One of `training.RECIPES`.
    width, groups : int, and (n_voxels,) int array, optional
        As in `build_network`.
    device : torch.device or str

    Attributes
    ----------
    history : training.History
        Errors and learning rates of the first fit.
    rows_validation, predicted_validation : (n_validation,) int and (n_validation, n_latents) float32 arrays
        The validation images of the first fit, and its predictions for them.
    held_out, targets : Moments
        Moments of those predictions, and of the training latents.
    scale : float
        Divisor of the training latents; 1 if the recipe does not scale them.
    seconds : float
        Duration of `fit`.
    """

    def __init__(self, name, *, seed=0, max_epochs=200, batch_size=64, recipe="ours", width=HIDDEN, groups=None, device="cpu"):
        if min(max_epochs, batch_size) < 1:
            raise ValueError(f"wanted at least one epoch and one image per batch, got {max_epochs=}, {batch_size=}")
        check_name("training recipe", recipe, training.RECIPES)
        self.name, self.seed, self.max_epochs, self.batch_size, self.recipe = name, seed, max_epochs, batch_size, recipe
        self.width, self.groups, self.device, self.n_voxels = width, groups, torch.device(device), None

    def fit(self, X: np.ndarray, Y: np.ndarray, *, validation=None) -> "NeuralDecoder":
        """Fit from X (n_images, n_voxels) to Y (n_images, n_latents): once to find the schedule, then again on all of X.

        The first fit stops early by the error on a random tenth of the images, or on `validation`, a pair (X, Y), if given.
        """
        pairs = [(X, Y)] if validation is None else [(X, Y), validation]
        _check_pairs(pairs)
        start, recipe, n_images = time.perf_counter(), training.RECIPES[self.recipe], len(X)
        self.targets, self.scale = Moments.of(Y), 1.0
        x, y = (torch.from_numpy(np.concatenate(parts, dtype=np.float32)) for parts in zip(*pairs, strict=True))
        if recipe.scales_targets:
            variance = np.square(self.targets.sd, dtype=np.float64).mean() + self.targets.mean.var(dtype=np.float64)
            self.scale = float(variance**0.5) or 1.0
            y.sub_(torch.from_numpy(self.targets.mean)).div_(self.scale)
        x, y = x.to(self.device), y.to(self.device)
        rows = training.split(n_images, seed=self.seed) if validation is None else np.split(np.arange(len(x)), [n_images])
        settings = {"seed": self.seed, "batch_size": self.batch_size, "recipe": recipe, "name": self.name}
        build = partial(self._build, *x.shape[1:], *y.shape[1:])
        self.history, network = training.search(build, x, y, *rows, max_epochs=self.max_epochs, **settings)
        self.rows_validation, self.predicted_validation = rows[1], self._latents(network, x[rows[1]])
        self.held_out = Moments.of(self.predicted_validation)
        self.network = training.follow(build(), x[:n_images], y[:n_images], self.history.rates, **settings)
        self.n_voxels, self.seconds = X.shape[1], time.perf_counter() - start
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predict the latents of X (n_images, n_voxels): (n_images, n_latents) float32."""
        check_patterns(X, self.n_voxels)
        return self._latents(self.network, torch.from_numpy(np.ascontiguousarray(X, dtype=np.float32)).to(self.device))

    def to_dataset(self):
        """Return the fitted decoder as an xarray.Dataset for `from_dataset`."""
        import xarray as xr

        arrays = {"errors": self.history.errors, "rates": self.history.rates, "seconds": self.seconds}
        arrays |= {name: getattr(self, name) for name in ("groups", "rows_validation", "predicted_validation")}
        for name in ("held_out", "targets"):
            arrays |= {f"{name}_{moment}": values for moment, values in vars(getattr(self, name)).items()}
        arrays |= {f"network.{key}": tensor.cpu().numpy() for key, tensor in self.network.state_dict().items()}
        arrays = {name: np.asarray(array) for name, array in arrays.items() if array is not None}
        variables = {name: ([f"{name}_{axis}" for axis in range(a.ndim)], a) for name, a in arrays.items()}
        return xr.Dataset(variables, attrs={name: getattr(self, name) for name in (*SETTINGS, "n_voxels", "scale")})

    @classmethod
    def from_dataset(cls, dataset) -> "NeuralDecoder":
        """Restore a fitted decoder, on the CPU."""
        attributes = {name: np.asarray(value).item() for name, value in dataset.attrs.items()}
        arrays = {name: array.values for name, array in dataset.items()}
        decoder = cls(**{name: attributes[name] for name in SETTINGS}, groups=arrays.get("groups"))
        decoder.n_voxels, decoder.scale = attributes["n_voxels"], attributes["scale"]
        decoder.seconds = float(arrays["seconds"])
        decoder.history = training.History(*(tuple(arrays[name].tolist()) for name in ("errors", "rates")))
        decoder.rows_validation = arrays["rows_validation"]
        decoder.predicted_validation = arrays["predicted_validation"]
        for name in ("held_out", "targets"):
            setattr(decoder, name, Moments(arrays[f"{name}_mean"], arrays[f"{name}_sd"]))
        state = {name.removeprefix("network."): array for name, array in arrays.items() if name.startswith("network.")}
        decoder.network = decoder._build(decoder.n_voxels, len(decoder.targets.mean))
        decoder.network.load_state_dict({key: torch.from_numpy(array) for key, array in state.items()})
        return decoder

    @property
    def n_bytes(self) -> int:
        """Bytes of the fitted network's weights; training holds four times as much, plus a copy of the best weights."""
        return sum(part.nbytes for part in self.network.state_dict().values())

    def _build(self, n_voxels, n_latents):
        """Build a network with seeded weights; the global random state does not change."""
        with training.seeded(self.seed):
            return build_network(self.name, n_voxels, n_latents, self.groups, width=self.width).to(self.device)

    @torch.inference_mode()
    def _latents(self, network, x):
        centre = self.targets.mean if training.RECIPES[self.recipe].scales_targets else 0.0
        return check_finite("predictions", network.eval()(x).cpu().numpy() * self.scale + centre)


def _check_pairs(pairs):
    """Raise ValueError unless the (X, Y) to fit, and the validation pair if given, are valid and have equal widths."""
    for (X, Y), prefix in zip(pairs, ("", "validation "), strict=False):
        check_pair(X, Y, prefix=prefix)
        check_finite(f"{prefix}Y", Y)
    n_images = len(pairs[0][0])
    if n_images < 20:
        raise ValueError(f"a network needs at least 20 training images, two of them for validation, got {n_images}")
    widths = [(X.shape[1], Y.shape[1]) for X, Y in pairs]
    if widths[-1] != widths[0]:
        raise ValueError(f"validation X and Y must have as many voxels and targets as X and Y, {widths[0]}, got {widths[1]}")


def make(name, *, alphas=(50_000.0,), device="cpu", **settings):
    """Return an unfitted decoder by name, with `fit(X, Y)`, `predict(X)`, `held_out` and `targets`.

    `alphas` are for `Ridge`, `settings` for `NeuralDecoder`. Raises ValueError for a name that is not one of `DECODERS`.
    """
    check_name("decoder", name, DECODERS)
    return Ridge(alphas, device=device) if name == "ridge" else NeuralDecoder(name, device=device, **settings)


def fit(name, X, Y, *, validation=None, **settings):
    """Fit a network by name, see `NeuralDecoder.fit`; `settings` as for `make`."""
    return make(name, **settings).fit(X, Y, validation=validation)


def count_parameters(name: str, n_voxels: int, n_latents: int, groups: np.ndarray | None = None) -> int:
    """Count the parameters of a decoder; a ridge has one weight per voxel and latent, and one intercept per latent."""
    if name == "ridge":
        return (n_voxels + 1) * n_latents
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_network(name, n_voxels, n_latents, groups).parameters())
