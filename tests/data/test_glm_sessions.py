"""Sessions of the simulated subject through the GLM, against planted truth; both engines; files written and resumed."""

import os
import re
import sys
import warnings
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from conftest import DATA
from sklearn.exceptions import ConvergenceWarning

from nsdlib.core.glm import hrf
from nsdlib.core.glm.fit import explain, fit_glm
from nsdlib.core.glm.options import GLMOptions
from nsdlib.core.scores.reliability import correlate
from nsdlib.data import exports, glm_sessions, glmsingle
from nsdlib.data.nsd import files as nsd_files
from nsdlib.data.nsd.layout import TR
from nsdlib.data.nsd.subject import NSDSubject
from nsdlib.twin.simulate import load_truth


@pytest.fixture(scope="module")
def session(twin):
    subject = NSDSubject(twin.data, twin.subject, twin.n_sessions)
    return subject, glm_sessions.fit_sessions(subject, 1)


def test_a_session_of_nsd_is_fitted_from_its_files(session):
    subject, results = session
    assert dict(results.betas_d.sizes) == {"trial": 750, "roi_voxel": (subject.roi("nsdgeneral") > 0).sum()}
    assert results.hrf_index.sizes["voxel"] == subject.brainmask.sum() and results.notes.values.tolist() == [""]
    assert subject.brainmask.ravel()[results.voxel].all() and np.isin(results.roi_voxel, results.voxel).all()


def test_the_simulated_subjects_truth_is_found(session, twin):
    _, results = session
    truth = load_truth(twin)
    agreement = {kind: np.median(correlate(results[f"betas_{kind}"].values, truth.betas.values[:750])) for kind in "bcd"}
    assert 0.6 < agreement["b"] < agreement["c"] < agreement["d"]
    peaks = hrf.peak_seconds()[results.hrf_index.sel(voxel=results.roi_voxel.values).values[0]]
    assert np.corrcoef(peaks, truth.hrf_peak)[0, 1] > 0.9


def test_what_betas_explain_adds_up_to_the_fit(session):
    subject, results = session
    labels, voxel = subject.design(1, 1), int(results.r2_b.sel(voxel=results.roi_voxel.values).argmax("voxel")[0])
    mask = np.zeros(subject.brainmask.shape, dtype=bool)
    mask.flat[results.roi_voxel.values[voxel]] = True
    series = subject.timeseries(1, 1, mask)[: len(labels), 0]
    curve = hrf.sampled_library(TR)[int(results.hrf_index.sel(voxel=results.roi_voxel.values[voxel])[0])]
    betas, mean = (
        results.betas_b.values[: (labels > 0).sum(), voxel],
        results["mean"].sel(voxel=results.roi_voxel.values[voxel]),
    )
    measured, explained = explain(labels, series, betas, hrf=curve, tr=TR, mean=float(mean[0]))
    left = measured - explained
    assert np.square(left).sum() < 0.5 * np.square(measured).sum()
    assert abs(left @ explained) < 1e-3 * np.square(measured).sum()  # least squares leaves what is orthogonal to its fit


def test_a_region_outside_the_brain_is_refused(session, monkeypatch):
    subject, _ = session
    monkeypatch.setattr(subject, "roi", lambda name: ~subject.brainmask)
    with pytest.raises(ValueError, match="floc-words has no voxel inside the brain mask of nsd/subj01"):
        glm_sessions.fit_sessions(subject, 1, roi="floc-words")


def test_an_unknown_engine_is_refused(session):
    with pytest.raises(ValueError, match="engine 'spm' is unknown"):
        glm_sessions.fit_sessions(session[0], 1, engine="spm")


