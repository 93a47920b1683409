"""From single trials to the decoders' patterns: select voxels, average repeats, z-score, and split.

Means, standard deviations and noise ceilings come from the training images alone. Voxels that were not measured in a session
(NSD's `valid_session`) are left out. NSD sets their time series to 0 for the whole session (preprocess_nsd_secondstage.m,
`maskoutnans`), so their betas are 0 there (export_noiseceiling.m; both in cvnlab/nsddatapaper at 9d878d7). Here, a voxel is left
out if its betas are constant within any run, as a GLM yields for a time series that is constant there.
"""

import hashlib
import warnings

import numpy as np
import xarray as xr

from nsdlib.core.scores.reliability import BATCH, ncsnr, trials_by_image, variances
from nsdlib.data.splits import draw

MIN_REPEAT_TRIALS = 100  # repeat trials of training images; with fewer, ON-OFF R2 selects voxels better than the ncsnr


def load_trials(run, store, subject):
    """Load a run's single trials: (as `read_trials` or `trials_from_glm` returns them, the same scaled by `run.scaling`).

    With `run.n_test`, only that many test images are kept, drawn with `run.seed`; with `run.n_voxels`, only the `best_voxels`.
    """
    onoff_r2 = None
    if run.betas == "glm":
        glm = store.load("glm")
        trials = trials_from_glm(glm, subject, roi=run.roi)
        onoff_r2 = glm.onoff_r2.sel(voxel=trials.voxel).mean("session").values
    else:
        trials = read_trials(subject, roi=run.roi, version=run.betas_version)
    if run.n_test is not None:
        test_ids = draw(np.unique(trials.image_id[trials.is_test]), run.n_test, seed=run.seed)
        trials = trials.isel(trial=~trials.is_test.values | np.isin(trials.image_id, test_ids))
    if run.n_voxels is not None:
        trials = trials.isel(voxel=best_voxels(trials, run.n_voxels, onoff_r2=onoff_r2))
    return trials, zscore_sessions(trials) if run.scaling == "sessions" else trials


def read_trials(subject, *, roi="nsdgeneral", version=None):
    """Load the single-trial betas supplied with the data for the voxels of `subject.voxels(roi)`; NSD has several in `version`.

    Returns
    -------
    xarray.Dataset
        betas (trial, voxel) float32, in `subject.betas_unit`; in_region (region, voxel) bool; coordinates trial (from 0), voxel
        (flat C-order index into the volume), and for each trial image_id, session (from 1) and is_test (from the split). Voxels
        with constant betas in any run are left out with a warning; a ValueError is raised if none remains.
    """
    mask = subject.voxels(roi)
    betas = np.empty((subject.n_trials, mask.sum()), dtype=np.float32)
    for session in range(1, subject.n_sessions + 1):
        betas[subject.session == session] = subject.betas(session, mask, version=version)
    return _label(betas, np.arange(subject.n_trials), mask, subject, subject.betas_unit)


def trials_from_glm(glm, subject, *, roi="nsdgeneral"):
    """Return the betas of the artifact `glm` (betas_d, (trial, roi_voxel)) in the form of `read_trials`, without NaN voxels.

    `roi` is the label volume that the artifact was made for; a ValueError is raised if its voxels differ from the artifact's.
    """
    mask = subject.voxels(roi) & subject.brainmask  # the GLM fits only these
    if not np.array_equal(glm.roi_voxel, np.flatnonzero(mask)):
        raise ValueError(
            f"The artifact glm has {glm.sizes['roi_voxel']} voxels, but {roi} of {subject.name} has {mask.sum()} or "
            "different ones: run notebook 01 again with this roi."
        )
    return _label(np.nan_to_num(glm.betas_d.values), glm.trial.values, mask, subject)


