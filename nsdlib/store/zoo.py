"""The models of a run, from one of two zoos: `demo` (ours, in the repository) and `paper` (published).

The same code loads both zoos, which differ only in size. This module maps a `Run` to paths and sources of weights; the modules of
`core` load them.
"""

from dataclasses import dataclass
from pathlib import Path

from nsdlib.core.device import pick_device
from nsdlib.core.weights import NAMES, find_files
from nsdlib.store.provenance import REFINING
from nsdlib.store.record import File
from nsdlib.store.sources import clip_folder, recipe_fields


@dataclass(frozen=True)
class Weights:
    """One entry of a zoo: a file or folder below the zoo's root, its source and its licence.

    Published weights also have an address.
    """

    path: str
    source: str
    licence: str
    address: str = ""
    size: int = 0  # approximate bytes; 0 if unknown
    sha256: str = ""  # the first digits, if the file name contains them
    parts: tuple[tuple[str, int], ...] = ()  # for a folder: (file that the models read, bytes)

    def files(self, root, name) -> list[File]:
        """The files to download below the zoo's root for the model `name`; empty for our own weights."""
        parts = [(f"/{part}", size) for part, size in self.parts] or [("", self.size)]
        return [
            File(
                path=Path(root) / f"{self.path}{part}",
                address=f"{self.address}{part}",
                what=f"{self.address}{part}",
                stage=f"{name} (licence {self.licence})",
                about=size,
                sha256=self.sha256,
            )
            for part, size in parts
            if self.address
        ]

    def missing(self, root) -> Path | None:
        """The first missing file or folder, or None; a weights file may have any of the accepted names."""
        base = Path(root) / self.path
        for path in [base, *(base / part for part, _ in self.parts)]:
            files = (path.name in NAMES and find_files(path.parent)) or [path]
            if missing_files := [file for file in files if not file.exists()]:
                return missing_files[0]
        return None


_OURS = {"source": "trained by this project: make zoo", "licence": "MIT"}
_VDVAE = "https://openaipublic.blob.core.windows.net/very-deep-vaes-assets/vdvae-assets-2/"
_DEEPCLUSTER = "https://dl.fbaipublicfiles.com/deepcluster/"
_PYTORCH = "https://download.pytorch.org/models/"
_TOKENIZER = (  # files of CLIP's tokenizer and their sizes in bytes
    ("tokenizer/merges.txt", 525_000),
    ("tokenizer/special_tokens_map.json", 472),
    ("tokenizer/tokenizer_config.json", 806),
    ("tokenizer/vocab.json", 1_060_000),
)


def _hosted(path, host, licence, size):
    """A file from a host, under the same name."""
    return Weights(path, host, licence, f"{host}{Path(path).name}", size)


def _of_hub(path, repository, revision, parts, licence="MIT"):
    """Files, with their bytes, of one revision of a Hugging Face repository."""
    source = f"https://huggingface.co/{repository}"
    return Weights(path, source, licence, f"{source}/resolve/{revision}", parts=parts)


def _torchvision(file, size):
    """One of torchvision's networks; the file name ends in the first digits of its sha256."""
    digits = file.removesuffix(".pth").rpartition("-")[2]
    source = "torchvision's model weights (download.pytorch.org/models)"
    return Weights(f"features/{file}", source, "BSD-3-Clause", _PYTORCH + file, size, digits)


