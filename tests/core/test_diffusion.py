"""The dual UNet and its sampling loop against the published code on a tiny model, and against diffusers' plain UNet."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import DATA
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file

from nsdlib.core import diffusion
from nsdlib.core.diffusion import autoencoder
from nsdlib.core.images import add_noise, resize
from nsdlib.params import load_run
from nsdlib.run import full_size
from nsdlib.store import zoo
from nsdlib.twin import captions, scenes

pytestmark = pytest.mark.numerical

TINY = DATA / "versatile_diffusion_tiny"


def tiny_unet():
    unet = UNet2DConditionModel(**json.loads((TINY / "image_unet.json").read_text()))
    unet.load_state_dict({key: value.float() for key, value in load_file(TINY / "image_unet.safetensors").items()})
    return unet


def text_attentions():
    return {key: value.float() for key, value in load_file(TINY / "text_unet_attentions.safetensors").items()}


@pytest.fixture(scope="module")
def dual():
    return diffusion.DualUNet(tiny_unet(), text_attentions()).eval()


@pytest.fixture(scope="module")
def case():
    return {key: torch.from_numpy(value) if value.ndim else value.item() for key, value in np.load(TINY / "case.npz").items()}


def conditioned(dual, case, text_weight):
    return dual.condition(case["text"], case["vision"], text_weight)


@torch.inference_mode()
def test_one_prediction_equals_the_published_code(dual, case):
    predicted = dual(case["latent"], torch.tensor(721), conditioned(dual, case, case["mix_text"]))
    torch.testing.assert_close(predicted, case["epsilon_at_721"], atol=1e-6, rtol=0)


@torch.inference_mode()
def test_published_trajectory(dual, case):
    scheduler = DDIMScheduler(**full_size.SCHEDULER)
    add_at, steps = diffusion.img2img_timesteps(scheduler, strength=0.75, n_steps=50, faithful=True)
    assert (add_at, steps[0], len(steps)) == (741, 721, 37)
    x = scheduler.add_noise(case["latent"], case["noise"], torch.tensor([add_at] * 2))
    torch.testing.assert_close(x, case["noised_at_741"], atol=1e-5, rtol=0)
    result = diffusion.denoise_latents(
        dual, scheduler, x, steps=steps, conditions=(case["text"], case["vision"]),
        unconditional=(case["text_unconditional"], case["vision_unconditional"]), guidance=case["guidance"],
        text_weight=case["mix_text"],
    )  # fmt: skip
    torch.testing.assert_close(result, case["result"], atol=1e-4, rtol=1e-4)


def test_as_many_steps_as_there_are_levels_do_not_fit_above_an_offset():
    with pytest.raises(ValueError, match="1000 steps begin at 1000, but the model's last timestep is 999; use fewer"):
        diffusion.img2img_timesteps(DDIMScheduler(**full_size.SCHEDULER), strength=0.75, n_steps=1000)


@torch.inference_mode()
def test_text_weight_0_is_the_image_unet_and_1_the_text_one(dual, case):
    plain = tiny_unet().eval()
    t = torch.tensor(500)
    wanted = plain(case["latent"], t, encoder_hidden_states=case["vision"]).sample
    torch.testing.assert_close(dual(case["latent"], t, conditioned(dual, case, 0)), wanted)
    plain.load_state_dict(plain.state_dict() | text_attentions())
    wanted = plain(case["latent"], t, encoder_hidden_states=case["text"]).sample
    torch.testing.assert_close(dual(case["latent"], t, conditioned(dual, case, 1)), wanted)


@torch.inference_mode()
def test_tokens_are_projected_once_for_all_steps(dual, case):
    counts = {}
    handles = [
        module.register_forward_hook(lambda *_, name=name: counts.update({name: counts.get(name, 0) + 1}))
        for name, module in dual.named_modules()
        if name.endswith(("attn2.to_k", "attn2.to_v", "attn2.to_q"))
    ]
    walked_by(dual, DDIMScheduler(**full_size.SCHEDULER), case, n_steps=4)
    for handle in handles:
        handle.remove()
    assert {n for name, n in counts.items() if name.endswith("to_q")} == {3}
    assert {n for name, n in counts.items() if not name.endswith("to_q")} == {1}


@torch.inference_mode()
def test_walk_equals_separate_passes_of_the_plain_unet(dual, case):
    scheduler, plain = DDIMScheduler(**full_size.SCHEDULER), tiny_unet().eval()
    ours = walked_by(dual, scheduler, case, n_steps=8, text_weight=0)
    scheduler.set_timesteps(8)
    steps = scheduler.timesteps[2:]
    x = scheduler.add_noise(case["latent"], case["noise"], steps[:1].repeat(2))
    for t in steps:
        empty, conditional = (
            plain(x, t, encoder_hidden_states=tokens.expand_as(case["vision"])).sample
            for tokens in (case["vision_unconditional"], case["vision"])
        )
        x = scheduler.step(empty + case["guidance"] * (conditional - empty), t, x).prev_sample
    torch.testing.assert_close(ours, x, atol=1e-4, rtol=1e-4)


def walked_by(dual, scheduler, case, *, n_steps, text_weight=0.4):
    """From the case's noised latent, strength 0.75."""
    add_at, steps = diffusion.img2img_timesteps(scheduler, strength=0.75, n_steps=n_steps)
    return diffusion.denoise_latents(
        dual, scheduler, scheduler.add_noise(case["latent"], case["noise"], torch.tensor([add_at] * 2)), steps=steps,
        conditions=(case["text"], case["vision"]), guidance=case["guidance"], text_weight=text_weight,
        unconditional=(case["text_unconditional"], case["vision_unconditional"]),
    )  # fmt: skip


