"""Log-prob of given tokens and entropy, chunk by chunk, so that [tokens, vocabulary] never exists in one piece.

logits = hidden @ weight.T / temperature,  logprob_i = logits[i, y_i] - lse_i,  entropy_i = lse_i - sum_v p_iv logits_iv
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK_ELEMENTS = 2**24


class LogProbs(NamedTuple):
    """Per token, float32 [N]. ``entropy`` is None unless it was asked for. In nats."""

    logprob: Tensor
    entropy: Tensor | None
    logsumexp: Tensor


def linear_logprob(
    hidden: Tensor, weight: Tensor, targets: Tensor, *, temperature: float = 1.0, entropy: bool = False
) -> LogProbs:
    """Log-prob of ``targets`` under the head, with gradients to ``hidden`` and ``weight`` through every output.

    Logits are formed for ``CHUNK_ELEMENTS // V`` tokens at a time and formed again in the backward pass.

    Args:
        hidden: [N, H], any float dtype.
        weight: [V, H].
        targets: [N] int64.
        temperature: Divides the logits, in float32.
        entropy: Whether to return the entropy too.
    """
    rows = max(1, CHUNK_ELEMENTS // weight.shape[0])
    pieces = []
    for start in range(0, hidden.shape[0], rows):
        part = slice(start, start + rows)
        args = (hidden[part], weight, targets[part], temperature, entropy)
        pieces.append(
            checkpoint(_chunk, *args, use_reentrant=False)
            if torch.is_grad_enabled() and hidden.shape[0] > rows
            else _chunk(*args)
        )
    if not pieces:
        pieces = [_chunk(hidden, weight, targets, temperature, entropy)]
    logprob, entropies, lse = (torch.cat(column) for column in zip(*pieces, strict=True))
    return LogProbs(logprob, entropies if entropy else None, lse)


def _chunk(
    hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float, entropy: bool
) -> tuple[Tensor, Tensor, Tensor]:
    logits = (hidden @ weight.T).float() / temperature
    lse = logits.logsumexp(-1)
    logprob = logits.gather(-1, targets[:, None]).squeeze(-1) - lse
    if not entropy:
        return logprob, lse.new_zeros(lse.shape), lse
    return logprob, lse - ((logits - lse[:, None]).exp() * logits).sum(-1), lse
