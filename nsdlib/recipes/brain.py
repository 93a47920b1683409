"""The brain side of a recipe: training rows, targets, a decoder for each, and predictions for the test images.

Slow results are cached in the store, part by part.
"""

import re
import time
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr

from nsdlib.core import device, networks, rivals
from nsdlib.core.ridge import Ridge, rescale
from nsdlib.data.subject import open_subject
from nsdlib.recipes import own
from nsdlib.recipes import recipe as recipes
from nsdlib.store import Store, zoo
from nsdlib.store.provenance import TAUGHT_BY, teachers
from nsdlib.study import ablation, leaks
from nsdlib.study.betas import average_repeats, load_trials, zscore
from nsdlib.study.reconstruction import Split, flat

N_LINTED = 12  # test images that the linter perturbs and drops
EARLY = re.compile(  # V1 to V3, their parts, and their names in atlases: V1v, L_V2_ROI, V3d-lh, EarlyVis, pericalcarine
    r"(ctx[._ -])?((left|right|[lr]h?)[._ -]?)?(V[123][vd]?|early\w*|LVC|(peri)?calcarine)([._ -].*)?", re.IGNORECASE
)


@dataclass(frozen=True)
class Decoded:
    """What a recipe decodes for the test images, in the order of `Inputs.test`."""

    targets: dict  # target to (n_images, n_targets) float32
    retrieval: np.ndarray  # (n_images, n_targets) float32, compared with the recipe's true `retrieval_target`
    badge: str  # the linter's worst verdict on a part, one of `leaks.KINDS`
    seconds: float  # to fit all parts and to predict
    n_parameters: float  # fitted parameters; NaN if a user's decoder does not expose them
    notes: tuple = ()


@dataclass(frozen=True)
class Part:
    """A decoder of one target, fitted to training rows only, so that the leak linter can predict other test patterns with it."""

    predict: object  # (patterns (n, n_voxels), image ids (n,)) -> (n, n_targets) float32
    retrieve: object = None  # the same for the retrieval embedding, if it differs
    n_parameters: float = np.nan


@dataclass(frozen=True)
class Inputs:
    """The inputs of a run's recipes: patterns and targets of training and test images, regions, single trials."""

    run: object
    store: object
    train: Split
    test: Split
    betas: object  # the artifact
    latents: dict  # "train" and "test" to the latents of all stored layers, (n_images, n_latents)
    count: object  # n_layers -> number of latents
    encode: object = None  # image ids, model=... -> (n_images, n_targets) float32, latents of a diffusion model's autoencoder
    subject: object = None
    embed_captions: object = None  # image ids -> (n_images, n_tokens, n_features), text tokens of Stable Diffusion
    embed_images: object = None  # image ids, clip=... -> (n_images, n_features) float32, embeddings by another CLIP

    @classmethod
    def of(cls, run, store, pictures) -> "Inputs":
        """Read the artifacts `betas`, `targets` and `embeddings`; `pictures` is a `pictures.Pictures`."""
        betas, targets, embeddings = (store.load(name) for name in ("betas", "targets", "embeddings"))
        count = pictures.stages.vdvae.n_latents
        splits = (Split.of(name, betas, targets, embeddings, n_latents=count(run.n_layers)) for name in ("train", "test"))
        latents = {name: targets[f"latents_{name}"] for name in ("train", "test")}
        functions = open_subject(run), pictures.embed_captions, pictures.embed_images
        return cls(run, store, *splits, betas, latents, count, pictures.encode, *functions)

    @cached_property
    def trials(self):
        """Training trials and averages of test trials, z-scored by the former, and the image ids of the training trials."""
        _, trials = load_trials(self.run, self.store, self.subject)
        test, ids = trials.is_test.values, trials.image_id.values
        _, means, _ = average_repeats(trials.betas.values[test], ids[test])
        X, X_test, *_ = zscore(trials.betas.values[~test], means)
        return X, X_test, ids[~test]

    def tokens(self, kind, model=recipes.MODELS[0]):
        """Return tokens of training and test images in the form for a model: two (n_images, n_tokens, n_features) arrays."""
        splits = (self.train, self.test)
        if model == "stable_diffusion" and kind == "text":
            return tuple(self.embed_captions(split.ids) for split in splits)
        return tuple(split.tokens[kind] for split in splits)

    def truth(self, target, *, n_layers=None, model=recipes.MODELS[0], clip=""):
        """Return the true targets of training and test images: two (n_images, n_targets) float32 arrays.

        `model`, one of `recipe.MODELS`, determines the text tokens and autoencoder latents; `clip` is the folder of another CLIP.
        """
        if target == "clip":
            return tuple(self.embed_images(split.ids, clip=clip) for split in (self.train, self.test))
        if target == "latents":
            n_latents = self.count(n_layers or self.run.n_layers)
            if n_latents > (n_stored := self.latents["train"].shape[1]):
                raise ValueError(
                    f"n_layers={n_layers} are {n_latents} latents, but notebook 03 stored {n_stored}: add {n_layers} to "
                    "layer_counts."
                )
            return tuple(self.latents[name][:, :n_latents].values for name in ("train", "test"))
        if target == "autoencoder":
            return tuple(self.encode(split.ids, model=model) for split in (self.train, self.test))
        return tuple(as_target(target, tokens) for tokens in self.tokens(_kind(target), model))

    def voxels(self, which):
        """Return the voxels from which a target is decoded, (n_voxels,) bool, and a note on their regions."""
        names, inside = self.betas.region.values, self.betas.in_region.values
        if which == "all":
            return np.ones(inside.shape[1], bool), ()
        is_early = np.array([EARLY.fullmatch(name) is not None for name in names])
        chosen = is_early if which == "early" else ~is_early & (names != "no region known")
        mask = inside[chosen].any(axis=0)
        if which == "ventral":
            mask &= ~inside[is_early].any(axis=0)
        if not mask.any():
            return np.ones(len(mask), bool), (f"No region of this subject is known as {which}: all voxels are used.",)
        return mask, (f"The {which} voxels are those of {', '.join(names[chosen])} ({mask.sum()} of {len(mask)}).",)


