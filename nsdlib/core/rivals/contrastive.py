"""Contrastive losses: predictions and targets of a batch, of which each should be nearest to its own.

Rows are compared by their cosine. Products are made in float64: a temperature of 0.006 enlarges their errors 170 times.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def mix(x: Tensor, share: Tensor, partner: Tensor) -> Tensor:
    """Mix patterns x (n, n_voxels) with others of the batch: share_i x_i + (1 - share_i) x_partner(i).

    `share` (n,) is 1 where a pattern stays as it is; `partner` (n,) are rows.
    """
    return torch.lerp(x[partner], x, share[:, None].to(x))


def bimixco(predicted: Tensor, true: Tensor, share: Tensor, partner: Tensor, *, tau: float) -> Tensor:
    """Return BiMixCo, the two-way contrast of mixed patterns (Scotti et al. 2023), of two (n, n_features).

    With logits s_ij = cosine(p_i, t_j) / tau and weights W, which have share_i at (i, i) and *in addition* 1 - share_i at
    (i, partner_i), it is the mean of -sum_j W_ij log softmax_j s_ij over i, and that of -sum_i W_ij log softmax_i s_ij over j,
    halved. (The public code overwrites an element where it should add, and so loses a pattern that is its own partner.) Where
    all shares are 1 this is InfoNCE in both directions.
    """
    logits = _products(predicted, true) / tau
    share = share.to(logits)
    weights = torch.diag(share).scatter_add(1, partner[:, None], 1 - share[:, None])
    return -(weights * (logits.log_softmax(1) + logits.log_softmax(0))).sum() / (2 * len(logits))


def soft_clip(predicted: Tensor, true: Tensor, *, tau: float | Tensor) -> Tensor:
    """Return SoftCLIP (Scotti et al. 2023): cross entropies with the targets' own likeness, of two (n, n_features).

    With q_ij = softmax_j cosine(t_i, t_j) / tau it is the mean over i of -sum_j q_ij log softmax_j cosine(p_i, t_j) / tau and of
    the same with cosine(t_i, p_j), halved.
    """
    logits, own = _products(predicted, true) / tau, (_products(true, true) / tau).softmax(1)
    return -(own * (logits.log_softmax(1) + logits.T.log_softmax(1))).sum() / (2 * len(logits))


def _products(a, b):
    """Cosines of rows with rows, (n, n) float64."""
    return F.normalize(a.double()) @ F.normalize(b.double()).T
