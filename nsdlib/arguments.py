"""Commands and their arguments: how a function becomes one, and what an argument may be."""

import argparse
from pathlib import Path
from typing import get_args

from nsdlib.params import Run
from nsdlib.strict import parse_yaml

SUBJECTS = [f"subj{number:02d}" for number in range(1, 9)]
ALLOWED = {name: get_args(Run.model_fields[name].annotation) for name in ("protocol", "zoo", "device")}
COMMANDS = {}  # name -> (function, one line, arguments)


def command(about, *arguments):
    """Return a decorator that makes a function a command, named as it is without its underscore."""

    def register(function):
        COMMANDS[function.__name__.removeprefix("_")] = (function, about, arguments)
        return function

    return register


def argument(*names, **settings):
    """Return an argument of a command, as argparse's `add_argument` takes it."""
    return names, settings


def run_argument(**settings):
    """Return the argument that says which run a command is about."""
    return argument("run", metavar="RUN", help="a file params/RUN.yaml, such as demo", **settings)


def writable(ending):
    """Return a type of argument: a file to be written, with that ending, in a folder that is there."""

    def check(text):
        path = Path(text).expanduser()
        if path.suffix != ending or not path.absolute().parent.is_dir():
            raise argparse.ArgumentTypeError(f"wanted a name that ends in {ending}, in a folder that is there, got {text!r}")
        return path

    return check


def settings_argument(about):
    """Return the argument `-p NAME=VALUE`, which may come several times; `assignments` reads them."""
    return argument("-p", metavar="NAME=VALUE", action="append", default=[], help=about)


def assignments(texts, **given):
    """Join what other arguments have given and each `-p name=value`, read as YAML, which may not say it again: a dict."""
    found = given
    for text in texts:
        name, sign, value = (part.strip() for part in text.partition("="))
        if not sign or not name:
            raise ValueError(f"-p takes NAME=VALUE, such as -p decoder=cnn; it got {text!r}.")
        if given.get(name) is not None:
            raise ValueError(f"-p {name}: the command has it already, {given[name]}: say it once.")
        try:
            found = found | {name: parse_yaml(value)}
        except ValueError as error:
            raise ValueError(f"-p {name}: {value!r} {error}") from None
    return found
