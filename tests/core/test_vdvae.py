"""The VDVAE against OpenAI's code on a tiny model, the published checkpoint's keys, and independence of images in a batch."""

import json

import numpy as np
import pytest
import torch
from conftest import DATA
from PIL import Image
from safetensors.torch import load_file, save_file
from scipy.stats import logistic

from nsdlib.core import random, vdvae
from nsdlib.params import load_run
from nsdlib.store import zoo
from nsdlib.twin import scenes
from zoo.training.vdvae import mixture_nll, posterior_pass

pytestmark = pytest.mark.numerical

TINY = DATA / "vdvae_tiny"


def tiny_hyperparameters():
    settings = json.loads((TINY / "hyperparameters.json").read_text())
    return vdvae.Hyperparameters(**{k: v for k, v in settings.items() if k in vdvae.Hyperparameters.__dataclass_fields__})


@pytest.fixture(scope="module")
def model():
    state = {key: value.float() for key, value in load_file(TINY / "weights.safetensors").items()}
    return vdvae.load_weights(vdvae.VDVAE(tiny_hyperparameters()), state)


@pytest.fixture(scope="module")
def case():
    return dict(np.load(TINY / "case.npz"))


def relative(ours, reference):
    return np.abs(ours - reference).max() / np.abs(reference).max()


def test_posterior_means_equal_the_reference(model, case):
    latents = model.encode(case["images"], n_layers=len(model.latent_shapes))
    assert latents.dtype == np.float32 and relative(latents, case["latents_flat"]) < 1e-5


@pytest.mark.parametrize("n_given", [0, 3, 6, 11])
def test_decoding_equals_the_reference(model, case, n_given):
    given = model._unflatten(case[f"decode_{n_given}_latents"].reshape(len(case["images"]), -1))
    with torch.inference_mode():
        state = model.decoder(len(case["images"]), lambda i, prior, _: given[i] if i < len(given) else prior[0])
        parameters = model.decoder.out_net.out_conv(state).permute(0, 2, 3, 1).numpy()
    assert relative(parameters, case[f"decode_{n_given}_dmol"]) < 1e-5


def test_likelihood_equals_the_reference(model, case):
    images = case["images"]
    given = model._unflatten(case["latents_flat"])
    with torch.inference_mode():
        parameters = model.decoder.out_net.out_conv(model.decoder(len(images), lambda i, prior, _: given[i]))
        target = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
        nats = mixture_nll(parameters, target) / images[0].size
    np.testing.assert_allclose(nats.numpy(), case["nll_posterior_mean"], rtol=1e-5)


def test_divergence_of_a_training_pass_is_positive_and_counts_the_first_layers_only(model, case):
    x = model.prepare(case["images"])
    with torch.inference_mode():
        kl = [posterior_pass(model, x, depth, torch.Generator().manual_seed(0))[1] for depth in (0, 3, 11)]
    assert not kl[0].any() and (kl[1] > 0).all() and (kl[2] > kl[1]).all()


def test_published_keys_and_layer_sizes():
    with torch.device("meta"):
        model = vdvae.VDVAE(vdvae.Hyperparameters())
    shapes = {key: list(value.shape) for key, value in model.state_dict().items()}
    assert shapes == json.loads((DATA / "vdvae_keys.json").read_text())
    assert sum(parameter.numel() for parameter in model.parameters()) == 125_005_860
    assert [model.n_latents(n) for n in (0, 15, 31)] == [0, 13_344, 91_168]


