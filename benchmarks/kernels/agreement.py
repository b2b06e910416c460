"""Whether a way of computing is right: its values and gradients against more precise ones, a few rows at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.kernels.inputs import Inputs
from benchmarks.kernels.providers import Call

TOLERANCE = {torch.float32: 5e-4, torch.bfloat16: 2e-2, torch.float16: 5e-3}


class Agreement:
    """Judges calls by the naive one: an error may be 1.5 times as large as naive's in the dtype of the inputs, plus a tolerance.

    The error is the largest of |x - y| / |y| over values and the gradients of hidden and weight, with y computed in float64
    for float32 inputs and in float32 for others; for a loss, which may be near zero, it is |x - y| / (1 + |y|).

    Args:
        naive: A call whose scalars over parts of the rows add up.
        inputs: The inputs of all calls.
    """

    def __init__(self, naive: Call, inputs: Inputs) -> None:
        self.inputs = inputs
        self.truth = _results_by_slices(naive, inputs.more_precise())
        own = self._errors(_results_by_slices(naive, inputs))
        self.allowed = [1.5 * error + TOLERANCE[inputs.hidden.dtype] for error in own]

    def error_of(self, call: Call) -> tuple[float, bool]:
        """The largest error of a call, and whether all its errors are allowed."""
        self.inputs.clear()
        values = call(self.inputs)
        self.inputs.scalar(values).backward()
        errors = self._errors([v.detach() for v in values] + _gradients(self.inputs))
        return max(errors), all(e <= allowed for e, allowed in zip(errors, self.allowed, strict=True))

    def _errors(self, found: list[Tensor]) -> list[float]:
        pairs = zip(found, self.truth, strict=True)
        return [float((x.to(y.dtype) - y).norm() / (y.norm() + (y.dim() == 0))) for x, y in pairs]


def _results_by_slices(call: Call, inputs: Inputs) -> list[Tensor]:
    """Values and gradients, the latter summed over slices in float32 at least."""
    inputs.clear()
    dtype = torch.promote_types(inputs.hidden.dtype, torch.float32)
    sums = [torch.zeros_like(t, dtype=dtype) for t in (inputs.hidden.detach(), inputs.weight.detach())]
    parts = []
    for part in inputs.slices():
        values = call(part)
        part.scalar(values).backward()
        parts.append([v.detach() for v in values])
        for total, gradient in zip(sums, _gradients(inputs), strict=True):
            total += gradient
    return [_joined(pieces) for pieces in zip(*parts, strict=True)] + sums


def _joined(pieces: Sequence[Tensor]) -> Tensor:
    """One value from those of all slices: losses add up, log-probs and entropies follow one another."""
    return torch.stack(pieces).sum() if pieces[0].dim() == 0 else torch.cat(pieces)


def _gradients(inputs: Inputs) -> list[Tensor]:
    """The gradients of hidden and weight, which are then cleared."""
    grad_hidden, grad_weight = inputs.hidden.grad, inputs.weight.grad
    assert grad_hidden is not None and grad_weight is not None, "no gradient of hidden or weight"
    inputs.clear()
    return [grad_hidden, grad_weight]
