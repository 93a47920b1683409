"""Gated recurrent units from matrix products: equal to torch's GRU, faster for a single step, and usable in CUDA graphs."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HIDDEN = 100  # units per direction of each bidirectional GRU
BLOCK = 512  # inputs per block of the weight gradient


def one_step(gates: Tensor, state_gates, state_candidate: Tensor, state: Tensor | float = 0.0) -> Tensor:
    """Return a GRU's next state, (..., n_units), by the equations of `torch.nn.GRU`.

    `gates` (..., 3 n_units) is the input's contribution to reset, update and candidate; `state_gates` and `state_candidate` are
    the state's, which is only a bias when the state is zero.
    """
    n_units = gates.shape[-1] // 3
    gates, candidate = gates.split([2 * n_units, n_units], dim=-1)
    reset, update = torch.sigmoid(gates + state_gates).chunk(2, dim=-1)
    candidate = torch.tanh(candidate + reset * state_candidate)
    return candidate + update * (state - candidate)


class PlainGRU(nn.GRU):
    """Bidirectional `torch.nn.GRU` from matrix products: (n_steps, n, n_in) -> (n_steps, n, 2 n_units)."""

    def __init__(self, n_in: int, n_units: int):
        super().__init__(n_in, n_units, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        """Run both directions together over the steps; the first has a zero state and skips the recurrent product."""
        weights, recurrent, biases, recurrent_biases = zip(*self.all_weights, strict=True)
        sizes = [2 * self.hidden_size, self.hidden_size]
        gates = [linear(x.flatten(0, 1), *part).unflatten(0, x.shape[:2]) for part in zip(weights, biases, strict=True)]
        first, *later = torch.stack([gates[0], gates[1].flip(0)], dim=1)  # each (2, n, 3 n_units)
        recurrent_bias = torch.stack(recurrent_biases).unsqueeze(1)
        states = [one_step(first, *recurrent_bias.split(sizes, dim=-1))]
        for step in later:
            recurrent_gates = torch.baddbmm(recurrent_bias, states[-1], torch.stack(recurrent).mT)
            states.append(one_step(step, *recurrent_gates.split(sizes, dim=-1), states[-1]))
        forwards, backwards = torch.stack(states, dim=1)
        return torch.cat([forwards, backwards.flip(0)], dim=-1)


class BidirectionalGRU(nn.Module):
    """A bidirectional GRU over a sequence of one step, with layer normalisation: (n, n_in) -> (n, 2 width)."""

    def __init__(self, n_in: int, width: int = HIDDEN):
        super().__init__()
        self.gru = PlainGRU(n_in, width)
        self.norm = nn.LayerNorm(2 * width)

    def forward(self, x: Tensor) -> Tensor:
        """Run both directions over the one step."""
        return self.norm(self.gru(x.unsqueeze(0)).squeeze(0))


class GatedLayer(nn.Module):
    """One step of a bidirectional GRU from a zero state, with layer normalisation: (n, n_in) -> (n, 200)."""

    def __init__(self, n_in: int):
        super().__init__()
        self.gates = nn.Linear(n_in, 6 * HIDDEN)  # reset, update and candidate, of both directions
        self.candidate_bias = nn.Parameter(torch.empty(2 * HIDDEN).uniform_(-(HIDDEN**-0.5), HIDDEN**-0.5))
        self.norm = nn.LayerNorm(2 * HIDDEN)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the step and normalise it."""
        return self.norm(one_step(linear(x, self.gates.weight, self.gates.bias), 0.0, self.candidate_bias))

    @classmethod
    def from_gru(cls, layer: BidirectionalGRU) -> "GatedLayer":
        """Return the same function as that layer, without the recurrent weights."""

        def by_gate(name):  # from torch's order (direction, gate) to (gate, direction)
            directions = (getattr(layer.gru, f"{name}_l0{suffix}").unflatten(0, (3, HIDDEN)) for suffix in ("", "_reverse"))
            return torch.stack([*directions], dim=1).flatten(0, 2)

        gated, n_gates = cls(layer.gru.input_size), 4 * HIDDEN  # reset and update: their input and recurrent biases add up
        recurrent = by_gate("bias_hh")
        with torch.no_grad():
            gated.gates.weight.copy_(by_gate("weight_ih"))
            gated.gates.bias.copy_(by_gate("bias_ih"))
            gated.gates.bias[:n_gates] += recurrent[:n_gates]
            gated.candidate_bias.copy_(recurrent[n_gates:])
            gated.norm.load_state_dict(layer.norm.state_dict())
        return gated


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Apply `F.linear` to x (n, n_in) and weight (n_out, n_in), with a faster backward pass on a CPU."""
    return F.linear(x, weight, bias) if x.is_cuda else _BlockedLinear.apply(x, weight, bias)


class _BlockedLinear(torch.autograd.Function):
    """`F.linear` that computes the weight gradient in blocks of inputs that fit into the cache."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        weight_gradient = torch.empty_like(weight)
        for inputs, part in zip(x.split(BLOCK, dim=1), weight_gradient.split(BLOCK, dim=1), strict=True):
            torch.mm(gradient.t(), inputs, out=part)
        return gradient @ weight if ctx.needs_input_grad[0] else None, weight_gradient, gradient.sum(0)
