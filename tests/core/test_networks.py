"""Decoders: the parameter counts of the paper's Table 1, learning of planted truth, seeds, and errors."""

import gc
import weakref

import numpy as np
import pytest
import torch

from nsdlib.core import gru, networks, ridge, training

pytestmark = pytest.mark.numerical


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def planted():
    """Patterns whose latents are a known linear map of them."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((260, 40)).astype(np.float32)
    Y = (X[:, :6] @ rng.standard_normal((6, 12)) + 3).astype(np.float32)
    return X[:200], Y[:200], X[200:], Y[200:]


def test_gru_is_table_1():
    shapes = []
    network = networks.build_network("gru", 15724, 13344).eval()
    for layer in network:
        layer.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape)))
    network(torch.zeros(2, 15724))
    assert sum(parameter.numel() for parameter in network.parameters()) == 12_400_344
    assert shapes == [(2, 200), (2, 200), (2, 200), (2, 13344)]


@pytest.mark.parametrize("name", ["gated_mlp", "roi_gru", "cnn", "transformer"])
def test_others_have_about_as_many_parameters_as_the_gru(name):
    assert networks.count_parameters(name, 15724, 13344) == pytest.approx(12_400_344, rel=0.1)


def test_parameters_are_counted_as_they_are_trained(planted):
    groups = np.arange(40) % 7
    decoder = networks.make("roi_gru", max_epochs=1, groups=groups).fit(*planted[:2])
    trained = sum(parameter.numel() for parameter in decoder.network.parameters())
    assert networks.count_parameters("roi_gru", 40, 12, groups) == trained


def test_recurrent_weights_of_one_step_get_no_gradient():
    network = networks.build_network("gru", 30, 8)
    network(torch.randn(4, 30)).sum().backward()
    recurrent = [p for name, p in network.named_parameters() if "weight_hh" in name]
    assert sum(p.numel() for p in recurrent) == 120_000
    assert all(p.grad is None or not p.grad.any() for p in recurrent)


@pytest.mark.parametrize("n_steps", [1, 4])
def test_plain_products_have_the_numbers_and_gradients_of_torchs_gru(n_steps):
    ours = gru.PlainGRU(gru.BLOCK + 70, 20).double()
    peer = torch.nn.GRU(gru.BLOCK + 70, 20, bidirectional=True).double()
    peer.load_state_dict(ours.state_dict())
    x = torch.randn(n_steps, 6, gru.BLOCK + 70, dtype=torch.float64, requires_grad=True)
    y, wanted, weights = ours(x), peer(x)[0], torch.randn(n_steps, 6, 40)
    torch.testing.assert_close(y, wanted, rtol=0, atol=1e-12)
    found = torch.autograd.grad((y * weights).sum(), [x, *ours.parameters()], materialize_grads=True)
    true = torch.autograd.grad((wanted * weights).sum(), [x, *peer.parameters()])
    torch.testing.assert_close(found, true, rtol=0, atol=1e-10)


def test_blocks_of_inputs_give_the_gradients_of_one_product():
    x, weight, bias = torch.randn(16, 2 * gru.BLOCK + 9), torch.randn(30, 2 * gru.BLOCK + 9), torch.randn(30)
    inputs = [tensor.requires_grad_() for tensor in (x, weight, bias)]
    ours, wanted = gru.linear(*inputs), torch.nn.functional.linear(*inputs)
    assert torch.equal(ours, wanted)
    gradients = [torch.autograd.grad(y.square().sum(), inputs) for y in (ours, wanted)]
    for found, true in zip(*gradients, strict=True):
        torch.testing.assert_close(found, true, rtol=0, atol=1e-6 * true.abs().max().item())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-10)])
def test_nadam_is_torchs(dtype, tolerance):
    start = [torch.randn(n, 7, dtype=dtype) for n in (5, 40)]
    ours, theirs = ([torch.nn.Parameter(part.clone()) for part in start] for _ in range(2))
    optimiser, peer = training.NAdam(ours), torch.optim.NAdam(theirs, weight_decay=training.WEIGHT_DECAY)
    for n in range(500):
        gradients = [torch.randn_like(part) * 10.0 ** (n % 5 - 6) for part in start]
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient.clone()
        peer.param_groups[0]["lr"] = rate = 1e-3 / (1 + n // 100)
        peer.step()
        optimiser.step(gradients, rate)
    for found, true, first in zip(ours, theirs, start, strict=True):
        assert (true - first).abs().max() > 0.01
        torch.testing.assert_close(found, true, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_an_epoch_is_the_plain_loop(name):
    x, y = torch.randn(70, 30).double(), torch.randn(70, 8).double()  # batches of 16, the last of 6
    networks_of = [networks.build_network(name, 30, 8, np.arange(30) % 3).double() for _ in range(2)]
    networks_of[1].load_state_dict(networks_of[0].state_dict())
    torch.manual_seed(1)
    trainer = training.Trainer(networks_of[0], x, y, seed=3, batch_size=16)
    for rate in (1e-3, 5e-4):
        trainer.run_epoch(rate)
    torch.manual_seed(1)
    network, order = networks_of[1].train(), torch.Generator().manual_seed(3)
    peer = torch.optim.NAdam(network.parameters(), weight_decay=training.WEIGHT_DECAY)
    for rate in (1e-3, 5e-4):
        peer.param_groups[0]["lr"] = rate
        for rows in torch.randperm(70, generator=order).split(16):
            loss = torch.nn.functional.mse_loss(network(x[rows]), y[rows])
            peer.zero_grad()
            loss.backward()
            for parameter in network.parameters():
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            peer.step()
    for key, found in networks_of[0].state_dict().items():
        torch.testing.assert_close(found, network.state_dict()[key], rtol=0, atol=1e-7, msg=key)


def test_a_gru_over_one_step_is_a_gated_mlp():
    torch.manual_seed(3)
    network, x = networks.build_network("gru", 30, 8).eval(), torch.randn(4, 30)
    layers = [networks.GatedLayer.from_gru(x) if isinstance(x, networks.BidirectionalGRU) else x for x in network]
    torch.testing.assert_close(torch.nn.Sequential(*layers).eval()(x), network(x))
    with torch.random.fork_rng():
        starts = []
        for name in ("gru", "gated_mlp"):
            torch.manual_seed(0)
            starts.append(networks.build_network(name, 30, 8).eval()(x))
    torch.testing.assert_close(*starts, rtol=0, atol=1e-6)
    assert networks.count_parameters("gru", 30, 8) - networks.count_parameters("gated_mlp", 30, 8) == 120_000 + 2 * 400


def test_regions_are_steps_of_a_sequence():
    in_region = np.zeros((3, 10), dtype=bool)
    in_region[0, :4], in_region[1, 2:4], in_region[2, 3:8] = True, True, True
    groups = networks.region_groups(in_region)
    assert groups.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]  # the second region has no voxel of its own
    torch.manual_seed(0)
    layer, x = networks.build_network("roi_gru", 10, 5, groups)[0].eval(), torch.randn(3, 10)
    steps = [torch.tanh(layer.project[k](x[:, groups == k])) for k in range(3)]
    peer = torch.nn.GRU(networks.REGION_WIDTH, networks.HIDDEN, bidirectional=True)
    peer.load_state_dict(layer.gru.state_dict())
    torch.testing.assert_close(layer(x), layer.norm(peer(torch.stack(steps))[0].mean(0)))
    (layer(x) * torch.randn(3, 200)).sum().backward()  # a sum of squares behind a normalisation would hardly move
    assert all(p.grad.any() for name, p in layer.named_parameters() if "weight_hh" in name)  # here memory is at work


def test_the_public_code_adds_noise_of_one_sd_and_masks_up_to_499_voxels_at_its_probability():
    x = torch.full((4000, 700), 50.0)
    changed = training.augmented(x, training.RECIPES["public_code"], torch.Generator().manual_seed(0))
    masked = (changed == 0).any(1)
    noisy = ((changed != 50) & (changed != 0)).any(1)
    lengths, first = (changed == 0).sum(1)[masked], (changed == 0).int().argmax(1)[masked]
    assert 0.27 < masked.float().mean() < 0.33 and 0.27 < noisy.float().mean() < 0.33
    assert abs(changed[noisy & ~masked].std() - 1) < 0.005
    assert lengths.min() < 5 and 490 < lengths.max() <= 499 and abs(lengths.float().mean() - 250) < 15  # 1 to 499, each alike
    assert first.min() < 20 and (first + lengths).max() > 680  # anywhere
    small = training.augmented(x[:, :9], training.RECIPES["public_code"], torch.Generator().manual_seed(0))
    assert (small == 0).sum(1).max() == 9
    for row in changed[masked][:50]:
        place = (row == 0).nonzero()[:, 0]
        assert len(place) == place[-1] - place[0] + 1
    assert torch.equal(training.augmented(x, training.RECIPES["ours"], torch.Generator()), x)


@pytest.mark.parametrize(("recipe", "patience", "threshold"), [("ours", 5, 0.0), ("public_code", 6, 1e-4)])
def test_rates_are_those_of_torchs_scheduler(monkeypatch, recipe, patience, threshold):
    """On errors that fall, fall by too little, wander, and stay; torch halves at the first bad epoch beyond its patience."""
    rng, x = np.random.default_rng(1), torch.randn(60, 5)
    falls = 2 - 2e-5 * np.arange(30)
    errors = [*np.linspace(9, 2, 8), *falls, *(1.9 + 0.1 * rng.random(40)), *(1.8 - 0.01 * rng.random(60)), *[3.0] * 12]
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=training.RATE)
    peer = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, patience=patience, factor=0.5, threshold=threshold)
    wanted, waited, lowest = [], 0, np.inf
    for error in errors:
        wanted.append(optimiser.param_groups[0]["lr"])
        peer.step(error)
        waited, lowest = (0, error) if error < lowest else (waited + 1, lowest)
        if waited == 12:
            break
    found = iter(errors)
    monkeypatch.setattr(training, "_error", lambda *_: next(found))
    settings = {"max_epochs": 200, "seed": 0, "batch_size": 60, "name": "test", "recipe": training.RECIPES[recipe]}
    history, _ = training.search(lambda: torch.nn.Linear(5, 3), x, x[:, :3], *training.split(60, seed=0), **settings)
    assert len(history.errors) == len(wanted) < len(errors) and history.finished and wanted[-1] < training.RATE / 2
    assert list(history.rates) == wanted[: None if recipe == "public_code" else history.best_epoch]


def test_the_public_code_takes_targets_as_they_are(planted):
    X, Y, X_test, _ = planted
    raw, scaled = (networks.make("gru", max_epochs=2, recipe=recipe).fit(X, Y) for recipe in ("public_code", "ours"))
    with torch.inference_mode():
        outputs = [decoder.network(torch.from_numpy(X_test)).numpy() for decoder in (raw, scaled)]
    np.testing.assert_array_equal(raw.predict(X_test), outputs[0])
    np.testing.assert_allclose(scaled.predict(X_test), outputs[1] * Y.std() + Y.mean(0), rtol=1e-4, atol=1e-5)


def test_other_images_can_end_the_training_and_are_not_fitted_to(planted):
    X, Y, X_test, Y_test = planted
    alone = networks.make("gru", max_epochs=1).fit(X, Y)
    ended = networks.make("gru", max_epochs=1).fit(X, Y, validation=(X_test, Y_test))
    np.testing.assert_array_equal(alone.predict(X_test), ended.predict(X_test))
    error = np.square(ended.predicted_validation - Y_test).mean() / ended.scale**2
    assert ended.history.errors == pytest.approx([error], rel=1e-5)


def test_images_that_end_the_training_are_checked_as_those_that_are_fitted(planted):
    X, Y, X_test, Y_test = planted
    for validation, wanted in [
        ((X_test[:, :7], Y_test), r"validation X and Y must have as many .* as X and Y, \(40, 12\), got \(7, 12\)"),
        ((X_test, Y_test[:, :5]), r"as many voxels and targets as X and Y, \(40, 12\), got \(40, 5\)"),
        ((X_test, Y_test[:-1]), "validation X must be .* with as many images, got"),
        ((X_test * np.nan, Y_test), "validation X holds 2400 values that are not finite"),
        ((X_test, Y_test * np.inf), "validation Y holds 720 values that are not finite"),
        ((X_test * np.float32(1e20), Y_test), r"validation X holds .*, wanted at most 1e\+17"),
    ]:
        with pytest.raises(ValueError, match=wanted):
            networks.make("gru", max_epochs=1).fit(X, Y, validation=validation)


def test_targets_are_centred_and_scaled_by_blocks_as_at_once(monkeypatch, planted):
    X, Y, X_test, _ = planted
    Y = Y * np.linspace(1, 9, 12, dtype=np.float32)
    whole = networks.make("gru", max_epochs=2).fit(X, Y)
    monkeypatch.setattr(ridge, "SELECTION_TARGETS", 5)
    before = Y.copy()
    parts = networks.make("gru", max_epochs=2).fit(X, Y)
    assert np.array_equal(Y, before) and parts.scale == pytest.approx(Y.std(dtype=np.float64), rel=1e-6)
    np.testing.assert_allclose(parts.targets.sd, Y.std(0, dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(parts.predict(X_test), whole.predict(X_test), rtol=1e-5, atol=1e-5)


def test_a_search_leaves_nothing_of_its_trainer_behind(planted, monkeypatch):
    alive, start = [], training.Trainer.__init__

    def watched(trainer, *given, **settings):
        start(trainer, *given, **settings)
        assert not any(other() for other in alive)
        alive.append(weakref.ref(trainer))

    monkeypatch.setattr(training.Trainer, "__init__", watched)
    gc.disable()
    try:
        networks.make("gru", max_epochs=2).fit(*planted[:2])
    finally:
        gc.enable()
    assert len(alive) == 2 and not any(trainer() for trainer in alive)


def test_the_network_of_clip_tokens_has_the_published_size():
    """Counted from torch's own layers: 56.3 million numbers for the text of subject 1."""
    gru, n = (lambda n_in: torch.nn.GRU(n_in, 256, bidirectional=True)), 512
    norms = [torch.nn.LayerNorm(n), torch.nn.LayerNorm(n), torch.nn.BatchNorm1d(n)]
    with torch.device("meta"):
        found = networks.build_network("gru", 15724, 77 * 768, width=256)
        layers = [gru(15724), gru(n), *norms, torch.nn.Linear(n, n), torch.nn.Linear(n, 77 * 768)]
    count = [sum(p.numel() for layer in part for p in layer.parameters()) for part in (found, layers)]
    assert count[0] == count[1] == pytest.approx(56.3e6, rel=1e-3)


