"""Predict a run's duration and memory from the records of earlier runs and rehearsals.

Times are never derived from operation counts. The time of a notebook comes from its own record; otherwise from the record of
another run with the same models on a machine of the same name, scaled in proportion to a size; otherwise it is unknown.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from nsdlib.run import costs, monitor
from nsdlib.run.rates import machine_name
from nsdlib.run.runner import notebooks_of
from nsdlib.store.variants import MARK, run_with

GIGABYTE = 1e9
NETWORK = 50e6  # assumed download rate, bytes per second
UNKNOWN = "not known yet"

REFINED = "test images x steps x sets of refined images"
# The quantity that a notebook's time is assumed to be proportional to, as text and as a function.
SCALES = {
    "01_hrf_glmsingle": ("sessions x voxels of the brain", lambda run, a: run.glm_sessions * a.n_brain),
    "02_roi_betas": ("sessions x voxels", lambda run, a: run.n_sessions * a.n_voxels),
    "03_decoder_ablation": ("images x epochs x seeds", lambda run, a: a.n_images * run.max_epochs * len(run.decoder_seeds)),
    "04_latent_size": ("images x layer counts", lambda run, a: a.n_images * len(run.layer_counts)),
    "05_two_stage_reconstruction": (REFINED, lambda run, a: a.n_test * n_walked(run) * costs.refined_sets(run)[0]),
    "06_noise_sensitivity": (REFINED, lambda run, a: a.n_test * n_walked(run) * costs.refined_sets(run)[1]),
    "10_systems_side_by_side": ("images x recipes", lambda run, a: a.n_images * len(run.recipes)),
}
OTHER_SCALE = ("images", lambda run, a: a.n_images)


@dataclass(frozen=True)
class Expectation:
    """The expected seconds of a notebook, NaN if unknown, and the source of that figure."""

    seconds: float = np.nan
    source: str = ""


def n_walked(run):
    """Return the number of diffusion steps per image."""
    return max(1, int(run.strength * run.n_steps))


def read_records(root):
    """Return the records of completed pages, {(run, page): record}."""
    return {(run, page): record for run, page, record in monitor.records(root) if record.get("longest")}


def expect(run, name, records, sizes):
    """Return the expected duration of a notebook of a run on this machine (Expectation).

    It comes from the run's own record if there is one, else from the record with the same machine and zoo that is nearest in
    size. `records` are from `read_records`; `sizes` is a function that returns the `costs.Amounts` of a run.
    """
    quantity, scale = SCALES.get(name, OTHER_SCALE)
    here, candidates = machine_name(run.device), []
    for (other, page), record in records.items():
        recorded = _recorded_run(other, record) if page.partition(MARK)[0] == name else None
        is_own, is_here = other == run.name, record["machine"] == here
        if recorded is None or recorded.zoo != run.zoo or not (is_own or is_here):
            continue
        try:
            factor = scale(run, sizes(run)) / scale(recorded, sizes(recorded))
        except (ValueError, OSError):  # its data have been removed
            continue
        scaled = "" if factor == 1 else f", x {factor:.3g} by {quantity}"
        elsewhere = "" if is_here else f", on {record['machine']}"
        source = f"{other}, {record['started'][:10]}{scaled}{elsewhere}"
        order = not is_own, abs(np.log(factor)), page != name
        candidates.append((order, Expectation(factor * record["longest"], source)))
    return min(candidates, key=lambda candidate: candidate[0], default=(Expectation(),))[-1]


def predict(run, *, is_gpu, sizes=None):
    """Predict what each notebook of a run needs on this machine, with or without a GPU.

    Returns a DataFrame with a row per notebook: seconds (NaN if unknown), the source of that figure, GB of memory, of GPU memory
    and on disk, and the parameter to lower to reduce them.
    """
    sizes, records, rows = sizes or cache(costs.amounts), read_records(run.root), {}
    for name in notebooks_of(run) or costs.COUNTED:
        needs, time = costs.notebook_needs(run, sizes(run), name, is_gpu=is_gpu), expect(run, name, records, sizes)
        rows[name] = {"seconds": time.seconds, "from": time.source, "memory GB": needs.memory / GIGABYTE}
        rows[name] |= {"GPU GB": needs.on_gpu / GIGABYTE, "disk GB": needs.disk / GIGABYTE, "lower": needs.lower}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("notebook")


def forecast(runs, *, is_gpu):
    """Forecast several runs, each run entirely on one node like this machine.

    Returns a DataFrame with a row per run: images, hours (NaN if unknown), the source of that figure, and GB of memory, of GPU
    memory, of results, and of data to download.
    """
    rows, amounts = {}, cache(costs.amounts)
    for run in runs:
        table, sizes = predict(run, is_gpu=is_gpu, sizes=amounts), amounts(run)
        hours, source = run_hours(run, table, sizes)
        rows[run.name] = {
            "images": f"{sizes.n_train:,} + {sizes.n_test:,}",
            "hours": hours,
            "from": source,
            "memory GB": round(table["memory GB"].max()),
            "GPU GB": round(table["GPU GB"].max()),
            "results GB": round(table["disk GB"].sum()),
            "to fetch GB": round(costs.data_bytes(run) / GIGABYTE),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("run")


def spread(hours, n_nodes):
    """Return the hours until all runs are complete on `n_nodes` nodes, when the longest runs are started first.

    The result is NaN if the hours of one run are unknown (NaN). Raises ValueError when there is no node.
    """
    if n_nodes < 1:
        raise ValueError(f"n_nodes must be at least 1, got {n_nodes}.")
    busy = np.zeros(n_nodes)
    for run_hours in sorted(hours, reverse=True):
        busy[busy.argmin()] += run_hours
    return float(busy.max())


def run_hours(run, table, sizes):
    """Return the hours of a whole run and the source of that figure, from its table by `predict` and its sizes (costs.Amounts).

    The source is the records of all notebooks, or a rehearsal on such a machine, or else, with a GPU, a rehearsal on another GPU.
    """
    if table["seconds"].notna().all():
        return table["seconds"].sum() / 3600, f"records of {len(table)} notebooks"
    if run.zoo != "paper":  # rehearsals have the sizes of the paper's models
        return np.nan, "its first run records it"
    from nsdlib.run import rehearsal

    estimate = np.nan, f"`nsdlib rehearse {run.name}` measures it"
    for stages, machine, day in rehearsal.saved(run.root):
        hours, missing_stages = rehearsal.subject_hours(stages, run, sizes).sum(), rehearsal.missing_stages(stages, run, sizes)
        if machine == machine_name(run.device):
            return hours, f"rehearsal, {day}{missing_stages}"
        if table["GPU GB"].any() and stages["of the GPU GiB"].any():
            estimate = hours, f"rehearsal on {machine}, {day}{missing_stages}"
    return estimate


def as_markdown(table):
    """Return the table of `forecast` as text."""
    hours = table["hours"].map(lambda hours: UNKNOWN if np.isnan(hours) else f"{hours:.1f}")
    return table.assign(hours=hours).to_markdown(disable_numparse=True)


def assumptions(device):
    """Return the assumptions of a forecast, one sentence each."""
    return (
        f"Machine: {machine_name(device)}.",
        "Times come from records of notebooks, or from a rehearsal on such a machine, scaled in proportion to sizes, including "
        "the parts that do not depend on the size.",
        "A rehearsal assumes that all networks train for max_epochs; with early stopping they often need only a quarter.",
        "Each subject runs on one node, one notebook after the other, and nothing else runs on this node.",
        f"Data are downloaded beforehand, at {NETWORK / 1e6:.0f} MB/s ({1e9 / NETWORK:.0f} s per GB), and the images only once.",
    )


def _recorded_run(name, record):
    """The run of a record, with its parameters; None if the run's file is gone or no longer accepts them."""
    try:
        return run_with(name, record["parameters"])
    except ValueError:
        return None
