"""The portable engine: transformers' forward pass with a KV cache and a random generator for each row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from inspect import signature
from itertools import count

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor
from transformers import PreTrainedModel

from int_lightning.engines.base import NO_STRUCTURE, EngineConfig, Memory, room
from int_lightning.engines.kv_cache import growing_cache
from int_lightning.engines.weight_rows import Rows, by_outputs, rows_of
from int_lightning.model_folder.checkpoint_names import load_stored
from int_lightning.model_folder.ends import end_tokens
from int_lightning.model_folder.weights import load_causal_lm
from int_lightning.types import Completion, EngineName, Finish, Sampling, UserError

SPARSE = 0.75
"""Rows that have ended are dropped once at most this share is live."""


@dataclass(slots=True)
class _Row:
    """A completion that is being decoded."""

    tokens: list[int]
    logprobs: list[float]
    generator: torch.Generator
    limit: int
    live: bool = True

    def take(self, token: int, logprob: float, ends: list[int]) -> None:
        if self.live:
            self.tokens.append(token)
            self.logprobs.append(logprob)
            self.live = token not in ends and len(self.tokens) < self.limit

    def completion(self, ends: list[int]) -> Completion:
        finish: Finish = "stop" if self.tokens[-1] in ends else "length"
        return Completion(np.array(self.tokens, np.int32), np.array(self.logprobs, np.float32), finish)


class TransformersEngine:
    """Decodes ``max_num_seqs`` sequences at a time, padded on the left.

    Args:
        folder: Model folder.
        config: Sizes and dtype.
    """

    name: EngineName = "transformers"
    takes_structure = False
    sleeps = False

    def __init__(self, folder: str, config: EngineConfig) -> None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.folder = folder
        self.config = config
        self.dtype = config.dtype
        self.max_model_len = config.max_model_len
        self.tokens_generated = 0
        self._numbers = count()
        self._queue: dict[int, tuple[Sequence[int], Sampling, int]] = {}
        self._model: PreTrainedModel = load_causal_lm(
            folder, dtype=config.dtype, trust_remote_code=config.trust_remote_code
        )
        self._model.to(device).eval()  # type: ignore[arg-type]
        self._only_last_logits = (
            {"logits_to_keep": 1} if "logits_to_keep" in signature(self._model.forward).parameters else {}
        )
        self.ends = end_tokens(folder)

    @torch.no_grad()
    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling, seeds: Sequence[int]) -> list[Completion]:
        """See ``Engine.generate``."""
        completions: list[Completion | None] = [None] * len(prompts)
        order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
        for start in range(0, len(order), self.config.max_num_seqs):
            rows = order[start : start + self.config.max_num_seqs]
            decoded = self._decode([prompts[i] for i in rows], sampling, [seeds[i] for i in rows])
            for i, completion in zip(rows, decoded, strict=True):
                completions[i] = completion
        done = [c for c in completions if c is not None]
        self.tokens_generated += sum(len(c.token_ids) for c in done)
        return done

    def submit(self, prompt: Sequence[int], sampling: Sampling, seed: int, structure: str | None = None) -> int:
        """See ``Engine.submit``."""
        if structure is not None:
            raise UserError(NO_STRUCTURE)
        room(len(prompt), sampling, self.config.max_model_len)
        number = next(self._numbers)
        self._queue[number] = (prompt, sampling, seed)
        return number

    def step(self) -> list[tuple[int, Completion]]:
        """Decodes as many prompts as fit side by side: the first in the queue, and others with the same sampling."""
        _, sampling, _ = next(iter(self._queue.values()))
        numbers = [n for n, (_, wanted, _) in self._queue.items() if wanted == sampling][: self.config.max_num_seqs]
        prompts, _, seeds = zip(*(self._queue.pop(n) for n in numbers), strict=True)
        return list(zip(numbers, self.generate(prompts, sampling, seeds), strict=True))

    @torch.no_grad()
    def score(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """See ``Engine.score``."""
        scores = []
        for sequence in sequences:
            ids = torch.tensor([list(sequence)], device=self._model.device)
            logprobs = self._model(input_ids=ids).logits[0, :-1].float().log_softmax(-1)
            scores.append(logprobs.gather(-1, ids[0, 1:, None]).squeeze(-1).tolist())
        return scores

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """See ``Engine.load_weights``."""
        load_stored(self._model, weights)

    @torch.no_grad()
    def held_rows(self) -> dict[str, Rows]:
        """See ``Engine.held_rows``."""
        state = self._model.state_dict()
        return {n: rows_of(by_outputs(self._model, n, v), self._model.dtype) for n, v in state.items()}

    def sleep(self) -> None:
        """Does nothing: the weights stay."""

    def wake(self, memory: Memory) -> None:
        """Does nothing: the weights stayed."""

    def close(self) -> None:
        """Nothing outlives the object."""

    def _decode(self, prompts: list[Sequence[int]], sampling: Sampling, seeds: list[int]) -> list[Completion]:
        """Decodes side by side. A prompt that several rows share is read once; see ``SPARSE`` for rows that have ended."""
        device = self._model.device
        rows = [
            _Row([], [], torch.Generator(device).manual_seed(seed), room(len(p), sampling, self.config.max_model_len))
            for p, seed in zip(prompts, seeds, strict=True)
        ]
        side_by_side = rows
        cache = None if self._model._is_stateful else growing_cache(self._model)
        numbers = {prompt: i for i, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
        ids, mask, positions = _left_padded(prompts if cache is None else list(numbers), device)
        while True:
            output = self._model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                **self._only_last_logits,
            )
            cache, logits = output.past_key_values, output.logits[:, -1].float()
            if len(logits) < len(side_by_side):
                of_row = torch.tensor([numbers[tuple(p)] for p in prompts], device=device)
                logits, mask, positions = logits[of_row], mask[of_row], positions[of_row]
                cache.batch_select_indices(of_row)
            logprobs = drawn_from(logits, sampling)
            chosen = logprobs.argmax(-1) if sampling.temperature == 0 else _draw(logprobs, side_by_side)
            picked = logprobs.gather(-1, chosen[:, None]).squeeze(-1)
            for row, token, logprob in zip(side_by_side, chosen.tolist(), picked.tolist(), strict=True):
                row.take(token, logprob, self.ends)
            live = [i for i, row in enumerate(side_by_side) if row.live]
            if not live:
                return [row.completion(self.ends) for row in rows]
            ids, positions = chosen[:, None], positions[:, -1:] + 1
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], -1)
            if not self._model._is_stateful and len(live) <= SPARSE * len(side_by_side):
                kept = torch.tensor(live, device=device)
                side_by_side = [side_by_side[i] for i in live]
                ids, positions, mask = ids[kept], positions[kept], mask[kept]
                cache.batch_select_indices(kept)


def _left_padded(
    prompts: Sequence[Sequence[int]], device: torch.device
) -> tuple[Int64[Tensor, "B T"], Int64[Tensor, "B T"], Int64[Tensor, "B T"]]:
    """Token ids, attention mask and positions."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + list(p) for p in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=device)
    return ids, mask, (mask.cumsum(-1) - 1).clamp(min=0)


