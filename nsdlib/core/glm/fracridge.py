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
        """Least-squares coefficients in eigenvector coordinates.

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
        """From eigenvector coordinates back to betas, both (n_trials, n_voxels)."""
        blocks = coefficients.split([len(vectors) for vectors in self.vectors])
        return torch.cat([vectors @ block for vectors, block in zip(self.vectors, blocks, strict=True)])

    def shrink(self, rotated, penalties):
        """Ridge betas (n_trials, n_voxels) of rotated coefficients, a penalty (n_voxels,) a voxel."""
        values = self.values[:, None]
        return self.unrotate(rotated * (values / (values + penalties)))


def penalties_for(fractions, rotated, *, values):
    """Penalty with which each voxel's coefficients keep each fraction of their length.

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
    wanted = fractions.expand(len(length), -1).contiguous()  # (n_voxels, n_fractions)
    right = torch.searchsorted(length, wanted).clamp(1, len(grid) - 1)
    low, high = length.gather(1, right - 1), length.gather(1, right)
    share = torch.where(high > low, (wanted - low) / (high - low), 1.0).clamp(0, 1)
    return torch.expm1(heights[right - 1] + share * (heights[right] - heights[right - 1])).T


def rescale(shrunk, unshrunk):
    """Undo the overall shrinkage: the line through each voxel's ridge betas that is nearest to its plain betas.

    Parameters
    ----------
    shrunk, unshrunk : (n_trials, n_voxels) float64 tensors

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


def regularise(work, hrf_index, *, components, repeats, fractions, autoscale):
    """Types C and D: betas without the noise components, then with the ridge fraction that repeats bear out.

    Parameters
    ----------
    work : glm_steps.Work
    hrf_index : (n_voxels,) int
    components : list of (n_volumes, n_pcs) tensors
        Those to be removed.
    repeats : glm_denoise.Repeats or None
        Not needed for a single fraction.
    fractions : sequence of float
        To choose from.
    autoscale : bool
        Undo the overall shrinkage.

    Returns
    -------
    dict
        betas_c, betas_d (n_trials, n_voxels) in raw units; fraction, scale, offset (n_voxels,); explained_c and
        explained_d (n_voxels,), the energy of the series that the betas explain, noise components not counted;
        fraction_cv_error (n_fractions, n_voxels), NaN for a single fraction; fractions (n_fractions,), descending.
    """
    fractions = np.unique(fractions)[::-1].copy()
    autoscale = autoscale and fractions.min() < 1
    shapes = dict.fromkeys(("betas_c", "betas_d"), (work.n_trials, work.n_voxels))
    shapes |= dict.fromkeys(("fraction", "scale", "offset", "explained_c", "explained_d"), (work.n_voxels,))
    shapes["fraction_cv_error"] = (len(fractions), work.n_voxels)
    result = {
        name: work.scratch.array(name, shape, np.float64 if name.startswith("explained") else np.float32)
        for name, shape in shapes.items()
    }
    solved = None
    for number, voxels in work.batches(work.groups(hrf_index), "ridge", resumable=True):
        if solved is None or solved.hrf != number:
            solved = _Solved.of(work, number, components)
        fitted = solved.fit(work.residuals(voxels), fractions=fractions, repeats=repeats, autoscale=autoscale)
        for name, values in fitted.items():
            result[name][..., voxels] = values.cpu()
    return result | {"fractions": fractions}


@dataclass(frozen=True)
class _Solved:
    """The equations of one HRF, with and without noise components, for the voxels that have it."""

    hrf: int
    plain: list
    denoised: list
    spectrum: Spectrum

    @classmethod
    def of(cls, work, number, components):
        """Solve them."""
        denoised = work.blocks(number, components)
        spectrum = Spectrum.of([block.gram for block in denoised])
        return cls(number, work.plain_blocks(number), denoised, spectrum)

    def fit(self, series, *, fractions, repeats, autoscale):
        """Betas of types C and D of one batch of voxels, and how they were chosen."""
        rotated = self.spectrum.rotate(linear.project(self.denoised, series))  # (n_trials, n_voxels)
        unshrunk = self.spectrum.unrotate(rotated)
        wanted = rotated.new_tensor(fractions)
        penalties = penalties_for(wanted, rotated, values=self.spectrum.values)  # (n_fractions, n_voxels)
        found = {"betas_c": unshrunk, "explained_c": linear.explained_energy(self.plain, unshrunk, series)}
        found["fraction_cv_error"] = torch.full_like(penalties, torch.nan)
        best = torch.zeros(rotated.shape[1], dtype=torch.int64, device=rotated.device)
        if len(fractions) > 1:
            comparison = repeats.against(unshrunk)
            shrunk = (self.spectrum.shrink(rotated, penalty) for penalty in penalties)
            cv_error = torch.stack([comparison.cv_error(betas) for betas in shrunk])
            found["fraction_cv_error"], best = cv_error, cv_error.argmin(0)
        betas = self.spectrum.shrink(rotated, penalties.gather(0, best[None])[0])
        found |= {"fraction": wanted[best], "explained_d": linear.explained_energy(self.plain, betas, series)}
        scale, offset = torch.ones_like(wanted[best]), torch.zeros_like(wanted[best])
        if autoscale:
            betas, scale, offset = rescale(betas, unshrunk)
        return found | {"betas_d": betas, "scale": scale, "offset": offset}


def _penalty_grid(values):
    """0, then powers of ten in steps of 0.2 decades from far below the smallest eigenvalue to far above the largest."""
    low = np.floor(np.log10(SMALLEST * values.min().item()))
    high = np.ceil(np.log10(LARGEST * values.max().item()))
    return torch.cat([values.new_zeros(1), values.new_tensor(10 ** np.arange(low, high, STEP))])
