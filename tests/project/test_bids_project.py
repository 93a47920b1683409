"""From events and preprocessed BOLD of a BIDS data set to refined images, by the notebooks."""

import numpy as np
import pytest

from nsdlib.data.subject import open_subject
from nsdlib.params import load_run
from nsdlib.store.store import Store


@pytest.mark.slow
def test_a_bids_subject_is_run_to_refined_images(bids_project, monkeypatch):
    monkeypatch.setenv("NSDLIB_HOME", str(bids_project))
    run = load_run("bids")
    subject = open_subject(run)
    with Store(run).load("reconstruction") as found:
        refined = found.refined.values  # (n_test, rows, columns, 3)
        images = found.test_image.values
    assert refined.dtype == np.uint8 and refined.shape[0] == len(np.unique(images)) == run.n_test
    assert np.isin(images, subject.image_ids[subject.is_test]).all()
    assert (refined.std(axis=(1, 2, 3)) > 5).all() and (refined.std(axis=0).mean() > 5)  # none is blank, and they differ
    with Store(run).load("scores") as scores:
        assert np.isfinite(scores.value.sel(system="refined")).all()
