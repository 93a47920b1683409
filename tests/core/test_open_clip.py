"""CLIP in open_clip's format: the same random weights give the same model in transformers and in open_clip."""

import json

import numpy as np
import open_clip as peer
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from nsdlib.core import clip, open_clip
from nsdlib.core.scores import features
from nsdlib.core.weights import load_tokenizer

pytestmark = pytest.mark.numerical

WIDTH, N_WORDS, SIDE = 32, 49_408, 28
CONFIG = {
    "model_cfg": {
        "embed_dim": 24,
        "vision_cfg": {"image_size": SIDE, "layers": 2, "width": WIDTH, "head_width": 8, "mlp_ratio": 2, "patch_size": 14},
        "text_cfg": {"context_length": 9, "vocab_size": N_WORDS, "width": WIDTH, "heads": 4, "layers": 2, "mlp_ratio": 2.0},
    },
    "preprocess_cfg": {"mean": list(clip.CLIP_MEAN), "std": list(clip.CLIP_STD), "interpolation": "bicubic"},
}
CAPTIONS = [["Two zebras grazing.", "a dog"], ["a man who rides a red horse through a very deep river"], [""]]


def transformers_encoders(activation):
    """Random encoders of transformers, as wide as `CONFIG` says."""
    torch.manual_seed(0)
    shared = {
        "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_attention_heads": 4, "num_hidden_layers": 2,
        "projection_dim": 24, "hidden_act": activation, "initializer_factor": 20.0,
    }  # fmt: skip
    image = CLIPVisionModelWithProjection(CLIPVisionConfig(image_size=SIDE, patch_size=14, **shared)).eval()
    text = CLIPTextModelWithProjection(CLIPTextConfig(vocab_size=N_WORDS, max_position_embeddings=9, **shared)).eval()
    return image, text


def layers_as_open_clip(state, before, after):
    """The transformer of one half under open_clip's names: queries, keys and values in one."""
    renamed = {}
    parts = {"self_attn.out_proj": "attn.out_proj", "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc",
             "mlp.fc2": "mlp.c_proj"}  # fmt: skip
    for k in range(2):
        own, theirs = f"{before}encoder.layers.{k}.", f"{after}transformer.resblocks.{k}."
        for kind in ("weight", "bias"):
            stacked = torch.cat([state[f"{own}self_attn.{part}_proj.{kind}"] for part in "qkv"])
            renamed[f"{theirs}attn.in_proj_{kind}"] = stacked
            renamed |= {f"{theirs}{new}.{kind}": state[f"{own}{old}.{kind}"] for old, new in parts.items()}
    return renamed


def as_open_clip(image, text):
    """Tensors of both encoders under open_clip's names."""
    seen, read, eye, mouth = image.state_dict(), text.state_dict(), "vision_model.", "text_model."
    state = layers_as_open_clip(seen, eye, "visual.") | layers_as_open_clip(read, mouth, "")
    for kind in ("weight", "bias"):
        state[f"visual.ln_pre.{kind}"] = seen[f"{eye}pre_layrnorm.{kind}"]
        state[f"visual.ln_post.{kind}"] = seen[f"{eye}post_layernorm.{kind}"]
        state[f"ln_final.{kind}"] = read[f"{mouth}final_layer_norm.{kind}"]
    state |= {
        "visual.class_embedding": seen[f"{eye}embeddings.class_embedding"],
        "visual.positional_embedding": seen[f"{eye}embeddings.position_embedding.weight"],
        "visual.conv1.weight": seen[f"{eye}embeddings.patch_embedding.weight"],
        "visual.proj": seen["visual_projection.weight"].T,
        "positional_embedding": read[f"{mouth}embeddings.position_embedding.weight"],
        "token_embedding.weight": read[f"{mouth}embeddings.token_embedding.weight"],
        "text_projection": read["text_projection.weight"].T,
        "logit_scale": torch.tensor(2.0),
    }
    return {key: tensor.contiguous() for key, tensor in state.items()}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """transformers' tokenizer of the published words, which open_clip holds in a form of its own."""
    folder, theirs = tmp_path_factory.mktemp("words"), peer.SimpleTokenizer()
    ends = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    (folder / "vocab.json").write_text(json.dumps({ends.get(word, word): n for word, n in theirs.encoder.items()}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, theirs.bpe_ranks)]) + "\n")
    return load_tokenizer(folder, N_WORDS)


