"""Contrastive losses, which pull each prediction of a batch towards its own target and away from the others.

Similarity is the cosine of rows, computed in float64, because a temperature of 0.006 amplifies rounding errors 170 times.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def mix(x: Tensor, share: Tensor, partner: Tensor) -> Tensor:
    """Mix patterns x (n, n_voxels) with others of the batch: share_i x_i + (1 - share_i) x_partner(i).

    `share` (n,) is 1 for patterns that stay unmixed; `partner` (n,) holds row indices.
    """
    return torch.lerp(x[partner], x, share[:, None].to(x))


def bimixco(predicted: Tensor, true: Tensor, share: Tensor, partner: Tensor, *, tau: float) -> Tensor:
    """Return BiMixCo, the bidirectional contrastive loss of mixed patterns (Scotti et al. 2023), for two (n, n_features).

    The logits are s_ij = cosine(p_i, t_j) / tau. The weights W are the sum of share_i at (i, i) and 1 - share_i at
    (i, partner_i). The loss is the average of two means: -sum_j W_ij log softmax_j s_ij over i, and -sum_i W_ij log softmax_i
    s_ij over j. (The public code overwrites instead of adding, so a pattern that is its own partner loses weight.) If all shares
    are 1, this is InfoNCE in both directions.
    """
    logits = _cosines(predicted, true) / tau
    share = share.to(logits)
    weights = torch.diag(share).scatter_add(1, partner[:, None], 1 - share[:, None])
    return -(weights * (logits.log_softmax(1) + logits.log_softmax(0))).sum() / (2 * len(logits))


def soft_clip(predicted: Tensor, true: Tensor, *, tau: float | Tensor) -> Tensor:
    """Return SoftCLIP (Scotti et al. 2023), the cross entropy with the similarities between targets, for two (n, n_features).

    With q_ij = softmax_j cosine(t_i, t_j) / tau, it is the mean over i of -sum_j q_ij log softmax_j cosine(p_i, t_j) / tau,
    averaged with the same for cosine(t_i, p_j).
    """
    logits, weights = _cosines(predicted, true) / tau, (_cosines(true, true) / tau).softmax(1)
    return -(weights * (logits.log_softmax(1) + logits.T.log_softmax(1))).sum() / (2 * len(logits))


def _cosines(a, b):
    """Return cosines of all pairs of rows, (n, n) float64."""
    return F.normalize(a.double()) @ F.normalize(b.double()).T