def test_finished_sessions_are_read_again_and_unfinished_ones_leave_no_result(session, tmp_path, monkeypatch):
    subject, whole = session
    first = glm_sessions.fit_sessions(subject, 1, scratch=tmp_path)
    assert first.load().identical(whole.load())
    assert [path.suffix for path in tmp_path.iterdir()] == [".nc"]  # the arrays in progress are gone
    monkeypatch.setitem(glm_sessions.ENGINES, "nsdlib", None)  # nothing is fitted any more
    assert glm_sessions.fit_sessions(subject, 1, scratch=tmp_path).load().identical(whole)
    for name, other in (("settings", "confounds=('motion',)"), ("tr", 1.3), ("duration", 2.0)):
        with monkeypatch.context() as changed, pytest.raises(TypeError, match="not callable"):
            changed.setattr(NSDSubject, name, other)
            glm_sessions.fit_sessions(subject, 1, scratch=tmp_path)
    file = subject.paths.design(1, 3)
    os.utime(file, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns + 10**9))  # a corrected file
    with pytest.raises(TypeError, match="not callable"):
        glm_sessions.fit_sessions(subject, 1, scratch=tmp_path)
    with pytest.raises(ValueError, match="n_sessions must be at least 1, got 0"):
        glm_sessions.fit_sessions(subject, 0)


def test_exported_betas_are_files_of_nsd(session, tmp_path):
    subject, results = session
    [nifti] = exports.export_betas(results, subject, tmp_path)
    mask = np.zeros(subject.brainmask.shape, dtype=bool)
    mask.flat[results.roi_voxel.values] = True
    assert sorted(path.name for path in tmp_path.iterdir()) == ["betas_session01.hdf5", "betas_session01.nii.gz"]
    for scaled in (
        nsd_files.read_beta_volumes(nifti, mask),
        nsd_files.read_beta_columns(nifti.with_name("betas_session01.hdf5"), mask),
    ):
        assert scaled.dtype == np.int16
        np.testing.assert_allclose(scaled / 300, results.betas_d, atol=1 / 600 + 1e-5)
    with pytest.raises(FileExistsError, match=r"betas_session01.nii.gz is already there, and is not overwritten"):
        exports.export_betas(results, subject, tmp_path)
    nifti.unlink()
    with pytest.raises(FileExistsError, match=r"betas_session01.hdf5 is already there"):
        exports.export_betas(results, subject, tmp_path)
    assert not nifti.exists()
    raw = results.assign(betas_d=results.betas_d.assign_attrs(units="scanner units"))
    with pytest.raises(ValueError, match="betas_d is in scanner units: NSD's files hold percent signal change"):
        exports.export_betas(raw, subject, tmp_path)
    with pytest.raises(ValueError, match="Session 1 has 749 trials here, 750 in the experiment"):
        exports.export_betas(results.isel(trial=slice(749)), subject, tmp_path)
    with pytest.raises(ValueError, match=r"kind 'betas' is unknown\. Known: betas_b, betas_c, betas_d"):
        exports.export_betas(results, subject, tmp_path, kind="betas")
    nifti.with_name("betas_session01.hdf5").unlink()
    huge = results.assign(betas_d=results.betas_d.where(results.trial != 5, 200.0))
    with pytest.warns(UserWarning, match=f"{results.sizes['roi_voxel']} betas lie beyond 109 percent signal change"):
        [nifti] = exports.export_betas(huge, subject, tmp_path)
    assert (nsd_files.read_beta_volumes(nifti, mask)[5] == 32767).all()


def test_exported_betas_that_are_nan_or_infinite_are_0_without_a_warning(session, tmp_path):
    subject, results = session
    values = results.betas_d.values.copy()
    values[[3, 4, 5], [0, 1, 2]] = np.nan, np.inf, -np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        [nifti] = exports.export_betas(results.assign(betas_d=results.betas_d.copy(data=values)), subject, tmp_path)
    mask = np.zeros(subject.brainmask.shape, dtype=bool)
    mask.flat[results.roi_voxel.values] = True
    written = nsd_files.read_beta_volumes(nifti, mask)
    assert (written[[3, 4, 5], [0, 1, 2]] == 0).all()
    values[[3, 4, 5], [0, 1, 2]] = 0
    np.testing.assert_allclose(written / 300, values, atol=1 / 600 + 1e-5)


