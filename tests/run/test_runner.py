"""The runner: errors before a kernel starts, a readable copy of a failed notebook, one run at a time, no hanging cells."""

import asyncio
import fcntl
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from queue import Empty
from types import SimpleNamespace

import nbformat
import pytest
from conftest import ROOT, add
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from nsdlib.cli import main
from nsdlib.core import files
from nsdlib.params import load_run
from nsdlib.run import engine, monitor
from nsdlib.run.monitor import Progress, Watch, clock
from nsdlib.run.runner import AlreadyRunning, NotebookFailed, check, in_order, notebook_names, run_notebooks, select
from nsdlib.store.sources import default_parameters


def texts(path):
    """Everything that a notebook's cells have printed."""
    cells = nbformat.read(path, as_version=4).cells
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))


def test_a_run_is_executed_with_its_parameters_by_this_interpreter(bare_project, capsys):
    add(bare_project, "00_first", "import sys, os\nprint(run, decoder, sys.executable, os.getcwd())")
    (page,) = run_notebooks("small", ["0"], parameters={"decoder": "cnn"})
    assert page == bare_project / "runs" / "small" / "00_first__decoder-cnn.ipynb"
    assert texts(page).split() == ["small", "cnn", sys.executable, str(bare_project / "notebooks")]
    assert not page.with_suffix(".partial.ipynb").exists()
    assert "small 00_first__decoder-cnn: starting (0 of 1 notebooks done)" in capsys.readouterr().out


def test_a_variant_leaves_the_page_of_the_run_alone_and_says_what_it_is(bare_project, capsys):
    add(bare_project, "00_first", "print(decoder)")
    (page,) = run_notebooks("small")
    assert "(1 of 1 notebooks done)" in capsys.readouterr().out
    before = page.read_bytes()
    (variant,) = run_notebooks("small", parameters={"decoder": "cnn"})
    assert page.read_bytes() == before and texts(variant) == "cnn\n"
    titles = [nbformat.read(file, as_version=4).cells[0].source for file in (page, variant)]
    assert titles == ["# Title", "# Title (decoder=cnn)"]
    assert run_notebooks("small", parameters={"decoder": load_run("small").decoder}) == [page]  # no variant


def test_what_a_first_cell_sets_and_the_notebook_does_not_know_is_refused_in_the_kernel_too(bare_project):
    """As in the lab, where nobody looks at the cell beforehand."""
    add(bare_project, "00_first", "from nsdlib.params import load_run\nrun = load_run(run, decoder=decoder)\nload_run('small')")
    path = bare_project / "notebooks" / "00_first.ipynb"
    for line, refused in (("strength = None", False), ("strength = 0.9", True), ("decodr = 'gru'", True)):
        notebook = nbformat.read(path, as_version=4)
        notebook.cells[1].source = f'run = "demo"\ndecoder = None\n{line}'
        nbformat.write(notebook, path)
        if not refused:
            assert run_notebooks("demo")[0].is_file()
            continue
        with pytest.raises(NotebookFailed, match=r"takes no parameter '(strength'\.|decodr': did you mean 'decoder'\?) It takes"):
            run_notebooks("demo")


def test_a_users_kernels_and_start_up_files_do_not_count(bare_project, tmp_path, monkeypatch):
    startup = tmp_path / "home" / ".ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "a.py").write_text("raise SystemExit")
    kernel = tmp_path / "home" / ".local" / "share" / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text('{"argv": ["false"], "display_name": "x", "language": "python"}')
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "home" / ".ipython"))
    add(bare_project, "00_first", "print('ran')")
    assert texts(run_notebooks("demo")[0]) == "ran\n"


def test_what_a_user_has_set_for_pythons_and_figures_does_not_count(bare_project, tmp_path, monkeypatch):
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\naxes.grid: True\nbackend: svg\n")
    (tmp_path / "start.py").write_text("raise SystemExit")
    surroundings = {
        "MATPLOTLIBRC": f"{tmp_path}/matplotlibrc",
        "MPLBACKEND": "agg",
        "PYTHONSTARTUP": f"{tmp_path}/start.py",
        "PYTHONWARNINGS": "error",
        "PYTHONOPTIMIZE": "2",
    }
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)
    figure = "import matplotlib.pyplot as plt\nfrom nsdlib.plots import use_style\nuse_style()\nplt.plot([1, 2]);"
    add(bare_project, "00_first", figure, "import sys\nprint(sys.warnoptions, sys.flags.optimize, plt.rcParams['axes.grid'])")
    page = run_notebooks("demo")[0]
    assert texts(page) == "[] 0 False\n"
    shown = [output for cell in nbformat.read(page, as_version=4).cells for output in cell.get("outputs", [])]
    assert ["image/png" in output.get("data", {}) for output in shown] == [True, False]


