"""BIDS event tables are accepted, or refused with advice; a time grid that contains the onsets leaves the betas unchanged."""

import gzip
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator
from scipy.stats import gamma

from nsdlib.core import GLMOptions, design_from_events, fit_glm
from nsdlib.core.glm.events import find_tr
from nsdlib.data import read_events, resample_volumes

TR = 2.0


def table(**columns):
    return pd.DataFrame({"onset": [2.0, 14.0, 8.0], "trial_type": ["house", "cat", "house"]} | columns)


def refusal(*tables, **arguments):
    """What `design_from_events` says of tables that it refuses."""
    with pytest.raises(ValueError) as refused:
        design_from_events(list(tables), **{"n_volumes": [10] * len(tables), "tr": TR} | arguments)
    return str(refused.value)


# Reading


def write(path, text, encoding="utf-8"):
    path.write_bytes(gzip.compress(text.encode(encoding)) if path.suffix == ".gz" else text.encode(encoding))
    return path


@pytest.mark.parametrize("name", ["run-1_events.tsv", "run-1_events.tsv.gz"])
def test_a_table_is_read_as_bids_has_it(tmp_path, name):
    text = "\ufeffonset \tduration\t trial_type\tstim_id\r\n 2.0\tn/a\t01 \t3\r\n-.5\t0\tn/a\t\r\n14\t.5\tNA\t7"
    found = read_events(write(tmp_path / name, text))
    assert list(found) == ["onset", "duration", "trial_type", "stim_id"]
    assert found.onset.tolist() == [2, -0.5, 14]
    np.testing.assert_array_equal(found.duration, [np.nan, 0, 0.5])
    np.testing.assert_array_equal(found.stim_id, [3, np.nan, 7])
    assert found.trial_type[[0, 2]].tolist() == ["01", "NA"] and found.trial_type.isna().tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("onset\ttrial_type\n1\tcafé\n".encode("latin-1"), "UnicodeDecodeError.*Wanted UTF-8 text"),
        (b"onset\ttrial_type\n1\ta\tb\n", "ParserWarning.*no more values in a row"),
        (b"onset\ttrial_type\n1\ta\n2\ta\tb\n", "ParserError"),
        (b"onset,duration\n1,2\n", "wanted a column 'onset' and tabs between.*got the columns onset,duration"),
        (b'onset\timage\n1\ta\n2\t"b\n3\tc\n4\t"d\n', "line 3: a value continues on the next line"),
        (b'onset\timage\n1\t"b\n', "ParserError"),
        (b"1\t2\n3\t4\n", "wanted a column 'onset'.*1, 2"),
    ],
)
def test_a_file_that_is_no_table_of_events_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "sub-01_events.tsv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"(?s)sub-01_events.tsv.*{message}"):
        read_events(path)


def test_a_packed_file_that_is_cut_off_is_refused_and_a_missing_one_is_missing(tmp_path):
    path = write(tmp_path / "events.tsv.gz", "onset\ttrial_type\n" + "1.25\tcat\n" * 500)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"events.tsv.gz cannot be read as a table of text \(EOFError"):
        read_events(path)
    path.write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"events.tsv.gz is an empty file: run `datalad get"):
        read_events(path)
    with pytest.raises(FileNotFoundError, match=r"none.tsv is not there"):
        read_events(str(tmp_path / "none.tsv"))


# Columns and rows


def test_conditions_are_numbered_over_all_runs():
    design, conditions = design_from_events([table(), table(onset=[0, 4, 10.0])], n_volumes=[10, 8], tr=TR)
    assert conditions == ["cat", "house"]
    assert [labels.tolist() for labels in design] == [[0, 2, 0, 0, 2, 0, 0, 1, 0, 0], [2, 0, 1, 0, 0, 2, 0, 0]]


def test_n_a_is_no_condition_and_rows_without_one_are_left_out_where_that_is_asked():
    some = table(trial_type=["house", "n/a", None])
    said = refusal(some)
    assert "Run 1, row 1: onset 14 s is no trial: onset or trial_type is n/a; 2 of 3 rows" in said and "drop=['missing']" in said
    with pytest.warns(UserWarning, match=r"Run 1: 2 of 3 rows left out \(missing\)"):
        [design], conditions = design_from_events([some], n_volumes=[10], tr=TR, drop=["missing"])
    assert design.tolist() == [0, 1, *[0] * 8] and conditions == ["house"]


