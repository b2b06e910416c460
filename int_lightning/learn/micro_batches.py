"""Rows to micro-batches, padded or packed, under a token budget.

An optimiser step is a list of micro-batches. Losses are sums over the step's tokens divided by the step's count, so that
how the rows are cut into micro-batches does not change the gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """A training sequence.

    Args:
        token_ids: T tokens.
        weights: T loss weights; the weight of token i applies to its prediction from the tokens before it.
        advantage: A_i of the rollout (GRPO), for every weighted token alike.
        engine_logprobs: T log-probs the engine sampled with, 0 where it did not.
        old_logprobs: T log-probs under the policy that sampled, by the trainer; empty where they were not computed.
        reference_logprobs: T log-probs under the reference policy; empty where there is none.
    """

    token_ids: list[int]
    weights: list[float]
    advantage: float = 0.0
    engine_logprobs: list[float] | None = None
    old_logprobs: list[float] | None = None
    reference_logprobs: list[float] | None = None


@dataclass(slots=True)
class MicroBatch:
    """Rows side by side, padded on the right to one length, or end to end in one sequence (packed, B = 1).

    Shapes [B, T]: ``input_ids`` (int64), ``attention_mask`` (int64; None if packed), ``weights``, ``advantages`` and the three
    log-prob tensors (float32; the latter may be None). ``row_index`` says which row of the step each one is, ``lengths`` how many
    tokens it has.
    """

    input_ids: Tensor
    attention_mask: Tensor | None
    weights: Tensor
    advantages: Tensor
    row_index: list[int]
    lengths: list[int]
    engine_logprobs: Tensor | None = None
    old_logprobs: Tensor | None = None
    reference_logprobs: Tensor | None = None

    @property
    def trained(self) -> Tensor:
        """[B, T-1] bool: which predictions (of tokens 1..T-1) carry loss. The first token of a row never does."""
        return self.weights[:, 1:] != 0

    def rows_of(self, values: Tensor) -> list[list[float]]:
        """What [B, T] values hold of each row, in the order of ``row_index``."""
        if self.attention_mask is not None:
            return [line[:n] for line, n in zip(values.tolist(), self.lengths, strict=True)]
        return [part.tolist() for part in values[0].split(self.lengths)]

    def to(self, device: torch.device) -> MicroBatch:
        """The same micro-batch on a device."""
        tensors = {k: getattr(self, k) for k in self.__slots__ if isinstance(getattr(self, k), Tensor)}
        return replace(self, **{k: v.to(device, non_blocking=True) for k, v in tensors.items()})


@dataclass(slots=True)
class Step:
    """One optimiser step of one rank.

    Args:
        batches: This rank's micro-batches; every rank has as many, some may carry no loss.
        count: What the loss is divided by, the same on every rank.
        trained: Tokens that carry loss, over all ranks' rows, which means of metrics are divided by.
        metrics: Facts about the step that are known before it is taken, the same on every rank.
    """

    batches: list[MicroBatch]
    count: float
    trained: float
    metrics: dict[str, float]

    def to(self, device: torch.device) -> Step:
        """The same step on a device."""
        return Step([b.to(device) for b in self.batches], self.count, self.trained, self.metrics)


def micro_batches(rows: Sequence[TrainingRow], pad_id: int, max_tokens: int, packed: bool = False) -> list[MicroBatch]:
    """Cuts the rows of one optimiser step into micro-batches of at most ``max_tokens`` tokens, padding included.

    A single row longer than the budget gets a micro-batch of its own. Padded: rows of like length share one. Packed: longest
    first, each row goes into the first micro-batch that has room for it.
    """
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i].token_ids))
    batches: list[list[int]] = []
    room: list[int] = []
    for i in order:
        size = len(rows[i].token_ids)
        if packed:
            at = next((k for k, left in enumerate(room) if left >= size), len(batches))
        else:
            fits = batches and (len(batches[-1]) + 1) * len(rows[batches[-1][0]].token_ids) <= max_tokens
            at = len(batches) - 1 if fits else len(batches)
        if at == len(batches):
            batches.append([])
            room.append(max_tokens)
        batches[at].append(i)
        room[at] -= size
    put = pack if packed else pad
    return [put([rows[i] for i in batch], pad_id, batch) for batch in batches]


def pad(rows: Sequence[TrainingRow], pad_id: int, row_index: list[int]) -> MicroBatch:
    """Rows side by side, filled on the right to the length of the longest."""
    lengths = [len(r.token_ids) for r in rows]
    width = max(lengths)
    filled = [_filled(row, width, pad_id) for row in rows]
    mask = torch.tensor([[1] * n + [0] * (width - n) for n in lengths])
    return _micro_batch(filled, mask, row_index, lengths)


def pack(rows: Sequence[TrainingRow], pad_id: int, row_index: list[int]) -> MicroBatch:
    """Rows end to end; nothing is filled."""
    lengths = [len(r.token_ids) for r in rows]
    values = [_filled(row, n, pad_id) for row, n in zip(rows, lengths, strict=True)]
    joined = {k: None if any(v[k] is None for v in values) else [x for v in values for x in v[k] or ()] for k in _FILL}
    return _micro_batch([joined], None, row_index, lengths)


_FILL = {
    "input_ids": 0,
    "weights": 0.0,
    "advantages": 0.0,
    "engine_logprobs": 0.0,
    "old_logprobs": 0.0,
    "reference_logprobs": 0.0,
}
_Values = dict[str, list[float] | None]


def _filled(row: TrainingRow, width: int, pad_id: int) -> _Values:
    """The row's values by the names that tensors of a micro-batch have, each of one length."""
    values: dict[str, Sequence[float] | None] = {
        "input_ids": row.token_ids,
        "weights": [0.0, *row.weights[1:]],
        "advantages": [row.advantage] * len(row.token_ids),
        "engine_logprobs": row.engine_logprobs,
        "old_logprobs": row.old_logprobs,
        "reference_logprobs": row.reference_logprobs,
    }
    fill = _FILL | {"input_ids": pad_id}
    return {k: None if v is None else [*v, *[fill[k]] * (width - len(v))] for k, v in values.items()}


def _micro_batch(
    values: Sequence[_Values], mask: Tensor | None, row_index: list[int], lengths: list[int]
) -> MicroBatch:
    def tensor(name: str, dtype: torch.dtype = torch.float32) -> Tensor | None:
        lines = [v[name] for v in values]
        return None if any(line is None for line in lines) else torch.tensor(lines, dtype=dtype)

    ids, weights, advantages = tensor("input_ids", torch.int64), tensor("weights"), tensor("advantages")
    assert ids is not None and weights is not None and advantages is not None
    logprobs = [tensor(name) for name in ("engine_logprobs", "old_logprobs", "reference_logprobs")]
    return MicroBatch(ids, mask, weights, advantages, row_index, lengths, *logprobs)
