"""Provenance of results: the table of artifacts, and the hash that identifies their versions.

The provenance of an artifact is everything its values depend on: fields of the run, earlier artifacts, the code that computes it
(`sources`), and the weights of the models it uses.
"""

import glob
import hashlib
import inspect
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from nsdlib.params import load_run, nearest, usable_runs
from nsdlib.store import slices, sources
from nsdlib.store.sources import content_hash, file_hash

_PLACES = {"device", "folder"}  # arguments that do not count: the device, and a folder with contents that are another argument


@dataclass(frozen=True)
class Step:
    """The notebook and the inputs of one artifact."""

    notebook: str  # makes it
    params: tuple = ()  # fields of `Run` that its values depend on
    after: tuple = ()  # input artifacts of the same run
    across: tuple = ()  # input artifacts of every run in `Run.group`
    weights: tuple = ()  # folders of the zoo with the models that compute it


_DATA = ("subject", "bids", "betas_files", "simulation", "n_sessions", "seed")
FOLDERS = {
    "clip_judge": True,
    "bids": {"derivatives", "images", "captions"},
    "betas_files": {"images", "captions", "regions", "table", "mask", "test"},
}  # paths: excluded from `fields`, their contents are hashed instead
_OF_SUBJECT = {  # patterns of one subject's files, in `data` and `derivatives`
    "bids": "* sub-{label}/**",
    "glmsingle": "* */* sub-{label}/*/*",
    "laion": "sub-{label}/** derivatives/*/sub-{label}/**",
    "statmaps": "sub-{label}/** derivatives/*/sub-{label}/**",
    "algonauts": "subj{label}/** training_split/** roi_masks/*",
}
_READ = {  # name endings of the files that are read
    "bids data": r"events\.tsv(\.gz)?|bold\.json",
    "bids derivatives": r"(bold|boldref|mask|dseg|timeseries|regressors)\.(nii|tsv|json)(\.gz)?",
    "betas_files data": r"\.(nii|npy|hdf5|mat|tsv|json)(\.gz)?",
}
_FIT = ("decoder_seeds", "max_epochs", "batch_size", "recipe", "alphas", "penalties", "renormalise")
TAUGHT_BY = ("betas", "embeddings")  # artifacts of other subjects, for recipes that pretrain on them
REFINING = ("strength", "n_steps", "guidance", "text_weight", "sampler", "faithful")

ARTIFACTS = {
    "glm": Step("01_hrf_glmsingle", (*_DATA, "glm_sessions", "glm_engine", "roi")),
    "betas": Step("02_roi_betas", (*_DATA, "betas", "betas_version", "roi", "n_voxels", "scaling", "split", "n_test"), ("glm",)),
    "targets": Step("03_decoder_ablation", ("zoo", "latents", "layer_counts"), ("betas",), weights=("vdvae",)),
    "ablation": Step("03_decoder_ablation", ("n_layers", "rivals", *_FIT), ("betas", "targets")),
    "latent_size": Step("04_latent_size", ("decoder", *_FIT), ("betas", "targets"), weights=("vdvae",)),
    "embeddings": Step("05_two_stage_reconstruction", ("zoo",), ("betas",), weights=("versatile_diffusion",)),
    "reconstruction": Step(
        "05_two_stage_reconstruction",
        ("decoder", "n_layers", *_FIT, *REFINING, "diffusion_seeds"),
        ("betas", "targets", "ablation", "embeddings"),
        weights=("vdvae", "versatile_diffusion"),
    ),
    "scores": Step("05_two_stage_reconstruction", ("protocol", "clip_judge"), ("reconstruction",), weights=("features",)),
    "noise": Step(
        "06_noise_sensitivity",
        ("noise_amplitudes", "protocol", "clip_judge", "n_shown"),
        ("reconstruction",),
        weights=("versatile_diffusion", "features"),
    ),
    "group": Step(
        "08_across_subjects", ("group", "n_bootstrap"), across=("scores", "noise", "ablation", "latent_size", "controls")
    ),
    "controls": Step(
        "09_what_scores_are_worth",
        ("rivals", "clip_judge"),
        after=("targets", "ablation", "embeddings", "reconstruction", "scores"),
        weights=("vdvae", "versatile_diffusion", "features"),
    ),
    "systems": Step(
        "10_systems_side_by_side",
        ("recipes", "max_epochs", "decoder_seeds", "renormalise", "clip_judge"),
        ("betas", "targets", "embeddings", "reconstruction", "scores"),
        weights=("vdvae", "versatile_diffusion", "stable_diffusion", "features"),
    ),
}


