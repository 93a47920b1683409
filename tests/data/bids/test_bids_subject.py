"""A BIDS subject: the GLM recovers planted betas; rows, times, masks and pictures are read as specified, or refused."""

import gzip
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from unicodedata import normalize

import bids_tree as tree
import nibabel
import numpy as np
import pandas as pd
import pytest
from bids_tree import AFFINE, NAMES, SHAPE, TR, func, settings, stem, write_confounds, write_subject, write_table, write_volume
from conftest import ROOT
from nilearn.interfaces.fmriprep import load_confounds
from PIL import Image

from nsdlib.core import GLMOptions
from nsdlib.core.glm import hrf
from nsdlib.data import fit_sessions, read_events, read_session
from nsdlib.data.bids import volumes
from nsdlib.data.bids.events import choose_grid
from nsdlib.data.bids.pictures import Pictures, read_captions
from nsdlib.data.bids.subject import BIDSSubject
from nsdlib.data.subject import open_subject
from nsdlib.store import provenance

N_LONG = 2000  # volumes of a series of which blocks are read alone
PLAIN = GLMOptions(n_pcs=0, fractions=(1.0,))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_subject(tmp_path_factory.mktemp("subject") / "data")


@pytest.fixture
def root(written, tmp_path):
    return Path(shutil.copytree(written, tmp_path / "data"))


def subject_of(root, n_sessions=None, **changes):
    return BIDSSubject(root / "raw", settings(root, **changes), n_sessions)


def truth_of(subject, session):
    """Planted betas of a session's trials: (n_trials, n_voxels)."""
    names = subject.image_names(subject.image_ids[subject.session == session])
    return tree.planted()[[NAMES.index(name) for name in names]][:, subject.brainmask]


def correlation(found, truth):
    """Mean over voxels of the correlation over trials."""
    return np.mean([np.corrcoef(found[:, v], truth[:, v])[0, 1] for v in range(truth.shape[1])])


def betas_b(subject):
    """Betas without denoising of session 1, and their planted truth."""
    found = fit_sessions(subject, 1, roi="brainmask", options=PLAIN)
    return found["betas_b"].values, truth_of(subject, 1)


def events_file(root, session="01", run=1):
    return func(root / "raw", session) / f"{stem(session, run)}_events.tsv"


def prep_file(root, kind, session="01", run=1):
    return func(root / "prep", session) / f"{stem(session, run, zeros=1)}_{kind}"


def rewrite(root, rows, header=("onset", "duration", "stim_file"), **where):
    return write_table(events_file(root, **where), header, rows)


# Betas


def test_planted_betas_come_back(written):
    subject = subject_of(written)
    for session in (1, 2):
        design, series, confounds = read_session(subject, session)
        assert confounds is None
        assert [rows.shape for rows in design] == [(40,)] * subject.n_runs(session)
        assert [bold.shape for bold in series] == [(40, subject.brainmask.sum())] * subject.n_runs(session)
        assert [bold.dtype for bold in series] == [np.float32] * subject.n_runs(session)
    assert correlation(*betas_b(subject)) > 0.999


def test_betas_of_onsets_off_the_grid_are_as_good_and_rounding_is_worse(tmp_path):
    root = write_subject(tmp_path / "data", jitter=2.0)
    resampled, rounded = subject_of(root), subject_of(root, onsets="round")
    good, worse = correlation(*betas_b(resampled)), correlation(*betas_b(rounded))
    assert good > 0.999 and good - worse > 0.003
    assert resampled.tr == 0.5 and rounded.tr == TR
    assert len(resampled.design(1, 1)) == len(resampled.timeseries(1, 1, resampled.brainmask)) == 157
    shifts = [float(re.search(r"by ([0-9.]+) s at most", " ".join(subject.notes))[1]) for subject in (resampled, rounded)]
    onsets = np.concatenate([tree.events_of(k, jitter=2.0)[0] for k in range(3)])
    assert shifts[0] == pytest.approx(np.abs(onsets - np.rint(2 * onsets) / 2).max(), abs=1e-3)
    assert shifts[1] == pytest.approx(np.abs(np.mod(onsets, TR) - TR / 2).max(), abs=1e-3)  # volumes are at 1, 3, ... s


def test_the_time_of_the_first_volume_matters(written, root):
    right = correlation(*betas_b(subject_of(written)))
    for path in (root / "prep").rglob("*bold.json"):
        path.write_text('{"RepetitionTime": 2, "StartTime": 0}')
    wrong, truth = betas_b(subject_of(root))
    late = np.abs(wrong - truth).mean()
    ours, truth = betas_b(subject_of(written))
    assert right > 0.999 and late > np.abs(ours - truth).mean()


def test_dummy_volumes_have_no_say(root):
    bold = prep_file(root, "space-T1w_desc-preproc_bold.nii.gz")
    image = nibabel.load(bold)
    values = image.get_fdata(dtype=np.float32).copy()
    values[..., :2] *= 3
    write_volume(bold, values)
    spoilt = correlation(*betas_b(subject_of(root)))
    write_confounds(root, 0, n_dummies=2)
    subject = subject_of(root)
    cleaned = correlation(*betas_b(subject))
    assert cleaned > 0.998 > spoilt + 0.1
    columns = subject.confounds(1, 1)
    assert columns.shape == (40, 3) and subject.confounds(1, 2) is None  # at 0, 2 and 4 s, between volumes at 1, 3 and 5 s
    np.testing.assert_array_equal(np.flatnonzero(columns.any(axis=1)), [0, 1, 2][: columns.shape[1]])
    np.testing.assert_array_equal(columns[:3, :3], np.eye(3))
    assert subject_of(root, onsets="round").confounds(1, 1).shape == (40, 2)


