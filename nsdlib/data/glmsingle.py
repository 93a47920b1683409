"""The GLMsingle package, if it is installed, behind the interface of `nsdlib.core.glm.fit` (engine: glmsingle).

Written for GLMsingle 1.2, which is not on the package index: the error of `fit` says how to install it.
"""

import tempfile
import warnings
from importlib.util import find_spec

import numpy as np

from nsdlib.core.files import some
from nsdlib.core.glm import hrf
from nsdlib.core.glm.checks import check_confounds
from nsdlib.core.glm.denoise import check_runs, find_repeats, skipped_steps, tail_threshold
from nsdlib.core.glm.design import make_run_designs
from nsdlib.core.glm.options import GLMOptions, flatten_space
from nsdlib.core.glm.results import VARIABLES, name_axes

# our name: (group of GLMsingle's results, its name there); "denoised" is type D, or C without ridge regression
NAMES = {
    "mean": ("typea", "meanvol"),
    "onoff_r2": ("typea", "onoffR2"),
    "onoff_beta": ("typea", "betasmd"),
    "hrf_r2": ("typeb", "FitHRFR2"),
    "hrf_index": ("typeb", "HRFindex"),
    "noise_pool": ("denoised", "noisepool"),
    "pc_voxels": ("denoised", "pcvoxels"),
    "pc_cv_error": ("denoised", "glmbadness"),
    "fraction": ("typed", "FRACvalue"),
    "fraction_cv_error": ("typed", "rrbadness"),
}
OF_EACH_TYPE = {"betas": "betasmd", "r2": "R2", "r2_run": "R2run"}
NAMES |= {f"{name}_{kind}": (f"type{kind}", theirs) for kind in "bcd" for name, theirs in OF_EACH_TYPE.items()}


def is_installed():
    """Whether GLMsingle can be imported here."""
    return find_spec("glmsingle") is not None


def fit(design, data, *, tr, hrfs=None, canonical=None, confounds=None, options=None, scratch=None):
    """Fit single-trial betas with GLMsingle; arguments and result are as in `nsdlib.core.glm.fit_glm`, `scratch` is ignored.

    GLMsingle's own HRFs are the default. Variables that GLMsingle does not return, such as the curve for a fixed number of
    components, are left out. If it skips denoising or ridge regression, betas_c or betas_d are those of the previous step; if it
    skips both, noise_pool is empty and pc_voxels has the voxels above the threshold. GLMsingle 1.2 looks
    only at the confounds of run 1: if they are all 0, it ignores those of every run.

    Raises a ModuleNotFoundError if GLMsingle is not installed; a ValueError if shapes or values of design and data are invalid,
    folds or sessions do not match the runs, or `noise_mask` is given, since GLMsingle 1.2 fails with its `brainexclude`; a
    RuntimeError with the likely cause if GLMsingle fails.
    """
    if not is_installed():
        raise ModuleNotFoundError(
            "engine glmsingle needs GLMsingle, which is not installed here. Install it with `pip install 'glmsingle @ "
            "git+https://github.com/cvnlab/GLMsingle'`, or use glm_engine: nsdlib, which computes the same betas."
        )
    from glmsingle.glmsingle import GLM_single
    from sklearn.exceptions import ConvergenceWarning

    data, options = flatten_space(data, options or GLMOptions())
    designs = make_run_designs(design, data, tr=tr, duration=options.duration, degree=options.degree)
    check_confounds(confounds, designs)
    check_runs(len(designs), folds=options.folds, sessions=options.sessions)
    settings = _settings(options, len(designs))
    if hrfs is not None:
        settings["hrflibrary"] = np.atleast_2d(hrfs).T
    if canonical is not None:
        settings["hrftoassume"] = np.asarray(canonical)
    if confounds is not None and confounds is not False:
        settings["extra_regressors"] = [np.asarray(columns, dtype=float) for columns in confounds]
    series = [np.asarray(bold).T.astype(np.float32) for bold in data]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # from the mixture model, as in `tail_threshold`
        try:
            results = GLM_single(settings).fit(
                _as_matrices(designs), series, options.duration, tr,
                outputdir=f"{folder}/results", figuredir=f"{folder}/figures",  # GLMsingle deletes what is there
            )  # fmt: skip
        except Exception as error:
            raise RuntimeError(
                f"GLMsingle stopped ({type(error).__name__}: {error}). It does if no voxel is left for its noise pool "
                "(brain_r2, brain_fraction of GLMOptions) or to choose the number of components (pc_r2, pc_mask). Set other "
                "thresholds, n_pcs=0, or glm_engine: nsdlib, which continues and says what it left out."
            ) from error
    notes = _late(designs, hrf.canonical(tr, options.duration) if canonical is None else canonical)
    return _as_dataset(results, options, notes=notes + ([] if find_repeats(designs) else skipped_steps(options)))


