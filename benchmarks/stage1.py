"""Speed of stage 1 at the paper's size: `python benchmarks/stage1.py [ridge] [gru] [vdvae]`, or smaller with `--quick`.

ridge: fits CLIP-vision's 257 x 768 features from 15,724 voxels of 8,859 images and predicts 982 images; the peer is
scikit-learn's ridge, token by token as in Brain-Diffuser (scaled from two tokens). gru: seconds per epoch of the paper's GRU; the
peer is the published loop. vdvae: images per second at the published size, with random weights. All data are simulated, because
speed does not depend on their values.
"""

import tempfile
from pathlib import Path

import numpy as np
import report
import torch
from threadpoolctl import threadpool_limits
from timing import compared, median, medians
from torch import nn
from torch.nn import functional as F

from nsdlib.core import networks, training, vdvae
from nsdlib.core.ridge import Ridge
from nsdlib.run.rates import product_rate

PAPER = {
    "n_train": 8859,
    "n_test": 982,
    "n_voxels": 15_724,
    "n_latents": 13_344,
    "n_tokens": 257,
    "n_pictures": 16,
    "n_layers": (15, 31),
}
QUICK = {"n_train": 200, "n_test": 20, "n_voxels": 300, "n_latents": 400, "n_tokens": 3, "n_pictures": 1, "n_layers": (15,)}
TOKEN, PENALTY, RANK = 768, 60_000.0, 200


def main():
    """Print the rows of each requested part."""
    parser = report.parser(__doc__, parts=PARTS)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    vars(options).update(QUICK if options.quick else PAPER)
    torch.set_num_threads(options.threads)
    with threadpool_limits(options.threads):
        report.show(report.of_parts(PARTS, options), options)


def patterns(n_images, n_voxels, seed):
    """Simulate z-scored patterns with a low-rank signal, and the hidden variables of this signal."""
    rng = np.random.default_rng(seed)
    basis = np.random.default_rng(0).standard_normal((RANK, n_voxels), dtype=np.float32)
    hidden = rng.standard_normal((n_images, RANK), dtype=np.float32)
    X = hidden @ basis / RANK**0.5 + 2 * rng.standard_normal((n_images, n_voxels), dtype=np.float32)
    return X / X.std(0), hidden


def measure_ridge(options):
    """Fit and predict all tokens from a half-precision file, compared with scikit-learn token by token."""
    import h5py
    from sklearn.linear_model import Ridge as Peer

    n_voxels, n_tokens = options.n_voxels, options.n_tokens
    (X, hidden), (X_test, _) = patterns(options.n_train, n_voxels, 1), patterns(options.n_test, n_voxels, 2)
    with tempfile.TemporaryDirectory() as folder:
        file = h5py.File(Path(folder) / "vision.hdf5", "w")
        targets = file.create_dataset("tokens", (len(X), n_tokens * TOKEN), np.float16, chunks=(min(512, len(X)), TOKEN))
        rng = np.random.default_rng(3)
        for token in range(n_tokens):
            part = hidden @ rng.standard_normal((RANK, TOKEN), dtype=np.float32) / RANK**0.5
            targets[:, token * TOKEN : (token + 1) * TOKEN] = part
        file.flush()
        fit = lambda: Ridge([PENALTY], device=options.device).fit(X, targets).predict(X_test)  # noqa: E731
        seconds, results = medians({"ours": fit}, torch.device(options.device))
        peak, peers, difference = report.peak_gb(options.device), [], 0.0
        for token in (0, n_tokens - 1):
            part = slice(token * TOKEN, (token + 1) * TOKEN)
            Y = np.asarray(targets[:, part], dtype=np.float32)
            fit = lambda Y=Y: Peer(alpha=PENALTY).fit(X.astype(np.float64), Y).predict(X_test)  # noqa: E731  double, as published
            peer_seconds, theirs = medians({"peer": fit}, torch.device("cpu"))
            peers.append(peer_seconds["peer"])
            largest = np.abs(theirs["peer"] - results["ours"][:, part]).max() / np.abs(theirs["peer"]).max()
            difference = max(difference, float(largest))
    peer = np.mean(peers, axis=0) * n_tokens
    case = f"ridge to {n_tokens} tokens; peer: scikit-learn, scaled from 2"
    yield compared(case, seconds["ours"], peer, agreement=difference, peak_gb=peak, device=options.device)


