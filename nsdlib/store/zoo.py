"""The models of a run, from one of two zoos: `demo` (ours, in the repository) and `paper` (published).

Both zoos are read by the same loading code; they differ in size alone. This is where `core` meets a `Run`: here are the paths and
where the weights come from; the modules of `core` know how to load them.
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
    """One entry of a zoo: a file or folder below the zoo's root, where it comes from, its licence.

    Published ones have an address as well.
    """

    path: str
    source: str
    licence: str
    address: str = ""
    size: int = 0  # bytes as far as known
    sha256: str = ""  # the first digits, where its name gives them
    parts: tuple[tuple[str, int], ...] = ()  # of a folder the files that the models read, with their bytes

    def files(self, root, name) -> list[File]:
        """What is to be fetched below the zoo's root for the model `name`; nothing where the weights are our own."""
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
        """The first file or folder that is not there; the same tensors under another of the names that are read will do."""
        whole = Path(root) / self.path
        for path in [whole, *(whole / part for part, _ in self.parts)]:
            files = (path.name in NAMES and find_files(path.parent)) or [path]
            if absent := [file for file in files if not file.exists()]:
                return absent[0]
        return None


_OURS = {"source": "trained by this project: make zoo", "licence": "MIT"}
_VDVAE = "https://openaipublic.blob.core.windows.net/very-deep-vaes-assets/vdvae-assets-2/"
_DEEPCLUSTER = "https://dl.fbaipublicfiles.com/deepcluster/"
_PYTORCH = "https://download.pytorch.org/models/"


def _hosted(path, host, licence, size):
    """A file from a folder of a host, under the name that it has there."""
    return Weights(path, host, licence, f"{host}{Path(path).name}", size)


def _of_hub(path, repository, revision, parts, licence="MIT"):
    """Files of a revision of one of Hugging Face's repositories, with their bytes."""
    source = f"https://huggingface.co/{repository}"
    return Weights(path, source, licence, f"{source}/resolve/{revision}", parts=parts)


def _torchvision(file, size):
    """One of torchvision's networks; the digits at the end of its name begin its sha256."""
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
        "effnet_v2": Weights("features/effnet.safetensors", **_OURS),  # one stand-in for both
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
                ("tokenizer/merges.txt", 525_000),
                ("tokenizer/special_tokens_map.json", 472),
                ("tokenizer/tokenizer_config.json", 806),
                ("tokenizer/vocab.json", 1_060_000),
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

STABLE_DIFFUSION = _of_hub(  # sizes as the tensors have it in float32; neither they nor the terms were seen at the source
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
        ("tokenizer/merges.txt", 525_000),
        ("tokenizer/special_tokens_map.json", 472),
        ("tokenizer/tokenizer_config.json", 806),
        ("tokenizer/vocab.json", 1_060_000),
    ),
    "CreativeML OpenRAIL-M, which the site may ask to be accepted first: then get the files by hand",
)


def asked_for(run) -> dict[str, Weights]:
    """Published models that the run's recipes draw with besides those of a zoo, by name: Stable Diffusion 1.4, or none."""
    named = run.zoo == "paper" and any(_says(run, name, "generator", "model") == "stable_diffusion" for name in run.recipes)
    return {"stable_diffusion": STABLE_DIFFUSION} if named else {}


def _says(run, recipe, *keys):
    """What the file of a recipe says below these keys; None where it says nothing, or is refused as soon as it is loaded."""
    value = recipe_fields(run.root, recipe)
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def models(run) -> dict[str, Weights]:
    """Every model that a run needs, by name: those of its zoo and, of the published ones, what its recipes ask for."""
    return ZOOS[run.zoo] | asked_for(run)


def root(run) -> Path:
    """The folder of the run's zoo: `zoo/demo` of the repository, or the `paper` folder below `run.weights`."""
    return Path(run.root) / "zoo" / "demo" if run.zoo == "demo" else Path(run.weights) / "paper"


def path(run, name: str) -> Path:
    """The file or folder of a model; raises FileNotFoundError that says what is missing and where it comes from."""
    if name not in (entries := models(run)):
        raise ValueError(f"no model {name!r} in the {run.zoo} zoo; it has {', '.join(entries)}")
    entry = entries[name]
    found = root(run) / entry.path
    if not found.exists():
        how = f"; `nsdlib fetch weights --run {run.name}` gets them" if entry.address else ""
        raise FileNotFoundError(
            f"the weights of {name!r} ({run.zoo} zoo) are not at {found}; they come from {entry.source} ({entry.licence}){how}"
        )
    return found


