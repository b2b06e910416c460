"""What vLLM is started with: its options on each kind of device, and a folder that holds one model only."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, PretrainedConfig

from int_lightning.engines.base import EngineConfig
from int_lightning.engines.vllm_weights import EXTENSION
from int_lightning.model_folder.files import weight_files
from int_lightning.types import UserError

_ADAPTER_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The ranks that vLLM makes room for."""

_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
"""What architectures call the number of their experts."""


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Garbage collection takes a quarter of vLLM's imports and start, which allocate much and free little."""
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def check_devices(config: EngineConfig, on_gpu: bool) -> None:
    """Refuses an engine that spans more devices than this process, which is alone, can use.

    Raises:
        UserError: if ``engine.tensor_parallel_size`` exceeds their number.
    """
    devices = torch.cuda.device_count() if on_gpu else 1
    if config.tensor_parallel_size > devices:
        found = f"{devices} GPU(s)" if on_gpu else "a CPU and no GPU"
        raise UserError(
            f"engine.tensor_parallel_size is {config.tensor_parallel_size}, and this machine has {found}: set it to at most "
            f"{devices}"
        )


def exchange_without_shared_memory() -> None:
    """Has processes that share an engine on CPUs exchange through gloo. vLLM names their shared memory by their ranks alone, so
    that a second fit on the machine would not start, nor any after one that was killed."""
    from vllm.distributed.device_communicators.cpu_communicator import CpuCommunicator

    CpuCommunicator._all_group_ranks_share_shm_group_name = lambda self: False  # type: ignore[method-assign]


def rotate_parts_of_heads(model: nn.Module) -> None:
    """Has PyTorch put positions into multi-head latent attention on a CPU. They belong into a part of each head, and vLLM's own
    kernel takes what it gets as whole heads, end to end."""
    for module in model.modules():
        rotary: Any = getattr(module, "rotary_emb", None)
        if rotary is not None and hasattr(module, "mla_attn"):
            rotary._forward_method = rotary.forward_native


def options_for(config: EngineConfig, folder: str, on_gpu: bool, lora_rank: int) -> dict[str, Any]:
    """Arguments of ``vllm.LLM``.

    Args:
        config: Sizes and dtype.
        folder: Of the model.
        on_gpu: Whether there is a GPU.
        lora_rank: Of the adapters that it makes room for; 0 for none.
    """
    options = {
        "dtype": config.dtype,
        "max_model_len": config.max_model_len,
        "max_num_seqs": config.max_num_seqs,
        "tensor_parallel_size": config.tensor_parallel_size,
        "trust_remote_code": config.trust_remote_code,
        "enforce_eager": not on_gpu,
        "enable_sleep_mode": on_gpu and config.sleep_while_training,
        "worker_extension_cls": EXTENSION,
        "logprobs_mode": "processed_logprobs",
        **(_gpu_options(config) if on_gpu else _cpu_options(config, folder)),
    }
    if lora_rank:
        room = min(rank for rank in _ADAPTER_RANKS if rank >= lora_rank)
        options |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": room}
    return options


def _gpu_options(config: EngineConfig) -> dict[str, Any]:
    return {"gpu_memory_utilization": config.gpu_memory_utilization}


def _cpu_options(config: EngineConfig, folder: str) -> dict[str, Any]:
    """Whole prompts only: vLLM rewinds a seeded request's generator after part of a prompt, which CPU generators refuse. Small
    blocks: only whole blocks of a prefix are cached, and a short prompt does not fill one of the default 128 tokens. Where layers
    carry a state vLLM would cache prefixes only of prompts that it takes in parts."""
    return {
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(config.max_model_len, 8192),
        "block_size": 32,
        "enable_prefix_caching": False if _carries_state(folder, config.trust_remote_code) else None,
    }


def knows_adapters(folder: str, lora_rank: int) -> bool:
    """Whether vLLM takes adapters of this rank, which is not 0, for the architecture of a model folder. On a CPU it has none
    beside experts."""
    config = AutoConfig.from_pretrained(folder)
    has_experts = any(getattr(config.get_text_config(), name, 0) for name in _EXPERTS)
    if not 0 < lora_rank <= _ADAPTER_RANKS[-1] or (has_experts and not torch.cuda.is_available()):
        return False
    from vllm.model_executor.models import supports_lora

    return any(map(supports_lora, _classes(config)))


def _carries_state(folder: str, trust_remote_code: bool) -> bool:
    """Whether vLLM's model of the architecture has layers that carry a state from token to token."""
    from vllm.model_executor.models.interfaces import has_inner_state

    return any(map(has_inner_state, _classes(AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code))))


def _classes(config: PretrainedConfig) -> list[type[Any]]:
    """vLLM's models of the architecture; none if it runs transformers' code."""
    from vllm import ModelRegistry

    known = [ModelRegistry.models[a] for a in config.architectures or () if a in ModelRegistry.models]
    return [model.load_model_cls() for model in known]


@contextmanager
def of_one_model(folder: str) -> Iterator[str]:
    """A model folder without safetensors files that are not its model's, because vLLM would load those too. For a folder
    that has some it is a temporary one of links."""
    path = Path(folder)
    others = set(path.glob("*.safetensors")) - set(weight_files(folder)) if path.is_dir() else set()
    if not others:
        yield folder
        return
    with TemporaryDirectory(prefix="model-") as links:
        for file in set(path.iterdir()) - others:
            (Path(links) / file.name).symlink_to(file.resolve())
        yield links
