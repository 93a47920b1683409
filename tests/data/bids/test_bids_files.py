"""Files of a BIDS subject are found in any order and spelling, refused with advice, and read with inherited metadata."""

import gzip
import json
import shutil

import nibabel
import numpy as np
import pytest
from bids_tree import N_VOLUMES, TR, func, settings, stem, write_confounds, write_subject, write_table
from nilearn.glm.first_level import first_level_from_bids
from nilearn.interfaces.bids import parse_bids_filename

from nsdlib.data.bids import files
from nsdlib.data.bids.files import existing, find_runs, metadata, parse_name, problem, read_timing

NAMES = [
    "sub-01_ses-things01_task-things_run-03_space-T1w_res-2_desc-preproc_bold.nii.gz",
    "sub-CSI1_task-5000scenes_space-MNI152NLin2009cAsym_hemi-L_bold.func.gii",
    "task-rest_acq-dense_bold.json",
    "sub-01_task-x_part-mag_run-1_desc-confounds_timeseries.tsv",
]


@pytest.fixture
def root(tmp_path):
    return write_subject(tmp_path / "data")


def find(root, **changes):
    return find_runs(root / "raw", root / "prep", **{"label": "01", "task": "see", "space": "T1w"} | changes)


def bold_of(root, session="01", run=1):
    return func(root / "prep", session) / f"{stem(session, run, zeros=1)}_space-T1w_desc-preproc_bold.nii.gz"


def refusal(error, root, **changes):
    with pytest.raises(error) as refused:
        find(root, **changes)
    return str(refused.value)


# Names


@pytest.mark.parametrize("name", NAMES)
def test_names_are_parsed_as_nilearn_does_with_numbers_for_runs(name):
    theirs, ours = parse_bids_filename(name), parse_name(name)
    assert (ours.pop("suffix"), ours.pop("extension")) == (theirs["suffix"], f".{theirs['extension']}")
    assert {key: str(value) for key, value in ours.items()} == theirs["entities"] | {
        key: str(int(value)) for key, value in theirs["entities"].items() if key == "run"
    }


def test_order_and_zeros_do_not_matter():
    assert parse_name("sub-01_run-001_task-x_bold.nii") == parse_name("sub-01_task-x_run-1_bold.nii")


@pytest.mark.parametrize(
    "name",
    ["dataset_description.json", "sub-01_task-x_bold__dup-01.nii.gz", "sub-01_run-a_bold.nii", "sub-1_sub-1_bold.nii", "README"],
)
def test_other_names_are_none(name):
    assert parse_name(name) is None


# Runs


@pytest.mark.filterwarnings("ignore:No column named 'trial_type':UserWarning")
def test_runs_are_those_that_nilearn_finds(root):
    for k in range(3):
        write_confounds(root, k)
    for path in root.glob("raw/sub-01/ses-02/*_events.tsv"):  # nilearn does not inherit
        shutil.copy(path, func(root / "raw", "02") / f"{stem('02', 1)}_events.tsv")
    for session, run in (("01", 1), ("01", 2), ("02", 1)):  # nor match run-1 with run-01
        events = func(root / "raw", session) / f"{stem(session, run)}_events.tsv"
        shutil.move(events, events.with_name(f"{stem(session, run, zeros=1)}_events.tsv"))
    shutil.copytree(root / "prep", root / "raw" / "prep")
    options = {"slice_time_ref": None, "confounds_strategy": ("motion",), "confounds_motion": "basic"}
    _, images, _, confounds = first_level_from_bids(
        root / "raw", "see", "T1w", derivatives_folder="prep", img_filters=[("desc", "preproc")], **options
    )
    runs, _ = find(root)
    assert [run.bold.name for run in runs] == [path.rpartition("/")[2] for path in images[0]]
    assert len(confounds[0]) == 3 and all(len(table) == N_VOLUMES for table in confounds[0])


def test_a_run_has_its_files_and_inherits_events(root):
    write_confounds(root, 1)
    runs, notes = find(root)
    assert [(run.session, run.entities["run"]) for run in runs] == [("01", 1), ("01", 2), ("02", 1)]
    assert notes == [] and str(runs[1]) == "sub-01_ses-01_task-see_run-2"
    first, second, third = runs
    assert first.events.name == "sub-01_ses-01_task-see_run-01_events.tsv" and first.confounds is None and first.regions is None
    assert second.confounds.name == "sub-01_ses-01_task-see_run-2_desc-confounds_timeseries.tsv"
    assert third.events == root / "raw" / "sub-01" / "ses-02" / "sub-01_ses-02_task-see_events.tsv"
    assert third.mask.name == "sub-01_ses-02_task-see_run-1_space-T1w_desc-brain_mask.nii.gz"
    assert third.boldref.name == "sub-01_ses-02_task-see_run-1_space-T1w_boldref.nii.gz"


