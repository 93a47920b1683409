"""Program slicing of notebooks: find the statements that an artifact depends on, so that editing a figure recomputes nothing.

The slice is built backwards from the statement that saves the artifact. It is conservative, because one statement too many only
recomputes a result, while one too few would return an outdated one. A call that is a statement of its own may change its
arguments, unless it prints or draws. A call within an expression changes only what its name implies (`x.pop()`,
`np.copyto(x, y)`), its `out`, generators and iterators. Two names may share memory if one was made from the other.
"""

import ast
import re
from functools import cache
from pathlib import Path

from nsdlib.store.names import COMPREHENSIONS, FUNCTIONS, IMPORTS, bound_by, names_in, read_by, read_late, set_anew
from nsdlib.store.sources import CARRIERS, cells, digest, imported

SHOWING = ("nsdlib.plots", "matplotlib", "seaborn", "IPython", "ipywidgets")  # their functions do not change their arguments
UNSHARED = {"print", "display", "deepcopy", "float", "int", "bool", "str", "len", "repr", "range"}  # results share no memory
REFLECTIVE = {"globals", "locals", "vars", "exec", "eval", "get_ipython"}  # may change anything
DISPLAYED = {"describe", "head", "map", "rename", "round", "tail"}  # methods that return a new value, called to show it
CONVERTING = re.compile("(^|_)(as|to)_")  # as_text, to_frame, ...
STATEFUL = {"default_rng", "Generator", "RandomState", "iter", "open", "map", "filter", "zip", "enumerate", "reversed"}
MUTATING_METHODS = {
    "append", "appendleft", "extend", "insert", "pop", "popitem", "popleft", "remove", "clear", "sort", "reverse",
    "update", "setdefault", "add", "discard", "fill", "put", "itemset", "resize", "setflags", "partition", "shuffle",
    "seed", "send", "write", "assign_attrs", "load_state_dict", "__setitem__", "__setattr__",
}  # fmt: skip
MUTATING_FUNCTIONS = {
    "copyto", "fill_diagonal", "heapify", "heappop", "heappush", "insort", "next", "place", "put", "put_along_axis",
    "putmask", "seed", "manual_seed", "setattr", "delattr", "shuffle",
}  # fmt: skip
_CONTAINERS = ast.Dict | ast.List | ast.Set | ast.Tuple
_ARITHMETIC = ast.Sub | ast.Div | ast.Pow | ast.MatMult | ast.FloorDiv | ast.Mod  # + * | also join lists


def artifacts_loaded(notebook):
    """Return the names of the artifacts that a notebook loads."""
    return {name for tree, _ in cells(notebook) for name in _first_arguments(tree, ("load",))}


def slice_of(notebook, artifact):
    """Find the statements that an artifact depends on, in the notebook that saves it by `store.save` or `store.cached`.

    Returns a hash of these statements, without the parameters cell, and their imports, a set of str for `sources.code_hashes`.
    Raises ValueError when the notebook does not save the artifact.
    """
    stat = Path(notebook).stat()
    return _slice(Path(notebook), artifact, stat.st_size, stat.st_mtime_ns)


@cache
def _slice(path, artifact, _size, _time):
    """`slice_of`, cached by the notebook's size and time."""
    statements = [line for tree, tags in cells(path) if "parameters" not in tags for line in tree.body]
    saving = [line for line in statements if artifact in _first_arguments(line, ("save", "cached"))]
    if not saving:
        raise ValueError(
            f'{path.name} does not save the artifact {artifact!r}: wanted a cell with `store.save("{artifact}", ...)`.'
        )
    if not any(isinstance(line, FUNCTIONS) for line in saving):  # a function may be called, and save, in a later statement
        statements = statements[: statements.index(saving[-1]) + 1]
    selected = follow(statements, saving)
    return digest(ast.dump(ast.Module(selected, []))), imported(selected)


