"""Log-prob and entropy from logits that exist already."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Float32, Int, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable

from int_lightning_kernels import reference
from int_lightning_kernels.dispatch import Chosen, Implementation, implementation_for
from int_lightning_kernels.head import LogProbs
from int_lightning_kernels.inputs import FLOATS, checked_targets, inverse_temperature, row_operations
from int_lightning_kernels.rows import Scores, coefficients, row_values


def logprob_from_logits(
    logits: Float[Tensor, "*tokens V"],
    targets: Int[Tensor, "*tokens"],
    *,
    temperature: float | Float[Tensor, "*#tokens"] = 1.0,
    entropy: bool = False,
    ignore_index: int | None = None,
    inplace_backward: bool = False,
    implementation: Implementation = "auto",
) -> LogProbs:
    """Log-prob, entropy and logsumexp of each row of logits, with gradients through all three.

    Args:
        logits: [N, V] or [B, T, V]; float32, bfloat16 or float16. Entries may be -inf.
        targets: Token ids, [N] or [B, T]. An id outside the vocabulary raises on CPU, and gives NaN on CUDA.
        temperature: Divides the logits, in float32: a number, or one per row.
        entropy: Whether to return the entropy.
        ignore_index: Rows with this target get 0 in every output, and no gradient.
        inplace_backward: The backward pass writes the gradient over the logits, so that no second [N, V] exists. Nothing else
            may need them afterwards; a second backward pass raises.
        implementation: See ``implementation_for``.

    Raises:
        ValueError: if arguments disagree, naming them.
    """
    if logits.ndim < 2 or targets.shape != logits.shape[:-1] or not logits.shape[-1]:
        raise ValueError(
            f"targets must have the shape of logits {list(logits.shape)} without the last axis (which is not empty), "
            f"not {list(targets.shape)}"
        )
    if logits.dtype not in FLOATS:
        raise ValueError(f"logits must be float32, bfloat16 or float16, not {logits.dtype}")
    if targets.device != logits.device:
        raise ValueError(f"targets is on {targets.device} and logits on {logits.device}")
    chosen = implementation_for(logits, implementation)
    flat = checked_targets(targets, logits.shape[-1], ignore_index)
    scores = Scores(inverse_temperature(temperature, targets), masked=True)
    rows = logits.reshape(-1, logits.shape[-1])
    if chosen == "reference":
        out = list(reference.log_probs(reference.scores(rows, scores.inverse_temperature), flat))
    else:
        out = list(_LogitsLogProb.apply(rows, flat, scores, chosen, inplace_backward, entropy))
    if ignore_index is not None:
        out = [values.where(flat != ignore_index, 0.0) for values in out]
    logprob, entropies, logsumexp = (values.view(targets.shape) for values in out)
    return LogProbs(logprob, entropies if entropy else None, logsumexp)


class _LogitsLogProb(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits: Float[Tensor, "N V"],
        targets: Int64[Tensor, " N"],
        scores: Scores,
        chosen: Chosen,
        inplace: bool,
        entropy: bool,
    ) -> tuple[Float32[Tensor, " N"], Float32[Tensor, " N"], Float32[Tensor, " N"]]:
        rows = logits if logits.stride(-1) == 1 else logits.contiguous()
        found = row_operations(chosen).row_statistics(rows, targets, scores, 0, entropy)
        values = row_values(found, targets, logits.shape[1])
        ctx.save_for_backward(logits, targets, values.entropy, values.maximum, values.total)
        ctx.scores, ctx.chosen, ctx.inplace = scores, chosen, inplace
        ctx.set_materialize_grads(False)
        return values.logprob, values.entropy, values.logsumexp

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any,
        grad_logprob: Float32[Tensor, " N"] | None,
        grad_entropy: Float32[Tensor, " N"] | None,
        grad_logsumexp: Float32[Tensor, " N"] | None,
    ) -> tuple[Float[Tensor, "N V"], None, None, None, None, None]:
        logits, targets, entropy, maximum, total = ctx.saved_tensors
        if grad_logprob is None:
            grad_logprob = torch.zeros_like(entropy)
        grad_scores = coefficients(entropy, grad_logprob, grad_entropy, grad_logsumexp)
        inplace = ctx.inplace and logits.stride(1) == 1 and logits.stride(0) >= logits.shape[1]
        grad_logits = logits if inplace else logits.clone(memory_format=torch.contiguous_format)
        row_operations(ctx.chosen).row_gradients_(grad_logits, targets, ctx.scores, 0, maximum, total, grad_scores)
        if inplace:
            torch.autograd.graph.increment_version(logits)
        return grad_logits, None, None, None, None, None