def as_target(target, tokens) -> np.ndarray:
    """Convert CLIP tokens (n_images, n_tokens, n_features) to a decoding target: (n_images, n_targets) float32.

    It is all tokens, a pooled vector of length 1, or for "retrieval" all tokens with length 1 each. The pooled vector of vision
    is the class token. That of text is the last token, which has seen the whole caption and its padding; CLIP's own is at the
    first end of text, a position that means over captions do not have.
    """
    tokens = np.asarray(tokens, dtype=np.float32)
    if target in ("text", "vision"):
        return flat(tokens)
    chosen = {"vision_pooled": tokens[:, :1], "text_pooled": tokens[:, -1:]}.get(target, tokens)
    return flat(chosen / np.linalg.norm(chosen, axis=-1, keepdims=True))


def fit(X, Y, *, decoder, settings, alphas, intercept, mode, seed, device, root, version=None, images=None, taught_by=()) -> Part:
    """Fit the decoder of one target, ridge, a rival or a user's own, to X (n_rows, n_voxels) and Y (n_rows, n_targets).

    `alphas`, `intercept` and `mode`, that of `core.ridge.rescale`, are for ridge, and `settings` for the other decoders. `images`
    (n_rows,) are ids if rows are trials, and `taught_by` other subjects, as in `mindeye.MindEye.fit`. `version` makes the store
    recompute results of a user's decoder when its file changes. A ValueError is raised for a decoder without `fit` and `predict`.
    """
    if decoder == "ridge":
        ridge = Ridge(alphas, device=device).fit(X, Y)
        mean = 0 if intercept else ridge.targets.mean
        predict = lambda patterns, _: rescale(ridge.predict(patterns), ridge, mode=mode) - mean  # noqa: E731
        return Part(predict, n_parameters=networks.count_parameters("ridge", X.shape[1], Y.shape[1]))
    if decoder in rivals.NAMES:
        options = {"others": taught_by} if taught_by else {}
        model = rivals.make(decoder, seed=seed, device=device, **settings).fit(X, Y, images=images, **options)
        predict = lambda patterns, ids: model.predict(patterns, image_ids=ids)  # noqa: E731
        retrieve = (lambda patterns, _: model.retrieve(patterns)) if hasattr(model, "retrieve") else None
        return Part(predict, retrieve, own.count(model))
    predict, n_parameters = own.fit(decoder, X, Y, settings=settings, root=root)
    return Part(lambda patterns, _: predict(patterns), n_parameters=n_parameters)


