"""One problem through all stages of the method, as a coroutine beside those of other problems.

1. Rollouts in growing waves until one is right: the problem is then not hard, and done.
2. Wrong attempts are cut into steps.
3. An oracle names the first wrong step and proposes one to put in its place.
4. An intervention that gives the answer away is dropped; one is kept for each (problem, attempt).
5. Guided rollouts from prefix + intervention; the intervention is accepted if at least one is right. Rollouts from the prefix
   alone and from the bare problem are drawn too, so that the conditioning table comes from the same run.
6. If asked for, the policy says what kind of error each checked intervention replaces, and rewrites the attempts as a whole.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from itertools import chain

from int_lightning.collect.categories import TEMPLATE, ErrorCategory, error_categories
from int_lightning.collect.config import CollectConfig
from int_lightning.collect.leakage import Leak, find_leaks
from int_lightning.collect.refining import TEMPLATE as REFINE
from int_lightning.collect.refining import Unrefined, refine
from int_lightning.defects import Defect, DefectKind
from int_lightning.oracles.base import Attempt, Oracle, check_proposals, is_too_long, is_waiting
from int_lightning.oracles.policy import PolicyOracle
from int_lightning.prompts.chat import encode_text
from int_lightning.rollout_sampler import Continuation, RolloutSampler
from int_lightning.steps import SEPARATORS, Cut, cuts, decode, split_steps
from int_lightning.types import Intervention, Outcome, Problem, Proposal, Rollout, Status, UserError


@dataclass
class Work:
    """Records of one problem. If an earlier run had to stop at an oracle without an answer, ``stored`` counts, by table, the
    records that it stored."""

    problem: Problem
    attempts: list[Rollout] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)
    interventions: list[Intervention] = field(default_factory=list)
    guided: list[Rollout] = field(default_factory=list)
    from_prefix: list[Rollout] = field(default_factory=list)
    naive: list[Rollout] = field(default_factory=list)
    categories: list[ErrorCategory] = field(default_factory=list)
    refined: list[Rollout] = field(default_factory=list)
    unrefined: list[Unrefined] = field(default_factory=list)
    waiting: bool = False
    stored: Counter[str] = field(default_factory=Counter)

    @property
    def _status(self) -> Status:
        if self.waiting:
            return "waiting"
        return "solved" if any(a.correct for a in self.attempts) else "hard"

    @property
    def outcome(self) -> Outcome:
        """The problem's counts."""
        rollouts = [*self.attempts, *self.guided, *self.from_prefix, *self.naive, *self.refined]
        return Outcome(
            problem_id=self.problem.id,
            source=self.problem.source,
            status=self._status,
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
        attempts: Rollouts per problem for the hard filter, by source, for sources that have their own number.

    Raises:
        UserError: if the prompt set lacks the template of something that the policy is to be asked.
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
        asked_for = {"categories": (config.categories, TEMPLATE), "refined": (config.refined, REFINE)}
        for name, (wanted, template) in asked_for.items():
            if wanted and template not in sampler.prompts.templates:
                raise UserError(
                    f"collection.{name}: {sampler.prompts.folder} has no {template}.txt, with which the policy is asked: add it, "
                    "or leave this out"
                )

    async def run(self, problem: Problem, earlier: Work | None = None) -> Work:
        """Everything that is still to be done for a problem. ``earlier`` is what a run did whose oracle had no answer yet; the
        result then includes that."""
        work = earlier or Work(problem, attempts=await self._attempts(problem))
        if any(a.correct for a in work.attempts):
            return work
        answers = await self._answers(work)
        answered = [(a, ps) for a, ps in answers if not any(map(is_waiting, ps))]
        work.waiting = len(answered) < len(answers)
        for _, said in answered:
            work.proposals += said
        interventions = await self._interventions(work, answered)
        if self.config.categories:
            asked_about = {a.rollout.id: a for a, _ in answered}
            checked = [(asked_about[i.rollout_id], i) for i in interventions if i.guided_total]
            work.categories += await error_categories(checked, self.sampler)
        if self.config.refined:
            asked = [a for a, _ in answered]
            rewritten, too_long = await refine(asked, range(self.config.refined), self.config.sampling, self.sampler)
            work.refined += rewritten
            work.unrefined += too_long
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

    async def _answers(self, work: Work) -> list[tuple[Attempt, list[Proposal]]]:
        """The attempts that are still to be taken to the oracle, each with the proposals for it."""
        answers: list[tuple[Attempt, list[Proposal]]] = []
        asked = {p.rollout_id for p in work.proposals}
        too_long = {p.rollout_id for p in work.proposals if is_too_long(p)}
        while rollouts := [r for r in self._chosen(work.attempts, too_long) if r.id not in asked]:
            attempts = [self._attempt(work.problem, r) for r in rollouts]
            proposals = await self._proposals(attempts)
            answers += zip(attempts, proposals, strict=True)
            asked |= {r.id for r in rollouts}
            too_long |= {p.rollout_id for p in chain.from_iterable(proposals) if is_too_long(p)}
        return answers

    def _chosen(self, attempts: Sequence[Rollout], too_long: Set[str]) -> list[Rollout]:
        """The first attempts, and in place of each that was found too long for the context, the shortest of the others."""
        count = self.config.attempts_per_problem
        lengths = [len(r.token_ids) for r in attempts[:count] if r.id in too_long]
        shorter = [r for r in attempts[count:] if len(r.token_ids) < min(lengths, default=0)]
        return [*attempts[:count], *sorted(shorter, key=lambda r: len(r.token_ids))[: len(lengths)]]

    def _attempt(self, problem: Problem, rollout: Rollout) -> Attempt:
        return Attempt(problem, rollout, split_steps(rollout.text, self.config.segmentation))

    async def _proposals(self, attempts: Sequence[Attempt]) -> list[list[Proposal]]:
        """The proposals for each attempt; one that cannot be taken to an oracle gets a record that says why."""
        defects = {a.rollout.id: attempt_defect(a) for a in attempts}
        asked = [a for a in attempts if defects[a.rollout.id] is None]
        answers = await self.oracle.propose(asked, self.sampler) if asked else []
        check_proposals(self.oracle, asked, answers)
        proposals = {a.rollout.id: said for a, said in zip(asked, answers, strict=True)}
        for a in attempts:
            if defect := defects[a.rollout.id]:
                proposals[a.rollout.id] = [replace(self.oracle.proposal(a, 0, ""), defect=defect)]
        return [proposals[a.rollout.id] for a in attempts]

    async def _interventions(
        self, work: Work, answered: Sequence[tuple[Attempt, Sequence[Proposal]]]
    ) -> list[Intervention]:
        """The interventions of these attempts, checked, and added to the work with their rollouts."""
        proposed = chain.from_iterable(proposals for _, proposals in answered)
        leaks = await self._leaks(work.problem, [p for p in proposed if p.defect is None])
        found: list[Intervention] = []
        for attempt, proposals in answered:
            kept, positions = 0, cuts(attempt.steps, attempt.rollout.token_ids.tolist(), self.sampler.tokenizer)
            for proposal in proposals:
                cut = positions[proposal.location] if proposal.location >= 0 else None
                rejected = proposal.defect or leaks[proposal.id]
                intervention = self._intervention(attempt, proposal, cut, rejected)
                if not intervention.rejected and kept == self.config.kept_per_attempt:
                    intervention = replace(intervention, rejected=Defect(DefectKind.NOT_KEPT))
                kept += not intervention.rejected
                found.append(intervention)
        checked = await asyncio.gather(*(self._guided(work.problem, i) for i in found if not i.rejected))
        for _, guided, from_prefix in checked:
            work.guided += guided
            work.from_prefix += from_prefix
        by_id = {i.id: i for i, _, _ in checked}
        interventions = [by_id.get(i.id, i) for i in found]
        work.interventions += interventions
        return interventions

    async def _leaks(self, problem: Problem, proposals: Sequence[Proposal]) -> dict[str, Defect | None]:
        """For each proposal, by id: what in it gives the final answer away."""
        contents = [(p.content, problem.problem, problem.answer) for p in proposals]
        leaks = await asyncio.to_thread(find_leaks, contents, self.config.leakage, self.sampler.grader)
        return {p.id: leak_defect(leak) for p, leak in zip(proposals, leaks, strict=True)}

    def _intervention(
        self, attempt: Attempt, proposal: Proposal, cut: Cut | None, rejected: Defect | None
    ) -> Intervention:
        prefix_ids, exact, intervention_ids = [], True, []
        if cut is not None:
            prefix_ids, exact = attempt.rollout.token_ids[: cut.tokens].tolist(), cut.exact
            step = proposal.content + SEPARATORS[self.config.segmentation]
            intervention_ids = encode_text(self.sampler.tokenizer, step)
            if not rejected and decode(self.sampler.tokenizer, intervention_ids).strip() != step.strip():
                rejected = Defect(DefectKind.UNSAYABLE, "it holds special tokens or unknown characters")
        # the prompt of an attempt that saw a hint is not that of the rollouts that continue it
        own = len(self.sampler.prompt(Continuation(attempt.problem, [], "")))
        length = max(own, len(attempt.rollout.prompt_ids)) + len(prefix_ids) + len(intervention_ids)
        if not rejected and length >= self.sampler.engine.max_model_len:
            rejected = Defect(DefectKind.NO_ROOM, f"{length} tokens with prefix and intervention")
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
        never_right = self.config.correctness_filter and not correct
        checked = replace(
            intervention,
            rejected=Defect(DefectKind.NEVER_RIGHT) if never_right else None,
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


def attempt_defect(attempt: Attempt) -> Defect | None:
    """Why an attempt cannot be taken to an oracle, None if it can."""
    if not attempt.problem.solution.strip():
        return Defect(DefectKind.NO_REFERENCE)
    if len(attempt.steps) < 2:
        return Defect(DefectKind.ONE_STEP, "nothing of it would be kept")
    if attempt.rollout.text.strip() == attempt.problem.solution.strip():
        return Defect(DefectKind.EQUALS_REFERENCE, "check the problem's answer")
    return None


def leak_defect(leak: Leak) -> Defect | None:
    """Why an intervention that leaks is rejected, None for one that does not."""
    return Defect(DefectKind.LEAK, f"{leak.matched!r} ({leak.policy})") if leak.leaked else None


def waves(first: int, total: int) -> Iterator[range]:
    """Sample numbers in waves: ``first`` of them, then in each wave as many as in all before it, up to ``total``."""
    start = 0
    while start < total:
        stop = min(total, 2 * start or first)
        yield range(start, stop)
        start = stop
