"""Ridge regression asked for by the fraction of the coefficients' length that is to remain, for each voxel.

Source: Rokem & Kay (2020), GigaScience 9, giaa133, in the form that GLMsingle uses (interpolation on a grid of penalties).
"""

from dataclasses import dataclass

import numpy as np
import torch

from nsdlib.core.glm import linear

SMALLEST, LARGEST, STEP = 1e-2, 1e4, 0.2  # penalties relative to the extreme eigenvalues; decades between two


@dataclass(frozen=True)
class Spectrum:
    """Eigenvectors of a block-diagonal Gram matrix.

    Attributes
    ----------
    values : (n_trials,) float64 tensor
        Eigenvalues, block after block.
    vectors : list of (n_block, n_block) float64 tensors
    """

    values: torch.Tensor
    vectors: list

    @classmethod
    def of(cls, grams):
        """Decompose each block of a block-diagonal matrix."""
        pairs = [torch.linalg.eigh(gram) for gram in grams]
        return cls(torch.cat([values for values, _ in pairs]), [vectors for _, vectors in pairs])

    def rotate(self, products):
        """Compute least-squares coefficients in eigenvector coordinates.

        Parameters
        ----------
        products : list of (n_block, n_voxels) float64 tensors
            Regressors times series, one a block.

        Returns
        -------
        (n_trials, n_voxels) float64 tensor
        """
        rotated = [vectors.T @ product for vectors, product in zip(self.vectors, products, strict=True)]
        return torch.cat(rotated) / self.values[:, None]

    def unrotate(self, coefficients):
        """Return from eigenvector coordinates to betas, both (n_trials, n_voxels)."""
        blocks = coefficients.split([len(vectors) for vectors in self.vectors])
        return torch.cat([vectors @ block for vectors, block in zip(self.vectors, blocks, strict=True)])

    def shrink(self, rotated, penalties):
        """Compute ridge betas (n_trials, n_voxels) from rotated coefficients, with one of the penalties (n_voxels,) a voxel."""
        values = self.values[:, None]
        return self.unrotate(rotated * (values / (values + penalties)))


def penalties_for(fractions, rotated, *, values):
    """Compute the penalty with which each voxel's coefficients keep each fraction of their length.

    Parameters
    ----------
    fractions : (n_fractions,) float64 tensor
        Above 0, at most 1.
    rotated : (n_trials, n_voxels) float64 tensor
        From `Spectrum.rotate`.
    values : (n_trials,) float64 tensor
        Eigenvalues.

    Returns
    -------
    (n_fractions, n_voxels) float64 tensor
        Interpolated in log(1 + penalty) over a grid of 0.2 decades, as the reference does: the length that results
        differs a little from the fraction.
    """
    grid = _penalty_grid(values)  # (n_penalties,), ascending
    gain = (values / (values + grid[:, None])).square()  # (n_penalties, n_trials)
    energy = gain @ rotated.square()  # (n_penalties, n_voxels)
    length = (energy / energy[0]).sqrt().flip(0).T.contiguous()  # (n_voxels, n_penalties), ascending
    heights = torch.log1p(grid).flip(0)
    target = fractions.expand(len(length), -1).contiguous()  # (n_voxels, n_fractions)
    right = torch.searchsorted(length, target).clamp(1, len(grid) - 1)
    low, high = length.gather(1, right - 1), length.gather(1, right)
    weight = torch.where(high > low, (target - low) / (high - low), 1.0).clamp(0, 1)
    return torch.expm1(heights[right - 1] + weight * (heights[right] - heights[right - 1])).T


def rescale(shrunk, unshrunk):
    """Undo the overall shrinkage: the line through each voxel's ridge betas that is nearest to its plain betas.

    Parameters
    ----------
    shrunk, unshrunk : (n_trials, n_voxels) float64 tensors
        Without late trials.

    Returns
    -------
    betas : (n_trials, n_voxels) float64 tensor
    scale, offset : (n_voxels,) float64 tensors
        1 and 0 where the slope would be negative.
    """
    mean, target = shrunk.mean(0), unshrunk.mean(0)
    centred = shrunk - mean
    scale = (centred * (unshrunk - target)).sum(0) / centred.square().sum(0)
    offset = target - scale * mean
    flipped = scale < 0
    scale, offset = torch.where(flipped, 1.0, scale), torch.where(flipped, 0.0, offset)
    return scale * shrunk + offset, scale, offset


