"""Noise that many voxels share: which voxels hold nothing else, and how many of its components to remove.

Source: GLMdenoise (Kay et al. 2013, Frontiers in Neuroscience 7, 247) as GLMsingle applies it to single trials.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

TAIL_POINTS = 500  # grid on which the two distributions are compared
LARGE_SAMPLE = 1_000_000
MIXTURE_STEPS, SETTLED = 100, 1e-10  # of the fit of the two; a change of the mean log-likelihood


@dataclass(frozen=True)
class Repeats:
    """Pairs of trials that showed the same in different folds, as needed to compare their betas."""

    match: torch.Tensor  # (n_trials, n_trials) sparse float64: in how many folds trial u is for training and t for testing
    sessions: list  # of (n_session_trials,) int64: trials that are not late; betas are z-scored in each session alone
    session_of_trial: torch.Tensor  # (n_trials,) int64, places in that list
    session_of_run: torch.Tensor  # (n_runs,) int64

    @cached_property
    def n_training(self):
        """Of how many pairs each trial is the one for training: (n_trials, 1) float64 tensor."""
        return torch.sparse.sum(self.match, 1).to_dense()[:, None]

    @cached_property
    def n_testing(self):
        """Of how many it is the one for testing."""
        return torch.sparse.sum(self.match, 0).to_dense()[:, None]

    def against(self, reference):
        """Prepare the comparison with unregularised betas (n_trials, n_voxels): a `Comparison`.

        All betas are z-scored with each session's mean and sd (ddof=1) of `reference`; where the sd is 0 they become 0.
        """
        pairs = [torch.std_mean(reference[trials], 0) for trials in self.sessions]
        sd, mean = (torch.stack(values) for values in zip(*pairs, strict=True))  # (n_sessions, n_voxels)
        inverse, mean = (torch.where(sd > 0, values, 0.0) for values in (1 / sd, mean))
        mean, own = mean[self.session_of_trial], inverse[self.session_of_trial]  # (n_trials, n_voxels)
        z = (reference - mean) * own
        products = own * torch.sparse.mm(self.match, z)
        square = self.n_training * own.square()
        linear = -2 * (products + square * mean)
        constant = (self.n_testing * z.square() + mean * (square * mean + 2 * products)).sum(0)
        return Comparison(square, linear, constant, inverse.square()[self.session_of_run])


@dataclass(frozen=True)
class Comparison:
    """Sum over the pairs of (training beta - unregularised test beta)², z-scored, as a polynomial in the training betas."""

    square: torch.Tensor  # (n_trials, n_voxels) float64
    linear: torch.Tensor  # (n_trials, n_voxels)
    constant: torch.Tensor  # (n_voxels,)
    scale: torch.Tensor  # (n_runs, n_voxels): `square` is this times the pairs in which a trial is the one for training

    def cv_error(self, betas):
        """Return that sum for betas (n_trials, n_voxels): (n_voxels,) float64."""
        return torch.addcmul(self.linear, self.square, betas).mul_(betas).sum(0) + self.constant


def find_repeats(designs, *, folds=None, sessions=None, late=None, device="cpu"):
    """Find which trials can test which: `Repeats`, or None when no condition comes back in another run.

    Folds and sessions are as in `GLMOptions`; ValueError when folds name a run that is not there or leave one out, or sessions
    are not one a run. Trials that are late, (n_trials,) bool a run, have no say. Betas will be compared on the device.
    """
    n_runs = len(designs)
    check_runs(n_runs, folds=folds, sessions=sessions)
    folds = [(run,) for run in range(n_runs)] if folds is None else folds
    sessions = np.zeros(n_runs) if sessions is None else np.asarray(sessions)
    run_of = np.repeat(np.arange(n_runs), [len(design.onsets) for design in designs])
    condition = np.concatenate([design.conditions for design in designs])
    tests = np.array([np.isin(run_of, fold) for fold in folds])  # (n_folds, n_trials)
    same = [np.flatnonzero(condition == label) for label in np.unique(condition)]
    train, test = np.concatenate([np.stack(np.meshgrid(trials, trials)).reshape(2, -1) for trials in same], axis=1)
    say = np.ones(len(condition), bool) if late is None else ~torch.cat(late).numpy()
    weight = (~tests[:, train] & tests[:, test] & say[train] & say[test]).sum(axis=0)
    kept = weight > 0
    if not kept.any():
        return None
    places, values = np.stack([train[kept], test[kept]]), weight[kept].astype(np.float64)
    match = torch.sparse_coo_tensor(places, values, (len(condition),) * 2, check_invariants=True).coalesce()
    names, session_of_run = np.unique(sessions, return_inverse=True)
    members = [np.flatnonzero((sessions[run_of] == session) & say) for session in names]
    *members, of_trial, of_run = (
        torch.as_tensor(own, device=device) for own in (*members, session_of_run[run_of], session_of_run)
    )
    return Repeats(match.to(device), members, of_trial, of_run)


def left_out(options):
    """Return notes on the steps that `GLMOptions` ask for and that cannot be taken when no condition comes back."""
    without = "is off: no condition comes back in another run, so"
    notes = {
        f"Denoising {without} the components cannot be tested.": options.n_pcs > 0 and options.fixed_pcs is None,
        f"Ridge {without} no fraction can be chosen.": len(set(options.fractions)) > 1,
    }
    return [note for note, asked in notes.items() if asked]


def check_runs(n_runs, *, folds=None, sessions=None):
    """Raise ValueError when folds name a run that is not there or leave one out, or sessions are not one a run."""
    if folds is not None and {run for fold in folds for run in np.atleast_1d(fold)} != set(range(n_runs)):
        raise ValueError(f"folds={folds}: wanted each of the {n_runs} runs, counted from 0, in at least one fold.")
    if sessions is not None and len(sessions) != n_runs:
        raise ValueError(f"sessions={sessions}: wanted the session of each of the {n_runs} runs, got {len(sessions)}.")


def choose_number(curve, *, stop):
    """Choose how many components to remove by a curve (n_counts,): cross-validated quality with 0, 1, 2, ... of them.

    Quality is relative to that with none, more is better: the first number whose quality, times `stop`, reaches the best of all.
    """
    chosen, best = 0, -np.inf
    for count, quality in enumerate(curve):
        if quality > best:
            chosen, best = count, quality
            if best * stop >= np.max(curve):
                break
    return chosen


def tail_threshold(r2, *, seed=0):
    """Compute the threshold above which voxels respond: where the upper of two Gaussians becomes the likelier one.

    GLMsingle's rule: a mixture of two Gaussians, then, from the upper end of the bulk of the values downwards, the first of
    500 points at which the component of the upper end is no longer the likelier one. Values, (n_voxels,) percent of variance
    explained, that are not finite are left out, and where there are more than a million so many are drawn by the seed. NaN
    when fewer than three differ: nothing is to be parted.
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
    below = np.flatnonzero(likelier != likelier[-1])
    return float(points[below[-1]] if len(below) else points[0])


