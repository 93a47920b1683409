"""Find weight files, read them without executing code, and check them against the model's tensors.

The loaders of diffusers and transformers initialise missing tensors at random; here a missing tensor is an error.
"""

import json
import re

NAMES = (  # file names of diffusers and transformers, in order of preference; each may be replaced by an index of shards
    "diffusion_pytorch_model.safetensors",
    "model.safetensors",
    "diffusion_pytorch_model.bin",
    "pytorch_model.bin",
)
OLDER_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}  # diffusers below 0.12
STALE = r"\.position_ids$"  # 0, 1, 2, ... in files of older transformers versions; not weights


def find_files(folder, names=NAMES):
    """Return the weight files in a model's folder: the first name that exists, as one file or as the shards of its index.

    Variants (`model.fp16.safetensors`, `diffusion_pytorch_model.non_ema.bin`) are other weights and are ignored. Returns an
    empty list if nothing is found; shards may be missing. Raises ValueError for an invalid index or shards outside the folder.
    """
    for name in names:
        if (folder / name).exists():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.exists():
            return [folder / shard for shard in _shards(index)]
    return []


def _shards(index):
    """Return the sorted file names of an index."""
    try:
        shards = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        if not shards or any(index.with_name(shard).parent != index.parent for shard in shards):
            raise ValueError(f"it names {shards}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{index} must name, under 'weight_map', the file beside it that holds each tensor ({type(error).__name__}: "
            f"{error}); get it again from its source."
        ) from error
    return shards


def read_config(folder, name="config.json"):
    """Return the configuration in a model's folder; without one, transformers would silently use its defaults.

    Raises FileNotFoundError when the file is missing, ValueError when it is not a JSON object.
    """
    path = folder / name
    if not path.exists():
        raise FileNotFoundError(f"no {name} in {folder}, which describes the model of the weights; get it from their source.")
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} must be a JSON object ({error}); get it again from its source.") from error


def read_folder(folder, names=NAMES):
    """Return the tensors of the files from `find_files` by name, memory-mapped.

    Raises FileNotFoundError when there are no weights or a shard is missing, and ValueError as in `read_tensors`.
    """
    files = find_files(folder, names)
    missing = [file.name for file in files if not file.exists()]
    if missing:
        raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}, which the index there lists; get them as well.")
    if not files:
        found = ", ".join(sorted(path.name for path in folder.glob("*"))) or "nothing"
        raise FileNotFoundError(
            f"no weights in {folder}: wanted {', '.join(names)}, or the index of one with its shards; found {found}. "
            "To use a variant, such as .fp16, rename it to one of these names."
        )
    return {key: tensor for file in files for key, tensor in read_tensors(file, mmap=True).items()}


def read_tensors(path, *, mmap=False):
    """Return the tensors of a weight file by name, on the CPU: of a `.safetensors` file, or else of a PyTorch file.

    Safetensors files are always memory-mapped, and with `mmap` PyTorch files are too where their format allows it. Raises
    ValueError when the file is damaged, or holds anything but tensors.
    """
    import zipfile

    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        mmap = mmap and zipfile.is_zipfile(path)  # not the case before PyTorch 1.6
        return dict(torch.load(path, map_location="cpu", weights_only=True, mmap=mmap))
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # the libraries raise many kinds of errors for damaged files
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"{path} cannot be read as weights ({type(error).__name__}: {reason}): it is damaged, larger than the memory, "
            "or holds more than tensors, and nothing in it was run; get it again: `nsdlib fetch weights --verify --run RUN`."
        ) from error


def unwrapped(state: dict) -> dict:
    """Return the tensors of a training checkpoint: its `state_dict` entry if there is one, without the prefix `module.`."""
    return {key.removeprefix("module."): value for key, value in state.get("state_dict", state).items()}


