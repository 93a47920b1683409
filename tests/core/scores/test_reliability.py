"""Signal-to-noise ratio and noise ceiling, against planted noise, NSD's formula written out, and SciPy."""

import numpy as np
import pytest
from scipy.stats import pearsonr

from nsdlib.core.scores import reliability

pytestmark = pytest.mark.numerical


def planted(snr, n_images=400, n_repeats=3, seed=0):
    rng = np.random.default_rng(seed)
    signal = np.asarray(snr) * rng.standard_normal((n_images, len(snr)))
    ids = rng.permutation(np.repeat(np.arange(n_images), n_repeats))
    return signal[ids] + rng.standard_normal((len(ids), len(snr))), ids, signal


def test_the_planted_ratio_is_found():
    snr = np.array([0.0, 0.5, 1.0, 2.0])
    betas, ids, _ = planted(snr)
    found = reliability.ncsnr(betas, ids, session=np.zeros(len(ids)))
    np.testing.assert_allclose(found, snr, atol=0.15)


def test_the_ratio_is_nsds_formula():
    betas, ids, _ = planted([0.5, 1.0], n_images=30)
    session = np.arange(len(ids)) // 45
    z = betas.copy()
    for s in (0, 1):
        z[session == s] = (z[session == s] - z[session == s].mean(0)) / z[session == s].std(0, ddof=1)
    noise = np.mean([z[ids == image].var(axis=0, ddof=1) for image in np.unique(ids)], axis=0)
    expected = np.sqrt(np.maximum(0, 1 - noise)) / np.sqrt(noise)
    np.testing.assert_allclose(reliability.ncsnr(betas, ids, session=session), expected)


@pytest.mark.parametrize("n_lost", [0, 300])
def test_repeats_of_all_images_count_whatever_their_number(n_lost):
    snr = np.linspace(0, 2, 40)
    betas, ids, _ = planted(snr, n_images=500)
    extra, kept = np.flatnonzero(ids == 7)[:1], np.arange(n_lost, len(ids))  # one image is shown a fourth time
    betas, ids = np.r_[betas[kept], betas[extra] + 0.5], np.r_[ids[kept], ids[extra]]
    found = reliability.ncsnr(betas, ids, session=np.zeros(len(ids)))
    assert pearsonr(found, snr).statistic > 0.97


def test_planted_variances_are_found_whatever_the_offsets_of_sessions():
    betas, ids, _ = planted([0.0, 1.0, 2.0], n_images=2000)
    session = np.arange(len(ids)) // 1500
    signal, noise = reliability.variances(3 * betas + 10 * session[:, None], ids, session=session)
    np.testing.assert_allclose(noise, 9, rtol=0.06)
    np.testing.assert_allclose(signal, [0, 9, 36], rtol=0.1, atol=0.5)
    scaled = reliability.variances(betas, ids, session=session, scaled=True)
    np.testing.assert_allclose(np.sum(scaled, axis=0), 1)


def test_a_step_between_sessions_does_not_count_as_noise():
    betas, ids, _ = planted([1.0])
    session = np.arange(len(ids)) // 600
    shifted = betas + 10 * session[:, None]
    same = (reliability.ncsnr(x, ids, session=session) for x in (betas, shifted))
    np.testing.assert_allclose(*same, rtol=1e-6)


def test_the_ceiling_is_the_share_of_signal_in_averages():
    snr = np.array([0.5, 1.0, 2.0])
    betas, ids, signal = planted(snr, n_images=3000)
    averages = np.stack([betas[ids == image].mean(axis=0) for image in range(3000)])
    explained = 100 * reliability.correlate(averages, signal) ** 2
    np.testing.assert_allclose(reliability.noise_ceiling(snr, 3), explained, atol=2.5)


def test_the_ceiling_of_mixed_repeats_is_nsds():
    a, b, c, ratio = 6, 3, 1, 0.7
    expected = 100 * ratio**2 / (ratio**2 + (a / 3 + b / 2 + c / 1) / (a + b + c))
    counts = [3] * a + [2] * b + [1] * c
    assert reliability.noise_ceiling(ratio, counts) == pytest.approx(expected)


def test_correlations_are_scipys():
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((2, 40, 3))
    b[:, 2] = 1
    ours = reliability.correlate(a, b)
    np.testing.assert_allclose(ours[:2], [pearsonr(a[:, v], b[:, v]).statistic for v in (0, 1)])
    assert ours[2] == 0


def test_reliability_is_the_correlation_of_the_first_two_showings():
    betas, ids, _ = planted([1.0], n_images=50)
    pairs = np.array([np.flatnonzero(ids == image)[:2] for image in range(50)])
    expected = pearsonr(betas[pairs[:, 0], 0], betas[pairs[:, 1], 0]).statistic
    np.testing.assert_allclose(reliability.reliability(betas, ids, session=np.zeros(len(ids))), expected)


def test_noise_is_not_reliable_where_repeats_share_the_offset_of_their_session():
    betas, ids, session = np.random.default_rng(0).standard_normal((4000, 3)), np.arange(4000) // 2, np.arange(4000) // 500
    shifted = betas + 10 * session[:, None]
    np.testing.assert_allclose(reliability.reliability(shifted, ids, session=session), 0, atol=0.06)


def test_without_repeats_it_says_so():
    betas, ids = np.zeros((5, 2)), np.arange(5)
    with pytest.raises(ValueError, match="No image was shown twice"):
        reliability.ncsnr(betas, ids, session=np.zeros(5))
    with pytest.raises(ValueError, match="0 images were shown twice in these trials, wanted at least 3"):
        reliability.reliability(betas, ids, session=np.zeros(5))
    with pytest.raises(ValueError, match=r"one image id a trial, got shapes \(5, 2\) and \(4,\)"):
        reliability.reliability(betas, ids[:4], session=np.zeros(5))
