"""Which simulated subject lies in a folder: `simulation.json`, written last, holds the settings that its files follow from."""

import json

from nsdlib.data.nsd.subject import NSDSubject

MARKER = "simulation.json"
VERSION = 2  # increased whenever the same settings give other files


def settings_of(run):
    """Return the settings that the files of a run's simulated subject depend on; ValueError where it has none."""
    if run.simulation is None:
        raise ValueError(
            f"Run {run.name!r} has no `simulation` in params/{run.name}.yaml: only a run with one can be simulated; real "
            "data come from NSD (README, section Real subjects)."
        )
    NSDSubject(run.data, run.subject, run.n_sessions)  # refuses subjects and sessions that NSD does not have
    own = {"subject": run.subject, "n_sessions": run.n_sessions, "version": VERSION}
    return json.loads(json.dumps(run.simulation.model_dump() | own))


def is_complete(run):
    """Return whether `run.data` holds the simulated subject of a run; FileExistsError when it holds anything else."""
    folder, settings = run.data, settings_of(run)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    advice = "Nothing was changed: choose another folder as `data`, or move this one away."
    if not (folder / MARKER).is_file():
        raise FileExistsError(f"{folder} holds files, but no finished simulated subject. {advice}")
    if changes := _changes(folder, settings):
        raise FileExistsError(f"{folder} holds another simulated subject ({changes}). {advice}")
    return True


def check_subject(run):
    """Raise ValueError when the files that a run would read are another simulated subject's; more sessions of its own will do."""
    if not (run.data / MARKER).is_file():
        return
    advice = f"Give params/{run.name}.yaml a folder of its own as `data`, or move this one away."
    if run.simulation is None:
        raise ValueError(f"{run.data} holds a simulated subject, and run {run.name!r} is of a real one. {advice}")
    if changes := _changes(run.data, settings_of(run), but={"n_sessions"}):
        raise ValueError(f"{run.data} holds the simulated subject of another run ({changes}). {advice}")


def _changes(folder, settings, but=frozenset()):
    """In which settings a folder's subject differs, in words."""
    try:
        there = dict(json.loads((folder / MARKER).read_text()))
    except (ValueError, TypeError):
        return f"{MARKER} is damaged"
    keys = sorted(key for key in (there.keys() | settings.keys()) - but if there.get(key) != settings.get(key))
    return ", ".join(f"{key}={there.get(key)} there, {settings.get(key)} wanted" for key in keys)