def provenance(run, name):
    """Collect what an artifact, a key of `ARTIFACTS`, depends on, as a dictionary that JSON can hold.

    The keys are artifact, fields, after (hashes of other artifacts), code and weights (hashes). Raises ValueError when there is
    no such artifact.
    """
    return _provenance(run, name, cache(_contents))


def _provenance(run, name, contents):
    """`provenance`, with a cached function that returns the contents of a run's files."""
    step = find_step(name)
    inputs = [(other, run, other) for other in step.after if other != "glm" or run.betas == "glm"]
    for other in step.across:
        inputs += [(f"{member}/{other}", load_run(member), other) for member in run.group]
    for recipe in run.recipes if "recipes" in step.params else ():
        inputs += [(f"{teacher.name}/{other}", teacher, other) for teacher in teachers(run, recipe) for other in TAUGHT_BY]
    after = {key: digest(_provenance(owner, other, contents)) for key, owner, other in inputs}
    fields = run.model_dump(mode="json", include=set(step.params), exclude=FOLDERS)
    if run.section in step.params:
        fields["contents"] = contents(run)
    if "recipes" in step.params:
        fields["recipe files"] = {name: _recipe_hashes(run, name) for name in run.recipes}
    cells, imports = slices.slice_of(run.root / "notebooks" / f"{step.notebook}.ipynb", name)
    return {
        "artifact": name,
        "fields": fields,
        "after": after,
        "code": {f"notebook {step.notebook}": cells} | sources.code_hashes(imports),
        "weights": {part: _weights_hash(run, part) for part in step.weights},
    }


def teachers(run, recipe):
    """List the runs on whose subjects a recipe pretrains: those with the run's zoo, never the run's own subject."""
    runs = usable_runs(sources.recipe_subjects(run.root, recipe))
    return [other for other in runs if other.zoo == run.zoo and (other.data, other.subject) != (run.data, run.subject)]


def _contents(run):
    """Content hashes of a laboratory's own files, which can change while their names stay: {setting: hash}."""
    paths = {"data": run.data} | {name: value for name, value in getattr(run, run.section) if isinstance(value, Path)}
    if run.roi.endswith((".nii", ".nii.gz")):
        paths["roi"] = run.root / Path(run.roi).expanduser()
    hashes = {}
    for name, place in paths.items():
        files = {place.name: place} if place.is_file() else {file: place / file for file in _files_below(place, run, name)}
        hashes[name] = digest([[file, content_hash(path)] for file, path in sorted(files.items()) if path.is_file()])
    return hashes


def _files_below(folder, run, name):
    """Names of the files in a setting's folder; for a data set, only those read for the subject and its tasks."""
    section, endings = getattr(run, run.section), _READ.get(f"{run.section} {name}", "")
    patterns = _OF_SUBJECT[getattr(section, "kind", "bids")] if endings else "**"
    label = glob.escape(section.label.removeprefix("subj"))
    allowed = {"task": section.task.split(","), "space": re.split("[:_]", section.space)[:1]} if run.bids else {}
    for pattern in patterns.format(label=label).split(" "):
        for file in glob.iglob(pattern, root_dir=folder, recursive=True):  # noqa: PTH207  Path.glob does not follow links
            entities = re.findall(r"_(task|space)-([^_]+)", f"_{Path(file).name}")
            if re.search(f"({endings})$", file) and all(value in allowed.get(key, [value]) for key, value in entities):
                yield file


def _recipe_hashes(run, name):
    """Hashes of a recipe's file, of the files of a user's own decoders in it, and of the files of its `clip`."""
    return [file_hash(path) for path in sources.recipe_files(run.root, name)]


def artifact_hash(run, name):
    """Return the 12 hexadecimal digits that identify this version of an artifact."""
    return digest(provenance(run, name))


def call_provenance(run, function, arguments, options, *, weights=()):
    """Collect what the result of a function call depends on, in the form of `provenance`.

    The function must be from a module of nsdlib; that module's code counts, with everything it imports. A method is allowed if
    its object is determined by `weights` (folders of the run's zoo) or by its attribute `settings`, a dictionary. Arguments may
    be arrays, numbers, strings, None, and tuples, lists and dictionaries of them; `device` and `folder` do not count.

    Raises TypeError for arguments that the function does not take, for types that cannot be hashed, for closures and other
    methods, and for functions from elsewhere. Raises ValueError for weights that no artifact uses.
    """
    bound = inspect.signature(function).bind(*arguments, **options)
    bound.apply_defaults()
    values = dict(bound.arguments)
    for name, parameter in bound.signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            values |= values.pop(name)
    folders = {part for step in ARTIFACTS.values() for part in step.weights}
    for part in weights:
        if part not in folders:
            raise ValueError(f"{part!r} is no folder of weights{nearest(part, folders)} There are {', '.join(sorted(folders))}.")
    return {
        "artifact": function.__qualname__,
        "fields": {
            "object": _fingerprint(_settings(function, weights), "settings"),
            "arguments": {name: _fingerprint(value, name) for name, value in values.items() if name not in _PLACES},
        },
        "after": {},
        "code": sources.code_hashes({_module_of(function)}),
        "weights": {part: _weights_hash(run, part) for part in weights},
    }


