"""Volumes of fMRIPrep on one grid: voxel time series, resampled if needed, the mask shared by all runs, regions, confounds."""

import math
import warnings
from contextlib import contextmanager

import numpy as np

from nsdlib.data.bids.files import WHERE_TO_SET, existing

MAX_SIDE = 512  # voxels along a side of a volume
AFFINE_TOLERANCE = 1e-3  # mm
N_COMPCOR = 5  # components of aCompCor, if requested
VISUAL = ("pericalcarine", "cuneus", "lingual", "lateraloccipital", "fusiform", "inferiortemporal", "parahippocampal")


@contextmanager
def opened(path):
    """Open a NIfTI file as a nibabel image without reading its values; errors become a ValueError that names the file."""
    import nibabel

    try:
        yield nibabel.load(existing(path), mmap=False, keep_file_open=True)  # reads gzipped files in one pass
    except (FileNotFoundError, PermissionError, MemoryError):
        raise
    except Exception as error:  # nibabel, gzip and zlib raise their own errors
        if isinstance(error, ValueError) and path.name in str(error):  # our own error, already with the file's name
            raise
        raise ValueError(f"{path} cannot be read as a NIfTI file ({type(error).__name__}: {error}): get it again.") from error


def check_grid(path, image, shape, affine):
    """Raise a ValueError if an image is not on the voxel grid of the others."""
    difference = np.abs(image.affine - affine).max()
    if image.shape[:3] != shape or not difference <= AFFINE_TOLERANCE:  # also refuses NaN
        reason = f"{image.shape[:3]}, not {shape}" if image.shape[:3] != shape else f"affines differ by {difference:.3g}"
        problem = f"has another grid of voxels than the first brain mask ({reason}): all runs of a subject must share one"
        raise ValueError(f"{path} {problem}. Take a space that they share, such as T1w (fMRIPrep's --output-spaces T1w).")


def read_masks(paths):
    """Read masks on one grid: (n_masks, X, Y, Z) bool, and the affine, (4, 4); a ValueError when grids differ."""
    import nibabel

    masks, affine = [], None
    for path in paths:
        with opened(path) as image:
            image = nibabel.squeeze_image(image)  # many programs write (X, Y, Z, 1)
            if len(image.shape) != 3 or max(image.shape) > MAX_SIDE:
                raise ValueError(f"{path} has shape {image.shape}, wanted a volume of at most {MAX_SIDE} voxels a side.")
            affine = image.affine if not masks else affine
            check_grid(path, image, masks[0].shape if masks else image.shape, affine)
            masks.append(np.asanyarray(image.dataobj) > 0)
    return np.array(masks), affine


def read_mask(runs):
    """Voxels in the brain masks of all runs, a list of `files.RunFiles`: (X, Y, Z) bool, the affine, and notes, a list of str.

    The notes say how many voxels each run alone excludes. Raises a ValueError if grids differ or no voxel is left.
    """
    masks, affine = read_masks([run.mask for run in runs])
    n_runs = masks.sum(axis=0, dtype=np.int32)
    shared, in_all_but_one = n_runs == len(masks), n_runs == len(masks) - 1
    n_some, n_shared = np.count_nonzero(n_runs), np.count_nonzero(shared)
    if not n_shared:
        raise ValueError(f"No voxel is in the brain masks of all {len(masks)} runs, {n_some} are in some: inspect the masks.")
    n_lost = {str(run): np.count_nonzero(in_all_but_one & ~mask) for run, mask in zip(runs, masks, strict=True)}
    missing_alone = ", ".join(f"{run} {n}" for run, n in sorted(n_lost.items(), key=lambda pair: -pair[1]) if n)
    note = f"{n_shared} voxels are in the brain masks of all runs, {n_some} in some."
    return shared, affine, [f"{note} Missing in one run alone: {missing_alone or 'none'}."]


def read_map(path, mask, affine):
    """Read a map on the grid of `mask`: (X, Y, Z) float32."""
    with opened(path) as image:
        check_grid(path, image, mask.shape, affine)
        return np.asarray(image.dataobj, dtype=np.float32).reshape(mask.shape)


