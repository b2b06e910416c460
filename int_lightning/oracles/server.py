"""An oracle behind an OpenAI-compatible chat-completions server: ``vllm serve``, a hosted model, a gateway.

An attempt waits if one of its requests failed after all retries, or the budget was spent: the next run asks about it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from int_lightning.defects import Defect, DefectKind
from int_lightning.oracles.answer_cache import Answer
from int_lightning.oracles.base import Attempt, Oracle
from int_lightning.oracles.chat_client import Budget, ChatClient
from int_lightning.oracles.disguise import Disguise
from int_lightning.oracles.grammar import intervention_tag
from int_lightning.rollout_sampler import RolloutSampler
from int_lightning.types import Problem, Proposal, Provenance, Sampling, UserError, derive_seed

T = TypeVar("T")
NO_SEED = -1
"""In provenance: no seed was sent."""


class ServerOracle(Oracle):
    """Another model, with the reference solution in view, in the conversation of the prompt set (see ``PolicyOracle``).

    Names of control tokens in problems and attempts are sent broken (``<¦|im_end|>``), because the server would read them as
    control tokens.

    Args:
        base_url: Address of the server, for instance ``http://localhost:8000/v1``.
        model: Name of the model as the server knows it.
        proposals: Proposals per attempt (K).
        sampling: How they are drawn. A ``top_k`` of 0 and neutral penalties are sent too, because a vLLM server has others for
            some models; a server that refuses these fields, which are not part of the API, is asked without them.
        concurrency: Requests under way at a time.
        timeout: Seconds a request may take.
        retries: How often a request is repeated after a failure that may pass.
        budget: What a run may spend.
        api_key_env: Name of the environment variable that holds the key; a server without a key needs none.
        answers: JSONL file to which every answer is added as it comes; what it holds is not asked again, however a run ended.
        seeded: Send a seed with each request; some servers refuse the field.
        structured: Have the server decode only a valid intervention between the tags (``structural_tag``, which vLLM has).

    Raises:
        UserError: for arguments out of range, and for an address with more in it than an address.
    """

    name = "server"

    def __init__(
        self,
        base_url: str,
        model: str,
        proposals: int = 4,
        sampling: Sampling = Sampling(max_tokens=16384, temperature=0.7, top_p=0.8),
        concurrency: int = 16,
        timeout: float = 600.0,
        retries: int = 5,
        budget: Budget = Budget(),
        api_key_env: str = "OPENAI_API_KEY",
        answers: str | None = None,
        seeded: bool = True,
        structured: bool = False,
    ) -> None:
        if proposals < 1:
            raise UserError(f"proposals of the server oracle is {proposals}: give at least 1")
        self.proposals = proposals
        self.sampling = sampling
        self.seeded = seeded
        self.structured = structured
        self.client = ChatClient(base_url, model, sampling, concurrency, timeout, retries, budget, api_key_env, answers)

    async def propose(self, attempts: Sequence[Attempt], sampler: RolloutSampler) -> list[list[Proposal]]:
        """See ``Oracle.propose``.

        Raises:
            UserError: if the server refuses the key, the model or a field of the request.
        """
        problems = {a.problem.id: a.problem for a in attempts}
        async with self.client:
            answers = await _together(self._turn_one(p, sampler) for p in problems.values())
            worked = dict(zip(problems, answers, strict=True))
            return await _together(self._turn_two(a, worked[a.problem.id], sampler) for a in attempts)

    async def _turn_one(self, problem: Problem, sampler: RolloutSampler) -> Answer | None:
        disguise = Disguise([problem.problem, problem.solution])
        conversation = sampler.prompts.guide(_disguised(problem, disguise))
        if conversation is None:
            return None
        answer = await self.client.ask(conversation, self._seed(sampler.seed, "guide", problem.id))
        return replace(answer, text=disguise.restored(answer.text))

    async def _turn_two(self, attempt: Attempt, worked: Answer | None, sampler: RolloutSampler) -> list[Proposal]:
        seeds = [self._seed(sampler.seed, "propose", attempt.rollout.id, k) for k in range(self.proposals)]
        said = worked.text if worked else ""
        disguise = Disguise([attempt.problem.problem, attempt.problem.solution, *attempt.steps, said])
        if worked is not None and worked.failure:
            answers = [worked] * len(seeds)
        else:
            steps = [disguise.broken(step) for step in attempt.steps]
            conversation = sampler.prompts.verify(_disguised(attempt.problem, disguise), steps, disguise.broken(said))
            tag = intervention_tag(len(attempt.steps)) if self.structured else None
            answers = await _together(self.client.ask(conversation, seed, tag) for seed in seeds)
        versions = sampler.prompts.versions
        template = "+".join(versions[turn] for turn in ("guide", "verify") if turn in versions)
        return [
            self._record(attempt, k, answer, disguise, template, seed)
            for k, (answer, seed) in enumerate(zip(answers, seeds, strict=True))
        ]

    def _record(
        self, attempt: Attempt, sample: int, answer: Answer, disguise: Disguise, template: str, seed: int | None
    ) -> Proposal:
        provenance = Provenance(
            model=answer.model or self.client.model,
            fingerprint=self.client.base_url,  # no more is known of a server's weights
            engine="server",
            template=template,
            sampling=self.sampling,
            seed=NO_SEED if seed is None else seed,
        )
        record = self.proposal(attempt, sample, disguise.restored(answer.text), provenance, answer.cut)
        # Once more: what was escaped in the answer is plain only now.
        record = replace(record, content=self.client.clean(disguise.restored(record.content)))
        return replace(record, defect=Defect(DefectKind.WAITING, answer.failure)) if answer.failure else record

    def _seed(self, *parts: int | str) -> int | None:
        """31 bits, which every server takes."""
        return derive_seed(*parts) % 2**31 if self.seeded else None


def _disguised(problem: Problem, disguise: Disguise) -> Problem:
    return replace(problem, problem=disguise.broken(problem.problem), solution=disguise.broken(problem.solution))


async def _together(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of coroutines; if one raises, the others are cancelled."""
    tasks = [asyncio.ensure_future(c) for c in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
