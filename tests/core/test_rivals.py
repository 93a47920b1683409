import math

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch.nn import functional as F

from nsdlib.core.random import generators, normal
from nsdlib.core.rivals import NAMES, make, mindeye
from nsdlib.core.rivals.contrastive import bimixco, mix, soft_clip
from nsdlib.core.rivals.decoder import Batches, Best, Steps, hold_out
from nsdlib.core.rivals.mappers import LineNetwork, VolumeConvolution, VolumePool, contrastive_loss, similarity_loss
from nsdlib.core.rivals.mindeye import soft_tau
from nsdlib.core.rivals.prior import Prior, cosine_schedule
from nsdlib.core.scores.retrieval import retrieval

N, N_FEATURES = 5, 7
EYE = {"width": 96, "n_blocks": 1, "projector_width": 32, "depth": 1, "n_heads": 2, "n_times": 20}
SMALL = {
    "mindeye": EYE | {"n_epochs": 60, "batch_size": 16, "rate": 3e-3},
    "mindreader": {"width": 12, "n_blocks": 1, "n_epochs": 40, "batch_size": 16, "rate": 1e-2},
    "gu": {"widths": (8, 8), "n_epochs": 10, "rate": 1e-2},
}


@pytest.fixture
def batch():
    draw = torch.Generator().manual_seed(0)
    predicted, true = (torch.randn(N, N_FEATURES, generator=draw, dtype=torch.float64) for _ in range(2))
    share = torch.tensor([1, 0.3, 1, 0.8, 0.6], dtype=torch.float64)
    return predicted, true, share, torch.tensor([2, 0, 1, 3, 4])  # the last two are their own partners


@pytest.fixture(scope="module")
def planted():
    """Patterns that are linear in an image's three tokens of 8 features, with noise: 160 images to fit, 40 to test."""
    draw = np.random.default_rng(0)
    hidden = draw.standard_normal((200, 6))
    Y = (hidden @ draw.standard_normal((6, 24)) + 3 * draw.standard_normal(24)).reshape(200, 3, 8)
    Y = (Y / np.linalg.norm(Y[:, :1], axis=2, keepdims=True)).reshape(200, 24).astype(np.float32)
    X = (Y - Y.mean(0)) @ draw.standard_normal((24, 64)) + 0.1 * draw.standard_normal((200, 64))
    X = ((X - X.mean(0)) / X.std(0)).astype(np.float32)
    return X[:160], Y[:160], X[160:], Y[160:]


def small(name, **settings):
    places = {"places": np.indices((4, 4, 4)).reshape(3, -1).T} if name == "gu" else {}
    return make(name, **{"n_features": 8} | SMALL[name] | places | settings)


def cosines(a, b):
    return [[sum(x * y for x, y in zip(p, t, strict=True)) / math.hypot(*p) / math.hypot(*t) for t in b] for p in a]


def log_softmax(row):
    total = math.log(sum(math.exp(s - max(row)) for s in row)) + max(row)
    return [s - total for s in row]


def test_bimixco_is_its_formula(batch):
    predicted, true, share, partner = batch
    logits = [[c / 0.05 for c in row] for row in cosines(predicted.tolist(), true.tolist())]
    along, down = [log_softmax(row) for row in logits], [log_softmax(column) for column in zip(*logits, strict=True)]
    expected = 0.0
    for i in range(N):
        for weight, j in ((float(share[i]), i), (1 - float(share[i]), int(partner[i]))):  # which add up where j is i
            expected -= weight * (along[i][j] + down[j][i]) / (2 * N)
    assert bimixco(predicted, true, share, partner, tau=0.05).item() == pytest.approx(expected, rel=1e-12)


def test_soft_clip_is_its_formula(batch):
    predicted, true = batch[0].tolist(), batch[1].tolist()
    own = [[math.exp(s) for s in log_softmax([c / 0.1 for c in row])] for row in cosines(true, true)]
    expected = 0.0
    for a, b in ((predicted, true), (true, predicted)):
        for q, row in zip(own, cosines(a, b), strict=True):
            expected -= sum(x * y for x, y in zip(q, log_softmax([c / 0.1 for c in row]), strict=True)) / (2 * N)
    assert soft_clip(*batch[:2], tau=0.1).item() == pytest.approx(expected, rel=1e-12)


def test_gradients_of_losses_are_those_of_finite_differences(batch):
    predicted, true, share, partner = batch
    given = predicted.requires_grad_(), true.requires_grad_()
    assert torch.autograd.gradcheck(lambda p, t: bimixco(p, t, share, partner, tau=0.2), given)
    assert torch.autograd.gradcheck(lambda p, t: soft_clip(p, t, tau=0.2), given)
    assert torch.autograd.gradcheck(contrastive_loss, given) and torch.autograd.gradcheck(similarity_loss, given)