def test_braces_in_the_projects_path_are_no_formats(bare_project, monkeypatch):
    add(bare_project, "00_first", "from nsdlib.params import find_root\nprint(find_root())")
    place = bare_project / "{run} of {0} 100%"
    for name in ("params", "notebooks"):
        shutil.copytree(bare_project / name, place / name)
    monkeypatch.setenv("NSDLIB_HOME", str(place))
    (page,) = run_notebooks("demo")
    assert texts(page) == f"{place}\n" and page == place / "runs" / "demo" / "00_first.ipynb"


def test_a_relative_home_leads_kernels_to_the_project(bare_project, monkeypatch):
    """Kernels start in the folder of the notebooks, where a relative path would lead elsewhere."""
    monkeypatch.chdir(bare_project / "params")
    monkeypatch.setenv("NSDLIB_HOME", "..")
    add(bare_project, "00_first", "import os\nfrom nsdlib.params import load_run\nprint(load_run('small').root)")
    assert texts(run_notebooks("demo")[0]) == f"{bare_project}\n"
    (bare_project / "notebooks" / "params").symlink_to(bare_project / "params")  # the wrong one would be there, too
    monkeypatch.chdir(bare_project)
    monkeypatch.setenv("NSDLIB_HOME", ".")
    assert texts(run_notebooks("demo")[0]) == f"{bare_project}\n"


NOT_INSTALLED = """import importlib.metadata as metadata
found = metadata.Distribution.from_name.__func__
def from_name(cls, name):
    if name in ("nsdlib", "nsd-decoding"):
        raise metadata.PackageNotFoundError(name)
    return found(cls, name)
metadata.Distribution.from_name = classmethod(from_name)
"""


def test_a_source_tree_runs_without_being_installed(bare_project):
    """`PYTHONPATH=. python -m nsdlib`: the kernel gets the library of the same tree, and nobody asks for a distribution."""
    shutil.copytree(ROOT / "nsdlib", bare_project / "nsdlib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", bare_project)
    (bare_project / "start").mkdir()
    (bare_project / "start" / "sitecustomize.py").write_text(NOT_INSTALLED)
    add(bare_project, "00_first", "import nsdlib.params\nprint(nsdlib.__file__, nsdlib.params.find_root())")
    environment = os.environ | {"NSDLIB_HOME": ".", "PYTHONPATH": f".{os.pathsep}start"}
    command = [sys.executable, "-m", "nsdlib"]
    subprocess.run([*command, "run", "small", "00"], cwd=bare_project, env=environment, check=True, stdout=subprocess.DEVNULL)
    printed = texts(bare_project / "runs" / "small" / "00_first.ipynb")
    assert printed.split() == [str(bare_project / "nsdlib" / "__init__.py"), str(bare_project)]
    done = subprocess.run([*command, "doctor", "small"], cwd=bare_project, env=environment, capture_output=True, text=True)
    assert "ok   packages" in done.stdout and "ok   python" in done.stdout and done.returncode == 1, done.stderr  # no data


def test_without_file_locks_a_run_is_made_all_the_same(bare_project, monkeypatch):
    monkeypatch.setattr("nsdlib.core.files.fcntl", None)
    add(bare_project, "00_first", "print('ran')")
    assert texts(run_notebooks("demo")[0]) == "ran\n"


def test_the_runner_can_be_imported_where_there_are_no_file_locks():
    code = "import sys; sys.modules['fcntl'] = None\nfrom nsdlib.run import runner\n"
    code += "from nsdlib.core import files; print(files.fcntl)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"


def test_a_notebook_runs_after_those_whose_results_it_reads():
    names = notebook_names(ROOT)
    ordered = in_order(names, ROOT)
    assert sorted(ordered) == names and [name[:2] for name in ordered[-4:]] == ["07", "09", "08", "10"]
    assert in_order(names[:3][::-1], ROOT) == names[:3]


