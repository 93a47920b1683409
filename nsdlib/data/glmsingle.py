"""GLMsingle itself, where it is installed, behind the interface of `nsdlib.core.glm.fit` (engine: glmsingle).

GLMsingle is not on the package index; `pip install "glmsingle @ git+https://github.com/cvnlab/GLMsingle"` fetches it. Written for
version 1.2.
"""

import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from nsdlib.core.glm import hrf
from nsdlib.core.glm.denoise import check_runs, tail_threshold
from nsdlib.core.glm.design import check_design
from nsdlib.core.glm.fit import VARIABLES, name_axes
from nsdlib.core.glm.options import GLMOptions

# ours: (group of GLMsingle's results, its name there)
NAMES = {
    "mean": ("typea", "meanvol"),
    "onoff_r2": ("typea", "onoffR2"),
    "onoff_beta": ("typea", "betasmd"),
    "hrf_r2": ("typeb", "FitHRFR2"),
    "hrf_index": ("typeb", "HRFindex"),
    "betas_b": ("typeb", "betasmd"),
    "r2_b": ("typeb", "R2"),
    "betas_c": ("typec", "betasmd"),
    "r2_c": ("typec", "R2"),
    "betas_d": ("typed", "betasmd"),
    "r2_d": ("typed", "R2"),
    "noise_pool": ("typed", "noisepool"),
    "pc_voxels": ("typed", "pcvoxels"),
    "pc_cv_error": ("typed", "glmbadness"),
    "fraction": ("typed", "FRACvalue"),
    "fraction_cv_error": ("typed", "rrbadness"),
}


def is_installed():
    """Whether GLMsingle can be imported here."""
    return find_spec("glmsingle") is not None


def fit(design, data, *, tr, hrfs=None, canonical=None, confounds=None, options=None, scratch=None):
    """Single-trial betas by GLMsingle; arguments and result as of `nsdlib.core.glm.fit_glm`, `scratch` without effect.

    Variables that GLMsingle does not give (the curve of a fixed number of components, say) are left out. Where it switches
    denoising and ridge off for want of repeats, betas_c and betas_d are betas_b, and `notes` says so.

    Raises
    ------
    ModuleNotFoundError
        When GLMsingle is not installed.
    ValueError
        When shapes or values of design and data do not fit, or folds or sessions do not fit the runs.
    """
    if not is_installed():
        raise ModuleNotFoundError(
            "engine glmsingle needs GLMsingle, which is not installed here. Install it with `pip install 'glmsingle @ "
            "git+https://github.com/cvnlab/GLMsingle'`, or take glm_engine: nsdlib, which computes the same betas."
        )
    from glmsingle.glmsingle import GLM_single

    options = options or GLMOptions()
    labels = check_design(design, data, tr=tr)
    check_runs(len(labels), folds=options.folds, sessions=options.sessions)
    hrfs = hrf.sampled_library(tr, options.duration) if hrfs is None else np.atleast_2d(hrfs)
    canonical = hrf.canonical(tr, options.duration) if canonical is None else canonical
    settings = _settings(options, len(labels)) | {
        "hrflibrary": np.asarray(hrfs).T,
        "hrftoassume": np.asarray(canonical),
    }
    if confounds is not None:
        settings["extra_regressors"] = [np.asarray(columns, dtype=float) for columns in confounds]
    with tempfile.TemporaryDirectory() as folder:  # it deletes whatever lies in the folders that it is given
        results = GLM_single(settings).fit(
            _as_matrices(labels),
            [np.asarray(series).T.astype(np.float32) for series in data],
            options.duration,
            tr,
            outputdir=str(Path(folder) / "results"),
            figuredir=str(Path(folder) / "figures"),
        )
    return _as_dataset(results, options)


def _settings(options, n_runs):
    """Our options under GLMsingle's names."""
    settings = {
        "wantfileoutputs": [0, 0, 0, 0],
        "wantmemoryoutputs": [1, 1, 1, 1],
        "wantglmdenoise": int(options.n_pcs > 0),
        "wantfracridge": int(set(options.fractions) != {1.0}),
        "n_pcs": options.n_pcs,
        "pcstop": options.pc_stop if options.fixed_pcs is None else -options.fixed_pcs,
        "brainthresh": [99.0, options.brain_fraction],
        "fracs": np.unique(options.fractions)[::-1],
        "wantautoscale": int(options.autoscale),
        "wantlss": int(options.lss),
    }
    if options.degree is not None:
        settings["maxpolydeg"] = [options.degree] * n_runs
    if options.brain_r2 is not None:  # 0 would mean "find it yourself" there
        settings |= dict.fromkeys(("brainR2", "pcR2cutoff"), options.brain_r2 or np.finfo(float).tiny)
    if options.folds is not None:
        settings["xvalscheme"] = [np.array(fold) for fold in options.folds]
    if options.sessions is not None:
        settings["sessionindicator"] = np.array([options.sessions])
    return settings


def _as_matrices(labels):
    """Designs as (n_volumes, n_conditions) matrices of 0 and 1, with the same columns in all runs."""
    conditions = np.unique(np.concatenate(labels))
    conditions = conditions[conditions != 0]
    return [(run[:, None] == conditions).astype(float) for run in labels]


def _as_dataset(results, options):
    """GLMsingle's results, voxels along the last axis, under our names."""
    found, notes = {}, ""
    for name, (group, theirs) in NAMES.items():
        values = results.get(group, {}).get(theirs)
        if values is not None and np.size(values):
            found[name] = _voxels_last(values, len(VARIABLES[name][0]))
    typed, n_pcs = results.get("typed", {}), 0
    if typed:
        n_pcs = int(typed["pcnum"])
        if np.size(typed["scaleoffset"]):
            found["scale"], found["offset"] = _voxels_last(typed["scaleoffset"], 2)
        if typed.get("xvaltrend") is not None and len(typed["xvaltrend"]):
            found["pc_curve"] = np.asarray(typed["xvaltrend"]) - typed["xvaltrend"][0]
    else:
        notes = "GLMsingle left out denoising and ridge: no condition comes back in another run."
    for kind, before in (("c", "b"), ("d", "c")):
        found.setdefault(f"betas_{kind}", found[f"betas_{before}"])
        found.setdefault(f"r2_{kind}", found[f"r2_{before}"])
    found["fractions"] = np.unique(options.fractions)[::-1]
    threshold = tail_threshold(found["onoff_r2"]) if options.brain_r2 is None else options.brain_r2
    return name_axes(found, {"n_pcs": n_pcs, "notes": notes, "threshold": threshold})


def _voxels_last(values, n_axes):
    """From (n_voxels, 1, 1, any) to (any, n_voxels), or to (n_voxels,)."""
    values = np.asarray(values)
    flat = values.reshape(len(values), -1).T
    return flat[0] if n_axes == 1 else flat
