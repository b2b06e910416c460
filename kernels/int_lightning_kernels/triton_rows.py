"""Row operations in Triton: a program per row reduces it in one pass, a program per row and block writes its gradient.

Annotations of kernels are Triton's own and not types; ``no_type_check`` says so to whatever checks types.
"""

from __future__ import annotations

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from int_lightning_kernels.rows import Coefficients, Scores, Statistics

BLOCK = 8192


def row_statistics(
    logits: Float[Tensor, "n S"], targets: Int64[Tensor, " n"], scores: Scores, offset: int, weighted: bool
) -> Statistics:
    """See ``RowOperations``."""
    n, size = logits.shape
    out = torch.empty(4, n, dtype=torch.float32, device=logits.device)
    if n:
        with torch.cuda.device_of(logits):
            statistics_kernel[(n,)](
                logits,
                targets,
                scores.inverse_temperature,
                scores.bias,
                out,
                n,
                size,
                logits.stride(0),
                offset,
                scores.softcap or 1.0,
                capped=scores.softcap is not None,
                with_weighted=weighted,
                block=block_of(size),
                num_warps=warps_of(size),
            )
    return Statistics(*out)


def row_gradients_(
    logits: Float[Tensor, "n S"],
    targets: Int64[Tensor, " n"],
    scores: Scores,
    offset: int,
    maximum: Float32[Tensor, " n"],
    total: Float32[Tensor, " n"],
    coefficients: Coefficients,
) -> None:
    """See ``RowOperations``."""
    n, size = logits.shape
    if n and size:
        with torch.cuda.device_of(logits):
            gradients_kernel[(n, triton.cdiv(size, block_of(size)))](
                logits,
                targets,
                scores.inverse_temperature,
                scores.bias,
                maximum.contiguous(),
                total.contiguous(),
                coefficients.at_target.contiguous(),
                coefficients.constant.contiguous(),
                None if coefficients.slope is None else coefficients.slope.contiguous(),
                size,
                logits.stride(0),
                offset,
                scores.softcap or 1.0,
                capped=scores.softcap is not None,
                block=block_of(size),
                num_warps=warps_of(size),
            )


def block_of(size: int) -> int:
    return min(BLOCK, max(16, triton.next_power_of_2(size)))


def warps_of(size: int) -> int:
    return max(1, min(16, block_of(size) // 512))


@triton.jit
@no_type_check
def statistics_kernel(
    logits, targets, inverse_temperature, bias, out, n, size, stride, offset, softcap,
    capped: tl.constexpr, with_weighted: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Per row: running maximum (a scalar), and per lane sums relative to it, reduced across lanes once at the end."""
    row = tl.program_id(0).to(tl.int64)
    start_of_row = logits + row * stride
    inverse = 1.0
    if inverse_temperature is not None:
        inverse = tl.load(inverse_temperature + row)
    maximum = tl.full((), -1.0e30, tl.float32)
    total = tl.zeros((block,), tl.float32)
    weighted = tl.zeros((block,), tl.float32)
    for start in range(0, size, block):
        column = start + tl.arange(0, block)
        inside = column < size
        z = tl.load(start_of_row + column, mask=inside, other=0.0).to(tl.float32)
        if bias is not None:
            z += tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
        if capped:
            z = softcap * tanh(z / softcap)
        z = tl.where(inside, z * inverse, -float("inf"))
        larger = tl.maximum(maximum, tl.max(z, 0))
        fall = maximum - larger
        shrink = tl.exp(fall)
        shifted = tl.where(z == -float("inf"), -1.0e30, z - larger)
        exp = tl.exp(shifted)
        if with_weighted:
            weighted = shrink * (weighted + fall * total) + exp * shifted
        total = shrink * total + exp
        maximum = larger
    column = tl.load(targets + row) - offset
    here = (column >= 0) & (column < size)
    z = tl.load(start_of_row + column, mask=here, other=0.0).to(tl.float32)
    if bias is not None:
        z += tl.load(bias + column, mask=here, other=0.0).to(tl.float32)
    if capped:
        z = softcap * tanh(z / softcap)
    tl.store(out + row, maximum)
    tl.store(out + n + row, tl.sum(total, 0))
    tl.store(out + 2 * n + row, tl.sum(weighted, 0))
    tl.store(out + 3 * n + row, tl.where(here, z * inverse, 0.0))


@triton.jit
@no_type_check
def gradients_kernel(
    logits, targets, inverse_temperature, bias, maximum, total, at_target, constant, slope, size, stride, offset, softcap,
    capped: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Overwrites one block of one row with at_target 1[v = y] - p (constant + slope log p), brought back to raw logits."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * block + tl.arange(0, block)
    inside = column < size
    place = logits + row * stride + column
    z = tl.load(place, mask=inside, other=0.0).to(tl.float32)
    if bias is not None:
        z += tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    scale = tl.full((block,), 1.0, tl.float32)
    if capped:
        t = tanh(z / softcap)
        z = softcap * t
        scale = 1.0 - t * t
    if inverse_temperature is not None:
        inverse = tl.load(inverse_temperature + row)
        z *= inverse
        scale *= inverse
    row_total = tl.load(total + row)
    shifted = tl.where(z == -float("inf"), -1.0e30, z - tl.load(maximum + row))
    p = tl.exp(shifted) / row_total
    factor = tl.load(constant + row)
    if slope is not None:
        factor += tl.load(slope + row) * (shifted - tl.log(row_total))
    gradient = -p * factor
    gradient += tl.where(column == tl.load(targets + row) - offset, tl.load(at_target + row), 0.0)
    tl.store(place, gradient * scale, mask=inside)


@triton.jit
@no_type_check
def tanh(x):
    """Hyperbolic tangent to float32 rounding: a series near 0, where the quotient of exponentials cancels."""
    square = x * x
    series = x * (1.0 + square * (-0.33333334 + square * (0.13333334 - square * 0.053968254)))
    e = tl.exp(-2.0 * tl.abs(x))
    quotient = (1.0 - e) / (1.0 + e)
    return tl.where(tl.abs(x) < 0.1, series, tl.where(x < 0, -quotient, quotient))
