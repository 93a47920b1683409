"""The image side of a recipe: rough image, tokens, several samples of the diffusion, and the selected one.

Images are (n_images, rows, columns, 3) uint8. Noise depends only on seed and image id, so it is the same for all recipes.
"""

import time
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from nsdlib.core.device import pick_device
from nsdlib.core.images import check_images, resize
from nsdlib.core.ridge import decode as ridge_decode
from nsdlib.core.scores.features import clip_extractor
from nsdlib.data.subject import open_subject
from nsdlib.recipes.brain import as_target
from nsdlib.recipes.recipe import MODELS
from nsdlib.store.sources import clip_files, clip_folder, file_hash
from nsdlib.store.zoo import extra_models, load_embedder, load_stable_diffusion, load_stable_text, path
from nsdlib.study.reconstruction import KINDS, TwoStages, flat

LIFT_ALPHAS = (0.001, 0.01, 0.1, 1.0, 10.0)  # for vectors of length 1, whose squares sum to the number of images
AUTOENCODED = 5 / 8  # of a refined image's side: Takagi & Nishimoto encode 320-pixel images for a 512-pixel model
GREY = 128
BATCH = 128  # images read from a subject's files at a time


@dataclass(frozen=True)
class Drawn:
    """Images of the test set, drawn by one recipe."""

    rough: np.ndarray
    refined: np.ndarray  # the first sample, or the best of several
    seconds: float  # as measured when they were drawn
    others: tuple = ()  # further samples that are scored as well
    lifted: np.ndarray | None = None  # drawn from the true targets, if the recipe lifts pooled vectors

    @property
    def scored(self) -> list:
        """All samples that are scored."""
        return [self.refined, *self.others]