def read_series(path, mask, affine=None):
    """Read voxels of a run, volume by volume: (n_volumes, n_voxels) float32, those of `mask`, (X, Y, Z) bool, in C order.

    Raises a ValueError for another grid; without `affine`, any affine is accepted.
    """
    voxels = np.ravel_multi_index(np.nonzero(mask), mask.shape, order="F")  # in the file's order
    with opened(path) as image:
        check_grid(path, image, mask.shape, image.affine if affine is None else affine)
        series = np.empty((image.shape[3], len(voxels)), dtype=np.float32)
        for volume in range(len(series)):
            series[volume] = np.asanyarray(image.dataobj[..., volume]).ravel(order="F")[voxels]
    return series


def read_mean(paths, shape, affine):
    """Mean of volumes, or of the volumes of series: (X, Y, Z) float32."""
    total = np.zeros(shape)
    for path in paths:
        with opened(path) as image:
            check_grid(path, image, shape, affine)
            n_volumes, is_single = int(np.prod(image.shape[3:])), len(image.shape) == 3
            volumes = (np.asanyarray(image.dataobj) if is_single else image.dataobj[..., i] for i in range(n_volumes))
            total += sum(np.nan_to_num(volume).astype(np.float64) for volume in volumes) / n_volumes
    return (total / len(paths)).astype(np.float32)


def read_labels(path, shape, affine):
    """Read a volume of labels, resampled to the grid by nearest neighbour if it has another: (X, Y, Z)."""
    import nibabel
    from nilearn.image import resample_to_img

    with opened(path) as image:
        image = nibabel.squeeze_image(image)  # many programs write (X, Y, Z, 1)
        same_grid = image.shape == shape and np.allclose(image.affine, affine, rtol=0, atol=AFFINE_TOLERANCE)
        if not same_grid:
            image = nibabel.Nifti1Image(np.asanyarray(image.dataobj), image.affine)
            grid = nibabel.Nifti1Image(np.zeros(shape, np.uint8), affine)
            image = resample_to_img(image, grid, interpolation="nearest", force_resample=True, copy_header=True)
        return np.nan_to_num(np.asanyarray(image.dataobj))


def read_regions(path, table, mask, affine):
    """Read FreeSurfer's regions of the visual cortex: a dict of `VISUAL` to (X, Y, Z) bool, both hemispheres, within `mask`.

    `path` is an aparcaseg volume, `table` its .tsv in the folder that holds the subjects, with columns index and name.
    """
    import pandas as pd

    names = pd.read_csv(existing(table), sep="\t", encoding="utf-8-sig")
    if not {"index", "name"} <= set(names):
        raise ValueError(f"{table} has the columns {', '.join(names)}, wanted index and name of FreeSurfer's labels.")
    labels, regions = read_labels(path, mask.shape, affine), {}
    for region in VISUAL:
        numbers = names["index"][names["name"].isin([f"ctx-{side}-{region}" for side in ("lh", "rh")])]
        if (voxels := np.isin(labels, numbers) & mask).any():
            regions[region] = voxels
    return regions


def read_confounds(run, strategies, n_volumes):
    """Read a run's nuisance regressors (files.RunFiles) with nilearn: 6 of motion, 5 of aCompCor, otherwise its defaults.

    `strategies` are names that nilearn's `load_confounds` takes, such as motion, compcor, scrub; may be empty. Returns the
    regressors, (n_volumes, any number) float64, and the excluded volumes, (n_volumes,) bool: those before the steady state, and
    those that scrub removes. Raises a ValueError if nilearn refuses the strategies, the table does not match the run or has
    values that are not numbers, or no volume is left.
    """
    import pandas as pd
    from nilearn.interfaces.fmriprep import load_confounds

    excluded = np.zeros(n_volumes, bool)
    if run.confounds is None:
        if strategies:
            raise ValueError(f"{run.bold} has no table of confounds: set confounds to [], {WHERE_TO_SET}.")
        return np.empty((n_volumes, 0)), excluded
    table = pd.read_csv(existing(run.confounds), sep="\t", na_values=["n/a"], encoding="utf-8-sig")
    if len(table) != n_volumes:
        found = f"{run.confounds} has {len(table)} rows, {run.bold.name} has {n_volumes} volumes"
        raise ValueError(f"{found}: get both from one run of fMRIPrep, or set confounds to [], {WHERE_TO_SET}.")
    if strategies:
        image = str(run.bold.with_name(run.bold.name.removesuffix(".gz").removesuffix(".nii") + ".nii.gz"))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the warning that no volume is left: an error below
                regressors, included = load_confounds(image, strategy=tuple(strategies), motion="basic", n_compcor=N_COMPCOR)
        except ValueError as error:
            raise ValueError(f"confounds={list(strategies)}: nilearn refuses them for {run.confounds} ({error}).") from error
        if included is not None:
            excluded = ~np.isin(np.arange(n_volumes), included)
    else:
        regressors = table[[]]
        excluded = table.filter(like="non_steady_state_outlier").to_numpy(float).any(axis=1)
    values = np.array(regressors, dtype=float)
    n_left, n_invalid = np.count_nonzero(~excluded), np.count_nonzero(~np.isfinite(values))
    if not n_left or n_invalid:
        problem = f"leave {n_left} of {n_volumes} volumes, and {n_invalid} values that are not numbers"
        raise ValueError(f"{run.confounds}: confounds={list(strategies)} {problem}. Leave out scrub, or this run.")
    return values, excluded


