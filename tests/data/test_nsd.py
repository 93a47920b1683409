"""The NSD reader, against hand-written files with the pitfalls of the real ones, and against the simulated subject."""

import tracemalloc

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from nsdlib.data.nsd import files as nsd_files
from nsdlib.data.nsd import layout as nsd_layout
from nsdlib.data.nsd.subject import NSDSubject

SHAPE = (4, 5, 3)


def write_nifti(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1.8, 1.8, 1.8, 1])), path)


@pytest.fixture
def raw(tmp_path):
    """Subject 3 with one session of hand-made files: a design in uint16, float labels, int16 betas."""
    rng = np.random.default_rng(0)
    paths = nsd_layout.Layout(tmp_path, 3)
    shared = np.arange(2951, 3951)
    own = np.setdiff1d(np.arange(1, 73001), shared).reshape(8, 9000)
    design = {
        "masterordering": np.tile(np.arange(10000, 0, -1), 3)[None].astype(np.uint16),
        "subjectim": np.concatenate([np.tile(shared, (8, 1)), own], axis=1),
        "sharedix": shared[None].astype(np.uint16),
        "stimpattern": np.ones((40, 12, 75), np.uint8),
    }
    paths.expdesign.parent.mkdir(parents=True)
    savemat(paths.expdesign, design)
    brain = np.zeros(SHAPE, np.int16)
    brain[1:3, 1:4] = 1
    write_nifti(paths.volume("brainmask"), brain)
    write_nifti(paths.roi("nsdgeneral"), np.where(brain, rng.integers(0, 2, SHAPE), -1).astype(np.float32))
    betas = rng.integers(-32768, 32767, (*SHAPE, 750), dtype=np.int16) * brain[..., None]
    write_nifti(paths.betas(nsd_layout.BETA_VERSIONS[2], 1, "nii.gz"), betas)
    return paths, design, betas


def test_design_in_small_unsigned_integers_gives_right_ids(raw):
    paths, design, _ = raw
    subject = NSDSubject(paths.root, 3, 1)
    order = design["masterordering"][0, :750].astype(int)
    assert (subject.image_ids == design["subjectim"][2, order - 1] - 1).all()
    assert subject.image_ids.dtype == np.int64
    assert (subject.expdesign["masterordering"][:1] - 20000).item() == -10000  # uint16 would wrap round
    assert subject.n_trials == 750
    assert (subject.session == 1).all()
    assert not subject.official_test.any()


def test_split_is_counted_from_the_design(raw):
    subject = NSDSubject(raw[0].root, 3, 1)
    assert subject.split_counts(40) == {
        "trials_train": 27000, "trials_test": 3000, "images_train": 9000, "images_test": 1000,
    }  # fmt: skip
    # in 12 sessions the list was gone through once, without its last 1,000 images: the shared ones
    assert subject.split_counts(12) == {
        "trials_train": 9000, "trials_test": 0, "images_train": 9000, "images_test": 0,
    }  # fmt: skip
    with pytest.raises(ValueError, match="n_sessions=41: the design has sessions 1 to 40"):
        subject.split_counts(41)


def test_betas_are_percent_in_c_order_from_either_form(raw):
    paths, _, betas = raw
    subject = NSDSubject(paths.root, 3, 1)
    from_nifti = subject.betas(1, subject.brainmask)
    assert from_nifti.dtype == np.float32
    np.testing.assert_allclose(from_nifti, betas[subject.brainmask].T / 300, rtol=1e-6)
    with h5py.File(paths.betas(nsd_layout.BETA_VERSIONS[2], 1, "hdf5"), "w") as file:
        file["betas"] = betas.transpose(3, 2, 1, 0)
    np.testing.assert_array_equal(subject.betas(1, subject.brainmask), from_nifti)
    assert subject.betas(1, np.zeros(SHAPE, bool)).shape == (750, 0)


