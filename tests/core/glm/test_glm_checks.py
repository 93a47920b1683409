"""The GLM's requirements on its input: each is tested with an input that violates it, and with planted truth where it is met."""

import numpy as np
import pandas as pd
import pytest
import torch

from nsdlib.core.glm import hrf, linear
from nsdlib.core.glm.design import make_run_designs
from nsdlib.core.glm.fit import explain, fit_glm
from nsdlib.core.glm.options import GLMOptions

pytestmark = pytest.mark.numerical
PLAIN = GLMOptions(brain_r2=1.0, n_pcs=0)


def experiment(seed=0, *, n_runs=3, n_volumes=80, n_voxels=12, tr=1.0, late=None, amplitude=30):
    """Designs of ten conditions, repeated in each run, BOLD in scanner units, and the betas planted in it (percent of 1000)."""
    rng = np.random.default_rng(seed)
    responses, curve = 1 + rng.standard_normal((10, n_voxels)), hrf.canonical(tr)
    design, data, truth = [], [], []
    for run in range(n_runs):
        labels = np.zeros(n_volumes, dtype=int)
        labels[4 : n_volumes - 16 : 6][:10] = rng.permutation(10)[: len(labels[4 : n_volumes - 16 : 6][:10])] + 1
        if late is not None and run == 0:
            labels[late] = 3
        onsets = np.flatnonzero(labels)
        truth.append(amplitude / 10 * responses[labels[onsets] - 1])
        impulses = np.zeros((n_volumes, n_voxels))
        impulses[onsets] = 10 * truth[-1]
        clean = np.apply_along_axis(lambda x: np.convolve(x, curve)[:n_volumes], 0, impulses)
        design.append(labels)
        data.append(1000 + clean + 10 * rng.standard_normal((n_volumes, n_voxels)))
    return design, data, np.concatenate(truth)


def as_matrix(labels):
    return (labels[:, None] == np.arange(1, 11)).astype(int)


# the form of designs


def test_columns_with_names_are_matched_by_name_in_any_order():
    design, data, _ = experiment()
    names = [f"image {number}" for number in range(1, 11)]
    tables = [pd.DataFrame(as_matrix(labels), columns=names) for labels in design]
    rng = np.random.default_rng(1)
    shuffled = [table[list(rng.permutation(names))] for table in tables]
    fewer = [table.loc[:, table.any()] for table in shuffled]
    by_number, by_name, without = (fit_glm(given, data, tr=1.0, options=PLAIN) for given in (design, shuffled, fewer))
    assert by_name.identical(by_number) and without.identical(by_number)
    by_place = fit_glm([np.asarray(table) for table in shuffled], data, tr=1.0, options=PLAIN)
    assert not np.allclose(by_place.fraction_cv_error, by_number.fraction_cv_error)  # the names do matter


def test_scratch_of_other_names_is_not_taken(tmp_path):
    design, data, _ = experiment()
    names = np.array([f"image {number}" for number in range(1, 11)])
    for order in (np.arange(10), np.random.default_rng(2).permutation(10)):
        tables = [pd.DataFrame(as_matrix(labels), columns=names) for labels in design]
        tables[1].columns = names[order]
        kept = fit_glm(tables, data, tr=1.0, options=PLAIN, scratch=tmp_path)
        assert kept.identical(fit_glm(tables, data, tr=1.0, options=PLAIN))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda m: [pd.DataFrame(m[0]), m[1], m[2]], "run 1 names its columns and run 2 does not"),
        (lambda m: [m[0], m[1][:, :9], m[2]], "runs have 9 to 10 columns without names"),
        (lambda m: [pd.DataFrame(x, columns=[*"abcdefghi", "a"]) for x in m], "run 1 has two columns of one name"),
    ],
)
def test_conditions_that_cannot_be_matched_are_refused(change, message):
    design, data, _ = experiment()
    with pytest.raises(ValueError, match=message):
        fit_glm(change([as_matrix(labels) for labels in design]), data, tr=1.0)


def test_columns_of_data_with_other_names_are_refused():
    design, data, _ = experiment()
    tables = [pd.DataFrame(series).add_prefix("roi ") for series in data]
    assert fit_glm(design, tables, tr=1.0, options=PLAIN).identical(fit_glm(design, data, tr=1.0, options=PLAIN))
    tables[2] = tables[2].iloc[:, ::-1]
    with pytest.raises(ValueError, match=r"Run 3: data must be .* same 12 voxels as run 1, in the same order"):
        fit_glm(design, tables, tr=1.0)


