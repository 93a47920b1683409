"""How long a run will take and what it will hold, here or on other machines, from counts and rates.

A forecast is rough: how much of the rate of large matrix products each kind of work reaches is a constant (`nsdlib.run.costs`).
"""

import numpy as np

from nsdlib.run import costs

ROUGH = 3  # a forecast of seconds may be this many times too high or too low
GIGABYTE = 1e9
NETWORK = 50e6  # bytes a second when data are fetched


def predict(run, rates, sizes=None):
    """Forecast each notebook.

    Returns
    -------
    pandas.DataFrame
        Indexed by notebook: seconds (right to a factor of `ROUGH`), and GB of memory, of a GPU's memory and on disk.
    """
    import pandas as pd

    rows = {}
    for page in costs.pages(run, sizes or costs.amounts(run), is_gpu=rates.is_gpu):
        in_bytes = {"memory GB": page.memory, "GPU GB": page.on_gpu, "disk GB": page.disk}
        rows[page.name] = {"seconds": page.duration(rates)} | {name: n / GIGABYTE for name, n in in_bytes.items()}
    return pd.DataFrame(rows).T.rename_axis("notebook")


def forecast(runs, rates, *, n_nodes=1):
    """Forecast the runs of several subjects, each whole on one node with a device of these rates.

    Parameters
    ----------
    runs : list of nsdlib.params.Run
    rates : Rates
    n_nodes : int

    Returns
    -------
    table : pandas.DataFrame
        One row a run: images, hours of each notebook and of all, GB of memory, of a GPU's memory, of results, of data to fetch.
    hours : float
        From the first start to the last end, the longest runs given out first.

    Raises
    ------
    ValueError
        When there is no node.
    """
    import pandas as pd

    if n_nodes < 1:
        raise ValueError(f"n_nodes must be at least 1, got {n_nodes}.")
    rows = {}
    for run in runs:
        sizes = costs.amounts(run)
        table = predict(run, rates, sizes)
        rows[run.name] = {"images": f"{sizes.n_train:,} + {sizes.n_test:,}"}
        rows[run.name] |= {f"{name[:2]} h": f"{seconds / 3600:.2g}" for name, seconds in table["seconds"].items()}
        rows[run.name] |= {
            "hours": round(table["seconds"].sum() / 3600, 1),
            "memory GB": round(table["memory GB"].max()),
            "GPU GB": round(table["GPU GB"].max()),
            "results GB": round(table["disk GB"].sum()),
            "to fetch GB": round(costs.data_bytes(run) / GIGABYTE),
        }
    table = pd.DataFrame(rows).T.rename_axis("run")
    busy = np.zeros(n_nodes)
    for hours in sorted(table["hours"], reverse=True):
        busy[busy.argmin()] += hours
    return table, float(busy.max())


def assumptions(rates):
    """What a forecast rests on, a sentence each."""
    return (
        f"Device: {rates}.",
        f"Each number of hours may be {ROUGH} times too high or too low; shares of the rate reached on a GPU are assumed.",
        "Networks train for all of max_epochs; with patience they often stop at a quarter.",
        "A subject runs whole on one node, one notebook after the other, and nothing else runs beside it.",
        f"Data are fetched beforehand, at {NETWORK / 1e6:.0f} MB/s in {1e9 / NETWORK:.0f} s a GB; the images only once.",
    )