def check_fit(wanted: dict, state: dict, *, what: str, ignore: str | None = None):
    """Return the tensors of `state` that a model wants, if they fit exactly.

    No model here has one tensor under two names, so every missing tensor is an error. Extra tensors are errors too, unless
    their names match `STALE` or the regular expression `ignore`. Raises ValueError, whose message begins with `what`, counts
    the differences and names the first five: tensors missing, unexpected, of another shape, or not finite.
    """
    ignored = STALE if ignore is None else f"{STALE}|{ignore}"
    problems = [f"missing {key}" for key in wanted if key not in state]
    problems += [f"unexpected {key}" for key in state if key not in wanted and not re.search(ignored, key)]
    matching = {key: state[key] for key in wanted if key in state}
    for key, tensor in matching.items():
        shape = tuple(getattr(tensor, "shape", [type(tensor).__name__]))
        if shape != tuple(wanted[key].shape):
            problems.append(f"{key} has shape {shape}, wanted {tuple(wanted[key].shape)}")
        elif not tensor.isfinite().all():
            problems.append(f"{key} holds values that are not finite numbers")
    if problems:
        raise ValueError(f"{what} ({len(problems)} differences): {'; '.join(problems[:5])}")
    return matching


def half_on_gpu(device):
    """Return the floating-point type of published models on a device: float16 on a GPU, else float32."""
    import torch

    return torch.float16 if torch.device(device).type == "cuda" else torch.float32


def load_diffusers(kind, folder, *, dtype=None):
    """Load a diffusers model of class `kind` from its folder to the CPU, in `dtype` or float32.

    Every tensor must fit, under its current name or the one before diffusers 0.12.
    """
    import torch

    with torch.device("meta"):
        model = kind.from_config(read_config(folder))
    older = re.compile(rf"(?<=\.)({'|'.join(OLDER_ATTENTION)})(?=\.\w+$)")
    state = {older.sub(lambda part: OLDER_ATTENTION[part[0]], key): t for key, t in read_folder(folder).items()}
    state = check_fit(model.state_dict(), state, what=f"the weights in {folder} do not fit its config.json")
    model.load_state_dict({key: tensor.to(dtype or torch.float32) for key, tensor in state.items()}, assign=True)
    return model.eval()


def load_transformers(kind, folder, *, config=None, dtype=None, ignore=None, added=None):
    """Load a transformers model of class `kind` from its folder to the CPU, in `dtype` or float32.

    Every tensor must fit. `config` replaces the folder's configuration, `ignore` is as in `check_fit`, and `added` holds, by
    name, tensors that the class needs and the folder lacks.
    """
    import torch

    read_config(folder)
    config = config or kind.config_class.from_pretrained(folder)
    with torch.device("meta"):
        wanted = kind(config).state_dict()
    what = f"the weights in {folder} do not fit its config.json"
    state = check_fit(wanted, read_folder(folder) | (added or {}), what=what, ignore=ignore)
    return kind.from_pretrained(None, config=config, state_dict=state, dtype=dtype or torch.float32).eval()


def load_tokenizer(folder, n_tokens):
    """Load CLIP's tokenizer from a folder with vocab.json and merges.txt, or tokenizer.json.

    transformers accepts empty or truncated files and then gives other tokens. Raises ValueError when a file cannot be read,
    the number of tokens is not the text encoder's `n_tokens`, or a token is neither a character nor made by a merge.
    """
    from transformers import CLIPTokenizer

    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder)
        model, special = json.loads(tokenizer.backend_tokenizer.to_str())["model"], tokenizer.all_special_tokens
        reachable = {*map("".join, model["merges"]), *special}
        unreachable = [token for token in model["vocab"] if token not in reachable and len(token.removesuffix("</w>")) > 1]
        if unreachable or len(tokenizer) != n_tokens:
            raise ValueError(f"{len(tokenizer)} tokens, wanted {n_tokens}, and no merge produces {len(unreachable)} of them")
    except Exception as error:  # damaged files raise many kinds of errors
        raise ValueError(
            f"{folder} cannot be read as a tokenizer ({type(error).__name__}: {error}): get its files (vocab.json, merges.txt, "
            "tokenizer_config.json) again: `nsdlib fetch weights --verify --run RUN`."
        ) from error
    return tokenizer
