"""Which source files a result can reach: modules by imports, data files by their names, notebook cells by what feeds it.

Nothing is listed by hand. A module reaches every module of nsdlib that it imports, anywhere in its text, and every file beside it
whose name stands in it as a string. A result of a notebook reaches the statements from which its value follows, and what these
import.
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

BLOCK, N_BLOCKS = 2**15, 64  # bytes that are read at once, and how often, of a large file of which not all is read

TIMED = re.compile(r"^%(time|prun|memit)\s+(?=\S)")  # a statement follows, which is run
STARTED = time.time()  # no module of nsdlib was imported much earlier
FOREIGN = re.compile(r"\s*%%(?!time|prun|memit|capture)")  # a cell that is no Python follows

# These hand values on and compute none: a change in them makes no result another one. What a function of theirs imports counts.
CARRIERS = ("nsdlib.params", "nsdlib.sections", "nsdlib.strict", "nsdlib.store", "nsdlib.core.files")


def code_hashes(reached):
    """Return {module: 12 hexadecimal digits} for every module that computes among those that can be reached.

    `reached` is as `imported` gives it: modules, "nsdlib.core.ridge", and names of them, "nsdlib.core.ridge:Ridge".
    """
    return {module: module_hash(module) for module in sorted(_follow(reached, CARRIERS)) if not _carries(module)}


def computes(module):
    """Whether a module is one of nsdlib that makes values, and not one that only hands them on."""
    return module.split(".")[0] == "nsdlib" and not _carries(module) and _file(module) is not None


def source_files(notebook):
    """Return the files of nsdlib, sorted, that a notebook can reach: what its page is made from."""
    modules = _follow(imported([tree for tree, _ in cells(notebook)]), ())
    return sorted({file for module in modules for file in (_file(module), *data_files(module))})


def imported(trees):
    """Modules of nsdlib, and names of them, that parts of a program import: "nsdlib.core.ridge", "nsdlib.core.ridge:Ridge"."""
    found = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "nsdlib" and _file(alias.name)}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "nsdlib" and not node.level:
            found = found.union(*(_homes(node.module, alias.name) for alias in node.names))
    return found


def _homes(module, name):
    """Where a name comes from that is imported from a module: itself a module, shown by a package's face, or of the module."""
    if not _file(module):
        return set()
    itself, table = f"{module}.{name}", face(module)
    homes = {itself} if _file(itself) else set()
    if name in table:
        homes.add(f"{module}.{table[name]}:{name}")
    return homes or {f"{module}:{name}"}


@cache
def face(package) -> dict[str, str]:
    """Return the public names of a package, each with the module below it that holds it, from its `lazy_loader.attach`."""
    if _file(package).name != "__init__.py":
        return {}
    calls = (node for node in ast.walk(_tree(package)) if isinstance(node, ast.Call))
    options = [option for call in calls for option in call.keywords if option.arg == "submod_attrs"]
    tables = [ast.literal_eval(option.value) for option in options]
    return {name: module for table in tables for module, names in table.items() for name in names}


def _follow(reached, carriers):
    """Modules that can be reached, directly or not; of a carrier only what the function that is asked for imports."""
    found, queue = set(), set(reached)
    while queue:
        one = queue.pop()
        if one not in found:
            found.add(one)
            module, _, name = one.partition(":")
            queue |= _imports(module, name if _carries(module, carriers) else "")
    return {one.partition(":")[0] for one in found}


@cache
def _imports(module, name):
    """What a module imports; of one function of it when that is named and there."""
    tree = _tree(module)
    own = [node for node in tree.body if getattr(node, "name", None) == name]
    shown = {f"{module}.{home}" for home in face(module).values()}  # who has the package has whatever it shows
    return imported(own or [tree]) | shown


def _carries(module, carriers=CARRIERS):
    """Whether a module only hands values on."""
    return any(module == one or module.startswith(f"{one}.") for one in carriers)


@cache
def module_hash(module):
    """Hash of a module's code and of its data files; comments, layout and docstrings do not count.

    A warning for a file that was edited after the running program had imported it, which computes by the old one.
    """
    if module in sys.modules and _file(module).stat().st_mtime > STARTED:
        warnings.warn(
            f"{module} was edited after this kernel had started: restart it, or old code makes the results.", stacklevel=2
        )
    tree = _tree(module)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            body[0].value = ast.Constant("")
    return digest(ast.dump(tree), *(file_hash(file) for file in data_files(module)))


