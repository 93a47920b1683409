"""The steps of the single-trial GLM over all voxels, up to ridge: ON-OFF, HRFs, noise components, their number.

Each step goes through the voxels in batches and returns numpy arrays; `glm.fit` puts them in order. The long ones write into
`Work.scratch`, which may be a folder: there, batches that an interrupted run finished are not computed again.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from tqdm import tqdm

from nsdlib.core.glm.design import percent
from nsdlib.core.glm.linear import explained_energy, least_squares, least_squares_separate, orthonormal, solve_block
from nsdlib.core.glm.scratch import Scratch

FLAT = 1e-20  # a series that keeps less than this share of its energy without drifts is constant


@dataclass(frozen=True)
class Work:
    """What the steps share.

    Attributes
    ----------
    runs : list of glm_design.Run
    data : list of (n_volumes, n_voxels) arrays
    hrfs : (n_hrfs, n_samples) float64 tensor
    voxel_batch : int
        Most voxels in work at once.
    progress : bool
    scratch : Scratch
        Holds the arrays of the long steps.
    usable : (n_voxels,) bool
        Voxels without values that are not finite; the others count as constant.
    confounds : list of (n_volumes, n_confounds) float64 tensors
        The user's nuisance regressors of each run, orthonormal, orthogonal to the drifts.
    """

    runs: list
    data: list
    hrfs: torch.Tensor
    voxel_batch: int
    progress: bool
    scratch: Scratch
    usable: np.ndarray
    confounds: list

    @property
    def n_voxels(self):
        """Voxels of the data."""
        return self.data[0].shape[1]

    @property
    def n_trials(self):
        """Trials of all runs."""
        return sum(len(run.onsets) for run in self.runs)

    def batches(self, groups, label, *, resumable=False):
        """Pairs (number of the group, voxels of it), at most `voxel_batch` at a time, with a bar.

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

    def all_voxels(self):
        """One group with every voxel."""
        return [np.arange(self.n_voxels)]

    def groups(self, hrf_index):
        """The voxels of each HRF."""
        return [np.flatnonzero(hrf_index == number) for number in range(len(self.hrfs))]

    def series(self, voxels):
        """BOLD of some voxels: a list of (n_volumes, n_some) float64 tensors, 0 where a voxel is not usable."""
        like, usable = self.hrfs, torch.as_tensor(self.usable[voxels], device=self.hrfs.device)
        series = [torch.as_tensor(run[:, voxels], dtype=like.dtype, device=like.device) for run in self.data]
        return series if usable.all() else [torch.where(usable, run, 0.0) for run in series]

    def residuals(self, voxels):
        """The same without drifts."""
        return [run.without_drift(series) for run, series in zip(self.runs, self.series(voxels), strict=True)]

    @cached_property
    def regressors(self):
        """Regressors of each HRF and run, made once: a list of lists of (n_volumes, n_trials) tensors."""
        return [[run.regressors(hrf) for run in self.runs] for hrf in self.hrfs]

    @property
    def has_confounds(self):
        """Whether the user gave any."""
        return any(noise.shape[1] for noise in self.confounds)

    def blocks(self, number, components=None):
        """Least squares of each run for one HRF, confounds and `components`, a list of (n_volumes, any) tensors, removed."""
        removed = self.confounds
        if components is not None:
            pairs = zip(self.confounds, components, strict=True)
            removed = [orthonormal(torch.hstack(pair)) for pair in pairs] if self.has_confounds else components
        return self._solved(number, removed)

    def plain_blocks(self, number):
        """The same with nothing but drifts removed: R2 credits neither confounds nor components."""
        return self._solved(number, [run.drift[:, :0] for run in self.runs])

    def _solved(self, number, removed):
        pairs = zip(self.regressors[number], removed, strict=True)
        return [solve_block(regressors, noise, run=run) for run, (regressors, noise) in enumerate(pairs, start=1)]


