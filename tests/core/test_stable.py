"""Stable Diffusion in our loop against diffusers' own image-to-image pipeline, from a folder in the published layout."""

import shutil

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionImg2ImgPipeline, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion_img2img as theirs
from safetensors.torch import load_file, save_file
from stable_folder import write_stable_diffusion
from transformers import CLIPTextModel, CLIPTokenizer

from nsdlib.core import random
from nsdlib.core.diffusion import stable
from nsdlib.core.diffusion.unet import DualUNet
from nsdlib.run import full_size

pytestmark = pytest.mark.numerical

IDS = [5, 6, 7]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_stable_diffusion(tmp_path_factory.mktemp("stable-diffusion"))


@pytest.fixture(scope="module")
def ours(folder):
    return stable.load(folder)


@pytest.fixture(scope="module")
def peer(folder):
    """diffusers' pipeline of the same folder, loaded by their own classes, with the sampler of the recipe."""
    parts = {
        "unet": UNet2DConditionModel.from_pretrained(folder / "unet"),
        "vae": AutoencoderKL.from_pretrained(folder / "vae"),
        "text_encoder": CLIPTextModel.from_pretrained(folder / "text_encoder"),
        "tokenizer": CLIPTokenizer.from_pretrained(folder / "tokenizer", model_max_length=12),
        "scheduler": DDIMScheduler.from_pretrained(folder / "scheduler", clip_sample=False),
    }
    pipeline = StableDiffusionImg2ImgPipeline(**parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def rough():
    return np.random.default_rng(2).integers(0, 256, (3, 24, 24, 3), dtype=np.uint8)


CAPTIONS = ["a picture of a red cat", "a dog", "two blue birds on a tree"]


@torch.inference_mode()
def test_text_tokens_are_the_last_hidden_states_of_diffusers(folder, peer):
    embedder = stable.load_embedder(folder)
    wanted, empty = peer.encode_prompt(CAPTIONS, "cpu", 1, True)
    torch.testing.assert_close(embedder._caption_tokens(CAPTIONS), wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(embedder._caption_tokens([""]), empty[:1], atol=1e-5, rtol=1e-5)
    assert wanted[:, 1:].std() > 0.1 and (wanted[0] - wanted[1]).abs().max() > 0.1
    both = embedder.text([CAPTIONS[:2], CAPTIONS[2:]]).astype(np.float32)
    np.testing.assert_allclose(both[0], wanted[:2].mean(0), atol=4e-3)
    with pytest.raises(ValueError, match="embeds no images; use `text`"):
        embedder.vision(np.zeros((1, 8, 8, 3), np.uint8))


@torch.inference_mode()
def test_the_plain_unet_is_that_of_diffusers(ours, peer):
    torch.manual_seed(1)
    x, tokens, t = torch.randn(2, 4, 16, 16), torch.randn(2, 12, 32), torch.tensor(500)
    conditioning = ours.unet.condition(tokens, torch.zeros(2, 0, 0), 1)
    wanted = peer.unet(x, t, encoder_hidden_states=tokens).sample
    torch.testing.assert_close(ours.unet(x, t, conditioning), wanted, atol=1e-5, rtol=1e-5)
    assert sum(p.numel() for p in ours.unet.parameters()) == sum(p.numel() for p in peer.unet.parameters())


@torch.inference_mode()
@pytest.mark.parametrize(("strength", "guidance"), [(0.8, 5.0), (0.75, 7.5)])
def test_images_are_those_of_diffusers_own_pipeline(ours, peer, rough, monkeypatch, strength, guidance):
    """From the same latents and the same noise, which theirs would draw otherwise."""
    latents = ours.encode(rough)
    pixels = torch.from_numpy(ours.as_input(rough)).permute(0, 3, 1, 2) / 127.5 - 1
    scaled = peer.vae.encode(pixels).latent_dist.mean * peer.vae.config.scaling_factor
    torch.testing.assert_close(latents, scaled, atol=1e-5, rtol=1e-4)
    noise = random.normal(latents, random.generators(3, IDS))
    monkeypatch.setattr(theirs, "randn_tensor", lambda shape, **_: noise)
    wanted = peer(
        CAPTIONS, image=latents, strength=strength, num_inference_steps=10, guidance_scale=guidance, eta=0.0, output_type="pt"
    ).images.permute(0, 2, 3, 1)
    text = peer.encode_prompt(CAPTIONS, "cpu", 1, False)[0].numpy()
    found = ours.refine(rough, text, image_ids=IDS, seed=3, strength=strength, n_steps=10, guidance=guidance)
    assert found.shape == (3, 32, 32, 3) and found.std() > 5
    np.testing.assert_allclose(found / 255, wanted.numpy(), rtol=0, atol=0.5 / 255 + 1e-4)  # ours are rounded to grey levels
    swapped = ours.refine(rough, text[::-1], image_ids=IDS, seed=3, strength=strength, n_steps=10, guidance=guidance)
    assert np.abs(swapped[[0, 2]].astype(int) - found[[0, 2]]).max() > 2


def test_the_walk_may_be_faithful_and_no_image_depends_on_its_batch(ours, rough):
    text = np.random.default_rng(0).standard_normal((3, 12, 32)).astype(np.float16)
    settings = {"n_steps": 5, "seed": 3, "faithful": True, "strength": 0.8, "guidance": 5.0}
    together = ours.refine(rough, text, image_ids=IDS, batch_size=2, **settings)
    alone = ours.refine(rough[2:], text[2:], image_ids=IDS[2:], **settings)
    assert np.abs(together[2].astype(int) - alone[0]).max() <= 1
    plain = ours.refine(rough, text, image_ids=IDS, **settings | {"faithful": False})
    assert np.abs(together.astype(int) - plain).max() > 1
    others = np.ones((3, 5, 32), np.float16)  # vision tokens, as other second stages take
    np.testing.assert_array_equal(ours.refine(rough, text, others, image_ids=IDS, batch_size=2, **settings), together)


def test_bad_input_is_refused(ours, rough):
    text = np.zeros((3, 12, 32), np.float16)
    with pytest.raises(ValueError, match=r"on text alone: text_weight must be 1, got 0\.4"):
        ours.refine(rough, text, image_ids=IDS, text_weight=0.4)
    with pytest.raises(ValueError, match=r"text tokens must be \(3, 12, 32\), got \(3, 11, 32\)"):
        ours.refine(rough, text[:, 1:], image_ids=IDS)


@pytest.mark.parametrize(
    ("part", "key"),
    [("unet", "conv_in.weight"), ("unet", "mid_block.attentions.0.proj_in.weight"), ("vae", "quant_conv.bias"),
     ("text_encoder", "text_model.final_layer_norm.weight")],
)  # fmt: skip
def test_what_a_folder_lacks_is_named(folder, tmp_path, part, key):
    place = shutil.copytree(folder, tmp_path / "copy")
    [file] = (place / part).glob("*.safetensors")
    save_file({name: tensor for name, tensor in load_file(file).items() if name != key}, file)
    with pytest.raises(ValueError, match=rf"{part} do(es)? not fit its config.json \(1 differences\): missing {key}"):
        stable.load(place)
    (place / part / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=rf"no config.json in {place / part}"):
        stable.load(place)


def test_the_published_unet_has_its_parameters():
    """859.5 million, and the names that diffusers gives them; on the meta device."""
    with torch.device("meta"):
        plain = UNet2DConditionModel(**full_size.UNET)
        wanted = {key: tensor.shape for key, tensor in plain.state_dict().items()}
        dual = DualUNet(plain, twins=("text",))
    assert {key: tensor.shape for key, tensor in dual.published_state("text").items()} == wanted
    assert sum(p.numel() for p in dual.parameters()) == 859_520_964