def test_a_session_of_volumes_is_never_unpacked_whole(tmp_path):
    rng, shape = np.random.default_rng(0), (30, 30, 20, 750)
    whole = np.zeros(shape, np.int16, order="F")
    mask = rng.random(shape[:3]) < 0.002
    whole[mask] = rng.integers(-500, 500, (mask.sum(), 750))
    write_nifti(tmp_path / "betas.nii.gz", whole)
    tracemalloc.start()
    found = nsd_files.read_beta_volumes(tmp_path / "betas.nii.gz", mask)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(found, whole[mask].T)
    assert peak < whole.nbytes / 10


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_captions_may_have_any_form_that_numpy_writes(tmp_path, version, monkeypatch):
    monkeypatch.setattr(nsd_layout, "N_STIMULI", 2)
    table = np.array([["a cat", "", "", "", "a dog"], ["ein Bär", "", "", "", ""]])
    with (tmp_path / "captions.npy").open("wb") as file:
        np.lib.format.write_array(file, table, version=version)
    assert nsd_files.read_captions(tmp_path / "captions.npy", [1, 0]) == [["ein Bär"], ["a cat", "a dog"]]


@pytest.mark.parametrize("form", ["float32", "int16 with a slope", "uint16"])
def test_betas_that_are_percent_already_are_refused(raw, form):
    paths, _, betas = raw
    path = paths.betas(nsd_layout.BETA_VERSIONS[2], 1, "nii.gz")
    if form == "int16 with a slope":
        image = nibabel.Nifti1Image((betas / 300).astype(np.float32), np.eye(4))
        image.set_data_dtype(np.int16)  # nibabel finds the slope
        nibabel.save(image, path)
    else:
        write_nifti(path, (np.abs(betas) / 300).astype(form))
    subject = NSDSubject(paths.root, 3, 1)
    with pytest.raises(ValueError, match=rf"holds {form[:5]}.* wanted int16 without one, 300 times the percent signal"):
        subject.betas(1, subject.brainmask)


def test_betas_of_the_other_byte_order_are_the_same(raw):
    paths, _, betas = raw
    subject = NSDSubject(paths.root, 3, 1)
    before = subject.betas(1, subject.brainmask)
    path = paths.betas(nsd_layout.BETA_VERSIONS[2], 1, "nii.gz")
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    nibabel.save(nibabel.Nifti1Image(betas, np.eye(4), header), path)
    np.testing.assert_array_equal(subject.betas(1, subject.brainmask), before)


@pytest.mark.parametrize("value", [0.37, np.nan, 40000.0])
def test_labels_that_are_no_whole_numbers_are_refused(raw, value):
    """Rounded, labels between voxels resampled by interpolation would make regions of their own."""
    paths, *_ = raw
    labels = np.zeros(SHAPE, np.float32)
    labels[1, 1:3, 1] = value
    write_nifti(paths.roi("prf-visualrois"), labels)
    with pytest.raises(ValueError, match=rf"whole numbers .*; 2 voxels hold others, such as {value:g}\. .*nearest neighbour"):
        NSDSubject(paths.root, 3, 1).roi("prf-visualrois")


def test_a_voxel_outside_the_brain_that_is_no_number_is_not_cortex(raw):
    paths, *_ = raw
    before, brain = (f(NSDSubject(paths.root, 3, 1)) for f in (lambda s: s.roi("nsdgeneral"), lambda s: s.brainmask))
    write_nifti(paths.roi("nsdgeneral"), np.where(brain, before, np.nan).astype(np.float32))
    write_nifti(paths.volume("brainmask"), np.where(brain, 1, np.nan).astype(np.float32))
    subject = NSDSubject(paths.root, 3, 1)
    np.testing.assert_array_equal(subject.brainmask, brain)
    np.testing.assert_array_equal(subject.roi("nsdgeneral"), before)


def test_a_mask_between_in_and_out_is_refused(raw):
    paths, *_ = raw
    write_nifti(paths.volume("brainmask"), np.full(SHAPE, 0.5, np.float32))
    with pytest.raises(ValueError, match=r"brainmask.nii.gz must hold labels, small whole numbers .*; 60 voxels hold others"):
        _ = NSDSubject(paths.root, 3, 1).brainmask


