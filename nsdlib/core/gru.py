"""A gated recurrent unit in plain products: numbers and gradients of torch's, quick over one step, and for CUDA graphs to capture."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BLOCK = 512  # inputs whose weights get their gradient at once


def one_step(gates: Tensor, of_state, state: Tensor | float = 0.0) -> Tensor:
    """Return a GRU's next state by `torch.nn.GRU`'s equations: (n, n_units).

    `gates` (n, 3 n_units) has the products of the input for reset, update and candidate, `of_state` those of the state, in three.
    """
    reset, update, candidate = gates.chunk(3, dim=1)
    candidate = torch.tanh(candidate + torch.sigmoid(reset + of_state[0]) * of_state[2])
    return candidate + torch.sigmoid(update + of_state[1]) * (state - candidate)


class PlainGRU(nn.GRU):
    """`torch.nn.GRU`, bidirectional, in plain products, which a graph can capture: (n_steps, n, n_in) -> (n_steps, n, 2 n_units).

    A first step, whose state is zero, needs no product of the recurrent weights.
    """

    def __init__(self, n_in: int, n_units: int):
        super().__init__(n_in, n_units, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        """Run both directions over the steps."""
        return torch.cat([self._run(x, "", 1), self._run(x, "_reverse", -1)], dim=2)

    def _run(self, x, end, direction):
        weight, bias, recurrent = (getattr(self, f"{name}_l0{end}") for name in ("weight_ih", "bias_ih", "bias_hh"))
        first, *later = linear(x.flatten(0, 1), weight, bias).unflatten(0, x.shape[:2]).unbind()[::direction]
        states = [one_step(first, recurrent.chunk(3))]
        for gates in later:
            of_state = F.linear(states[-1], getattr(self, f"weight_hh_l0{end}"), recurrent)
            states.append(one_step(gates, of_state.chunk(3, dim=1), states[-1]))
        return torch.stack(states[::direction])


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Multiply as `F.linear` does, x (n, n_in) by weight (n_out, n_in); on a CPU with a gradient that is computed sooner."""
    return F.linear(x, weight, bias) if x.is_cuda else _BlockedLinear.apply(x, weight, bias)


class _BlockedLinear(torch.autograd.Function):
    """`F.linear` whose weight gets its gradient in blocks of inputs that fit a cache."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        of_weight = torch.empty_like(weight)
        for inputs, part in zip(x.split(BLOCK, dim=1), of_weight.split(BLOCK, dim=1), strict=True):
            torch.mm(gradient.t(), inputs, out=part)
        return gradient @ weight if ctx.needs_input_grad[0] else None, of_weight, gradient.sum(0)
