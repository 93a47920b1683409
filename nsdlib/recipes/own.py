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
    earlier = set(sys.modules)
    try:
        imported = importlib.import_module(module)
    except ImportError as error:
        raise ValueError(f"{where}: decoder {decoder!r}: {error}; wanted a module in {root}, or one that is installed.") from None
    except Exception as error:  # of the user's code
        raise ValueError(f"{where}: decoder {decoder!r}: its import raised {_as_text(error)}.") from error
    finally:
        sys.path.remove(str(root))
    _refuse_edited(decoder, Path(root), earlier, where)
    if (factory := getattr(imported, name, None)) is None:
        raise ValueError(f"{where}: decoder {decoder!r}: {module} has no {name!r}{nearest(name, dir(imported))}")
    if not callable(factory):
        raise ValueError(
            f"{where}: decoder {decoder!r} is a {type(factory).__name__}, wanted a class or function that makes one."
        )
    return factory


def _refuse_edited(decoder, root, earlier, where):
    """Refuse a file in the project's folder that was edited after import; `earlier` are the modules imported before."""
    for file in own_files(decoder, root):
        *parents, last = file.relative_to(root).with_suffix("").parts
        is_earlier = ".".join(parents if last == "__init__" else [*parents, last]) in earlier
        may_be_edited = is_earlier and file not in _IMPORTED and file.stat().st_mtime > STARTED
        if may_be_edited or _IMPORTED.setdefault(file, file_hash(file)) != file_hash(file):
            raise ValueError(f"{where}: {file.name} was edited after this kernel had imported it: restart the kernel.")


def version(decoder, root):
    """Return the hashes of the files that define a decoder, in the project's folder or installed."""
    module = inspect.getmodule(find(decoder, root))
    installed = [Path(module.__file__)] if getattr(module, "__file__", None) else []
    return [file_hash(file) for file in own_files(decoder, root) or installed]


def fit(decoder, X, Y, *, settings, root):
    """Fit a decoder to copies of X (n_rows, n_voxels) and Y (n_rows, n_targets).

    Returns a function of patterns (n, n_voxels) -> (n, n_targets) float32, and the number of parameters from `count`. A
    ValueError is raised for a decoder without `fit` and `predict`, and for predictions of another shape or not finite in float32.
    """
    model = _call(decoder, "it", partial(find(decoder, root), **settings))
    if missing := [name for name in ("fit", "predict") if not callable(getattr(model, name, None))]:
        kind = type(model).__name__
        raise ValueError(f"{decoder} makes a {kind} without {' and '.join(missing)}, wanted fit(X, Y) and predict(X).")
    _call(decoder, "fit(X, Y)", model.fit, X.copy(), Y.copy())

    def predict(patterns):
        predicted, shape = _call(decoder, "predict(X)", model.predict, patterns.copy()), (len(patterns), Y.shape[1])
        predicted = np.asarray(predicted.detach().cpu().float() if hasattr(predicted, "detach") else predicted)
        if predicted.shape != shape:
            raise ValueError(
                f"{decoder}: predict(X) returned shape {predicted.shape}, wanted {shape}, a row for each pattern of X."
            )
        if predicted.dtype.kind in "biuf":
            with np.errstate(over="ignore"):
                predicted = predicted.astype(np.float32)
        return device.check_finite(f"what {decoder} predicts", predicted)

    return predict, count(model)


def _call(decoder, name, method, *arguments):
    """Call a user's decoder or its factory; any exception becomes a ValueError that names the decoder."""
    try:
        return method(*arguments)
    except Exception as error:
        raise ValueError(f"{decoder}: {name} raised {_as_text(error)}.") from error


def _as_text(error):
    """Type and message of an exception, without a full stop."""
    return f"{type(error).__name__}: {error}".rstrip(": .")


def count(model):
    """Count the trained parameters of a decoder that is, or holds, torch modules; NaN if it exposes none."""
    from torch import nn

    modules = [part for part in (model, *getattr(model, "__dict__", {}).values()) if isinstance(part, nn.Module)]
    counts = {id(values): values.numel() for part in modules for values in part.parameters()}
    return float(sum(counts.values())) if modules else np.nan