@pytest.fixture
def recorded(monkeypatch):
    """A stand-in for the package, which answers with what GLMsingle gave for the same input."""
    with np.load(DATA / "glm_small.npz") as stored:
        file, asked = dict(stored), SimpleNamespace()

    class GLM_single:
        def __init__(self, params):
            asked.params = params

        def fit(self, design, data, stimdur, tr, outputdir, figuredir):
            asked.design, asked.data, asked.folders = design, data, (outputdir, figuredir)
            warnings.warn("Initialization 3 did not converge.", ConvergenceWarning, stacklevel=1)

            def volume(name):
                return file[name].reshape(300, 1, 1, *file[name].shape[1:])

            def kind(k):
                return {"betasmd": volume(f"type{k}_betasmd"), "R2": volume(f"type{k}_R2"), "R2run": volume(f"type{k}_R2run")}

            shared = {"glmbadness": volume("glmbadness"), "pcnum": int(file["pcnum"]), "xvaltrend": file["xvaltrend"]}
            shared |= {"noisepool": volume("noisepool"), "pcvoxels": volume("pcvoxels")}
            chosen = {"FRACvalue": volume("typeD_FRACvalue"), "rrbadness": [], "scaleoffset": np.array([])}
            if len(asked.params["fracs"]) > 1:
                chosen |= {"rrbadness": volume("typeD_rrbadness"), "scaleoffset": volume("typeD_scaleoffset")}
            wanted = {"typec": asked.params["wantglmdenoise"], "typed": asked.params["wantfracridge"]}
            types = {
                "typea": {"onoffR2": volume("typeA_onoffR2"), "meanvol": volume("meanvol"), "betasmd": volume("typeA_betasmd")},
                "typeb": kind("B") | {"FitHRFR2": volume("typeB_FitHRFR2"), "HRFindex": volume("HRFindex")},
                "typec": kind("C") | shared,
                "typed": kind("D") | shared | chosen,
            }
            return {name: values for name, values in types.items() if wanted.get(name, True)}

    package, module = ModuleType("glmsingle"), ModuleType("glmsingle.glmsingle")
    module.GLM_single = GLM_single
    monkeypatch.setitem(sys.modules, "glmsingle", package)
    monkeypatch.setitem(sys.modules, "glmsingle.glmsingle", module)
    monkeypatch.setattr(glmsingle, "is_installed", lambda: True)
    return file, asked


def test_both_engines_give_the_same_under_the_same_names(recorded):
    file, asked = recorded
    design, data = [file[f"design_{run}"] for run in range(4)], [file[f"data_{run}"].T for run in range(4)]
    arguments = {"tr": float(file["tr"]), "hrfs": file["hrflibrary"].T, "canonical": file["hrftoassume"]}
    theirs, ours = (engine(design, data, **arguments) for engine in (glmsingle.fit, fit_glm))
    assert set(theirs.data_vars) == set(ours.data_vars) - {"components"}
    for name, values in theirs.data_vars.items():
        assert values.dims == ours[name].dims, name
        if values.dtype.kind == "f":
            np.testing.assert_allclose(values, ours[name], rtol=1e-3, atol=1e-3 * float(abs(values).max()), err_msg=name)
        else:
            assert np.array_equal(values, ours[name]), name
    assert theirs.attrs["n_pcs"] == ours.attrs["n_pcs"] and abs(theirs.threshold - ours.threshold) < 1e-3
    shown = [matrix.argmax(1)[matrix.any(1)] for matrix in asked.design]
    assert all(matrix.shape == (288, 80) for matrix in asked.design) and all(len(trials) == 60 for trials in shown)
    assert asked.data[0].shape == (300, 288) and asked.data[0].dtype == np.float32
    assert not any(Path(folder).parent.exists() for folder in asked.folders)


def test_either_engine_is_given_a_folder(recorded, tmp_path):
    file, _ = recorded
    design, data = [file[f"design_{run}"] for run in range(4)], [file[f"data_{run}"].T for run in range(4)]
    arguments = {"tr": float(file["tr"]), "hrfs": file["hrflibrary"].T, "canonical": file["hrftoassume"]}
    for name, engine in glm_sessions.ENGINES.items():
        assert engine(design, data, **arguments, scratch=tmp_path / name).betas_d.shape[1] == 300


def test_a_session_goes_through_glmsingle_with_a_folder(recorded, tmp_path):
    file, _ = recorded
    designs = [events.argmax(1) + events.any(1) for events in (file[f"design_{run}"] for run in range(4))]
    subject = SimpleNamespace(
        root=tmp_path, name="other/sub-01", settings=None, tr=TR, duration=3.0, n_sessions=1, session=np.ones(240, int),
        brainmask=np.ones((10, 10, 3), bool), voxels=lambda roi: np.arange(300).reshape(10, 10, 3) % 2 == 1,
        run_seconds=lambda session, run: 288.0, session_files=lambda session, roi: [], confounds=lambda session, run: None,
        n_runs=lambda session: 4, design=lambda session, run: designs[run - 1],
        timeseries=lambda session, run, mask: file[f"data_{run - 1}"].T,
    )  # fmt: skip
    results = glm_sessions.fit_sessions(subject, 1, engine="glmsingle", scratch=tmp_path)
    np.testing.assert_array_equal(results.betas_d, file["typeD_betasmd"].T[:, 1::2].astype(np.float32))
    results.close()