def best_voxels(trials, n_voxels, *, onoff_r2=None):
    """Select the voxels that are likely to discriminate images best, without test labels: their indices, ascending.

    Takes the `n_voxels` with the largest ncsnr over repeats of training images in single trials (`read_trials`). With fewer than
    `MIN_REPEAT_TRIALS` repeat trials, takes those with the largest `onoff_r2` (n_voxels,) if given; it uses when images were
    shown, not which. A ValueError is raised without repeats and without `onoff_r2`.
    """
    train = ~trials.is_test.values
    ids = trials.image_id.values[train]
    if len(ids) - len(np.unique(ids)) >= (MIN_REPEAT_TRIALS if onoff_r2 is not None else 1):
        merit = ncsnr(trials.betas.values[train], ids, session=trials.session.values[train])
    elif onoff_r2 is not None:
        merit = onoff_r2
    else:
        raise ValueError(
            "n_voxels: no training image was shown twice, and no GLM shows which voxels respond: choose another roi."
        )
    return np.sort(np.argsort(-np.nan_to_num(merit, nan=-np.inf), kind="stable")[:n_voxels])


def zscore_sessions(trials):
    """Z-score each voxel of single trials (`read_trials`, `trials_from_glm`) within each session; returns a Dataset like them.

    The mean and standard deviation (ddof=1) of a session's training trials scale all its trials, so test images have no
    influence. A ValueError is raised for a session with fewer than two training trials.
    """
    betas, held_out = trials.betas.values.copy(), trials.is_test.values
    for number in np.unique(trials.session):
        of_session = trials.session.values == number
        train, test = of_session & ~held_out, of_session & held_out
        if train.sum() < 2:
            raise ValueError(f"Session {number} has {train.sum()} training trials: scaling a session needs at least 2.")
        betas[train], betas[test], *_ = zscore(betas[train], betas[test])
    return trials.assign(betas=(trials.betas.dims, betas, {"units": "standard deviations within the session"}))


