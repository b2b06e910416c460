"""The policy itself as the oracle, with the reference solution in view."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from int_lightning.defects import Defect, DefectKind
from int_lightning.engines.base import NO_STRUCTURE
from int_lightning.model_folder.control_tokens import control_tokens
from int_lightning.oracles.base import Attempt, Oracle
from int_lightning.oracles.grammar import intervention_tag
from int_lightning.prompts.chat import encode_chat
from int_lightning.rollout_sampler import RolloutSampler
from int_lightning.steps import decode
from int_lightning.types import Proposal, Sampling, UserError, derive_seed

ROOM = 512
"""Tokens that a conversation must leave in the context for the oracle's answer, unless its limit is lower."""


class _TurnOne(NamedTuple):
    """What the policy was asked about a problem, and its answer without the end token."""

    asked: list[int]
    answer: list[int]
    text: str


class PolicyOracle(Oracle):
    """The policy in training, with the reference solution in view (the paper's self-proposed interventions).

    Where the prompt set has a ``guide`` template the conversation has two turns; turn 1 depends on the problem alone and is
    generated once for all its attempts.

    Args:
        proposals: Proposals per attempt (K).
        sampling: How they are drawn.
        structured: Have the engine, which must be vLLM, decode only a valid intervention between the tags.
    """

    name = "policy"

    def __init__(
        self,
        proposals: int = 4,
        sampling: Sampling = Sampling(max_tokens=16384, temperature=0.7, top_p=0.8, top_k=20),
        structured: bool = False,
    ) -> None:
        if proposals < 1:
            raise UserError(f"oracle.proposals is {proposals}: give at least 1")
        self.proposals = proposals
        self.sampling = sampling
        self.structured = structured

    async def propose(self, attempts: Sequence[Attempt], sampler: RolloutSampler) -> list[list[Proposal]]:
        """See ``Oracle.propose``.

        Raises:
            UserError: before anything is sampled, if structured decoding was asked for and the engine has none.
        """
        if self.structured and not sampler.engine.takes_structure:
            raise UserError(NO_STRUCTURE)
        worked = await self._turn_one(attempts, sampler)
        prompts = {a.rollout.id: _turn_two(a, worked.get(a.problem.id), sampler) for a in attempts}
        longest = sampler.engine.max_model_len - min(self.sampling.max_tokens, ROOM)
        fitting = [a for a in attempts if len(prompts[a.rollout.id]) <= longest]
        items = list(product(fitting, range(self.proposals)))
        seeds = [derive_seed(sampler.seed, "propose", a.rollout.id, k) for a, k in items]
        structures = [self._structure(a) for a, _ in items]
        completions = await sampler.loop.generate(
            [prompts[a.rollout.id] for a, _ in items], self.sampling, seeds, structures
        )
        records: dict[str, list[Proposal]] = {a.rollout.id: [] for a in attempts}
        for (a, k), completion, seed in zip(items, completions, seeds, strict=True):
            text, cut = decode(sampler.tokenizer, completion.token_ids.tolist()), completion.finish == "length"
            provenance = sampler.provenance("verify", self.sampling, seed)
            records[a.rollout.id].append(self.proposal(a, k, text, provenance, cut))
        return [records[a.rollout.id] or [self._too_long(a, len(prompts[a.rollout.id]), longest)] for a in attempts]

    def _structure(self, attempt: Attempt) -> str | None:
        return json.dumps(intervention_tag(len(attempt.steps))) if self.structured else None

    def _too_long(self, attempt: Attempt, tokens: int, longest: int) -> Proposal:
        defect = Defect(DefectKind.TOO_LONG, f"{tokens} tokens, {longest} fit")
        return replace(self.proposal(attempt, 0, ""), defect=defect)

    async def _turn_one(self, attempts: Sequence[Attempt], sampler: RolloutSampler) -> dict[str, _TurnOne]:
        problems = list({a.problem.id: a.problem for a in attempts}.values())
        conversations = [(p, sampler.prompts.guide(p)) for p in problems]
        asked = [(p, encode_chat(sampler.tokenizer, c)) for p, c in conversations if c is not None]
        asked = [(p, ids) for p, ids in asked if len(ids) < sampler.engine.max_model_len]
        seeds = [derive_seed(sampler.seed, "guide", p.id) for p, _ in asked]
        completions = await sampler.loop.generate([ids for _, ids in asked], self.sampling, seeds)
        worked = {}
        for (problem, ids), completion in zip(asked, completions, strict=True):
            answer = completion.token_ids.tolist()
            if completion.finish == "stop":
                answer.pop()
            worked[problem.id] = _TurnOne(ids, answer, decode(sampler.tokenizer, answer))
        return worked


def _turn_two(attempt: Attempt, one: _TurnOne | None, sampler: RolloutSampler) -> list[int]:
    """Token ids of the conversation that shows the attempt. Those of turn 1 are the sampled ones, which the engine finds in its
    prefix cache, unless the chat template renders turn 1 differently."""
    tokenizer = sampler.tokenizer
    whole = encode_chat(tokenizer, sampler.prompts.verify(attempt.problem, attempt.steps, one.text if one else None))
    if one is None:
        return whole
    shown = [*one.asked, *one.answer]
    text = _exact(tokenizer, shown)
    after = bisect_left(range(len(whole)), len(text), key=lambda n: len(_exact(tokenizer, whole[:n])))
    same = _exact(tokenizer, whole[:after]) == text and control_tokens(tokenizer).of_turns.isdisjoint(one.answer)
    return [*shown, *whole[after:]] if same else whole


def _exact(tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[int]) -> str:
    """The text of tokens, special ones included."""
    return str(tokenizer.decode(list(token_ids), clean_up_tokenization_spaces=False))