class Pictures:
    """The generative models of a run; their images are cached in its store, by the weights of the model.

    `model` is one of `recipe.MODELS`. A FileNotFoundError is raised if weights that a recipe of the run names are missing.
    """

    def __init__(self, run, store):
        for name in extra_models(run):
            path(run, name)  # before anything is fitted
        self.run, self.stages, self.embedder = run, TwoStages(run, store), load_embedder(run)
        self._subject, self._store = open_subject(run), store

    def _memoised(self, name, model):
        """A method bound to a model, with its results cached in the store."""
        return partial(self._store.memoise(getattr(self, name), weights=(model,)), model=model)

    def _diffusion(self, model):
        """The diffusion model of that name, loaded on first use."""
        return self._stable if model == "stable_diffusion" else self.stages.diffusion

    @cached_property
    def _stable(self):
        """Stable Diffusion 1.4."""
        return load_stable_diffusion(self.run)

    def encode(self, ids, *, model=MODELS[0]) -> np.ndarray:
        """Return the autoencoder latents of stimuli, (n_images, n_targets) float32, at 5/8 of the size of refined images."""
        encoded = self._memoised("encoded", model)
        return np.concatenate([encoded(images) for images in self._stimuli(ids)])

    def _stimuli(self, ids):
        """Yield the stimuli of image ids, at most `BATCH` at a time."""
        return (self._subject.stimuli(ids[start : start + BATCH]) for start in range(0, len(ids), BATCH))

    def encoded(self, images, *, model) -> np.ndarray:
        """Encode images: (n_images, n_targets) float32."""
        return self._diffusion(model).encode(images, size=self._side(model)).flatten(1).float().cpu().numpy()

    def _side(self, model):
        """Side in pixels of the images whose latents are decoded."""
        return round(AUTOENCODED * self._diffusion(model).image_size)

    def embed_captions(self, ids) -> np.ndarray:
        """Return Stable Diffusion's text tokens of stimuli, (n_images, n_tokens, n_features) float16, means over captions.

        An image without captions gets the tokens of an empty text, as in `data.token_targets`.
        """
        captions = [texts or [""] for texts in self._subject.captions(ids)]
        texts = self._store.memoise(self.texts, weights=("stable_diffusion",))
        return texts(np.concatenate(captions), np.array([len(of_image) for of_image in captions]), image_ids=ids)

    def texts(self, captions, counts, *, image_ids) -> np.ndarray:
        """Embed captions (n_captions,) str for Stable Diffusion; `counts` (n_images,) is the number of captions per image."""
        captions_of_images = np.split(captions, np.cumsum(counts)[:-1])
        return load_stable_text(self.run).text([texts.tolist() for texts in captions_of_images], image_ids=image_ids)

    def embed_images(self, ids, *, clip) -> np.ndarray:
        """Embed stimuli with the CLIP in a folder, relative to the project's: (n_images, n_features) float32 of length 1."""
        return np.concatenate([self._embedded(images, clip) for images in self._stimuli(ids)])

    def _embedded(self, images, clip):
        """Embed images with the CLIP in a folder; cached in the store as long as its files are the same."""
        folder = clip_folder(self.run.root, clip)
        version = [file_hash(file) for file in clip_files(folder)]
        embedded = self._store.memoise(embedded_by)
        return embedded(images, folder=str(folder), version=version, device=str(pick_device(self.run.device)))

    def draw(self, latents, *, image_ids, seed):
        """Draw rough images from the VDVAE's latents: a DataArray with the attribute seconds."""
        return _timed(self.stages.vdvae.decode, latents, seed=seed, image_ids=image_ids)

    def decode(self, latents, *, model):
        """Draw rough images from the autoencoder's latents (n_images, n_targets): a DataArray with the attribute seconds."""
        diffusion = self._diffusion(model)
        side = self._side(model) // 2 ** (len(diffusion.vae.config.block_out_channels) - 1)
        z = torch.from_numpy(latents).reshape(len(latents), -1, side, side).to(diffusion.unconditional[0].device)
        return _timed(diffusion.decode, z)

    def sample(self, rough, text, vision, *, model, image_ids, seed, **options):
        """Refine rough images with the noise of one seed: a DataArray with the attribute seconds."""
        return _timed(self._diffusion(model).refine, rough, text, vision, image_ids=image_ids, seed=seed, **options)

    def make(self, recipe, decoded, inputs) -> Drawn:
        """Draw the images of the test set from a recipe's `brain.Decoded` and the `brain.Inputs`.

        If the recipe lifts pooled vectors, one sample is also drawn from the true targets, which shows what lifting and drawing
        alone lose.
        """
        drawn = self._make(recipe, decoded, inputs)
        if not recipe.lifts:
            return drawn
        true = {name: inputs.truth(name, **recipe.truth_options)[1] for name in recipe.targets}
        once = recipe.model_copy(update={"generator": recipe.generator.model_copy(update={"n_samples": 1})})
        return replace(drawn, lifted=self._make(once, replace(decoded, targets=true), inputs).refined)

    def _make(self, recipe, decoded, inputs):
        """Draw images from decoded targets."""
        ids, generator = inputs.test.ids, recipe.generator
        rough, sample = self._rough(generator, decoded, ids), self._memoised("sample", generator.model)
        tokens = [self._tokens(recipe, kind, decoded, inputs) for kind in KINDS]
        seeds = [self.run.diffusion_seeds[0] + number for number in range(generator.n_samples)]
        options = generator.options(self.run)
        samples = [sample(rough.values, *tokens, image_ids=ids, seed=seed, **options) for seed in seeds]
        seconds = float(rough.seconds + sum(images.seconds for images in samples))
        refined = [images.values for images in samples]
        if generator.selects_best:
            best = pick_best((self._embed_for_retrieval(recipe, images, ids) for images in refined), decoded.retrieval)
            refined = [np.stack([refined[number][i] for i, number in enumerate(best)])]
        if generator.blend is not None:
            refined = [blend(images, resize(rough.values, images.shape[1]), generator.blend) for images in refined]
        return Drawn(rough.values, refined[0], seconds, tuple(refined[1:]))

    def _embed_for_retrieval(self, recipe, images, ids):
        """Embed images as for retrieval by a recipe, (n_images, n_targets)."""
        if recipe.retrieval_target == "clip":
            return self._embedded(images, recipe.clip)
        embed = self._store.memoise(self.embedder.vision, weights=("versatile_diffusion",))
        return as_target(recipe.retrieval_target, embed(images, image_ids=ids))

    def _rough(self, generator, decoded, ids):
        """Rough images from the VDVAE, from the autoencoder, or grey."""
        if generator.rough == "vdvae":
            draw = self._store.memoise(self.draw, weights=("vdvae",))
            return draw(decoded.targets["latents"], image_ids=ids, seed=self.run.seed)
        if generator.rough == "autoencoder":
            return self._memoised("decode", generator.model)(decoded.targets["autoencoder"])
        side = self._diffusion(generator.model).image_size
        return _timed(np.full, (len(ids), side, side, 3), GREY, dtype=np.uint8)

    def _tokens(self, recipe, kind, decoded, inputs):
        """Tokens of a kind, decoded or lifted from a pooled vector; without either, the training mean, which gets no weight."""
        (train, _), source = inputs.tokens(kind, recipe.generator.model), recipe.source(kind)
        if source is None:
            return np.repeat(train.mean(axis=0, dtype=np.float32)[None], len(inputs.test.ids), axis=0)
        values = decoded.targets[source]
        if source != kind:
            values = self._store.memoise(lift)(as_target(source, train), flat(train).astype(np.float32), values)
        return values.reshape(-1, *train.shape[1:])


