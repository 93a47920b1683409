"""NSD's raw data: sessions with several tasks, with NSD's names and times; one or more tasks are read, others refused."""

import json

import nibabel
import numpy as np
import pytest
from bids_tree import SHAPE, planted, response, write_table
from PIL import Image

from nsdlib.cli import main
from nsdlib.core import GLMOptions
from nsdlib.data import fit_sessions
from nsdlib.data.bids.subject import BIDSSubject
from nsdlib.data.nsd import layout as nsd
from nsdlib.data.subject import open_subject
from nsdlib.params import load_run
from nsdlib.sections import Bids
from nsdlib.store import provenance

TR, N_VOLUMES = 1.6, 60
NUMBERS = [2951, 3050, 28752, 5, 73000, 46003, 9, 10007, 61178]  # from 1; the first three are shared images
OWN = [f"synthetic{number:03d}" for number in range(1, 10)]  # what a user calls pictures of a session without public events
CORE = [("nsd01", "nsdcore", 1), ("nsd01", "nsdcore", 2), ("nsd02", "nsdcore", 1), ("nsd02", "nsdcore", 2)]
SYNTHETIC = [("nsdsynthetic", task, run) for run in (1, 2) for task in ("fixation", "memory")]
OTHERS = [("nsd01", "rest", 1), ("prffloc", "floc", 1), ("prffloc", "prfbar", 1)]


def stem(session, task, run):
    """Name of a run as NSD's raw data have it: resting runs are numbered without zeros."""
    return f"sub-01_ses-{session}_task-{task}_run-{run:{'' if task == 'rest' else '02'}}"


def func(root, session):
    folder = root / "sub-01" / f"ses-{session}" / "func"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_events(root, place, k, names=NUMBERS, column="73k_id"):
    """Write the events of run k: pictures by number, among the first 1,000 of the subject's 10,000 where they are shared."""
    onsets, shown = np.arange(1, 19) * 4.0, np.random.default_rng(k).permutation(np.repeat(range(9), 2))
    rows = [[onset, 3, names[i], i + 1 if i < 3 else 5000 + i] for onset, i in zip(onsets, shown, strict=True)]
    header = ["onset", "duration", column, "10k_id"]
    write_table(func(root / "raw", place[0]) / f"{stem(*place)}_events.tsv", header, rows)
    return onsets, shown


@pytest.fixture
def root(tmp_path):
    """Raw data with NSD's tasks, fMRIPrep's results of all of them, with planted betas in the core, and pictures by number."""
    root = tmp_path / "d"
    for folder in ("raw", "prep"):
        (root / folder).mkdir(parents=True)
        (root / folder / "dataset_description.json").write_text(json.dumps({"Name": "NSD", "BIDSVersion": "1.4.0"}))
    (root / "raw" / "task-nsdcore_bold.json").write_text(json.dumps({"RepetitionTime": TR}))
    rng = np.random.default_rng(0)
    for k, place in enumerate([*CORE, *SYNTHETIC, *OTHERS]):
        series = 1000 + rng.normal(0, 0.5, (N_VOLUMES, np.prod(SHAPE)))
        if place in CORE:
            onsets, shown = write_events(root, place, k)
            times = TR / 2 + TR * np.arange(N_VOLUMES)
            series += 10 * response(onsets, planted()[shown].reshape(len(shown), -1), times, duration=3.0)
        for values, what in ((series.T.reshape(*SHAPE, -1), "preproc_bold"), (np.ones(SHAPE), "brain_mask")):
            image = nibabel.Nifti1Image(values.astype(np.float32), np.diag([1.8, 1.8, 1.8, 1]))
            image.header["pixdim"][4] = TR
            image.header.set_xyzt_units("mm", "sec")
            nibabel.save(image, func(root / "prep", place[0]) / f"{stem(*place)}_space-T1w_desc-{what}.nii.gz")
        about = {"RepetitionTime": TR, "StartTime": TR / 2}
        (func(root / "prep", place[0]) / f"{stem(*place)}_space-T1w_desc-preproc_bold.json").write_text(json.dumps(about))
    faces = func(root / "raw", "prffloc") / f"{stem(*OTHERS[1])}_events.tsv"
    write_table(faces, ["onset", "duration", "trial_type"], [[12, 4, "adult"]])
    (root / "pictures").mkdir()
    for grey, name in enumerate([*NUMBERS, *OWN]):
        Image.new("L", (30, 30), 10 * grey).save(root / "pictures" / f"{name}.png")
    return root


def command(root, task, *more):
    """The words that import a task."""
    given = ["--derivatives", root / "prep", "--subject", "01", "--images", root / "pictures", "--name", "mine", "--task", task]
    return list(map(str, ["import", "bids", root / "raw", *given, *more]))


