"""MindEye (Scotti et al. 2023): a residual network, a contrastive projector and a diffusion prior, trained together.

A backbone maps the pattern to tokens. A projector of these tokens is trained with contrastive losses, first BiMixCo on mixed
patterns, then SoftCLIP. A diffusion prior conditioned on the backbone's tokens learns to sample the image's tokens. With
`residual=False` the backbone is linear, as in MindEye2's public code, whose mixer has no effect on a sequence of length one. As
in MindEye2 (Scotti et al. 2024), all but the first layer can be pretrained on other subjects.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from nsdlib.core import training
from nsdlib.core.device import check_finite, to_tensor
from nsdlib.core.random import generators
from nsdlib.core.rivals.contrastive import bimixco, mix, soft_clip
from nsdlib.core.rivals.decoder import Batches, Residual, Rival, Steps
from nsdlib.core.rivals.prior import Prior

MIXED_SHARE = 0.33  # fraction of the epochs with BiMixCo; the others use SoftCLIP
MIXED_PROBABILITY, BETA = 0.5, 0.15  # probability of mixing a pattern; both parameters of the beta distribution of shares
TAU, SOFT_TAUS = 0.006, (0.004, 0.0075)
WARM_UP = 2 / 240  # fraction of the steps
WEIGHT_DECAY = 1e-2


class Network(nn.Module):
    """Backbone, projector and prior: patterns (n, n_voxels) to tokens (n, n_tokens, n_features).

    Each other subject, with its number of voxels in `others`, has its own first layer.
    """

    def __init__(self, n_voxels: int, n_tokens: int, settings: "MindEye", others=()):
        super().__init__()
        n_features, width, wide = settings.n_features, settings.width, settings.projector_width
        layers = [nn.Linear(n_voxels, width)]
        if settings.residual:
            layers += [nn.LayerNorm(width), nn.GELU(), nn.Dropout(0.5)]
            for _ in range(settings.n_blocks):
                layers.append(Residual(nn.Linear(width, width), nn.LayerNorm(width), nn.GELU(), nn.Dropout(0.15)))
        layers += [nn.Linear(width, n_tokens * n_features), nn.Unflatten(1, (n_tokens, n_features))]
        self.backbone = nn.Sequential(*layers)
        self.projector = nn.Sequential(
            nn.LayerNorm(n_features), nn.GELU(), nn.Linear(n_features, wide), nn.LayerNorm(wide), nn.GELU(),
            nn.Linear(wide, wide), nn.LayerNorm(wide), nn.GELU(), nn.Linear(wide, n_features),
        )  # fmt: skip
        sizes = {"depth": settings.depth, "n_heads": settings.n_heads, "n_times": settings.n_times}
        self.prior = Prior(n_tokens, n_features, **sizes) if settings.prior else None
        self.others = nn.ModuleList(nn.Linear(n, width) for n in others)

    def tokens(self, patterns) -> Tensor:
        """Map each subject's patterns (n, n_voxels) to tokens (n, n_tokens, n_features), concatenated over subjects."""
        layers = (self.backbone[0], *self.others)
        return self.backbone[1:](torch.cat([layer(x) for layer, x in zip(layers, patterns, strict=True)]))


