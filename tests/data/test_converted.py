"""Betas of public data sets, written here in their own layouts: trials, betas, regions and test sets that a run opens."""

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nsdlib import cli, laboratory
from nsdlib.data.converted.bold5000 import N_SESSIONS
from nsdlib.data.converted.convert import LAYOUTS, convert
from nsdlib.data.formats.guards import DamagedFile
from nsdlib.data.subject import open_subject
from nsdlib.params import load_run
from nsdlib.study.betas import assemble, read_trials

SHAPE, AFFINE = (6, 5, 4), np.array([[-2.0, 0, 0, 10], [0, 2, 0, -20], [0, 0, 2.5, 5], [0, 0, 0, 1]])


@pytest.fixture
def images(tmp_path):
    """A folder of pictures by concept, and images of ImageNet; each of a grey."""
    names = [f"{concept}/{concept}_{number:02d}s.jpg" for concept in ("cat", "dog") for number in (1, 2, 13)]
    names += [f"n{wnid}/n{wnid}_{number}.JPEG" for wnid, number in (("02766534", 15976), ("00015388", 7), ("04111531", 30))]
    for number, name in enumerate(names):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (30, 20), 20 * number).save(tmp_path / "images" / name, "JPEG")
    return tmp_path / "images"


@pytest.fixture
def opened(tmp_path, images, project):
    """A function that converts and opens the subject: as the parameter file says, and as `convert` is asked."""

    def open_converted(layout, label, **settings):
        given = {"label": label, "run": "mine", "images": images} | settings
        file, notes = convert(layout, tmp_path / "raw", tmp_path / "made", **given)
        run = load_run("mine")
        assert file == project / "params" / "mine.yaml"
        return open_subject(run), run, notes

    return open_converted


def write_mask(path, mask):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.asarray(mask, np.uint8), AFFINE), path)


@pytest.fixture
def things(tmp_path):
    """THINGS-fMRI's tables of subject 01: two sessions of six trials; voxels in no order."""
    rng, folder = np.random.default_rng(0), tmp_path / "raw" / "betas_csv"
    folder.mkdir(parents=True)
    brain = rng.random(SHAPE) < 0.6
    places = rng.permutation(np.argwhere(brain))[:-4]
    betas = rng.normal(size=(len(places), 12))
    write_mask(tmp_path / "raw" / "brainmasks" / "sub-01_space-T1w_brainmask.nii.gz", brain)
    stimulus = ["cat_01s.jpg", "dog_13s.jpg", "cat_02s.jpg", "dog_01s.jpg", "cat_13s.jpg", "dog_02s.jpg"]
    kind = ["train", "test", "train", "train", "test", "train"]
    trials = pd.DataFrame(
        {"trial_type": kind * 2, "session": [1] * 6 + [2] * 6, "run": [1, 1, 1, 2, 2, 2] * 2, "stimulus": stimulus * 2}
    )
    trials.assign(subject_id="01", concept="x").to_csv(folder / "sub-01_StimulusMetadata.csv", index=False)
    voxels = pd.DataFrame(places, columns=["voxel_x", "voxel_y", "voxel_z"]).rename_axis("voxel_id").reset_index()
    voxels = voxels.assign(**{"V1": np.arange(len(places)) % 3 == 0, "LO1 (prf)": 0, "lFFA": 0.0, "rFFA": 1, "glasser-V1": 1})
    voxels["V1"], squared = voxels["V1"].astype(int), np.linspace(0.2, 2, len(places)) ** 2
    voxels["nc_singletrial"], voxels["nc_testset"] = 100 * squared / (squared + 1), 100 * squared / (squared + 1 / 12)
    voxels.to_csv(folder / "sub-01_VoxelMetadata.csv", index=False)
    with h5py.File(folder / "sub-01_ResponseData.h5", "w") as file:
        file["ResponseData/block0_values"] = betas
        file["ResponseData/block1_values"] = voxels["voxel_id"].to_numpy()[:, None]
    return folder, places, betas, trials


