"""Explorations: read a run's results once, then compute anew for any settings, without widgets and without figures.

Each class reads when it is made, and its `compute` takes values by name; `nsdlib.plots.explore` puts controls beside them.
"""

import numpy as np

from nsdlib.data.subject import open_subject
from nsdlib.store import zoo
from nsdlib.store.store import Store

ALL_REGIONS = "all regions"


class VoxelFits:
    """Fits of all HRFs of the library to one voxel in one run of session 1, of which the artifact `glm` is needed."""

    def __init__(self, run):
        from nsdlib.core.glm import hrf
        from nsdlib.data.glm_sessions import read_session

        glm = Store(run).load("glm").isel(session=0)
        subject = open_subject(run)
        self.background, self._tr = subject.background, subject.tr  # (X, Y, Z)
        self.voxels = glm.roi_voxel.values  # (n_voxels,) flat C-order indices into the volume
        mask = np.zeros(subject.brainmask.shape, dtype=bool)
        mask.flat[self.voxels] = True
        self._design, self._series, _ = read_session(subject, 1, mask)
        self._maps = glm[["hrf_r2", "hrf_index", "onoff_r2", "mean"]].sel(voxel=self.voxels).load()
        self.n_runs, self.hrf_index = len(self._series), self._maps.hrf_index.values  # (n_voxels,)
        self.peaks = hrf.peak_seconds()  # (n_hrfs,)
        self.positions = np.stack(np.unravel_index(self.voxels, mask.shape), axis=1)  # (n_voxels, 3)
        onoff = self._maps.onoff_r2.values
        self.start = self.positions[np.nanargmin(np.abs(onoff - np.nanpercentile(onoff, 75)))]  # it responds

    def compute(self, x, y, z, number):
        """Fit the voxel of slice z that lies nearest to x and y, in the run of this number (from 1).

        Returns
        -------
        xarray.Dataset
            measured (volume) and fit (hrf, volume), percent of the mean, see `fit_hrfs`; onset (trial) and the coordinate volume,
            seconds; r2 (hrf), percent of the session's variance. Attributes: chosen (the HRF, from 0) and position (x, y, z).
        """
        import xarray as xr

        from nsdlib.core.glm import hrf

        row = nearest_voxel(self.positions, (x, y, z))
        labels, series, voxel = self._design[number - 1], self._series[number - 1][:, row], self._maps.isel(voxel=row)
        measured, fits = fit_hrfs(labels, series, hrfs=hrf.sampled_library(self._tr), tr=self._tr, mean=float(voxel["mean"]))
        results = {"measured": ("volume", measured), "fit": (("hrf", "volume"), fits)}
        results |= {"onset": ("trial", self._tr * np.flatnonzero(labels)), "r2": ("hrf", voxel.hrf_r2.values)}
        attributes = {"chosen": int(voxel.hrf_index), "position": self.positions[row].tolist()}
        return xr.Dataset(results, coords={"volume": self._tr * np.arange(len(measured))}, attrs=attributes)


class RegionMeasures:
    """Where regions lie, and how well repeats agree in each, from the artifact `betas` and single trials."""

    def __init__(self, run):
        from nsdlib.core.scores.reliability import reliability
        from nsdlib.study.betas import load_trials

        store, subject = Store(run), open_subject(run)
        ceiling = store.load("betas").noise_ceiling.values
        _, trials = load_trials(run, store, subject)
        self.measures = {}  # each (n_voxels,)
        if np.isfinite(ceiling).all():  # else no training image was shown again
            self.measures["correlation of repeats"] = reliability(trials.betas.values, trials.image_id.values)
        self.measures["noise ceiling (percent)"] = ceiling
        self.regions, self.background = _regions(trials), subject.background
        self._voxels = trials.voxel.values
        self.slices = np.unique(np.unravel_index(self._voxels, self.background.shape)[2])

    def compute(self, region, z, measure):
        """Collect one region or `ALL_REGIONS` on three slices around z, and the values of a measure in its voxels.

        Returns the regions' masks (X, Y, Z) bool, the slices, and the measure in each region's voxels, last in all voxels.
        """
        regions = self.regions if region == ALL_REGIONS else {region: self.regions[region]}
        masks = {name: np.zeros(self.background.shape, dtype=bool) for name in regions}
        for name, inside in regions.items():
            masks[name].flat[self._voxels[inside]] = True
        slices = [i for i in (z - 1, z, z + 1) if 0 <= i < self.background.shape[2]]
        values = self.measures[measure]
        return masks, slices, {name: values[inside] for name, inside in regions.items()} | {"all voxels": values}


class Reconstruction:
    """A test image drawn and refined with other settings than the run's, from `ablation` and `reconstruction`."""

    def __init__(self, run):
        store = Store(run)
        self._stored, self._predicted = store.load("reconstruction"), store.load("ablation").predicted
        self._vdvae, self._diffusion = zoo.load_vdvae(run), zoo.load_diffusion(run)
        self._fixed = {name: getattr(run, name) for name in ("n_steps", "sampler", "faithful")}
        self._seeds = run.seed, run.diffusion_seeds[0]
        self.image_ids = self._stored.test_image.values.tolist()
        self.decoders = self._predicted.decoder.values.tolist()

    def compute(self, image, decoder, n_layers, seed, **refinement):
        """Draw the rough image of a decoder's first layers and refine it, with settings as `diffusion.refine` takes them.

        `seed` is added to the run's seeds of both stages: 0 gives what notebook 05 drew. Returns the images (rows, columns, 3)
        uint8, seen, rough and refined, and of the last two (PixCorr, SSIM).
        """
        from nsdlib.core.images import resize
        from nsdlib.core.scores.similarity import pixcorr, ssim

        row = [self.image_ids.index(image)]
        stored = self._stored.isel(test_image=row)
        latents = self._predicted.sel(decoder=decoder)[row, : self._vdvae.n_latents(n_layers)].values
        of_rough, of_refined = (own + seed for own in self._seeds)
        rough = self._vdvae.decode(latents, seed=of_rough, image_ids=[image])
        tokens, seen = (stored.text_pred.values, stored.vision_pred.values), stored.stimulus.values
        refined = self._diffusion.refine(rough, *tokens, image_ids=[image], seed=of_refined, **refinement, **self._fixed)
        images, scores = {"seen": seen[0]}, {}
        for stage, drawn in (("rough", rough), ("refined", refined)):
            truth = resize(seen, drawn.shape[1])
            images[stage], scores[stage] = drawn[0], (pixcorr(truth, drawn)[0], ssim(truth, drawn)[0])
        return images, scores


