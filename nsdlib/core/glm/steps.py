"""The steps of the single-trial GLM over all voxels, up to ridge: ON-OFF, HRFs, noise components, their number.

Each step goes through the voxels in batches and returns numpy arrays; `fit` puts them in order. The long ones write into
`Problem.scratch`, which may be a folder: there, batches that an interrupted fit finished are not computed again.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from tqdm import tqdm

from nsdlib.core.device import to_tensor
from nsdlib.core.glm.linear import (
    UNSEEN,
    explained_energy,
    least_squares,
    least_squares_separate,
    orthonormal,
    percent,
    solve_block,
)
from nsdlib.core.glm.scratch import Scratch

FLAT = 1e-20  # a series that keeps less than this part of its energy without drifts is constant


@dataclass(frozen=True)
class Problem:
    """What is fitted, and with what: the input that all steps share.

    Attributes
    ----------
    designs : list of RunDesign
    data : list of (n_volumes, n_voxels) arrays
        BOLD of each run, scanner units.
    hrfs : (n_hrfs, n_samples) float64 tensor
    voxel_batch : int
        Most voxels that are fitted at once.
    progress : bool
    scratch : Scratch
        Holds the arrays of the long steps.
    usable : (n_voxels,) bool
        Voxels without non-finite values; the others count as constant.
    confounds : list of (n_volumes, n_confounds) float64 tensors
        The user's nuisance regressors of each run, orthonormal, orthogonal to the drifts.
    late : list of (n_trials,) bool tensors
        Trials of each run of which next to nothing was measured: nuisance like confounds, their betas are 0.
    """

    designs: list
    data: list
    hrfs: torch.Tensor
    voxel_batch: int
    progress: bool
    scratch: Scratch
    usable: np.ndarray
    confounds: list
    late: list

    @property
    def n_voxels(self):
        """Voxels of the data."""
        return self.data[0].shape[1]

    @property
    def n_trials(self):
        """Trials of all runs."""
        return sum(len(design.onsets) for design in self.designs)

    def batches(self, groups, label, *, resumable=False):
        """Yield pairs (number of the group, voxels of it), at most `voxel_batch` at a time, with a bar.

        Of a resumable step, batches that are in the scratch arrays already are passed over.
        """
        batches = [
            (number, group[start : start + self.voxel_batch])
            for number, group in enumerate(groups)
            for start in range(0, len(group), self.voxel_batch)
        ]
        finished = self.scratch.finished(label) if resumable else set()
        silent = {} if self.progress else {"disable": True}
        with tqdm(total=sum(map(len, groups)), desc=label, unit="voxel", mininterval=1, **silent) as bar:
            for batch, (number, voxels) in enumerate(batches):
                if batch not in finished:
                    yield number, voxels
                    if resumable:
                        self.scratch.finish(label, batch)
                bar.update(len(voxels))

    def groups(self, hrf_index):
        """Return the voxels of each HRF."""
        return [np.flatnonzero(hrf_index == number) for number in range(len(self.hrfs))]

    def bold(self, voxels):
        """Return BOLD of a batch: a list of (n_volumes, n_batch) float64 tensors, 0 where a voxel is not usable."""
        like, usable = self.hrfs, torch.as_tensor(self.usable[voxels], device=self.hrfs.device)
        runs = [to_tensor(run[:, voxels], like.device, like.dtype) for run in self.data]
        return runs if usable.all() else [torch.where(usable, bold, 0.0) for bold in runs]

    def without_drift(self, bold):
        """Project the drifts out of the BOLD of each run."""
        return [design.without_drift(series) for design, series in zip(self.designs, bold, strict=True)]

    def residuals(self, voxels):
        """Return BOLD of a batch without drifts."""
        return self.without_drift(self.bold(voxels))

    @cached_property
    def regressors(self):
        """Regressors of each HRF and run, made once: a list of lists of (n_volumes, n_trials) tensors."""
        return [[design.regressors(hrf) for design in self.designs] for hrf in self.hrfs]

    @cached_property
    def has_nuisance(self):
        """Whether anything is removed besides drifts and noise components."""
        return any(columns.shape[1] for columns in self.confounds) or any(late.any() for late in self.late)

    def blocks(self, number, components=None):
        """Prepare each run's least squares for one HRF, with confounds, late trials and `components`, a list, removed."""
        pairs = zip(self.regressors[number], self.late, strict=True)
        late = [orthonormal(regressors[:, of_them]) for regressors, of_them in pairs]
        parts = [part for part in (self.confounds, late, components or []) if any(columns.shape[1] for columns in part)]
        if len(parts) > 1:
            return self._solve(number, [orthonormal(torch.hstack(columns)) for columns in zip(*parts, strict=True)])
        return self._solve(number, parts[0] if parts else self.confounds)

    def plain_blocks(self, number):
        """Prepare the same with nothing but drifts removed: R2 credits no nuisance."""
        return self._solve(number, [design.no_columns for design in self.designs])

    def _solve(self, number, removed):
        pairs = zip(self.regressors[number], removed, strict=True)
        return [solve_block(regressors, columns, run=run) for run, (regressors, columns) in enumerate(pairs, start=1)]


