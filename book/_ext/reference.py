"""Pages of the API reference: one per subpackage, from its public names and the first lines of its modules' docstrings."""

import importlib
import inspect

from book._ext.state import write_if_changed
from nsdlib.store.sources import public_names

FOLDER = "reference"  # below book/
SUBPACKAGES = ("params", "core", "data", "twin", "study", "store", "run", "plots")
NAMES = tuple(f"{FOLDER}/{name}" for name in ("index", *SUBPACKAGES))  # names of the pages
INTRO = """# Reference

The public names of each subpackage, for example `from nsdlib.core import Ridge`. A subpackage imports only from those above it,
and `core` imports nothing else of nsdlib. Shapes use these names of axes:
`n_trials, n_images, n_repeats, n_runs, n_volumes, n_voxels, n_latents, n_layers, n_tokens, n_features`.

| subpackage | content |
|---|---|
"""


def pages() -> dict[str, str]:
    """Make all pages of the reference, {name below `book/`: Markdown}; the first is the index of the subpackages."""
    subpackages = {f"{FOLDER}/{wing}": _page(wing) for wing in SUBPACKAGES}
    rows = [f"| [`nsdlib.{wing}`]({wing}.md) | {_first_line(f'nsdlib.{wing}')} |" for wing in SUBPACKAGES]
    return {f"{FOLDER}/index": INTRO + "\n".join(rows) + "\n"} | subpackages


def write(root):
    """Write the pages into `book/`, except unchanged ones."""
    for page, text in pages().items():
        file = root / "book" / f"{page}.md"
        file.parent.mkdir(exist_ok=True)
        write_if_changed(file, text)


def exported(wing) -> dict[str, list[str]]:
    """Return {module: its public names} of a subpackage, sorted by module."""
    package = importlib.import_module(f"nsdlib.{wing}")
    homes, modules = public_names(package.__name__), {}
    for name in package.__all__:
        module = f"{package.__name__}.{homes[name]}" if name in homes else package.__name__
        modules.setdefault(module, []).append(name)
    return dict(sorted(modules.items()))


def _page(wing):
    """The page of one subpackage."""
    lines = [f"# `nsdlib.{wing}`", "", inspect.getdoc(importlib.import_module(f"nsdlib.{wing}")) or ""]
    for module, names in exported(wing).items():
        if module != f"nsdlib.{wing}":
            lines += ["", f"## `{module}`", "", _first_line(module)]
        for name in names:
            directive, option = _directive(getattr(importlib.import_module(module), name))
            lines += ["", "```{eval-rst}", f".. {directive}:: {module}.{name}", *option, "```"]
    return "\n".join(lines) + "\n"


def _directive(value):
    """Sphinx's directive for an object, and its options."""
    if inspect.isclass(value):
        return "autoclass", ["   :members:"]
    return ("autofunction" if inspect.isroutine(value) else "py:data", [])


def _first_line(module):
    """The first paragraph of a module's docstring, as one line."""
    return " ".join(inspect.getdoc(importlib.import_module(module)).split("\n\n")[0].split())
