"""CLIP tokens against a direct computation with transformers, and image preprocessing against CLIP's own processor."""

import copy

import numpy as np
import pytest
import torch
from transformers import (
    CLIPImageProcessorPil,
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from nsdlib.core import clip
from nsdlib.params import load_run
from nsdlib.run import full_size
from nsdlib.store import zoo

pytestmark = pytest.mark.numerical


class Words:
    """A tokenizer that splits at spaces: 0 starts, 1 ends and fills up, as CLIP's pads with its end token."""

    eos_token_id = 1

    def __call__(self, captions, *, max_length, **_):
        rows = [[0, *(2 + len(word) for word in caption.split()), 1] for caption in captions]
        ids = torch.tensor([(row + [1] * max_length)[:max_length] for row in rows])
        return type("Encoded", (), {"input_ids": ids})


@pytest.fixture(scope="module")
def embedder():
    torch.manual_seed(0)
    shared = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "projection_dim": 24}
    image = CLIPVisionModelWithProjection(CLIPVisionConfig(image_size=28, patch_size=14, **shared)).eval()
    text = CLIPTextModelWithProjection(
        CLIPTextConfig(vocab_size=20, max_position_embeddings=9, bos_token_id=0, eos_token_id=1, **shared)
    ).eval()
    return clip.ClipEmbedder(image, text, Words())


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).integers(0, 256, (5, 40, 40, 3), dtype=np.uint8)


def test_preparation_equals_transformers_on_uint8(images):
    peer = CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size=28)
    wanted = peer(images=list(images), return_tensors="pt").pixel_values
    torch.testing.assert_close(clip.prepare(images, 28), wanted, atol=1e-5, rtol=0)


def test_vision_tokens_are_divided_by_the_summary_token(embedder, images):
    with torch.inference_mode():
        summary = embedder.image_encoder(clip.prepare(images, 28)).image_embeds.numpy()
    tokens = embedder.vision(images, batch_size=2).astype(np.float32)
    assert tokens.shape == (5, 5, 24)
    np.testing.assert_allclose(tokens[:, 0], summary / np.linalg.norm(summary, axis=1, keepdims=True), atol=1e-3)


@torch.inference_mode()
def test_tokens_of_the_published_width_equal_a_direct_computation():
    """CLIP ViT-L/14's shapes, two layers deep: 257 and 77 tokens of 768 numbers, by their formulas from transformers' outputs."""
    torch.manual_seed(0)
    depth, words = {"num_hidden_layers": 2}, {"vocab_size": 500}
    sizes = full_size.Sizes(vision=full_size.VISION | depth, text=full_size.TEXT | depth | words)
    large = full_size.build_embedder(sizes, torch.device("cpu"))
    pictures = np.random.default_rng(2).integers(0, 256, (1, 300, 300, 3), dtype=np.uint8)
    seen = large.image_encoder(clip.prepare(pictures, 224), output_hidden_states=True)
    normed = large.image_encoder.vision_model.post_layernorm(seen.hidden_states[-1])
    wanted = large.image_encoder.visual_projection(normed) / seen.image_embeds.norm()
    np.testing.assert_allclose(large.vision(pictures)[0].astype(np.float32), wanted[0], atol=2e-3)
    ids = large.tokenizer(["a cat on a mat"], max_length=77).input_ids
    read = large.text_encoder(ids)
    wanted = large.text_encoder.text_projection(read.last_hidden_state[0])
    wanted = wanted / wanted[5].norm()  # five words, then the end
    found = large.text([["a cat on a mat"]])[0]
    assert found.shape == (77, 768) and wanted.shape == (77, 768)
    np.testing.assert_allclose(found.astype(np.float32), wanted, atol=2e-3)


def test_text_tokens_are_divided_by_the_first_end_token_and_averaged(embedder):
    captions = [["a bb ccc", "dddd"], ["a a a a"]]
    tokens = embedder.text(captions).astype(np.float32)
    assert tokens.shape == (2, 9, 24)
    with torch.inference_mode():
        output = embedder.text_encoder(Words()(["a a a a"], max_length=9).input_ids)
    summary = output.text_embeds.numpy()[0]
    np.testing.assert_allclose(tokens[1, 5], summary / np.linalg.norm(summary), atol=1e-3)
    alone = [embedder.text([[caption]])[0].astype(np.float32) for caption in captions[0]]
    np.testing.assert_allclose(tokens[0], np.mean(alone, axis=0), atol=2e-3)
    for batch_size in (1, 2):  # an image's captions may lie in several batches, and a batch may hold several images'
        np.testing.assert_allclose(embedder.text(captions, batch_size=batch_size), tokens, atol=2e-3)


def test_demo_zoo_puts_right_captions_first():
    from nsdlib.twin import scenes

    rng = np.random.default_rng(77)
    drawn = [scenes.sample_scene(rng) for _ in range(40)]
    embedder = zoo.load_embedder(load_run("demo"))
    vision = embedder.vision(np.stack([scenes.draw(scene) for scene in drawn]))[:, 0].astype(np.float32)
    ids = embedder.tokenizer([f"a picture of a {s.things[0].colour} {s.things[0].kind}" for s in drawn]).input_ids
    ends = [row.index(embedder.tokenizer.eos_token_id) for row in ids]
    text = embedder.text([[f"a picture of a {s.things[0].colour} {s.things[0].kind}"] for s in drawn])
    summary = text[np.arange(40), ends].astype(np.float32)
    rank = (-(vision @ summary.T)).argsort(1).argsort(1)[np.arange(40), np.arange(40)]
    assert np.median(rank) <= 2  # of 0 ... 39


def test_tokens_that_float16_cannot_hold_are_refused(embedder, images, monkeypatch):
    """It ends at 65,504; one such token made a black picture, which was scored like any other."""
    compute = clip.vision_tokens
    with torch.inference_mode():
        largest = compute(embedder.image_encoder, clip.prepare(images, 28)).abs().flatten(1).amax(1)
    between = largest.sort().values[-2:].mean()  # of one image alone, tokens are larger
    monkeypatch.setattr(clip, "vision_tokens", lambda *inputs: compute(*inputs) * 65_504 / between)
    with pytest.raises(ValueError, match=rf"vision tokens holds .* in images {10 + largest.argmax()}$"):
        embedder.vision(images, image_ids=np.arange(10, 15), batch_size=2)
    words = copy.deepcopy(embedder)
    with torch.no_grad():
        words.text_encoder.text_model.embeddings.token_embedding.weight[5] = torch.nan  # a word of three letters
    with pytest.raises(ValueError, match=r"text tokens holds .* not finite numbers, in images 12$"):
        words.text([["a"], ["bb"], ["d", "ccc"]], image_ids=[10, 11, 12])


def test_bad_input_is_refused(embedder, images):
    with pytest.raises(ValueError, match=r"at least one caption; the images at positions .1. have none"):
        embedder.text([["a"], []])
    with pytest.raises(ValueError, match="must cover at least one image, got none"):
        embedder.text([])
    for captions in (["a cat", "b"], [["a"], [None]]):  # a text of its own would be read letter by letter
        with pytest.raises(ValueError, match=r"captions must be a list of texts for each image, got ('a cat'|.None.) for one"):
            embedder.text(captions)
    with pytest.raises(ValueError, match="one image or more"):
        embedder.vision(images[:0])
    with pytest.raises(ValueError, match=r"must be .* uint8"):
        embedder.vision(images / 255)