# Trials


def test_trials_and_designs_are_those_of_the_events(written):
    subject = subject_of(written)
    assert (subject.n_trials, subject.n_sessions, subject.n_runs(1), subject.n_runs(2)) == (27, 2, 2, 1)
    assert subject.trials[["session", "run", "image"]].dtypes.eq(np.int64).all()
    names = [name for k in range(3) for name in tree.events_of(k)[1]]
    assert subject.image_names(subject.image_ids) == names
    assert sorted(NAMES) == subject.image_names(np.arange(len(NAMES)))
    design = subject.design(1, 2)
    assert np.flatnonzero(design).tolist() == list(range(4, 40, 4))
    assert (design[design > 0] - 1).tolist() == subject.image_ids[9:18].tolist()
    np.testing.assert_allclose(subject.onsets(1), [*range(8, 80, 8)] * 2)
    assert subject.duration == 1 and subject.tr == TR and subject.name == "raw/sub-01"
    assert [note for note in subject.notes if "left out" in note] == [
        "1 rows left out: no stim_file (sub-01_ses-01_task-see_run-1 1)."
    ]


def test_fewer_sessions_can_be_used(written):
    subject = subject_of(written, 1)
    assert (subject.n_trials, subject.n_sessions, len(subject.runs)) == (18, 1, 2)
    for wrong in (0, 3):
        with pytest.raises(ValueError, match=rf"n_sessions={wrong}: raw/sub-01 has sessions 1 to 2 \(01, 02\)"):
            subject_of(written, wrong)
    with pytest.raises(ValueError, match=r"session=2: sessions 1 to 1 of raw/sub-01"):
        subject.n_runs(2)
    with pytest.raises(ValueError, match=r"run=3: session 1 of raw/sub-01 has task runs 1 to 2"):
        subject.design(1, 3)


def test_rows_that_are_no_trials_are_left_out_and_counted(root):
    path = rewrite(
        root,
        [[-1.5, 1, NAMES[0], 0], [-0.01, 1, NAMES[1], 0], ["n/a", 1, NAMES[2], 0], [8, 1, NAMES[3], 0], [8, 1, NAMES[3], 0],
         [16, 1, NAMES[4], 1], [24, "n/a", NAMES[5], 0], [40, 1, "n/a", 0], [76, 1, NAMES[6], 0], [76.5, 1, NAMES[7], 0]],
        header=("onset", "duration", "stim_file", "catch"),
    )  # fmt: skip
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    subject = subject_of(root, drop={"catch": ("1.0",)})
    assert subject.image_names(subject.image_ids[subject.trials["run"].eq(1) & (subject.session == 1)]) == [
        NAMES[i] for i in (1, 3, 5, 6)
    ]  # fmt: skip
    run = "sub-01_ses-01_task-see_run-1"
    assert [note for note in subject.notes if "left out" in note] == [
        f"1 rows left out: drop, catch = 1.0 ({run} 1).",
        f"1 rows left out: no stim_file ({run} 1).",
        f"1 rows left out: no onset ({run} 1).",
        f"1 rows left out: onset before the first volume ({run} 1).",
        f"1 rows left out: onset in the last 4 s of the run, or after it ({run} 1).",
        f"1 rows left out: the same picture again at the same onset ({run} 1).",
    ]
    assert subject.onsets(1)[0] == 0


def test_a_run_without_events_is_a_run_without_trials(root):
    rewrite(root, [], header=("onset", "duration"), run=2)
    subject = subject_of(root)
    assert subject.n_runs(1) == 2 and not subject.design(1, 2).any() and subject.n_trials == 18


def run_cells(notebook, *words, **names):
    """The names that cells of a notebook, those with some words, come to, begun with others."""
    cells = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text())["cells"]
    for source in ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"):
        if any(word in source for word in words):
            exec(source, names)
    return names


@pytest.mark.parametrize("which", ["no second run", "a first run without trials"])
def test_notebooks_look_at_sessions_of_one_run_and_at_runs_without_trials(root, which, house_style):
    if which == "no second run":
        for path in root.rglob("*ses-01_task-see_run-*2*"):
            path.unlink()
        subject = subject_of(root)
        given = {"np": np, "data": subject, "has_series": True, "mask": subject.brainmask}
        assert run_cells("00_meet_the_data", "toeplitz", "plot_responses", **given)["halves"] == []
        return
    rewrite(root, [], header=("onset", "duration"))
    subject = subject_of(root)
    design, series, _ = read_session(subject, 1)
    glm = fit_sessions(subject, 1, roi="brainmask", options=PLAIN)
    given = {"np": np, "data": subject, "glm": glm, "first": glm.sel(session=1), "design": design, "series": series}
    made = run_cells("01_hrf_glmsingle", "import explain", "explain(", hrfs=hrf.sampled_library(TR, 1.0), **given)
    assert np.corrcoef(made["measured"], made["fits"]["step 1"])[0, 1] > 0.9


def test_columns_keep_names_that_look_like_numbers(root):
    for run in (1, 2):
        rewrite(root, [[8, 1, "0007"], [16, 1, "NA"]], header=("onset", "duration", "stim"), run=run)
    subject = subject_of(root, 1, image_column="stim")
    assert subject.image_names([0, 1]) == ["0007", "NA"]


