"""Reliability of betas over image repeats: noise-ceiling signal-to-noise ratio, noise ceiling, correlation of repeats."""

import numpy as np

from nsdlib.core.scores.similarity import row_correlation

BATCH = 2000  # voxels processed at once


def ncsnr(betas, image_ids, *, session):
    """Compute the noise-ceiling signal-to-noise ratio, sd of signal / sd of noise in single trials: (n_voxels,).

    NSD's definition (Allen et al. 2022): `variances` of betas that are z-scored over all trials of each session. The ratio holds
    only for z-scored betas; averages of other betas also contain offsets and gains of sessions.
    """
    signal, noise = variances(betas, image_ids, session=session, scaled=True)
    return np.sqrt(np.divide(np.maximum(0, signal), noise, out=np.zeros_like(noise), where=noise > 0))


def variances(betas, image_ids, *, session, scaled=False):
    """Estimate the variances of signal and noise in single trials around the session mean: two (n_voxels,) float64.

    Noise is the variance over repeats of an image, pooled over images: the sum of squared deviations from image means, divided
    by n_trials - n_images. With equal numbers of repeats (three in NSD) this is NSD's mean of variances (ddof=1). Signal is the
    total variance minus noise. It is not clipped, so without signal it scatters around 0.

    Parameters
    ----------
    betas : (n_trials, n_voxels) array
    image_ids, session : (n_trials,) int
        ValueError when no image was shown twice.
    scaled : bool
        First divide the betas of each session by their standard deviation (ddof=1), so that signal and noise sum to 1.
    """
    _, order, first, counts = trials_by_image(betas, image_ids)
    if len(counts) == len(order):
        raise ValueError("No image was shown twice in these trials, so noise cannot be separated from signal. Use more sessions.")
    n_sessions = len(np.unique(session))
    signal, noise = np.empty((2, betas.shape[1]))
    for start in range(0, betas.shape[1], BATCH):
        batch = within_sessions(betas[:, start : start + BATCH].astype(np.float64), session, scaled=scaled)
        repeats, columns = batch[order], slice(start, start + BATCH)  # (n_trials, n_batch)
        means = np.add.reduceat(repeats, first, axis=0) / counts[:, None]  # (n_images, n_batch)
        squares = np.add.reduceat(np.square(repeats - np.repeat(means, counts, axis=0)), first, axis=0)
        noise[columns] = squares.sum(axis=0) / (len(order) - len(counts))
        signal[columns] = np.square(batch).sum(axis=0) / (len(batch) - n_sessions) - noise[columns]
    return signal, noise


def within_sessions(betas, session, *, scaled):
    """Centre betas (n_trials, n_voxels) within each session; `scaled` divides by the sd (ddof=1), with 0 where the sd is 0."""
    centred = np.empty_like(betas)
    for number in np.unique(session):
        trials = betas[session == number]
        sd = trials.std(axis=0, ddof=1) if scaled else np.ones(trials.shape[1])
        centred[session == number] = np.divide(trials - trials.mean(axis=0), sd, out=np.zeros_like(trials), where=sd > 0)
    return centred


def noise_ceiling(ratio, n_repeats):
    """Compute the noise ceiling: the largest percentage of a voxel's variance over images that any model can explain.

    100 ratio² / (ratio² + mean of 1/n), as in NSD's manual, with `ratio` from `ncsnr` (n_voxels,) and the number n of trials
    averaged for each image, int or (n_images,) int.
    """
    signal = np.square(ratio)
    return 100 * signal / (signal + np.mean(1 / np.asarray(n_repeats)))


def reliability(betas, image_ids, *, session):
    """Compute the correlation over images between the first and second trial of each image: (n_voxels,) float64.

    Takes betas (n_trials, n_voxels), image ids and sessions (n_trials,). Session means are subtracted first, because repeats in
    one session share its offset. Raises ValueError when fewer than three images were shown twice.
    """
    _, order, first, counts = trials_by_image(betas, image_ids)
    first = first[counts > 1]
    if len(first) < 3:
        raise ValueError(f"{len(first)} images were shown twice in these trials, wanted at least 3. Use more sessions.")
    correlations = np.empty(betas.shape[1])
    for start in range(0, len(correlations), BATCH):
        batch = within_sessions(betas[:, start : start + BATCH].astype(np.float64), session, scaled=False)
        correlations[start : start + BATCH] = correlate(batch[order[first]], batch[order[first + 1]])
    return correlations


def correlate(a, b):
    """Correlate the columns of two (n, n_voxels) arrays in float64: (n_voxels,), 0 where a column is constant."""
    return row_correlation(np.asarray(a).T, np.asarray(b).T)


def trials_by_image(betas, image_ids):
    """Sort the trials of betas (n_trials, n_voxels) by image.

    Returns the sorted image ids (n_images,), the trial indices (n_trials,) sorted stably by image, and each image's first
    position in these and number of trials, both (n_images,). Raises ValueError when the lengths differ.
    """
    if np.ndim(betas) != 2 or len(betas) != len(image_ids):
        raise ValueError(
            f"betas must be (n_trials, n_voxels) with one image id a trial, got shapes {np.shape(betas)} and "
            f"{np.shape(image_ids)}."
        )
    order = np.argsort(image_ids, kind="stable")
    images, first, counts = np.unique(np.asarray(image_ids)[order], return_index=True, return_counts=True)
    return images, order, first, counts
