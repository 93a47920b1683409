"""Command lines for error messages: they make the missing result with the parameters that were requested."""

import json
import shlex

from nsdlib.store.provenance import all_fields, find_step
from nsdlib.store.sources import default_parameters
from nsdlib.store.variants import differing


def command(run_name, name, parameters):
    """Return the command line that runs a notebook with these parameters."""
    values = {key: value if isinstance(value, str) else json.dumps(value) for key, value in parameters.items()}
    options = [word for key, value in values.items() for word in ("-p", f"{key}={value}")]
    return shlex.join(["nsdlib", "run", run_name, name, *options])


def command_that_makes(run, name):
    """Say which command makes an artifact, a key of `ARTIFACTS`, with this run's parameters.

    For example "run `nsdlib run demo 05_two_stage_reconstruction -p strength=0.9`". Changed parameters that the notebook does not
    take must first be set in the parameter file; the text says so.
    """
    notebook, fields = find_step(name).notebook, all_fields(name)
    changed = {field: value for field, value in differing(run).items() if field in fields}
    settable = default_parameters(run.root / "notebooks" / f"{notebook}.ipynb")
    options = {field: value for field, value in changed.items() if field in settable}
    lines = (f"{field}: {json.dumps(value)}" for field, value in changed.items() if field not in settable)
    edits = "".join(f"set `{line}` in params/{run.name}.yaml, " for line in lines)
    return f"{edits}run `{command(run.name, notebook, options)}`"