def test_the_official_test_set_is_by_picture(root):
    rows = [[8 * i, 1, NAMES[i], "test" if i < 3 else "exp"] for i in range(1, 5)]
    rewrite(root, rows, header=("onset", "duration", "stim_file", "trial_type"))
    subject = subject_of(root, test={"trial_type": ("test",)})
    chosen = {NAMES[1], NAMES[2]}
    assert subject.is_test.tolist() == [name in chosen for name in subject.image_names(subject.image_ids)]
    assert subject.is_test.sum() == 6
    with pytest.raises(ValueError, match=r"has no test set of its own: set split to random"):
        _ = subject_of(root).is_test
    for wrong in ({"trial_type": ("test", "tset")}, {"stim_file": (NAMES[0], NAMES[1].replace("png", "jpg"))}):
        with pytest.raises(
            ValueError, match=r"test: no row has (trial_type = tset|stim_file = cat/cat_01.jpg), so that pictures"
        ):
            _ = subject_of(root, test=wrong).trials
    rewrite(root, [[0, 1, "n/a", "test"], *rows], header=("onset", "duration", "stim_file", "trial_type"))
    some = {"ses": ("02",), "trial_type": ("image",)}
    with pytest.raises(ValueError, match=r"no trial has ses = 02 or trial_type = image, so the official test set would be empty"):
        _ = subject_of(root, 1, test=some).trials  # session 2 is not in use


def test_durations_are_the_median(root):
    rewrite(root, [[8, 2.04, NAMES[0]], [16, 2.04, NAMES[1]], [24, "n/a", NAMES[2]], [32, 3, NAMES[3]]])
    subject = BIDSSubject(root / "raw", settings(root), 1)
    rewrite(root, [], header=("onset", "duration"), run=2)
    assert subject.duration == 2
    assert "Durations range from 2.04 to 3 s: their median is used." in subject.notes
    rewrite(root, [[8, NAMES[0]]], header=("onset", "stim_file"))
    subject = BIDSSubject(root / "raw", settings(root), 1)
    assert subject.duration == 3 and "No trial has a duration: 3 s is assumed." in subject.notes


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([[8, 1, NAMES[0]], [8, 1, NAMES[1]]], None, "lines 2 and 3: the pictures cat/cat_00.png and cat/cat_01.png appear at"),
        ([["8,5", 1, NAMES[0]]], None, "line 2: onset is '8,5', wanted seconds or n/a. Numbers have a decimal point"),
        ([[8, 1, NAMES[0]], [16, -1, NAMES[0]]], None, "line 3: duration is '-1', wanted seconds, 0 or more, or n/a"),
        ([["inf", 1, NAMES[0]]], None, "line 2: onset is 'inf', wanted seconds"),
        ([[8, 1, NAMES[0]]], ("onset", "duration", "image"), "no column 'stim_file', as other runs have; its columns are onset"),
        ([[8, 1, NAMES[0]]], ("start", "duration", "stim_file"), "wanted a column 'onset'"),
    ],
)
def test_events_that_cannot_be_read_are_refused(root, rows, header, message):
    rewrite(root, rows, header=header or ("onset", "duration", "stim_file"))
    with pytest.raises(ValueError, match=message) as refused:
        _ = subject_of(root).trials
    assert "run-01_events.tsv" in str(refused.value)


def test_columns_and_trials_that_there_are_not_are_refused(root):
    for wrong in ({"image_column": "picture"}, {"drop": {"picture": ("1",)}}, {"test": {"picture": ("1",)}}):
        with pytest.raises(ValueError, match=r"have a column 'picture'. There are duration, onset, stim_file, trial_type"):
            _ = subject_of(root, **wrong).trials
    with pytest.raises(ValueError, match=r"no trial that showed a picture, column stim_file. 18 rows left out: drop"):
        for run in (1, 2):
            rewrite(root, [[8 * i, 0, NAMES[i]] for i in range(9)], run=run)
        _ = subject_of(root, 1, drop={"duration": ("0",)}).trials


def test_two_trials_in_one_volume_are_refused(root):
    rewrite(root, [[8, 0.2, NAMES[0]], [8.6, 0.2, NAMES[1]]])
    assert subject_of(root).n_trials == 20
    with pytest.raises(
        ValueError, match=r"trials at 8 and 8.6 s fall on the same of the times 2 s apart. Set onsets to resample"
    ):
        _ = subject_of(root, onsets="round").tr


@pytest.mark.parametrize(
    ("onsets", "tr", "grid", "shift"),
    [
        ([0, 4, 8], 2, 2, 0), ([0, 4.09, 8], 2, 2, 0.09), ([0, 3, 7, 8], 1.6, 1, 0), ([0, 4, 8, 12], 1.6, 4 / 3, 0),
        ([0.2, 0.9, 3.13], 0.5, 0.5, 0.2), ([0, 1, 4, 5], 2, 1, 0),
    ],
)  # fmt: skip
def test_the_grid_is_the_coarsest_that_holds_the_onsets(onsets, tr, grid, shift):
    assert choose_grid(np.array(onsets, dtype=float), tr) == (pytest.approx(grid, abs=1e-5), pytest.approx(shift, abs=1e-4))


def test_a_grid_is_never_finer_than_half_a_second():
    onsets = np.cumsum(np.random.default_rng(0).uniform(3, 5, 300))
    for tr in (0.5, 0.7, 1.0, 1.49, 2.0, 3.0):
        grid, shift = choose_grid(onsets, tr)
        assert shift <= 0.25 + 1e-9 and grid > 0.33


# Volumes


