"""Does a prediction know what it must not? A linter that shakes the other test images, and the price of published leaks.

A decoder is inductive when what it says of a test image follows from that image's pattern and from training alone; then one image
can be decoded by itself. It is transductive when the other test patterns have a say, and it cheats when test labels have one.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from nsdlib.core.ridge import Ridge, decode, rescale

TOLERANCE = 1e-3  # of the predictions' standard deviation: rounding moves them less, a leak more
KINDS = ("inductive", "transductive", "reads test labels")
LEAKS = {
    "z-score on all data": "voxels standardised with the test patterns among the others (the paper, its section 3.2)",
    "renormalised on the test set": "predictions given back their spread by their own statistics (Brain-Diffuser)",
    "penalty by test score": "of the penalties the one that predicts the test targets best",
}


@dataclass(frozen=True)
class Report:
    """What moved.

    Attributes
    ----------
    moved : dict of str to float
        What was done to the other images -> how far the checked images' predictions moved at most, in standard deviations of
        all predictions; infinite where none came out.
    n_checked : int
        Images whose predictions were watched.
    """

    moved: dict
    n_checked: int

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        leaked = [what for what, how_far in self.moved.items() if not how_far <= TOLERANCE]
        return KINDS[0] if not leaked else KINDS[2] if any(what.startswith("labels") for what in leaked) else KINDS[1]

    def __str__(self):
        worst = max(self.moved, key=self.moved.get)
        how_far = self.moved[worst]
        moved = "no prediction came out" if np.isinf(how_far) else f"predictions moved by {how_far:.1g} sd at most"
        return f"{self.kind}: {moved} ({worst}; {self.n_checked} images checked)"

    def _repr_html_(self):
        colour = "#2f7d3b" if self.kind == KINDS[0] else "#b3401f"
        words = str(self).removeprefix(self.kind)
        badge = f"background:{colour};color:white;padding:2px 8px;border-radius:4px"
        return f'<span style="{badge}">{self.kind}</span>{words}'


def lint(predict, X, Y, *, n_checked=3, seed=0) -> Report:
    """Change the other test images and the test labels, and watch whether the predictions for some images move.

    Parameters
    ----------
    predict : callable
        (patterns (n_test, n_voxels), labels (n_test, ...)) -> predictions (n_test, n_targets). It may fit anew at each call or
        use what was fitted; one that does not look at the labels ignores them.
    X : (n_test, n_voxels) array
        Test patterns.
    Y : (n_test, ...) array
        Test labels: what `predict` should find.
    n_checked : int
        Images to watch, evenly spaced.
    seed : int
        Of the changes.

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        When there are fewer than three test images, or the two differ in length.
    """
    X, Y = np.asarray(X), np.asarray(Y)
    if len(X) != len(Y) or len(X) < 3:
        raise ValueError(
            f"wanted at least three test images and a label for each, got {len(X)} patterns, {len(Y)} labels."
        )
    rng = np.random.default_rng(seed)
    before = np.asarray(predict(X, Y))
    spread, moved = before.std(), {}
    for image in np.linspace(0, len(X) - 1, min(n_checked, len(X))).round().astype(int):
        for what, rows, patterns, labels in _changes(X, Y, image, rng):
            with np.errstate(all="ignore"):
                after = np.asarray(predict(patterns, labels))[np.flatnonzero(rows == image)[0]]
            how_far = np.abs(after - before[image]).max() / spread
            moved[what] = max(moved.get(what, 0.0), float(how_far) if np.isfinite(how_far) else np.inf)
    return Report(moved, min(n_checked, len(X)))


def _changes(X, Y, image, rng):
    """What is done to the others: (name, rows of the original images that are left, patterns, labels)."""
    rows, others = np.arange(len(X)), np.arange(len(X)) != image
    yield "all others dropped", rows[[image]], X[[image]], Y[[image]]
    some = np.flatnonzero(~others | (rng.random(len(X)) < 0.5))
    yield "half of the others dropped", some, X[some], Y[some]
    order = rows.copy()
    order[others] = rng.permutation(rows[others])
    yield "the others permuted", order, X[order], Y[order]
    noisy = X.copy()
    noisy[others] += 3 * X.std() * rng.standard_normal(X[others].shape).astype(X.dtype) + X.std()
    yield "the others' patterns disturbed", rows, noisy, Y
    yield "labels permuted", rows, X, np.roll(Y, 1, axis=0)
    wrong = rng.standard_normal(Y.shape).astype(np.float32) * Y.std() * 3
    yield "labels replaced by noise", rows, X, wrong


def decoder(train, *, alphas, leak=None, device="cpu"):
    """A ridge, without a leak or with a published one.

    Parameters
    ----------
    train : (X, Y)
        Patterns (n_images, n_voxels) and targets (n_images, n_targets).
    alphas : sequence of float
        Penalties; without a leak the best by leave-one-out on training images.
    leak : str, optional
        A key of `LEAKS`.
    device : torch.device or str

    Returns
    -------
    callable
        (X_test (n_test, n_voxels), Y_test (n_test, n_targets)) -> (n_test, n_targets) float32, with the spread of the training
        targets; as `lint` wants it. Where the test images have a say in the fit, it fits anew at each call.

    Raises
    ------
    ValueError
        For an unknown leak.
    """
    if leak not in (None, *LEAKS):
        raise ValueError(f"there is no leak {leak!r}; known: {', '.join(LEAKS)}.")
    if leak == "z-score on all data":
        return partial(_z_scored_together, train, alphas, device)
    if leak == "penalty by test score":
        return partial(_best_on_the_test_set, train, alphas, device)
    ridge, mode = Ridge(alphas, device=device).fit(*train), "train" if leak is None else "test"
    return lambda X_test, _: rescale(ridge.predict(X_test), ridge, mode=mode)


def predict(train, X_test, Y_test, **settings):
    """What a `decoder` says of test patterns (n_test, n_voxels); the targets are looked at by one of the leaks only."""
    return decoder(train, **settings)(X_test, Y_test)


def _z_scored_together(train, alphas, device, X_test, _):
    """Predict after all patterns were standardised with each other."""
    X, Y = train
    together = np.concatenate([X, X_test])
    mean, sd = together.mean(0), together.std(0)
    X, X_test = ((part - mean) / np.where(sd > 0, sd, 1) for part in (X, X_test))
    return decode(X, Y, X_test, alphas=alphas, mode="train", device=device)


def _best_on_the_test_set(train, alphas, device, X_test, Y_test):
    """Predict with the penalty that predicts the test targets best."""
    fits = [Ridge([alpha], device=device).fit(*train) for alpha in alphas]
    ridge = min(fits, key=lambda one: float(np.square(one.predict(X_test) - Y_test).mean()))
    return rescale(ridge.predict(X_test), ridge, mode="train")