def test_the_table_of_things_gives_its_trials_and_planted_betas(things, opened):
    _, places, betas, trials = things
    subject, run, notes = opened("things", "01")
    assert (subject.n_sessions, subject.n_trials, subject.session_labels, run.roi) == (2, 12, ["01", "02"], "visual")
    names = subject.image_names(subject.image_ids)
    assert [f"{name}" for name in names] == trials["stimulus"].tolist()
    assert subject.is_test.tolist() == (trials["trial_type"] == "test").tolist() and run.split == "official"
    corner = places.min(axis=0)  # the volume is cut to the voxels with betas
    np.testing.assert_allclose(subject.affine @ [0, 0, 0, 1], AFFINE @ [*corner, 1])
    whole = np.zeros((12, *(places.max(axis=0) - corner + 1)), np.float32)
    whole[:, *(places - corner).T] = betas.T
    mask = subject.brainmask
    assert mask.sum() == len(places)
    for session in (1, 2):
        np.testing.assert_array_equal(subject.betas(session, mask), whole[6 * session - 6 : 6 * session, mask])
    assert list(subject.regions) == ["V1", "rFFA"] and subject.regions["V1"].sum() == (len(places) + 2) // 3
    assert subject.betas_unit == "arbitrary" and "in its order" in notes[-1]
    assert notes[1] == "Noise ceilings: columns nc_singletrial, nc_testset of the table of voxels."
    np.testing.assert_allclose(subject.ncsnr()[*(places - corner).T], np.linspace(0.2, 2, len(places)), rtol=1e-4)
    assert np.isnan([subject.tr, subject.duration]).all()  # nothing says when pictures were shown
    assert subject.concepts(subject.image_ids[:2]) == ["cat", "dog"] and subject.missing_files() == []
    assembled = assemble(read_trials(subject, roi=run.roi))
    assert assembled.sizes["test_image"] == 2 and assembled.n_repeats_test.values.tolist() == [2, 2]


def test_responses_in_batches_and_under_newer_names_are_the_same(things, opened, monkeypatch):
    folder, _, betas, _ = things
    for old, new in (("ResponseData.h5", "voxel-wise-responses.h5"), ("VoxelMetadata.csv", "voxel-metadata.csv")):
        (folder / f"sub-01_{old}").rename(folder / f"sub-01_task-things_{new}")
    with h5py.File(folder / "sub-01_task-things_voxel-wise-responses.h5", "a") as file:
        del file["ResponseData/block1_values"]
    table = pd.read_csv(folder / "sub-01_StimulusMetadata.csv")
    table.to_csv(folder / "sub-01_task-things_stimulus-metadata.tsv", sep="\t", index=False)
    (folder / "sub-01_StimulusMetadata.csv").unlink()
    monkeypatch.setattr("nsdlib.data.converted.things.BATCH", 8 * 6 * 5)
    subject, _, notes = opened("things", "01")
    found = subject.betas(2, subject.brainmask)
    np.testing.assert_allclose(np.sort(found, axis=1), np.sort(betas.T[6:].astype(np.float32), axis=1))
    assert "name no voxels" in notes[-1]


def change_things(folder, part, change):
    """Change a table or the responses of THINGS."""
    if part == "responses":
        with h5py.File(folder / "sub-01_ResponseData.h5", "a") as file:
            change(file)
    else:
        path = folder / f"sub-01_{part}Metadata.csv"
        change(pd.read_csv(path)).to_csv(path, index=False)


def with_block(values, name="ResponseData/block0_values"):
    def change(file):
        del file[name]
        file[name] = values(np.asarray(file["ResponseData/block1_values"])) if callable(values) else values

    return change