def embedded_by(images, *, folder, version, device) -> np.ndarray:
    """Embed images with the CLIP in a folder, of transformers or open_clip: (n_images, n_features) float32 of length 1.

    `version` holds the hashes of the folder's files.
    """
    return unit(_clip(folder, tuple(version), device)(images)["pooled"]).astype(np.float32)


@lru_cache(maxsize=1)
def _clip(folder, version, device):
    """The CLIP in a folder, loaded once per version of its files."""
    return clip_extractor(Path(folder), device)


def lift(pooled_train, tokens_train, pooled) -> np.ndarray:
    """Predict all tokens (n_images, n_targets) float32 from pooled vectors (n_images, n_features) by ridge, without a brain.

    It is fitted to the true vectors and tokens of training images; `pooled` is scaled to length 1, as the true vectors are.
    """
    return ridge_decode(pooled_train, tokens_train, unit(pooled), alphas=LIFT_ALPHAS, mode="none")


def pick_best(embedded, decoded) -> np.ndarray:
    """Select for each image the sample whose embedding has the highest cosine with the decoded one: (n_images,) int.

    `embedded` yields (n_images, n_targets) for each sample, and `decoded` is (n_images, n_targets). The true images are not used.
    Of equal samples, the first is taken.
    """
    return np.argmax([(unit(of_sample) * decoded).sum(axis=1) for of_sample in embedded], axis=0)


def unit(values) -> np.ndarray:
    """Divide rows (n_rows, n_targets) by their lengths, float64; rows of zeros stay zero."""
    values = np.asarray(values, dtype=np.float64)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.divide(values, lengths, out=np.zeros_like(values), where=lengths > 0)


def blend(first, second, weight) -> np.ndarray:
    """Blend two sets of images of one shape, with `weight` (0 to 1) on the first: uint8."""
    check_images(first, "first")
    check_images(second, "second")
    if first.shape != second.shape or not 0 <= weight <= 1:
        raise ValueError(
            f"wanted two sets of images of one shape and a weight from 0 to 1, got {first.shape}, {second.shape}, {weight}"
        )
    return (weight * first.astype(np.float32) + (1 - weight) * second).round().astype(np.uint8)


def _timed(make, *arguments, **options):
    """Call a function and return its result as a DataArray with the attribute seconds."""
    start = time.perf_counter()
    images = make(*arguments, **options)
    return xr.DataArray(images, dims=("image", "row", "column", "colour"), attrs={"seconds": time.perf_counter() - start})
