"""Event tables of real experiments: trial counts match another reader's, and the book's table matches the files."""

import csv
import re
from types import SimpleNamespace

import pandas as pd
import pytest
from conftest import ROOT

from book._ext import faults
from book._ext.pages import fill
from nsdlib.data import read_events
from nsdlib.data.bids.events import read_trials
from nsdlib.data.bids.importer import guess_image_column
from nsdlib.strict import parse_yaml

EXAMPLES = ROOT / "tests" / "bids_examples"
SHOWN = {  # what a row of a trial has, in the words of each data set
    "ds001499 5000scenes": lambda row: row["ImgName"] != "n/a",
    "ds004192 things": lambda row: row["trial_type"] in ("exp", "test"),
    "ds001246 perception": lambda row: row["event_type"] == "stimulus",
    "ds001246 imagery": lambda row: row["event_type"] == "imagery",
    "ds000117 facerecognition": lambda row: row["stim_file"].startswith("func/"),
    "ds105 objectviewing": lambda row: True,
    "ds002 deterministicclassification": lambda row: row["trial_type"] == "feedback",
    "synthetic nback": lambda row: row["trial_type"] != "n/a",
    "eyetracking_fmri rest": lambda row: True,
}
REFUSED = {"ds107 onebacktask": "begin in volume", "ds008 stopsignal": "begin in volume"}


@pytest.fixture(scope="module")
def tables():
    """What the benchmark makes of the tables: the same as stands in the book's data."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        import events

        yield events.examples()


def rows(name):
    """Rows of a table as the csv module reads them, and its header."""
    dataset, task = name.split()
    (path,) = EXAMPLES.glob(f"*/{dataset}/**/*task-{task}_*events.tsv")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t")
        return [row for row in reader if any(row.values())], path


def test_trials_and_pictures_are_those_that_the_csv_module_counts(tables):
    assert set(tables.index) == {*SHOWN, *REFUSED}
    for name, is_trial in SHOWN.items():
        found, shown = tables.loc[name], [row for row in rows(name)[0] if is_trial(row)]
        assert found.trials == len(shown), name
        assert found.conditions == len({row[found["image column"]] for row in shown}), name
    assert tables.rows.to_dict() == {name: len(rows(name)[0]) for name in tables.index}
    assert tables.trials["ds001499 5000scenes"] == 37 and tables.trials["ds001246 perception"] == 55


def test_what_is_refused_names_two_rows_with_one_onset_and_what_to_do(tables):
    for name, words in REFUSED.items():
        found = tables.loc[name]
        assert found.trials == 0 and words in found.said and "Keep one of the two, table.drop(table.index[" in found.said
        first, second = (int(word.strip(":")) for word in found.said.split("rows ")[1].split()[:3:2])
        onsets = [float(row["onset"]) for row in rows(name)[0]]
        assert abs(onsets[second] - onsets[first]) < 0.6  # closer than any two trials can be told apart


def test_every_onset_of_every_table_is_read_as_written():
    for path in EXAMPLES.rglob("*_events.tsv"):
        with path.open(encoding="utf-8-sig", newline="") as file:
            written = [float(row["onset"]) for row in csv.DictReader(file, delimiter="\t") if row["onset"]]
        assert read_events(path).onset.astype(float).tolist() == written, path


def test_the_books_table_is_that_of_the_files(tables):
    stored, made = faults.read(ROOT, "event_tables")
    pd.testing.assert_frame_equal(stored.set_index("table").fillna(""), tables, check_dtype=False)
    assert "pandas" in made
    page = fill((ROOT / "book" / "your_own_data.template.md").read_text(), faults.OWN_DATA_TABLES, ROOT)
    assert "| ds001499 5000scenes (BOLD5000) " in page and "{{" not in page


def test_the_tables_are_small_and_say_where_they_come_from():
    files = [path for path in EXAMPLES.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 100_000
    provenance = (EXAMPLES / "PROVENANCE.md").read_text()
    assert all(path.relative_to(EXAMPLES).parts[1] in provenance for path in EXAMPLES.glob("*/*"))


def test_what_the_chapter_adds_for_known_data_sets_chooses_their_trials_and_tests():
    chapter = (ROOT / "book" / "your_own_data.template.md").read_text()
    known = re.findall(r"^\| [^|]*, (ds\d+) \| `(\w+)` \| (`-p .*) \|$", chapter, re.M)
    assert [dataset for dataset, *_ in known] == ["ds001499", "ds004192", "ds001246"]
    for dataset, task, added in known:
        written, path = rows(f"{dataset} {task}")
        chosen = {name: parse_yaml(value) for name, value in re.findall(r"-p '(\w+)=([^']*)'", added)}
        column, _ = guess_image_column([read_events(path)])
        runs = {(1, 1): SimpleNamespace(events=path, session="perceptionTest01")}
        settings = {"drop": {}, "test": {}, "whole": False} | chosen
        trials, _ = read_trials(runs, {(1, 1): (1e4, 1e4)}, image_column=column, **settings)
        shown = [row for row in written if SHOWN[f"{dataset} {task}"](row)]
        assert trials["name"].tolist() == [row[column] for row in shown]
        is_test = [row.get("ImgType", "").startswith("rep_") or row.get("trial_type") == "test" for row in shown]
        is_test = [True] * len(shown) if "ses" in chosen["test"] else is_test
        assert trials["test"].tolist() == is_test and any(is_test)
