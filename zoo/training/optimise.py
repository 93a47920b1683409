"""One training loop for every model of the demo zoo: AdamW, warm-up and cosine decay, averaged weights, checkpoints.

Two things more than double its speed on CPUs: attention by plain matrix products (the fused kernel's backward pass is slow
there for short sequences), and compiled modules where a C++ compiler is found.
"""

import copy
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import trange


def train(
    model: nn.Module,
    loss_of_batch: Callable[[torch.Generator, float], torch.Tensor],
    *,
    n_steps: int,
    learning_rate: float,
    seed: int,
    checkpoint: Path,
    average: float = 0.999,
) -> nn.Module:
    """Minimise `loss_of_batch(generator, progress)` and return the model with averaged weights.

    The state is written to `checkpoint` every 500 steps; a run that was interrupted goes on from there. Batches depend on
    the seed and the step alone, so that an interrupted run sees what an uninterrupted one would.
    """
    optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.99), weight_decay=0.01)
    averaged, first = copy.deepcopy(model).eval().requires_grad_(False), 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        averaged.load_state_dict(state["averaged"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    running, bar = None, trange(first, n_steps, initial=first, total=n_steps, desc=checkpoint.stem, mininterval=20)
    for step in bar:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * _schedule(step, n_steps)
        with sdpa_kernel(SDPBackend.MATH):
            loss = loss_of_batch(torch.Generator().manual_seed(seed * 1_000_003 + step), step / n_steps)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        _average(averaged, model, min(average, (step + 1) / (step + 10)))
        running = loss.item() if running is None else 0.98 * running + 0.02 * loss.item()
        bar.set_postfix_str(f"loss {running:.4f}", refresh=False)
        if (step + 1) % 500 == 0 or step + 1 == n_steps:
            _write(checkpoint, model, averaged, optimiser, step + 1)
    return averaged


def compile_where_possible(*modules: nn.Module):
    """Compile modules in place where a C++ compiler is found; their state dicts stay as they are."""
    if shutil.which("g++"):
        for module in modules:
            module.compile()


def _schedule(step, n_steps):
    """Share of the learning rate: linear warm-up over 200 steps, then half a cosine down to a twentieth."""
    return min(1.0, (step + 1) / 200) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / n_steps)))


@torch.no_grad()
def _average(averaged, model, keep):
    """Move the averaged weights towards the present ones."""
    for mean, now in zip(averaged.parameters(), model.parameters(), strict=True):
        mean.lerp_(now, 1 - keep)
    for mean, now in zip(averaged.buffers(), model.buffers(), strict=True):
        mean.copy_(now)


def _write(checkpoint, model, averaged, optimiser, step):
    """Write a checkpoint beside, then rename."""
    partial = checkpoint.with_suffix(".partial")
    state = {"model": model.state_dict(), "averaged": averaged.state_dict(), "optimiser": optimiser.state_dict()}
    torch.save({**state, "step": step}, partial)
    partial.rename(checkpoint)


def contrastive_loss(logits: torch.Tensor) -> torch.Tensor:
    """Symmetric cross-entropy of logits (n, n) whose pairs that belong together lie on the diagonal."""
    same = torch.arange(len(logits))
    return (functional.cross_entropy(logits, same) + functional.cross_entropy(logits.T, same)) / 2


def half(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict in half precision, as the zoo ships it."""
    return {key: value.half().contiguous() if value.is_floating_point() else value for key, value in state.items()}
