"""The section `demo` of a recipe's file: changes for the small models of the demo zoo."""


def adapted(fields, demo) -> dict:
    """Merge the section into a recipe's fields; every value that it changes is listed at the end of the deviations."""
    first = demo.pop("deviations", [])
    changes = ", ".join(_changes(fields, demo))
    last = [f"In the demo zoo: {changes}"] if changes else []
    return _merged(fields, demo) | {"deviations": [*first, *fields.get("deviations", ()), *last]}


def _merged(fields, changes):
    """Merge changes into fields, section by section."""
    sections = {key: value for key, value in changes.items() if isinstance(value, dict) and fields.get(key)}
    return fields | changes | {key: _merged(fields[key], value) for key, value in sections.items()}


def _changes(fields, changes, prefix=""):
    """Describe the change of each value, such as "generator.n_steps 17 (published 50)"."""
    for key, value in changes.items():
        old = fields.get(key)
        if isinstance(value, dict) and key != "settings":
            yield from _changes(old or {}, value, f"{prefix}{key}.")
        elif old != value:
            yield f"{prefix}{key} {_as_text(value)}" + (f" (published {_as_text(old)})" if old is not None else "")


def _as_text(value):
    """Format a value for a sentence."""
    if isinstance(value, dict):
        return " ".join(f"{key}={_as_text(item)}" for key, item in value.items())
    return "as the run has it" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
