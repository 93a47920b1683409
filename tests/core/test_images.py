"""Noise on images has the requested amplitude, the same pattern at every amplitude, and is clipped."""

import numpy as np
import pytest

from nsdlib.core.images import add_noise, resize

IMAGES = np.full((3, 40, 40, 3), 128, dtype=np.uint8)
IDS = np.array([7, 70_000, 8])


def test_the_noise_has_the_amplitude_it_is_given():
    noisy = add_noise(IMAGES, 16, seed=0, image_ids=IDS)
    assert noisy.dtype == np.uint8 and noisy.std() == pytest.approx(16, rel=0.03) and noisy.mean() == pytest.approx(128, abs=0.5)


def test_none_is_none():
    np.testing.assert_array_equal(add_noise(IMAGES, 0, seed=0, image_ids=IDS), IMAGES)


def test_strong_noise_is_clipped_at_both_borders():
    noisy = add_noise(IMAGES, 256, seed=0, image_ids=IDS)
    # half a range is half a standard deviation away: 31 % of a normal distribution lies beyond it on each side
    assert (noisy == 0).mean() == pytest.approx(0.309, abs=0.015) and (noisy == 255).mean() == pytest.approx(0.309, abs=0.015)


def test_the_pattern_depends_on_seed_and_image_alone_and_grows_with_the_amplitude():
    noisy = add_noise(IMAGES, 8, seed=0, image_ids=IDS)
    np.testing.assert_array_equal(add_noise(IMAGES[1:2], 8, seed=0, image_ids=IDS[1:2]), noisy[1:2])
    assert (noisy[0] != noisy[1]).any() and (add_noise(IMAGES, 8, seed=1, image_ids=IDS) != noisy).any()
    weak, strong = (add_noise(IMAGES, a, seed=0, image_ids=IDS).astype(int) - 128 for a in (8, 16))
    assert np.corrcoef(weak.ravel(), strong.ravel())[0, 1] > 0.99


def test_errors_say_what_came():
    with pytest.raises(ValueError, match="not negative, got -1"):
        add_noise(IMAGES, -1, seed=0, image_ids=IDS)
    for amplitude in (np.nan, np.inf):
        with pytest.raises(ValueError, match=f"finite standard deviation .* got {amplitude}"):
            add_noise(IMAGES, amplitude, seed=0, image_ids=IDS)
    with pytest.raises(ValueError, match=r"images must be one image or more, got shape \(0, "):
        resize(IMAGES[:0], 8)
    with pytest.raises(ValueError, match="each of the 3 images, got 2"):
        add_noise(IMAGES, 1, seed=0, image_ids=IDS[:2])
