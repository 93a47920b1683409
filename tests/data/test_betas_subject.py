"""Subjects with betas estimated elsewhere: each layout gives back planted betas in order, and errors name bad input."""

import functools
import json
import re
import shutil
import warnings
from types import SimpleNamespace

import nibabel
import numpy as np
import pandas as pd
import pytest
from conftest import DATA, ROOT, copied_project, make
from PIL import Image

from nsdlib.data.betas_subject import BetasSubject
from nsdlib.data.subject import open_subject
from nsdlib.params import load_run
from nsdlib.run.runner import notebook_names, notebooks_of
from nsdlib.sections import BetasFiles
from nsdlib.store import provenance
from nsdlib.study.betas import assemble, read_trials

STORED = DATA / "glmsingle"
SHAPE, AFFINE = (4, 3, 2), np.diag([2.0, 2.0, 2.5, 1.0])
NAMES = [f"thing_{number:02d}" for number in (3, 1, 4, 0, 2)]  # of conditions 0 to 4


def save(path, values):
    """Write a NIfTI file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.asarray(values, np.float32), AFFINE), path)


def write_table(path, **columns):
    """Write a table as BIDS has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_csv(path, sep="\t", index=False, na_rep="n/a")


@pytest.fixture
def images(tmp_path):
    """A folder of pictures, each of one grey that its name says: 10 times the number."""
    for name in NAMES:
        level = 10 * int(name[-2:])
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.new("L", (30, 20), level).save(tmp_path / "images" / f"{name}.png")
    return tmp_path / "images"


@pytest.fixture
def planted():
    """Betas of two sessions, (n_sessions, n_trials, X, Y, Z), and the conditions that were shown."""
    rng = np.random.default_rng(0)
    shown = np.stack([rng.permutation(np.repeat(np.arange(5), 2)) for _ in range(2)])
    return rng.normal(size=(2, 10, *SHAPE)).astype(np.float32), shown


def mask():
    """Voxels with betas: all but one."""
    whole = np.ones(SHAPE, dtype=bool)
    whole[0, 1, 1] = False
    return whole


def laion(root, planted):
    """Write a tree as LAION-fMRI has it; one trial of each session is a blank, without a picture."""
    betas, shown = planted
    home = root / "derivatives" / "glmsingle-tedana" / "sub-03"
    save(home / "sub-03_task-images_space-T1w_desc-meanR2gt15mask_mask.nii.gz", mask())
    save(home / "sub-03_task-images_space-T1w_stat-rsquare_desc-R2mean_statmap.nii.gz", np.arange(24).reshape(SHAPE))
    for session, label in ((0, "02"), (1, "11")):
        stem = home / f"ses-{label}" / "func" / f"sub-03_ses-{label}_task-images"
        path = stem.with_name(f"{stem.name}_space-T1w_stat-effect_desc-SingletrialBetas_statmap.nii.gz")
        save(path, np.moveaxis(betas[session], 0, -1))
        rows = [7, 2, *range(2), *range(3, 7), 8, 9]  # the table need not be sorted
        labels = np.array([f"{NAMES[k]}.png" for k in shown[session]], dtype=object)
        labels[4] = None
        write_table(
            stem.with_name(f"{stem.name}_desc-SingletrialBetas_trials.tsv"),
            session=[f"ses-{label}"] * 10, run=[f"run-0{1 + row // 5}" for row in rows], beta_index=rows, label=labels[rows],
        )  # fmt: skip
    return home


@pytest.fixture
def from_laion(tmp_path, planted, images):
    home = laion(tmp_path / "data", planted)
    (home / "sub-03_task-images_space-T1w_statmap.json").write_text('{"Description": "of a ridge"}')
    settings = BetasFiles(kind="laion", label="03", space="T1w", images=images, side=16)
    return BetasSubject(tmp_path / "data", settings)