def assemble(trials):
    """Assemble the decoders' training and test sets from single trials (`read_trials`, `zscore_sessions`).

    Returns
    -------
    xarray.Dataset
        X_train (train_image, voxel) and X_test (test_image, voxel), float32, z-scored with the mean and standard deviation
        (ddof=1) of X_train; n_repeats_train, n_repeats_test; mean, sd (voxel), in the unit of the trials; in_region (region,
        voxel) bool. From training trials, NaN if no image was repeated: ncsnr (voxel), by NSD's definition; and noise_ceiling
        (voxel), the percentage of variance that any model can explain in averages over as many repeats as the test images have.
        The ceiling includes session offsets that have not been scaled away, and is not clipped at 0, so that means over voxels
        are not biased upwards. The coordinates train_image and test_image are ascending image ids. The attribute `split` is their
        `split_hash`. A ValueError is raised if there are no training or no test trials.
    """
    test, ids, betas = trials.is_test.values, trials.image_id.values, trials.betas.values
    if test.all() or not test.any():
        raise ValueError(
            f"{test.sum()} of {len(test)} trials showed test images: test and training images are needed. Take more sessions."
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


def single_trials(trials, assembled):
    """Return the test images' single trials as patterns for decoders, earliest first: (n_showings, n_test, n_voxels) float32.

    Image order and voxel scaling are those of `assembled`, the result of `assemble` on `trials`. `n_showings` is the smallest
    number of repeats of a test image.
    """
    n_showings, ids = int(assembled.n_repeats_test.min()), trials.image_id.values
    rows = np.stack([np.flatnonzero(ids == image)[:n_showings] for image in assembled.test_image.values], axis=1)
    mean, sd = assembled["mean"].values, assembled.sd.values
    return np.stack([_standardised(trials.betas.values[showing], mean, sd) for showing in rows])


def split_hash(images_train, images_test):
    """Compute the hash of a split into training and test images, each (n_images,) 0-based ids among the 73,000 in any order.

    The first 12 hexadecimal digits of the sha256 of the unique ascending ids, written as "1,2,3;4,5": training, then test.
    """
    text = ";".join(",".join(map(str, np.unique(ids).tolist())) for ids in (images_train, images_test))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def average_repeats(betas, image_ids):
    """Average the betas (n_trials, n_voxels) over the trials of each image.

    Returns the ascending image ids (n_images,), the means (n_images, n_voxels) float32, and the numbers of trials (n_images,).
    """
    images, order, first, n_repeats = trials_by_image(betas, image_ids)
    means = np.empty((len(images), betas.shape[1]), dtype=np.float32)
    for start in range(0, betas.shape[1], BATCH):
        batch = betas[order, start : start + BATCH].astype(np.float64)
        means[:, start : start + BATCH] = np.add.reduceat(batch, first, axis=0) / n_repeats[:, None]
    return images, means, n_repeats


def zscore(X_train, X_test):
    """Standardise each voxel by the mean and standard deviation (ddof=1, as in Brain-Diffuser) of the training images.

    Returns X_train and X_test, (n_images, n_voxels) float32, and the mean and standard deviation, (n_voxels,) float64. Voxels
    that are constant in the training images become 0.
    """
    mean, sd = X_train.mean(axis=0, dtype=np.float64), X_train.std(axis=0, ddof=1, dtype=np.float64)
    return *(_standardised(X, mean, sd) for X in (X_train, X_test)), mean, sd


def _standardised(X, mean, sd):
    """Standardise patterns (n_images, n_voxels) by each voxel's mean and standard deviation: float32, 0 where it is constant."""
    varies = sd > 1e-6 * np.abs(mean)
    factor = np.divide(1, sd, out=np.zeros_like(sd), where=varies).astype(np.float32)
    return (X - mean.astype(np.float32)) * factor


def _noise_ceiling(trials):
    """Percent signal variance in averages like the test images', from signal, noise and session offsets of training trials."""
    test, session = trials.is_test.values, trials.session.values
    betas, ids = trials.betas.values[~test], trials.image_id.values[~test]
    signal, noise = variances(betas, ids, session=session[~test])
    offsets = np.stack([betas[session[~test] == number].mean(axis=0, dtype=np.float64) for number in np.unique(session[~test])])
    offsets -= offsets.mean(axis=0)  # a session without training trials gets offset 0
    in_session = session[test, None] == np.unique(session[~test])  # (n_test_trials, n_sessions)
    _, weights, n_repeats = average_repeats(in_session, trials.image_id.values[test])  # (n_test_images, n_sessions)
    total = signal + noise * np.mean(1 / n_repeats) + (weights @ offsets).var(axis=0)
    return 100 * np.divide(signal, total, out=np.zeros_like(total), where=total > 0)


def _label(betas, trial, mask, subject, unit="percent signal change"):
    """Label betas by trial, voxel and region; leave out voxels that are constant in any run."""
    mask = mask.copy()
    session, run = (subject.trials[name].to_numpy()[trial] for name in ("session", "run"))
    run_starts = np.flatnonzero(np.diff(session, prepend=-1) | np.diff(run, prepend=-1))  # first trial of each run
    is_constant = np.maximum.reduceat(betas, run_starts) == np.minimum.reduceat(betas, run_starts)  # (n_runs, n_voxels)
    is_constant &= (np.diff(run_starts, append=len(betas)) > 1)[:, None]
    if (not_measured := is_constant.any(axis=0)).any():
        sessions = ", ".join(map(str, np.unique(session[run_starts][is_constant.any(axis=1)])))
        counts = f"{not_measured.sum()} of {len(not_measured)}"
        message = f"{counts} voxels are constant in a run (session {sessions}): not measured, left out."
        if not_measured.all():
            raise ValueError(f"{message} No voxel remains: get the betas of that session again.")
        warnings.warn(message, stacklevel=3)
        mask[mask], betas = ~not_measured, betas[:, ~not_measured]
    regions = subject.regions or {"no region known": mask}
    in_region = np.stack([inside[mask] for inside in regions.values()])
    return xr.Dataset(
        {"betas": (("trial", "voxel"), betas, {"units": unit}), "in_region": (("region", "voxel"), in_region)},
        coords={
            "trial": trial,
            "voxel": np.flatnonzero(mask),
            "region": list(regions),
            "image_id": ("trial", subject.image_ids[trial]),
            "session": ("trial", session),
            "is_test": ("trial", subject.is_test[trial]),
        },
    )
