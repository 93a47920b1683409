"""Data checks: all pass on the simulated subject, and each planted fault is detected by the check meant for it."""

import os
import shutil

import h5py
import nibabel
import numpy as np
import pytest
import scipy.stats

from nsdlib.data.nsd import checks as nsd_checks
from nsdlib.data.nsd import layout as nsd
from nsdlib.data.nsd import traps as nsd_traps
from nsdlib.data.nsd import write as nsd_write
from nsdlib.data.nsd.checks import first_contact, repeat_agreement
from nsdlib.data.nsd.subject import DEFAULT_VERSION, NSDSubject


def results(subject):
    return first_contact(subject).set_index("check")["result"]


@pytest.fixture
def subject(twin, tmp_path):
    """The simulated subject in files that are links: a test replaces those that it breaks."""
    shutil.copytree(twin.data, tmp_path / "copy", copy_function=os.symlink)
    return NSDSubject(tmp_path / "copy", twin.subject, twin.n_sessions)


def own(path):
    """The path, now with a copy of its own behind it."""
    source = path.resolve()
    path.unlink()
    shutil.copy(source, path)
    return path


def test_all_checks_pass_on_the_simulated_subject(twin):
    table = first_contact(NSDSubject(twin.data, twin.subject, twin.n_sessions))
    assert (table["result"] == "ok").all() and (table["remedy"] == "").all(), table


def change_volume(path, change):
    image = nibabel.load(path)
    values = change(np.asanyarray(image.dataobj).copy())
    path.unlink()
    nsd_write.write_volume(path, values, image.affine, seconds=nsd.TR if values.ndim == 4 else None)


def change_betas(subject, change, endings=("hdf5", "nii.gz")):
    """Change the betas of session 1, (X, Y, Z, 750)."""
    if "nii.gz" in endings:
        change_volume(subject.paths.betas(DEFAULT_VERSION, 1, "nii.gz"), change)
    if "hdf5" in endings:
        with h5py.File(own(subject.paths.betas(DEFAULT_VERSION, 1, "hdf5")), "r+") as file:
            file["betas"][:] = change(file["betas"][:].T).T


def change_design(subject, **values):
    design = {name: array.copy() for name, array in subject.expdesign.items()}
    for name, (at, value) in values.items():
        design[name][at] = value
    subject.paths.expdesign.unlink()
    nsd_write.write_expdesign(subject.paths.expdesign, design)


def change_info(subject, column, change):
    table = subject.stim_info()
    table[column] = change(table[column].to_numpy())
    subject.paths.stim_info.unlink()
    table.to_csv(subject.paths.stim_info)


def another_first_shared_image(subject):
    change_design(subject, sharedix=(0, 7))


def an_image_four_times(subject):
    change_design(subject, masterordering=(slice(2), subject.expdesign["masterordering"][2]))


def ids_from_one(subject):
    change_info(subject, "nsdId", lambda ids: ids + 1)


def another_repeat(subject):
    change_info(subject, f"subject{subject.subject}_rep0", lambda trials: np.roll(trials, 1))


def behaviour_shifted(subject):
    table = subject.responses()
    table["73KID"] = np.roll(table["73KID"], 1)
    subject.paths.responses.unlink()
    table.to_csv(subject.paths.responses, sep="\t", index=False)


def images_of_another_size(subject):
    subject.paths.stimuli.unlink()
    with h5py.File(subject.paths.stimuli, "w") as file:
        file.create_dataset("imgBrick", (nsd.N_STIMULI, 256, 256, 3), dtype=np.uint8)


def a_black_image(subject):
    with h5py.File(own(subject.paths.stimuli), "r+") as file:
        file["imgBrick"][subject.image_ids[0]] = 0


def a_blank_caption(subject):
    texts = np.load(own(subject.paths.captions), mmap_mode="r+")
    texts[subject.image_ids[3]] = ""
    texts.flush()


def a_mask_of_labels(subject):
    change_volume(subject.paths.volume("brainmask"), lambda mask: 2 * mask)


def an_unknown_label(subject):
    change_volume(subject.paths.roi("floc-faces"), lambda labels: np.where(labels == labels.max(), 9, labels))


