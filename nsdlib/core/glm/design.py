"""What a single-trial GLM knows before it looks at a voxel: trials, their regressors, slow drifts, and checked input."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from nsdlib.core.glm.linear import orthonormal

IN_DRIFT = (
    1e-8  # a confound that keeps at most this part of its length without drifts lies in them: the rest is rounding
)


@dataclass(frozen=True)
class RunDesign:
    """Trials of one scanner run, and the slow polynomials that are projected out of it.

    Attributes
    ----------
    onsets : (n_trials,) int64 tensor
        Volume in which each trial of the run begins, ascending.
    conditions : (n_trials,) int64 array
        What was shown, any labels.
    n_volumes : int
    drift : (n_volumes, degree + 1) float64 tensor
        Orthonormal polynomials in time.
    """

    onsets: torch.Tensor
    conditions: np.ndarray
    n_volumes: int
    drift: torch.Tensor

    def regressors(self, hrf):
        """Return each trial's BOLD for a beta of 1, drifts projected out: (n_volumes, n_trials) float64.

        Parameters
        ----------
        hrf : (n_samples,) float64 tensor
            The response at the volumes; what lies behind the run's end is cut off.
        """
        padded = torch.cat([hrf, hrf.new_zeros(self.n_volumes)])
        lag = self._volumes[:, None] - self.onsets[None, :]  # (n_volumes, n_trials)
        return self.without_drift(torch.where(lag >= 0, padded[lag.clamp(min=0)], 0.0))

    def without_drift(self, bold):
        """Return time courses (n_volumes, any) minus their least-squares fit by the polynomials."""
        return bold - self.drift @ (self.drift.T @ bold)

    @property
    def no_columns(self):
        """Nuisance regressors where there are none: (n_volumes, 0)."""
        return self.drift[:, :0]

    @cached_property
    def _volumes(self):
        return torch.arange(self.n_volumes, device=self.drift.device)


def make_run_designs(design, data, *, tr, degree=None, device="cpu"):
    """Check design and data, as `fit` takes them, and return a `RunDesign` for each run; `degree` as in `GLMOptions`.

    Raises
    ------
    ValueError
        When the lists, shapes or values do not fit; the message says which run.
    """
    checked, designs = check_design(design, data, tr=tr), []
    degrees = degree if np.ndim(degree) else [degree] * len(checked)
    if len(degrees) != len(checked):
        raise ValueError(f"degree={degree}: wanted one number, or one for each of the {len(checked)} runs.")
    for labels, degree in zip(checked, degrees, strict=True):
        onsets = np.flatnonzero(labels)
        drift = torch.as_tensor(polynomials(len(labels), tr=tr, degree=degree), device=device)
        designs.append(RunDesign(torch.as_tensor(onsets, device=device), labels[onsets], len(labels), drift))
    return designs


def voxel_series(labels, series, *, tr, mean=None):
    """Return one voxel's series of one run without its drift, and the run's design; arguments as of `fit.explain`.

    Returns
    -------
    design : RunDesign
    measured : (n_volumes, 1) float64 tensor
        Percent of the mean.
    """
    series = np.asarray(series, dtype=np.float64)[:, None]
    [design] = make_run_designs([labels], [series], tr=tr)
    return design, design.without_drift(torch.as_tensor(series)) * (100 / abs(series.mean() if mean is None else mean))


def check_design(design, data, *, tr):
    """Return the design of each run as a vector of condition numbers, checked against the data.

    Arguments and errors are those of `make_run_designs`.

    Returns
    -------
    list of (n_volumes,) int64 arrays
    """
    if len(design) != len(data) or not len(data):
        raise ValueError(f"design has {len(design)} runs and data {len(data)}: wanted the same number, at least 1.")
    if not tr > 0:
        raise ValueError(f"tr={tr}: wanted the seconds between two volumes, a number above 0 (NSD: 4/3).")
    n_voxels, checked = np.shape(data[0])[-1], []
    for run, (events, bold) in enumerate(zip(design, data, strict=True), start=1):
        if np.ndim(bold) != 2 or np.shape(bold)[1] != n_voxels:
            raise ValueError(
                f"Run {run}: data must be (n_volumes, n_voxels) with the same {n_voxels} voxels as run 1, got shape "
                f"{np.shape(bold)}."
            )
        labels = _as_labels(np.asarray(events), run)
        if len(labels) != len(bold):
            raise ValueError(
                f"Run {run}: design has {len(labels)} volumes, data {len(bold)}. Cut both to the same volumes (NSD's "
                "time series have one volume more than its design: leave out the last)."
            )
        checked.append(labels)
    if not any(labels.any() for labels in checked):
        raise ValueError("design has no trial in any run: wanted a number other than 0 at each onset.")
    return checked


def polynomials(n_volumes, *, tr, degree=None):
    """Return orthonormal polynomials over a run: (n_volumes, degree + 1) float64.

    The degree is by default half the run's minutes, rounded half up (GLMsingle's rule).
    """
    degree = int(np.floor(n_volumes * tr / 60 / 2 + 0.5)) if degree is None else degree
    basis, _ = np.linalg.qr(np.polynomial.legendre.legvander(np.linspace(-1, 1, n_volumes), degree))
    return basis


def check_confounds(confounds, designs):
    """Return the nuisance regressors of each run, made orthonormal and orthogonal to its drifts.

    Parameters
    ----------
    confounds : list of (n_volumes, any number) arrays, or None
        One a run, such as motion parameters.
    designs : list of RunDesign

    Returns
    -------
    list of (n_volumes, at most that number) float64 tensors

    Raises
    ------
    ValueError
        When they do not fit the runs or are not finite.
    """
    if confounds is None:
        return [design.no_columns for design in designs]
    if len(confounds) != len(designs):
        raise ValueError(f"confounds has {len(confounds)} runs, design {len(designs)}: wanted the same number.")
    checked = []
    for run, (columns, design) in enumerate(zip(confounds, designs, strict=True), start=1):
        columns = np.asarray(columns, dtype=np.float64)
        if columns.ndim != 2 or len(columns) != design.n_volumes or not np.isfinite(columns).all():
            raise ValueError(
                f"Run {run}: confounds must be finite numbers of shape ({design.n_volumes}, any), got shape {columns.shape} "
                f"with {np.count_nonzero(~np.isfinite(columns))} that are not finite (tables of motion often begin with NaN: "
                "fill it)."
            )
        columns = design.drift.new_tensor(columns)
        rest = design.without_drift(columns)
        checked.append(orthonormal(rest[:, rest.norm(dim=0) > IN_DRIFT * columns.norm(dim=0)]))
    return checked


def finite_voxels(data):
    """Return which voxels hold finite values only, in all runs: (n_voxels,) bool. ValueError when there is none."""
    finite = np.logical_and.reduce([np.isfinite(bold).all(axis=0) for bold in data])
    if not finite.any():
        raise ValueError(f"All {len(finite)} voxels hold values that are not finite: no voxel can be fitted.")
    return finite


def _as_labels(events, run):
    """Return a run's design as one number a volume, 0 for no onset."""
    if events.ndim == 2:
        if not np.isin(events, (0, 1)).all():
            raise ValueError(f"Run {run}: a design matrix holds only 0 and 1, got values up to {events.max()}.")
        together = np.flatnonzero(events.sum(axis=1) > 1)
        if len(together):
            raise ValueError(
                f"Run {run}: {len(together)} volumes have two onsets at once (first: volume {together[0]}). Their "
                "responses cannot be separated; keep one."
            )
        return np.where(events.any(axis=1), events.argmax(axis=1) + 1, 0)
    if events.ndim != 1 or not np.issubdtype(events.dtype, np.integer):
        raise ValueError(
            f"Run {run}: design must be (n_volumes,) integers or a (n_volumes, n_conditions) matrix of 0 and 1, got "
            f"{events.dtype} of shape {events.shape}."
        )
    return events.astype(np.int64)
