"""The store: results are read back unchanged, versions coexist, nothing is lost, errors are clear."""

import errno
import functools
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr
from conftest import ROOT

from nsdlib.core import networks, vdvae
from nsdlib.core.images import add_noise
from nsdlib.core.ridge import rescale
from nsdlib.core.scores.metrics import Scorer
from nsdlib.params import Run, load_run
from nsdlib.store import artifact as artifact_module
from nsdlib.store import provenance as provenance_module
from nsdlib.store.artifact import DamagedArtifact, MissingArtifact, StoreFull
from nsdlib.store.provenance import ARTIFACTS, Step, artifact_hash, call_provenance, find_step, provenance
from nsdlib.store.store import Store
from nsdlib.study import ablation, leaks


@pytest.fixture
def run(project):
    """The small run with a store and a zoo of its own."""
    return load_run("small")


@pytest.fixture
def example():
    """One array of every type that notebooks keep."""
    rng = np.random.default_rng(0)
    arrays = {
        "bytes": (("image", "row"), rng.integers(0, 256, (3, 4)).astype(np.uint8)),
        "half": ("image", rng.normal(size=3).astype(np.float16)),
        "single": ("image", np.array([1, np.nan, np.inf], np.float32)),
        "double": ("image", rng.normal(size=3)),
        "flag": ("image", np.array([True, False, True])),
        "count": ("image", np.array([1, 2, 2**40])),
        "label": ("image", np.array(["V1v", "", "mélange"])),
        "alone": ((), np.float32(3)),
        "empty": ("nothing", np.zeros(0, np.float32)),
    }
    return xr.Dataset(arrays, coords={"image": [7, 3, 72999]}, attrs={"note": "sd of what?"})


def test_every_type_round_trips(run, example):
    stored = Store(run).save("glm", example)
    assert stored.identical(example)
    assert {name: array.dtype for name, array in stored.items()} == {name: a.dtype for name, a in example.items()}
    assert Store(run).load("glm").identical(example)


def test_loading_is_lazy_and_closes(run, example):
    Store(run).save("glm", example).close()
    with Store(run).load("glm") as dataset:
        assert not dataset["bytes"].variable._in_memory
    (Store(run).path("glm") / "arrays.nc").rename(run.root / "moved.nc")


def test_cached_makes_once(run, example):
    calls = []
    for _ in range(2):
        Store(run).cached("glm", lambda: calls.append(1) or example)
    assert len(calls) == 1


def test_the_manifest_says_where_the_arrays_come_from(run, example):
    store = Store(run)
    store.save("glm", example)
    manifest = json.loads((store.path("glm") / "manifest.json").read_text())
    assert manifest["notebook"] == "01_hrf_glmsingle" and manifest["provenance"]["fields"]["subject"] == 1
    assert len(manifest["sha256"]) == 64 and manifest["versions"]["torch"] and str(run.root) not in json.dumps(manifest)


def test_a_missing_artifact_names_its_notebook(run):
    with pytest.raises(MissingArtifact, match=r"'scores' of run 'small' .*`nsdlib run small 05_two_stage_reconstruction`"):
        Store(run).load("scores")


def test_another_parameter_makes_another_artifact_and_says_so(run, example):
    store, other = Store(run), Store(load_run("small", decoder="cnn"))
    store.save("scores", example)
    assert store.path("scores") != other.path("scores") and store.path("betas") == other.path("betas")
    with pytest.raises(MissingArtifact, match="exists, but differs: decoder was 'gru', is 'cnn'"):
        other.load("scores")
    other.save("scores", example.isel(image=[0]))
    assert store.load("scores").identical(example)


def test_the_published_betas_do_not_depend_on_our_glm(run):
    assert provenance(load_run("small", betas="nsd"), "betas")["after"] == {}
    assert set(provenance(load_run("small", betas="glm"), "betas")["after"]) == {"glm"}


def test_a_group_depends_on_all_its_members(run):
    both = load_run("small", group=("small", "demo"))
    read = ("scores", "noise", "ablation", "latent_size", "controls")
    assert set(provenance(both, "group")["after"]) == {f"{member}/{name}" for member in both.group for name in read}