def follow(statements, wanted):
    """Select the statements that may affect the wanted ones.

    `statements` is a program in order, and `wanted` is a subset of it. The result is in the same order and includes the wanted
    statements; names that are not needed are dropped from imports.
    """
    if any(names_in(line) & REFLECTIVE for line in statements):
        return statements
    values = _Values(statements)
    late, previous = set(), None  # names that functions read when called, which may be at any later time
    while late != previous:
        selected, needed = [], set().union(*(bound_by(line) for line in wanted if isinstance(line, FUNCTIONS)))
        for line in reversed(statements):
            if line in wanted or (needed | late) & values.changed_by(line) or _is_star(line):
                selected.append(_of_import(line, needed | late))
                needed = (needed - set_anew(line)) | read_by(line)
        previous, late = late, late.union(*map(read_late, selected))
    return selected[::-1]


class _Values:
    """The kinds of values that a program's names hold (imports, drawings, generators), and which other names they come from."""

    def __init__(self, statements):
        nodes = [node for line in statements for node in ast.walk(line)]
        imports = {name: node for node in nodes if isinstance(node, IMPORTS) for name in bound_by(node)}
        self.imports = set(imports)
        self.showing = {"print", "display"} | {name for name, node in imports.items() if _is_from(node, SHOWING)}
        self.fresh = UNSHARED | self.showing | {name for name, node in imports.items() if _is_from(node, CARRIERS)}
        pairs = [pair for node in nodes for pair in _assigned(node)]
        self.defined = {name for name, value in pairs if isinstance(value, FUNCTIONS)}
        self.drawn = {name for name, value in pairs if isinstance(value, ast.Call | ast.Starred) and _root(value) in self.showing}
        one_way = {name for name, value in pairs if _called(value) in STATEFUL or isinstance(value, ast.GeneratorExp)}
        self.origins, self.views = {}, {}  # names that a value may share parts with; names that it may be a view of
        for name, value in pairs:
            self.origins.setdefault(name, {name}).update(self._sources(value))
        for via, sources in self.origins.items():  # adds origins of origins: the transitive closure (Warshall)
            for origins in self.origins.values():
                origins.update(sources if via in origins else ())
        for name, value in pairs:
            sources = () if isinstance(value, _CONTAINERS | COMPREHENSIONS) else self._sources(value)
            self.views.setdefault(name, {name}).update(*(self.origins.get(other, ()) for other in sources))
        self.stateful = one_way | {name for name, value in pairs if getattr(value, "id", None) in one_way}

    def changed_by(self, line):
        """Names that a statement binds, and names with values that it may change, also through another name."""
        changed, shared = bound_by(line), set()
        for part in self._written(line):
            names = names_in(part) - self.imports or names_in(part)
            changed |= names - self.drawn
            sharing = self.views if isinstance(part, ast.Name) else self.origins
            shared = shared.union(*(sharing.get(name, ()) for name in names - self.drawn))
        changed |= {name for name, sources in self.origins.items() if sources & shared}
        return changed | (self.stateful if names_in(line) & self.stateful else set())

    def _written(self, line):
        """Expressions with values that a statement may change: assigned into, or passed to a call that may change them."""
        for node in ast.walk(line):
            if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
                yield _table(node.value)
            elif isinstance(node, ast.AugAssign):
                yield _table(node.target)
            elif (isinstance(node, ast.Call) and self._may_change(node)) or (
                isinstance(node, ast.Expr) and self._may_change_bare(node.value)
            ):
                call = getattr(node, "value", node)
                method = isinstance(call.func, ast.Attribute) and _root(call.func) not in self.imports
                yield call.func.value if method else call.func
                if not method or _called(call) not in MUTATING_METHODS - {"shuffle"}:  # mutating methods change only their object
                    yield from [*call.args, *(option.value for option in call.keywords)]

    def _may_change(self, call):
        """Whether a call, anywhere in a statement, may change its arguments or object."""
        name, root = _called(call) or "", _root(call)
        options = {option.arg: getattr(option.value, "value", True) for option in call.keywords}
        return (
            name in (MUTATING_FUNCTIONS if root in self.imports or isinstance(call.func, ast.Name) else MUTATING_METHODS)
            or name.rstrip("_") != name != "_"
            or "out" in options
            or bool(options.get("inplace"))
            or root in self.defined
        )

    def _may_change_bare(self, call):
        """Whether a call as a statement may change its arguments: all may, except displays, conversions and constructors."""
        if not isinstance(call, ast.Call) or _called(call) in DISPLAYED or CONVERTING.search(_called(call) or ""):
            return False
        start = call
        while isinstance(start, ast.Attribute | ast.Subscript) or start is call:
            start = getattr(start, "func", None) or getattr(start, "value", None)
        is_display = _root(call) in self.showing or (_called(call) or "")[:1].isupper()
        return isinstance(start, ast.Name) and not is_display

    def _sources(self, value):
        """Names that a value may share memory with."""
        arithmetic = isinstance(value, ast.BinOp) and isinstance(value.op, _ARITHMETIC)
        if arithmetic or isinstance(value, ast.Compare | ast.JoinedStr | ast.UnaryOp):
            return set()
        if isinstance(value, ast.Call) and {_root(value), _called(value)} & self.fresh:
            return set()
        names = {value.id} - self.imports if isinstance(value, ast.Name) else set()
        return names.union(*map(self._sources, ast.iter_child_nodes(value)))


