"""Norms of ridge weights, against scikit-learn's coefficients."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from nsdlib.core.scores.weight_map import weight_lengths

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("n_voxels", [7, 40], ids=["fewer voxels than images", "more voxels than images"])
def test_lengths_are_those_of_scikit_learns_coefficients(n_voxels):
    X = RNG.standard_normal((20, n_voxels)).astype(np.float32) + 3
    Y = (X[:, :5] @ RNG.standard_normal((5, 11)) + RNG.standard_normal((20, 11))).astype(np.float32)
    expected = np.linalg.norm(Ridge(alpha=2.5).fit(X, Y).coef_, axis=0)
    np.testing.assert_allclose(weight_lengths(X, Y, alphas=(2.5,)), expected, rtol=1e-5)


def test_the_voxels_that_carry_the_targets_have_the_longest_weights():
    X = RNG.standard_normal((200, 30)).astype(np.float32)
    lengths = weight_lengths(X, X[:, [4, 17]] * 2, alphas=(0.1, 1.0, 10.0))
    assert set(np.argsort(lengths)[-2:]) == {4, 17}


def test_errors_are_those_of_ridge():
    with pytest.raises(ValueError, match=r"X must be \(n_images, n_voxels\) and Y"):
        weight_lengths(np.ones((3, 2)), np.ones((4, 2)), alphas=(1.0,))
