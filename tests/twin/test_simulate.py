"""The simulated subject against NSD's own rules (assertions A.14 of its format) and against the planted truth."""

import ast
import json
from dataclasses import replace

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
from scipy.io import loadmat

from nsdlib.core.scores import reliability
from nsdlib.data.nsd import layout as nsd_layout
from nsdlib.data.nsd.subject import NSDSubject
from nsdlib.params import load_run
from nsdlib.twin import anatomy, bold, brain, marker, meaning, scenes, simulate, trials
from nsdlib.twin.levels import EASY, LEVELS

VERSION = "betas_fithrf_GLMdenoise_RR"
EASY_LINEAR = replace(EASY, saturation=0.0)


@pytest.fixture(scope="module")
def subject(twin):
    return NSDSubject(twin.data, twin.subject, twin.n_sessions)


@pytest.fixture(scope="module")
def truth(twin):
    return simulate.load_truth(twin)


def test_expdesign_has_the_shapes_and_traps_of_the_real_one(subject):
    raw = loadmat(subject.paths.expdesign)
    assert raw["masterordering"].shape == (1, 30000)
    assert raw["masterordering"].dtype == np.uint16
    assert (raw["masterordering"].min(), raw["masterordering"].max()) == (1, 10000)
    assert raw["subjectim"].shape == (8, 10000)
    assert raw["subjectim"].min() >= 1 and raw["subjectim"].max() <= 73000
    assert (raw["subjectim"][:, :1000] == raw["sharedix"]).all()
    assert raw["sharedix"][0, 0] == 2951
    assert len(np.unique(raw["subjectim"])) == 73000
    assert raw["stimpattern"].shape == (40, 12, 75)


@pytest.mark.parametrize("n_sessions", [1, 4, 40])
def test_first_sessions_show_every_image_three_times(n_sessions):
    design = trials.make_expdesign(n_sessions, np.random.default_rng(0))
    order = design["masterordering"]
    assert (np.bincount(order)[1:] == 3).all()
    images, counts = np.unique(order[: n_sessions * 750], return_counts=True)
    assert len(images) == 250 * n_sessions
    assert (counts == 3).all()
    assert (images <= 1000).sum() == 25 * n_sessions
    assert (order[1:] != order[:-1]).all()
    for session in order[: n_sessions * 750].reshape(n_sessions, 750):
        assert (np.unique(session, return_counts=True)[1] > 1).sum() > 60  # repeats to cross-validate on
    assert (design["stimpattern"].sum(axis=2) == [63, 62] * 6).all()


def test_showings_of_an_image_lie_near_each_other_as_often_as_in_nsd():
    """Two showings near one point: .6 ** 2 of the pairs, mostly within half a session; the others anywhere on 20 sessions."""
    order = trials.make_expdesign(20, np.random.default_rng(1))["masterordering"][: 20 * 750]
    place = np.argsort(order, kind="stable").reshape(-1, 3) / 750  # in sessions
    apart = np.abs(place[:, [1, 2, 2]] - place[:, [0, 0, 1]])
    near = np.minimum(apart, 20 - apart) < 0.68  # two sd of the difference of two showings
    assert near.mean() == pytest.approx(0.36 * 0.954 + 0.64 * 0.068, abs=0.02)


def test_table_of_images_agrees_with_the_design(subject):
    table = pd.read_csv(subject.paths.stim_info, index_col=0)
    assert (table["nsdId"] == np.arange(73000)).all()
    assert table["shared1000"].sum() == 1000
    assert set(table["nsdId"][table["shared1000"]]) == set(subject.expdesign["sharedix"] - 1)
    assert ast.literal_eval(table["cropBox"][0]) == (0, 0, 0.125, 0.125)
    for repeat in range(3):
        shown = table[table[f"subject1_rep{repeat}"].between(1, 750)]
        assert (subject.image_ids[shown[f"subject1_rep{repeat}"] - 1] == shown["nsdId"]).all()


def test_behaviour_agrees_with_the_design(subject):
    table = subject.responses()
    assert table.shape == (750, 19)
    assert (table["73KID"] == subject.image_ids + 1).all()
    assert (table["10KID"] == subject.expdesign["masterordering"][:750]).all()
    assert table["ISOLD"].sum() == 500
    old = table["ISOLD"] == 1  # of 213,000 answers of NSD's subject 1, .756 and .253 said old
    assert 0.65 < table["ISCORRECT"][old].mean() < 0.95 and 0.1 < 1 - table["ISCORRECT"][~old].mean() < 0.3
    assert (table["ISCORRECT"].isna() == table["RT"].isna()).all()
    assert (table["MEMORYRECENT"].isna() == (table["ISOLD"] == 0)).all()