def test_series_of_maps_give_their_trials_and_planted_betas(from_laion, planted):
    assert from_laion.notes == ("Betas: of a ridge",)
    betas, shown = planted
    kept = np.delete(np.arange(10), 4)
    assert (from_laion.n_sessions, from_laion.n_trials, from_laion.n_runs(2)) == (2, 18, 2)
    assert from_laion.trials["run"].tolist() == [1, 1, 1, 1, 2, 2, 2, 2, 2] * 2
    wanted = [f"{NAMES[k]}.png" for session in shown for k in session[kept]]
    assert from_laion.image_names(from_laion.image_ids) == wanted and from_laion.image_names([0]) == ["thing_00.png"]
    part = mask()
    part[1] = False
    np.testing.assert_array_equal(from_laion.betas(2, part), betas[1][kept][:, part])
    assert from_laion.betas_unit == "percent signal change" and np.isnan(from_laion.tr)
    np.testing.assert_array_equal(from_laion.affine, AFFINE)
    np.testing.assert_array_equal(from_laion.background, np.arange(24).reshape(SHAPE))
    outside = from_laion.betas(1, np.ones(SHAPE, dtype=bool))[:, ~mask()[mask() | True]]
    assert not outside.any()  # no betas where the mask has none


def test_pictures_are_those_of_the_names(from_laion):
    pictures = from_laion.stimuli(from_laion.image_ids[:4])
    assert pictures.shape == (4, 16, 16, 3)
    names = from_laion.image_names(from_laion.image_ids[:4])
    assert pictures[:, 8, 8, 0].tolist() == [10 * int(name[6:8]) for name in names]
    assert from_laion.captions([0, 1]) == [[], []] and not from_laion.has_captions
    assert from_laion.concepts([0]) == ["thing"]
    with pytest.raises(ValueError, match=r"image_ids holds 5: images of .* have numbers from 0 to 4"):
        from_laion.image_names([5])


def test_trials_and_splits_are_what_decoders_take(from_laion, planted):
    from_laion.split = "random"
    trials = read_trials(from_laion, roi="brainmask")
    np.testing.assert_array_equal(trials.betas.values[:9], np.delete(planted[0][0], 4, axis=0)[:, mask()])
    assembled = assemble(trials)
    assert assembled.sizes["test_image"] == 1 and assembled.sizes["train_image"] == 4


def test_voxels_with_nan_are_not_measured_and_counted(tmp_path, planted, images):
    planted[0][0, 3, 2, 2, 1] = np.nan
    laion(tmp_path / "data", planted)
    subject = BetasSubject(tmp_path / "data", BetasFiles(kind="laion", label="03", space="T1w", images=images))
    with pytest.warns(UserWarning, match="1 of 23 voxels of session 1 have betas that are NaN or infinite: set to 0"):
        betas = subject.betas(1, mask())
    whole = np.zeros((9, *SHAPE))
    whole[:, mask()] = betas
    assert not whole[:, 2, 2, 1].any() and np.isfinite(betas).all() and (betas != 0).sum() == 9 * 22


def test_noise_ceilings_give_one_ratio_or_none(tmp_path, planted, images):
    home, ratio = laion(tmp_path / "data", planted), np.linspace(0.2, 2, 24).reshape(SHAPE)
    subject = BetasSubject(tmp_path / "data", BetasFiles(kind="laion", label="03", space="T1w", images=images))
    assert subject.ncsnr() is None and "as LAION-fMRI gives them" in subject.betas_note
    for n_repeats in (4, 12):
        ceiling = 100 * ratio**2 / (ratio**2 + 1 / n_repeats)
        save(home / f"sub-03_task-images_space-T1w_desc-Noiseceiling{n_repeats}rep_statmap.nii.gz", ceiling)
    np.testing.assert_allclose(subject.ncsnr(), ratio, rtol=1e-4)
    save(home / "sub-03_task-images_space-T1w_desc-Noiseceiling12rep_statmap.nii.gz", 0.5 * ceiling)
    with pytest.warns(UserWarning, match="Noise ceilings of 4 and 12 repeats give different signal-to-noise ratios"):
        assert subject.ncsnr() is None


def test_regions_are_masks_of_a_folder(from_laion, tmp_path):
    rois = tmp_path / "data" / "derivatives" / "atlases" / "sub-03" / "rois"
    early = np.zeros(SHAPE)
    early[0] = 1
    save(rois / "visual.nii.gz", early)
    save(rois / "nothing.nii.gz", 0 * early)
    assert from_laion.voxels("visual").sum() == 5 and list(from_laion.regions) == ["nothing", "visual"]
    with pytest.raises(
        ValueError, match=r"roi 'V1' is unknown\. Known: brainmask, the path of a NIfTI mask, visual, nothing.* Others can lie"
    ):
        from_laion.voxels("V1")
    save(tmp_path / "mine.nii.gz", 1 - early)
    np.testing.assert_array_equal(from_laion.voxels(str(tmp_path / "mine.nii.gz")), mask() & (early == 0))
    with pytest.raises(ValueError, match="roi 'nothing' has no voxel in the mask"):
        from_laion.voxels("nothing")


