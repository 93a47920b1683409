"""Confounds of a simulated task run, with fMRIPrep's names: computed from its volumes, except motion, which is random."""

import numpy as np
import pandas as pd

CUT_OFF = 128.0  # s, of fMRIPrep's high-pass filter
N_COMPONENTS = 6
TISSUES = ("global_signal", "csf", "white_matter")
MOTION = tuple(f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz")
STEP = {"trans": 0.01, "rot": 1e-4}  # sd of motion from volume to volume: mm, radians
HEAD_RADIUS = 50.0  # mm, of framewise displacement


def simulate_confounds(series, head, *, tr, rng):
    """Simulate fMRIPrep's table of confounds of a task run.

    Parameters
    ----------
    series : (n_volumes, n_voxels) int array
        Time series of the brain's voxels, scanner units.
    head : nsdlib.twin.anatomy.Anatomy
        White matter is the brain outside the cortex; CSF is the middle of the white matter.
    tr : float
        Seconds between volumes.
    rng : numpy.random.Generator
        Draws the motion, which does not affect the volumes.

    Returns
    -------
    table : pandas.DataFrame
        (n_volumes, n_confounds), NaN in the first row of differences from the previous volume.
    metadata : dict
        Content of the JSON file: each column's fMRIPrep Method, and for components Mask, Retained and variances.
    """
    is_white = ~head.cortex[head.brain]
    middle = np.abs(np.argwhere(head.brain) / np.array(head.brain.shape) - 0.5).max(axis=1) < 0.125
    table, metadata = {}, {name: {"Method": "Mean"} for name in TISSUES}
    for name, mask in zip(TISSUES, (np.ones_like(is_white), is_white & middle, is_white), strict=True):
        table |= _expanded(name, series[:, mask].mean(axis=1, dtype=np.float64))
    change = np.sqrt(np.mean(np.diff(series.astype(np.float64), axis=0) ** 2, axis=1))
    table["dvars"] = np.append(np.nan, change)
    table["std_dvars"] = table["dvars"] / np.median(change)
    motion = {name: np.cumsum(STEP[name.split("_")[0]] * rng.standard_normal(len(series))) for name in MOTION}
    displacement = [np.abs(np.diff(values)) * (HEAD_RADIUS if name.startswith("rot") else 1) for name, values in motion.items()]
    table["framewise_displacement"] = np.append(np.nan, np.sum(displacement, axis=0))
    cosines = _cosines(len(series), tr)
    components, component_metadata = _components(series[:, is_white], cosines)
    table |= components | {f"cosine{i:02d}": cosine for i, cosine in enumerate(cosines.T)}
    for name, values in motion.items():
        table |= _expanded(name, values)
    return pd.DataFrame(table), metadata | component_metadata


def _expanded(name, values):
    """A regressor, its derivative, and the squares of both."""
    derivative = np.append(np.nan, np.diff(values))
    columns = {"": values, "_derivative1": derivative, "_power2": values**2, "_derivative1_power2": derivative**2}
    return {f"{name}{ending}": column for ending, column in columns.items()}


def _cosines(n_volumes, tr):
    """Discrete cosines slower than the cut-off: (n_volumes, n_cosines)."""
    orders = np.arange(1, int(2 * n_volumes * tr / CUT_OFF) + 1)
    return np.sqrt(2 / n_volumes) * np.cos(np.pi * (np.arange(n_volumes)[:, None] + 0.5) * orders / n_volumes)


def _components(series, cosines):
    """First principal components of high-pass filtered, z-scored voxels, and their metadata."""
    series = series - series.mean(axis=0)
    series = series - cosines @ (cosines.T @ series)
    components, sizes, _ = np.linalg.svd(series / np.maximum(series.std(axis=0), 1e-9), full_matrices=False)
    explained = sizes**2 / np.sum(sizes**2)
    table, metadata = {}, {}
    for i in range(N_COMPONENTS):
        name = f"a_comp_cor_{i:02d}"
        table[name] = components[:, i]
        metadata[name] = {"Method": "aCompCor", "Mask": "combined", "Retained": True, "SingularValue": sizes[i]}
        metadata[name] |= {"VarianceExplained": explained[i], "CumulativeVarianceExplained": explained[: i + 1].sum()}
    return table, metadata
