"""Advice: every command named in a message or on a page is run in the situation in which it is named, and helps there.

Each message that names a command is triggered by one of the `SITUATIONS`, in a project of its own. A test compares them with the
library's texts, so a new message needs its situation. A command that would take minutes is replaced by its effect.
"""

import ast
import re
import shlex
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from conftest import ROOT

from book._ext import build, faults, pages
from nsdlib import cli
from nsdlib.core import weights
from nsdlib.data import fetch
from nsdlib.data.nsd.subject import NSDSubject
from nsdlib.params import load_run
from nsdlib.run import doctor, full_size, rehearsal, runner
from nsdlib.store import shipped, zoo
from nsdlib.store.store import Store
from nsdlib.twin import simulate
from nsdlib.twin.truth import load_truth, truth_path

NAMED = re.compile(r"`((?:nsdlib|make) [^`]*)`")
PAGES = ["README.md", "CONTRIBUTING.md", "notebooks/README.md", *(f"book/{file.name}" for file in (ROOT / "book").glob("*.md"))]
PAGES.remove("book/decisions.md")  # of the past
SITUATIONS, HEARD = [], {}  # functions, and what the messages of those that were brought about have said


@pytest.fixture
def project(tmp_path, monkeypatch, twin):
    """A project without data and results, with a run `mysubj` beside subject 1's; commands have their effect at once."""
    for name in ("params", "notebooks"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "zoo").symlink_to(ROOT / "zoo")
    text = (tmp_path / "params" / "subj01.yaml").read_text()
    own = "data: mydata\nweights: myweights\nbetas_version: betas_fithrf\n"
    (tmp_path / "params" / "mysubj.yaml").write_text(f"{text}{own}")
    monkeypatch.setenv("NSDLIB_HOME", str(tmp_path))
    given = SimpleNamespace(root=tmp_path, run=[], monkeypatch=monkeypatch)

    def fetched(files, folder, **_):
        for file in files:
            file.path.parent.mkdir(parents=True, exist_ok=True)
            file.path.touch()

    def simulated(run):
        if not run.data.exists():
            shutil.copytree(twin.data, run.data)

    def ran(name, notebooks, *, parameters):
        names = runner.select(notebooks, tmp_path)
        runner.check(name, names, parameters, root=tmp_path)
        given.run.append((load_run(name, **parameters), names))
        return [tmp_path]

    def rehearsed(run, **_):
        import pandas as pd

        return pd.DataFrame({"hours a subject": [1.0]}, index=pd.Index(["GRU"], name="stage"))

    monkeypatch.setattr(fetch, "fetch", fetched)
    monkeypatch.setattr("nsdlib.data.nsd.bucket.accept_terms", lambda *_, **__: None)
    monkeypatch.setattr(simulate, "simulate", simulated)
    monkeypatch.setattr(runner, "run_notebooks", ran)
    monkeypatch.setattr(rehearsal, "rehearse", rehearsed)
    monkeypatch.setattr(full_size, "gpu_memory", lambda run: rehearsed(run))
    monkeypatch.setattr(build, "is_current", lambda *_, **__: True)
    return given


def follow(text, run=None):
    """Give every command that a text names; RUN stands for the run that it is about."""
    commands = NAMED.findall(text)
    assert commands, text
    for command in commands:
        program, *words = shlex.split(command.replace("RUN", str(run)))
        if program == "make":
            subprocess.run(["make", "--dry-run", *words], cwd=ROOT, check=True, capture_output=True)
        else:
            assert cli.main(words) in (0, 1), command  # 1: the doctor found something; 2: the request was wrong


def situation(function):
    """Make a function a situation: it brings a message about, and returns it with what is true once it was followed."""
    SITUATIONS.append(function)
    return function


def words(error, function, *arguments, **options):
    """The message of an error that a call must raise."""
    with pytest.raises(error) as raised:
        function(*arguments, **options)
    return str(raised.value)


def finding(name, what):
    (found,) = [found for found in doctor.examine(load_run(name)) if found.what == what]
    return found


@situation
def the_files_of_a_run_of_ones_own_are_missing(project):
    return str(finding("mysubj", "data")), lambda: finding("mysubj", "data").fine


