"""The single-trial GLM against GLMsingle's own results, planted ground truth, and explicit loops."""

import numpy as np
import pytest
import torch
from conftest import DATA
from sklearn.mixture import GaussianMixture

from nsdlib.core.glm import denoise, fracridge, hrf, linear, steps
from nsdlib.core.glm.design import make_run_designs
from nsdlib.core.glm.fit import _named, fit_glm
from nsdlib.core.glm.options import GLMOptions

pytestmark = pytest.mark.numerical

N_RUNS = 4


def inputs(file):
    design = [file[f"design_{run}"] for run in range(N_RUNS)]
    return design, [file[f"data_{run}"].T for run in range(N_RUNS)]


def relative_rms(ours, reference):
    return np.sqrt(np.square(ours - reference).mean() / np.square(reference).mean())


@pytest.fixture(scope="module")
def reference():
    return np.load(DATA / "glm_small.npz")


@pytest.fixture(scope="module")
def variants():
    return np.load(DATA / "glm_variants.npz")


@pytest.fixture(scope="module")
def fitted(reference):
    design, data = inputs(reference)
    hrfs, canonical = reference["hrflibrary"].T, reference["hrftoassume"]
    return fit_glm(design, data, tr=float(reference["tr"]), hrfs=hrfs, canonical=canonical)


def tiny(seed=0, n_runs=3, n_voxels=40, repeats=True):
    """A small random experiment as vectors of condition numbers, and noise as data."""
    rng = np.random.default_rng(seed)
    design = []
    for run in range(n_runs):
        labels = np.zeros(80, dtype=int)
        labels[4:64:6] = rng.permutation(10) + 1 + (0 if repeats else 10 * run)
        design.append(labels)
    return design, [1000 + rng.standard_normal((80, n_voxels)) for _ in design]


@pytest.mark.parametrize("kind", ["b", "c", "d"])
def test_betas_are_glmsingles(fitted, reference, kind):
    assert relative_rms(fitted[f"betas_{kind}"].values.T, reference[f"type{kind.upper()}_betasmd"]) < 2e-5


def test_choices_are_glmsingles(fitted, reference):
    assert (fitted.hrf_index == reference["HRFindex"]).mean() >= 0.999
    assert np.isclose(fitted.fraction, reference["typeD_FRACvalue"]).mean() >= 0.999
    np.testing.assert_array_equal(fitted.noise_pool, reference["noisepool"])
    np.testing.assert_array_equal(fitted.pc_voxels, reference["pcvoxels"])
    assert fitted.n_pcs == reference["pcnum"]
    assert fitted.threshold == pytest.approx(reference["brainR2"], rel=1e-3)


def test_with_our_own_table_of_hrfs_choices_and_betas_are_glmsingles_too(reference):
    results = fit_glm(*inputs(reference), tr=float(reference["tr"]))
    np.testing.assert_array_equal(results.hrf_index, reference["HRFindex"])
    np.testing.assert_allclose(results.fraction, reference["typeD_FRACvalue"], rtol=1e-6)
    for kind in "bcd":
        assert relative_rms(results[f"betas_{kind}"].values.T, reference[f"type{kind.upper()}_betasmd"]) < 2e-5, kind


def test_maps_are_glmsingles(fitted, reference):
    np.testing.assert_allclose(fitted["mean"], reference["meanvol"], rtol=1e-6)
    np.testing.assert_allclose(fitted.onoff_r2, reference["typeA_onoffR2"], atol=1e-3)
    np.testing.assert_allclose(fitted.onoff_beta, reference["typeA_betasmd"], atol=1e-4)
    np.testing.assert_allclose(fitted.hrf_r2.T, reference["typeB_FitHRFR2"], atol=1e-3)
    for kind in "bcd":
        np.testing.assert_allclose(fitted[f"r2_{kind}"], reference[f"type{kind.upper()}_R2"], atol=1e-3)
        np.testing.assert_allclose(fitted[f"r2_run_{kind}"].T, reference[f"type{kind.upper()}_R2run"], atol=1e-3)


def test_cross_validated_errors_are_glmsingles(fitted, reference):
    np.testing.assert_allclose(fitted.pc_cv_error.T, reference["glmbadness"], rtol=1e-4)
    np.testing.assert_allclose(fitted.fraction_cv_error.T, reference["typeD_rrbadness"], rtol=1e-4)
    trend = reference["xvaltrend"]
    np.testing.assert_allclose(fitted.pc_curve, trend - trend[0], atol=1e-3 * np.abs(trend).max())
    np.testing.assert_allclose(fitted.scale, reference["typeD_scaleoffset"][:, 0], rtol=1e-4)