def test_options_reach_glmsingle_under_its_names(recorded):
    file, asked = recorded
    design, data = [file[f"design_{run}"] for run in range(4)], [file[f"data_{run}"].T for run in range(4)]
    options = GLMOptions(
        fixed_pcs=3, brain_r2=0.0, fractions=(0.5,), autoscale=False, degree=2, folds=((0, 1), (2, 3)), sessions=(1, 1, 2, 2)
    )
    glmsingle.fit(design, data, tr=1.0, options=options, confounds=[np.ones((288, 2))] * 4)
    given = asked.params
    assert [columns.shape for columns in given["extra_regressors"]] == [(288, 2)] * 4 and given["wantlss"] == 0
    assert given["pcstop"] == -3 and 0 < given["brainR2"] == given["pcR2cutoff"] < 1e-100
    assert given["fracs"] == [0.5] and given["wantautoscale"] == 0 and given["maxpolydeg"] == [2] * 4
    assert [fold.tolist() for fold in given["xvalscheme"]] == [[0, 1], [2, 3]]
    assert not {"hrflibrary", "hrftoassume"} & set(given)  # its own
    hrfs = {"hrfs": file["hrflibrary"].T, "canonical": file["hrftoassume"]}
    more = GLMOptions(degree=(0, 1, 2, 3), pc_r2=5.0, pc_mask=np.arange(300) % 2, percent=False)
    glmsingle.fit(design, data, tr=1.0, options=more, **hrfs)
    assert asked.params["hrflibrary"].shape == (53, 20) and asked.params["hrftoassume"].shape == (52,)
    assert asked.params["pcR2cutoff"] == 5 and "brainR2" not in asked.params and asked.params["wantpercentbold"] == 0
    assert asked.params["maxpolydeg"] == [0, 1, 2, 3] and asked.params["pcR2cutoffmask"].sum() == 150
    with pytest.raises(ValueError, match=r"noise_mask: GLMsingle 1\.2 fails with a mask for its noise pool"):
        glmsingle.fit(design, data, tr=1.0, options=GLMOptions(noise_mask=np.ones(300)))


@pytest.mark.parametrize("sessions", [(1, 1, 2, 2), (0, 0, 1, 1), (2, 2, 5, 5)])
def test_glmsingle_gets_sessions_numbered_from_one(recorded, sessions):
    file, asked = recorded
    design, data = [file[f"design_{run}"] for run in range(4)], [file[f"data_{run}"].T for run in range(4)]
    glmsingle.fit(design, data, tr=1.0, options=GLMOptions(sessions=sessions))
    assert asked.params["sessionindicator"].tolist() == [[1, 1, 2, 2]]


@pytest.mark.parametrize("n_pcs, last", [(10, "C"), (0, "B")])
def test_without_ridge_or_denoising_glmsingles_results_blame_nothing(recorded, n_pcs, last):
    file, _ = recorded
    design, data = [file[f"design_{run}"] for run in range(4)], [file[f"data_{run}"].T for run in range(4)]
    found = glmsingle.fit(design, data, tr=1.0, options=GLMOptions(fractions=(1.0,), n_pcs=n_pcs))
    assert found.n_pcs == (file["pcnum"] if n_pcs else 0) and found.notes == ""
    np.testing.assert_array_equal(found.betas_d.T, file[f"type{last}_betasmd"])
    assert (found.fraction == 1).all() and bool(found.noise_pool.any()) == (n_pcs > 0)
    threshold = found.attrs["threshold"]
    np.testing.assert_array_equal(found.pc_voxels, file["pcvoxels"] if n_pcs else file["typeA_onoffR2"] > threshold)


