"""Which statements affect a result: those that may change it are kept in any notation, those that only show it are dropped."""

import ast

import pytest

from nsdlib.store import slices

START = """import copy
import numpy as np
import pandas as pd
from nsdlib.plots.brain import plot_map
from nsdlib.params import load_run
from nsdlib.core.ridge import Ridge
run = load_run(None)
x = np.zeros(3)
y = np.ones(3)
parts = []
rng = np.random.default_rng(0)
"""


def is_kept(line, *, before="", after="", saved="x"):
    """Whether a statement between others is among those from which the value that is saved follows."""
    program = ast.parse(f"{START}{before}\n{line}\n{after}\nstore.save('result', {saved})")
    wanted = ast.unparse(ast.parse(line))
    return wanted in [ast.unparse(kept) for kept in slices.follow(program.body, program.body[-1:])]


@pytest.mark.parametrize(
    "line",
    [
        "x += f()",
        "x[0] = 1",
        "x.flags.writeable = False",
        "del x[0]",
        "(x := f())",
        "print(x := f())",
        "with store.load('betas') as x:\n    pass",
        "with store.load('betas') as betas:\n    x = betas.mean()",
        "try:\n    x = f()\nexcept ValueError as error:\n    x = None",
        "for x in y:\n    pass",
        "for i in range(3):\n    x.append(i)",
        "for i in range(3):\n    fill(x)",
        "while f():\n    x = x + 1",
        "if f():\n    x = 2",
        "match y:\n    case [x, *_]:\n        pass",
        "def x():\n    return 1",
        "class x:\n    pass",
        "import nsdlib.core.ridge as x",
        "from nsdlib.core import x",
        "from nsdlib.core import *",
        "x.append(1)",
        "x.sort()",
        "x.values.fill(0)",
        "x.ravel().fill(0)",
        "last = x.pop()",
        "_ = [x.append(i) for i in y]",
        "print(x.pop())",
        "assert x.pop() == 1",
        "fill(x)",
        "rng.shuffle(x)",
        "_ = rng.shuffle(x)",
        "np.copyto(x, y)",
        "_ = np.copyto(x, y)",
        "z = np.add(y, y, out=x)",
        "table = x.drop(1, inplace=True)",
        "x.zero_()",
        "z = x.mul_(2)",
        "setattr(x, 'a', 1)",
        "z = x = f()",
        "a, (b, x) = f()",
        "x: int = 2",
        "globals()['x'] = 1",
        "exec('x = 1')",
    ],
)
def test_whatever_may_change_a_value_counts(line):
    assert is_kept(line)


@pytest.mark.parametrize(
    "line",
    [
        "print(x, x.mean())",
        "display(x)",
        "x",
        "x.describe()",
        "as_text(x.mean())",
        "x.to_frame()",
        "pd.DataFrame(x).T.round(3)",
        "figure = plot_map(x)",
        "plot_map(x)",
        "table = [x for x in y]",
        "z = x + 1",
        "y.append(1)",
        "z = len(x)",
        "assert x.any()",
        "from nsdlib.core import networks",
        "def z():\n    x = 1\n    return x",
    ],
)
def test_what_only_shows_a_value_does_not_count(line):
    assert not is_kept(line)


def test_figures_and_tables_made_from_a_value_are_not_the_value():
    assert not is_kept("ax.set(title='A title')", before="ax = plot_map(x)")
    assert not is_kept("rows['a'] = x.mean()", before="rows = {}")
    assert not is_kept("rows.append(x)", before="rows = []")
    assert is_kept("rows.append(x)", before="rows = []", saved="rows")


def test_a_value_that_is_set_anew_owes_nothing_to_what_was_before():
    assert not is_kept("x = f()", after="x = 3")
    assert not is_kept("x = f()", after="if y:\n    x = 3\nelse:\n    x = 4")
    assert is_kept("x = f()", after="if y:\n    x = 3")
    assert is_kept("x = f()", after="for x in y:\n    pass")
    assert is_kept("x = f()", after="x = x + 1")
    assert is_kept("x = f()", after="x += 1")
    assert is_kept("x = f()", after="x[0] = 1")


def test_names_of_loops_and_comprehensions_are_their_own():
    assert not is_kept("for name in y:\n    print(name)", after="for name in y:\n    parts.append(name)", saved="parts")
    assert not is_kept("name = f()", after="z = [name for name in y]", saved="z")
    assert is_kept("name = f()", after="z = [name for name in name]", saved="z")
    assert is_kept("name = f()", after="for name in name:\n    parts.append(name)", saved="parts")
    assert is_kept("name = f()", after="with open(name) as name:\n    z = name", saved="z")