def test_components_span_what_glmsingles_do(fitted, reference):
    for run in range(N_RUNS):
        theirs = reference[f"pcregressors_{run}"][:, :10]
        agreement = np.sum(fitted.components.values[run] * theirs, axis=0) / np.linalg.norm(theirs, axis=0)
        np.testing.assert_allclose(np.abs(agreement), 1, atol=1e-3)


def test_the_planted_betas_come_closer_with_each_step(fitted, reference):
    active, truth = reference["active"], reference["true_betas"].T
    agreement = {}
    for kind in "bcd":
        ours = fitted[f"betas_{kind}"].values[:, active]
        pairs = zip(ours.T, truth[:, active].T, strict=True)
        agreement[kind] = np.median([np.corrcoef(a, b)[0, 1] for a, b in pairs])
    assert agreement["b"] < agreement["c"] < agreement["d"]


def test_the_planted_hrfs_are_found(fitted, reference):
    active = reference["active"] & (fitted.r2_b.values > np.median(fitted.r2_b))
    assert np.corrcoef(fitted.hrf_index[active], reference["true_hrf_index"][active])[0, 1] > 0.7


VARIANTS = {
    "default": {},
    "nolibrary": {},
    "noden": {"n_pcs": 0},
    "nofrac": {"fractions": (1.0,)},
    "pcstop_m3": {"fixed_pcs": 3},
    "frac_single": {"fractions": (0.5,)},
    "fracs_no1": {"fractions": (0.9, 0.6, 0.3)},
    "noautoscale": {"autoscale": False},
    "xval2": {"folds": ((0, 1), (2, 3))},
    "sessions": {"sessions": (1, 1, 2, 2)},
    "npcs3": {"n_pcs": 3},
    "maxpoly1": {"degree": 1},
    "brainR2_5": {"brain_r2": 5.0},
    "unequal": {},
}
CUT = 119  # volumes of the second run in the set "unequal"


@pytest.mark.parametrize("name", VARIANTS)
def test_options_do_what_glmsingles_do(reference, variants, name):
    design, data = inputs(variants)
    if name == "unequal":
        design[1], data[1] = design[1][:CUT], data[1][:CUT]
    hrfs, canonical = reference["hrflibrary"].T, reference["hrftoassume"]
    options = GLMOptions(**({"brain_r2": float(variants[f"{name}/threshold"])} | VARIANTS[name]))
    results = fit_glm(design, data, tr=1.0, hrfs=canonical if name == "nolibrary" else hrfs, canonical=canonical, options=options)
    assert results.n_pcs == variants[f"{name}/n_pcs"]
    assert relative_rms(results.betas_d.values.T, variants[f"{name}/betas"]) < 2e-5


@pytest.fixture
def assumed(reference, variants):
    """What the fits of the option sets have in common."""
    design, data = inputs(variants)
    hrfs = {"hrfs": reference["hrflibrary"].T, "canonical": reference["hrftoassume"]}
    return {"design": design, "data": data, "tr": 1.0} | hrfs


def test_confounds_are_removed_as_glmsingle_does(assumed, variants):
    confounds, threshold = [variants[f"extra_{run}"] for run in range(N_RUNS)], float(variants["extra/threshold"])
    results = fit_glm(
        **assumed, confounds=confounds, options=GLMOptions(brain_r2=threshold, fixed_pcs=int(variants["extra/n_pcs"]))
    )
    assert relative_rms(results.betas_b.values.T, variants["extra/betas_b"]) < 2e-5
    assert relative_rms(results.betas_d.values.T, variants["extra/betas"]) < 2e-5


def test_without_components_confounds_are_removed_all_the_same(assumed, variants):
    """GLMsingle forgets them there; here the betas of types B and C are then the same ones."""
    confounds = [variants[f"extra_{run}"] for run in range(N_RUNS)]
    results = fit_glm(**assumed, confounds=confounds, options=GLMOptions(brain_r2=3.0, n_pcs=0))
    np.testing.assert_allclose(results.betas_c, results.betas_b, rtol=1e-4, atol=1e-5)


