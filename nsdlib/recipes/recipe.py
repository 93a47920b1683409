"""Recipes of published systems, one strict YAML file each, `params/recipes/NAME.yaml`: what is decoded, and how images are drawn.

The section `demo` holds changes that the small models of the demo zoo need, or that make them cheaper. For runs of that zoo, it
overrides the other values. Its own deviations come first, and every value that it changes is listed last.
"""

import inspect
import re
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from nsdlib.core import networks, rivals
from nsdlib.params import AboveZero, Fraction, NotNegative, Positive, explain, load_run, nearest
from nsdlib.recipes import own
from nsdlib.recipes.demo import adapted
from nsdlib.store.sources import clip_folder
from nsdlib.strict import Strict, parse_yaml
from nsdlib.study.reconstruction import KINDS

FOLDER = Path("params", "recipes")  # below the project's folder
RETRIEVAL_TARGETS = ("clip", "retrieval", "vision", "vision_pooled", "text", "text_pooled")  # by preference
TARGETS = ("latents", "autoencoder", *RETRIEVAL_TARGETS)
MODELS = ("versatile_diffusion", "stable_diffusion")  # diffusion models; the second is not in the demo zoo
DECODERS = (*networks.DECODERS, *rivals.NAMES)
RUN_SETTINGS = ("name", "n_features", "seed", "device", "groups", "places")  # of decoders, from the run and the target


class Target(Strict):
    """One decoding target, with its decoder and voxels."""

    decoder: str = "ridge"  # one of `DECODERS`, or package.module:Name, whose Name(**settings) has fit(X, Y) and predict(X)
    settings: dict[str, bool | int | float | str | list] = Field(default_factory=dict)  # for decoders other than ridge
    alphas: Annotated[tuple[AboveZero, ...], Field(min_length=1)] | None = None  # for ridge; None: those of the run
    voxels: Literal["all", "early", "ventral"] = "all"
    intercept: bool = True  # False: ridge predictions without the training mean
    rescale: Literal["none", "train", "test"] | None = None  # as in `core.ridge.rescale`; None: as in the run

    @model_validator(mode="after")
    def _all_has_effect(self):
        if self.decoder == "ridge" and self.settings:
            raise ValueError("settings: a ridge has none, wanted alphas, intercept or rescale")
        if self.decoder != "ridge" and (self.alphas or not self.intercept):
            raise ValueError(f"alphas and intercept are those of a ridge, and the decoder is {self.decoder!r}")
        if self.decoder not in networks.DECODERS and self.rescale not in (None, "none"):
            raise ValueError(f"rescale: predictions of {self.decoder!r} are not rescaled, wanted none")
        return self

    @property
    def is_own(self):
        """Whether the decoder is user-defined."""
        return ":" in self.decoder


class Generator(Strict):
    """How images are drawn from the decoded targets; None means as in the run."""

    model: Literal[MODELS] = MODELS[0]  # text tokens and autoencoder latents are those of this model
    rough: Literal["vdvae", "autoencoder", "none"] = "vdvae"  # none: grey, at strength 1
    strength: Annotated[float, Field(gt=0, le=1)] | None = None
    n_steps: Positive | None = None
    guidance: NotNegative | None = None
    text_weight: Fraction | None = None
    sampler: Literal["ddim", "dpm++", "unipc"] | None = None
    faithful: bool = False
    unconditional: Literal["empty", "zeros"] = "empty"
    n_samples: Positive = 1
    scored: Literal["best", "all"] = "best"  # of several samples: the closest to the decoded CLIP tokens, or the mean of all
    blend: Fraction | None = None  # weight of the refined image if the rough one is blended in

    @property
    def selects_best(self):
        """Whether one of several samples is selected."""
        return self.n_samples > 1 and self.scored == "best"

    def options(self, run) -> dict:
        """Return the arguments of `VersatileDiffusion.refine`, from the recipe and the run."""
        fields = ("strength", "n_steps", "guidance", "text_weight", "sampler")
        chosen = {name: getattr(run, name) if getattr(self, name) is None else getattr(self, name) for name in fields}
        strength = {"strength": 1.0} if self.rough == "none" else {}
        faithful = self.faithful or (run.faithful and chosen["sampler"] == "ddim")  # other samplers have no published start
        return chosen | {"faithful": faithful, "unconditional": self.unconditional} | strength