@pytest.mark.parametrize("tr, duration", [(1.0, 4.0), (4.0, 4.0)])
def test_trials_marked_as_long_as_they_last_are_refused_and_the_advice_mends_it(tr, duration):
    design, data, _ = experiment(tr=tr)
    long = [sum(np.roll(labels, shift) for shift in range(4)) for labels in design]
    options = GLMOptions(brain_r2=1.0, n_pcs=0, duration=duration)
    with pytest.raises(ValueError, match=r"Run 1: condition \d+ is marked in volumes 4 and 5.*mark at the onset only"):
        fit_glm(long, data, tr=tr, options=options)
    mended = [labels * (np.diff(labels, prepend=0) != 0) for labels in long]  # the message's own words
    np.testing.assert_array_equal(mended, design)


def test_a_condition_may_follow_itself_when_stimuli_are_short():
    design, data, _ = experiment()
    for labels in design:
        labels[5] = labels[4]
    brief = GLMOptions(brain_r2=1.0, n_pcs=0, duration=1.0)
    assert fit_glm(design, data, tr=1.0, options=brief).sizes["trial"] == 33


# units


@pytest.mark.parametrize(
    "change",
    [
        lambda y: (y - y.mean(0)) / y.std(0),
        lambda y: y - y.mean(0),
        lambda y: y - (g := np.c_[np.ones(len(y)), y.mean(1)]) @ np.linalg.lstsq(g, y, rcond=None)[0],
    ],
    ids=["z-scored", "demeaned", "global signal regressed"],
)
def test_series_without_a_mean_are_refused(change):
    design, data, _ = experiment()
    with pytest.raises(ValueError, match=r"the mean of 12 of 12 voxels is smaller than .*Wanted BOLD in scanner units"):
        fit_glm(design, [change(series) for series in data], tr=1.0, options=PLAIN)
    mended = [change(series) + series.mean(0) for series in data]  # as the message says
    assert abs(fit_glm(design, mended, tr=1.0, options=PLAIN).betas_b).max() < 100


def test_betas_that_are_not_percent_need_no_mean():
    design, data, _ = experiment()
    plain, demeaned = (
        fit_glm(design, bold, tr=1.0, options=GLMOptions(brain_r2=1.0, n_pcs=0, percent=False))
        for bold in (data, [series - series.mean(0) for series in data])
    )
    np.testing.assert_allclose(demeaned.betas_d, plain.betas_d, rtol=1e-4, atol=1e-4)


def test_a_few_voxels_without_a_mean_are_named():
    design, data, _ = experiment()
    for series in data:
        series[:, 4] -= 1000
    with pytest.warns(UserWarning, match=r"1 of 12 voxels vary more than their mean \(voxel 4\): percent signal change is"):
        fit_glm(design, data, tr=1.0, options=PLAIN)


def test_data_with_voxels_first_are_told_from_data_of_another_length():
    design, data, _ = experiment()
    with pytest.raises(ValueError, match=r"Run 1: .*\(n_volumes, n_voxels\), got shape \(12, 80\) .*`series.T`"):
        fit_glm(design, [series.T for series in data], tr=1.0)


def test_seconds_are_not_milliseconds():
    design, data, _ = experiment()
    with pytest.raises(ValueError, match=r"tr=1333: wanted the seconds .* In milliseconds\? Give 1.333"):
        fit_glm(design, data, tr=1333)
    with pytest.raises(ValueError, match="tr=1333"):
        hrf.sampled_library(1333)
    with pytest.raises(ValueError, match="duration=500: wanted the stimulus duration in seconds; run 1 has 80 s"):
        fit_glm(design, data, tr=1.0, options=GLMOptions(duration=500))
    with pytest.raises(ValueError, match="duration=-1: wanted the stimulus duration"):
        GLMOptions(duration=-1)


def test_hrfs_of_any_height_are_taken_with_a_peak_of_one():
    """GLMsingle divides each by its maximum."""
    design, data, _ = experiment()
    hrfs, canonical = hrf.sampled_library(1.0)[::4], hrf.canonical(1.0)
    heights = np.array([0.2, 3, 50, 1, 7])[:, None]
    plain, scaled = (
        fit_glm(design, data, tr=1.0, hrfs=hrfs * factor, canonical=canonical * factor[0], options=PLAIN)
        for factor in (np.ones((5, 1)), heights)
    )
    for name in plain:
        np.testing.assert_allclose(scaled[name], plain[name], rtol=1e-5, atol=1e-5)
    betas = plain.betas_b.values[:10, 0]
    ours, again = (explain(design[0], data[0][:, 0], betas, hrf=curve, tr=1.0)[1] for curve in (hrfs[0], 9 * hrfs[0]))
    np.testing.assert_allclose(again, ours, rtol=1e-5)