def _table(node):
    """The object that is written into: x for a table's indexer (`x.loc[a] = b`)."""
    return node.value if isinstance(node, ast.Attribute) and node.attr in ("loc", "iloc", "at", "iat") else node


def _assigned(node):
    """Pairs (name, value) for values that a node assigns to names or puts into their objects."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return [(node.name, node)]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):  # x.append(y)
        return [(name, ast.Tuple(node.args)) for name in names_in(node.func.value) if _called(node) in MUTATING_METHODS]
    value = getattr(node, "value", None) or getattr(node, "iter", None) or getattr(node, "context_expr", None)
    targets = [*getattr(node, "targets", ()), getattr(node, "target", None), getattr(node, "optional_vars", None)]
    pairs = []
    for target in filter(None, targets if value is not None else ()):
        parts, values = getattr(target, "elts", [target]), getattr(value, "elts", ())
        is_loop = hasattr(node, "iter")
        if is_loop or len(parts) != len(values) or len(parts) == 1:  # x, y = f() and for x in f(): each is a part of f()
            values = [ast.Starred(value) if is_loop or len(parts) > 1 else value] * len(parts)
        for part, item in zip(parts, values, strict=True):  # x[0] = y puts y into x
            pairs += [(name, item if isinstance(part, ast.Name) else ast.Tuple([item])) for name in names_in(part)]
    return pairs


def _of_import(line, needed):
    """An import reduced to the names that are needed; other statements unchanged."""
    if not isinstance(line, ast.ImportFrom) or _is_star(line):
        return line
    names = [alias for alias in line.names if (alias.asname or alias.name) in needed]
    return ast.ImportFrom(line.module, names, line.level)


def _is_star(line):
    """Whether a statement contains a star import, which binds unknown names."""
    return any(isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in ast.walk(line))


def _is_from(node, packages):
    """Whether an import is only from the given packages."""
    modules = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
    return all(f"{module}.".startswith(tuple(f"{package}." for package in packages)) for module in modules)


def _called(value):
    """Last part of the name of the called function; None if the value is no call or the function has no name."""
    function = getattr(value, "func", None)
    return getattr(function, "attr", None) or getattr(function, "id", None)


def _root(value):
    """The name at the start of a chain of attributes, items and calls; None if the chain does not start with a name."""
    while isinstance(value, ast.Attribute | ast.Subscript | ast.Starred | ast.Call):
        value = value.func if isinstance(value, ast.Call) else value.value
    return getattr(value, "id", None)


def _first_arguments(tree, methods):
    """The string first arguments of calls to the given methods."""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args)
    arguments = [call.args[0] for call in calls if getattr(call.func, "attr", None) in methods]
    return {argument.value for argument in arguments if isinstance(argument, ast.Constant) and isinstance(argument.value, str)}
