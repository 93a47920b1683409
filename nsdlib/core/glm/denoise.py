"""Noise shared by many voxels: find the noise pool, and select how many noise components to remove.

Source: GLMdenoise (Kay et al. 2013, Frontiers in Neuroscience 7, 247) as GLMsingle applies it to single trials.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

TAIL_POINTS = 500  # grid points on which the two Gaussians are compared
LARGE_SAMPLE = 1_000_000  # larger samples are subsampled to this size
MIXTURE_STEPS, CONVERGED = 100, 1e-10  # most EM steps; change of the mean log-likelihood at convergence


@dataclass(frozen=True)
class Repeats:
    """Pairs of trials of the same condition in different folds, for comparing their betas."""

    match: torch.Tensor  # (n_trials, n_trials) sparse float64: number of folds with trial u in training and t in test
    sessions: list  # of (n_session_trials,) int64: the trials of each session that are not late, for z-scoring
    session_of_trial: torch.Tensor  # (n_trials,) int64, index into `sessions`
    session_of_run: torch.Tensor  # (n_runs,) int64

    @cached_property
    def n_training(self):
        """Number of pairs with each trial in training: (n_trials, 1) float64 tensor."""
        return torch.sparse.sum(self.match, 1).to_dense()[:, None]

    @cached_property
    def n_testing(self):
        """Number of pairs with each trial in test: (n_trials, 1) float64 tensor."""
        return torch.sparse.sum(self.match, 0).to_dense()[:, None]

    def against(self, reference):
        """Prepare the comparison with unregularised betas (n_trials, n_voxels): a `Comparison`.

        All betas are z-scored with each session's mean and sd (ddof=1) of `reference`; they become 0 where the sd is 0.
        """
        pairs = [torch.std_mean(reference[trials], 0) for trials in self.sessions]
        sd, mean = (torch.stack(values) for values in zip(*pairs, strict=True))  # (n_sessions, n_voxels)
        inverse, mean = (torch.where(sd > 0, values, 0.0) for values in (1 / sd, mean))
        mean, inverse_trial = mean[self.session_of_trial], inverse[self.session_of_trial]  # (n_trials, n_voxels)
        z = (reference - mean) * inverse_trial
        products = inverse_trial * torch.sparse.mm(self.match, z)
        square = self.n_training * inverse_trial.square()
        linear = -2 * (products + square * mean)
        constant = (self.n_testing * z.square() + mean * (square * mean + 2 * products)).sum(0)
        return Comparison(square, linear, constant, inverse.square()[self.session_of_run])


@dataclass(frozen=True)
class Comparison:
    """Sum over pairs of (training beta - unregularised test beta)², z-scored, as a quadratic polynomial in training betas."""

    square: torch.Tensor  # (n_trials, n_voxels) float64
    linear: torch.Tensor  # (n_trials, n_voxels)
    constant: torch.Tensor  # (n_voxels,)
    scale: torch.Tensor  # (n_runs, n_voxels): `square` is this times `Repeats.n_training`

    def cv_error(self, betas):
        """Return this sum for betas (n_trials, n_voxels): (n_voxels,) float64."""
        return torch.addcmul(self.linear, self.square, betas).mul_(betas).sum(0) + self.constant


def find_repeats(designs, *, folds=None, sessions=None, late=None, device="cpu"):
    """Find pairs of trials for cross-validation: `Repeats` on `device`, or None when no condition repeats in another fold.

    `folds` and `sessions` are as in `GLMOptions`. `late` is a list of (n_trials,) bool, one per run, of trials to exclude.
    Raises ValueError unless the folds cover exactly the given runs and there is one session per run.
    """
    n_runs = len(designs)
    check_runs(n_runs, folds=folds, sessions=sessions)
    folds = [(run,) for run in range(n_runs)] if folds is None else folds
    sessions = np.zeros(n_runs) if sessions is None else np.asarray(sessions)
    run_of_trial = np.repeat(np.arange(n_runs), [len(design.onsets) for design in designs])
    condition = np.concatenate([design.conditions for design in designs])
    in_test = np.array([np.isin(run_of_trial, fold) for fold in folds])  # (n_folds, n_trials)
    trials_of_condition = [np.flatnonzero(condition == label) for label in np.unique(condition)]
    train, test = np.concatenate([np.stack(np.meshgrid(trials, trials)).reshape(2, -1) for trials in trials_of_condition], axis=1)
    is_used = np.ones(len(condition), bool) if late is None else ~torch.cat(late).numpy()
    weight = (~in_test[:, train] & in_test[:, test] & is_used[train] & is_used[test]).sum(axis=0)
    has_pairs = weight > 0
    if not has_pairs.any():
        return None
    indices, values = np.stack([train[has_pairs], test[has_pairs]]), weight[has_pairs].astype(np.float64)
    match = torch.sparse_coo_tensor(indices, values, (len(condition),) * 2, check_invariants=True).coalesce()
    labels, session_of_run = np.unique(sessions, return_inverse=True)
    members = [np.flatnonzero((sessions[run_of_trial] == session) & is_used) for session in labels]
    *members, session_of_trial, session_of_run = (
        torch.as_tensor(array, device=device) for array in (*members, session_of_run[run_of_trial], session_of_run)
    )
    return Repeats(match.to(device), members, session_of_trial, session_of_run)


def skipped_steps(options):
    """Return notes on the requested steps that are impossible when no condition repeats."""
    reason = "is off: no condition repeats in another cross-validation fold, so"
    notes = {
        f"Denoising {reason} components cannot be cross-validated.": options.n_pcs > 0 and options.fixed_pcs is None,
        f"Ridge {reason} no fraction can be selected.": len(set(options.fractions)) > 1,
    }
    return [note for note, is_requested in notes.items() if is_requested]


def check_runs(n_runs, *, folds=None, sessions=None):
    """Raise ValueError unless the folds cover exactly the given runs and there is one session per run."""
    if folds is not None and {run for fold in folds for run in np.atleast_1d(fold)} != set(range(n_runs)):
        raise ValueError(f"folds={folds}: wanted each of the {n_runs} runs, counted from 0, in at least one fold.")
    if sessions is not None and len(sessions) != n_runs:
        raise ValueError(f"sessions={sessions}: wanted the session of each of the {n_runs} runs, got {len(sessions)}.")


def choose_number(curve, *, stop):
    """Select the number of components to remove from a curve (n_counts,) of cross-validated quality with 0, 1, 2, ... of them.

    Quality is relative to no components; larger is better. The first number whose quality, times `stop`, reaches the maximum is
    selected.
    """
    return int(np.argmax(np.asarray(curve) * stop >= np.max(curve)))


def tail_threshold(r2, *, seed=0):
    """Compute the R2 threshold above which a voxel counts as responding: where the upper of two Gaussians becomes likelier.

    As in GLMsingle, fits a mixture of two Gaussians to the finite values, (n_voxels,) percent of variance explained; of more than
    a million, a million are drawn with `seed`. The threshold is the highest of 500 points across the bulk of the values at which
    the likelier component is not that of the last point. Returns NaN for fewer than three distinct values.
    """
    values = np.asarray(r2, dtype=np.float64)
    values = values[np.isfinite(values)]
    if len(np.unique(values)) < 3:
        return np.nan
    if len(values) > LARGE_SAMPLE:
        values = np.random.default_rng(seed).choice(values, LARGE_SAMPLE, replace=False)
    (low, high), mixture = _bulk(values), _two_gaussians(torch.as_tensor(values))
    mean = mixture[1].numpy()
    points = np.linspace(min(low, mean.min()), max(high, mean.max()), TAIL_POINTS)
    likelier = _log_densities(torch.as_tensor(points), *mixture).argmax(0).numpy()
    changes = np.flatnonzero(likelier != likelier[-1])
    return float(points[changes[-1]] if len(changes) else points[0])


def _two_gaussians(values):
    """Fit a mixture by expectation maximisation, starting at the best split in two: (2, 1) weights, means and variances."""
    ordered = values.sort().values
    sums, counts = ordered.cumsum(0)[:-1], torch.arange(1, len(values))
    upper_sums = values.sum() - sums
    split = (sums.square() / counts + upper_sums.square() / (len(values) - counts)).argmax()
    posterior, likelihood = torch.stack([values <= ordered[split], values > ordered[split]]).double(), -torch.inf
    for _ in range(MIXTURE_STEPS):
        n_effective = posterior.sum(1, keepdim=True)
        mean = posterior @ values[:, None] / n_effective
        variance = (posterior * (values - mean).square()).sum(1, keepdim=True) / n_effective
        mixture = n_effective / len(values), mean, variance.clamp(min=torch.finfo(values.dtype).eps * values.var())
        densities = _log_densities(values, *mixture)
        total = densities.logsumexp(0)
        posterior, previous, likelihood = (densities - total).exp(), likelihood, total.mean()
        if abs(likelihood - previous) < CONVERGED:
            break
    return mixture


def _log_densities(values, weight, mean, variance):
    """Return the log of each weighted Gaussian density at some values, up to a constant: (2, n_values)."""
    return weight.log() - variance.log() / 2 - (values - mean).square() / (2 * variance)


def _bulk(values):
    """Return the range of the values without far outliers, from distances between percentiles."""
    p0, p10, p50, p90, p100 = np.percentile(values, [0.1, 10, 50, 90, 99.9])
    low, high = p50 - 5 * (p50 - p10), p50 + 5 * (p90 - p50)
    if p100 > high:
        return _bulk(values[values <= high])
    if p0 < low:
        return _bulk(values[values >= low])
    smallest, largest = values.min(), values.max()
    top = largest if largest <= p50 + 1.1 * (p100 - p50) else p100
    bottom = smallest if smallest >= p50 - 1.1 * (p50 - p0) else p0
    return bottom, top
