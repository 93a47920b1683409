"""Convert a subject of a public data set: one function for all layouts."""

import inspect
import re
from pathlib import Path

from nsdlib.data.converted.bold5000 import open_bold5000
from nsdlib.data.converted.cneuromod import open_cneuromod
from nsdlib.data.converted.god import open_god
from nsdlib.data.converted.nsd import open_imagery, open_synthetic
from nsdlib.data.converted.source import write
from nsdlib.data.converted.things import open_things
from nsdlib.params import nearest

LAYOUTS = {  # name: (description, function)
    "nsdsynthetic": ("NSD's core, tested with nsdsynthetic", open_synthetic),
    "nsdimagery": ("NSD's core, tested with nsdimagery", open_imagery),
    "things": ("THINGS-fMRI's table of betas", open_things),
    "bold5000": ("BOLD5000, release 2.0", open_bold5000),
    "god": ("generic object decoding, SubjectN.h5", open_god),
    "cneuromod": ("CNeuroMod-THINGS's HDF5", open_cneuromod),
}


def convert(layout, root, folder, *, label, run, images=None, **settings):
    """Convert a subject's betas from one of `LAYOUTS`, in the folder `root`, to a form in `folder` that a run can open.

    `label` is the subject, `run` the name of the parameter file, `images` the folder of the pictures, if they do not come with
    the data; `settings` are passed to the layout's function. Returns the Path of the parameter file and notes, a list of str.
    Raises a FileNotFoundError for missing files; a ValueError, with what was wanted and found, for files that do not match each
    other or hold something else, and for an unknown subject or setting; and the errors of `source.write`.
    """
    description, opener = LAYOUTS[layout]
    if not re.fullmatch("[A-Za-z0-9]+", label):
        raise ValueError(f"subject {label!r}: wanted letters and digits, as the files have them, such as 01.")
    known = inspect.getfullargspec(opener).kwonlyargs
    if unknown := sorted(set(settings) - set(known)):
        hint = nearest(unknown[0], known)
        raise ValueError(f"{layout} takes no {unknown[0]!r}{hint} It takes: {', '.join(known) or 'nothing'}.")
    root, folder = (Path(path).expanduser().resolve() for path in (root, folder))
    images = images and Path(images).expanduser().resolve()
    source = opener(root, label, **settings)
    digits = label.removeprefix("subj")
    return write(source, folder, run=run, label=digits, about=f"{description}, subject {digits}", images=images), source.notes