ZOOS = {
    "demo": {
        "vdvae": Weights("vdvae/vdvae.safetensors", **_OURS),
        "versatile_diffusion": Weights("versatile_diffusion", **_OURS),
        "alexnet": Weights("features/alexnet.safetensors", **_OURS),
        "inception": Weights("features/inception.safetensors", **_OURS),
        "effnet": Weights("features/effnet.safetensors", **_OURS),
        "effnet_v2": Weights("features/effnet.safetensors", **_OURS),  # the same stand-in as `effnet`
        "swav": Weights("features/swav.safetensors", **_OURS),
        "clip": Weights("features/clip", **_OURS),
    },
    "paper": {
        "vdvae": _hosted("vdvae/imagenet64-iter-1600000-model-ema.th", _VDVAE, "MIT", 500_000_000),
        "versatile_diffusion": _of_hub(
            "versatile-diffusion",
            "shi-labs/versatile-diffusion",
            "2926f8e11ea526b562cd592b099fcf9c2985d0b7",
            (
                ("image_unet/config.json", 748),
                ("image_unet/diffusion_pytorch_model.bin", 3_440_000_000),
                ("text_unet/diffusion_pytorch_model.bin", 6_840_000_000),
                ("vae/config.json", 1_000),
                ("vae/diffusion_pytorch_model.bin", 335_000_000),
                ("scheduler/scheduler_config.json", 1_000),
                ("image_encoder/config.json", 579),
                ("image_encoder/pytorch_model.bin", 1_220_000_000),
                ("text_encoder/config.json", 1_000),
                ("text_encoder/pytorch_model.bin", 495_000_000),
                *_TOKENIZER,
            ),
        ),
        "alexnet": _torchvision("alexnet-owt-7be5be79.pth", 244_400_000),
        "inception": _torchvision("inception_v3_google-0cc3c7bd.pth", 109_000_000),
        "effnet": _torchvision("efficientnet_b1_rwightman-bac287d4.pth", 31_600_000),
        "effnet_v2": _torchvision("efficientnet_b1-c27df63c.pth", 31_600_000),
        "swav": _hosted("features/swav_800ep_pretrain.pth.tar", _DEEPCLUSTER, "CC BY-NC 4.0", 110_000_000),
        "clip": _of_hub(
            "features/clip-vit-large-patch14",
            "openai/clip-vit-large-patch14",
            "main",
            (("config.json", 4_500), ("model.safetensors", 1_710_000_000)),
        ),
    },
}

STABLE_DIFFUSION = _of_hub(  # sizes computed from the tensors in float32; sizes and licence were not checked at the source
    "stable-diffusion-v1-4",
    "CompVis/stable-diffusion-v1-4",
    "main",
    (
        ("unet/config.json", 1_000),
        ("unet/diffusion_pytorch_model.safetensors", 3_440_000_000),
        ("vae/config.json", 1_000),
        ("vae/diffusion_pytorch_model.safetensors", 335_000_000),
        ("scheduler/scheduler_config.json", 1_000),
        ("text_encoder/config.json", 1_000),
        ("text_encoder/model.safetensors", 492_000_000),
        *_TOKENIZER,
    ),
    "CreativeML OpenRAIL-M, which the site may ask to be accepted first: then get the files by hand",
)


def extra_models(run) -> dict[str, Weights]:
    """Published models that the run's recipes generate images with, besides the zoo's: Stable Diffusion 1.4, or none."""
    models = [_recipe_value(run, name, "generator", "model") for name in run.recipes] if run.zoo == "paper" else []
    return {"stable_diffusion": STABLE_DIFFUSION} if "stable_diffusion" in models else {}


def _recipe_value(run, recipe, *keys):
    """The value at nested keys of a recipe's file; None if a key is absent or the file is invalid."""
    value = recipe_fields(run.root, recipe)
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def models(run) -> dict[str, Weights]:
    """Every model that a run needs, by name: those of its zoo, and published ones that its recipes use."""
    return ZOOS[run.zoo] | extra_models(run)


def root(run) -> Path:
    """The folder of the run's zoo: `zoo/demo` of the repository, or the `paper` folder below `run.weights`."""
    return Path(run.root) / "zoo" / "demo" if run.zoo == "demo" else Path(run.weights) / "paper"


def path(run, name: str) -> Path:
    """The file or folder of a model; raises FileNotFoundError, with the source of the weights, when it is missing."""
    if name not in (entries := models(run)):
        raise ValueError(f"no model {name!r} in the {run.zoo} zoo; it has {', '.join(entries)}")
    entry = entries[name]
    file = root(run) / entry.path
    if not file.exists():
        remedy = f"; `nsdlib fetch weights --run {run.name}` gets them" if entry.address else ""
        raise FileNotFoundError(
            f"the weights of {name!r} ({run.zoo} zoo) are not at {file}; they come from {entry.source} ({entry.licence}){remedy}"
        )
    return file