def test_confounds_that_drifts_already_hold_change_nothing(assumed):
    confounds = [np.stack([np.ones(len(run)), np.arange(len(run))], 1) for run in assumed["data"]]
    plain, same = (fit_glm(**assumed, confounds=columns, options=GLMOptions(brain_r2=3.0)) for columns in (None, confounds))
    assert same.identical(plain)


def test_least_squares_separate_is_glmsingles(assumed, variants):
    """GLMsingle gives these betas in percent of each run's mean, here all betas are in percent of the mean over runs."""
    results = fit_glm(**assumed, options=GLMOptions(brain_r2=3.0, lss=True))
    n_trials = [events.any(1).sum() for events in assumed["design"]]
    run_means = np.repeat([run.mean(0) for run in assumed["data"]], n_trials, axis=0)
    ours = results.betas_b.values * results["mean"].values / run_means
    assert relative_rms(ours.T, variants["lss/betas_b"]) < 2e-5


def test_betas_come_in_percent_of_the_mean_or_in_scanner_units(assumed, variants):
    percent, raw = (fit_glm(**assumed, options=GLMOptions(brain_r2=3.0, percent=chosen)) for chosen in (True, False))
    assert relative_rms(raw.betas_b.values.T, variants["nopercent/betas_b"]) < 2e-5
    for name in ("onoff_beta", "betas_b", "betas_c", "betas_d"):
        np.testing.assert_allclose(percent[name], 100 * raw[name] / raw["mean"], rtol=1e-6)
        assert (percent[name].units, raw[name].units) == ("percent signal change", "scanner units")


@pytest.fixture(scope="module")
def more_options():
    return np.load(DATA / "glm_options.npz")


@pytest.mark.parametrize("name", ["degrees", "pc_r2", "pc_mask"])
def test_options_for_each_run_and_voxel_do_what_glmsingles_do(assumed, more_options, name):
    asked = {"degrees": {"degree": (0, 1, 2, 3)}, "pc_r2": {"pc_r2": 6.0}, "pc_mask": {"pc_mask": more_options["pc_mask/mask"]}}
    results = fit_glm(**assumed, options=GLMOptions(brain_r2=float(more_options["threshold"]), **asked[name]))
    assert results.n_pcs == more_options[f"{name}/n_pcs"]
    assert relative_rms(results.betas_d.values.T, more_options[f"{name}/betas"]) < 2e-5


def test_a_mask_keeps_voxels_out_of_the_noise_pool(assumed):
    mask = np.arange(48) % 3 > 0
    whole, masked = (fit_glm(**assumed, options=GLMOptions(brain_r2=3.0, noise_mask=chosen)) for chosen in (None, mask))
    np.testing.assert_array_equal(masked.noise_pool, whole.noise_pool.values & mask)
    series = assumed["data"][0][:, masked.noise_pool.values].astype(float)
    drifts = np.vander(np.linspace(-1, 1, len(series)), 2)
    left = series - drifts @ np.linalg.lstsq(drifts, series, rcond=None)[0]
    expected = np.linalg.svd(left / np.linalg.norm(left, axis=0))[0][:, :10]
    found = masked.components.values[0]
    np.testing.assert_allclose(np.abs(np.sum(found * expected, axis=0)), 1, atol=1e-4)


def test_voxels_outside_the_mask_do_not_judge_where_none_responds():
    design, data = tiny(n_voxels=150)
    options = GLMOptions(brain_r2=100.0, pc_mask=np.arange(150) < 30)
    with pytest.warns(UserWarning, match="No voxel has an ON-OFF R2 above 100.00"):
        results = fit_glm(design, data, tr=1.0, options=options)
    np.testing.assert_array_equal(results.pc_voxels, options.pc_mask)
    constant = [np.hstack([series, np.ones((80, 2))]) for series in data]
    with pytest.raises(ValueError, match="pc_mask: none of its 2 voxels can be fitted; wanted at least one"):
        fit_glm(design, constant, tr=1.0, options=GLMOptions(brain_r2=100.0, pc_mask=np.arange(152) >= 150))