@situation
def its_weights_are_missing(project):
    return str(finding("mysubj", "weights")), lambda: finding("mysubj", "weights").fine


@situation
def a_model_is_asked_for_whose_weights_are_missing(project):
    run = load_run("mysubj")
    return words(FileNotFoundError, zoo.path, run, "swav"), lambda: zoo.path(run, "swav").exists()


@situation
def the_weights_of_the_demo_are_missing(project):
    (project.root / "zoo").unlink()
    return str(finding("demo", "weights")), lambda: True  # the files of the repository, or a training


@situation
def a_subject_was_not_simulated(project):
    return str(finding("small", "data")), lambda: finding("small", "data").fine


@situation
def a_file_of_a_simulated_subject_is_missing(project):
    run = load_run("small")
    simulate.simulate(run)
    NSDSubject(run.data, run.subject, run.n_sessions).paths.responses.unlink()
    text = str(finding("small", "data"))
    assert f"Move {run.data} away, then" in text
    run.data.rename(project.root / "away")
    return text, lambda: finding("small", "data").fine


@situation
def nsds_files_of_a_simulated_subject_are_asked_for(project):
    text = words(ValueError, cli._fetch, cli._parser().parse_args(["fetch", "nsd", "--run", "small"]))
    return text, lambda: finding("small", "data").fine


@situation
def a_notebook_reads_a_file_that_is_missing(project):
    run = load_run("mysubj")
    return words(FileNotFoundError, NSDSubject(run.data, 1, 1).captions, [0]), lambda: True  # the doctor's advice is above


@situation
def the_truth_is_missing(project):
    run = load_run("small")
    return words(FileNotFoundError, load_truth, run), lambda: truth_path(run.data, run.subject).is_file()


@situation
def a_weight_file_is_damaged(project):
    file = project.root / "x.pth"
    file.write_bytes(b"no")
    said = words(ValueError, weights.read_tensors, file), words(ValueError, weights.load_tokenizer, project.root, 246)
    return "\n".join(said), lambda: True


def made(project, run, name):
    """Whether the notebook of an artifact was run so that it makes the one that this run asks for."""
    return [Store(with_parameters).path(name) == Store(run).path(name) for with_parameters, _ in project.run] == [True]


@situation
def a_result_is_asked_for_with_other_parameters_than_the_files(project):
    run = load_run("demo", strength=0.9, renormalise="test")
    return words(FileNotFoundError, Store(run).load, "reconstruction"), lambda: made(project, run, "reconstruction")


@situation
def a_result_is_asked_for_with_a_parameter_that_its_notebook_does_not_take(project):
    run = load_run("demo", seed=5)
    text = words(FileNotFoundError, Store(run).load, "betas")
    (line,) = re.findall(r"set `(.*?)` in params/demo.yaml", text)
    with (project.root / "params" / "demo.yaml").open("a") as file:
        file.write(f"{line}\n")
    return text, lambda: made(project, run, "betas")


@situation
def a_result_is_damaged(project):
    run = load_run("demo", strength=0.9)
    Store(run).save("reconstruction", xr.Dataset({"x": ("n", np.zeros(3))}))
    (Store(run).path("reconstruction") / "arrays.nc").write_bytes(b"no")
    return words(ValueError, Store(run).load, "reconstruction"), lambda: made(project, run, "reconstruction")


@situation
def nothing_is_known_of_the_time(project):
    return doctor.outlook(load_run("subj01"), 4), lambda: list((project.root / "runs").glob("*/rehearsal.csv"))


@situation
def no_machine_has_been_rehearsed(project):
    return faults.forecast_table(project.root), lambda: list((project.root / "runs").glob("*/rehearsal.csv"))


@situation
def a_chapter_has_not_been_run(project):
    (project.root / "book").mkdir()
    shutil.copy(ROOT / "book" / "_toc.yml", project.root / "book")
    names = runner.notebook_names(project.root)
    return words(FileNotFoundError, build.build, project.root), lambda: project.run[0][1] == names


