"""Verdicts on planted claims: true ones hold, false ones do not, and without headroom there is no verdict."""

import shutil

import numpy as np
import pytest
import xarray as xr
from conftest import ROOT

from nsdlib.core.scores.metrics import METRICS
from nsdlib.params import load_run
from nsdlib.study import claims

N = 60
ROLES = {
    "refined": "decoded",
    "rough": "decoded",
    "mean image": "floor",
    "prior only": "floor",
    "mean image of the kind": "label",
    "nearest training image": "retrieval",
    "refined, all true": "ceiling",
    "rough, true latents": "ceiling",
}
SYSTEMS = (*ROLES, "refined, gru", "refined, ridge")


def artifacts(seed, *, clip=None, layers=(15, 31), ceiling=0.9):
    """Artifacts in which every score is the same but for noise and what is planted in CLIP, by system, and for the ceilings."""
    rng = np.random.default_rng(seed)

    def values(*shape):
        return 0.5 + 0.001 * rng.standard_normal(shape)

    metric, image = list(METRICS), np.arange(N)
    scores = xr.DataArray(
        values(len(SYSTEMS), len(metric), N),
        dims=("system", "metric", "test_image"),
        coords={"system": list(SYSTEMS), "metric": metric, "test_image": image},
    )
    scores.loc[{"system": ["refined, all true", "rough, true latents"]}] += ceiling - 0.5
    for system, level in (clip or {}).items():
        scores.loc[{"system": system, "metric": "clip"}] += level
    noise = xr.DataArray(
        values(3, 2, len(metric), N),
        dims=("condition", "diffusion_seed", "metric", "test_image"),
        coords={"condition": ["no noise", "noise 256", "pure noise"], "metric": metric},
    )
    noise.loc[{"metric": "ssim", "condition": ["noise 256", "pure noise"]}] -= 0.3
    noise.loc[{"metric": "clip"}] += 0.1  # above the floors
    noise.loc[{"metric": "clip", "condition": ["noise 256", "pure noise"]}] -= 0.005  # 1 %, of 2 that are allowed
    errors = xr.DataArray(
        values(5, 2, N),
        dims=("decoder", "measure", "test_image"),
        coords={"decoder": ["gru", "cnn", "transformer", "ridge", "ridge, 50,000"], "measure": ["mse", "mae"]},
    )
    errors.loc[{"decoder": "gru", "measure": "mse"}] -= 0.1
    finished = xr.DataArray([[True, True]] * 5, dims=("decoder", "seed"), coords={"decoder": errors.decoder})
    size = xr.DataArray(
        values(3, 1, len(layers), N),
        dims=("system", "measure", "n_layers", "test_image"),
        coords={"system": ["decoded", "oracle", "floor"], "measure": ["SSIM"], "n_layers": list(layers)},
    )
    size.loc[{"system": "oracle", "n_layers": layers[1]}] += 0.1
    size.loc[{"system": "floor"}] -= 0.1
    return {
        "scores": xr.Dataset({"value": scores.sel(system=list(ROLES)).assign_coords(role=("system", list(ROLES.values())))}),
        "controls": xr.Dataset({"value": scores.sel(system=list(SYSTEMS[len(ROLES) :]))}),
        "noise": xr.Dataset({"by_seed": noise}),
        "ablation": xr.Dataset({"errors": errors, "finished": finished}),
        "latent_size": xr.Dataset({"score": size}),
    }


def cut_off(made, *names):
    """The same artifacts, after `max_epochs` has ended the second seed of these networks."""
    finished = made["ablation"].finished.copy()
    finished.loc[{"decoder": list(names), "seed": 1}] = False
    return made | {"ablation": made["ablation"].assign(finished=finished)}


class Artifacts:
    """Artifacts in memory, in place of those of a store."""

    def __init__(self, made):
        self.load, self.has = made.__getitem__, made.__contains__


def measure(planted, shipped=None):
    """Test the claims on artifacts in memory."""
    finished = {name: {"complete": Artifacts(made)} for name, made in (shipped or {}).items()}
    return claims.measure({name: Artifacts(made) for name, made in planted.items()}, finished, n_bootstrap=500)


def verdicts(planted, shipped=None):
    return claims.verdicts(measure(planted, shipped))


def statement(part):
    (only,) = [claim.statement for claim in claims.CLAIMS if part in claim.statement]
    return only


MSE_OF_RIDGE = claims.CLAIMS[2].statement