@pytest.mark.parametrize(
    "hrfs, message",
    [
        ({"hrfs": hrf.sampled_library(1.0).T}, r"hrfs must be \(n_hrfs, n_samples\), .* of shape \(53, 20\).*transpose"),
        ({"hrfs": [[0, np.nan, 1]]}, "hrfs must be .* finite"),
        ({"hrfs": []}, "hrfs must be"),
        ({"canonical": hrf.sampled_library(1.0)}, r"canonical must be \(n_samples,\), .* of shape \(20, 53\)"),
        ({"canonical": "spm"}, "canonical must be numbers, got str"),
    ],
)
def test_hrfs_of_another_form_are_refused(hrfs, message):
    design, data, _ = experiment()
    with pytest.raises(ValueError, match=message):
        fit_glm(design, data, tr=1.0, **hrfs)


@pytest.mark.parametrize("kind", [">f4", ">i2", "<u2", "f2"])
def test_numbers_of_every_kind_and_byte_order_are_the_same_numbers(kind):
    design, data, _ = experiment()
    data = [np.rint(series) for series in data]
    plain = fit_glm(design, data, tr=1.0, options=PLAIN)
    given = {"hrfs": hrf.sampled_library(1.0).astype(">f4"), "canonical": hrf.canonical(1.0).astype(">f8")}
    other = fit_glm([labels.astype(">i4") for labels in design], [x.astype(kind) for x in data], tr=1.0, options=PLAIN, **given)
    assert other.identical(plain)


def test_what_is_no_number_is_refused():
    design, data, _ = experiment()
    with pytest.raises(ValueError, match="Run 2: data must be real numbers, BOLD in scanner units, got object"):
        fit_glm(design, [data[0], data[1].astype(object), data[2]], tr=1.0)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"pc_stop": -5}, "pc_stop=-5: wanted a number from 1; fixed_pcs=B removes B components"),
        ({"pc_stop": np.nan}, "pc_stop=nan: wanted"),
        ({"n_pcs": 2.5}, "n_pcs=2.5: wanted a whole number"),
        ({"fixed_pcs": "3"}, "fixed_pcs='3': wanted a whole number"),
    ],
)
def test_numbers_of_components_that_are_none_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        GLMOptions(**wrong)


def test_a_voxel_that_is_constant_in_a_run_gives_no_noise_component():
    design, data, _ = experiment(n_voxels=60, amplitude=0)
    data[1][:, :40] = 1000.1  # what rounding leaves of them without drifts is of one shape
    options = GLMOptions(brain_r2=100.0, fixed_pcs=5)
    found, alone = (fit_glm(design, [bold[:, n:] for bold in data], tr=1.0, options=options) for n in (0, 40))
    assert found.noise_pool.all()
    ours, wanted = (fit.components.values[1].T.astype(float) for fit in (found, alone))
    np.testing.assert_allclose(np.abs(ours @ wanted.T).diagonal(), 1, atol=1e-3)


# degrees of freedom


def test_more_confounds_than_volumes_are_refused():
    """A whole table of fMRIPrep has some two hundred columns."""
    design, data, _ = experiment(n_volumes=60)
    tables = [np.random.default_rng(run).standard_normal((60, 189)) for run in range(3)]
    with pytest.raises(ValueError, match=r"Run 1: of its 60 volumes, 2 drifts, 58 confounds .* leave 0 free.*fewer confounds"):
        fit_glm(design, data, tr=1.0, confounds=tables, options=PLAIN)
    fitted = fit_glm(design, data, tr=1.0, confounds=[table[:, :12] for table in tables], options=PLAIN)
    assert np.isfinite(fitted.betas_d).all()


def test_a_run_shorter_than_the_components_is_refused_with_a_number_that_does():
    design, data, _ = experiment(n_voxels=60, amplitude=0)
    design[2], data[2] = design[2][:9], data[2][:9]  # with one trial
    with pytest.raises(ValueError, match=r"Run 3: of its 9 volumes, 1 drifts, .*10 noise components .* n_pcs of at most 6"):
        fit_glm(design, data, tr=1.0, options=GLMOptions(brain_r2=50.0))
    assert fit_glm(design, data, tr=1.0, options=GLMOptions(brain_r2=50.0, n_pcs=6, fixed_pcs=6)).n_pcs == 6


def test_confounds_that_hold_the_task_are_refused():
    design, data, _ = experiment()
    task = [np.convolve(labels > 0, hrf.canonical(1.0))[:80, None] for labels in design]
    with pytest.raises(ValueError, match="No trial can be fitted: confounds explain the response to all trials"):
        fit_glm(design, data, tr=1.0, confounds=task)