def test_volumes_with_time_last_are_taken_where_it_is_said():
    design, data = tiny(n_voxels=24)
    mask = np.arange(24).reshape(2, 3, 4) % 5 > 0
    flat = fit_glm(design, data, tr=1.0, options=GLMOptions(brain_r2=1.0, noise_mask=mask.ravel()))
    last = {"brain_r2": 1.0, "time_axis": -1}
    volumes = [series.T.reshape(2, 3, 4, 80) for series in data]
    assert fit_glm(design, volumes, tr=1.0, options=GLMOptions(noise_mask=mask, **last)).identical(flat)
    surface = [series.T for series in data]
    assert fit_glm(design, surface, tr=1.0, options=GLMOptions(noise_mask=mask.ravel(), **last)).identical(flat)
    with pytest.raises(ValueError, match=r"Run 1: data must be .* \(2, 3, 4, 80\).* GLMOptions\(time_axis=-1\)"):
        fit_glm(design, volumes, tr=1.0)
    turned = [volumes[0], volumes[1].swapaxes(0, 1), volumes[2]]  # as many voxels, in another order
    with pytest.raises(ValueError, match=r"Run 2: data must have the voxels of run 1, \(2, 3, 4\).* got \(3, 2, 4, 80\)"):
        fit_glm(design, turned, tr=1.0, options=GLMOptions(**last))
    with pytest.raises(ValueError, match=r"noise_mask must be True or False .* \(2, 3, 4\), got bool of shape \(3, 2, 4\)"):
        fit_glm(design, volumes, tr=1.0, options=GLMOptions(noise_mask=mask.swapaxes(0, 1), **last))
    with pytest.raises(ValueError, match=r"pc_mask must be True or False .* got int64 of shape \(24,\)"):
        fit_glm(design, data, tr=1.0, options=GLMOptions(pc_mask=np.arange(24)))


def test_a_fit_with_another_mask_is_another_fit():
    masks = [None, np.arange(9) > 3, np.arange(9) > 4]
    assert len({GLMOptions(**{name: mask}).digest() for name in ("noise_mask", "pc_mask") for mask in masks}) == 5


def test_a_run_that_is_constant_has_no_variance_to_explain():
    design, data = tiny(n_voxels=12)
    data[1][:, 4] = 500
    results = fit_glm(design, data, tr=1.0, options=GLMOptions(brain_r2=1.0, n_pcs=0))
    for kind in "bcd":
        np.testing.assert_array_equal(np.argwhere(np.isnan(results[f"r2_run_{kind}"].values)), [[1, 4]])


@pytest.mark.parametrize(
    "confounds, message",
    [
        ([np.ones((80, 1))] * 2, "confounds has 2 runs, design 3"),
        ([np.ones((80, 1)), np.ones((79, 1)), np.ones((80, 1))], r"Run 2: confounds must be .* \(80, any\), got shape \(79, 1\)"),
        ([np.full((80, 2), np.nan)] * 3, "Run 1: confounds must be finite .* with 160 that are not finite"),
    ],
)
def test_confounds_that_do_not_fit_are_refused(confounds, message):
    design, data = tiny()
    with pytest.raises(ValueError, match=message):
        fit_glm(design, data, tr=1.0, confounds=confounds)


def test_small_batches_give_the_same(variants):
    design, data = inputs(variants)
    whole, pieces = (fit_glm(design, data, tr=1.0, options=GLMOptions(brain_r2=2.6, voxel_batch=n)) for n in (2000, 7))
    for name in whole:
        np.testing.assert_allclose(pieces[name], whole[name], rtol=1e-5, atol=1e-6)


def test_blocks_solve_least_squares_like_numpy():
    design, data = tiny()
    first = make_run_designs(design, data, tr=1.0)[0]
    response = torch.as_tensor(hrf.canonical(1.0), dtype=torch.float64)
    block = linear.solve_block(first.regressors(response[None]), first.no_columns, run=1)
    trials, drifts = trials_and_drifts(design[0], response, first)
    expected = np.linalg.lstsq(np.hstack([trials, drifts]), data[0], rcond=None)[0][: trials.shape[1]]
    np.testing.assert_allclose(block.inverse[0] @ torch.as_tensor(data[0]), expected, atol=1e-8)


def trials_and_drifts(labels, response, run):
    trials = [np.convolve(np.arange(80) == onset, response)[:80] for onset in np.flatnonzero(labels)]
    return np.stack(trials, axis=1), np.vander(np.linspace(-1, 1, 80), run.drift.shape[1])