def with_empty(file):
    """Responses that are promised and nowhere stored."""
    del file["ResponseData/block0_values"]
    file.create_dataset("ResponseData/block0_values", (20_000, 100_000), float, chunks=(10, 10))


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("Stimulus", lambda table: table.drop(columns="stimulus"), "wanted columns stimulus, got trial_type, session"),
        ("Stimulus", lambda table: table.assign(trial_type="catch"), "trial_type holds catch, wanted train and test: drop"),
        ("Stimulus", lambda table: table.assign(session="a"), "must hold whole numbers in a column 'session'"),
        (
            "Stimulus",
            lambda table: table[1:],
            r"block0_values': \(\d+, 12\).* wanted one of floats with a row for .* of 11 trials",
        ),
        ("Voxel", lambda table: table.assign(voxel_x=table["voxel_x"] + 1), r"voxels lie outside .*brainmask.nii.gz: wanted ind"),
        ("Voxel", lambda table: pd.concat([table[:1], table[:-1]]), "several rows are the same voxel"),
        ("Voxel", lambda table: table[::-1], "its voxel_id are not those of the table of voxels, in its order"),
        ("responses", lambda file: file.move("ResponseData", "data"), "wanted a group 'ResponseData', there are data: is it an"),
        ("responses", with_block(lambda ids: ids * np.ones(12, int)), "wanted one of floats with a row for each"),
        (
            "responses",
            with_block(np.ones(3)),
            r"block0_values holds float64 of shape \(3,\), wanted numbers with 2 axes that fit into the file",
        ),
        ("responses", with_empty, r"holds float64 of shape \(20000, 100000\), wanted numbers with 2 axes that fit into the file"),
        ("responses", with_block(h5py.ExternalLink("other.h5", "/x")), "holds no dataset 'block0_values' of its own"),
    ],
)
def test_tables_of_things_that_do_not_belong_together_are_refused(things, opened, part, change, message):
    if part == "responses" and "own" in message:
        with h5py.File(things[0] / "sub-01_ResponseData.h5", "a") as file:
            del file["ResponseData/block0_values"]
            file["ResponseData/block0_values"] = h5py.ExternalLink("other.h5", "/x")
    else:
        change_things(things[0], part, change)
    with pytest.raises(DamagedFile, match=message):
        opened("things", "01")


def test_what_is_missing_or_there_already_is_refused_before_anything_is_written(things, opened, tmp_path, project, images):
    with pytest.raises(
        FileNotFoundError, match=r"holds the responses under none of the names sub-02_ResponseData\.h5, sub-02_ta"
    ):
        opened("things", "02")
    with pytest.raises(ValueError, match=r"subject '\.\./01': wanted letters and digits"):
        opened("things", "../01")
    with pytest.raises(ValueError, match=r"things takes no 'masks': did you mean 'mask'.* It takes: mask"):
        opened("things", "01", masks="x")
    with pytest.raises(ValueError, match=r"pictures do not come with these data: name the folder .*--images"):
        opened("things", "01", images=None)
    (images / "cat" / "cat_13s.jpg").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"1 of 6 pictures are missing in .*images, such as \S*cat_13s\.jpg .*as --images"
    ):
        opened("things", "01")
    assert not (tmp_path / "made").exists() and not (project / "params" / "mine.yaml").exists()
    (tmp_path / "made").mkdir()
    with pytest.raises(FileExistsError, match="made is already there, and is not overwritten"):
        opened("things", "01")
    (things[0].parent / "brainmasks" / "sub-01_space-T1w_brainmask.nii.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds the brain mask \(or give -p mask=FILE\) under none of the names"):
        opened("things", "01")


