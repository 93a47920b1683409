"""Find the source files that a result depends on: modules by imports, data files by name, notebook statements by slicing.

Nothing is listed by hand. A module depends on every module of nsdlib that it imports, anywhere in its text, and on every file in
its folder whose name it contains as a string. A notebook's result depends on the statements in its slice and on their imports.
"""

import ast
import hashlib
import json
import re
import sys
import time
import warnings
from functools import cache
from pathlib import Path

from nsdlib.strict import parse_yaml

PACKAGE = Path(__file__).parents[1]  # nsdlib/
RECIPES = Path("params", "recipes")

BLOCK, N_BLOCKS = 2**15, 64  # bytes per block, and number of blocks, when a large file is sampled

TIMED = re.compile(r"^%(time|prun|memit)\s+(?=\S)")  # a line magic that runs the Python statement after it
STARTED = time.time()  # approximately when nsdlib was first imported
FOREIGN = re.compile(r"\s*%%(?!time|prun|memit|capture)")  # a cell magic whose cell is not Python

# These modules compute no values, so a change in them does not change results. The imports of their functions still count.
CARRIERS = ("nsdlib.params", "nsdlib.sections", "nsdlib.strict", "nsdlib.store", "nsdlib.core.files")


def code_hashes(reached):
    """Return {module: 12 hexadecimal digits} for every reachable module that computes.

    `reached` has the form that `imported` returns: modules, "nsdlib.core.ridge", and names in them, "nsdlib.core.ridge:Ridge".
    """
    return {module: module_hash(module) for module in sorted(_follow(reached, CARRIERS)) if not _carries(module)}


def computes(module):
    """Whether a module is part of nsdlib and computes values, that is, is not one of `CARRIERS`."""
    return module.split(".")[0] == "nsdlib" and not _carries(module) and _file(module) is not None


def source_files(notebook):
    """Return the sorted files of nsdlib that a notebook depends on."""
    modules = _follow(imported([tree for tree, _ in cells(notebook)]), ())
    return sorted({file for module in modules for file in (_file(module), *data_files(module))})


def imported(trees):
    """Modules of nsdlib, and names in them, that syntax trees import: "nsdlib.core.ridge", "nsdlib.core.ridge:Ridge"."""
    names = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.split(".")[0] == "nsdlib" and _file(alias.name)}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "nsdlib" and not node.level:
            names = names.union(*(_homes(node.module, alias.name) for alias in node.names))
    return names


def _homes(module, name):
    """Where an imported name comes from: itself a submodule, exported by the package from a submodule, or in the module."""
    if not _file(module):
        return set()
    submodule, table = f"{module}.{name}", public_names(module)
    homes = {submodule} if _file(submodule) else set()
    if name in table:
        homes.add(f"{module}.{table[name]}:{name}")
    return homes or {f"{module}:{name}"}


@cache
def public_names(package) -> dict[str, str]:
    """Return {public name: submodule that defines it} of a package, from its `lazy_loader.attach`."""
    if _file(package).name != "__init__.py":
        return {}
    calls = (node for node in ast.walk(_tree(package)) if isinstance(node, ast.Call))
    keywords = [keyword for call in calls for keyword in call.keywords if keyword.arg == "submod_attrs"]
    tables = [ast.literal_eval(keyword.value) for keyword in keywords]
    return {name: module for table in tables for module, names in table.items() for name in names}


def _follow(reached, carriers):
    """Modules reached directly or indirectly; for a carrier, only the imports of the function that is used."""
    names, queue = set(), set(reached)
    while queue:
        name = queue.pop()
        if name not in names:
            names.add(name)
            module, _, member = name.partition(":")
            queue |= _imports(module, member if _carries(module, carriers) else "")
    return {name.partition(":")[0] for name in names}


@cache
def _imports(module, name):
    """The imports of a module, or only those of its function `name` if there is one."""
    tree = _tree(module)
    functions = [node for node in tree.body if getattr(node, "name", None) == name]
    # importing a package gives access to all its public names
    homes = {f"{module}.{home}" for home in public_names(module).values()}
    return imported(functions or [tree]) | homes


def _carries(module, carriers=CARRIERS):
    """Whether a module is one of the carriers, which compute no values."""
    return f"{module}.".startswith(tuple(f"{carrier}." for carrier in carriers))


@cache
def module_hash(module):
    """Hash of a module's code and its data files; comments, layout and docstrings do not count.

    Warns if the file was edited after the running program imported it, because the old code is still in use.
    """
    if module in sys.modules and _file(module).stat().st_mtime > STARTED:
        warnings.warn(
            f"{module} was edited after this kernel had started: restart it, because it still uses the old code.", stacklevel=2
        )
    tree = _tree(module)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            body[0].value = ast.Constant("")
    return digest(ast.dump(tree), *(file_hash(file) for file in data_files(module)))


