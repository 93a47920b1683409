"""From single trials to the decoders' patterns: voxels of a region, images averaged over repeats, z-scored, split.

Means, standard deviations and noise ceilings come from the training images alone.
Voxels that were not measured in one of the sessions (NSD's `valid_session`) are left out: NSD set their series to 0 for the whole
session (preprocess_nsd_secondstage.m, `maskoutnans`), so that their betas are 0 there (export_noiseceiling.m; both in
cvnlab/nsddatapaper at 9d878d7). Here one value throughout a run is enough, which a fit makes of a series that is constant in it.
"""

import hashlib
import warnings

import numpy as np
import xarray as xr

from nsdlib.core.scores.reliability import BATCH, ncsnr, trials_by_image, variances
from nsdlib.data.splits import draw

FEWEST_AGAIN = 100  # trials that show a training image again, below which ON-OFF R2 chooses voxels better than they


def load_trials(run, store, subject):
    """Load a run's single trials: (as `read_trials` or `trials_from_glm` has them, the same scaled as the run says).

    Where the run limits them, only `n_test` of its test images, drawn by its seed, and its `n_voxels` `best_voxels` are kept.
    """
    onoff_r2 = None
    if run.betas == "glm":
        glm = store.load("glm")
        trials = trials_from_glm(glm, subject, roi=run.roi)
        onoff_r2 = glm.onoff_r2.sel(voxel=trials.voxel).mean("session").values
    else:
        trials = read_trials(subject, roi=run.roi, version=run.betas_version)
    if run.n_test is not None:
        kept = draw(np.unique(trials.image_id[trials.is_test]), run.n_test, seed=run.seed)
        trials = trials.isel(trial=~trials.is_test.values | np.isin(trials.image_id, kept))
    if run.n_voxels is not None:
        trials = trials.isel(voxel=best_voxels(trials, run.n_voxels, onoff_r2=onoff_r2))
    return trials, zscore_sessions(trials) if run.scaling == "sessions" else trials


def read_trials(subject, *, roi="nsdgeneral", version=None):
    """Load the single-trial betas that came with the data (NSD: of a `version`), of the voxels of `subject.voxels(roi)`.

    Returns
    -------
    xarray.Dataset
        betas (trial, voxel) float32, in `subject.betas_unit`; in_region (region, voxel) bool; coordinates trial (from 0), voxel
        (flat C-order index into the volume), and for each trial image_id, session (from 1), is_test (by the split). Without
        the voxels that hold one value throughout a run: a warning says how many, or an error that none remains.
    """
    mask = subject.voxels(roi)
    betas = np.empty((subject.n_trials, mask.sum()), dtype=np.float32)
    for session in range(1, subject.n_sessions + 1):
        betas[subject.session == session] = subject.betas(session, mask, version=version)
    return _label(betas, np.arange(subject.n_trials), mask, subject, subject.betas_unit)


def trials_from_glm(glm, subject, *, roi="nsdgeneral"):
    """Return the betas of the artifact `glm` (betas_d, (trial, roi_voxel)) in the form of `read_trials`, without voxels of NaN.

    `roi` is the label volume that the artifact was made for; a ValueError when its voxels are not those of the region.
    """
    mask = subject.voxels(roi) & subject.brainmask  # the fit has no others
    if not np.array_equal(glm.roi_voxel, np.flatnonzero(mask)):
        raise ValueError(
            f"The glm artifact has {glm.sizes['roi_voxel']} voxels, {roi} of {subject.name} has {mask.sum()}, or "
            "others: run notebook 01 again with this roi."
        )
    return _label(np.nan_to_num(glm.betas_d.values), glm.trial.values, mask, subject)


def best_voxels(trials, n_voxels, *, onoff_r2=None):
    """Choose the voxels that are likeliest to tell images apart, without a look at a test trial: their places, ascending.

    Of single trials (`read_trials`) the `n_voxels` with the largest ratio of signal to noise of training images that were shown
    again. Where none was, those with the largest `onoff_r2`, (n_voxels,): it knows when images were shown, not which. A
    ValueError when neither is there.
    """
    train = ~trials.is_test.values
    ids = trials.image_id.values[train]
    if len(ids) - len(np.unique(ids)) >= (FEWEST_AGAIN if onoff_r2 is not None else 1):
        merit = ncsnr(trials.betas.values[train], ids, session=trials.session.values[train])
    elif onoff_r2 is not None:
        merit = onoff_r2
    else:
        raise ValueError("n_voxels: no training image was shown twice, and no fit says which voxels respond: choose another roi.")
    return np.sort(np.argsort(-np.nan_to_num(merit, nan=-np.inf), kind="stable")[:n_voxels])