def test_rows_before_and_behind_the_run_are_left_out_where_that_is_asked():
    some = table(onset=[-75.1, 4.0, 20.0], trial_type=["a", "b", None])
    said = refusal(some, drop=["missing"])
    assert "row 0: onset -75.1 s lies outside the run's 10 volumes of 2 s" in said and "drop=['missing', 'outside']" in said
    with pytest.warns(UserWarning, match=r"1 of 3 rows left out \(missing\)\. Run 1: 1 of 3 rows left out \(outside\)"):
        [design], conditions = design_from_events([some], n_volumes=[10], tr=TR, drop=["missing", "outside"])
    assert design.tolist() == [0, 0, 1, *[0] * 7] and conditions == ["b"]


def test_another_column_names_the_conditions_numbers_before_text():
    runs = [table(image=[10, 9, 10]), table(image=["b", 9, "a"]), table(image=[2.5, np.nan, "b"])[::2]]
    design, conditions = design_from_events(runs, n_volumes=[10, 10, 10], tr=TR, condition="image")
    assert conditions == [2.5, 9, 10, "a", "b"]
    assert [labels[labels > 0].tolist() for labels in design] == [[3, 3, 2], [5, 4, 2], [1, 5]]


def test_a_condition_that_is_a_number_here_and_text_there_is_refused(tmp_path):
    paths = [write(tmp_path / f"{run}.tsv", f"onset\timage\n2\t1\n8\t{name}\n") for run, name in (("a", "02"), ("b", "fix"))]
    said = refusal(*map(read_events, paths), condition="image")
    assert "image '1' is text in one table and a number in another" in said and "text=('image',)" in said
    tables = [read_events(path, text=("image",)) for path in paths]
    assert design_from_events(tables, n_volumes=[10, 10], tr=TR, condition="image")[1] == ["02", "1", "fix"]


@pytest.mark.parametrize("first", [1.0, 3.0, 0.9999999])
def test_onsets_midway_between_volumes_all_go_the_same_way(first):
    onsets = first + 4.0 * np.arange(4)
    with pytest.warns(UserWarning, match="4 of 4 onsets were moved"):
        [design], _ = design_from_events([pd.DataFrame({"onset": onsets, "trial_type": "x"})], n_volumes=[10], tr=TR, max_shift=1)
    assert np.flatnonzero(design).tolist() == [round(first / TR + 0.1) + 2 * trial for trial in range(4)]


def test_columns_that_are_missing_are_named_with_those_there_are():
    said = refusal(table().rename(columns={"trial_type": "stim_type"}))
    assert "wanted one column 'trial_type', got 0. The table has the columns onset, stim_type." in said
    assert "condition='...'" in said and "table.assign(trial_type='trial')" in said
    design, conditions = design_from_events([table()[["onset"]].assign(trial_type="trial")], n_volumes=[10], tr=TR)
    assert conditions == ["trial"] and design[0].sum() == 3
    assert "wanted one column 'onset', got 2" in refusal(pd.concat([table(), table()[["onset"]]], axis=1))
    assert "wanted one column 'onset', got 0" in refusal(table().drop(columns="onset"))


def test_a_run_without_events_has_no_trials_and_needs_no_columns():
    empty = pd.DataFrame({"onset": [], "duration": []})
    design, conditions = design_from_events([empty, table()], n_volumes=[5, 10], tr=TR)
    assert not design[0].any() and len(design[0]) == 5 and conditions == ["cat", "house"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"onset": ["2", "3,5", "8"]}, r"row 1: onset is '3,5', wanted seconds or n/a. Numbers have a decimal point"),
        ({"onset": ["2", "later", "8"]}, "row 1: onset is 'later', wanted seconds or n/a.$"),
        ({"onset": [2, np.inf, 8]}, "row 1: onset is 'inf', wanted"),
        ({"onset": ["n/a", 4, ""]}, r"row 0: onset nan s is no trial: onset or trial_type is n/a; 2 of 3 rows"),
        ({"duration": [1, -1, 0]}, "row 1: duration is '-1', wanted seconds, 0 or more, or n/a"),
        ({"duration": ["1", "short", "0"]}, "row 1: duration is 'short', wanted"),
        ({"trial_type": ["a", ["b"], "c"]}, r"row 1: trial_type is \['b'\], wanted text or a number"),
        ({"trial_type": pd.to_datetime(["2020"] * 3)}, "row 0: trial_type is Timestamp"),
    ],
)
def test_values_of_other_kinds_are_refused_by_run_and_row(columns, message):
    assert re.search(f"^Run 1, {message}", refusal(table(**columns)))