def test_a_voxel_without_a_number_is_not_the_most_reliable(raw):
    paths, *_ = raw
    ratio = np.linspace(0, 1, 60).reshape(SHAPE)
    ratio[2, 2, 1:] = np.nan, np.inf
    write_nifti(paths.ncsnr(nsd_layout.BETA_VERSIONS[2]), ratio)
    found = NSDSubject(paths.root, 3, 1).ncsnr()
    assert found.argmax() == 59 and not found[2, 2, 1:].any()


def test_region_labels_keep_minus_one(raw):
    subject = NSDSubject(raw[0].root, 3, 1)
    labels = subject.roi("nsdgeneral")
    assert labels.dtype == np.int16
    assert set(np.unique(labels)) == {-1, 0, 1}
    assert (labels[~subject.brainmask] == -1).all()


@pytest.mark.parametrize(
    ("subject", "session", "first"), [(1, 20, 1), (1, 21, 2), (1, 38, 2), (1, 39, 1), (2, 30, 2), (2, 31, 1), (5, 31, 2)]
)
def test_task_runs_are_counted_past_resting_runs(subject, session, first):
    path = nsd_layout.Layout(nsd_layout.Path(), subject).timeseries(session, 1)
    assert path.name == f"timeseries_session{session:02d}_run{first:02d}.nii.gz"


def test_design_of_a_resting_run_is_refused(raw):
    paths, *_ = raw
    path = paths.design(1, 1)
    path.parent.mkdir(parents=True)
    np.savetxt(path, np.zeros(225, int), fmt="%d")
    with pytest.raises(ValueError, match="holds 0 trials, this task run has 63: is it a resting run's file"):
        NSDSubject(paths.root, 3, 1).design(1, 1)


def test_what_nsd_does_not_have_is_refused(tmp_path):
    with pytest.raises(ValueError, match="subject=9: NSD has subjects 1 to 8"):
        NSDSubject(tmp_path, 9)
    with pytest.raises(ValueError, match="n_sessions=31: subject 8 has sessions 1 to 30"):
        NSDSubject(tmp_path, 8, 31)
    assert NSDSubject(tmp_path, 8).n_sessions == 30


def test_a_missing_file_is_named_with_a_way_to_get_it(tmp_path):
    subject = NSDSubject(tmp_path, 2, 1)
    with pytest.raises(FileNotFoundError, match=r"nsd_expdesign\.mat .*of subject 2.*nsdlib doctor RUN"):
        _ = subject.image_ids
    with pytest.raises(FileNotFoundError, match=r"brainmask\.nii\.gz \(the map brainmask\) of subject 2"):
        subject.betas(1, np.ones(SHAPE, bool))


def test_wrong_shapes_are_told(raw, twin):
    paths, design, betas = raw
    subject = NSDSubject(paths.root, 3, 1)
    with pytest.raises(ValueError, match=r"mask has shape \(2, 2, 2\), wanted \(4, 5, 3\)"):
        subject.betas(1, np.ones((2, 2, 2), bool))
    with pytest.raises(ValueError, match=r"mask must be bool, got int16: a region's voxels"):
        subject.betas(1, subject.roi("nsdgeneral"))
    write_nifti(paths.betas(nsd_layout.BETA_VERSIONS[2], 1, "nii.gz"), betas[..., :700])
    with pytest.raises(ValueError, match=r"betas_session01.* has shape \(4, 5, 3, 700\), wanted \(4, 5, 3, 750\)"):
        subject.betas(1, subject.brainmask)
    write_nifti(paths.roi("nsdgeneral"), np.zeros((4, 4, 4), np.int16))
    with pytest.raises(ValueError, match=r"nsdgeneral.nii.gz has shape \(4, 4, 4\)"):
        subject.roi("nsdgeneral")
    savemat(paths.expdesign, design | {"masterordering": np.ones((1, 5))})
    with pytest.raises(ValueError, match=r"masterordering in .*nsd_expdesign.mat has shape \(1, 5\), wanted \(1, 30000\)"):
        _ = NSDSubject(paths.root, 3, 1).image_ids
    del design["sharedix"]
    savemat(paths.expdesign, design)
    with pytest.raises(ValueError, match=r"sharedix in .*nsd_expdesign.mat has shape None"):
        _ = NSDSubject(paths.root, 3, 1).image_ids
    paths.responses.parent.mkdir(parents=True)
    pd.DataFrame({"73KID": [1]}).to_csv(paths.responses, sep="\t")
    with pytest.raises(ValueError, match="has 1 rows, wanted at least 750"):
        NSDSubject(paths.root, 3, 1).responses()