def _two_gaussians(values):
    """Fit a mixture by expectation maximisation from the best split in two: (2, 1) weights, means and variances."""
    ordered = values.sort().values
    sums, counts = ordered.cumsum(0)[:-1], torch.arange(1, len(values))
    rest = values.sum() - sums
    split = (sums.square() / counts + rest.square() / (len(values) - counts)).argmax()
    share, likelihood = torch.stack([values <= ordered[split], values > ordered[split]]).double(), -torch.inf
    for _ in range(MIXTURE_STEPS):
        size = share.sum(1, keepdim=True)
        mean = share @ values[:, None] / size
        variance = (share * (values - mean).square()).sum(1, keepdim=True) / size
        mixture = size / len(values), mean, variance.clamp(min=torch.finfo(values.dtype).eps * values.var())
        densities = _log_densities(values, *mixture)
        both = densities.logsumexp(0)
        share, before, likelihood = (densities - both).exp(), likelihood, both.mean()
        if abs(likelihood - before) < SETTLED:
            break
    return mixture


def _log_densities(values, weight, mean, variance):
    """Return the logarithm of each weighted Gaussian at some values, but for a constant: (2, n_values)."""
    return weight.log() - variance.log() / 2 - (values - mean).square() / (2 * variance)


def _bulk(values):
    """Return the range of the values without far outliers, by the distances between percentiles."""
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
