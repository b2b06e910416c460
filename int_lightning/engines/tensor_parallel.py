"""One vLLM engine over several processes of a fit, each of which holds a part of every weight."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain, count
from typing import Any, TypeVar

import torch.distributed as dist

from int_lightning.engines.base import EngineConfig, room
from int_lightning.engines.vllm import VLLMEngine
from int_lightning.time_limit import MARGIN
from int_lightning.types import Completion, Sampling, UserError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Request:
    number: int
    prompt: list[int]
    sampling: Sampling
    seed: int
    structure: str | None


class TensorParallelEngine(VLLMEngine):
    """The engine of a group of ``engine.tensor_parallel_size`` consecutive ranks.

    vLLM runs in each of them with a scheduler of its own, and they decode in lock-step only if they get the same requests
    in the same order. So the ranks tell one another what they ask for, each decodes all of it, and each returns its own
    completions. All ranks of the group call ``generate``, ``score``, ``load_weights``, ``held_rows`` and ``finish`` together; a
    rank that calls ``step`` calls ``finish`` in the end, and so does one that has nothing to decode.

    Args:
        folder: Model folder.
        config: Sizes and dtype.
        lora_rank: Of the adapters that it will be given; 0 for none.
    """

    def __init__(self, folder: str, config: EngineConfig, lora_rank: int = 0) -> None:
        super().__init__(folder, config, lora_rank)
        wait = timedelta(seconds=config.time_limit + MARGIN)
        self._group, _ = dist.new_subgroups(config.tensor_parallel_size, timeout=wait, backend="gloo")
        self._member = dist.get_rank(self._group)
        self._own_numbers = count()
        self._untold: list[_Request] = []
        self._askers: dict[int, tuple[int, int]] = {}
        self._decoded = hashlib.sha256()

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling, seeds: Sequence[int]) -> list[Completion]:
        """See ``Engine.generate``. The ranks tell one another their requests once, not at every token."""
        numbers = [self.submit(prompt, sampling, seed) for prompt, seed in zip(prompts, seeds, strict=True)]
        self._exchange()
        found: dict[int, Completion] = {}
        while self._askers:
            found.update(self._decode())
        self._exchange()
        return [found[number] for number in numbers]

    def submit(self, prompt: Sequence[int], sampling: Sampling, seed: int, structure: str | None = None) -> int:
        """See ``Engine.submit``."""
        room(len(prompt), sampling, self.max_model_len)
        number = next(self._own_numbers)
        self._untold.append(_Request(number, list(prompt), sampling, seed, structure))
        return number

    def step(self) -> list[tuple[int, Completion]]:
        """See ``Engine.step``. It waits until every rank of the group has called it or ``finish``."""
        self._exchange()
        return self._decode()

    def finish(self) -> None:
        """Decodes for the other ranks of the group, until all of them have called it."""
        while self._exchange(finished=True):
            self._decode()

    def score(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """See ``Engine.score``."""
        everyones = self._gather(list(sequences))
        scores = super().score(list(chain.from_iterable(everyones)))
        before = sum(map(len, everyones[: self._member]))
        return scores[before : before + len(sequences)]

    def _rows_of_workers(self) -> list[dict[str, list[Any]]]:
        """Those of the group's ranks, each of which has one worker."""
        return list(chain.from_iterable(self._gather(super()._rows_of_workers())))

    def _exchange(self, finished: bool = False) -> bool:
        """Submits what the ranks have asked for since the last time; returns whether one of them has not finished.

        Raises:
            UserError: if they have not decoded the same tokens.
        """
        told = self._gather((self._untold, finished, self._decoded.digest()))
        self._untold = []
        if len({decoded for _, _, decoded in told}) > 1:
            raise UserError(
                f"the {len(told)} processes of one engine (engine.tensor_parallel_size) did not sample the same tokens: "
                "start them on devices of one kind, or set it to 1"
            )
        for member, (requests, _, _) in enumerate(told):
            for r in requests:
                self._askers[super().submit(r.prompt, r.sampling, r.seed, r.structure)] = member, r.number
        return not all(done for _, done, _ in told)

    def _decode(self) -> list[tuple[int, Completion]]:
        """One step of vLLM; returns this rank's completions, which alone count as generated."""
        before, own = self.tokens_generated, []
        for number, completion in super().step():
            self._decoded.update(completion.token_ids.tobytes())
            member, asked = self._askers.pop(number)
            if member == self._member:
                own.append((asked, completion))
        self.tokens_generated = before + sum(len(completion.token_ids) for _, completion in own)
        return own

    def _gather(self, given: T) -> list[T]:
        """What each rank of the group gives, in their order."""
        everyones: list[T] = [given] * self._group.size()
        dist.all_gather_object(everyones, given, group=self._group)
        return everyones
