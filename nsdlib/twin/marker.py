"""The marker of a simulated subject's folder: `simulation.json`, written last, holds the settings that determine its files."""

import json

from nsdlib.data.nsd.subject import NSDSubject
from nsdlib.params import Simulation

MARKER = Simulation.marker
VERSION = 3  # increased whenever the same settings give other files
STIMULI, CAPTIONS = "stimuli", "captions.tsv"  # in simulated BIDS data: the folder of pictures, and the captions file in it


def planned_subject(run):
    """Return the NSD subject whose image plan a run's simulated subject follows: the run's own, or subject 1 if it has none."""
    return run.subject or 1


def folders(run):
    """Return the folders of a run's simulated subject as a list of Path, `run.data` last."""
    return [run.data] if run.bids is None else [run.bids.derivatives, run.data]


def settings_of(run):
    """Return the settings that the files of a run's simulated subject depend on.

    Raises ValueError if the run has no simulation, or one that does not fit the run's data layout.
    """
    if run.simulation is None:
        raise ValueError(
            f"Run {run.name!r} has no `simulation` in params/{run.name}.yaml: only a run with one can be simulated; real "
            "data come from NSD (README, section Real subjects)."
        )
    NSDSubject(run.data, planned_subject(run), run.n_sessions)  # refuses subjects and sessions that NSD does not have
    _check_layout(run)
    settings = {"subject": planned_subject(run), "n_sessions": run.n_sessions, "version": VERSION}
    if run.bids is not None:
        settings["bids"] = {name: getattr(run.bids, name) for name in ("label", "task", "space")}
    return json.loads(json.dumps(run.simulation.model_dump() | settings))


def is_complete(run, *selected):
    """Return whether the folders of a run, or the `selected` ones, hold its simulated subject.

    Raises FileExistsError if one holds anything else.
    """
    settings = settings_of(run)
    complete = [_is_complete(folder, settings) for folder in selected or folders(run)]
    return all(complete)


def _is_complete(folder, settings):
    """Return whether a folder holds the subject of these settings."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    advice = "Nothing was changed: choose another folder as `data`, or move this one away."
    if not (folder / MARKER).is_file():
        raise FileExistsError(f"{folder} holds files, but no finished simulated subject. {advice}")
    if changes := _changes(folder, settings):
        raise FileExistsError(f"{folder} holds another simulated subject ({changes}). {advice}")
    return True


def check_subject(run):
    """Raise ValueError if a run's data folder holds another simulated subject; another number of sessions is accepted."""
    if not (run.data / MARKER).is_file():
        return
    advice = f"Give params/{run.name}.yaml a folder of its own as `data`, or move this one away."
    if run.simulation is None:
        raise ValueError(f"{run.data} holds a simulated subject, and run {run.name!r} is of a real one. {advice}")
    if changes := _changes(run.data, settings_of(run), ignored={"n_sessions"}):
        raise ValueError(f"{run.data} holds the simulated subject of another run ({changes}). {advice}")


def _check_layout(run):
    """Raise ValueError if a simulation cannot be written in the run's data layout."""
    bids, fixed_paths = run.bids, {"images": run.data / STIMULI, "captions": run.data / STIMULI / CAPTIONS}
    if bids is None:
        for name in filter(run.simulation.differs, run.simulation.in_bids_only):
            raise ValueError(
                f"params/{run.name}.yaml: simulation.{name}={getattr(run.simulation, name)}: NSD's files cannot hold this. "
                "Remove the line, or add a section `bids`."
            )
        return
    for name, path in fixed_paths.items():
        if getattr(bids, name) not in (path, None):
            raise ValueError(
                f"params/{run.name}.yaml: bids.{name}={getattr(bids, name)}: wanted {path}, where the simulated data have them. "
                "Write that path, or remove the line."
            )
    if bids.derivatives.is_relative_to(run.data) or run.data.is_relative_to(bids.derivatives):
        raise ValueError(
            f"params/{run.name}.yaml: bids.derivatives={bids.derivatives}: wanted a folder that neither lies in {run.data} nor "
            "contains it. Choose another folder."
        )


def _changes(folder, settings, ignored=frozenset()):
    """Describe the settings in which a folder's subject differs."""
    try:
        stored = dict(json.loads((folder / MARKER).read_text()))
    except (ValueError, TypeError):
        return f"{MARKER} is damaged"
    keys = sorted(key for key in (stored.keys() | settings.keys()) - ignored if stored.get(key) != settings.get(key))
    if keys == ["version"]:
        return f"version={stored.get('version')} of the simulation, now {VERSION}: move it away to simulate it again"
    return ", ".join(f"{key}={stored.get(key)} there, {settings.get(key)} wanted" for key in keys)
