"""A small model in the layout of CompVis/stable-diffusion-v1-4, with random weights."""

import json
import shutil

import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

from nsdlib.params import load_run
from nsdlib.run import full_size
from nsdlib.store import zoo

NOISE = {key: value for key, value in full_size.SCHEDULER.items() if key != "clip_sample"}


def write_stable_diffusion(place):
    """Write the folder: older names in the autoencoder, PNDM as its scheduler, the tokenizer of the demo zoo."""
    torch.manual_seed(0)
    narrow = {"block_out_channels": (16, 16), "norm_num_groups": 4, "layers_per_block": 1}
    UNet2DConditionModel(
        sample_size=16, cross_attention_dim=32, attention_head_dim=4, **narrow,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    ).save_pretrained(place / "unet")  # fmt: skip
    AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, **narrow
    ).save_pretrained(place / "vae")
    file = place / "vae" / "diffusion_pytorch_model.safetensors"
    older = {"to_q.": "query.", "to_k.": "key.", "to_v.": "value.", "to_out.0.": "proj_attn."}
    state = load_file(file)
    for new, old in older.items():
        state = {key.replace(f"attentions.0.{new}", f"attentions.0.{old}"): tensor for key, tensor in state.items()}
    save_file(state, file)
    PNDMScheduler(**NOISE, skip_prk_steps=True).save_pretrained(place / "scheduler")
    shutil.copytree(zoo.path(load_run("demo"), "versatile_diffusion") / "tokenizer", place / "tokenizer")
    n_words = len(json.loads((place / "tokenizer" / "vocab.json").read_text()))
    config = CLIPTextConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=12,
        vocab_size=n_words, bos_token_id=n_words - 2, eos_token_id=n_words - 1, initializer_factor=10.0,
    )  # fmt: skip
    text = CLIPTextModel(config)
    text.save_pretrained(place / "text_encoder")
    file = place / "text_encoder" / "model.safetensors"
    state = {f"text_model.{key.removeprefix('text_model.')}": tensor for key, tensor in load_file(file).items()}
    save_file(state | {"text_model.embeddings.position_ids": torch.arange(12)[None]}, file)  # as the published file
    return place