def measure_gru(options):
    """Measure seconds per epoch of Table 1's GRU on all images, in the published loop and in ours."""
    n_voxels, n_latents = options.n_voxels, options.n_latents
    x, hidden = patterns(options.n_train, n_voxels, 1)
    y = hidden @ np.random.default_rng(4).standard_normal((RANK, n_latents), dtype=np.float32) / RANK**0.5
    network = networks.build_network("gru", n_voxels, n_latents).to(options.device)
    x_on_device, y_on_device = (torch.from_numpy(array).to(options.device) for array in (x, y))
    trainer = training.Trainer(network, x_on_device, y_on_device, seed=0, batch_size=64, recipe=training.RECIPES["public_code"])
    trainer.run_epoch(training.RATE)  # on a GPU, the first epochs capture CUDA graphs
    trainer.run_epoch(training.RATE)
    device = torch.device(options.device)
    ours = median(lambda: trainer.run_epoch(training.RATE), device)
    peak, peer = report.peak_gb(device), median(PublishedLoop(x, y, options.device).run_epoch, device)
    products = 6 * len(x) * networks.count_parameters("gru", n_voxels, n_latents) / product_rate(device, torch.float32)
    columns = {"products alone, s": products, "of the product rate": products / ours[0]}
    case = f"GRU, an epoch of {len(x)} images; peer: the published loop"
    yield compared(case, ours, peer, peak_gb=peak, device=options.device, **columns)


class PublishedLoop:
    """An epoch with the structure of the paper's public code, `scripts/02_vdvae_regression_nn.py`.

    A data loader yields patterns in double precision. Samples are augmented one by one, by noise in units of betas and by a mask,
    and stacked again. The loop uses `nn.GRU` and torch's NAdam, and reads both errors after each batch.
    """

    def __init__(self, x, y, device):
        self.device, self.rng = device, np.random.default_rng(0)
        self.mean, self.sd = (torch.from_numpy(part(x, 0, np.float64)) for part in (np.mean, np.std))
        pairs = torch.utils.data.TensorDataset(torch.from_numpy(x.astype(np.float64)), torch.from_numpy(y))
        self.batches = torch.utils.data.DataLoader(pairs, batch_size=64, shuffle=True, drop_last=True)
        network = networks.build_network("gru", x.shape[1], y.shape[1])
        self.network = nn.Sequential(*map(_recurrent, network)).to(device).train()
        self.optimiser = torch.optim.NAdam(self.network.parameters(), lr=1e-3, weight_decay=5e-6)

    def run_epoch(self):
        """Train on all images once; return mean squared and mean absolute error, as the published loop reports them."""
        errors = np.zeros(2)
        for patterns, latents in self.batches:
            patterns = torch.stack([self._augmented(pattern) for pattern in patterns])
            patterns, latents = patterns.to(self.device), latents.to(self.device)
            self.optimiser.zero_grad()
            predicted = self.network(patterns.float())
            squared, absolute = F.mse_loss(predicted, latents), F.l1_loss(predicted, latents)
            squared.backward()
            self.optimiser.step()
            errors += [squared.item() * len(patterns), absolute.item() * len(patterns)]
        return errors / len(self.batches.dataset)

    def _augmented(self, pattern):
        if self.rng.random() < 0.3:
            noise = torch.from_numpy(self.rng.standard_normal(len(pattern)))
            pattern = ((pattern * self.sd + self.mean) + noise - self.mean) / self.sd
        if self.rng.random() < 0.3:
            length = self.rng.integers(1, max(2, len(pattern) // 30))
            start = self.rng.integers(len(pattern) - length)
            pattern[start : start + length] = 0
        return pattern


class _Recurrent(nn.Module):
    """A layer of the decoder as an `nn.GRU` over a sequence of one step."""

    def __init__(self, layer):
        super().__init__()
        self.gru, self.norm = nn.GRU(layer.gru.input_size, networks.HIDDEN, bidirectional=True), layer.norm

    def forward(self, x):
        return self.norm(self.gru(x.unsqueeze(0))[0]).squeeze(0)


def _recurrent(layer):
    return _Recurrent(layer) if isinstance(layer, networks.BidirectionalGRU) else layer


def measure_vdvae(options):
    """Measure images per second through the published topology with random weights."""
    torch.manual_seed(0)
    model = vdvae.VDVAE(vdvae.Hyperparameters()).eval().to(options.device)
    images = np.random.default_rng(0).integers(0, 256, (options.n_pictures, 64, 64, 3), dtype=np.uint8)
    for n_layers in options.n_layers:
        latents = model.encode(images, n_layers=n_layers)
        works = {"encoded": lambda n=n_layers: model.encode(images, n_layers=n), "decoded": lambda z=latents: model.decode(z)}
        for name, work in works.items():
            seconds = median(work, torch.device(options.device))[0]
            yield report.row(f"VDVAE, {n_layers} layers, {name}", len(images) / seconds, "images/s", device=options.device)


PARTS = {"ridge": measure_ridge, "gru": measure_gru, "vdvae": measure_vdvae}

if __name__ == "__main__":
    main()