@pytest.mark.parametrize("n_confounds", [0, 2])
def test_components_removed_one_after_the_other_leave_the_betas_of_a_fit_with_them(n_confounds):
    design, data = tiny()
    first = make_run_designs(design, data, tr=1.0)[0]
    response = torch.as_tensor(hrf.canonical(1.0), dtype=torch.float64)
    trials, drifts = trials_and_drifts(design[0], response, first)
    others = first.without_drift(torch.as_tensor(np.random.default_rng(5).standard_normal((80, 6))))
    others = linear.orthonormal(others)
    confounds, components = others[:, :n_confounds], others[:, n_confounds:]
    block = linear.solve_block(first.regressors(response[None]), confounds, run=1)
    rows, directions = linear.removal(block, components, run=1)
    series = torch.as_tensor(data[0])
    for count in range(components.shape[1] + 1):
        ours = block.inverse[0] @ series - directions[0, :, :count] @ (rows[0, :count] @ series)
        full = np.hstack([trials, drifts, others[:, : n_confounds + count]])
        expected = np.linalg.lstsq(full, data[0], rcond=None)[0][: trials.shape[1]]
        np.testing.assert_allclose(ours, expected, atol=1e-8)


def test_columns_become_orthonormal_in_their_order_and_0_where_earlier_ones_span_them():
    columns = torch.as_tensor(np.random.default_rng(6).standard_normal((3, 20, 4)))
    doubled = torch.cat([columns[..., :2], columns[..., :2].sum(-1, keepdim=True), columns[..., 2:]], -1)
    basis = linear.orthonormal(doubled)
    assert (basis[..., 2] == 0).all()
    kept = basis[..., [0, 1, 3, 4]]
    np.testing.assert_allclose(kept.mT @ kept, np.eye(4) + np.zeros((3, 1, 1)), atol=1e-14)
    expected, _ = np.linalg.qr(columns.numpy())
    np.testing.assert_allclose(np.abs(np.sum(expected * kept.numpy(), axis=1)), 1, atol=1e-14)


def test_ridge_keeps_the_length_that_is_asked_for():
    rng = np.random.default_rng(1)
    designs = [torch.as_tensor(rng.standard_normal(size)) for size in ((30, 12), (40, 15))]
    series = [torch.as_tensor(rng.standard_normal((len(own), 5))) for own in designs]
    grams, products = [own.T @ own for own in designs], [own.T @ y for own, y in zip(designs, series, strict=True)]
    spectrum = fracridge.Spectrum.of(grams)
    rotated = torch.cat([own @ y for own, y in zip(spectrum.rotation(designs), series, strict=True)])
    plain = torch.cat([torch.linalg.solve(g, p) for g, p in zip(grams, products, strict=True)])
    np.testing.assert_allclose(spectrum.unrotate(rotated), plain, atol=1e-10)
    fractions = torch.tensor([1.0, 0.7, 0.2], dtype=torch.float64)
    for fraction, penalty in zip(fractions, spectrum.penalties(fractions, rotated), strict=True):
        length = spectrum.shrink(rotated, penalty).norm(dim=0) / plain.norm(dim=0)
        np.testing.assert_allclose(length, fraction, atol=0.01)
    penalty = torch.full((5,), 3.0, dtype=torch.float64)
    direct = torch.linalg.solve(grams[0] + 3 * torch.eye(12), products[0])
    np.testing.assert_allclose(spectrum.shrink(rotated, penalty)[:12], direct, atol=1e-10)


def test_rescaling_is_the_nearest_line_unless_it_falls():
    rng = np.random.default_rng(2)
    shrunk = rng.standard_normal((20, 3))
    plain = shrunk * [2.0, 0.5, -1.0] + 0.3 + 0.1 * rng.standard_normal((20, 3))
    betas, scale, offset = fracridge.rescale(torch.as_tensor(shrunk), torch.as_tensor(plain))
    for voxel in (0, 1):
        np.testing.assert_allclose([scale[voxel], offset[voxel]], np.polyfit(shrunk[:, voxel], plain[:, voxel], 1))
    assert (scale[2], offset[2]) == (1, 0)
    np.testing.assert_allclose(betas[:, 2], shrunk[:, 2])


