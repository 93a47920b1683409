"""NSD core with its extensions, written here in NSD's layout: training set, test set, and order of betas."""

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.io import savemat

from nsdlib.data.converted.convert import convert
from nsdlib.data.converted.nsd import RUNS, open_imagery, open_synthetic
from nsdlib.data.converted.order import agreement, find_order
from nsdlib.data.formats.guards import DamagedFile
from nsdlib.data.nsd import layout as nsd_layout
from nsdlib.data.subject import open_subject
from nsdlib.params import load_run
from nsdlib.study.betas import assemble, read_trials

SHAPE, VERSION = (6, 5, 4), nsd_layout.BETA_VERSIONS[2]
TARGETS = {
    "A": {cue: f"bar_{number:03d}.0deg.png" for number, cue in enumerate("HRVLPE")},
    "B": {
        cue: f"shared{k:04d}_nsd{id_:05d}.png"
        for k, (cue, id_) in enumerate(zip("WKBCDT", [2960, 3100, 9, 11, 12, 0], strict=True))
    },
    "C": {cue: f"word{number}" for number, cue in enumerate("SZMYNF")},
}


def write_nifti(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1.8, 1.8, 1.8, 1])), path)


def save_mat(path, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, arrays)


@pytest.fixture
def nsd(tmp_path, monkeypatch):
    """The core of subject 3, one session of small pictures: its folder, the region, and the betas, (750, *SHAPE) int16."""
    monkeypatch.setattr(nsd_layout, "IMAGE_SIZE", 8)
    rng, paths = np.random.default_rng(0), nsd_layout.Layout(tmp_path / "nsd", 3)
    shared = np.arange(2951, 3951)
    own = np.setdiff1d(np.arange(1, 73001), shared).reshape(8, 9000)
    save_mat(
        paths.expdesign, masterordering=np.tile(np.arange(1, 10001), 3)[None].astype(np.uint16), sharedix=shared[None],
        subjectim=np.concatenate([np.tile(shared, (8, 1)), own], axis=1), stimpattern=np.ones((40, 12, 75), np.uint8),
    )  # fmt: skip
    paths.stimuli.parent.mkdir(parents=True)
    with h5py.File(paths.stimuli, "w") as file:
        brick = file.create_dataset("imgBrick", (73000, 8, 8, 3), np.uint8)
        brick[2950:3950] = (np.arange(1000) % 200 + 1)[:, None, None, None]
    brain = np.ones(SHAPE, np.int16)
    brain[0] = 0
    write_nifti(paths.volume("brainmask"), brain)
    for name in nsd_layout.USED_ROIS:
        write_nifti(paths.roi(name), np.where(brain, rng.integers(0, 2, SHAPE), -1).astype(np.float32))
    betas = rng.integers(-3000, 3000, (*SHAPE, 750), dtype=np.int16)
    write_nifti(paths.betas(VERSION, 1, "nii.gz"), betas)
    region = np.asarray(nibabel.load(paths.roi("nsdgeneral")).dataobj) > 0
    return paths.root, region, np.moveaxis(betas, -1, 0)


def extension(root, name, betas, *, ending="hdf5", version=VERSION):
    """Write the betas of an extension, (n_trials, *SHAPE) int16."""
    folder = root / f"nsddata_betas/ppdata/subj03/func1pt8mm/{name}{version}"
    folder.mkdir(parents=True, exist_ok=True)
    if ending == "hdf5":
        with h5py.File(folder / f"betas_{name}.hdf5", "w") as file:
            file["betas"] = betas.transpose(0, 3, 2, 1)
    else:
        write_nifti(folder / f"betas_{name}.nii.gz", np.moveaxis(betas, 0, -1))
    return folder / f"betas_{name}.{ending}"


@pytest.fixture
def synthetic(nsd):
    """nsdsynthetic of subject 3: the picture of each trial, from 1, and the betas."""
    rng, root = np.random.default_rng(1), nsd[0]
    order = rng.integers(1, 285, 744)
    order[order == np.roll(order, 1)] = 7
    order[[50, 93, 400]] = order[[49, 92, 399]]  # 93 begins a run
    pattern = np.zeros((1, 8, 107), np.uint8)
    pattern[..., :93] = 1
    path = root / "nsddata/experiments/nsdsynthetic/nsdsynthetic_expdesign.mat"
    save_mat(path, masterordering=order[None].astype(np.uint16), stimpattern=pattern)
    folder = root / "nsddata_stimuli/stimuli/nsdsynthetic"
    folder.mkdir()
    for name, n_images in (("stimuli", 220), ("colorstimuli_subj03", 64)):
        with h5py.File(folder / f"nsdsynthetic_{name}.hdf5", "w") as file:
            file["imgBrick"] = np.full((n_images, 6, 10, 3), 64, np.uint8)
    betas = rng.integers(-3000, 3000, (744, *SHAPE), dtype=np.int16)
    extension(root, "nsdsynthetic", betas)
    return order, betas


