"""One training loop for every model of the demo zoo: AdamW, warm-up and cosine decay, averaged weights, checkpoints.

Two measures more than double its speed on CPUs: attention by plain matrix products, because the fused kernel's backward pass is
slow for short sequences, and modules compiled if a C++ compiler is found.
"""

import contextlib
import copy
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

CHECKPOINT_SECONDS = 60
SHARES = {"vdvae": 2.5, "autoencoder": 2.5, "clip": 1.5, "features": 1.0, "namer": 0.7, "unet": 6.0}  # of a budget


@dataclass
class Resources:
    """The device for training and the time limit of all models together (`budget` in seconds; None for no limit)."""

    device: torch.device
    budget: float | None = None
    done: set = field(default_factory=set)
    start: float = field(default_factory=time.monotonic)

    def seconds(self, name: str) -> float:
        """Return a model's time limit in seconds: its share of the remaining budget among the remaining models."""
        if self.budget is None:
            return math.inf
        remaining_share = sum(share for other, share in SHARES.items() if other not in self.done)
        return max(0.0, self.budget - (time.monotonic() - self.start)) * SHARES[name] / remaining_share

    def batch(self, on_cpu: int, on_gpu: int) -> int:
        """Return the batch size for the device."""
        return on_cpu if self.device.type == "cpu" else on_gpu

    def autocast(self):
        """Return the context in which safe operations run in bfloat16."""
        return torch.autocast(self.device.type, torch.bfloat16)

    def attention(self):
        """Return the context of the device's faster attention kernel."""
        return sdpa_kernel(SDPBackend.MATH) if self.device.type == "cpu" else contextlib.nullcontext()

    def compile(self, *modules: nn.Module):
        """Compile modules in place if a C++ compiler is found; their state dicts do not change."""
        if shutil.which("g++"):
            torch._dynamo.config.suppress_errors = True
            for module in modules:
                module.compile()


def train(
    model: nn.Module,
    loss_of_batch: Callable[[torch.Generator, float], torch.Tensor],
    resources: Resources,
    *,
    n_steps: int,
    learning_rate: float,
    seed: int,
    checkpoint: Path,
    seconds: float = math.inf,
    average: float = 0.999,
) -> nn.Module:
    """Minimise `loss_of_batch(generator, progress)` and return the model with averaged weights.

    Training ends after `n_steps` or `seconds`, whichever comes first; the learning rate decays with whichever is nearer. The
    state is saved to `checkpoint` every minute, and an interrupted run resumes from it. Batches depend only on seed and step, so
    a resumed run sees the same batches as an uninterrupted one.
    """
    state = _State(model, learning_rate, checkpoint, resources.device)
    start = written = time.monotonic()
    bar = tqdm(total=n_steps, initial=state.step, desc=checkpoint.stem, mininterval=20)
    while state.step < n_steps and (spent := state.spent + time.monotonic() - start) < seconds:
        progress = max(state.step / n_steps, spent / seconds)
        with resources.attention():
            generator = torch.Generator(resources.device).manual_seed(seed * 1_000_003 + state.step)
            torch.manual_seed(generator.initial_seed())  # for layers that draw, such as dropout
            loss = loss_of_batch(generator, progress)
        state.descend(loss, learning_rate * _schedule(state.step, progress), average)
        bar.update()
        if time.monotonic() - written > CHECKPOINT_SECONDS:
            written = time.monotonic()
            state.write(checkpoint, state.spent + written - start)
        if state.step % 100 == 1:
            bar.set_postfix_str(f"loss {state.loss.item():.4f}", refresh=False)
    bar.close()
    state.write(checkpoint, state.spent + time.monotonic() - start)
    return state.averaged


class _State:
    """A model, its averaged weights, its optimiser, and its progress."""

    def __init__(self, model, learning_rate, checkpoint, device):
        self.model = model.to(device)
        options = {"betas": (0.9, 0.99), "weight_decay": 0.01, "fused": device.type == "cuda"}
        self.optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, **options)
        self.averaged, self.step, self.spent, self.loss = copy.deepcopy(model).eval().requires_grad_(False), 0, 0.0, None
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        if checkpoint.exists():
            stored = torch.load(checkpoint, weights_only=True, map_location=device)
            for name in ("model", "averaged", "optimiser"):
                getattr(self, name).load_state_dict(stored[name])
            self.step, self.spent = stored["step"], stored["spent"]

    def descend(self, loss, learning_rate, average):
        """Take one step of the optimiser and update the averaged weights."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        decay = min(average, (self.step + 1) / (self.step + 10))
        with torch.no_grad():  # an exponential moving average of the weights; buffers are copied
            torch._foreach_lerp_(list(self.averaged.parameters()), list(self.model.parameters()), 1 - decay)
            for mean, buffer in zip(self.averaged.buffers(), self.model.buffers(), strict=True):
                mean.copy_(buffer)
        value = loss.detach()
        self.loss, self.step = value if self.loss is None else self.loss.lerp(value, 0.02), self.step + 1

    def write(self, checkpoint, spent):
        """Write a checkpoint to a temporary file, then rename it."""
        partial = checkpoint.with_suffix(".partial")
        state = {name: getattr(self, name).state_dict() for name in ("model", "averaged", "optimiser")}
        torch.save({**state, "step": self.step, "spent": spent}, partial)
        partial.rename(checkpoint)


def _schedule(step, progress):
    """Factor on the learning rate: linear warm-up over 200 steps, and cosine decay to a twentieth."""
    return min(1.0, (step + 1) / 200) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress)))


def contrastive_loss(logits: torch.Tensor) -> torch.Tensor:
    """Symmetric cross-entropy of logits (n, n), with matching pairs on the diagonal."""
    targets = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, targets) + functional.cross_entropy(logits.T, targets)) / 2


def half(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Convert a state dict to half precision, as in the shipped zoo."""
    return {key: value.half().cpu().contiguous() if value.is_floating_point() else value.cpu() for key, value in state.items()}
