"""Reads the weights that vLLM computes with: its parameters, and on a CPU also what it packs away for its kernels.

It extends vLLM's workers, also those of a server that is started with ``--worker-extension-cls`` and ``EXTENSION``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from int_lightning.engines.weight_rows import Rows, rows_of

EXTENSION = "int_lightning.engines.vllm_weights.ReadableWeights"
PACKED = " (packed)"
"""Ends the name of what a CPU's kernels use of a weight that vLLM keeps."""

_EXPERTS = {
    "w13_weight": "gate_up_proj",
    "w2_weight": "down_proj",
    "w13_bias": "gate_up_proj_bias",
    "w2_bias": "down_proj_bias",
}
"""What vLLM and transformers call the weights of all experts of a layer."""

DERIVED: dict[str, Callable[[Tensor], Tensor]] = {"A_log": lambda values: -torch.exp(values.float())}
"""What vLLM may hold instead of a weight, which it computes while it loads it."""

_BUFFERS = ("beta", "eps", "layer_scalar")
"""Buffers that come from a checkpoint."""

_COLUMNS = 256


def rows_from(held: Mapping[str, Sequence[Any]]) -> dict[str, Rows]:
    """What a worker's ``held_rows`` says."""
    return {name: Rows(dtype, np.array(numbers, np.int64), is_part) for name, (dtype, numbers, is_part) in held.items()}


class ReadableWeights:
    """What a worker of vLLM can then do."""

    @torch.no_grad()
    def held_rows(self) -> dict[str, list[Any]]:
        """The rows of all weights and adapters of the language model that this worker computes with, as the arguments of
        ``Rows``. Names are those of transformers, as far as they follow from vLLM's: joined projections are taken apart."""
        worker: Any = self
        model: Any = worker.get_model()
        language: nn.Module = getattr(model, "get_language_model", lambda: model)()
        joined: Mapping[str, Sequence[str]] = getattr(model, "packed_modules_mapping", {})
        held: dict[str, list[Any]] = {}
        for path, module in language.named_modules():
            names = _names(path, module, joined)
            for kind, values in _weights(module):
                for name, rows in _rows(module, names, kind, values, worker.model_config.dtype):
                    held[name] = [rows.dtype, rows.numbers.tolist(), rows.is_part]
            for name, rows in _adapters(module, names):
                held[name] = [rows.dtype, rows.numbers.tolist(), rows.is_part]
        return held


def _names(path: str, module: nn.Module, joined: Mapping[str, Sequence[str]]) -> list[str]:
    """Of the layers that a module joins; its own, if it joins none."""
    parent, dot, own = path.removesuffix(".base_layer").removesuffix(".routed_experts").rpartition(".")
    sizes = getattr(getattr(module, "base_layer", module), "output_partition_sizes", [])
    layers = joined.get(own, [own])
    if len(layers) != len(sizes):
        layers = [own]
    return [f"{parent}{dot}{layer}" for layer in layers]


def _weights(module: Any) -> Iterator[tuple[str, Shaped[Tensor, "*shape"]]]:
    """A module's own parameters and buffers, and what the kernels of a CPU have of them."""
    for kind, parameter in module.named_parameters(recurse=False):
        if parameter.numel():
            yield kind, _plain(module, kind, parameter.detach())
    for kind, buffer in module.named_buffers(recurse=False):
        if kind in _BUFFERS:
            yield kind, buffer
    if "cpu_linear" in vars(module) and module.weight.dim() < 3:
        sizes = (getattr(module, name, None) for name in ("input_size_per_partition", "input_size", "embedding_dim"))
        width = next(size for size in sizes if size is not None)
        columns = torch.eye(width, dtype=module.weight.dtype).split(_COLUMNS)
        kind = f"weight{PACKED}" if module.weight.numel() else "weight"
        yield kind, torch.cat([module.cpu_linear(x, module.weight, None).T for x in columns], -1)


def _plain(module: Any, kind: str, values: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
    """The experts' weights without the order that a CPU's kernel wants, which is found by packing numbers, digit by digit; of
    multi-head latent attention the part of kv_b_proj that vLLM turns."""
    if kind == "W_UV":
        return values.transpose(-1, -2)
    kernel = getattr(getattr(module, "quant_method", None), "moe_kernel", None)
    isa = getattr(getattr(kernel, "fused_experts", None), "isa", None)
    if isa is None or values.dim() < 3:
        return values
    from vllm._custom_ops import cpu_prepack_moe_weight

    numbers = torch.arange(values[0].numel()).view(values[:1].shape)
    order = torch.zeros_like(numbers)
    for shift in range(0, 32, 8):  # bfloat16 has all whole numbers up to 255
        order += cpu_prepack_moe_weight((numbers >> shift & 255).to(values.dtype), isa).long() << shift
    plain = torch.empty_like(values).flatten(1)
    plain[:, order.flatten()] = values.flatten(1)
    return plain.view(values.shape)


def _rows(
    module: Any, names: Sequence[str], kind: str, values: Shaped[Tensor, "*shape"], dtype: torch.dtype
) -> Iterator[tuple[str, Rows]]:
    """The rows of each joined layer, those of heads that several devices share from the first of them only."""
    parts = values.split(module.output_partition_sizes) if len(names) > 1 else [values]
    for number, (name, part) in enumerate(zip(names, parts, strict=True)):
        copies = getattr(module, "num_kv_head_replicas", 1) if number else 1
        if copies == 1 or module.tp_rank % copies == 0:
            yield f"{name}.{_EXPERTS.get(kind, kind)}", rows_of(part, dtype, _first_column(module, kind, part, copies))


def _first_column(module: Any, kind: str, values: Shaped[Tensor, "*shape"], copies: int = 1) -> int | None:
    """Where this device's columns begin; None if it has all of them."""
    if kind == "w2_weight":
        experts = module.moe_config
        return experts.tp_rank * experts.intermediate_size_per_partition if experts.tp_size > 1 else None
    if values.dim() == 1:
        is_part = getattr(module, "output_size_per_partition", 0) != getattr(module, "output_size", 0)
        return module.tp_rank // copies * len(values) if is_part else None
    is_part = getattr(module, "input_size_per_partition", 0) != getattr(module, "input_size", 0)
    return module.tp_rank * values.shape[-1] if is_part else None


def _adapters(module: Any, names: Sequence[str]) -> Iterator[tuple[str, Rows]]:
    """A and B of the only adapter, B with its scale. What is dealt over devices is A's columns or B's rows."""
    if isinstance(getattr(module, "lora_a_stacked", None), tuple):
        layers = names if len(names) == len(module.lora_a_stacked) else names[:1]
        for name, a, b in zip(layers, module.lora_a_stacked, module.lora_b_stacked, strict=True):
            yield (
                f"{name}.lora_A.weight",
                rows_of(a[0, 0], a.dtype, _first_column(module.base_layer, "weight", a[0, 0])),
            )
            yield f"{name}.lora_B.weight", rows_of(b[0, 0], b.dtype)