def opened(layout, root, tmp_path, **settings):
    """Convert, and open as the parameter file says."""
    _, notes = convert(layout, root, tmp_path / "made", label="3", run="mine", n_sessions=1, **settings)
    run = load_run("mine")
    return open_subject(run), run, notes


def test_the_core_is_trained_and_synthetic_pictures_are_tested(nsd, synthetic, tmp_path, project):
    (root, region, core), (order, betas) = nsd, synthetic
    subject, run, notes = opened("nsdsynthetic", root, tmp_path)
    assert (subject.n_sessions, subject.session_labels, run.roi, run.split) == (
        2,
        ["01", "nsdsynthetic"],
        "brainmask",
        "official",
    )
    kept = np.delete(np.arange(744), [50, 400])
    names = np.array(subject.image_names(subject.image_ids))
    assert names[:750].tolist() == [f"nsd{number:05d}" for number in range(2951, 3701)]
    assert names[750:].tolist() == [f"synthetic{number:03d}" for number in order[kept]]
    assert subject.is_test.tolist() == [False] * 750 + [True] * 742
    assert subject.trials["run"].tolist()[750:] == np.repeat(np.arange(1, 9), 93)[kept].tolist()
    np.testing.assert_allclose(subject.betas(1, subject.brainmask), core[:, region] / 300, rtol=1e-6)
    np.testing.assert_allclose(subject.betas(2, subject.brainmask), betas[kept][:, region] / 300, rtol=1e-6)
    assert subject.brainmask.sum() == region.sum() and list(subject.regions)[:2] == ["V1", "bodies"]
    assert subject.betas_unit == "percent signal change" and notes[1].startswith("2 trials of the one-back task")
    pictures = subject.stimuli(subject.image_ids[[0, 5, 750]])
    assert pictures[:, 0, 0, 0].tolist() == [1, 6, 128]  # of luminance 64 of 255
    assert assemble(read_trials(subject, roi=run.roi)).sizes["train_image"] == 750


@pytest.mark.parametrize("ending", ["hdf5", "nii.gz"])
def test_extensions_are_read_from_either_form_and_refused_in_others(nsd, synthetic, ending):
    (root, region, _), (_, betas) = nsd, synthetic
    extension(root, "nsdsynthetic", betas, version="betas_fithrf", ending=ending)
    source = open_synthetic(root, "subj03", n_sessions=1, version="betas_fithrf")
    np.testing.assert_allclose(source.read(1), betas[:, region] / 300, rtol=1e-6)
    extension(root, "nsdsynthetic", betas.astype(np.float32), version="betas_fithrf", ending=ending)
    with pytest.raises(DamagedFile, match="holds float32"):
        open_synthetic(root, "3", n_sessions=1, version="betas_fithrf")
    extension(root, "nsdsynthetic", betas[1:], version="betas_fithrf", ending=ending)
    with pytest.raises(DamagedFile, match=r"has shape \(.*743.*\), wanted \(.*744.*\)"):
        open_synthetic(root, "3", n_sessions=1, version="betas_fithrf")


def test_other_subjects_versions_and_files_that_are_not_there_are_refused(nsd, synthetic):
    root = nsd[0]
    for arguments, message in (
        ({"label": "9"}, "subject '9': NSD has subjects 1 to 8"),
        ({"version": "betas_assumehrf"}, "nsdsynthetic has betas_fithrf and betas_fithrf_GLMdenoise_RR"),
    ):
        with pytest.raises(ValueError, match=message):
            open_synthetic(root, **{"label": "3", "n_sessions": 1} | arguments)
    with pytest.raises(
        FileNotFoundError, match=r"Missing .*betas_fithrf/betas_nsdsynthetic\.hdf5 in .*: get it from NSD's bucket"
    ):
        open_synthetic(root, "3", n_sessions=1, version="betas_fithrf")
    with pytest.raises(FileNotFoundError, match=r"Missing nsddata/experiments/nsdimagery/designmatrixGLMsingle\.mat|betas_nsdim"):
        open_imagery(root, "3", n_sessions=1)
    with pytest.raises(ValueError, match="task 'attention': wanted imagery or vision; trials of attention have two betas"):
        open_imagery(root, "3", task="attention")


