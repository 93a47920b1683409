"""Weight map of a linear decoder."""

import numpy as np
from scipy.linalg import solve

from nsdlib.core.ridge import Ridge


def weight_lengths(X, Y, *, alphas, device="cpu"):
    """Compute the norm of each voxel's weights over all targets in a ridge regression from X to Y: (n_voxels,) float64.

    `X` (n_images, n_voxels) are patterns, `Y` (n_images, n_targets) targets; `Ridge` selects one of the penalties `alphas` and
    raises its ValueErrors. The weights (n_voxels, n_targets) are never stored: their squared norms are the diagonal of W W', with
    the dual form W = X' (X X' + a I)^-1 Y of centred X and Y.
    """
    alpha = Ridge(alphas, device=device).fit(X, Y).alpha
    X, Y = (values - values.mean(axis=0, dtype=np.float64) for values in (X, Y))
    dual = solve(X @ X.T + alpha * np.eye(len(X)), X, assume_a="pos")  # (n_images, n_voxels)
    return np.sqrt(np.sum(dual * (Y @ Y.T @ dual), axis=0))