def digest(inputs):
    """Hash a provenance to the 12 hexadecimal digits that identify a version."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]


def notebooks_before(notebook):
    """List the notebooks to run before one (a Path), from the artifacts that it loads and makes.

    Returns two lists of str: those to run for the same run, and those to run for every run in `Run.group`.
    """
    steps = [step for step in ARTIFACTS.values() if step.notebook == notebook.stem]
    loaded = (slices.artifacts_loaded(notebook) & set(ARTIFACTS)).union(*(step.after for step in steps))
    of_run = {ARTIFACTS[name].notebook for name in loaded}
    of_group = {ARTIFACTS[name].notebook for step in steps for name in step.across}
    return sorted(of_run - {notebook.stem}), sorted(of_group)


def find_step(name):
    """Return the entry of `ARTIFACTS`; the ValueError for an unknown name suggests the nearest known one."""
    if name not in ARTIFACTS:
        raise ValueError(f"{name!r} is no artifact{nearest(name, ARTIFACTS)} Artifacts: {', '.join(ARTIFACTS)}.")
    return ARTIFACTS[name]


def all_fields(name):
    """Return the fields of a run that an artifact depends on, directly or through other artifacts."""
    step = find_step(name)
    return set(step.params).union(*(all_fields(other) for other in step.after))


def changed_fields(was, now):
    """Describe in short phrases which fields of a run have changed, in the order of `now`."""
    return [f"{key} was {was.get(key)!r}, is {value!r}" for key, value in now.items() if was.get(key) != value]


def differences(stored, wanted):
    """Describe in short phrases how two provenances differ in code, weights, input artifacts and contents of data files."""
    changed = []
    for kind, phrase in (("code", "other code in"), ("weights", "other weights of"), ("after", "another version of")):
        keys = sorted(stored[kind] | wanted[kind])
        changed += [f"{phrase} {key}" for key in keys if stored[kind].get(key) != wanted[kind].get(key)]
    was, now = (inputs["fields"].get("contents") for inputs in (stored, wanted))
    return changed + ["other contents of the data's files"] * (was != now)


def _module_of(function):
    """The module of a function, which must be one of nsdlib that computes; raises TypeError otherwise."""
    if not sources.computes(function.__module__):
        raise TypeError(
            f"{function.__qualname__} is from {function.__module__}; wanted a function of a module of nsdlib that "
            "computes, because only its code is hashed."
        )
    return function.__module__


def _settings(function, weights):
    """The settings of a method's object; raises TypeError for functions with hidden state."""
    owner = getattr(function, "__self__", None)
    if inspect.unwrap(function).__closure__ or not (owner is None or weights or hasattr(owner, "settings")):
        raise TypeError(
            f"{function.__qualname__} depends on values other than its arguments; its object needs `settings`, a dictionary."
        )
    return getattr(owner, "settings", {})


def _fingerprint(value, name):
    """A value in a form that JSON can hold; arrays become dtype, shape and sha256."""
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) is np.ndarray and not value.dtype.hasobject:
        content = hashlib.sha256(np.ascontiguousarray(value).reshape(-1).view(np.uint8)).hexdigest()
        return f"{value.dtype} {value.shape} {content}"
    if isinstance(value, tuple | list):
        return [_fingerprint(item, name) for item in value]
    if isinstance(value, dict):
        return {str(key): _fingerprint(item, key) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"{name}: a result is stored by the hash of its function's arguments, and a {type(value).__name__} cannot be hashed; "
        "wanted arrays, numbers, strings, None, or tuples, lists and dictionaries of them."
    )


def _weights_hash(run, part):
    """Hash of the demo weights, or the name of the published zoo (its weights are pinned); includes the run's `clip_judge`."""
    zoo, judge = run.root / "zoo" / "demo", run.clip_judge if part == "features" else None
    if run.zoo != "demo" and judge is None:
        return run.zoo
    stamps = _stamps(zoo / part, zoo) if run.zoo == "demo" else [run.zoo]
    stamps += [] if judge is None else ["clip_judge", *_stamps(judge, judge)]
    return hashlib.sha256(repr(stamps).encode()).hexdigest()[:12]


def _stamps(folder, above):
    """Pairs (path relative to `above`, hash) of each file in a folder."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return [(file.relative_to(above).as_posix(), file_hash(file)) for file in files]