def test_lists_of_splits_choose_trials_and_the_official_test_set(tmp_path, planted, images):
    laion(tmp_path / "data", planted)
    split = {"name": "tau", "variants": [{"variant_id": 0, "train_ids": ["thing_00.png", "thing_01.png"], "test_ids": []}]}
    split["variants"][0]["test_ids"] = ["thing_03.png"]
    path = tmp_path / "tau.json"
    settings = BetasFiles(kind="laion", label="03", space="T1w", images=images, test=path)

    def opened():
        path.write_text(json.dumps(split))
        return BetasSubject(tmp_path / "data", settings)

    subject = opened()
    names = subject.image_names(subject.image_ids)
    assert set(names) == {"thing_00.png", "thing_01.png", "thing_03.png"}
    assert [name == "thing_03.png" for name in names] == subject.is_test.tolist()
    rows = subject.trials["row"].to_numpy()[subject.session == 1]
    np.testing.assert_array_equal(subject.betas(1, mask()), planted[0][0][rows][:, mask()])
    split["variants"][0]["train_ids"][1] = "thing_1.png"
    with pytest.raises(
        ValueError, match=r"tau.json: 1 of 3 names match no picture below .*images, such as thing_1\.png: correct"
    ):
        _ = opened().trials
    split["variants"][0]["train_ids"][1] = "thing_03.png"
    with pytest.raises(ValueError, match=r"1 pictures are in train_ids and in test_ids, such as thing_03\.png"):
        _ = opened().trials
    split["variants"] *= 2
    with pytest.raises(ValueError, match="wanted one variant with train_ids and test_ids"):
        _ = opened().trials
    write_table(tmp_path / "test.tsv", image=["thing_02.png"])
    subject = BetasSubject(tmp_path / "data", settings.model_copy(update={"test": tmp_path / "test.tsv"}))
    assert subject.n_trials == 18 and set(subject.image_names(subject.image_ids[subject.is_test])) == {"thing_02.png"}
    write_table(tmp_path / "test.tsv", image=["thing_02.png", "thing_03.jpg"])
    with pytest.raises(
        ValueError, match=r"test.tsv: 1 of 2 names match no picture below .*images, such as thing_03\.jpg: correct"
    ):
        _ = BetasSubject(tmp_path / "data", subject.settings).is_test


def test_tables_that_do_not_fit_are_refused(tmp_path, planted, images):
    home = laion(tmp_path / "data", planted)
    table = next(home.rglob("*ses-02*_trials.tsv"))
    whole = pd.read_csv(table, sep="\t")
    settings = BetasFiles(kind="laion", label="03", space="T1w", images=images)
    for change, message in (
        (
            whole.drop(columns="label"),
            "wanted a column 'label' or 'stimulus_id' and tabs between the columns, got the columns session, run, beta_index",
        ),
        (whole.assign(beta_index=whole["beta_index"] + 1), "beta_index must count the session's 10 trials, each once, from 0"),
        (whole.assign(run="first"), "column run: wanted whole numbers, got 'first'"),
        (whole[whole["beta_index"] < 9], "holds 10 volumes, its table 9 trials"),
    ):
        change.to_csv(table, sep="\t", index=False, na_rep="n/a")
        with pytest.raises(ValueError, match=message):
            BetasSubject(tmp_path / "data", settings).betas(1, mask())
    whole.rename(columns={"label": "stimulus_id"}).to_csv(table, sep="\t", index=False, na_rep="n/a")
    assert BetasSubject(tmp_path / "data", settings).n_trials == 18
    with pytest.raises(FileNotFoundError, match=r"holds no \*_stat-effect_desc-SingletrialBetas_statmap\.nii\.gz in space MNI"):
        BetasSubject(tmp_path / "data", settings.model_copy(update={"space": "MNI"}))
    with pytest.raises(FileNotFoundError, match="wanted one folder sub-04 with maps"):
        BetasSubject(tmp_path / "data", settings.model_copy(update={"label": "04"}))
    with pytest.raises(ValueError, match=r"n_sessions=3: .* has sessions 1 to 2 \(02, 11\)"):
        BetasSubject(tmp_path / "data", settings, 3)
    path = next(home.rglob("*ses-11*_statmap.nii.gz"))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match="cannot be read as a NIfTI file"):
        BetasSubject(tmp_path / "data", settings).betas(2, mask())
    path.write_bytes(b"")
    assert BetasSubject(tmp_path / "data", settings).missing_files()[0][0] == path


