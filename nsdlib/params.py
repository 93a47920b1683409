"""The parameters of a run: strict YAML files, loaded into a frozen, validated `Run`.

`params/_common.yaml` holds the values that all runs share, and `params/<name>.yaml` those of one run. The parameters cell of a
notebook (or `nsdlib run -p`) overrides single fields. A run with `like` reads that other run's file first and uses its store.
Unknown keys, ambiguous YAML, and folders that are not local paths (`nsdlib.strict`) are refused.
"""

import difflib
import html
import os
import re
import sys
import warnings
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from nsdlib.sections import BetasFiles, Bids, Folder, Simulation
from nsdlib.strict import Strict, parse_yaml

__all__ = ["Run", "Simulation", "find_root", "load_run", "parameter_files", "run_names", "usable_runs"]

PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # valid names of runs: folders are named after them
Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]
AboveZero = Annotated[float, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Run(Strict):
    """All parameters of a run; the comments in `params/_common.yaml` explain them.

    After `load_run`, paths are absolute, `store` ends in the name of the run (or of the run it is like), and lists are tuples.
    """

    name: str
    like: str | None = None
    subject: Annotated[int, Field(ge=1, le=8)] | None = None
    root: Path
    data: Folder
    weights: Folder
    store: Folder
    zoo: Literal["demo", "paper"]
    seed: Seed
    device: Literal["auto", "cpu", "cuda"]

    n_sessions: Positive
    glm_sessions: Positive
    glm_engine: Literal["nsdlib", "glmsingle"]
    betas: Literal["glm", "nsd"]
    betas_version: Literal["betas_assumehrf", "betas_fithrf", "betas_fithrf_GLMdenoise_RR"]
    roi: str
    n_voxels: Positive | None = None
    scaling: Literal["images", "sessions"]
    split: Literal["official", "random", "concept", "cluster", "last_session", "repeated"]
    n_test: Annotated[int, Field(ge=2)] | None = None

    latents: Literal["mean", "sample"]
    decoder: Literal["gru", "gated_mlp", "roi_gru", "cnn", "transformer", "ridge"]
    n_layers: Positive
    layer_counts: tuple[Positive, ...]
    decoder_seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    max_epochs: Positive
    batch_size: Annotated[int, Field(ge=2)]  # one image has no variance to normalise by
    recipe: Literal["ours", "public_code"]
    rivals: bool
    alphas: Annotated[tuple[AboveZero, ...], Field(min_length=1)]
    penalties: Literal["alphas", "paper", "brain_diffuser"]
    renormalise: Literal["none", "train", "test"]

    strength: Annotated[float, Field(gt=0, le=1)]
    n_steps: Positive
    guidance: NotNegative
    text_weight: Fraction
    sampler: Literal["ddim", "dpm++", "unipc"]
    diffusion_seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    faithful: bool
    compile: bool
    noise_amplitudes: tuple[NotNegative, ...]
    clip_judge: Folder | None = None
    protocol: Literal["native", "brain_diffuser", "mindeye1", "mindeye2"]
    recipes: Annotated[tuple[str, ...], Field(min_length=1)]
    n_bootstrap: Positive
    n_shown: Positive
    group: Annotated[tuple[str, ...], Field(min_length=1)]
    simulation: Simulation | None = None
    bids: Bids | None = None
    betas_files: BetasFiles | None = None

    @model_validator(mode="after")
    def _fields_agree(self):
        if sum(source is not None for source in (self.subject, self.bids, self.betas_files)) != 1:
            raise ValueError("a run has either a subject of NSD, `subject: 1` to 8, or a section `bids` or `betas_files`.")
        own_data = self.bids or self.betas_files
        if own_data and own_data.captions is None and self.text_weight > 0:
            raise ValueError(f"text_weight={self.text_weight} needs captions, but no file is named: set it to 0, or name one.")
        if own_data and self.split == "official" and not own_data.test:
            raise ValueError(f"split=official: the section {self.section} names no `test` set: name one, or set split: random.")
        if self.glm_sessions > self.n_sessions:
            raise ValueError(f"glm_sessions={self.glm_sessions} is more than n_sessions={self.n_sessions}: lower glm_sessions.")
        if self.betas_files is not None and self.betas != "nsd":
            raise ValueError("betas_files: there are no time series to fit; wanted betas: nsd, the betas in the files.")
        if self.bids is not None and self.betas != "glm":
            raise ValueError("bids: the data contain no betas; wanted betas: glm, the betas that notebook 01 fits.")
        for name in ("layer_counts", "decoder_seeds", "diffusion_seeds", "noise_amplitudes", "recipes", "group"):
            values = list(getattr(self, name))
            if len(set(values)) < len(values):
                raise ValueError(f"{name}={values} contains a value twice, so its result would count twice: remove one.")
            if name in ("layer_counts", "noise_amplitudes") and (len(values) < 2 or values != sorted(values)):
                raise ValueError(f"{name}={values}: wanted two values or more, ascending.")
        if self.n_layers > max(self.layer_counts):
            raise ValueError(f"n_layers={self.n_layers} exceeds all layer_counts={list(self.layer_counts)}: add it there.")
        return self

    @property
    def section(self):
        """The section that describes the layout of the data, bids or betas_files; None for NSD's layout."""
        return next((name for name in ("bids", "betas_files") if getattr(self, name) is not None), None)

    def __repr__(self):
        return "\n".join([f"Parameters as used: run {self.name!r}", *(f"  {name:<17}{value}" for name, value in self._rows())])

    __str__ = __repr__

    def _repr_html_(self):
        rows = "".join(f"<tr><td><code>{name}</code></td><td>{html.escape(value)}</td></tr>" for name, value in self._rows())
        title = f"Parameters as used: run {html.escape(self.name)!r}"
        return f"<details><summary>{title}</summary><table>{rows}</table></details>"

    def _rows(self):
        """Pairs (field, value as text); paths below the root are relative to it, and of the root only its name is shown."""
        for name, value in self:
            if name == "root":
                value = value.name
            elif isinstance(value, Path) and value.is_relative_to(self.root):
                value = value.relative_to(self.root)
            elif isinstance(value, tuple):
                value = ", ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value)
            yield name, str(value)


def find_root(start=None):
    """Return the project's folder: `NSDLIB_HOME`, or the nearest folder at or above `start` with `params/_common.yaml`.

    `start` defaults to the working directory, to which a relative `NSDLIB_HOME` refers; the kernels of `nsdlib run` get an
    absolute one. Raises FileNotFoundError when there is no such folder.
    """
    home = os.environ.get("NSDLIB_HOME")
    start = Path(home or start or Path.cwd()).resolve()
    for folder in [start] if home else [start, *start.parents]:
        if (folder / "params" / "_common.yaml").is_file():
            return folder
    where = f"NSDLIB_HOME={home}" if home else f"{start} or a folder above it"
    raise FileNotFoundError(f"No params/_common.yaml in {where}: run in the project's folder or set NSDLIB_HOME to it.")


def run_names(root=None):
    """Return the sorted names of all runs with a parameter file; files with invalid names do not count."""
    names = (path.stem for path in (find_root(root) / "params").glob("[!_]*.yaml"))
    return sorted(filter(PLAIN.fullmatch, names))


def load_run(name="demo", **overrides):
    """Load the parameters of a run.

    Parameters
    ----------
    name : str
        A file `params/<name>.yaml`, such as "demo" or "subj01".
    **overrides
        Fields of `Run` to override; None keeps the value of the file.

    Returns
    -------
    Run

    Raises
    ------
    ValueError
        For an unknown run or field (the message suggests the nearest known one), an invalid value, an invalid YAML file, or a
        notebook whose first cell sets a variable that is not passed to this function.
    FileNotFoundError
        When the project's folder cannot be found.
    """
    root = find_root()
    check_run_name(name)
    known = run_names(root)
    if name not in known:
        raise ValueError(
            f"There is no run {name!r}{nearest(name, known)} Known runs: {', '.join(known)}. "
            f"A new one needs a file params/{name}.yaml."
        )
    fields = {"name": name, "root": root}
    for file in parameter_files(name, root):
        fields |= _read(file)
    fields |= _checked({key: value for key, value in overrides.items() if value is not None}, "load_run")
    _refuse_ignored(name, overrides, sys._getframe(1).f_globals)
    try:
        run = Run(**fields)
    except ValidationError as error:
        raise ValueError(f"Run {name!r} cannot be used as its parameters stand:\n{explain(error)}") from None
    paths = _below(root, run) | {"store": root / run.store / (run.like or name)}
    if run.section:
        own_data = getattr(run, run.section)
        paths[run.section] = own_data.model_copy(update=_below(root, own_data))
    return run.model_copy(update=paths)


def _below(root, model):
    """The paths among a model's fields; relative ones refer to the root."""
    return {name: root / value for name, value in model if isinstance(value, Path)}


def parameter_files(name, root=None):
    """Return a run's parameter files, where later ones override earlier ones: common, that of the run it is like, its own.

    Raises ValueError for a file that cannot be read, and when `like` names a run that is unknown or has a `like` itself.
    """
    folder = find_root(root) / "params"
    files = [folder / "_common.yaml", folder / f"{name}.yaml"]
    if (like := _read(files[-1]).get("like")) is not None:
        if like not in run_names(root) or "like" in _read(folder / f"{like}.yaml"):
            raise ValueError(
                f"params/{name}.yaml: like {like!r}: wanted a known run without `like`{nearest(str(like), run_names(root))}"
            )
        files.insert(1, folder / f"{like}.yaml")
    return files


def check_run_name(name):
    """Raise ValueError for an invalid name of a run; folders are named after runs."""
    if not (isinstance(name, str) and PLAIN.fullmatch(name)):
        raise ValueError(f"run {name!r}: wanted a name of letters, digits, '_' and '-', such as 'subj01'; rename its file.")


def usable_runs(names):
    """Load the runs with these names; invalid runs are left out with a warning."""
    runs = []
    for name in names:
        try:
            runs.append(load_run(name))
        except ValueError as error:
            warnings.warn(f"{name} is left out: {error}", stacklevel=2)
    return runs


def nearest(word, known):
    """Return the end of an error message about `word`: ": did you mean 'x'?", or a full stop when no known word is similar."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f": did you mean {close[0]!r}?" if close else "."


def _read(file):
    """Fields of one YAML file; raises ValueError for unknown ones."""
    try:
        fields = parse_yaml(file.read_bytes()) or {}
    except (ValueError, OSError) as error:
        raise ValueError(f"params/{file.name} {error}") from None
    if not isinstance(fields, dict):
        raise ValueError(f"params/{file.name} must hold lines 'field: value', but it holds a {type(fields).__name__}.")
    return _checked(fields, f"params/{file.name}")


def _checked(fields, source):
    """`fields` unchanged; raises ValueError for keys that neither a run nor its sections have."""
    places = [(fields, Run.model_fields.keys() - {"name", "root"}, "parameter")]
    for name, section in {"simulation": Simulation, "bids": Bids, "betas_files": BetasFiles}.items():
        if isinstance(fields.get(name), dict):
            places.append((fields[name], section.model_fields, f"setting of the section {name}"))
    for settings, known, kind in places:
        for key in settings:
            if key not in known:
                raise ValueError(f"{source}: {key!r} is no {kind}{nearest(str(key), known)}")
    return fields


def _refuse_ignored(name, overrides, caller):
    """Raise ValueError for a parameter that a notebook's first cell sets but does not pass on; `caller` holds its globals."""
    first_cells = [cell for cell in caller.get("In", ()) if re.search(r"^run *= *['\"]", cell, re.M)]
    if not first_cells or caller.get("run") != name:  # not a notebook, or its run is loaded already
        return
    for key in re.findall(r"^(\w+) *=(?!=)", first_cells[-1], re.M):
        if key not in {"run", *overrides} and caller.get(key) is not None:
            raise ValueError(
                f"This notebook takes no parameter {key!r}{nearest(key, overrides)} It takes: {', '.join(overrides) or 'none'}. "
                "Set variables of your own cells in one of these, not in the cell that sets `run`."
            )


def explain(error):
    """One line per error of pydantic: field, problem, and value."""
    lines = []
    for item in error.errors():
        field = ".".join(map(str, item["loc"]))
        value = f", got {item['input']!r}" if field and item["type"] != "missing" else ""
        lines.append("  " + ": ".join(filter(None, [field, item["msg"].removeprefix("Value error, ")])) + value)
    return "\n".join(lines)