def test_what_is_planted_is_found():
    planted = {name: artifacts(i, clip={"refined": 0.1, "rough": -0.1}) for i, name in enumerate(("a", "b"))}
    result = verdicts(planted)
    for part in ("refining adds meaning (CLIP)", "noise on the rough image costs structure",
                 "noise on the rough image does not cost meaning", "15 layers", "published penalty",
                 "refining beats the best picture without the brain (CLIP)", "generation beats retrieval"):  # fmt: skip
        assert result[statement(part)] == "holds", part
    assert result[statement("gives up structure")] == "undecided"  # nothing is planted there


def test_claims_on_noise_and_decoders_need_no_scores():
    planted = artifacts(0)
    complete, without = (
        measure({"a": made}).p for made in (planted, {name: planted[name] for name in planted if name != "scores"})
    )
    for part in ("noise on the rough image costs structure", "the GRU than with ridge (SSIM)", "15 layers"):
        assert np.isfinite([tested.sel(claim=statement(part)) for tested in (complete, without)]).all()
    assert without.sel(claim=statement("refining adds meaning (CLIP)")).isnull().all()


def test_the_opposite_is_refuted_and_subjects_may_contradict_each_other():
    worse, better = artifacts(0, clip={"refined": -0.1}), artifacts(1, clip={"refined": 0.1})
    claim = statement("refining adds meaning (CLIP)")
    assert verdicts({"a": worse})[claim] == "does not hold"
    assert verdicts({"a": worse, "b": better})[claim] == "mixed"


def test_a_loss_beyond_the_allowance_counts():
    planted = artifacts(0)
    planted["noise"].by_seed.loc[{"metric": "clip", "condition": "noise 256"}] -= 0.1
    result = verdicts({"a": planted})
    assert result[statement("noise on the rough image does not cost meaning")] == "does not hold"
    assert result[statement("pure noise in place of the rough image does not cost meaning")] == "holds"


def test_no_verdict_where_what_is_true_of_both_is_as_good():
    planted = artifacts(0)
    planted["latent_size"].score.loc[{"system": "oracle", "n_layers": 31}] -= 0.1 - 0.002
    result = verdicts({"a": planted})[statement("15 layers")]
    assert result.startswith("no headroom: the largest possible difference is 0.002; it must exceed the margin, 0.005,")


def test_a_loss_cannot_be_judged_where_there_is_nothing_to_lose():
    planted = artifacts(0)
    planted["latent_size"].score.loc[{"system": "floor"}] += 0.1
    planted["noise"].by_seed.loc[{"metric": "clip"}] -= 0.1
    result = verdicts({"a": planted})
    for part in (
        "15 layers",
        "noise on the rough image does not cost meaning",
        "pure noise in place of the rough image does not",
    ):
        assert result[statement(part)].startswith("nothing to lose"), part
    assert result[statement("noise on the rough image costs structure")] == "holds"


def test_no_verdict_where_a_score_is_saturated_unless_one_system_has_fallen_from_there():
    claim = statement("closer in meaning to the seen ones with the GRU")  # asks for 4 %, here 0.02
    assert verdicts({"a": artifacts(0, ceiling=0.53)})[claim].startswith("undecided, but below the 4 % asked for")
    assert verdicts({"a": artifacts(0, ceiling=0.51)})[claim].startswith("no headroom: the largest possible difference is 0.01")
    fallen = artifacts(0, ceiling=0.51, clip={"refined, gru": -0.1})
    assert verdicts({"a": fallen})[claim] == "does not hold"


def test_a_ceiling_that_cannot_be_told_from_the_systems_leaves_no_room():
    planted = artifacts(0, clip={"refined": 0.1})
    for system in ("refined, all true", "rough, true latents"):
        own = planted["scores"].value.sel(system=system.split(",")[0], metric="clip").values
        noise = 0.05 * np.random.default_rng(1).standard_normal(N)
        planted["scores"].value.loc[{"system": system, "metric": "clip"}] = own + noise - noise.mean()
    assert verdicts({"a": planted})[statement("refining adds meaning (CLIP)")].startswith(
        "no headroom: the largest possible difference is 0.000"
    )


def test_a_subject_without_headroom_is_not_asked():
    without = artifacts(1)
    without["latent_size"].score.loc[{"system": "oracle", "n_layers": 31}] -= 0.1
    assert verdicts({"a": artifacts(0), "b": without})[statement("15 layers")] == "holds in a alone"