def test_a_files_entities_are_looked_at_a_few_times_however_many_runs_there_are(root, monkeypatch):
    counts = []
    for n_sessions in (2, 8):
        for session in range(3, n_sessions + 1):
            for kind in ("raw", "prep"):
                (root / kind / "sub-01" / f"ses-{session:02d}" / "func").mkdir(parents=True, exist_ok=True)
                for path in func(root / kind, "01").iterdir():
                    (func(root / kind, f"{session:02d}") / path.name.replace("ses-01", f"ses-{session:02d}")).touch()
        calls = []
        with monkeypatch.context() as counted:
            counted.setattr(files, "_run_of", lambda name, own=files._run_of, calls=calls: calls.append(name) or own(name))
            n_runs = len(find(root)[0])
        counts.append(len(calls) / n_runs)
    assert counts[1] <= counts[0]  # of each run


def test_other_spellings_are_found(root):
    bold = bold_of(root)
    nibabel.save(nibabel.load(bold), bold.with_suffix(""))  # .nii
    bold.unlink()
    mask = bold.with_name(bold.name.replace("desc-preproc_bold", "desc-brain_mask"))
    mask.rename(mask.with_name(mask.name.replace("_run-1_", "_").replace("desc-brain_", "label-brain_run-01_")))
    run = find(root)[0][0]
    assert run.bold.suffix == ".nii" and run.mask.name.endswith("space-T1w_label-brain_run-01_mask.nii.gz")


def test_a_subject_without_sessions_is_found(root):
    for folder in ("raw", "prep"):
        subject = root / folder / "sub-01"
        shutil.copytree(func(root / folder, "01"), subject / "func")
        for path in (subject / "func").iterdir():
            path.rename(path.with_name(path.name.replace("_ses-01", "")))
        shutil.rmtree(subject / "ses-01")
        shutil.rmtree(subject / "ses-02")
    runs, _ = find(root)
    assert [run.session for run in runs] == ["", ""] and runs[0].events.parent == root / "raw" / "sub-01" / "func"


def test_labels_sort_as_numbers_do(root):
    for folder in ("raw", "prep"):
        shutil.copytree(root / folder / "sub-01" / "ses-02", root / folder / "sub-01" / "ses-10")
        for path in (root / folder / "sub-01" / "ses-10").rglob("*.*"):
            path.rename(path.with_name(path.name.replace("ses-02", "ses-10")))
    shutil.copytree(root / "prep" / "sub-01" / "ses-02", root / "prep" / "sub-01" / "ses-9")
    for path in (root / "prep" / "sub-01" / "ses-9").rglob("*.*"):
        path.rename(path.with_name(path.name.replace("ses-02", "ses-9")))
    write_table(root / "raw" / "task-see_events.tsv", ["onset", "duration"], [])
    assert [run.session for run in find(root)[0]] == ["01", "01", "02", "9", "10"]


def test_the_nearest_of_inherited_events_is_taken_whole(root):
    write_table(root / "raw" / "task-see_events.tsv", ["onset", "duration"], [])
    assert find(root)[0][2].events.name == "sub-01_ses-02_task-see_events.tsv"
    (root / "raw" / "sub-01" / "ses-02" / "sub-01_ses-02_task-see_events.tsv").unlink()
    assert find(root)[0][2].events.name == "task-see_events.tsv"


def test_odd_names_and_runs_that_were_not_preprocessed_are_listed(root):
    shutil.copy(bold_of(root), func(root / "raw", "01") / "sub-01_ses-01_task-see_run-01_bold__dup-01.nii.gz")
    (func(root / "raw", "02") / "sub-01_ses-02_task-see_run-07_bold.nii.gz").symlink_to("nowhere")
    assert find(root)[1] == [
        "Measured, but not preprocessed: sub-01_ses-02_task-see_run-07_bold.nii.gz.",
        "Names that do not follow BIDS, ignored: sub-01_ses-01_task-see_run-01_bold__dup-01.nii.gz (1 files).",
    ]


def test_single_echoes_phases_and_other_spaces_are_not_taken(root):
    for wrong in ("echo-1_space-T1w", "part-phase_space-T1w", "space-MNI"):
        shutil.copy(bold_of(root), bold_of(root).with_name(bold_of(root).name.replace("space-T1w", wrong)))
    assert len(find(root)[0]) == 3


