"""Who computes what: our functions and the other ways, all called with ``Inputs``.

A call returns a tuple: log-probs [N], log-probs and entropies, or the scalar of a loss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Literal

import torch
from torch import Tensor

from benchmarks.kernels import peers
from benchmarks.kernels.inputs import Inputs, Shape
from benchmarks.machine import version_of
from int_lightning_kernels import linear_cross_entropy, linear_logprob, logprob_from_logits, policy_loss

Kernel = Literal["logprob+entropy", "logprob", "ce", "policy loss"]
KERNELS: tuple[Kernel, ...] = ("logprob+entropy", "logprob", "ce", "policy loss")
Call = Callable[[Inputs], tuple[Tensor, ...]]


@dataclass(frozen=True, slots=True)
class Provider:
    """One way of computing ``computes``.

    Args:
        name: As tables show it.
        computes: What it returns, with gradients of hidden and weight.
        call: A function that can be pickled.
        ours: Whether it is this project's.
        package: The distribution that it needs, if any.
        only: The device type that it runs on, if there is only one.
        copies: Float32 [N, V] tensors that it holds at a time; 0 if it never holds a whole one.
    """

    name: str
    computes: Kernel
    call: Call
    ours: bool = False
    package: str | None = None
    only: str | None = None
    copies: int = 0

    @property
    def installed(self) -> bool:
        return self.package is None or version_of(self.package) is not None


def _of_head(
    function: Callable[..., tuple[Tensor, ...] | Tensor], inputs: Inputs, **options: object
) -> tuple[Tensor, ...]:
    values = function(inputs.hidden, inputs.weight, inputs.targets, **options)
    return (values,) if isinstance(values, Tensor) else values


def _surrogate_of(function: Callable[..., tuple[Tensor, ...]], inputs: Inputs) -> tuple[Tensor, ...]:
    return (peers.clipped_surrogate(_of_head(function, inputs, entropy=False)[0], inputs),)


def _naive_cross_entropy(inputs: Inputs) -> tuple[Tensor, ...]:
    return (-_of_head(peers.naive, inputs, entropy=False)[0].sum() / inputs.count,)


def _liger_policy_loss(inputs: Inputs) -> tuple[Tensor, ...]:
    return (peers.liger_policy_loss(inputs),)


def our_logprob(hidden: Tensor, weight: Tensor, targets: Tensor, *, entropy: bool) -> tuple[Tensor, ...]:
    """``linear_logprob``, without the log-sum-exp."""
    values = linear_logprob(hidden, weight, targets, entropy=entropy)
    return (values.logprob,) if values.entropy is None else (values.logprob, values.entropy)


def our_logprob_from_logits(hidden: Tensor, weight: Tensor, targets: Tensor, *, entropy: bool) -> tuple[Tensor, ...]:
    """All logits in the model's dtype, then ``logprob_from_logits``, which writes their gradient over them."""
    values = logprob_from_logits(hidden @ weight.T, targets, entropy=entropy, inplace_backward=True)
    return (values.logprob,) if values.entropy is None else (values.logprob, values.entropy)


def our_policy_loss(inputs: Inputs) -> tuple[Tensor, ...]:
    """``policy_loss`` in its clipped form."""
    loss = policy_loss(
        inputs.hidden,
        inputs.weight,
        inputs.targets,
        advantage=inputs.advantage,
        token_weight=inputs.token_weight,
        old_logprob=inputs.old_logprob,
    )
    return (loss.loss,)


def _of_log_probs(kernel: Literal["logprob+entropy", "logprob"]) -> list[Provider]:
    """The first is ours, with which others are compared; the same is true of every kernel."""
    entropy = kernel == "logprob+entropy"
    with_entropy = partial(partial, _of_head, entropy=entropy)
    ours = [
        Provider("linear_logprob", kernel, with_entropy(our_logprob), ours=True),
        Provider("logprob_from_logits", kernel, with_entropy(our_logprob_from_logits), ours=True, copies=1),
    ]
    others = [
        Provider("naive", kernel, with_entropy(peers.naive), copies=5 if entropy else 3),
        Provider("checkpointed token chunks", kernel, with_entropy(peers.checkpointed_chunks)),
        Provider("vocabulary slabs, prime-rl style", kernel, with_entropy(peers.prime_rl_chunked)),
        Provider("vocabulary slabs, TRL style", kernel, with_entropy(peers.trl_chunked), only="cuda"),
        Provider("Liger scaled CE", kernel, with_entropy(peers.liger_scaled_cross_entropy), package="liger-kernel"),
    ]
    if entropy:
        call = partial(_of_head, peers.verl_linear_cross_entropy)
        others.append(Provider("verl kernel", kernel, call, package="verl", only="cuda"))
    return ours + others


def providers(kernel: Kernel, device: str) -> list[Provider]:
    """All that compute ``kernel`` on a type of device, installed or not, except torch's linear cross-entropy."""
    if kernel in ("logprob+entropy", "logprob"):
        all_of_them = _of_log_probs(kernel)
    elif kernel == "ce":
        head = partial(partial, _of_head)
        summed_in_float32 = partial(_of_head, peers.liger_cross_entropy, accumulation=torch.float32)
        liger = partial(Provider, computes="ce", package="liger-kernel", only="cuda")
        all_of_them = [
            Provider("linear_cross_entropy", "ce", head(linear_cross_entropy), ours=True),
            Provider("naive", "ce", _naive_cross_entropy, copies=3),
            Provider("torch cross_entropy", "ce", head(peers.torch_cross_entropy), copies=3),
            liger("Liger FLCE", call=head(peers.liger_cross_entropy)),
            liger("Liger FLCE, float32 sums", call=summed_in_float32),
            Provider(
                "cut cross-entropy", "ce", head(peers.cut_cross_entropy), package="cut-cross-entropy", only="cuda"
            ),
        ]
    else:
        surrogate = partial(partial, _surrogate_of)
        all_of_them = [
            Provider("policy_loss", kernel, our_policy_loss, ours=True),
            Provider("linear_logprob and torch", kernel, surrogate(our_logprob), ours=True),
            Provider("naive", kernel, surrogate(peers.naive), copies=3),
            Provider("checkpointed token chunks", kernel, surrogate(peers.checkpointed_chunks)),
            Provider("Liger fused GRPO loss", kernel, _liger_policy_loss, package="liger-kernel"),
        ]
    return [p for p in all_of_them if p.only in (None, device)]


def our_names(kernel: Kernel) -> list[str]:
    """Our providers; the first is the one that others are compared with."""
    return [p.name for p in providers(kernel, "cpu") if p.ours]


def torch_linear_cross_entropy_settings(shape: Shape) -> list[Provider]:
    """torch's linear cross-entropy with several chunk sizes and, where they differ, accumulation policies."""
    tokens = shape.tokens
    sizes = [rows for rows in (128, 256, 512, 1024, 4096) if rows < tokens] + ([tokens] if tokens <= 4096 else [])
    policies = ("compact",) if shape.dtype == torch.float32 else ("compact", "balanced")
    return [
        Provider(
            f"torch linear_cross_entropy ({rows} rows, {accumulation})",
            "ce",
            partial(_of_head, peers.torch_linear_cross_entropy, rows=rows, accumulation=accumulation),
        )
        for rows, accumulation in product(sizes, policies)
    ]