def test_the_brain_has_to_beat_the_best_floor():
    claim = statement("refining beats the best picture without the brain (CLIP)")
    low, high = artifacts(0, clip={"refined": 0.1}), artifacts(0, clip={"refined": 0.1, "mean image": 0.2})
    tested = measure({"a": high})
    assert verdicts({"a": low})[claim] == "holds" and claims.verdicts(tested)[claim] == "does not hold"
    assert tested.against.sel(claim=claim).item() == "mean image"
    assert claims.as_table(tested, []).loc[claim, "difference [95 %]"].endswith("] against mean image")
    label = statement("from a label of the seen image (CLIP)")
    assert tested.against.sel(claim=label).item() == "mean image of the kind" and claims.verdicts(tested)[label] == "holds"


def test_labels_need_not_be_known():
    planted = artifacts(0)
    planted["scores"] = planted["scores"].sel(system=[name for name, role in ROLES.items() if role != "label"])
    result = verdicts({"a": planted})
    assert result[statement("from a label of the seen image (CLIP)")].startswith("not decidable: not measured")


def test_what_is_not_decidable_is_said():
    planted = {"a": artifacts(0, layers=(5, 15))}
    assert verdicts(planted)[statement("15 layers")].startswith("not decidable: not measured")
    result = verdicts({"a": cut_off(planted["a"], "gru", "cnn")})
    assert result[MSE_OF_RIDGE].startswith("not decidable: the networks were cut off")
    assert result[statement("noise on the rough image costs structure")] == "holds"


def test_only_the_networks_that_a_claim_compares_must_have_finished():
    result = verdicts({"a": cut_off(artifacts(0), "cnn")})
    assert result[statement("MSE than the CNN's")].startswith("not decidable")
    assert result[MSE_OF_RIDGE] == result[statement("MSE than the Transformer's")] == "holds"


def test_shipped_networks_that_finished_take_the_place_of_those_that_did_not():
    quick, finished = cut_off(artifacts(0), "gru"), artifacts(1)
    finished["ablation"].errors.loc[{"decoder": "gru", "measure": "mse"}] += 0.2  # worse than ridge by 0.1
    tested = measure({"a": quick}, {"a": finished})
    claim = tested.sel(claim=MSE_OF_RIDGE, subject="a")
    wanted = (finished["ablation"].errors.sel(decoder="ridge") - finished["ablation"].errors.sel(decoder="gru")).sel(
        measure="mse"
    )
    assert float(claim["mean"]) == pytest.approx(float(wanted.mean())) and claim.source == "complete"
    assert claims.verdicts(tested)[MSE_OF_RIDGE] == "does not hold"
    assert set(tested.source.sel(claim=[c.statement for c in claims.CLAIMS if not c.networks]).values.ravel()) == {""}
    assert "] complete" in claims.as_table(tested, [load_run("demo")]).loc[MSE_OF_RIDGE, "difference [95 %]"]
    assert set(measure({"a": artifacts(0)}, {"a": finished}).source.values.ravel()) == {""}  # its own have finished


def test_networks_that_are_shipped_unfinished_decide_nothing():
    quick = cut_off(artifacts(0), "gru")
    assert verdicts({"a": quick}, {"a": quick})[MSE_OF_RIDGE].startswith("not decidable")


def test_a_verdict_names_the_subjects_whose_networks_have_finished_where_not_all_have():
    result = verdicts({"a": artifacts(0), "b": cut_off(artifacts(1), "gru")})
    assert result[MSE_OF_RIDGE] == "holds in a alone"
    assert result[statement("noise on the rough image costs structure")] == "holds"


def test_controls_need_not_have_been_made():
    planted = artifacts(0)
    del planted["controls"]
    result = verdicts({"a": planted})
    assert result[statement("with the GRU than with ridge (SSIM)")].startswith("not decidable: not measured")
    assert result[statement("noise on the rough image costs structure")] == "holds"


def test_p_values_are_corrected_for_all_tests():
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


def test_the_table_has_a_line_a_claim():
    planted = {"a": artifacts(0, layers=(5, 15))}
    table = claims.as_table(measure(planted), [load_run("demo")])
    assert len(table) == len(claims.CLAIMS) and list(table) == ["the paper", "asks for", "difference [95 %]", "verdict"]
    assert table.loc[statement("15 layers"), "difference [95 %]"] == "not measured"
    assert table.loc[statement("gives up structure"), "the paper"] == "does not say it"