def test_limits_of_losses(batch):
    predicted, true, _, partner = batch
    whole, own = torch.ones(N), torch.arange(N)
    logits = F.normalize(predicted) @ F.normalize(true).T / 0.3
    info_nce = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    torch.testing.assert_close(bimixco(predicted, true, whole, partner, tau=0.3), info_nce)
    assert soft_clip(3 * true, true, tau=1e-3).item() == pytest.approx(0, abs=1e-12)
    assert bimixco(3 * true, true, whole, partner, tau=1e-3).item() == pytest.approx(0, abs=1e-12)
    assert soft_clip(true.roll(1, 0), true, tau=1e-3) > 100
    assert similarity_loss(true, true).item() == pytest.approx(0, abs=1e-12)


def test_patterns_are_mixed_by_their_shares(batch):
    x, _, share, partner = batch
    expected = np.stack([share[i] * x[i] + (1 - share[i]) * x[partner[i]] for i in range(N)])
    np.testing.assert_allclose(mix(x, share, partner), expected, rtol=1e-12)


def test_schedule_is_the_published_one():
    left, n = cosine_schedule(100), 100
    expected = [math.cos((t / n + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(n + 1)]
    np.testing.assert_allclose(left[:-1], np.array(expected[1:-1]) / expected[0], rtol=1e-9)  # the last step is bounded
    theirs = DDPMScheduler(100, beta_schedule="squaredcos_cap_v2").alphas_cumprod
    np.testing.assert_allclose(left, theirs, rtol=2e-4)  # theirs is float32


@pytest.mark.parametrize("n_steps", [None, 5])
def test_sampling_is_that_of_diffusers(n_steps, monkeypatch):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        prior = Prior(3, 8, depth=1, n_heads=2, n_times=20).eval()
        condition = torch.randn(4, 3, 8)
    settings = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "sample", "clip_sample": False}
    scheduler = DDPMScheduler(20, **settings) if n_steps is None else DDIMScheduler(20, **settings)
    scheduler.set_timesteps(n_steps or 20)
    x = normal(condition, streams := generators(7, range(4)))
    monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *a, **k: normal(condition, streams))
    with torch.inference_mode():
        for time in scheduler.timesteps:
            clean = prior(x, time.expand(4), condition)
            x = scheduler.step(clean, time, x).prev_sample
        drawn = prior.sample(condition, generators(7, range(4)), n_steps=n_steps)
    torch.testing.assert_close(drawn, x / 8**0.5, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n_steps", [None, 4])
def test_a_map_that_is_known_is_recovered_whatever_the_noise(n_steps, monkeypatch):
    prior, condition = (
        Prior(3, 8, depth=1, n_heads=2, n_times=20),
        torch.randn(4, 3, 8, generator=torch.Generator().manual_seed(1)),
    )
    monkeypatch.setattr(prior, "forward", lambda noisy, times, condition: prior.scale * condition.tanh())
    torch.testing.assert_close(prior.sample(condition, generators(0, range(4)), n_steps=n_steps), condition.tanh())


def test_a_trained_prior_draws_by_the_condition_and_not_by_the_batch():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        prior = Prior(2, 8, depth=1, n_heads=2, n_times=20)
        condition = F.normalize(torch.randn(64, 2, 8), dim=-1)
        target = condition.flip(1, 2)
        optimiser = torch.optim.Adam(prior.parameters(), lr=1e-2)
        step = Steps(prior, optimiser, prior.loss)
        for _ in range(300):
            step(target, condition)
    with torch.inference_mode():
        drawn = prior.eval().sample(condition, generators(0, range(64)))
        part = prior.sample(condition[40:50], generators(0, range(40, 50)))
    assert F.mse_loss(drawn, target) < 0.35 * target.var()
    torch.testing.assert_close(part, drawn[40:50], rtol=1e-4, atol=1e-5)


def test_noisy_tokens_have_the_share_of_the_schedule_and_hidden_ones_do_not_count():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        prior = Prior(2, 8, depth=1, n_heads=2, n_times=20).eval()
        one, two, noisy = torch.randn(3, 4, 2, 8)
    times, hidden = torch.arange(4), torch.tensor([[False] * 4, [True] * 4])
    torch.testing.assert_close(prior(noisy, times, one, hidden), prior(noisy, times, two, hidden))
    assert not torch.allclose(prior(noisy, times, one), prior(noisy, times, two))
    torch.testing.assert_close(prior(noisy, times, one, ~(hidden & False)), prior(noisy, times, one))
    seen = []
    prior.forward = lambda noisy, times, condition, shown: seen.append((noisy, times)) or noisy
    with torch.random.fork_rng():
        torch.manual_seed(1)
        prior.loss(torch.full((4000, 2, 8), 0.5), one)
    noisy, times = seen[0]
    left = cosine_schedule(20)[times].float()
    for time in (0, 10, 19):
        values, abar = noisy[times == time], left[times == time][0]
        assert values.mean().item() == pytest.approx((abar**0.5 * 0.5 * 8**0.5).item(), abs=0.08)
        assert values.var().item() == pytest.approx((1 - abar).item(), rel=0.15)


def test_temperatures_follow_half_a_cosine():
    taus = [soft_tau(epoch, 161) for epoch in range(161)]
    assert taus[0] == pytest.approx(0.004) and taus[-1] == pytest.approx(0.0075) and taus[80] == pytest.approx(0.00575)


def test_batches_hold_no_image_twice_and_trials_take_turns():
    images = np.random.default_rng(0).permutation(np.repeat(np.arange(23), 3))[:-2]  # of which some have fewer trials
    batches, seen = Batches(images, 5, seed=0), []
    for _ in range(30):
        rows = batches.epoch()
        assert rows.shape == (4, 5) and len(np.unique(images[rows])) == 20
        seen.append(rows)
    assert set(np.ravel(seen)) == set(range(len(images)))
    fitted, held = hold_out(images, 0.2, seed=0)
    assert len(np.unique(images[held])) == 5 and not set(images[held]) & set(images[fitted])


def test_the_best_weights_are_kept_and_a_number_that_is_none_never_wins():
    layer = torch.nn.Linear(1, 1)
    best = Best(layer)
    for weight, error in ((1.0, 3.0), (2.0, 1.0), (3.0, float("nan")), (4.0, 1.0)):
        torch.nn.init.constant_(layer.weight, weight)
        best.note(torch.tensor(error))
    best.restore()
    assert layer.weight.item() == 2


def test_volume_convolution_is_its_formula_and_so_is_its_gradient():
    draw = np.random.default_rng(0)
    places = np.indices((3, 3, 3)).reshape(3, -1).T[np.sort(draw.permutation(27)[:17])]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer, x = VolumeConvolution(places, 1, 2).double(), torch.randn(17, 3, 1, dtype=torch.float64, requires_grad=True)
    row = {tuple(place): number for number, place in enumerate(places.tolist())}
    weight, bias = layer.weigh.weight.detach().numpy(), layer.weigh.bias.detach().numpy()
    values, expected = x.detach().numpy()[:, :, 0], np.empty((17, 3, 2))
    for voxel, place in enumerate(places.tolist()):
        own, around, slopes = values[voxel], [], []
        for axis in range(3):
            ends = [tuple(p + sign * (a == axis) for a, p in enumerate(place)) for sign in (1, -1)]
            around += [values[row[end]] for end in ends if end in row]
            slopes.append(np.subtract(*(values[row[end]] if end in row else own for end in ends)) / 2)
        laplacian = np.mean(around, axis=0) - own if around else 0 * own
        expected[voxel] = np.stack([own, laplacian, *slopes], 1) @ weight.T + bias
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-10, atol=1e-12)
    assert torch.autograd.gradcheck(layer, (x,))


