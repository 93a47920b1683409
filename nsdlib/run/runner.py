"""Run notebooks unattended; unknown parameters are refused before a kernel starts.

An executed copy is written as `runs/<run>/NAME.partial.ipynb` and renamed to `runs/<run>/NAME.ipynb` after its last cell. A
failed or killed run therefore leaves a readable notebook, and an earlier copy stays until a newer one is complete. NAME is the
notebook's name plus the parameters that differ from the run's file (`nsdlib.store.variants`). After a failure the partial copy
begins with a cell that explains it (`nsdlib.run.monitor.explain`). `runs/<run>/NAME.json` is the record of the run
(`nsdlib.run.monitor.record`).
"""

import json
import re
import signal
import threading
import warnings
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from nsdlib.core.files import atomic_write, held
from nsdlib.params import Run, find_root, load_run, nearest, parameter_files
from nsdlib.run import monitor, publish
from nsdlib.store import variants
from nsdlib.store.commands import command
from nsdlib.store.provenance import ARTIFACTS, notebooks_before
from nsdlib.store.sources import default_parameters, source_files
from nsdlib.twin.marker import check_subject


class AlreadyRunning(RuntimeError):
    """Another process is running the same notebook of the same run."""


class NotebookFailed(RuntimeError):
    """A notebook failed; the first cell of its partial copy explains why."""


def notebook_names(root):
    """Return the sorted names of the project's notebooks, such as "00_meet_the_data"; copies ("-Copy1") do not count."""
    names = (path.stem for path in (Path(root) / "notebooks").glob("*.ipynb"))
    return sorted(name for name in names if re.fullmatch(r"[0-9]{2}_\w+", name))


def notebooks_of(run):
    """Return the names of a run's notebooks: all, except the GLM's if the run has betas but no time series."""
    glm = None if run.betas_files is None else ARTIFACTS["glm"].notebook
    return [name for name in notebook_names(run.root) if name != glm]


def select(names, root):
    """Return the sorted full names of notebooks given by name or number; all of them for an empty list.

    Raises ValueError for an unknown name, suggesting the nearest one, and for a number that several notebooks have.
    """
    notebooks = notebook_names(root)
    selected = set()
    for name in names:
        stem = Path(name).stem
        matches = [notebook for notebook in notebooks if notebook == stem or notebook.split("_")[0] == stem.zfill(2)]
        if not matches:
            raise ValueError(f"There is no notebook {name!r}{nearest(stem, notebooks)} Notebooks: {', '.join(notebooks)}.")
        if len(matches) > 1:
            raise ValueError(f"Several notebooks have the number {name!r}: {', '.join(matches)}. Give the name of one.")
        selected.add(matches[0])
    return sorted(selected) or notebooks


def in_order(names, root):
    """Sort notebooks so that each comes after those that make its inputs, and otherwise by name."""
    waiting, ordered = sorted(names), []
    inputs = {name: set().union(*notebooks_before(root / "notebooks" / f"{name}.ipynb")) for name in waiting}
    while waiting:
        ordered.append(next(name for name in waiting if not inputs[name] & set(waiting)))
        waiting.remove(ordered[-1])
    return ordered


def check(run_name, names, parameters, *, root):
    """Raise ValueError for parameters that a notebook does not take, invalid values, and data of another subject."""
    load_run(run_name)
    for name in names:
        settable = [key for key in default_parameters(root / "notebooks" / f"{name}.ipynb") if key != "run"]
        for parameter in parameters:
            if parameter not in settable:
                raise ValueError(
                    f"Notebook {name} takes no parameter {parameter!r}{nearest(parameter, settable)} "
                    f"It takes: {', '.join(settable) or 'none'}."
                )
    if nulls := [key for key, value in parameters.items() if value is None and key in Run.model_fields]:
        raise ValueError(
            f"{nulls[0]}=null: for a notebook, null means 'as in the file'. Leave it out, or change params/{run_name}.yaml."
        )
    check_subject(variants.run_with(run_name, parameters))


def run_notebooks(run_name, names=(), *, parameters=None):
    """Run notebooks one after the other and return the paths of their executed copies.

    Parameters
    ----------
    run_name : str
        A parameter file, such as "demo" or "subj01"; the notebooks get it as `run`.
    names : sequence of str
        Notebooks by name or number; by default all (see `notebooks_of`).
    parameters : dict, optional
        Values for the notebooks' parameters cells.

    Raises
    ------
    ValueError
        For unknown names and invalid values, before anything is run.
    AlreadyRunning, NotebookFailed
        When another process runs the same notebook of the same run; when a notebook fails.
    """
    root, parameters = find_root(), parameters or {}
    names = in_order(select(names, root) if names else notebooks_of(load_run(run_name)), root)
    check(run_name, names, parameters, root=root)
    return [execute(run_name, name, parameters=parameters, root=root) for name in names]