@pytest.fixture
def bold5000(tmp_path):
    """BOLD5000's release of subject CSI4: two sessions of a run and of two runs; the grid's affine in the betas is wrong."""
    rng, root = np.random.default_rng(5), tmp_path / "raw"
    mask = rng.random(SHAPE) < 0.5
    write_mask(root / "CSI4_brainmask.nii.gz", mask)
    names = rng.permutation(["cat_01s.jpg", "dog_01s.jpg", "cat_02s.jpg", *["cat_13s.jpg"] * 108]).tolist()
    (root / "CSI4_imgnames.txt").write_text("".join(f"{name}\n" for name in [*names, "dog_02s.jpg"]))
    betas = rng.normal(size=(111, *SHAPE)).astype(np.float32)
    for session, part in ((1, betas[:37]), (2, betas[37:])):
        image = nibabel.Nifti1Image(np.moveaxis(part, 0, -1), np.eye(4))
        nibabel.save(image, root / f"CSI4_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_ses-{session:02d}.nii.gz")
    for name, voxels in (("LHLO", mask), ("RHLOC", ~mask | (np.arange(6) == 2)[:, None, None]), ("RHRRSC", mask), ("LHX", ~mask)):
        write_mask(root / "sub-CSI4" / f"sub-CSI4_mask-{name}.nii.gz", voxels)
    return root, mask, names, betas


def test_the_release_of_bold5000_gives_its_trials_and_planted_betas(bold5000, opened):
    _, mask, names, betas = bold5000
    subject, run, notes = opened("bold5000", "CSI4")
    assert subject.image_names(subject.image_ids) == names and (subject.n_sessions, run.scaling) == (2, "sessions")
    assert subject.trials["run"].tolist() == [1] * 37 + [1] * 37 + [2] * 37
    assert subject.is_test.tolist() == [name == "cat_13s.jpg" for name in names] and "Notebook 02" in notes[0]
    np.testing.assert_array_equal(subject.betas(2, subject.brainmask), betas[37:, mask])
    assert list(subject.regions) == ["LOC", "RSC"] and subject.betas_unit == "percent signal change"
    corner = np.argwhere(mask).min(axis=0)
    np.testing.assert_allclose(subject.affine @ [0, 0, 0, 1], AFFINE @ [*corner, 1])


def test_releases_of_bold5000_that_do_not_fit_are_refused(bold5000, opened, monkeypatch):
    root, mask, names, _ = bold5000
    for label, settings in (("CSI5", {}), ("4", {"kind": "E"})):
        with pytest.raises(ValueError, match=r"wanted CSI1 to CSI4, and one of A, B, C, D"):
            opened("bold5000", label, **settings)
    with pytest.raises(FileNotFoundError, match=r"holds the betas under none of the names CSI4_GLMbetas-TY\[PB\]EB-FITHRF_ses-"):
        opened("bold5000", "4", kind="B")
    with monkeypatch.context() as patch:
        patch.setitem(N_SESSIONS, "4", 2)
        with pytest.raises(DamagedFile, match=r"names 112 trials, sessions have 37, 74: wanted as many"):
            opened("bold5000", "4")
    (root / "CSI4_imgnames.txt").write_text("\n".join(names[:-1]))
    with pytest.raises(DamagedFile, match=r"names 110 trials, sessions have 37, 74: wanted as many, in runs of 37\. Is it the"):
        opened("bold5000", "4")
    second = root / "CSI4_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_ses-02.nii.gz"
    (root / "CSI4_imgnames.txt").write_text("\n".join(names))
    write_mask(root / "sub-CSI4" / "sub-CSI4_mask-LHPPA.nii.gz", ~mask)
    with pytest.raises(DamagedFile, match=r"sub-CSI4_mask-LHPPA\.nii\.gz has no voxel in the brain mask, or shape \(6, 5, 4\)"):
        opened("bold5000", "4")
    write_mask(second, mask)
    with pytest.raises(
        DamagedFile, match=r"ses-02\.nii\.gz has shape \(6, 5, 4\), wanted \(6, 5, 4\) of the brain mask, and tri"
    ):
        opened("bold5000", "4")
    second.rename(root / second.name.replace("02", "03"))
    with pytest.raises(DamagedFile, match=r"holds sessions 1, 3: the list names trials from the first session on, wanted each"):
        opened("bold5000", "4")