def test_designs_and_pictures_of_synthetic_that_are_others_are_refused(nsd, synthetic, tmp_path, project):
    root, (order, _) = nsd[0], synthetic
    design = root / "nsddata/experiments/nsdsynthetic/nsdsynthetic_expdesign.mat"
    brick = root / "nsddata_stimuli/stimuli/nsdsynthetic/nsdsynthetic_colorstimuli_subj03.hdf5"
    with h5py.File(brick, "a") as file:
        del file["imgBrick"]
        file["imgBrick"] = np.ones((63, 6, 10, 3), np.uint8)
    with pytest.raises(DamagedFile, match=r"holds uint8 of shape \(63, 6, 10, 3\), wanted uint8, \(64, height, width, 3\)"):
        opened("nsdsynthetic", root, tmp_path)
    assert not (tmp_path / "made").exists()
    pattern = np.zeros((1, 8, 107), np.uint8)
    pattern[..., :93] = 1
    save_mat(design, masterordering=order[None] + 1, stimpattern=pattern)
    with pytest.raises(DamagedFile, match=r"names pictures \d to 285, wanted 1 to 284"):
        open_synthetic(root, "3", n_sessions=1)
    save_mat(design, masterordering=order[None], stimpattern=np.ones((1, 8, 107), np.uint8))
    with pytest.raises(DamagedFile, match=r"has 744 trials, \[107, 107.* in its runs, wanted 744 in 8 runs"):
        open_synthetic(root, "3", n_sessions=1)


