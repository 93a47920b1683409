"""Decoders: the paper's Table 1 to the parameter, learning on planted truth, seeds, and refusals."""

import numpy as np
import pytest
import torch

from nsdlib import decoders, training


@pytest.fixture(scope="module")
def planted():
    """Patterns whose latents are a known linear map of them."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((260, 40)).astype(np.float32)
    Y = (X[:, :6] @ rng.standard_normal((6, 12)) + 3).astype(np.float32)
    return X[:200], Y[:200], X[200:], Y[200:]


def test_gru_is_table_1():
    shapes = []
    network = decoders.build_network("gru", 15724, 13344).eval()
    for layer in network:
        layer.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape)))
    network(torch.zeros(2, 15724))
    assert sum(parameter.numel() for parameter in network.parameters()) == 12_400_344
    assert shapes == [(2, 200), (2, 200), (2, 200), (2, 13344)]


@pytest.mark.parametrize("name", ["cnn", "transformer"])
def test_others_have_about_as_many_parameters_as_the_gru(name):
    assert decoders.count_parameters(name, 15724, 13344) == pytest.approx(12_400_344, rel=0.1)


def test_recurrent_weights_of_one_step_get_no_gradient():
    network = decoders.build_network("gru", 30, 8)
    network(torch.randn(4, 30)).sum().backward()
    recurrent = [p for name, p in network.named_parameters() if "weight_hh" in name]
    assert sum(p.numel() for p in recurrent) == 120_000
    assert all(p.grad is None or not p.grad.any() for p in recurrent)


@pytest.mark.parametrize("name", decoders.DECODERS)
def test_every_decoder_learns_what_is_planted(name, planted):
    X, Y, X_test, Y_test = planted
    decoder = decoders.make(name, max_epochs=25, batch_size=16, alphas=[1.0]).fit(X, Y)
    predicted = decoder.predict(X_test)
    explained = 1 - ((predicted - Y_test) ** 2).mean() / ((Y.mean(0) - Y_test) ** 2).mean()
    assert predicted.shape == Y_test.shape and predicted.dtype == np.float32
    assert explained > (0.99 if name == "ridge" else 0.3)
    assert decoder.held_out.sd.shape == (12,)


def test_same_seed_same_latents_and_global_randomness_untouched(planted):
    X, Y, X_test, _ = planted
    before = torch.random.get_rng_state()
    first, second, other = (
        decoders.make("gru", seed=seed, max_epochs=2).fit(X, Y).predict(X_test) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 0
    assert torch.equal(before, torch.random.get_rng_state())


def test_steps_in_blocks_are_torchs_own(monkeypatch):
    monkeypatch.setattr(training, "BLOCK", 7)
    generator = torch.Generator().manual_seed(2)
    start, pull = torch.randn(5, 9, generator=generator), torch.randn(20, 5, 9, generator=generator)
    ended = []
    for kind in (training.BlockwiseNAdam, torch.optim.NAdam):
        parameter = torch.nn.Parameter(start.clone())
        optimiser = kind([parameter], lr=1e-2, weight_decay=0.1)
        for k, direction in enumerate(pull):
            optimiser.param_groups[0]["lr"] = 1e-2 / (1 + k // 8)
            optimiser.zero_grad()
            (parameter * direction).sum().backward()
            optimiser.step()
        ended.append(parameter.detach())
    torch.testing.assert_close(ended[0], ended[1], rtol=1e-5, atol=1e-6)


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


def test_bad_input_is_refused(planted):
    X, Y, X_test, _ = planted
    with pytest.raises(ValueError, match="did you mean 'transformer'"):
        decoders.make("transfomer")
    with pytest.raises(ValueError, match="has not been fitted"):
        decoders.make("gru").predict(X)
    with pytest.raises(ValueError, match="with as many images, got"):
        decoders.make("gru").fit(X, Y[:-1])
    with pytest.raises(ValueError, match="at least 20 training images"):
        decoders.make("gru").fit(X[:10], Y[:10])
    with pytest.raises(ValueError, match=r"must be \(n_images, 40\)"):
        decoders.make("gru", max_epochs=1).fit(X, Y).predict(X_test[:, :7])
