"""From trials to training and test sets: against loops and pandas, and on the simulated subject."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from nsdlib.core.glm.fit import fit_glm
from nsdlib.core.glm.options import GLMOptions
from nsdlib.core.scores.reliability import correlate, noise_ceiling
from nsdlib.data.glm_sessions import read_session
from nsdlib.data.nsd import layout as nsd_layout
from nsdlib.data.nsd import write as nsd_write
from nsdlib.data.nsd.layout import TR
from nsdlib.data.nsd.subject import DEFAULT_VERSION, NSDSubject
from nsdlib.study import betas
from nsdlib.twin.simulate import load_truth

pytestmark = pytest.mark.numerical


@pytest.fixture(scope="module")
def subject(twin):
    return NSDSubject(twin.data, twin.subject, twin.n_sessions)


@pytest.fixture(scope="module")
def trials(subject):
    return betas.read_trials(subject)


@pytest.fixture(scope="module")
def assembled(trials):
    return betas.assemble(trials)


def test_repeats_are_averaged_like_pandas():
    rng = np.random.default_rng(0)
    ids, values = rng.integers(5, 25, 60), rng.standard_normal((60, 7)).astype(np.float32)
    images, means, n_repeats = betas.average_repeats(values, ids)
    grouped = pd.DataFrame(values).groupby(ids)
    np.testing.assert_array_equal(images, grouped.mean().index)
    np.testing.assert_allclose(means, grouped.mean(), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(n_repeats, grouped.size())


def test_zscore_uses_training_images_only():
    rng = np.random.default_rng(1)
    X_train, X_test = 3 + 2 * rng.standard_normal((50, 4)), rng.standard_normal((9, 4))
    X_train[:, 2] = 7
    ours_train, ours_test, mean, sd = betas.zscore(X_train, X_test)
    expected = (X_test - X_train.mean(0)) / np.where(sd > 0, X_train.std(0, ddof=1), 1)
    np.testing.assert_allclose(ours_test[:, [0, 1, 3]], expected[:, [0, 1, 3]], rtol=1e-5, atol=1e-5)
    assert (ours_train[:, 2] == 0).all() and (ours_test[:, 2] == 0).all()
    np.testing.assert_allclose(np.delete(ours_train, 2, axis=1).std(axis=0, ddof=1), 1, rtol=1e-5)
    np.testing.assert_allclose(mean[2], 7)


def test_trials_are_labelled(subject, trials):
    assert dict(trials.betas.sizes) == {"trial": subject.n_trials, "voxel": (subject.roi("nsdgeneral") > 0).sum()}
    visual = subject.roi("prf-visualrois")[subject.roi("nsdgeneral") > 0]
    np.testing.assert_array_equal(trials.in_region.sel(region="V2"), np.isin(visual, (3, 4)))
    np.testing.assert_array_equal(trials.image_id, subject.image_ids)


def test_no_image_is_on_both_sides_of_the_split(assembled, subject):
    assert not set(assembled.train_image.values) & set(assembled.test_image.values)
    assert set(assembled.test_image.values) == set(subject.image_ids[subject.is_test])
    assert len(assembled.train_image) + len(assembled.test_image) == len(set(subject.image_ids))


def test_the_split_has_a_hash_that_anybody_can_compute(assembled):
    # printf '3,10;7' | sha256sum
    assert betas.split_hash([10, 3, 10], np.array([7])) == "c18d081088ad"
    others = [([3], [10, 7]), ([3, 10, 7], []), ([7], [3, 10]), ([3, 10], [8]), ([31, 0], [7])]
    assert "c18d081088ad" not in [betas.split_hash(*split) for split in others]
    assert assembled.attrs["split"] == betas.split_hash(assembled.train_image, assembled.test_image)


def test_training_statistics_are_zero_and_one(assembled):
    np.testing.assert_allclose(assembled.X_train.mean("train_image"), 0, atol=1e-5)
    np.testing.assert_allclose(assembled.X_train.std("train_image", ddof=1), 1, atol=1e-5)


def test_test_images_change_nothing_in_training(trials, assembled):
    shuffled = trials.copy(deep=True)
    shuffled["betas"].values[trials.is_test.values] += 100
    again = betas.assemble(shuffled)
    for name in ("X_train", "mean", "sd", "ncsnr", "noise_ceiling"):
        np.testing.assert_array_equal(again[name], assembled[name])
    assert (again.X_test != assembled.X_test).any()


def test_single_showings_average_to_the_test_patterns_by_the_same_scale(trials, assembled):
    showings = betas.single_trials(trials, assembled)
    repeats = assembled.n_repeats_test.values
    assert showings.shape == (repeats.min(), assembled.sizes["test_image"], assembled.sizes["voxel"])
    first = trials.image_id.values.tolist().index(assembled.test_image.values[1])
    wanted = (trials.betas.values[first] - assembled["mean"].values) / assembled.sd.values
    np.testing.assert_allclose(showings[0, 1], wanted, atol=1e-4)
    whole = repeats == repeats.min()
    np.testing.assert_allclose(showings.mean(0)[whole], assembled.X_test.values[whole], atol=1e-4)


def test_the_planted_responses_are_in_it(twin, assembled):
    truth = load_truth(twin).response.sel(image=assembled.test_image.values, voxel=assembled.voxel.values)
    agreement = correlate(assembled.X_test.values, truth.values)
    assert np.median(agreement) > 0.5


def test_the_planted_noise_ceiling_is_found(twin, assembled):
    truth = load_truth(twin).noise_ceiling
    assert np.corrcoef(assembled.noise_ceiling, truth)[0, 1] > 0.9
    assert abs(assembled.noise_ceiling.mean() - truth.mean()) < 5


N_VOXELS = 300


def planted_sessions(*, offset=0.0, gain=0.0, snr=0.58, n_sessions=8, n_trials=450):
    """Trials of images that are shown three times, a third of them shared, and the responses; sessions shift and stretch both."""
    rng = np.random.default_rng(0)
    ids = rng.permutation(np.repeat(np.arange(n_sessions * n_trials // 3), 3))
    session = np.arange(len(ids)) // n_trials + 1
    response = rng.standard_normal((len(ids) // 3, N_VOXELS))
    noise_sd = 1 / (snr * rng.lognormal(0, 0.45, N_VOXELS)) if snr else np.full(N_VOXELS, 2.0)
    values = (snr > 0) * response[ids] + noise_sd * rng.standard_normal((len(ids), N_VOXELS))
    values *= np.exp(gain * rng.standard_normal((n_sessions, N_VOXELS)))[session - 1]
    values += (offset * noise_sd * rng.standard_normal((n_sessions, N_VOXELS)))[session - 1]
    coordinates = {
        "trial": np.arange(len(ids)), "voxel": np.arange(N_VOXELS), "region": ["V1"], "image_id": ("trial", ids),
        "session": ("trial", session), "is_test": ("trial", ids < len(response) // 3),
    }  # fmt: skip
    variables = {
        "betas": (("trial", "voxel"), values.astype(np.float32), {"units": "percent signal change"}),
        "in_region": (("region", "voxel"), np.ones((1, N_VOXELS), bool)),
    }
    return xr.Dataset(variables, coordinates), response


def shifts(found, response):
    """Noise ceiling, and NSD's formula, minus the share that the response explains: means in standard errors, and in percent."""
    explained = 100 * np.square(correlate(found.X_test.values, response[found.test_image.values]))
    ceilings = [found.noise_ceiling.values, noise_ceiling(found.ncsnr.values, found.n_repeats_test.values)]
    differences = [ceiling - explained for ceiling in ceilings]
    return [(d.mean() / d.std() * np.sqrt(N_VOXELS), d.mean()) for d in differences]


