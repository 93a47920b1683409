"""Training data of other subjects, on whom a recipe is pretrained, without the run's test images."""

import numpy as np

from nsdlib.data.subject import open_subject
from nsdlib.study.betas import load_trials, zscore


def load_training_data(store, kind, *, rows, without):
    """Return patterns, tokens and images of another subject's training set, `without` the images (n,) of these ids.

    Patterns (n_rows, n_voxels) float32 are single trials or averages, depending on the recipe's `rows`, z-scored among
    themselves; tokens of a kind are (n_images, n_tokens, n_features); images (n_rows,) int are the index of each pattern's image
    in the tokens. A FileNotFoundError is raised if the other subject has not been run.
    """
    betas, embeddings = store.load("betas"), store.load("embeddings")
    ids, is_kept = betas.train_image.values, ~np.isin(betas.train_image.values, without)
    X, image_ids, tokens = betas.X_train.values[is_kept], ids[is_kept], embeddings[f"{kind}_train"].values[is_kept]
    if rows == "trials":
        _, trials = load_trials(store.run, store, open_subject(store.run))
        train = np.isin(trials.image_id.values, ids[is_kept])
        X, image_ids = trials.betas.values[train], trials.image_id.values[train]
    return zscore(X, X[:0])[0], tokens, np.searchsorted(ids[is_kept], image_ids)
