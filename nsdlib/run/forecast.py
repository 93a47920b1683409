"""How long a run will take and what it will hold, from what earlier runs and rehearsals recorded.

Times are never counted from operations. A notebook's comes from its own record; where there is none, from that of another run
on a machine of the same name with the same models, in proportion to a size; else it is not known.
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
NETWORK = 50e6  # bytes a second when data are fetched
UNKNOWN = "not known yet"

REFINED = "test images x steps x sets of refined images"
# What the time of a notebook is taken to be in proportion to, in words and counted.
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
    """Seconds that a notebook is expected to take, NaN where that is not known, and what says so."""

    seconds: float = np.nan
    source: str = ""


def n_walked(run):
    """Return the number of diffusion steps that an image goes through."""
    return max(1, int(run.strength * run.n_steps))


def read_records(root):
    """Return the records of pages that came to their end, {(run, page): record}."""
    return {(run, page): record for run, page, record in monitor.records(root) if record.get("longest")}


def expect(run, name, records, sizes):
    """Return how long a notebook of a run is expected to take on this machine (Expectation).

    From the run's own record; else from that record of the same machine and zoo that is nearest in size. `records` are those of
    `read_records`; `sizes` is called with a run and gives its `costs.Amounts`.
    """
    words, scale = SCALES.get(name, OTHER_SCALE)
    here, candidates = machine_name(run.device), []
    for (other, page), record in records.items():
        recorded = _recorded_run(other, record) if page.partition(MARK)[0] == name else None
        is_own, is_here = other == run.name, record["machine"] == here
        if recorded is None or recorded.zoo != run.zoo or not (is_own or is_here):
            continue
        try:
            factor = scale(run, sizes(run)) / scale(recorded, sizes(recorded))
        except (ValueError, OSError):  # its data have been put away
            continue
        scaled = "" if factor == 1 else f", x {factor:.3g} by {words}"
        elsewhere = "" if is_here else f", on {record['machine']}"
        source = f"{other}, {record['started'][:10]}{scaled}{elsewhere}"
        order = not is_own, abs(np.log(factor)), page != name
        candidates.append((order, Expectation(factor * record["longest"], source)))
    return min(candidates, key=lambda candidate: candidate[0], default=(Expectation(),))[-1]


def predict(run, *, is_gpu, sizes=None):
    """Say for each notebook, in rows of a DataFrame, what a run takes on this machine, with a GPU or without.

    Seconds (NaN where they are not known), what says so, GB of memory, of a GPU's memory, on disk, and the parameter to lower
    for less of them.
    """
    sizes, records, rows = sizes or cache(costs.amounts), read_records(run.root), {}
    for name in notebooks_of(run) or costs.COUNTED:
        needs, time = costs.notebook_needs(run, sizes(run), name, is_gpu=is_gpu), expect(run, name, records, sizes)
        rows[name] = {"seconds": time.seconds, "from": time.source, "memory GB": needs.memory / GIGABYTE}
        rows[name] |= {"GPU GB": needs.on_gpu / GIGABYTE, "disk GB": needs.disk / GIGABYTE, "lower": needs.lower}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("notebook")


def forecast(runs, *, is_gpu):
    """Forecast several runs, in rows of a DataFrame, each whole on one node that is like this machine.

    Images, hours (NaN where they are not known), what says so, GB of memory, of a GPU's memory, of results, of data to fetch.
    """
    rows, amounts = {}, cache(costs.amounts)
    for run in runs:
        table, sizes = predict(run, is_gpu=is_gpu, sizes=amounts), amounts(run)
        hours, source = whole(run, table, sizes)
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
    """Return the hours from the first start to the last end when nodes share runs, the longest given out first.

    Where the hours of one run are not known (NaN), the result is not known. A ValueError when there is no node.
    """
    if n_nodes < 1:
        raise ValueError(f"n_nodes must be at least 1, got {n_nodes}.")
    busy = np.zeros(n_nodes)
    for run_hours in sorted(hours, reverse=True):
        busy[busy.argmin()] += run_hours
    return float(busy.max())


def whole(run, table, sizes):
    """Return the hours of a whole run and what says so, from its table by `predict` and its sizes (costs.Amounts).

    The records of all its notebooks, or a rehearsal on such a machine; on a GPU that nobody has rehearsed, one on another card.
    """
    if table["seconds"].notna().all():
        return table["seconds"].sum() / 3600, f"records of {len(table)} notebooks"
    if run.zoo != "paper":  # the one whose sizes a rehearsal has
        return np.nan, "its first run records it"
    from nsdlib.run import rehearsal

    found = np.nan, f"`nsdlib rehearse {run.name}` measures it"
    for stages, machine, made in rehearsal.kept(run.root):
        hours, left_out = rehearsal.subject_hours(stages, run, sizes).sum(), rehearsal.left_out(stages, run, sizes)
        if machine == machine_name(run.device):
            return hours, f"rehearsal, {made}{left_out}"
        if table["GPU GB"].any() and stages["of the GPU GiB"].any():
            found = hours, f"rehearsal on {machine}, {made}{left_out}"
    return found


def as_markdown(table):
    """Return the table of `forecast` as text."""
    hours = table["hours"].map(lambda hours: UNKNOWN if np.isnan(hours) else f"{hours:.1f}")
    return table.assign(hours=hours).to_markdown(disable_numparse=True)


def assumptions(device):
    """Return what a forecast rests on, a sentence each."""
    return (
        f"Machine: {machine_name(device)}.",
        "Times are what records of notebooks or a rehearsal on such a machine say, in proportion to sizes; what does not grow "
        "with the size is scaled with it, too.",
        "A rehearsal counts the networks' training for all of max_epochs; with patience they often stop at a quarter.",
        "A subject runs whole on one node, one notebook after the other, and nothing else runs beside it.",
        f"Data are fetched beforehand, at {NETWORK / 1e6:.0f} MB/s in {1e9 / NETWORK:.0f} s a GB; the images only once.",
    )


def _recorded_run(name, record):
    """The run that a record is of, with the parameters that were set; None where its file is gone or has changed too much."""
    try:
        return run_with(name, record["parameters"])
    except ValueError:
        return None