def test_without_repeats_both_engines_say_the_same(recorded):
    file, _ = recorded
    data = [file[f"data_{run}"].T for run in range(2)]
    design = [(100 * run + file["design_0"].any(1).cumsum()) * file["design_0"].any(1) for run in (1, 2)]
    with pytest.warns(UserWarning, match="is off: no condition repeats"):
        ours = fit_glm(design, data, tr=1.0, options=GLMOptions(brain_r2=1.0))
    assert glmsingle.fit(design, data, tr=1.0).notes == ours.notes


def test_trials_that_glmsingle_fits_too_late_are_noted(recorded):
    file, _ = recorded
    design, data = [file[f"design_{run}"] for run in range(4)], [file[f"data_{run}"].T for run in range(4)]
    assert glmsingle.fit(design, data, tr=1.0).notes == ""
    design[2] = design[2].copy()
    design[2][-1, 5] = 1
    with pytest.warns(UserWarning, match="^1 of 241 trials begin too close .*run 3, volume 287"):
        fit_glm(design, data, tr=1.0)
    assert re.match(
        r"1 trials begin too close to the end of their run to be measured \(run 3\): GLMsingle uses them in its choices",
        glmsingle.fit(design, data, tr=1.0).notes,
    )


def test_where_glmsingle_stops_its_words_are_explained(recorded, monkeypatch):
    """With an empty noise pool it takes the singular vectors of nothing; without a voxel above its cutoff, their median."""
    file, _ = recorded
    design, data = [file[f"design_{run}"] for run in range(4)], [file[f"data_{run}"].T for run in range(4)]

    def stop(*_, **__):
        np.linalg.svd(np.full((3, 3), np.nan))

    monkeypatch.setattr(sys.modules["glmsingle.glmsingle"].GLM_single, "fit", stop)
    with pytest.raises(
        RuntimeError, match=r"GLMsingle stopped \(LinAlgError: .*no voxel is left for its noise pool .*brain_r2.*pc_mask.*n_pcs=0"
    ):
        glmsingle.fit(design, data, tr=1.0)


def test_glmsingles_betas_of_every_type_come_in_scanner_units(recorded):
    """It gives types C and D in percent whatever is asked for; B then comes without."""
    file, _ = recorded
    design, data = [file[f"design_{run}"] for run in range(4)], [file[f"data_{run}"].T for run in range(4)]
    raw = glmsingle.fit(design, data, tr=1.0, options=GLMOptions(percent=False))
    for kind in "cd":
        expected = file[f"type{kind.upper()}_betasmd"].T * file["meanvol"] / 100
        np.testing.assert_allclose(raw[f"betas_{kind}"], expected, rtol=1e-5)
    assert raw.betas_d.units == "scanner units" and np.array_equal(raw.betas_b.T, file["typeB_betasmd"])


def test_a_region_has_a_noise_pool_below_its_own_median_if_not_below_the_brains_threshold(session):
    subject, results = session
    design, series, _ = glm_sessions.read_session(subject, 1, subject.roi("nsdgeneral") > 0)
    r2 = results.onoff_r2.sel(voxel=results.roi_voxel.values)
    assert (r2 > results.threshold[0]).mean() > 0.75  # by that one few voxels, dead or weak, would be the pool
    found = fit_glm(design, series, tr=TR, options=GLMOptions(brain_r2=float(r2.median())))
    assert found.notes == "" and found.noise_pool.sum() == len(r2[0]) // 2


@pytest.mark.skipif(glmsingle.is_installed(), reason="GLMsingle is installed here")
def test_without_the_package_the_engine_says_how_to_get_it():
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'glmsingle @ git.*or use glm_engine: nsdlib"):
        glmsingle.fit([], [], tr=1.0)


@pytest.mark.skipif(not glmsingle.is_installed(), reason="GLMsingle is not installed: it is not on the package index")
def test_glmsingle_itself_agrees(session):
    subject, _ = session
    design, series, _ = glm_sessions.read_session(subject, 1, subject.roi("nsdgeneral") > 0)
    theirs, ours = (engine(design, series, tr=TR) for engine in (glmsingle.fit, fit_glm))  # each with its own table of HRFs
    np.testing.assert_array_equal(theirs.hrf_index, ours.hrf_index)
    assert np.sqrt(np.square(theirs.betas_d - ours.betas_d).mean() / np.square(ours.betas_d).mean()) < 2e-5