def labels_renamed(subject):
    path = own(subject.paths.roi_names("prf-visualrois"))
    path.write_text(path.read_text().replace("V1v", "V1d_"))


def an_empty_region(subject):
    change_volume(subject.paths.roi("nsdgeneral"), lambda labels: np.minimum(labels, 0))


def betas_of_floats(subject):
    change_betas(subject, lambda betas: betas.astype(np.float32), endings=("nii.gz",))


def betas_of_the_surface(subject):
    here = subject.paths.betas(DEFAULT_VERSION, 1, "hdf5").parent
    for path in here.glob("betas_session*"):
        path.unlink()
    elsewhere = here.parents[1] / "fsaverage" / here.name
    elsewhere.mkdir(parents=True)
    (elsewhere / "lh.betas_session01.mgh").touch()


def betas_divided_twice(subject):
    change_betas(subject, lambda betas: betas // nsd.BETA_SCALE)


def forms_apart(subject):
    change_betas(subject, lambda betas: np.where(betas == 0, betas, betas + 1), endings=("nii.gz",))


def trials_out_of_order(subject):
    change_betas(subject, lambda betas: betas[..., np.random.default_rng(0).permutation(betas.shape[-1])])


def an_interpolated_mask(subject):
    change_volume(subject.paths.volume("brainmask"), lambda mask: 0.5 * mask)


def interpolated_labels(subject):
    change_volume(subject.paths.roi("prf-visualrois"), lambda labels: labels + np.float32(0.3))


def a_ratio_without_numbers(subject):
    change_volume(subject.paths.ncsnr(DEFAULT_VERSION), lambda ratio: ratio * np.nan)


def a_negative_ratio(subject):
    change_volume(subject.paths.ncsnr(DEFAULT_VERSION), lambda ratio: ratio - 1)


def a_volume_short(subject):
    change_volume(subject.paths.timeseries(1, 12), lambda series: series[..., :-1])


def onsets_of_another_run(subject):
    one, other = subject.paths.design(1, 1), subject.paths.design(1, 3)
    shutil.copy(other.resolve(), own(one))


FAULTS = {
    another_first_shared_image: "_shared_images",
    an_image_four_times: "_planned",
    ids_from_one: "_stim_info",
    another_repeat: "_repeats",
    behaviour_shifted: "_behaviour",
    images_of_another_size: "_stimuli",
    a_black_image: "_stimuli",
    a_blank_caption: "_captions",
    a_mask_of_labels: "_masks",
    an_interpolated_mask: "_masks",
    an_unknown_label: "_regions",
    interpolated_labels: "_regions",
    labels_renamed: "_region_names",
    an_empty_region: "_voxels",
    betas_of_floats: "_sessions",
    betas_of_the_surface: "_sessions",
    betas_divided_twice: "_scale",
    forms_apart: "_forms",
    trials_out_of_order: "_mapping",
    a_negative_ratio: "_ncsnr",
    a_ratio_without_numbers: "_ncsnr",
    a_volume_short: "_series",
    onsets_of_another_run: "_onsets",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_one_broken_file_fails_its_own_check_and_says_what_to_do(subject, fault):
    fault(subject)
    table = first_contact(NSDSubject(subject.root, subject.subject, subject.n_sessions))
    wrong = table[table["result"] == "WRONG"]
    assert list(wrong["check"]) == [
        getattr(nsd_traps, FAULTS[fault].removeprefix("_"), nsd_checks._mapping).__doc__.rstrip(".")
    ], wrong
    assert wrong["remedy"].item() and wrong["wanted"].item() != wrong["found"].item()
    assert set(table["result"]) <= {"ok", "WRONG", "not tried"}


def test_surface_betas_are_named_and_refused(subject):
    betas_of_the_surface(subject)
    row = first_contact(subject).set_index("result").loc["WRONG"]
    assert row["found"] == "session 1 in fsaverage only" and "fsaverage, nativesurface and func1mm are refused" in row["remedy"]


def test_a_missing_file_is_not_there_and_what_rests_on_a_wrong_one_is_not_tried(subject):
    subject.paths.stim_info.unlink()
    assert (results(subject) == "not there").sum() == 2
    an_image_four_times(subject)
    found = results(NSDSubject(subject.root, subject.subject, subject.n_sessions))
    assert (found == "not tried").sum() == 7 and (found == "WRONG").sum() == 1


def test_the_splits_of_a_real_subject_are_counted_and_compared(twin, monkeypatch):
    subject = NSDSubject(twin.data, twin.subject, twin.n_sessions)
    monkeypatch.setattr(nsd_traps, "_is_real", lambda subject: True)
    counts = subject.split_counts(37)
    pair = counts["images_train"], counts["images_test"]
    monkeypatch.setattr(nsd_traps.nsd, "SPLITS", {37: pair, 40: (9000, 1000)})
    found, wanted, right = nsd_traps.splits(subject, None)
    assert right and found == wanted == f"37: {pair[0]:,} + {pair[1]:,}, 40: 9,000 + 1,000"
    monkeypatch.setattr(nsd_traps.nsd, "SPLITS", {37: (8859, 982), 40: (9000, 1000)})
    assert not nsd_traps.splits(subject, None)[2]  # the simulated design has another order


def test_every_subject_has_the_size_that_is_asked_of_it(twin, monkeypatch):
    for number, n_voxels in nsd.N_GENERAL_VOXELS.items():
        subject = NSDSubject(twin.data, number)
        labels = np.zeros(nsd.VOLUME_SHAPES[number], dtype=np.int16)
        labels.flat[:n_voxels] = 1
        monkeypatch.setitem(subject.__dict__, "brainmask", labels > 0)
        monkeypatch.setattr(subject, "roi", lambda name, labels=labels: labels)
        assert nsd_traps.voxels(subject, None) == (n_voxels, n_voxels, True)
        labels.flat[n_voxels] = 1
        assert nsd_traps.voxels(subject, None) == (n_voxels + 1, n_voxels, False)


def test_a_mask_of_another_subject_is_found(twin, monkeypatch):
    subject = NSDSubject(twin.data, 1)
    for number in (1, 2):
        mask = np.ones(nsd.VOLUME_SHAPES[number], dtype=np.int8)
        monkeypatch.setitem(subject.__dict__, "brainmask", mask > 0)
        monkeypatch.setattr(subject, "volume", lambda name, mask=mask: mask)
        assert nsd_traps.masks(subject, None)[2] == (number == 1)


def test_agreement_is_the_correlation_of_first_and_second_showing_of_scored_voxels():
    rng = np.random.default_rng(0)
    betas, ids = (5 + rng.uniform(0, 9, 31) + rng.standard_normal((6, 31)) * rng.uniform(1, 9, 31), np.array([4, 7, 4, 9, 7, 4]))
    betas[:, 30] = 7  # constant, and no pattern
    z = scipy.stats.zscore(betas[:, :30])
    wanted = [np.corrcoef(z[0], z[2])[0, 1], np.corrcoef(z[1], z[4])[0, 1]]
    np.testing.assert_allclose(repeat_agreement(betas, ids), wanted, rtol=1e-12)
    np.testing.assert_allclose(repeat_agreement(z, ids), wanted, rtol=1e-12)
    with pytest.raises(ValueError, match="no image was shown twice"):
        repeat_agreement(betas, np.arange(6))
    with pytest.raises(ValueError, match=r"one image id a trial, got shapes \(6, 31\) and \(5,\)"):
        repeat_agreement(betas, ids[:5])


def test_a_damaged_file_is_found_and_the_other_checks_go_on(twin, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(twin.data / "nsddata", copy / "nsddata")
    for name in ("nsddata_betas", "nsddata_timeseries", "nsddata_stimuli"):
        (copy / name).symlink_to(twin.data / name)
    subject = NSDSubject(copy, twin.subject, twin.n_sessions)
    subject.paths.responses.write_bytes(b"\xff\xfe")
    table = first_contact(subject).set_index("check")
    wrong = table[table["result"] == "WRONG"]
    assert list(wrong.index) == ["The table of behaviour names the same images as the design"]
    assert str(subject.paths.responses) in wrong["found"].item() and "get it again" in wrong["found"].item()