def test_files_of_betas_are_two_forms_of_the_same(subject):
    image = nibabel.load(subject.paths.betas(VERSION, 1, "nii.gz"))
    assert image.get_data_dtype() == np.int16
    assert image.shape == (*subject.brainmask.shape, 750)
    assert np.isnan(image.header["scl_slope"]) and image.header["sform_code"] == 1 and image.header["qform_code"] == 0
    with h5py.File(subject.paths.betas(VERSION, 1, "hdf5")) as file:
        assert file["betas"].chunks == (750, 1, 1, 1)
        np.testing.assert_array_equal(file["betas"][:].transpose(3, 2, 1, 0), np.asanyarray(image.dataobj))
    assert not np.asanyarray(image.dataobj)[~subject.brainmask].any()


def test_images_and_captions_have_full_shape_and_little_size(subject):
    with h5py.File(subject.paths.stimuli) as file:
        assert file["imgBrick"].shape == (73000, 425, 425, 3)
    assert subject.paths.stimuli.stat().st_size < 32e6
    assert subject.paths.captions.stat().st_blocks * 512 < 30e6  # a sparse file
    texts = subject.captions(np.unique(subject.image_ids))
    assert all(len(five) == 5 for five in texts)


def test_regions_follow_nsd(subject):
    for name in nsd_layout.USED_ROIS:
        labels = subject.roi(name)
        assert (labels[~subject.brainmask] == -1).all()
        assert set(np.unique(labels)) <= {-1, 0, *range(1, len(nsd_layout.ROI_LABELS[name]) + 1)}
        rows = [line.split()[:2] for line in subject.paths.roi_names(name).read_text().splitlines()]
        assert rows == [["0", "Unknown"], *([str(i), n] for i, n in enumerate(nsd_layout.ROI_LABELS[name], 1))]
    general = subject.roi("nsdgeneral") > 0
    assert set(np.unique(subject.roi("prf-visualrois")[general])) == set(range(8))
    assert general.sum() == round(0.36 * subject.brainmask.sum())


def test_all_preferred_attributes_exist():
    assert {a for preferred in brain.PREFERRED.values() for a in preferred} <= set(scenes.ATTRIBUTES)


def test_runs_hold_the_planted_responses(subject, truth):
    """Least squares with the planted HRF, written here, on the series of one run finds the planted betas."""
    mask = subject.roi("nsdgeneral") > 0
    np.testing.assert_array_equal(np.flatnonzero(mask), truth["voxel"])
    from nsdlib.core.glm import hrf

    library = hrf.sampled_library(4 / 3, 3.0)
    series, rows = subject.timeseries(1, 1, mask), subject.design(1, 1)
    assert series.shape == (226, mask.sum())
    assert (rows[rows > 0] == subject.image_ids[:63] + 1).all()
    onsets = np.eye(226)[:, np.flatnonzero(rows)]
    trend = np.vander(np.linspace(-1, 1, 226), 4)
    found = np.empty((63, mask.sum()))
    for voxel, index in enumerate(truth["hrf_index"].values):
        response = np.stack([np.convolve(column, library[index])[:226] for column in onsets.T], axis=1)
        fit = np.linalg.lstsq(np.concatenate([response, trend], axis=1), series[:, voxel], rcond=None)[0]
        found[:, voxel] = 100 * fit[:63] / series[:, voxel].mean()
    planted = truth["betas"].values[:63]
    assert np.corrcoef(found.ravel(), planted.ravel())[0, 1] > 0.6
    assert found.mean() == pytest.approx(planted.mean(), rel=0.2)
    # ... and not with onsets one volume late
    late = np.stack([np.convolve(np.roll(column, 1), library[0])[:226] for column in onsets.T], axis=1)
    fit = np.linalg.lstsq(np.concatenate([late, trend], axis=1), series, rcond=None)[0][:63]
    assert np.corrcoef(fit.ravel(), planted.ravel())[0, 1] < np.corrcoef(found.ravel(), planted.ravel())[0, 1]