def files(run) -> list[File]:
    """Every file of the published weights, with those that the run's recipes ask for, below its folder of weights."""
    folder, entries = Path(run.weights) / "paper", ZOOS["paper"] | asked_for(run)
    return [file for name, entry in entries.items() for file in entry.files(folder, name)]


def missing(run) -> list[tuple[Path, str]]:
    """(first path that is not there, where it comes from) of every model that the run needs and that is not whole."""
    found = [(entry.missing(root(run)), entry.source) for entry in models(run).values()]
    if run.clip_judge is not None and not run.clip_judge.is_dir():
        found.append((run.clip_judge, "you: a folder with a CLIP, or correct `clip_judge` of the run"))
    for name in run.recipes:
        clip = (run.zoo == "demo" and _says(run, name, "demo", "clip")) or _says(run, name, "clip")
        if isinstance(clip, str) and not (folder := clip_folder(run.root, clip)).is_dir():
            found.append((folder, f"you: a folder with a CLIP, or correct `clip` of the recipe {name}"))
    return [(path, source) for path, source in found if path]


def load_vdvae(run):
    """The run's VDVAE, on the run's device."""
    from nsdlib.core import vdvae

    return vdvae.load(path(run, "vdvae"), pick_device(run.device))


def load_embedder(run):
    """The run's CLIP encoders of text and images, on the run's device."""
    from nsdlib.core import clip

    return clip.load(path(run, "versatile_diffusion"), pick_device(run.device))


def load_diffusion(run):
    """The run's second stage, on the run's device; compiled where the run asks for it."""
    from nsdlib.core import diffusion

    model = diffusion.load(path(run, "versatile_diffusion"), pick_device(run.device))
    if run.compile:
        model.unet.compile()
    return model


def load_stable_diffusion(run):
    """Stable Diffusion 1.4 of a run whose recipes ask for it, on the run's device; its tokens are those of `load_stable_text`."""
    from nsdlib.core.diffusion import stable

    return stable.load(path(run, "stable_diffusion"), pick_device(run.device))


def load_stable_text(run):
    """The text embedder of Stable Diffusion 1.4, on the run's device."""
    from nsdlib.core.diffusion import stable

    return stable.load_embedder(path(run, "stable_diffusion"), pick_device(run.device))


def load_extractors(run, *, effnet="effnet") -> dict:
    """The feature extractors of the run's zoo by name: alexnet, inception, effnet (of either weights), swav, clip.

    The run's `clip_judge` takes the place of the zoo's CLIP. A FileNotFoundError says which weights are missing, and where they
    come from; a ValueError, that a file holds another network's.
    """
    from nsdlib.core.scores import features

    place, extractors = pick_device(run.device), {}
    for name in ("alexnet", "inception", "effnet", "swav"):
        file = path(run, effnet if name == "effnet" else name)
        demo = run.zoo == "demo"
        extractors[name] = features.stand_in(file, place) if demo else features.published(name, file, place)
    return extractors | {"clip": features.clip_extractor(run.clip_judge or path(run, "clip"), place)}


def load_scorer(run, *, protocol=None):
    """A `Scorer` with the extractors of the run's zoo, by the run's protocol or another one."""
    from nsdlib.core.scores.metrics import Scorer
    from nsdlib.core.scores.protocols import find_protocol

    protocol = protocol or run.protocol
    extractors = load_extractors(run, effnet=find_protocol(protocol).effnet)
    judged = "" if run.clip_judge is None else f", CLIP of {run.clip_judge.name}"
    return Scorer(extractors, protocol=protocol, zoo=run.zoo + judged)


def alphas(run, target: str) -> tuple[float, ...]:
    """Ridge penalties that a run tries for "latents", "text" or "vision": its `alphas`, or the published one."""
    from nsdlib.core.ridge import PUBLISHED_ALPHAS

    return run.alphas if run.penalties == "alphas" else (PUBLISHED_ALPHAS[run.penalties][target],)


def refinement(run) -> dict:
    """What `VersatileDiffusion.refine` takes from a run's parameters; its seed is the first of several."""
    return {name: getattr(run, name) for name in REFINING} | {"seed": run.diffusion_seeds[0]}
