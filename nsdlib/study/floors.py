"""Images that bound the scores from below: made without the brain, from a label of what was seen, or found in the training set.

Images are (n_images, rows, columns, 3) uint8, several sets of them a dict by system; `reconstruction.ROLES` says which is which.
"""

import numpy as np
import xarray as xr

from nsdlib.core.images import resize
from nsdlib.core.scores.metrics import METRICS
from nsdlib.study.reconstruction import KINDS, flat
from nsdlib.study.selection import resemblance

BOUNDING = ("floor", "label", "retrieval")  # roles of what bounds the scores from below
BATCH = 128  # images read from a subject's files at a time


def make(stages, train, stimulus, *, ids, read, labels=None) -> dict:
    """Make the images that bound the scores from below, for the test images `ids`.

    "mean image" of the training images; "another test image", whose two-way scores are (n - 2) / (2 (n - 1)) on average, for the
    image that it is always wins against one's own; "prior only", both stages from the mean latents and tokens of the training
    images; and, for each name in `labels`, "mean image of the <name>": of those training images that have the test image's label,
    or of all where none has it. Labels are a pair of (n_train,), (n_images,) int, from 0, of the images of `train`, a Split, and
    of the test images. `stimulus` (n_images, size, size, 3) holds these as they are scored, `read` makes stimuli of ids.
    """
    n_images, size = len(ids), stimulus.shape[1]
    groups = {"mean image": (np.zeros(len(train.ids), int), np.zeros(n_images, int))}
    groups |= {f"mean image of the {name}": group for name, group in (labels or {}).items()}
    means = _mean_images(train.ids, groups, size, read)
    every = {kind: np.repeat(_mean(tokens)[None], n_images, axis=0) for kind, tokens in train.tokens.items()}
    prior = stages.refine(stages.draw(np.tile(_mean(train.latents), (n_images, 1)), ids), every, ids)
    first = {"mean image": means.pop("mean image"), "another test image": np.roll(stimulus, 1, axis=0)}
    return first | {"prior only": prior} | means


def _mean(values):
    """Mean over images, summed in float64: float32."""
    return values.mean(axis=0, dtype=np.float64).astype(np.float32)


def _mean_images(ids, groups, size, read):
    """Mean training image of each test image's group: {name: (n_images, size, size, 3) uint8}; training images are read once."""
    sums = {name: np.zeros((max(map(max, pair)) + 1, size, size, 3)) for name, pair in groups.items()}
    for start in range(0, len(ids), BATCH):
        images = resize(read(ids[start : start + BATCH]), size)
        for name, (of_train, _) in groups.items():
            np.add.at(sums[name], of_train[start : start + BATCH], images)
    means = {}
    for name, (of_train, of_test) in groups.items():
        n_train = np.bincount(of_train, minlength=len(sums[name]))
        sums[name][n_train == 0], n_train[n_train == 0] = sums[name].sum(axis=0), len(ids)
        means[name] = (sums[name] / n_train[:, None, None, None]).round().astype(np.uint8)[of_test]
    return means


def retrieve(train, patterns, latents, tokens) -> dict:
    """Find the training images that resemble what was decoded most: what uses the brain and generates nothing.

    "nearest training image" by the patterns themselves, "nearest by tokens" by both kinds of decoded tokens together, "nearest by
    tokens and latents" by all that the two stages get: the highest sum of their `resemblance`. `train` is a Split; `patterns`,
    `latents` and `tokens` are of the test images, the last two as decoded. Returns ids of training images, (n_images,) int, by
    system.
    """
    by_tokens = [resemblance(flat(train.tokens[kind]), flat(tokens[kind])) for kind in KINDS]
    found = {
        "nearest training image": [resemblance(train.patterns, patterns)],
        "nearest by tokens": by_tokens,
        "nearest by tokens and latents": [*by_tokens, resemblance(train.latents, latents)],
    }
    return {name: train.ids[sum(some).argmax(axis=0)] for name, some in found.items()}


def best(values):
    """Take for each score and each role of `BOUNDING` the system whose mean is best on the same images.

    The choice favours the floor a little, as the best of several is good by luck, too. `values` is (system, metric, test_image),
    with the coordinate role of the systems; so is what is returned, of the systems "best floor", "best label" where there are
    labels, and "best retrieval". Its coordinate floor (system, metric) says which they are.
    """
    sign = xr.DataArray([METRICS[name].sign for name in values.metric.values], dims="metric")
    roles, means = values.role.drop_vars("system"), sign * values.mean("test_image")
    present = [role for role in BOUNDING if role in roles]
    chosen = [means.where(roles == role).argmax("system") for role in present]
    bars = [values.drop_vars("role").isel(system=which).rename(system="floor") for which in chosen]
    return xr.concat(bars, xr.Variable("system", [f"best {role}" for role in present]), coords=["floor"])
