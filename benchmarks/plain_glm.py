"""The single-trial GLM in plain NumPy: GLMsingle's default path, call by call.

`benchmarks/glm.py` compares `nsdlib.core.glm` with it if GLMsingle itself is not installed. Like GLMsingle 1.2, it repeats
the whole fit for each of some 660 combinations of HRF, noise components and ridge fraction: convolution of every column in every
run, dense projections, one system of equations over all trials of all runs, and a prediction of every volume for R2. It is
written from a description of that path and agrees with `nsdlib`, which agrees with GLMsingle's own results."""

import numpy as np

N_PCS, PC_STOP, FRACTIONS = 10, 1.05, np.linspace(1, 0.05, 20)  # the defaults of `GLMOptions`


def fit(design, data, *, tr, hrfs, canonical, threshold, stage):
    """Fit types A to D: a dict of arrays, named as in `nsdlib.core.glm.fit.VARIABLES`.

    For each run, `design` (n_volumes,) holds the condition's number at its onsets, else 0, and `data` is (n_volumes, n_voxels)
    float32; `hrfs` is (n_hrfs, n_samples), `canonical` (n_samples,). `threshold` is the ON-OFF R2 (percent) between noise pool
    and responding voxels. `stage` is called with each stage's name before it begins, and with None at the end.
    """
    labels = np.concatenate([run[run > 0] for run in design])
    run_of = np.concatenate([np.full((run > 0).sum(), number) for number, run in enumerate(design)])
    trials = _trial_columns(design)
    drifts = [_polynomials(len(run), tr) for run in design]
    n_voxels = data[0].shape[1]
    mean = np.concatenate(data).mean(0)
    percent = 100 / np.abs(mean)

    stage("ON-OFF")
    onoff = [columns.sum(1, keepdims=True) for columns in trials]
    _, onoff_r2 = _glm(onoff, data, canonical, drifts, drifts)

    stage("HRFs")
    r2, betas_b, best_r2 = np.empty((len(hrfs), n_voxels), np.float32), None, np.full(n_voxels, -np.inf)
    for number, hrf in enumerate(hrfs):
        betas, r2[number] = _glm(trials, data, hrf, drifts, drifts)
        betas_b = np.where(r2[number] > best_r2, betas, 0 if betas_b is None else betas_b)
        best_r2 = np.maximum(best_r2, r2[number])
    index = r2.argmax(0)
    groups = [(hrf, voxels) for number, hrf in enumerate(hrfs) if len(voxels := np.flatnonzero(index == number))]

    stage("components")
    pool = (mean > 0.1 * np.percentile(mean, 99)) & (onoff_r2 < threshold)
    components = [_components(run[:, pool], drift) for run, drift in zip(data, drifts, strict=True)]

    stage("number of components")
    cv_error = np.empty((N_PCS + 1, n_voxels))
    for hrf, voxels in groups:
        series = [run[:, voxels] for run in data]
        fits = [_glm(trials, series, hrf, drifts, _with(drifts, components, k))[0] for k in range(N_PCS + 1)]
        cv_error[:, voxels] = _cv_error(fits, labels, run_of)
    curve = -np.median(cv_error[:, onoff_r2 > threshold], axis=1)
    gain = curve - curve[0]
    count = int(np.argmax(gain * PC_STOP >= gain.max()))  # the smallest number with nearly the best score

    stage("ridge")
    results = {name: np.empty((len(labels), n_voxels), np.float32) for name in ("betas_c", "betas_d")}
    fraction, nuisance = np.empty(n_voxels), _with(drifts, components, count)
    for hrf, voxels in groups:
        series = [run[:, voxels] for run in data]
        fits = np.stack([_glm(trials, series, hrf, drifts, nuisance, fraction=f)[0] for f in FRACTIONS])
        choice = _cv_error(fits, labels, run_of).argmin(0)
        fraction[voxels] = FRACTIONS[choice]
        results["betas_c"][:, voxels] = fits[0]
        chosen = fits[choice, :, np.arange(len(voxels))].T
        results["betas_d"][:, voxels] = _autoscale(chosen, fits[0])
    stage(None)
    results = {name: betas * percent for name, betas in (results | {"betas_b": betas_b}).items()}
    return results | {"hrf_index": index, "onoff_r2": onoff_r2, "n_pcs": count, "fraction": fraction, "noise_pool": pool}


def _trial_columns(design):
    """Return one column per trial of all runs: a list of (n_volumes, n_trials), zero in the other runs."""
    onsets = np.flatnonzero(np.concatenate(design))
    columns = np.zeros((sum(map(len, design)), len(onsets)), np.float32)
    columns[onsets, np.arange(len(onsets))] = 1
    return np.split(columns, np.cumsum([len(run) for run in design])[:-1])


