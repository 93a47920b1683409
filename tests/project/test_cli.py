"""The command line: every help text fits a screen, and every error is one sentence with an exit status."""

import subprocess
import sys

import pandas as pd
import pytest
from conftest import ROOT

from nsdlib import __version__, cli
from nsdlib.cli import main
from nsdlib.run import runner
from nsdlib.twin import simulate


@pytest.mark.parametrize("command", [[], *([name] for name in cli.COMMANDS)])
def test_help_fits_a_screen(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([*command, "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert 4 < len(lines) <= 24 and max(map(len, lines)) <= 110


def test_it_starts_as_a_module_without_torch():
    code = "import sys, runpy; sys.argv = ['nsdlib', '--version']\ntry: runpy.run_module('nsdlib')\nexcept SystemExit: pass\n"
    code += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"nsdlib {__version__}", "False"]


def test_no_command_and_an_unknown_one_are_refused(capsys):
    for arguments in ([], ["rnu"]):
        with pytest.raises(SystemExit, match="2"):
            main(arguments)
    assert "invalid choice: 'rnu'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "dmo"], "nsdlib: There is no run 'dmo': did you mean 'demo'?"),
        (["doctor", "subj9"], "nsdlib: There is no run 'subj9': did you mean"),
        (["simulate", "subj01"], "nsdlib: params/subj01.yaml has no section 'simulation': subj01 is a real subject."),
        (["export", "demo", "there"], "nsdlib: The artifact 'glm' of run 'demo' has not been made"),
        (["export", "demo", "s3://bucket/betas"], "nsdlib: wanted a folder of this machine, written out"),
        (["run", "demo", "-p", "seed=010"], "nsdlib: -p seed: '010' is not valid YAML: 010 can be read as octal"),
        (["run", "demo", "03", "-p", "max_epochs=yes"], "max_epochs: Input should not be true or false"),
        (["run", "demo", "-p", "decoder"], "nsdlib: -p: wanted NAME=VALUE, such as -p decoder=cnn, got 'decoder'."),
    ],
)
def test_wrong_requests_end_with_2_and_a_sentence(project, capsys, arguments, message):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_run_passes_on_what_was_asked(project, monkeypatch, capsys):
    asked = []

    def run_notebooks(name, notebooks, *, parameters):
        asked.append((name, notebooks, parameters))
        return [project / "runs" / "demo" / f"0{number}.ipynb" for number in (3, 4)]

    monkeypatch.setattr(runner, "run_notebooks", run_notebooks)
    assert main(["run", "demo", "03", "04", "-p", "decoder=cnn", "-p", "alphas=[1, 10]"]) == 0
    assert asked == [("demo", ["03", "04"], {"decoder": "cnn", "alphas": [1, 10]})]
    assert f"2 executed notebooks are in {project / 'runs' / 'demo'}" in capsys.readouterr().out


def test_simulate_passes_on_the_run(project, monkeypatch):
    asked = []
    monkeypatch.setattr(simulate, "simulate", asked.append)
    assert main(["simulate", "small"]) == 0 and asked[0].name == "small"


@pytest.mark.parametrize(
    ("error", "status"), [(RuntimeError("broke"), 1), (PermissionError("broke"), 1), (KeyboardInterrupt(), 130)]
)
def test_failures_and_interruptions_have_their_own_status(project, monkeypatch, capsys, error, status):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(runner, "run_notebooks", fail)
    assert main(["run", "demo"]) == status
    assert ("broke" if status == 1 else "interrupted; completed results are kept") in capsys.readouterr().err


def test_every_command_has_a_word_about_it():
    assert set(cli.COMMANDS) >= {"simulate", "fetch", "doctor", "rehearse", "run", "export", "book"}
    assert all(function.__doc__ and about for function, about, _ in cli.COMMANDS.values())


def test_a_rehearsal_is_printed_and_kept(project, monkeypatch, capsys):
    from nsdlib.run import full_size, rehearsal

    asked = []

    def rehearse(run, *, n_images, n_steps):
        asked.append((run.name, n_images, n_steps))
        return pd.DataFrame({"a second": [2.0], "hours a subject": [1.5]}, index=pd.Index(["GRU"], name="stage"))

    monkeypatch.setattr(rehearsal, "rehearse", rehearse)
    monkeypatch.setattr(full_size, "gpu_memory", lambda run: pd.DataFrame({"peak": [2.0]}))
    assert main(["rehearse", "subj01", "--images", "3", "--steps", "2"]) == 0
    assert asked == [("subj01", 3, 2)] and "One subject: 1.5 hours (networks often end earlier" in capsys.readouterr().out
    assert rehearsal.read(project / "runs" / "subj01" / "rehearsal.csv")[0]["a second"].tolist() == [2.0]