def resample_volumes(series, *, tr, new_tr, start=0.0):
    """Interpolate the volumes of a run at 0, `new_tr`, 2 `new_tr`, ... seconds.

    Parameters
    ----------
    series : (n_volumes, n_voxels) float array
        BOLD or confounds of one run, except confounds that mark single volumes, which cannot be interpolated.
    tr : float
        Seconds between measured volumes.
    new_tr : float
        Seconds between interpolated volumes, at most `tr`: a coarser grid would alias noise into the signal.
    start : float or (n_voxels,) array
        When the first volume was measured, in seconds from the time 0 of the onsets: BIDS's StartTime after slice-time correction
        (fMRIPrep: half a `tr` by default), otherwise the SliceTiming of each voxel's slice.

    Returns
    -------
    (n_new_volumes, n_voxels) float array
        Of the type of `series`, float32 for integers; ends at (n_volumes - 1) `tr`. Times before the first measurement get its
        value. Raises a ValueError if shapes or values are invalid.

    Notes
    -----
    Uses a cubic spline. For volumes 2 s apart, its error is below 4 % of the standard deviation of a noiseless response; that of
    monotone cubics (PCHIP) is at least 1.5 times as large. Interpolated volumes carry no new information: a fit has no more
    degrees of freedom than before.
    """
    from scipy.interpolate import CubicSpline

    series, start = np.asarray(series), np.asarray(start, dtype=np.float64)
    if series.dtype.kind not in "iuf" or series.ndim != 2 or len(series) < 2 or start.shape not in ((), series.shape[1:]):
        wanted = "numbers of one run, (n_volumes, n_voxels) with at least 2 volumes, and start of shape () or (n_voxels,)"
        raise ValueError(f"wanted {wanted}, got {series.dtype} of shape {series.shape}, and {start.shape}.")
    if not 0 < new_tr <= tr < math.inf or not ((start >= 0) & (start <= tr)).all():
        wanted = "seconds, 0 < new_tr <= tr and start between 0 and tr (SliceTiming above tr is in milliseconds)"
        raise ValueError(f"tr={tr}, new_tr={new_tr}, start from {start.min()} to {start.max()}: wanted {wanted}.")
    measured_times = tr * np.arange(len(series))
    new_times = np.arange(math.floor(measured_times[-1] / new_tr + 1e-6) + 1) * new_tr
    dtype = np.result_type(series.dtype, np.float32)
    mean = series.mean(axis=0, dtype=np.float64).astype(dtype)
    deviations = series.astype(dtype) - mean
    resampled = np.empty((len(new_times), series.shape[1]), dtype=dtype)
    for first_time in np.unique(start):
        times = np.clip(new_times - first_time, 0, measured_times[-1])
        weights = CubicSpline(measured_times, np.eye(len(measured_times)))(times).astype(dtype)  # (n_new_volumes, n_volumes)
        voxels = start == first_time if start.ndim else slice(None)
        resampled[:, voxels] = weights @ deviations[:, voxels]
    resampled += mean
    return resampled
