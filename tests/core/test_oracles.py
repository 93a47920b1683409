"""Ridge against himalaya, and fractional ridge against its authors' package: predictions, penalties, choices, coefficients."""

import numpy as np
import pytest
import torch
from fracridge import fracridge as authors_fracridge
from himalaya.kernel_ridge import KernelRidge
from himalaya.ridge import RidgeCV
from sklearn.model_selection import KFold

from nsdlib.core import ridge
from nsdlib.core.glm import fracridge

pytestmark = pytest.mark.numerical

ALPHAS = np.array([1.0, 30.0, 300.0, 3000.0, 30_000.0])


@pytest.fixture(params=[70, 25], ids=["more voxels than images", "fewer"])
def problem(request):
    rng, n_voxels = np.random.default_rng(6), request.param
    X, X_test = (rng.standard_normal((n, n_voxels)) + 2 for n in (40, 11))
    Y = X @ rng.standard_normal((n_voxels, 9)) + 20 * rng.standard_normal((40, 9)) + 7
    return X, Y, X_test


@pytest.mark.parametrize("alpha", ALPHAS)
def test_ridge_predicts_as_himalaya_does(problem, alpha):
    X, Y, X_test = problem
    peer = KernelRidge(alpha=alpha, fit_intercept=True, warn=False).fit(X, Y).predict(X_test)
    ours = ridge.Ridge([alpha], batch_size=4).fit(X, Y).predict(X_test)
    np.testing.assert_allclose(ours, peer, rtol=0, atol=1e-5 * peer.std())  # ours are single precision


def test_ridge_chooses_as_himalaya_does_image_by_image(problem):
    X, Y, X_test = problem
    options = {"local_alpha": False, "warn": False}
    peer = RidgeCV(ALPHAS, fit_intercept=True, cv=KFold(len(X)), solver_params=options).fit(X, Y)  # one image out at a time
    ours = ridge.Ridge(ALPHAS).fit(X, Y)
    assert ours.alpha not in (ALPHAS[0], ALPHAS[-1])  # a choice, not an end of the list
    np.testing.assert_allclose(peer.best_alphas_, ours.alpha)
    np.testing.assert_allclose(ours.errors.min(), -peer.cv_scores_.mean(), rtol=1e-6)
    theirs = peer.predict(X_test)
    np.testing.assert_allclose(ours.predict(X_test), theirs, rtol=0, atol=1e-5 * theirs.std())


@pytest.mark.parametrize("n_runs", [1, 3])
def test_fractional_ridge_equals_the_authors(n_runs):
    rng = np.random.default_rng(7)
    designs = [rng.standard_normal((30 + 5 * run, 12 + run)) for run in range(n_runs)]  # (n_volumes, n_trials) each
    series = [rng.standard_normal((len(design), 6)) for design in designs]  # (n_volumes, n_voxels) each
    fractions = np.array([0.05, 0.3, 0.75, 0.95, 1.0])
    whole = torch.block_diag(*map(torch.as_tensor, designs)).numpy()
    coefficients, penalties = authors_fracridge(whole, np.concatenate(series), fractions, jit=False)
    spectrum = fracridge.Spectrum.of([torch.as_tensor(design.T @ design) for design in designs])
    matrices = spectrum.rotation([torch.as_tensor(design) for design in designs])
    rotated = torch.cat([matrix @ torch.as_tensor(some) for matrix, some in zip(matrices, series, strict=True)])
    ours = spectrum.penalties(torch.as_tensor(fractions), rotated)
    np.testing.assert_allclose(ours, penalties, rtol=1e-9, atol=1e-9)
    for penalty, authors in zip(ours, coefficients.swapaxes(0, 1), strict=True):
        np.testing.assert_allclose(spectrum.shrink(rotated, penalty), authors, rtol=1e-9, atol=1e-12)
