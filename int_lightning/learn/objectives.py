"""Losses as pure functions: sums over a micro-batch's tokens divided by the step's count, with their metrics.

GRPO (paper, eq. of the RL stage): A_i = r_i - mean_j r_j, and per token
    L = -min(rho A, clip(rho, 1 - clip_low, 1 + clip_high) A),   rho = pi(y_t | ..) / pi_old(y_t | ..).
What we do differently from common practice: the mean is not divided by the standard deviation (as in the paper), the clip is
asymmetric, and the count that normalises is that of all tokens of the step, those of zero-advantage groups included.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def sft_loss(logprob: Tensor, weights: Tensor, count: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Masked negative log-likelihood, -sum_i w_i log pi(y_i | y_<i) / count.

    Args:
        logprob: [N] float32.
        weights: [N] float32.
        count: Sum of the weights over the whole optimiser step, all ranks.
    """
    loss = -(logprob * weights).sum() / count
    return loss, {}


@dataclass(frozen=True, slots=True)
class GRPOInput:
    """Per trained token, float32 [N]: the policy's log-probs with gradient, those of the policy that sampled, the advantage
    of the token's rollout, the policy's entropy, and the reference policy's log-probs where a KL term is used."""

    logprob: Tensor
    old_logprob: Tensor
    advantage: Tensor
    entropy: Tensor
    reference_logprob: Tensor | None = None


def grpo_loss(
    tokens: GRPOInput,
    count: float,
    trained: float,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.35,
    kl_coefficient: float = 0.0,
    entropy_coefficient: float = 0.0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The clipped surrogate with optional KL (k3 estimator) and entropy terms.

    Args:
        count: Tokens of the whole optimiser step, all ranks, zero-advantage groups included; it divides the loss.
        trained: Those of them that are trained on; it divides the metrics.
        clip_low: Ratios below 1 - clip_low get no gradient where that would raise the surrogate.
        clip_high: Likewise above 1 + clip_high.

    Returns:
        The micro-batch's share of the loss, and its shares of ``clip_low``, ``clip_high`` (fractions clipped), ``ratio`` and
        ``entropy`` (means) and ``kl``.
    """
    ratio = (tokens.logprob - tokens.old_logprob).exp()
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    surrogate = torch.minimum(ratio * tokens.advantage, clipped * tokens.advantage)
    loss = -surrogate.sum() / count
    metrics = {
        "clip_low": ((ratio < 1 - clip_low) & (tokens.advantage < 0)).sum() / trained,
        "clip_high": ((ratio > 1 + clip_high) & (tokens.advantage > 0)).sum() / trained,
        "ratio": ratio.sum() / trained,
        "entropy": tokens.entropy.sum() / trained,
    }
    if tokens.reference_logprob is not None:
        gap = tokens.reference_logprob - tokens.logprob
        kl = (gap.exp() - gap - 1).sum()
        loss = loss + kl_coefficient * kl / count
        metrics["kl"] = kl / trained
    if entropy_coefficient:
        loss = loss - entropy_coefficient * tokens.entropy.sum() / count
    return loss, metrics


def group_advantages(rewards: list[float]) -> list[float]:
    """A_i = r_i - mean_j r_j; exactly zero for all where the rewards agree."""
    if len(set(rewards)) == 1:
        return [0.0] * len(rewards)
    mean = sum(rewards) / len(rewards)
    return [r - mean for r in rewards]
