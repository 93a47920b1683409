"""Everything that the README, its two pages in the book and the Makefile mention exists."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from book._ext.build import first_page
from nsdlib.params import run_names

TEXT = "\n".join((ROOT / file).read_text() for file in ("README.md", "book/measured.md", "book/real_subjects.md"))
BLOCKS = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = [line.split(" #")[0].strip() for block in BLOCKS for line in block.splitlines() if line.strip()]
MADE = (".venv", "runs/", "store/", "data/nsd/", "weights/paper/")  # made by commands or put there by the reader


def targets():
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_there_are_commands():
    assert {"make demo", "make test"} <= set(COMMANDS)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("snakemake ")])
def test_snakemake_has_the_profile(command):
    words = shlex.split(command)
    assert (ROOT / words[words.index("--profile") + 1] / "config.yaml").is_file()
    runs = next(word for word in words if word.startswith("runs=")).removeprefix("runs=").split(",")
    assert set(runs) <= set(run_names(ROOT))


def test_no_other_command_is_named():
    assert {command.split()[0] for command in COMMANDS} == {"make", "nsdlib", "snakemake"}


def test_the_readme_is_read_in_one_go():
    assert len((ROOT / "README.md").read_text().split()) <= 900


def test_the_workflow_builds_the_book_by_the_makefile_and_publishes_what_was_built():
    place = ".github/workflows/book.yml"
    jobs = yaml.safe_load((ROOT / place).read_text())["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    commands = [step["run"] for step in steps if "run" in step]
    assert commands and set(commands) <= set(COMMANDS) and all(command.split()[1] in targets() for command in commands)
    (published,) = [step["with"]["path"] for step in steps if "upload-pages-artifact" in step.get("uses", "")]
    assert ROOT / published == first_page(ROOT).parent
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in steps if "uses" in step)
    assert f"`{place}`" in TEXT and jobs["publish"]["needs"] in jobs


def test_every_path_exists():
    quoted = re.findall(r"`([\w./-]+)`", TEXT)
    paths = [word for word in quoted if "/" in word or re.fullmatch(r"[\w.]+\.(yml|yaml|cff|md)|LICENSE", word)]
    assert len(paths) > 10
    missing = [path for path in paths if not path.startswith(MADE) and not (ROOT / path).exists()]
    assert missing == []


def test_the_ten_lines_are_ten_and_run(small_project, monkeypatch):
    (lines,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert sum(bool(line.strip()) for line in lines.splitlines()) == 10
    monkeypatch.setenv("NSDLIB_HOME", str(small_project))
    exec(compile(lines.replace('"demo"', '"small"'), "README.md", "exec"), {})


def test_targets_are_three_lines_at_most_and_real():
    recipes = re.split(r"^(?=\S+:)", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert all(len([line for line in recipe.splitlines() if line.startswith("\t")]) <= 3 for recipe in recipes)
    make = shutil.which("make")
    for target in sorted(targets()):
        subprocess.run([make, "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


def test_the_lab_takes_this_environments_kernel(tmp_path):
    recipe = re.search(r"^lab:.*\n\t(.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    (setting,) = re.findall(r"JUPYTER_PREFER_ENV_PATH=1", recipe)
    users = tmp_path / ".local" / "share" / "jupyter" / "kernels" / "python3"
    users.mkdir(parents=True)
    (users / "kernel.json").write_text('{"argv": ["false"], "display_name": "another", "language": "python"}')
    environment = os.environ | {"HOME": str(tmp_path), **dict([setting.split("=")])}
    program = Path(sys.executable).with_name("jupyter-kernelspec")
    done = subprocess.run([program, "list", "--json"], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["kernelspecs"]["python3"]["resource_dir"].startswith(sys.prefix)
