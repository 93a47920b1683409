"""Strict parsing of YAML, folders and fields: anything that a program could misread is refused."""

import re
from copy import deepcopy
from functools import lru_cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, field_validator


class _Loader(yaml.SafeLoader):
    """Unambiguous YAML: no aliases, no duplicate keys, and only decimal numbers."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):  # nested aliases can expand to billions of nodes
            _refuse("aliases (*name) are not allowed; write the value itself", self.peek_event())
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        keys = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in keys:
                _refuse(f"{key.value!r} is given twice; keep one of the lines", key)
            keys.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_number(self, node):
        if re.match(r"[-+]?0[0-9_]|.*:", node.value):
            _refuse(f"{node.value} can be read as octal or base 60: write a decimal number, or quote a text", node)
        return getattr(self, f"construct_yaml_{node.tag.rpartition(':')[2]}")(node)


def _refuse(problem, node):
    """Raise an error that gives the place of a node or event."""
    raise yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark)


for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.construct_number)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?0[0-9_]+$"), list("-+0"))  # PyYAML would read 08 as text


def parse_yaml(text):
    """Parse a YAML text (str or bytes) and return its content.

    Raises ValueError for invalid or ambiguous YAML: aliases, duplicate keys, octal and base-60 numbers.
    """
    try:
        return deepcopy(_parsed(text))
    except Exception as error:  # the parser can also raise KeyError, RecursionError, ...
        raise ValueError(f"is not valid YAML: {str(error).strip() or type(error).__name__}") from None


@lru_cache
def _parsed(text):
    """The content of a text, cached; callers must not modify it."""
    return _Loader(text).get_single_data()


def local_folder(path):
    """Return `path` with `~` expanded; raises ValueError for $VARIABLE, s3://... and the like, which are not expanded."""
    if "\0" in str(path):
        raise ValueError("a path must not contain a NUL byte")
    if part := re.search(r"\$[A-Za-z_{(]|^[A-Za-z][A-Za-z0-9+.-]+:/", str(path)):
        raise ValueError(
            f"wanted a folder of this machine, written out (~ is your home): {part[0]!r} is not looked up, so mount or copy "
            "what lies elsewhere"
        )
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ValueError("wanted a folder, but it begins with the home of a user who does not exist") from None


class Strict(BaseModel):
    """A model with known, finite fields; only bool fields may be true or false (YAML also reads yes, no, on, off as such)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_bools(cls, value, info):
        items = value if isinstance(value, list | tuple) else [value]
        if cls.model_fields[info.field_name].annotation is not bool and any(isinstance(item, bool) for item in items):
            raise ValueError("Input should not be true or false (nor yes, no, on or off, unless quoted)")
        return value