def test_draws_depend_on_seed_and_image_not_on_the_batch(model, case):
    images, ids = case["images"], np.array([7, 8, 9])
    together = model.encode(images, n_layers=6, sample=True, seed=1, image_ids=ids)
    alone = model.encode(images[1:2], n_layers=6, sample=True, seed=1, image_ids=ids[1:2])
    np.testing.assert_allclose(together[1:2], alone, atol=1e-5)
    assert np.abs(together - model.encode(images, n_layers=6, sample=True, seed=2, image_ids=ids)).max() > 0.01
    latents = model.encode(images, n_layers=3)
    for output in ("mean", "sample"):
        together = model.decode(latents, image_ids=ids, seed=4, output=output)
        alone = model.decode(latents[2:], image_ids=ids[2:], seed=4, output=output)
        assert np.abs(together[2:].astype(int) - alone).max() <= 1
    warm, cold = (model.decode(latents, image_ids=ids, temperature=t).astype(int) for t in (1.0, 0.0))
    assert np.abs(warm - cold).max() > 0


def test_noise_drawn_side_by_side_is_that_drawn_in_turn():
    like, shapes = torch.empty(3, 0), [(4, 1, 1), (16, 2, 2), (3, 5)]
    together, generators = random.normals(shapes, like, random.generators(7, range(3))), random.generators(7, range(3))
    for shape, drawn in zip(shapes, together, strict=True):
        assert torch.equal(drawn, random.normal(torch.empty(3, *shape), generators))


def test_half_precision_leaves_targets_alone_and_moves_pixels_as_little_as_is_said():
    model = vdvae.load(DATA.parents[1] / "zoo" / "demo" / "vdvae" / "vdvae.safetensors")
    rng = np.random.default_rng(0)
    images = np.stack([scenes.draw(scenes.sample_scene(rng), 64) for _ in range(4)])
    latents = model.encode(images, n_layers=15)
    decoded = model.decode(latents).astype(int)
    model.fast = True
    np.testing.assert_array_equal(model.encode(images, n_layers=15), latents)
    moved = np.abs(model.decode(latents) - decoded)
    assert 0 < moved.mean() < 0.25 and moved.max() <= 3  # 0.2 and 3, says VDVAE


def test_mean_of_the_mixture_is_what_samples_average_to():
    torch.manual_seed(0)
    parameters = 0.3 * torch.randn(1, 30, 2, 2)
    parameters[:, 3 + 3 : 3 + 6] = parameters[:, 12 + 3 : 12 + 6] = parameters[:, 21 + 3 : 21 + 6] = -3.0
    many = random.read_pixels(parameters.expand(4000, -1, -1, -1), random.generators(0, range(4000)))
    torch.testing.assert_close(many.mean(0), random.read_pixels(parameters)[0], atol=0.03, rtol=0)


def test_resizing_is_pillows_bilinear(model):
    image = np.random.default_rng(0).integers(0, 256, (1, 50, 40, 3), dtype=np.uint8)
    wanted = np.asarray(Image.fromarray(image[0]).resize((16, 16), Image.BILINEAR))
    pixels = model.prepare(image)[0].permute(1, 2, 0).numpy() * vdvae.PIXEL_SCALE + vdvae.PIXEL_MEAN
    np.testing.assert_allclose(pixels, wanted, atol=1e-3)


def test_weights_that_do_not_fit_are_named(model):
    state = model.state_dict()
    vdvae.load_weights(vdvae.VDVAE(tiny_hyperparameters()), {f"module.{key}": value for key, value in state.items()})
    wrong = {key: value for key, value in state.items() if key != "decoder.gain"} | {"decoder.gian": state["decoder.gain"]}
    wrong["decoder.bias"] = torch.zeros(3)
    with pytest.raises(ValueError, match=r"3 differences.*missing decoder.gain.*decoder.gian.*decoder.bias has shape"):
        vdvae.load_weights(vdvae.VDVAE(tiny_hyperparameters()), wrong)


