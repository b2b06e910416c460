"""Rows to padded micro-batches under a token budget.

An optimiser step is a list of micro-batches. Losses are sums over the step's tokens divided by the step's count, so that
how the rows are cut into micro-batches does not change the gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Row:
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
    """Rows padded on the right to one length.

    Shapes [B, T]: ``input_ids`` (int64), ``attention_mask`` (int64), ``weights`` (float32) and the three log-prob tensors
    (float32, or None); ``advantages`` is [B] float32. ``row_index`` says which row of the step each one is.
    """

    input_ids: Tensor
    attention_mask: Tensor
    weights: Tensor
    advantages: Tensor
    row_index: list[int]
    engine_logprobs: Tensor | None = None
    old_logprobs: Tensor | None = None
    reference_logprobs: Tensor | None = None

    @property
    def trained(self) -> Tensor:
        """[B, T-1] bool: which predictions (of tokens 1..T-1) carry loss."""
        return self.weights[:, 1:] != 0

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
        trained: Sum of the loss weights over all ranks' rows, which means of metrics are divided by.
        metrics: Facts about the step that are known before it is taken, the same on every rank.
    """

    batches: list[MicroBatch]
    count: float
    trained: float
    metrics: dict[str, float]

    def to(self, device: torch.device) -> Step:
        """The same step on a device."""
        return Step([b.to(device) for b in self.batches], self.count, self.trained, self.metrics)


def micro_batches(rows: Sequence[Row], pad_id: int, max_tokens: int) -> list[MicroBatch]:
    """Cuts the rows of one optimiser step into padded micro-batches of at most ``max_tokens`` tokens, padding included.

    Rows of like length share a micro-batch. A single row longer than the budget gets one of its own.
    """
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i].token_ids))
    batches: list[list[int]] = []
    for i in order:
        if batches and (len(batches[-1]) + 1) * len(rows[batches[-1][0]].token_ids) <= max_tokens:
            batches[-1].append(i)
        else:
            batches.append([i])
    return [collate([rows[i] for i in batch], pad_id, batch) for batch in batches]


def collate(rows: Sequence[Row], pad_id: int, row_index: list[int]) -> MicroBatch:
    """Pads rows on the right to the longest of them."""

    def padded(values: Sequence[Sequence[float] | None], fill: float, dtype: torch.dtype) -> Tensor | None:
        if any(v is None for v in values):
            return None
        return torch.tensor([[*v, *[fill] * (width - len(v))] for v in values if v is not None], dtype=dtype)

    width = max(len(r.token_ids) for r in rows)
    ids = padded([r.token_ids for r in rows], pad_id, torch.int64)
    mask = padded([[1] * len(r.token_ids) for r in rows], 0, torch.int64)
    weights = padded([r.weights for r in rows], 0.0, torch.float32)
    assert ids is not None and mask is not None and weights is not None
    return MicroBatch(
        input_ids=ids,
        attention_mask=mask,
        weights=weights,
        advantages=torch.tensor([r.advantage for r in rows], dtype=torch.float32),
        row_index=row_index,
        engine_logprobs=padded([r.engine_logprobs for r in rows], 0.0, torch.float32),
        old_logprobs=padded([r.old_logprobs for r in rows], 0.0, torch.float32),
        reference_logprobs=padded([r.reference_logprobs for r in rows], 0.0, torch.float32),
    )
