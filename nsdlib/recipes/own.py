"""User-defined decoders, `package.module:Name`: import, inputs, and checks of their predictions."""

import importlib
import inspect
import sys
from functools import partial
from pathlib import Path

import numpy as np

from nsdlib.core import device
from nsdlib.params import nearest
from nsdlib.store.sources import STARTED, file_hash, own_files

_IMPORTED = {}  # files in the project's folder to their hashes at import


def find(decoder, root, *, where=""):
    """Return the class or factory of a user's decoder, from the project's folder or an installed package.

    A ValueError, which begins with `where`, is raised if there is none, or if a file of it was edited after import: results of
    the old code would be cached as those of the new code.
    """
    module, _, name = decoder.partition(":")
    sys.path.insert(0, str(root))
    before = set(sys.modules)
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise ValueError(f"{where}: decoder {decoder!r}: {error}; wanted a module in {root}, or one that is installed.") from None
    except Exception as error:  # of the user's code
        raise ValueError(f"{where}: decoder {decoder!r}: its import raised {_said(error)}.") from error
    finally:
        sys.path.remove(str(root))
    _refuse_edited(decoder, Path(root), before, where)
    if (made := getattr(found, name, None)) is None:
        raise ValueError(f"{where}: decoder {decoder!r}: {module} has no {name!r}{nearest(name, dir(found))}")
    if not callable(made):
        raise ValueError(f"{where}: decoder {decoder!r} is a {type(made).__name__}, wanted a class or function that makes one.")
    return made


def _refuse_edited(decoder, root, before, where):
    """Refuse a file in the project's folder that was edited after import; `before` are modules imported earlier."""
    for file in own_files(decoder, root):
        *above, last = file.relative_to(root).with_suffix("").parts
        is_old = ".".join(above if last == "__init__" else [*above, last]) in before
        is_unseen = is_old and file not in _IMPORTED and file.stat().st_mtime > STARTED
        if is_unseen or _IMPORTED.setdefault(file, file_hash(file)) != file_hash(file):
            raise ValueError(f"{where}: {file.name} was edited after this kernel had imported it: restart the kernel.")


def version(decoder, root):
    """Return the hashes of the files that define a decoder, in the project's folder or installed."""
    made = inspect.getmodule(find(decoder, root))
    installed = [Path(made.__file__)] if getattr(made, "__file__", None) else []
    return [file_hash(file) for file in own_files(decoder, root) or installed]


def fit(decoder, X, Y, *, settings, root):
    """Fit a decoder to copies of X (n_rows, n_voxels) and Y (n_rows, n_targets).

    Returns a function of patterns (n, n_voxels) -> (n, n_targets) float32, and the number of parameters from `count`. A
    ValueError is raised for a decoder without `fit` and `predict`, and for predictions of another shape or not finite in float32.
    """
    made = _call(decoder, "it", partial(find(decoder, root), **settings))
    if missing := [name for name in ("fit", "predict") if not callable(getattr(made, name, None))]:
        kind = type(made).__name__
        raise ValueError(f"{decoder} makes a {kind} without {' and '.join(missing)}, wanted fit(X, Y) and predict(X).")
    _call(decoder, "fit(X, Y)", made.fit, X.copy(), Y.copy())

    def predict(patterns):
        predicted, shape = _call(decoder, "predict(X)", made.predict, patterns.copy()), (len(patterns), Y.shape[1])
        predicted = np.asarray(predicted.detach().cpu().float() if hasattr(predicted, "detach") else predicted)
        if predicted.shape != shape:
            raise ValueError(
                f"{decoder}: predict(X) returned shape {predicted.shape}, wanted {shape}, a row for each pattern of X."
            )
        if predicted.dtype.kind in "biuf":
            with np.errstate(over="ignore"):
                predicted = predicted.astype(np.float32)
        return device.check_finite(f"what {decoder} predicts", predicted)

    return predict, count(made)


def _call(decoder, name, method, *arguments):
    """Call a user's decoder or its factory; any exception becomes a ValueError that names the decoder."""
    try:
        return method(*arguments)
    except Exception as error:
        raise ValueError(f"{decoder}: {name} raised {_said(error)}.") from error


def _said(error):
    """Type and message of an exception, without a full stop."""
    return f"{type(error).__name__}: {error}".rstrip(": .")


def count(made):
    """Count the trained parameters of a decoder that is, or holds, torch modules; NaN if it exposes none."""
    from torch import nn

    modules = [part for part in (made, *getattr(made, "__dict__", {}).values()) if isinstance(part, nn.Module)]
    counts = {id(values): values.numel() for part in modules for values in part.parameters()}
    return float(sum(counts.values())) if modules else np.nan
