"""Matrix products whose sums are float32 whatever the dtype of the factors, and how much is multiplied at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32
from torch import Tensor

GIB = 2**30
MIB = 2**20


@dataclass(frozen=True)
class Budget:
    """Bytes of logits held at a time: ``cuda`` on CUDA; on CPU half of what the weight takes, but at least ``cpu``."""

    cuda: int
    cpu: int


GENERAL = Budget(cuda=int(1.7 * GIB), cpu=16 * MIB)
FUSED = Budget(cuda=int(1.05 * GIB), cpu=32 * MIB)  # each chunk passes over the whole float32 gradient of the weight
MULTIPLE = 128  # rows and columns are cut at multiples of this, which matrix units like


def multiply_into(out: Float[Tensor, "m n"], a: Float[Tensor, "m k"], b: Float[Tensor, "k n"]) -> None:
    """``out = a @ b``; ``out`` has the factors' dtype or float32."""
    if out.dtype == a.dtype:
        torch.mm(a, b, out=out)
    elif a.is_cuda:
        torch.mm(a, b, out_dtype=out.dtype, out=out)
    else:
        out.copy_(a @ b)


def add_product(out: Float32[Tensor, "m n"], a: Float[Tensor, "m k"], b: Float[Tensor, "k n"]) -> None:
    """``out += a @ b``. On CPU a product of 16-bit factors is rounded once before it is added."""
    if a.dtype == torch.float32:
        out.addmm_(a, b)
    elif a.is_cuda:
        torch.addmm(out, a, b, out_dtype=torch.float32, out=out)
    else:
        out.add_(a @ b)


def even_rows(n: int, most: int) -> int:
    """Rows of a chunk when ``n`` rows are cut into as few chunks of at most ``most`` rows as possible, of even size."""
    if n <= most:
        return max(1, n)
    most = rounded(most)
    even = -(-n // -(-n // most))
    return even if most < MULTIPLE else min(most, -(-even // MULTIPLE) * MULTIPLE)


def rounded(count: int) -> int:
    """The largest multiple of ``MULTIPLE`` within ``count``, or ``count`` where there is none."""
    return count if count < MULTIPLE else count - count % MULTIPLE


def pieces(start: int, stop: int, size: int) -> Iterator[slice]:
    """Consecutive slices of at most ``size`` from ``start`` to ``stop``."""
    for first in range(start, stop, size):
        yield slice(first, min(first + size, stop))
