"""Reader of pickled dictionaries of arrays, as `numpy.save` writes them, without unpickling: no code is imported or called.

It interprets only the few opcodes that numpy's arrays, numbers, texts, lists and dictionaries need, and refuses all others.
"""

import pickletools
import re
from types import SimpleNamespace

import numpy as np

from nsdlib.data.formats.guards import damaged, npy_header, reading

HEADER = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }"  # one object, no array
MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")  # of numpy 1 and 2
NAMES = ("_reconstruct", "ndarray", "dtype", "scalar")
NUMBERS = r"[biufO]\d"  # types of values; O is object
NEW = {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}
NEW |= {"NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False}
PLAIN = {"BININT", "BININT1", "BININT2", "BINFLOAT", "LONG1", "LONG4"}
PLAIN |= {f"{size}BIN{kind}" for kind in ("UNICODE", "BYTES") for size in ("SHORT_", "")} | {"BINUNICODE8", "BINBYTES8"}


def read_dictionary(path, *, keys=str):
    """Read a `.npy` file with one pickled dictionary, such as GLMsingle's results, written by numpy 1 or 2.

    Its keys are of type `keys`, its values ndarray, list, dict, str, int, float, bool or None; arrays are read-only views of the
    data read. Raises a `DamagedFile` for any other file, without running anything in it; a FileNotFoundError if there is none.
    """
    with reading(path), path.open("rb") as file:
        if npy_header(path, file).strip() != HEADER:
            raise damaged(path, "holds no pickled dictionary")
        try:
            content = _interpret(_Bounded(file, path.stat().st_size))
        except (IndexError, KeyError, TypeError, AttributeError) as error:
            raise damaged(path, f"is no pickle of numpy's arrays ({type(error).__name__}: {error})") from error
    if not isinstance(content, dict) or not all(isinstance(key, keys) for key in content):
        raise damaged(path, f"holds no pickled dictionary with keys of type {keys.__name__}")
    return content


class _Bounded:
    """A file that refuses to read beyond its end, so that no memory is allocated for bytes that it does not have."""

    def __init__(self, file, size):
        self.file, self.size, self.tell = file, size, file.tell

    def read(self, n_bytes):
        if not 0 <= n_bytes <= self.size - self.tell():
            raise ValueError(f"promises {n_bytes} bytes more than it has")
        return self.file.read(n_bytes)

    def readline(self):
        return self.file.readline(200)  # longest name


class _Array:
    """An array or dtype under construction; `value` is the result."""

    def __init__(self, code=None):
        self.code, self.value = code, None if code is None else np.dtype(code)

    def build(self, state):
        """Set the state that numpy pickled."""
        if self.code is not None:
            self.value = self.value.newbyteorder(state[1])
            return
        _, shape, kind, is_fortran, values = state
        if kind.code[0] == "O":
            self.value = values[0] if shape == () else values
        else:
            self.value = np.frombuffer(values, kind.value).reshape(shape, order="F" if is_fortran else "C")


def _interpret(file):
    """Interpret a pickle's opcodes and return the object that they build."""
    stack, marks, memo = [], [], {}

    def last(n_values=None):  # taken off the stack; by default, those after the last mark
        start = marks.pop() if n_values is None else len(stack) - n_values
        values = [_finished(value) for value in stack[start:]]
        del stack[start:]
        return values

    for instruction, argument, _ in pickletools.genops(file):
        match instruction.name:
            case "PROTO" | "FRAME":
                continue
            case "STOP":
                return _finished(stack.pop())
            case "MARK":
                marks.append(len(stack))
            case "BINPUT" | "LONG_BINPUT" | "MEMOIZE":
                memo[len(memo) if argument is None else argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case name if name in NEW:
                stack.append(NEW[name]())
            case "TUPLE":
                stack.append(tuple(last()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3" as name:
                stack.append(tuple(last(int(name[-1]))))
            case "APPEND" | "APPENDS" as name:
                values = last(1 if name == "APPEND" else None)
                list.extend(stack[-1], values)
            case "SETITEM" | "SETITEMS" as name:
                values = last(2 if name == "SETITEM" else None)
                dict.update(stack[-1], zip(values[::2], values[1::2], strict=True))
            case "GLOBAL" | "STACK_GLOBAL":
                stack.append(_placeholder(*(argument.split(" ") if argument else last(2))))
            case "REDUCE":
                function, arguments = last(2)
                stack.append(_construct(function.name, arguments))
            case "BUILD":
                [state] = last(1)
                stack[-1].build(state)
            case name if name in PLAIN:
                stack.append(argument)
            case name:
                raise ValueError(f"asks for {name}, which arrays do not need; nothing in it was run")
    raise ValueError("ends before its end")


def _finished(value):
    """Replace a finished array by its value; dtypes stay as they are, for the arrays that use them."""
    return value.value if isinstance(value, _Array) and value.code is None else value


def _placeholder(module, name):
    """Placeholder for a name that arrays need; no module is imported."""
    if module not in MODULES or name not in NAMES:
        raise ValueError(f"asks for '{module}.{name}', which no array needs; nothing in it was run")
    return SimpleNamespace(name=name)


def _construct(name, arguments):
    """Result of a call of one of the names."""
    if name == "_reconstruct":
        return _Array()
    if name == "dtype" and re.fullmatch(NUMBERS, arguments[0]):
        return _Array(arguments[0])
    if name == "scalar":
        kind, values = arguments
        [number] = np.frombuffer(values, kind.value)
        return number
    raise ValueError(f"calls {name} with {arguments!r:.80}; nothing in it was run")
