"""The page on what can go wrong: its kinds of faults are those that are put in, its sums are right, its commands exist."""

import ast
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from book._ext import faults, pages
from nsdlib.cli import _parser
from nsdlib.params import load_run
from nsdlib.run import forecast
from nsdlib.run.rates import REFERENCE, WORKSTATION

ROOT = Path(__file__).parents[1]
TEMPLATE = (ROOT / "book" / "reliability.template.md").read_text()


@pytest.fixture(scope="module")
def page():
    return pages.fill(TEMPLATE, faults.TABLES, ROOT)


@pytest.fixture
def survival(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import survival

    return survival


def rows(text, first):
    """Rows of the table of a page whose first column has that name."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if re.match(rf"\| {re.escape(first)} +\|", line))
    table = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            return table
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return table


def test_the_faults_on_the_page_are_those_that_are_put_in(page, survival):
    *kinds, total = rows(page, "kind")
    assert sorted(row[0] for row in kinds) == sorted(kind for kinds in survival.FAULTS.values() for kind in kinds)
    for column in (1, 2, 3):
        assert int(total[column]) == sum(int(row[column]) for row in kinds)
    assert all(int(row[1]) == int(row[2]) + int(row[3]) > 0 for row in kinds)


def test_nothing_has_been_lost():
    """A benchmark that loses a result says so in its table; then this fails, and the loss is to be mended first."""
    assert faults.read(ROOT, "faults")[0]["lost"].sum() == 0


def test_a_table_is_written_only_when_every_kind_was_put_in(survival, tmp_path, monkeypatch):
    monkeypatch.setattr(survival, "TABLE", tmp_path / "book" / "data" / "faults.csv")
    survival.TABLE.parent.mkdir(parents=True)
    outcomes = [(kind, True) for kinds in survival.FAULTS.values() for kind in kinds]
    with pytest.raises(ValueError, match="not written, for these were not put in: artifact damaged: manifest gone"):
        survival.write(survival.as_table(outcomes[:-1]))
    assert not survival.TABLE.exists()
    survival.write(survival.as_table([*outcomes, (outcomes[0][0], False)]))
    found, made = faults.read(tmp_path, "faults")
    assert found.iloc[0].tolist() == [outcomes[0][0], 2, 1, 1] and len(found) == len(outcomes)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d, \w+, Python 3\.\S+, nsdlib 0\.\S+, numpy .*", made)
    assert "| **all** " in faults.faults_table(tmp_path)


def test_the_readers_on_the_page_are_those_that_are_attacked(page):
    from fuzz_files import READERS
    from test_fuzz import N_EXAMPLES, ROOM

    *readers, total = rows(page, "reader")
    assert sorted(row[0] for row in readers) == sorted(READERS)
    for _, inputs, right, refused, megabytes in readers:
        assert int(inputs) == int(right) + int(refused) >= N_EXAMPLES and int(megabytes) * 10**6 < ROOM
    assert int(total[1]) == sum(int(row[1]) for row in readers)


def test_what_readers_made_of_damaged_files_is_reported_and_written(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import inputs
    from fuzz_files import READERS

    report = 'some words\n{"right": 3, "clear error": 198, "peak": 4200000}\n'
    monkeypatch.setattr(inputs, "simulate", lambda run, progress: None)
    monkeypatch.setattr(inputs.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=report))
    monkeypatch.setattr(sys, "argv", ["inputs.py", "--only", "betas", "--write"])
    with pytest.raises(SystemExit, match="2"):
        inputs.main()
    assert "--write wants every reader" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["inputs.py"])
    inputs.main()
    assert re.search(r"\| betas +\| +201 \| +3 \| +198 \| +4 \|", capsys.readouterr().out)
    monkeypatch.setattr(inputs, "TABLE", tmp_path / "book" / "data" / "inputs.csv")
    inputs.TABLE.parent.mkdir(parents=True)
    inputs.write(pd.DataFrame({name: inputs.attack(name, "", "") for name in READERS}).T.rename_axis("reader"))
    assert f"| **all** | {201 * len(READERS)} " in re.sub(" +", " ", faults.inputs_table(tmp_path))


def test_the_faults_of_fetching_are_those_that_are_tested(page):
    tree = ast.parse((ROOT / "tests" / "test_download.py").read_text())
    tested = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    table = faults.read(ROOT, "transfers")[0]
    assert sorted(table["test"]) == sorted(tested) and len(rows(page, "fault")) == len(tested)


def test_the_forecast_is_that_of_the_cost_model(page):
    forecasts = {row[0]: row[1:] for row in rows(page, "forecast")}
    runs = [load_run(name) for name in load_run("subj01").group]
    for column, (rates, n_nodes) in enumerate([(REFERENCE, 1), (REFERENCE, 4), (WORKSTATION, 1)]):
        table, hours = forecast.forecast(runs, rates, n_nodes=n_nodes)
        assert float(forecasts["four subjects, hours"][column]) == round(hours)
        assert float(forecasts["subj01, hours"][column]) == table["hours"]["subj01"]
        assert float(forecasts["memory GB"][column]) == table["memory GB"].max()
    assert float(forecasts["GPU GB"][0]) > 0 == float(forecasts["GPU GB"][2])
    assert [row[0] for row in rows(page, "run")] == [run.name for run in runs]
    assert all(f"- {line}" in page for line in forecast.assumptions(WORKSTATION))


def test_a_cluster_of_four_takes_a_quarter_and_a_workstation_without_a_gpu_longest(page):
    one, four, none = next([float(cell) for cell in row[1:]] for row in rows(page, "forecast") if "four" in row[0])
    assert four < one / 3 and none > 5 * one


def test_a_template_that_leaves_a_table_out_is_refused():
    with pytest.raises(ValueError, match=r"must hold each of faults, faults_made, .* once, it holds faults\."):
        pages.fill("{{faults}}", faults.TABLES, ROOT)


def test_the_commands_on_the_page_exist():
    commands = re.findall(r"`((?:nsdlib|snakemake|python benchmarks/)[^`]*)`", TEMPLATE)
    assert len(commands) > 10
    for command in map(shlex.split, commands):
        if command[0] == "python":
            assert (ROOT / command[1]).is_file()
        elif command[0] == "snakemake":
            assert (ROOT / command[command.index("--profile") + 1] / "config.yaml").is_file()
        elif len(command) > 2:
            _parser().parse_args(command[1:])
    for name in re.findall(r"book/data/(\w+\.csv)|\(`(tests/\w+\.py)`\)", TEMPLATE):
        assert any((ROOT / place / part).is_file() for part in name if part for place in (".", "book/data"))


def test_the_files_are_read_with_their_heads():
    for name in ("faults", "inputs", "transfers"):
        table, made = faults.read(ROOT, name)
        assert isinstance(table, pd.DataFrame) and not table.isna().any().any() and made
