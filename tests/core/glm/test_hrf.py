"""The library of HRFs, against the table that GLMsingle samples."""

import numpy as np
import pytest
from conftest import DATA

from nsdlib.core.glm import hrf

pytestmark = pytest.mark.numerical

REFERENCE = np.load(DATA / "glm_small.npz")


def test_the_library_is_glmsingles():
    ours = hrf.sampled_library(float(REFERENCE["tr"]), float(REFERENCE["stimdur"]))
    assert ours.shape == REFERENCE["hrflibrary"].T.shape and ours.dtype == np.float32
    np.testing.assert_allclose(ours, REFERENCE["hrflibrary"].T, atol=5e-6)


def test_the_canonical_hrf_is_glmsingles():
    ours = hrf.canonical(float(REFERENCE["tr"]), float(REFERENCE["stimdur"]))
    np.testing.assert_allclose(ours, REFERENCE["hrftoassume"], atol=3e-4)


def test_each_peak_is_one_and_they_go_from_early_to_late():
    assert (hrf.sampled_library(4 / 3).max(axis=1) == 1).all()
    assert hrf.sampled_library(4 / 3).shape == (20, 40)  # 53 s
    peaks = hrf.peak_seconds()
    assert (np.diff(peaks) > 0).all() and 3 < peaks[0] < peaks[-1] < 9


def test_a_shape_is_a_difference_of_scipys_gamma_densities():
    from scipy.stats import gamma

    seconds = np.arange(300) * 0.1
    rise, fall = gamma.pdf(seconds - 0.5, a=4.2, scale=1.1), gamma.pdf(seconds - 0.5, a=11.0, scale=0.7)
    shape = hrf.Shape(4.2, 1.1, 11.0, 0.7, 0.4, 0.5, 3.0)
    np.testing.assert_allclose(shape.curve(seconds), 3 * (rise - 0.4 * fall), rtol=1e-10, atol=1e-14)


def test_a_longer_stimulus_peaks_later():
    assert (hrf.peak_seconds(6) > hrf.peak_seconds(3)).all()


@pytest.mark.parametrize("sample", [hrf.sampled_library, hrf.canonical])
def test_bad_times_are_refused(sample):
    with pytest.raises(ValueError, match=r"tr=0: wanted the seconds between two volumes"):
        sample(0)
    with pytest.raises(ValueError, match=r"duration=-1: wanted the stimulus duration"):
        sample(1.0, -1)
