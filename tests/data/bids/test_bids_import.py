"""Import of a BIDS data set: a parameter file with reasons, a checklist and a sheet; guesses, refusals, untouched files."""

import hashlib
import json
import re
import shutil
from types import SimpleNamespace

import nibabel
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from PIL import Image

from nsdlib.cli import main
from nsdlib.data import read_events
from nsdlib.data.bids import checklist, importer
from nsdlib.data.subject import open_subject
from nsdlib.params import load_run
from nsdlib.recipes import recipe

TR, N_VOLUMES, N_TRIALS, SHAPE = 2.0, 70, 12, (8, 9, 6)
S = "sub-01_ses-{ses}_task-look_run-{run}"


def write_dataset(root, *, column="stim_file", repeats=True, jitter=0.0, seed=0):
    """Write a raw data set, fMRIPrep's results and pictures below a folder: two sessions of two runs with 12 trials each."""
    rng = np.random.default_rng(seed)
    raw, derivatives, images = (root / name for name in ("raw", "fmriprep", "pictures"))
    for folder, name in ((raw, "Looking"), (derivatives, "fMRIPrep")):
        folder.mkdir(parents=True)
        says = {"Name": name, "BIDSVersion": "1.8.0"}
        says |= {"License": "CC0"} if folder == raw else {"GeneratedBy": [{"Name": "fMRIPrep", "Version": "25.2.5"}]}
        (folder / "dataset_description.json").write_text(json.dumps(says))
    (raw / "task-look_bold.json").write_text(json.dumps({"RepetitionTime": TR}))
    images.mkdir()
    for number in range(4 * N_TRIALS):
        Image.fromarray(rng.integers(0, 255, (20, 16 + number % 3, 3), dtype=np.uint8)).save(images / f"thing_{number:02d}.png")
    brain = np.zeros(SHAPE, np.uint8)
    brain[1:-1, 1:-1, 1:-1] = 1
    for index, (ses, run) in enumerate([("a", 1), ("a", 2), ("b", 1), ("b", 2)]):
        name = S.format(ses=ses, run=run)
        places = [folder / "sub-01" / f"ses-{ses}" / "func" for folder in (raw, derivatives)]
        for place in places:
            place.mkdir(parents=True, exist_ok=True)
        shown = rng.permutation(N_TRIALS) + (0 if repeats else N_TRIALS * index)
        onsets = 10 * np.arange(N_TRIALS) + 4 + jitter * rng.integers(0, 4, N_TRIALS)
        rows = {"onset": onsets, "duration": 3, "trial_type": np.where(shown % 3, "train", "test")}
        table = pd.DataFrame(rows | {column: [f"thing_{number:02d}.png" for number in shown]})
        table.loc[len(table)] = [126.0, 1, "rest", "n/a"]
        table.to_csv(places[0] / f"{name}_events.tsv", sep="\t", index=False)
        series = (1000.0 * brain[..., None] + rng.standard_normal((*SHAPE, N_VOLUMES))).astype(np.float32)
        mask = brain.copy()
        mask[1, 1, 1 : 1 + index] = 0  # the run with more costs one voxel of its own
        for data, what in ((series, "preproc_bold"), (mask, "brain_mask")):
            file = nibabel.Nifti1Image(data, np.diag([2.0, 2, 2, 1]))
            file.header["pixdim"][4] = TR if data.ndim == 4 else 0
            file.header.set_xyzt_units("mm", "sec")
            file.to_filename(places[1] / f"{name}_space-T1w_desc-{what}.nii.gz")
        timing = {"RepetitionTime": TR, "StartTime": 1.0, "SliceTimingCorrected": True}
        (places[1] / f"{name}_space-T1w_desc-preproc_bold.json").write_text(json.dumps(timing))
        motion = pd.DataFrame({f"{kind}_{axis}": rng.standard_normal(N_VOLUMES) for kind in ("trans", "rot") for axis in "xyz"})
        motion.to_csv(places[1] / f"{name}_desc-confounds_timeseries.tsv", sep="\t", index=False)
        (places[1] / f"{name}_desc-confounds_timeseries.json").write_text("{}")
    return root