def predict_and_lint(part, X_test, Y_test, ids):
    """Predict the test images with a part, and lint it: DataArray (use, test_image, target) float32 with the attribute badge.

    The uses are "decoded", and "retrieval" if its embedding differs.
    """
    uses = {"decoded": part.predict(X_test, ids)} | ({"retrieval": part.retrieve(X_test, ids)} if part.retrieve else {})
    # the same image id, and so the same noise, for all rows, which the linter drops and permutes
    predict = lambda patterns, _: part.predict(patterns, np.zeros(len(patterns), dtype=int))  # noqa: E731
    report = leaks.lint(predict, X_test[:N_LINTED], Y_test[:N_LINTED], n_checked=1)
    array = xr.DataArray(np.stack(list(uses.values())), dims=("use", "test_image", "target"), coords={"use": list(uses)})
    return array.assign_attrs(badge=report.kind, n_parameters=float(part.n_parameters))


def fit_and_predict(X, Y, X_test, Y_test, *, ids, **settings):
    """Fit a part with `fit` and predict with `predict_and_lint`; the attribute seconds is the duration of both."""
    start = time.perf_counter()
    part = fit(X, Y, **settings)
    array = predict_and_lint(part, X_test, Y_test, ids)
    return array.assign_attrs(seconds=time.perf_counter() - start)


def decode(recipe, inputs) -> Decoded:
    """Fit all parts of a recipe and decode the test images; results are cached in the store."""
    parts, notes, retrieval = {}, [], None
    for target, options in recipe.targets.items():
        array, part_notes = _decode_target(recipe, target, options, inputs)
        parts[target], notes = array, notes + [note for note in part_notes if note not in notes]
        if target == recipe.retrieval_target and "retrieval" in array.use:
            retrieval = array.sel(use="retrieval").values
    targets = {target: array.sel(use="decoded").values for target, array in parts.items()}
    return Decoded(
        targets,
        targets[recipe.retrieval_target] if retrieval is None else retrieval,
        max((array.badge for array in parts.values()), key=leaks.KINDS.index),
        float(sum(array.seconds for array in parts.values())),
        float(sum(array.n_parameters for array in parts.values())),
        tuple(notes),
    )


def _decode_target(recipe, target, options, inputs):
    """One part's array as `predict_and_lint` returns it, and notes."""
    run, train = inputs.run, inputs.train
    X, X_test, ids = inputs.trials if recipe.rows == "trials" else (train.patterns, inputs.test.patterns, train.ids)
    voxels, notes = inputs.voxels(options.voxels)
    Y, Y_test = inputs.truth(target, **recipe.truth_options)
    Y = Y[np.searchsorted(train.ids, ids)] if recipe.rows == "trials" else Y
    X, X_test = (X, X_test) if voxels.all() else (X[:, voxels], X_test[:, voxels])
    chosen_device, seed = device.pick_device(run.device), run.decoder_seeds[0]
    mode = options.rescale or (run.renormalise if options.intercept else "none")
    if recipe.published_rescale not in (None, mode) and options.rescale is None and options.decoder in networks.DECODERS:
        spread = f"the spread is that of held-out training {recipe.rows}" if mode == "train" else "they are not rescaled"
        notes = (*notes, f"The published code rescales predictions by the spread of the test predictions; here {spread}.")
    if options.decoder in networks.NETWORKS:
        fit_network = inputs.store.memoise(networks.fit, kind=networks.NeuralDecoder)
        network = fit_network(options.decoder, X, Y, seed=seed, **_of_network(options, run, inputs, voxels))
        part = Part(lambda patterns, _: rescale(network.predict(patterns), network, mode=mode), n_parameters=own.count(network))
        array = predict_and_lint(part, X_test, Y_test, inputs.test.ids).assign_attrs(seconds=network.seconds)
        if not network.history.finished:
            n_epochs = len(network.history.errors)
            notes += (f"{network.name} of width {network.width} was stopped by max_epochs after {n_epochs} epochs.",)
        return array, notes
    settings, decoder_notes = _of_others(target, options, recipe, inputs, voxels, mode)
    taught_by, pretraining_notes = _taught_by(target, recipe, inputs)
    array = inputs.store.memoise(fit_and_predict)(
        X, Y, X_test, Y_test, ids=inputs.test.ids, decoder=options.decoder, settings=settings,
        alphas=options.alphas or zoo.alphas(run, _kind(target)), intercept=options.intercept, mode=mode, seed=seed,
        device=str(chosen_device), root=str(run.root) if options.is_own else None,
        version=own.version(options.decoder, run.root) if options.is_own else None,
        images=ids if recipe.rows == "trials" and options.decoder in rivals.NAMES else None, taught_by=taught_by,
    )  # fmt: skip
    return array, (*notes, *decoder_notes, *pretraining_notes)