def zscore_sessions(trials):
    """Z-score each voxel of single trials (`read_trials`, `trials_from_glm`) within each session; returns such a Dataset.

    Mean and standard deviation (ddof=1) come from the training trials of the session and scale all of its trials, so that no test
    image has a say. A ValueError when a session has fewer than two training trials.
    """
    betas, held_out = trials.betas.values.copy(), trials.is_test.values
    for number in np.unique(trials.session):
        of_session = trials.session.values == number
        train, test = of_session & ~held_out, of_session & held_out
        if train.sum() < 2:
            raise ValueError(f"Session {number} has {train.sum()} trials to train with: wanted at least 2 to scale it by.")
        betas[train], betas[test], *_ = zscore(betas[train], betas[test])
    return trials.assign(betas=(trials.betas.dims, betas, {"units": "standard deviations within the session"}))


def assemble(trials):
    """Assemble the training and test sets of the decoders from single trials (`read_trials`, `zscore_sessions`).

    Returns
    -------
    xarray.Dataset
        X_train (train_image, voxel) and X_test (test_image, voxel), float32, z-scored with the mean and standard deviation
        (ddof=1) of X_train; n_repeats_train, n_repeats_test; mean, sd (voxel), in the unit of the trials; in_region (region,
        voxel) bool. Of training trials, NaN when none showed an image again: ncsnr (voxel), by NSD's definition; and
        noise_ceiling (voxel), the percentage of the variance of averages like those of the test images that any model can
        explain. It belongs to the trials as they are: with offsets of the sessions, if these have not been scaled away, and not
        cut at 0, so that means over voxels are not too high. Images in ascending order of their ids, which are the coordinates
        train_image and test_image. The attribute `split` is their `split_hash`. A ValueError without trials of both sets.
    """
    test, ids, betas = trials.is_test.values, trials.image_id.values, trials.betas.values
    if test.all() or not test.any():
        raise ValueError(
            f"{test.sum()} of {len(test)} trials showed test images: wanted some, and some others. Take more sessions."
        )
    images_train, X_train, n_train = average_repeats(betas[~test], ids[~test])
    images_test, X_test, n_test = average_repeats(betas[test], ids[test])
    X_train, X_test, mean, sd = zscore(X_train, X_test)
    ratio = ceiling = np.full(betas.shape[1], np.nan)
    if n_train.max() > 1:
        ratio = ncsnr(betas[~test], ids[~test], session=trials.session.values[~test])
        ceiling = _noise_ceiling(trials)
    return xr.Dataset(
        {
            "X_train": (("train_image", "voxel"), X_train),
            "X_test": (("test_image", "voxel"), X_test),
            "n_repeats_train": ("train_image", n_train),
            "n_repeats_test": ("test_image", n_test),
            "mean": ("voxel", mean, trials.betas.attrs),
            "sd": ("voxel", sd, trials.betas.attrs),
            "ncsnr": ("voxel", ratio),
            "noise_ceiling": ("voxel", ceiling, {"units": "percent of variance"}),
            "in_region": trials.in_region,
        },
        coords={"train_image": images_train, "test_image": images_test, "voxel": trials.voxel},
        attrs={"split": split_hash(images_train, images_test)},
    )


def single_showings(trials, assembled):
    """Return the test images' single trials as patterns for decoders: (n_showings, n_test, n_voxels) float32.

    Order of the images and scale of the voxels are those of `assembled`, which `assemble` made of `trials`. There are as many
    showings as the test image with the fewest has, the earliest first.
    """
    n_showings, ids = int(assembled.n_repeats_test.min()), trials.image_id.values
    rows = np.stack([np.flatnonzero(ids == image)[:n_showings] for image in assembled.test_image.values], axis=1)
    mean, sd = assembled["mean"].values, assembled.sd.values
    return np.stack([_standardised(trials.betas.values[showing], mean, sd) for showing in rows])


