"""The weights that an engine holds, as one number for each row, so that they can be compared bit by bit with the trainer's.

A row is all inputs of one output of a linear layer. Engines join projections, pad them and deal them over devices, but they keep
rows. The number is sum_j bits(w_j) c_j modulo 2^64 with odd c_j: any single bit changes it, and the numbers of a row's parts add
up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, Shaped
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

_BITS = {torch.float32: torch.int32, torch.bfloat16: torch.int16, torch.float16: torch.int16}
_AT_ONCE = 2**20


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one tensor.

    Args:
        dtype: Of its values, such as bfloat16.
        numbers: Of the rows, in order, without rows of zeros, which may be padding; int64, shape (rows,).
        is_part: Whether each row is one device's share of the columns. Then rows of zeros count too.
    """

    dtype: str
    numbers: np.ndarray[Any, np.dtype[np.int64]]
    is_part: bool = False


def rows_of(values: Shaped[Tensor, "*shape"], dtype: torch.dtype, first_column: int | None = None) -> Rows:
    """The rows of an engine's tensor.

    Args:
        values: The tensor; a vector is one row.
        dtype: The engine's. Values that are stored in a wider dtype, but fit this one, are taken as being of this one; what is
            stored in a narrower dtype stays so.
        first_column: Where the columns of a part begin in the whole tensor; None for a tensor that has all of them.
    """
    narrow = values if values.dtype.itemsize < dtype.itemsize else values.to(dtype)
    exact = narrow if torch.equal(narrow.to(values.dtype), values) else values
    numbers = row_numbers(exact, first_column or 0)
    return Rows(
        name_of(exact.dtype), numbers if first_column is not None else numbers[numbers != 0], first_column is not None
    )


def row_numbers(values: Shaped[Tensor, "*shape"], first_column: int = 0) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The number of each row, 0 for a row of zeros; int64, shape (rows,)."""
    rows = values.detach().reshape(-1, values.shape[-1] if values.dim() else 1)
    factors = _factors(first_column, rows.shape[1], rows.device)
    height = max(1, _AT_ONCE // max(1, rows.shape[1]))
    return torch.cat([(_bits(part) * factors).sum(-1) for part in rows.split(height)]).numpy(force=True)


def joined(devices: Iterable[dict[str, Rows]]) -> dict[str, Rows]:
    """The rows of an engine that spans several devices, of those that each of them holds."""
    whole: dict[str, Rows] = {}
    for held in devices:
        for name, rows in held.items():
            whole[name] = _together(whole[name], rows) if name in whole else rows
    return {name: Rows(rows.dtype, rows.numbers[rows.numbers != 0]) for name, rows in whole.items()}


def _together(one: Rows, other: Rows) -> Rows:
    if one.is_part:
        return Rows(one.dtype, one.numbers + other.numbers, is_part=True)
    if np.array_equal(one.numbers, other.numbers):  # both have all of it
        return one
    return Rows(one.dtype, np.concatenate([one.numbers, other.numbers]))


def by_outputs(model: nn.Module, name: str, values: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
    """A parameter of a transformers model, with or without adapters, with the inputs in its last dimension, where the model has
    the outputs there."""
    module = model.get_submodule(name.rpartition(".")[0])
    module = getattr(module, "base_layer", module)  # merged weights have the name of the adapted layer
    turned = isinstance(module, Conv1D) or getattr(module, "is_transposed", False)
    is_matrix = values.dim() > 1 and not name.endswith("bias")  # the biases of experts have two dimensions
    return values.transpose(-1, -2) if turned and is_matrix else values


def name_of(dtype: torch.dtype) -> str:
    """A dtype's name, such as bfloat16."""
    return str(dtype).removeprefix("torch.")


def _bits(values: Shaped[Tensor, "*shape"]) -> Int64[Tensor, "*shape"]:
    """The bits of each value as a whole number; those of -0 are those of 0, because a product cannot tell them apart."""
    return (values + 0.0).contiguous().view(_BITS[values.dtype]).long()


def _factors(first: int, count: int, device: torch.device) -> Int64[Tensor, " count"]:
    """The factors of columns ``first`` to ``first + count``: splitmix64's, the same on every machine."""
    mixed = torch.arange(first + 1, first + count + 1, device=device) * -0x61C8864680B583EB
    mixed = (mixed ^ (mixed >> 30)) * -0x40A7B892E31B1A47
    mixed = (mixed ^ (mixed >> 27)) * -0x6B2FB644ECCEEE15
    return (mixed ^ (mixed >> 31)) | 1