def test_a_duration_of_0_or_n_a_says_nothing_about_overlap_and_rounding_is_no_overlap():
    some = table(duration=["n/a", 0, 6.05], onset=["2.00", " 14 ", "8"])
    [design], _ = design_from_events([some], n_volumes=[10], tr=TR)
    assert np.flatnonzero(design).tolist() == [1, 4, 7]


def test_trials_that_overlap_are_refused_with_the_choices_and_each_choice_is_taken():
    some = table(onset=[2.0, 8.0, 8.0], duration=[0.5, 1.0, 1.0])
    said = refusal(some)
    assert "rows 1 and 2: two trials begin in volume 4" in said and "table.drop(table.index[2]), or the kind of row" in said
    assert "such as table[table['trial_type'] != 'cat']" in said
    others = some[some["trial_type"] != "cat"], some.drop(some.index[2])
    longer = table(duration=[7.0, 3.0, 3.0])
    said = refusal(longer)
    assert (
        "row 2: begins at 8 s, before row 0 ends at 9 s" in said and "Keep one of the two, table.drop(table.index[2]); or" in said
    )
    others += longer.drop(longer.index[2]), longer.drop(columns="duration")
    for other in others:
        design, _ = design_from_events([other], n_volumes=[10], tr=TR)
        assert np.count_nonzero(design[0]) == len(other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_volumes": 10}, "n_volumes=10: wanted a list with the number of volumes of each of the 1 runs"),
        ({"n_volumes": [10, 10]}, r"n_volumes=\[10, 10\]: wanted a list"),
        ({"n_volumes": [10.5]}, "wanted a list with the number"),
        ({"tr": 0}, "tr=0: wanted the seconds"),
        ({"tr": "2"}, "tr='2': wanted the seconds"),
        ({"max_shift": -1}, "max_shift=-1: wanted"),
        ({"drop": "missing"}, "drop='missing': wanted a list of missing, outside"),
        ({"drop": ["n/a"]}, r"drop=\['n/a'\]: wanted"),
    ],
)
def test_arguments_of_other_kinds_are_refused(arguments, message):
    assert re.search(message, refusal(table(), **arguments))


@pytest.mark.parametrize(("tables", "kind"), [(["run-1_events.tsv"], "str"), (table(), "DataFrame"), (None, "NoneType")])
def test_paths_and_single_tables_are_refused_with_how_to_read_them(tables, kind):
    with pytest.raises(ValueError, match=rf"one pandas.DataFrame per run, got {kind}.*read_events\(path\).*is \[table\]"):
        design_from_events(tables, n_volumes=[10], tr=TR)


CELLS = st.sampled_from(["n/a", "", "0", "1.5", "-3", "1e9", "2,5", "NaN", "inf", "True", "x", " 4 ", '"', "é", "1e400"])


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(rows=st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=5), drop=st.sampled_from([(), ("missing", "outside")]))
@pytest.mark.filterwarnings("ignore:Run 1")
def test_whatever_a_table_holds_it_is_taken_or_refused_in_our_words(tmp_path_factory, rows, drop):
    path = tmp_path_factory.mktemp("any") / "events.tsv"
    write(path, "onset\tduration\ttrial_type\n" + "\n".join("\t".join(row) for row in rows))
    try:
        [design], conditions = design_from_events([read_events(path)], n_volumes=[9], tr=TR, drop=drop)
    except ValueError as error:
        assert str(error).startswith(("Run 1", f"{path}"))
    else:
        assert set(design) - {0} == set(range(1, len(conditions) + 1))


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(before=st.binary(max_size=30), after=st.binary(max_size=30), packed=st.booleans())
def test_whatever_bytes_a_file_holds_it_is_read_or_refused_by_name(tmp_path_factory, before, after, packed):
    path = tmp_path_factory.mktemp("any") / ("events.tsv.gz" if packed else "events.tsv")
    path.write_bytes(before + b"onset\ttrial_type\n2\tcat\n" + after)
    try:
        assert "onset" in read_events(path)
    except ValueError as error:
        assert str(error).startswith(f"{path}")