def test_other_weights_make_another_artifact(run):
    before = artifact_hash(run, "targets"), artifact_hash(run, "betas")
    weights = run.root / "zoo" / "demo" / "vdvae" / "vdvae.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"one")
    assert (artifact_hash(run, "targets") != before[0], artifact_hash(run, "betas") == before[1]) == (True, True)
    paper = load_run("small", zoo="paper")
    assert provenance(paper, "targets")["weights"] == {"vdvae": "paper"}


def _flip(arrays, manifest):
    content = bytearray(arrays.read_bytes())
    content[len(content) // 2] ^= 1
    arrays.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (_flip, r"arrays.nc is not the file .* its sha256 differs"),
        (lambda arrays, manifest: os.truncate(arrays, 100), r"arrays.nc is not the file .* its sha256 differs"),
        (lambda arrays, manifest: arrays.unlink(), r"arrays.nc is not the file .* its sha256 differs"),
        (lambda arrays, manifest: manifest.write_text("{"), r"manifest.json is not the file .* it cannot be read"),
        (lambda arrays, manifest: manifest.write_text("[]"), r"manifest.json is not the file .* it cannot be read"),
    ],
)
def test_what_is_damaged_is_refused_and_made_anew_and_kept_beside(run, example, damage, problem):
    store = Store(run)
    store.save("glm", example).close()
    damage(store.path("glm") / "arrays.nc", store.path("glm") / "manifest.json")
    with pytest.raises(DamagedArtifact, match=problem + r".*To replace it, run `nsdlib run small 01_hrf_glmsingle` again"):
        store.load("glm")
    assert not store.has("glm")
    with pytest.warns(UserWarning, match="was damaged and has been made again; it is kept as .*/.damaged-glm-"):
        assert store.cached("glm", lambda: example).identical(example)
    assert len(list(run.store.glob(".damaged-*"))) == 1 and store.has("glm")


def test_a_parameter_file_that_is_being_edited_costs_no_result(run, example):
    (run.root / "params" / "small.yaml").write_text("roi: [")
    assert Store(run).save("glm", example).identical(example) and Store(run).has("glm")


def test_a_lost_manifest_makes_the_artifact_missing_and_it_is_made_again(run, example):
    store = Store(run)
    store.save("glm", example).close()
    arrays = (store.path("glm") / "arrays.nc").read_bytes()
    (store.path("glm") / "manifest.json").unlink()
    with pytest.raises(MissingArtifact, match="run `nsdlib run small 01_hrf_glmsingle` first"):
        store.load("glm")
    assert store.cached("glm", lambda: example).identical(example)
    assert [file.read_bytes() for file in run.store.glob(".incomplete-*/arrays.nc")] == [arrays]


@pytest.mark.parametrize("step", ["preallocate", "_sync"])
def test_a_full_disk_leaves_nothing_and_says_how_much_to_free(run, example, monkeypatch, step):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    store, needed = Store(run), f"{example.nbytes + artifact_module.OVERHEAD:,}"
    with monkeypatch.context() as patch:
        patch.setattr(artifact_module, step, full)
        patch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=example.nbytes))
        with pytest.raises(StoreFull, match=rf"artifact 'glm' of run 'small': it takes up to {needed} bytes") as error:
            store.save("glm", example)
    assert "Free 1,048,576 bytes, or name another folder as `store`" in str(error.value)
    assert "then run `nsdlib run small 01_hrf_glmsingle` again" in str(error.value)
    assert not store.has("glm") and list(run.store.iterdir()) == []
    assert store.save("glm", example).identical(example)


def test_a_limit_is_told_from_a_full_disk_and_other_errors_stay_what_they_are(run, example, monkeypatch):
    answers = iter([OSError(errno.EDQUOT, "quota"), OSError(errno.EIO, "broken")])

    def refuse(*_):
        raise next(answers)

    monkeypatch.setattr(artifact_module, "preallocate", refuse)
    with pytest.raises(StoreFull, match="A quota or a limit on file sizes prevents it: raise the limit"):
        Store(run).save("glm", example)
    with pytest.raises(OSError, match="broken"):
        Store(run).save("glm", example)
    assert list(run.store.iterdir()) == []


def test_a_damaged_manifest_is_told(run, example):
    store = Store(run)
    store.save("scores", example).close()
    for text in ("{", "[]", "{}", '{"sha256": 1, "run": {}, "provenance": {}}'):
        (store.path("scores") / "manifest.json").write_text(text)
        with pytest.raises(DamagedArtifact, match=r"manifest.json is not the file that .*: it cannot be read\."):
            store.load("scores")
        with pytest.raises(MissingArtifact, match=r"scores-\w+ exists, but its manifest cannot be read"):
            Store(load_run("small", decoder="cnn")).load("scores")