def test_the_mask_is_what_all_runs_share_and_costs_are_said(written):
    subject = subject_of(written)
    outside = np.zeros(SHAPE, bool)
    outside[0] = outside[1, 0, :3] = True
    np.testing.assert_array_equal(subject.brainmask, ~outside)
    np.testing.assert_array_equal(subject.affine, AFFINE)
    assert [note for note in subject.notes if "voxels" in note] == [
        "333 voxels are in the brain masks of all runs, 336 in some. Missing in one run alone: sub-01_ses-01_task-see_run-1 1, "
        "sub-01_ses-01_task-see_run-2 1, sub-01_ses-02_task-see_run-1 1."
    ]
    refs = [nibabel.load(prep_file(written, "space-T1w_boldref.nii.gz", session=session)).get_fdata() for session in ("01", "02")]
    np.testing.assert_allclose(subject.background, np.mean(refs, axis=0), rtol=1e-6)


def test_without_references_the_background_is_the_mean_of_the_first_run(root):
    for path in (root / "prep").rglob("*boldref*"):
        path.unlink()
    bold = prep_file(root, "space-T1w_desc-preproc_bold.nii.gz")
    image = nibabel.load(bold)
    series = image.get_fdata()
    np.testing.assert_allclose(subject_of(root).background, series.mean(axis=3), rtol=1e-6)
    series = np.round(30_000 * series / series.max()).astype(np.int16)  # sums of which are no int16
    nibabel.save(nibabel.Nifti1Image(series, image.affine), bold)
    np.testing.assert_allclose(subject_of(root, tr=TR).background, series.mean(axis=3), rtol=1e-6)


def test_series_are_those_of_the_file_in_any_type(root):
    bold = prep_file(root, "space-T1w_desc-preproc_bold.nii.gz")
    image = nibabel.load(bold)
    packed = nibabel.Nifti1Image(image.get_fdata(), AFFINE, image.header)
    packed.set_data_dtype(np.int16)  # with a slope
    nibabel.save(packed, bold)
    subject = subject_of(root, onsets="round")
    wanted = nibabel.load(bold).get_fdata()[subject.brainmask].T
    np.testing.assert_allclose(subject.timeseries(1, 1, subject.brainmask), wanted, rtol=1e-5)
    with pytest.raises(ValueError, match=r"mask has shape \(2,\)"):
        subject.timeseries(1, 1, np.ones(2, bool))


def test_runs_on_other_grids_are_refused(root):
    mask = prep_file(root, "space-T1w_desc-brain_mask.nii.gz", session="02")
    values = np.asarray(nibabel.load(mask).dataobj)
    moved = AFFINE.copy()
    moved[0, 3] = 0.01
    unknown = AFFINE.copy()
    unknown[0, 3] = np.nan
    wrongs = [(values, moved, "affines differ by "), (values, unknown, "affines differ by nan"), (values[1:], AFFINE, "not ")]
    for wrong, why in ((nibabel.Nifti1Image(*parts), why) for *parts, why in wrongs):
        nibabel.save(wrong, mask)
        with pytest.raises(ValueError, match=rf"another grid of voxels than the first.*{why}.*Take a space that they share"):
            _ = subject_of(root).brainmask
    nibabel.save(nibabel.Nifti1Image(np.zeros(SHAPE, np.uint8), AFFINE), mask)
    with pytest.raises(ValueError, match=r"No voxel is in the brain masks of all 3 runs, 336 are in some"):
        _ = subject_of(root).brainmask
    nibabel.save(nibabel.Nifti1Image(np.zeros((*SHAPE, 2), np.uint8), AFFINE), mask)
    with pytest.raises(ValueError, match=r"has shape \(8, 8, 6, 2\), wanted a volume"):
        _ = subject_of(root).brainmask


def test_bold_that_is_cut_off_or_no_series_is_refused(root):
    bold = prep_file(root, "space-T1w_desc-preproc_bold.nii.gz")
    whole = bold.read_bytes()
    subject = subject_of(root)
    bold.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"bold.nii.gz cannot be read as a NIfTI file"):
        subject.timeseries(1, 1, subject.brainmask)
    write_volume(bold, np.zeros(SHAPE, np.float32))
    with pytest.raises(ValueError, match=r"bold.nii.gz has shape \(8, 8, 6\), wanted a series"):
        _ = subject_of(root).trials
    bold.write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"an empty file: run `datalad get"):
        _ = subject_of(root).trials


def test_runs_of_other_tr_are_refused(root):
    path = prep_file(root, "space-T1w_desc-preproc_bold.json", session="02")
    path.write_text('{"RepetitionTime": 2.015, "StartTime": 1}')
    with pytest.raises(ValueError, match=r"same seconds between volumes, got .*run-1 2 s, .* 2.015 s"):
        _ = subject_of(root).tr
    assert subject_of(root, tr=2.0).tr == 2


def write_regions(root, name="ctx-lh-pericalcarine"):
    labels = np.zeros(SHAPE, np.int16)
    labels[2], labels[3], labels[4], labels[0] = 1021, 2021, 1011, 1021
    write_volume(prep_file(root, "space-T1w_desc-aparcaseg_dseg.nii.gz", run=2), labels)
    rows = [[1021, name, "#0"], [2021, "ctx-rh-pericalcarine", "#1"], [1011, "ctx-lh-lateraloccipital", "#2"], [4, "x", "#3"]]
    return write_table(root / "prep" / "desc-aparcaseg_dseg.tsv", ["index", "name", "color"], rows)