def fit_onoff(work, canonical):
    """Type A: one regressor for all trials.

    Parameters
    ----------
    work : Work
    canonical : (n_samples,) float64 tensor

    Returns
    -------
    dict of (n_voxels,) arrays
        mean, onoff_r2, onoff_beta (raw units), and energy: the sum of squares without drifts, 0 for a constant voxel.

    Raises
    ------
    ValueError
        When all are constant.
    """
    plain = [run.regressors(canonical).sum(1) for run in work.runs]
    regressors = [x - noise @ (noise.T @ x) for x, noise in zip(plain, work.confounds, strict=True)]
    norm, plain_norm = (sum(x.square().sum().item() for x in parts) for parts in (regressors, plain))
    mean, energy, product, plain_product = np.empty((4, work.n_voxels))
    for _, voxels in work.batches(work.all_voxels(), "ON-OFF"):
        series = work.series(voxels)
        mean[voxels] = (sum(run.sum(0) for run in series) / sum(map(len, series))).cpu()
        total = sum(run.square().sum(0) for run in series)
        series = [run.without_drift(bold) for run, bold in zip(work.runs, series, strict=True)]
        left = sum(run.square().sum(0) for run in series)
        energy[voxels] = torch.where(left > FLAT * total, left, 0.0).cpu()
        product[voxels] = sum(x @ run for x, run in zip(regressors, series, strict=True)).cpu()
        plain_product[voxels] = sum(x @ run for x, run in zip(plain, series, strict=True)).cpu()
    if not energy.any():
        raise ValueError(
            f"All {work.n_voxels} voxels are constant or hold values that are not finite: no voxel can be fitted."
        )
    beta = product / norm
    r2 = percent(beta * (2 * plain_product - plain_norm * beta), energy)
    return {"mean": mean, "energy": energy, "onoff_r2": r2, "onoff_beta": beta}


def choose_hrfs(work, energy, *, lss=False):
    """Type B: single trials with each HRF of the library, then with the best one.

    Parameters
    ----------
    work : Work
    energy : (n_voxels,) array
        From `fit_onoff`.
    lss : bool
        Betas by least squares separate; the HRF is chosen as ever.

    Returns
    -------
    dict
        hrf_r2 (n_hrfs, n_voxels), hrf_index (n_voxels,), r2_b (n_voxels,), betas_b (n_trials, n_voxels) in raw units.
    """
    solved = [work.blocks(number) for number in range(len(work.hrfs))]
    plain = [work.plain_blocks(number) for number in range(len(work.hrfs))] if work.has_confounds else None
    fitted = least_squares_separate if lss else least_squares
    r2 = work.scratch.array("hrf_r2", (len(solved), work.n_voxels), np.float64)
    betas = work.scratch.array("betas_b", (work.n_trials, work.n_voxels), np.float32)
    for _, voxels in work.batches(work.all_voxels(), "HRFs", resumable=True):
        series = work.residuals(voxels)
        for number, blocks in enumerate(solved):
            if work.has_confounds:
                explained = explained_energy(plain[number], least_squares(blocks, series), series)
            else:
                pairs = zip(blocks, series, strict=True)
                explained = sum((block.whitened @ run).square().sum(0) for block, run in pairs)
            r2[number, voxels] = percent(explained.cpu().numpy(), energy[voxels])
        chosen = np.nan_to_num(r2[:, voxels], nan=-np.inf).argmax(axis=0)
        for number in np.unique(chosen):
            own = np.flatnonzero(chosen == number)
            betas[:, voxels[own]] = fitted(solved[number], [run[:, own] for run in series]).cpu()
    index = np.nan_to_num(r2, nan=-np.inf).argmax(axis=0)
    return {"hrf_r2": r2, "hrf_index": index, "r2_b": r2[index, np.arange(len(index))], "betas_b": betas}


def find_components(work, pool, *, n_pcs):
    """Time courses that the voxels of the pool share in each run, without drifts, each voxel of unit length.

    Parameters
    ----------
    work : Work
    pool : (n_voxels,) bool
    n_pcs : int

    Returns
    -------
    list of (n_volumes, n_pcs) float64 tensors
        Orthonormal and orthogonal to the drifts, the strongest first.
    """
    products = [run.drift.new_zeros(run.n_volumes, run.n_volumes) for run in work.runs]
    for _, voxels in work.batches([np.flatnonzero(pool)], "noise components"):
        for product, run in zip(products, work.residuals(voxels), strict=True):
            unit = torch.nn.functional.normalize(run, dim=0)
            product += unit @ unit.T
    vectors = [torch.linalg.eigh(product)[1] for product in products]  # in ascending order
    return [vector.flip(1)[:, :n_pcs] for vector in vectors]


def compare_counts(work, hrf_index, components, repeats):
    """Cross-validated error of the betas with 0, 1, 2, ... components: (n_pcs + 1, n_voxels) float32.

    Parameters
    ----------
    work : Work
    hrf_index : (n_voxels,) int
    components : list of (n_volumes, n_pcs) tensors
    repeats : glm_denoise.Repeats
    """
    counts = range(components[0].shape[1] + 1)
    result = work.scratch.array("pc_cv_error", (len(counts), work.n_voxels), np.float32)
    solved = (None, None)
    for number, voxels in work.batches(work.groups(hrf_index), "number of components", resumable=True):
        if solved[0] != number:
            solved = number, [work.blocks(number, [noise[:, :count] for noise in components]) for count in counts]
        series = work.residuals(voxels)
        comparison = repeats.against(least_squares(solved[1][0], series))
        for count in counts:
            result[count, voxels] = comparison.cv_error(least_squares(solved[1][count], series)).cpu()
    return result