@pytest.mark.parametrize("folds, sessions", [(None, None), (((0, 1), (2,)), (1, 2, 1))])
def test_the_cross_validated_error_is_the_sum_over_pairs(folds, sessions):
    design, data = tiny()
    repeats = denoise.find_repeats(make_run_designs(design, data, tr=1.0), folds=folds, sessions=sessions)
    reference, betas = torch.as_tensor(np.random.default_rng(3).standard_normal((2, 30, 4)))
    run, condition = np.repeat(range(3), 10), np.concatenate([labels[labels > 0] for labels in design])
    session = np.zeros(30) if sessions is None else np.array(sessions)[run]
    z = [x.numpy().copy() for x in (reference, betas)]
    for s in np.unique(session):
        own = reference.numpy()[session == s]
        for x in z:
            x[session == s] = (x[session == s] - own.mean(0)) / own.std(0, ddof=1)
    expected = np.zeros(4)
    for fold in folds or [(0,), (1,), (2,)]:
        for test in np.flatnonzero(np.isin(run, fold)):
            for train in np.flatnonzero(~np.isin(run, fold) & (condition == condition[test])):
                expected += (z[1][train] - z[0][test]) ** 2
    np.testing.assert_allclose(repeats.against(reference).cv_error(betas), expected)


def test_the_number_of_components_is_the_first_that_comes_near_the_best():
    assert denoise.choose_number([0, 5, 9.8, 10, 4], stop=1.05) == 2
    assert denoise.choose_number([0, -1, -2], stop=1.05) == 0


def test_the_threshold_lies_between_two_kinds_of_voxels():
    rng = np.random.default_rng(4)
    values = np.concatenate([rng.normal(0, 0.1, 900), rng.normal(5, 1, 300), [np.nan]])
    assert 0.2 < denoise.tail_threshold(values) < 2.5
    assert np.isnan(denoise.tail_threshold([1.0, 1.0, 1.0, 2.0, np.nan]))  # there are no two kinds


@pytest.mark.parametrize("seed", range(4))
def test_the_threshold_is_where_scikit_learns_mixture_has_it(seed):
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(0, 0.3, 700), rng.gamma(2, 1 + seed, 400)])
    mixture = GaussianMixture(2, tol=1e-10, reg_covar=0, n_init=3, max_iter=1000, random_state=0).fit(values[:, None])
    threshold, step = denoise.tail_threshold(values), np.ptp(values) / 499  # at least the grid's
    posterior = mixture.predict_proba([[threshold], [threshold + step], [values.max()]])
    upper = posterior[:, posterior[2].argmax()]
    assert upper[0] < 0.51 and upper[1] > 0.5


def test_without_repeats_denoising_and_ridge_are_off_and_it_says_so():
    design, data = tiny(repeats=False)
    with pytest.warns(UserWarning, match=r"(Denoising|Ridge) is off: no condition repeats") as warned:
        results = fit_glm(design, data, tr=1.0, options=GLMOptions(brain_r2=1.0))
    assert len(warned) == 2 and "Ridge is off" in results.notes and results.n_pcs == 0
    np.testing.assert_allclose(results.betas_d, results.betas_b, atol=1e-5)


def test_a_small_noise_pool_switches_denoising_off():
    design, data = tiny()
    with pytest.warns(UserWarning, match="Denoising is off: 0 voxels in the noise pool, wanted more than 10"):
        assert fit_glm(design, data, tr=1.0, options=GLMOptions(brain_r2=-1.0)).n_pcs == 0


def test_without_responding_voxels_the_best_choose():
    design, data = tiny(n_voxels=150)
    with pytest.warns(UserWarning, match=r"No voxel has an ON-OFF R2 above 100.00: the 100 with the highest R2"):
        results = fit_glm(design, data, tr=1.0, options=GLMOptions(brain_r2=100.0))
    assert results.pc_voxels.sum() == 100


