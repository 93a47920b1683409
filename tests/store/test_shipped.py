"""Shipped results: small arrays of a run are copied into the project, read back unchanged, and checked for being current."""

import json
import shutil

import numpy as np
import pytest
import xarray as xr
from conftest import ROOT

from nsdlib.cli import main
from nsdlib.core.files import atomic_write
from nsdlib.params import load_run
from nsdlib.store import shipped_like
from nsdlib.store.shipped import ABOUT, LARGEST, PLACE, Shipped, ship
from nsdlib.store.store import Store
from nsdlib.study.ablation import ENSEMBLE


@pytest.fixture
def project(project):
    """A project with weights, and a run that is like `small` and trains longer."""
    (project / "zoo").symlink_to(ROOT / "zoo")
    (project / "params" / "longer.yaml").write_text("like: small\nmax_epochs: 3\n")
    return project


def made(run, *names):
    """Put artifacts into the store: a small array, and one that is too large to be shipped."""
    arrays = {name: xr.Dataset({"errors": ("image", np.arange(5.0) + i)}) for i, name in enumerate(names)}
    for name, dataset in arrays.items():
        Store(run).save(name, dataset.assign(images=("pixel", np.zeros(LARGEST + 1, dtype=np.uint8))))
    return arrays


def test_what_differs_and_is_small_is_shipped_and_read_beside_the_other_run(project, capsys):
    arrays = made(load_run("longer"), "ablation", "scores")
    made(load_run("small"), "betas")  # the same in both runs
    assert main(["ship", "longer"]) == 0
    assert "ablation, scores are in" in capsys.readouterr().out
    (shipped,) = shipped_like(load_run("small")).values()
    assert set(shipped.about["artifacts"]) == set(arrays) and not shipped.has("betas")
    for name, dataset in arrays.items():
        with shipped.load(name) as read:
            xr.testing.assert_identical(read.load(), dataset)
    assert shipped.run == load_run("longer") and shipped_like(load_run("longer")) == shipped_like(load_run("demo")) == {}


def test_a_second_time_takes_the_place_of_the_first(project):
    made(load_run("longer"), "ablation", "scores")
    ship(load_run("longer"), machine="one")
    shutil.rmtree(Store(load_run("longer")).path("scores"))
    again = ship(load_run("longer"), machine="another")
    assert sorted(file.name for file in (project / PLACE).iterdir()) == ["longer"]  # and no folder of work beside it
    assert sorted(file.name for file in again.folder.iterdir()) == ["ablation.nc", ABOUT]
    assert again.about["machine"] == "another" and not again.has("scores")


def test_it_says_what_it_was_made_with_and_what_has_changed_since(project):
    made(load_run("longer"), "ablation", "scores")
    shipped = ship(load_run("longer"), machine="a machine, 2 cores")
    assert shipped.outdated() == []
    for word in ("for 3 epochs", "seeds 0", "present parameters and code", "a machine, 2 cores", "torch 2."):
        assert word in str(shipped)
    file = shipped.folder / ABOUT
    older = json.loads(file.read_text())
    older["artifacts"]["ablation"]["provenance"]["code"]["nsdlib.core.training"] = "another"
    older["artifacts"]["scores"]["provenance"]["after"]["reconstruction"] = "another"
    atomic_write(file, json.dumps(older))
    (project / "params" / "longer.yaml").write_text("like: small\nmax_epochs: 4\n")
    changed = Shipped(shipped.folder).outdated()
    assert {"max_epochs was 3, is 4", "other code in nsdlib.core.training"} < set(changed)
    assert "another version of reconstruction" in changed and "another version of ablation" not in changed
    assert "EARLIER VERSION" in str(Shipped(shipped.folder)) and "for 3 epochs" in str(Shipped(shipped.folder))


def test_a_file_that_is_not_the_one_that_was_shipped_is_refused(project):
    made(load_run("longer"), "ablation")
    shipped = ship(load_run("longer"), machine="")
    (shipped.folder / "ablation.nc").write_bytes(b"else")
    with pytest.raises(ValueError, match=r"ablation.nc is not the file that about.json beside it describes.*nsdlib ship longer"):
        shipped.load("ablation")
    with pytest.raises(ValueError, match="does not have noise"):
        shipped.load("noise")