def test_visual_regions_come_from_freesurfer(root):
    with pytest.raises(ValueError, match=r"roi 'visual' is unknown. Known: brainmask, the path of a NIfTI mask. FreeSurfer's"):
        subject_of(root).voxels("visual")
    assert subject_of(root).regions == {}
    table = write_regions(root)
    subject = subject_of(root)
    x = np.arange(SHAPE[0])[:, None, None] + np.zeros(SHAPE)
    assert list(subject.regions) == ["pericalcarine", "lateraloccipital"]
    np.testing.assert_array_equal(subject.regions["pericalcarine"], (x == 2) | (x == 3))  # what lies outside the brain is none
    np.testing.assert_array_equal(subject.voxels("visual"), (x >= 2) & (x <= 4))
    np.testing.assert_array_equal(subject.voxels("lateraloccipital"), x == 4)
    np.testing.assert_array_equal(subject.voxels("brainmask"), subject.brainmask)
    with pytest.raises(ValueError, match=r"roi 'V1' is unknown. Known: brainmask, the path of a NIfTI mask, visual, peri"):
        subject.voxels("V1")
    table.write_text("a\tb\n1\t2\n")
    with pytest.raises(ValueError, match=r"has the columns a, b, wanted index and name"):
        _ = subject_of(root).regions


def test_a_mask_of_ones_own_may_lie_on_another_grid(root):
    subject = subject_of(root)
    fine = np.zeros((16, 16, 12), np.uint8)
    fine[8:12] = 1
    affine = np.diag([1.0, 1, 1, 1])
    affine[:3, 3] = -0.5
    nibabel.save(nibabel.Nifti1Image(fine, affine), root / "mine.nii.gz")
    same = np.zeros(SHAPE, np.uint8)
    same[4:6] = 1
    write_volume(root / "same.nii", same)
    for name in ("mine.nii.gz", "same.nii"):
        np.testing.assert_array_equal(subject.voxels(str(root / name)), same > 0)
    assert subject.session_files(1, str(root / "same.nii"))[-1] == root / "same.nii"
    far = AFFINE.copy()
    far[:3, 3] = 500
    nibabel.save(nibabel.Nifti1Image(same, far), root / "far.nii")
    with pytest.raises(ValueError, match=r"has no voxel in the mask of raw/sub-01: is it in the same space"):
        subject.voxels(str(root / "far.nii"))
    with pytest.raises(FileNotFoundError, match=r"none.nii is not there"):
        subject.voxels(str(root / "none.nii"))


def test_a_mask_is_looked_for_from_home_and_from_the_projects_folder(root, tmp_path, monkeypatch):
    subject = subject_of(root)
    for name in ("home", "project/params", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "project" / "params" / "_common.yaml").write_text("")
    for place in ("home", "project"):
        write_volume(tmp_path / place / "roi.nii.gz", subject.brainmask.astype(np.uint8))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NSDLIB_HOME", str(tmp_path / "project"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    for roi, place in (("~/roi.nii.gz", "home"), ("roi.nii.gz", "project")):
        np.testing.assert_array_equal(subject.voxels(roi), subject.brainmask)
        assert subject.session_files(1, roi)[-1] == tmp_path / place / "roi.nii.gz"


# Confounds


def test_confounds_are_nilearns_at_the_times_of_the_series(root):
    for k in range(3):
        write_confounds(root, k, n_dummies=1)
    subject = subject_of(root, confounds=("motion", "wm_csf"), onsets="round")
    theirs, kept = load_confounds(
        str(prep_file(root, "space-T1w_desc-preproc_bold.nii.gz")), strategy=("motion", "wm_csf"), motion="basic"
    )
    ours = subject.confounds(1, 1)
    assert ours.shape == (40, 9) and kept.tolist() == list(range(1, 40))
    np.testing.assert_allclose(ours[1:, :8], theirs.to_numpy()[1:])
    np.testing.assert_array_equal(ours[:, 8], np.eye(40)[0])
    resampled = subject_of(root, confounds=("motion",)).confounds(1, 1)
    assert resampled.shape == (40, 8) and np.isfinite(resampled).all()  # 6 of motion, volume 0 in the rows at 0 and 2 s
    filtered = subject_of(root, confounds=("high_pass", "motion"))
    assert len(read_session(filtered, 1)[2]) == 2 and filtered.notes[-1].startswith("high_pass takes out drifts")


def test_confounds_that_cannot_be_are_refused(root):
    with pytest.raises(ValueError, match=r"bold.nii.gz has no table of confounds: set confounds to \[\]"):
        subject_of(root, confounds=("motion",)).confounds(1, 1)
    path = write_confounds(root, 0)
    with pytest.raises(ValueError, match=r"confounds=\['movement'\]: nilearn refuses them for .*timeseries.tsv"):
        subject_of(root, confounds=("movement",)).confounds(1, 1)
    with pytest.raises(ValueError, match=r"confounds=\['compcor', 'high_pass'\]: nilearn refuses them"):
        subject_of(root, confounds=("compcor", "high_pass")).confounds(1, 1)
    table = pd.read_csv(path, sep="\t")
    table.assign(framewise_displacement=9.0).to_csv(path, sep="\t", index=False)
    with pytest.raises(ValueError, match=r"leave 0 of 40 volumes, .* Leave out scrub, or this run"):
        subject_of(root, confounds=("motion", "scrub")).confounds(1, 1)
    table.assign(csf=np.nan).to_csv(path, sep="\t", index=False, na_rep="n/a")
    with pytest.raises(ValueError, match=r"leave 40 of 40 volumes, and 40 values that are not numbers"):
        subject_of(root, confounds=("wm_csf",)).confounds(1, 1)
    table[1:].to_csv(path, sep="\t", index=False)
    with pytest.raises(ValueError, match=r"has 39 rows, .* has 40 volumes"):
        subject_of(root).confounds(1, 1)


# Pictures


