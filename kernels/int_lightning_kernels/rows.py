"""What the row operations of every implementation share: logits of some tokens over some of the vocabulary.

With raw logits r (a product of hidden states and head weight), the scores whose softmax the model samples from are

    z_v = softcap tanh((r_v + bias_v) / softcap) / temperature.

``row_statistics`` reduces them to four numbers a row, and ``row_gradients_`` overwrites them with the gradient of a loss
towards r. Both know one slab of the vocabulary, ``offset`` the first id in it, so that they serve whole rows, slabs of a
backward pass and shards of a tensor-parallel head alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Scores:
    """How raw logits become scores, for n rows and the S columns of a slab.

    Args:
        inverse_temperature: Of each row; None for 1.
        bias: Of each column, or None. Entries may be -inf.
        softcap: Positive, or None.
        masked: Whether logits themselves may be -inf.
    """

    inverse_temperature: Float32[Tensor, " n"] | None = None
    bias: Float[Tensor, " S"] | None = None
    softcap: float | None = None
    masked: bool = False

    def rows(self, rows: slice | Int64[Tensor, " k"]) -> Scores:
        """The same for some of the rows."""
        inverse = self.inverse_temperature
        return self if inverse is None else replace(self, inverse_temperature=inverse[rows])

    def columns(self, columns: slice) -> Scores:
        """The same for some of the columns."""
        return self if self.bias is None else replace(self, bias=self.bias[columns])


@dataclass(frozen=True, slots=True)
class Statistics:
    """The reduction of n rows. Relative to the maximum m nothing large cancels, however far the logits are from 0.

    Args:
        maximum: m = max_v z_v.
        total: sum_v exp(z_v - m).
        weighted: sum_v exp(z_v - m) (z_v - m).
        target: z of the target; 0 where the target lies outside the slab.
    """

    maximum: Float32[Tensor, " n"]
    total: Float32[Tensor, " n"]
    weighted: Float32[Tensor, " n"]
    target: Float32[Tensor, " n"]


class RowValues(NamedTuple):
    """What ``LogProbs`` holds, and the maximum and total that a row's probabilities are formed from."""

    logprob: Float32[Tensor, " n"]
    entropy: Float32[Tensor, " n"]
    logsumexp: Float32[Tensor, " n"]
    maximum: Float32[Tensor, " n"]
    total: Float32[Tensor, " n"]


@dataclass(frozen=True, slots=True)
class Coefficients:
    """The gradient of a loss towards row i's score v is  at_target_i 1[v = y_i] - p_iv (constant_i + slope_i log p_iv);
    ``slope`` is None where it is zero everywhere."""

    at_target: Float32[Tensor, " n"]
    constant: Float32[Tensor, " n"]
    slope: Float32[Tensor, " n"] | None

    def rows(self, rows: slice) -> Coefficients:
        """The same for some of the rows."""
        return Coefficients(self.at_target[rows], self.constant[rows], None if self.slope is None else self.slope[rows])


@runtime_checkable
class RowOperations(Protocol):
    """An implementation's two operations. ``logits`` are float32, bfloat16 or float16, each row contiguous; their columns
    are the ids from ``offset`` on. Arithmetic is float32."""

    def row_statistics(
        self,
        logits: Float[Tensor, "n S"],
        targets: Int64[Tensor, " n"],
        scores: Scores,
        offset: int,
        weighted: bool,
    ) -> Statistics:
        """Reduces each row, and leaves ``logits`` as they are. The weighted sum, which only entropies need, stays 0 unless
        it is asked for."""

    def row_gradients_(
        self,
        logits: Float[Tensor, "n S"],
        targets: Int64[Tensor, " n"],
        scores: Scores,
        offset: int,
        maximum: Float32[Tensor, " n"],
        total: Float32[Tensor, " n"],
        coefficients: Coefficients,
    ) -> None:
        """Overwrites ``logits`` with the gradient towards them, where p = exp(z - maximum) / total over the whole row."""


def coefficients(
    entropy: Float32[Tensor, " n"],
    grad_logprob: Float32[Tensor, " n"],
    grad_entropy: Float32[Tensor, " n"] | None,
    grad_logsumexp: Float32[Tensor, " n"] | None,
) -> Coefficients:
    """Upstream gradients towards a row's log-prob, entropy and logsumexp, as coefficients:

    d log p_y / dz_v = 1[v = y] - p_v,  dH / dz_v = -p_v (log p_v + H),  d lse / dz_v = p_v.
    """
    constant = grad_logprob if grad_logsumexp is None else grad_logprob - grad_logsumexp
    if grad_entropy is not None:
        constant = torch.addcmul(constant, grad_entropy, entropy)
    return Coefficients(grad_logprob, constant, grad_entropy)


def row_values(found: Statistics, targets: Int64[Tensor, " n"], vocabulary: int) -> RowValues:
    """Log-probs and entropies from the statistics of whole rows. A target outside the vocabulary gives NaN."""
    log_total = found.total.log()
    known = (targets >= 0) & (targets < vocabulary)
    return RowValues(
        logprob=(found.target - found.maximum - log_total).where(known, torch.nan),
        entropy=log_total - found.weighted / found.total,
        logsumexp=found.maximum + log_total,
        maximum=found.maximum,
        total=found.total,
    )