@pytest.fixture
def imagery(nsd):
    """A function that writes nsdimagery of subject 3 with betas in some order: what was seen or imagined, and all betas."""
    rng, (root, *_) = np.random.default_rng(2), nsd
    home, bdata = root / "nsddata/experiments/nsdimagery", root / "nsddata/bdata/nsdimagery"
    bdata.mkdir(parents=True)
    patterns = {(letter, cue): rng.normal(0, 600, SHAPE) for letter, cues in TARGETS.items() for cue in cues}
    cells, shown = np.empty((1, 12), dtype=object), {}
    for number, (run, n_betas) in enumerate(RUNS.items()):
        cues = rng.permutation(np.repeat(list(TARGETS[run[3]]), 8))
        columns = np.array([list(TARGETS[run[3]])[::-1].index(cue) for cue in cues])  # in another order than the letters
        columns = np.repeat(columns, n_betas // 48) + np.tile(np.arange(n_betas // 48) * 6, 48)
        cells[0, number] = np.zeros((5 * n_betas, 36))
        cells[0, number][np.arange(n_betas) * 5, columns] = 1
        other = np.where(rng.random(48) < 0.5, cues, np.roll(cues, 1))  # the cue is often another than what is seen
        seen, cue = (cues, other) if run.startswith("vis") else (other, cues)
        table = pd.DataFrame({"RUN": number + 1, "TRIAL": np.arange(1, 49), "CONDITION": seen, "CUE": cue})
        table.sample(frac=1, random_state=0).to_csv(bdata / f"nsdimagery_subj03_{run}.tsv", sep="\t", index=False)
        shown[run] = cues, columns
    save_mat(home / "designmatrixGLMsingle.mat", stimulus=cells)
    for letter, pairs in TARGETS.items():
        rows = np.array([[number + 1, name, cue] for number, (cue, name) in enumerate(pairs.items())], dtype=object)
        save_mat(home / f"{letter}_pair_list.mat", pair_list=rows)
        for number, name in enumerate(pairs.values() if letter != "C" else ()):
            path = home / "rawtargetimages" / f"set{letter}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (9, 9), 10 * number + 1).save(path)

    def write(order="time", noise=300, size=1.0):
        betas = []
        for run, (cues, columns) in shown.items():
            values = np.stack([size * patterns[run[3], cue] for cue in cues]).repeat(len(columns) // 48, axis=0)
            values = values + rng.normal(0, noise, values.shape) + np.linspace(0, 500, len(values))[:, None, None, None]
            betas.append(values[np.argsort(columns, kind="stable")] if order == "condition" else values)
        extension(root, "nsdimagery", np.concatenate(betas).astype(np.int16))
        return shown, patterns

    return write


@pytest.mark.parametrize("order", ["time", "condition"])
@pytest.mark.parametrize("task", ["imagery", "vision"])
def test_targets_are_tested_whatever_the_order_of_betas(nsd, imagery, tmp_path, project, order, task):
    (root, region, _), (shown, patterns) = nsd, imagery(order, noise=1)
    subject, _, notes = opened("nsdimagery", root, tmp_path, task=task)
    assert f"Betas of a run lie in order of {order}" in notes[1] and "5 targets are images of the core" in notes[2]
    wanted = [
        (run, cue) for run, (cues, _) in shown.items() for cue in cues if run[:3] == {"imagery": "img", "vision": "vis"}[task]
    ]
    wanted = [(run, cue) for run, cue in wanted if run[3] != "C"]
    names = subject.image_names(subject.image_ids[subject.session == 2])
    assert names == [f"imagery{run[3]}{cue}" for run, cue in wanted] and len(names) == {"imagery": 192, "vision": 96}[task]
    planted = np.stack([patterns[run[3], cue][region] for run, cue in wanted])
    found = 300 * subject.betas(2, subject.brainmask)
    centred = [values - values.mean(axis=1, keepdims=True) for values in (found, planted)]
    assert np.abs(centred[0] - centred[1]).max() < 10  # all but the drift
    assert set(subject.image_names(subject.image_ids[~subject.is_test])).isdisjoint({"nsd02960", "nsd03100"})
    assert subject.n_trials == 748 + len(names) and subject.is_test.sum() == len(names)
    ids = [names.index("imageryBD"), names.index("imageryAH")]
    assert subject.stimuli(subject.image_ids[subject.session == 2][ids])[:, 0, 0, 0].tolist() == [41, 1]


def test_betas_in_which_nothing_repeats_are_refused(nsd, imagery):
    imagery(size=0.0)
    with pytest.raises(ValueError, match=r"The order of betas in a run is unknown\. .* by order: time .* wanted more"):
        open_imagery(nsd[0], "3", n_sessions=1)


def test_agreement_is_that_of_a_plain_correlation():
    rng = np.random.default_rng(3)
    betas, names = rng.normal(size=(6, 40)), np.array(list("aabbcc"))
    halves = [betas[k::2] - betas[k::2].mean(axis=0) for k in range(2)]
    matrix = np.corrcoef(*halves)[:3, 3:]
    assert agreement(betas, names) == pytest.approx(np.diag(matrix).mean() - matrix[~np.eye(3, dtype=bool)].mean())
    assert agreement(np.zeros((6, 4)), names) == 0


def test_slow_drift_is_not_taken_for_an_order_by_condition():
    rng = np.random.default_rng(4)
    design = rng.permutation(np.repeat(np.arange(6), 8))
    patterns, drift = rng.normal(size=(6, 200)), np.cumsum(rng.normal(size=(48, 200)), axis=0)
    order, _ = find_order([(patterns[design] + 0.3 * drift, design.astype(str), design)] * 3)
    np.testing.assert_array_equal(order(design), np.arange(48))
    with pytest.raises(ValueError, match="The order of betas in a run is unknown"):
        find_order([(0.5 * patterns[design] + 0.5 * drift, design.astype(str), design)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table[1:], "TRIAL must count from 1 to 48, it holds 47 rows"),
        (lambda table: table.assign(CONDITION="Q"), "CONDITION holds Q, wanted letters of the targets, H, R, V, L, P, E"),
        (
            lambda table: table.assign(CONDITION=np.roll(table.sort_values("TRIAL")["CONDITION"], 1)),
            "CONDITION is in another order than the run's design: the columns have another meaning",
        ),
        (lambda table: table.drop(columns="CONDITION"), "wanted a column 'CONDITION'"),
    ],
)
def test_behaviour_that_does_not_fit_the_design_is_refused(nsd, imagery, change, message):
    imagery()
    path = nsd[0] / "nsddata/bdata/nsdimagery/nsdimagery_subj03_visA.tsv"
    change(pd.read_csv(path, sep="\t").sort_values("TRIAL")).to_csv(path, sep="\t", index=False)
    with pytest.raises(ValueError, match=message):
        open_imagery(nsd[0], "3", n_sessions=1)


def test_designs_and_targets_of_imagery_that_are_others_are_refused(nsd, imagery):
    imagery()
    home = nsd[0] / "nsddata/experiments/nsdimagery"
    whole = (home / "A_pair_list.mat").read_bytes()
    save_mat(home / "A_pair_list.mat", pair_list=np.array([[1, "../../x.png", "H"]], dtype=object))
    with pytest.raises(
        DamagedFile, match=r"must pair 6 files with a letter each, but it holds \[\['1', '\.\./\.\./x\.png', 'H'\]\]"
    ):
        open_imagery(nsd[0], "3", n_sessions=1)
    (home / "A_pair_list.mat").write_bytes(whole)
    cells = np.empty((1, 2), dtype=object)
    cells[:] = [[np.eye(6), np.eye(36)]]
    save_mat(home / "designmatrixGLMsingle.mat", stimulus=cells)
    with pytest.raises(DamagedFile, match=r"has runs of \[6, 36\] trials, wanted \[48, 96, 48"):
        open_imagery(nsd[0], "3", n_sessions=1)