@pytest.fixture
def god(tmp_path):
    """A function that writes the matrix of subject 1: four trials of training, four of the test, two of imagery."""
    rng = np.random.default_rng(1)
    places = rng.permutation(np.argwhere(rng.random((4, 3, 3)) < 0.7))
    betas = rng.normal(size=(10, len(places)))
    label = [2766534.015976, 2766534.015976, 15388.000007, 15388.000007, *[4111531.00003] * 6]

    def write(*, places=places * 3.0 - [40, 20, 7], group="metaData", keys=None, dtype=np.float64, **columns):
        fixed = {"DataType": [1] * 4 + [2] * 4 + [3] * 2, "Run": [1, 1, 2, 2, 1, 1, 2, 2, 1, 1], "Label": label} | columns
        n_voxels, n_fixed = len(places), len(fixed)
        rows = {"VoxelData": [np.nan] * n_fixed + [1] * n_voxels}
        for number, name in enumerate(fixed):
            rows[name] = np.where(np.arange(n_fixed + n_voxels) == number, 1, np.nan)
        for axis, values in zip("xyz", places.T, strict=True):
            rows[f"voxel_{axis}"] = [np.nan] * n_fixed + values.tolist()
        for name, step in (("ROI_V1", 2), ("ROI_../x", 1)):
            rows[name] = [np.nan] * n_fixed + np.where(np.arange(n_voxels) % step == 0, 1, np.nan).tolist()
        rows = {key: value for key, value in rows.items() if keys is None or key in keys}
        (tmp_path / "raw").mkdir(exist_ok=True)
        with h5py.File(tmp_path / "raw" / "Subject1.h5", "w") as file:
            matrix = np.column_stack([*fixed.values(), betas]).astype(dtype)
            file["dataSet" if group == "metaData" else "dataset"] = matrix
            file[f"{group}/key"] = np.array(list(rows), dtype="S20")
            file[f"{group}/value"] = np.array(list(rows.values()), float)

    return write, places, betas


@pytest.mark.parametrize("group", ["metaData", "metadata"])
def test_the_matrix_of_god_gives_its_trials_and_planted_betas(god, opened, group):
    write, places, betas = god
    write(group=group)
    subject, run, notes = opened("god", "1")
    wanted = ["n02766534_15976"] * 2 + ["n00015388_7"] * 2 + ["n04111531_30"] * 4
    assert subject.image_names(subject.image_ids) == wanted and subject.trials["run"].tolist() == [1, 1, 2, 2, 3, 3, 4, 4]
    assert subject.is_test.tolist() == [False] * 4 + [True] * 4 and "along the axes" in notes[-1]
    whole = np.zeros((8, *(places.max(axis=0) - places.min(axis=0) + 1)), np.float32)
    whole[:, *(places - places.min(axis=0)).T] = betas[:8]
    np.testing.assert_array_equal(subject.betas(1, subject.brainmask), whole[:, subject.brainmask])
    np.testing.assert_allclose(subject.affine[:3, 3], places.min(axis=0) * 3.0 - [40, 20, 7])
    np.testing.assert_allclose(np.diag(subject.affine), [3, 3, 3, 1])
    assert list(subject.regions) == ["V1"] and subject.regions["V1"].sum() == (len(places) + 1) // 2
    assert assemble(read_trials(subject, roi=run.roi)).sizes["train_image"] == 2


