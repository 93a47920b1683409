"""Betas of notebook 01 exported in GLMsingle's and BIDS formats, read by h5py, numpy, nibabel and nilearn, against real files."""

import json
import warnings
from pathlib import Path
from types import SimpleNamespace

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
from conftest import DATA

from nsdlib import __version__
from nsdlib.core.glm.options import GLMOptions
from nsdlib.data import exports
from nsdlib.data.betas_subject import BetasSubject
from nsdlib.data.exports import EXPORTS, export_bids, export_glmsingle
from nsdlib.data.formats.glmsingle import GLMsingleResults
from nsdlib.data.glm_sessions import fit_sessions
from nsdlib.data.subject import Subject
from nsdlib.sections import BetasFiles

STORED = DATA / "glmsingle"
SHAPE, AFFINE = (5, 4, 3), np.array([[-2.0, 0, 0, 10], [0, 2, 0, -20], [0, 0, 2.5, 5], [0, 0, 0, 1]])
N_VOLUMES, ONSETS = (60, 62), 4 + 6 * np.arange(8)


class Tiny(Subject):
    """Two sessions of two runs of eight trials; three quarters of the volume are brain, some of it the region."""

    name, tr, duration, n_sessions, root = "lab/sub-07", 1.5, 1.0, 2, Path()

    def __init__(self):
        rng = np.random.default_rng(3)
        self.brain = rng.random(SHAPE) < 0.75
        shown = [rng.permutation(np.repeat([0, 2, 5, 7], 4)) for _ in range(2)]
        self._trials = pd.DataFrame(
            {"session": np.repeat([1, 2], 16), "run": np.tile(np.repeat([1, 2], 8), 2), "image": np.concatenate(shown)}
        )
        self.response = rng.normal(20, 10, (8, self.brain.sum())) * (np.arange(self.brain.sum()) % 3 > 0)
        self.noise = rng.normal(0, 2, (2, 2, max(N_VOLUMES), self.brain.sum()))

    @property
    def trials(self):
        return self._trials

    def image_names(self, image_ids):
        return [f"pictures/{number}.png" for number in image_ids]

    @property
    def brainmask(self):
        return self.brain

    affine = AFFINE
    background = stimuli = session_files = needed_files = None

    def voxels(self, roi):
        part = self.brain.copy()
        part[0] = False
        return part

    def n_runs(self, session):
        return 2

    def design(self, session, run):
        labels = np.zeros(N_VOLUMES[run - 1], dtype=np.int64)
        table = self._trials
        labels[ONSETS] = 1 + table["image"][(table["session"] == session) & (table["run"] == run)]
        return labels

    def timeseries(self, session, run, mask):
        from nsdlib.core.glm.hrf import canonical

        labels = self.design(session, run)
        neural = np.zeros((len(labels), self.brain.sum()))
        neural[labels > 0] = self.response[labels[labels > 0] - 1]
        shape = canonical(self.tr, self.duration)
        series = np.apply_along_axis(lambda column: np.convolve(column, shape)[: len(labels)], 0, neural)
        whole = np.zeros((*SHAPE, len(labels)), np.float32)
        whole[self.brain] = (1000 + series + self.noise[session - 1, run - 1, : len(labels)]).T
        return whole[mask].T


@pytest.fixture(scope="module")
def fitted():
    subject = Tiny()
    return subject, fit_sessions(subject, 2, roi="region", options=GLMOptions(duration=1.0, n_pcs=2, brain_r2=20.0, pc_r2=1.0))


def region_of(subject, found):
    mask = np.zeros(SHAPE, dtype=bool)
    mask.flat[found.roi_voxel.values] = True
    np.testing.assert_array_equal(mask, subject.voxels("region"))
    return mask