def _taught_by(target, recipe, inputs):
    """Other subjects for pretraining the decoder of a target, in the form for `fit`, and notes that name them."""
    subjects = teachers(inputs.run, recipe.name) if recipe.is_pretrained(target) else []
    taught_by = tuple(_training_data(other, target, rows=recipe.rows, without=inputs.test.ids) for other in subjects)
    n_images, names = sum(len(Y) for _, Y, _ in taught_by), ", ".join(other.name for other in subjects)
    return taught_by, [f"{target}: pretrained on {names} ({n_images} images)."] if subjects else []


def _training_data(run, target, *, rows, without):
    """Training data of another subject, `without` the images of these ids: patterns, targets, and the target of each pattern.

    Patterns (n_rows, n_voxels) float32 are single trials or averages, depending on `rows`, z-scored among themselves; targets are
    (n_images, n_targets), and the index of each pattern's image in them is (n_rows,). A FileNotFoundError is raised if the other
    subject has not been run.
    """
    store = Store(run)
    betas, embeddings = (store.load(name) for name in TAUGHT_BY)
    is_kept = ~np.isin(betas.train_image.values, without)
    ids, tokens = betas.train_image.values[is_kept], embeddings[f"{_kind(target)}_train"].values[is_kept]
    X, images = betas.X_train.values[is_kept], ids
    if rows == "trials":
        _, trials = load_trials(run, store, open_subject(run))
        is_train = np.isin(trials.image_id.values, ids)
        X, images = trials.betas.values[is_train], trials.image_id.values[is_train]
    return zscore(X, X[:0])[0], as_target(target, tokens), np.searchsorted(ids, images)


def _kind(target):
    """The name under which a run lists the penalties of a target."""
    return "text" if target.startswith("text") else "latents" if target in ("latents", "autoencoder") else "vision"


def _of_network(options, run, inputs, voxels):
    """Settings of a network: those of notebook 03 unless the recipe has its own, so that the fit is shared."""
    common = ablation.options(run, inputs.betas.in_region.values[:, voxels])
    if options.settings:
        shared = ("max_epochs", "device", *(("groups",) if options.decoder == "roi_gru" else ()))
        return {name: common[name] for name in shared} | options.settings
    return {key: value for key, value in common.items() if key != "alphas"}


def _of_others(target, options, recipe, inputs, voxels, mode):
    """Settings of a rival or a user's decoder, and notes on deviations."""
    settings, notes, run = dict(options.settings), [], inputs.run
    if options.decoder == "ridge" and recipe.rows == "trials" and mode == "train":
        notes.append(f"{target}: predictions are rescaled to single held-out trials, so those from means of several vary less.")
    if options.decoder in rivals.NAMES:
        kind, model = _kind(target), recipe.generator.model
        tokens, _ = inputs.truth(target, **recipe.truth_options) if target == "clip" else inputs.tokens(kind, model)
        settings["n_features"] = tokens.shape[-1]
        n_epochs = settings.setdefault("n_epochs", rivals.kind(options.decoder).n_epochs)
        if n_epochs > run.max_epochs:
            notes.append(f"{options.decoder}: {run.max_epochs} epochs (max_epochs of the run) instead of {n_epochs}.")
            settings["n_epochs"] = run.max_epochs
        if options.decoder == "gu":
            places = np.unravel_index(inputs.betas.voxel.values[voxels], inputs.subject.brainmask.shape)
            settings["places"] = np.stack(places, axis=1)
    if options.is_own and options.rescale != "none":
        notes.append(f"{options.decoder}: predictions are not rescaled.")
    return settings, notes