@situation
def no_run_is_complete(project):
    return words(FileNotFoundError, pages.write, project.root), lambda: True


@situation
def nothing_that_could_be_shipped_has_been_made(project):
    (project.root / "params" / "longer.yaml").write_text("like: small\nmax_epochs: 3\n")
    longer = load_run("longer")
    return words(ValueError, shipped.ship, longer, machine=""), lambda: project.run[0][0] == longer


@situation
def a_package_is_absent(project):
    project.monkeypatch.setattr(doctor, "requirements", lambda: (">=3.99", ["absent-package"]))
    return f"{finding('demo', 'packages')}\n{finding('demo', 'python').remedy}", lambda: True


@situation
def a_machine_was_rehearsed(project):
    options = cli._parser().parse_args(["rehearse", "subj01"])
    said = []
    project.monkeypatch.setattr("builtins.print", lambda *lines, **_: said.extend(map(str, lines)))
    options.command(options)
    return "\n".join(said), lambda: True


@pytest.mark.parametrize("brought_about", SITUATIONS, ids=lambda function: function.__name__)
def test_the_commands_of_a_message_help_in_its_situation(project, brought_about):
    text, helped = brought_about(project)
    HEARD[brought_about] = text
    follow(text, run="mysubj")
    assert helped(), text


def texts():
    """Every text in the code that is no docstring, with an ellipsis for what is put into it."""
    for file in [*(ROOT / "nsdlib").rglob("*.py"), *(ROOT / "book" / "_ext").glob("*.py")]:
        tree = ast.parse(file.read_text())
        docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
                yield node.value


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """Parameter files, with the copies that pages tell a reader to make."""
    shutil.copytree(ROOT / "params", tmp_path / "params")
    for old, new in (("subj01", "mysubj"), ("demo", "mine"), ("demo", "first")):
        shutil.copy(tmp_path / "params" / f"{old}.yaml", tmp_path / "params" / f"{new}.yaml")
    monkeypatch.setenv("NSDLIB_HOME", str(tmp_path))


def parsed(command):
    """What a command asks for; a notebook's parameters are known to it, and are not what the run has anyway."""
    options = cli._parser().parse_args(shlex.split(command.replace("RUN", "subj01"))[1:])
    if hasattr(options, "notebooks"):
        parameters = cli.assignments(options.p)
        runner.check(options.run, runner.select(options.notebooks, ROOT), parameters, root=ROOT)
        usual = load_run(options.run)
        assert all(getattr(usual, name) != value for name, value in parameters.items()), command
    elif hasattr(options, "run"):
        load_run(options.run)
    return options


def named_on(page):
    """The commands on a page: in its text, and in its blocks for the shell."""
    text = (ROOT / page).read_text()
    lines = [line for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    found = [*NAMED.findall(text), *(line for line in lines if line.startswith(("nsdlib ", "make ")))]
    return [command.partition("#")[0].strip() for command in found if "..." not in command]


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_can_be_given(copied, page):
    for command in named_on(page):
        if command.startswith("make"):
            subprocess.run(["make", "--dry-run", *shlex.split(command)[1:]], cwd=ROOT, check=True, capture_output=True)
        elif command not in [f"nsdlib {name}" for name in cli.COMMANDS]:  # that is its name
            parsed(command)


def test_the_examples_of_the_command_line_can_be_given(copied):
    examples = [re.split(r"  +", line.strip())[0] for line in cli.EXAMPLES.splitlines()]
    assert len(examples) == 2
    for example in examples:
        parsed(re.sub(r"(decoder=\w+).*", r"\1", example))


def test_the_page_of_troubles_was_searched():
    assert len(named_on("book/troubleshooting.md")) >= 15 and "make demo" in named_on("README.md")


def test_every_message_that_names_a_command_has_its_situation(project):
    heard = "\n".join(HEARD.get(brought_about) or brought_about(project)[0] for brought_about in SITUATIONS)
    named = {text.strip() for text in texts() if NAMED.search(text)}
    assert len(named) >= 10
    for text in named:
        pattern = ".*".join(map(re.escape, text.split("…")))
        assert re.search(pattern, heard, re.DOTALL), text