def data_files(module):
    """Files beside a module whose names stand in it as strings."""
    texts = {node.value for node in ast.walk(_tree(module)) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    beside = _file(module).parent.iterdir()
    return sorted(file for file in beside if file.name in texts and file.is_file() and file.suffix != ".py")


def recipe_files(root, name):
    """List the file of a recipe, those that define somebody's own decoders in it (`own_files`), and those of its `clip`."""
    file, fields = _recipe_file(root, name), recipe_fields(root, name)
    folders = [clip_folder(root, folder) for folder in _settings(fields, "clip") if folder and isinstance(folder, str)]
    named = {value for value in _settings(fields, "decoder") if isinstance(value, str) and ":" in value}
    own = [path for decoder in sorted(named) for path in own_files(decoder, root)]
    return [file, *own, *(path for folder in folders for path in clip_files(folder))] if file.is_file() else []


def clip_folder(root, folder):
    """Return the folder of a recipe's `clip`, below the project's or absolute."""
    return root / Path(folder).expanduser()


def clip_files(folder):
    """List the files of a folder with a CLIP: a sorted list of Path."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def recipe_subjects(root, name):
    """List the runs on whose subjects a recipe trains beforehand, by their names; none of a file that is refused."""
    lists = [named for named in _settings(recipe_fields(root, name), "pretrain_on") if isinstance(named, list)]
    return [other for named in lists for other in named if (root / "params" / f"{other}.yaml").is_file()]


def _recipe_file(root, name):
    return root / "params" / "recipes" / f"{name}.yaml"


def recipe_fields(root, name):
    """Read what a recipe's file holds; None where it is absent or refused, as notebook 10 says."""
    try:
        return parse_yaml(_recipe_file(root, name).read_bytes())
    except (OSError, ValueError):
        return None


def _settings(fields, wanted):
    """Values of a setting of a recipe, wherever it stands."""
    return [value for key, value in _walk(fields) if key == wanted]


def _walk(value):
    """Pairs (key, value) of a dictionary and of those in it."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield key, one
            yield from _walk(one)


def own_files(decoder, root):
    """List the files of the project's folder that a decoder of one's own, "package.module:Name", is made of: a list of Path.

    They are its module's, those of what this imports, and of a package all; what is installed elsewhere has none.
    """
    found, queue = set(), [decoder.partition(":")[0]]
    while queue:
        top = queue.pop().partition(".")[0]
        files = [root / f"{top}.py", *sorted((root / top).rglob("*.py"))] if top != PACKAGE.name else []
        for file in (file for file in files if file.is_file() and file not in found):
            found.add(file)
            queue += _names_imported(file)
    return sorted(found)


def _names_imported(file):
    """Modules that a file imports, as it names them; none of one that cannot be read."""
    try:
        nodes = [*ast.walk(ast.parse(file.read_bytes()))]
    except (SyntaxError, ValueError):
        return []
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return plain + [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]


def file_hash(path):
    """sha256 of a file; it is read again only when its size or time has changed."""
    stat = path.stat()
    return _hash_of(path, stat.st_size, stat.st_mtime_ns)


def content_hash(path):
    """sha256 as `file_hash` gives it; of a large file that is no text, of its size and blocks evenly spaced, 2 MiB in all."""
    stat = path.stat()
    if stat.st_size <= BLOCK * N_BLOCKS or path.suffix in (".tsv", ".json"):
        return file_hash(path)
    return _hash_of_blocks(path, stat.st_size, stat.st_mtime_ns)


@cache
def _hash_of_blocks(path, size, _time):
    """sha256 of the size of a file and of blocks from its first to its last byte."""
    found = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for number in range(N_BLOCKS):
            file.seek(number * (size - BLOCK) // (N_BLOCKS - 1))
            found.update(file.read(BLOCK))
    return found.hexdigest()


@cache
def _hash_of(path, _size, _time):
    """sha256 of a file as it was at that size and time."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _file(module):
    """The file of a module or package of nsdlib; None when there is none."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _tree(module):
    """The syntax tree of a module."""
    return ast.parse(_file(module).read_text(encoding="utf-8"))


def cells(notebook):
    """Pairs (syntax tree, tags) of a notebook's code cells; what stands for IPython or the shell alone is left out.

    A ValueError, which names the cell, for what neither Python nor IPython can read.
    """
    listed = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    for number, cell in enumerate((cell for cell in listed if cell["cell_type"] == "code"), start=1):
        where = f"{Path(notebook).name}, code cell {number}"
        yield _parsed("".join(cell["source"]), where), cell["metadata"].get("tags", [])


def _parsed(source, where):
    """The syntax tree of a cell; IPython says what of it is Python where that is not plain."""
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
        raise ValueError(f"{error}: no statement that Python or IPython can read; correct the cell, or delete it.") from None


def default_parameters(notebook):
    """Return names and values that the cell tagged `parameters` of a notebook assigns; ValueError unless there is one."""
    tagged = [tree for tree, tags in cells(notebook) if "parameters" in tags]
    if len(tagged) != 1:
        raise ValueError(f"{Path(notebook).name} must have one cell tagged 'parameters', it has {len(tagged)}.")
    lines = [line for line in tagged[0].body if isinstance(line, ast.Assign)]
    return {target.id: ast.literal_eval(line.value) for line in lines for target in line.targets}


def digest(*texts):
    """12 hexadecimal digits of texts."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]