def test_a_fit_without_any_beta_is_an_error():
    design, data, _ = experiment()
    with pytest.raises(ValueError, match="No trial has a beta"):
        fit_glm(design, data, tr=1.0, hrfs=[[0] * 80 + [1]], options=PLAIN)


def test_trials_that_confounds_tie_together_cannot_be_told_apart():
    curve = torch.as_tensor(hrf.canonical(1.0), dtype=torch.float64)
    trials = torch.eye(80, dtype=torch.float64)[:, [10, 40]]
    trials[10 : 10 + len(curve), 0], trials[40:, 1] = curve[:52], curve[:40]
    both = linear.orthonormal(trials.sum(1, keepdim=True))
    with pytest.raises(ValueError, match="Run 2: its 2 trials cannot be separated in 80 volumes"):
        linear.solve_block(trials[None], both, run=2)


@pytest.mark.parametrize(
    "confounds, message",
    [
        (True, "confounds must be a list of one .* array per run, got bool"),
        ([[["n/a"], [1]]] * 3, "Run 1: confounds must be numbers, got list .*'n/a'"),
    ],
)
def test_confounds_that_are_none_or_no_numbers(confounds, message):
    design, data, _ = experiment()
    with pytest.raises(ValueError, match=message):
        fit_glm(design, data, tr=1.0, confounds=confounds)
    assert fit_glm(design, data, tr=1.0, confounds=False, options=PLAIN).identical(fit_glm(design, data, tr=1.0, options=PLAIN))


def test_one_series_needs_no_threshold():
    design, data, _ = experiment(n_voxels=1)
    with pytest.warns(UserWarning, match="Denoising is off: 0 voxels in the noise pool"):
        fitted = fit_glm(design, data, tr=1.0)
    assert np.isnan(fitted.threshold) and np.isfinite(fitted.betas_d).all()
    same = fit_glm(design, data, tr=1.0, options=PLAIN)
    np.testing.assert_array_equal(fitted.betas_d, same.betas_d)


@pytest.mark.parametrize("late, lss", [(77, False), (78, False), (77, True)])
def test_a_trial_at_the_end_of_a_run_is_named_and_has_no_say(late, lss):
    options = GLMOptions(brain_r2=1.0, n_pcs=0, lss=lss)
    design, data, truth = experiment(late=late)
    with pytest.warns(UserWarning, match=r"1 of 31 trials begin too close to the end of their run .*\(run 1, volume 7[78]\)"):
        fitted = fit_glm(design, data, tr=1.0, options=options)
    others = np.arange(31) != 10
    for kind in "bcd":
        betas = fitted[f"betas_{kind}"].values
        assert (betas[10] == 0).all()
        assert np.corrcoef(betas[others].ravel(), truth[others].ravel())[0, 1] > 0.9
    clean = fit_glm(*experiment()[:2], tr=1.0, options=options)
    np.testing.assert_allclose(fitted.scale, clean.scale, atol=0.1)


def test_of_the_other_trials_least_squares_are_those_with_the_late_one_in_it():
    design, data, _ = experiment(late=78)
    with pytest.warns(UserWarning, match="begin too close"):
        fitted = fit_glm(design, data, tr=1.0, hrfs=hrf.canonical(1.0), options=PLAIN)
    trials = np.stack([np.convolve(np.arange(80) == onset, hrf.canonical(1.0))[:80] for onset in np.flatnonzero(design[0])])
    full = np.c_[trials.T, np.vander(np.linspace(-1, 1, 80), 2)]
    expected = np.linalg.lstsq(full, data[0], rcond=None)[0][:10] * 100 / np.concatenate(data).mean(0)
    np.testing.assert_allclose(fitted.betas_c.values[:10], expected, rtol=1e-4, atol=1e-4)


def test_a_trial_is_late_when_little_of_its_response_lies_in_the_run():
    curve = np.array([0, 0.1, 0.5, 1.0])
    share = np.cumsum(curve**2) / np.sum(curve**2)
    assert (share < 0.05).tolist() == [True, True, False, False]
    for onset, late in ((79, True), (78, True), (77, False), (76, False), (10, False)):
        labels = np.zeros(80, dtype=int)
        labels[onset] = 1
        [run] = make_run_designs([labels], [np.zeros((80, 1))], tr=1.0)
        assert run.late(torch.as_tensor(curve)).tolist() == [late]


def test_options_of_another_kind_are_refused():
    with pytest.raises(ValueError, match=r"options must be GLMOptions\(\.\.\.\), got dict"):  # GLMsingle takes a dictionary
        fit_glm([np.ones(9, int)], [np.ones((9, 2))], tr=1.0, options={"n_pcs": 5})