def test_voxels_that_cannot_be_fitted_are_nan_and_named_and_change_no_other():
    design, data = tiny()
    broken = [np.hstack([series, series[:, :3]]) for series in data]
    for series in broken:
        series[:, 40], series[:, 41] = 0, 500
    broken[1][7, 42] = np.nan
    options = GLMOptions(brain_r2=1.0)
    with pytest.warns(UserWarning) as caught:
        results = fit_glm(design, broken, tr=1.0, options=options)
    assert [str(warning.message) for warning in caught] == [
        "1 of 43 voxels hold values that are not finite (voxel 42): their results are NaN.",
        "2 of 43 voxels are constant (voxel 40, voxel 41): their results are NaN.",
    ]
    for name, values in results.data_vars.items():
        if "voxel" in values.dims and values.dtype.kind == "f":
            unknown = slice(42, None) if name == "mean" else slice(40, None)
            assert np.isnan(values.isel(voxel=unknown)).all(), name
    assert not results.noise_pool[40:].any() and not results.pc_voxels[40:].any()
    clean = fit_glm(design, data, tr=1.0, options=options)
    for name in ("betas_d", "hrf_index", "fraction", "noise_pool", "pc_curve"):
        rest = results[name].isel(voxel=slice(40)) if "voxel" in results[name].dims else results[name]
        np.testing.assert_allclose(rest, clean[name], rtol=1e-6)


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_voxels_that_cannot_be_fitted_neither_choose_nor_set_the_brightness():
    design, data = tiny(n_voxels=60)
    dull = [np.hstack([series, np.full((80, 60), 1e6)]) for series in data]  # bright, and in every comparison of ranks last
    options = GLMOptions(brain_r2=100.0)
    clean, results = (fit_glm(design, bold, tr=1.0, options=options) for bold in (data, dull))
    assert results.noise_pool[:60].all() and results.pc_voxels.sum() == 60 and results.n_pcs == clean.n_pcs
    np.testing.assert_allclose(results.pc_curve, clean.pc_curve, rtol=1e-6)


def test_of_many_voxels_a_note_names_the_first():
    assert _named(np.arange(10) > 2) == "voxel 3, voxel 4, voxel 5, voxel 6, voxel 7, and 2 more"


def test_a_trial_after_the_last_volume_has_beta_zero_and_changes_nothing_else():
    design, data = tiny()
    late = [labels.copy() for labels in design]
    late[0][79] = 5  # the response to an onset in the last volume begins after the run
    options = GLMOptions(brain_r2=1.0, n_pcs=0, fractions=(0.5,))
    hrfs = np.array([[0.0, 0.2, 0.7, 1.0, 0.8, 0.4, 0.1]])
    with pytest.warns(UserWarning, match=r"1 of 31 trials begin too close to the end of their run .*\(run 1, volume 79\)"):
        before, after = (fit_glm(d, data, tr=1.0, hrfs=hrfs, canonical=hrfs[0], options=options) for d in (design, late))
    assert (after.betas_c[10] == 0).all() and (after.betas_d[10] == 0).all()
    np.testing.assert_allclose(np.delete(after.betas_c.values, 10, axis=0), before.betas_c, rtol=1e-5)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda d, y: (d[:2], y), "design has 2 runs and data 3: wanted the same number"),
        (lambda d, y: (d, [y[0], y[1][:, :5], y[2]]), r"Run 2: data must be .* same 40 voxels .* got shape \(80, 5\)"),
        (lambda d, y: (d, [y[0], y[1], y[2][:70]]), "Run 3: design has 80 volumes, data 70. Cut both"),
        (lambda d, y: (d, [y[0], y[1] * np.nan, y[2]]), "All 40 voxels hold values that are not finite"),
        (lambda d, y: (d, [run * 0 + 5 for run in y]), "All 40 voxels are constant or hold"),
        (lambda d, y: ([d[0] * 1.0, *d[1:]], y), "Run 1: design must be .* integers .* got float64"),
        (lambda d, y: ([np.eye(80, 3) * 2, *d[1:]], y), "Run 1: a design matrix holds only 0 and 1, got values up to 2"),
        (lambda d, y: ([np.ones((80, 3)), *d[1:]], y), "Run 1: 80 volumes have two onsets at once"),
        (lambda d, y: ([labels * 0 for labels in d], y), "design has no trial in any run"),
        (
            lambda d, y: ([np.arange(1, 81), *d[1:]], y),
            "Run 1: of its 80 volumes, 2 drifts, 0 confounds and 0 noise components leave 78 free, wanted more than its 80",
        ),
    ],
)
def test_bad_input_is_refused(change, message):
    design, data = change(*tiny())
    with pytest.raises(ValueError, match=message):
        fit_glm(design, data, tr=1.0)


