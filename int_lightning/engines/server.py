"""A vLLM server as the engine: on other GPUs or another machine, shared by all ranks.

Weights travel through a folder that trainer and server both see: the trainer writes them in shards, and the server loads them
from there. That call is one of vLLM's development endpoints, which need no key: keep the server on a private network.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import openai
import torch
from safetensors.torch import save_file
from torch import Tensor

from int_lightning.engines.address import plain_address
from int_lightning.engines.base import EngineConfig, Memory, generate_by_steps, room
from int_lightning.engines.sampling_fields import sampling_fields
from int_lightning.engines.vllm_weights import EXTENSION, rows_from
from int_lightning.engines.weight_rows import Rows, joined
from int_lightning.model_folder.ends import end_tokens
from int_lightning.model_folder.tokenizer import load_tokenizer
from int_lightning.run_files import written
from int_lightning.scratch import scratch_folder
from int_lightning.types import Completion, EngineName, Finish, Sampling, UserError

KEY = "VLLM_API_KEY"
"""The environment variable with the key, which the server reads too."""

SHARD_BYTES = 2**30
_PROBE = "1+2=3, so 4*5 = 20\n\n\\boxed{7}"
RETRIES = 3
_START = (
    "VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --dtype DTYPE --host 127.0.0.1 --generation-config vllm "
    f"--logprobs-mode processed_logprobs --worker-extension-cls {EXTENSION}"
)


class ServerEngine:
    """The server at ``config.url``. Which weights it serves is unknown until some are loaded.

    Args:
        folder: Model folder, of the architecture that the server was started with.
        config: Address, sizes and limits.

    Raises:
        UserError: if the server does not answer, if its sequences are too short, if it has another tokenizer, or if its log-probs
            are not those of the distribution that it draws from.
    """

    name: EngineName = "server"
    takes_structure = True
    sleeps = False

    def __init__(self, folder: str, config: EngineConfig) -> None:
        self.folder = folder
        self.dtype = config.dtype
        self.max_model_len = config.max_model_len
        self.ends = end_tokens(folder)
        self.tokens_generated = 0
        self._url = plain_address(config.url, "engine.url").removesuffix("/v1")
        self._client = openai.OpenAI(
            base_url=f"{self._url}/v1",
            api_key=os.environ.get(KEY) or "none",
            max_retries=RETRIES,
            timeout=config.time_limit,
        )
        self._weights_folder = config.weights_folder
        self._model = self._served_model()
        self._check_tokenizer()
        self._extension = self._check_options()
        self._numbers = count()
        self._ended: SimpleQueue[tuple[int, Future[Completion]]] = SimpleQueue()
        self._threads = ThreadPoolExecutor(config.max_num_seqs, "int-lightning-server")

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling, seeds: Sequence[int]) -> list[Completion]:
        """See ``Engine.generate``."""
        return generate_by_steps(self, prompts, sampling, seeds)

    def submit(self, prompt: Sequence[int], sampling: Sampling, seed: int, structure: str | None = None) -> int:
        """See ``Engine.submit``."""
        body = {
            "prompt": list(prompt),
            "max_tokens": room(len(prompt), sampling, self.max_model_len),
            **sampling_fields(sampling),
            "min_tokens": 0,
            "stop": [],
            "seed": seed,
            "stop_token_ids": self.ends,
            "ignore_eos": True,
            "logprobs": 1,
            "return_token_ids": True,
        }
        if structure is not None:
            body["structured_outputs"] = {"structural_tag": structure}
        number = next(self._numbers)
        asked = self._threads.submit(self._complete, body)
        asked.add_done_callback(lambda ended: self._ended.put((number, ended)))
        return number

    def step(self) -> list[tuple[int, Completion]]:
        """Waits for one completion; returns it with all others that have ended.

        Raises:
            UserError: if the server refuses a request, ends one early, or is gone.
        """
        ended = [self._ended.get()]
        while not self._ended.empty():
            ended.append(self._ended.get())
        completions = [(number, future.result()) for number, future in ended]
        self.tokens_generated += sum(len(completion.token_ids) for _, completion in completions)
        return completions

    def score(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """See ``Engine.score``."""
        body = {"prompt": [list(ids) for ids in sequences], "max_tokens": 1, "prompt_logprobs": 0}
        choices = self._post("/v1/completions", {**body, "model": self._model})["choices"]
        return [
            [entry[str(token)]["logprob"] for entry, token in zip(c["prompt_logprobs"][1:], ids[1:], strict=True)]
            for c, ids in zip(choices, sequences, strict=True)
        ]

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """See ``Engine.load_weights``. Every rank takes part in gathering a parameter, and the first one writes it.

        Raises:
            UserError: if the server cannot load them.
        """
        first = not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0
        if not first:
            for _ in weights:
                pass
        else:
            with scratch_folder("weights", self._weights_folder) as shards:
                _write_shards(weights, shards)
                loaded = {"method": "reload_weights", "kwargs": {"weights_path": str(shards)}}
                self._post("/collective_rpc", loaded)
            self._post("/reset_prefix_cache", {})
        if torch.distributed.is_initialized():
            torch.distributed.barrier()

    def held_rows(self) -> dict[str, Rows] | None:
        """See ``Engine.held_rows``. The first rank asks for all of them.

        Raises:
            UserError: if the server cannot say.
        """
        if torch.distributed.is_initialized() and torch.distributed.get_rank() > 0:
            return None
        if self._extension != EXTENSION:  # a method that its workers do not have would end the server
            raise UserError(
                f"the server at {self._url} cannot say which weights it holds: start it as `{_START}`, with int-lightning "
                "installed there"
            )
        devices = self._post("/collective_rpc", {"method": "held_rows"})["results"]
        return joined(map(rows_from, devices))

    def sleep(self) -> None:
        """Does nothing: the server's memory is its own."""

    def wake(self, memory: Memory) -> None:
        """Nothing was freed."""

    def close(self) -> None:
        """Ends the connections; the server continues."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _served_model(self) -> str:
        served = self._get("/v1/models")["data"][0]
        if served["max_model_len"] < self.max_model_len:
            raise UserError(
                f"the server at {self._url} takes {served['max_model_len']} tokens, engine.max_model_len is "
                f"{self.max_model_len}: start it with --max-model-len {self.max_model_len}"
            )
        return str(served["id"])

    def _check_tokenizer(self) -> None:
        own = load_tokenizer(self.folder).encode(_PROBE, add_special_tokens=False)
        asked = {"model": self._model, "prompt": _PROBE, "add_special_tokens": False}
        if own != self._post("/tokenize", asked)["tokens"]:
            raise UserError(
                f"the server at {self._url} has another tokenizer than {self.folder}: start it with that folder, or with "
                "one that has the same tokenizer"
            )

    def _check_options(self) -> str:
        """Refuses a server whose log-probs are not those of the distribution that it draws from. Returns the name of its workers'
        extension."""
        config = self._get("/server_info?config_format=json")["vllm_config"]
        if config["model_config"]["logprobs_mode"] != "processed_logprobs":
            raise UserError(
                f"the server at {self._url} gives log-probs of another distribution than it draws from: start it with "
                f"--logprobs-mode processed_logprobs, as `{_START}`"
            )
        return str(config["parallel_config"]["worker_extension_cls"])

    def _complete(self, body: dict[str, Any]) -> Completion:
        choice = self._post("/v1/completions", {**body, "model": self._model})["choices"][0]
        finish: Finish = "stop" if choice["finish_reason"] == "stop" else "length"
        tokens = len(choice["token_ids"])
        if finish == "length" and tokens < body["max_tokens"]:
            raise UserError(
                f"the server at {self._url} ended a completion after {tokens} of {body['max_tokens']} tokens "
                f"({choice['finish_reason']}): start it without a max_new_tokens of its own, as `{_START}`"
            )
        logprobs = np.array(choice["logprobs"]["token_logprobs"], np.float32)
        return Completion(np.array(choice["token_ids"], np.int32), logprobs, finish)

    def _get(self, path: str) -> Any:
        return self._call(lambda: self._client.get(f"{self._url}{path}", cast_to=object), path)

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._call(lambda: self._client.post(f"{self._url}{path}", body=body, cast_to=object), path)

    def _call(self, request: Callable[[], Any], path: str) -> Any:
        try:
            return request()
        except openai.NotFoundError as error:
            raise UserError(
                f"the server at {self._url} has no {path}: start it as `{_START}`, so that weights can be loaded"
            ) from error
        except openai.APIConnectionError as error:
            raise UserError(f"the server at {self._url} does not answer: start it as `{_START}`") from error
        except openai.APIStatusError as error:
            raise UserError(
                f"the server at {self._url} refused {path} ({error.status_code}): {error.message}"
            ) from error


def _write_shards(weights: Iterable[tuple[str, Tensor]], folder: Path) -> None:
    """Writes files of about ``SHARD_BYTES``, so that a second copy of the model is never in memory."""
    shard: dict[str, Tensor] = {}
    number = 0
    for name, value in weights:
        shard[name] = value.detach().to("cpu", copy=True).contiguous()
        if sum(tensor.nbytes for tensor in shard.values()) >= SHARD_BYTES:
            with written(folder):
                save_file(shard, folder / f"model-{number:05d}.safetensors")
            shard, number = {}, number + 1
    if shard:
        with written(folder):
            save_file(shard, folder / f"model-{number:05d}.safetensors")
