"""Fractional ridge regression: the penalty of each voxel is given by the fraction of the coefficients' length to keep.

Source: Rokem & Kay (2020), GigaScience 9, giaa133, in the form that GLMsingle uses (interpolation on a grid of penalties).
"""

from dataclasses import dataclass

import numpy as np
import torch

from nsdlib.core.glm.linear import explained_energy, percent

SMALLEST, LARGEST, STEP = 1e-2, 1e4, 0.2  # range of penalties relative to the extreme eigenvalues; spacing in decades


@dataclass(frozen=True)
class Spectrum:
    """Eigendecomposition of a block-diagonal Gram matrix with one block per run."""

    values: list  # of (n_block,) float64 tensors
    vectors: list  # of (n_block, n_block)
    weighted: list  # of (any, n_block): rows of `vectors` of the trials in pairs, times the root of `Repeats.n_training`
    grid: torch.Tensor  # (n_penalties,): 0, then powers of ten, 0.2 decades apart, from below to above all eigenvalues
    gain: torch.Tensor  # (n_penalties, n_trials): fraction of a coefficient's energy that remains at each penalty

    @classmethod
    def of(cls, grams, n_training=None):
        """Decompose each block of a block-diagonal matrix; without `n_training` (n_trials, 1) there are no pairs of trials."""
        values, vectors = zip(*map(torch.linalg.eigh, grams), strict=True)
        all_values = torch.cat(values)
        low = np.floor(np.log10(SMALLEST * all_values.min().item()))
        high = np.ceil(np.log10(LARGEST * all_values.max().item()))
        grid = torch.cat([all_values.new_zeros(1), all_values.new_tensor(10 ** np.arange(low, high, STEP))])
        pairs = (all_values.new_zeros(len(all_values), 1) if n_training is None else n_training).split(list(map(len, values)))
        weighted = [(n.sqrt() * run_vectors)[n[:, 0] > 0] for run_vectors, n in zip(vectors, pairs, strict=True)]
        return cls(values, vectors, weighted, grid, (all_values / (all_values + grid[:, None])).square())

    def to(self, device):
        """Return a copy on a device."""
        blocks = ([part.to(device) for part in parts] for parts in (self.values, self.vectors, self.weighted))
        return Spectrum(*blocks, self.grid.to(device), self.gain.to(device))

    @property
    def n_trials(self):
        """Size of each block."""
        return list(map(len, self.values))

    def rotation(self, regressors):
        """Return matrices, (n_block, n_volumes) each, from series to least-squares coefficients in eigenvector coordinates.

        `regressors` is a list of (n_volumes, n_block) tensors whose Gram matrices were decomposed.
        """
        parts = zip(self.values, self.vectors, regressors, strict=True)
        return [(vectors / values).T @ columns.T for values, vectors, columns in parts]

    def unrotate(self, coefficients):
        """Convert coefficients in eigenvector coordinates to betas, both (n_trials, n_voxels)."""
        blocks = coefficients.split(self.n_trials)
        return torch.cat([vectors @ block for vectors, block in zip(self.vectors, blocks, strict=True)])

    def shrink(self, rotated, penalties):
        """Compute ridge betas (n_trials, n_voxels) from rotated coefficients and one penalty per voxel (n_voxels,)."""
        values = torch.cat(self.values)[:, None]
        return self.unrotate(rotated * (values / (values + penalties)))

    def penalties(self, fractions, rotated):
        """Compute the penalty at which each voxel's coefficients keep each fraction of their length.

        From fractions (n_fractions,) above 0 and at most 1, and rotated coefficients (n_trials, n_voxels), returns
        (n_fractions, n_voxels) float64. As in GLMsingle, penalties are interpolated in log(1 + penalty) over the grid, so the
        resulting length differs slightly from the fraction.
        """
        energy = self.gain @ rotated.square()  # (n_penalties, n_voxels)
        length = (energy / energy[0]).sqrt().flip(0).T.contiguous()  # (n_voxels, n_penalties), ascending
        heights = torch.log1p(self.grid).flip(0)
        target = fractions.expand(len(length), -1).contiguous()  # (n_voxels, n_fractions)
        upper = torch.searchsorted(length, target).clamp(1, len(heights) - 1)
        low, high = length.gather(1, upper - 1), length.gather(1, upper)
        weight = torch.where(high > low, (target - low) / (high - low), 1.0).clamp(0, 1)
        return torch.expm1(heights[upper - 1] + weight * (heights[upper] - heights[upper - 1])).T

    def cv_errors(self, rotated, penalties, comparison):
        """Compute `denoise.Comparison.cv_error` of the betas from `shrink` at each penalty: shaped like `penalties`."""
        error = comparison.constant.expand_as(penalties).clone()
        blocks = (part.split(self.n_trials) for part in (rotated, comparison.linear))
        parts = zip(self.values, self.vectors, self.weighted, *blocks, comparison.scale, strict=True)
        for values, vectors, weighted, coefficients, linear, scale in parts:
            shrunk = penalties + values[:, None, None]  # (n_block, n_fractions, n_voxels)
            torch.div((values[:, None] * coefficients)[:, None], shrunk, out=shrunk)
            betas = (weighted @ shrunk.flatten(1)).view(-1, *penalties.shape)
            error += scale * betas.square_().sum(0) + shrunk.mul_((vectors.T @ linear)[:, None]).sum(0)
        return error