def real(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.load(STORED / "numpy2" / f"{name}.npy", allow_pickle=True).item()


def test_glmsingles_files_have_the_names_types_and_axes_of_real_ones(fitted, tmp_path):
    subject, found = fitted
    folders = export_glmsingle(found, subject, tmp_path / "out")
    assert [folder.name for folder in folders] == ["session01", "session02"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["session01", "session02"]  # nothing is left beside
    region = region_of(subject, found)
    with h5py.File(folders[1] / "TYPED_FITHRF_GLMDENOISE_RR.hdf5") as ours:
        with h5py.File(STORED / "hdf5" / "TYPED_FITHRF_GLMDENOISE_RR.hdf5") as theirs:
            for name in ours:
                assert (ours[name].dtype, ours[name].ndim) == (theirs[name].dtype, theirs[name].ndim), name
            assert set(theirs) - set(ours) == {"HRFindexrun", "R2run", "glmbadness", "pcregressors", "rrbadness", "xvaltrend"}
            assert set(ours.attrs) == set(theirs.attrs)
        betas = ours["betasmd"][:]
        assert betas.shape == (*SHAPE, 16) and np.isnan(betas[~region]).all()
        np.testing.assert_array_equal(betas[region].T, found.betas_d.values[16:])
        np.testing.assert_array_equal(ours["HRFindex"][subject.brain], found.hrf_index.values[1])
        np.testing.assert_array_equal(ours["R2"][subject.brain], found.r2_d.values[1])
        assert ours.attrs["pcnum"] == found.n_pcs.values[1]


def test_the_design_is_as_glmsingle_keeps_it(fitted, tmp_path):
    subject, found = fitted
    folder = export_glmsingle(found, subject, tmp_path)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        info = np.load(folder / "DESIGNINFO.npy", allow_pickle=True).item()
    theirs = real("DESIGNINFO")
    assert list(info) == list(theirs)
    for name, value in theirs.items():
        assert type(info[name]) is type(value), name
        if isinstance(value, list):
            assert type(info[name][0]) is type(value[0]) and np.asarray(info[name][0]).dtype == np.asarray(value[0]).dtype, name
    images = subject.trials["image"].to_numpy()[:16]
    assert [int(number) for number in info["stimorder"]] == np.searchsorted([0, 2, 5, 7], images).tolist()
    assert (info["tr"], info["stimdur"], info["numtrialrun"]) == (1.5, 1.0, [8, 8])
    assert [int(n) for n in info["condcounts"]] == [4, 4, 4, 4] and info["design"][1].shape == (62, 4)
    assert info["endbuffers"] == [(60 - 1 - 46) * 1.5, (62 - 1 - 46) * 1.5]
    for run, (matrix, single) in enumerate(zip(info["design"], info["designSINGLE"], strict=True)):
        assert np.flatnonzero(matrix.any(axis=1)).tolist() == ONSETS.tolist()
        assert [np.flatnonzero(single[row]).tolist() for row in ONSETS] == [[8 * run + k] for k in range(8)]
    table = pd.read_csv(folder / "conditions.tsv", sep="\t")
    assert table["image"].tolist() == [f"pictures/{k}.png" for k in (0, 2, 5, 7)] and table["condition"].tolist() == [0, 1, 2, 3]


def test_a_run_without_a_trial_is_kept_as_one():
    labels = [np.array([0, 3, 0, 5, 0, 0]), np.zeros(4, np.int64)]
    subject = SimpleNamespace(n_runs=lambda session: 2, design=lambda session, run: labels[run - 1], duration=1.0, tr=2.0)
    info = exports._design_info(subject, 1)["info"]
    assert info["endbuffers"] == [2 * 2.0, 4 * 2.0] and info["numtrialrun"] == [2, 0]


@pytest.mark.parametrize("kind", ["betas_b", "betas_c"])
def test_other_types_have_their_own_files(fitted, tmp_path, kind):
    subject, found = fitted
    results = GLMsingleResults(export_glmsingle(found, subject, tmp_path, kind=kind)[0])
    assert results.kind == kind[-1].upper() and results.map("FRACvalue") is None
    np.testing.assert_array_equal(results.betas(found.roi_voxel.values), found[kind].values[:16])
    assert (results.map("noisepool") is None) == (kind == "betas_b")


def test_maps_of_bids_are_read_by_nibabel_and_nilearn(fitted, tmp_path):
    from nilearn.interfaces.bids import parse_bids_filename
    from nilearn.maskers import NiftiMasker

    subject, found = fitted
    paths = export_bids(found, subject, tmp_path)
    home, region = tmp_path / "sub-07", region_of(subject, found)
    about = json.loads((tmp_path / "dataset_description.json").read_text())
    assert about["DatasetType"] == "derivative" and about["GeneratedBy"][0]["Name"] == "nsdlib" and about["BIDSVersion"]
    mask = nibabel.load(home / "sub-07_task-images_desc-betas_mask.nii.gz")
    np.testing.assert_array_equal(mask.get_fdata() > 0, region)
    for session, path in enumerate(paths):
        image = nibabel.load(path)
        np.testing.assert_allclose(image.affine, AFFINE)
        assert image.get_data_dtype() == np.float32 and image.shape == (*SHAPE, 16)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values = NiftiMasker(mask_img=mask, standardize=None).fit().transform(image)
        np.testing.assert_allclose(values, found.betas_d.values[16 * session : 16 * (session + 1)], rtol=1e-6)
        parsed = parse_bids_filename(path)
        assert parsed["entities"]["desc"] == "SingletrialBetas" and parsed["entities"]["ses"] == f"0{session + 1}"
        assert json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())["Units"] == "percent signal change"
    table = pd.read_csv(next(home.rglob("ses-02/func/*_trials.tsv")), sep="\t", dtype={"session": str})
    assert list(table) == ["session", "run", "beta_index", "label"] and table["session"].tolist() == ["02"] * 16
    assert table["run"].tolist() == [1] * 8 + [2] * 8 and table["beta_index"].tolist() == list(range(16))
    assert table["label"].tolist() == [f"pictures/{k}.png" for k in subject.trials["image"][16:]]
    means = nibabel.load(home / "sub-07_task-images_stat-effect_desc-ConditionMeans_statmap.nii.gz").get_fdata()
    table = pd.read_csv(home / "sub-07_task-images_desc-ConditionMeans_conditions.tsv", sep="\t")
    assert table["label"].tolist() == [f"pictures/{k}.png" for k in (0, 2, 5, 7)] and table["n_trials"].tolist() == [8] * 4
    shown = subject.trials["image"].to_numpy()
    np.testing.assert_allclose(means[region][:, 1], found.betas_d.values[shown == 2].mean(axis=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", ["bids", "glmsingle"])
def test_what_is_written_opens_as_a_subject(fitted, tmp_path, form):
    subject, found = fitted
    EXPORTS[form](found, subject, tmp_path / "out")
    region = region_of(subject, found)
    nibabel.save(nibabel.Nifti1Image(region.astype(np.int16), AFFINE), tmp_path / "mask.nii.gz")
    settings = {"label": "07"} if form == "bids" else {"mask": tmp_path / "mask.nii.gz"}
    kind = {"bids": "laion"}.get(form, form)
    again = BetasSubject(tmp_path / "out", BetasFiles(kind=kind, images=tmp_path, **settings))
    assert again.n_sessions == 2 and again.n_trials == 32
    assert again.image_names(again.image_ids) == subject.image_names(subject.trials["image"])
    assert again.trials["run"].tolist() == subject.trials["run"].tolist()
    np.testing.assert_array_equal(again.betas(2, region), found.betas_d.values[16:])


def test_sessions_keep_what_the_data_set_calls_them(fitted, tmp_path, monkeypatch):
    subject, found = fitted
    assert subject.session_labels == ["01", "02"]
    monkeypatch.setattr(Tiny, "session_labels", ["things02", "things10"])
    assert [folder.name for folder in export_glmsingle(found, subject, tmp_path / "g")] == ["sessionthings02", "sessionthings10"]
    paths = export_bids(found, subject, tmp_path / "b")
    assert [path.parts[-3] for path in paths] == ["ses-things02", "ses-things10"] and "_ses-things10_" in paths[1].name
    table = pd.read_csv(next(paths[1].parent.glob("*_trials.tsv")), sep="\t")
    assert set(table["session"]) == {"things10"}
    again = BetasSubject(tmp_path / "b", BetasFiles(kind="laion", label="07", images=tmp_path))
    assert again.session_labels == ["things02", "things10"]
    one = found.isel(trial=slice(16), session=slice(1))
    monkeypatch.setattr(Tiny, "session_labels", ["", "02"])  # a data set without sessions
    [path] = export_bids(one, subject, tmp_path / "none")
    assert path.relative_to(tmp_path / "none").parts[:2] == ("sub-07", "func") and "ses-" not in path.name
    assert export_glmsingle(one, subject, tmp_path / "one")[0].name == "session01"


@pytest.mark.parametrize("export", [export_bids, export_glmsingle])
def test_nothing_is_overwritten_and_nothing_half_written(fitted, tmp_path, export, monkeypatch):
    subject, found = fitted
    export(found, subject, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(FileExistsError, match="is already there, and is not overwritten: name another folder, or remove it"):
        export(found, subject, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    for bad, message in (
        (found.assign(betas_d=found.betas_d.assign_attrs(units="scanner units")), "betas_d is in scanner units: wanted percent"),
        (found.isel(trial=slice(31)), "Session 2 has 15 trials here, 16 in the experiment: fit it again"),
    ):
        with pytest.raises(ValueError, match=message):
            export(bad, subject, tmp_path / "bad")
    with pytest.raises(ValueError, match=r"kind 'betas' is unknown\. Known: betas_b, betas_c, betas_d"):
        export(found, subject, tmp_path / "bad", kind="betas")
    assert not (tmp_path / "bad").exists()
    monkeypatch.setattr(subject, "image_names", lambda ids: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(found, subject, tmp_path / "stopped")
    assert list((tmp_path / "stopped").iterdir()) == []


def test_the_description_of_another_subject_stays_and_a_strangers_is_refused(fitted, tmp_path):
    subject, found = fitted
    export_bids(found, subject, tmp_path)
    other = Tiny()
    other.name = "lab/sub-08"
    about = tmp_path / "dataset_description.json"
    about.write_text(about.read_text().replace(__version__, "0.0.1"))  # an older one wrote it
    export_bids(found, other, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"sub-07", "sub-08", "dataset_description.json"}
    (tmp_path / "theirs").mkdir()
    for theirs in ("{}", "no JSON", '{"GeneratedBy": [{"Name": "fMRIPrep"}]}', "[]"):
        (tmp_path / "theirs" / "dataset_description.json").write_text(theirs)
        with pytest.raises(FileExistsError, match=r"dataset_description\.json is already there"):
            export_bids(found, subject, tmp_path / "theirs")
