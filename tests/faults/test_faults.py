"""The page on faults: its kinds of faults are those that are injected, its sums are right, its commands exist."""

import ast
import re
import shlex
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
from conftest import ROOT

from book._ext import faults, pages
from nsdlib.cli import _parser
from nsdlib.params import load_run
from nsdlib.run import forecast, rehearsal
from nsdlib.run.rates import machine_name

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


def test_the_tests_that_hold_the_rules_are_there(page):
    table = rows(page, "what was wrong")
    assert len(table) == 14
    for *_, held_by in table:
        for file, _, name in re.findall(r"`(test_\w+\.py)(::(\w+))?`", held_by):
            [path] = (ROOT / "tests").rglob(file)
            assert re.search(rf"^def {name or 'test_'}", path.read_text(), re.MULTILINE), (file, name)


def test_nothing_has_been_lost():
    """A benchmark that loses a result says so in its table; then this fails, and the loss is to be mended first."""
    assert faults.read(ROOT, "faults")[0]["lost"].sum() == 0


def test_a_table_is_written_only_when_every_kind_was_put_in(survival, tmp_path, monkeypatch):
    monkeypatch.setattr(survival, "TABLE", tmp_path / "book" / "data" / "faults.csv")
    survival.TABLE.parent.mkdir(parents=True)
    outcomes = [(kind, True) for kinds in survival.FAULTS.values() for kind in kinds]
    with pytest.raises(ValueError, match="wanted every kind of fault, not injected: artifact damaged: manifest gone"):
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
    assert re.search(r"\| betas +\| 201 .* right 3, refused 198, megabytes 4 \|", capsys.readouterr().out)
    monkeypatch.setattr(inputs, "TABLE", tmp_path / "book" / "data" / "inputs.csv")
    inputs.TABLE.parent.mkdir(parents=True)
    inputs.write([inputs.attack(name, "", "") for name in READERS])
    assert f"| **all** | {201 * len(READERS)} " in re.sub(" +", " ", faults.inputs_table(tmp_path))


def test_event_tables_are_followed_as_far_as_messages_lead_and_counted_on_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import events

    def put(name, text):
        path = tmp_path / "clone" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    for dataset, tr in (("ds1", 2.0), ("ds2", 2.0), ("ds3", None)):
        put(f"{dataset}/task-see_bold.json", "{}" if tr is None else f'{{"RepetitionTime": {tr}}}')
    for number, onset in enumerate((4, 3)):
        put(f"ds1/sub-01/func/sub-01_task-see_run-{number}_events.tsv", f"onset\ttrial_type\n{onset}\tcat\n12\tdog\n")
    put("ds1/sub-01/func/sub-01_task-see_run-2_events.tsv", "onset\tstim\n-9\tcat\n3\tn/a\n5.5\tdog\n")
    put("ds2/task-see_events.tsv", "onset\tduration\ttrial_type\n4\t0\tcat\n4\t0\tkey\n")
    put("ds3/sub-01/eeg/sub-01_task-see_events.tsv", "onset\ttrial_type\nsoon\tcat\n")
    (tmp_path / "book" / "data").mkdir(parents=True)
    monkeypatch.setattr(events, "ROOT", tmp_path)
    monkeypatch.setattr(events, "TABLE", tmp_path / "book" / "data" / "events.csv")
    monkeypatch.setattr(sys, "argv", ["events.py", str(tmp_path / "clone"), "--write"])
    events.main()
    counts = faults.read(tmp_path, "events")[0].set_index(["dataset", "outcome"]).tables.to_dict()
    assert counts == {
        ("ds1", "taken as it is"): 1,
        ("ds1", "resampled"): 1,
        ("ds1", "column named, missing rows left out, outside rows left out, resampled"): 1,
        ("ds2", "refused: events at the same time"): 1,
    }
    page = re.sub(" +", " ", faults.events_table(tmp_path))
    assert "| refused: events at the same time | 1 | 1 | ds2 |" in page and "| **1 of 2 sets: no table refused** | 4 |" in page


def test_the_faults_of_fetching_are_those_that_are_tested(page):
    tree = ast.parse((ROOT / "tests" / "store" / "test_download.py").read_text())
    tested = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    table = faults.read(ROOT, "transfers")[0]
    assert sorted(table["test"]) == sorted(tested) and len(rows(page, "fault")) == len(tested)


def test_the_sizes_are_those_that_are_counted(page):
    runs = [load_run(name) for name in load_run("subj01").group]
    table, without = (forecast.forecast(runs, is_gpu=is_gpu) for is_gpu in (True, False))
    shown = rows(page, "run")
    assert [row[0] for row in shown] == [run.name for run in runs]
    for name, images, *numbers in shown:
        wanted = table.loc[name]
        assert images == wanted["images"] and float(numbers[0]) == wanted["memory GB"] < float(numbers[-1])
        assert [float(n) for n in numbers[1:4]] == [wanted[kind] for kind in ("GPU GB", "results GB", "to fetch GB")]
        assert float(numbers[-1]) == without["memory GB"][name]


def test_hours_come_from_machines_that_were_rehearsed(tmp_path):
    assert "No machine has been rehearsed yet: `nsdlib rehearse subj01`" in faults.forecast_table(tmp_path)
    runs = [load_run(name) for name in load_run("subj01").group]
    table = pd.DataFrame({"a second": 10.0}, index=pd.Index(rehearsal.STAGES, name="stage"))
    rehearsal.write(table, runs[0].model_copy(update={"root": tmp_path}))
    (tmp_path / "book" / "data").mkdir(parents=True)
    quick = table.assign(**{"a second": 1000.0}).to_csv()
    (tmp_path / "book" / "data" / "rehearsal_abacus.csv").write_text(f"# an abacus\n# 2026-01-02\n{quick}")
    text = faults.forecast_table(tmp_path)
    hours = {row[0]: [float(cell) for cell in row[1:]] for row in rows(text, "hours")}
    assert "| an abacus, 2026-01-02 " in text and machine_name("auto") in text
    assert hours["subj01, ridge to latents"] == [pytest.approx(1 / 1000 / 3600, rel=0.01), pytest.approx(1 / 36000, rel=0.01)]
    for kind, factor in (("subj01, all", 1), ("four subjects, one machine", 4), ("four subjects, 4 such machines", 1)):
        fast, slow = hours[kind]
        assert slow == pytest.approx(100 * fast, rel=0.01) and fast == pytest.approx(factor * hours["subj01, all"][0], rel=0.02)


def test_a_template_that_leaves_a_table_out_is_refused():
    with pytest.raises(ValueError, match=r"must contain each of faults, faults_made, .* once, it contains faults\."):
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
    for name in re.findall(r"book/data/(\w+\.csv)|\(`(tests/[\w/]+\.py)`\)", TEMPLATE):
        assert any((ROOT / place / part).is_file() for part in name if part for place in (".", "book/data"))


def test_the_files_are_read_with_their_heads():
    for name in ("faults", "inputs", "transfers", "events"):
        table, made = faults.read(ROOT, name)
        assert isinstance(table, pd.DataFrame) and not table.isna().any().any() and made
