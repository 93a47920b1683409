"""The steps of the single-trial GLM before ridge: ON-OFF, HRFs, noise components, and betas with 0, 1, 2, ... components removed.

`fit` calls the steps in order. Each multiplies the data, in batches of voxels, by a few large matrices that do not depend on the
data and are computed once, on the CPU, for all runs and HRFs. They are orthogonal to the drifts, so the data need no detrending.
The long steps write into `Problem.scratch`.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from nsdlib.core.glm.linear import UNSEEN, explained_energy, orthonormal, percent, removal, separate, solve_block
from nsdlib.core.glm.scratch import Voxels, write_batch

FLAT = 1e-20  # a series with at most this fraction of its energy outside the drifts counts as constant


@dataclass(frozen=True, kw_only=True)
class Problem(Voxels):
    """The input that all steps share."""

    designs: list  # of RunDesign
    hrfs: torch.Tensor  # (n_hrfs, n_samples) float64
    confounds: list  # of (n_volumes, n_confounds) float64 tensors, from `check_confounds`
    late: list  # of (n_trials,) bool: trials of which almost nothing was measured; removed like confounds, betas 0

    @cached_property
    def n_trials(self):
        """Number of trials of each run."""
        return [len(design.onsets) for design in self.designs]

    def fit_by_hrf(self, label, hrf_index, arrays, fit):
        """Fit all voxels in batches, one group of voxels with the same HRF at a time.

        `fit` takes the number of an HRF, the indices of its voxels, (n_own,) int64 tensor, and their BOLD, and returns a dict
        of (..., n_own) tensors. These are written to `arrays`, a dict of (..., n_voxels) float32 arrays.
        """
        for voxels in self.batches(label, resumable=True):
            order = np.argsort(hrf_index[voxels], kind="stable")
            counts = np.bincount(hrf_index[voxels], minlength=len(self.hrfs)).tolist()
            indices, inverse = self.send([order, np.argsort(order)])
            runs = [run.split(counts, 1) for run in self.bold(voxels, indices)]
            groups = zip((indices + voxels.start).split(counts), *runs, strict=True)
            fits = [fit(number, group, bold) for number, (group, *bold) in enumerate(groups) if len(group)]
            values = {name: torch.cat([part[name].float() for part in fits], -1) for name in arrays}
            write_batch(arrays, voxels, {name: part.index_select(-1, inverse) for name, part in values.items()})

    @cached_property
    def regressors(self):
        """Regressors of each run, for all HRFs: a list of (n_hrfs, n_volumes, n_trials) tensors."""
        return [design.regressors(self.hrfs) for design in self.designs]

    @cached_property
    def nuisance(self):
        """Confounds and late trials of each run: a list of (n_volumes, any) or (n_hrfs, n_volumes, any) tensors."""
        if not any(late.any() for late in self.late):
            return self.confounds
        parts = zip(self.confounds, self.regressors, self.late, strict=True)
        return [orthonormal(torch.cat([confounds.expand(len(x), -1, -1), x[..., late]], -1)) for confounds, x, late in parts]

    @cached_property
    def has_nuisance(self):
        """Whether any run has confounds or late trials."""
        return any(columns.shape[-1] for columns in self.nuisance)

    def with_nuisance(self, components):
        """Return each run's noise components (n_volumes, n_pcs), orthogonal to other nuisance, and both together."""
        if not self.has_nuisance:
            return components, components
        parts = zip(self.nuisance, components, strict=True)
        joined = [orthonormal(torch.cat([own, noise.expand(*own.shape[:-1], -1)], -1)) for own, noise in parts]
        return [own[..., -noise.shape[1] :] for own, noise in zip(joined, components, strict=True)], joined

    def solve(self, nuisance):
        """Prepare each run's least squares for all HRFs: a list of `Block`."""
        pairs = zip(self.regressors, nuisance, strict=True)
        return [solve_block(regressors, columns, run=run) for run, (regressors, columns) in enumerate(pairs, start=1)]

    @cached_property
    def blocks(self):
        """Least squares without noise components: a list of `Block`, one per run."""
        return self.solve(self.nuisance)

    @cached_property
    def plain_blocks(self):
        """Least squares with only the drifts removed, so that R2 does not include nuisance regressors."""
        return self.solve([design.no_columns for design in self.designs]) if self.has_nuisance else self.blocks