@pytest.mark.parametrize("imagined", [4111531.00003, 4111531.0, 4111531.000099])
def test_what_was_imagined_of_god_is_the_test_picture_of_its_category(god, opened, imagined):
    write, places, betas = god
    write(Label=[2766534.015976, 2766534.015976, 15388.000007, 15388.000007, *[4111531.00003] * 4, *[imagined] * 2])
    subject, _, notes = opened("god", "1", task="imagery")
    assert subject.image_names(subject.image_ids) == ["n02766534_15976"] * 2 + ["n00015388_7"] * 2 + ["n04111531_30"] * 2
    assert subject.trials["run"].tolist() == [1, 1, 2, 2, 3, 3] and "imagined, not a picture" in notes[0]
    whole = np.zeros((6, *(places.max(axis=0) - places.min(axis=0) + 1)), np.float32)
    whole[:, *(places - places.min(axis=0)).T] = betas[[0, 1, 2, 3, 8, 9]]
    np.testing.assert_array_equal(subject.betas(1, subject.brainmask), whole[:, subject.brainmask])


@pytest.mark.parametrize(("test", "n"), [([4111531.00003] * 4, 0), ([77.00001, 77.00001, 77.00002, 77.00002], 2)])
def test_other_tasks_and_categories_of_god_are_refused(god, opened, test, n):
    god[0](Label=[2766534.015976, 2766534.015976, 15388.000007, 15388.000007, *test, *[77.00001] * 2])
    with pytest.raises(ValueError, match="task 'dreams': wanted perception or imagery"):
        opened("god", "1", task="dreams")
    with pytest.raises(DamagedFile, match=f"imagery trials name category 77, wanted one test picture in it, got {n}"):
        opened("god", "1", task="imagery")


def test_voxels_of_god_without_a_grid_are_a_block(god, opened):
    write, places, betas = god
    turned = places @ np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    write(places=turned)
    subject, _, notes = opened("god", "1")
    np.testing.assert_array_equal(subject.betas(1, subject.brainmask), betas[:8].astype(np.float32))
    assert "no regular grid" in notes[-1] and subject.brainmask.sum() == len(places)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"keys": ["VoxelData", "DataType", "Run"]},
            "wanted a column Label or stimulus_id, its columns are VoxelData, DataType, R",
        ),
        ({"DataType": [0] * 10}, r"DataType holds \[0\.0\], wanted 1, 2 and 3: training, test, imagery"),
        ({"Run": [1, 1, 2, 2, 1, 1, 2.5, 2, 1, 1]}, "Run holds 2.5, wanted the whole number of a run for each trial"),
        ({"DataType": [1] * 10}, "wanted training pictures and other test pictures, got 3 and 0, of which 0 are in both"),
        (
            {"DataType": [1] * 3 + [2] * 7},
            "wanted training pictures and other test pictures, got 2 and 2, of which 1 are in both",
        ),
        ({"Label": np.arange(10)}, "Label holds .*0.0.*, wanted numbers of pictures such as 2766534.015976"),
        ({"Label": [2766534.015976, 0.5] + [2766534.015976] * 8}, "Label holds .*0.5.*, wanted numbers of pictures"),
        ({"dtype": np.float32}, "holds float32, wanted float64: a smaller type cannot hold the numbers of pictures"),
        ({"keys": ["VoxelData", "DataType", "Run", "Label", "voxel_x"]}, "wanted voxel_x, voxel_y and voxel_z of each voxel"),
    ],
)
def test_matrices_of_god_that_hold_something_else_are_refused(god, opened, changes, message):
    god[0](**changes)
    with pytest.raises(DamagedFile, match=message):
        opened("god", "1")


def test_a_matrix_of_god_that_is_cut_off_is_refused(god, opened, tmp_path):
    god[0]()
    with h5py.File(tmp_path / "raw" / "Subject1.h5", "a") as file:
        matrix = file["dataSet"][:, 1:]
        del file["dataSet"]
        file["dataSet"] = matrix
    with pytest.raises(DamagedFile, match=r"the description of its columns has shape \(.*\), wanted \(\d+, \d+\)"):
        opened("god", "1")


