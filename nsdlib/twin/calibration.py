"""Is a simulated subject like the Natural Scenes Dataset? Compares its statistics with those published for NSD.

Sources: *Brain-Score* is github.com/brain-score/vision, data/allen2022_fmri (ceilings of eight subjects in func1pt8mm, b3 betas);
*DeepNSD* is github.com/ColinConwell/DeepNSD, publication/source_data (subjects 1, 2, 5, 7); *nsddatapaper* is
github.com/cvnlab/nsddatapaper, results.mat; *nsdMemConn* is github.com/mjstarrett/nsdMemConn (behaviour of subject 1); *Roth* is
Roth and Merriam 2023, Nature Communications 14, 4422. A range based on one of these sources is a gate; *derived* and *assumed*
ranges are only plausible. A subject with few sessions or voxels, or with another quality than NSD's, may miss a gate.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from nsdlib.core.ridge import decode
from nsdlib.core.scores.reliability import correlate, ncsnr, noise_ceiling, trials_by_image, within_sessions
from nsdlib.core.scores.similarity import row_correlation
from nsdlib.data.nsd.layout import N_REPEATS
from nsdlib.data.nsd.subject import NSDSubject
from nsdlib.twin import scenes
from nsdlib.twin.anatomy import VOXEL_MM
from nsdlib.twin.brain import standardise
from nsdlib.twin.truth import load_truth

# name: smallest and largest published value, or a band around the single published value given in the basis; basis
PUBLISHED = {
    "ceiling of nsdgeneral, median (%)": (13.3, 34.1, "Brain-Score"),
    "ceiling of V1, median (%)": (21.5, 49.1, "Brain-Score"),
    "ceiling of V2, median (%)": (20.1, 40.2, "Brain-Score"),
    "ceiling of V3, median (%)": (23, 37, "DeepNSD"),
    "ceiling of V4, median (%)": (19.4, 42.1, "Brain-Score"),
    "V1 to V3: voxels below 5 % (%)": (1.2, 14.3, "DeepNSD"),
    "V1 to V3: voxels below 10 % (%)": (3.9, 24.8, "DeepNSD"),
    "V1: voxels above 30 % (%)": (44, 78, "DeepNSD"),
    "V4: voxels above 30 % (%)": (30, 64, "DeepNSD"),
    "best ceiling (%)": (81, 90, "DeepNSD"),
    "V1: sd / mean of ncsnr": (0.38, 0.63, "DeepNSD"),
    "ncsnr of b3 / b2, medians": (1.11, 1.33, "nsddatapaper"),
    "ceilings from either half of the images, r": (0.6, 1, "assumed; 10,000 images: .95 to .99"),
    "ncsnr, r of voxels 1 apart": (0.54, 0.71, "DeepNSD"),
    "ncsnr, r of voxels 2 apart": (0.23, 0.39, "DeepNSD"),
    "ncsnr, r of voxels 4 apart": (0.10, 0.25, "DeepNSD"),
    "series, autocorrelation at lag 1": (0.27, 0.60, "derived; white noise resampled: .28"),
    "series, autocorrelation at lag 2": (-0.15, 0.25, "derived; white noise resampled: -.15"),
    "noise of betas, r of neighbours": (0.3, 0.6, "assumed"),
    "noise of betas, r beyond 20 mm": (0.03, 0.15, "assumed"),
    "noise of betas, share of its first axis (%)": (5, 20, "assumed"),
    "ceiling without / with scaling by session": (0.85, 0.97, "assumed, for 40 sessions"),
    "V1 patterns, r of likeness and sessions apart": (-0.5, 0, "Roth: -.18"),
    "V1, mean of two trials with one, median r": (0.25, 0.36, "Brain-Score: .30, subject 1"),
    "higher areas: captions and pictures explain, of ceiling": (0.35, 0.50, "DeepNSD: .40 by networks"),
    "higher areas: captions minus pictures": (0.05, 0.2, "assumed, after Doerig et al. 2025"),
    "main kind from a mean of three (%)": (55, 80, "assumed; 24 kinds"),
    "main kind from one trial (%)": (40, 60, "assumed; 24 kinds"),
    "slope of the signal's spectrum": (-1.6, -0.8, "assumed, after Gauthaman et al. 2024"),
    "third / first showing, higher areas": (0.88, 0.97, "assumed, after Weiner et al. 2010"),
    "third / first showing, V1": (0.97, 1.01, "assumed"),
    "answers: correct": (0.70, 0.80, "nsdMemConn: .75"),
    "answers: hits": (0.70, 0.80, "nsdMemConn: .76"),
    "answers: false alarms": (0.15, 0.30, "nsdMemConn: .25"),
}
GATES = ("Brain-Score", "DeepNSD", "nsddatapaper", "nsdMemConn", "Roth")
N_RUNS, N_RANKS = 2, 50  # number of runs of session 1 whose series are read; number of ranks of the spectrum
N_CELLS = 8  # cells per side; their means and sds are the picture features
DECODING_PENALTY, ENCODING_PENALTY = 1e3, 1e4  # ridge penalties
TOTAL_VARIANCE = 1000  # of the features for encoding, after scaling
FAR_MM = 20.0  # distance from which voxels count as far
MIN_CEILING = 10.0  # smallest ceiling (%) of voxels in the encoding analysis


@dataclass(frozen=True)
class Measured:
    """Betas of a subject, with their images, sessions and voxels."""

    raw: np.ndarray  # (n_trials, n_voxels)
    z: np.ndarray  # (n_trials, n_voxels) z-scored within each session
    image_ids: np.ndarray  # (n_trials,)
    session: np.ndarray  # (n_trials,)
    images: np.ndarray  # (n_images,) ids of the images seen three times
    rows: np.ndarray  # (n_images, 3) their trials, in order
    ratio: np.ndarray  # (n_voxels,) ncsnr
    position: np.ndarray  # (n_voxels, 3) in voxels
    areas: dict  # name to (n_voxels,) bool


def calibrate(run, trials, *, glm=None):
    """Compare a simulated subject's betas, time series, captions and answers with published values of NSD.

    Parameters
    ----------
    run : Run
    trials : xarray.Dataset
        Single-trial betas as read (not z-scored), from `study.read_trials` or `study.trials_from_glm`.
    glm : xarray.Dataset, optional
        The artifact `glm`, for the comparison of its steps.

    Returns
    -------
    pandas.DataFrame
        One row per statistic: value, low and high (the published range), inside (whether the value lies in it), gate (whether
        the range comes from NSD's own data), basis. Statistics that the data do not allow (one session; no GLM) are missing.
    """
    data = NSDSubject(run.data, run.subject, run.n_sessions)
    measured = _measure(trials, data)
    statistics = _ceilings(measured) | _steps(glm, data) | _maps(measured) | _series(data)
    statistics |= _noise(measured) | _sessions(measured) | _encoding(measured, data)
    statistics |= _decoding(measured, load_truth(run), data) | _spectrum(measured) | _repeats(measured) | _answers(data)
    table = pd.DataFrame.from_dict(PUBLISHED, orient="index", columns=["low", "high", "basis"])
    table.insert(0, "value", pd.Series(statistics))
    table = table.dropna()
    table.insert(3, "inside", table["value"].between(table["low"], table["high"]))
    table.insert(4, "gate", table["basis"].str.startswith(GATES))
    return table


def explained(measured, planted):
    """Compute the percentage of variance over images that planted responses explain, as adjusted r²: (n_voxels,).

    `measured` betas and `planted` responses to the same images are (n_images, n_voxels), in any unit.
    """
    n = len(measured)
    return 100 * (1 - (1 - np.square(correlate(measured, planted))) * (n - 1) / (n - 2))


def _measure(trials, data):
    """Collect the betas of a subject by image (Measured)."""
    raw, session, ids = trials.betas.values, trials.session.values, trials.image_id.values
    z = within_sessions(raw, session, scaled=True)
    images, order, first, counts = trials_by_image(raw, ids)
    has_all_repeats = counts == N_REPEATS
    labels = data.roi("prf-visualrois").ravel()[trials.voxel.values]
    labels_of_area = {"V1": (1, 2), "V2": (3, 4), "V3": (5, 6), "V4": (7,), "early": (1, 2, 3, 4, 5, 6)}
    areas = {name: np.isin(labels, area_labels) for name, area_labels in labels_of_area.items()} | {"higher": labels <= 0}
    position = np.stack(np.unravel_index(trials.voxel.values, data.brainmask.shape), axis=1)
    rows = order[first[has_all_repeats][:, None] + np.arange(N_REPEATS)]
    return Measured(raw, z, ids, session, images[has_all_repeats], rows, ncsnr(raw, ids, session=session), position, areas)


def _ceilings(measured):
    """Noise ceilings by area, and their distribution."""
    ceiling, areas = noise_ceiling(measured.ratio, N_REPEATS), measured.areas
    statistics = {f"ceiling of {name}, median (%)": np.median(ceiling[areas[name]]) for name in ("V1", "V2", "V3", "V4")}
    statistics["ceiling of nsdgeneral, median (%)"] = np.median(ceiling)
    early_ceiling = ceiling[areas["early"]]
    statistics |= {f"V1 to V3: voxels below {limit} % (%)": 100 * np.mean(early_ceiling < limit) for limit in (5, 10)}
    statistics |= {f"{name}: voxels above 30 % (%)": 100 * np.mean(ceiling[areas[name]] > 30) for name in ("V1", "V4")}
    ratio_v1 = measured.ratio[areas["V1"]]
    return statistics | {"best ceiling (%)": ceiling.max(), "V1: sd / mean of ncsnr": ratio_v1.std() / ratio_v1.mean()}


def _steps(glm, data):
    """Gain in signal-to-noise ratio from the GLM's denoising and ridge."""
    if glm is None:
        return {}
    ids, session = data.image_ids[glm.trial.values], data.session[glm.trial.values]
    b2, b3 = (np.median(ncsnr(np.nan_to_num(glm[name].values), ids, session=session)) for name in ("betas_b", "betas_d"))
    return {"ncsnr of b3 / b2, medians": b3 / b2}


def _maps(measured):
    """Smoothness of the ncsnr map in V1 to V3, and correlation of ceilings between halves of the images."""
    odd = np.isin(measured.image_ids, measured.images[::2])
    halves = [ncsnr(measured.raw[half], measured.image_ids[half], session=measured.session[half]) for half in (odd, ~odd)]
    agreement = np.corrcoef(*(noise_ceiling(half, N_REPEATS) for half in halves))[0, 1]
    statistics = {"ceilings from either half of the images, r": agreement}
    position, ratio = measured.position[measured.areas["early"]], measured.ratio[measured.areas["early"]]
    distance = np.abs(position[:, None] - position[None])
    axis_distance = (np.count_nonzero(distance, axis=2) == 1) * distance.sum(axis=2)  # along an axis of the volume, else 0
    for steps in (1, 2, 4):
        pairs = np.nonzero(axis_distance == steps)
        statistics[f"ncsnr, r of voxels {steps} apart"] = np.corrcoef(ratio[pairs[0]], ratio[pairs[1]])[0, 1]
    return statistics


def _series(data):
    """Autocorrelation of detrended time series in brain voxels outside nsdgeneral, which do not respond."""
    mask, lags = data.brainmask & ~(data.roi("nsdgeneral") > 0), []
    for run in range(1, N_RUNS + 1):
        series = data.timeseries(1, run, mask).astype(np.float64)
        trend = np.linalg.qr(np.vander(np.linspace(-1, 1, len(series)), 4))[0]
        series -= trend @ (trend.T @ series)
        lags.append([np.median((series[lag:] * series[:-lag]).sum(axis=0) / np.square(series).sum(axis=0)) for lag in (1, 2)])
    return {f"series, autocorrelation at lag {lag}": value for lag, value in zip((1, 2), np.mean(lags, axis=0), strict=True)}


def _noise(measured):
    """Noise correlations between voxels, from differences between repeats; effect of scaling by session on the ceiling."""
    noise = (measured.z[measured.rows] - measured.z[measured.rows].mean(axis=1, keepdims=True)).reshape(-1, measured.z.shape[1])
    has_signal = measured.ratio > 0
    correlation = np.corrcoef(noise[:, has_signal].T)
    position = measured.position[has_signal].astype(np.float32)
    distance = VOXEL_MM * np.sqrt(np.maximum(0, np.add.outer(*[np.square(position).sum(axis=1)] * 2) - 2 * position @ position.T))
    far = correlation[distance > FAR_MM]
    unscaled = ncsnr(measured.raw, measured.image_ids, session=np.zeros(len(measured.raw), int))
    return {
        "noise of betas, r of neighbours": correlation[np.isclose(distance, VOXEL_MM, atol=0.01)].mean(),
        "noise of betas, r beyond 20 mm": far.mean() if far.size else np.nan,
        "noise of betas, share of its first axis (%)": 100 * np.linalg.eigvalsh(correlation)[-1] / len(correlation),
        "ceiling without / with scaling by session": np.median(noise_ceiling(unscaled, N_REPEATS))
        / np.median(noise_ceiling(measured.ratio, N_REPEATS)),
    }


def _sessions(measured):
    """In V1: drift of an image's pattern with the number of sessions between repeats, and reliability of voxels."""
    in_v1, session = measured.areas["V1"], measured.session[measured.rows]
    pairs_of_repeats = ((0, 1), (0, 2), (1, 2))
    patterns = measured.raw[measured.rows][..., in_v1]  # (n_images, 3, n_voxels)
    statistics = {"V1, mean of two trials with one, median r": np.median(correlate(patterns[:, 0], patterns[:, 1:].mean(axis=1)))}
    patterns = (patterns - measured.raw[:, in_v1].mean(axis=0)) / measured.raw[:, in_v1].std(axis=0)
    similarity = np.concatenate([row_correlation(patterns[:, i], patterns[:, j]) for i, j in pairs_of_repeats])
    sessions_apart = np.concatenate([abs(session[:, i] - session[:, j]) for i, j in pairs_of_repeats])
    if sessions_apart.any():
        statistics["V1 patterns, r of likeness and sessions apart"] = np.corrcoef(similarity, sessions_apart)[0, 1]
    return statistics


def _encoding(measured, data):
    """Share of the ceiling that ridge explains in held-out images, from caption words and from coarse pictures."""
    from sklearn.feature_extraction.text import CountVectorizer

    words = CountVectorizer().fit_transform(" ".join(five) for five in data.captions(measured.images)).toarray()
    pictures = []
    for image_ids in np.array_split(measured.images, max(1, len(measured.images) // 50)):
        cells = data.stimuli(image_ids)[:, :416:4, :416:4].reshape(len(image_ids), N_CELLS, 104 // N_CELLS, N_CELLS, -1, 3)
        pictures.append(np.stack([cells.mean(axis=(2, 4)), cells.std(axis=(2, 4))], axis=1).reshape(len(image_ids), -1))
    features = {"captions": words, "pictures": np.concatenate(pictures)}
    features = {name: standardise(values) * np.sqrt(TOTAL_VARIANCE / values.shape[1]) for name, values in features.items()}
    features["both"] = np.hstack(list(features.values()))
    mean, ceiling = measured.z[measured.rows].mean(axis=1), noise_ceiling(measured.ratio, N_REPEATS)
    test, voxels, shares = np.arange(len(mean)) % 5 == 0, measured.areas["higher"] & (ceiling > MIN_CEILING), {}
    for name, values in features.items():
        predicted = decode(values[~test], mean[~test], values[test], alphas=(ENCODING_PENALTY,), mode="none")
        r = correlate(mean[test], predicted)[voxels]
        shares[name] = np.mean(100 * r * abs(r) / ceiling[voxels])
    return {
        "higher areas: captions and pictures explain, of ceiling": shares["both"],
        "higher areas: captions minus pictures": shares["captions"] - shares["pictures"],
    }


def _decoding(measured, truth, data):
    """Accuracy of ridge for the main kind of test images, from the mean of three trials and from single trials."""
    kinds = [f"kind: {kind}" for kind in scenes.KINDS]
    true_kinds = truth.scene.sel(image=measured.images, attribute=kinds).values
    test = np.isin(measured.images, data.image_ids[data.is_test])
    mean, single, statistics = measured.z[measured.rows].mean(axis=1), measured.z[measured.rows[:, 0]], {}
    for label, patterns in (("a mean of three", mean), ("one trial", single)):
        predicted = decode(mean[~test], true_kinds[~test], patterns[test], alphas=(DECODING_PENALTY,), mode="none")
        statistics[f"main kind from {label} (%)"] = 100 * np.mean(predicted.argmax(axis=1) == true_kinds[test].argmax(axis=1))
    return statistics


def _spectrum(measured):
    """Slope of log variance against log rank of the signal: principal axes of first repeats, covariance with second repeats."""
    first, second = (measured.z[rows] - measured.z[rows].mean(axis=0) for rows in measured.rows.T[:2])
    axes = np.linalg.svd(first, full_matrices=False)[2][:N_RANKS].T
    variance = np.sum((first @ axes) * (second @ axes), axis=0)
    rank = np.arange(1, len(variance) + 1)[variance > 0]
    return {"slope of the signal's spectrum": np.polyfit(np.log(rank), np.log(variance[variance > 0]), 1)[0]}


def _repeats(measured):
    """Mean response to the third presentation relative to the first, adjusted for differences between sessions."""
    trials, statistics = measured.rows.ravel(), {}
    session = measured.session[trials]
    session_columns = (session[:, None] == np.unique(session)[1:]).astype(float)
    rank = np.tile(np.eye(N_REPEATS), (len(measured.rows), 1))
    design = np.hstack([rank, session_columns - session_columns.mean(axis=0)])
    for label, name in (("higher areas", "higher"), ("V1", "V1")):
        response = measured.raw[trials][:, measured.areas[name]].mean(axis=1)
        weights = np.linalg.lstsq(design, response, rcond=None)[0]
        statistics[f"third / first showing, {label}"] = weights[2] / weights[0]
    return statistics


def _answers(data):
    """Accuracy, hit rate and false-alarm rate of the recognition task."""
    table = data.responses().dropna(subset=["ISCORRECT"])
    old = table["ISOLD"] == 1
    hits, rejected = table["ISCORRECT"][old].mean(), table["ISCORRECT"][~old].mean()
    return {"answers: correct": table["ISCORRECT"].mean(), "answers: hits": hits, "answers: false alarms": 1 - rejected}