def test_betas_and_noise_ceiling_are_near_the_planted(subject, truth):
    mask = subject.roi("nsdgeneral") > 0
    noise = subject.betas(1, mask) - truth["betas"].values
    assert abs(np.median(noise)) < 0.02
    ratio, planted = subject.ncsnr()[mask], truth["snr"].values
    assert np.corrcoef(ratio, planted)[0, 1] > 0.9
    assert np.median(ratio) == pytest.approx(np.median(planted), rel=0.1)
    evoked = truth["gain"] * truth["response"].sel(image=truth["image_id"])
    alike = reliability.correlate(truth["betas"].values, evoked.values)[planted > 0.3]
    assert np.median(alike) > 0.8  # the rest is what trials add


@pytest.mark.parametrize("kind", LEVELS)
def test_signal_to_noise_is_drawn_as_its_region_has_it(kind):
    head, levels = anatomy.make_anatomy((40, 44, 36), np.random.default_rng(0)), LEVELS[kind]
    ratio = bold.draw_ncsnr(head, 1.0, replace(levels, dead=0.0), np.random.default_rng(1))
    area, region = head.areas()
    assert set(region[area != "other"]) == {"V1", "V2", "V3", "hV4"} and len(np.unique(region)) > 10
    for name in ("V1", "V2", "EBA", "PPA"):
        mean, sd = levels.ncsnr[name]
        assert ratio[region == name].mean() == pytest.approx(mean, rel=0.05)
        assert ratio[region == name].std() == pytest.approx(sd, rel=0.1)
    dead = bold.draw_ncsnr(head, 0.5, replace(levels, dead=0.01), np.random.default_rng(1)) == 0
    assert dead.mean() == pytest.approx(0.04, abs=0.005)
    np.testing.assert_allclose(bold.draw_ncsnr(head, 0.5, replace(levels, dead=0), np.random.default_rng(1)), ratio / 2)


@pytest.mark.parametrize("kind", LEVELS)
def test_noise_has_the_parts_that_were_asked_for(kind):
    """Sd 1; correlated between neighbours and from row to row by the sum of its parts, computed here."""
    levels, rng = LEVELS[kind], np.random.default_rng(3)
    head = anatomy.make_anatomy((14, 16, 12), rng)
    total_sd = rng.uniform(1, 2, head.general.sum())
    onsets = np.arange(9, 210, 3)
    noise = bold.make_noise(total_sd, 0.5 * total_sd**2, head=head, levels=levels, onsets=onsets, rng=rng)
    general = head.general[head.brain]
    usual = noise.beta_sd < 5 * np.median(noise.beta_sd)
    np.testing.assert_allclose(noise.beta_sd[general & usual], np.sqrt(0.5) * total_sd[usual[general]])
    drawn = noise.draw(4000, levels.shares, levels.autocorrelation, rng)
    np.testing.assert_allclose(drawn.std(axis=0), 1, atol=0.15)
    again = np.mean(drawn[1:] * drawn[:-1])
    assert again == pytest.approx(np.dot(levels.shares, levels.autocorrelation), abs=0.03)
    neighbour = np.flatnonzero(np.diff(np.flatnonzero(head.brain)) == 1)  # along the last axis
    alike = np.mean(drawn[:, neighbour] * drawn[:, neighbour + 1])
    width = bold.LOCAL / bold.FWHM
    local = levels.shares[1] * np.exp(-1 / (4 * width**2)) + levels.shares[3]
    broad = np.mean(np.sum(noise.loadings[:, neighbour] * noise.loadings[:, neighbour + 1], axis=0))
    assert alike == pytest.approx(local + levels.shares[2] * broad, abs=0.03)
    assert noise.beta_shares.sum() == pytest.approx(1)


def test_resampling_colours_white_noise_as_nsds_preparation_does():
    """Autocorrelation of white noise every 1.6 s, as a cubic spline takes it to 4/3 s: .28 and -.15."""
    matrix = bold.resampling(1.6)
    resampled = matrix @ np.random.default_rng(0).standard_normal((matrix.shape[1], 4000))
    lags = [np.mean(resampled[lag:] * resampled[: len(resampled) - lag]) / resampled.var() for lag in (1, 2)]
    assert lags == pytest.approx([0.28, -0.15], abs=0.02)
    np.testing.assert_allclose(bold.resampling(4 / 3), np.eye(226), atol=1e-12)


