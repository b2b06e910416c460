"""The head as every linear form sees it: the logits of a chunk of rows, and their log-probs and entropies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from int_lightning_kernels.products import Budget, multiply_into
from int_lightning_kernels.rows import RowOperations, RowValues, Scores, row_values
from int_lightning_kernels.vocab_parallel import VocabShard


class LogProbs(NamedTuple):
    """Per token, in nats: log-prob of the target, entropy of the distribution (None unless it was asked for) and log of the
    sum of exponentials of the scores."""

    logprob: Float32[Tensor, "*tokens"]
    entropy: Float32[Tensor, "*tokens"] | None
    logsumexp: Float32[Tensor, "*tokens"]


@dataclass(frozen=True)
class Head:
    """A linear head and how its logits become scores.

    Args:
        weight: Of the dtype of the arithmetic.
        scores: Temperatures of the rows at hand, bias, softcap.
        rows: The row operations of the implementation.
        shard: The part of the vocabulary that ``weight`` is, or None for all of it.
        logits_dtype: What logits are stored in.
    """

    weight: Float[Tensor, "V H"]
    scores: Scores
    rows: RowOperations
    shard: VocabShard | None
    logits_dtype: torch.dtype

    @property
    def offset(self) -> int:
        """Id of the first token of the weight."""
        return 0 if self.shard is None else self.shard.offset

    @property
    def columns(self) -> int:
        """Tokens of the vocabulary on the rank that has the most of them."""
        return self.weight.shape[0] if self.shard is None else self.shard.largest

    def rows_within(self, logits_bytes: int | None, budget: Budget) -> int:
        """Tokens whose logits take ``logits_bytes``, or the budget if that is not given; the same on every rank."""
        if logits_bytes is None:
            half = self.columns * self.weight.shape[1] * self.weight.itemsize // 2
            logits_bytes = budget.cuda if self.weight.is_cuda else max(budget.cpu, half)
        return max(1, logits_bytes // (self.columns * self.logits_dtype.itemsize))

    def at(self, rows: slice | Int64[Tensor, " k"]) -> Head:
        """The head with the temperatures of some rows."""
        return replace(self, scores=self.scores.rows(rows))

    def logits_into(
        self, out: Float[Tensor, "n S"], hidden: Float[Tensor, "n H"], columns: slice = slice(None)
    ) -> None:
        """Writes the raw logits of ``hidden``, for all columns or some."""
        weight = self.weight[columns]
        if self.logits_dtype != hidden.dtype and not hidden.is_cuda:
            hidden, weight = hidden.to(self.logits_dtype), weight.to(self.logits_dtype)
        multiply_into(out, hidden, weight.T)

    def values(self, logits: Float[Tensor, "n V"], targets: Int64[Tensor, " n"], entropy: bool) -> RowValues:
        """Log-probs, and entropies if asked for, from all logits of some rows. A target outside the vocabulary gives NaN."""
        found = self.rows.row_statistics(logits, targets, self.scores, self.offset, entropy)
        vocabulary = self.weight.shape[0]
        if self.shard is not None:
            found, vocabulary = self.shard.combine(found), self.shard.vocabulary
        return row_values(found, targets, vocabulary)
