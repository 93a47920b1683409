"""Single-trial GLM fits of whole sessions, as in NSD: read run by run, fitted with either engine, and resumable."""

import hashlib
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import xarray as xr

from nsdlib.core.glm.design import drift_degree
from nsdlib.core.glm.fit import fit_glm
from nsdlib.core.glm.options import GLMOptions
from nsdlib.core.glm.results import VARIABLES
from nsdlib.data import glmsingle

ENGINES = {"nsdlib": fit_glm, "glmsingle": glmsingle.fit}
BETAS = ("betas_b", "betas_c", "betas_d")


def fit_sessions(subject, n_sessions, *, roi="nsdgeneral", options=None, engine="nsdlib", scratch=None):
    """Fit each session alone over the whole brain; keep the betas of a region and the maps of all voxels.

    Parameters
    ----------
    subject : nsdlib.data.subject.Subject
    n_sessions : int
        Number of sessions to fit, from the first.
    roi : str
        Betas are kept for the voxels of `subject.voxels(roi)`; "brainmask" keeps all.
    options : GLMOptions, optional
        Adapted to each session by `of_subject`.
    engine : str
        One of `ENGINES`: nsdlib's own, or GLMsingle if it is installed.
    scratch : Path, optional
        Folder for intermediate results, which the caller removes. A repeated call resumes after the last finished session, or
        after the last finished batch of a session (GLMsingle: at the start of the session).

    Returns
    -------
    xarray.Dataset
        betas_b, betas_c, betas_d (trial, roi_voxel); the other variables with the single axis "voxel" as (session, voxel),
        hrf_r2, pc_curve (NaN without denoising) and fractions; for each session threshold, n_pcs and notes. Coordinates: session
        (from 1), trial (from 0), voxel and roi_voxel (flat C-order index into the volume). Raises a ValueError as `core.glm.fit`
        does, for an unknown engine or no session, and if no voxel of the region is in the brain mask.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine {engine!r} is unknown. Known: {', '.join(ENGINES)}.")
    if n_sessions < 1:
        raise ValueError(f"n_sessions must be at least 1, got {n_sessions}.")
    options = options or GLMOptions()
    brain = np.flatnonzero(subject.brainmask)
    columns = np.flatnonzero(subject.voxels(roi)[subject.brainmask])
    if not len(columns):
        raise ValueError(f"{roi} has no voxel inside the brain mask of {subject.name}: choose another roi.")

    def fit_session(session, folder):
        design, series, confounds = read_session(subject, session)
        settings = {"tr": subject.tr, "confounds": confounds, "options": of_subject(options, subject, session), "scratch": folder}
        return _keep(ENGINES[engine](design, series, **settings), columns, options)

    fits = []
    for session in range(1, n_sessions + 1):
        if scratch is None:
            fits.append(fit_session(session, None))
            continue
        files = [(f.stat().st_size, f.stat().st_mtime_ns) for f in subject.session_files(session, roi) if f.is_file()]
        settings_text = f"{subject.settings} {subject.tr} {of_subject(options, subject, session).digest()}"
        inputs = f"{subject.root} {subject.name} {roi} {engine} {settings_text} {files}"  # a changed file starts a new fit
        name = f"session{session:02d}-{hashlib.sha256(inputs.encode()).hexdigest()[:12]}"
        fits.append(_finished_once(scratch / name, partial(fit_session, session)))
    betas = xr.concat([fit[list(BETAS)] for fit in fits], "trial")
    maps = xr.concat([fit.drop_vars(BETAS) for fit in fits], "session")
    result = xr.merge([betas, maps]).drop_attrs(deep=False)
    result["fractions"] = ("candidate", np.unique(options.fractions)[::-1])
    sessions, trials = np.arange(1, n_sessions + 1), np.flatnonzero(subject.session <= n_sessions)
    return result.assign_coords(session=sessions, trial=trials, voxel=brain, roi_voxel=brain[columns])


def of_subject(options, subject, session):
    """Adapt GLMOptions to a session: set the stimulus duration, and the drift degrees that fit the acquisition time of its runs.

    A `degree` in `options` is kept. Acquisition times are used since resampled series can end up to one volume earlier.
    """
    runs = range(1, subject.n_runs(session) + 1)
    degree = tuple(drift_degree(subject.run_seconds(session, run)) for run in runs) if options.degree is None else options.degree
    return replace(options, duration=subject.duration, degree=degree)


def read_session(subject, session, mask=None):
    """Read design, BOLD and confounds of a session's task runs, in the form that `core.glm.fit` takes; sessions count from 1.

    Reads the voxels of `mask`, (X, Y, Z) bool, by default the brain mask. Returns three lists with an item per run: the design,
    (n_volumes,) int64 with 1 + the image number in the row of an onset, else 0; the series, (n_volumes, n_voxels) float32 in
    scanner units, without volumes beyond the design (the last of NSD's 226); and the confounds, (n_volumes, any number) float64,
    or None instead of this list if no run has any.
    """
    mask = subject.brainmask if mask is None else mask
    runs = range(1, subject.n_runs(session) + 1)
    design = [subject.design(session, run) for run in runs]
    series = [subject.timeseries(session, run, mask)[: len(rows)] for run, rows in zip(runs, design, strict=True)]
    confounds = [subject.confounds(session, run) for run in runs]
    if all(columns is None for columns in confounds):
        return design, series, None
    none = [np.empty((len(rows), 0)) for rows in design]
    return design, series, [none[i] if columns is None else columns for i, columns in enumerate(confounds)]


def _finished_once(folder, fit_session):
    """Return the result stored in `folder`.nc, or compute and store it with `fit_session(folder)`; remove the folder."""
    file = folder.with_suffix(".nc")
    if not file.is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".partial")
        fit_session(folder).to_netcdf(unfinished, engine="h5netcdf")
        unfinished.rename(file)
    shutil.rmtree(folder, ignore_errors=True)
    return xr.open_dataset(file, engine="h5netcdf")


def _keep(fit, columns, options):
    """Keep the betas of some voxels and the maps of all voxels of a session's fit, with the fit's attributes as variables."""
    one_axis = [name for name, (axes, _) in VARIABLES.items() if axes == ("voxel",) and name in fit]
    result = fit[[*one_axis, "hrf_r2"]]
    result["pc_curve"] = fit.get("pc_curve", ("n_components", np.full(options.n_pcs + 1, np.nan, np.float32)))
    betas = {name: fit[name].isel(voxel=columns).rename(voxel="roi_voxel") for name in BETAS}
    attributes = {name: ((), fit.attrs[name]) for name in ("threshold", "n_pcs", "notes")}
    return result.assign(betas | attributes).drop_attrs(deep=False)