def test_responses_bend_repeat_and_vary_as_asked():
    drive, area = np.linspace(-3, 3, 601, dtype=np.float32)[:, None], np.array(["V1"])
    rng = np.random.default_rng
    straight = brain.respond(drive, area=area, levels=EASY_LINEAR, rng=rng(4))
    bent = brain.respond(drive, area=area, levels=replace(EASY_LINEAR, saturation=1.5), rng=rng(4))
    np.testing.assert_allclose(np.diff(straight[:, 0]), np.diff(straight[:, 0]).mean(), rtol=1e-2)
    assert np.diff(bent[:, 0])[0] < 0.2 * np.diff(bent[:, 0]).max()
    assert bent.std() == pytest.approx(straight.std(), rel=1e-4)
    gain = brain.draw_gain(100_000, 0.3, rng(5), ar=0.3)
    assert gain.mean() == pytest.approx(1, abs=0.01)
    assert np.log(gain).std() == pytest.approx(0.3, abs=0.01)
    assert np.corrcoef(np.log(gain[1:]), np.log(gain[:-1]))[0, 1] == pytest.approx(0.3, abs=0.02)
    assert (brain.draw_gain(10, 0, rng(6)) == 1).all()
    ids = np.array([5, 5, 7, *np.arange(100, 847), 7, 5])  # a session, and two trials of the next
    factor = brain.repetition(ids, np.array(["V1", "other"]), LEVELS["nsd_like"])
    np.testing.assert_allclose(factor[[0, 1, 2, 750, 751]], [[1, 1], [0.985, 0.91], [1, 1], [0.99, 0.94], [0.98, 0.92]])


def test_noise_of_trials_lies_along_the_signal():
    """Within the space of the signal's leading axes, where white noise would have a tenth of its variance."""
    rng = np.random.default_rng(0)
    response = rng.standard_normal((150, 10)) @ rng.standard_normal((10, 200)) + 0.1 * rng.standard_normal((150, 200))
    noise = brain.aligned_noise(response.astype(np.float32), 5000, rng)
    np.testing.assert_allclose(noise.std(axis=0), 1, atol=0.05)
    axes = np.linalg.svd((response - response.mean(0)) / response.std(0))[2][:20]
    assert np.square(noise @ axes.T).sum() / np.square(noise).sum() > 0.95


def test_sessions_shift_voxels_slowly():
    gain, offset = brain.session_effects(40, 4000, LEVELS["nsd_like"], np.random.default_rng(0))
    assert offset.std() == pytest.approx(0.25, rel=0.02)
    assert np.log(gain).std(axis=1).mean() == pytest.approx(0.12, rel=0.02)
    nearby, distant = (np.corrcoef(offset[20], offset[20 + lag])[0, 1] for lag in (1, 15))
    assert nearby == pytest.approx(0.45, abs=0.05) and distant == pytest.approx(0.5 * 0.9**15, abs=0.05)
    none = brain.session_effects(3, 5, EASY_LINEAR, np.random.default_rng(0))
    assert (none[0] == 1).all() and (none[1] == 0).all()


def test_graded_meaning_has_no_cliff_and_sees_families():
    rng = np.random.default_rng(2)
    shown = [scenes.sample_scene(rng) for _ in range(400)]
    graded = meaning.embed(shown, 64)
    np.testing.assert_allclose(graded.var(axis=0), 1 / np.arange(1, 65), rtol=1e-3)
    kinds = np.array([scene.things[0].kind for scene in shown])
    centres = {kind: graded[kinds == kind].mean(axis=0) for kind in scenes.KINDS}

    def near(kinds):
        return np.mean([np.linalg.norm(centres[a] - centres[b]) for a in kinds for b in kinds if a != b])

    living = meaning.FAMILIES[0]
    assert near(living) < near(scenes.KINDS)
    assert {name for family in meaning.FAMILIES for name in family} == {*scenes.KINDS, *scenes.BACKGROUNDS}


def test_private_features_cannot_be_read_from_pictures():
    """Ridge from coarse pictures explains little of them, and all of the brightness."""
    rng = np.random.default_rng(5)
    maps = np.stack([brain.visual_maps(scenes.draw(scenes.sample_scene(rng), 128)) for _ in range(500)])
    coarse = maps.reshape(500, len(brain.CHANNELS), 4, 8, 4, 8).mean(axis=(3, 5)).reshape(500, -1)
    coarse = (coarse - coarse.mean(0)) / coarse.std(0)
    hidden = meaning.private(maps, 32)

    def explained(target):
        weights = np.linalg.solve(coarse[:400] @ coarse[:400].T + 1000 * np.eye(400), target[:400] - target[:400].mean(0))
        found = coarse[400:] @ coarse[:400].T @ weights + target[:400].mean(0)
        return 1 - np.square(target[400:] - found).sum() / np.square(target[400:] - target[:400].mean(0)).sum()

    assert explained(maps[:, 0].mean(axis=(1, 2))[:, None]) > 0.7 and explained(hidden) < 0.3