def _polynomials(n_volumes, tr):
    degree = int(np.floor(n_volumes * tr / 120 + 0.5))
    return np.linalg.qr(np.vander(np.linspace(-1, 1, n_volumes), degree + 1, increasing=True))[0]


def _with(drifts, components, count):
    """Return the nuisance regressors of each run: drifts and the first components."""
    return [np.hstack([drift, noise[:, :count]]) for drift, noise in zip(drifts, components, strict=True)]


def _projector(nuisance):
    """Return the (n_volumes, n_volumes) float32 matrix that removes the nuisance regressors."""
    return (np.eye(len(nuisance)) - nuisance @ np.linalg.pinv(nuisance)).astype(np.float32)


def _convolved(trials, hrf):
    """Convolve all columns of all runs and cut them at the run's end."""
    runs = []
    for columns in trials:
        responses = [np.convolve(column, hrf)[: len(columns)] for column in columns.T]
        runs.append(np.stack(responses, axis=1).astype(np.float32))
    return runs


def _glm(trials, data, hrf, drifts, nuisance, fraction=None):
    """Fit once from scratch: betas (n_trials, n_voxels) and R2 (n_voxels,), drifts removed on both sides."""
    projectors = [_projector(regressors) for regressors in nuisance]
    D = np.concatenate([M @ X for M, X in zip(projectors, _convolved(trials, hrf), strict=True)])
    Y = np.concatenate([M @ y for M, y in zip(projectors, data, strict=True)])
    if fraction is None:
        betas = np.linalg.solve((D.T @ D).astype(np.float64), (D.T @ Y).astype(np.float64)).astype(np.float32)
    else:
        betas = _fracridge(D, Y, fraction)
    unexplained = total = 0
    for drift, X, y in zip(drifts, _convolved(trials, hrf), data, strict=True):
        M = _projector(drift)
        measured = M @ y
        unexplained = unexplained + np.square(measured - M @ (X @ betas), dtype=np.float64).sum(0)
        total = total + np.square(measured, dtype=np.float64).sum(0)
    return betas, 100 * (1 - unexplained / total)


def _fracridge(D, Y, fraction):
    """Fit ridge betas that keep a fraction of their length, voxel by voxel."""
    vectors, values, _ = np.linalg.svd(D.T @ D)
    rotated = (vectors.T @ (D.T @ Y)) / values[:, None]
    if fraction == 1:
        return vectors @ rotated
    low, high = np.floor(np.log10(1e-2 * values.min())), np.ceil(np.log10(1e4 * values.max()))
    grid = np.concatenate([[0.0], 10 ** np.arange(low, high, 0.2)])
    gain = values / (values + grid[:, None])  # (n_penalties, n_trials)
    for voxel in range(Y.shape[1]):
        length = np.linalg.norm(gain * rotated[:, voxel], axis=1)
        penalty = np.expm1(np.interp(fraction, length[::-1] / length[0], np.log1p(grid[::-1])))
        rotated[:, voxel] *= values / (values + penalty)
    return vectors @ rotated


def _components(series, drift):
    """Compute the strongest time courses of one run's noise pool: (n_volumes, N_PCS)."""
    series = _projector(drift) @ series
    series = series / np.linalg.norm(series, axis=0)
    return np.linalg.svd(series @ series.T)[0][:, :N_PCS]


def _cv_error(fits, labels, run_of):
    """Sum squared differences between z-scored betas of training trials and unregularised ones of test trials."""
    mean, sd = fits[0].mean(0), fits[0].std(0, ddof=1)
    scored = [(betas - mean) / sd for betas in fits]
    result = np.zeros((len(fits), fits[0].shape[1]))
    for test_run in np.unique(run_of):
        for trial in np.flatnonzero(run_of == test_run):
            pairs = np.flatnonzero((labels == labels[trial]) & (run_of != test_run))
            if len(pairs):
                result += [np.square(betas[pairs] - scored[0][trial]).sum(0) for betas in scored]
    return result


def _autoscale(shrunk, plain):
    """Scale and shift each voxel's ridge betas to fit its unregularised betas by least squares."""
    result = np.empty_like(plain)
    for voxel, (x, y) in enumerate(zip(shrunk.T, plain.T, strict=True)):
        line = np.stack([x, np.ones_like(x)], axis=1)
        (scale, offset), *_ = np.linalg.lstsq(line, y, rcond=None)
        result[:, voxel] = x if scale < 0 else scale * x + offset
    return result