SHARED = ("-p", "test={10k_id: [1..1000]}")


def test_the_core_is_read_from_sessions_with_other_tasks_and_its_planted_betas_come_back(root, project, house_style):
    assert main(command(root, "nsdcore", *SHARED)) == 0 and main(["doctor", "mine", "--data"]) == 0
    run = load_run("mine")
    subject = open_subject(run)
    assert run.bids.image_column == "73k_id" and run.split == "official" and run.bids.test == {"10k_id": ("1..1000",)}
    assert [subject.n_runs(session) for session in (1, 2)] == [2, 2] and subject.n_trials == 4 * 18
    names = np.array(subject.image_names(subject.image_ids))
    np.testing.assert_array_equal(subject.is_test, np.isin(names, list(map(str, NUMBERS[:3]))))
    assert subject.tr == pytest.approx(nsd.TR, rel=1e-5)  # as NSD itself resampled its series
    found = fit_sessions(subject, 1, roi="brainmask", options=GLMOptions(n_pcs=0, fractions=(1.0,)))["betas_b"].values
    truth = planted().reshape(len(NUMBERS), -1)[[NUMBERS.index(int(name)) for name in names[:36]]]
    assert np.mean([np.corrcoef(*pair)[0, 1] for pair in zip(found.T, truth.T, strict=True)]) > 0.95


def test_several_tasks_follow_each_other_within_a_session(root, project, house_style, capsys):
    assert main(command(root, "fixation,memory")) == 2
    assert "has no sub-01_ses-nsdsynthetic_task-fixation_run-1_events.tsv in" in capsys.readouterr().err
    for k, place in enumerate(SYNTHETIC):
        write_events(root, place, k, OWN, "stim_idx")
    assert main(command(root, "nsdcore,fixation,memory", "--image-column", "73k_id")) == 2
    assert "task-fixation_run-01_events.tsv has no column '73k_id', as other runs have" in capsys.readouterr().err
    for k, place in enumerate(SYNTHETIC):
        write_events(root, place, k, OWN)
    assert main(command(root, "nsdcore, fixation , memory", "-p", "test={ses: [nsdsynthetic]}")) == 0
    run = load_run("mine")
    subject = open_subject(run)
    assert subject.session_labels == ["nsd01", "nsd02", "nsdsynthetic"] and [subject.n_runs(s) for s in (1, 2, 3)] == [2, 2, 4]
    assert [str(subject.runs[3, k]) for k in (1, 2, 3, 4)] == [stem(*place).replace("run-0", "run-") for place in SYNTHETIC]
    assert subject.is_test.tolist() == (subject.session == 3).tolist()
    before = provenance._contents(run)["data"]
    write_events(root, SYNTHETIC[1], 7, OWN)  # of the task that is named last
    assert provenance._contents(run)["data"] != before


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("rest", "has no sub-01_ses-nsd01_task-rest_run-1_events.tsv in"),
        ("prfbar", "has no sub-01_ses-prffloc_task-prfbar_run-1_events.tsv in"),
        ("nsdcore,", "wanted the label of a task, or several separated by commas"),
        ("floc", "The events name the picture in no known column that all tables have"),
        (
            "nsdcore,attA",
            "no preprocessed BOLD volumes of sub-01, task-attA in space T1w. There are the tasks fixation, floc, memory,",
        ),
    ],
)
def test_tasks_without_pictures_are_refused_with_what_they_lack(root, project, capsys, task, message):
    assert main(command(root, task)) == 2
    assert message in capsys.readouterr().err and not (project / "params" / "mine.yaml").exists()


@pytest.mark.parametrize(
    ("values", "n"), [(("1..3",), 24), (("2..3", "5003..5004"), 32), (("1.5..2",), 8), (("1", "5000..6000"), 56)]
)
def test_numbers_from_the_first_to_the_last_choose_rows(root, values, n):
    paths = {"derivatives": root / "prep", "images": root / "pictures"}
    section = Bids(**paths, label="01", task="nsdcore", image_column="73k_id", test={"10k_id": values})
    assert BIDSSubject(root / "raw", section).official_test.sum() == n


def test_a_range_without_a_row_is_refused(root):
    paths = {"derivatives": root / "prep", "images": root / "pictures"}
    section = Bids(**paths, label="01", task="nsdcore", image_column="73k_id", test={"10k_id": ("1..1000", "7000..8000")})
    with pytest.raises(ValueError, match=r"test: no row has 10k_id = 7000\.\.8000, so that pictures may be missing"):
        _ = BIDSSubject(root / "raw", section).trials
