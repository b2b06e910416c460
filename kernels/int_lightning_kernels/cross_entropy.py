"""Weighted cross-entropy from hidden states and head weight, for masked fine-tuning."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from int_lightning_kernels.dispatch import Implementation
from int_lightning_kernels.inputs import check_devices
from int_lightning_kernels.token_loss import Metrics, Rows, linear_token_loss
from int_lightning_kernels.vocab_parallel import VocabShard


def linear_cross_entropy(
    hidden: Float[Tensor, "*tokens H"],
    weight: Float[Tensor, "V H"],
    targets: Int[Tensor, "*tokens"],
    *,
    weights: Float[Tensor, "*tokens"] | None = None,
    reduction: Literal["mean", "sum"] = "mean",
    temperature: float | Float[Tensor, "*#tokens"] = 1.0,
    bias: Float[Tensor, " V"] | None = None,
    softcap: float | None = None,
    ignore_index: int = -100,
    shard: VocabShard | None = None,
    implementation: Implementation = "auto",
    logits_bytes: int | None = None,
) -> Float32[Tensor, ""]:
    """-sum_i w_i log p(y_i), divided by sum_i w_i where the reduction is ``mean``.

    Args:
        weights: w_i; 1 if not given. Tokens of weight exactly 0 cost nothing on CPU.
        reduction: With ``mean`` the loss is NaN, as elsewhere in PyTorch, if all weights are 0.
        ignore_index: Tokens with this target have weight 0.

    The other arguments, and errors, are those of ``linear_logprob``.
    """
    check_devices(hidden, targets=targets, weights=weights)
    flat = targets.reshape(-1)
    if weights is None:
        w = torch.ones(flat.shape, dtype=torch.float32, device=flat.device)
    elif weights.shape == targets.shape:
        w = weights.reshape(-1).float()
    else:
        raise ValueError(f"weights must be {list(targets.shape)} like targets, not {list(weights.shape)}")
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be mean or sum, not {reduction!r}")
    w = w.where(flat != ignore_index, 0.0).detach()

    def negative_log_likelihood(
        logprob: Float32[Tensor, " n"], _: Float32[Tensor, " n"], rows: Rows
    ) -> tuple[Float32[Tensor, ""], Metrics]:
        return -(w[rows] * logprob).sum(), {}

    loss = linear_token_loss(
        hidden,
        weight,
        targets,
        negative_log_likelihood,
        temperature=temperature,
        bias=bias,
        softcap=softcap,
        ignore_index=ignore_index,
        active=None if flat.is_cuda else w.nonzero().squeeze(1),
        shard=shard,
        implementation=implementation,
        logits_bytes=logits_bytes,
        entropy=False,
    ).loss
    return loss / w.sum() if reduction == "mean" else loss
