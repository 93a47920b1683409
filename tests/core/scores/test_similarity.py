"""Similarity measures, each against an independent program or an explicit loop."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.distance import correlation
from skimage.color import rgb2gray
from skimage.data import astronaut
from skimage.metrics import structural_similarity

from nsdlib.core.images import resize
from nsdlib.core.scores import similarity

pytestmark = pytest.mark.numerical


@pytest.fixture(scope="module")
def pairs():
    """Photographs cut from one picture, and the same blurred, noisy, or shifted: two (6, 70, 70, 3) uint8."""
    rng = np.random.default_rng(0)
    picture = astronaut()
    truth = np.stack([picture[k : k + 70, 40 + k : 110 + k] for k in range(0, 360, 60)])
    noisy = truth[:2] + rng.normal(0, 40, truth[:2].shape)
    small = [np.asarray(Image.fromarray(image).resize((12, 12)).resize((70, 70))) for image in truth[2:4]]
    changed = [*np.clip(noisy, 0, 255), *small, np.roll(truth[4], 5, axis=0), truth[5]]
    return truth, np.stack(changed).astype(np.uint8)


def test_ssim_is_that_of_scikit_image(pairs):
    wanted = [
        structural_similarity(
            rgb2gray(a), rgb2gray(b), gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0
        )
        for a, b in zip(*pairs, strict=True)
    ]
    got = similarity.ssim(*pairs)
    np.testing.assert_allclose(got, wanted, atol=1e-12)
    assert got[-1] == pytest.approx(1) and got[:-1].max() < 0.95


def test_ssim_of_flat_images_is_that_of_scikit_image():
    truth = np.full((2, 20, 20, 3), 255, dtype=np.uint8)
    other = np.stack([np.full((20, 20, 3), 250, dtype=np.uint8), np.eye(20, dtype=np.uint8)[..., None].repeat(3, 2)])
    wanted = [
        structural_similarity(
            rgb2gray(a), rgb2gray(b), gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0
        )
        for a, b in zip(truth, other, strict=True)
    ]
    np.testing.assert_allclose(similarity.ssim(truth, other), wanted, atol=1e-12)


def test_pixcorr_is_numpys_correlation(pairs):
    wanted = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(*pairs, strict=True)]
    np.testing.assert_allclose(similarity.pixcorr(*pairs), wanted, atol=1e-12)


def test_a_constant_image_correlates_with_nothing(pairs):
    flat = np.full_like(pairs[0], 77)
    assert (similarity.pixcorr(pairs[0], flat) == 0).all()


def test_batches_do_not_matter(pairs):
    truth, other = (np.tile(images, (7, 1, 1, 1)) for images in pairs)
    np.testing.assert_array_equal(similarity.ssim(truth, other)[-6:], similarity.ssim(*pairs))


def test_a_reconstruction_of_another_size_is_resized_to_the_truth(pairs):
    truth, _ = pairs
    large = resize(truth, 140)
    assert large.shape == (6, 140, 140, 3) and similarity.pixcorr(truth, large).min() > 0.99


def test_resizing_is_pillows_bilinear():
    picture = astronaut()
    wanted = np.asarray(Image.fromarray(picture).resize((64, 64), Image.BILINEAR)).astype(int)
    got = resize(picture[None], 64)[0].astype(int)
    assert np.abs(got - wanted).max() <= 1
    assert resize(picture[None], 512).base is picture  # nothing to do


def test_two_way_identification_is_that_of_a_loop():
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(9, 40))
    other = truth + 5 * rng.normal(size=truth.shape)
    r = np.corrcoef(truth, other)[:9, 9:]
    wanted = [sum(r[i, j] < r[j, j] for i in range(9) if i != j) / 8 for j in range(9)]
    np.testing.assert_array_equal(similarity.two_way(truth, other), wanted)
    assert 0.5 < np.mean(wanted) < 1


def test_ties_and_constant_reconstructions_fail():
    truth = np.random.default_rng(2).normal(size=(5, 30)).astype(np.float32)
    assert (similarity.two_way(truth, np.ones_like(truth)) == 0).all()
    np.testing.assert_array_equal(similarity.two_way(np.repeat(truth[:1], 5, 0), truth), 0)
    np.testing.assert_array_equal(similarity.two_way(truth, truth), 1)


def test_two_way_identification_of_noise_is_at_chance():
    rng = np.random.default_rng(3)
    wins = similarity.two_way(rng.normal(size=(300, 20)), rng.normal(size=(300, 20)))
    assert abs(wins.mean() - 0.5) < 4 * wins.std() / 300**0.5


def test_many_features_are_correlated_in_chunks():
    rng = np.random.default_rng(4)
    a, b = (rng.normal(5, 1, size=(3, 2 * similarity.CHUNK + 7)).astype(np.float32) for _ in range(2))
    np.testing.assert_allclose(similarity.correlation_matrix(a, b), np.corrcoef(a, b)[:3, 3:], atol=1e-12)


def test_correlation_distance_is_scipys():
    rng = np.random.default_rng(5)
    a = rng.normal(size=(6, 50)).astype(np.float32)
    b = a + rng.normal(size=a.shape).astype(np.float32)
    wanted = [correlation(x, y) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(similarity.correlation_distance(a, b), wanted, atol=1e-6)
    assert similarity.correlation_distance(torch.tensor(a), torch.tensor(a)) == pytest.approx(0, abs=1e-12)


def test_errors_say_what_came():
    images = np.zeros((2, 20, 20, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"uint8, got .*float64"):
        similarity.ssim(images.astype(float), images)
    with pytest.raises(ValueError, match="equal numbers of images, got 2 and 1"):
        similarity.pixcorr(images, images[:1])
    with pytest.raises(ValueError, match="11 pixels wide; the images are"):
        similarity.ssim(images[:, :8, :8], images[:, :8, :8])
    with pytest.raises(ValueError, match="at least 2 images, got 1"):
        similarity.two_way(np.ones((1, 4)), np.ones((1, 4)))
    with pytest.raises(ValueError, match=r"the same shape, got \(2, 4\) and \(2, 5\)"):
        similarity.correlation_distance(np.ones((2, 4)), np.ones((2, 5)))
    with pytest.raises(
        ValueError, match=r"truth of another size .* must be \(n_images, side, side, 3\) uint8, got \(2, 20, 15, 3\)"
    ):
        similarity.ssim(images[:, :, :15], images)
    with pytest.raises(ValueError, match=r"reconstruction of another size than its truth must be .*side, side"):
        similarity.ssim(images, images[:, :, :15])
    with pytest.raises(ValueError, match=r"truth must be \(n_images, n_features\), got shape \(4,\)"):
        similarity.two_way(np.ones(4), np.ones(4))


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
@pytest.mark.parametrize("formula", [similarity.two_way, similarity.correlation_distance])
def test_features_that_are_no_numbers_are_named(formula, wrong):
    """One such row took a quarter off the two-way scores of the four others."""
    features = np.random.default_rng(6).normal(size=(5, 30))
    spoiled = features.copy()
    spoiled[3, 7] = wrong
    with pytest.raises(ValueError, match="truth holds 1 values that are not finite numbers, in rows 3"):
        formula(spoiled, features)
    with pytest.raises(ValueError, match="reconstruction holds 1 values that are not finite numbers, in rows 3"):
        formula(features, spoiled)


def test_byte_order_and_strides_do_not_matter():
    a, b = np.random.default_rng(7).normal(size=(2, 5, 30)).astype(np.float32)
    for formula in (similarity.two_way, similarity.correlation_distance):
        np.testing.assert_array_equal(formula(a.astype(">f4"), b[::-1].copy()[::-1]), formula(a, b))
