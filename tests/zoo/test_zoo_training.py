"""Training of the demo zoo: the chain from scenes to a folder that the project's loaders read; interruption and budget."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nsdlib.core import clip, diffusion, vdvae
from nsdlib.core.scores import features
from zoo.training import __main__ as command
from zoo.training import clip as clip_training
from zoo.training import data, namer, optimise, reader, tokens, unet
from zoo.training.tokens import Axes, Decoded

CPU = torch.device("cpu")


def quadratic(folder, n_steps, **settings):
    """Fit a number to 3, and the number."""
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)

    def loss_of_batch(generator, progress):
        noise = torch.randn(1, generator=generator) + torch.rand(1) - 0.5  # as layers draw that take no generator
        return (model.weight - 3 + 0.1 * noise).square().mean()

    options = {"n_steps": n_steps, "learning_rate": 0.1, "seed": 1, "checkpoint": folder / "number.checkpoint", "average": 0.9}
    return optimise.train(model, loss_of_batch, optimise.Resources(CPU), **options | settings).weight.item()


def test_every_word_of_the_captions_is_one_token_and_the_vocabulary_depends_on_nothing_else(tmp_path):
    words = {"at", "bat", "batter", "aaa", "a", "star", "tarts,", "state", "attest", "a-b"}
    orders = [[" ".join(words)]], [[word] for word in sorted(words, reverse=True)]
    for number, captions in enumerate(orders):
        (tmp_path / str(number)).mkdir()
        tokenizer = clip_training.make_tokenizer(captions, tmp_path / str(number))
    files = [sorted(file.read_bytes() for file in (tmp_path / name).iterdir()) for name in "01"]
    assert files[0] == files[1]
    for word in ("at", "bat", "batter", "aaa", "a", "star", "tarts", "state", "attest", ",", "-"):
        assert tokenizer.tokenize(word) == [f"{word}</w>"] and tokenizer(word).input_ids[1] != tokenizer.unk_token_id


@pytest.fixture
def short(monkeypatch):
    """Two steps a model of few scenes, drawn in this process; nothing compiled."""
    monkeypatch.setattr(data, "ProcessPoolExecutor", ThreadPoolExecutor)
    monkeypatch.setattr(optimise.shutil, "which", lambda name: None)
    monkeypatch.setattr(data, "SPLITS", {name: (16, seed) for name, (_, seed) in data.SPLITS.items()})
    for name in (*command.FOLDERS, "reader"):
        module = sys.modules.get(f"zoo.training.{name}") or __import__(f"zoo.training.{name}", fromlist=["N_STEPS"])
        n_steps = dict.fromkeys(module.N_STEPS, 2) if isinstance(module.N_STEPS, dict) else 2
        monkeypatch.setattr(module, "N_STEPS", n_steps)
        monkeypatch.setattr(module, "BATCH", (4, 4) if isinstance(module.BATCH, tuple) else 8)
    monkeypatch.setattr(sys.modules["zoo.training.features"], "CLIP_STEPS", 2)
    monkeypatch.setattr(sys.modules["zoo.training.unet"], "N_MEASURED", 4)


@pytest.mark.slow
def test_a_zoo_is_trained_that_every_loader_reads(short, tmp_path, monkeypatch, capsys):
    folder, cache = tmp_path / "zoo", tmp_path / "cache"
    monkeypatch.setattr(sys, "argv", ["zoo.training", "--to", str(folder), "--cache", str(cache), "--device", "cpu"])
    command.main()
    assert json.loads((folder / "quality.json").read_text()).keys() == command.FOLDERS.keys()
    scene_set = data.load_scenes("validation", cache)
    embedder, first = clip.load(folder / "versatile_diffusion"), vdvae.load(folder / "vdvae" / "vdvae.safetensors")
    rough = first.decode(first.encode(scene_set.small[:2], n_layers=15))
    second = diffusion.load(folder / "versatile_diffusion")
    text, vision = embedder.text(scene_set.captions[:2]), embedder.vision(scene_set.small[:2])
    drawn = second.refine(rough, text, vision, image_ids=np.arange(2), strength=0.6, n_steps=3)
    assert drawn.shape == (2, data.SIZE, data.SIZE, 3) and second.image_size == data.SIZE
    for name in ("alexnet", "inception", "effnet", "swav"):
        assert features.stand_in(folder / "features" / f"{name}.safetensors", CPU)(drawn)["pooled"].shape[0] == 2
    assert namer.named(folder / "namer", drawn).shape == (2,)
    assert "autoencoder: " in capsys.readouterr().out


def test_models_are_trained_in_the_order_in_which_they_read_each_other(tmp_path, monkeypatch):
    trained = []
    stub = SimpleNamespace(
        train=lambda folder, cache, resources: trained.append(sorted(resources.done)), measure=lambda folder, cache: {}
    )
    monkeypatch.setattr(command.importlib, "import_module", lambda name: stub)
    monkeypatch.setattr(sys, "argv", ["zoo.training", "unet", "clip", "vdvae", "clip", "--to", str(tmp_path), "--budget", "9"])
    command.main()
    others = {"autoencoder", "features", "namer"}
    assert trained == [sorted(others), sorted(others | {"vdvae"}), sorted(others | {"vdvae", "clip"})]


def test_scenes_are_drawn_anew_when_their_code_has_changed(monkeypatch, tmp_path):
    monkeypatch.setattr(data, "SPLITS", {"train": (2, 5)})
    monkeypatch.setattr(data, "ProcessPoolExecutor", ThreadPoolExecutor)
    drawn = data.load_scenes("train", tmp_path).images
    monkeypatch.setattr(data.scenes, "draw", lambda scene: np.zeros((8, 8, 3), np.uint8))
    np.testing.assert_array_equal(data.load_scenes("train", tmp_path).images, drawn)
    monkeypatch.setattr(data, "code_hashes", lambda reached: {"nsdlib.twin.scenes": "another"})
    assert not data.load_scenes("train", tmp_path).images.any()


def test_scenes_are_the_same_however_many_processors_draw_them(monkeypatch, tmp_path):
    monkeypatch.setattr(data, "SPLITS", {"train": (12, 5)})
    monkeypatch.setattr(data, "CHUNK", 5)
    together = data.load_scenes("train", tmp_path / "a")
    monkeypatch.setattr(data, "n_cores", lambda: 1)
    alone = data.load_scenes("train", tmp_path / "b")
    np.testing.assert_array_equal(together.images, alone.images)
    assert together.captions == alone.captions and len({image.tobytes() for image in alone.images}) == 12
    assert alone.covers.shape == (12, 16, 24) and alone.covers.min() >= 0 and alone.covers.sum((1, 2)).min() > 0.2
    assert alone.covers.sum(2).max() <= 1.001
    assert (np.take_along_axis(alone.covers.sum(1), alone.kinds[:, None], 1) > 0).all()


def test_an_interrupted_training_ends_where_an_uninterrupted_one_does(tmp_path, monkeypatch):
    whole = quadratic(tmp_path / "whole", 600)
    assert whole == pytest.approx(3, abs=0.2)
    monkeypatch.setattr(optimise, "CHECKPOINT_SECONDS", 0)

    class Interrupted(Exception):
        pass

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(optimise.Resources, "attention", stop_after(25, Interrupted))
        quadratic(tmp_path / "cut", 600)
    assert torch.load(tmp_path / "cut" / "number.checkpoint", weights_only=True)["step"] == 25
    assert quadratic(tmp_path / "cut", 600) == whole


def stop_after(n, error):
    """A method that raises when it is called for more than the nth time."""
    left, attention = iter(range(n)), optimise.Resources.attention

    def method(self):
        if next(left, None) is None:
            raise error
        return attention(self)

    return method


def test_a_budget_ends_training_and_is_shared_by_what_is_left(tmp_path):
    begun = optimise.time.monotonic()
    quadratic(tmp_path, 10**9, seconds=1.0)
    assert optimise.time.monotonic() - begun < 30
    resources = optimise.Resources(CPU, budget=1000.0, done={"vdvae", "autoencoder", "clip", "features", "namer"})
    assert resources.seconds("unet") == pytest.approx(1000, abs=5)
    assert optimise.Resources(CPU, budget=1000.0).seconds("unet") < 500
    assert optimise.Resources(CPU).seconds("unet") == float("inf")


def test_simulated_predictions_are_what_the_best_linear_decoder_gives():
    """Regressed on a prediction, the truth is the prediction itself, of factors and of the rest; ridge keeps as much variance."""
    rng, generator = np.random.default_rng(3), torch.Generator().manual_seed(1)
    spread = np.array([3.0, 2.0, 1.0, 0.5])
    turn = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    values = torch.from_numpy(5 + (spread * rng.standard_normal((60_000, 4))) @ turn.T)
    predicted, left = Axes(values, (1.0, 1.0)).decode(values.float(), generator)
    slopes = np.linalg.lstsq(predicted.numpy() @ turn, (values.numpy() - 5) @ turn, rcond=None)[0]
    np.testing.assert_allclose(slopes, np.eye(4), atol=0.1)
    np.testing.assert_allclose(predicted.var(0).sum(), left.mean(0).sum(), rtol=0.02)


def test_noise_that_is_the_same_on_all_axes_leaves_what_ridge_leaves(monkeypatch):
    rng, generator = np.random.default_rng(3), torch.Generator().manual_seed(1)
    spread = np.array([3.0, 2.0, 1.0, 0.5])
    values = torch.from_numpy(spread * rng.standard_normal((60_000, 4)))
    monkeypatch.setattr(tokens, "UNEVENNESS", 0.0)
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.ones(shape))
    predicted = Axes(values, (0.0, 0.7)).decode(values.float(), generator)[0].numpy()
    noise = (spread**4).sum() / (spread**2).sum() * np.exp(-0.7)  # variance
    np.testing.assert_allclose(predicted.var(0), spread**4 / (spread**2 + noise), rtol=0.05)


def test_decoded_tokens_err_together_and_keep_or_regain_their_spread(monkeypatch):
    """Tokens that factors fix: what of two kinds of them is predicted comes from the same wrong factors."""
    rng, generator = np.random.default_rng(4), torch.Generator().manual_seed(2)
    factors = torch.from_numpy(np.eye(5)[rng.integers(5, size=20_000)]).float()  # of which one follows from the others
    told = {name: torch.from_numpy(rng.standard_normal((5, 2, 3))).float() for name in ("text", "vision")}
    true = {name: torch.einsum("if,ftk->itk", factors, values) for name, values in told.items()}
    true["text"][:, :, 2] = 0.37  # a feature that never varies
    decoded = Decoded(true, factors)
    for name, values in decoded(true, factors, 0.0, generator).items():
        assert torch.equal(values, true[name])
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.full(shape, 0.6))
    got = {name: values.flatten(1).numpy() for name, values in decoded(true, factors, 1.0, generator).items()}
    read = np.linalg.lstsq(got["vision"], got["text"], rcond=None)
    assert read[1].sum() < 1e-3 * got["text"].var(0).sum() * len(factors) and np.allclose(got["text"][:, [2, 5]], 0.37)
    assert got["vision"].var(0).sum() < 0.9 * true["vision"].flatten(1).var(0).sum()
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.full(shape, 0.4))
    spread = decoded(true, factors, 1.0, generator)["vision"].flatten(1).std(0)
    np.testing.assert_allclose(spread, true["vision"].flatten(1).std(0), rtol=0.15)


def test_another_encoder_has_another_checkpoint(tmp_path, monkeypatch):
    names = [*unet.ENCODERS, "first"]
    monkeypatch.setattr(unet, "find_files", lambda folder: [folder])
    monkeypatch.setattr(unet, "_first_stage", lambda folder: folder / "first")
    for name in names:
        (tmp_path / name).write_text("weights")
    found = {unet._of_encoders(tmp_path)}
    for name in names:
        (tmp_path / name).write_text(f"other weights, {name}")
        found.add(unet._of_encoders(tmp_path))
    assert len(found) == 5


def test_the_unet_learns_from_where_image_to_image_sets_out(monkeypatch):
    """At the level where the walk begins, the noised image is the noised rough image; at none it is the image."""
    from diffusers import DDIMScheduler

    z, rough = torch.randn(2, 3, 8, 4, 4, generator=torch.Generator().manual_seed(2))
    scheduler = DDIMScheduler(**unet.SCHEDULER)
    for now in (1.0, 0.0):
        monkeypatch.setattr(torch, "rand", lambda *args, now=now, **options: torch.tensor([[0.0, 0.5, 0.9], [now] * 3]))
        t, noise = unet._walk(z, rough, scheduler, torch.Generator().manual_seed(3))
        assert t.tolist() == ([500, 625, 905] if now else [0, 0, 0])
        plain = torch.randn(z.shape, generator=torch.Generator().manual_seed(3))
        begun = scheduler.add_noise(rough if now else z, plain, t)
        torch.testing.assert_close(scheduler.add_noise(z, noise, t), begun, atol=1e-5 if now else 0.1, rtol=0)


def test_the_reader_sees_what_latents_show_through_noise(tmp_path, monkeypatch):
    """A kind is planted as a channel of its own, in one patch of each image."""
    monkeypatch.setattr(reader, "N_STEPS", 60)
    rng = np.random.default_rng(4)
    patch, kind = rng.integers(16, size=400), rng.integers(3, size=400)
    covers = np.zeros((400, 16, len(reader.KINDS)), np.float32)
    covers[np.arange(400), patch, kind] = 0.9
    shown = reader.as_shown(torch.from_numpy(covers))
    assert shown.shape == (400, 1 + len(reader.KINDS), 4, 4) and shown.sum(1).allclose(torch.ones(()))
    latents = 0.3 * torch.randn(400, 8, 16, 16, generator=torch.Generator().manual_seed(5))
    latents[:, :3] += 2 * shown[:, 1:4].repeat_interleave(4, 2).repeat_interleave(4, 3)
    model = reader.train(latents[:300], shown[:300], tmp_path / "reader.checkpoint", optimise.Resources(CPU))
    named = model(latents[300:])[:, 1:].amax((2, 3)).argmax(1)
    assert (named.numpy() == kind[300:]).mean() > 0.9
    errors = [reader.error(model, latents[300:], s, torch.Generator().manual_seed(6)) for s in (shown[300:], shown[:100])]
    assert errors[0] < 0.5 * errors[1] and not any(p.requires_grad for p in model.parameters())


def test_clean_latents_follow_from_the_true_velocity():
    from diffusers import DDIMScheduler

    z, noise = torch.randn(2, 3, 8, 4, 4, generator=torch.Generator().manual_seed(2))
    scheduler, t = DDIMScheduler(**unet.SCHEDULER), torch.tensor([10, 500, 990])
    x, velocity = scheduler.add_noise(z, noise, t), scheduler.get_velocity(z, noise, t)
    torch.testing.assert_close(unet._clean(x, velocity, t, scheduler), z, atol=1e-4, rtol=1e-4)


def test_an_unknown_model_is_told(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["zoo.training", "dalle"])
    with pytest.raises(SystemExit):
        command.main()
    assert "no model dalle in the demo zoo; it has vdvae, autoencoder, clip" in capsys.readouterr().err