def test_there_are_no_time_series(from_laion):
    for ask in (lambda: from_laion.timeseries(1, 1, mask()), lambda: from_laion.design(1, 1)):
        with pytest.raises(ValueError, match="has betas and no time series: set betas to nsd"):
            ask()
    assert not from_laion.has_series and np.isnan(from_laion.onsets(1)).all() and len(from_laion.onsets(1)) == 9
    assert from_laion.missing_files() == [] and from_laion.session_files(1, "brainmask") == []
    (from_laion.settings.images / "thing_03.png").unlink()
    assert [path.name for path, _ in from_laion.missing_files()] == ["thing_03.png"]


@pytest.fixture
def glmsingle(tmp_path, images):
    """A folder of two sessions of real files of GLMsingle, in two containers, with a mask, and settings to read them."""
    for name, source in (("session01", "numpy1"), ("session02", "hdf5")):
        shutil.copytree(STORED / source, tmp_path / "results" / name)
    save(tmp_path / "mask.nii.gz", np.ones(SHAPE))
    write_table(tmp_path / "conditions.tsv", condition=range(5), image=NAMES)
    return BetasFiles(kind="glmsingle", images=images, mask=tmp_path / "mask.nii.gz", table=tmp_path / "conditions.tsv")


def test_glmsingles_folders_are_sessions(glmsingle, tmp_path):
    subject = BetasSubject(tmp_path / "results", glmsingle)
    assert (subject.n_sessions, subject.n_trials, subject.tr, subject.duration) == (2, 40, 1.5, 1.0)
    assert "GLMsingle's type D, TYPED_FITHRF_GLMDENOISE_RR" in repr(subject)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        design, typed = (
            np.load(STORED / "numpy1" / f"{name}.npy", allow_pickle=True).item()
            for name in ("DESIGNINFO", "TYPED_FITHRF_GLMDENOISE_RR")
        )
    assert subject.image_names(subject.image_ids[:20]) == [NAMES[number] for number in design["stimorder"]]
    onsets = [1.5 * np.flatnonzero(run.any(axis=1)) for run in design["design"]]
    np.testing.assert_array_equal(subject.onsets(1), np.concatenate(onsets))
    whole = np.ones(SHAPE, dtype=bool)
    np.testing.assert_array_equal(subject.betas(1, whole), typed["betasmd"].reshape(24, 20).T)
    np.testing.assert_allclose(subject.betas(2, whole), subject.betas(1, whole), rtol=1e-3, atol=1e-4)  # of the same input
    np.testing.assert_array_equal(subject.background, typed["meanvol"])


def test_results_in_the_folder_itself_are_the_one_session_whatever_lies_below(glmsingle, tmp_path):
    shutil.copytree(STORED / "numpy1", tmp_path / "one")
    shutil.copytree(STORED / "numpy2", tmp_path / "one" / "old")
    subject = BetasSubject(tmp_path / "one", glmsingle)
    assert (subject.n_sessions, subject.n_trials, subject.session_labels) == (1, 20, ["one"])


def test_results_of_several_people_are_told_apart_by_the_label(glmsingle, tmp_path):
    for name in ("sub-01", "sub-02/ses-01", "sub-02/ses-02"):
        shutil.copytree(STORED / "numpy1", tmp_path / "out" / name)
    for label, sessions in (("01", ["sub-01"]), ("02", ["ses-01", "ses-02"])):
        subject = BetasSubject(tmp_path / "out", glmsingle.model_copy(update={"label": label}))
        assert (subject.name, subject.session_labels) == (f"out/sub-{label}", sessions)
    with pytest.raises(ValueError, match=r"out has no folder sub-03, but sub-01: set label to one of these"):
        BetasSubject(tmp_path / "out", glmsingle.model_copy(update={"label": "03"}))


