"""Any loss that is a sum over tokens of a function of their log-prob and entropy, in three units of 2NVH operations.

Such a loss knows its own gradient as soon as a chunk's log-probs are known, so the chunk's logits are turned into gradients
on the spot and never formed again: one product for the logits, one for hidden's gradient, one for the weight's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Float32, Int, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable

from int_lightning_kernels import exponential_rows
from int_lightning_kernels.dispatch import Implementation
from int_lightning_kernels.inputs import Call, check_inputs
from int_lightning_kernels.linear_logprob import reference_log_probs
from int_lightning_kernels.products import (
    FUSED,
    add_product,
    even_rows,
    multiply_into,
    pieces,
)
from int_lightning_kernels.rows import RowValues, coefficients
from int_lightning_kernels.vocab_parallel import VocabShard

Metrics = dict[str, Float[Tensor, ""]]
Rows = slice | Int64[Tensor, " n"]
TokenLoss = Callable[
    [Float32[Tensor, " n"], Float32[Tensor, " n"], Rows],
    tuple[Float32[Tensor, ""], Metrics],
]
"""(log-probs, entropies, which of the N tokens they are) -> the chunk's loss (differentiable in both) and metrics; losses
and metrics are summed over chunks, except metrics whose names end in ``MAX``, which are maxima."""

MAX = "_max"


class Loss(NamedTuple):
    """A loss, and metrics without gradient on the same device."""

    loss: Float32[Tensor, ""]
    metrics: Metrics


def linear_token_loss(
    hidden: Float[Tensor, "*tokens H"],
    weight: Float[Tensor, "V H"],
    targets: Int[Tensor, "*tokens"],
    token_loss: TokenLoss,
    *,
    temperature: float | Float[Tensor, "*#tokens"] = 1.0,
    bias: Float[Tensor, " V"] | None = None,
    softcap: float | None = None,
    ignore_index: int | None = None,
    active: Int64[Tensor, " n"] | None = None,
    shard: VocabShard | None = None,
    implementation: Implementation = "auto",
    logits_bytes: int | None = None,
    logits_dtype: torch.dtype | None = None,
    entropy: bool = True,
) -> Loss:
    """The sum of ``token_loss`` over tokens, with gradients to hidden, weight and bias.

    Args:
        token_loss: The loss. Its gradient towards log-probs and entropies is taken chunk by chunk, in the forward pass.
        active: The row numbers of the tokens that count; the others cost nothing. All, if not given. On CPU tokens with
            ``ignore_index`` are left out as well; on CUDA, where leaving them out would mean waiting for the GPU, they get
            no gradient, and ``token_loss`` sees 0 for them.
        logits_bytes: Logits held at a time.
        entropy: Whether the loss depends on entropies; if not, it sees 0 for them, and less is computed.

    The other arguments, and errors, are those of ``linear_logprob``.
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
    if active is not None and active.dtype != torch.int64:
        raise ValueError(f"active must hold int64 row numbers, not {active.dtype}")
    if ignore_index is not None:
        if hidden.is_cuda:
            token_loss = _ignoring(token_loss, call.targets != ignore_index)
        else:
            rows = torch.arange(len(hidden)) if active is None else active
            active = rows[call.targets[rows] != ignore_index]
    if active is not None:
        hidden, call, token_loss = hidden[active], call.select(active), _on(token_loss, active)
    if call.chosen == "reference":
        logprob, entropies, _ = reference_log_probs(hidden, weight, bias, call)
        loss, metrics = token_loss(logprob, entropies, slice(0, len(hidden)))
        return Loss(loss, {name: value.detach() for name, value in metrics.items()})
    grad = torch.is_grad_enabled()
    wanted = tuple(grad and t is not None and t.requires_grad for t in (hidden, weight, bias))
    metrics = {}
    loss = _LinearTokenLoss.apply(hidden, weight, bias, call, token_loss, logits_bytes, wanted, metrics)
    return Loss(loss, metrics)


class _LinearTokenLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Float[Tensor, "N H"],
        weight: Float[Tensor, "V H"],
        bias: Float[Tensor, " V"] | None,
        call: Call,
        token_loss: TokenLoss,
        logits_bytes: int | None,
        wanted: tuple[bool, bool, bool],
        metrics: Metrics,
    ) -> Float32[Tensor, ""]:
        loss, gradients = _run(hidden, weight, bias, call, token_loss, logits_bytes, wanted, metrics)
        if any(wanted):
            ctx.save_for_backward(hidden, weight, bias)
            ctx.arguments = (call, token_loss, logits_bytes, wanted)
            ctx.gradients = gradients
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Float32[Tensor, ""]) -> Any:
        (hidden, weight, bias), gradients = ctx.saved_tensors, ctx.gradients
        ctx.gradients = None  # handed over: another backward pass forms them again
        if gradients is None:
            call, token_loss, logits_bytes, wanted = ctx.arguments
            _, gradients = _run(hidden, weight, bias, call, token_loss, logits_bytes, wanted, {})
        tensors = (hidden, weight, bias)
        scaled = (_times(g, upstream, t) for g, t in zip(gradients, tensors, strict=True))
        return *scaled, None, None, None, None, None