def test_arrays_that_are_no_netcdf_are_told_even_where_the_manifest_fits(run, example):
    store = Store(run)
    store.save("glm", example).close()
    arrays, manifest = (store.path("glm") / name for name in ("arrays.nc", "manifest.json"))
    arrays.write_bytes(b"no netCDF")
    fitting = json.loads(manifest.read_text()) | {"sha256": provenance_module.file_hash(arrays)}
    manifest.write_text(json.dumps(fitting))
    with pytest.raises(DamagedArtifact, match=r"arrays.nc is not the file that notebook 01_hrf_glmsingle wrote \(\w+: "):
        store.load("glm")


def test_the_first_of_two_writers_wins(run, example):
    first = Store(run).save("glm", example)
    again = Store(run).save("glm", example.isel(image=[0]))
    assert again.identical(first) and [p.name for p in run.store.iterdir()] == [Store(run).path("glm").name]


def test_what_killed_writers_leave_is_swept_where_surely_nobody_writes(run, example):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    here, another, old = artifact_module.machine_id(), "0" * 12, time.time() - artifact_module.DAY - 60
    left = {
        f".partial-{here}-{dead.pid}-glm-a": (time.time(), False),
        f".partial-{here}-{os.getpid()}-glm-b": (old, True),  # a process that lives, however long it rests
        f".partial-{here}-1-glm-c": (old, True),
        f".partial-{another}-{dead.pid}-glm-d": (time.time(), True),  # its processes are not seen here
        f".partial-{another}-{os.getpid()}-glm-e": (old, False),
        f".partial-{dead.pid}-glm-f": (time.time(), True),  # as it was once called
        f".partial-{os.getpid()}-glm-g": (old, False),
    }
    for name, (changed, _) in left.items():
        folder = run.store / name
        folder.mkdir(parents=True)
        (folder / "arrays.nc").touch()
        for path in (folder / "arrays.nc", folder):
            os.utime(path, (changed, changed))
    Store(run).save("glm", example).close()
    assert {path.name for path in run.store.glob(".partial-*")} == {name for name, (_, stays) in left.items() if stays}


def test_a_writer_that_has_only_just_begun_is_left_alone_and_one_still_at_its_arrays(run, example):
    folder = run.store / f".partial-{'0' * 12}-1-glm-x"
    folder.mkdir(parents=True)
    (folder / "arrays.nc").touch()
    os.utime(folder, (0, 0))  # begun long ago, and its file has just been written to
    Store(run).save("glm", example).close()
    assert folder.is_dir()


def test_what_is_no_dataset_is_refused(run):
    with pytest.raises(ValueError, match=r"keeps an xarray.Dataset; for 'glm' it got a ndarray"):
        Store(run).save("glm", np.zeros(3))


def test_the_scratch_of_a_run_that_shares_the_store_stays_when_another_saves(run, example):
    other = Store(run.model_copy(update={"name": "demo"}))
    assert other.path("glm") == Store(run).path("glm")
    other.scratch("glm").mkdir(parents=True)
    Store(run).save("glm", example).close()
    assert other.scratch("glm").is_dir()


def test_unknown_artifacts_are_refused_with_the_nearest(run):
    with pytest.raises(ValueError, match="'score' is no artifact: did you mean 'scores'"):
        Store(run).load("score")


def test_the_table_names_only_what_exists():
    for name, step in ARTIFACTS.items():
        assert isinstance(find_step(name), Step)
        assert set(step.params) <= set(Run.model_fields) and set(step.after + step.across) <= set(ARTIFACTS)
        assert (ROOT / "notebooks" / f"{step.notebook}.ipynb").is_file()
        assert f"notebook {step.notebook}" in provenance(load_run("small"), name)["code"]


@pytest.fixture
def counted(monkeypatch):
    """A function of the library that notes its calls, and the list of them."""
    calls = []

    @functools.wraps(add_noise)
    def noisy(*arguments, **options):
        calls.append(arguments)
        return add_noise(*arguments, **options)

    return noisy, calls


@pytest.fixture
def given(images):
    return {"images": images, "amplitude": 8.0, "seed": 1, "image_ids": np.arange(5)}