def test_load_takes_the_published_file_and_ours(model, tmp_path, monkeypatch):
    hp = tiny_hyperparameters()
    monkeypatch.setattr(vdvae.Hyperparameters.__init__, "__defaults__", tuple(hp.__dict__.values()))
    run = load_run("demo", zoo="paper").model_copy(update={"weights": tmp_path, "root": tmp_path})
    with pytest.raises(FileNotFoundError, match=r"weights of 'vdvae'.*very-deep-vaes-assets"):
        zoo.load_vdvae(run)
    for zoo_name, folder in (("paper", "paper/vdvae"), ("demo", "zoo/demo/vdvae")):
        (tmp_path / folder).mkdir(parents=True)
        if zoo_name == "paper":
            torch.save(model.state_dict(), tmp_path / folder / "imagenet64-iter-1600000-model-ema.th")
        else:
            save_file(model.state_dict(), tmp_path / folder / "vdvae.safetensors")
            (tmp_path / folder / "hyperparameters.json").write_text(json.dumps(hp.__dict__))
        loaded = zoo.load_vdvae(run.model_copy(update={"zoo": zoo_name}))
        assert all(torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), model.state_dict().values(), strict=True))


def test_bad_input_is_refused(model, case):
    with pytest.raises(ValueError, match="between 0 and 11, got 12"):
        model.encode(case["images"], n_layers=12)
    with pytest.raises(ValueError, match=r"must be \(n_images, rows, columns, 3\) uint8, got"):
        model.encode(case["images"].astype(float), n_layers=2)
    with pytest.raises(ValueError, match="5 latents are not a whole number of layers; the layers end at 4, 8, 72"):
        model.decode(np.zeros((2, 5), np.float32))
    spoiled = np.zeros((3, 8), np.float32)
    spoiled[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"latents holds 1 values that are not finite numbers, in images 21$"):
        model.decode(spoiled, image_ids=np.array([20, 21, 22]))
    with pytest.raises(ValueError, match=r"(decoded pixels|latents) holds .* not finite numbers, in images 2$"):
        model.decode(np.float32([[0] * 8, [0] * 8, [3e38] * 8]))  # finite, but what is made of it is not
    for made in (
        lambda ids: model.decode(np.zeros((3, 8), np.float32), image_ids=ids),
        lambda ids: model.encode(case["images"], n_layers=2, image_ids=ids),
    ):
        with pytest.raises(ValueError, match=r"image_ids must name each of the \d images, got 1"):
            made([7])
    with pytest.raises(ValueError, match='must be "mean" or "sample"'):
        model.decode(np.zeros((2, 8), np.float32), output="median")
    with pytest.raises(ValueError, match="RxN, RdD or RmM, got '4y2'"):
        vdvae.parse_blocks("1x2,4y2")


def test_the_likelihood_is_a_sum_over_mixtures_of_logistics():
    """Written out pixel by pixel with SciPy's logistic distribution, ten mixtures as published."""
    generator = torch.Generator().manual_seed(2)
    parameters = torch.randn(1, 100, 2, 3, generator=generator)
    pixels = torch.randint(0, 256, (1, 3, 2, 3), generator=generator)
    pixels[0, :, 0, 0], pixels[0, :, 1, 2] = 0, 255
    x = (pixels / 127.5 - 1).double().numpy()[0]
    expected = 0.0
    for row, column in np.ndindex(2, 3):
        p = parameters[0, :, row, column].double().numpy()
        logits, colours = p[:10], p[10:].reshape(3, 30)
        likelihood = 0.0
        for m in range(10):
            red_green, red_blue, green_blue = np.tanh(colours[:, 20 + m])
            r, g, b = x[:, row, column]
            centres = colours[:, m] + [0, red_green * r, red_blue * r + green_blue * g]
            product = np.exp(logits[m]) / np.exp(logits).sum()
            for colour, value in enumerate((r, g, b)):
                one = logistic(loc=centres[colour], scale=np.exp(max(colours[colour, 10 + m], -7)))
                low = 0.0 if value < -0.999 else one.cdf(value - 1 / 255)
                high = 1.0 if value > 0.999 else one.cdf(value + 1 / 255)
                product *= high - low
            likelihood += product
        expected -= np.log(likelihood)
    nats = mixture_nll(parameters, torch.as_tensor(x, dtype=torch.float32)[None])
    np.testing.assert_allclose(nats.item(), expected, rtol=1e-4)