class Recipe(Strict):
    """A complete system: rows, targets, generator, and deviations from what was published."""

    name: str
    title: str
    paper: str
    code: str = ""
    rows: Literal["images", "trials"] = "images"  # rows to train on: averages over repeats, or single trials
    pretrain_on: tuple[str, ...] = ()  # runs of other subjects, on whom MindEye's network is pretrained
    n_layers: Positive | None = None  # number of decoded VDVAE layers; None: as in the run
    published_rescale: Literal["test"] | None = None  # the authors' code rescales predictions by test-set moments
    protocol: Literal["native", "brain_diffuser", "mindeye1", "mindeye2"] | None = None  # scoring protocol of the authors
    targets: Annotated[dict[Literal[TARGETS], Target], Field(min_length=1)]
    clip: str = ""  # folder of another CLIP, absolute or relative to the project's; its image embedding is the target clip
    generator: Generator = Generator()
    deviations: tuple[str, ...] = ()
    no_counterpart: str = ""  # parts of the system that are missing here

    @model_validator(mode="after")
    def _parts_fit(self):
        target = {"vdvae": "latents", "autoencoder": "autoencoder"}.get(self.generator.rough)
        if target and target not in self.targets:
            raise ValueError(f"generator.rough: {self.generator.rough} needs the target {target}, which is not decoded")
        if bool(self.clip) != ("clip" in self.targets):
            raise ValueError("clip: the folder of another CLIP and a target clip, its image embedding, go together")
        if not any(self.source(kind) for kind in KINDS):
            raise ValueError("targets: nothing to refine with, wanted text, vision, text_pooled or vision_pooled")
        if self.pretrain_on and not any(self.is_pretrained(name) for name in self.targets):
            raise ValueError("pretrain_on: only mindeye can be pretrained, and it decodes no target of the run's CLIP")
        if self.pretrain_on and self.generator.model != MODELS[0]:
            raise ValueError(f"pretrain_on: other subjects have only tokens of {MODELS[0]}, not of {self.generator.model}")
        if self.generator.selects_best and self.retrieval_target.startswith("text"):
            raise ValueError("generator.n_samples: the best sample is the closest to decoded vision, and none is decoded")
        for kind, weight in zip(KINDS, (0, 1), strict=True):
            if self.source(kind) is None and self.generator.text_weight != weight:
                raise ValueError(f"generator.text_weight: no {kind} is decoded, wanted {weight}, only the other kind")
        if self.generator.model == "stable_diffusion" and (self.generator.text_weight != 1 or self.source("vision")):
            raise ValueError(
                "generator.model: stable_diffusion is conditioned on text alone, wanted text_weight: 1 and no target vision or "
                "vision_pooled; or take versatile_diffusion"
            )
        return self

    def source(self, kind):
        """Return the target that supplies tokens of a kind: the tokens themselves, the pooled vector, or None."""
        return next((name for name in (kind, f"{kind}_pooled") if name in self.targets), None)

    def is_pretrained(self, target):
        """Whether the decoder of a target is pretrained, if `pretrain_on` names other subjects."""
        return target not in ("latents", "autoencoder", "clip") and self.targets[target].decoder == "mindeye"

    @property
    def truth_options(self):
        """The arguments of `brain.Inputs.truth` that depend on the recipe."""
        return {"n_layers": self.n_layers, "model": self.generator.model, "clip": self.clip}

    @property
    def lifts(self):
        """Whether tokens are lifted from a pooled vector."""
        return any(self.source(kind) not in (None, kind) for kind in KINDS)

    @property
    def retrieval_target(self):
        """The target by which images are retrieved."""
        return next(name for name in RETRIEVAL_TARGETS if name in self.targets)


def names(root) -> list[str]:
    """Return the names of the recipes of a project, sorted."""
    return sorted(path.stem for path in (Path(root) / FOLDER).glob("*.yaml"))


