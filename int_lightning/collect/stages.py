"""One problem through all stages of the method, as a coroutine beside those of other problems.

1. Rollouts in growing waves until one is right: the problem is then not hard, and done.
2. Wrong attempts, cut into steps.
3. An oracle names the first wrong step and proposes one to put in its place.
4. An intervention that gives the answer away is dropped; one is kept for each (problem, attempt).
5. Guided rollouts from prefix + intervention; it is accepted if at least one is right. Rollouts from the prefix alone and from
   the bare problem are drawn beside them, so that the conditioning table comes out of the same run.
6. Where asked for, the policy says what kind of error each checked intervention replaces, and rewrites the attempts as a whole.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from int_lightning.collect.categories import TEMPLATE, ErrorCategory, error_categories
from int_lightning.collect.config import CollectConfig
from int_lightning.collect.leakage import find_leaks
from int_lightning.oracles.base import Attempt, Oracle, is_waiting
from int_lightning.oracles.policy import PolicyOracle
from int_lightning.prompts.chat import encode_text
from int_lightning.rollout_sampler import Continuation, RolloutSampler
from int_lightning.steps import SEPARATORS, Cut, cuts, decode, split_steps
from int_lightning.types import Intervention, Outcome, Problem, Proposal, Rollout, UserError


@dataclass
class Work:
    """Records of one problem. ``stored`` counts those of each kind that an earlier run stored, whose oracle had no answer
    yet."""

    problem: Problem
    attempts: list[Rollout] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)
    interventions: list[Intervention] = field(default_factory=list)
    guided: list[Rollout] = field(default_factory=list)
    from_prefix: list[Rollout] = field(default_factory=list)
    naive: list[Rollout] = field(default_factory=list)
    categories: list[ErrorCategory] = field(default_factory=list)
    refined: list[Rollout] = field(default_factory=list)
    waiting: bool = False
    stored: Counter[str] = field(default_factory=Counter)

    @property
    def outcome(self) -> Outcome:
        """The problem's counts."""
        rollouts = [*self.attempts, *self.guided, *self.from_prefix, *self.naive, *self.refined]
        hard = not any(a.correct for a in self.attempts)
        return Outcome(
            problem_id=self.problem.id,
            source=self.problem.source,
            status="waiting" if self.waiting else "hard" if hard else "solved",
            attempts=len(self.attempts),
            correct=sum(a.correct for a in self.attempts),
            tokens=sum(len(r.token_ids) for r in rollouts),
            proposals=len(self.proposals),
            accepted=sum(not i.rejected for i in self.interventions),
            naive_correct=sum(r.correct for r in self.naive),
            naive_total=len(self.naive),
        )