def drawn_from(logits: Float32[Tensor, "B V"], sampling: Sampling) -> Float32[Tensor, "B V"]:
    """Log-probs of the distributions that tokens are drawn from: of logits / temperature, -inf for tokens that top_k, and then
    top_p, leave out. At temperature 0 those of the logits themselves."""
    if sampling.temperature == 0:
        return logits.log_softmax(-1)
    logprobs = (logits / sampling.temperature).log_softmax(-1)
    if 0 < sampling.top_k < logprobs.shape[-1]:
        smallest = logprobs.topk(sampling.top_k).values[:, -1:]
        logprobs = logprobs.masked_fill(logprobs < smallest, -torch.inf).log_softmax(-1)
    if sampling.top_p < 1:
        ordered, order = logprobs.exp().sort(descending=True)
        beyond = ordered.cumsum(-1) - ordered >= sampling.top_p
        outside = torch.zeros_like(beyond).scatter(-1, order, beyond)
        logprobs = logprobs.masked_fill(outside, -torch.inf).log_softmax(-1)
    return logprobs


def _draw(logprobs: Float32[Tensor, "B V"], rows: Sequence[_Row]) -> Int64[Tensor, " B"]:
    """One token for each row. The smallest of V exponential times with rates p_v is that of v with probability p_v, so that each
    row needs its own generator only."""
    race = torch.ones_like(logprobs)
    for numbers, row in zip(race, rows, strict=True):
        if row.live:
            numbers.exponential_(generator=row.generator)
    return (logprobs.exp() / race).argmax(-1)