def test_spaces_may_have_a_resolution_or_no_name(root):
    for before, after, spaces in (
        ("space-T1w", "space-T1w_res-2", ["T1w", "T1w_res-2", "T1w:res-2"]),
        ("_space-T1w_res-2", "", ["func"]),
    ):
        for path in func(root / "prep", "01").iterdir():
            path.rename(path.with_name(path.name.replace(before, after)))
        shutil.rmtree(root / "prep" / "sub-01" / "ses-02", ignore_errors=True)
        for space in spaces:
            runs, _ = find(root, space=space)
            assert (
                len(runs) == 2 and runs[0].mask.name == f"{stem('01', 1, zeros=1)}{after and '_' + after}_desc-brain_mask.nii.gz"
            )
    assert "and the spaces func." in refusal(FileNotFoundError, root)


# What is refused


def test_what_is_not_there_is_said_with_what_there_is(root):
    assert "has no folder sub-02. There are sub-01." in refusal(FileNotFoundError, root, label="02")
    assert "task-hear in space T1w. There are the tasks see, and the spaces T1w" in refusal(FileNotFoundError, root, task="hear")
    assert "in space MNI152. There are the tasks see" in refusal(FileNotFoundError, root, space="MNI152")
    events = root / "raw" / "sub-01" / "ses-02" / "sub-01_ses-02_task-see_events.tsv"
    events.unlink()
    assert "has no sub-01_ses-02_task-see_run-1_events.tsv in" in refusal(FileNotFoundError, root)


def test_a_legacy_layout_names_the_folder_within(root):
    (root / "prep" / "fmriprep").mkdir()
    shutil.move(root / "prep" / "sub-01", root / "prep" / "fmriprep" / "sub-01")
    assert "It is in " in (said := refusal(FileNotFoundError, root)) and said.endswith("fmriprep: name that folder.")


def test_results_of_the_first_fmriprep_are_recognised(root):
    for path in (root / "prep").rglob("*bold.nii.gz"):
        path.rename(path.with_name(path.name.replace("_space-T1w_desc-preproc_bold", "_bold_space-T1w_preproc")))
    assert "Its names are those of fMRIPrep 1.0 or 1.1: preprocess again with fMRIPrep 20.2 or later" in refusal(
        FileNotFoundError, root
    )


def test_minimal_results_are_recognised(root):
    for path in (root / "prep").rglob("*desc-preproc_bold*"):
        path.unlink()
    assert "fMRIPrep writes them with --level full" in refusal(FileNotFoundError, root)


def test_a_mask_that_is_missing_and_two_resolutions_are_refused_and_the_measured_one_is_taken(root):
    bold, fine, coarse = (
        bold_of(root).with_name(bold_of(root).name.replace("T1w", f"T1w{res}")) for res in ("", "_res-1", "_res-2")
    )
    for path in (fine, coarse):
        shutil.copy(bold, path)
    assert find(root)[0][0].bold == find(root, space="T1w")[0][0].bold == bold
    bold.rename(root / "bold")
    assert "are the same run: keep one, or name space and res" in refusal(ValueError, root)
    (root / "bold").rename(bold)
    for path in (fine, coarse):
        path.unlink()
    bold.with_name(bold_of(root).name.replace("desc-preproc_bold", "desc-brain_mask")).unlink()
    assert "desc-brain_mask.nii.gz in" in refusal(FileNotFoundError, root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file: run `datalad get"),
        (b"/annex/objects/MD5E-s1--2.nii.gz\n", "a placeholder for the file: run `datalad get"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a placeholder for the file"),
        (b"<html>", "not a .nii.gz file, by its first bytes"),
        (None, "a link whose target is missing: run `datalad get"),
    ],
)
def test_what_was_not_fetched_is_said_with_the_command(root, content, message):
    path = bold_of(root)
    path.unlink()
    if content is None:
        path.symlink_to("../../.git/annex/objects/x")
    else:
        path.write_bytes(content)
    assert find(root)[0][0].bold == path
    with pytest.raises(FileNotFoundError, match=message) as refused:
        existing(path)
    assert str(path) in str(refused.value)


def test_what_is_there_has_no_problem(root):
    assert problem(bold_of(root)) is None
    assert problem(root / "none.nii") == "not there"
    unpacked = root / "big.nii"
    unpacked.write_bytes(gzip.decompress(bold_of(root).read_bytes()))
    assert problem(unpacked) is None


# Sidecars


