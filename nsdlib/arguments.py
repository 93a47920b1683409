"""Registration of commands, and their arguments."""

import argparse
from pathlib import Path
from typing import get_args

from nsdlib.params import Run
from nsdlib.strict import parse_yaml

ALLOWED = {name: get_args(Run.model_fields[name].annotation) for name in ("protocol", "zoo", "device")}
COMMANDS = {}  # name -> (function, one line, arguments)


def command(about, *arguments):
    """Return a decorator that registers a function as a command, under its name without the underscore."""

    def register(function):
        COMMANDS[function.__name__.removeprefix("_")] = (function, about, arguments)
        return function

    return register


def argument(*names, **settings):
    """Return an argument of a command, as argparse's `add_argument` takes it."""
    return names, settings


def run_argument(**settings):
    """Return the argument that names the run of a command."""
    return argument("run", metavar="RUN", help="a file params/RUN.yaml, such as demo", **settings)


def settings_argument(about):
    """Return the argument `-p NAME=VALUE`, which may be repeated; `assignments` parses it."""
    return argument("-p", metavar="NAME=VALUE", action="append", default=[], help=about)


def writable(ending):
    """Return a type of argument: a file to be written, with that ending, in an existing folder."""

    def check(text):
        path = Path(text).expanduser()
        if path.suffix != ending or not path.absolute().parent.is_dir():
            raise argparse.ArgumentTypeError(f"wanted a file name that ends in {ending}, in an existing folder, got {text!r}")
        return path

    return check


def assignments(texts, **settings):
    """Return `settings` plus each `-p name=value`, parsed as YAML; raises ValueError when one of them is set already."""
    parsed = {}
    for text in texts:
        name, _, value = (part.strip() for part in text.partition("="))
        if not name or "=" not in text:
            raise ValueError(f"-p: wanted NAME=VALUE, such as -p decoder=cnn, got {text!r}.")
        if settings.get(name) is not None:
            raise ValueError(f"-p {name}: the command sets it already, to {settings[name]}: leave one of the two out.")
        try:
            parsed[name] = parse_yaml(value)
        except ValueError as error:
            raise ValueError(f"-p {name}: {value!r} {error}") from None
    return settings | parsed
