"""Verdicts on planted claims: true ones hold, false ones do not, and what was not measured is not decidable."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from nsdlib.core.scores.metrics import METRICS
from nsdlib.params import load_run
from nsdlib.study import claims

ROOT = Path(__file__).parents[1]
N = 60
SYSTEMS = ("refined", "rough", "prior only", "nearest training image", "refined, gru", "refined, ridge")


def artifacts(seed, *, clip=None, layers=(15, 31)):
    """Artifacts in which every score is the same but for noise and what is planted in CLIP, by system."""
    rng = np.random.default_rng(seed)

    def values(*shape):
        return 0.5 + 0.001 * rng.standard_normal(shape)

    metric, image = list(METRICS), np.arange(N)
    scores = xr.DataArray(
        values(len(SYSTEMS), len(metric), N),
        dims=("system", "metric", "test_image"),
        coords={"system": list(SYSTEMS), "metric": metric, "test_image": image},
    )
    for system, level in (clip or {}).items():
        scores.loc[{"system": system, "metric": "clip"}] += level
    noise = xr.DataArray(
        values(2, len(metric), 2, N),
        dims=("stage", "metric", "amplitude", "test_image"),
        coords={"stage": ["rough", "refined"], "metric": metric, "amplitude": [0.0, 256.0]},
    )
    noise.loc[{"metric": "ssim", "amplitude": 256.0}] -= 0.3
    noise.loc[{"metric": "clip", "amplitude": 256.0}] -= 0.01  # allowed
    errors = xr.DataArray(
        values(4, 2, N),
        dims=("decoder", "measure", "test_image"),
        coords={"decoder": ["gru", "cnn", "transformer", "ridge"], "measure": ["mse", "mae"]},
    )
    errors.loc[{"decoder": "gru", "measure": "mse"}] -= 0.1
    size = xr.DataArray(
        values(1, 1, len(layers), N),
        dims=("system", "measure", "n_layers", "test_image"),
        coords={"system": ["decoded"], "measure": ["SSIM"], "n_layers": list(layers)},
    )
    return {
        "scores": xr.Dataset({"value": scores.sel(system=list(SYSTEMS[:4]))}),
        "controls": xr.Dataset({"value": scores.sel(system=list(SYSTEMS[4:]))}),
        "noise": xr.Dataset({"value": noise}),
        "ablation": xr.Dataset({"errors": errors}),
        "latent_size": xr.Dataset({"score": size}),
    }


@pytest.fixture
def trained():
    return load_run("demo").model_copy(update={"max_epochs": 200})


class Artifacts:
    """Artifacts in memory, in place of those of a store."""

    def __init__(self, made):
        self.load, self.has = made.__getitem__, made.__contains__


def measure(planted):
    """Test the claims on artifacts in memory."""
    return claims.measure({name: Artifacts(made) for name, made in planted.items()})


def verdicts(planted, run):
    return claims.verdicts(measure(planted), [run] * len(planted))


def statement(part):
    (only,) = [claim.statement for claim in claims.CLAIMS if part in claim.statement]
    return only


def test_what_is_planted_is_found(trained):
    planted = {name: artifacts(i, clip={"refined": 0.1, "rough": -0.1}) for i, name in enumerate(("a", "b"))}
    result = verdicts(planted, trained)
    for part in ("adds meaning (CLIP)", "costs structure", "does not cost meaning", "15 layers", "MSE than ridge's",
                 "the brain adds meaning", "generation beats retrieval"):  # fmt: skip
        assert result[statement(part)] == "holds", part
    assert result[statement("gives up structure")] == "undecided"  # nothing is planted there


def test_the_opposite_is_refuted_and_subjects_may_contradict_each_other(trained):
    worse, better = artifacts(0, clip={"refined": -0.1}), artifacts(1, clip={"refined": 0.1})
    claim = statement("refining adds meaning (CLIP)")
    assert verdicts({"a": worse}, trained)[claim] == "does not hold"
    assert verdicts({"a": worse, "b": better}, trained)[claim] == "mixed"


def test_a_loss_beyond_the_allowance_counts(trained):
    planted = artifacts(0)
    planted["noise"].value.loc[{"metric": "clip", "amplitude": 256.0}] -= 0.1
    assert verdicts({"a": planted}, trained)[statement("does not cost meaning")] == "does not hold"


def test_what_is_not_decidable_is_said(trained):
    planted = {"a": artifacts(0, layers=(5, 15))}
    assert verdicts(planted, trained)[statement("15 layers")].startswith("not decidable: not measured")
    short = trained.model_copy(update={"max_epochs": 20})
    result = verdicts(planted, short)
    assert result[statement("MSE than ridge's")] == "not decidable: the networks were stopped after 20 epochs"
    assert result[statement("costs structure")] == "holds"


def test_controls_need_not_have_been_made(trained):
    planted = artifacts(0)
    del planted["controls"]
    result = verdicts({"a": planted}, trained)
    assert result[statement("with the GRU than with ridge (SSIM)")].startswith("not decidable: not measured")
    assert result[statement("costs structure")] == "holds"


def test_p_values_are_corrected_for_all_tests(trained):
    one = measure({"a": artifacts(0)})
    n_tests = int(one.p.notnull().sum())
    assert n_tests == len(claims.CLAIMS)
    assert float(one.p.min()) == pytest.approx(n_tests / 10_001)  # the smallest that 10,000 patterns give


def test_runs_without_their_artifacts_are_left_out(tmp_path):
    run = load_run("demo").model_copy(update={"store": tmp_path, "group": ("demo",)})
    assert claims.ready(run) == {}


def test_a_member_of_the_group_that_cannot_be_used_does_not_stop_the_others(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "params", tmp_path / "params")
    (tmp_path / "params" / "sim02.yaml").write_text("subjekt: 2\n")
    monkeypatch.setenv("NSDLIB_HOME", str(tmp_path))
    monkeypatch.setattr(claims.Store, "has", lambda *_: True)
    with pytest.warns(UserWarning, match=r"sim02 is left out: params/sim02.yaml: 'subjekt' is no parameter"):
        stores = claims.ready(load_run("demo"))
    assert list(stores) == ["demo", "sim05", "sim07"]


def test_the_table_has_a_line_a_claim(trained):
    planted = {"a": artifacts(0, layers=(5, 15))}
    table = claims.as_table(measure(planted), [trained])
    assert len(table) == len(claims.CLAIMS) and list(table) == ["the paper", "difference [95 %]", "verdict"]
    assert table.loc[statement("15 layers"), "difference [95 %]"] == "not measured"
    assert table.loc[statement("gives up structure"), "the paper"] == "does not say it"
