"""Loading of weights: exact names in a fixed order, shards by their index, and no substitutes for missing entries."""

import json
import shutil

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel, CLIPTextModelWithProjection, CLIPVisionModelWithProjection

from nsdlib.core import clip, diffusion, weights
from nsdlib.core.scores import features
from nsdlib.params import load_run
from nsdlib.store import zoo

ENCODERS = {"image_encoder": CLIPVisionModelWithProjection, "text_encoder": CLIPTextModelWithProjection}
DEMO = zoo.path(load_run("demo"), "versatile_diffusion")
N_WORDS = len(json.loads((DEMO / "tokenizer" / "vocab.json").read_text()))
SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture
def published(tmp_path):
    """A folder of the second stage in the published layout, and a function that changes the tensors of one of its parts."""
    folder = shutil.copytree(DEMO, tmp_path / "versatile-diffusion")

    def change(part, edit):
        [file] = weights.find_files(folder / part)
        save_file(edit(load_file(file)), file)

    return folder, change


def without(*starts):
    """An edit that leaves tensors out."""
    return lambda state: {key: tensor for key, tensor in state.items() if not key.startswith(starts)}


def equal(a, b):
    """Whether two models hold the same tensors."""
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key].float(), b[key].float()) for key in a)


@pytest.mark.parametrize(
    ("part", "left_out"),
    [
        ("image_encoder", "visual_projection.weight"),
        ("text_encoder", "text_model.embeddings.position_embedding.weight"),
        ("text_encoder", "text_model.encoder.layers.1."),
        ("vae", "encoder.mid_block."),
        ("image_unet", "down_blocks.0.resnets.0.norm1.weight"),
        ("text_unet", "mid_block.attentions.0.proj_in.weight"),
    ],
)
def test_what_a_file_lacks_is_named_and_never_drawn(published, part, left_out):
    folder, change = published
    change(part, without(left_out))
    with pytest.raises(ValueError, match=rf"{part} do(es)? not fit .* differences\): missing {left_out}"):
        diffusion.load(folder)


@pytest.mark.parametrize("part", ["image_encoder", "vae"])
def test_tensors_of_another_model_are_named(published, part):
    folder, change = published
    change(part, lambda state: state | {"adapter.weight": torch.zeros(2)})
    with pytest.raises(ValueError, match=rf"{part} do not fit its config.json \(1 differences\): unexpected adapter.weight"):
        diffusion.load(folder)
    change(part, lambda state: {key: tensor[:1] for key, tensor in without("adapter")(state).items()})
    with pytest.raises(ValueError, match=r"has shape \(1,.*\), wanted"):
        diffusion.load(folder)


def test_weights_that_are_no_numbers_are_named(published):
    folder, change = published
    change("vae", lambda state: state | {"decoder.conv_in.bias": state["decoder.conv_in.bias"] * torch.inf})
    with pytest.raises(ValueError, match=r"decoder.conv_in.bias holds values that are not finite"):
        diffusion.load(folder)


@pytest.mark.parametrize("part", ["image_unet", "vae", "image_encoder", "text_encoder", "scheduler"])
def test_settings_that_are_not_there_are_not_made_up(published, part):
    """transformers takes the sizes of another CLIP where a folder has no config.json."""
    folder, _ = published
    [config] = (folder / part).glob("*config.json")
    config.write_text("[1]")
    with pytest.raises(ValueError, match=rf"{config} must be a JSON object"):
        diffusion.load(folder)
    config.unlink()
    with pytest.raises(FileNotFoundError, match=rf"no {config.name} in {folder / part}, which describes the model"):
        diffusion.load(folder)


def test_a_text_encoder_under_open_clips_names_is_refused(published):
    """Its names are those of the published model's sibling; transformers found none of its own and drew all of them."""
    import open_clip

    folder, _ = published
    vision = {"width": 32, "layers": 1, "head_width": 16, "image_size": 32, "patch_size": 16}
    model = open_clip.CLIP(16, vision, {"width": 32, "layers": 1, "heads": 2, "vocab_size": 20, "context_length": 9})
    state = {key: tensor for key, tensor in model.state_dict().items() if not key.startswith("visual.")}
    assert "transformer.resblocks.0.attn.in_proj_weight" in state
    save_file(state, folder / "text_encoder" / "model.safetensors")
    with pytest.raises(ValueError, match=r"missing text_model.embeddings.token_embedding.weight"):
        clip.load(folder)