def fit_onoff(problem, canonical):
    """Fit type A: one regressor for all trials.

    Parameters
    ----------
    problem : Problem
    canonical : (n_samples,) float64 tensor

    Returns
    -------
    dict of (n_voxels,) arrays
        mean, onoff_r2, onoff_beta (scanner units), and energy: the sum of squares without drifts, 0 for a constant voxel;
        energy_run (n_runs, n_voxels) is that of each run.

    Raises
    ------
    ValueError
        When all are constant, or nothing is left of the regressor.
    """
    plain = [design.regressors(canonical).sum(1) for design in problem.designs]
    regressors = [x - columns @ (columns.T @ x) for x, columns in zip(plain, problem.confounds, strict=True)]
    norm, plain_norm = (sum(x.square().sum().item() for x in parts) for parts in (regressors, plain))
    if norm <= UNSEEN * plain_norm:
        raise ValueError(
            "No trial can be fitted: confounds explain the response to all trials, or all begin in the last volume of their "
            "run. Leave out confounds that hold the task, or give runs to their end."
        )
    mean, energy, product, plain_product = np.empty((4, problem.n_voxels))
    energy_run = np.empty((len(problem.designs), problem.n_voxels))
    for _, voxels in problem.batches([np.arange(problem.n_voxels)], "ON-OFF"):
        bold = problem.bold(voxels)
        mean[voxels] = (sum(series.sum(0) for series in bold) / sum(map(len, bold))).cpu()
        total = torch.stack([series.square().sum(0) for series in bold])
        bold = problem.without_drift(bold)
        left = torch.stack([series.square().sum(0) for series in bold])
        energy[voxels] = torch.where(sum(left) > FLAT * sum(total), sum(left), 0.0).cpu()
        energy_run[:, voxels] = torch.where(left > FLAT * total, left, 0.0).cpu()
        product[voxels] = sum(x @ series for x, series in zip(regressors, bold, strict=True)).cpu()
        plain_product[voxels] = sum(x @ series for x, series in zip(plain, bold, strict=True)).cpu()
    if not energy.any():
        raise ValueError(
            f"All {problem.n_voxels} voxels are constant or hold values that are not finite: no voxel can be fitted."
        )
    beta = product / norm
    r2 = percent(beta * (2 * plain_product - plain_norm * beta), energy)
    return {"mean": mean, "energy": energy, "energy_run": energy_run, "onoff_r2": r2, "onoff_beta": beta}