def fit_onoff(problem, canonical):
    """Fit type A: one regressor for all trials, with the canonical HRF (n_samples,).

    Returns (n_voxels,) arrays: mean (not finite if any value is not), onoff_r2, onoff_beta (scanner units) and energy, the sum
    of squares after detrending (0 for constant and non-finite voxels); and energy_run (n_runs, n_voxels), the energy of each
    run. Raises ValueError when all voxels are constant or non-finite, or nuisance removal leaves nothing of the regressor.
    """
    n_voxels, rows, norm, plain_norm = problem.n_voxels, [], 0.0, 0.0
    for design, confounds in zip(problem.designs, problem.confounds, strict=True):
        plain = design.regressors(canonical).sum(1, keepdim=True)
        regressor = plain - confounds @ (confounds.T @ plain)
        norm, plain_norm = norm + regressor.square().sum().item(), plain_norm + plain.square().sum().item()
        rows.append(torch.cat([torch.ones_like(plain), regressor, plain, design.drift], 1).T)
    if norm <= UNSEEN * plain_norm:
        raise ValueError(
            "No trial can be fitted: confounds explain the response to all trials, or all begin in the last volume of their "
            "run. Leave out confounds that contain the task, or give complete runs."
        )
    results = {name: np.empty(n_voxels) for name in ("mean", "energy", "onoff_r2", "onoff_beta")}
    results["energy_run"] = np.empty((len(rows), n_voxels))
    rows, n_volumes = problem.send(rows), sum(map(len, problem.data))
    for voxels in problem.batches("ON-OFF"):
        sums, residual_energy, total_energy = 0.0, [], []
        for matrix, series in zip(rows, problem.bold(voxels), strict=True):
            products = matrix @ series
            sums = sums + products[:3]
            residual_energy.append((series - matrix[3:].T @ products[3:]).square_().sum(0))
            total_energy.append(residual_energy[-1] + products[3:].square().sum(0))
        residual_energy, total_energy = torch.stack(residual_energy), torch.stack(total_energy)  # (n_runs, n_batch)
        finite, beta = sums[0].isfinite(), sums[1] / norm
        energy = torch.where(finite & (residual_energy.sum(0) > FLAT * total_energy.sum(0)), residual_energy.sum(0), 0.0)
        energy_run = torch.where(finite & (residual_energy > FLAT * total_energy), residual_energy, 0.0)
        r2 = percent(beta * (2 * sums[2] - plain_norm * beta), energy)
        batch = {"mean": sums[0] / n_volumes, "energy": energy, "energy_run": energy_run}
        write_batch(results, voxels, batch | {"onoff_r2": r2, "onoff_beta": beta})
    if not np.isfinite(results["mean"]).any():
        raise ValueError(f"All {n_voxels} voxels hold values that are not finite: no voxel can be fitted.")
    if not results["energy"].any():
        raise ValueError(f"All {n_voxels} voxels are constant or hold values that are not finite: no voxel can be fitted.")
    return results


def choose_hrfs(problem, energy, energy_run):
    """Fit single trials with each HRF of the library, and select each voxel's HRF with the largest explained variance.

    Takes energies from `fit_onoff`. Returns hrf_r2 (n_hrfs, n_voxels), hrf_index (n_voxels,), and for the selected HRF r2_b
    (n_voxels,) and r2_run_b (n_runs, n_voxels).
    """
    n_hrfs, n_voxels = len(problem.hrfs), problem.n_voxels
    pairs = list(zip(problem.blocks, problem.plain_blocks, strict=True))
    if problem.has_nuisance:
        rows = [torch.cat([block.inverse, plain.regressors.mT]).flatten(0, 1) for block, plain in pairs]
        grams = problem.send([plain.gram for _, plain in pairs])
    else:
        rows = [block.whitened.flatten(0, 1) for block, _ in pairs]
    rows = problem.send(rows)  # (n_hrfs * n_trials, n_volumes), or twice that
    r2 = problem.scratch.array("hrf_r2", (n_hrfs, n_voxels), np.float64)
    r2_run = problem.scratch.array("r2_run_b", energy_run.shape, np.float64)

    def explained(run, series):  # (n_hrfs, n_batch)
        products = rows[run] @ series
        if problem.has_nuisance:
            betas, products = products.view(2, n_hrfs, problem.n_trials[run], series.shape[1])
            return explained_energy(betas, products, grams[run])
        return products.view(n_hrfs, problem.n_trials[run], series.shape[1]).square_().sum(1)

    for voxels in problem.batches("HRFs", resumable=True):
        total, total_run = problem.send([energy[voxels], energy_run[:, voxels]])
        explained_run = torch.stack([explained(run, series) for run, series in enumerate(problem.bold(voxels))])
        r2_batch = percent(explained_run.sum(0), total)  # (n_hrfs, n_batch)
        best = r2_batch.nan_to_num(nan=-torch.inf).argmax(0).expand(len(explained_run), 1, -1)
        r2_run_batch = percent(explained_run.gather(1, best)[:, 0], total_run)
        write_batch({"r2": r2, "r2_run": r2_run}, voxels, {"r2": r2_batch, "r2_run": r2_run_batch})
    index = np.nan_to_num(r2, nan=-np.inf).argmax(axis=0)
    return {"hrf_r2": r2, "hrf_index": index, "r2_b": r2[index, np.arange(n_voxels)], "r2_run_b": r2_run}