def test_a_row_a_trial_must_be_in_the_order_of_the_design(glmsingle, tmp_path):
    by_condition = BetasSubject(tmp_path / "results", glmsingle)
    shown = by_condition.image_names(by_condition.image_ids[:20])
    table = tmp_path / "trials.tsv"
    settings = glmsingle.model_copy(update={"table": table})

    def opened(names, runs):
        write_table(table, session=[1] * 20 + [2] * 20, run=runs * 2, image=names + shown)
        return BetasSubject(tmp_path / "results", settings)

    in_order, runs = opened(shown, [1] * 10 + [2] * 10), [1] * 9 + [2] * 11
    np.testing.assert_array_equal(in_order.image_ids, by_condition.image_ids)
    np.testing.assert_array_equal(in_order.onsets(1), by_condition.onsets(1))
    with pytest.raises(
        ValueError, match=r"trials.tsv: trial \d+ showed thing_\d\d, an earlier one of the same condition thing_\d"
    ):
        _ = opened(shown[1:] + shown[:1], [1] * 10 + [2] * 10).trials
    with pytest.raises(ValueError, match=r"trials.tsv: runs begin at other trials than DESIGNINFO of .*session01 says"):
        _ = opened(shown, runs).trials


def test_a_list_of_voxels_lies_in_the_mask_in_either_order(tmp_path, images):
    folder, inside = tmp_path / "results", mask()
    rng = np.random.default_rng(1)
    volume = rng.normal(size=(*SHAPE, 6)).astype(np.float32)
    folder.mkdir()
    save(tmp_path / "mask.nii.gz", inside)
    write_table(tmp_path / "trials.tsv", run=[1, 1, 1, 2, 2, 2], image=NAMES + NAMES[:1])
    for order in "CF":
        rows = volume[inside] if order == "C" else volume.transpose(2, 1, 0, 3)[inside.T]
        np.save(folder / "TYPEB_FITHRF.npy", np.array({"betasmd": rows[:, None, None]}, dtype=object))
        settings = BetasFiles(
            kind="glmsingle", images=images, mask=tmp_path / "mask.nii.gz", table=tmp_path / "trials.tsv", flat_order=order
        )
        subject = BetasSubject(folder, settings)
        part = inside.copy()
        part[2] = False
        np.testing.assert_array_equal(subject.betas(1, part), volume[part].T)
        assert subject.trials["run"].tolist() == [1, 1, 1, 2, 2, 2]
    write_table(tmp_path / "trials.tsv", run=[0, 0, 0, 1, 1, 1], image=NAMES + NAMES[:1])
    with pytest.raises(ValueError, match=r"run 0 of thing_03: runs count from 1"):
        _ = BetasSubject(folder, settings).trials
    save(tmp_path / "mask.nii.gz", np.ones(SHAPE))
    with pytest.raises(ValueError, match=r"betas of shape \(23, 1, 1\): wanted the volume of the mask, \(4, 3, 2\), or one row"):
        BetasSubject(folder, settings)
    write_table(tmp_path / "trials.tsv", image=NAMES)
    with pytest.raises(ValueError, match=r"trials\.tsv has 5 trials of session 1, .* has 6"):
        save(tmp_path / "mask.nii.gz", inside)
        _ = BetasSubject(folder, settings).trials


def test_what_glmsingle_does_not_say_must_be_given(glmsingle, tmp_path):
    with pytest.raises(ValueError, match=r"the positions of the voxels are unknown\. Set mask in the section betas_files"):
        BetasSubject(tmp_path / "results", glmsingle.model_copy(update={"mask": None}))
    write_table(tmp_path / "conditions.tsv", condition=range(4), image=NAMES[:4])
    with pytest.raises(ValueError, match=r"has no picture of condition 4 \(1 are missing\): conditions are the columns"):
        _ = BetasSubject(tmp_path / "results", glmsingle).trials
    write_table(tmp_path / "conditions.tsv", condition=range(6), image=[*NAMES, NAMES[0]])  # as if counted from 1
    with pytest.raises(
        ValueError, match=r"has condition 5 of 5: conditions are the columns of the design that GLMsingle was given, c"
    ):
        _ = BetasSubject(tmp_path / "results", glmsingle).trials
    with pytest.raises(FileNotFoundError, match="is not there"):
        _ = BetasSubject(tmp_path / "results", glmsingle.model_copy(update={"table": tmp_path / "none.tsv"})).trials


