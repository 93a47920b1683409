"""The names that a statement reads, binds, and certainly rebinds (static analysis of a syntax tree)."""

import ast

FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
IMPORTS = ast.Import | ast.ImportFrom


def read_by(node):
    """Return the names that a node reads and that were bound before it."""
    if isinstance(node, ast.Name):
        return {node.id} if isinstance(node.ctx, ast.Load) else set()
    if isinstance(node, ast.AugAssign):
        return names_in(node)
    if isinstance(node, ast.For | ast.AsyncFor):
        return read_by(node.iter) | (_read_block(node.body) - names_in(node.target)) | _read_block(node.orelse)
    if isinstance(node, ast.With | ast.AsyncWith):
        read = _read_block(node.body)
        for item in reversed(node.items):
            read = (read - _stored(item)) | read_by(item.context_expr)
        return read
    if isinstance(node, COMPREHENSIONS):
        own = {name for part in node.generators for name in names_in(part.target)}
        return read_by(node.generators[0].iter) | (set().union(*map(read_by, ast.iter_child_nodes(node))) - own)
    read = set().union(*map(read_by, ast.iter_child_nodes(node)))
    return read - {part.arg for part in ast.walk(node.args) if isinstance(part, ast.arg)} if isinstance(node, FUNCTIONS) else read


def _read_block(statements):
    """Return the names that a block reads and that were bound before it."""
    read = set()
    for line in reversed(statements):
        read = (read - set_anew(line)) | read_by(line)
    return read


def read_late(line):
    """Return the names that a statement's functions and generators read, possibly long after it."""
    return set().union(*(read_by(node) for node in ast.walk(line) if isinstance(node, FUNCTIONS | ast.GeneratorExp)))


def set_anew(line):
    """Return the names that a statement always rebinds, whatever their values were before."""
    if isinstance(line, ast.If):
        branches = [set().union(*map(set_anew, branch)) for branch in (line.body, line.orelse)]
        return branches[0] & branches[1]
    if isinstance(line, IMPORTS):
        return {alias.asname or alias.name for alias in line.names}  # `import a.b` changes `a` but does not rebind it
    if isinstance(line, ast.FunctionDef | ast.ClassDef):
        return {line.name}
    targets = [part for target in getattr(line, "targets", ()) for part in getattr(target, "elts", [target])]
    return {part.id for part in targets if isinstance(part, ast.Name) and isinstance(line, ast.Assign)}


def bound_by(line):
    """Return the names that a statement binds or deletes: by assignment, import, definition, or `except ... as`."""
    bound = _stored(line)
    for node in ast.walk(line):
        if isinstance(node, IMPORTS):
            bound |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        elif isinstance(getattr(node, "name", None), str) and not isinstance(node, ast.alias):
            bound.add(node.name)
        elif isinstance(node, ast.Global):
            bound |= set(node.names)
    return bound


def _stored(node):
    """Return the names that a node assigns or deletes, except the variables of comprehensions."""
    if isinstance(node, ast.Name):
        return set() if isinstance(node.ctx, ast.Load) else {node.id}
    if isinstance(node, FUNCTIONS | ast.ClassDef):  # their assignments are local
        return set()
    parts = [node.ifs, [node.iter]] if isinstance(node, ast.comprehension) else [ast.iter_child_nodes(node)]
    return {name for group in parts for part in group for name in _stored(part)}


def names_in(node):
    """Return all names in a node."""
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
