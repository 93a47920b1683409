"""Both stages together: from patterns to rough and refined images, floors and ceilings, and scores.

Stage 1 draws a rough image (the paper's *initial guess*) from decoded VDVAE latents. Stage 2, a diffusion model, refines it,
conditioned on decoded CLIP tokens (Veronese et al. 2025, section 3.3). Floors are made without the brain, retrieved images
without generation, and ceilings from the true latents and tokens of the test images. Images are (n_images, rows, columns, 3)
uint8; several sets of images are a dict by system.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from nsdlib.core import device, ridge
from nsdlib.store.zoo import alphas, load_diffusion, load_vdvae, refinement
from nsdlib.study import leaks

KINDS = ("text", "vision")  # of CLIP tokens
_BY_ROLE = {
    "decoded": ("refined", "rough"),
    "floor": ("mean image", "another test image", "prior only"),
    "label": ("mean image of the background", "mean image of the kind"),
    "retrieval": ("nearest training image", "nearest by tokens", "nearest by tokens and latents"),
    "ceiling": ("rough, true latents", "refined, true CLIP", "refined, all true"),
}
ROLES = {system: role for role, systems in _BY_ROLE.items() for system in systems}
STORED = {  # array of the artifact `reconstruction` to its system
    "stimulus": "stimulus",
    "rough": "rough",
    "refined": "refined",
    "prior_only": "prior only",
    "nearest": "nearest training image",
    "rough_true": "rough, true latents",
    "true_clip": "refined, true CLIP",
    "all_true": "refined, all true",
}


@dataclass(frozen=True)
class Split:
    """Training or test images: patterns and decoding targets."""

    ids: np.ndarray  # (n_images,) int
    patterns: np.ndarray  # (n_images, n_voxels) float32
    latents: np.ndarray  # (n_images, n_latents) float32, of the decoded VDVAE layers
    tokens: dict  # each of `KINDS` to CLIP tokens (n_images, n_tokens, n_features)

    @classmethod
    def of(cls, name, betas, targets, embeddings, *, n_latents) -> "Split":
        """Take "train" or "test" from the artifacts of notebooks 02, 03 and 05."""
        return cls(
            betas[f"{name}_image"].values,
            betas[f"X_{name}"].values,
            targets[f"latents_{name}"][:, :n_latents].values,
            {kind: embeddings[f"{kind}_{name}"].values for kind in KINDS},
        )

    @property
    def targets(self) -> dict:
        """The decoding targets: latents and each kind of tokens, (n_images, n_targets) by name."""
        return {"latents": self.latents} | {kind: flat(tokens) for kind, tokens in self.tokens.items()}

    def as_tokens(self, decoded) -> dict:
        """Reshape the tokens among decoded targets, (n_images, n_targets) by name, to the shape of this split's tokens."""
        return {kind: decoded[kind].reshape(-1, *true.shape[1:]) for kind, true in self.tokens.items() if kind in decoded}


class TwoStages:
    """The VDVAE and the diffusion model of a run; all images that they make are cached in its store."""

    def __init__(self, run, store):
        self.vdvae, self.diffusion = load_vdvae(run), load_diffusion(run)
        self.seed, self.settings = run.seed, refinement(run)  # for rough images; for refinement, with the first seed
        self._draw = store.memoise(self.vdvae.decode, weights=("vdvae",))
        self._refine = store.memoise(self.diffusion.refine, weights=("versatile_diffusion",))

    def draw(self, latents, ids) -> np.ndarray:
        """Draw rough images (n_images, rows, columns, 3) uint8 from latents (n_images, n_latents)."""
        return self._draw(latents, seed=self.seed, image_ids=ids)

    def refine(self, rough, tokens, ids, **changed) -> np.ndarray:
        """Refine rough images with tokens of both `KINDS`; `changed` replaces settings of the run."""
        return self._refine(rough, *(tokens[kind] for kind in KINDS), image_ids=ids, **self.settings | changed)

    def refine_one(self, latents, tokens, ids, k) -> np.ndarray:
        """Compute the refined image of row `k` by itself, without the store and the other images."""
        row = slice(k, k + 1)
        rough = self.vdvae.decode(latents[row], seed=self.seed, image_ids=ids[row])
        image_tokens = (tokens[kind][row] for kind in KINDS)
        return self.diffusion.refine(rough, *image_tokens, image_ids=ids[row], **self.settings)[0]