class RegionAlteration:
    """A test image from a pattern in which a region is silenced or driven, read by ridges and drawn by both stages.

    All three targets are read by ridges, whatever decoder the run has, and given back their spread as in training.
    """

    def __init__(self, run):
        from nsdlib.study.reconstruction import Split, fit_ridges

        store, self._run = Store(run), run
        betas, self._stored = store.load("betas"), store.load("reconstruction")
        self._vdvae, self._diffusion = zoo.load_vdvae(run), zoo.load_diffusion(run)
        targets, n_latents = (store.load("targets"), store.load("embeddings")), self._vdvae.n_latents(run.n_layers)
        self._train = Split.of("train", betas, *targets, n_latents=n_latents)
        self._ridges = fit_ridges(self._train, run=run)
        self._patterns, self.regions = betas.X_test, _regions(betas)
        self.image_ids = betas.test_image.values.tolist()

    def compute(self, image, region, scale, add):
        """Reconstruct an image from its pattern as measured, with a region altered, and with as many other voxels altered.

        Returns the seen image (rows, columns, 3) uint8, the three rough and the three refined ones, and the mean distances of the
        second and third refined one from the first, in grey levels.
        """
        from nsdlib.core.ridge import rescale

        run, image_ids = self._run, [image] * 3
        pattern, voxels = self._patterns.sel(test_image=image).values, self.regions[region]
        altered = alter(pattern, voxels, scale=scale, add=add, seed=run.seed)
        mode = "none" if run.renormalise == "none" else "train"  # one pattern has no moments of a test set
        decoded = {target: rescale(ridge.predict(altered), ridge, mode=mode) for target, ridge in self._ridges.items()}
        rough = self._vdvae.decode(decoded["latents"], seed=run.seed, image_ids=image_ids)
        tokens = self._train.as_tokens(decoded).values()
        refined = self._diffusion.refine(rough, *tokens, image_ids=image_ids, **zoo.refinement(run))
        moved = [np.abs(refined[0].astype(int) - other).mean() for other in refined[1:]]
        return self._stored.stimulus.sel(test_image=image).values, rough, refined, moved


def nearest_voxel(positions, target):
    """Find the row of positions (n_voxels, 3) nearest to a target (x, y, z) on its slice z; a slice without any is an error."""
    on_slice = np.flatnonzero(positions[:, 2] == target[2])
    if not len(on_slice):
        raise ValueError(f"no voxel of the region lies on slice z = {target[2]}; choose another slice.")
    return int(on_slice[np.square(positions[on_slice, :2] - target[:2]).sum(axis=1).argmin()])


def fit_hrfs(labels, series, *, hrfs, tr, mean=None):
    """Fit single trials to one voxel's series in one run, with each HRF, by least squares.

    Trials of different runs never overlap, so the other runs do not matter. `labels` (n_volumes,) are the run's design, other
    than 0 at each onset, `series` (n_volumes,) BOLD, and `hrfs` (n_hrfs, n_samples) sampled at the volumes, `tr` seconds
    apart; `mean` is the voxel's over all runs, this run's when not given. Returns the series without drift, (n_volumes,), and
    its fits, (n_hrfs, n_volumes), float64, both percent of the mean.
    """
    import torch

    from nsdlib.core.glm.design import voxel_series
    from nsdlib.core.glm.linear import solve_block

    design, measured = voxel_series(labels, series, tr=tr, mean=mean)
    block = solve_block(design.regressors(torch.as_tensor(np.asarray(hrfs, np.float64))), design.no_columns, run=1)
    return measured[:, 0].numpy(), (block.regressors @ (block.inverse @ measured))[..., 0].numpy()


def alter(pattern, voxels, *, scale, add, seed):
    """Multiply and shift the responses of a region, and those of as many other voxels instead: (3, n_voxels) float32.

    The rows are the `pattern` as it is, with the region altered, `voxels` (n_voxels,) bool, and with as many others altered,
    drawn at random outside it; all of them where they do not suffice. Responses are z-scored: `scale` 0 silences, the voxels
    answer as to the average image; to `add` standard deviations drives them, whatever the image.
    """
    drawn = np.random.default_rng(seed).permutation(np.flatnonzero(~voxels))[: voxels.sum()]
    others, changed = np.isin(np.arange(len(voxels)), drawn), scale * pattern + add
    return np.stack([pattern, *(np.where(mask, changed, pattern) for mask in (voxels, others))]).astype(np.float32)


def _regions(dataset):
    """Name to voxels of the regions that have any."""
    members = zip(dataset.region.values.tolist(), dataset.in_region.values, strict=True)
    return {name: inside for name, inside in members if inside.any()}
