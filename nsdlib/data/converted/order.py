"""In which order the betas of a run lie: of time, or condition by condition. Public readers disagree, so the data must say."""

import numpy as np

CLEAR, NOT_THERE = 4.0, 2.0  # standard deviations of what shuffled trials give
N_SHUFFLES = 200
ORDERS = {
    "time": lambda design: np.arange(len(design)),
    "condition": lambda design: np.argsort(np.argsort(design, kind="stable")),
}


def find_order(runs):
    """Find the order of betas in runs in which targets were seen again and again.

    Parameters
    ----------
    runs : list of tuple
        Of each run betas, (n_trials, n_voxels); names, (n_trials,), what was seen, in order of time; and design, (n_trials,) int,
        the condition of each trial, in order of time.

    Returns
    -------
    order : function
        Of a design, (n_trials,) int, to the rows of the betas of its trials in order of time, (n_trials,) int.
    note : str

    Raises
    ------
    ValueError
        When same targets agree in neither order more than shuffled ones do.

    Notes
    -----
    Order of time is tried first: if betas lie by condition, it makes nothing agree, while betas in order of time that drift agree
    a little also when they are taken for sorted ones.
    """
    excess = {name: _excess([(betas[order(design)], names) for betas, names, design in runs]) for name, order in ORDERS.items()}
    said = ", ".join(f"{name} {value:.1f}" for name, value in excess.items())
    if excess["time"] > CLEAR:
        found = "time"
    elif excess["time"] < NOT_THERE and excess["condition"] > CLEAR:
        found = "condition"
    else:
        raise ValueError(
            f"Nothing says how betas lie in a run: same targets agree in order of {said} standard deviations beyond shuffled "
            f"ones, wanted more than {CLEAR:g} in one. Take another roi, or another version of the betas."
        )
    return ORDERS[found], f"Betas of a run lie in order of {found} (agreement beyond chance, in standard deviations: {said})."


def _excess(runs, seed=0):
    """Agreement of same targets in standard deviations of shuffled ones beyond their mean."""
    rng = np.random.default_rng(seed)
    shuffled = [np.mean([agreement(betas, rng.permutation(names)) for betas, names in runs]) for _ in range(N_SHUFFLES)]
    found = np.mean([agreement(betas, names) for betas, names in runs])
    return float((found - np.mean(shuffled)) / np.std(shuffled))


def agreement(betas, names):
    """Mean correlation of the halves of same targets, every other trial, less that of different ones: float, at most 2.

    `betas` are (n_trials, n_voxels), `names` (n_trials,); means over targets are taken out of each half.
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
