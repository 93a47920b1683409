"""Explorations: classes that load a run's results once and recompute for any settings, without widgets and figures.

Each class loads on construction, and its `compute` takes the settings; `nsdlib.plots.explore` adds the controls.
"""

from functools import cached_property

import numpy as np

from nsdlib.core.glm import hrf
from nsdlib.data.formats.series import as_mask
from nsdlib.data.subject import open_subject
from nsdlib.store import zoo
from nsdlib.store.store import Store

ALL_REGIONS = "all regions"
CEILING, REPEATS = "noise ceiling (percent)", "correlation of repeats"  # measures of a voxel


class VoxelFits:
    """Fits of all HRFs of the library to one voxel in one run of session 1; requires the artifact `glm`."""

    def __init__(self, run):
        glm, self._subject = Store(run).load("glm").isel(session=0), open_subject(run)
        self._file_voxels = glm.roi_voxel.values  # (n_voxels,) flat C-order indices in the files' orientation
        self.background, self.voxels = _upright(self._subject, self._file_voxels)
        self._maps = glm[["hrf_r2", "hrf_index", "onoff_r2", "mean"]].sel(voxel=self._file_voxels).load()
        self.n_runs, self.hrf_index = self._subject.n_runs(1), self._maps.hrf_index.values  # (n_voxels,)
        self.peaks = hrf.peak_seconds(self._subject.duration)  # (n_hrfs,)
        self._series = {}  # run number to (n_volumes, n_voxels)
        onoff = self._maps.onoff_r2.values
        self.start = int(self.voxels[np.nanargmin(np.abs(onoff - np.nanpercentile(onoff, 75)))])  # a responsive voxel

    def compute(self, voxel, number):
        """Fit one of `voxels` in the run with this number (from 1); the series of each run are read once.

        Returns a Dataset: measured (volume) and fit (hrf, volume), percent of the mean, see `fit_hrfs`; onset (trial) and the
        coordinate volume, seconds; r2 (hrf), percent of the session's variance. Attributes: chosen (index of the HRF) and
        position (x, y, z) in `background`.
        """
        import xarray as xr

        row, tr = int(np.flatnonzero(self.voxels == voxel)[0]), self._subject.tr
        labels, maps = self._subject.design(1, number), self._maps.isel(voxel=row)
        if number not in self._series:
            self._series[number] = self._subject.timeseries(1, number, as_mask(self._file_voxels, self._subject.brainmask.shape))
        series = self._series[number][: len(labels), row]
        hrfs = hrf.sampled_library(tr, self._subject.duration)
        measured, fits = fit_hrfs(labels, series, hrfs=hrfs, tr=tr, mean=float(maps["mean"]))
        results = {"measured": ("volume", measured), "fit": (("hrf", "volume"), fits)}
        results |= {"onset": ("trial", tr * np.flatnonzero(labels)), "r2": ("hrf", maps.hrf_r2.values)}
        position = [int(i) for i in np.unravel_index(voxel, self.background.shape)]
        attributes = {"chosen": int(maps.hrf_index), "position": position}
        return xr.Dataset(results, coords={"volume": tr * np.arange(len(measured))}, attrs=attributes)


class RegionMeasures:
    """Location of regions and agreement of repeats in each, from the artifact `betas`; single trials are read on demand.

    A ValueError is raised if no image was repeated.
    """

    def __init__(self, run):
        self._run, self._subject, betas = run, open_subject(run), Store(run).load("betas")
        self.measures = {CEILING: betas.noise_ceiling.values, REPEATS: None}  # each (n_voxels,)
        if np.isnan(self.measures[CEILING]).all():
            raise ValueError("No training image was shown twice: a noise ceiling cannot be estimated. Read more sessions.")
        self.regions, (self.background, self._voxels) = _regions(betas), _upright(self._subject, betas.voxel.values)
        self.slices = np.unique(np.unravel_index(self._voxels, self.background.shape)[2])

    def compute(self, region, z, measure):
        """Collect one region or `ALL_REGIONS` on three slices around z, and the values of a measure in their voxels.

        Returns the regions' masks (X, Y, Z) bool, the slices, and the measure in each region's voxels, last in all voxels.
        """
        from nsdlib.core.scores.reliability import reliability
        from nsdlib.study.betas import load_trials

        regions = self.regions if region == ALL_REGIONS else {region: self.regions[region]}
        masks = {name: as_mask(self._voxels[inside], self.background.shape) for name, inside in regions.items()}
        slices = [i for i in (z - 1, z, z + 1) if 0 <= i < self.background.shape[2]]
        if self.measures[measure] is None:
            _, trials = load_trials(self._run, Store(self._run), self._subject)
            self.measures[measure] = reliability(trials.betas.values, trials.image_id.values, session=trials.session.values)
        values = self.measures[measure]
        return masks, slices, {name: values[inside] for name, inside in regions.items()} | {"all voxels": values}