def test_a_failed_notebook_stays_readable_and_an_earlier_page_too(bare_project):
    add(bare_project, "00_first", "print('one')")
    page = run_notebooks("demo")[0]
    assert len(nbformat.read(page, as_version=4).cells) == 3  # none is added where nothing differs from the notebook
    add(bare_project, "00_first", "print('two')", "1 / 0", "print('three')")
    with pytest.raises(NotebookFailed, match=r"00_first failed in its cell \[3\]: ZeroDivisionError: division by zero") as error:
        run_notebooks("demo")
    partial = page.with_name("00_first.partial.ipynb")
    assert str(partial) in str(error.value) and "two" in texts(partial) and texts(page) == "one\n"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"decodr": "gru"}, "Notebook 00_first takes no parameter 'decodr': did you mean 'decoder'\\? It takes: decoder"),
        ({"run": "small"}, "takes no parameter 'run'"),
        (
            {"decoder": None},
            "decoder=null: for a notebook, null means 'as in the file'. Leave it out, or change params/demo.yaml.",
        ),
        (
            {"decoder": "gro"},
            "decoder: Input should be 'gru', 'gated_mlp', 'roi_gru', 'cnn', 'transformer' or 'ridge', got 'gro'",
        ),
    ],
)
def test_parameters_are_checked_before_anything_runs(bare_project, parameters, message):
    add(bare_project, "00_first", "print('ran')")
    with pytest.raises(ValueError, match=message):
        run_notebooks("demo", parameters=parameters)
    assert not (bare_project / "runs").exists()


def test_the_subject_of_another_run_is_refused_before_anything_runs(bare_project, twin):
    """Two runs with one folder of data and other simulations: the second would read the first one's subject."""
    add(bare_project, "00_first", "print('ran')")
    mine, text = bare_project / "params" / "mine.yaml", (bare_project / "params" / "small.yaml").read_text()
    mine.write_text(text.replace("data/small", str(twin.data)))
    check("mine", ["00_first"], {}, root=bare_project)
    mine.write_text(mine.read_text().replace("seed: 1 ", "seed: 2 "))
    with pytest.raises(ValueError, match=r"of another run \(seed=1 there, 2 wanted\)\. Give params/mine.yaml a folder"):
        run_notebooks("mine")
    assert not (bare_project / "runs").exists()


def test_unknown_runs_and_notebooks_are_refused_with_the_nearest(bare_project):
    add(bare_project, "00_first")
    add(bare_project, "01_second")
    with pytest.raises(ValueError, match=r"no run 'dmo': did you mean 'demo'"):
        check("dmo", ["00_first"], {}, root=bare_project)
    with pytest.raises(ValueError, match=r"no notebook '01_secnd': did you mean '01_second'\? Notebooks: 00_first, 01_second"):
        select(["01_secnd"], bare_project)
    assert select(["1", "notebooks/00_first.ipynb"], bare_project) == ["00_first", "01_second"] == select([], bare_project)


def test_a_copy_is_no_notebook_of_the_project_and_a_number_that_two_have_is_refused(bare_project):
    for name in ("00_first", "00_first-Copy1", "00_first copy"):
        add(bare_project, name)
    assert notebook_names(bare_project) == select(["0"], bare_project) == ["00_first"]
    add(bare_project, "00_mine")
    with pytest.raises(ValueError, match=r"Several notebooks have the number '0': 00_first, 00_mine\. Give the name of one"):
        select(["0"], bare_project)
    assert select(["00_mine"], bare_project) == ["00_mine"]


def test_a_notebook_without_a_parameters_cell_is_refused(bare_project):
    nbformat.write(new_notebook(cells=[new_code_cell("1")]), bare_project / "notebooks" / "00_first.ipynb")
    with pytest.raises(ValueError, match=r"00_first.ipynb must have one cell tagged 'parameters', it has 0"):
        default_parameters(bare_project / "notebooks" / "00_first.ipynb")


def test_the_same_notebook_is_not_run_twice_at_once(bare_project):
    add(bare_project, "00_first", "print('ran')")
    folder = bare_project / "runs" / "demo"
    folder.mkdir(parents=True)
    with (folder / ".00_first.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4711")
        lock.flush()
        with pytest.raises(AlreadyRunning, match="00_first of run 'demo' is already being run by process 4711: wait for it"):
            run_notebooks("demo")
        assert texts(run_notebooks("small")[0]) == "ran\n"  # another run is not held up
    assert texts(run_notebooks("demo")[0]) == "ran\n"