# Onsets between volumes


def response(seconds):
    """A double gamma, at any time: no table of HRFs of ours."""
    seconds = np.maximum(seconds, 0)
    return (gamma.pdf(seconds, 6) - gamma.pdf(seconds, 16) / 6) / 0.175


@pytest.fixture(scope="module")
def jittered():
    """Two runs of noiseless BOLD with onsets 4 to 6 s apart, at any time; tables and true betas with them."""
    rng, tables, bold, truth = np.random.default_rng(0), [], [], []
    for _ in range(2):
        onset = np.cumsum(rng.uniform(4, 6, 45)).round(3)
        truth.append(2 + rng.standard_normal((45, 20)))
        lag = np.arange(150)[:, None] * TR - onset
        bold.append(1000 + 10 * response(lag) @ truth[-1])
        tables.append(pd.DataFrame({"onset": onset, "duration": 0.5, "trial_type": np.arange(45) % 9}))
    return tables, bold, np.concatenate(truth)


def agreement(tables, bold, truth, *, tr, max_shift=None):
    """Correlation of fitted with true betas, mean over voxels."""
    design, _ = design_from_events(tables, n_volumes=[len(run) for run in bold], tr=tr, max_shift=max_shift)
    hrf = response(np.arange(0, 32, tr))
    fitted = fit_glm(design, bold, tr=tr, hrfs=hrf, canonical=hrf, options=GLMOptions(n_pcs=0, fractions=(1,)))
    return np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(fitted.betas_b.values.T, truth.T, strict=True)])


def advised(said):
    """The values that a message about onsets between volumes names: new_tr, its max_shift, the max_shift without it."""
    pattern = r"resample_volumes\(bold, tr=2, new_tr=([\d.]+)\), and give tr=\1(?: and max_shift=([\d.]+))? here"
    new_tr, shift = re.search(pattern, said).groups()
    moved = re.search(r"there are, max_shift=([\d.]+)\.", said)
    return float(new_tr), shift and float(shift), moved and float(moved[1])


@pytest.mark.parametrize(("wanted", "new_tr", "worth"), [(None, 0.2, 0.999), (0.25, 0.5, 0.995)])
def test_on_the_advised_grid_the_planted_betas_come_back(jittered, wanted, new_tr, worth):
    tables, bold, truth = jittered
    said = refusal(*tables, n_volumes=[150, 150], max_shift=wanted)
    assert "Run 1, row 0: onset 5.274 s lies between two volumes (tr=2 s; 38 of 45 rows do)" in said or wanted
    tr, shift, _ = advised(said)
    assert tr == pytest.approx(new_tr, abs=0.05)
    with pytest.warns(UserWarning, match=rf"of 90 onsets were moved to their volumes, by {shift:.1f}\d* s at most"):
        assert agreement(tables, [resample_volumes(run, tr=TR, new_tr=tr) for run in bold], truth, tr=tr, max_shift=shift) > worth


def test_moving_onsets_to_the_volumes_is_taken_said_and_worth_less(jittered):
    tables, bold, truth = jittered
    *_, moved = advised(refusal(*tables, n_volumes=[150, 150]))
    with pytest.warns(UserWarning, match=rf"8\d of 90 onsets were moved to their volumes, by {moved:g} s at most"):
        assert 0.85 < agreement(tables, bold, truth, tr=TR, max_shift=moved) < 0.95


def test_moving_is_not_advised_where_two_trials_would_meet():
    said = refusal(table(onset=[3.2, 14.0, 4.8]))
    new_tr, shift, moved = advised(said)
    assert moved is None
    [design], _ = design_from_events([table(onset=[3.2, 14.0, 4.8])], n_volumes=[90], tr=new_tr, max_shift=shift)
    assert np.count_nonzero(design) == 3