@pytest.fixture
def cneuromod(tmp_path):
    """CNeuroMod-THINGS's file and events of subject 03: sessions 2 and 10, two runs of four trials; the last has no betas."""
    rng, root = np.random.default_rng(3), tmp_path / "raw"
    mask = rng.random(SHAPE) < 0.5
    shown = {(s, r): rng.choice(["cat/cat_01s.jpg", "dog/dog_02s.jpg", "dog/dog_01s.jpg"], 4) for s in (2, 10) for r in (1, 2)}
    betas = {key: rng.normal(size=(4, mask.sum())).astype(np.float32) for key in list(shown)[:-1]}
    name = "sub-03_task-things_space-T1w_model-fitHrfGLMdenoiseRR_stat-trialBetas_desc-zscore_statseries.h5"
    path = root / "THINGS" / "glmsingle" / "sub-03" / "glmsingle" / "output" / name
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        file["mask_array"], file["mask_affine"] = mask, AFFINE
        for (session, run), values in betas.items():
            file[f"{session}/{run}/betas"] = values
    for (session, run), names in shown.items():
        folder = root / "THINGS" / "fmriprep" / "sourcedata" / "things" / "sub-03" / f"ses-things{session:02d}" / "func"
        folder.mkdir(parents=True, exist_ok=True)
        table = pd.DataFrame({"onset": np.arange(4.0), "duration": 2.98, "image_path": [f"images/{n}" for n in names], "ran": 1})
        table.loc[3, "ran"] = 0
        events = folder / f"sub-03_ses-things{session:02d}_task-things_run-{run:02d}_events.tsv"
        table.to_csv(events, sep="\t", index=False)
    return root / "THINGS", path, mask, shown, betas


def test_the_file_of_cneuromod_gives_its_trials_and_planted_betas(cneuromod, opened):
    _, _, mask, shown, betas = cneuromod
    subject, run, notes = opened("cneuromod", "03")
    assert subject.session_labels == ["002", "010"] and subject.trials["run"].tolist() == [1, 1, 1, 2, 2, 2, 1, 1, 1]
    names = subject.image_names(subject.image_ids)
    assert names == [f"images/{name}" for key in betas for name in shown[key][:3]]
    found, inside = subject.betas(1, subject.brainmask), [betas[2, 1][:3], betas[2, 2][:3]]
    np.testing.assert_array_equal(found, np.vstack(inside))
    assert subject.brainmask.sum() == mask.sum() and run.split == "random" and subject.betas_unit == "z"
    assert notes[-1] == "Without betas, and left out: session 10 run 2." and "transductive" in notes[0]
    assert "stat-noiseCeilings_statmap.nii.gz is not there" in notes[1] and subject.ncsnr() is None
    assert subject.betas_note == f"Betas: CNeuroMod-THINGS's HDF5, subject 03. {' '.join(notes)}"  # what leaks goes with them


@pytest.mark.parametrize("spelled", ["stat", "stats"])
def test_published_ceilings_of_cneuromod_give_the_planted_ratio_under_either_name(cneuromod, opened, spelled):
    path, mask = cneuromod[1], cneuromod[2]
    path = path.rename(path.with_name(path.name.replace("_stat-", f"_{spelled}-")))
    ratio = np.random.default_rng(5).uniform(0.2, 2, SHAPE)
    percent = 100 * ratio**2 / (ratio**2 + 1 / 3)
    name = path.name.partition("-trialBetas")[0] + "-noiseCeilings_statmap.nii.gz"
    for wrong, message in ((2 * percent, "wanted 0 to 100 percent"), (percent[1:], "has another grid of voxels")):
        nibabel.save(nibabel.Nifti1Image(wrong, AFFINE), path.with_name(name))
        with pytest.raises(ValueError, match=message):
            opened("cneuromod", "03")
    x, y, z = np.argwhere(mask)[0]
    percent[x, y, z] = np.nan  # one voxel that has none
    nibabel.save(nibabel.Nifti1Image(np.where(mask, percent, -1e-6).astype(np.float32), AFFINE), path.with_name(name))
    subject, run, notes = opened("cneuromod", "03")
    found = subject.ncsnr(run.betas_version)[subject.brainmask]
    np.testing.assert_allclose(found, [0, *ratio[mask][1:]], rtol=1e-4)
    said = "estimated in all trials; of 1 voxels it has none, taken for 0."
    assert notes[1] == f"Noise ceilings of averages of 3 repeats: {name}, {said}"