def test_test_scenes_have_combinations_of_their_own(subject, twin):
    def combination(image):
        rng = np.random.default_rng([twin.simulation.seed, simulate.STREAMS["scene"], image])
        scene = simulate.sample(rng, image in subject.expdesign["sharedix"] - 1, twin.simulation.unseen)
        np.testing.assert_array_equal(subject.stimuli([image])[0], scenes.draw(scene))
        return scene.things[0].kind, scene.things[0].colour, scene.background

    shared = np.unique(subject.image_ids[subject.is_test])
    own = np.setdiff1d(subject.image_ids, shared)
    assert not {combination(image) for image in shared} & {combination(image) for image in own}
    rng = np.random.default_rng(0)
    held = [scenes.is_held_out(simulate.sample(rng, True, unseen)) for unseen in (0.5, 0.0) for _ in range(300)]
    assert np.mean(held[:300]) == pytest.approx(0.5, abs=0.1) and np.mean(held[300:]) == pytest.approx(0.1, abs=0.06)


def test_early_voxels_look_at_their_place(subject, truth):
    """A voxel of V1 that prefers contrast answers to edges within its receptive field, not to those elsewhere."""
    early = truth["area"].values == "V1"
    assert truth["size"][early].median() < truth["size"][truth["area"].values == "hV4"].median()
    right = np.flatnonzero(subject.roi("nsdgeneral").ravel() > 0) // np.prod(subject.brainmask.shape[1:]) > 7
    assert truth["x"].values[early & right].mean() < 0.5 < truth["x"].values[early & ~right].mean()
    edge = np.full((425, 425, 3), 128, np.uint8)
    edge[150:280, 20:100] = 255
    maps = brain.visual_maps(edge)
    contrast = maps[brain.CHANNELS.index("contrast")]
    assert contrast[:, :12].sum() > 0 and np.allclose(contrast[:, 12:], 0)
    vertical = maps[brain.CHANNELS.index("0 deg")].sum()
    assert vertical > 1.2 * maps[brain.CHANNELS.index("90 deg")].sum()  # the upright edges are the longer ones


def test_layout_and_kind_can_be_decoded_from_averaged_betas(subject, truth):
    """Ridge from the averaged betas of 225 images; the other 25 are tested, against chance."""
    mask = subject.roi("nsdgeneral") > 0
    betas = subject.betas(1, mask)
    ids, row = np.unique(subject.image_ids, return_inverse=True)
    x = np.stack([betas[row == i].mean(axis=0) for i in range(len(ids))])
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    test = np.isin(ids, subject.image_ids[subject.is_test])
    light = subject.stimuli(ids).mean(axis=3)[:, :416, :416].reshape(-1, 16, 26, 16, 26).mean(axis=(2, 4))
    target = np.concatenate([truth["scene"].values, light.reshape(len(ids), -1)], axis=1)
    y = target - target[~test].mean(axis=0)
    weights = np.linalg.solve(x[~test] @ x[~test].T + 300 * np.eye((~test).sum()), y[~test])
    found = (x[test] @ x[~test].T) @ weights
    n_kinds = len(scenes.KINDS)
    named = (found[:, :n_kinds] + target[~test].mean(axis=0)[:n_kinds]).argmax(axis=1)
    assert (named == truth["scene"].values[test][:, :n_kinds].argmax(axis=1)).mean() > 0.12  # three times chance, 1/24
    layout = [np.corrcoef(a, b)[0, 1] for a, b in zip(found[:, -256:], y[test][:, -256:], strict=True)]
    assert np.mean(layout) > 0.4  # chance: 0, the mean image is taken away


def test_split_half_patterns_match_only_with_the_right_mapping(subject, truth):
    mask = subject.roi("nsdgeneral") > 0
    betas = subject.betas(1, mask)
    betas = (betas - betas.mean(axis=0)) / betas.std(axis=0)

    def agreement(ids):
        order = np.argsort(ids, kind="stable").reshape(-1, 3)
        return np.mean([np.corrcoef(betas[a], betas[b])[0, 1] for a, b, _ in order])

    assert agreement(subject.image_ids) > 0.3
    assert abs(agreement(np.roll(subject.image_ids, 1))) < 0.1