def decode_tokens(train, patterns, *, run, decode=ridge.decode) -> dict:
    """Decode CLIP tokens (n_images, n_tokens, n_features) float32 of each of `KINDS` by ridge, rescaled by `run.renormalise`.

    `train` is a Split, `patterns` (n_images, n_voxels) are those of the test images, and `decode` is `ridge.decode` or its
    memoised form (`Store.memoise`).
    """
    return train.as_tokens(
        {
            kind: decode(train.patterns, train.targets[kind], patterns, mode=run.renormalise, **_ridge_options(run, kind))
            for kind in KINDS
        }
    )


def check_tokens(train, test, *, run):
    """Lint the token decoders: dict of each of `KINDS` to its selected penalty and its leaks.Report."""
    fits = fit_ridges(train, run=run, targets=KINDS)
    return {
        kind: (fitted.alpha, leaks.lint_decoder(fitted, test.patterns, test.tokens[kind], mode=run.renormalise))
        for kind, fitted in fits.items()
    }


def fit_ridges(train, *, run, targets=("latents", *KINDS)) -> dict:
    """Fit a ridge to each of the `targets` of a Split, with the run's penalties: dict of name to Ridge."""
    return {name: ridge.Ridge(**_ridge_options(run, name)).fit(train.patterns, train.targets[name]) for name in targets}


def _ridge_options(run, target):
    """Penalties and device of the ridge for one target."""
    return {"alphas": alphas(run, target), "device": device.pick_device(run.device)}


def flat(values):
    """Reshape (n_images, ...) to (n_images, n_targets)."""
    return values.reshape(len(values), -1)


def ceilings(stages, test, rough) -> dict:
    """Make the images that bound the scores from above, from the true latents, the true tokens, or both, of the test images.

    Returns a dict: "rough, true latents"; "refined, true CLIP", from the decoded `rough` images; and "refined, all true".
    """
    rough_true = stages.draw(test.latents, test.ids)
    return {
        "rough, true latents": rough_true,
        "refined, true CLIP": stages.refine(rough, test.tokens, test.ids),
        "refined, all true": stages.refine(rough_true, test.tokens, test.ids),
    }


def score_all(score, stimulus, systems, *, ids, along="system"):
    """Score several sets of reconstructions of the same images: DataArray (along, metric, test_image) float64.

    `score` is `Scorer.score` or its memoised form (`Store.memoise`), `stimulus` is (n_images, size, size, 3) uint8, and `ids` are
    (n_images,); `along` names the new dimension.
    """
    scores = [score(stimulus, images) for images in systems.values()]
    return xr.concat(scores, xr.Variable(along, list(systems))).assign_coords(test_image=ids)


def spread_over_seeds(values):
    """Tabulate how much the scores (diffusion_seed, metric, test_image) vary with the diffusion noise (pandas.DataFrame).

    For each metric: the mean; the standard deviations between images (of their means over seeds) and between seeds within an
    image; the standard deviation of the means of single seeds, and its expected value for independent seeds, within /
    sqrt(n_images). NaN with a single seed.
    """
    image_means, seed_means = values.mean("diffusion_seed"), values.mean("test_image")
    unbiased = len(seed_means) / (len(seed_means) - 1 or np.nan)
    within = np.sqrt(unbiased * values.var("diffusion_seed").mean("test_image"))
    between = np.sqrt(unbiased * seed_means.var("diffusion_seed"))
    columns = {"mean": image_means.mean("test_image"), "SD between images": image_means.std("test_image", ddof=1)}
    columns |= {"SD within an image": within, "SD of the seeds' means": between}
    columns["independent noise predicts"] = within / np.sqrt(values.sizes["test_image"])
    return pd.DataFrame({name: column.to_series() for name, column in columns.items()})


def as_dataset(images, tokens, *, ids, nearest):
    """Pack the artifact `reconstruction`.

    It holds the `images` of `STORED`, the decoded `tokens` in float16, and `nearest`, the id of the training image with the most
    similar pattern for each test image of `ids`.
    """
    arrays = {
        name: (("test_image", f"{name}_row", f"{name}_column", "colour"), images[system]) for name, system in STORED.items()
    }
    for kind, values in tokens.items():
        with np.errstate(over="ignore"):
            half = device.check_finite(f"decoded {kind} tokens", values.astype(np.float16), ids)
        arrays[f"{kind}_pred"] = (("test_image", f"{kind}_token", "feature"), half)
    arrays["nearest_image"] = ("test_image", nearest)
    return xr.Dataset(arrays, coords={"test_image": ids})
