"""Pickled dictionaries of arrays, as `numpy.save` writes them, read without trust: nothing in a file is imported or called.

Python's own reader of pickles follows the few instructions that arrays, numbers, texts, lists and dictionaries need, and refuses
the others; the four names of numpy that such files hold stand for what is here.
"""

import pickle
import pickletools
import re

import numpy as np

from nsdlib.data.formats.guards import damaged, npy_header, reading

HEADER = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }"  # one object, no array
MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")  # of numpy 1 and 2
NUMBERS = r"[biufO]\d"  # types of values, O being any
NEEDED = """
    PROTO FRAME STOP MARK BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET NONE NEWTRUE NEWFALSE EMPTY_TUPLE EMPTY_LIST EMPTY_DICT
    SHORT_BINUNICODE BINUNICODE BINUNICODE8 SHORT_BINBYTES BINBYTES BINBYTES8 BININT BININT1 BININT2 BINFLOAT LONG1 LONG4
    TUPLE TUPLE1 TUPLE2 TUPLE3 APPEND APPENDS SETITEM SETITEMS GLOBAL STACK_GLOBAL
"""
FOLLOWED = {ord(op.code): pickle._Unpickler.dispatch[ord(op.code)] for op in pickletools.opcodes if op.name in NEEDED.split()}


def read_dictionary(path, *, keys=str):
    """Read a `.npy` file that holds one pickled dictionary with `keys` of a type, as GLMsingle's results are, of either numpy.

    Its values are ndarray, list, dict, str, int, float, bool or None. Arrays cannot be written to: they share the memory of what
    was read. A `DamagedFile` for every other file, in which nothing was run; a FileNotFoundError where there is none.
    """
    with reading(path), path.open("rb") as file:
        if npy_header(path, file).strip() != HEADER:
            raise damaged(path, "holds no pickled dictionary")
        found = _Reader(_Bounded(file, path.stat().st_size)).load()
        found = found.value if isinstance(found, _Array) else found
        if not isinstance(found, dict) or not all(isinstance(key, keys) for key in found):
            raise damaged(path, f"holds no pickled dictionary with keys of type {keys.__name__}")
        return _known(found)


class _Bounded:
    """A file that gives no more than it has, so that no memory is taken for what it only promises."""

    def __init__(self, file, size):
        self.file, self.size = file, size

    def read(self, n_bytes):
        if not 0 <= n_bytes <= self.size - self.file.tell():
            raise ValueError(f"promises {n_bytes} bytes more than it has")
        return self.file.read(n_bytes)

    def readline(self):
        return self.file.readline(200)  # of a name


class _Kind:
    """A type of values, whose order of bytes comes later."""

    def __init__(self, code):
        self.code, self.value = code, np.dtype(code)

    def build(self, state):
        self.value = self.value.newbyteorder(state[1])


class _Array:
    """An array, whose `value` comes later."""

    value = None

    def build(self, state):
        _, shape, kind, is_fortran, values = state
        if kind.code[0] == "O":
            self.value = values[0] if shape == () else values
        else:
            self.value = np.frombuffer(values, kind.value).reshape(shape, order="F" if is_fortran else "C")


class _Instructions(dict):
    """What follows each instruction, by its byte."""

    def __missing__(self, byte):
        raise ValueError(f"asks for {pickletools.code2op[chr(byte)].name}, which arrays do not need; nothing in it was run")


class _Reader(pickle._Unpickler):
    """Python's reader of pickles, which knows `NEEDED` instructions alone, and makes nothing but what is here."""

    def find_class(self, module, name):
        if module not in MODULES or name not in ("_reconstruct", "ndarray", "dtype", "scalar"):
            raise ValueError(f"asks for '{module}.{name}', which no array needs; nothing in it was run")
        return name

    def load_reduce(self):
        arguments, name = self.stack.pop(), self.stack.pop()
        if name == "_reconstruct":
            self.append(_Array())
        elif name == "dtype" and re.fullmatch(NUMBERS, arguments[0]):
            self.append(_Kind(arguments[0]))
        elif name == "scalar":
            [number] = np.frombuffer(arguments[1], arguments[0].value)
            self.append(number)
        else:
            raise ValueError(f"calls {name} with {arguments!r:.80}; nothing in it was run")

    def load_build(self):
        state = self.stack.pop()
        self.stack[-1].build(state)

    dispatch = _Instructions(FOLLOWED | {pickle.REDUCE[0]: load_reduce, pickle.BUILD[0]: load_build})


def _known(value):
    """What finished arrays in a value stand for."""
    if isinstance(value, _Array):
        return _known(value.value)
    if isinstance(value, dict):
        return {key: _known(inside) for key, inside in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_known(inside) for inside in value)
    return value