def test_pooling_takes_the_largest_of_each_block():
    places = np.array([[0, 0, 0], [4, 5, 5], [1, 1, 0], [2, 0, 0], [0, 1, 1]])
    x = torch.tensor([1.0, -7, 5, 2, 3]).reshape(5, 1, 1).requires_grad_()
    pool = VolumePool(places)
    assert pool.places.tolist() == [[0, 0, 0], [1, 0, 0], [2, 2, 2]] and pool(x).flatten().tolist() == [5, 2, -7]
    pool(x).sum().backward()
    assert x.grad.flatten().tolist() == [0, 1, 1, 1, 0]


def test_published_sizes():
    with torch.device("meta"):
        line = LineNetwork(15_744, 512)
        eye = make("mindeye", n_features=768)._build(15_724, 257 * 768)
    n_parameters = [sum(p.numel() for p in module.parameters()) for module in (line, eye.backbone, eye.projector)]
    assert n_parameters[0] == pytest.approx(1.16e6, rel=0.01)  # RECIPES: 1.16 M, and 947.6 M of backbone and projector
    assert sum(n_parameters[1:]) == pytest.approx(947.6e6, rel=1e-3)


@pytest.mark.numerical
@pytest.mark.parametrize("settings", [{}, {"residual": False, "prior": False}])
def test_other_subjects_teach_mindeye_what_it_shares_with_few_images_of_its_own(planted, settings):
    X, Y, X_test, Y_test = planted
    draw, others, few = np.random.default_rng(1), [], slice(24)
    for n_voxels in (50, 70):  # each sees its images with voxels of its own, two trials an image
        seen = np.repeat((Y - Y.mean(0)) @ draw.standard_normal((24, n_voxels)), 2, axis=0)
        seen = (seen / seen.std(0) + 0.1 * draw.standard_normal(seen.shape)).astype(np.float32)
        others.append((seen, Y, np.repeat(np.arange(160), 2)))
    alone, taught = (small("mindeye", **settings).fit(X[few], Y[few], others=given) for given in ((), others))
    again = small("mindeye", **settings).fit(X[few], Y[few], others=others)
    np.testing.assert_array_equal(taught.retrieve(X_test), again.retrieve(X_test))
    found = [retrieval(one.retrieve(X_test), Y_test)[0].mean() for one in (alone, taught)]
    assert found[1] > found[0] + 0.15 and not len(taught.network.others)
    with pytest.raises(ValueError, match="needs at least 20 training images, got 19"):
        small("mindeye", **settings).fit(X, Y, others=[(X[:19], Y, np.arange(19))])