@pytest.fixture
def fitted(tmp_path, monkeypatch):
    """A single-trial model that nilearn fitted and saved as it does; the effects that nilearn has of each trial."""
    from nilearn.glm import save_glm_to_bids
    from nilearn.glm.first_level import FirstLevelModel

    report = functools.wraps(FirstLevelModel.generate_report)(lambda *a, **k: SimpleNamespace(save_as_html=lambda path: None))
    monkeypatch.setattr(FirstLevelModel, "generate_report", report)  # pictures of each trial, a quarter of a minute
    rng = np.random.default_rng(2)
    image = nibabel.Nifti1Image(mask().astype(np.int16), AFFINE)
    names = ["t000", "t010", "t002"]
    events = pd.DataFrame({"onset": [6.0, 18.0, 30.0], "duration": 2.0, "trial_type": names})
    series = nibabel.Nifti1Image(rng.normal(100, 1, (*SHAPE, 30)).astype(np.float32), AFFINE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of nilearn's own: units of the image
        model = FirstLevelModel(t_r=2.0, mask_img=image, minimize_memory=False, smoothing_fwhm=None).fit(series, events)
        save_glm_to_bids(model, contrasts=names, out_dir=tmp_path / "nilearn", prefix="sub-01_task-x_run-2")
        effects = [model.compute_contrast(name, output_type="effect_size").get_fdata() for name in sorted(names)]
    return np.stack(effects)  # t000, t002, t010


def test_one_map_a_trial_as_nilearn_saves_them(tmp_path, fitted, images):
    table = tmp_path / "trials.tsv"
    write_table(table, run=[1, 2, 2, 2], trial=[0, 10, 2, 0], image=["no", NAMES[3], NAMES[1], NAMES[0]])
    settings = BetasFiles(kind="statmaps", images=images, table=table)
    subject = BetasSubject(tmp_path / "nilearn", settings)
    np.testing.assert_array_equal(subject.brainmask, mask())
    assert subject.image_names(subject.image_ids) == [NAMES[0], NAMES[1], NAMES[3]]
    assert subject.trials["run"].tolist() == [2, 2, 2] and subject.n_runs(1) == 2
    np.testing.assert_allclose(subject.betas(1, mask()), fitted[:, mask()], atol=2e-4)  # nilearn rounds to 16 bits
    assert subject.betas_unit == "arbitrary"
    assert BetasSubject(tmp_path / "nilearn", settings.model_copy(update={"unit": "z"})).betas_unit == "z"
    write_table(table, trial=[0, 2, 0], image=NAMES[:3])
    with pytest.raises(ValueError, match="two rows have the same trial"):
        BetasSubject(tmp_path / "nilearn", settings)
    with pytest.raises(FileNotFoundError, match=r"whose contrast fits the pattern image\(\.\+\)"):
        BetasSubject(tmp_path / "nilearn", settings.model_copy(update={"pattern": "image(.+)"}))


def algonauts(root, betas, labels):
    """Write a subject's folder as the challenge Algonauts 2023 has it: 3 vertices on the left, the rest on the right."""
    for folder in ("training_split/training_fmri", "training_split/training_images", "roi_masks"):
        (root / folder).mkdir(parents=True)
    for side, part in (("lh", slice(3)), ("rh", slice(3, None))):
        np.save(root / "training_split" / "training_fmri" / f"{side}_training_fmri.npy", betas[:, part])
        np.save(root / "roi_masks" / f"{side}.streams_challenge_space.npy", labels[part])
    np.save(root / "roi_masks" / "mapping_streams.npy", {0: "Unknown", 1: "early", 5: "ventral"}, allow_pickle=True)
    for row in range(len(betas)):
        path = root / "training_split" / "training_images" / f"train-{row + 1:04d}_nsd-{10 * row:05d}.png"
        Image.new("RGB", (25, 25), (10 * row, 0, 0)).save(path)


def test_the_challenge_gives_vertices_regions_and_pictures(tmp_path):
    betas, labels = np.random.default_rng(4).normal(size=(12, 8)).astype(np.float32), np.array([0, 1, 5, 5, 0, 1, 0, 5])
    algonauts(tmp_path / "subj01", betas, labels)
    images = tmp_path / "subj01" / "training_split" / "training_images"
    settings = BetasFiles(kind="algonauts", label="subj01", images=images, side=25)
    assert BetasSubject(tmp_path, settings.model_copy(update={"label": "01"})).layout.home == tmp_path / "subj01"
    with pytest.raises(ValueError, match=r"subj01 is not of label 02: set label to 01, or data to subj02"):
        BetasSubject(tmp_path / "subj01", settings.model_copy(update={"label": "02"}))
    subject = BetasSubject(tmp_path / "subj01", settings)
    subject.split = "random"
    assert (subject.n_trials, subject.betas_unit, list(subject.regions)) == (12, "z", ["early", "ventral"])
    np.testing.assert_array_equal(subject.betas(1, subject.voxels("ventral")), betas[:, labels == 5])
    np.testing.assert_array_equal(read_trials(subject, roi="brainmask").betas, betas)
    assert subject.image_names([3]) == ["train-0004_nsd-00030"] and "transductive" in subject.betas_note
    assert subject.stimuli([3, 11])[:, 0, 0, 0].tolist() == [30, 110] and subject.ncsnr() is None
    with pytest.raises(ValueError, match="has no test set of its own: set split to random"):
        subject.split = "official"
        del subject.is_test
        _ = subject.is_test
    next(images.glob("train-0005*")).unlink()
    with pytest.raises(
        ValueError, match=r"must hold train-0001_nsd-\.\.\.\.png and the next, one for each of the 12 rows of betas"
    ):
        BetasSubject(tmp_path / "subj01", settings)
    np.save(tmp_path / "subj01" / "training_split" / "training_fmri" / "rh_training_fmri.npy", betas[:, 0])
    with pytest.raises(ValueError, match=r"holds float32 of shape \(12,\), wanted numbers with 2 axes"):
        BetasSubject(tmp_path / "subj01", settings)


@pytest.fixture
def project(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "params", tmp_path / "project" / "params")
    monkeypatch.setenv("NSDLIB_HOME", str(tmp_path / "project"))
    return tmp_path / "project"


def test_a_parameter_file_opens_the_subject(project, tmp_path, planted, images):
    laion(project / "laion", planted)
    shutil.copytree(images, project / "pictures")
    text = "data: laion\nn_sessions: 2\nglm_sessions: 1\nsplit: random\nroi: brainmask\ntext_weight: 0\n"
    section = "betas_files: {kind: laion, label: '03', space: T1w, images: pictures}\n"
    (project / "params" / "mine.yaml").write_text(text + section)
    run = load_run("mine")
    assert run.betas_files.images == project / "pictures"
    assert set(notebook_names(ROOT)) - set(notebooks_of(run.model_copy(update={"root": ROOT}))) == {"01_hrf_glmsingle"}
    assert notebooks_of(load_run("demo").model_copy(update={"root": ROOT})) == notebook_names(ROOT)
    subject = open_subject(run)
    assert (subject.n_trials, subject.split, subject.is_test.sum() > 0) == (18, "random", True)
    with pytest.raises(ValueError, match="split=official: the section betas_files names no `test` set"):
        load_run("mine", split="official")
    with pytest.raises(ValueError, match="betas_files: there are no time series to fit; wanted betas: nsd"):
        load_run("mine", betas="glm")
    (project / "params" / "mine.yaml").write_text(text + section.replace("images", "image"))
    with pytest.raises(ValueError, match="'image' is no setting of the section betas_files: did you mean 'images'"):
        load_run("mine")


def test_pages_of_betas_whose_trials_have_no_times_run(tmp_path, planted, images):
    laion(tmp_path / "laion", planted)
    (tmp_path / "whole").mkdir()
    home = copied_project(tmp_path / "whole")
    places = f"data: {tmp_path / 'laion'}\nbetas_files: {{kind: laion, label: '03', space: T1w, images: {images}}}\n"
    text = "zoo: demo\nn_sessions: 2\nglm_sessions: 1\nbetas: nsd\nsplit: random\nroi: brainmask\ntext_weight: 0\nn_test: 2\n"
    (home / "params" / "mine.yaml").write_text(text + places)
    make(home, "nsdlib", "run", "mine", "00", "02")
    pages = {page.stem: page.read_text() for page in (home / "runs" / "mine").glob("*.ipynb")}
    assert sorted(pages) == ["00_meet_the_data", "02_roi_betas"] and all("image/png" in page for page in pages.values())


def test_one_picture_under_two_names_is_one_image(tmp_path, planted, images):
    home = laion(tmp_path / "data", planted)
    path = next(home.glob("ses-11/func/*_trials.tsv"))
    path.write_text(path.read_text().replace(".png", ""))
    subject = BetasSubject(tmp_path / "data", BetasFiles(kind="laion", label="03", space="T1w", images=images, side=16))
    assert subject.image_names([0]) == ["thing_00.png"] and len(np.unique(subject.image_ids)) == 5
    test = tmp_path / "test.tsv"
    write_table(test, image=["thing_02", "thing_04"])
    chosen = BetasFiles(kind="laion", label="03", space="T1w", images=images, side=16, test=test)
    subject = BetasSubject(tmp_path / "data", chosen)
    names = np.array(subject.image_names(subject.image_ids))
    np.testing.assert_array_equal(subject.official_test, np.isin(names, ["thing_02.png", "thing_04.png"]))
    parts = {"train_ids": ["thing_00", "thing_01", "thing_03"], "test_ids": ["thing_02", "thing_04"]}
    (tmp_path / "split.json").write_text(json.dumps({"variants": [parts]}))
    listed = BetasSubject(tmp_path / "data", chosen.model_copy(update={"test": tmp_path / "split.json"}))
    np.testing.assert_array_equal(listed.image_ids, subject.image_ids)
    np.testing.assert_array_equal(listed.official_test, subject.official_test)


def test_what_people_edit_beside_betas_counts_in_what_results_come_from(project, planted, images):
    home = laion(project / "laion", planted)
    shutil.copytree(images, project / "pictures")
    write_table(project / "test.tsv", image=["thing_02"])
    text = "data: laion\nn_sessions: 2\nglm_sessions: 1\nbetas: nsd\nroi: brainmask\ntext_weight: 0\n"
    section = "betas_files: {kind: laion, label: '03', space: T1w, images: pictures, test: test.tsv}\n"
    (project / "params" / "mine.yaml").write_text(text + section)
    before = provenance._contents(load_run("mine"))
    assert provenance._contents(load_run("mine")) == before
    write_table(project / "test.tsv", image=["thing_04"])
    assert provenance._contents(load_run("mine")) != before
    save(project / "roi.nii.gz", mask())
    before = provenance._contents(load_run("mine", roi="roi.nii.gz"))
    save(project / "roi.nii.gz", ~mask())
    assert provenance._contents(load_run("mine", roi="roi.nii.gz")) != before
    before = provenance._contents(load_run("mine"))
    write_table(home.with_name("sub-04") / "ses-01" / "func" / "sub-04_trials.tsv", label=NAMES)
    shutil.move(project / "laion", project / "lain")
    (project / "params" / "mine.yaml").write_text(text.replace("laion", "lain") + section)
    assert provenance._contents(load_run("mine")) == before
    Image.new("L", (30, 20), 99).save(project / "pictures" / f"{NAMES[0]}.png")
    assert provenance._contents(load_run("mine"))["images"] != before["images"]


@pytest.mark.parametrize(
    "kind, file",
    [
        ("glmsingle", "ses-01/TYPED_FITHRF_GLMDENOISE_RR.npy"),
        ("glmsingle", "sub-01/ses-01/DESIGNINFO.npy"),
        ("algonauts", "subj01/training_split/training_fmri/lh.npy"),
    ],
)
def test_betas_that_are_fitted_anew_in_place_count_in_what_results_come_from(tmp_path, images, kind, file):
    settings = BetasFiles(kind=kind, images=images)
    run = SimpleNamespace(betas_files=settings, bids=None, section="betas_files", data=tmp_path / "data", roi="all")
    (path := tmp_path / "data" / file).parent.mkdir(parents=True)
    np.save(path, np.zeros(10**6))
    before = provenance._contents(run)
    np.save(path, np.full(10**6, 1e-9))
    assert provenance._contents(run) != before


@pytest.mark.parametrize(
    "given, message",
    [
        ({"kind": "statmaps"}, "statmaps: set table"),
        (
            {"kind": "algonauts", "mask": "m.nii"},
            "mask is used by glmsingle, laion, statmaps, not by algonauts: leave it out.",
        ),
        ({"kind": "laion", "flat_order": "F"}, "flat_order is used by glmsingle, not by laion"),
        ({"kind": "statmaps", "table": "t.tsv", "pattern": "t[0-9]+"}, "wanted one group, the number of the trial"),
        ({"kind": "statmaps", "table": "t.tsv", "pattern": "t([0-9]+"}, "is no regular expression"),
    ],
)
def test_sections_that_say_too_little_are_refused(given, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        BetasFiles(images="pictures", **given)