def hashes(folder):
    """What every file of a folder holds."""
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def words(root, *more):
    """The words of the command."""
    given = {"--derivatives": root / "fmriprep", "--subject": "01", "--task": "look", "--images": root / "pictures"}
    given |= {"--name": "mine"}
    flat = [str(part) for pair in given.items() for part in pair]
    return ["import", "bids", str(root / "raw"), *flat, *more]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A data set in which pictures repeat; nobody changes it."""
    return write_dataset(tmp_path_factory.mktemp("data"))


def test_one_file_is_written_that_can_be_run_and_nothing_goes_into_the_data(dataset, project, capsys, house_style):
    before = hashes(dataset)
    assert main(words(dataset)) == 0
    said = capsys.readouterr().out
    assert hashes(dataset) == before
    new = {path.relative_to(project).as_posix() for path in project.rglob("*") if "mine" in path.as_posix() and path.is_file()}
    assert new == {"params/mine.yaml", "runs/mine/import.png", "runs/mine/import.txt"}
    text = (project / "params" / "mine.yaml").read_text()
    assert all(" # " in line or line.startswith("#") or line == "bids:" for line in text.splitlines())
    run = load_run("mine")
    assert (run.betas, run.n_sessions, run.glm_sessions, run.roi, run.text_weight) == ("glm", 2, 2, "brainmask", 0)
    assert run.bids.image_column == "stim_file" and run.bids.space == "T1w" and run.bids.confounds == ()
    assert run.subject is None and run.split == "random" and run.group == ("mine",)
    subject = open_subject(run)
    assert subject.n_trials == 4 * N_TRIALS and len(np.unique(subject.image_ids)) == N_TRIALS
    assert (project / "runs" / "mine" / "import.txt").read_text().strip() in said
    with Image.open(project / "runs" / "mine" / "import.png") as picture:
        assert min(picture.size) > 500


def test_the_doctor_looks_at_such_a_run(dataset, project, capsys, house_style):
    assert main(words(dataset)) == 0
    assert main(["doctor", "mine", "--data"]) == 0
    said = capsys.readouterr().out
    assert "ok   data      raw/sub-01, 2 sessions, no file is missing" in said and "-    4 rows left out: no stim_file" in said
    main(["doctor", "mine"])
    assert "Expected for 10 + 2 images, 165 voxels" in capsys.readouterr().out


def test_the_chapters_first_run_has_the_layers_and_texts_that_its_recipes_need(dataset, project, house_style):
    assert main(words(dataset)) == 0
    chapter = (ROOT / "book" / "your_own_data.template.md").read_text()
    (project / "params" / "first.yaml").write_text(re.search(r"```yaml\n(like: mine\n.+?)```", chapter, re.DOTALL)[1])
    run = load_run("first")
    loaded = [recipe.load(name, run) for name in run.recipes]
    assert len(loaded) > 1 and not any(one.retrieval_target.startswith("text") for one in loaded)
    assert all((one.n_layers or run.n_layers) in run.layer_counts for one in loaded)


def test_the_check_list_says_what_was_found_and_what_follows_from_what_is_missing(dataset, project):
    found = importer.inspect("mine", dataset / "raw", **settings(dataset))
    said = "\n".join(found.checks)
    for line in (
        r"ok    data      .*raw: Looking, CC0",
        r"ok    BOLD      fMRIPrep, fMRIPrep, 25.2.5; space T1w \(guessed from T1w\)",
        r"ok    pictures  column stim_file \(guessed: .*\): 12 distinct values",
        r"ok    session 1 ses-a: 24 trials in runs of 12, 12",
        r"ok    session 2 ses-b: 24 trials in runs of 12, 12",
        r"note  split     random: 10 pictures to train with \(40 trials\), 2 to test with \(8\); below 300",
        r"ok    repeats   12 4x; 12 to 12 pictures in several runs of a session",
        r"none  captions  vision alone",
        r"none  regions   the mask is used",
        r"ok    voxels    165 in the mask, 165 in brainmask",
        r"ok    freedom   (\d+) degrees at least, in .*: 70 volumes - 12 trials - 2 drifts - 0 confounds - up to 10 noise",
        r"note  .*Series are resampled to times 2 s apart \(volumes: 2 s\): onsets differ from them by 0.000 s",
        r"note  .*165 voxels are in the brain masks of all runs, 168 in some. Missing in one run alone: .*run-2 1",
        r"note  .*4 rows left out: no stim_file",
    ):
        assert re.search(line, said), line
    assert int(re.search(r"freedom   (\d+)", said)[1]) == 70 - 12 - 2 - 10


def settings(root, **more):
    """The settings of a look, beside raw and name."""
    return {"derivatives": root / "fmriprep", "label": "01", "task": "look", "images": root / "pictures"} | more


def test_the_same_again_does_nothing_and_another_content_is_refused(dataset, project, capsys, house_style):
    assert main(words(dataset)) == 0
    before = {path: path.stat().st_mtime_ns for path in project.rglob("*mine*")}
    assert main(words(dataset)) == 0
    assert "Nothing to be done: params/mine.yaml already has this content." in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert main(words(dataset, "-p", "onsets=round")) == 2
    said = capsys.readouterr().err
    assert "already exists with other content" in said and '"resample"' in said and '"round"' in said
    assert {path: path.stat().st_mtime_ns for path in before} == before
    (project / "runs" / "mine" / "import.png").unlink()
    assert main(words(dataset)) == 0 and (project / "runs" / "mine" / "import.png").is_file()


def test_without_repeats_motion_is_taken_out_and_the_list_says_so(tmp_path, project):
    found = importer.inspect("mine", write_dataset(tmp_path / "d", repeats=False) / "raw", **settings(tmp_path / "d"))
    said = "\n".join(found.checks)
    assert 'confounds: ["motion"]' in found.parameters and "6 confounds - up to 0 noise" in said
    assert "none  repeats   in several runs (48 1x): no noise ceiling, no denoising and ridge in the GLM" in said
    assert found.subject.split == "random"


@pytest.mark.parametrize("n_same", [1, checklist.MIN_REPEATED])
def test_motion_is_taken_out_where_one_session_has_too_few_repeats(tmp_path, project, n_same):
    root = write_dataset(tmp_path / "d", repeats=False)
    tables = [(path, pd.read_csv(path, sep="\t")) for path in sorted((root / "raw").rglob("*_events.tsv"))]
    for (_, first), (path, table), n in ((*tables[:2], N_TRIALS), (*tables[2:], n_same)):
        table.loc[: n - 1, "stim_file"] = first["stim_file"][:n]
        table.to_csv(path, sep="\t", index=False)
    found = importer.inspect("mine", root / "raw", **settings(root))
    few = n_same < checklist.MIN_REPEATED
    assert found.subject.settings.confounds == (("motion",) if few else ())
    assert re.search(
        rf"{'note' if few else 'ok  '}  repeats .*; {n_same} to 12 pictures in several runs", "\n".join(found.checks)
    )
    next((root / "fmriprep").rglob("*ses-b*run-2*timeseries.tsv")).unlink()
    parameters = importer.inspect("mine", root / "raw", **settings(root)).parameters
    assert ("no run, since there is no table of confounds of sub-01_ses-b_task-look_run-2" in parameters) == few


@pytest.mark.parametrize(("n_again", "split"), [(60, "repeated"), (100, "repeated"), (101, "random"), (250, "random")])
def test_pictures_shown_more_often_are_the_test_set_where_they_are_a_fifth_at_most(n_again, split):
    image = np.concatenate([np.repeat(np.arange(500), 2), np.arange(n_again)])
    trials = pd.DataFrame({"session": 1, "run": 1, "image": image})
    none = {"regions": {}, "official_test": None, "has_captions": False, "runs": {}}
    subject = SimpleNamespace(trials=trials, voxels=lambda roi: np.ones(9), root="raw", n_sessions=1, **none)
    assert importer._decide("mine", subject)["split"][0] == split


def test_wishes_go_into_the_section_and_are_seen_by_the_run(dataset, project, capsys, house_style):
    wishes = ["-p", "test={trial_type: [test]}", "-p", "fit=pad", "-p", "side=32", "--image-column", "stim_file"]
    assert main(words(dataset, *wishes)) == 0
    run = load_run("mine")
    assert run.bids.test == {"trial_type": ("test",)} and (run.bids.fit, run.bids.side, run.split) == ("pad", 32, "official")
    subject = open_subject(run)
    assert {int(name[6:8]) % 3 for name in subject.image_names(np.unique(subject.image_ids[subject.is_test]))} == {0}
    assert "column stim_file (as given)" in capsys.readouterr().out


def test_onsets_off_the_grid_are_resampled_and_rounding_says_how_far(tmp_path, project):
    root = write_dataset(tmp_path / "d", jitter=0.5)
    for bold in (root / "fmriprep").rglob("*_bold.nii*"):
        path = bold.with_name(bold.name.partition("_space-")[0] + "_desc-confounds_timeseries.tsv")
        pd.DataFrame({"non_steady_state_outlier00": np.eye(70)[0]}).to_csv(path, sep="\t", index=False)
    resampled, rounded = (importer.inspect("mine", root / "raw", **settings(root, onsets=how)) for how in ("resample", "round"))
    assert resampled.subject.tr == 0.5 and rounded.subject.tr == TR
    shifts = [float(re.search(r"differ from them by ([\d.]+) s", "\n".join(look.checks))[1]) for look in (resampled, rounded)]
    assert shifts[0] == 0 and shifts[1] == 1.0  # the first volume shows 1 s, onsets are 4, 4.5, 5, 5.5, ...
    left = [int(re.search(r"freedom   (\d+)", "\n".join(look.checks))[1]) for look in (resampled, rounded)]
    assert left == [70 - 12 - 2 - 1 - 10] * 2  # volumes between measured ones say nothing new, and the first is left out once


# What is guessed


def events(**columns):
    return pd.DataFrame({"onset": [1.0, 2.0, 3.0]} | columns)


@pytest.mark.parametrize(
    ("tables", "column"),
    [
        ([events(image=list("abc"), file_path=list("abc"))], "file_path"),
        ([events(stim_file=[None] * 3, ImgName=list("abc"))], "ImgName"),
        ([events(stim_name=list("abc"), stim_id=[1, 2, 3]), events(stim_id=[1, 2, 3])], "stim_id"),
        ([events(**{"73k_id": [46003, 1, 2], "response": [1, 2, 1]})], "73k_id"),
        ([pd.DataFrame({"onset": range(21), "trial_type": [f"picture{i}" for i in range(21)]})], "trial_type"),
    ],
)
def test_the_column_is_guessed_in_its_order(tables, column):
    assert importer.guess_image_column(tables) == (column, "guessed: the first of the usual names that the events have")


def test_a_few_conditions_are_no_pictures():
    with pytest.raises(
        ValueError, match=r"in no known column that all tables have.*They have onset, trial_type, what: .*--image-column"
    ):
        importer.guess_image_column([events(trial_type=list("aba"), what=list("abc"))])
    with pytest.raises(ValueError, match=r"have onset, stim_file, file: .*--image-column\. stim_file is in 1 of 2 tables\.$"):
        importer.guess_image_column([events(stim_file=list("abc")), events(file=list("abc"))])


def test_real_tables_lead_to_the_columns_that_their_authors_meant():
    examples = ROOT / "tests" / "bids_examples"
    columns = {"ds001499": "stim_file", "ds004192": "file_path", "ses-perception": "stimulus_name", "ds000117": "stim_file"}
    for place, column in columns.items():
        [path] = [path for path in examples.rglob("*_events.tsv") if place in path.as_posix()]
        assert importer.guess_image_column([read_events(path)])[0] == column


# What is refused, with nothing left behind


def remove_pictures(root):
    for path in (root / "pictures").glob("thing_0*"):
        path.unlink()


def empty_bold(root):
    next(root.rglob("*desc-preproc_bold.nii.gz")).write_bytes(b"")


def no_tr(root):
    for path in root.rglob("*bold.json"):
        path.write_text('{"StartTime": 1}')
    for path in root.rglob("*preproc_bold.nii.gz"):
        image = nibabel.load(path)
        image.header["pixdim"][4] = 0
        nibabel.Nifti1Image(np.asanyarray(image.dataobj), image.affine, image.header).to_filename(path)


@pytest.mark.parametrize(
    ("spoil", "more", "message"),
    [
        (remove_pictures, [], r"10 files are missing, such as .*thing_00.png.*--images.*--image-column.*drop="),
        (empty_bold, [], r"datalad get"),
        (no_tr, [], r"do not say RepetitionTime.*set tr"),
        (lambda root: shutil.rmtree(root / "fmriprep"), [], r"--derivatives: there is no folder .*fmriprep\."),
        (lambda root: shutil.rmtree(root / "fmriprep" / "sub-01"), [], r"has no folder sub-01"),
        (lambda root: shutil.rmtree(root / "raw"), [], r"RAW: there is no folder .*raw\."),
        (None, ["--images", "/none"], r"--images: there is no folder /none\."),
        (None, ["--task", "rest"], r"There are the tasks look"),
        (None, ["--subject", "02"], r"There are sub-01"),
        (None, ["--space", "MNI"], r"and the spaces T1w"),
        (None, ["--image-column", "what"], r"'what'.*There are duration, onset, stim_file, trial_type"),
        (None, ["--name", "my run"], r"wanted a name of letters"),
        (None, ["-p", "onset=round"], r"nsdlib: 'onset' is no setting of the section bids: did you mean 'onsets'"),
        (None, ["-p", "tr=[2]"], r"nsdlib: The section bids cannot be used as it stands:\n  tr: Input should be .*, got \[2\]$"),
        (None, ["-p", "name=other"], r"nsdlib: -p name: the command sets it already, to mine: leave one"),
        (None, ["-p", "captions=5"], r"captions: Input is not a valid path"),
        (None, ["-p", "drop={trial_type: [train, test]}"], r"no trial that showed a picture"),
        (lambda root: (root / "raw" / "dataset_description.json").write_text("[]"), [], r"is not as BIDS defines it"),
    ],
)
def test_what_cannot_be_imported_is_refused_and_nothing_is_written(dataset, tmp_path, project, capsys, spoil, more, message):
    root = shutil.copytree(dataset, tmp_path / "copy") if spoil else dataset
    if spoil:
        spoil(root)
    before = hashes(project / "params")
    assert main(words(root, *more)) == 2
    assert re.search(message, capsys.readouterr().err.strip(), re.DOTALL)
    assert hashes(project / "params") == before and not (project / "runs").exists()


def test_a_project_within_the_data_is_refused(dataset, tmp_path, monkeypatch):
    root = shutil.copytree(dataset, tmp_path / "copy")
    (root / "raw" / "code" / "params").mkdir(parents=True)
    (root / "raw" / "code" / "params" / "_common.yaml").write_text("seed: 0\n")
    monkeypatch.setenv("NSDLIB_HOME", str(root / "raw" / "code"))
    with pytest.raises(ValueError, match=r"lies in .*raw, where nothing is written"):
        importer.inspect("mine", root / "raw", **settings(root))


def test_the_sheet_shows_pictures_in_the_order_of_their_first_showing(dataset, project):
    found = importer.inspect("mine", dataset / "raw", **settings(dataset, side=16))
    shown = checklist.sheet(found.subject)
    first = pd.read_csv(next((dataset / "raw").rglob("*ses-a*run-1_events.tsv")), sep="\t").stim_file.dropna().tolist()
    assert shown["names"] == first and shown["images"].shape == (N_TRIALS, 16, 16, 3)
    assert shown["regressors"].shape == (N_VOLUMES, N_TRIALS)
    rows = np.flatnonzero(found.subject.design(1, 1))
    for row, column in zip(rows, shown["regressors"].T, strict=True):
        assert not column[:row].any() and column[row : row + 8].max() > 0.9


def test_the_sheet_shows_the_brain_from_left_to_right_however_files_store_it(dataset, project, monkeypatch):
    subject = importer.inspect("mine", dataset / "raw", **settings(dataset, side=16)).subject
    for first in (1, -1):  # millimetres to the right, or to the left, along the first axis
        monkeypatch.setattr(type(subject), "affine", np.diag([first * 2.0, 2.0, 2.0, 1.0]))
        shown = checklist.sheet(subject)
        np.testing.assert_array_equal(shown["mask"], subject.brainmask[::first])
        np.testing.assert_allclose(shown["background"], subject.background[::first], rtol=1e-6)
