"""Shared inputs of the tests of recipes: images of the simulated subject, and their tokens."""

import numpy as np

from nsdlib.data import open_subject, token_targets
from nsdlib.recipes import recipe
from nsdlib.store import load_embedder


def real_images(run, *, n_train, n_test):
    """The run's subject; ids of some of its images by "train" and "test"; and of these the tokens of each kind."""
    subject = open_subject(run)
    known = np.unique(subject.image_ids)
    ids = {"train": known[:n_train], "test": known[n_train : n_train + n_test]}
    embeddings = token_targets(load_embedder(run), subject, ids)
    return subject, ids, {name: {kind: embeddings[f"{kind}_{name}"].values for kind in recipe.KINDS} for name in ids}
