"""Engines that generate for the trainer; one lives at a time and is passed on from stage to stage."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from int_lightning.engines import vllm
from int_lightning.engines.base import Engine, EngineConfig
from int_lightning.engines.transformers import TransformersEngine
from int_lightning.engines.vllm import VLLMEngine
from int_lightning.model_folder.check import check_context
from int_lightning.model_folder.ends import end_tokens
from int_lightning.model_folder.weights import check_finite, weights_of_folder
from int_lightning.types import UserError

__all__ = ["Engine", "EngineConfig", "open_engine", "tokens_generated", "weights_of_folder"]

log = logging.getLogger(__name__)
_NOT_ARCHITECTURE = {
    *("_name_or_path", "dtype", "torch_dtype", "transformers_version", "use_cache"),
    *("bos_token_id", "eos_token_id", "pad_token_id"),
}
_current: tuple[EngineConfig, int, Engine] | None = None
_tokens_of_closed = 0


def open_engine(folder: str, config: EngineConfig, lora_rank: int = 0) -> Engine:
    """An engine that serves the weights of ``folder``.

    An engine already running with this configuration and architecture takes the folder's weights instead of being started
    again; any other, and one with adapters, is closed first, for a process holds one engine only.

    Args:
        folder: Model folder.
        config: Sizes and dtype.
        lora_rank: Of the adapters that it will be given, if it can take them; 0 for none.

    Raises:
        UserError: if vLLM was asked for by name and is not installed, or if the folder's context is too short or a weight is not
            finite.
    """
    global _current, _tokens_of_closed
    name = _choose(config)
    check_context(folder, config.max_model_len, config.trust_remote_code)
    check_finite(folder)
    if _current is not None:
        held_config, held_rank, engine = _current
        if (held_config, held_rank, lora_rank) == (config, 0, 0) and _architecture(engine.folder) == _architecture(
            folder
        ):
            engine.load_weights(weights_of_folder(folder))
            engine.folder, engine.ends = folder, end_tokens(folder)
            return engine
        _tokens_of_closed += engine.tokens_generated
        engine.close()
        _current = None
    started = _start(name, folder, config, lora_rank)
    _current = (config, lora_rank, started)
    return started


def _start(name: str, folder: str, config: EngineConfig, lora_rank: int) -> Engine:
    if name == "server":
        from int_lightning.engines.server import ServerEngine

        server = ServerEngine(folder, config)
        server.load_weights(weights_of_folder(folder))
        return server
    return VLLMEngine(folder, config, lora_rank) if name == "vllm" else TransformersEngine(folder, config)


def tokens_generated() -> int:
    """Tokens all engines of this process have generated."""
    return _tokens_of_closed + (_current[-1].tokens_generated if _current is not None else 0)


def _choose(config: EngineConfig) -> str:
    if config.name == "vllm" and not vllm.available():
        raise UserError("engine.name is vllm, which is not installed: install the extra `cpu` or `gpu`, or use `auto`")
    if config.name != "auto":
        return config.name
    if vllm.available():
        return "vllm"
    log.warning("vLLM is not installed: generating with the transformers engine")
    return "transformers"


def _architecture(folder: str) -> str:
    path = Path(folder) / "config.json"
    if not path.is_file():
        return folder
    config = json.loads(path.read_text(encoding="utf-8"))
    return json.dumps({k: v for k, v in config.items() if k not in _NOT_ARCHITECTURE}, sort_keys=True)