def test_the_judges_clip_is_whole_or_its_vision_half(tmp_path):
    config = CLIPConfig(
        text_config=SMALL | {"vocab_size": 20, "max_position_embeddings": 8},
        vision_config=SMALL | {"image_size": 32, "patch_size": 8},
        projection_dim=12,
    )
    CLIPModel(config).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    state = load_file(file)
    stale = {f"{half}_model.embeddings.position_ids": torch.arange(17)[None] for half in ("text", "vision")}
    save_file(state | stale, file)
    assert features.clip_extractor(tmp_path, "cpu").side == 32
    for left_out in ("visual_projection.", "vision_model.encoder.layers.0.mlp."):
        save_file(without(left_out)(state), file)
        with pytest.raises(ValueError, match=rf"{tmp_path} do not fit its config.json .*missing {left_out}"):
            features.clip_extractor(tmp_path, "cpu")
    save_file(state | {"vision_model.encoder.layers.1.mlp.fc1.bias": torch.zeros(32)}, file)
    with pytest.raises(ValueError, match=r"unexpected vision_model.encoder.layers.1"):
        features.clip_extractor(tmp_path, "cpu")


def test_a_stand_in_that_lacks_a_layer_is_refused(tmp_path):
    state = features.StandIn(4, 7).state_dict()
    save_file(without("norms.2.")(state), tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match=r"does not fit a stand-in of \[4, 7\] \(5 differences\): missing norms.2.weight"):
        features.StandIn.from_file(tmp_path / "net.safetensors")
    save_file({"other.weight": torch.zeros(2)}, tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match=r"missing layers.0.weight"):
        features.StandIn.from_file(tmp_path / "net.safetensors")


@pytest.mark.parametrize("part", [*ENCODERS, "vae"])
@pytest.mark.parametrize("safe", [True, False])
def test_shards_are_found_by_their_index(published, part, safe):
    folder, _ = published
    kind = ENCODERS.get(part, AutoencoderKL)
    whole = kind.from_pretrained(folder / part)
    shutil.move(folder / part, folder / "whole")
    if safe or part == "vae":
        whole.save_pretrained(folder / part, max_shard_size="500KB", safe_serialization=safe)
    else:  # transformers writes no other files than safetensors any more
        write_shards(whole, folder / part)
    shards = weights.find_files(folder / part)
    assert len(shards) > 1 and all("-of-" in shard.name for shard in shards)
    load = weights.load_diffusers if part == "vae" else weights.load_transformers
    assert equal(load(kind, folder / part), whole)
    shards[1].unlink()
    with pytest.raises(FileNotFoundError, match=rf"{part} lacks {shards[1].name}, which the index there lists"):
        load(kind, folder / part)


def write_shards(model, folder):
    """Write a model in the sharded form that transformers wrote before safetensors."""
    model.config.save_pretrained(folder)
    keys = sorted(model.state_dict())
    names = {key: f"pytorch_model-{number % 3 + 1:05}-of-00003.bin" for number, key in enumerate(keys)}
    for name in set(names.values()):
        torch.save({key: model.state_dict()[key] for key in keys if names[key] == name}, folder / name)
    index = {"metadata": {"total_size": 1}, "weight_map": names}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


def test_names_are_taken_in_their_order_and_variants_never(tmp_path):
    """As in the folders of diffusers' hub: the file of the weights before averaging begins with the same name."""

    def write(name, value):
        write_file = save_file if name.endswith(".safetensors") else torch.save
        write_file({"weight": torch.tensor([value])}, tmp_path / name)

    variants = [f"{name.replace('.', mark, 1)}" for name in weights.NAMES for mark in (".non_ema.", ".fp16.", ".A.")]
    for name in (*variants, "weights.safetensors", "flax_model.msgpack.safetensors"):
        write(name, -1.0)
    with pytest.raises(FileNotFoundError, match=r"wanted diffusion_pytorch_model.safetensors, .* found .*non_ema"):
        weights.read_folder(tmp_path)
    for number, name in reversed(list(enumerate(weights.NAMES))):
        stem, ending = name.split(".")
        shard = f"{stem}-00001-of-00001.{ending}"
        write(shard, number + 0.5)
        (tmp_path / f"{name}.index.json").write_text(json.dumps({"weight_map": {"weight": shard}}))
        assert weights.read_folder(tmp_path)["weight"].item() == number + 0.5
        write(name, float(number))
        assert weights.read_folder(tmp_path)["weight"].item() == number


