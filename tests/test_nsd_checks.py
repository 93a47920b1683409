"""Checks on first contact: all pass on the simulated subject, and each planted fault is found."""

import shutil

import numpy as np
import pytest

from nsdlib.nsd import NSDSubject
from nsdlib.nsd_checks import first_contact, repeat_agreement


def results(subject):
    return first_contact(subject).set_index("check")["result"]


def test_all_checks_pass_on_the_simulated_subject(twin):
    table = first_contact(NSDSubject(twin.data, twin.subject, twin.n_sessions))
    assert (table["result"] == "ok").all(), table


def test_faults_are_found(twin, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(twin.data / "nsddata", copy / "nsddata")
    for name in ("nsddata_betas", "nsddata_timeseries", "nsddata_stimuli"):
        (copy / name).symlink_to(twin.data / name)
    subject = NSDSubject(copy, twin.subject, twin.n_sessions)
    table = subject.responses()
    table["73KID"] = np.roll(table["73KID"], 1)
    table.to_csv(subject.paths.responses, sep="\t", index=False)
    info = subject.stim_info()
    info["nsdId"] += 1  # somebody counted from 1
    info.to_csv(subject.paths.stim_info)
    found = results(subject)
    assert set(found.index[found == "WRONG"]) == {
        "The table of behaviour names the same images as the design",
        "The table of images names the same trials as the design",
        "Rows of the table of images are their 0-based ids, and its shared images are the design's",
    }
    subject.paths.stim_info.unlink()
    assert (results(subject) == "not there").sum() == 2


def test_agreement_is_the_correlation_of_first_and_second_showing():
    rng = np.random.default_rng(0)
    betas, ids = rng.standard_normal((6, 30)), np.array([4, 7, 4, 9, 7, 4])
    wanted = [np.corrcoef(betas[0], betas[2])[0, 1], np.corrcoef(betas[1], betas[4])[0, 1]]
    np.testing.assert_allclose(repeat_agreement(betas, ids), wanted, rtol=1e-12)
    with pytest.raises(ValueError, match="no image was shown twice"):
        repeat_agreement(betas, np.arange(6))
    with pytest.raises(ValueError, match="betas has 6 trials, image_ids 5"):
        repeat_agreement(betas, ids[:5])