def split_hash(images_train, images_test):
    """Compute the hash of a split into training and test images, each (n_images,) 0-based ids among the 73,000 in any order.

    The first 12 hexadecimal digits of sha256 over the ascending ids, each once, written as "1,2,3;4,5": training, then test.
    """
    written = ";".join(",".join(map(str, np.unique(ids).tolist())) for ids in (images_train, images_test))
    return hashlib.sha256(written.encode()).hexdigest()[:12]


def average_repeats(betas, image_ids):
    """Average the betas (n_trials, n_voxels) over the trials of each image.

    Returns the images' ids (n_images,), ascending, their means (n_images, n_voxels) float32, and numbers of trials
    (n_images,).
    """
    images, order, first, n_repeats = trials_by_image(betas, image_ids)
    means = np.empty((len(images), betas.shape[1]), dtype=np.float32)
    for start in range(0, betas.shape[1], BATCH):
        batch = betas[order, start : start + BATCH].astype(np.float64)
        means[:, start : start + BATCH] = np.add.reduceat(batch, first, axis=0) / n_repeats[:, None]
    return images, means, n_repeats


def zscore(X_train, X_test):
    """Standardise each voxel by the mean and standard deviation (ddof=1, as Brain-Diffuser has it) of the training images.

    Returns X_train and X_test, (n_images, n_voxels) float32, in which a voxel that is constant in training is 0, and the mean
    and standard deviation, (n_voxels,) float64.
    """
    mean, sd = X_train.mean(axis=0, dtype=np.float64), X_train.std(axis=0, ddof=1, dtype=np.float64)
    return *(_standardised(X, mean, sd) for X in (X_train, X_test)), mean, sd


def _standardised(X, mean, sd):
    """Patterns (n_images, n_voxels) in float32 by each voxel's mean and standard deviation, 0 where it is constant."""
    varies = sd > 1e-6 * np.abs(mean)
    factor = np.divide(1, sd, out=np.zeros_like(sd), where=varies).astype(np.float32)
    return (X - mean.astype(np.float32)) * factor


def _noise_ceiling(trials):
    """Share of signal (percent) in averages like the test images', with signal, noise and offsets of training trials."""
    test, session = trials.is_test.values, trials.session.values
    betas, ids = trials.betas.values[~test], trials.image_id.values[~test]
    signal, noise = variances(betas, ids, session=session[~test])
    offsets = np.stack([betas[session[~test] == number].mean(axis=0, dtype=np.float64) for number in np.unique(session[~test])])
    offsets -= offsets.mean(axis=0)  # what a session without training trials is taken to have
    shown = session[test, None] == np.unique(session[~test])  # (n_test_trials, n_sessions)
    _, weights, n_repeats = average_repeats(shown, trials.image_id.values[test])  # (n_test_images, n_sessions)
    total = signal + noise * np.mean(1 / n_repeats) + (weights @ offsets).var(axis=0)
    return 100 * np.divide(signal, total, out=np.zeros_like(total), where=total > 0)


def _label(betas, trial, mask, subject, unit="percent signal change"):
    """Betas labelled by their trials, voxels and regions, without voxels that hold one value throughout a run."""
    mask = mask.copy()
    session, run = (subject.trials[name].to_numpy()[trial] for name in ("session", "run"))
    first = np.flatnonzero(np.diff(session, prepend=-1) | np.diff(run, prepend=-1))  # trial of each run
    still = np.maximum.reduceat(betas, first) == np.minimum.reduceat(betas, first)  # (n_runs, n_voxels)
    still &= (np.diff(first, append=len(betas)) > 1)[:, None]
    if (lacking := still.any(axis=0)).any():
        where = ", ".join(map(str, np.unique(session[first][still.any(axis=1)])))
        text = f"{lacking.sum()} of {len(lacking)} voxels do not change in a run (session {where}): not measured, left out."
        if lacking.all():
            raise ValueError(f"{text} None remains: get the betas of that session again.")
        warnings.warn(text, stacklevel=3)
        mask[mask], betas = ~lacking, betas[:, ~lacking]
    regions = subject.regions or {"no region known": mask}
    member = np.stack([inside[mask] for inside in regions.values()])
    return xr.Dataset(
        {
            "betas": (("trial", "voxel"), betas, {"units": unit}),
            "in_region": (("region", "voxel"), member),
        },
        coords={
            "trial": trial,
            "voxel": np.flatnonzero(mask),
            "region": list(regions),
            "image_id": ("trial", subject.image_ids[trial]),
            "session": ("trial", session),
            "is_test": ("trial", subject.is_test[trial]),
        },
    )
