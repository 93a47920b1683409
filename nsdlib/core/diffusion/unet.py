"""The UNet of Versatile Diffusion (Xu et al. 2023): attention blocks for vision and text tokens in parallel.

The folder's `image_unet` is a plain diffusers UNet that attends to CLIP vision tokens. Each of its attention blocks gets a twin,
with the corresponding weights of `text_unet`, that attends to CLIP text tokens; the outputs of both are mixed. Tokens are the
same at all steps, so their keys and values are computed once (`DualUNet.condition`).
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nsdlib.core.diffusion import layers
from nsdlib.core.weights import check_fit


class DualAttention(nn.Module):
    """A mixture of an attention block over vision tokens and its twin over text tokens.

    x + w * (text(x) - x) + (1 - w) * (vision(x) - x), where w is `text_weight`; the twins' own residual x cancels.
    """

    def __init__(self, **twins: nn.Module):
        super().__init__()
        for name, twin in twins.items():
            self.add_module(name, twin)

    def forward(self, x: Tensor, condition: dict) -> Tensor:
        """Mix the twins' outputs; `condition` maps each used twin to its weight, and the keys and values of its layers."""
        mixed = x
        for name, (weight, pairs) in condition.items():
            twin = getattr(self, name)
            h = layers.project(twin.proj_in, layers.to_places(layers.group_norm(twin.norm, x)))
            for block, keys_values in zip(twin.transformer_blocks, pairs, strict=True):
                h = layers.transformer(block, h, keys_values)
            h = layers.to_maps(layers.project(twin.proj_out, h), x.shape)
            mixed = layers.repeat_rows(mixed, len(h))
            mixed = mixed + weight * h if isinstance(weight, Tensor) else torch.add(mixed, h, alpha=weight)
        return mixed


class DualUNet(nn.Module):
    """An image UNet whose attention blocks have text twins, with weights from `text_state` (None: copies of the first twin).

    The first of `twins` uses the existing blocks; with a single twin, as in Stable Diffusion, the UNet is unchanged.
    """

    def __init__(self, image_unet: nn.Module, text_state: dict[str, Tensor] | None = None, *, twins=("vision", "text")):
        super().__init__()
        self.unet, self.twins = image_unet, tuple(twins)
        first, *others = self.twins
        for block in self._blocks():
            parts = [{first: part} | {name: copy.deepcopy(part) for name in others} for part in block.attentions]
            block.attentions = nn.ModuleList(DualAttention(**part) for part in parts)
        if text_state is not None:
            self.fill("text", text_state)

    def _blocks(self):
        """Return the blocks with attention, in the order of execution."""
        blocks = (*self.unet.down_blocks, self.unet.mid_block, *self.unet.up_blocks)
        return [block for block in blocks if getattr(block, "attentions", None) is not None]

    def fill(self, twin: str, state: dict[str, Tensor]):
        """Load the tensors of image_unet ("vision") or text_unet ("text"), or those of a plain UNet into its only twin.

        All tensors must fit; unused tensors of text_unet are ignored.
        """
        name = {"vision": "image_unet", "text": "text_unet"}[twin] if len(self.twins) > 1 else "unet"
        is_first = twin == self.twins[0]
        what = f"{name} does not fit {'its config.json' if is_first else 'image_unet'}"
        state = check_fit(self.published_state(twin), state, what=what, ignore=None if is_first else "")
        tensors = {name: state[key] for key, name in self._names(twin).items()}
        self.unet.load_state_dict(tensors, strict=False, assign=True)

    def published_state(self, twin: str) -> dict[str, Tensor]:
        """Return a twin's tensors by their published names; the first twin includes all tensors outside the twins."""
        state = self.unet.state_dict()
        return {key: state[name] for key, name in self._names(twin).items()}

    def _names(self, twin) -> dict[str, str]:
        """Map published names to ours: `attentions.0.norm` is our `attentions.0.vision.norm` or `attentions.0.text.norm`."""
        names = {}
        for name in self.unet.state_dict():
            prefix, _, suffix = name.partition(".attentions.")
            number, _, tail = suffix.partition(".")
            if not suffix and twin == self.twins[0]:
                names[name] = name
            elif tail.startswith(f"{twin}."):
                names[f"{prefix}.attentions.{number}.{tail.removeprefix(f'{twin}.')}"] = name
        return names

    def condition(self, text: Tensor, vision: Tensor, text_weight: float | Tensor) -> list[dict]:
        """Compute keys and values of all cross-attentions from tokens, each (n_images, n_tokens, n_features).

        `text_weight` is a number, or one per image, (n_images, 1, 1, 1). Returns one dict per attention block. It maps each twin
        with nonzero weight to its weight and its layers' keys and values, (n_images, n_heads, n_tokens, n_features). A UNet with
        one twin needs a `text_weight` of 1 (text) or 0 (vision).
        """
        weighted = {"text": (text_weight, text), "vision": (1 - text_weight, vision)}
        used = {name: pair for name, pair in weighted.items() if isinstance(pair[0], Tensor) or pair[0] != 0}
        return [
            {
                name: (weight, [layers.keys_and_values(layer.attn2, tokens) for layer in getattr(part, name).transformer_blocks])
                for name, (weight, tokens) in used.items()
            }
            for block in self._blocks()
            for part in block.attentions
        ]

    def forward(self, x: Tensor, t: Tensor, conditioning: list[dict]) -> Tensor:
        """Return the UNet's prediction for x (n_images, channels, rows, columns) at step t, a number or one per image.

        The tokens may have a multiple of n_images rows; there are as many predictions, with their common part computed once.
        """
        unet = self.unet
        emb = F.silu(unet.time_embedding(unet.time_proj(t.reshape(-1)).to(x.dtype)))  # (n_images or 1, n_features)
        conditions = iter(conditioning)
        x = unet.conv_in(x)
        skips = [x]
        for block in unet.down_blocks:
            for resnet, attention in _layer_pairs(block):
                x = _apply_layer(resnet, attention, x, emb, conditions)
                skips.append(x)
            for sampler in block.downsamplers or ():
                x = sampler(x)
                skips.append(x)
        for resnet, attention in zip(unet.mid_block.resnets, [*unet.mid_block.attentions, None], strict=True):
            x = _apply_layer(resnet, attention, x, emb, conditions)
        for block in unet.up_blocks:
            for resnet, attention in _layer_pairs(block):
                x = torch.cat([x, layers.repeat_rows(skips.pop(), len(x))], dim=1)
                x = _apply_layer(resnet, attention, x, emb, conditions)
            for sampler in block.upsamplers or ():
                x = layers.upsample(sampler, x, skips[-1].shape)
        return unet.conv_out(layers.group_norm(unet.conv_norm_out, x, silu=True))


def _layer_pairs(block):
    """Pair a block's residual layers with its attention blocks, or with None."""
    attentions = getattr(block, "attentions", None)
    return zip(block.resnets, attentions if attentions is not None else [None] * len(block.resnets), strict=True)


def _apply_layer(resnet, attention, x, emb, conditions):
    """Apply a residual layer and, if there is one, an attention block."""
    x = layers.residual(resnet, x, emb)
    return x if attention is None else attention(x, next(conditions))