@pytest.mark.parametrize(("offset", "gain"), [(0, 0), (0.7, 0), (0, 0.3), (0.7, 0.3)])
def test_the_ceiling_is_what_the_truth_explains_in_the_averages(offset, gain):
    trials, response = planted_sessions(offset=offset, gain=gain)
    (own, _), (nsds, percent) = shifts(betas.assemble(trials), response)
    assert abs(own) < 3
    assert abs(nsds) < 3 if not (offset or gain) else nsds > 6 and percent > 2
    for errors, _ in shifts(betas.assemble(betas.zscore_sessions(trials)), response):
        assert abs(errors) < 3


def test_a_session_of_test_images_alone_is_taken_to_lie_where_the_others_do():
    trials, _ = planted_sessions()
    whole, mean = betas.assemble(trials), trials.assign(betas=trials.betas + 20)
    alone = mean.sel(trial=mean.is_test | (mean.session > 2))
    np.testing.assert_allclose(betas.assemble(alone).noise_ceiling.mean(), whole.noise_ceiling.mean(), atol=2)


def test_scaling_by_session_gives_back_what_sessions_took():
    """As in a subject whose attainable variance fell from 52 to 43 % while NSD's ceiling stayed."""
    calm, moved = planted_sessions()[0], planted_sessions(offset=0.7, gain=0.3)[0]
    before, raw, scaled = (betas.assemble(trials) for trials in (calm, moved, betas.zscore_sessions(moved)))
    medians = [float(found.noise_ceiling.median()) for found in (before, raw, scaled)]
    assert medians[1] < medians[0] - 5
    assert medians[2] == pytest.approx(medians[0], abs=1)
    np.testing.assert_allclose(raw.ncsnr, before.ncsnr, atol=1e-4)  # NSD's own does not see sessions