@pytest.fixture(scope="module")
def demo():
    return zoo.load_diffusion(load_run("demo"))


@pytest.fixture(scope="module")
def scenes_to_refine(demo):
    rng = np.random.default_rng(4)
    drawn = [scenes.sample_scene(rng) for _ in range(4)]
    images = resize(np.stack([scenes.draw(scene) for scene in drawn]), 64)
    embedder = zoo.load_embedder(load_run("demo"))
    texts = [captions.describe(scene, rng) for scene in drawn]
    return {"rough": images, "text": embedder.text(texts), "vision": embedder.vision(images), "image_ids": range(4)}


@pytest.mark.parametrize(("sampler", "share_of_error"), [("dpm++", 0.5), ("unipc", 0.2)])
def test_samplers_follow_the_flow_of_a_known_distribution(sampler, share_of_error):
    """Of pictures drawn from N(0, s²) the best prediction is known, and where each noisy one flows to: it scales with the sd."""
    s, shape, empty = 2.0, (64, 1, 1, 1), (torch.zeros(1, 1, 1),) * 2

    def flow(name):
        scheduler = diffusion.make_scheduler(name, {**full_size.SCHEDULER, "final_sigmas_type": "sigma_min"})
        add_at, steps = diffusion.img2img_timesteps(scheduler, strength=0.75, n_steps=20)
        signal = scheduler.alphas_cumprod
        sd = (signal * s**2 + 1 - signal).sqrt()
        x = sd[add_at] * torch.randn(shape, generator=torch.Generator().manual_seed(1))

        class BestPrediction:
            def condition(self, *tokens):
                return None

            def __call__(self, x, t, conditioning):
                return torch.cat([x, x]) * (1 - signal[t]).sqrt() / sd[t] ** 2

        conditions = (torch.zeros(64, 1, 1),) * 2
        walked = diffusion.denoise_latents(
            BestPrediction(), scheduler, x, steps=steps, conditions=conditions, unconditional=empty, guidance=3.0, text_weight=0.5
        )
        return ((walked / x).mean() - sd[0] / sd[add_at]).abs().item()

    assert flow(sampler) <= share_of_error * flow("ddim") < 0.1


def test_samplers_are_named_and_the_faithful_one_is_ddim(pipeline, inputs):
    with pytest.raises(ValueError, match=r"one of ddim, dpm\+\+, unipc, got 'euler'"):
        pipeline.refine(**inputs, image_ids=[1, 2, 3], sampler="euler")
    with pytest.raises(ValueError, match="needs sampler 'ddim', got 'unipc'"):
        pipeline.refine(**inputs, image_ids=[1, 2, 3], sampler="unipc", faithful=True)