def test_ceilings_of_cneuromod_that_were_not_fetched_are_left_out_and_named(cneuromod, opened):
    name = cneuromod[1].name.partition("-trialBetas")[0] + "-noiseCeilings_statmap.nii.gz"
    cneuromod[1].with_name(name).symlink_to("nowhere")
    subject, _, notes = opened("cneuromod", "03")
    assert subject.ncsnr() is None and f"{name} is a link whose target is missing: run `datalad get" in notes[1]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda file: file.move("2", "x"), None, "session 2 run 1, session 2 run 2"),
        (lambda file: [file.move(name, f"x{name}") for name in ("2", "10")], DamagedFile, "holds no run of the events of sub-03"),
        (lambda file: file.move("2/1/betas", "2/1/b"), DamagedFile, "holds no dataset 'betas' of its own"),
        (with_block(np.eye(3), "mask_affine"), DamagedFile, r"affine of shape \(3, 3\), wanted some and \(4, 4\)"),
        (with_block(np.ones((5, 5)), "2/1/betas"), DamagedFile, r"holds \(5, 5\) for session 2, run 1: wanted one row for each"),
    ],
)
def test_files_of_cneuromod_that_are_others_are_refused(cneuromod, opened, change, error, message):
    with h5py.File(cneuromod[1], "a") as file:
        change(file)
    if error is None:
        assert message in opened("cneuromod", "03")[2][-1]
        return
    with pytest.raises(error, match=message):
        opened("cneuromod", "03")


def test_what_datalad_did_not_fetch_and_events_elsewhere_are_named(cneuromod, opened, tmp_path):
    root, path, *_ = cneuromod
    with pytest.raises(
        FileNotFoundError, match=r"none: wanted sub-03/ses-\*/func/\*_events\.tsv of the raw data set: get it, or"
    ):
        opened("cneuromod", "03", events=tmp_path / "none")
    path.unlink()
    path.symlink_to(root / ".git" / "annex" / "objects" / "MD5E-s1--x.h5")
    with pytest.raises(FileNotFoundError, match="a link whose target is missing"):
        opened("cneuromod", "03")


def test_the_command_converts_and_names_what_is_next(things, project, images, tmp_path, capsys):
    assert set(laboratory.LAYOUTS) == set(LAYOUTS)
    words = ["convert", "things", str(tmp_path / "raw"), "--into", str(tmp_path / "made"), "--subject", "01"]
    mask = things[0].parent / "brainmasks" / "sub-01_space-T1w_brainmask.nii.gz"
    assert cli.main([*words, "--images", str(images), "--name", "mine", "-p", f"mask={mask}"]) == 0
    said = capsys.readouterr().out
    assert str(project / "params" / "mine.yaml") in said and "nsdlib doctor mine" in said
    assert cli.main([*words, "--images", str(images), "--name", "mine"]) == 2
    assert "is already there, and is not overwritten" in capsys.readouterr().err
    assert cli.main(["export", "mine", str(tmp_path / "out")]) == 2
    assert "Betas of run 'mine' came with its data, without time series" in capsys.readouterr().err
    assert cli.main([*words, "-p", "layout=god"]) == 2
    assert "-p layout: the command sets it already, to things: leave one of the two out." in capsys.readouterr().err


def test_many_voxels_without_regions_are_chosen_by_repeats(cneuromod, opened, monkeypatch):
    monkeypatch.setattr("nsdlib.data.converted.source.MANY_VOXELS", 10)
    _, run, _ = opened("cneuromod", "03")
    assert (run.roi, run.n_voxels) == ("brainmask", 15_000)
