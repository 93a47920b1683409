"""Forecasts: seconds from counts and rates, hours of several subjects on several nodes."""

import dataclasses

import pytest

from nsdlib.params import load_run
from nsdlib.run import costs, forecast
from nsdlib.run.rates import REFERENCE, Rates

CPU = Rates("a CPU", 1e11, 1e11, 1e10, 1e9, 1e9)


@pytest.fixture(scope="module")
def sizes():
    return costs.Amounts(n_train=900, n_test=100, n_voxels=1600, n_brain=4500, volume=17_160)


def test_a_slower_machine_takes_longer(sizes):
    table = forecast.predict(load_run("demo"), CPU, sizes)
    for field in ("single", "copy", "read", "write"):
        slower = forecast.predict(load_run("demo"), dataclasses.replace(CPU, **{field: 1e6}), sizes)
        assert (slower["seconds"] >= table["seconds"]).all() and slower["seconds"].sum() > table["seconds"].sum()
        assert slower.drop(columns="seconds").equals(table.drop(columns="seconds"))


def test_a_gpu_takes_memory_of_its_own(sizes):
    run = load_run("subj01")
    on_cpu, on_gpu = (forecast.predict(run, rates, sizes) for rates in (CPU, REFERENCE))
    assert (on_cpu["GPU GB"] == 0).all() and on_gpu["GPU GB"].max() > 3
    assert (on_gpu["memory GB"] <= on_cpu["memory GB"]).all() and on_gpu["seconds"].sum() < on_cpu["seconds"].sum() / 50


def test_nodes_share_the_subjects():
    runs = [load_run(name) for name in ("subj01", "subj02", "subj05", "subj07")]
    table, alone = forecast.forecast(runs, REFERENCE)
    assert alone == pytest.approx(table["hours"].sum())
    assert forecast.forecast(runs, REFERENCE, n_nodes=2)[1] == pytest.approx(alone / 2, rel=0.1)
    assert forecast.forecast(runs, REFERENCE, n_nodes=9)[1] == table["hours"].max()
    assert list(table.index) == [run.name for run in runs] and (table["images"] == "8,859 + 982").all()
    with pytest.raises(ValueError, match="n_nodes must be at least 1, got 0"):
        forecast.forecast(runs, REFERENCE, n_nodes=0)


def test_assumptions_name_device_and_roughness():
    told = " ".join(forecast.assumptions(REFERENCE))
    assert "A100" in told and "3 times too high or too low" in told and "max_epochs" in told