def test_simulating_again_does_nothing_and_says_so(twin, capsys):
    before = sorted((p, p.stat().st_mtime_ns) for p in twin.data.rglob("*"))
    assert simulate.simulate(twin) is False
    assert "complete in small/: nothing to do" in capsys.readouterr().out
    assert sorted((p, p.stat().st_mtime_ns) for p in twin.data.rglob("*")) == before


def test_other_settings_in_the_same_folder_are_refused(twin):
    other = twin.model_copy(update={"simulation": twin.simulation.model_copy(update={"quality": 0.3})})
    with pytest.raises(FileExistsError, match=r"another simulated subject \(quality=2.5 there, 0.3 wanted\). Nothing was"):
        simulate.simulate(other)
    assert json.loads((twin.data / "simulation.json").read_text())["quality"] == 2.5


def test_a_subject_of_an_earlier_version_is_refused_and_kept(twin, monkeypatch):
    monkeypatch.setattr(marker, "VERSION", marker.VERSION + 1)
    for refused in (simulate.simulate, simulate.load_truth):
        with pytest.raises(
            (FileExistsError, ValueError), match=rf"version={marker.VERSION - 1} of the simulation, now {marker.VERSION}"
        ):
            refused(twin)


def test_the_truth_of_another_run_is_not_given_out(twin):
    simulate.load_truth(twin.model_copy(update={"n_sessions": 2}))  # some sessions of a subject with more, say
    other = twin.model_copy(update={"name": "mine", "simulation": twin.simulation.model_copy(update={"quality": 0.3})})
    for run, message in ((other, r"subject of another run \(quality=2.5 there, 0.3 wanted\)"),
                         (twin.model_copy(update={"simulation": None}), "run 'small' is of a real one")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            simulate.load_truth(run)


def test_a_folder_with_other_things_is_left_alone(twin, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds files, but no finished simulated subject"):
        simulate.simulate(twin.model_copy(update={"data": tmp_path}))
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_interrupted_simulation_leaves_nothing(twin, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(simulate, "_write_scenes", stop)
    with pytest.raises(KeyboardInterrupt):
        simulate.simulate(twin.model_copy(update={"data": tmp_path / "new"}), progress=False)
    assert list(tmp_path.iterdir()) == []


def test_of_two_simulations_at_once_one_wins(twin, tmp_path, monkeypatch):
    """While the second is writing, the first finishes: the second discards its own."""
    run = twin.model_copy(update={"data": tmp_path / "both"})

    def meanwhile(writer, folder, run, progress):
        folder.mkdir()
        (folder / "second.txt").write_text("")
        run.data.mkdir()
        (run.data / "simulation.json").write_text((twin.data / "simulation.json").read_text())

    monkeypatch.setattr(simulate, "_write_subject", meanwhile)
    assert simulate.simulate(run, progress=False) is False
    assert [p.name for p in run.data.iterdir()] == ["simulation.json"]
    assert [p.name for p in tmp_path.iterdir()] == ["both"]


def test_runs_that_cannot_be_simulated_are_told(twin):
    with pytest.raises(ValueError, match="Run 'subj01' has no `simulation`"):
        simulate.simulate(load_run("subj01"))
    with pytest.raises(ValueError, match="n_sessions=40: subject 8 has sessions 1 to 30"):
        simulate.simulate(twin.model_copy(update={"subject": 8, "n_sessions": 40}))
    with pytest.raises(FileNotFoundError, match=r"Missing subj01.nc .*Run `nsdlib simulate small`"):
        simulate.load_truth(twin.model_copy(update={"data": twin.data / "nowhere"}))


def test_the_seed_decides_everything(twin, subject, tmp_path):
    def draw(seed):
        scene = scenes.draw(scenes.sample_scene(np.random.default_rng([seed, simulate.STREAMS["scene"], 7])), 64)
        return scene, trials.make_expdesign(1, np.random.default_rng([seed, 0]))["subjectim"]

    for first, second, third in zip(draw(1), draw(1), draw(2), strict=True):
        np.testing.assert_array_equal(first, second)
        assert (first != third).any()
    np.testing.assert_array_equal(draw(twin.simulation.seed)[1], subject.expdesign["subjectim"])