def test_a_batch_of_several_subjects_has_the_loss_of_the_formulas(planted):
    X, Y, *_ = planted
    eye = small("mindeye", prior=False, residual=False)
    network = mindeye.Network(64, 3, eye, [40])
    subjects = [
        tuple(map(torch.from_numpy, one)) for one in ((X, Y, np.arange(160)), (X[:, :40], Y, np.arange(160)[::-1].copy()))
    ]
    rows, partner = torch.tensor([[3, 5, 8], [9, 1, 4]]), torch.tensor([[1, 0, 2], [2, 0, 1]])
    share = torch.tensor([[0.3, 1, 0.9], [0.5, 0.2, 1]])
    loss = eye._loss(network, subjects, True)(rows, share, partner)
    first, second = (mix(x[r], s, p) for (x, *_), r, s, p in zip(subjects, rows, share, partner, strict=True))
    hidden = torch.cat([network.backbone[0](first), network.others[0](second)])
    projected = network.projector(network.backbone[2](network.backbone[1](hidden))).flatten(1)
    true = torch.from_numpy(Y[[3, 5, 8, 150, 158, 155]])
    wanted = bimixco(projected, true, share.flatten(), torch.tensor([1, 0, 2, 5, 3, 4]), tau=0.006)
    torch.testing.assert_close(loss, wanted)