def files(run) -> list[File]:
    """Every file of the published weights below the run's folder of weights, including those that its recipes use."""
    folder, entries = Path(run.weights) / "paper", ZOOS["paper"] | extra_models(run)
    return [file for name, entry in entries.items() for file in entry.files(folder, name)]


def missing(run) -> list[tuple[Path, str]]:
    """(first missing path, its source) of every incomplete model that the run needs."""
    incomplete = [(entry.missing(root(run)), entry.source) for entry in models(run).values()]
    if run.clip_judge is not None and not run.clip_judge.is_dir():
        incomplete.append((run.clip_judge, "you: a folder with a CLIP, or correct `clip_judge` of the run"))
    for name in run.recipes:
        clip = (run.zoo == "demo" and _recipe_value(run, name, "demo", "clip")) or _recipe_value(run, name, "clip")
        folder = clip_folder(run.root, clip) if isinstance(clip, str) else None
        if folder and not folder.is_dir():
            incomplete.append((folder, f"you: a folder with a CLIP, or correct `clip` of the recipe {name}"))
    return [(path, source) for path, source in incomplete if path]


def load_vdvae(run):
    """The run's VDVAE, on the run's device."""
    from nsdlib.core import vdvae

    return vdvae.load(path(run, "vdvae"), pick_device(run.device))


def load_embedder(run):
    """The run's CLIP encoders for text and images, on the run's device."""
    from nsdlib.core import clip

    return clip.load(path(run, "versatile_diffusion"), pick_device(run.device))


def load_diffusion(run):
    """The run's diffusion model (second stage) on the run's device, compiled if `run.compile`."""
    from nsdlib.core import diffusion

    model = diffusion.load(path(run, "versatile_diffusion"), pick_device(run.device))
    if run.compile:
        model.unet.compile()
    return model


def load_stable_diffusion(run):
    """Stable Diffusion 1.4 on the run's device, for recipes that use it; `load_stable_text` loads its text embedder."""
    from nsdlib.core.diffusion import stable

    return stable.load(path(run, "stable_diffusion"), pick_device(run.device))


def load_stable_text(run):
    """The text embedder of Stable Diffusion 1.4, on the run's device."""
    from nsdlib.core.diffusion import stable

    return stable.load_embedder(path(run, "stable_diffusion"), pick_device(run.device))


def load_extractors(run, *, effnet="effnet") -> dict:
    """The feature extractors of the run's zoo by name: alexnet, inception, effnet (with the given weights), swav, clip.

    The run's `clip_judge` replaces the zoo's CLIP. Raises FileNotFoundError, with their source, for missing weights, and
    ValueError for a file with the weights of another network.
    """
    from nsdlib.core.scores import features

    device, extractors = pick_device(run.device), {}
    for name in ("alexnet", "inception", "effnet", "swav"):
        file = path(run, effnet if name == "effnet" else name)
        demo = run.zoo == "demo"
        extractors[name] = features.stand_in(file, device) if demo else features.published(name, file, device)
    return extractors | {"clip": features.clip_extractor(run.clip_judge or path(run, "clip"), device)}


def load_scorer(run, *, protocol=None):
    """A `Scorer` with the extractors of the run's zoo, for the run's protocol or the given one."""
    from nsdlib.core.scores.metrics import Scorer
    from nsdlib.core.scores.protocols import find_protocol

    protocol = protocol or run.protocol
    extractors = load_extractors(run, effnet=find_protocol(protocol).effnet)
    judge = "" if run.clip_judge is None else f", CLIP of {run.clip_judge.name}"
    return Scorer(extractors, protocol=protocol, zoo=run.zoo + judge)


def alphas(run, target: str) -> tuple[float, ...]:
    """Candidate ridge penalties for "latents", "text" or "vision": the run's `alphas`, or the published one."""
    from nsdlib.core.ridge import PUBLISHED_ALPHAS

    return run.alphas if run.penalties == "alphas" else (PUBLISHED_ALPHAS[run.penalties][target],)


def refinement(run) -> dict:
    """Keyword arguments of `VersatileDiffusion.refine` from a run's parameters, with the first of its seeds."""
    return {name: getattr(run, name) for name in REFINING} | {"seed": run.diffusion_seeds[0]}
