"""Other subjects, on whom a recipe trains before it is fitted to the run's own: what they offer, without its test images."""

import numpy as np

from nsdlib.data.subject import open_subject
from nsdlib.params import usable_runs
from nsdlib.store.provenance import TAUGHT_BY
from nsdlib.store.store import Store
from nsdlib.study.betas import load_trials, zscore


def ready(run, names):
    """Return the stores of other subjects that have been run (dict by run), and the names of those that have not.

    The run's own subject under another name is neither.
    """
    runs = usable_runs(name for name in names if name != run.name)
    stores = {one.name: Store(one) for one in runs if (one.data, one.subject) != (run.data, run.subject)}
    found = {name: store for name, store in stores.items() if store.run.zoo == run.zoo and all(map(store.has, TAUGHT_BY))}
    return found, [name for name in stores if name not in found]


def offered(store, kind, *, rows, without):
    """Return patterns, tokens and images of another subject's training set, `without` the images (n,) of these ids.

    Patterns (n_rows, n_voxels) float32 are single trials or means, as `rows` of a recipe says, z-scored by themselves; tokens of
    a kind are (n_images, n_tokens, n_features); images (n_rows,) int say which of them each pattern belongs to.
    """
    betas, embeddings = (store.load(name) for name in TAUGHT_BY)
    ids, kept = betas.train_image.values, ~np.isin(betas.train_image.values, without)
    X, shown, tokens = betas.X_train.values[kept], ids[kept], embeddings[f"{kind}_train"].values[kept]
    if rows == "trials":
        _, trials = load_trials(store.run, store, open_subject(store.run))
        train = np.isin(trials.image_id.values, ids[kept])
        X, shown = trials.betas.values[train], trials.image_id.values[train]
    return zscore(X, X[:0])[0], tokens, np.searchsorted(ids[kept], shown)
