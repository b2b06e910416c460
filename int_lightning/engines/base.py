"""What an engine is: token-id prompts in, completions with token ids and log-probs out; weights loaded and verified."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import TIMEOUT_MAX
from typing import Literal, Protocol

from torch import Tensor

from int_lightning.engines.weight_rows import Rows
from int_lightning.types import Completion, EngineName, Sampling, UserError

Dtype = Literal["float32", "bfloat16"]
EngineChoice = Literal["auto", "vllm", "transformers", "server"]
Memory = Literal["weights", "kv_cache"]

NO_STRUCTURE = (
    "structured decoding needs vLLM, and this is the transformers engine: install the extra `cpu` or `gpu` and use "
    "engine.name `vllm` or `auto`, or set the oracle's `structured` to false"
)


@dataclass(frozen=True)
class EngineConfig:
    """How to start an engine.

    Args:
        name: ``auto`` takes vLLM where it can be imported and transformers elsewhere, and says so; ``server`` is a vLLM server
            that is already running.
        url: Address of that server, such as http://127.0.0.1:8000; its key is in the environment as VLLM_API_KEY.
        weights_folder: Where weights are left for that server, a folder that both see; None is the temporary folder.
        dtype: Of the engine's weights.
        max_model_len: Longest sequence, prompt and completion together, in tokens.
        max_num_seqs: Sequences decoded side by side.
        threads: CPU threads of the process, training included; 0 leaves PyTorch's choice. Tiny models are faster on one.
        kv_cache_gib: Memory for the KV cache on a CPU, in GiB.
        gpu_memory_utilization: Share of a GPU's memory.
        sleep_while_training: Free the GPU memory of weights and KV cache while a fit trains. Only vLLM on a GPU can; a fit with
            another engine says so and keeps it.
        tensor_parallel_size: Devices that one engine spans, with vLLM in this process. In a fit they are those of as many
            consecutive processes, which decode together; the number of processes is a multiple of it.
        trust_remote_code: Whether a model folder may bring its own code.
        time_limit: Seconds that one call of the engine, one exchange between processes or one optimiser step of a fit may take.
            One that takes longer is named and ends the process.
    """

    name: EngineChoice = "auto"
    url: str = "http://127.0.0.1:8000"
    weights_folder: str | None = None
    dtype: Dtype = "float32"
    max_model_len: int = 4096
    max_num_seqs: int = 256
    threads: int = 0
    kv_cache_gib: int = 1
    gpu_memory_utilization: float = 0.45
    sleep_while_training: bool = False
    tensor_parallel_size: int = 1
    trust_remote_code: bool = False
    time_limit: float = 3600.0

    def __post_init__(self) -> None:
        for name in ("max_model_len", "max_num_seqs", "kv_cache_gib", "tensor_parallel_size"):
            if getattr(self, name) < 1:
                raise UserError(f"engine.{name} is {getattr(self, name)}: give at least 1")
        check_spans(self.name, self.tensor_parallel_size)
        if self.threads < 0:
            raise UserError(f"engine.threads is {self.threads}: give a number of threads, or 0 for PyTorch's choice")
        if not 0 < self.gpu_memory_utilization <= 1:
            raise UserError(
                f"engine.gpu_memory_utilization is {self.gpu_memory_utilization}: give a share above 0 and not above 1"
            )
        if not 0 < self.time_limit <= TIMEOUT_MAX:
            raise UserError(f"engine.time_limit is {self.time_limit:g}: give seconds above 0")


def check_spans(name: EngineChoice, tensor_parallel_size: int) -> None:
    """Refuses more than one device for an engine that does not span several.

    Raises:
        UserError: with what to set.
    """
    if tensor_parallel_size == 1 or name in ("auto", "vllm"):
        return
    remedy = "set engine.name to vllm, or tensor_parallel_size to 1"
    if name == "server":
        remedy = f"start the server with --tensor-parallel-size {tensor_parallel_size}, and set it to 1 here"
    raise UserError(
        f"engine.tensor_parallel_size is {tensor_parallel_size}, which engine.name {name} would ignore: {remedy}"
    )


class Engine(Protocol):
    """Generates for the trainer. ``takes_structure`` says whether ``submit`` takes one, and ``sleeps`` whether ``sleep`` frees
    memory. A completion ends at any token of ``ends``, and at no other."""

    name: EngineName
    folder: str
    dtype: Dtype
    max_model_len: int
    tokens_generated: int
    takes_structure: bool
    sleeps: bool
    ends: list[int]

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling, seeds: Sequence[int]) -> list[Completion]:
        """One completion for each prompt, in order, each drawn with its own seed. Log-probs are those of the distribution that
        tokens were drawn from; see ``Completion``.

        Raises:
            UserError: if a prompt leaves no room for a completion in the context.
        """
        ...

    def submit(self, prompt: Sequence[int], sampling: Sampling, seed: int, structure: str | None = None) -> int:
        """Queues one prompt, which ``step`` decodes beside the others; returns its number.

        Args:
            structure: A structural tag, as JSON, that the completion follows: tokens that would break it are never drawn,
                and log-probs are relative to the tokens that remain.

        Raises:
            UserError: if the prompt leaves no room for a completion in the context, and for a structure on an engine that
                does not take them.
        """
        ...

    def step(self) -> list[tuple[int, Completion]]:
        """Decodes the queue a little further and returns the completions that ended, each with its number."""
        ...

    def score(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """Log-probs of tokens 1 .. T-1 of each sequence, given the tokens before them, at temperature 1 and not truncated."""
        ...

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Replaces the weights and forgets every cached prefix.

        Args:
            weights: Named as in a checkpoint, which is what ``named_weights`` and ``weights_of_folder`` give. Those of a
                layer come one after the other, so that an engine can load layer by layer.

        Raises:
            UserError: for a tensor that the engine's model does not have.
        """
        ...

    def held_rows(self) -> dict[str, Rows] | None:
        """The rows of all weights and adapters that it computes with, by transformers' names as far as they are known; None if
        another rank gets those of the engine that this one shares. Every rank calls it."""
        ...

    def sleep(self) -> None:
        """Frees memory for training, if it ``sleeps``."""
        ...

    def wake(self, memory: Memory) -> None:
        """Reclaims part of the memory, if it is asleep: first that of the weights, which are then loaded, and when they are there
        that of the KV cache, so that the two and what loading takes are never needed together."""
        ...

    def close(self) -> None:
        """Ends the engine."""
        ...


def generate_by_steps(
    engine: Engine, prompts: Sequence[Sequence[int]], sampling: Sampling, seeds: Sequence[int]
) -> list[Completion]:
    """``Engine.generate`` by way of ``submit`` and ``step``. Completions of prompts submitted earlier are dropped."""
    for prompt in prompts:
        room(len(prompt), sampling, engine.max_model_len)
    numbers = [engine.submit(prompt, sampling, seed) for prompt, seed in zip(prompts, seeds, strict=True)]
    found: dict[int, Completion] = {}
    while len(found) < len(numbers):
        found.update((number, completion) for number, completion in engine.step() if number >= numbers[0])
    return [found[number] for number in numbers]


def room(prompt_tokens: int, sampling: Sampling, max_model_len: int) -> int:
    """The number of tokens that a completion may have.

    Raises:
        UserError: if the prompt fills the context.
    """
    left = max_model_len - prompt_tokens
    if left < 1:
        raise UserError(
            f"a prompt of {prompt_tokens} tokens leaves no room in engine.max_model_len = {max_model_len}: raise it"
        )
    return min(sampling.max_tokens, left)