@pytest.mark.parametrize("name", networks.DECODERS)
def test_every_decoder_learns_what_is_planted(name, planted):
    X, Y, X_test, Y_test = planted
    decoder = networks.make(name, max_epochs=25, batch_size=16, alphas=[1.0]).fit(X, Y)
    predicted = decoder.predict(X_test)
    explained = 1 - ((predicted - Y_test) ** 2).mean() / ((Y.mean(0) - Y_test) ** 2).mean()
    assert predicted.shape == Y_test.shape and predicted.dtype == np.float32
    assert explained > (0.99 if name == "ridge" else 0.3)
    assert decoder.held_out.sd.shape == (12,)
    if name == "ridge":
        assert decoder.n_bytes == X.nbytes + 8 * len(X) ** 2 + Y.nbytes
    else:
        assert decoder.n_bytes >= 4 * networks.count_parameters(name, 40, 12)


def test_same_seed_same_latents_and_global_randomness_untouched(planted):
    X, Y, X_test, _ = planted
    before = torch.random.get_rng_state()
    first, second, other = (networks.make("gru", seed=seed, max_epochs=2).fit(X, Y).predict(X_test) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 0
    assert torch.equal(before, torch.random.get_rng_state())


def test_rate_halves_and_training_stops_without_improvement():
    x, y = torch.randn(60, 5), torch.randn(60, 3)
    fit, validation = training.split(60, seed=0)
    assert not set(fit) & set(validation) and len(validation) == 6

    def constant():
        network = torch.nn.Linear(5, 3)
        network.requires_grad_(False)
        network.bias.requires_grad_(True)
        with torch.no_grad():
            network.weight.zero_(), network.bias.copy_(y[validation].mean(0))
        return network

    history, _ = training.search(constant, x, y, fit, validation, max_epochs=100, seed=0, batch_size=16, name="test")
    n_best = int(np.argmin(history.errors)) + 1
    assert len(history.errors) == n_best + training.PATIENCE_STOP
    assert len(history.rates) == n_best


@pytest.mark.parametrize(("errors", "n_best"), [([0.5, np.nan, 0.4, 0.6], 3), ([0.5, 0.4, 0.4, 0.6], 2)])
def test_the_best_network_and_its_rates_are_of_one_epoch(monkeypatch, errors, n_best):
    x, y, weights = torch.randn(60, 5), torch.randn(60, 3), []

    def error(network, *_):
        weights.append(network.weight.detach().clone())
        return errors[len(weights) - 1]

    monkeypatch.setattr(training, "_error", error)
    settings = {"max_epochs": 4, "seed": 0, "batch_size": 16, "name": "test"}
    history, best = training.search(lambda: torch.nn.Linear(5, 3), x, y, *training.split(60, seed=0), **settings)
    assert len(history.rates) == n_best and torch.equal(best.weight, weights[n_best - 1])


def test_training_whose_error_is_never_finite_is_refused(planted, monkeypatch):
    monkeypatch.setattr(training, "_error", lambda *_: float("nan"))
    with pytest.raises(ValueError, match=r"gru: the validation error must be a finite number.*got nan in the last of 2"):
        networks.make("gru", max_epochs=2).fit(*planted[:2])


def test_bad_input_is_refused(planted):
    X, Y, X_test, _ = planted
    with pytest.raises(ValueError, match="did you mean 'transformer'"):
        networks.make("transfomer")
    with pytest.raises(ValueError, match="at least one epoch and one image per batch, got max_epochs=0"):
        networks.make("gru", max_epochs=0)
    with pytest.raises(ValueError, match="has not been fitted"):
        networks.make("gru").predict(X)
    with pytest.raises(ValueError, match="with as many images, got"):
        networks.make("gru").fit(X, Y[:-1])
    with pytest.raises(ValueError, match="at least 20 training images"):
        networks.make("gru").fit(X[:10], Y[:10])
    with pytest.raises(ValueError, match=r"must be \(n_images, 40\)"):
        networks.make("gru", max_epochs=1).fit(X, Y).predict(X_test[:, :7])
    with pytest.raises(ValueError, match="X holds 40 values that are not finite"):
        networks.make("gru", max_epochs=1).fit(X, Y).predict(X_test[:1] * np.nan)
    with pytest.raises(ValueError, match=r"X holds 1e\+300, wanted at most 1e\+17"):
        networks.make("gru").fit(np.where(np.arange(X.size).reshape(X.shape) == 5, -1e300, X.astype(float)), Y)
    with pytest.raises(ValueError, match="only the network 'gru' accepts another width than 100, got 256 for 'cnn'"):
        networks.make("cnn", width=256).fit(X, Y)
    for groups in (np.arange(40) % 3 * 2, np.arange(40) - 1, np.zeros(39, int), np.full(40, 0.5)):
        with pytest.raises(ValueError, match=r"groups must number the regions of 40 voxels from 0 without gaps, got \["):
            networks.make("roi_gru", groups=groups).fit(X, Y)
