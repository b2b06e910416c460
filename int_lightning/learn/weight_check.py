"""Whether an engine holds exactly the policy's weights: every row of every tensor, rounded to the engine's dtype."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor
from transformers import PreTrainedModel

from int_lightning.engines.vllm_weights import DERIVED, PACKED
from int_lightning.engines.weight_rows import Rows, by_outputs, row_numbers
from int_lightning.learn.lora import BASE, FACTOR, NAME, full, merged

_LAYER = re.compile(r"\.(\d+)\.")
_REORDERED = re.compile(r"query_key_value|experts\.gate_up_proj")
"""Tensors whose rows vLLM puts into an order of its own."""

Numbers = np.ndarray[Any, np.dtype[np.int64]]
Weights = Iterable[tuple[str, Shaped[Tensor, "*shape"]]]


@dataclass(frozen=True, slots=True)
class Difference:
    """A tensor that engine and trainer hold differently.

    Args:
        name: In the trainer, or in the engine if only that has it.
        wrong: Rows that differ.
        rows: All rows.
    """

    name: str
    wrong: int
    rows: int

    def __str__(self) -> str:
        return f"{self.wrong} of {self.rows} rows of {self.name}"


def weights_to_hold(
    causal_lm: PreTrainedModel, dtype: torch.dtype, adapters_apart: bool
) -> Iterator[tuple[str, Shaped[Tensor, "*shape"]]]:
    """The weights that an engine has to hold, under the model's own names, with the inputs of an output in the last dimension.
    Under FSDP2 every rank must iterate in lockstep.

    Args:
        causal_lm: The policy's model.
        dtype: The engine's.
        adapters_apart: Whether the engine holds adapters beside the model's weights, or weights with adapters merged.
    """
    state = causal_lm.state_dict()
    if not adapters_apart:
        for name, values in merged(causal_lm, state):
            yield name, by_outputs(causal_lm, name, values)
        return
    for name, values in state.items():
        layer, factor, _ = name.partition(FACTOR)
        if factor == "":
            yield name.replace(BASE, "."), by_outputs(causal_lm, name, full(values))
        else:
            kind = name.removeprefix(layer + factor)[0]
            adapted: Any = causal_lm.get_submodule(layer)
            factor_values = full(values).to(dtype)
            yield f"{layer}.lora_{kind}.weight", factor_values * adapted.scaling[NAME] if kind == "B" else factor_values


def differences(held: Mapping[str, Rows] | None, weights: Weights) -> list[Difference]:
    """What an engine holds otherwise than the trainer.

    A tensor that both have under one name must have the same rows in the same order, rounded to the dtype in which the engine
    stores them. One that only the trainer or only the engine has, such as projections that vLLM joins without saying so, must
    consist of rows that the other has in the same layer.

    Args:
        held: The engine's rows; None if another rank compares them, and this one only takes part in gathering the weights.
        weights: See ``weights_to_hold``.
    """
    if held is None:
        for _ in weights:
            pass
        return []
    theirs: dict[str, list[Rows]] = defaultdict(list)
    for name, rows in held.items():
        theirs[_layer(name)].append(rows)
    ours: dict[tuple[str, str], list[Numbers]] = defaultdict(list)
    found: list[Difference] = []
    met: set[str] = set()
    for name, value in weights:
        derive = DERIVED.get(name.rpartition(".")[2])
        values = value if derive is None or name in held else derive(value)
        beside = theirs[_layer(name)]
        numbers = {dtype: _numbers(values, dtype) for dtype in sorted({rows.dtype for rows in beside})}
        for dtype, of_dtype in numbers.items():
            ours[_layer(name), dtype].append(of_dtype)
        own = [n for n in (name, name + PACKED) if n in held]
        met.update(own)
        if own:
            found += [_in_order(n, held[n].numbers, numbers[held[n].dtype]) for n in own]
        else:
            found.append(_among(name, numbers, beside))
    for name in sorted(held.keys() - met):
        rows = held[name]
        found.append(_contained(name, rows.numbers, ours[_layer(name), rows.dtype]))
    return [difference for difference in found if difference.wrong]


def _layer(name: str) -> str:
    """The number of the layer; "" outside layers."""
    number = _LAYER.search(name)
    return number[1] if number else ""


def _numbers(values: Shaped[Tensor, "*shape"], dtype: str) -> Numbers:
    numbers = row_numbers(values.to(getattr(torch, dtype)))
    return numbers[numbers != 0]


def _in_order(name: str, theirs: Numbers, ours: Numbers) -> Difference:
    if _REORDERED.search(name):
        theirs, ours = np.sort(theirs), np.sort(ours)
    both, either = sorted((len(theirs), len(ours)))
    wrong = int(np.count_nonzero(theirs[:both] != ours[:both])) + either - both
    return Difference(name, wrong, either)


def _among(name: str, ours: Mapping[str, Numbers], theirs: list[Rows]) -> Difference:
    """The trainer's rows, which the engine may have in any dtype that it has in this layer."""
    tried = [
        _contained(name, own, [rows.numbers for rows in theirs if rows.dtype == dtype]) for dtype, own in ours.items()
    ]
    return min(tried, key=lambda difference: difference.wrong, default=Difference(name, 1, 1))


def _contained(name: str, numbers: Numbers, pool: list[Numbers]) -> Difference:
    missing = ~np.isin(numbers, np.concatenate(pool)) if pool else np.ones(len(numbers), bool)
    return Difference(name, int(missing.sum()), len(numbers))