def test_unknown_names_and_numbers_are_refused(twin):
    subject = NSDSubject(twin.data, twin.subject, twin.n_sessions)
    mask = subject.brainmask
    with pytest.raises(ValueError, match=r"roi 'V1' is unknown\. Known: nsdgeneral, prf-visualrois"):
        subject.roi("V1")
    with pytest.raises(ValueError, match=r"version 'b3' is unknown\. Known: betas_assumehrf"):
        subject.betas(1, mask, version="b3")
    with pytest.raises(ValueError, match="session=2: sessions 1 to 1 of nsd/subj01 are in use"):
        subject.betas(2, mask)
    with pytest.raises(ValueError, match="run=13: session 1 of nsd/subj01 has task runs 1 to 12"):
        subject.timeseries(1, 13, mask)
    with pytest.raises(ValueError, match="image_ids holds 73000: ids count from 0 to 72999"):
        subject.stimuli([73000])
    with pytest.raises(ValueError, match=r"image_ids must have shape \(n_images,\), got \(\)"):
        subject.captions(5)
    never = np.setdiff1d(np.arange(73000), subject.image_ids)[0]
    with pytest.raises(ValueError, match=f"image {never} is black in .*nsd_stimuli.hdf5. A simulated subject"):
        subject.stimuli([never])
    with pytest.raises(ValueError, match=f"image {never} has no caption"):
        subject.captions([never])


def test_images_come_in_the_order_asked_for(twin):
    subject = NSDSubject(twin.data, twin.subject, twin.n_sessions)
    ids = subject.image_ids[[5, 2, 5, 40]]
    images = subject.stimuli(ids)
    assert images.shape == (4, 425, 425, 3)
    with h5py.File(subject.paths.stimuli) as file:
        for image_id, image in zip(ids, images, strict=True):
            np.testing.assert_array_equal(image, file["imgBrick"][image_id])
    assert subject.captions(ids)[0] == subject.captions(ids)[2]


def test_missing_files_are_listed(twin, raw):
    complete = NSDSubject(twin.data, twin.subject, twin.n_sessions)
    assert complete.missing_files(glm_sessions=1) == []
    paths, *_ = raw
    missing = dict(NSDSubject(paths.root, 3, 2).missing_files(glm_sessions=1))
    assert missing[paths.stimuli] == "the images"
    assert missing[paths.betas(nsd_layout.BETA_VERSIONS[2], 2, "hdf5")] == "the betas of session 2"
    assert paths.betas(nsd_layout.BETA_VERSIONS[2], 1, "hdf5") not in missing  # it is there as NIfTI
    assert paths.design(1, 12) in missing
    assert paths.expdesign not in missing and paths.roi("streams") not in missing
    for roi, n_more in (("streams", 1), ("floc-faces", 0), ("brainmask", 0)):
        found = dict(NSDSubject(paths.root, 3, 2).missing_files(glm_sessions=1, roi=roi))
        assert len(found) == len(missing) + n_more and (n_more == 0 or paths.roi(roi) in found)


def test_onsets_are_those_of_the_design_files_where_there_are_none(twin, tmp_path):
    (tmp_path / "nsddata").symlink_to(twin.data / "nsddata")
    whole, bare = (NSDSubject(root, twin.subject, twin.n_sessions) for root in (twin.data, tmp_path))
    designs = [whole.tr * np.flatnonzero(whole.design(1, run)) for run in range(1, 13)]
    np.testing.assert_allclose(bare.onsets(1), np.concatenate(designs), rtol=1e-12)
    with pytest.raises(ValueError, match="session=2: sessions 1 to 1"):
        bare.onsets(2)
