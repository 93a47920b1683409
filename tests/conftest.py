"""Shared fixtures: a project in which the small run has run from end to end; which tests run together."""

import fcntl
import gc
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT, DATA = Path(__file__).parents[1], Path(__file__).parent / "reference"
BROWSER = shutil.which("chromium")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run"]
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium here: apt-get install chromium")
if n_workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):  # before torch is imported: workers share the cores
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, os.cpu_count() // int(n_workers))))
COPIED = ("nsdlib", "zoo", "params", "notebooks", "book", "profiles", "Snakefile", "_config.yml", "CITATION.cff")


def make(project, *command):
    """Run a command in a project as the Makefile does; its output comes back, failure fails the test."""
    environment = os.environ | {
        "NSDLIB_HOME": str(project),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(project),
    }
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done.stdout + done.stderr


@cache
def needs_project(file):
    """Whether a test file asks for the small project."""
    return re.search(r"def \w+\([^)]*\b(small_project|html)\b", (ROOT / file).read_text()) is not None


def pytest_collection_modifyitems(items):
    """Begin with what takes longest: all that needs the small project, then the files with other slow tests."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (not needs_project(item.path.relative_to(ROOT)), item.path not in slow, item.path.name))


def pytest_collection_finish():
    """Keep the garbage collector from going through all that is loaded, each time that a test has it collect."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure():
    """Let all of it be collected at the end, which some compiled modules wait for."""
    gc.unfreeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Share tests among workers file by file; the files that need the small project go to one, which makes it once."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.split("::")[0]
            return "project" if needs_project(file) else file

    return ByFile(config, log)


def copied_project(project, *data):
    """Fill a project's folder with what runs notebooks, and with the results that this tree has of the runs named `data`."""
    for name in COPIED:
        source = ROOT / name
        ignored = shutil.ignore_patterns("_build", "runs", "__pycache__", ".ipynb_checkpoints")
        shutil.copytree(source, project / name, ignore=ignored) if source.is_dir() else shutil.copy(source, project)
    for run in data:
        for name in ("data", "store", "runs"):
            if (ROOT / name / run).is_dir():
                shutil.copytree(ROOT / name / run, project / name / run)
    return project


@pytest.fixture(scope="session")
def small_project(tmp_path_factory):
    """Folder of a project in which Snakemake has simulated the small subject and run every notebook on it.

    What this tree has computed for it already is taken over: Snakemake and the store know what results came from.
    """
    project = copied_project(tmp_path_factory.mktemp("project"), "small")
    make(project, "snakemake", "--profile", "profiles/local", "--config", "runs=small")
    return project


@pytest.fixture(scope="session")
def html(small_project):
    """Folder of the built book; the small run stands in for the demo, and is not shown beside it."""
    pages = small_project / "book" / "runs"
    pages.mkdir()
    for folder in (pages, small_project / "runs"):
        (folder / "demo").symlink_to(small_project / "runs" / "small")
    make(small_project, "nsdlib", "book")
    return small_project / "book" / "_build" / "html"


@pytest.fixture(scope="session")
def twin(tmp_path_factory):
    """The run `small`, simulated: one session, a head of 14 x 16 x 12 voxels; nobody writes into it, all workers read it."""
    from nsdlib.params import load_run
    from nsdlib.twin.simulate import simulate

    own = tmp_path_factory.getbasetemp()
    place = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "twin"
    place.mkdir(exist_ok=True)
    run = load_run("small").model_copy(update={"data": place / "small"})
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the first worker simulates it, the others wait and find it there
        simulate(run, progress=False)
    return run


@pytest.fixture(scope="module")
def drawn_once():
    """Scenes that a module's subjects share are drawn once; nobody writes into them."""
    from nsdlib.twin import scenes

    @cache
    def draw(scene, size=scenes.SIZE, plain=scenes.draw):
        image = plain(scene, size)
        image.flags.writeable = False
        return image

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenes, "draw", draw)
        yield


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with the shipped parameter files and notebooks only."""
    for name in ("params", "notebooks"):
        shutil.copytree(ROOT / name, tmp_path / name)
    monkeypatch.setenv("NSDLIB_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def house_style():
    """Figures in the house's style, without a screen; afterwards none is open and matplotlib is as it was."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    from nsdlib.plots.style import use_style

    mpl.use("Agg")
    with mpl.rc_context():
        use_style()
        yield
    plt.close("all")


@pytest.fixture(scope="session")
def images():
    """Five blurred random images, (5, 64, 64, 3) uint8; nobody writes into them."""
    import numpy as np

    from nsdlib.core.images import resize

    return resize(np.random.default_rng(0).integers(0, 256, size=(5, 8, 8, 3), dtype=np.uint8), 64)


@pytest.fixture(scope="module")
def bucket():
    """A server with two sessions of subject 1."""
    from s3 import filled_server

    with filled_server() as filled:
        yield filled


@pytest.fixture
def world(bucket, tmp_path, monkeypatch):
    """The proxy before it, what it holds, and an empty folder."""
    from s3 import world_of

    with world_of(bucket, tmp_path / "nsd", monkeypatch) as world:
        yield world


@pytest.fixture(scope="module")  # while it is open, an event loop runs
def browser():
    """Debian's Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=QUIET)
        yield chromium
        chromium.close()


@pytest.fixture
def bare_project(tmp_path, monkeypatch):
    """A project with the shipped parameter files and notebooks made by `add`."""
    shutil.copytree(ROOT / "params", tmp_path / "params")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setenv("NSDLIB_HOME", str(tmp_path))
    return tmp_path


def add(project, name, *sources):
    """Write a notebook with a parameters cell and code cells."""
    parameters = new_code_cell('run = "demo"\ndecoder = None  # as in the file', metadata={"tags": ["parameters"]})
    cells = [new_markdown_cell("# Title"), parameters, *map(new_code_cell, sources)]
    nbformat.write(new_notebook(cells=cells), project / "notebooks" / f"{name}.ipynb")