@pytest.fixture(params=["gelu", "quick_gelu"])
def checkpoint(request, tmp_path):
    """A folder in open_clip's form, and the encoders of transformers that hold the same weights."""
    encoders = transformers_encoders(request.param)
    config = CONFIG | {"model_cfg": CONFIG["model_cfg"] | {"quick_gelu": request.param == "quick_gelu"}}
    (tmp_path / open_clip.CONFIG).write_text(json.dumps(config))
    save_file(as_open_clip(*encoders), tmp_path / open_clip.NAMES[0])
    return tmp_path, encoders


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(1).integers(0, 256, (5, 40, 40, 3), dtype=np.uint8)


@torch.inference_mode()
def test_the_same_weights_give_the_same_tokens_through_both(checkpoint, tokenizer, pictures):
    folder, (image, text) = checkpoint
    ours, theirs = open_clip.load(folder), clip.ClipEmbedder(image, text, tokenizer)
    assert isinstance(theirs.tokenizer, CLIPTokenizer)
    for kind, what in (("_image_tokens", pictures), ("_caption_tokens", [text for some in CAPTIONS for text in some])):
        found, wanted = getattr(ours, kind)(what), getattr(theirs, kind)(what)
        assert found.shape == wanted.shape and wanted.std() > 0.05 and found.dtype == torch.float32
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    np.testing.assert_allclose(ours.vision(pictures, batch_size=2), theirs.vision(pictures), atol=2e-3)
    np.testing.assert_allclose(ours.text(CAPTIONS, batch_size=2), theirs.text(CAPTIONS), atol=2e-3)
    assert ours.vision(pictures).shape == (5, 5, 24) and ours.text(CAPTIONS).shape == (3, 9, 24)
    with pytest.raises(ValueError, match=r"at least one caption; the images at positions .1. have none"):
        ours.text([["a"], []])


@torch.inference_mode()
def test_as_a_judge_it_is_the_embedding_of_both_libraries(checkpoint, pictures):
    folder, (image, _) = checkpoint
    judge = features.clip_extractor(folder, "cpu")
    assert isinstance(judge, open_clip.OpenClip) and judge.side == SIDE
    found = judge(pictures, batch_size=2)["pooled"]
    close = {"rtol": 0, "atol": 2e-5 * np.abs(found).max()}
    np.testing.assert_allclose(found, features.embedding_extractor(image)(pictures)["pooled"], **close)
    whole = peer.CLIP(**json.loads((folder / open_clip.CONFIG).read_text())["model_cfg"]).eval()
    whole.load_state_dict(load_file(folder / open_clip.NAMES[0]))
    np.testing.assert_allclose(found, whole.encode_image(clip.prepare(pictures, SIDE)).numpy(), **close)
    grey = judge(pictures, preprocess=lambda batch: torch.full((len(batch), 3, SIDE, SIDE), 0.5))["pooled"]
    assert np.ptp(grey, axis=0).max() < 1e-5 * np.abs(grey).max() < np.ptp(found, axis=0).max()