def test_ceilings_of_voxels_without_signal_are_0_on_average():
    found = betas.assemble(planted_sessions(snr=0)[0]).noise_ceiling.values
    assert (found < 0).mean() > 0.3
    assert abs(found.mean()) < 3 * found.std() / np.sqrt(len(found))


def test_sessions_are_scaled_by_their_training_trials(trials):
    rows, shared = trials.session.values == 1, trials.is_test.values
    raw, found = trials.betas.values[rows], betas.zscore_sessions(trials)
    mean, sd = raw[~shared[rows]].mean(axis=0), raw[~shared[rows]].std(axis=0, ddof=1)
    np.testing.assert_allclose(found.betas.values[rows], (raw - mean) / sd, rtol=1e-3, atol=1e-4)
    assert found.betas.attrs["units"] == betas.assemble(found).sd.attrs["units"] == "standard deviations within the session"
    disturbed = trials.copy(deep=True)
    disturbed["betas"].values[shared] += 100
    np.testing.assert_array_equal(betas.zscore_sessions(disturbed).betas[~shared], found.betas[~shared])
    few = trials.isel(trial=np.append(np.flatnonzero(shared), np.flatnonzero(~shared)[0]))
    with pytest.raises(ValueError, match="Session 1 has 1 training trials: scaling a session needs at least 2"):
        betas.zscore_sessions(few)


def test_betas_of_the_glm_take_the_same_way(subject, trials):
    rows = np.flatnonzero(trials.session.values == 1)
    own = trials.betas.values[rows].copy()
    own[:, 0] = np.nan
    coordinates = {"trial": rows, "roi_voxel": trials.voxel.values}
    glm = xr.Dataset({"betas_d": (("trial", "roi_voxel"), own)}, coords=coordinates)
    with pytest.warns(UserWarning, match=r"^1 of \d+ voxels are constant in a run \(session 1\): not measured, left out"):
        ours = betas.trials_from_glm(glm, subject)
    np.testing.assert_array_equal(ours.betas, own[:, 1:])
    np.testing.assert_array_equal(ours.voxel, trials.voxel[1:])
    with pytest.raises(ValueError, match=r"The artifact glm has 3 voxels, but nsdgeneral .* run notebook 01 again"):
        betas.trials_from_glm(glm.isel(roi_voxel=slice(3)), subject)


def test_a_run_without_data_is_no_response_either_after_a_fit(subject):
    """Ridge puts back offset and scale, so that betas of a run of zeros are all alike, but not 0."""
    mask = subject.roi("nsdgeneral") > 0
    mask.flat[np.flatnonzero(mask)[60:]] = False
    design, series, _ = read_session(subject, 1, mask)
    series[3][:, 5], rows = 0, slice(188, 250)  # trials of run 4
    found = fit_glm(design, series, tr=TR, options=GLMOptions(n_pcs=0))
    assert np.ptp(found.betas_d.values[rows, 5]) == 0 and found.betas_d.values[rows, 5].all()
    glm = found[["betas_d"]].rename(voxel="roi_voxel").assign_coords(trial=np.arange(750), roi_voxel=np.flatnonzero(mask))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subject, "voxels", lambda roi: mask)
        with pytest.warns(UserWarning, match=r"^1 of 60 voxels are constant in a run \(session 1\)"):
            kept = betas.trials_from_glm(glm, subject)
    np.testing.assert_array_equal(kept.voxel, np.delete(np.flatnonzero(mask), 5))


@pytest.fixture
def two_sessions(tmp_path, subject, trials):
    """Twice the twin's session, in NSD's files: in the second three voxels were not measured, which is 0 in those files."""
    (tmp_path / "nsddata").symlink_to(subject.root / "nsddata")
    values, mask = trials.betas.values.copy(), subject.roi("nsdgeneral") > 0
    for session, invalid in ((1, []), (2, [1, 4, 5])):
        values[:, invalid] = 0
        forms = {form: nsd_layout.Layout(tmp_path, 1).betas(DEFAULT_VERSION, session, form) for form in ("hdf5", "nii.gz")}
        nsd_write.write_betas(forms, values, mask, subject.affine)
    return NSDSubject(tmp_path, subject.subject, 2)


@pytest.mark.parametrize("form", ["hdf5", "nii.gz"])
def test_voxels_that_were_not_measured_in_a_session_are_left_out_and_counted(two_sessions, trials, form):
    other = {"hdf5": "nii.gz", "nii.gz": "hdf5"}[form]
    for session in (1, 2):
        two_sessions.paths.betas(DEFAULT_VERSION, session, other).unlink()
    with pytest.warns(UserWarning, match=r"^3 of \d+ voxels .* in a run \(session 2\): not measured, left out"):
        found = betas.read_trials(two_sessions)
    kept = np.delete(np.arange(trials.sizes["voxel"]), [1, 4, 5])
    np.testing.assert_array_equal(found.voxel, trials.voxel[kept])
    np.testing.assert_array_equal(found.in_region, trials.in_region[:, kept])
    np.testing.assert_array_equal(found.betas, np.tile(trials.betas[:, kept], (2, 1)))
    assert betas.assemble(found).X_train.std("train_image", ddof=1).values == pytest.approx(1, abs=1e-4)