def test_there_must_be_something_to_ship_and_something_to_stand_beside(project, capsys):
    assert main(["ship", "small"]) == 2 and "small is like no other run" in capsys.readouterr().err
    made(load_run("small"), "betas")
    assert main(["ship", "longer"]) == 2
    assert "nothing to ship in which longer differs from small: `nsdlib run longer`" in capsys.readouterr().err
    made(load_run("longer"), "ablation")
    earlier = ship(load_run("longer"), machine="one")
    shutil.rmtree(Store(load_run("longer")).path("ablation"))
    Store(load_run("longer")).save("ablation", xr.Dataset({"images": ("pixel", np.zeros(LARGEST + 1, dtype=np.uint8))}))
    with pytest.raises(ValueError, match="nothing to ship of longer: no array of ablation is below"):
        ship(load_run("longer"), machine="another")
    assert earlier.has("ablation")


COMPLETE = ROOT / PLACE / "complete"


@pytest.fixture
def complete(monkeypatch):
    """What the project ships of the run `complete`."""
    monkeypatch.setenv("NSDLIB_HOME", str(ROOT))
    return Shipped(COMPLETE)


def test_the_project_ships_small_arrays_only_and_with_where_they_come_from(complete):
    files = {file.name: file.stat().st_size for file in COMPLETE.iterdir()}
    assert set(files) == {ABOUT, *(f"{name}.nc" for name in complete.about["artifacts"])} and sum(files.values()) < 3e6
    for name in complete.about["artifacts"]:
        with complete.load(name) as dataset:
            assert all(array.nbytes <= LARGEST for array in dataset.values())
    assert complete.about["commit"] and complete.about["machine"] and complete.run.like == "demo"
    assert shipped_like(load_run("demo"))["complete"].about == complete.about


def test_shipped_networks_have_finished_and_their_errors_follow_from_each_other(complete):
    with complete.load("ablation") as ablation:
        assert ablation.finished.all() and ablation.sizes["seed"] == len(complete.about["run"]["decoder_seeds"]) > 1
        np.testing.assert_allclose(
            ablation.scores.sel(split="test").mean("seed").transpose("decoder", "measure"), ablation.errors.mean("test_image")
        )
        networks = ablation.sel(decoder=ablation.validation.notnull().any(("seed", "epoch")))
        lowest = networks.validation.min("epoch")  # of training; the other is of the network that was kept, on a path of its own
        np.testing.assert_allclose(lowest, networks.scores.sel(split="validation", measure="mse"), rtol=1e-4)
        np.testing.assert_array_equal(networks.best_epoch, networks.validation.fillna(np.inf).argmin("epoch") + 1)


def test_the_shipped_mean_of_ridge_and_gru_errs_no_more_than_the_two_do_on_average(complete):
    """So it is of the mean of predictions, image by image, whose squared error is convex."""
    with complete.load("ablation") as ablation:
        if ENSEMBLE not in ablation.decoder:
            pytest.skip("shipped before there was such a system")
        errors = ablation.errors.sel(measure="mse")
        assert (errors.sel(decoder=ENSEMBLE) <= errors.sel(decoder=["ridge", "gru"]).mean("decoder") + 1e-7).all()


def test_the_demo_computes_what_is_shipped_where_both_compute_the_same(complete):
    """Ridge has neither seeds nor epochs; the demo's own results are there once `make demo` has run."""
    store = Store(load_run("demo"))
    if not store.has("ablation"):
        pytest.skip("the demo has not been run")
    with store.load("ablation") as quick, complete.load("ablation") as shipped:
        ridge = [dataset.errors.sel(decoder="ridge") for dataset in (quick, shipped)]
        np.testing.assert_allclose(*ridge, rtol=1e-3)
        np.testing.assert_allclose(quick.floor_errors, shipped.floor_errors, rtol=1e-4)
