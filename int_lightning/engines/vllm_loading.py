"""New weights for a vLLM that runs in this process, and what vLLM 0.32 forgets while it loads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from int_lightning.model_folder.files import reason
from int_lightning.types import UserError

if TYPE_CHECKING:
    from vllm import LLM

_GPT_OSS = "GptOssForCausalLM"
_HEAD = "lm_head.weight"


def reload_weights(llm: LLM, weights: Iterable[tuple[str, Tensor]]) -> None:
    """Replaces the weights of a running vLLM.

    Args:
        llm: The engine.
        weights: Under the names of a checkpoint.

    Raises:
        UserError: if vLLM's loader of the architecture does not take them.
    """
    sinks: dict[str, Tensor] = {}
    architectures = llm.llm_engine.model_config.architectures
    if _GPT_OSS in architectures:
        weights = _for_gpt_oss(weights, sinks)
    if not any(llm.apply_model(_has_head)):
        weights = ((name, value) for name, value in weights if not name.endswith(_HEAD))
    on_cpu = not torch.cuda.is_available()
    try:
        with _experts_packed_again(llm) if on_cpu else nullcontext():
            llm.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
    except (KeyError, ValueError) as error:
        raise UserError(
            f"vLLM's loader of {', '.join(architectures)} does not take the weights in training ({reason(error)}): set "
            "engine.name to transformers"
        ) from error
    if on_cpu:
        llm.apply_model(_pack_tied_head)
    if sinks:
        llm.apply_model(lambda model: _copy_of_this_rank(model, sinks))


def _has_head(model: nn.Module) -> bool:
    """Whether vLLM's model has a head; one that always ties it may only have the embedding, and its loader refuses a head."""
    return any(name.endswith("lm_head") for name, _ in model.named_modules())


def _for_gpt_oss(weights: Iterable[tuple[str, Tensor]], sinks: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Experts one by one instead of fused, because what gpt-oss's loader copies straight into its parameters is lost while they
    are being replaced. Attention sinks are always copied so: they are put aside, under vLLM's names."""
    for name, value in weights:
        if name.endswith(".sinks"):
            sinks[name.replace(".self_attn.", ".attn.")] = value
        elif ".mlp.experts." in name:
            for i, expert in enumerate(value):
                yield name.replace(".experts.", f".experts.{i}."), expert
        else:
            yield name, value


@torch.no_grad()
def _copy_of_this_rank(model: nn.Module, sinks: dict[str, Tensor]) -> None:
    from vllm.distributed import get_tensor_model_parallel_rank, get_tensor_model_parallel_world_size

    rank, ranks = get_tensor_model_parallel_rank(), get_tensor_model_parallel_world_size()
    for name, value in sinks.items():
        model.get_parameter(name).copy_(value.chunk(ranks)[rank])


@contextmanager
def _experts_packed_again(llm: LLM) -> Iterator[None]:
    """Makes vLLM pack the experts that it loads, as a CPU wants them: it does so only while it has no kernel for them."""
    kernels: dict[Any, Any] = {}

    def take_away(model: nn.Module) -> None:
        for module in model.modules():
            method: Any = getattr(module, "quant_method", None)
            if getattr(method, "moe_kernel", None) is not None:
                kernels[method] = method.moe_kernel
                method.moe_kernel = None

    llm.apply_model(take_away)
    yield
    for method, kernel in kernels.items():
        if method.moe_kernel is None:  # no weights came for its experts
            method.moe_kernel = kernel


def _pack_tied_head(model: nn.Module) -> None:
    """Packs the head again, as a CPU wants it: vLLM forgets to when the head's weights are the embedding's."""
    head: Any = getattr(model, "lm_head", None)
    method = getattr(head, "quant_method", None)
    if method is not None and getattr(model.config, "tie_word_embeddings", False):
        method.process_weights_after_loading(head)