def regularise(problem, hrf_index, *, components, repeats, fractions, autoscale):
    """Fit types C and D: betas without the noise components, then with the ridge fraction that predicts repeats best.

    Parameters
    ----------
    problem : steps.Problem
    hrf_index : (n_voxels,) int
    components : list of (n_volumes, n_pcs) tensors
        Those to be removed.
    repeats : denoise.Repeats or None
        Not needed for a single fraction.
    fractions : sequence of float
        To choose from.
    autoscale : bool
        Undo the overall shrinkage.

    Returns
    -------
    dict
        betas_c, betas_d (n_trials, n_voxels) in scanner units; fraction, scale, offset (n_voxels,); explained_c and
        explained_d (n_runs, n_voxels), the energy of the series that the betas explain, noise components not counted;
        fraction_cv_error (n_fractions, n_voxels), NaN for a single fraction; fractions (n_fractions,), descending.
    """
    fractions = np.unique(fractions)[::-1].copy()
    autoscale = autoscale and fractions.min() < 1
    n_trials, n_voxels = problem.n_trials, problem.n_voxels
    shapes = dict.fromkeys(("betas_c", "betas_d"), (n_trials, n_voxels))
    shapes |= dict.fromkeys(("fraction", "scale", "offset"), (n_voxels,))
    shapes |= dict.fromkeys(("explained_c", "explained_d"), (len(problem.designs), n_voxels))
    shapes["fraction_cv_error"] = (len(fractions), n_voxels)
    results = {
        name: problem.scratch.array(name, shape, np.float64 if name.startswith("explained") else np.float32)
        for name, shape in shapes.items()
    }
    equations = None
    for number, voxels in problem.batches(problem.groups(hrf_index), "ridge", resumable=True):
        if equations is None or equations.hrf != number:
            equations = _Equations.of(problem, number, components)
        batch = equations.fit(problem.residuals(voxels), fractions=fractions, repeats=repeats, autoscale=autoscale)
        for name, values in batch.items():
            results[name][..., voxels] = values.cpu()
    return results | {"fractions": fractions}


@dataclass(frozen=True)
class _Equations:
    """The equations of one HRF, with and without noise components, for the voxels that have it."""

    hrf: int
    plain: list
    denoised: list
    spectrum: Spectrum
    fitted: torch.Tensor

    @classmethod
    def of(cls, problem, number, components):
        """Prepare them."""
        denoised = problem.blocks(number, components)
        spectrum = Spectrum.of([block.gram for block in denoised])
        return cls(number, problem.plain_blocks(number), denoised, spectrum, ~torch.cat(problem.late))

    def fit(self, bold, *, fractions, repeats, autoscale):
        """Fit betas of types C and D to one batch of voxels, and return with them how they were chosen."""
        rotated = self.spectrum.rotate(linear.project(self.denoised, bold))  # (n_trials, n_voxels)
        unshrunk = self.spectrum.unrotate(rotated)
        candidates = rotated.new_tensor(fractions)
        penalties = penalties_for(candidates, rotated, values=self.spectrum.values)  # (n_fractions, n_voxels)
        cv_error = torch.full_like(penalties, torch.nan)
        best = torch.zeros(rotated.shape[1], dtype=torch.int64, device=rotated.device)
        if len(fractions) > 1:
            comparison = repeats.against(unshrunk)
            shrunk = (self.spectrum.shrink(rotated, penalty) for penalty in penalties)
            cv_error = torch.stack([comparison.cv_error(betas) for betas in shrunk])
            best = cv_error.argmin(0)
        betas, fraction = self.spectrum.shrink(rotated, penalties.gather(0, best[None])[0]), candidates[best]
        results = {"betas_c": unshrunk, "fraction": fraction, "fraction_cv_error": cv_error}
        results |= {
            f"explained_{kind}": linear.explained_energy(self.plain, values, bold)
            for kind, values in (("c", unshrunk), ("d", betas))
        }
        scale, offset = torch.ones_like(fraction), torch.zeros_like(fraction)
        if autoscale:
            betas[self.fitted], scale, offset = rescale(betas[self.fitted], unshrunk[self.fitted])
        return results | {"betas_d": betas, "scale": scale, "offset": offset}


def _penalty_grid(values):
    """Return 0, then powers of ten in steps of 0.2 decades from far below the smallest eigenvalue to far above the largest."""
    low = np.floor(np.log10(SMALLEST * values.min().item()))
    high = np.ceil(np.log10(LARGEST * values.max().item()))
    return torch.cat([values.new_zeros(1), values.new_tensor(10 ** np.arange(low, high, STEP))])