@pytest.mark.parametrize(
    ("before", "line"),
    [
        ("z = x", "z[0] = 1"),
        ("z = x", "z += 1"),
        ("z = x.T", "z.fill(0)"),
        ("z = x[1:]", "z[0] = 1"),
        ("z = np.asarray(x)", "z[0] = 1"),
        ("z = [x, y]", "z[0].fill(0)"),
        ("z = {'a': x}", "for one in z.values():\n    one.fill(0)"),
        ("for one in zip(x, y):\n    kept = one[0]", "kept.append(1)"),
        ("parts.append(x)", "parts[0].fill(0)"),
        ("parts[0:0] = [x]", "parts[0].fill(0)"),
        ("z, other = x, y", "z.fill(0)"),
        ("with held(x) as z:\n    pass", "z.fill(0)"),
        ("z = x if run else y", "z[0] = 1"),
        ("def change():\n    x.fill(0)", "change()"),
        ("def change():\n    global x\n    x = 1", "change()"),
        ("change = lambda: x.append(1)", "change()"),
        ("def change(z):\n    z[:] = 1", "result = change(x)"),
    ],
)
def test_a_change_through_another_name_counts(before, line):
    assert is_kept(line, before=before)
    assert is_kept(before, after=line)


def test_a_change_of_what_a_value_was_made_from_counts_as_long_as_both_may_be_one():
    assert is_kept("x[0] = 1", before="z = x.reshape(3)", saved="z")
    assert is_kept("x.fill(0)", before="z = [x]", saved="z")
    assert not is_kept("x.fill(0)", before="z = x - y", saved="z")
    assert not is_kept("x.fill(0)", before="z = copy.deepcopy(x)", saved="z")


@pytest.mark.parametrize(
    "before",
    [
        "pair = [x, y]\nz, other = pair",
        "z, other = np.split(x, 2)",
        "for z, other in [(x, y)]:\n    pass",
        "for z in [x, y]:\n    pass",
        "for z, other in [(x, y), (y, x)]:\n    pass",
        "z, other = (one for one in (x, y))",
    ],
)
def test_parts_that_are_unpacked_are_parts_of_the_value(before):
    for line in ("z[0] = 1", "z.fill(0)", "z += 1"):
        assert is_kept(line, before=before)
    assert not is_kept("print(z)", before=before)


def test_aliases_of_aliases_count():
    assert is_kept("z[0] = 1", before="y = x\nz = y")
    assert is_kept("z = y", before="y = x", after="z[0] = 1")


def test_generators_and_iterators_are_changed_by_every_use():
    assert is_kept("order = rng.permutation(9)", saved="rng.normal(size=3)")
    assert is_kept("order = shuffled(y, rng)", saved="rng.normal(size=3)")
    assert is_kept("order = other.permutation(9)", before="other = rng", saved="rng.normal(size=3)")
    assert is_kept("first = list(lines)", before="lines = open('a')", saved="lines.read()")
    assert is_kept("first = next(lines)", before="lines = (i for i in y)", saved="list(lines)")
    assert is_kept("np.random.seed(1)", saved="np.random.normal()")
    assert not is_kept("order = rng.permutation(9)", saved="x")


def test_a_function_reads_its_names_when_it_is_called():
    for made in ("def f():\n    return x", "f = lambda: x", "@keep\ndef f(y=x):\n    return x"):
        assert is_kept("x = 5", before=made, after="z = f()", saved="z")
    assert is_kept("keep = store.memoise", after="@keep\ndef f():\n    return 1", saved="f()")
    assert is_kept("x = 5", before="z = (x for i in y)", saved="list(z)")


def test_imports_are_kept_for_the_names_that_are_needed():
    program = ast.parse("from nsdlib.core import networks, ridge\nx = ridge.fit()\nstore.save('result', x)")
    kept = slices.follow(program.body, program.body[-1:])
    assert ast.unparse(kept[0]) == "from nsdlib.core import ridge"


def test_two_imports_of_one_package_are_both_kept():
    program = ast.parse("import nsdlib.core.ridge\nimport nsdlib.core.noise\nstore.save('result', nsdlib.core.ridge.fit())")
    assert slices.follow(program.body, program.body[-1:]) == program.body