def test_pictures_are_cropped_or_padded_and_never_squashed(written):
    subject = subject_of(written, side=10)
    ids = np.array([8, 0, 8])
    cropped = subject.stimuli(ids)
    greys = [10 * NAMES.index(name) for name in subject.image_names(ids)]
    assert cropped.shape == (3, 10, 10, 3) and cropped.dtype == np.uint8
    for picture, grey in zip(cropped, greys, strict=True):  # 20 of 40 columns remain, white edges do not
        np.testing.assert_array_equal(picture, grey)
    padded = subject_of(written, side=10, fit="pad").stimuli(ids)
    assert (padded[:, :2] == 127).all() and (padded[:, 8:] == 127).all() and (padded[:, 4:6, 0] == 255).all()


def test_kinds_of_pictures(tmp_path):
    grey, ramp = np.full((8, 8), 80, np.uint8), np.full((8, 8), 257 * 80, np.uint16)
    rgba = np.full((8, 8, 4), 200, np.uint8)
    rgba[..., 3] = 0
    turned = Image.fromarray(np.full((8, 8, 3), 80, np.uint8))
    palette = Image.fromarray(grey).convert("P")
    kinds = {"grey.png": grey, "deep.png": ramp, "clear.png": rgba, "palette.gif": palette, "photo.jpg": turned}
    for name, picture in kinds.items():
        picture = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
        picture.save(tmp_path / name)
    found = Pictures(tmp_path, side=8).read(["grey.png", "deep", "clear", "palette.gif", "stimuli/photo.jpg"])
    assert found[:, 0, 0, 0].tolist() == [80, 80, 127, 80, 80]
    assert (found == found[:, :1, :1, :1]).all()
    (tmp_path / "bad.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(ValueError, match=r"bad.png cannot be read as a picture \(Unidentified.*: get it again, or save it"):
        Pictures(tmp_path, side=8).read(["bad"])


def test_pictures_are_found_by_the_end_of_their_path(tmp_path):
    for name in ("a/1.png", "b/1.png", "b/2.png", "b/2.jpg", "c/x/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    pictures = Pictures(tmp_path)
    for name, place in (
        ("a/1.png", "a/1.png"), ("stimuli/b/1.png", "b/1.png"), ("b\\1", "b/1.png"), ("2.jpg", "b/2.jpg"), ("3", "c/x/3.png"),
        ("x/3.png", "c/x/3.png"),
    ):  # fmt: skip
        assert pictures.find(name) == tmp_path / place
    assert pictures.find("c/1.png") is pictures.find("4.png") is pictures.find("") is None
    for name in ("1.png", "a/3.png"):
        (tmp_path / name).write_bytes(b"x")
    pictures = Pictures(tmp_path)
    assert pictures.find("c/1.png") is None and pictures.find("1.png") == tmp_path / "1.png" == pictures.find(
        f"{tmp_path.name}/1"
    )
    assert pictures.find("b/1.png") == tmp_path / "b" / "1.png"
    for name in ("3.png", "b/2"):
        with pytest.raises(ValueError, match=rf"Picture '{name}' can be .* or .*: tables must name the folder"):
            pictures.find(name)


def test_folders_that_are_links_are_followed_and_endings_may_be_large_or_small(tmp_path):
    (tmp_path / "disk" / "cats").mkdir(parents=True)
    for name in ("Tom.PNG", "Kit.V2.png", "two.png", "two.PNG"):
        (tmp_path / "disk" / "cats" / name).write_bytes(b"x")
    (tmp_path / "images" / ".git").mkdir(parents=True)
    (tmp_path / "images" / ".git" / "Tom.png").write_bytes(b"x")
    (tmp_path / "images" / "cats").symlink_to(tmp_path / "disk" / "cats")
    (tmp_path / "disk" / "cats" / "round").symlink_to(tmp_path / "images")  # a circle
    pictures, cats = Pictures(tmp_path / "images"), tmp_path / "images" / "cats"
    for name, place in (("Tom.png", "Tom.PNG"), ("cats/Tom", "Tom.PNG"), ("Kit.V2", "Kit.V2.png"), ("Kit.V2.PNG", "Kit.V2.png")):
        assert pictures.find(name) == cats / place
    assert [pictures.find(name) for name in ("two.png", "two.PNG")] == [cats / "two.png", cats / "two.PNG"]
    assert Pictures(tmp_path / "none").find("Tom") is None


@pytest.mark.parametrize(("there", "asked"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_umlauts_are_the_same_however_they_are_written(tmp_path, there, asked):
    name = "Möbel/Hütte 1.png"
    (path := tmp_path / normalize(there, name)).parent.mkdir()
    path.write_bytes(b"x")
    pictures = Pictures(tmp_path)
    assert pictures.find(normalize(asked, name)) == pictures.find(normalize(asked, "Hütte 1")) == path
    assert len(set(pictures.one_name_each([name, normalize("NFD", name)]).values())) == 1


def test_missing_pictures_are_named_and_counted(root):
    (root / "pictures" / NAMES[4]).unlink()
    (root / "pictures" / NAMES[5]).write_bytes(b"")
    subject = subject_of(root)
    with pytest.raises(FileNotFoundError, match=r"2 of 9 pictures are missing in .*pictures, such as dog/dog_01.png, dog/dog_02"):
        subject.stimuli(np.arange(9))
    assert [path.name for path, _ in subject.missing_files()] == ["dog_01.png", "dog_02.png"]
    assert subject.missing_files(roi=f"{root}/V1.nii.gz") == [(root / "V1.nii.gz", "mask, roi: not there")]
    with pytest.raises(FileNotFoundError, match=r"1 of 1 pictures are missing in .*pictures, such as /lab/dog_09.png"):
        subject.pictures.read(["/lab/dog_09.png"])
    assert subject.stimuli([]).shape == (0, 425, 425, 3)
    with pytest.raises(ValueError, match=r"image_ids holds 9: images of raw/sub-01 have numbers from 0 to 8"):
        subject.stimuli([9])


def test_concepts_are_folders_or_what_stands_before_the_number(root, tmp_path):
    subject = subject_of(root)
    assert subject.concepts([0, 3, 8]) == ["cat", "dog", "house"]
    flat = tmp_path / "flat"
    flat.mkdir()
    for name in ("n02766534_15976.png", "camel_02s.png", "sea_lion_3.png", "odd.png"):
        (flat / name).write_bytes(b"x")
    pictures = Pictures(flat)
    assert pictures.concepts(["n02766534_15976", "camel_02s.png", "sea_lion_3.png"]) == ["n02766534", "camel", "sea_lion"]
    for name in ("training/n01518878_10042", "training/n01443537_22563", "test/n01621127_19020", "test/odd"):
        (tmp_path / "god" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "god" / f"{name}.JPEG").write_bytes(b"x")
    by_use = Pictures(tmp_path / "god")  # folders that say what pictures are for, not what they show
    assert by_use.concepts(["n01518878_10042", "n01443537_22563", "n01621127_19020"]) == ["n01518878", "n01443537", "n01621127"]
    assert by_use.concepts(["n01518878_10042", "odd"]) == ["training", "test"]
    with pytest.raises(ValueError, match=r"1 pictures of .*flat do not say their concept, such as odd.png"):
        pictures.concepts(["camel_02s.png", "odd.png"])


def test_captions_come_from_a_table(root):
    subject = subject_of(root)
    assert not subject.has_captions and subject.captions([0, 1]) == [[], []]
    path = root / "captions.tsv"
    rows = [["cat/cat_00.png", "a cat"], ["cat_01", "NA"], ["cat/cat_00.png", "one more"], ["dog/dog_00.png", ""]]
    write_table(path, ["image", "caption"], rows)
    subject = subject_of(root, captions=path)
    assert subject.has_captions and subject.captions([1, 0]) == [["NA"], ["a cat", "one more"]]
    with pytest.raises(ValueError, match=r"has no caption of 1 of 2 pictures, such as dog/dog_00.png"):
        subject.captions([0, 3])
    write_table(path, ["picture", "caption"], rows)
    with pytest.raises(
        ValueError, match=r"captions.tsv: wanted a column 'image' and tabs between the columns, got the columns pic"
    ):
        read_captions(path, Pictures(root / "pictures"))
    (root / "pictures" / "dog" / "cat_01.png").write_bytes(b"x")
    write_table(path, ["image", "caption"], [["cat_01", "a cat, or a dog?"]])
    with pytest.raises(ValueError, match=r"Picture 'cat_01' can be .*cat/cat_01.png or .*dog/cat_01.png: tables must name"):
        subject_of(root, captions=path).captions([0])


# The protocol


def test_files_that_are_missing_are_listed_with_what_is_wrong(root):
    subject = subject_of(root)
    assert subject.missing_files() == []
    assert len(subject.session_files(1, "visual")) == 2 * 2 + 3
    bold, mask = (prep_file(root, f"space-T1w_desc-{kind}.nii.gz") for kind in ("preproc_bold", "brain_mask"))
    bold.write_bytes(b"")
    mask.unlink()
    mask.symlink_to("nowhere")
    missing = subject_of(root).missing_files()
    assert [path for path, _ in missing] == [bold, mask]
    assert missing[0][1].startswith("BOLD of sub-01_ses-01_task-see_run-1: an empty file: run `datalad get")
    assert missing[1][1].startswith("brain mask of sub-01_ses-01_task-see_run-1: a link whose target is missing")


@pytest.mark.parametrize("kind", ["boldref.nii.gz", "desc-aparcaseg_dseg.nii.gz", "desc-aparcaseg_dseg.tsv"])
def test_links_to_references_and_regions_that_were_not_fetched_are_missing(root, kind):
    write_regions(root)
    path = min((root / "prep").rglob(f"*{kind}"))
    path.unlink()
    path.symlink_to(".git/annex/objects/none")
    [(missing, why)] = subject_of(root).missing_files()
    assert missing == path and "a link whose target is missing: run `datalad get" in why
    with pytest.raises(FileNotFoundError, match=r"a link whose target is missing: run `datalad get"):
        _ = subject_of(root).regions, subject_of(root).background


def test_a_run_opens_it(written):
    run = SimpleNamespace(bids=settings(written), data=written / "raw", n_sessions=1, split="random", seed=3)
    subject = open_subject(run)
    assert isinstance(subject, BIDSSubject) and subject.split == "random" and 0 < subject.is_test.sum() < 18
    assert repr(subject) == f"BIDSSubject('raw/sub-01', n_sessions=1, n_trials={subject.n_trials})"
    assert not subject.has_betas and subject.ncsnr() is None
    with pytest.raises(ValueError, match=r"has time series and no betas"):
        subject.betas(1, subject.brainmask)


BOLD = "space-T1w_desc-preproc_bold"


def contents_of(root):
    """What counts of the files of a run, compared by what results come from."""
    run = SimpleNamespace(bids=settings(root), section="bids", data=root / "raw", roi="visual", root=root)
    return provenance._contents(run)


@pytest.mark.parametrize(
    "edit",
    [
        lambda root: prep_file(root, f"{BOLD}.json").write_text(json.dumps({"RepetitionTime": TR, "StartTime": 0.5})),
        lambda root: (root / "raw" / "task-see_bold.json").write_text(json.dumps({"RepetitionTime": TR})),
        lambda root: write_volume(prep_file(root, "space-T1w_desc-brain_mask.nii.gz"), np.ones(SHAPE, np.uint8)),
        lambda root: write_confounds(root, 0),
        lambda root: write_regions(root),
        lambda root: events_file(root).with_suffix(".tsv.gz").write_bytes(gzip.compress(b"onset", mtime=0)),
        lambda root: write_volume(prep_file(root, f"{BOLD}.nii"), np.ones((*SHAPE, N_LONG), np.float32)),
        lambda root: (root / "pictures" / NAMES[0]).write_bytes((root / "pictures" / NAMES[1]).read_bytes()),
    ],
)
def test_each_file_that_is_read_counts_in_what_results_come_from(root, edit):
    write_volume(prep_file(root, f"{BOLD}.nii"), np.zeros((*SHAPE, N_LONG), np.float32))
    before = contents_of(root)
    edit(root)
    assert contents_of(root) != before


def test_files_that_are_not_read_and_the_place_of_the_data_do_not_count(root, tmp_path):
    before = contents_of(root)
    shutil.copytree(root / "prep" / "sub-01", root / "prep" / "sub-02")
    (root / "raw" / "participants.tsv").write_text("participant_id\n")
    events_file(root).with_name(f"{stem('01', 1).replace('see', 'rest')}_events.tsv").write_text("onset\n")
    write_volume(prep_file(root, "space-MNI152_desc-preproc_bold.nii.gz"), np.zeros((2, 2, 2, 2), np.int16))
    assert contents_of(root) == before == contents_of(Path(shutil.move(root, tmp_path / "moved")))


def test_nothing_is_written_into_the_data_set(root):
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    subject = subject_of(root)
    betas_b(subject)
    subject.stimuli(np.arange(9))
    assert subject.missing_files() == [] and len(subject.background) == 8 and subject.notes
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_texts_that_look_like_numbers_stay_when_asked_for(tmp_path):
    path = write_table(tmp_path / "events.tsv", ["onset", "image", "n"], [["01.0", "01", "01"]])
    found = read_events(path, text=("image", "onset")).iloc[0]
    assert (found["onset"], found["image"], found["n"]) == (1, "01", 1)


# What could pass unseen


def test_a_picture_under_two_names_is_one_picture(root):
    short = NAMES[0].rsplit(".", 1)[0]
    rewrite(root, [[8, 1, NAMES[0]], [16, 1, short], [24, 1, f"stimuli/{NAMES[0]}"], [32, 1, NAMES[1]]])
    subject = subject_of(root, n_sessions=1)
    first = subject.image_ids[(subject.trials["run"] == 1).to_numpy()]
    assert len(set(first[:3])) == 1 and first[3] != first[0]
    assert "each is one picture" in " ".join(subject.notes)


def test_trials_whose_response_is_scrubbed_are_left_out_and_counted(root):
    for k in range(len(tree.RUNS)):
        write_confounds(root, k)
    before = subject_of(root, confounds=("motion", "scrub")).n_trials
    path = prep_file(root, "desc-confounds_timeseries.tsv")
    table = pd.read_csv(path, sep="\t", na_values=["n/a"])
    table.loc[10:16, "framewise_displacement"] = 9
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")
    subject = subject_of(root, confounds=("motion", "scrub"))
    assert 0 < before - subject.n_trials < 6
    assert f"{before - subject.n_trials} trials left out: most volumes that show their response are scrubbed." in subject.notes


def test_confounds_are_read_once_a_run_and_not_once_a_trial(written, monkeypatch):
    read = []
    monkeypatch.setattr(volumes, "read_confounds", lambda run, *rest: read.append(str(run)) or (None, np.zeros(40, bool)))
    assert subject_of(written).n_trials == 27 and len(read) == len(set(read)) == 3


def test_a_word_that_drops_nothing_and_trials_that_overlap_are_said(root):
    rewrite(root, [[8, 12, NAMES[0]], [16, 1, NAMES[1]]])
    said = " ".join(subject_of(root, drop={"stim_file": ("no such", "n/a"), "duration": ("2.0", "3", "x")}).notes)
    assert "drop: no row has stim_file = no such, n/a or duration = 2.0, 3, x, so it leaves nothing out." in said
    rewrite(root, [[8, 1, "n/a"], [16, 2, NAMES[1]]])
    assert "duration = 3, x, so" in " ".join(subject_of(root, drop={"stim_file": ("n/a",), "duration": ("2.0", "3", "x")}).notes)
    assert "1 trials begin while the previous picture is still shown" in said


def test_rows_of_answers_that_name_the_picture_again_are_said(root):
    header = ("onset", "duration", "trial_type", "stim_file")
    rewrite(root, [[8, 1, "image", NAMES[0]], [16, 1, "image", NAMES[0]], [24, 1, "image", NAMES[1]]], header=header)
    assert "another trial_type" not in " ".join(subject_of(root).notes)
    rewrite(root, [[8, 1, "image", NAMES[0]], [9.5, 0, "response", NAMES[0]], [16, 1, "image", NAMES[1]]], header=header)
    assert "1 trials show the previous picture again as another trial_type: if one kind of" in " ".join(subject_of(root).notes)


def test_sessions_can_be_the_test(root):
    subject = subject_of(root, test={"ses": ("02",)})
    assert subject.official_test[subject.session == 2].all()


def test_a_mask_with_a_fourth_axis_of_one_is_a_mask(root, tmp_path):
    subject = subject_of(root)
    write_volume(tmp_path / "roi.nii.gz", subject.brainmask[..., None].astype(np.float32))
    np.testing.assert_array_equal(subject.voxels(str(tmp_path / "roi.nii.gz")), subject.brainmask)
