"""The library of HRFs, against the table that GLMsingle samples."""

from pathlib import Path

import numpy as np
import pytest

from nsdlib.core.glm import hrf

pytestmark = pytest.mark.numerical

REFERENCE = np.load(Path(__file__).parent / "data" / "glm_small.npz")


def test_the_library_is_glmsingles():
    ours = hrf.sampled_library(float(REFERENCE["tr"]), float(REFERENCE["stimdur"]))
    assert ours.shape == REFERENCE["hrflibrary"].T.shape and ours.dtype == np.float32
    np.testing.assert_allclose(ours, REFERENCE["hrflibrary"].T, atol=2e-4)


def test_the_canonical_hrf_is_glmsingles():
    ours = hrf.canonical(float(REFERENCE["tr"]), float(REFERENCE["stimdur"]))
    np.testing.assert_allclose(ours, REFERENCE["hrftoassume"], atol=5e-3)


def test_each_peak_is_one_and_they_go_from_early_to_late():
    assert (hrf.sampled_library(4 / 3).max(axis=1) == 1).all()
    assert hrf.sampled_library(4 / 3).shape == (20, 40)  # 53 s
    peaks = hrf.peak_seconds()
    assert (np.diff(peaks) > 0).all() and 3 < peaks[0] < peaks[-1] < 9


def test_a_gamma_function_peaks_at_its_mode_like_scipys():
    from scipy.stats import gamma

    seconds = np.arange(1, 300) * 0.1
    shape = hrf.Shape(5.0, 1.25, 9.0, 2.0, 0.0, 0.0)
    density = gamma.pdf(seconds, a=5.0 / 1.25 + 1, scale=1.25)
    np.testing.assert_allclose(shape.curve(seconds), density / gamma.pdf(5.0, a=5, scale=1.25), rtol=1e-10)


def test_a_longer_stimulus_peaks_later():
    assert (hrf.peak_seconds(6) > hrf.peak_seconds(3)).all()


@pytest.mark.parametrize("sample", [hrf.sampled_library, hrf.canonical])
def test_bad_times_are_refused(sample):
    with pytest.raises(ValueError, match=r"tr=0: wanted the seconds between two volumes"):
        sample(0)
    with pytest.raises(ValueError, match=r"duration=-1: wanted how many seconds"):
        sample(1.0, -1)