class ProblemStages:
    """The stages of a problem.

    Args:
        sampler: Of the base policy.
        oracle: Proposes interventions.
        config: Sizes.
        attempts: Rollouts per problem for the hard filter, of sources that have their own number.

    Raises:
        UserError: if the categories of errors are asked for and the prompt set has no template for the question.
    """

    def __init__(
        self, sampler: RolloutSampler, oracle: Oracle, config: CollectConfig, attempts: Mapping[str, int] | None = None
    ) -> None:
        self.sampler = sampler
        self.oracle = oracle
        self.config = config
        self.attempts = attempts or {}
        if isinstance(oracle, PolicyOracle) and "verify" not in sampler.prompts.templates:
            raise UserError(
                f"{sampler.prompts.folder} has no verify.txt, which the policy needs to propose: add it or use another oracle"
            )
        asked_for = {"categories": (config.categories, TEMPLATE), "refined": (config.refined, "refine")}
        for name, (wanted, template) in asked_for.items():
            if wanted and template not in sampler.prompts.templates:
                raise UserError(
                    f"collection.{name}: {sampler.prompts.folder} has no {template}.txt, with which the policy is asked: add it, "
                    "or leave this out"
                )

    async def run(self, problem: Problem, earlier: Work | None = None) -> Work:
        """Everything that is still to be done for a problem. ``earlier`` is what was done when its oracle had no answer yet;
        the result then holds that too."""
        work = earlier or Work(problem, attempts=await self._attempts(problem))
        if any(a.correct for a in work.attempts):
            return work
        asked = {p.rollout_id for p in work.proposals}
        attempts = [self._attempt(problem, r) for r in work.attempts[: self.config.attempts_per_problem]]
        attempts = [a for a in attempts if a.rollout.id not in asked]
        proposals = await self._proposals(attempts)
        answered = [(a, ps) for a, ps in zip(attempts, proposals, strict=True) if not any(map(is_waiting, ps))]
        work.waiting = len(answered) < len(attempts)
        work.proposals += [p for _, ps in answered for p in ps]
        interventions = await self._interventions(work, answered)
        if self.config.categories:
            asked_about = {a.rollout.id: a for a, _ in answered}
            checked = [(asked_about[i.rollout_id], i) for i in interventions if i.guided_total]
            work.categories += await error_categories(checked, self.sampler)
        work.refined += await self._refined([a for a, _ in answered])
        if self.config.conditioning and not work.naive and any(i.guided_total for i in work.interventions):
            start = Continuation(problem, [], "")
            work.naive = await self.sampler.draw(start, range(self.config.guided), self.config.sampling, "naive")
        return work

    async def _attempts(self, problem: Problem) -> list[Rollout]:
        start, attempts = Continuation(problem, [], ""), list[Rollout]()
        total = self.attempts.get(problem.source, self.config.attempts)
        for wave in waves(self.config.first_wave, total):
            attempts += await self.sampler.draw(start, wave, self.config.sampling, "attempt")
            if any(a.correct for a in attempts):
                break
        return attempts

    async def _refined(self, attempts: Sequence[Attempt]) -> list[Rollout]:
        """The policy's rewritings of attempts."""
        starts = [Continuation(a.problem, [], a.rollout.id, a.rollout.text) for a in attempts]
        drawn = (self.sampler.draw(s, range(self.config.refined), self.config.sampling, "refined") for s in starts)
        return [rollout for rollouts in await asyncio.gather(*drawn) for rollout in rollouts]

    def _attempt(self, problem: Problem, rollout: Rollout) -> Attempt:
        return Attempt(problem, rollout, split_steps(rollout.text, self.config.segmentation))

    async def _proposals(self, attempts: Sequence[Attempt]) -> list[list[Proposal]]:
        """For each attempt; one that cannot be taken to an oracle gets a record that says why."""
        defects = [attempt_defect(a) for a in attempts]
        asked = [a for a, defect in zip(attempts, defects, strict=True) if not defect]
        answers = iter(await self.oracle.propose(asked, self.sampler) if asked else [])
        return [
            [replace(self.oracle.proposal(a, 0, ""), defect=defect)] if defect else next(answers)
            for a, defect in zip(attempts, defects, strict=True)
        ]

    async def _interventions(
        self, work: Work, answered: Sequence[tuple[Attempt, Sequence[Proposal]]]
    ) -> list[Intervention]:
        """The interventions of these attempts, checked, which are added to the work with their rollouts."""
        problem = work.problem
        usable = [(p.content, problem.problem, problem.answer) for _, ps in answered for p in ps if not p.defect]
        leaks = iter(await asyncio.to_thread(find_leaks, usable, self.config.leakage, self.sampler.grader))
        found: list[Intervention] = []
        for attempt, proposals in answered:
            kept, positions = 0, cuts(attempt.steps, attempt.rollout.token_ids.tolist(), self.sampler.tokenizer)
            for proposal in proposals:
                rejected = proposal.defect
                if not rejected and (leak := next(leaks)).leaked:
                    rejected = f"it gives the final answer away: {leak.matched!r} ({leak.policy})"
                if not rejected and kept == self.config.kept_per_attempt:
                    rejected = "another intervention of this attempt was kept"
                kept += not rejected
                cut = positions[proposal.location] if proposal.location >= 0 else None
                found.append(self._intervention(attempt, proposal, cut, rejected))
        checked = await asyncio.gather(*(self._guided(problem, i) for i in found if not i.rejected))
        for _, guided, from_prefix in checked:
            work.guided += guided
            work.from_prefix += from_prefix
        by_id = {i.id: i for i, _, _ in checked}
        interventions = [by_id.get(i.id, i) for i in found]
        work.interventions += interventions
        return interventions

    def _intervention(self, attempt: Attempt, proposal: Proposal, cut: Cut | None, rejected: str) -> Intervention:
        prefix_ids, exact, intervention_ids = [], True, []
        if cut is not None:
            prefix_ids, exact = attempt.rollout.token_ids[: cut.tokens].tolist(), cut.exact
            step = proposal.content + SEPARATORS[self.config.segmentation]
            intervention_ids = encode_text(self.sampler.tokenizer, step)
            if not rejected and decode(self.sampler.tokenizer, intervention_ids).strip() != step.strip():
                rejected = "the tokenizer cannot say it: it holds special tokens or unknown characters"
        length = len(attempt.rollout.prompt_ids) + len(prefix_ids) + len(intervention_ids)
        if not rejected and length >= self.sampler.engine.max_model_len:
            rejected = f"no room is left to go on: {length} tokens with prefix and intervention"
        return Intervention(
            id=f"{proposal.id}/intervention",
            problem_id=attempt.problem.id,
            rollout_id=attempt.rollout.id,
            proposal_id=proposal.id,
            location=proposal.location,
            steps=len(attempt.steps),
            content=proposal.content,
            prompt_ids=attempt.rollout.prompt_ids.tolist(),
            prefix_ids=prefix_ids,
            intervention_ids=intervention_ids,
            exact=exact,
            rejected=rejected,
        )

    async def _guided(
        self, problem: Problem, intervention: Intervention
    ) -> tuple[Intervention, list[Rollout], list[Rollout]]:
        with_it = Continuation(problem, intervention.prefix_ids + intervention.intervention_ids, intervention.id)
        without = Continuation(problem, intervention.prefix_ids, intervention.id)
        count = self.config.guided if self.config.conditioning else 0
        guided, prefix = await asyncio.gather(
            self._guided_rollouts(with_it),
            self.sampler.draw(without, range(count), self.config.sampling, "from_prefix"),
        )
        correct = sum(r.correct for r in guided)
        checked = replace(
            intervention,
            rejected="" if correct or not self.config.correctness_filter else "no guided rollout was right",
            guided_correct=correct,
            guided_total=len(guided),
            prefix_correct=sum(r.correct for r in prefix),
            prefix_total=len(prefix),
        )
        return checked, guided, prefix

    async def _guided_rollouts(self, start: Continuation) -> list[Rollout]:
        first = self.config.first_wave if self.config.guided_until_success else self.config.guided
        rollouts: list[Rollout] = []
        for wave in waves(first, self.config.guided):
            rollouts += await self.sampler.draw(start, wave, self.config.sampling, "with_intervention")
            if any(r.correct for r in rollouts):
                break
        return rollouts


def attempt_defect(attempt: Attempt) -> str:
    """Why an attempt cannot be taken to an oracle, "" if it can."""
    if not attempt.problem.solution.strip():
        return "the problem has no reference solution to compare it with"
    if len(attempt.steps) < 2:
        return "the attempt has one step only: nothing of it would be kept"
    if attempt.rollout.text.strip() == attempt.problem.solution.strip():
        return "the attempt equals the reference solution but was graded wrong: check the problem's answer"
    return ""


def waves(first: int, total: int) -> Iterator[range]:
    """Sample numbers wave by wave: ``first`` of them, then each time as many as before, up to ``total``."""
    start = 0
    while start < total:
        stop = min(total, 2 * start or first)
        yield range(start, stop)
        start = stop