def load(name, run) -> Recipe:
    """Load a recipe for a run and find its decoders; a ValueError says what is wrong, and the nearest valid name."""
    if name not in (known_names := names(run.root)):
        hint = nearest(str(name), known_names)
        raise ValueError(
            f"There is no recipe {name!r}{hint} Known: {', '.join(known_names)}. A new one is a file {FOLDER / 'NAME.yaml'}."
        )
    path = FOLDER / f"{name}.yaml"
    if not re.fullmatch(r"[\w-]+", name) or name == "seen":
        raise ValueError(f"{path}: wanted a name of letters, digits, - and _, other than that of the row `seen`.")
    try:
        fields = parse_yaml((run.root / path).read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None
    if not isinstance(fields, dict):
        raise ValueError(f"{path} must hold lines 'field: value', but it holds a {type(fields).__name__}.")
    demo = fields.pop("demo", {})
    _refuse_misplaced(fields, path)
    _refuse_misplaced({"demo": demo} | (demo if isinstance(demo, dict) else {}), f"{path}: demo")
    if run.zoo == "demo":
        fields = adapted(fields, demo)
    _refuse_unknown(fields, path)
    try:
        recipe = Recipe(name=name, **fields)
    except ValidationError as error:
        raise ValueError(f"{path} cannot be used as it stands:\n{explain(error)}") from None
    if run.zoo == "demo" and recipe.generator.model != MODELS[0]:
        raise ValueError(
            f"{path}: generator.model: {recipe.generator.model} is not in the demo zoo; use a run of the published zoo, "
            f"or give the section demo the line 'generator: {{model: {MODELS[0]}}}'."
        )
    if recipe.clip and not (folder := clip_folder(run.root, recipe.clip)).is_dir():
        raise ValueError(f"{path}: clip: {folder} is not a folder, wanted one with a CLIP and its config.")
    for target, part in recipe.targets.items():
        _check_decoder(part, run.root, f"{path}: targets.{target}")
    for other in map(load_run, recipe.pretrain_on):
        if other.zoo != run.zoo or run.section or other.section:
            reason = "both need the same zoo and NSD's layout, in which all subjects share the image ids"
            raise ValueError(f"{path}: pretrain_on: {run.name} cannot be pretrained on {other.name}: {reason}.")
    return recipe if run.section is None or getattr(run, run.section).captions else _without_captions(recipe, run, path)


def _without_captions(recipe, run, where):
    """The recipe for a run without captions, guided only by vision; a ValueError if it retrieves or draws images by text."""
    if recipe.retrieval_target.startswith("text") or recipe.source("vision") is None:
        raise ValueError(
            f"{where}: {recipe.title} retrieves or draws images by text, and {run.name} has no captions: leave it out of "
            "`recipes`."
        )
    if not recipe.generator.text_weight:
        return recipe
    deviation = f"There are no captions: guided only by vision, not by text at a weight of {recipe.generator.text_weight:g}."
    generator = recipe.generator.model_copy(update={"text_weight": 0})
    return recipe.model_copy(update={"generator": generator, "deviations": (deviation, *recipe.deviations)})


def describe(recipe) -> dict:
    """Describe a recipe for a table: title, rows, targets with decoders, retrieval target, how images are drawn."""
    generator = recipe.generator
    rough = "no rough image" if generator.rough == "none" else f"{generator.rough} image"
    scored = "the best of" if generator.selects_best else "mean score of"
    samples = f"{scored} {generator.n_samples} samples" if generator.n_samples > 1 else "one sample"
    drawn = f"{rough}, {samples}" + ("" if generator.model == MODELS[0] else f", by {generator.model}")
    return {
        "title": recipe.title,
        "rows": recipe.rows,
        "decoded": ", ".join(f"{target} by {part.decoder}" for target, part in recipe.targets.items()),
        "found by": recipe.retrieval_target,
        "drawn": drawn,
    }


def _check_decoder(part, root, where):
    """Refuse an unknown decoder, and settings that it, or the factory of a user's decoder, does not take."""
    if not part.is_own and part.decoder not in DECODERS:
        raise ValueError(
            f"{where}: no decoder {part.decoder!r}{nearest(part.decoder, DECODERS)} There are {', '.join(DECODERS)}; your own is "
            "named package.module:Name."
        )
    factory = own.find(part.decoder, root, where=where) if part.is_own else None
    try:
        if factory:
            with suppress(ValueError):  # callables without a signature
                inspect.signature(factory).bind(**part.settings)
        elif part.decoder != "ridge":
            _check_settings(part.decoder, part.settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: settings of {part.decoder}: {error}") from None


def _check_settings(decoder, settings):
    """Refuse settings that a network, or a decoder of `core.rivals`, does not have or whose values it does not accept."""
    kind = networks.NeuralDecoder if decoder in networks.NETWORKS else rivals.kind(decoder)
    reserved = (*RUN_SETTINGS, "width") if decoder in networks.NETWORKS and decoder != "gru" else RUN_SETTINGS
    parameters = inspect.signature(kind).parameters
    known = [name for name in parameters if name not in reserved]
    for key, value in settings.items():
        if key not in known:
            raise ValueError(f"{key!r} is not a setting of it{nearest(key, known)}")
        if isinstance(default := parameters[key].default, bool | int | str) and type(value) is not type(default):
            raise ValueError(f"{key} must be of type {type(default).__name__}, got {value!r}")
    required = {name: 1 for name, parameter in parameters.items() if parameter.default is parameter.empty}
    kind(**required | settings)


def _refuse_misplaced(fields, where):
    """Refuse a section that is not a mapping, and deviations that are not a list."""
    targets = fields.get("targets") if isinstance(fields.get("targets"), dict) else {}
    sections = {key: fields.get(key, {}) for key in ("demo", "generator", "targets")}
    for key, section in (sections | {f"targets.{target}": section for target, section in targets.items()}).items():
        if not isinstance(section, dict):
            raise ValueError(f"{where}: {key} must hold lines 'setting: value', or {{}}, but it holds {section!r}.")
    if not isinstance(sentences := fields.get("deviations", []), list):
        raise ValueError(f"{where}: deviations must be a list of sentences, each after a '-', but it holds {sentences!r}.")


def _refuse_unknown(fields, where):
    """Refuse a key that is no setting, and name the nearest setting, if any is similar."""
    places = [(fields, Recipe, ""), (fields.get("generator", {}), Generator, "generator: ")]
    for target, section in fields.get("targets", {}).items():
        if target not in TARGETS:
            raise ValueError(
                f"{where}: {target!r} is not a target{nearest(str(target), TARGETS)} There are {', '.join(TARGETS)}."
            )
        places.append((section, Target, f"targets.{target}: "))
    for section, model, place in places:
        for key in section:
            if key not in model.model_fields or key == "name":
                raise ValueError(f"{where}: {place}{key!r} is not a setting{nearest(str(key), model.model_fields)}")