@torch.inference_mode()
def test_the_autoencoder_is_that_of_diffusers(demo, scenes_to_refine):
    x = torch.from_numpy(scenes_to_refine["rough"]).permute(0, 3, 1, 2) / 127.5 - 1
    posterior = demo.vae.encode(x).latent_dist
    for ours, theirs in zip(autoencoder.encode(demo.vae, x), (posterior.mean, posterior.std), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    decoded = autoencoder.decode(demo.vae, posterior.mean)
    torch.testing.assert_close(decoded, demo.vae.decode(posterior.mean).sample, atol=1e-5, rtol=1e-5)


def test_kernels_for_a_gpu_are_pytorch_and_diffusers_own_layers():
    """Triton runs them step by step on a CPU, in a process that began so."""
    pytest.importorskip("triton")
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(DATA.parents[1])}
    done = subprocess.run([sys.executable, DATA.parent / "gpu_kernels.py"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.split() == ["8", "comparisons"], done.stderr


def test_the_autoencoder_takes_as_many_images_as_memory_holds(pipeline, monkeypatch):
    latents = torch.randn(5, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    wanted, decode = pipeline.decode(latents), autoencoder.decode

    def small_memory(vae, z, fits=2):
        if len(z) > fits:
            raise torch.cuda.OutOfMemoryError("full")
        return decode(vae, z)

    monkeypatch.setattr(pipeline, "pixel_batch", 16)
    monkeypatch.setattr(autoencoder, "decode", small_memory)
    assert np.abs(pipeline.decode(latents).astype(int) - wanted).max() <= 1 and pipeline.pixel_batch == 2
    monkeypatch.setattr(autoencoder, "decode", lambda vae, z: small_memory(vae, z, fits=0))
    with pytest.raises(torch.cuda.OutOfMemoryError):
        pipeline.decode(latents)


def test_noise_is_added_at_the_size_of_the_second_stages_input(pipeline, inputs):
    """As the published code does to its first stage's images, enlarged by Pillow's bicubic filter: on 8 bits, and clipped."""
    rough, ids, side = inputs["rough"][:, ::2, ::2], [5, 6, 7], pipeline.image_size
    noisy = add_noise(pipeline.as_input(rough), 64, seed=3, image_ids=ids)
    for image, k, image_id in zip(noisy, range(3), ids, strict=True):
        enlarged = np.asarray(Image.fromarray(rough[k]).resize((side, side), Image.Resampling.BICUBIC), dtype=float)
        wanted = enlarged + 64 * np.random.default_rng([3, image_id]).normal(size=enlarged.shape)
        np.testing.assert_array_equal(image, np.rint(wanted.clip(0, 255)))
    assert (pipeline.encode(noisy) != pipeline.encode(rough)).any()
    assert (pipeline.encode(pipeline.as_input(rough)) == pipeline.encode(rough)).all()


@pytest.mark.parametrize("fits", [1, 0])
def test_batches_shrink_to_what_memory_holds(pipeline, inputs, monkeypatch, fits):
    wanted, forward = pipeline.refine(**inputs, image_ids=[5, 6, 7], n_steps=4), pipeline.unet.forward

    def small_memory(x, t, conditioning):
        if len(x) > fits:
            raise torch.cuda.OutOfMemoryError("full")
        return forward(x, t, conditioning)

    monkeypatch.setattr(pipeline.unet, "forward", small_memory)
    if not fits:
        with pytest.raises(torch.cuda.OutOfMemoryError):
            pipeline.refine(**inputs, image_ids=[5, 6, 7], n_steps=4)
    else:
        refined = pipeline.refine(**inputs, image_ids=[5, 6, 7], n_steps=4)
        assert np.abs(refined.astype(int) - wanted).max() <= 1


def test_a_folder_as_published_gives_the_same_images(demo, scenes_to_refine, tmp_path):
    """The published folder holds .bin files, an older naming of the autoencoder's attention, and a whole second UNet."""
    source = zoo.path(load_run("demo"), "versatile_diffusion")
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        place = tmp_path / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix != ".safetensors":
            shutil.copy(file, place)
            continue
        state = load_file(file)
        if file.parent.name == "vae":
            for new, old in older.items():
                state = {key.replace(f"attentions.0.{new}.", f"attentions.0.{old}."): v for key, v in state.items()}
            assert "decoder.mid_block.attentions.0.query.weight" in state
        if file.parent.name == "text_unet":
            state |= {"conv_in.weight": torch.zeros(3, 3), "down_blocks.0.resnets.0.conv1.weight": torch.zeros(2)}
        name = "pytorch_model.bin" if file.name == "model.safetensors" else "diffusion_pytorch_model.bin"
        torch.save(state, place.with_name(name))
    wanted = demo.refine(**scenes_to_refine, n_steps=4)
    np.testing.assert_array_equal(diffusion.load(tmp_path).refine(**scenes_to_refine, n_steps=4), wanted)
    torch.save({"conv_in.weight": torch.zeros(3)}, tmp_path / "text_unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(ValueError, match="text_unet does not fit image_unet"):
        diffusion.load(tmp_path)
    torch.save({"conv_in.weight": torch.zeros(3)}, tmp_path / "image_unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(ValueError, match="image_unet does not fit its config"):
        diffusion.load(tmp_path)


def test_published_keys():
    keys = json.loads((DATA / "versatile_diffusion_keys.json").read_text())
    with torch.device("meta"):
        dual = diffusion.DualUNet(UNet2DConditionModel(**full_size.UNET))
    assert {key: list(value.shape) for key, value in dual.published_state("vision").items()} == keys["image_unet"]
    assert {k: list(v.shape) for k, v in dual.published_state("text").items()} == keys["text_unet_attentions_only_needed"]
    assert sum(parameter.numel() for parameter in dual.parameters()) == 1_126_760_324


def test_standard_start_adds_noise_where_it_begins():
    add_at, steps = diffusion.img2img_timesteps(DDIMScheduler(**full_size.SCHEDULER), strength=0.75, n_steps=50)
    assert add_at == steps[0] == 721
    with pytest.raises(ValueError, match=r"strength must lie in \(0, 1\], got 0"):
        diffusion.img2img_timesteps(DDIMScheduler(**full_size.SCHEDULER), strength=0, n_steps=50)
    with pytest.raises(ValueError, match="leaves no denoising step"):
        diffusion.img2img_timesteps(DDIMScheduler(**full_size.SCHEDULER), strength=0.1, n_steps=5)


def test_tensors_that_do_not_fit_are_named():
    state = text_attentions()
    key = next(iter(state))
    with pytest.raises(ValueError, match=rf"1 differences.*missing {key}"):
        diffusion.DualUNet(tiny_unet(), {k: v for k, v in state.items() if k != key})
    with pytest.raises(ValueError, match=f"{key} has shape"):
        diffusion.DualUNet(tiny_unet(), state | {key: torch.zeros(1)})


@pytest.fixture(scope="module")
def pipeline():
    torch.manual_seed(0)
    vae = AutoencoderKL(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4, latent_channels=4, layers_per_block=1,
    ).eval()  # fmt: skip
    unet = tiny_unet()
    unet.register_to_config(sample_size=16)
    dual = diffusion.DualUNet(unet, text_attentions()).eval()
    scheduler = DDIMScheduler(**full_size.SCHEDULER)
    return diffusion.VersatileDiffusion(dual, vae, scheduler, torch.randn(1, 3, 32), torch.randn(1, 5, 32))


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(2)
    return {
        "rough": rng.integers(0, 256, (3, 24, 24, 3), dtype=np.uint8),
        "text": rng.standard_normal((3, 3, 32)).astype(np.float16),
        "vision": rng.standard_normal((3, 5, 32)).astype(np.float16),
    }


@pytest.mark.parametrize("faithful", [False, True])
def test_no_image_depends_on_its_batch(pipeline, inputs, faithful):
    settings = {"n_steps": 4, "seed": 3, "faithful": faithful}
    together = pipeline.refine(**inputs, image_ids=[5, 6, 7], batch_size=2, **settings)
    assert together.shape == (3, 32, 32, 3) and together.dtype == np.uint8
    alone = pipeline.refine(**{k: v[2:] for k, v in inputs.items()}, image_ids=[7], **settings)
    assert np.abs(together[2].astype(int) - alone[0]).max() <= 1
    other = pipeline.refine(**inputs, image_ids=[5, 6, 8], **settings)
    assert np.abs(together[2].astype(int) - other[2]).max() > 1


def test_bad_input_is_refused(pipeline, inputs):
    with pytest.raises(ValueError, match=r"rough must be .* uint8, got"):
        pipeline.refine(**inputs | {"rough": inputs["rough"] / 255}, image_ids=[1, 2, 3])
    with pytest.raises(ValueError, match=r"text tokens must be \(3, 3, 32\), got \(3, 2, 32\)"):
        pipeline.refine(**inputs | {"text": inputs["text"][:, :2]}, image_ids=[1, 2, 3])
    with pytest.raises(ValueError, match="each of the 3 images, got 2"):
        pipeline.refine(**inputs, image_ids=[1, 2])
    for ids in ([1, 2, -3], [1.0, 2.5, 3.0], ["a", "b", "c"]):
        with pytest.raises(ValueError, match="image_ids must be whole numbers from 0, got "):
            pipeline.refine(**inputs, image_ids=ids)
    for n_steps in (0, 4.5, 1001):
        with pytest.raises(ValueError, match=f"n_steps must be a whole number from 1 to 1000, got {n_steps}"):
            pipeline.refine(**inputs, image_ids=[1, 2, 3], n_steps=n_steps)
    with pytest.raises(ValueError, match="unconditional must be 'empty' or 'zeros', got 'grey'"):
        pipeline.refine(**inputs, image_ids=[1, 2, 3], unconditional="grey")
    for weight in (-0.1, 1.5, np.nan):
        with pytest.raises(ValueError, match=r"text_weight must be from 0 \(vision alone\) to 1 \(text alone\), got "):
            pipeline.refine(**inputs, image_ids=[1, 2, 3], text_weight=weight)


def test_unconditional_tokens_may_be_zeros(pipeline, inputs, monkeypatch):
    settings = {"image_ids": [1, 2, 3], "n_steps": 4}
    empty, zeros = (pipeline.refine(**inputs, **settings, unconditional=kind) for kind in ("empty", "zeros"))
    monkeypatch.setattr(pipeline, "unconditional", tuple(torch.zeros_like(tokens) for tokens in pipeline.unconditional))
    np.testing.assert_array_equal(pipeline.refine(**inputs, **settings), zeros)
    assert (empty != zeros).any()


@pytest.mark.parametrize("wrong", [np.inf, np.nan])
@pytest.mark.parametrize("kind", ["text", "vision"])
def test_tokens_that_are_no_numbers_are_refused_and_the_image_named(pipeline, inputs, kind, wrong):
    spoiled = inputs[kind].copy()
    spoiled[1, 2, 3] = wrong
    with pytest.raises(ValueError, match=rf"{kind} tokens holds 1 values that are not finite numbers, in images 6$"):
        pipeline.refine(**inputs | {kind: spoiled}, image_ids=[5, 6, 7], n_steps=4)


def test_an_image_that_is_no_number_is_refused_and_named(pipeline, inputs):
    """Finite tokens may still overflow on the way: such an image came out black."""
    large = inputs["vision"].astype(np.float32)
    large[2] *= 1e38
    with pytest.raises(ValueError, match=r"the refined pixels holds .* not finite numbers, in images 7$"):
        pipeline.refine(**inputs | {"vision": large}, image_ids=[5, 6, 7], n_steps=4)
    with pytest.raises(ValueError, match=r"the refined pixels holds .* not finite numbers, in rows 0$"):
        pipeline.decode(torch.full((1, 4, 16, 16), torch.nan))


def test_tokens_may_have_any_byte_order(pipeline, inputs):
    settings = {"image_ids": [5, 6, 7], "n_steps": 2, "strength": 0.5}
    swapped = {kind: inputs[kind].astype(">f2") for kind in ("text", "vision")}
    np.testing.assert_array_equal(pipeline.refine(**inputs | swapped, **settings), pipeline.refine(**inputs, **settings))


def test_demo_zoo_is_a_folder_in_the_published_layout():
    run = load_run("demo")
    pipeline = zoo.load_diffusion(run)
    assert pipeline.image_size == 128
    rough = np.full((1, 64, 64, 3), 90, dtype=np.uint8)
    text, vision = (np.repeat(empty.numpy(), 1, axis=0) for empty in pipeline.unconditional)
    refined = pipeline.refine(rough, text, vision, image_ids=[1], n_steps=4)
    assert refined.shape == (1, 128, 128, 3) and refined.std() > 0
