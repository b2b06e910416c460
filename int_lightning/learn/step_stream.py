"""The sized, stateful stream of optimiser steps: one epoch is the whole run.

An item is one optimiser step. The stream's state is its position (and what a subclass adds), the same on every rank, so
that a resumed run takes up with the step that would have come next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch.distributed as dist
from torch.utils.data import IterableDataset

from int_lightning.learn.micro_batches import Step, TrainingRow, micro_batches

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

        Every rank gets equally many micro-batches, for each costs collective calls; what a rank lacks is filled with a row
        that carries no loss.

        Args:
            count: What the loss is divided by; the sum of the rows' loss weights if not given.
        """
        weight = sum(sum(row.weights[1:]) for row in rows)
        trained = float(sum(w != 0 for row in rows for w in row.weights[1:]))
        parts = [balanced_part(rows, rank, self.world_size) for rank in range(self.world_size)]
        cut = [micro_batches(part, self.pad_id, self.max_tokens, self.packed) for part in parts]
        own = cut[self.rank]
        filler = [replace(row, weights=[0.0] * len(row.weights)) for row in rows[:1]]
        while len(own) < max(map(len, cut)):
            own += micro_batches(filler, self.pad_id, self.max_tokens, self.packed)
        return Step(own, weight if count is None else count, trained, metrics or {})


class StepStream(IterableDataset[Step]):
    """Optimiser steps 0 .. steps-1, each made from its number alone.

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
        """Where the stream stands."""
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up from a saved state."""
        self.position = state["position"]


def balanced_part(rows: Sequence[TrainingRow], rank: int, world_size: int) -> list[TrainingRow]:
    """This rank's rows: longest first to the rank with the fewest tokens so far, the same split on every rank."""
    if world_size == 1:
        return list(rows)
    load = [0] * world_size
    part: list[int] = []
    for i in sorted(range(len(rows)), key=lambda i: -len(rows[i].token_ids)):
        lightest = load.index(min(load))
        load[lightest] += len(rows[i].token_ids)
        if lightest == rank:
            part.append(i)
    return [rows[i] for i in sorted(part)]


def gather(items: list[T]) -> list[T]:
    """All ranks' items, in rank order."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return items
    everyone: list[list[T]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(everyone, items)
    return [item for part in everyone for item in part]