@dataclass(kw_only=True, eq=False)
class MindEye(Rival):
    """MindEye's high-level decoder; `predict` samples from the prior, `retrieve` returns the projector's tokens.

    A sample is one of the images compatible with the pattern, not their mean, so its squared error is twice that of the mean.
    """

    name = "mindeye"
    pretrained = None  # a network pretrained on other subjects
    residual: bool = True  # False: MindEye2's public code
    prior: bool = True  # False: `predict` returns the projector's tokens, scaled to the mean norm of training tokens
    mixing: bool = True  # whether patterns are mixed in the first third of the epochs
    width: int = 4096
    n_blocks: int = 4
    projector_width: int = 2048
    depth: int = 6  # of the prior's transformer
    n_heads: int = 12
    n_times: int = 100
    n_steps: int | None = None  # sampling steps of DDIM (MindEye2: 20); None: all steps of DDPM
    n_epochs: int = 240
    rate: float = 3e-4  # maximum of the one-cycle schedule
    prior_weight: float = 30.0

    def fit(self, X: np.ndarray, Y: np.ndarray, *, images=None, others=()) -> "MindEye":
        """Train as in `Rival.fit`, after pretraining on other subjects, if given, for as many epochs.

        Pretraining covers all but the first layer. `others` holds (X, Y, images) of each subject: its own voxels, the same tokens
        with one row of Y per image, and each pattern's row of Y, `images` (n_rows,). Each batch contains all other subjects.
        """
        if others:
            self._pretrain(others)
        return super().fit(X, Y, images=images)

    def _pretrain(self, others):
        """Train a network on other subjects, whose arrays are on the device meanwhile."""
        for patterns, tokens, rows in others:
            self._check(patterns, np.broadcast_to(tokens[:1], (len(rows), tokens.shape[1])), rows)
            check_finite("Y", tokens)
        dtypes = (torch.float32, torch.float32, torch.int64)
        subjects = [[to_tensor(v, self.device, dtype) for v, dtype in zip(arrays, dtypes, strict=True)] for arrays in others]
        with training.seeded(self.seed):
            n_voxels, *n_voxels_others = (x.shape[1] for x, *_ in subjects)
            self.pretrained = Network(n_voxels, subjects[0][1].shape[1] // self.n_features, self, n_voxels_others).to(self.device)
            self._train_network(self.pretrained, subjects, [rows for *_, rows in others])

    def predict(self, X: np.ndarray, *, image_ids=None) -> np.ndarray:
        """Predict the tokens of X (n_rows, n_voxels): (n_rows, n_tokens n_features) float32.

        The prior's noise depends on the seed and on `image_ids` (n_rows,), by default the row numbers. ValueError before a fit.
        """
        if not self.prior:
            return self.retrieve(X) * self.length
        return self._apply(self._sample, X, generators(self.seed, range(len(X)) if image_ids is None else image_ids))

    def retrieve(self, X: np.ndarray) -> np.ndarray:
        """Return the projector's tokens, for image retrieval: (n_rows, n_tokens n_features) float32, rows of norm 1."""
        return self._apply(self._project, X)

    def _build(self, n_voxels, n_targets):
        network = Network(n_voxels, n_targets // self.n_features, self)
        if self.pretrained:
            network.backbone = nn.Sequential(network.backbone[0], *self.pretrained.backbone[1:])
            network.projector, network.prior = self.pretrained.projector, self.pretrained.prior
            self.pretrained = None
        return network

    def _sample(self, x, row_generators):
        return self.network.prior.sample(self.network.backbone(x), row_generators, n_steps=self.n_steps)

    def _project(self, x):
        return nn.functional.normalize(self.network.projector(self.network.backbone(x)).flatten(1))

    def _train(self, x, y, images):
        self.length = float(y.norm(dim=1).mean())
        self._train_network(self.network, [(x, y, torch.arange(len(x), device=x.device))], [images])

    def _train_network(self, network, subjects, images):
        """Train with the two losses in turn; `subjects` are (patterns, tokens, row of tokens of each pattern)."""
        size = min(max(self.batch_size // len(subjects), 2), *(numbers.max() + 1 for numbers in images))
        batches = [Batches(numbers, size, seed=self.seed + i) for i, numbers in enumerate(images)]
        n_steps, n_mixed = min(one.n_steps for one in batches) * self.n_epochs, int(MIXED_SHARE * self.n_epochs)
        optimiser, schedule = self._optimiser(network, n_steps)
        mixed, soft = (Steps(network, optimiser, self._loss(network, subjects, is_mixed)) for is_mixed in (True, False))
        network.train()
        for epoch in tqdm(range(self.n_epochs), desc=self.name, unit="epoch", mininterval=5):
            tau = subjects[0][0].new_tensor(soft_tau(epoch - n_mixed, self.n_epochs - n_mixed))
            draws = zip(*(self._draw_epoch(one) for one in batches), strict=True)  # each (n_steps, size) of a subject
            arrays = (np.stack([array[: n_steps // self.n_epochs] for array in draw], axis=1) for draw in draws)
            for step in zip(*(torch.from_numpy(array).to(tau.device) for array in arrays), strict=True):  # (n_subjects, size)
                if epoch < n_mixed:
                    mixed(*step)
                else:
                    soft(step[0], tau)
                schedule.step()

    def _loss(self, network, subjects, is_mixed):
        """Return a batch's loss: a function of rows, shares and partners, (n_subjects, size) each, or of rows and tau."""

        def loss(rows, *options):
            patterns = [x[own_rows] for (x, *_), own_rows in zip(subjects, rows, strict=True)]
            target = torch.cat([y[token_rows[own_rows]] for (_, y, token_rows), own_rows in zip(subjects, rows, strict=True)])
            patterns = [mix(*arguments) for arguments in zip(patterns, *options, strict=True)] if is_mixed else patterns
            tokens = network.tokens(patterns)
            projected = network.projector(tokens).flatten(1)
            if is_mixed:
                share, partner = options
                first = rows.shape[1] * torch.arange(len(rows), device=rows.device)[:, None]  # each subject's first row
                contrast = bimixco(projected, target, share.flatten(), (partner + first).flatten(), tau=TAU)
            else:
                contrast = soft_clip(projected, target, tau=options[0])
            if network.prior is None:
                return contrast
            return contrast + self.prior_weight * network.prior.loss(target.view_as(tokens), tokens)

        return loss

    def _draw_epoch(self, batches):
        """Draw an epoch's rows, mixing shares and partners, (n_steps, batch_size) each."""
        rows, draw = batches.epoch(), batches.generator
        share = draw.beta(BETA, BETA, rows.shape).astype(np.float32)
        is_unmixed = draw.random(rows.shape) >= MIXED_PROBABILITY * self.mixing
        partner = draw.permuted(np.broadcast_to(np.arange(rows.shape[1]), rows.shape), axis=1)
        return rows, np.where(is_unmixed, np.float32(1), share), partner

    def _optimiser(self, network, n_steps):
        """Return AdamW, without weight decay of biases, and the one-cycle schedule of learning rate and momentum."""
        parameters = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
        groups = [{"params": [p for name, p in parameters if ("bias" in name) == is_bias]} for is_bias in (True, False)]
        groups[0]["weight_decay"] = 0.0
        optimiser = torch.optim.AdamW(groups, lr=self.rate, weight_decay=WEIGHT_DECAY, fused=True)
        warm_up = min(max(WARM_UP, 2 / n_steps), 1.0)
        cycle = {"pct_start": warm_up, "div_factor": 25, "final_div_factor": 1000}
        return optimiser, torch.optim.lr_scheduler.OneCycleLR(optimiser, self.rate, total_steps=n_steps + 1, **cycle)


def soft_tau(epoch: int, n_epochs: int) -> float:
    """Return the temperature in an epoch, from 0, of SoftCLIP: from 0.004 to 0.0075 along a half cosine."""
    first, last = SOFT_TAUS
    return last + (first - last) / 2 * (1 + math.cos(math.pi * min(max(epoch / max(n_epochs - 1, 1), 0), 1)))