def test_a_session_without_any_data_is_refused(two_sessions):
    paths = {form: two_sessions.paths.betas(DEFAULT_VERSION, 2, form) for form in ("hdf5", "nii.gz")}
    mask = two_sessions.roi("nsdgeneral") > 0
    nsd_write.write_betas(paths, np.zeros((750, mask.sum()), np.float32), mask, two_sessions.affine)
    with pytest.raises(ValueError, match=r"in a run \(session 2\).*No voxel remains: get the betas of that session again"):
        betas.read_trials(two_sessions)


def test_a_region_may_reach_out_of_the_brain_mask(subject, trials, monkeypatch):
    coordinates = {"trial": trials.trial.values, "roi_voxel": trials.voxel.values}
    glm = xr.Dataset({"betas_d": (("trial", "roi_voxel"), trials.betas.values)}, coords=coordinates)
    labels = subject.roi("nsdgeneral")
    labels[tuple(np.argwhere(~subject.brainmask)[0])] = 1
    monkeypatch.setattr(subject, "roi", lambda name: labels)
    np.testing.assert_array_equal(betas.trials_from_glm(glm, subject).voxel, trials.voxel)


def test_a_region_without_voxels_is_refused(subject, monkeypatch):
    monkeypatch.setattr(subject, "roi", lambda name: np.zeros(subject.brainmask.shape, dtype=int))
    with pytest.raises(ValueError, match="floc-words of nsd/subj01 has no voxel with a label"):
        betas.read_trials(subject, roi="floc-words")


def test_a_split_without_both_sides_is_refused(trials):
    with pytest.raises(ValueError, match=r"0 of \d+ trials showed test images"):
        betas.assemble(trials.isel(trial=~trials.is_test.values))


def test_without_repeats_the_ceiling_is_unknown(trials):
    _, first = np.unique(trials.image_id, return_index=True)
    assert np.isnan(betas.assemble(trials.isel(trial=np.sort(first))).noise_ceiling).all()


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"one image id a trial, got shapes \(4, 2\) and \(3,\)"):
        betas.average_repeats(np.zeros((4, 2)), np.arange(3))


def test_a_run_says_where_its_trials_come_from_and_how_they_are_scaled(twin, subject, trials):
    measured, same = betas.load_trials(twin, None, subject)
    assert same is measured
    xr.testing.assert_identical(measured, trials)
    measured, scaled = betas.load_trials(twin.model_copy(update={"scaling": "sessions"}), None, subject)
    xr.testing.assert_identical(scaled, betas.zscore_sessions(measured))


def test_a_few_test_images_are_drawn_by_the_runs_seed_and_training_stays(twin, subject, trials):
    few, _ = betas.load_trials(twin.model_copy(update={"n_test": 5}), None, subject)
    again, _ = betas.load_trials(twin.model_copy(update={"n_test": 5}), None, subject)
    other, _ = betas.load_trials(twin.model_copy(update={"n_test": 5, "seed": 8}), None, subject)
    kept, same, others = (set(part.image_id.values[part.is_test.values]) for part in (few, again, other))
    shown = np.unique(trials.image_id[trials.is_test])
    assert len(kept) == 5 and kept == same != others and kept <= set(shown) and kept != set(shown[:5])
    np.testing.assert_array_equal(few.image_id[~few.is_test], trials.image_id[~trials.is_test])


def test_voxels_are_chosen_by_repeats_of_training_images_or_by_onoff_where_there_are_few(trials):
    noisy = trials.isel(voxel=slice(200))
    rng = np.random.default_rng(0)
    values = rng.standard_normal(noisy.betas.shape).astype(np.float32)
    _, image = np.unique(noisy.image_id, return_inverse=True)
    values[:, :20] = 3 * rng.standard_normal(image.max() + 1).astype(np.float32)[image, None]  # the same for an image each time
    values[noisy.is_test.values, 20:40] = 5 * image[noisy.is_test.values, None]  # voxels that tell test images apart
    planted = noisy.assign(betas=(noisy.betas.dims, values))
    np.testing.assert_array_equal(betas.best_voxels(planted, 20), np.arange(20))
    once = planted.isel(trial=np.sort(np.unique(planted.image_id, return_index=True)[1]))
    np.testing.assert_array_equal(betas.best_voxels(once, 20, onoff_r2=-np.arange(200.0)), np.arange(20))
    with pytest.raises(ValueError, match="no training image was shown twice, and no GLM shows which voxels respond"):
        betas.best_voxels(once, 20)
