"""Other ways from hidden states to log-probs, entropies and losses: written here from their descriptions, or installed.

The functions for log-probs take hidden [N, H], weight [V, H] and targets [N], and return float32 [N] log-probs, followed by
entropies if asked for, with gradients through both. Those for cross-entropy return the mean over tokens.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from benchmarks.kernels.inputs import Inputs

CHECKPOINT_ROWS = 256
SLAB = 8192  # columns
SLAB_ROWS = 8192


def naive(hidden: Tensor, weight: Tensor, targets: Tensor, *, entropy: bool) -> tuple[Tensor, ...]:
    """Everything written out: float32 logits [N, V] (float64 of float64), their log-softmax, and autograd."""
    logits = hidden @ weight.T
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    logprobs = logits.log_softmax(-1)
    taken = logprobs.gather(-1, targets[:, None]).squeeze(-1)
    return (taken, -(logprobs.exp() * logprobs).sum(-1)) if entropy else (taken,)


def checkpointed_chunks(hidden: Tensor, weight: Tensor, targets: Tensor, *, entropy: bool) -> tuple[Tensor, ...]:
    """The naive way for ``CHECKPOINT_ROWS`` tokens at a time, computed again in the backward pass: four units."""
    parts = []
    for x, y in zip(hidden.split(CHECKPOINT_ROWS), targets.split(CHECKPOINT_ROWS), strict=True):
        parts.append(checkpoint(naive, x, weight, y, entropy=entropy, use_reentrant=False))
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def prime_rl_chunked(hidden: Tensor, weight: Tensor, targets: Tensor, *, entropy: bool) -> tuple[Tensor, ...]:
    """Token chunks, and in each of them slabs of the vocabulary with an online log-sum-exp: four units.

    prime-rl's entropy is a metric without gradient; here it has one, like everyone's.
    """
    values = _Slabs.apply(hidden, weight, targets, entropy, SLAB_ROWS, weight.dtype)
    return values if entropy else values[:1]


def trl_chunked(hidden: Tensor, weight: Tensor, targets: Tensor, *, entropy: bool) -> tuple[Tensor, ...]:
    """Slabs of the vocabulary for all tokens at once, with the products of the backward pass in float32: four units.

    TRL's entropy has no gradient; here it has one, like everyone's.
    """
    values = _Slabs.apply(hidden, weight, targets, entropy, len(hidden), torch.float32)
    return values if entropy else values[:1]


class _Slabs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        entropy: bool,
        rows: int,
        gradient_dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        logprob, entropies, lse = torch.empty(3, len(hidden), device=hidden.device, dtype=torch.float32)
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            x, y = hidden[part], targets[part]
            top = torch.full((len(x),), -torch.inf, device=x.device)
            total, weighted, taken = torch.zeros(3, len(x), device=x.device)
            for first in range(0, len(weight), SLAB):
                logits = (x @ weight[first : first + SLAB].T).float()
                column, inside = _columns(y, first, logits)
                taken += logits.gather(1, column).squeeze(1) * inside
                new_top = torch.maximum(top, logits.amax(1))
                shrink = (top - new_top).exp()
                exponentials = (logits - new_top[:, None]).exp()
                total = total * shrink + exponentials.sum(1)
                if entropy:
                    weighted = weighted * shrink + (exponentials * logits).sum(1)
                top = new_top
            lse[part] = top + total.log()
            logprob[part] = taken - lse[part]
            entropies[part] = lse[part] - weighted / total
        ctx.save_for_backward(hidden, weight, targets, lse, entropies)
        ctx.entropy, ctx.rows, ctx.gradient_dtype = entropy, rows, gradient_dtype
        return logprob, entropies

    @staticmethod
    def backward(ctx: Any, grad_logprob: Tensor, grad_entropy: Tensor) -> Any:
        hidden, weight, targets, lse, entropies = ctx.saved_tensors
        dtype = ctx.gradient_dtype
        grad_hidden = torch.zeros_like(hidden, dtype=torch.float32)
        grad_weight = torch.zeros_like(weight, dtype=dtype)
        for start in range(0, len(hidden), ctx.rows):
            part = slice(start, start + ctx.rows)
            x, y = hidden[part], targets[part]
            for first in range(0, len(weight), SLAB):
                w = weight[first : first + SLAB]
                logprobs = (x @ w.T).float() - lse[part, None]
                slope = grad_logprob[part, None]
                if ctx.entropy:
                    slope = slope + grad_entropy[part, None] * (logprobs + entropies[part, None])
                gradient = -logprobs.exp() * slope
                column, inside = _columns(y, first, gradient)
                gradient.scatter_add_(1, column, (grad_logprob[part] * inside)[:, None])
                gradient = gradient.to(dtype)
                grad_hidden[part] += gradient @ w.to(dtype)
                grad_weight[first : first + SLAB] += gradient.T @ x.to(dtype)
        return grad_hidden.to(hidden.dtype), grad_weight.to(weight.dtype), None, None, None, None


def _columns(targets: Tensor, first: int, slab: Tensor) -> tuple[Tensor, Tensor]:
    """Where targets lie in a slab of the vocabulary, int64 [N, 1], and whether they do, bool [N]."""
    column = targets - first
    inside = (column >= 0) & (column < slab.shape[1])
    return column.clamp(0, slab.shape[1] - 1)[:, None], inside


def torch_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """torch's cross-entropy of logits in the dtype of the model."""
    return F.cross_entropy(hidden @ weight.T, targets)