def _late(designs, canonical):
    """Note on trials that begin too late to be measured."""
    n_late = [run.late(run.drift.new_tensor(np.asarray(canonical))).sum().item() for run in designs]
    if not any(n_late):
        return []
    runs = some([f"run {number}" for number, n_trials in enumerate(n_late, start=1) if n_trials])
    return [
        f"{sum(n_late)} trials begin too close to the end of their run to be measured ({runs}): GLMsingle uses them in its "
        "choices and in each voxel's scale; glm_engine: nsdlib does not."
    ]


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
        "wantpercentbold": int(options.percent),
    }
    if options.noise_mask is not None:
        raise ValueError("noise_mask: GLMsingle 1.2 fails with a mask for its noise pool. Use glm_engine: nsdlib, or no mask.")
    if options.pc_mask is not None:
        settings["pcR2cutoffmask"] = options.pc_mask
    if options.degree is not None:
        settings["maxpolydeg"] = np.broadcast_to(options.degree, n_runs).tolist()
    pc_r2 = options.brain_r2 if options.pc_r2 is None else options.pc_r2
    for name, threshold in (("brainR2", options.brain_r2), ("pcR2cutoff", pc_r2)):
        if threshold is not None:  # GLMsingle takes 0 as "choose automatically"
            settings[name] = threshold or np.finfo(float).tiny
    if options.folds is not None:
        settings["xvalscheme"] = [np.array(fold) for fold in options.folds]
    if options.sessions is not None:  # GLMsingle numbers sessions from 1
        settings["sessionindicator"] = np.unique(options.sessions, return_inverse=True)[1][None] + 1
    return settings


def _as_matrices(designs):
    """Designs as (n_volumes, n_conditions) matrices of 0 and 1, with the same columns in all runs."""
    conditions = np.unique(np.concatenate([run.conditions for run in designs]))
    matrices = [np.zeros((run.n_volumes, len(conditions))) for run in designs]
    for matrix, run in zip(matrices, designs, strict=True):
        matrix[run.onsets, np.searchsorted(conditions, run.conditions)] = 1
    return matrices


def _as_dataset(results, options, *, notes):
    """Convert GLMsingle's results to our names, with voxels along the last axis."""
    denoised = results.get("typed", results.get("typec", {}))
    results, arrays = results | {"denoised": denoised}, {}
    for name, (group, their_name) in NAMES.items():
        values = results.get(group, {}).get(their_name)
        if values is not None and np.size(values):
            arrays[name] = _voxels_last(values, len(VARIABLES[name][0]))
    if np.size(denoised.get("scaleoffset", ())):
        arrays["scale"], arrays["offset"] = _voxels_last(denoised["scaleoffset"], 2)
    if (curve := denoised.get("xvaltrend")) is not None:
        arrays["pc_curve"] = np.asarray(curve) - curve[0]
    if not options.percent:  # GLMsingle's types C and D are in percent regardless
        arrays |= {name: arrays[name] * np.abs(arrays["mean"]) / 100 for name in ("betas_c", "betas_d") if name in arrays}
    for kind, previous in (("c", "b"), ("d", "c")):
        for name in OF_EACH_TYPE:
            arrays.setdefault(f"{name}_{kind}", arrays[f"{name}_{previous}"])
    arrays["fractions"] = np.unique(options.fractions)[::-1] if "typed" in results else np.ones(1)
    arrays.setdefault("fraction", np.ones(len(arrays["mean"]), np.float32))
    threshold = tail_threshold(arrays["onoff_r2"]) if options.brain_r2 is None else options.brain_r2
    arrays.setdefault("pc_voxels", arrays["onoff_r2"] > (threshold if options.pc_r2 is None else options.pc_r2))
    arrays.setdefault("noise_pool", np.zeros(len(arrays["mean"]), bool))
    attributes = {"n_pcs": int(denoised.get("pcnum", 0)), "notes": " ".join(notes), "threshold": threshold}
    return name_axes(arrays, attributes, percent=options.percent)


def _voxels_last(values, n_axes):
    """Reshape (n_voxels, 1, 1, any) to (any, n_voxels), or to (n_voxels,)."""
    values = np.asarray(values)
    flat = values.reshape(len(values), -1).T
    return flat[0] if n_axes == 1 else flat
