"""Whether a way of computing is right: its values and gradients against more precise ones, a few rows at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.kernels.inputs import Inputs
from benchmarks.kernels.providers import Call

TOLERANCE = {torch.float32: 5e-4, torch.bfloat16: 2e-2, torch.float16: 5e-3}


class Agreement:
    """Judges calls by the naive one: an error may be half as large again as naive's in the dtype of the inputs, plus a tolerance.

    The error is the largest, over values and the gradients to hidden and weight, of |x - y| / |y|, with y computed in
    float64 for float32 inputs and in float32 for others; of a loss, which may be near zero, it is |x - y| / (1 + |y|).

    Args:
        naive: A call whose scalars over parts of the rows add up.
        inputs: What all are judged by.
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
    return [torch.stack(c).sum() if c[0].dim() == 0 else torch.cat(c) for c in zip(*parts, strict=True)] + sums


def _gradients(inputs: Inputs) -> list[Tensor]:
    """Those to hidden and weight, taken away from them."""
    to_hidden, to_weight = inputs.hidden.grad, inputs.weight.grad
    assert to_hidden is not None and to_weight is not None, "no gradient to hidden or weight"
    inputs.clear()
    return [to_hidden, to_weight]
