"""Rows to micro-batches, padded or packed, under a token budget.

An optimiser step is a list of micro-batches. Losses are sums over the step's tokens divided by the step's count, so that
how the rows are cut into micro-batches does not change the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int32, Int64
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from int_lightning.types import TokenValues, WithArrays


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRow(WithArrays):
    """A training sequence of T tokens.

    Args:
        token_ids: Prompt and completion.
        weights: In the loss; that of token i applies to its prediction from the tokens before it.
        advantage: A_i of the rollout (GRPO), the same for every weighted token.
        engine_logprobs: Under the distribution that the engine drew from (see ``Completion``); 0 for tokens of the prompt, NaN
            for those that no engine sampled.
        old_logprobs: Under the policy that sampled, by the trainer; None where they were not computed.
        reference_logprobs: Under the reference policy; None where there is none.

    Example:
        >>> TrainingRow(np.array([5, 6, 7], np.int32), np.array([0, 1, 1], np.float32), advantage=0.75)
    """

    token_ids: Int32[np.ndarray, " T"]
    weights: Float32[np.ndarray, " T"]
    advantage: float = 0.0
    engine_logprobs: Float32[np.ndarray, " T"] | None = None
    old_logprobs: Float32[np.ndarray, " T"] | None = None
    reference_logprobs: Float32[np.ndarray, " T"] | None = None

    def state_dict(self) -> dict[str, Any]:
        """The fields by name, arrays as tensors that share their memory."""
        return {f.name: _as_tensor(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> TrainingRow:
        """The row whose state it is."""
        return cls(**{name: _as_array(value) for name, value in state.items()})


def _as_tensor(value: Any) -> Any:
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


def _as_array(value: Any) -> Any:
    return value.numpy() if isinstance(value, Tensor) else value


@dataclass(slots=True)
class MicroBatch:
    """B rows side by side, padded on the right to one length T, or end to end in one sequence (packed, B = 1).

    Args:
        input_ids: Tokens, and ``pad_id`` behind them.
        attention_mask: 1 for tokens and 0 for padding; None if packed.
        weights: Loss weights, 0 at the first token of every row and for padding.
        advantages: Of each token's row, 0 for padding.
        row_index: Which of the given rows each one is.
        lengths: Tokens of each row.
        engine_logprobs: See ``TrainingRow``; None where a row has none. The same holds for the other two.
        old_logprobs: Under the policy that sampled.
        reference_logprobs: Under the reference policy.
    """

    input_ids: Int64[Tensor, "B T"]
    attention_mask: Int64[Tensor, "B T"] | None
    weights: Float32[Tensor, "B T"]
    advantages: Float32[Tensor, "B T"]
    row_index: list[int]
    lengths: list[int]
    engine_logprobs: Float32[Tensor, "B T"] | None = None
    old_logprobs: Float32[Tensor, "B T"] | None = None
    reference_logprobs: Float32[Tensor, "B T"] | None = None

    @property
    def trained(self) -> Bool[Tensor, "B _"]:
        """[B, T-1]: which predictions (of tokens 1 to T-1) carry loss. That of a row's first token never does."""
        return self.weights[:, 1:] != 0

    @property
    def row_of_token(self) -> Int64[Tensor, "B T"]:
        """The position in ``row_index`` of each token's row."""
        numbers = torch.arange(len(self.lengths), device=self.weights.device)
        if self.attention_mask is not None:
            return numbers[:, None].expand_as(self.weights)
        return numbers.repeat_interleave(torch.tensor(self.lengths, device=numbers.device))[None]

    def spread(self, values: Float32[Tensor, " N"]) -> list[TokenValues]:
        """The values of the N ``trained`` predictions as an array with a value for each token, 0 for all others; one array for
        each row, in the order of ``row_index``."""
        grid = torch.zeros_like(self.weights)
        grid[:, 1:][self.trained] = values
        if self.attention_mask is not None:
            return [line[:n] for line, n in zip(grid.cpu().numpy(), self.lengths, strict=True)]
        return np.split(grid[0].cpu().numpy(), np.cumsum(self.lengths)[:-1])

    def sums(self, values: Float32[Tensor, " N"]) -> Float64[Tensor, " N"]:
        """For each of the N ``trained`` predictions the sum of the values of its row."""
        row = self.row_of_token[:, 1:][self.trained]
        sums = values.new_zeros(len(self.lengths), dtype=torch.float64)
        return sums.index_add(0, row, values.double())[row]

    def to(self, device: torch.device) -> MicroBatch:
        """The same micro-batch on a device."""
        tensors = {k: getattr(self, k) for k in self.__slots__ if isinstance(getattr(self, k), Tensor)}
        return replace(self, **{k: v.to(device, non_blocking=True) for k, v in tensors.items()})


