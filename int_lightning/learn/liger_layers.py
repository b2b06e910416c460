"""Liger's Triton kernels in a policy: RMSNorm, RoPE and SwiGLU of its layers, and the fused linear cross-entropy of SFT.

Liger patches a model, and also the transformers module of its class, so that every later model would be patched too. Here that
module is restored afterwards, and the attention of this one model gets Liger's RoPE directly.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from inspect import isfunction
from types import FunctionType, MethodType
from typing import Any, Literal

import torch
from jaxtyping import Float, Float32, Int64
from rich.markup import escape
from torch import Tensor
from transformers import PreTrainedModel

from int_lightning.console import say
from int_lightning.model_folder.checkpoint_names import fused_experts
from int_lightning.model_folder.files import reason
from int_lightning.types import UserError

Layers = Literal["auto", "liger", "transformers"]


def use_layers(causal_lm: PreTrainedModel, layers: Layers, device: torch.device) -> None:
    """Gives a model Liger's layers if ``layers`` asks for them, or if they run on the device and Liger knows the architecture.
    Where ``auto`` cannot have them it says why, in one line.

    Args:
        causal_lm: The model, not yet sharded or adapted.
        layers: Whose layers; ``auto`` takes Liger's on CUDA.
        device: Where the model will run.

    Raises:
        UserError: if they are asked for and cannot be used.
    """
    if layers == "transformers" or (layers == "auto" and device.type != "cuda"):
        return
    missing = obstacle(device) or _untested_architecture(causal_lm) or _not_applied(causal_lm)
    if missing and layers == "liger":
        raise UserError(f"layers: liger: {missing}: set layers to auto or transformers")
    if missing:
        say(f"[yellow]note:[/] layers auto: transformers' layers, because Liger's cannot be used: {escape(missing)}")


def obstacle(device: torch.device) -> str | None:
    """Why Liger's kernels cannot run on a device, or None if they can."""
    if importlib.util.find_spec("liger_kernel") is None:
        return "the package liger-kernel is not installed"
    if device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return f"its kernels need a CUDA device, and this is {device.type}"
    return None


def liger_negative_log_likelihood(
    hidden: Float[Tensor, "N H"],
    weight: Float[Tensor, "V H"],
    targets: Int64[Tensor, " N"],
    token_weights: Float32[Tensor, " N"],
    bias: Float[Tensor, " V"] | None,
    softcap: float | None,
    temperature: float,
) -> Float32[Tensor, ""]:
    """-sum_n w_n log p(target_n), by Liger's fused linear cross-entropy.

    If all weights are equal, the gradient is computed together with the loss; otherwise the logits are computed once more for it.

    Args:
        hidden: Hidden states; N > 0.
        weight: The head's, in the dtype of ``hidden``.
        targets: Token ids.
        token_weights: w.
        bias: The head's, or None.
        softcap: Of the logits, or None.
        temperature: Divides the logits.

    Raises:
        UserError: for a softcap together with a temperature.
    """
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

    if temperature != 1:
        if softcap is not None:
            raise UserError("head: liger cannot softcap logits with a temperature: set head to auto")
        hidden, bias = hidden / temperature, None if bias is None else bias / temperature
    alike = bool((token_weights == token_weights[0]).all())
    loss = LigerFusedLinearCrossEntropyLoss(
        reduction="sum" if alike else "none", softcap=softcap, accum_dtype=torch.float32
    )(weight, hidden, targets, bias)
    return token_weights[0] * loss if alike else (token_weights * loss).sum()


def _untested_architecture(causal_lm: PreTrainedModel) -> str | None:
    from liger_kernel.transformers.monkey_patch import MODEL_TYPE_TO_APPLY_LIGER_FN

    kind = causal_lm.config.model_type
    if kind not in MODEL_TYPE_TO_APPLY_LIGER_FN:
        return f"it does not know the architecture {kind}"
    return f"its experts are not tested here, and {kind} has experts" if fused_experts(causal_lm) else None


def _not_applied(causal_lm: PreTrainedModel) -> str | None:
    """Applies Liger's layers; why that failed, with the model as it was."""
    before = [(module, dict(vars(module))) for module in causal_lm.modules()]
    try:
        _apply(causal_lm)
    except Exception as error:  # what Liger raises depends on the architecture
        for module, attributes in before:
            vars(module).clear()
            vars(module).update(attributes)
        return f"it cannot change the architecture {causal_lm.config.model_type} ({reason(error)})"
    return None


def _apply(causal_lm: PreTrainedModel) -> None:
    from liger_kernel.transformers import _apply_liger_kernel_to_instance

    shared = vars(sys.modules[type(causal_lm).__module__])
    before = dict(shared)
    wanted = {"rope": True, "rms_norm": True, "swiglu": True}
    try:
        _apply_liger_kernel_to_instance(causal_lm, **wanted, cross_entropy=False, fused_linear_cross_entropy=False)
        replaced = {name: value for name, value in shared.items() if before.get(name) is not value}
    finally:
        shared.update(before)
    for module in causal_lm.modules():
        forward: Any = type(module).forward
        if isfunction(forward) and forward.__globals__ is shared and replaced.keys() & set(forward.__code__.co_names):
            module.__dict__.setdefault("forward", MethodType(_with_globals(forward, replaced), module))


def _with_globals(function: FunctionType, replaced: dict[str, Any]) -> FunctionType:
    """The function, with other values for some of its module's names."""
    other = FunctionType(
        function.__code__,
        {**function.__globals__, **replaced},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    other.__kwdefaults__ = function.__kwdefaults__
    return other