def test_pixels_are_standardised_as_the_config_says(checkpoint, pictures):
    folder, _ = checkpoint
    before = open_clip.load(folder)
    config = json.loads((folder / open_clip.CONFIG).read_text())
    config["preprocess_cfg"] = {"mean": [0.5] * 3, "std": [0.25] * 3}
    (folder / open_clip.CONFIG).write_text(json.dumps(config))
    after = open_clip.load(folder)
    pixels = (
        clip.prepare(pictures, SIDE) * torch.tensor(clip.CLIP_STD)[:, None, None] + torch.tensor(clip.CLIP_MEAN)[:, None, None]
    )
    torch.testing.assert_close(clip.prepare(pictures, SIDE, **after.standard), (pixels - 0.5) / 0.25, atol=1e-5, rtol=0)
    with torch.inference_mode():
        wanted = after.model.encode_image((pixels - 0.5) / 0.25).numpy()
    found, other = after(pictures)["pooled"], before(pictures)["pooled"]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())
    assert np.abs(found - other).max() > 0.01 * np.abs(wanted).max()
    unit = wanted / np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(after.vision(pictures)[:, 0], unit, atol=1e-3)


def test_a_file_of_a_training_is_read_beside_its_config(checkpoint, pictures):
    folder, _ = checkpoint
    wanted = open_clip.load(folder)(pictures)["pooled"]
    state = load_file(folder / open_clip.NAMES[0])
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{key}": tensor.half() for key, tensor in state.items()}}, folder / "epoch_3.pt"
    )
    found = open_clip.load(folder / "epoch_3.pt")
    assert found.model.visual.proj.dtype == torch.float32
    np.testing.assert_allclose(found(pictures)["pooled"], wanted, atol=0.02 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("half", "settings", "said"),
    [
        (None, {"custom_text": True}, "it sets custom_text"),
        ("vision_cfg", {"timm_model_name": "vit_base_patch16_siglip_224"}, "it sets timm_model_name"),
        ("text_cfg", {"hf_model_name": "xlm-roberta-base"}, "it sets hf_model_name"),
        ("text_cfg", {"vocab_size": 64_000}, "or another vocabulary"),
        ("vision_cfg", {"layers": [3, 4, 6, 3]}, "stages of a ResNet"),
        ("vision_cfg", {"width": "wide"}, "TypeError"),
    ],
)
def test_models_of_another_kind_are_refused_and_nothing_is_downloaded(checkpoint, half, settings, said):
    folder, _ = checkpoint
    config = json.loads((folder / open_clip.CONFIG).read_text())
    (config["model_cfg"][half] if half else config["model_cfg"]).update(settings)
    (folder / open_clip.CONFIG).write_text(json.dumps(config))
    with pytest.raises(ValueError, match=rf"{open_clip.CONFIG} must describe a CLIP of two transformers .*{said}"):
        open_clip.load(folder)


def test_what_is_missing_or_does_not_fit_is_named(checkpoint):
    folder, _ = checkpoint
    file = folder / open_clip.NAMES[0]
    state = load_file(file)
    save_file({key: tensor for key, tensor in state.items() if key != "visual.proj"}, file)
    with pytest.raises(ValueError, match=r"do not fit open_clip_config.json \(1 differences\): missing visual.proj"):
        open_clip.load(folder)
    file.rename(folder / "model.safetensors")  # transformers' name
    with pytest.raises(FileNotFoundError, match=r"wanted open_clip_model.safetensors, .* found model.safetensors"):
        open_clip.load(folder)
    (folder / open_clip.CONFIG).write_text("{}")
    with pytest.raises(ValueError, match="AttributeError"):
        open_clip.load(folder)
    (folder / open_clip.CONFIG).unlink()
    with pytest.raises(FileNotFoundError, match=r"no open_clip_config.json in"):
        open_clip.load(folder / "model.safetensors")


@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-H-14", "ViT-bigG-14"])
def test_the_sizes_that_open_clip_lists_are_taken(name, tmp_path):
    """On the meta device: their weights are gigabytes."""
    model = open_clip._build(peer.get_model_config(name), tmp_path)
    with torch.device("meta"):
        wanted = peer.CLIP(**peer.get_model_config(name))
    assert {key: tensor.shape for key, tensor in model.state_dict().items()} == {
        key: tensor.shape for key, tensor in wanted.state_dict().items()
    }