def test_a_memoised_function_is_called_once_for_equal_arguments(run, images, counted, given):
    (noisy, calls), ids = counted, given["image_ids"]
    wanted = add_noise(**given)
    for arguments, options in (
        ((images, 8.0), {"seed": 1, "image_ids": ids}),
        ((images.copy(), np.float64(8)), {"image_ids": ids, "seed": np.int64(1)}),
        ((), given),
    ):
        found = Store(run).memoise(noisy)(*arguments, **options)
        assert type(found) is np.ndarray and found.dtype == np.uint8
        np.testing.assert_array_equal(found, wanted)
    assert len(calls) == 1
    others = ({"amplitude": 16.0}, {"seed": 2}, {"images": images[::-1]}, {"image_ids": ids.astype(np.int32)})
    for other in others:
        found = Store(run).memoise(noisy)(**given | other)
        np.testing.assert_array_equal(found, add_noise(**given | other))
    assert len(calls) == 1 + len(others) == len(list(run.store.glob("kept-add_noise-*/manifest.json")))


def test_what_a_call_depends_on(run, given):
    def key(function=add_noise, weights=(), **options):
        return provenance_module.digest(call_provenance(run, function, (), options, weights=weights))

    X = np.zeros((2, 3))
    fitting = {"name": "gru", "X": X, "Y": X, "seed": 1}
    assert key(networks.fit, **fitting) == key(networks.fit, **fitting, device="cuda")
    assert key(networks.fit, **fitting) != key(networks.fit, **fitting | {"X": X.reshape(3, 2)})
    assert key(networks.fit, **fitting) != key(networks.fit, **fitting | {"X": X.astype(np.float32)})
    assert key(ablation.by_region, X=(X, X), in_region=X, targets={"where": X}, alphas=(1.0,)) != key(
        ablation.by_region, X=(X, X), in_region=X, targets={"where": X + 1}, alphas=(1.0,)
    )
    told = {"truth": X, "reconstruction": X}
    protocols = [Scorer({"none": None}, protocol=name) for name in ("brain_diffuser", "mindeye2")]
    assert len({key(scorer.score, weights=("features",), **told) for scorer in protocols}) == 2
    short = {"latents": X}
    assert key(vdvae.VDVAE.decode, self=1, **short) == key(vdvae.VDVAE.decode, self=1, **short, seed=0, batch_size=64)


def test_other_code_and_other_weights_make_a_function_be_called_again(run, counted, given, monkeypatch):
    noisy, calls = counted
    weights = run.root / "zoo" / "demo" / "vdvae" / "vdvae.safetensors"
    weights.parent.mkdir(parents=True)
    for content in (b"one", b"another"):
        weights.write_bytes(content)
        for _ in range(2):
            Store(run).memoise(noisy, weights=("vdvae",))(**given)
    assert len(calls) == 2
    monkeypatch.setattr(provenance_module.sources, "module_hash", lambda module: "new")
    Store(run).memoise(noisy, weights=("vdvae",))(**given)
    assert len(calls) == 3


def labelled(X, *, where="cpu"):
    """An array with labels."""
    return xr.DataArray(X, dims=("metric", "image"), coords={"metric": ["a", "é"]}, attrs={"zoo": "demo"})


def test_a_labelled_array_comes_back_with_its_labels(run, monkeypatch):
    monkeypatch.setattr(labelled, "__module__", "nsdlib.study.ablation")
    X = np.random.default_rng(0).normal(size=(2, 3))
    for _ in range(2):
        found = Store(run).memoise(labelled)(X)
        assert found.identical(labelled(X)) and found.dtype == X.dtype


class Scaler:
    """An object whose settings tell it from others, or not."""

    def scale(self, images):
        return images * self.settings["factor"]

    def mean(self, images):
        return float(images.mean())


def test_a_methods_object_says_what_tells_it_from_others_or_is_refused(run, images, monkeypatch):
    for method in (Scaler.scale, Scaler.mean):
        monkeypatch.setattr(method, "__module__", "nsdlib.core.images")
    one = Scaler()
    with pytest.raises(TypeError, match=r"Scaler.scale depends on values other than its arguments"):
        Store(run).memoise(one.scale)(images)
    for factor in (2, 3, 2):
        one.settings = {"factor": factor}
        np.testing.assert_array_equal(Store(run).memoise(one.scale)(images), images * factor)
    with pytest.raises(TypeError, match="mean returned a float; wanted an array"):
        Store(run).memoise(one.mean)(images)
    one.settings = {"networks": Scaler()}
    with pytest.raises(TypeError, match=r"networks: .* a Scaler cannot be hashed; wanted arrays, numbers"):
        Store(run).memoise(one.scale)(images)