class StoredImages:
    """Test images with captions, and what `reconstruction`, `ablation` and, if available, `systems` store of them."""

    def __init__(self, run):
        self.run, self._store, self._subject = run, Store(run), open_subject(run)
        self._stored = self._store.load("reconstruction")
        self.image_ids, self.stimuli = self._stored.test_image.values.tolist(), self._stored.stimulus
        captions = self._subject.captions(self.image_ids)
        self.captions = {image: (texts or [""])[0] for image, texts in zip(self.image_ids, captions, strict=True)}

    @cached_property
    def _ablation(self):
        return self._store.load("ablation").predicted

    @cached_property
    def _vdvae(self):
        return zoo.load_vdvae(self.run)

    @cached_property
    def _diffusion(self):
        return zoo.load_diffusion(self.run)

    def collect(self, image):
        """Collect all images made of a test image, each with its PixCorr, and a note on what is missing (str).

        Returns a dict of group to label to (image (rows, columns, 3) uint8, float), and the note. The decoders' rough images are
        drawn here, with the run's seed.
        """
        from nsdlib.study.reconstruction import STORED

        stored, decoded = self._stored.sel(test_image=image), self._ablation.sel(test_image=image)
        rough = self._vdvae.decode(decoded.values, seed=self.run.seed, image_ids=[image] * len(decoded))
        groups = {
            "stages and bounds": {
                "seen" if name == "stimulus" else system: stored[name].values for name, system in STORED.items()
            },
            "decoders, rough": dict(zip(decoded.decoder.values.tolist(), rough, strict=True)),
        }
        note, seen = "", groups["stages and bounds"]["seen"]
        try:
            systems = self._store.load("systems").refined.sel(test_image=image)
            groups["recipes"] = dict(zip(systems.system.values.tolist(), systems.values, strict=True))
        except FileNotFoundError as error:
            note = f"Recipes are not shown. {error}"
        return {
            group: {label: (picture, _pixcorr(seen, picture)) for label, picture in images.items()}
            for group, images in groups.items()
        }, note


class Reconstruction(StoredImages):
    """A test image drawn and refined with settings other than the run's."""

    def __init__(self, run):
        super().__init__(run)
        self.decoders = self._ablation.decoder.values.tolist()
        names = ("decoder", "n_layers", "strength", "text_weight", "guidance")
        self.start = {name: getattr(run, name) for name in names} | {"seed": 0}

    def compute(self, image, **settings):
        """Draw the rough image from a decoder's first layers and refine it; with `start` as settings, both come from the store.

        Settings are `decoder`, `n_layers`, those of `diffusion.refine`, and `seed`, which is added to the run's seeds of both
        stages. Returns the images (rows, columns, 3) uint8, seen, rough and refined, and (PixCorr, SSIM) of the last two.
        """
        from nsdlib.core.images import resize
        from nsdlib.core.scores.similarity import ssim

        stored = self._stored.sel(test_image=[image])
        drawn = (stored.rough.values, stored.refined.values) if settings == self.start else self._draw(image, stored, **settings)
        images, scores = {"seen": stored.stimulus.values[0]}, {}
        for stage, pictures in zip(("rough", "refined"), drawn, strict=True):
            similarity = ssim(resize(stored.stimulus.values, pictures.shape[1]), pictures)[0]
            images[stage], scores[stage] = pictures[0], (_pixcorr(images["seen"], pictures[0]), similarity)
        return images, scores

    def _draw(self, image, stored, decoder, n_layers, seed, **refinement):
        """The rough and the refined image (1, rows, columns, 3) with these settings."""
        latents = self._ablation.sel(decoder=decoder, test_image=[image])[:, : self._vdvae.n_latents(n_layers)].values
        rough = self._vdvae.decode(latents, seed=self.run.seed + seed, image_ids=[image])
        settings = zoo.refinement(self.run) | refinement | {"seed": self.run.diffusion_seeds[0] + seed}
        tokens = stored.text_pred.values, stored.vision_pred.values
        return rough, self._diffusion.refine(rough, *tokens, image_ids=[image], **settings)