def data_files(module):
    """Files in a module's folder whose names appear in it as strings."""
    strings = {node.value for node in ast.walk(_tree(module)) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    siblings = _file(module).parent.iterdir()
    return sorted(file for file in siblings if file.name in strings and file.is_file() and file.suffix != ".py")


def recipe_files(root, name):
    """List a recipe's file, the files of a user's own decoders in it (`own_files`), and the files of its `clip`."""
    file, fields = root / RECIPES / f"{name}.yaml", recipe_fields(root, name)
    folders = [clip_folder(root, folder) for folder in _settings(fields, "clip") if folder and isinstance(folder, str)]
    decoders = {value for value in _settings(fields, "decoder") if isinstance(value, str) and ":" in value}
    code = [path for decoder in sorted(decoders) for path in own_files(decoder, root)]
    return [file, *code, *(path for folder in folders for path in clip_files(folder))] if file.is_file() else []


def clip_folder(root, folder):
    """Return the folder of a recipe's `clip`, absolute or relative to the project's folder."""
    return root / Path(folder).expanduser()


def clip_files(folder):
    """Return the sorted files (Path) of a folder with a CLIP."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def recipe_subjects(root, name):
    """List the names of the runs on whose subjects a recipe pretrains; none if its file is invalid."""
    lists = [runs for runs in _settings(recipe_fields(root, name), "pretrain_on") if isinstance(runs, list)]
    return [run for runs in lists for run in runs if (root / "params" / f"{run}.yaml").is_file()]


def recipe_fields(root, name):
    """Read a recipe's file; None if it is absent or invalid, which notebook 10 reports."""
    try:
        return parse_yaml((root / RECIPES / f"{name}.yaml").read_bytes())
    except (OSError, ValueError):
        return None


def _settings(fields, wanted):
    """All values of a recipe's setting, at any depth."""
    if isinstance(fields, dict):
        for key, value in fields.items():
            if key == wanted:
                yield value
            yield from _settings(value, wanted)


def own_files(decoder, root):
    """List the files (Path) in the project's folder that a user's own decoder, "package.module:Name", consists of.

    These are the files of its module and of that module's imports, with all files of a package. Installed packages have none.
    """
    files, queue = set(), [decoder.partition(":")[0]]
    while queue:
        package = queue.pop().partition(".")[0]
        candidates = {root / f"{package}.py", *(root / package).rglob("*.py")} if package != PACKAGE.name else set()
        for file in filter(Path.is_file, candidates - files):
            files.add(file)
            queue += _names_imported(file)
    return sorted(files)


def _names_imported(file):
    """Names of the modules that a file imports; none if it cannot be parsed."""
    try:
        nodes = [*ast.walk(ast.parse(file.read_bytes()))]
    except (SyntaxError, ValueError):
        return []
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return plain + [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]


def file_hash(path):
    """sha256 of a file, cached by its size and time."""
    stat = path.stat()
    return _hash_of(path, stat.st_size, stat.st_mtime_ns)


def content_hash(path):
    """sha256 of a file; for a large binary file, of its size and evenly spaced blocks, 2 MiB in all."""
    stat = path.stat()
    if stat.st_size <= BLOCK * N_BLOCKS or path.suffix in (".tsv", ".json"):
        return file_hash(path)
    return _hash_of_blocks(path, stat.st_size, stat.st_mtime_ns)


@cache
def _hash_of_blocks(path, size, _time):
    """sha256 of a file's size and of evenly spaced blocks, including the first and the last."""
    content = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for number in range(N_BLOCKS):
            file.seek(number * (size - BLOCK) // (N_BLOCKS - 1))
            content.update(file.read(BLOCK))
    return content.hexdigest()


@cache
def _hash_of(path, _size, _time):
    """`file_hash`, with the size and time as keys of the cache."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _file(module):
    """The file of a module or package of nsdlib, or None."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _tree(module):
    """The syntax tree of a module."""
    return ast.parse(_file(module).read_text(encoding="utf-8"))


def cells(notebook):
    """Pairs (syntax tree, tags) of a notebook's code cells, without IPython magics and shell commands.

    Raises ValueError, which names the cell, if neither Python nor IPython can parse it.
    """
    code = [cell for cell in json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(code, start=1):
        where = f"{Path(notebook).name}, code cell {number}"
        yield _parsed("".join(cell["source"]), where), cell["metadata"].get("tags", [])


def _parsed(source, where):
    """The syntax tree of a cell; if Python cannot parse it, IPython transforms it first."""
    if FOREIGN.match(source):
        return ast.Module([], [])
    lines = [TIMED.sub("", line) for line in source.splitlines()]
    text = "\n".join(line for line in lines if not line.startswith(("%", "!")))
    try:
        return ast.parse(text)
    except SyntaxError:
        from IPython.core.inputtransformer2 import TransformerManager
    lines = TransformerManager().transform_cell(text).splitlines()  # run? becomes get_ipython()...
    text = "\n".join(line for line in lines if not line.startswith("get_ipython()"))
    try:
        return compile(text, where, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError as error:
        raise ValueError(f"{error}: neither Python nor IPython can parse this cell; correct it, or delete it.") from None


def default_parameters(notebook):
    """Return {name: value} of a notebook's cell tagged `parameters`; raises ValueError unless there is exactly one."""
    tagged = [tree for tree, tags in cells(notebook) if "parameters" in tags]
    if len(tagged) != 1:
        raise ValueError(f"{Path(notebook).name} must have one cell tagged 'parameters', it has {len(tagged)}.")
    assignments = [assignment for assignment in tagged[0].body if isinstance(assignment, ast.Assign)]
    return {target.id: ast.literal_eval(assignment.value) for assignment in assignments for target in assignment.targets}


def digest(*texts):
    """First 12 hexadecimal digits of the sha256 of texts."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]