def rescale(shrunk, unshrunk):
    """Undo the overall shrinkage: fit the unshrunk betas by a linear function of each voxel's ridge betas.

    Takes shrunk and unshrunk betas (n_trials, n_voxels) without late trials. Returns the rescaled betas, and scale and offset
    (n_voxels,), which are 1 and 0 where the slope would be negative.
    """
    mean, target = shrunk.mean(0), unshrunk.mean(0)
    centred = shrunk - mean
    scale = (centred * (unshrunk - target)).sum(0) / centred.square().sum(0)
    offset = target - scale * mean
    is_negative = scale < 0
    scale, offset = torch.where(is_negative, 1.0, scale), torch.where(is_negative, 0.0, offset)
    return scale * shrunk + offset, scale, offset


def regularise(problem, results, *, components, repeats, fractions, autoscale):
    """Fit type C, betas without noise components, and type D, ridge betas at the fraction that predicts repeats best.

    `results` holds hrf_index, energy and energy_run. `components`, (n_volumes, n_pcs) per run, are removed. `repeats` may be
    None for a single fraction. `autoscale` undoes the overall shrinkage.

    Returns
    -------
    dict
        betas_c, betas_d (n_trials, n_voxels) in scanner units; fraction, scale, offset, r2_c and r2_d (n_voxels,); r2_run_c
        and r2_run_d (n_runs, n_voxels), percent, without what noise components explain; fraction_cv_error (n_fractions,
        n_voxels), NaN for a single fraction; fractions (n_fractions,), descending.
    """
    fractions = np.unique(fractions)[::-1].copy()
    rows = dict.fromkeys(("betas_c", "betas_d"), sum(problem.n_trials)) | {"fraction_cv_error": len(fractions)}
    rows |= dict.fromkeys(("r2_run_c", "r2_run_d"), len(problem.designs))
    arrays = problem.arrays(**rows | dict.fromkeys(("fraction", "scale", "offset", "r2_c", "r2_d")))
    [candidates], energies = problem.send([fractions]), problem.send([results["energy"], results["energy_run"]])
    fit_ridge = _ridge_fit(problem, components, repeats, candidates)
    not_late = torch.cat(problem.late).logical_not().nonzero()[:, 0].to(problem.device)

    def fit(number, voxels, bold):
        batch, explained = fit_ridge(number, bold)
        for kind, run_energy in explained.items():
            batch[f"r2_{kind}"] = percent(run_energy.sum(0), energies[0][voxels])
            batch[f"r2_run_{kind}"] = percent(run_energy, energies[1][:, voxels])
        batch |= {"scale": torch.ones_like(batch["fraction"]), "offset": torch.zeros_like(batch["fraction"])}
        if autoscale and fractions.min() < 1:
            shrunk, unshrunk = (batch[name][not_late] for name in ("betas_d", "betas_c"))
            batch["betas_d"][not_late], batch["scale"], batch["offset"] = rescale(shrunk, unshrunk)
        return batch

    problem.fit_by_hrf("ridge", results["hrf_index"], arrays, fit)
    return arrays | {"fractions": fractions}


def _ridge_fit(problem, components, repeats, fractions):
    """Return a function that fits one HRF's voxels: a dict of results, and each run's energy explained by types C and D."""
    denoised = problem.solve(problem.with_nuisance(components)[1])
    spectra, rotations = [], []
    for number in range(len(problem.hrfs)):
        spectrum = Spectrum.of([block.gram[number] for block in denoised], repeats.n_training.cpu() if repeats else None)
        rotations.append(spectrum.rotation([block.regressors[number] for block in denoised]))
        spectra.append(spectrum.to(problem.device))
    pairs = zip(zip(*rotations, strict=True), problem.plain_blocks, strict=True)
    rows = problem.send([torch.cat([torch.stack(matrices), plain.regressors.mT], 1) for matrices, plain in pairs])
    grams = problem.send([plain.gram for plain in problem.plain_blocks])

    def fit(number, bold):
        spectrum, n_trials = spectra[number], problem.n_trials
        products = [row[number] @ series for row, series in zip(rows, bold, strict=True)]
        rotated = torch.cat([run_products[:n] for run_products, n in zip(products, n_trials, strict=True)])  # (n_trials, n_own)
        unshrunk = spectrum.unrotate(rotated)
        penalties = spectrum.penalties(fractions, rotated)  # (n_fractions, n_own)
        cv_error = torch.full_like(penalties, torch.nan)
        if len(fractions) > 1:
            cv_error = spectrum.cv_errors(rotated, penalties, repeats.against(unshrunk))
        best = cv_error.argmin(0)
        betas = spectrum.shrink(rotated, penalties.gather(0, best[None])[0])
        explained = {}
        for kind, values in (("c", unshrunk), ("d", betas)):
            parts = zip(values.split(n_trials), products, grams, n_trials, strict=True)
            explained[kind] = torch.stack([explained_energy(own, y[n:], gram[number]) for own, y, gram, n in parts])
        batch = {"betas_c": unshrunk, "betas_d": betas, "fraction": fractions[best], "fraction_cv_error": cv_error}
        return batch, explained

    return fit