@pytest.mark.numerical
@pytest.mark.parametrize("settings", [{}, {"residual": False}, {"prior": False, "mixing": False}], ids=str)
def test_mindeye_finds_images_and_predicts_better_than_their_mean(planted, settings):
    X, Y, X_test, Y_test = planted
    decoder = small("mindeye", **settings).fit(X, Y)
    found = decoder.retrieve(X_test)
    assert retrieval(found, Y_test).mean(1).min() > 0.5  # chance is 1 in 40
    if decoder.prior:
        predicted = decoder.predict(X_test)
        assert np.square(predicted - Y_test).mean() < 0.9 * np.square(Y.mean(0) - Y_test).mean()
        np.testing.assert_allclose(decoder.predict(X_test[5:9], image_ids=range(5, 9)), predicted[5:9], rtol=1e-3, atol=1e-4)
    else:
        lengths = np.linalg.norm(decoder.predict(X_test), axis=1)
        np.testing.assert_allclose(lengths, np.linalg.norm(Y, axis=1).mean(), rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_pairs_that_are_permuted_teach_nothing(planted, name):
    X, Y, X_test, Y_test = planted
    order = np.random.default_rng(1).permutation(len(Y))
    decoder = small(name, n_epochs=15).fit(X, Y[order])
    found = decoder.retrieve(X_test) if name == "mindeye" else decoder.predict(X_test)
    assert retrieval(found, Y_test, 5).mean() < 0.3  # chance is 1 in 8, with a standard error of 1 in 20


@pytest.mark.numerical
def test_mind_reader_learns_directions():
    draw = np.random.default_rng(0)
    hidden = draw.standard_normal((400, 4))
    X = (hidden @ draw.standard_normal((4, 64)) + 0.3 * draw.standard_normal((400, 64))).astype(np.float32)
    Y = (hidden / np.linalg.norm(hidden, axis=1, keepdims=True)).astype(np.float32)
    predicted = small("mindreader", n_features=4, n_epochs=30).fit(X[:320] / 2, Y[:320]).predict(X[320:] / 2)
    # chance is 0 with a standard error of 0.06; a seed in five, or another order of additions, loses one of the four directions
    assert ((predicted * Y[320:]).sum(1) / np.linalg.norm(predicted, axis=1)).mean() > 0.7
    assert np.square(predicted - Y[320:]).mean() < 0.8 * Y[320:].var()


@pytest.mark.numerical
def test_a_map_of_the_volume_is_learned_from_its_slopes():
    draw, places = np.random.default_rng(0), np.indices((4, 4, 4)).reshape(3, -1).T
    slopes = draw.standard_normal((300, 3))
    X = (slopes @ (places.T - 1.5) + 0.3 * draw.standard_normal((300, 64))).astype(np.float32)
    Y = (slopes / np.linalg.norm(slopes, axis=1, keepdims=True)).astype(np.float32)
    decoder = make("gu", n_features=3, places=places, widths=(8, 16), n_epochs=25, rate=1e-2).fit(X[:240], Y[:240])
    assert (decoder.predict(X[240:]) * Y[240:]).sum(1).mean() > 0.8


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_the_same_numbers_and_leaves_the_global_ones_alone(planted, name):
    X, Y, X_test, _ = (part[:40] for part in planted)
    images = np.repeat(np.arange(20), 2)
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    one, two = (small(name, n_epochs=3).fit(X, Y, images=images).predict(X_test) for _ in range(2))
    torch.testing.assert_close(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(one, two)
    assert one.dtype == np.float32 and one.shape == (40, 24)
    assert not np.allclose(small(name, n_epochs=3, seed=1).fit(X, Y, images=images).predict(X_test), one)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda X, Y: make("mindeyes", n_features=8), "did you mean 'mindeye'"),
        (lambda X, Y: make("mindeye", n_features=8, widths=3), "did you mean 'width'"),
        (lambda X, Y: make("mindeye", n_features=8, width=0), "width of 'mindeye' must be at least 1, got 0"),
        (lambda X, Y: small("gu", batch_size=1), "batch_size of 'gu' must be at least 2, got 1"),
        (lambda X, Y: Prior(3, 8, n_heads=2).sample(None, [], n_steps=101), "from 1 to the 100 times of the prior, got 101"),
        (lambda X, Y: make("gu", n_features=8), "places"),
        (lambda X, Y: small("mindeye", n_heads=3).fit(X, Y), "multiple of n_heads"),
        (lambda X, Y: small("mindreader").predict(X), "call fit"),
        (lambda X, Y: small("mindreader").fit(X, Y[:, :-1]), "a multiple of n_features=8 values per row, got 23"),
        (lambda X, Y: small("mindreader").fit(X, Y[:-1]), "as many images"),
        (lambda X, Y: small("mindreader").fit(X, Y * np.nan), "Y holds"),
        (lambda X, Y: small("mindreader").fit(X[:19], Y[:19]), "at least 20 training images, got 19"),
        (lambda X, Y: small("mindreader").fit(X, Y, images=np.zeros(3)), r"each of 160 rows, got shape \(3,\)"),
        (lambda X, Y: small("gu", places=np.zeros((64, 3), dtype=int)).fit(X, Y), "64 different positions"),
        (lambda X, Y: retrieval(Y, Y[:, :-1]), "of one shape"),
        (lambda X, Y: retrieval(Y, Y, 160), "k=160 and 160 candidates"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(planted, call, message):
    with pytest.raises(ValueError, match=message):
        call(*planted[:2])


def test_retrieval_counts_what_is_nearer():
    true = np.eye(4)
    predicted = np.array([[1, 0, 0, 0], [0, 1, 2, 0], [0, 0, 3, 0], [0, 0, 0, 0.0]])
    assert retrieval(predicted, true).tolist() == [[1, 0, 1, 0], [1, 1, 1, 0]]
    assert retrieval(predicted, true, 2).tolist() == [[1, 1, 1, 0], [1, 1, 1, 0]]


def test_retrieval_among_fewer_is_what_draws_come_to():
    draw = np.random.default_rng(0)
    true = draw.standard_normal((30, 6))
    predicted = true + draw.standard_normal((30, 6))
    shares = np.zeros((2, 30))
    n = np.zeros(30)
    for _ in range(3000):
        rows = draw.permutation(30)[:10]
        shares[:, rows] += retrieval(predicted[rows], true[rows], 2)
        n[rows] += 1
    np.testing.assert_allclose(retrieval(predicted, true, 2, among=10), shares / n, atol=0.06)