def choose_hrfs(problem, energy, energy_run, *, lss=False):
    """Fit type B: single trials with each HRF of the library, then with the best one.

    Parameters
    ----------
    problem : Problem
    energy, energy_run : (n_voxels,) and (n_runs, n_voxels) arrays
        From `fit_onoff`.
    lss : bool
        Betas by least squares separate; the HRF is chosen as ever.

    Returns
    -------
    dict
        hrf_r2 (n_hrfs, n_voxels), hrf_index (n_voxels,), r2_b (n_voxels,), r2_run_b (n_runs, n_voxels), betas_b
        (n_trials, n_voxels) in scanner units.

    Raises
    ------
    ValueError
        When no trial has a beta.
    """
    solved = [problem.blocks(number) for number in range(len(problem.hrfs))]
    plain = [problem.plain_blocks(number) for number in range(len(solved))] if problem.has_nuisance else None
    estimate = least_squares_separate if lss else least_squares
    r2 = problem.scratch.array("hrf_r2", (len(solved), problem.n_voxels), np.float64)
    r2_run = problem.scratch.array("r2_run_b", energy_run.shape, np.float64)
    betas = problem.scratch.array("betas_b", (problem.n_trials, problem.n_voxels), np.float32)

    def explained(number, bold):  # (n_runs, n_voxels)
        if plain:
            return explained_energy(plain[number], least_squares(solved[number], bold), bold)
        pairs = zip(solved[number], bold, strict=True)
        return torch.stack([(block.whitened @ series).square().sum(0) for block, series in pairs])

    for _, voxels in problem.batches([np.arange(problem.n_voxels)], "HRFs", resumable=True):
        bold = problem.residuals(voxels)
        for number in range(len(solved)):
            r2[number, voxels] = percent(sum(explained(number, bold)).cpu().numpy(), energy[voxels])
        chosen = np.nan_to_num(r2[:, voxels], nan=-np.inf).argmax(axis=0)
        for number in np.unique(chosen):
            own = np.flatnonzero(chosen == number)
            series, places = [run[:, own] for run in bold], voxels[own]
            betas[:, places] = estimate(solved[number], series).cpu()
            r2_run[:, places] = percent(explained(number, series).cpu().numpy(), energy_run[:, places])
    if not np.any(betas):
        raise ValueError(
            "No trial has a beta: confounds explain each trial's response, or the HRFs begin after the run's end."
        )
    index = np.nan_to_num(r2, nan=-np.inf).argmax(axis=0)
    best = r2[index, np.arange(len(index))]
    return {"hrf_r2": r2, "hrf_index": index, "r2_b": best, "r2_run_b": r2_run, "betas_b": betas}


def find_components(problem, pool, *, n_pcs):
    """Compute time courses that the voxels of the noise pool share in each run, without drifts, each voxel of unit length.

    Parameters
    ----------
    problem : Problem
    pool : (n_voxels,) bool
    n_pcs : int

    Returns
    -------
    list of (n_volumes, n_pcs) float64 tensors
        Orthonormal and orthogonal to the drifts, the strongest first.
    """
    products = [design.drift.new_zeros(design.n_volumes, design.n_volumes) for design in problem.designs]
    for _, voxels in problem.batches([np.flatnonzero(pool)], "noise components"):
        for product, series in zip(products, problem.residuals(voxels), strict=True):
            unit = torch.nn.functional.normalize(series, dim=0)
            product += unit @ unit.T
    vectors = [torch.linalg.eigh(product)[1] for product in products]  # in ascending order
    return [vector.flip(1)[:, :n_pcs] for vector in vectors]


def compare_counts(problem, hrf_index, components, repeats):
    """Compute the cross-validated error of the betas with 0, 1, 2, ... components: (n_pcs + 1, n_voxels) float32.

    Parameters
    ----------
    problem : Problem
    hrf_index : (n_voxels,) int
    components : list of (n_volumes, n_pcs) tensors
    repeats : denoise.Repeats
    """
    counts = range(components[0].shape[1] + 1)
    result = problem.scratch.array("pc_cv_error", (len(counts), problem.n_voxels), np.float32)
    solved_hrf, solved = None, []
    for number, voxels in problem.batches(problem.groups(hrf_index), "number of components", resumable=True):
        if solved_hrf != number:
            solved_hrf = number
            solved = [problem.blocks(number, [columns[:, :count] for columns in components]) for count in counts]
        bold = problem.residuals(voxels)
        comparison = repeats.against(least_squares(solved[0], bold))
        for count, blocks in enumerate(solved):
            result[count, voxels] = comparison.cv_error(least_squares(blocks, bold)).cpu()
    return result
