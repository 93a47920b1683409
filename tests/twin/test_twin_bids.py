"""The simulated subject in BIDS: nilearn reads it, its betas equal those from NSD's files, and off-grid onsets cost nothing."""

import json
import shutil

import nibabel
import numpy as np
import pandas as pd
import pytest

from nsdlib import cli
from nsdlib.core.glm.options import GLMOptions
from nsdlib.data.glm_sessions import fit_sessions
from nsdlib.data.nsd.subject import NSDSubject
from nsdlib.data.subject import open_subject
from nsdlib.params import load_run
from nsdlib.run import costs
from nsdlib.twin import scenes
from nsdlib.twin.layouts.confounds import simulate_confounds
from nsdlib.twin.scenery import wording
from nsdlib.twin.simulate import load_truth, simulate

pytestmark = pytest.mark.usefixtures("drawn_once")
ATTRIBUTES = [f"kind: {kind}" for kind in scenes.KINDS]


def bids_run(folder, *, simulation=(), **bids):
    """The run `bids` with its data in `folder`."""
    run = load_run("bids")
    images = folder / "raw" / "stimuli"
    places = {"derivatives": folder / "fmriprep", "images": images, "captions": images / "captions.tsv"}
    sections = {
        "bids": run.bids.model_copy(update=places | bids),
        "simulation": run.simulation.model_copy(update=dict(simulation)),
    }
    return run.model_copy(update={"data": folder / "raw"} | sections)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The run `bids`, simulated: the subject of `small`, one session, twelve runs."""
    run = bids_run(tmp_path_factory.mktemp("bids"))
    assert simulate(run, progress=False)
    return run


@pytest.fixture(scope="module")
def off_grid(tmp_path_factory):
    """Six runs of the same subject whose onsets lie between volumes."""
    run = bids_run(tmp_path_factory.mktemp("between"), simulation={"onsets": "between", "runs": 6})
    simulate(run, progress=False)
    return run


@pytest.fixture(scope="module")
def subject(run):
    return open_subject(run)


def agreement(run, **options):
    """Correlation over trials of least-squares betas with the planted ones, the median over voxels of nsdgeneral."""
    truth = load_truth(run)
    found = fit_sessions(open_subject(run), 1, roi="brainmask", options=GLMOptions(n_pcs=0, fractions=(1.0,), **options))
    betas = found["betas_b"].sel(roi_voxel=truth.voxel.values).values
    return np.median([np.corrcoef(*pair)[0, 1] for pair in zip(betas.T, truth.betas.values.T, strict=True)])


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning")  # nilearn's advice about filters and reports
@pytest.mark.parametrize("layout", ["run", "off_grid"])
def test_nilearn_finds_the_same_runs_events_and_times(layout, request):
    from nilearn.glm.first_level import first_level_from_bids

    run = request.getfixturevalue(layout)
    models, images, events, confounds = first_level_from_bids(
        run.data, "pictures", space_label="T1w", derivatives_folder="../fmriprep", img_filters=[("desc", "preproc")]
    )
    subject = open_subject(run)
    assert len(models) == 1 and len(images[0]) == len(events[0]) == len(confounds[0]) == subject.n_runs(1) == run.simulation.runs
    start = {"run": 0, "off_grid": 0.5}[layout]
    assert models[0].t_r == pytest.approx(4 / 3) and models[0].slice_time_ref == pytest.approx(start)
    for number, table in enumerate(events[0], start=1):
        shown = table[table.stim_file.notna()]
        trials = subject.trials[subject.trials.run == number]
        assert shown.stim_file.tolist() == subject.image_names(trials.image)
        np.testing.assert_allclose(shown.onset, trials.onset, atol=1e-6)
    places = np.concatenate([table.onset[1:] for table in events[0]]) * 30  # frames of 1/30 s
    np.testing.assert_allclose(places, places.round(), atol=1e-5)
    assert len(np.unique(places.round() % 40)) == {"run": 1, "off_grid": 31}[layout]


def test_nilearn_reads_the_confounds_by_every_strategy(run):
    from nilearn.glm.first_level.design_matrix import create_cosine_drift
    from nilearn.interfaces.fmriprep import load_confounds

    bold = min(run.bids.derivatives.rglob("*_desc-preproc_bold.nii.gz"))
    strategy = ("motion", "high_pass", "wm_csf", "global_signal", "compcor")
    table, kept = load_confounds(str(bold), strategy=strategy, motion="full", wm_csf="full", global_signal="full", n_compcor=5)
    cosines = create_cosine_drift(1 / 128, np.arange(225) * 4 / 3)[:, :-1]
    assert kept is None and len(table) == 225 and table.shape[1] == 24 + 8 + 4 + 5 + cosines.shape[1]
    found = table.filter(like="cosine").to_numpy()
    np.testing.assert_allclose(np.abs(np.corrcoef(found.T, cosines.T)[:4, 4:]), np.eye(4), atol=1e-6)
    scrubbed, kept = load_confounds(str(bold), strategy=("high_pass", "scrub"), scrub=0, std_dvars_threshold=1.2)
    assert len(scrubbed) == 225 and 150 < len(kept) < 225
    text = bold.with_name(bold.name.replace("_space-T1w_desc-preproc_bold.nii.gz", "_desc-confounds_timeseries.tsv")).read_text()
    header, first, second = (line.split("\t") for line in text.splitlines()[:3])
    missing = {name for name, value in zip(header, first, strict=True) if value == "n/a"}
    assert missing == {name for name in header if "derivative1" in name} | {"dvars", "std_dvars", "framewise_displacement"}
    assert "n/a" not in second


def test_confounds_are_those_of_the_volumes(run, subject):
    head = type("Head", (), {"brain": subject.brainmask, "cortex": np.zeros_like(subject.brainmask)})
    series = subject.timeseries(1, 1, subject.brainmask)
    table, about = simulate_confounds(series, head, tr=subject.tr, rng=np.random.default_rng(0))
    np.testing.assert_allclose(table["global_signal"], series.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(table["white_matter"], table["global_signal"])  # this head is nothing else
    np.testing.assert_allclose(table["dvars"][7], np.sqrt(np.mean((series[7] - series[6]) ** 2.0)), rtol=1e-6)
    components = table.filter(like="a_comp_cor").to_numpy()
    np.testing.assert_allclose(components.T @ components, np.eye(6), atol=1e-8)
    explained = [about[f"a_comp_cor_{i:02d}"]["CumulativeVarianceExplained"] for i in range(6)]
    assert np.all(np.diff(explained) > 0) and 0 < explained[0] < explained[-1] < 1


def test_it_is_the_same_brain_as_in_nsds_files(run, subject, twin):
    nsd = NSDSubject(twin.data, twin.subject, 1)
    assert (subject.brainmask == nsd.brainmask).all() and (subject.affine == nsd.affine).all()
    assert subject.image_names(subject.image_ids) == [f"nsd-{image:05d}.png" for image in nsd.image_ids]
    assert (subject.official_test == nsd.is_test).all() and (subject.trials.run == nsd.trials.run).all()
    some = [0, 7, 249]
    ids = np.unique(nsd.image_ids)[some]
    assert (subject.stimuli(some) == nsd.stimuli(ids)).all() and subject.captions(some) == nsd.captions(ids)
    for number in (1, 12):
        np.testing.assert_array_equal(
            subject.timeseries(1, number, subject.brainmask), nsd.timeseries(1, number, nsd.brainmask)[:225]
        )


@pytest.mark.slow
def test_the_glm_gives_the_same_betas_as_from_nsds_files(run, subject, twin):
    options = GLMOptions(fractions=(1.0, 0.5, 0.1))
    found = fit_sessions(subject, 1, roi="brainmask", options=options)
    nsd = fit_sessions(NSDSubject(twin.data, twin.subject, 1), 1, roi="brainmask", options=options)
    for kind in ("betas_b", "betas_c", "betas_d"):
        np.testing.assert_array_equal(found[kind].values, nsd[kind].values)
        assert np.isfinite(found[kind].values).all() and found[kind].values.std() > 0.1


def test_off_the_grid_resampled_betas_are_as_good_as_on_it_and_rounded_ones_are_not(off_grid, tmp_path):
    on_grid = bids_run(tmp_path, simulation={"runs": 6})
    simulate(on_grid, progress=False)
    wanted, resampled = agreement(on_grid), agreement(off_grid)
    rounded = agreement(off_grid.model_copy(update={"bids": off_grid.bids.model_copy(update={"onsets": "round"})}))
    assert wanted > 0.7 and abs(resampled - wanted) < 0.02
    assert rounded < resampled - 0.015


def test_fewer_runs_are_the_first_ones_and_the_truth_follows(off_grid, run):
    subject, truth, whole = open_subject(off_grid), load_truth(off_grid), load_truth(run)
    n_trials = 3 * (63 + 62)
    assert subject.n_trials == truth.sizes["trial"] == n_trials and subject.n_runs(1) == 6
    assert (subject.image_ids == truth.image_id).all() and truth.sizes["image"] == len(np.unique(subject.image_ids))
    np.testing.assert_array_equal(truth.betas, whole.betas[:n_trials])
    names = open_subject(run).image_names(whole.image_id.values[:n_trials])
    assert subject.image_names(truth.image_id.values) == names


@pytest.mark.parametrize("layout", ["run", "off_grid"])
def test_the_truth_of_an_image_is_that_of_its_captions(layout, request):
    run = request.getfixturevalue(layout)
    kinds = load_truth(run).scene.sel(attribute=ATTRIBUTES).values
    captions = open_subject(run).captions(np.arange(len(kinds)))
    for row, texts in zip(kinds, captions, strict=True):
        words = {word for kind in np.array(scenes.KINDS)[row > 0] for word in (kind, wording.PLURALS.get(kind, kind))}
        assert any(word in text for word in words for text in texts)


def test_regions_lie_in_the_brain_and_early_ones_at_the_back(subject):
    assert set(subject.regions) == {"pericalcarine", "cuneus", "lingual", "lateraloccipital", "fusiform"}
    places = {name: np.argwhere(voxels).mean(axis=0) for name, voxels in subject.regions.items()}
    assert places["pericalcarine"][1] < places["lateraloccipital"][1] < places["fusiform"][1]
    assert places["lingual"][2] < places["cuneus"][2]
    assert not (subject.voxels("visual") & ~subject.brainmask).any()


def test_files_say_what_they_are(run):
    described = {
        folder.name: json.loads((folder / "dataset_description.json").read_text()) for folder in (run.data, run.bids.derivatives)
    }
    assert described["raw"]["DatasetType"] == "raw" and described["fmriprep"]["DatasetType"] == "derivative"
    assert described["fmriprep"]["GeneratedBy"][0]["Name"] == "nsdlib"  # and not fMRIPrep, which made none of it
    image = nibabel.load(min(run.bids.derivatives.rglob("*_desc-preproc_bold.nii.gz")))
    assert image.shape == (14, 16, 12, 225) and image.header.get_zooms()[3] == pytest.approx(4 / 3)
    assert image.header.get_xyzt_units() == ("mm", "sec") and not list(run.data.rglob("*.nii.gz"))
    assert "not simulated" in (run.data / "README").read_text()
    captions = pd.read_csv(run.bids.captions, sep="\t")
    assert list(captions) == ["image", "caption"] and set(captions["image"]) == {p.name for p in run.bids.images.glob("*.png")}


def test_simulating_again_does_nothing_and_a_lost_half_is_made_again(run, tmp_path, capsys):
    assert simulate(run) is False and "complete in raw/" in capsys.readouterr().out
    copy = bids_run(tmp_path / "copy")
    shutil.copytree(run.data.parent, tmp_path / "copy")
    before = {p: p.stat().st_mtime_ns for p in copy.bids.derivatives.rglob("*")}
    shutil.rmtree(copy.data)
    assert simulate(copy, progress=False) is True
    assert {p: p.stat().st_mtime_ns for p in copy.bids.derivatives.rglob("*")} == before
    assert sorted(p.name for p in (tmp_path / "copy").iterdir()) == ["fmriprep", "raw"]
    for path in (run.data / "sub-01").rglob("*.*"):
        assert (copy.data / path.relative_to(run.data)).read_bytes() == path.read_bytes()


def test_folders_with_something_else_are_left_alone(run, tmp_path):
    mine = tmp_path / "fmriprep"
    mine.mkdir()
    (mine / "mine.txt").write_text("")
    with pytest.raises(FileExistsError, match=r"fmriprep holds files, but no finished simulated subject.*Nothing was changed"):
        simulate(bids_run(tmp_path), progress=False)
    assert [p.name for p in tmp_path.rglob("*")] == ["fmriprep", "mine.txt"]
    with pytest.raises(FileExistsError, match=r"another simulated subject \(runs=None there, 2 wanted\)"):
        simulate(bids_run(run.data.parent, simulation={"runs": 2}), progress=False)
    with pytest.raises(ValueError, match="holds the simulated subject of another run"):
        load_truth(bids_run(run.data.parent, simulation={"onsets": "between"}))


def test_what_a_layout_cannot_hold_is_refused(run, twin, tmp_path):
    simulation = twin.simulation.model_copy(update={"onsets": "between"})
    with pytest.raises(ValueError, match=r"params/small.yaml: simulation.onsets=between: NSD's files cannot hold this"):
        simulate(twin.model_copy(update={"simulation": simulation, "data": tmp_path / "x"}))
    for changes, words in (
        (
            {"images": tmp_path / "elsewhere"},
            r"bids.images=.*elsewhere: wanted .*raw/stimuli, where the simulated data have them",
        ),
        ({"derivatives": tmp_path / "raw" / "derivatives"}, "bids.derivatives=.*: wanted a folder that neither lies in"),
    ):
        with pytest.raises(ValueError, match=words):
            simulate(bids_run(tmp_path, **changes))
    assert not list(tmp_path.iterdir())


def test_results_of_nsds_layout_do_not_depend_on_what_only_bids_has(twin, off_grid):
    assert {"onsets", "runs"}.isdisjoint(twin.simulation.model_dump()) and {"onsets", "runs"} <= set(
        off_grid.simulation.model_dump()
    )
    assert hash(off_grid) == hash(off_grid.model_copy())  # sizes of runs are kept by run


def test_simulated_data_are_imported_as_such_and_the_doctor_takes_them(off_grid, project, capsys, house_style):
    bids = off_grid.bids
    words = ["import", "bids", str(off_grid.data), "--derivatives", str(bids.derivatives), "--subject", bids.label]
    words += ["--task", bids.task, "--images", str(bids.images), "--name", "mine", "-p", "drop={trial_type: [rest]}"]
    assert cli.main(words) == 0 and cli.main(["doctor", "mine", "--data"]) == 0
    assert load_run("mine").simulation == off_grid.simulation and load_run("mine").text_weight == 0
    assert cli.main(words) == 0 and "Nothing to be done" in capsys.readouterr().out


def test_the_command_writes_it_where_the_file_says_and_the_doctor_counts_it_before(project, capsys):
    planned = costs.amounts(load_run("bids"))
    assert cli.main(["simulate", "bids"]) == 0
    run = load_run("bids")
    assert run.bids.derivatives == project / "data" / "bids_demo" / "fmriprep" and (run.bids.images / "captions.tsv").is_file()
    sizes = costs.amounts(run)
    assert (sizes.n_train, sizes.n_test, sizes.volume) == (planned.n_train, planned.n_test, planned.volume) == (225, 20, 2688)
    assert planned.n_brain == pytest.approx(sizes.n_brain, rel=0.6) and planned.n_session_trials == sizes.n_session_trials == 750