def test_a_bad_tr_is_refused():
    with pytest.raises(ValueError, match="tr=-1: wanted the seconds between two volumes"):
        fit_glm(*tiny(), tr=-1)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"fractions": (1.2, 0.5)}, "fractions=.*: wanted numbers above 0 and at most 1"),
        ({"fractions": ()}, "fractions=.*: wanted numbers"),
        ({"fixed_pcs": 11}, "n_pcs=10, fixed_pcs=11: wanted 0 <= fixed_pcs <= n_pcs"),
        ({"voxel_batch": 0}, "voxel_batch=0: wanted at least 1"),
        ({"time_axis": 1}, "time_axis=1: wanted 0, volumes first, or -1, volumes last"),
        ({"degree": (1, -1, 1)}, r"degree=\(1, -1, 1\): wanted whole numbers, 0 or more"),
        ({"degree": 2.0}, "degree=2.0: wanted whole numbers"),
        ({"degree": (1, None)}, r"degree=\(1, None\): wanted whole numbers"),
        ({"fractions": "all"}, "fractions=all: wanted numbers"),
        ({"brain_r2": "5"}, "brain_r2='5': wanted a number"),
        ({"pc_r2": np.nan}, "pc_r2=nan: wanted a number"),
        ({"duration": None}, "duration=None: wanted a number"),
        ({"folds": 2}, "folds=2: wanted a tuple"),
    ],
)
def test_bad_options_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        GLMOptions(**wrong)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"folds": ((1,), (2,), (3,))}, r"folds=.*: wanted each of the 3 runs, counted from 0"),
        ({"folds": ((0, 1),)}, "folds=.*: wanted each of the 3 runs"),
        ({"folds": ()}, r"folds=\(\): wanted each of the 3 runs"),
        ({"sessions": (1, 1)}, r"sessions=\(1, 1\): wanted the session of each of the 3 runs, got 2"),
        ({"degree": (1, 2)}, r"degree=\(1, 2\): wanted one number, or one for each of the 3 runs"),
    ],
)
def test_options_that_do_not_fit_the_runs_are_refused_before_anything_is_fitted(wrong, message, monkeypatch):
    monkeypatch.setattr(steps, "fit_onoff", None)
    with pytest.raises(ValueError, match=message):
        fit_glm(*tiny(), tr=1.0, options=GLMOptions(brain_r2=1.0, **wrong))


class Interruption(Exception):
    pass


@pytest.mark.parametrize("progress", [0.02, 0.3, 0.5, 0.7, 0.99])
def test_an_interrupted_fit_goes_on_behind_its_last_batch(tmp_path, monkeypatch, progress):
    design, data = tiny()
    options = GLMOptions(brain_r2=1.0, voxel_batch=7)
    read, stop_at, bold = [], None, steps.Problem.bold

    def watched(problem, voxels, *order):
        read.append(voxels)
        if len(read) == stop_at:
            raise Interruption
        return bold(problem, voxels, *order)

    monkeypatch.setattr(steps.Problem, "bold", watched)
    whole = fit_glm(design, data, tr=1.0, options=options)
    n_batches, stop_at = len(read), max(1, int(progress * len(read)))
    read.clear()
    with pytest.raises(Interruption):
        fit_glm(design, data, tr=1.0, options=options, scratch=tmp_path)
    n_kept = sum(len(journal.read_text().splitlines()) for journal in tmp_path.glob("*.finished"))
    assert (n_kept > 0) == (progress > 0.02)
    read.clear()
    stop_at = None
    assert fit_glm(design, data, tr=1.0, options=options, scratch=tmp_path).identical(whole)
    assert len(read) == n_batches - n_kept


def test_what_another_input_left_behind_is_not_taken(tmp_path):
    design, data = tiny()
    options = GLMOptions(brain_r2=1.0)
    fit_glm(design, [series + 1 for series in data], tr=1.0, options=options, scratch=tmp_path / "fit")
    results = fit_glm(design, data, tr=1.0, options=options, scratch=tmp_path / "fit")
    assert results.identical(fit_glm(design, data, tr=1.0, options=options))


def test_a_folder_of_somebody_elses_files_is_left_alone(tmp_path):
    (tmp_path / "betas.npy").write_text("mine")
    with pytest.raises(ValueError, match=rf"scratch='{tmp_path}': wanted a new or empty folder.* holds 1 files"):
        fit_glm(*tiny(), tr=1.0, scratch=tmp_path)
    assert (tmp_path / "betas.npy").read_text() == "mine"


def test_a_batch_in_scratch_touches_few_pages_and_results_do_not_hang_on_it(tmp_path):
    design, data = tiny()
    results = fit_glm(design, data, tr=1.0, options=GLMOptions(brain_r2=1.0), scratch=tmp_path)
    assert np.load(tmp_path / "betas_d.npy", mmap_mode="r").flags.f_contiguous
    before = results.copy(deep=True)
    for path in tmp_path.glob("*.npy"):
        np.load(path, mmap_mode="r+")[:] = 7
    assert results.identical(before)
