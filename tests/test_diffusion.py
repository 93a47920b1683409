"""The dual UNet and its loop against the published code on a tiny model and against diffusers' plain UNet."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from nsdlib import diffusion
from nsdlib.params import load_run

DATA = Path(__file__).parent / "data"
TINY = DATA / "versatile_diffusion_tiny"
PUBLISHED_SCHEDULE = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "set_alpha_to_one": False, "steps_offset": 1,
    "clip_sample": False,
}  # fmt: skip


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
    return {
        key: torch.from_numpy(value) if value.ndim else value.item()
        for key, value in np.load(TINY / "case.npz").items()
    }


@torch.inference_mode()
def test_one_prediction_equals_the_published_code(dual, case):
    predicted = dual(case["latent"], torch.tensor(721), case["text"], case["vision"], text_share=case["mix_text"])
    torch.testing.assert_close(predicted, case["epsilon_at_721"], atol=1e-6, rtol=0)


@torch.inference_mode()
def test_published_trajectory(dual, case):
    scheduler = DDIMScheduler(**PUBLISHED_SCHEDULE)
    add_at, steps = diffusion.img2img_timesteps(scheduler, strength=0.75, n_steps=50, faithful=True)
    assert (add_at, steps[0], len(steps)) == (741, 721, 37)
    x = scheduler.add_noise(case["latent"], case["noise"], torch.tensor([add_at] * 2))
    torch.testing.assert_close(x, case["noised_at_741"], atol=1e-5, rtol=0)
    result = diffusion.guided_ddim(
        dual, scheduler, x, steps=steps, contexts=(case["text"], case["vision"]),
        empty_contexts=(case["text_unconditional"], case["vision_unconditional"]), guidance=case["guidance"],
        text_share=case["mix_text"],
    )  # fmt: skip
    torch.testing.assert_close(result, case["result"], atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_share_0_is_the_image_unet_and_share_1_the_text_one(dual, case):
    plain = tiny_unet().eval()
    t = torch.tensor(500)
    wanted = plain(case["latent"], t, encoder_hidden_states=case["vision"]).sample
    torch.testing.assert_close(dual(case["latent"], t, case["text"], case["vision"], text_share=0), wanted)
    plain.load_state_dict(plain.state_dict() | text_attentions())
    wanted = plain(case["latent"], t, encoder_hidden_states=case["text"]).sample
    torch.testing.assert_close(dual(case["latent"], t, case["text"], case["vision"], text_share=1), wanted)


def test_published_keys():
    keys = json.loads((DATA / "versatile_diffusion_keys.json").read_text())
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            sample_size=64, block_out_channels=(320, 640, 1280, 1280), cross_attention_dim=768, attention_head_dim=8,
            down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
            up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        )  # fmt: skip
        dual = diffusion.DualUNet(unet)
    assert {key: list(value.shape) for key, value in dual.image_state().items()} == keys["image_unet"]
    assert {k: list(v.shape) for k, v in dual.text_state().items()} == keys["text_unet_attentions_only_needed"]
    assert sum(parameter.numel() for parameter in dual.parameters()) == 1_126_760_324


def test_standard_start_adds_noise_where_it_begins():
    add_at, steps = diffusion.img2img_timesteps(DDIMScheduler(**PUBLISHED_SCHEDULE), strength=0.75, n_steps=50)
    assert add_at == steps[0] == 721
    with pytest.raises(ValueError, match=r"strength must lie in \(0, 1\], got 0"):
        diffusion.img2img_timesteps(DDIMScheduler(**PUBLISHED_SCHEDULE), strength=0, n_steps=50)
    with pytest.raises(ValueError, match="leaves no step to walk"):
        diffusion.img2img_timesteps(DDIMScheduler(**PUBLISHED_SCHEDULE), strength=0.1, n_steps=5)


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
    scheduler = DDIMScheduler(**PUBLISHED_SCHEDULE)
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


def test_text_attentions_are_read_from_either_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no diffusion_pytorch_model"):
        diffusion._read_text_attentions(tmp_path)
    state = text_attentions()
    torch.save(state | {"conv_in.weight": torch.zeros(4)}, tmp_path / "diffusion_pytorch_model.bin")
    assert diffusion._read_text_attentions(tmp_path).keys() == state.keys()
    save_file(state, tmp_path / "diffusion_pytorch_model.safetensors")
    assert diffusion._read_text_attentions(tmp_path).keys() == state.keys()


def test_demo_zoo_is_a_folder_in_the_published_layout():
    run = load_run("demo")
    pipeline = diffusion.load(run)
    assert pipeline.image_size == 64
    rough = np.full((1, 64, 64, 3), 90, dtype=np.uint8)
    text, vision = (np.repeat(empty.numpy(), 1, axis=0) for empty in pipeline.empty)
    refined = pipeline.refine(rough, text, vision, image_ids=[1], n_steps=4)
    assert refined.shape == (1, 64, 64, 3) and refined.std() > 0
