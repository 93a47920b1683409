"""The linear algebra of one single-trial GLM: least squares run by run, all at once or trial by trial, and what it explains."""

from dataclasses import dataclass

import numpy as np
import torch

UNSEEN = 1e-9  # a regressor that keeps less than this part of its energy: nothing was measured after that trial


@dataclass(frozen=True)
class Block:
    """Least squares of one run for one HRF and one set of noise components.

    The regressors of trials in different runs never overlap, so the normal equations fall apart into one block a run.

    Attributes
    ----------
    regressors : (n_volumes, n_trials) float64 tensor
        Without drifts and noise components.
    gram : (n_trials, n_trials) float64 tensor
        Their products. A trial after which nothing was measured has the others' mean on its diagonal: its beta is 0,
        and the range of eigenvalues is as if it were not there.
    whitened : (n_trials, n_volumes) float64 tensor
        Orthonormal rows that span the regressors: the sum of squares of its product with a series is explained energy.
    inverse : (n_trials, n_volumes) float64 tensor
        From series to least-squares betas.
    """

    regressors: torch.Tensor
    gram: torch.Tensor
    whitened: torch.Tensor
    inverse: torch.Tensor


def solve_block(regressors, nuisance, *, run):
    """Prepare the least squares of one run for one HRF: a `Block`.

    Parameters
    ----------
    regressors : (n_volumes, n_trials) float64 tensor
        From `RunDesign.regressors`.
    nuisance : (n_volumes, n_nuisance) float64 tensor
        Orthonormal noise components or confounds, orthogonal to the drifts; they are removed.
    run : int
        Number of the run, for messages.

    Raises
    ------
    ValueError
        When the trials of the run cannot be told apart.
    """
    energy = regressors.square().sum(0)
    regressors = regressors - nuisance @ (nuisance.T @ regressors)
    gram = regressors.T @ regressors
    seen = (energy > 0) & (gram.diagonal() > UNSEEN * energy)
    regressors = regressors * seen
    gram = gram * seen * seen[:, None]
    mean_energy = gram.diagonal().sum() / seen.sum().clamp(min=1)
    gram = gram + torch.diag(torch.where(seen, 0.0, mean_energy.clamp(min=torch.finfo(gram.dtype).tiny)))
    root, failed = torch.linalg.cholesky_ex(gram)
    if failed:
        raise ValueError(
            f"Run {run}: its {gram.shape[0]} trials cannot be told apart in {len(regressors)} volumes after the removal of "
            f"drifts and {nuisance.shape[1]} noise components. Give fewer trials, more volumes or a smaller n_pcs."
        )
    whitened = torch.linalg.solve_triangular(root, regressors.T, upper=False)
    return Block(regressors, gram, whitened, torch.linalg.solve_triangular(root.T, whitened, upper=True))


def least_squares(blocks, bold):
    """Fit betas (n_trials, n_voxels) to the BOLD of all runs, a list of (n_volumes, n_voxels) tensors."""
    return torch.cat([block.inverse @ series for block, series in zip(blocks, bold, strict=True)])


def least_squares_separate(blocks, bold):
    """Fit the same, each trial against the sum of the others of its run."""
    return torch.cat([separate(block.regressors) @ series for block, series in zip(blocks, bold, strict=True)])


def project(blocks, bold):
    """Multiply regressors and BOLD: one (n_trials, n_voxels) tensor a run."""
    return [block.regressors.T @ series for block, series in zip(blocks, bold, strict=True)]


def explained_energy(blocks, betas, bold):
    """Compute the energy of each run's BOLD that betas (n_trials, n_voxels), of any fit, explain: (n_runs, n_voxels)."""
    pieces = betas.split([len(block.gram) for block in blocks])
    rows = zip(pieces, project(blocks, bold), blocks, strict=True)
    return torch.stack([(piece * (2 * product - block.gram @ piece)).sum(0) for piece, product, block in rows])


def percent(explained, energy):
    """Return explained energy in percent of all energy, arrays of any shape; NaN where there is none."""
    return np.divide(100 * explained, energy, out=np.full(np.shape(energy), np.nan), where=energy > 0)


def separate(regressors):
    """Return the matrix from BOLD to the betas of least squares separate: (n_trials, n_volumes) float64.

    Each trial is fitted with one other regressor, the sum of the run's other trials (Mumford et al. 2012, NeuroImage 59,
    2636).

    Parameters
    ----------
    regressors : (n_volumes, n_trials) float64 tensor
        Of one run, without drifts.
    """
    others = regressors.sum(1, keepdim=True) - regressors
    own, both, rest = regressors.square().sum(0), (regressors * others).sum(0), others.square().sum(0)
    determinant = own * rest - both.square()
    alone = determinant <= UNSEEN * own * rest  # nothing to tell the trial from, or nothing measured after it
    inverse = torch.where(alone, regressors, rest * regressors - both * others)
    return (inverse / torch.where(alone, own, determinant).clamp(min=torch.finfo(own.dtype).tiny)).T


def orthonormal(columns):
    """Return an orthonormal basis of what columns (n_volumes, n_columns) span."""
    if columns.shape[1] == 0:
        return columns
    columns = torch.nn.functional.normalize(columns, dim=0)
    vectors, sizes, _ = torch.linalg.svd(columns, full_matrices=False)
    return vectors[:, sizes > 1e-8 * sizes.max()]
