"""Forecasts: times are proportional to sizes, from records and rehearsals written here; nothing else is assumed."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from nsdlib.params import load_run
from nsdlib.run import costs, forecast, rehearsal
from nsdlib.run.rates import machine_name
from nsdlib.run.runner import notebook_names

SIZES = costs.Amounts(n_train=900, n_test=100, n_voxels=1600, n_brain=4500, volume=17_160)
REFINING = "05_two_stage_reconstruction"


def write(project, run, name, seconds, *, machine=None, **parameters):
    """Write the record of a notebook that has come to its end here, or on another machine."""
    file = project / "runs" / run / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    kept = {"started": "2026-01-02T10:00:00+00:00", "longest": seconds, "parameters": parameters}
    file.write_text(json.dumps(kept | {"machine": machine or machine_name("auto")}))


def expect(run, name=REFINING, sizes=lambda run: SIZES):
    return forecast.expect(run, name, forecast.read_records(run.root), sizes)


def test_what_was_not_recorded_is_not_known(project):
    time = expect(load_run("demo"))
    assert np.isnan(time.seconds) and time.source == ""
    file = project / "runs" / "demo" / f"{REFINING}.json"
    file.parent.mkdir(parents=True)
    for text in ("", "[1]", '{"state": "done", "seconds": 3}', '{"longest": null}'):  # cut short, others', of a failure
        file.write_text(text)
        assert np.isnan(expect(load_run("demo")).seconds)


def test_the_record_of_the_run_comes_first_wherever_it_was_made(project):
    write(project, "sim02", REFINING, 100.0)
    assert expect(load_run("demo")) == forecast.Expectation(100.0, "sim02, 2026-01-02")
    write(project, "demo", REFINING, 30.0, machine="an abacus")
    assert expect(load_run("demo")) == forecast.Expectation(30.0, "demo, 2026-01-02, on an abacus")


def test_a_record_of_another_run_counts_on_the_same_machine_with_the_same_models(project):
    write(project, "sim02", REFINING, 100.0, machine="an abacus")
    write(project, "subj01", REFINING, 100.0)
    write(project, "no_such_run", REFINING, 100.0)
    write(project, "sim05", "04_latent_size", 100.0)
    assert np.isnan(expect(load_run("demo")).seconds)


def test_times_are_in_proportion_to_a_size(project):
    write(project, "demo", REFINING, 10.0)
    more = load_run("demo", n_steps=100)  # 60 are walked at strength 0.6; 4 of 7
    words = "test images x steps x sets of refined images"
    assert expect(more) == forecast.Expectation(150.0, f"demo, 2026-01-02, x 15 by {words}")
    seeds = load_run("demo", diffusion_seeds=(0, 1, 2, 3))  # 7 sets instead of 5, and in notebook 06 9 instead of 5
    assert expect(seeds) == forecast.Expectation(pytest.approx(10 * 7 / 5), f"demo, 2026-01-02, x 1.4 by {words}")
    write(project, "demo", "06_noise_sensitivity", 30.0)
    assert expect(seeds, "06_noise_sensitivity").seconds == pytest.approx(54)
    write(project, "demo", REFINING, 10.0, n_steps=100)  # as `-p n_steps=100` sets it
    assert expect(more).seconds == 10.0
    write(project, "demo", f"{REFINING}__n_steps-50", 12.0, n_steps=50)  # a variant's, which is nearer to some
    assert [expect(load_run("demo", n_steps=n)).seconds for n in (100, 50, 49)] == [10.0, 12.0, pytest.approx(12.0, rel=0.05)]
    larger = costs.Amounts(n_train=1800, n_test=300, n_voxels=1600, n_brain=4500, volume=17_160)
    sizes = {"demo": SIZES, "sim02": larger}
    write(project, "demo", "08_across_subjects", 10.0)
    time = expect(load_run("sim02"), "08_across_subjects", lambda run: sizes[run.name])
    assert time == forecast.Expectation(21.0, "demo, 2026-01-02, x 2.1 by images")


def test_a_record_whose_data_have_been_put_away_tells_nothing(project):
    write(project, "sim02", REFINING, 100.0)
    sizes = {"demo": lambda: SIZES, "sim02": (project / "gone").read_text}
    assert np.isnan(expect(load_run("demo"), sizes=lambda run: sizes[run.name]()).seconds)


def test_of_several_the_nearest_in_size_counts(project):
    sizes = {name: costs.Amounts(0, n_test, 1, 1, 1) for name, n_test in (("demo", 100), ("sim02", 110), ("sim05", 900))}
    write(project, "sim05", REFINING, 900.0)
    write(project, "sim02", REFINING, 220.0)
    assert expect(load_run("demo"), sizes=lambda run: sizes[run.name]).seconds == pytest.approx(200)


@pytest.mark.parametrize("name", [*forecast.SCALES, "99_of_somebody"])
def test_every_notebook_has_a_size_that_grows(name):
    _, scale = forecast.SCALES.get(name, forecast.OTHER_SCALE)
    small, large = load_run("small"), load_run("subj01")
    assert 0 < scale(small, costs.amounts(small)) < scale(large, costs.amounts(large))


def test_a_run_takes_what_its_notebooks_take(project):
    run, names = load_run("demo"), notebook_names(project)
    for number, name in enumerate(names[:-1], start=1):
        write(project, "demo", name, 60.0 * number)
    table = forecast.predict(run, is_gpu=False)
    assert table["seconds"].tolist()[:-1] == [60.0 * number for number in range(1, len(names))]
    hours, source = forecast.run_hours(run, table, costs.amounts(run))
    assert np.isnan(hours) and source == "its first run records it"
    write(project, "demo", names[-1], 0.5)
    hours, source = forecast.run_hours(run, forecast.predict(run, is_gpu=False), costs.amounts(run))
    assert hours == pytest.approx((60 * sum(range(1, len(names))) + 0.5) / 3600) and str(len(names)) in source


def test_a_gpu_takes_memory_of_its_own(project):
    run = load_run("subj01")
    on_cpu, on_gpu = (forecast.predict(run, is_gpu=is_gpu) for is_gpu in (False, True))
    assert (on_cpu["GPU GB"] == 0).all() and on_gpu["GPU GB"].max() > 3
    assert (on_gpu["memory GB"] <= on_cpu["memory GB"]).all()


@pytest.fixture
def rehearsed(project):
    """A rehearsal on this machine in which every stage did ten things a second."""
    table = pd.DataFrame({"measured": "10", "a second": 10.0}, index=pd.Index(rehearsal.STAGES, name="stage"))
    rehearsal.write(table, load_run("subj05"))
    return table


def test_a_rehearsal_tells_what_a_subject_takes_on_such_a_machine(project, rehearsed, monkeypatch):
    run = load_run("subj01")
    sizes = costs.amounts(run)
    wanted = sum(stage.needed(run, sizes) for stage in rehearsal.STAGES.values()) / 10 / 3600
    hours, source = forecast.run_hours(run, forecast.predict(run, is_gpu=False), sizes)
    assert hours == pytest.approx(wanted) and source.startswith("rehearsal, 20")
    demo = load_run("demo")
    assert np.isnan(forecast.run_hours(demo, forecast.predict(demo, is_gpu=False), SIZES)[0])  # other models
    monkeypatch.setattr(forecast, "machine_name", lambda device: "an abacus")
    hours, source = forecast.run_hours(run, forecast.predict(run, is_gpu=False), sizes)
    assert np.isnan(hours) and source == "`nsdlib rehearse subj01` measures it"


def test_a_gpu_that_was_not_rehearsed_takes_what_another_card_took_and_names_it(project):
    run = load_run("subj01")
    sizes, on_cpu, on_gpu = costs.amounts(run), *(forecast.predict(run, is_gpu=is_gpu) for is_gpu in (False, True))
    table = pd.DataFrame({"a second": 100.0, "of the GPU GiB": 5.0}, index=pd.Index(rehearsal.STAGES, name="stage"))
    (project / "book" / "data").mkdir(parents=True)
    (project / "book" / "data" / "rehearsal_x.csv").write_text(f"# NVIDIA X\n# 2026-01-02\n{table.to_csv()}")
    wanted = sum(stage.needed(run, sizes) for stage in rehearsal.STAGES.values()) / 100 / 3600
    hours, source = forecast.run_hours(run, on_gpu, sizes)
    assert hours == pytest.approx(wanted) and source == "rehearsal on NVIDIA X, 2026-01-02"
    assert np.isnan(forecast.run_hours(run, on_cpu, sizes)[0])
    (project / "book" / "data" / "rehearsal_x.csv").write_text(f"# NVIDIA X\n# 2026-01-02\n{table.drop('GRU').to_csv()}")
    assert forecast.run_hours(run, on_gpu, sizes)[1].endswith(", without GRU")
    rehearsal.write(table.assign(**{"a second": 10.0}), run)
    hours, source = forecast.run_hours(run, on_gpu, sizes)
    assert hours == pytest.approx(10 * wanted) and source.startswith("rehearsal, 20")


def test_the_cards_that_came_with_the_project_did_every_stage():
    for stages, machine, _ in rehearsal.saved(ROOT):
        assert set(stages.index) <= set(rehearsal.STAGES) and (stages["a second"] > 0).all() and machine


def test_nodes_share_the_subjects(project, rehearsed):
    runs = [load_run(name) for name in ("subj01", "subj02", "subj05", "subj07")]
    table = forecast.forecast(runs, is_gpu=False)
    alone = forecast.spread(table["hours"], 1)
    assert alone == pytest.approx(table["hours"].sum()) and alone > 0
    assert forecast.spread(table["hours"], 2) == pytest.approx(alone / 2, rel=0.1)
    assert forecast.spread(table["hours"], 9) == table["hours"].max()
    assert list(table.index) == [run.name for run in runs] and (table["images"] == "8,859 + 982").all()
    assert f"| {table['hours']['subj01']:.1f} " in forecast.as_markdown(table)
    with pytest.raises(ValueError, match="n_nodes must be at least 1, got 0"):
        forecast.spread(table["hours"], 0)


def test_a_group_of_which_nothing_is_known_has_no_hours(project):
    table = forecast.forecast([load_run("subj01")], is_gpu=False)
    assert np.isnan(
        forecast.spread(table["hours"], 4)
    ) and "| not known yet | `nsdlib rehearse subj01` measures it |" in forecast.as_markdown(table)


def test_assumptions_name_the_machine():
    sentences = " ".join(forecast.assumptions("cpu"))
    assert machine_name("cpu") in sentences and "in proportion to sizes" in sentences and "max_epochs" in sentences