def test_the_nearer_sidecar_wins_key_by_key(tmp_path):
    inner = tmp_path / "sub-01" / "func"
    inner.mkdir(parents=True)
    (tmp_path / "task-x_bold.json").write_text(json.dumps({"RepetitionTime": 2, "FlipAngle": 70, "EchoTime": 0.03}))
    (tmp_path / "sub-01" / "sub-01_task-x_bold.json").write_text(json.dumps({"FlipAngle": 80, "EchoTime": 0.02}))
    (inner / "sub-01_task-x_run-02_bold.json").write_text(json.dumps({"EchoTime": 0.01}))
    (inner / "sub-01_task-y_bold.json").write_text(json.dumps({"RepetitionTime": 9}))
    assert metadata(tmp_path, parse_name("sub-01_task-x_run-2_bold.nii.gz")) == {
        "RepetitionTime": 2, "FlipAngle": 80, "EchoTime": 0.01,
    }  # fmt: skip
    (tmp_path / "task-x_bold.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"task-x_bold\.json cannot be read as JSON"):
        metadata(tmp_path, parse_name("sub-01_task-x_bold.nii.gz"))


def timing(root, sidecar=None, raw=None, header_tr=TR, units="sec", **given):
    """Timing of run 1 with other sidecars and another header."""
    run = find(root)[0][0]
    if sidecar is not None:
        run.bold.with_name(run.bold.name.replace(".nii.gz", ".json")).write_text(json.dumps(sidecar))
    if raw is not None:
        (root / "raw" / "task-see_bold.json").write_text(json.dumps(raw))
    header = nibabel.load(run.bold).header
    header.set_xyzt_units("mm", units)
    header["pixdim"][4] = header_tr
    return read_timing(run, root / "raw", root / "prep", header=header, **given)


def test_the_sidecar_says_when_volumes_were_measured(root):
    assert timing(root) == (2.0, 1.0, [])
    assert timing(root, header_tr=2000, units="msec")[0] == timing(root, header_tr=1)[0] == timing(root, header_tr=2.01)[0] == 2
    assert timing(root, sidecar={"StartTime": 0.5})[:2] == (2, 0.5)  # RepetitionTime of the raw data
    assert timing(root, sidecar={"StartTime": 0.5}, raw={}, header_tr=1.5)[:2] == (1.5, 0.5)


def test_a_missing_start_is_half_a_tr_where_slices_were_aligned(root):
    tr, start, [note] = timing(root, sidecar={"RepetitionTime": TR, "SliceTimingCorrected": True})
    assert (tr, start) == (2, 1) and "do not state StartTime: slices are assumed aligned to the middle" in note
    assert timing(root, sidecar={"SliceTimingCorrected": False})[1] == 0
    assert timing(root, sidecar={}, raw={"RepetitionTime": TR, "SliceTiming": [0, 1]})[1] == 1
    assert timing(root, sidecar={}, raw={"RepetitionTime": TR})[1] == 0


def test_the_sidecars_of_echoes_and_magnitudes_say_it_too(root):
    path = func(root / "raw", "01") / f"{stem('01', 1)}_echo-1_part-mag_bold.json"
    path.write_text(json.dumps({"RepetitionTime": TR, "SliceTiming": [0, 1]}))
    assert timing(root, sidecar={}, raw={})[:2] == (TR, 1)
    path.rename(path.with_name(path.name.replace("_part-mag", "")))
    assert timing(root, sidecar={}, raw={})[:2] == (TR, 1)


def test_a_tr_that_is_given_overrides_files(root):
    assert timing(root, sidecar={"RepetitionTime": 2000, "StartTime": 0}, tr=2.5) == (
        2.5, 0, ["tr=2.5 s was set; the sidecars state 2000 s."],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"header_tr": 2.03}, "disagree: RepetitionTime 2 s, header 2.03 s. Set tr, in the section bids"),
        ({"sidecar": {"RepetitionTime": 2000}}, "disagree: RepetitionTime 2000 s, header 2 s"),
        ({"sidecar": {}, "raw": {}, "header_tr": 1}, "do not say RepetitionTime.*set tr, in the section bids"),
        ({"sidecar": {}, "raw": {}, "header_tr": 0}, "do not say RepetitionTime"),
        ({"sidecar": {"RepetitionTime": "2"}}, "do not say RepetitionTime"),
        ({"sidecar": {"VolumeTiming": [0, 2, 5]}, "raw": {}}, "VolumeTiming lists a time for each volume; wanted volumes with a"),
        ({"sidecar": {"StartTime": 2.5}}, "StartTime 2.5 s, wanted seconds from 0 to RepetitionTime, 2 s"),
        ({"sidecar": {"StartTime": -1}}, "StartTime -1 s, wanted seconds from 0"),
    ],
)
def test_times_that_cannot_be_are_refused(root, changes, message):
    with pytest.raises(ValueError, match=message):
        timing(root, **changes)


def test_the_section_has_what_the_finder_asks_for(root):
    section = settings(root)
    runs, _ = find_runs(root / "raw", section.derivatives, label=section.label, task=section.task, space=section.space)
    assert len(runs) == 3 and np.all([run.bold.is_file() for run in runs])