@pytest.mark.parametrize("answer", sorted(files.UNLOCKED))
def test_a_file_system_without_locks_refuses_nobody(tmp_path, monkeypatch, answer):
    def refuse(*_):
        raise OSError(answer, os.strerror(answer))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with files.held(tmp_path / "lock"), files.held(tmp_path / "lock"):
        assert (tmp_path / "lock").read_text() == str(os.getpid())


WAITING = """import time
from pathlib import Path
Path(f"../{run}-started").touch()
while not (decoder or Path("../go").exists()):
    time.sleep(0.1)
print(run)"""


def start(project, run):
    """A process that runs all notebooks of a run, when its first one, `WAITING`, has begun to wait."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "nsdlib", "run", run]
    running = subprocess.Popen(command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
    while not (project / f"{run}-started").exists():
        assert running.poll() is None
        time.sleep(0.1)
    return running


@pytest.mark.slow
def test_a_second_process_is_refused_and_a_killed_one_does_not_block_the_next(bare_project, capsys):
    add(bare_project, "00_first", WAITING)
    running = start(bare_project, "demo")
    assert main(["run", "demo"]) == 1
    assert f"00_first of run 'demo' is already being run by process {running.pid}: wait" in capsys.readouterr().err
    assert running.poll() is None and not (bare_project / "runs" / "demo" / "00_first.json").exists()
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert not (bare_project / "runs" / "demo" / "00_first.ipynb").exists()
    assert run_notebooks("demo", parameters={"decoder": "gru"})[0].is_file()


@pytest.mark.slow
def test_two_runs_at_once_do_not_mix(bare_project):
    add(bare_project, "00_first", WAITING)
    both = {run: start(bare_project, run) for run in ("demo", "small")}
    (bare_project / "go").touch()
    for run, running in both.items():
        assert running.wait() == 0
        folder = bare_project / "runs" / run
        assert texts(folder / "00_first.ipynb") == f"{run}\n"
        assert sorted(path.name for path in folder.iterdir()) == [".00_first.lock", "00_first.ipynb", "00_first.json"]


@pytest.mark.slow
def test_cells_that_show_widgets_come_to_their_end(bare_project):
    cell = "import ipywidgets\nbox = ipywidgets.Output()\ndisplay(box)\nwith box:\n    print('inside')"
    add(bare_project, "00_first", *[cell] * 20)
    page = run_notebooks("demo")[0]
    assert all(cell.execution_count for cell in nbformat.read(page, as_version=4).cells if cell.cell_type == "code")


def test_a_wait_in_slices_finds_a_late_message_and_keeps_its_time_limit(monkeypatch):
    monkeypatch.setattr(engine, "SLICE", 0.01)
    calls = []

    async def get_msg(timeout):
        calls.append(timeout)
        if len(calls) < 3:
            raise Empty
        return "reply"

    channel = SimpleNamespace(get_msg=get_msg)
    looks = []
    engine.wait_in_slices(channel, lambda: looks.append(1))
    assert asyncio.run(channel.get_msg()) == "reply" and calls == [0.01] * 3 and len(looks) == 3

    async def never(timeout):
        await asyncio.sleep(timeout)
        raise Empty

    channel.get_msg = never
    engine.wait_in_slices(channel, list)
    with pytest.raises(Empty):
        asyncio.run(channel.get_msg(timeout=0.05))


def test_the_progress_line_counts_code_cells_and_time(monkeypatch):
    monkeypatch.setattr(monitor, "IN_LOG", 0.05)
    stream = io.StringIO()
    code, text = new_code_cell("x"), new_markdown_cell("x")
    watch = Watch()
    with Progress("demo 00", watch, n_cells=2, tail=lambda: "3 of 9 notebooks done", stream=stream):
        for cell in (text, code, new_code_cell(""), code):
            watch.next_cell(cell=cell, cell_index=0)
        time.sleep(0.2)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "demo 00: starting (3 of 9 notebooks done)"
    assert lines[1] == "demo 00: cell 2 of 2, 0:00 (3 of 9 notebooks done)" and lines[-1].startswith(
        "demo 00: finished cell 2 of 2, 0:00 ("
    )


def test_on_a_terminal_the_line_stays_in_place():
    stream = io.StringIO()
    stream.isatty = lambda: True
    with Progress("demo 00", Watch(), n_cells=1, tail=str, stream=stream):
        pass
    assert stream.getvalue().count("\n") == 1 and stream.getvalue().count("\r") == 2


def test_clock():
    assert [clock(0.9), clock(65), clock(3600)] == ["0:00", "1:05", "60:00"]
