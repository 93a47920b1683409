"""Ridge against scikit-learn, its leave-one-out shortcut against explicit leave-one-out, and the rescaling of predictions."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge as Peer

from nsdlib.core import ridge
from nsdlib.core.ridge import Moments, Ridge, rescale
from nsdlib.params import load_run
from nsdlib.store import zoo

pytestmark = pytest.mark.numerical


@pytest.fixture
def problem():
    rng = np.random.default_rng(3)
    X = rng.standard_normal((40, 70)).astype(np.float32) + 2
    Y = (X @ rng.standard_normal((70, 9)) + 5 * rng.standard_normal((40, 9)) + 7).astype(np.float32)
    return X, Y, rng.standard_normal((11, 70)).astype(np.float32) + 2


@pytest.mark.parametrize("alpha", [0.5, 30.0, 5000.0])
def test_equals_scikit_learn(problem, alpha):
    X, Y, X_test = problem
    peer = Peer(alpha=alpha).fit(X.astype(float), Y.astype(float)).predict(X_test.astype(float))
    ours = Ridge([alpha], batch_size=4).fit(X, Y).predict(X_test)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, peer, rtol=1e-5, atol=1e-5)


def test_leave_one_out_errors_are_the_same_with_more_targets_than_images(problem):
    X, Y, _ = problem
    alphas = (0.5, 30.0, 5000.0)
    few, many = (Ridge(alphas).fit(X, np.tile(Y, (1, n))).errors for n in (1, 6))
    np.testing.assert_allclose(many, few, rtol=1e-9)


def test_leave_one_out_equals_leaving_one_out(problem):
    X, Y, _ = problem
    alphas = [1.0, 100.0, 10_000.0]
    left_out = []
    for alpha in alphas:
        rows = [np.arange(40) != i for i in range(40)]
        left_out.append([Peer(alpha=alpha).fit(X[r], Y[r]).predict(X[~r])[0] for r in rows])
    left_out = np.array(left_out)
    model = Ridge(alphas, batch_size=5).fit(X, Y)
    np.testing.assert_allclose(model.errors, ((left_out - Y) ** 2).mean((1, 2)), rtol=1e-4)
    best = int(np.argmin(model.errors))
    assert model.alpha == alphas[best]
    np.testing.assert_allclose(model.held_out.mean, left_out[best].mean(0), rtol=1e-4)
    np.testing.assert_allclose(model.held_out.sd, left_out[best].std(0), rtol=1e-3)


def test_rescaled_by_the_test_set_has_the_training_moments(problem):
    X, Y, X_test = problem
    model = Ridge([100.0]).fit(X, Y)
    rescaled = rescale(model.predict(X_test), model, mode="test")
    np.testing.assert_allclose(Moments.of(rescaled).sd, Y.std(0), rtol=1e-4)
    np.testing.assert_allclose(rescaled.mean(0), Y.mean(0), rtol=1e-3)


def test_rescaled_by_the_training_set_does_not_lean_on_other_images(problem):
    X, Y, X_test = problem
    model = Ridge([100.0]).fit(X, Y)
    together = rescale(model.predict(X_test), model, mode="train")
    alone = rescale(model.predict(X_test[3:4]), model, mode="train")
    np.testing.assert_allclose(together[3:4], alone, rtol=1e-5)
    assert np.abs(rescale(model.predict(X_test), model, mode="test")[3] - alone[0]).max() > 1e-3
    np.testing.assert_array_equal(rescale(together, model, mode="none"), together)


def test_with_more_trials_than_voxels_and_a_small_penalty_predictions_are_those_in_double():
    draw = np.random.default_rng(0).standard_normal
    shared, X_test = draw((1, 80)), draw((9, 80)).astype(np.float32)  # trials share much
    X = (draw((700, 80)) + 4 * draw((700, 1)) * shared).astype(np.float32)
    X, Y = (X - X.mean(0)) / X.std(0), draw((700, 5)).astype(np.float32)
    theirs, ours = Peer(0.1).fit(X.astype(float), Y).predict(X_test.astype(float)), Ridge((0.1,)).fit(X, Y)
    alone = np.concatenate([ours.predict(X_test[row : row + 1]) for row in range(9)])
    assert max(np.abs(ours.predict(X_test) - theirs).max(), np.abs(alone - theirs).max()) < 1e-4 * theirs.std()


def test_constant_target_stays_constant(problem):
    X, Y, X_test = problem
    Y[:, 2] = 4.0
    model = Ridge([1.0]).fit(X, Y)
    for mode in ("train", "test"):
        np.testing.assert_allclose(rescale(model.predict(X_test), model, mode=mode)[:, 2], 4.0, rtol=1e-5)


def test_bad_input_is_refused(problem):
    X, Y, X_test = problem
    with pytest.raises(ValueError, match="as many images, got"):
        Ridge([1.0]).fit(X[:-1], Y)
    with pytest.raises(ValueError, match="X holds 1 values that are not finite"):
        Ridge([1.0]).fit(np.where(np.arange(X.size).reshape(X.shape) == 5, np.nan, X), Y)
    with pytest.raises(ValueError, match=r"Y\[:, 4:8\] holds 1 values that are not finite"):
        Ridge([1.0], batch_size=4).fit(X, np.where(np.arange(Y.size).reshape(Y.shape) == 5, np.inf, Y))
    with pytest.raises(ValueError, match="not been fitted"):
        Ridge([1.0]).predict(X)
    with pytest.raises(ValueError, match=r"must be \(n_images, 70\)"):
        Ridge([1.0]).fit(X, Y).predict(X_test[:, :5])
    with pytest.raises(ValueError, match="X holds 70 values that are not finite"):
        Ridge([1.0]).fit(X, Y).predict(X_test[:1] * np.nan)
    with pytest.raises(ValueError, match="at least two training images, to predict one from the other, got 1"):
        Ridge([1.0]).fit(X[:1], Y[:1])
    for alphas in ((), (0.0,), (1.0, np.nan), (np.inf,)):
        with pytest.raises(ValueError, match="alphas must be positive penalties, at least one"):
            Ridge(alphas)
    with pytest.raises(ValueError, match=r"X holds 1 values that are not finite numbers, in rows 3$"):
        Ridge([1.0]).fit(X, Y).predict(np.where(np.arange(X_test.size).reshape(X_test.shape) == 3 * 70, np.inf, X_test))
    with pytest.raises(ValueError, match=r"predictions holds .* not finite numbers, in rows 10$"):
        Ridge([1.0]).fit(X, Y).predict(X_test * np.array([[1.0]] * 10 + [[1e300]]))  # float32 ends at 3.4e38
    for large in (-1e300, 1e18):
        with pytest.raises(ValueError, match=r"X holds 1e\+\d+, wanted at most 1e\+17: standardise the patterns"):
            Ridge([1.0]).fit(np.where(np.arange(X.size).reshape(X.shape) == 5, large, X.astype(float)), Y)
    Ridge([1.0]).fit(1e15 * X.astype(np.float32), Y)
    for wrong in (X.tolist(), X * 1j, X.astype(object)):
        with pytest.raises(ValueError, match=r"X must be an array of real numbers, got (list|complex64|object)"):
            Ridge([1.0]).fit(wrong, Y)
    with pytest.raises(ValueError, match='"none", "train" or "test"'):
        rescale(Y, None, mode="tset")


@pytest.mark.parametrize("alphas", [[30.0], [1.0, 30.0], [1e-3]])
def test_byte_order_does_not_matter(problem, alphas):
    X, Y, X_test = problem
    wanted = Ridge(alphas).fit(X, Y).predict(X_test)
    big_endian = Ridge(alphas).fit(X.astype(">f4"), Y.astype(">f4")).predict(X_test.astype(">f4"))
    np.testing.assert_array_equal(big_endian, wanted)


def test_targets_may_lie_in_a_file_of_half_precision(problem, tmp_path):
    X, Y, X_test = problem
    np.save(tmp_path / "Y.npy", Y.astype(np.float16))
    from_file = Ridge([30.0], batch_size=4).fit(X, np.load(tmp_path / "Y.npy", mmap_mode="r")).predict(X_test)
    from_memory = Ridge([30.0]).fit(X, Y.astype(np.float16).astype(np.float32)).predict(X_test)
    np.testing.assert_allclose(from_file, from_memory, rtol=1e-5, atol=1e-5)


def test_of_many_images_some_are_left_out(problem, monkeypatch):
    X, Y, _ = problem
    monkeypatch.setattr(ridge, "HELD_OUT_IMAGES", 15)
    model = Ridge([300.0]).fit(X, Y)
    rows = model._held_out_rows().numpy()
    assert len(np.unique(rows)) == 15
    left_out = [Peer(alpha=300.0).fit(np.delete(X, i, 0), np.delete(Y, i, 0)).predict(X[i : i + 1])[0] for i in rows]
    np.testing.assert_allclose(model.held_out.mean, np.mean(left_out, 0), rtol=1e-3)
    np.testing.assert_allclose(model.held_out.sd, np.std(left_out, 0), rtol=1e-3)


def test_of_many_targets_some_choose(problem, monkeypatch):
    X, Y, _ = problem
    monkeypatch.setattr(ridge, "SELECTION_TARGETS", 4)
    np.testing.assert_allclose(Ridge([1.0, 300.0]).fit(X, Y).errors, Ridge([1.0, 300.0]).fit(X, Y[:, ::3]).errors)


def test_kernels_of_regions_decode_as_their_voxels_do(problem):
    X, Y, X_test = problem
    regions = np.zeros((2, 70), dtype=bool)
    regions[0, :30], regions[1, 20:45] = True, True
    all_train, all_test = ridge.region_kernels(X, X_test)
    for voxels in [*regions, np.ones(70, dtype=bool)]:
        train, test = ridge.region_kernels(X, X_test, voxels)
        peer = Peer(alpha=30.0).fit(X[:, voxels].astype(float), Y.astype(float)).predict(X_test[:, voxels].astype(float))
        ours = Ridge([30.0]).fit_kernel(train, Y).predict_kernel(test)
        np.testing.assert_allclose(ours, peer, rtol=1e-5, atol=1e-5)
    train, test = ridge.region_kernels(X, X_test, regions[1])
    without = ~regions[1]
    peer = Peer(alpha=30.0).fit(X[:, without].astype(float), Y.astype(float)).predict(X_test[:, without].astype(float))
    ours = Ridge([30.0]).fit_kernel(all_train - train, Y).predict_kernel(all_test - test)
    np.testing.assert_allclose(ours, peer, rtol=1e-5, atol=1e-5)


def test_a_ridge_of_a_kernel_is_asked_by_kernels(problem):
    X, Y, X_test = problem
    train, test = ridge.region_kernels(X, X_test)
    with pytest.raises(ValueError, match=r"has not been fitted; call fit\(X, Y\) or fit_kernel"):
        Ridge([1.0]).predict_kernel(test)
    with pytest.raises(ValueError, match=r"kernel must be \(n_images, n_images\) for 40 images of Y, got \(11, 40\)"):
        Ridge([1.0]).fit_kernel(test, Y)
    with pytest.raises(ValueError, match="kernel holds 1600 values that are not finite"):
        Ridge([1.0]).fit_kernel(train * np.nan, Y)
    model = Ridge([1.0]).fit(X, Y).fit_kernel(train, Y)
    with pytest.raises(ValueError, match="fitted to a kernel, not to voxels; call predict_kernel"):
        model.predict(X_test)
    with pytest.raises(ValueError, match=r"must be \(n_images, 40\) as in the fit, got \(11, 9\)"):
        model.predict_kernel(test[:, :9])
    with pytest.raises(ValueError, match="kernel holds 440 values that are not finite"):
        model.predict_kernel(test * np.nan)


def test_published_penalties_take_the_place_of_the_runs_own():
    run = load_run("demo")
    assert zoo.alphas(run, "text") == run.alphas and len(run.alphas) > 1
    brain_diffuser = load_run("demo", penalties="brain_diffuser")
    assert [zoo.alphas(brain_diffuser, kind) for kind in ("latents", "text", "vision")] == [(5e4,), (1e5,), (6e4,)]


def test_a_mask_of_numbers_is_not_taken_for_places():
    X = np.random.default_rng(0).standard_normal((6, 4))
    with pytest.raises(ValueError, match=r"voxels must be a \(n_voxels,\) bool array, got int64"):
        ridge.region_kernels(X, X, np.array([0, 1, 1, 0]))