@dataclass(slots=True)
class Step:
    """One optimiser step of one rank.

    Args:
        batches: This rank's micro-batches; every rank has equally many, some of which may carry no loss.
        count: What the loss is divided by, the same on every rank.
        trained: Tokens that carry loss, over all ranks' rows, by which means of metrics are divided.
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
    """The rows in micro-batches of at most ``max_tokens`` tokens, padding included; see ``cut``."""
    put = pack if packed else pad
    cuts = cut([len(row.token_ids) for row in rows], max_tokens, packed)
    return [put([rows[i] for i in batch], pad_id, batch) for batch in cuts]


def cut(lengths: Sequence[int], max_tokens: int, packed: bool = False) -> list[list[int]]:
    """Which rows of the given lengths share a micro-batch of at most ``max_tokens`` tokens, padding included.

    A single row longer than the budget gets a micro-batch of its own. Padded: rows of similar length share one. Packed: longest
    first, each row goes into the first micro-batch that has room for it.
    """
    batches: list[list[int]] = []
    room: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if packed:
            at = next((k for k, left in enumerate(room) if left >= lengths[i]), len(batches))
        else:
            fits = batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= max_tokens
            at = len(batches) - 1 if fits else len(batches)
        if at == len(batches):
            batches.append([])
            room.append(max_tokens)
        batches[at].append(i)
        room[at] -= lengths[i]
    return batches


def pad(rows: Sequence[TrainingRow], pad_id: int, row_index: list[int]) -> MicroBatch:
    """Rows side by side, filled on the right to the length of the longest."""

    def side_by_side(values: list[Tensor], fill: int | float) -> Tensor:
        return pad_sequence(values, batch_first=True, padding_value=fill)

    mask = side_by_side([torch.ones(len(row.token_ids), dtype=torch.int64) for row in rows], 0)
    batch = _collated(rows, pad_id, row_index, side_by_side, mask)
    batch.weights[:, 0] = 0.0
    return batch


def pack(rows: Sequence[TrainingRow], pad_id: int, row_index: list[int]) -> MicroBatch:
    """Rows end to end; nothing is filled."""
    batch = _collated(rows, pad_id, row_index, lambda values, _: torch.cat(values)[None], None)
    batch.weights[0, np.cumsum([0, *batch.lengths[:-1]])] = 0.0
    return batch


def _collated(
    rows: Sequence[TrainingRow],
    pad_id: int,
    row_index: list[int],
    joined: Callable[[list[Tensor], int | float], Tensor],
    mask: Int64[Tensor, "B T"] | None,
) -> MicroBatch:
    """``joined`` makes one tensor [B, T] of one for each row and of the value that fills them up."""

    def optional(name: str) -> Tensor | None:
        values = [getattr(row, name) for row in rows]
        return None if any(v is None for v in values) else joined([torch.from_numpy(v) for v in values], 0.0)

    lengths = [len(row.token_ids) for row in rows]
    return MicroBatch(
        joined([torch.from_numpy(row.token_ids) for row in rows], pad_id).long(),
        mask,
        joined([torch.from_numpy(row.weights) for row in rows], 0.0),
        joined(
            [torch.full((n,), row.advantage, dtype=torch.float32) for row, n in zip(rows, lengths, strict=True)], 0.0
        ),
        row_index,
        lengths,
        *map(optional, ("engine_logprobs", "old_logprobs", "reference_logprobs")),
    )