def test_functions_whose_code_cannot_be_told_are_refused(run, images, given):
    with pytest.raises(TypeError, match=r"labelled is from .*test_store; wanted a function of a module of nsdlib"):
        Store(run).memoise(labelled)(images)
    with pytest.raises(TypeError, match=r"load_run is from nsdlib\.params; wanted a function of a module of nsdlib that"):
        Store(run).memoise(load_run)("small")
    held = leaks.decoder((np.eye(4), np.eye(4)), alphas=(1.0,))
    with pytest.raises(TypeError, match="depends on values other than its arguments"):
        Store(run).memoise(held)(np.eye(4), np.eye(4))
    with pytest.raises(ValueError, match="'feature' is no folder of weights: did you mean 'features'"):
        Store(run).memoise(add_noise, weights=("feature",))(**given)


def test_what_was_kept_and_damaged_is_made_anew_and_a_full_disk_costs_only_the_keeping(run, counted, given, monkeypatch):
    noisy, calls = counted
    once = Store(run).memoise(noisy)
    first = once(**given)
    (arrays,) = run.store.glob("kept-add_noise-*/arrays.nc")
    _flip(arrays, None)
    with pytest.warns(UserWarning, match="was damaged and has been made again"):
        np.testing.assert_array_equal(once(**given), first)
    assert len(calls) == 2

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(artifact_module, "preallocate", full)
    with pytest.warns(UserWarning, match=r"no room for the result of add_noise of run 'small'.*each call computes it"):
        np.testing.assert_array_equal(once(**given | {"seed": 2}), add_noise(**given | {"seed": 2}))


def test_a_trained_network_comes_back_from_the_store_and_predicts_the_same(run):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(40, 12)).astype(np.float32), rng.normal(size=(40, 3)).astype(np.float32)
    settings = {"max_epochs": 2, "batch_size": 8, "groups": np.arange(12) % 3, "seed": 4}
    for name in networks.NETWORKS:
        fit = Store(run).memoise(networks.fit, kind=networks.NeuralDecoder)
        before = torch.random.get_rng_state()
        wanted, first, again = (one(name, X, Y, **settings) for one in (networks.fit, fit, fit))
        assert torch.equal(before, torch.random.get_rng_state())
        assert again.history == wanted.history and again.seconds == first.seconds
        np.testing.assert_array_equal(again.predict(X), wanted.predict(X))
        np.testing.assert_array_equal(again.predicted_validation, wanted.predicted_validation)
        np.testing.assert_array_equal(again.rows_validation, wanted.rows_validation)
        for mode in ("none", "train", "test"):
            both = [rescale(one.predict(X), one, mode=mode) for one in (wanted, again)]
            np.testing.assert_array_equal(*both)


def test_where_the_system_tells_no_machine_nobody_is_known_and_age_tells(run, example, monkeypatch, tmp_path):
    monkeypatch.setattr(artifact_module, "BOOT", tmp_path / "no_proc")
    artifact_module.machine_id.cache_clear()
    here, others = artifact_module.machine_id(), run.store / ".partial-0123456789ab-1-glm-x"
    others.mkdir(parents=True)
    (others / "arrays.nc").touch()
    assert len(here) == 12 and here == artifact_module.machine_id()
    Store(run).save("glm", example).close()
    assert others.is_dir() and Store(run).has("glm")
    for path in (others / "arrays.nc", others):
        os.utime(path, (0, 0))
    Store(run).save("betas", example).close()
    assert not others.exists()
    artifact_module.machine_id.cache_clear()


def test_a_folder_that_cannot_be_synced_costs_nothing_and_a_file_that_cannot_is_an_error(run, example, monkeypatch):
    fsync, refused = os.fsync, []

    def refuse(descriptor):
        if Path(f"/dev/fd/{descriptor}").is_dir() or refused == ["all"]:
            refused.append(descriptor)
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    assert Store(run).save("glm", example).identical(example) and refused
    refused[:] = ["all"]
    with pytest.raises(OSError, match="Invalid argument"):
        Store(run).save("betas", example)