def torch_linear_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, *, rows: int, accumulation: Literal["compact", "balanced"]
) -> Tensor:
    """torch's chunked linear cross-entropy: ``rows`` tokens at a time, ``accumulation`` one of its policies."""
    options = torch.nn.LinearCrossEntropyOptions(
        batch_chunk_size=rows, chunking_method=None, acc_policy=accumulation, acc_dtype=torch.float32
    )
    return F.linear_cross_entropy(hidden, weight, targets, options=options)


def liger_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, *, accumulation: torch.dtype | None = None
) -> Tensor:
    """Liger's fused linear cross-entropy (Triton), the weight's gradient summed in ``accumulation`` or the model's dtype."""
    from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

    return liger_fused_linear_cross_entropy(hidden, weight, targets, accum_dtype=accumulation)


def cut_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Apple's cut cross-entropy, which leaves out gradients too small for the dtype."""
    from cut_cross_entropy import linear_cross_entropy

    return linear_cross_entropy(hidden, weight, targets)


def liger_scaled_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor, *, entropy: bool) -> tuple[Tensor, ...]:
    """Liger's log-prob and entropy: CuTe kernels on Hopper, chunks of 512 tokens in PyTorch elsewhere."""
    from liger_kernel.ops import LigerFusedLinearScaledCrossEntropyFunction

    out = LigerFusedLinearScaledCrossEntropyFunction.apply(hidden, weight, targets, return_entropy=entropy)
    return (-out[0], out[1]) if entropy else (-out,)


def verl_linear_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
    """verl's Triton kernel of log-prob and entropy."""
    from verl.utils.kernel.linear_cross_entropy import linear_cross_entropy

    return tuple(linear_cross_entropy(hidden, weight, targets, 1.0, "none"))


def clipped_surrogate(logprob: Tensor, inputs: Inputs) -> Tensor:
    """The clipped policy loss of log-probs [N], in plain operations."""
    ratio = (logprob - inputs.old_logprob).exp()
    clipped = ratio.clamp(0.8, 1.28)
    return -(torch.minimum(ratio * inputs.advantage, clipped * inputs.advantage) * inputs.token_weight).sum()


def liger_policy_loss(inputs: Inputs) -> Tensor:
    """Liger's fused linear GRPO loss, a sequence at a time, normalised by the number of tokens."""
    from liger_kernel.chunked_loss import LigerFusedLinearGRPOLoss

    loss = LigerFusedLinearGRPOLoss(
        beta=0.0, compiled=inputs.hidden.is_cuda, use_ref_model=False, epsilon_low=0.2, epsilon_high=0.28
    )
    size = (inputs.sequences, -1)
    value, _ = loss(
        inputs.hidden.view(*size, inputs.hidden.shape[1]),
        inputs.weight,
        inputs.targets.view(size),
        torch.ones_like(inputs.advantage).view(size),
        inputs.advantage.view(size)[:, 0],
        old_per_token_logps=inputs.old_logprob.view(size),
    )
    return value
