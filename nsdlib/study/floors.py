"""Baseline images for the scores: made without the brain, from a label of the seen image, or retrieved from the training set.

Images are (n_images, rows, columns, 3) uint8; several sets are a dict by system, with the roles of `reconstruction.ROLES`.
"""

import numpy as np
import xarray as xr

from nsdlib.core.images import resize
from nsdlib.core.scores.metrics import METRICS
from nsdlib.study.reconstruction import KINDS, flat
from nsdlib.study.selection import resemblance

BOUNDING = ("floor", "label", "retrieval")  # roles of the baselines
BATCH = 128  # images read from a subject's files at a time


def make(stages, train, stimulus, *, ids, read, labels=None) -> dict:
    """Make the baseline images of the test images `ids`, except the retrieved ones.

    "mean image" is that of the training images. "another test image" has two-way scores of (n - 2) / (2 (n - 1)) on average,
    because the image that it copies always wins against its own. "prior only" runs both stages on the mean latents and tokens of
    the training images. For each name in `labels`, "mean image of the <name>" is that of the training images with the test
    image's label, or of all if none has it. Labels are a pair of (n_train,), (n_images,) int, from 0, for `train`, a Split, and
    the test images. `stimulus` (n_images, size, size, 3) holds the test images at the size at which they are scored; `read` loads
    stimuli by their ids.
    """
    n_images, size = len(ids), stimulus.shape[1]
    groups = {"mean image": (np.zeros(len(train.ids), int), np.zeros(n_images, int))}
    groups |= {f"mean image of the {name}": group for name, group in (labels or {}).items()}
    means = _mean_images(train.ids, groups, size, read)
    mean_tokens = {kind: np.repeat(_mean(tokens)[None], n_images, axis=0) for kind, tokens in train.tokens.items()}
    prior = stages.refine(stages.draw(np.tile(_mean(train.latents), (n_images, 1)), ids), mean_tokens, ids)
    images = {"mean image": means.pop("mean image"), "another test image": np.roll(stimulus, 1, axis=0)}
    return images | {"prior only": prior} | means


def _mean(values):
    """Mean over images, summed in float64: float32."""
    return values.mean(axis=0, dtype=np.float64).astype(np.float32)


def _mean_images(ids, groups, size, read):
    """Mean training image of each test image's group: {name: (n_images, size, size, 3) uint8}; training images are read once."""
    sums = {name: np.zeros((max(map(max, pair)) + 1, size, size, 3)) for name, pair in groups.items()}
    for start in range(0, len(ids), BATCH):
        images = resize(read(ids[start : start + BATCH]), size)
        for name, (groups_train, _) in groups.items():
            np.add.at(sums[name], groups_train[start : start + BATCH], images)
    means = {}
    for name, (groups_train, groups_test) in groups.items():
        n_train = np.bincount(groups_train, minlength=len(sums[name]))
        sums[name][n_train == 0], n_train[n_train == 0] = sums[name].sum(axis=0), len(ids)
        means[name] = (sums[name] / n_train[:, None, None, None]).round().astype(np.uint8)[groups_test]
    return means


def retrieve(train, patterns, latents, tokens) -> dict:
    """Find the training images that best match what was decoded: baselines that use the brain and generate nothing.

    "nearest training image" compares patterns, "nearest by tokens" both kinds of decoded tokens, "nearest by tokens and latents"
    all inputs of the two stages; the highest sum of `resemblance` wins. `train` is a Split; `patterns`, `latents` and `tokens`
    are those of the test images, the last two decoded. Returns a dict of system to ids of training images, (n_images,) int.
    """
    by_tokens = [resemblance(flat(train.tokens[kind]), flat(tokens[kind])) for kind in KINDS]
    similarities = {
        "nearest training image": [resemblance(train.patterns, patterns)],
        "nearest by tokens": by_tokens,
        "nearest by tokens and latents": [*by_tokens, resemblance(train.latents, latents)],
    }
    return {name: train.ids[sum(parts).argmax(axis=0)] for name, parts in similarities.items()}


def best(values):
    """Select, for each score and each role of `BOUNDING`, the system with the best mean over the same images.

    The selection favours these baselines a little, because the best of several is partly best by chance. `values` is (system,
    metric, test_image), with the coordinate role of the systems. The result has the same form, with the systems "best floor",
    "best label" (if there are labels) and "best retrieval". Its coordinate floor (system, metric) names the selected systems.
    """
    sign = xr.DataArray([METRICS[name].sign for name in values.metric.values], dims="metric")
    roles, means = values.role.drop_vars("system"), sign * values.mean("test_image")
    present_roles = [role for role in BOUNDING if role in roles]
    best_rows = [means.where(roles == role).argmax("system") for role in present_roles]
    baselines = [values.drop_vars("role").isel(system=row).rename(system="floor") for row in best_rows]
    return xr.concat(baselines, xr.Variable("system", [f"best {role}" for role in present_roles]), coords=["floor"])