def execute(run_name, name, *, parameters, root):
    """Run one notebook; return the path of its executed copy."""
    source, folder = root / "notebooks" / f"{name}.ipynb", root / "runs" / run_name
    folder.mkdir(parents=True, exist_ok=True)
    defaults, run = default_parameters(source), variants.run_with(run_name, parameters)
    injected = {key: value for key, value in {"run": run_name, **parameters}.items() if value != defaults[key]}
    others = {key: value for key, value in injected.items() if key not in {"run", *Run.model_fields}}
    changed = variants.differing(run) | others
    page = variants.name_of(name, changed)
    partial, final, record = (folder / f"{page}{ending}" for ending in (".partial.ipynb", ".ipynb", ".json"))
    conditions = {"device": run.device, "parameters": parameters, "before": monitor.read_record(record)}
    with _locked(folder / f".{page}.lock", f"Notebook {page} of run {run_name!r}"), _sigterm_as_interrupt():
        n_cells = _count_cells(source) + bool(injected)
        count_done = _counter(run_name, root)
        watch, note = monitor.Watch(), publish.note(run, source, changed)
        progress = monitor.Progress(f"{run_name} {page}", watch, n_cells=n_cells, tail=count_done)
        partial.unlink(missing_ok=True)
        try:
            with progress:
                _run_cells(source, partial, injected, root, watch, note)
                partial.replace(final)
        except (Exception, KeyboardInterrupt) as error:
            reason = monitor.cause(error, watch)
            resume = command(run_name, name, parameters)
            with suppress(OSError, ValueError):  # a full disk, or a page truncated by it; the error below is still raised
                atomic_write(record, json.dumps(monitor.record(watch, reason, **conditions), indent=1))
                atomic_write(partial, monitor.explain(partial, reason, watch, title=f"{run_name} {page}", command=resume))
            if isinstance(error, KeyboardInterrupt):
                raise
            raise NotebookFailed(
                f"{page} failed in its cell [{watch.cell}]: {reason}\n{partial} shows everything up to there; `{resume}` resumes."
            ) from error
        atomic_write(record, json.dumps(monitor.record(watch, **conditions), indent=1))
    return final


def _run_cells(source, partial, parameters, root, watch, note):
    """Run the cells with papermill and the polled engine; add the note to the page's metadata."""
    with warnings.catch_warnings():
        # jupyter_core announces a change of paths that concerns only its own configuration files.
        warnings.filterwarnings("ignore", message="Jupyter is migrating its paths", category=DeprecationWarning)
        import papermill

        from nsdlib.run import engine
    papermill.engines.papermill_engines.register("polled", engine.PolledEngine)
    page = papermill.execute_notebook(
        *(str(path).replace("{", "{{").replace("}", "}}") for path in (source, partial)),  # papermill formats paths
        parameters,
        engine_name="polled",
        kernel_name="python3",
        language="python",
        cwd=source.parent,
        progress_bar=False,
        watch=watch,
        note=note,
        environment=engine.kernel_environment(root),
    )
    if page.metadata.papermill.exception:  # papermill treats sys.exit() as success
        raise RuntimeError("a cell called sys.exit(), and the cells after it have not run")


@contextmanager
def _sigterm_as_interrupt():
    """Turn SIGTERM, which queues send at a time limit, into a KeyboardInterrupt, so that the page can report it."""

    def interrupt(number, _):
        raise KeyboardInterrupt(signal.Signals(number).name)

    if threading.current_thread() is not threading.main_thread():  # only the main thread receives signals
        yield
        return
    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def _locked(path, label):
    """Hold a lock file; raises AlreadyRunning if another process holds it."""
    with ExitStack() as stack:
        try:
            stack.enter_context(held(path))
        except BlockingIOError as holder:
            raise AlreadyRunning(f"{label} is already being run by {holder}: wait for it to end, or end it.") from None
        yield


def _count_cells(path):
    """Number of code cells that are not empty."""
    import nbformat

    return sum(cell.cell_type == "code" and bool(cell.source.strip()) for cell in nbformat.read(path, as_version=4).cells)


def _counter(run_name, root):
    """Return a function that says how many executed notebooks are newer than all their sources were at the start."""
    parameters, newest = parameter_files(run_name, root), {}
    for name in notebooks_of(load_run(run_name)):
        source = root / "notebooks" / f"{name}.ipynb"
        files = [source, *source_files(source), *parameters]
        newest[root / "runs" / run_name / source.name] = max(file.stat().st_mtime for file in files)

    def count_done():
        done = sum(page.is_file() and page.stat().st_mtime > time for page, time in newest.items())
        return f"{done} of {len(newest)} notebooks done"

    return count_done
