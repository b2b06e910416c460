"""Log-prob of given tokens and entropy from hidden states and head weight, [tokens, vocabulary] never in one piece.

The general form, whose outputs can be used in any way. Forward: chunks of rows pass through one buffer of logits. Backward:
the rows whose logits are still in the buffer are turned into gradients in place; those of the others are formed again, slab
of the vocabulary by slab, so that every part of the weight's gradient is written once, summed over all tokens in float32.
In units of 2NVH operations that is between three (all logits kept) and four; ``linear_token_loss`` always takes three.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from int_lightning_kernels import reference
from int_lightning_kernels.dispatch import Implementation
from int_lightning_kernels.head import LogProbs
from int_lightning_kernels.inputs import Call, check_inputs
from int_lightning_kernels.products import (
    GENERAL,
    MULTIPLE,
    add_product,
    even_rows,
    multiply_into,
    pieces,
    rounded,
)
from int_lightning_kernels.rows import Coefficients, RowValues, coefficients
from int_lightning_kernels.vocab_parallel import VocabShard


def linear_logprob(
    hidden: Float[Tensor, "*tokens H"],
    weight: Float[Tensor, "V H"],
    targets: Int[Tensor, "*tokens"],
    *,
    temperature: float | Float[Tensor, "*#tokens"] = 1.0,
    bias: Float[Tensor, " V"] | None = None,
    softcap: float | None = None,
    entropy: bool = False,
    ignore_index: int | None = None,
    shard: VocabShard | None = None,
    implementation: Implementation = "auto",
    logits_bytes: int | None = None,
    logits_dtype: torch.dtype | None = None,
) -> LogProbs:
    """Log-probs of ``targets`` under softmax(softcap tanh((hidden weight^T + bias) / softcap) / temperature), with gradients
    to hidden, weight and bias through every output.

    Args:
        hidden: [N, H] or [B, T, H]; float32, bfloat16 or float16.
        weight: [V, H], of hidden's dtype; under autocast any float dtype. A DTensor is gathered once.
        targets: Token ids, [N] or [B, T]. An id outside the vocabulary raises on CPU, and gives NaN on CUDA.
        temperature: Divides the logits, in float32: a number, or one per token.
        bias: Of each token of the vocabulary. Entries may be -inf.
        softcap: Bounds the logits, before the temperature.
        entropy: Whether to return the entropy.
        ignore_index: Tokens with this target get 0 in every output, and no gradient.
        shard: The part of the vocabulary that weight and bias are, where they are spread over a process group.
        implementation: See ``implementation_for``.
        logits_bytes: Logits held at a time; the more there are, the fewer are formed again in the backward pass.
        logits_dtype: What logits are rounded to; hidden's dtype if not given. float32 doubles the memory and removes the
            rounding of 16-bit logits (0.06 near 20).

    Raises:
        ValueError: if arguments disagree, naming them.
    """
    hidden, weight, bias, call = check_inputs(
        hidden,
        weight,
        targets,
        bias,
        temperature=temperature,
        softcap=softcap,
        shard=shard,
        ignore_index=ignore_index,
        implementation=implementation,
        logits_dtype=logits_dtype,
        entropy=entropy,
    )
    kept = None if ignore_index is None else call.targets != ignore_index
    if kept is not None and not hidden.is_cuda and not bool(kept.all()):
        rows = kept.nonzero().squeeze(1)
        some = _log_probs(hidden[rows], weight, bias, call.select(rows), logits_bytes)
        out = [values.new_zeros(len(kept)).index_put((rows,), values) for values in some]
    else:
        out = list(_log_probs(hidden, weight, bias, call, logits_bytes))
        if kept is not None:
            out = [values.where(kept, 0.0) for values in out]
    logprob, entropies, logsumexp = (values.view(targets.shape) for values in out)
    return LogProbs(logprob, entropies if entropy else None, logsumexp)


def reference_log_probs(
    hidden: Float[Tensor, "N H"], weight: Float[Tensor, "V H"], bias: Float[Tensor, " V"] | None, call: Call
) -> tuple[Float32[Tensor, " N"], Float32[Tensor, " N"], Float32[Tensor, " N"]]:
    """Log-probs, entropies and logsumexps by the written-out arithmetic, with gradients by autograd."""
    logits = hidden.to(call.dtype) @ weight.to(call.dtype).T
    z = reference.scores(logits, call.inverse_temperature, bias, call.softcap)
    return reference.log_probs(z, call.targets)


def _log_probs(
    hidden: Float[Tensor, "N H"],
    weight: Float[Tensor, "V H"],
    bias: Float[Tensor, " V"] | None,
    call: Call,
    logits_bytes: int | None,
) -> tuple[Float32[Tensor, " N"], Float32[Tensor, " N"], Float32[Tensor, " N"]]:
    if call.chosen == "reference":
        return reference_log_probs(hidden, weight, bias, call)
    wanted = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (hidden, weight, bias))
    return _LinearLogProb.apply(hidden, weight, bias, call, logits_bytes, wanted)


class _LinearLogProb(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Float[Tensor, "N H"],
        weight: Float[Tensor, "V H"],
        bias: Float[Tensor, " V"] | None,
        call: Call,
        logits_bytes: int | None,
        wanted: bool,
    ) -> tuple[Float32[Tensor, " N"], Float32[Tensor, " N"], Float32[Tensor, " N"]]:
        head, x = call.head(weight, bias), hidden.to(call.dtype)
        n, vocabulary = len(x), len(weight)
        most = head.rows_within(logits_bytes, GENERAL)
        chunks, keeps = _chunks(n, most)
        buffer = torch.empty(max(map(_length, chunks)), vocabulary, dtype=call.logits_dtype, device=x.device)
        values = RowValues(*torch.empty(5, n, dtype=torch.float32, device=x.device))
        logits = buffer
        for rows in chunks:
            logits = buffer[: _length(rows)]
            head.logits_into(logits, x[rows])
            for whole, part in zip(values, head.at(rows).values(logits, call.targets[rows], call.entropy), strict=True):
                whole[rows] = part
        if wanted:
            ctx.save_for_backward(hidden, weight, bias, *values)
            ctx.call, ctx.most, ctx.kept = call, most, logits if keeps else None
        ctx.set_materialize_grads(False)
        return values.logprob, values.entropy, values.logsumexp

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any,
        grad_logprob: Float32[Tensor, " N"] | None,
        grad_entropy: Float32[Tensor, " N"] | None,
        grad_logsumexp: Float32[Tensor, " N"] | None,
    ) -> Any:
        hidden, weight, bias, *saved = ctx.saved_tensors
        values = RowValues(*saved)
        if grad_logprob is None:
            grad_logprob = torch.zeros_like(values.logprob)
        grad_scores = coefficients(values.entropy, grad_logprob, grad_entropy, grad_logsumexp)
        kept, ctx.kept = ctx.kept, None  # overwritten below: another backward pass forms all logits again
        return *_gradients(ctx, hidden, weight, bias, values, grad_scores, kept), None, None, None


def _gradients(
    ctx: Any,
    hidden: Float[Tensor, "N H"],
    weight: Float[Tensor, "V H"],
    bias: Float[Tensor, " V"] | None,
    values: RowValues,
    grad_scores: Coefficients,
    kept: Float[Tensor, "k V"] | None,
) -> tuple[Float[Tensor, "N H"] | None, Float[Tensor, "V H"] | None, Float[Tensor, " V"] | None]:
    """Gradients of hidden, weight and bias. ``kept`` holds the logits of the last rows; those of the others are formed
    again, for one slab of the vocabulary at a time."""
    call: Call = ctx.call
    head, x = call.head(weight, bias), hidden.to(call.dtype)
    again = slice(0, len(x) - (0 if kept is None else len(kept)))
    last = slice(again.stop, len(x))
    wants_hidden, wants_weight, wants_bias = ctx.needs_input_grad[:3]
    summed = again.stop or call.shard is not None
    grad_hidden = torch.zeros(x.shape, dtype=torch.float32 if summed else call.dtype, device=x.device)
    grad_weight = torch.empty_like(weight) if wants_weight else None
    grad_bias = torch.empty_like(bias) if wants_bias and bias is not None else None

    def turn_into_gradients(logits: Float[Tensor, "n S"], rows: slice, columns: slice) -> Float[Tensor, "n S"]:
        operations, scores = head.rows, head.scores.rows(rows).columns(columns)
        statistics = values.maximum[rows], values.total[rows]
        operations.row_gradients_(
            logits, call.targets[rows], scores, head.offset + columns.start, *statistics, grad_scores.rows(rows)
        )
        return logits.to(call.dtype)

    if kept is not None:
        kept = turn_into_gradients(kept, last, slice(0, len(weight)))
        if wants_hidden:
            multiply_into(grad_hidden[last], kept, head.weight)
    width = _slab_width(again.stop, len(weight), ctx.most, kept is not None)
    scratch = torch.empty(again.stop * width, dtype=call.logits_dtype, device=x.device)
    for columns in pieces(0, len(weight), width):
        parts = [] if kept is None else [(kept[:, columns], x[last])]
        if again.stop:
            logits = scratch[: again.stop * _length(columns)].view(again.stop, -1)
            head.logits_into(logits, x[again], columns)
            slab = turn_into_gradients(logits, again, columns)
            parts.append((slab, x[again]))
            if wants_hidden:
                add_product(grad_hidden[again], slab, head.weight[columns])
        if grad_weight is not None:
            _sum_of_products(grad_weight[columns], [(a.T, b) for a, b in parts])
        if grad_bias is not None:
            grad_bias[columns] = torch.stack([a.sum(0, dtype=torch.float32) for a, _ in parts]).sum(0)
    if call.shard is not None:
        call.shard.sum(grad_hidden)
    return (grad_hidden.to(hidden.dtype) if wants_hidden else None), grad_weight, grad_bias


def _sum_of_products(
    out: Float[Tensor, "m n"], factors: list[tuple[Float[Tensor, "m _"], Float[Tensor, "_ n"]]]
) -> None:
    """Writes the sum of products into ``out``, rounded to its dtype once."""
    first, *others = factors
    total = out if out.dtype == torch.float32 or not others else torch.empty_like(out, dtype=torch.float32)
    multiply_into(total, *first)
    for a, b in others:
        add_product(total, a, b)
    if total is not out:
        out.copy_(total)


def _chunks(n: int, most: int) -> tuple[list[slice], bool]:
    """How rows are cut, and whether the last chunk's logits are kept: where it is at least half of all rows."""
    if n <= most:
        return [slice(0, n)], True
    most = rounded(most)
    if n <= 2 * most:
        return [slice(0, n - most), slice(n - most, n)], True
    return list(pieces(0, n, even_rows(n, most))), False


def _slab_width(rows: int, vocabulary: int, most: int, beside_kept: bool) -> int:
    """Columns of a slab: its logits take what ``most`` whole rows take, or a sixteenth of that beside logits that were
    kept."""
    if not rows:
        return max(1, vocabulary)
    width = most * vocabulary // rows // (16 if beside_kept else 1)
    return max(1, min(vocabulary, max(MULTIPLE, rounded(width))))


def _length(rows: slice) -> int:
    return int(rows.stop - rows.start)
