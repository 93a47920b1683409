"""Detection of data leaks: a test that perturbs the other test images, and decoders with the leaks of published recipes.

A decoder is inductive if its prediction for a test image depends only on that image's pattern and on training data; then a single
image can be decoded by itself. It is transductive if the prediction also depends on the other test patterns. A decoder that reads
test labels predicts nothing. None of this can be determined if predictions differ from call to call, because of noise or dropout.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from nsdlib.core import networks
from nsdlib.core.ridge import Ridge, decode, rescale
from nsdlib.study.selection import evenly_spaced

KINDS = ("inductive", "differs from call to call", "transductive", "reads test labels")  # the linter's verdicts, best first
REPEATED = "predicted again, unchanged"
TOLERANCE = 1e-3  # standard deviations of the predictions: rounding errors are smaller, leaks larger
# The paper's public code is github.com/LorenzoVeronese/GRU-Decoding_JNE, read at commit 43a4f67.
LEAKS = {
    "z-score on all data": "voxels standardised with the test patterns among the others (the paper's text, section 3.2: \"on the "
    'entire dataset"; its public code takes the statistics of the training images)',
    "renormalised on the test set": "predictions rescaled by their own mean and standard deviation (the code of Brain-Diffuser, "
    "and of the paper)",
    "penalty by test score": "of the penalties the one that predicts the test targets best",
}
# In the public code's CLIP networks (scripts/06, 07), the learning rate and early stopping follow the test error.
EARLY_STOPPING = "early stopping on the test set"
CLIP_NETWORK = {"name": "gru", "width": 256, "batch_size": 128, "recipe": "ours"}  # of the same scripts, without augmentation


@dataclass(frozen=True)
class Report:
    """Result of `lint`."""

    # perturbation to the largest change in predictions of the checked images, in standard deviations of all predictions
    changes: dict[str, float]  # infinite where a prediction is not finite
    n_checked: int  # images whose predictions were compared

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        leaks = [change for change, distance in self.changes.items() if not distance <= TOLERANCE]
        if REPEATED in leaks:
            return "differs from call to call"
        if not leaks:
            return "inductive"
        return "reads test labels" if any(change.startswith("labels") for change in leaks) else "transductive"

    def __str__(self):
        worst = max(self.changes, key=self.changes.get)
        distance = self.changes[worst]
        moved = "no finite prediction" if np.isinf(distance) else f"predictions moved by {distance:.1g} sd at most"
        return f"{self.kind}: {moved} ({worst}; {self.n_checked} images checked)"

    def _repr_html_(self):
        state = "nsd-passed" if self.kind == "inductive" else "nsd-failed"
        return f'<strong class="nsd-badge {state}">{self.kind}</strong>{str(self).removeprefix(self.kind)}'


def lint(predict, X, Y, *, n_checked=3, seed=0) -> Report:
    """Test whether predictions for some images change when the other test images and the test labels are perturbed.

    Parameters
    ----------
    predict : callable
        (patterns, labels) -> predictions (n_test, n_targets). It may fit at each call or use a fitted decoder.
    X, Y : (n_test, n_voxels), (n_test, ...) arrays
        Test patterns and labels of at least three images; fewer, or different lengths, raise a ValueError.
    n_checked : int
        Number of images to check, evenly spaced.
    """
    X, Y = np.asarray(X), np.asarray(Y)
    if len(X) != len(Y) or len(X) < 3:
        raise ValueError(f"lint needs at least three test images and a label for each, got {len(X)} patterns, {len(Y)} labels.")
    rng = np.random.default_rng(seed)
    before = np.asarray(predict(X, Y))
    spread, moved = before.std(), {}
    for image in evenly_spaced(len(X), n_checked):
        for change, rows, patterns, labels in _perturbations(X, Y, before, image, rng):
            with np.errstate(all="ignore"):
                after = np.asarray(predict(patterns, labels))[np.flatnonzero(rows == image)[0]]
                distance = np.abs(after - before[image]).max()
                distance = distance / spread if distance else 0.0  # avoids 0 / 0 where all predictions are equal
            moved[change] = max(moved.get(change, 0.0), float(distance) if np.isfinite(distance) else np.inf)
    return Report(moved, min(n_checked, len(X)))


def lint_decoder(decoder, X, Y, *, mode) -> Report:
    """Lint a fitted decoder on test patterns and labels, with its predictions rescaled by `mode` (`ridge.rescale`)."""
    return lint(lambda patterns, _: rescale(decoder.predict(patterns), decoder, mode=mode), X, Y)


def _perturbations(X, Y, predicted, image, rng):
    """Yield perturbations of all images but one: (name, original rows of the images, patterns, labels)."""
    rows, others = np.arange(len(X)), np.arange(len(X)) != image
    yield REPEATED, rows, X, Y
    yield "all others dropped", rows[[image]], X[[image]], Y[[image]]
    kept_rows = np.flatnonzero(~others | (rng.random(len(X)) < 0.5))
    yield "half of the others dropped", kept_rows, X[kept_rows], Y[kept_rows]
    order = rows.copy()
    order[others] = rng.permutation(rows[others])
    yield "the others permuted", order, X[order], Y[order]
    noisy = X.copy()
    noisy[others] += 3 * X.std() * rng.standard_normal(X[others].shape).astype(X.dtype) + X.std()
    yield "the others' patterns disturbed", rows, noisy, Y
    yield "labels permuted", rows, X, np.roll(Y, 1, axis=0)
    if predicted.size == Y.size:  # these labels favour the largest weights, so a penalty chosen on them changes
        yield "labels replaced by larger predictions", rows, X, 3 * predicted.reshape(Y.shape)
    yield "labels replaced by noise", rows, X, rng.standard_normal(Y.shape).astype(np.float32) * Y.std() * 3


def decoder(train, *, alphas, leak=None, device="cpu"):
    """Build a ridge decoder for `lint`, without a leak or with a published one; other leaks raise a ValueError.

    `train` is (X, Y), patterns (n_images, n_voxels) and targets (n_images, n_targets); `leak` is a key of `LEAKS`. The callable
    takes test patterns and targets, and predicts (n_test, n_targets) float32 with the spread of the training targets. Without a
    leak, the penalty in `alphas` is chosen by leave-one-out on training images. A fit that depends on test images is repeated at
    each call.
    """
    if leak not in (None, *LEAKS):
        raise ValueError(f"leak must be None or one of {', '.join(LEAKS)}, got {leak!r}.")
    if leak == "z-score on all data":
        return partial(_z_scored_together, train, alphas, device)
    if leak == "penalty by test score":
        return partial(_best_on_the_test_set, train, alphas, device)
    ridge, mode = Ridge(alphas, device=device).fit(*train), "train" if leak is None else "test"
    return lambda X_test, _: rescale(ridge.predict(X_test), ridge, mode=mode)


def network(train, *, leak=None, fit=networks.fit, mode="train", **settings):
    """Build a GRU of the public code's size for CLIP tokens, for `lint`, without a leak or with `EARLY_STOPPING`.

    `train` is as for `decoder`, `fit` is `networks.fit` or its memoised form (`Store.memoise`), `mode` is that of
    `ridge.rescale`, and `settings` are those of a `NeuralDecoder`. Early stopping uses a tenth of the training images, or with
    the leak the test set; then each call fits.
    """
    if leak not in (None, EARLY_STOPPING):
        raise ValueError(f"the leak of a network must be None or {EARLY_STOPPING}, got {leak!r}.")
    settings = CLIP_NETWORK | settings
    without_leak = None if leak else fit(X=train[0], Y=train[1], **settings)

    def predict(X_test, Y_test):
        fitted = without_leak or fit(X=train[0], Y=train[1], validation=(X_test, Y_test), **settings)
        return rescale(fitted.predict(X_test), fitted, mode=mode)

    return predict


def predict(train, X_test, Y_test, **settings):
    """Predict the targets of test patterns (n_test, n_voxels) with a `decoder`; only one of the leaks reads `Y_test`."""
    return decoder(train, **settings)(X_test, Y_test)


def _z_scored_together(train, alphas, device, X_test, _):
    """Predict from patterns that are standardised together with the test patterns."""
    X, Y = train
    patterns = np.concatenate([X, X_test])
    mean, sd = patterns.mean(0), patterns.std(0)
    X, X_test = ((part - mean) / np.where(sd > 0, sd, 1) for part in (X, X_test))
    return decode(X, Y, X_test, alphas=alphas, mode="train", device=device)


def _best_on_the_test_set(train, alphas, device, X_test, Y_test):
    """Predict with the penalty that predicts the test targets best."""
    fits = [Ridge([alpha], device=device).fit(*train) for alpha in alphas]
    ridge = min(fits, key=lambda fit: float(np.square(fit.predict(X_test) - Y_test).mean()))
    return rescale(ridge.predict(X_test), ridge, mode="train")
