"""Other subjects, on whom a recipe trains before it is fitted to the run's own: what they offer, without its test images."""

import numpy as np

from nsdlib.data.subject import open_subject
from nsdlib.study.betas import load_trials, zscore


def offered(store, kind, *, rows, without):
    """Return patterns, tokens and images of another subject's training set, `without` the images (n,) of these ids.

    Patterns (n_rows, n_voxels) float32 are single trials or means, as `rows` of a recipe says, z-scored by themselves; tokens of
    a kind are (n_images, n_tokens, n_features); images (n_rows,) int say which of them each pattern belongs to. A
    FileNotFoundError where the other subject has not been run.
    """
    betas, embeddings = store.load("betas"), store.load("embeddings")
    ids, kept = betas.train_image.values, ~np.isin(betas.train_image.values, without)
    X, shown, tokens = betas.X_train.values[kept], ids[kept], embeddings[f"{kind}_train"].values[kept]
    if rows == "trials":
        _, trials = load_trials(store.run, store, open_subject(store.run))
        train = np.isin(trials.image_id.values, ids[kept])
        X, shown = trials.betas.values[train], trials.image_id.values[train]
    return zscore(X, X[:0])[0], tokens, np.searchsorted(ids[kept], shown)