@pytest.mark.parametrize(
    ("onsets", "tr", "new_tr"),
    [
        (np.arange(75) * 4.0, 1.6, 4 / 3),  # NSD: a trial every 4 s, volumes every 1.6 s
        (3 + np.arange(90) * 4.5, 2.0, 1.5),  # THINGS, were its volumes 2 s apart
        (np.arange(40) * 5.5, 1.0, 0.5),
        (0.5 + np.arange(40) * 3.0, 2.0, 0.5),
    ],
)
def test_the_coarsest_grid_that_holds_all_onsets_is_found(onsets, tr, new_tr):
    found, shift = find_tr(onsets, tr=tr, max_shift=0.05 * tr)
    assert found == pytest.approx(new_tr, rel=1e-5) and shift < 1e-3


def test_a_grid_within_any_shift_is_found():
    onsets = np.random.default_rng(1).uniform(0, 600, 300)
    for max_shift in (0.0, 0.03, 0.1, 0.4, 0.9):
        found, shift = find_tr(onsets, tr=2.0, max_shift=max_shift)
        assert shift == np.abs(onsets - np.rint(onsets / found) * found).max() <= max(max_shift, 0.02) * 1.001


# Resampling


def wave(seconds):
    """A signal of two slow waves on a baseline, (n_times, 3 voxels)."""
    phases = np.array([0.0, 1.0, 2.0])
    return 1000 + 20 * np.sin(2 * np.pi * seconds[:, None] / 17 + phases) + 5 * np.cos(2 * np.pi * seconds[:, None] / 11)


@pytest.mark.parametrize("start", [0.0, 1.0, np.array([0.0, 0.7, 1.9])])
def test_a_smooth_signal_is_found_between_its_volumes(start):
    times = np.arange(100) * TR
    measured = np.stack([wave(times + first)[:, voxel] for voxel, first in enumerate(np.broadcast_to(start, 3))], axis=1)
    found = resample_volumes(measured.astype(np.float32), tr=TR, new_tr=0.3, start=start)
    assert found.shape == (661, 3) and found.dtype == np.float32  # to 198 s, the last volume
    truth = wave(np.arange(661) * 0.3)
    assert np.abs(found - truth)[20:640].max() < 0.02 * truth.std()
    held = np.broadcast_to(start, 3) > 0.3
    np.testing.assert_allclose(found[:2, held], np.tile(measured[0, held], (2, 1)), rtol=1e-6)


def test_between_volumes_of_bold_a_spline_is_closer_than_monotone_cubics(jittered):
    tables, bold, truth = jittered
    times = np.arange(1491) * 0.2
    signal = 1000 + 10 * response(times[:, None] - tables[0].onset.values) @ truth[:45]
    found = resample_volumes(bold[0], tr=TR, new_tr=0.2), PchipInterpolator(np.arange(150) * TR, bold[0])(times)
    ours, theirs = (np.sqrt(np.square(values - signal).mean()) / signal.std(axis=0).mean() for values in found)
    assert ours < 0.04 and theirs > 1.5 * ours


def test_whole_numbers_one_bad_voxel_and_the_same_grid():
    series = np.random.default_rng(2).integers(500, 900, (30, 4)).astype(np.int16)
    found = resample_volumes(series, tr=TR, new_tr=TR)
    np.testing.assert_allclose(found, series, atol=1e-3)
    bad = series.astype(np.float32)
    bad[3, 1] = np.nan
    found = resample_volumes(bad, tr=TR, new_tr=0.5)
    assert np.isfinite(found).all(axis=0).tolist() == [True, False, True, True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"new_tr": 3.0}, "new_tr=3.0.*0 < new_tr <= tr"),
        ({"new_tr": 0.0}, "0 < new_tr"),
        ({"start": 900.0}, "start from 900.0 to 900.0.*milliseconds"),
        ({"start": np.zeros(3)}, r"start of shape \(\) or \(n_voxels,\), got float64 of shape \(9, 2\), and \(3,\)"),
        ({"series": np.zeros(9)}, r"got float64 of shape \(9,\)"),
        ({"series": np.full((9, 2), "n/a")}, "wanted numbers of one run.*got <U3"),
    ],
)
def test_volumes_that_cannot_be_resampled_are_refused(arguments, message):
    arguments = {"series": np.zeros((9, 2)), "tr": TR, "new_tr": 1.0} | arguments
    with pytest.raises(ValueError, match=message):
        resample_volumes(arguments.pop("series"), **arguments)