def find_components(problem, pool, *, n_pcs):
    """Compute the principal components of the noise pool in each run, with each voxel scaled to unit length.

    `pool`, (n_runs, n_voxels) bool, excludes voxels that are constant in the run. Returns a list of (n_volumes, n_pcs) float64
    tensors, orthonormal and orthogonal to the drifts, strongest component first.
    """
    drifts = problem.send([design.drift for design in problem.designs])
    products = [drift.new_zeros(len(drift), len(drift)) for drift in drifts]
    for voxels in problem.batches("noise components"):
        pool_voxels, *in_runs = problem.send([pool[:, voxels].any(axis=0).nonzero()[0], *pool[:, voxels]])
        for product, drift, series, in_run in zip(products, drifts, problem.bold(voxels, pool_voxels), in_runs, strict=True):
            unit = torch.nn.functional.normalize(series - drift @ (drift.T @ series), dim=0) * in_run[pool_voxels]
            product += unit @ unit.T
    vectors = [torch.linalg.eigh(product.cpu())[1].flip(1)[:, :n_pcs] for product in products]  # eigh sorts ascending
    return [orthonormal(design.without_drift(columns)) for design, columns in zip(problem.designs, vectors, strict=True)]


def fit_trials(problem, hrf_index, *, lss=False, components=None, repeats=None):
    """Fit type B, single trials with each voxel's HRF, and cross-validate the number of noise components.

    From hrf_index (n_voxels,), returns betas_b (n_trials, n_voxels) in scanner units, by least squares separate if `lss`. With
    `components`, (n_volumes, n_pcs) per run, and `repeats`, also returns pc_cv_error (n_pcs + 1, n_voxels), the error of
    least-squares betas with 0, 1, 2, ... components removed. Both are float32. Raises ValueError when no trial has a beta.
    """
    results = problem.arrays(betas_b=sum(problem.n_trials))
    if components is not None:
        results |= problem.arrays(pc_cv_error=components[0].shape[1] + 1)
    problem.fit_by_hrf("betas", hrf_index, results, _trial_fit(problem, lss, components, repeats))
    if not np.any(results["betas_b"]):
        raise ValueError("No trial has a beta: confounds explain each trial's response, or the HRFs begin after the run's end.")
    return results


def _trial_fit(problem, lss, components, repeats):
    """Return the function with which `fit_trials` fits the voxels of one HRF."""
    rows, directions, products, n_trials = [block.inverse for block in problem.blocks], [], [], problem.n_trials
    if components is not None:
        components, _ = problem.with_nuisance(components)
        weights = repeats.n_training.cpu().split(n_trials)
        for run, (block, columns, weight) in enumerate(zip(problem.blocks, components, weights, strict=True)):
            component_rows, direction = removal(block, columns, run=run + 1)
            product = direction.mT @ (weight * direction)
            rows[run] = torch.cat([rows[run], component_rows], 1)  # (n_hrfs, n_trials + n_pcs, n_volumes)
            directions.append(direction)
            products.append(product.tril() + product.tril(-1))  # triangular: row k adds the terms of component k
    lss_rows = [separate(block.regressors) for block in problem.blocks] if lss else []
    rows, lss_rows, directions, products = map(problem.send, (rows, lss_rows, directions, products))

    def fit(number, _, bold):
        products_run = [matrix[number] @ series for matrix, series in zip(rows, bold, strict=True)]
        betas = torch.cat([own[:n] for own, n in zip(products_run, n_trials, strict=True)])
        batch = {"betas_b": betas}
        if lss_rows:
            batch["betas_b"] = torch.cat([matrix[number] @ series for matrix, series in zip(lss_rows, bold, strict=True)])
        if directions:
            comparison = repeats.against(betas)
            slopes, change = (2 * comparison.square * betas + comparison.linear).split(n_trials), 0.0
            for run, slope in enumerate(slopes):
                steps = products_run[run][n_trials[run] :]  # (n_pcs, n_own)
                quadratic = comparison.scale[run] * (products[run][number] @ steps)
                change = change + steps * (quadratic - directions[run][number].T @ slope)
            batch["pc_cv_error"] = comparison.cv_error(betas) + torch.nn.functional.pad(change.cumsum(0), (0, 0, 1, 0))
        return batch

    return fit