def _run(
    hidden: Float[Tensor, "N H"],
    weight: Float[Tensor, "V H"],
    bias: Float[Tensor, " V"] | None,
    call: Call,
    token_loss: TokenLoss,
    logits_bytes: int | None,
    wanted: tuple[bool, bool, bool],
    metrics: Metrics,
) -> tuple[
    Float32[Tensor, ""],
    tuple[Float[Tensor, "N H"] | None, Float[Tensor, "V H"] | None, Float[Tensor, " V"] | None],
]:
    """The loss, and the gradients that are wanted: hidden's in its dtype, weight's and bias's summed in float32."""
    in_place = call.chosen == "chunked" and not (call.entropy or call.softcap or call.shard)
    in_place = in_place and call.logits_dtype == torch.float32
    head = call.head(weight, bias, exponential_rows if in_place else None)
    x = hidden.to(call.dtype)
    n, vocabulary = len(x), len(weight)
    height = even_rows(n, head.rows_within(logits_bytes, FUSED))
    buffer = torch.empty(height, vocabulary, dtype=call.logits_dtype, device=x.device)
    once = n <= height
    grad_hidden = torch.empty_like(x) if wanted[0] else None
    grad_weight = torch.zeros_like(weight, dtype=weight.dtype if once else torch.float32) if wanted[1] else None
    grad_bias = torch.zeros(vocabulary, dtype=torch.float32, device=x.device) if wanted[2] else None
    total = torch.zeros((), dtype=torch.float32, device=x.device)
    for rows in list(pieces(0, n, height)) or [slice(0, 0)]:  # metrics have their names even where no token counts
        logits = buffer[: rows.stop - rows.start]
        part = head.at(rows)
        head.logits_into(logits, x[rows])
        values = part.values(logits, call.targets[rows], call.entropy)
        loss, grad_logprob, grad_entropy = _differentiate(token_loss, values, rows, any(wanted), metrics)
        total += loss
        if grad_logprob is None:
            continue
        grad_scores = coefficients(values.entropy, grad_logprob, grad_entropy, None)
        head.rows.row_gradients_(
            logits, call.targets[rows], part.scores, head.offset, values.maximum, values.total, grad_scores
        )
        logits = logits.to(call.dtype)
        if grad_hidden is not None:
            _hidden_gradient(grad_hidden[rows], logits, head.weight, call.shard)
        if grad_weight is not None:
            (multiply_into if once else add_product)(grad_weight, logits.T, x[rows])
        if grad_bias is not None:
            grad_bias += logits.sum(0, dtype=torch.float32)
    return total, (grad_hidden, grad_weight, grad_bias)


def _differentiate(
    token_loss: TokenLoss, values: RowValues, rows: slice, wanted: bool, metrics: Metrics
) -> tuple[Float32[Tensor, ""], Float32[Tensor, " n"] | None, Float32[Tensor, " n"] | None]:
    """A chunk's loss with its gradients towards log-probs (None if no gradient is wanted) and entropies (None if the loss
    does not depend on them); adds its metrics to ``metrics``."""
    logprob, entropy = (v.detach().requires_grad_(wanted) for v in (values.logprob, values.entropy))
    with torch.set_grad_enabled(wanted):
        loss, found = token_loss(logprob, entropy, rows)
    add_metrics(metrics, found)
    if not wanted:
        return loss, None, None
    grad_logprob, grad_entropy = None, None
    if loss.requires_grad:
        grad_logprob, grad_entropy = torch.autograd.grad(loss, (logprob, entropy), allow_unused=True)
    return loss.detach(), torch.zeros_like(logprob) if grad_logprob is None else grad_logprob, grad_entropy


def add_metrics(totals: Metrics, found: Metrics) -> None:
    """Adds metrics of some tokens to those of others: sums, or the larger of the two where the name ends in ``MAX``."""
    for name, value in found.items():
        value = value.detach()
        if name in totals:
            value = torch.maximum(totals[name], value) if name.endswith(MAX) else totals[name] + value
        totals[name] = value


def _hidden_gradient(
    out: Float[Tensor, "n H"], logits: Float[Tensor, "n V"], weight: Float[Tensor, "V H"], shard: VocabShard | None
) -> None:
    if shard is None:
        multiply_into(out, logits, weight)
    else:
        part = torch.empty_like(out, dtype=torch.float32)
        multiply_into(part, logits, weight)
        out.copy_(shard.sum(part))


def _times(
    gradient: Float[Tensor, "*shape"] | None, upstream: Float32[Tensor, ""], tensor: Float[Tensor, "*shape"] | None
) -> Float[Tensor, "*shape"] | None:
    """``gradient * upstream`` in the tensor's dtype: in place where the gradient has it."""
    if gradient is None or tensor is None:
        return None
    out = gradient if gradient.dtype == tensor.dtype else torch.empty_like(gradient, dtype=tensor.dtype)
    return torch.mul(gradient, upstream, out=out)


def _ignoring(token_loss: TokenLoss, kept: Bool[Tensor, " N"]) -> TokenLoss:
    def loss_of_kept(
        logprob: Float32[Tensor, " n"], entropy: Float32[Tensor, " n"], rows: Rows
    ) -> tuple[Float32[Tensor, ""], Metrics]:
        return token_loss(logprob.where(kept[rows], 0.0), entropy.where(kept[rows], 0.0), rows)

    return loss_of_kept


def _on(token_loss: TokenLoss, active: Int64[Tensor, " n"]) -> TokenLoss:
    def loss_of_active(
        logprob: Float32[Tensor, " k"], entropy: Float32[Tensor, " k"], rows: Rows
    ) -> tuple[Float32[Tensor, ""], Metrics]:
        return token_loss(logprob, entropy, active[rows])

    return loss_of_active
