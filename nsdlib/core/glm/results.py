"""Results of the single-trial GLM: names, axes and units of the variables."""

import numpy as np

# variable: (axes, meaning)
VARIABLES = {
    "mean": (("voxel",), "mean signal, scanner units"),
    "onoff_r2": (("voxel",), "type A: percent of variance that any trial explains, canonical HRF"),
    "onoff_beta": (("voxel",), "type A"),
    "hrf_r2": (("hrf", "voxel"), "percent of variance that single trials explain, for each HRF"),
    "hrf_index": (("voxel",), "the best HRF, from 0"),
    "betas_b": (("trial", "voxel"), "type B, HRF fitted"),
    "betas_c": (("trial", "voxel"), "type C, shared noise removed"),
    "betas_d": (("trial", "voxel"), "type D, regularised"),
    "r2_b": (("voxel",), "percent of variance that the betas explain"),
    "r2_c": (("voxel",), "the same of type C; what noise components explain is not counted"),
    "r2_d": (("voxel",), "the same of type D, before the shrinkage was undone"),
    "r2_run_b": (("run", "voxel"), "percent of the variance of each run that the betas explain"),
    "r2_run_c": (("run", "voxel"), "the same of type C; what noise components explain is not counted"),
    "r2_run_d": (("run", "voxel"), "the same of type D, before the shrinkage was undone"),
    "noise_pool": (("voxel",), "whether noise components come from this voxel"),
    "pc_voxels": (("voxel",), "whether this voxel helps to choose the number of components"),
    "components": (("run", "volume", "component"), "orthonormal time courses; NaN behind the end of a shorter run"),
    "pc_cv_error": (("n_components", "voxel"), "cross-validated squared error of z-scored betas, summed"),
    "pc_curve": (("n_components",), "median over `pc_voxels` of the fall in that error"),
    "fraction": (("voxel",), "ridge: share of the betas' length that was kept"),
    "fraction_cv_error": (("candidate", "voxel"), "cross-validated squared error of z-scored betas, summed"),
    "fractions": (("candidate",), "ridge fractions to choose from"),
    "scale": (("voxel",), "factor that undid the shrinkage"),
    "offset": (("voxel",), "offset that went with it, scanner units"),
}
BETAS = ("onoff_beta", "betas_b", "betas_c", "betas_d")
PERCENT, RAW = "percent signal change", "scanner units"  # units of betas


def name_axes(results, attributes, *, percent=True):
    """Return the `VARIABLES` in `results` (name to array) as an xarray.Dataset.

    Arrays of float64 become float32, except the fractions; betas get the attribute `units`.
    """
    import xarray as xr

    variables = {}
    for name, (axes, meaning) in VARIABLES.items():
        if name in results:
            values = np.asarray(results[name])
            dtype = np.float32 if values.dtype == np.float64 and name != "fractions" else values.dtype
            unit = {"units": PERCENT if percent else RAW} if name in BETAS else {}
            variables[name] = (axes, np.asarray(values, dtype, order="C"), {"long_name": meaning} | unit)
    return xr.Dataset(variables, attrs=attributes)


def make_dataset(results, attributes, *, percent=True):
    """Name the axes of a fit's results, copy them from the scratch folder, and convert the betas to their unit.

    `results` maps names to arrays, with betas in scanner units and energy (n_voxels,), 0 for voxels that were not fitted.
    Arrays in memory are modified. With `percent`, betas are divided by the absolute mean of the voxel.
    """
    results = {name: np.array(values, order="C") if isinstance(values, np.memmap) else values for name, values in results.items()}
    constant, mean = results["energy"] == 0, results["mean"]
    with np.errstate(divide="ignore"):
        unit = np.where(constant, np.nan, 100 / np.abs(mean) if percent else 1.0).astype(np.float32)
    for name in BETAS:
        results[name] *= unit
    for name in ("fraction", "scale", "offset", "pc_cv_error", "fraction_cv_error"):
        if name in results:
            results[name][..., constant] = np.nan
    mean[~np.isfinite(mean)] = np.nan
    return name_axes(results, attributes, percent=percent)
