"""The sized, stateful stream of optimiser steps: one epoch is the whole run.

An item is one optimiser step. The stream's state is its position, the same on every rank, so that a resumed run continues with
the step that would have come next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, TypeVar

import numpy as np
import torch.distributed as dist
from torch.utils.data import IterableDataset

from int_lightning.learn.micro_batches import Step, TrainingRow, cut, micro_batches

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Layout:
    """How rows become micro-batches.

    Args:
        pad_id: Token to pad with.
        max_tokens: Budget of a micro-batch, padding included.
        packed: Rows end to end in one sequence, without padding.
        rank: This process.
        world_size: Number of processes; each trains on a token-balanced part of the rows.
    """

    pad_id: int
    max_tokens: int
    packed: bool = False
    rank: int = 0
    world_size: int = 1

    def step(
        self, rows: Sequence[TrainingRow], count: float | None = None, metrics: dict[str, float] | None = None
    ) -> Step:
        """This rank's part of an optimiser step over all ranks' rows.

        Every rank gets equally many micro-batches, because each costs collective calls; what a rank lacks is filled with a
        row that carries no loss. Only this rank's micro-batches are built.

        Args:
            rows: All ranks' rows, the same on every rank.
            count: What the loss is divided by; the sum of the rows' loss weights if not given.
            metrics: See ``Step``.
        """
        lengths = [len(row.token_ids) for row in rows]
        parts = balanced_parts(lengths, self.world_size)
        own = [rows[i] for i in parts[self.rank]]
        batches = micro_batches(own, self.pad_id, self.max_tokens, self.packed)
        most = max(len(cut([lengths[i] for i in part], self.max_tokens, self.packed)) for part in parts)
        filler = [replace(row, weights=np.zeros_like(row.weights)) for row in rows[:1]]
        while len(batches) < most:
            batches += micro_batches(filler, self.pad_id, self.max_tokens, self.packed)
        if count is None:
            count = float(sum(row.weights[1:].sum(dtype=np.float64) for row in rows))
        trained = float(sum(np.count_nonzero(row.weights[1:]) for row in rows))
        return Step(batches, count, trained, metrics or {})


class StepStream(IterableDataset[Step]):
    """Optimiser steps 0 to steps - 1, each made from its number alone.

    Args:
        rows_of: All ranks' rows of a step.
        steps: Length of the run.
        layout: How rows become micro-batches.
    """

    def __init__(self, rows_of: Callable[[int], Sequence[TrainingRow]], steps: int, layout: Layout) -> None:
        self.rows_of = rows_of
        self.steps = steps
        self.layout = layout
        self.position = 0

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Step]:
        while self.position < self.steps:
            rows = self.rows_of(self.position)
            self.position += 1
            yield self.layout.step(rows)
        self.position = 0

    def state_dict(self) -> dict[str, Any]:
        """The stream's position."""
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state."""
        self.position = state["position"]


def balanced_parts(lengths: Sequence[int], world_size: int) -> list[list[int]]:
    """Each rank's rows, given the tokens of each row: longest first to the rank with the fewest tokens so far."""
    load = [0] * world_size
    parts: list[list[int]] = [[] for _ in range(world_size)]
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        lightest = load.index(min(load))
        load[lightest] += lengths[i]
        parts[lightest].append(i)
    return [sorted(part) for part in parts]


def gather(items: list[T]) -> list[T]:
    """All ranks' items, in rank order."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return items
    everyone: list[list[T]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(everyone, items)
    return list(chain.from_iterable(everyone))