class RegionAlteration(StoredImages):
    """A test image reconstructed from a pattern in which a region is silenced or driven.

    Ridge decodes all three targets, whatever the run's decoder, and restores their spread in training.
    """

    def __init__(self, run):
        super().__init__(run)
        self._betas = self._store.load("betas")
        self.regions, (self.background, self._voxels) = _regions(self._betas), _upright(self._subject, self._betas.voxel.values)

    @cached_property
    def _fitted(self):
        from nsdlib.study.reconstruction import Split, fit_ridges

        targets, embeddings = self._store.load("targets"), self._store.load("embeddings")
        train = Split.of("train", self._betas, targets, embeddings, n_latents=self._vdvae.n_latents(self.run.n_layers))
        return train, fit_ridges(train, run=self.run)

    def masks(self, region):
        """Return the voxels of a region, and the `control_voxels` drawn at random: two (X, Y, Z) bool."""
        selections = self.regions[region], control_voxels(self.regions[region], seed=self.run.seed)
        return tuple(as_mask(self._voxels[rows], self.background.shape) for rows in selections)

    def compute(self, image, region, scale, add):
        """Reconstruct an image from its pattern as measured, with a region altered, and with control voxels altered.

        Returns the seen image (rows, columns, 3) uint8, the rough and refined images of each pattern, and the mean distances of
        the second and third refined image from the first, in grey levels. With `scale` 1 and `add` 0 nothing is computed: the
        rough and the refined image are those of notebook 05, and there are no distances.
        """
        from nsdlib.core.ridge import rescale

        run, stored = self.run, self._stored.sel(test_image=[image])
        if (scale, add) == (1, 0):
            return stored.stimulus.values[0], stored.rough.values, stored.refined.values, ()
        (train, ridges), pattern = self._fitted, self._betas.X_test.sel(test_image=image).values
        altered = alter(pattern, self.regions[region], scale=scale, add=add, seed=run.seed)
        image_ids = [image] * len(altered)
        mode = "none" if run.renormalise == "none" else "train"  # a single pattern has no test-set moments
        decoded = {target: rescale(ridge.predict(altered), ridge, mode=mode) for target, ridge in ridges.items()}
        rough = self._vdvae.decode(decoded["latents"], seed=run.seed, image_ids=image_ids)
        refined = self._diffusion.refine(rough, *train.as_tokens(decoded).values(), image_ids=image_ids, **zoo.refinement(run))
        distances = [np.abs(refined[0].astype(int) - changed).mean() for changed in refined[1:]]
        return stored.stimulus.values[0], rough, refined, distances


def fit_hrfs(labels, series, *, hrfs, tr, mean=None):
    """Fit single trials to one voxel's series in one run, with each HRF, by least squares.

    Trials of different runs never overlap, so the other runs have no effect. `labels` (n_volumes,) are the run's design, nonzero
    at each onset; `series` (n_volumes,) is BOLD; `hrfs` (n_hrfs, n_samples) are sampled at the volumes, `tr` seconds apart;
    `mean` is the voxel's mean over all runs, by default over this run. Returns the series without drift, (n_volumes,), and its
    fits, (n_hrfs, n_volumes), float64, both in percent of the mean.
    """
    import torch

    from nsdlib.core.glm.design import voxel_series
    from nsdlib.core.glm.linear import solve_block

    design, measured = voxel_series(labels, series, tr=tr, mean=mean)
    block = solve_block(design.regressors(torch.as_tensor(np.asarray(hrfs, np.float64))), design.no_columns, run=1)
    return measured[:, 0].numpy(), (block.regressors @ (block.inverse @ measured))[..., 0].numpy()


def alter(pattern, voxels, *, scale, add, seed):
    """Scale and shift the responses of a region, and of other voxels as a control: (3, n_voxels) float32, or (2, n_voxels).

    The rows are the unchanged `pattern`, the pattern with the region altered, `voxels` (n_voxels,) bool, and with the
    `control_voxels`, if any. Responses are z-scored: `scale` 0 silences, so that voxels respond as to the average image; `add`
    drives them by this many standard deviations, whatever the image.
    """
    changed, masks = scale * pattern + add, (voxels, control_voxels(voxels, seed=seed))
    return np.stack([pattern, *(np.where(mask, changed, pattern) for mask in masks if mask.any())]).astype(np.float32)


def control_voxels(voxels, *, seed) -> np.ndarray:
    """Draw as many voxels at random outside a region as it has, or all if there are fewer; both (n_voxels,) bool."""
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(~voxels))[: voxels.sum()]
    return np.isin(np.arange(len(voxels)), rows)


def _upright(subject, voxels):
    """A subject's background image with axes left to right, back to front and upwards, and the voxels' indices in it."""
    from nibabel import Nifti1Image, as_closest_canonical
    from nibabel.affines import apply_affine

    stored = Nifti1Image(np.asarray(subject.background, np.float32), subject.affine)
    head = as_closest_canonical(stored)
    positions = apply_affine(np.linalg.inv(head.affine) @ stored.affine, np.transpose(np.unravel_index(voxels, stored.shape)))
    return head, np.ravel_multi_index(positions.round().astype(int).T, head.shape)


def _regions(dataset):
    """Voxels of each region that has any, by name."""
    members = zip(dataset.region.values.tolist(), dataset.in_region.values, strict=True)
    return {name: inside for name, inside in members if inside.any()}


def _pixcorr(seen, picture):
    """PixCorr of one image with the seen one, at the size of the former; both (rows, columns, 3) uint8."""
    from nsdlib.core.images import resize
    from nsdlib.core.scores.similarity import pixcorr

    return pixcorr(resize(seen[None], picture.shape[0]), picture[None])[0]