def test_a_variant_beside_the_file_that_is_meant_is_left_alone(published):
    folder, _ = published
    wanted = weights.read_folder(folder / "image_unet")
    other = {key: torch.zeros_like(tensor) for key, tensor in wanted.items()}
    for mark in ("non_ema", "fp16"):
        save_file(other, folder / "image_unet" / f"diffusion_pytorch_model.{mark}.safetensors")
    assert all(torch.equal(tensor, wanted[key]) for key, tensor in weights.read_folder(folder / "image_unet").items())
    assert weights.find_files(folder / "image_unet")[0].name == "diffusion_pytorch_model.safetensors"


def test_files_of_pytorch_before_1_6_are_read(published):
    folder, _ = published
    for part in (*ENCODERS, "vae", "image_unet", "text_unet"):
        [file] = weights.find_files(folder / part)
        name = "pytorch_model.bin" if file.stem == "model" else "diffusion_pytorch_model.bin"
        torch.save(load_file(file), file.with_name(name), _use_new_zipfile_serialization=False)
        file.unlink()
    demo, old = diffusion.load(DEMO), diffusion.load(folder)
    assert equal(old.unet, demo.unet) and equal(old.vae, demo.vae)
    assert all(torch.equal(a, b) for a, b in zip(old.unconditional, demo.unconditional, strict=True))


@pytest.mark.parametrize(
    "text", ["no json", "{}", '{"weight_map": {}}', '{"weight_map": {"a": "../b.safetensors"}}', '{"weight_map": {"a": 1}}']
)
def test_an_index_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(ValueError, match=r"index.json must name, under 'weight_map', the file beside it"):
        weights.read_folder(tmp_path)


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "tokenizer_config.json", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["empty", "cut in the middle", "cut behind a line", "no text"])
def test_a_damaged_tokenizer_is_named_and_never_mended(published, name, damage):
    """transformers takes a vocabulary without merges, or none, and cuts texts into other tokens."""
    folder, file = published[0], published[0] / "tokenizer" / name
    whole = file.read_bytes()
    short = {"empty": b"", "no text": b"\xff\x00", "cut in the middle": whole[: len(whole) // 2 + 1]}
    file.write_bytes(short.get(damage, whole[: whole.rfind(b"\n", 0, -200) + 1]))
    if name != "tokenizer.json":  # which holds them all, but for its settings
        (folder / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(
        ValueError, match=r"tokenizer cannot be read as a tokenizer \(.*get its files \(vocab.json, .*again: `nsdlib"
    ):
        clip.load(folder)


@pytest.mark.parametrize("files", [(), ("tokenizer.json",), ("vocab.json", "merges.txt")])
def test_a_tokenizer_of_other_files_is_the_same_and_without_any_it_is_refused(published, files):
    folder = published[0] / "tokenizer"
    text, wanted = "a picture of a red cat", weights.load_tokenizer(folder, N_WORDS)
    for file in folder.iterdir():
        if file.name not in files:
            file.unlink()
    if files:
        assert weights.load_tokenizer(folder, N_WORDS)(text).input_ids == wanted(text).input_ids
        return
    with pytest.raises(ValueError, match=rf"cannot be read as a tokenizer \(ValueError: 2 tokens, wanted {N_WORDS}"):
        weights.load_tokenizer(folder, N_WORDS)


def test_the_published_vocabulary_is_whole(tmp_path):
    """open_clip has it in a form of its own."""
    import open_clip

    theirs = open_clip.SimpleTokenizer()
    named = {token.replace("_of_text>", "oftext|>").replace("<start", "<|start").replace("<end", "<|end"): number
             for token, number in theirs.encoder.items()}  # fmt: skip
    (tmp_path / "vocab.json").write_text(json.dumps(named))
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, theirs.bpe_ranks)]) + "\n")
    text = "Two zebras grazing, photographed at 3 o'clock."
    ours = weights.load_tokenizer(tmp_path, 49408)
    assert ours(text).input_ids[1:-1] == theirs.encode(text)
