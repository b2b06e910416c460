"""Row operations in PyTorch, in blocks of rows that stay in the processor's cache."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from int_lightning_kernels.rows import Coefficients, Scores, Statistics

BLOCK_ELEMENTS = 2**19  # 2 MiB of float32
LOWEST = -1.0e30  # in place of -inf, whose product with a probability of 0 is NaN


def row_statistics(
    logits: Float[Tensor, "n S"], targets: Int64[Tensor, " n"], scores: Scores, offset: int, weighted: bool
) -> Statistics:
    """See ``RowOperations``."""
    if not logits.shape[1]:  # a rank may hold nothing of the vocabulary
        zeros = torch.zeros(3, len(logits), device=logits.device)
        return Statistics(torch.full_like(zeros[0], LOWEST), *zeros)
    maximum, total, weighted_sum, target = torch.zeros(4, len(logits), dtype=torch.float32, device=logits.device)
    for rows, shifted, exp in _with_scratch(logits):
        z = scores_of(logits[rows], scores.rows(rows), out=shifted)
        inside, column = columns_of(targets[rows], offset, z.shape[1])
        target[rows] = z.gather(1, column).squeeze(1).float().where(inside, 0.0)
        maximum[rows] = z.amax(-1).float().clamp_(min=LOWEST)
        torch.sub(z, maximum[rows, None], out=shifted)
        if scores.masked or scores.bias is not None:
            shifted.clamp_(min=LOWEST)
        torch.exp(shifted, out=exp if weighted else shifted)
        torch.sum(exp if weighted else shifted, -1, out=total[rows])
        if weighted:
            torch.sum(exp.mul_(shifted), -1, out=weighted_sum[rows])
    return Statistics(maximum, total, weighted_sum, target)


def row_gradients_(
    logits: Float[Tensor, "n S"],
    targets: Int64[Tensor, " n"],
    scores: Scores,
    offset: int,
    maximum: Float32[Tensor, " n"],
    total: Float32[Tensor, " n"],
    coefficients: Coefficients,
) -> None:
    """See ``RowOperations``. With s = z - m, the gradient is  -exp(s) (constant' + slope' s), the row's total, its log and
    the temperature folded into constant' and slope'."""
    at_target, constant, slope = coefficients.at_target, coefficients.constant, coefficients.slope
    scale = total.reciprocal() if scores.inverse_temperature is None else scores.inverse_temperature / total
    if slope is not None:
        constant = torch.addcmul(constant, slope, total.log(), value=-1)
        slope = (slope * scale).neg_()
    constant = (constant * scale).neg_()
    at_target = at_target if scores.inverse_temperature is None else at_target * scores.inverse_temperature
    for rows, shifted, exp in _with_scratch(logits):
        block = logits[rows]
        z = scores_of(block, scores.rows(rows), out=shifted)
        slope_of_cap = _slope_of_cap(z, scores.rows(rows))
        torch.sub(z, maximum[rows, None], out=shifted)
        if scores.masked or scores.bias is not None:
            shifted.clamp_(min=LOWEST)
        gradient = block if block.dtype == torch.float32 else shifted
        if slope is None:
            torch.mul(shifted.exp_(), constant[rows, None], out=gradient)
        else:
            torch.exp(shifted, out=exp)
            shifted.mul_(slope[rows, None]).add_(constant[rows, None])
            torch.mul(exp, shifted, out=gradient)
        inside, column = columns_of(targets[rows], offset, block.shape[1])
        gradient.scatter_add_(1, column, at_target[rows].where(inside, 0.0)[:, None])
        if slope_of_cap is not None:
            gradient.mul_(slope_of_cap)
        if gradient is not block:
            block.copy_(gradient)


def blocks(logits: Float[Tensor, "n S"]) -> Iterator[slice]:
    """Rows of about ``BLOCK_ELEMENTS`` logits at a time."""
    n, size = logits.shape
    height = max(1, BLOCK_ELEMENTS // max(1, size))
    for start in range(0, n if size else 0, height):
        yield slice(start, min(start + height, n))


def _with_scratch(
    logits: Float[Tensor, "n S"],
) -> Iterator[tuple[slice, Float32[Tensor, "k S"], Float32[Tensor, "k S"]]]:
    """The blocks, each with two float32 buffers of its shape."""
    height = max((rows.stop - rows.start for rows in blocks(logits)), default=0)
    scratch = torch.empty(2, height, logits.shape[1], dtype=torch.float32, device=logits.device)
    for rows in blocks(logits):
        first, second = scratch[:, : rows.stop - rows.start]
        yield rows, first, second


def scores_of(block: Float[Tensor, "n S"], scores: Scores, out: Float32[Tensor, "n S"]) -> Float[Tensor, "n S"]:
    """The block's scores: in ``out``, or the block itself where the scores are the raw logits."""
    z = block
    if scores.bias is not None:
        z = torch.add(z, scores.bias.float(), out=out)
    if scores.softcap is not None:
        z = (z if z is out else out.copy_(z)).div_(scores.softcap).tanh_().mul_(scores.softcap)
    if scores.inverse_temperature is not None:
        z = torch.mul(z, scores.inverse_temperature[:, None], out=out)
    return z


def _slope_of_cap(z: Float[Tensor, "n S"], scores: Scores) -> Float[Tensor, "n S"] | None:
    """d (softcap tanh(r / softcap)) / dr = 1 - tanh^2, from the scores."""
    if scores.softcap is None:
        return None
    tanh = z / scores.softcap
    if scores.inverse_temperature is not None:
        tanh.div_(scores.inverse_temperature[:, None])
    return tanh.square_().neg_().add_(1)


def columns_of(targets: Int64[Tensor, " n"], offset: int, size: int) -> tuple[Bool[Tensor, " n"], Int64[Tensor, "n 1"]]:
    """Whether the target is one of the slab's columns, and its column (some column where it is not)."""
    column = targets - offset
    return (column >= 0) & (column < size), column.clamp(0, size - 1)[:, None]
