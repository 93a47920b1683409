"""Linear algebra of the single-trial GLM: least squares of each run, jointly or trial by trial, and the explained energy."""

from dataclasses import dataclass
from functools import cached_property

import torch

UNSEEN = 1e-9  # a regressor with a smaller remaining fraction of its energy belongs to an unmeasured trial
SPANNED = 1e-8  # a column with at most this remaining fraction of its length is in the span of earlier columns


@dataclass(frozen=True)
class Block:
    """Least squares of one run, for each of several HRFs.

    Regressors of different runs never overlap, so the normal equations have one block per run. An unmeasured trial gets the
    mean of the other trials as its diagonal element of the Gram matrix: its beta is 0, and it does not extend the range of
    eigenvalues.
    """

    regressors: torch.Tensor  # (n_hrfs, n_volumes, n_trials) float64, without drifts and other nuisance
    gram: torch.Tensor  # (n_hrfs, n_trials, n_trials), Gram matrices of the regressors
    root: torch.Tensor  # (n_hrfs, n_trials, n_trials), lower Cholesky factors of `gram`

    @cached_property
    def whitened(self):
        """Orthonormal rows that span the regressors; the energy of their products with a series is the explained energy."""
        return torch.linalg.solve_triangular(self.root, self.regressors.mT, upper=False)

    @cached_property
    def inverse(self):
        """Matrices from series to least-squares betas: (n_hrfs, n_trials, n_volumes)."""
        return torch.linalg.solve_triangular(self.root.mT, self.whitened, upper=True)


def solve_block(regressors, nuisance, *, run):
    """Prepare the least squares of one run for each of several HRFs: a `Block`.

    Removes `nuisance`, (n_volumes, any) or (n_hrfs, n_volumes, any): confounds, late trials and noise components, made
    orthonormal and orthogonal to the drifts. Raises ValueError, naming the `run`, when its trials cannot be separated.
    """
    energy = regressors.square().sum(-2)  # (n_hrfs, n_trials)
    regressors = regressors - nuisance @ (nuisance.mT @ regressors)
    remaining = regressors.square().sum(-2)
    is_measured = (energy > 0) & (remaining > UNSEEN * energy)
    regressors = regressors * is_measured[:, None]
    mean = (remaining * is_measured).sum(-1, keepdim=True) / is_measured.sum(-1, keepdim=True).clamp(min=1)
    mean = torch.where(mean > 0, mean, 1.0)
    gram = regressors.mT @ regressors + torch.diag_embed(torch.where(is_measured, 0.0, mean))
    return Block(regressors, gram, _root(gram, regressors, nuisance, run))


def removal(block, components, *, run):
    """Prepare the removal of the first 1, 2, ... noise components of a run from its betas, one by one.

    Each component subtracts from the least-squares betas its direction times the product of its row with the series. This is
    elimination in the joint normal equations of trials and components, by rank-one updates of the Gram matrix. `components`,
    (n_volumes, n_pcs) for all HRFs or for each, are orthonormal, and orthogonal to the drifts and the block's nuisance.
    Returns rows (n_hrfs, n_pcs, n_volumes) and directions (n_hrfs, n_trials, n_pcs).
    """
    overlap, explained = components.mT @ block.regressors, block.inverse @ components
    residual_gram = torch.eye(components.shape[-1], dtype=overlap.dtype) - overlap @ explained
    root = _root(residual_gram, block.regressors, components, run)
    rows = torch.linalg.solve_triangular(root, components.mT - overlap @ block.inverse, upper=False)
    return rows, torch.linalg.solve_triangular(root, explained.mT, upper=False).mT


def explained_energy(betas, products, gram):
    """Return the energy of series, (..., n_voxels), that betas (..., n_trials, n_voxels) of any fit explain.

    `products`, shaped like the betas, are those of regressors and series; `gram` is the regressors' (..., n_trials, n_trials).
    """
    return (betas * (2 * products - gram @ betas)).sum(-2)


def percent(explained, energy):
    """Return explained energy in percent of total energy, tensors of any shape; NaN where the total is 0."""
    return torch.where(energy > 0, 100 * explained / energy, torch.nan)


def separate(regressors):
    """Return the matrix from BOLD to the betas of least squares separate: (..., n_trials, n_volumes) float64.

    Each column of the detrended regressors (..., n_volumes, n_trials) is fitted with one other regressor, the sum of the run's
    other trials (Mumford et al. 2012, NeuroImage 59, 2636).
    """
    others = regressors.sum(-1, keepdim=True) - regressors
    energy = (regressors * regressors).sum(-2, keepdim=True)
    overlap = (regressors * others).sum(-2, keepdim=True)
    others_energy = (others * others).sum(-2, keepdim=True)
    determinant = energy * others_energy - overlap.square()
    is_single = determinant <= UNSEEN * energy * others_energy  # no other trials, or an unmeasured trial
    inverse = torch.where(is_single, regressors, others_energy * regressors - overlap * others)
    return (inverse / torch.where(is_single, energy, determinant).clamp(min=torch.finfo(energy.dtype).tiny)).mT


def orthonormal(columns):
    """Orthonormalise columns (..., n_volumes, n_columns) in their order; those in the span of earlier ones become 0."""
    basis = torch.zeros_like(columns)
    for number in range(columns.shape[-1]):
        residual = column = columns[..., number : number + 1]
        for _ in range(2):  # repeated to remove rounding errors
            residual = residual - basis @ (basis.mT @ residual)
        length = residual.norm(dim=-2, keepdim=True)
        is_independent = length > SPANNED * column.norm(dim=-2, keepdim=True)
        basis[..., number : number + 1] = torch.where(is_independent, residual / length, 0.0)
    return basis


def _root(gram, regressors, nuisance, run):
    """Return lower Cholesky factors of a run's matrices; ValueError if one is singular."""
    root, failed = torch.linalg.cholesky_ex(gram)
    if failed.any():
        n_volumes, n_trials = regressors.shape[-2:]
        raise ValueError(
            f"Run {run}: its {n_trials} trials cannot be separated in {n_volumes} volumes after the removal of drifts and "
            f"{nuisance.shape[-1]} noise components. Give fewer trials, more volumes or a smaller n_pcs."
        )
    return root
