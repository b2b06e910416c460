"""vLLM in this very process, on a CPU or on GPUs."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from int_lightning.engines.base import EngineConfig, Memory, generate_by_steps, room
from int_lightning.engines.vllm_classes import give_classes_back
from int_lightning.engines.vllm_loading import reload_weights
from int_lightning.engines.vllm_start import (
    check_devices,
    exchange_without_shared_memory,
    knows_adapters,
    of_one_model,
    options_for,
    rotate_parts_of_heads,
    without_garbage_collection,
)
from int_lightning.engines.vllm_weights import rows_from
from int_lightning.engines.weight_rows import Rows, joined
from int_lightning.model_folder.ends import end_tokens
from int_lightning.types import Completion, EngineName, Finish, Sampling, TokenValues, UserError

if TYPE_CHECKING:
    from vllm.lora.request import LoRARequest


def available() -> bool:
    """Whether vLLM is installed."""
    return importlib.util.find_spec("vllm") is not None


class VLLMEngine:
    """One ``vllm.LLM`` without worker processes. ``prompt_tokens_cached`` counts prompt tokens found in the prefix cache;
    ``takes_adapters`` says whether it is given adapters, or weights with adapters merged.

    Args:
        folder: Model folder.
        config: Sizes and dtype.
        lora_rank: Of the adapters that it will be given; 0 for none. It takes none if vLLM has no adapters for the architecture.
    """

    name: EngineName = "vllm"
    takes_structure = True

    @without_garbage_collection()
    def __init__(self, folder: str, config: EngineConfig, lora_rank: int = 0) -> None:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(config.kv_cache_gib)
        os.environ["VLLM_NO_USAGE_STATS"] = "1"
        os.environ["VLLM_CONFIGURE_LOGGING"] = "0"
        on_gpu = torch.cuda.is_available()
        self._owns_process_group = not torch.distributed.is_initialized()
        if self._owns_process_group or torch.distributed.get_world_size() == 1:
            check_devices(config, on_gpu)
        from vllm import LLM

        if not on_gpu:
            # on a CPU, compiling vLLM's small functions takes longer than it ever saves; the setting holds in all threads
            torch.compiler.set_stance("force_eager")
            exchange_without_shared_memory()
        self.folder = folder
        self.config = config
        self.dtype = config.dtype
        self.max_model_len = config.max_model_len
        self.ends = end_tokens(folder)
        self.tokens_generated = 0
        self.prompt_tokens_cached = 0
        self.takes_adapters = knows_adapters(folder, lora_rank)
        self._adapter: LoRARequest | None = None
        self._numbers = count()
        self.sleeps = on_gpu and config.sleep_while_training
        self._asleep: set[Memory] = set()
        if not self._owns_process_group:  # vLLM reads the ranks under the names that torchrun gives them
            os.environ.setdefault("RANK", str(torch.distributed.get_rank()))
            os.environ.setdefault("LOCAL_RANK", str(torch.cuda.current_device() if on_gpu else 0))
        executor = None if self._owns_process_group else "external_launcher"
        try:
            options: dict[str, Any] = options_for(config, folder, on_gpu, lora_rank if self.takes_adapters else 0)
            with of_one_model(folder) as readable:
                self._llm = LLM(readable, distributed_executor_backend=executor, **options)
            give_classes_back()
            if not on_gpu:
                self._llm.apply_model(rotate_parts_of_heads)
        except Exception as error:  # vLLM's models raise whatever their code meets
            logging.getLogger("vllm").exception("vLLM did not start")
            reason = shorten(str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}", 300)
            raise UserError(f"vLLM cannot serve {folder} with these engine settings: {reason}") from error

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling, seeds: Sequence[int]) -> list[Completion]:
        """See ``Engine.generate``."""
        return generate_by_steps(self, prompts, sampling, seeds)

    def submit(self, prompt: Sequence[int], sampling: Sampling, seed: int, structure: str | None = None) -> int:
        """See ``Engine.submit``."""
        from vllm import SamplingParams, TokensPrompt
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        params = SamplingParams(
            max_tokens=room(len(prompt), sampling, self.config.max_model_len),
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            seed=seed,
            stop_token_ids=self.ends,
            ignore_eos=True,  # vLLM's own end is among stop_token_ids
            logprobs=0,
            flat_logprobs=True,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
            structured_outputs=StructuredOutputsParams(structural_tag=structure) if structure is not None else None,
        )
        number = next(self._numbers)
        self._llm.llm_engine.add_request(
            str(number), TokensPrompt(prompt_token_ids=list(prompt)), params, lora_request=self._adapter
        )
        return number

    def step(self) -> list[tuple[int, Completion]]:
        """See ``Engine.step``.

        Raises:
            UserError: if vLLM cannot decode by a structure with the model's tokenizer.
        """
        ended = []
        for output in self._llm.llm_engine.step():
            assert isinstance(output.outputs, list)
            best = output.outputs[0]
            if best.finish_reason == "error":
                raise UserError(
                    "vLLM cannot decode by a structure with this model's tokenizer (its log says why): set the oracle's "
                    "`structured` to false"
                )
            ids = np.array(best.token_ids, np.int32)
            completion = Completion(ids, _sampled_logprobs(best.logprobs, len(ids)), _finish(best.finish_reason))
            ended.append((int(output.request_id), completion))
            self.tokens_generated += len(ids)
            self.prompt_tokens_cached += output.num_cached_tokens or 0
        return ended

    def score(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """See ``Engine.score``. Adapters are scored one prompt at a time, because vLLM confuses them in several."""
        from vllm import SamplingParams, TokensPrompt

        params = SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False)
        requests = [TokensPrompt(prompt_token_ids=list(s)) for s in sequences]
        batches = [requests] if self._adapter is None else [[request] for request in requests]
        outputs = []
        for batch in batches:
            outputs += self._llm.generate(batch, params, use_tqdm=False, lora_request=self._adapter)
        return [_prompt_logprobs(o.prompt_logprobs, ids) for o, ids in zip(outputs, sequences, strict=True)]

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """See ``Engine.load_weights``."""
        reload_weights(self._llm, weights)
        self._llm.reset_prefix_cache()

    def held_rows(self) -> dict[str, Rows]:
        """See ``Engine.held_rows``."""
        return joined(map(rows_from, self._rows_of_workers()))

    def _rows_of_workers(self) -> list[dict[str, list[Any]]]:
        """What each device's worker holds."""
        return list(self._llm.collective_rpc("held_rows"))

    def load_adapter(self, folder: Path) -> None:
        """Puts the low-rank adapters of a folder (peft's format) on top of the weights, in place of earlier ones, if
        ``takes_adapters``. The folder is not read again."""
        from vllm.lora.request import LoRARequest

        before = self._adapter
        number = 1 if before is None else before.lora_int_id + 1
        if before is not None:
            self._llm.llm_engine.remove_lora(before.lora_int_id)
        self._adapter = LoRARequest(f"adapter-{number}", number, str(folder))
        self._llm.llm_engine.add_lora(self._adapter)

    def sleep(self) -> None:
        """Frees weights and KV cache of a GPU; the weights wait in main memory if only adapters will be loaded."""
        if self.sleeps and not self._asleep:
            self._llm.sleep(level=1 if self.takes_adapters else 2)
            self._asleep = {"weights", "kv_cache"}

    def wake(self, memory: Memory) -> None:
        """See ``Engine.wake``."""
        if memory in self._asleep:
            torch.cuda.empty_cache()  # what training, or gathering weights, left in PyTorch's own pool
            self._llm.wake_up(tags=[memory])
            self._asleep.remove(memory)

    def close(self) -> None:
        """Shuts down the engine core, and the process group if vLLM made it, so that another engine can be started."""
        from vllm.distributed import cleanup_dist_env_and_memory

        self._llm.llm_engine.engine_core.shutdown()
        del self._llm
        if self._owns_process_group:
            cleanup_dist_env_and_memory()


def _finish(reason: str | None) -> Finish:
    return "stop" if reason == "stop" else "length"


def _prompt_logprobs(logprobs: Any, token_ids: Sequence[int]) -> list[float]:
    return [entry[token].logprob for entry, token in zip(logprobs[1:], token_ids[1:], strict=True)]


def _sampled_logprobs(logprobs: Any, count: int) -> TokenValues:
    return np.array(logprobs.logprobs, np.float32)[logprobs.start_indices[:count]]
