"""Infer from the data whether the betas of a run are in temporal order or sorted by condition, since public readers disagree."""

import numpy as np

MIN_EXCESS, MAX_ABSENT = 4.0, 2.0  # in standard deviations of the agreement of shuffled trials
N_SHUFFLES = 200
ORDERS = {
    "time": lambda design: np.arange(len(design)),
    "condition": lambda design: np.argsort(np.argsort(design, kind="stable")),
}


def find_order(runs):
    """Find the order of betas in runs in which each target was seen several times.

    Parameters
    ----------
    runs : list of tuple
        For each run its betas, (n_trials, n_voxels); the names of the targets seen, (n_trials,); and its design, (n_trials,) int,
        the condition of each trial. Names and design are in temporal order.

    Returns
    -------
    order : function
        Maps a design, (n_trials,) int, to the rows of the betas of its trials in temporal order, (n_trials,) int.
    note : str
        For the user. Raises a ValueError if repeats of a target do not agree more than shuffled trials in either order.

    Notes
    -----
    Temporal order is tried first. If betas are sorted by condition, it gives no agreement, whereas betas in temporal order that
    drift agree a little even if they are taken as sorted.
    """
    excess = {name: _excess([(betas[order(design)], names) for betas, names, design in runs]) for name, order in ORDERS.items()}
    summary = ", ".join(f"{name} {value:.1f}" for name, value in excess.items())
    if excess["time"] > MIN_EXCESS:
        best = "time"
    elif excess["time"] < MAX_ABSENT and excess["condition"] > MIN_EXCESS:
        best = "condition"
    else:
        raise ValueError(
            "The order of betas in a run is unknown. Agreement of same targets beyond shuffled ones, in standard deviations, by "
            f"order: {summary}; wanted more than {MIN_EXCESS:g} in one. Use another roi, or another version of the betas."
        )
    return ORDERS[best], f"Betas of a run lie in order of {best} (agreement beyond chance, in standard deviations: {summary})."


def _excess(runs, seed=0):
    """Agreement of repeated targets beyond the mean of shuffled trials, in standard deviations of shuffled trials."""
    rng = np.random.default_rng(seed)
    shuffled = [np.mean([agreement(betas, rng.permutation(names)) for betas, names in runs]) for _ in range(N_SHUFFLES)]
    measured = np.mean([agreement(betas, names) for betas, names in runs])
    return float((measured - np.mean(shuffled)) / np.std(shuffled))


def agreement(betas, names):
    """Mean split-half correlation (alternate trials) of the same targets minus that of different targets: float, at most 2.

    `betas` are (n_trials, n_voxels), `names` (n_trials,); the mean over targets is removed from each half.
    """
    targets, target = np.unique(names, return_inverse=True)
    halves = np.zeros((2, len(targets), betas.shape[1]))
    for k in range(len(targets)):
        rows = np.flatnonzero(target == k)
        halves[:, k] = betas[rows[::2]].mean(axis=0, dtype=np.float64), betas[rows[1::2]].mean(axis=0, dtype=np.float64)
    halves -= halves.mean(axis=1, keepdims=True)
    halves -= halves.mean(axis=2, keepdims=True)
    norms = np.linalg.norm(halves, axis=2, keepdims=True)
    left, right = np.divide(halves, norms, out=np.zeros_like(halves), where=norms > 0)
    matrix = left @ right.T
    same = np.eye(len(targets), dtype=bool)
    return float(matrix[same].mean() - matrix[~same].mean())
