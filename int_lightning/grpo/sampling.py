"""Groups of rollouts from the newest weights: which problems come next, how they are shown, and what becomes of groups in which
every rollout failed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import chain
from typing import Protocol, TypeVar, runtime_checkable

from int_lightning.grading.grader import Grader
from int_lightning.grpo.groups import GroupConfig, Rescue, rewarded_groups
from int_lightning.grpo.hints import HintConfig, hint
from int_lightning.grpo.rewards import Rewards
from int_lightning.learn.step_stream import gather
from int_lightning.learn.trainer import EngineTrainer
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.rollout_sampler import Continuation, RolloutSampler
from int_lightning.types import Group, Problem, Rollout, Sampling, derive_seed

T = TypeVar("T")


@runtime_checkable
class Intervening(Protocol):
    """A callback of the fit that intervenes in groups in which every rollout failed.

    Args:
        weight: Factor of the loss of what it gives to train on.
    """

    weight: float

    def intervene(
        self,
        sampler: RolloutSampler,
        failed: Sequence[tuple[Problem, Group]],
        rewards: Rewards,
        config: GroupConfig,
        sampling: Sampling,
    ) -> list[Rescue]:
        """What becomes of this rank's failed groups. Every rank calls it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What was sampled between two syncs.

    Args:
        problems: By id.
        drawn: All groups.
        kept: Those to train on, the ones with an advantage first.
        rescues: What interventions made of failed groups, by problem.
        taken: How many problems of the run were taken by the end of the batch.
        unhinted: Problems of all ranks that were shown without their hint, because it leaves no room in the context.
    """

    problems: Mapping[str, Problem]
    drawn: list[Group]
    kept: list[Group]
    rescues: Mapping[str, Rescue]
    taken: int
    unhinted: list[str]


@dataclass(frozen=True)
class GroupSampler:
    """Draws groups of rollouts; every rank draws those of its share of the problems and gets those of all ranks.

    Args:
        trainer: Has the engine, the run's seed and the rank.
        problems: Those that are trained on.
        prompts: Templates.
        grader: Grades final answers.
        rewards: The reward of a rollout.
        config: How rewards become advantages, and how often groups without one are replaced.
        sampling: How rollouts are drawn.
        prompts_per_batch: Groups of a batch.
        rollouts_per_prompt: Rollouts of a group.
        hints: How much of the reference is shown with a problem; None shows nothing.
        interventions: What intervenes in failed groups; None where nothing does.
    """

    trainer: EngineTrainer
    problems: Sequence[Problem]
    prompts: PromptSet
    grader: Grader
    rewards: Rewards
    config: GroupConfig
    sampling: Sampling
    prompts_per_batch: int
    rollouts_per_prompt: int
    hints: HintConfig | None = None
    interventions: Intervening | None = None

    @property
    def engine_samples_policy(self) -> bool:
        """Whether the engine draws from the very distribution that the trainer scores, at the same temperature and whole."""
        return self.sampling.temperature > 0 and not self.sampling.truncates

    def synced(self) -> AbstractContextManager[RolloutSampler]:
        """See ``EngineTrainer.sampling``."""
        return self.trainer.sampling(self.prompts, self.grader)

    def draw(self, sampler: RolloutSampler, problems: Sequence[Problem], stage: str) -> list[list[Rollout]]:
        """A group of rollouts for each problem of this rank's share, shown without hints."""
        return sampler.sample(self._share(problems), range(self.rollouts_per_prompt), self.sampling, stage)

    def batch(self, sampler: RolloutSampler, number: int, taken: int, progress: float) -> Batch:
        """One batch. Groups without an advantage are replaced by those of further problems for as many rounds as the config
        allows; those that are left stay in the batch.

        Args:
            sampler: Of the newest weights.
            number: Of the batch, from 0.
            taken: How many problems were taken before it.
            progress: How much of the run is done, from 0 to 1.
        """
        problems: dict[str, Problem] = {}
        drawn: list[Group] = []
        kept: list[Group] = []
        unhinted: list[str] = []
        for round in range(1 + self.config.resample):
            useful = [g for g in kept if not g.zero_advantage]
            if round and len(useful) == self.prompts_per_batch:
                break
            wanted = self.prompts_per_batch - len(useful)
            new = self.problems_from(taken, wanted)
            taken += wanted
            problems |= {p.id: p for p in new}
            hints = self._hints(sampler, self._share(new), progress)
            unhinted += gather([id for id, text in hints.items() if not text])
            groups = self._groups(sampler, new, f"grpo/{number}" + (f"/{round}" if round else ""), hints)
            drawn += groups
            useful += [g for g in groups if not g.zero_advantage]
            rest = [g for g in chain(kept, groups) if g.zero_advantage]
            kept = [*useful, *rest][: self.prompts_per_batch]
        return Batch(problems, drawn, kept, self._rescues(sampler, kept, problems), taken, unhinted)

    def problems_from(self, taken: int, count: int) -> list[Problem]:
        """The ``count`` problems after the first ``taken``; each pass over all problems has its own order."""
        size = len(self.problems)
        wanted = range(taken, taken + count)
        passes = {
            i // size: shuffled(self.problems, derive_seed(self.trainer.seed, "order", i // size)) for i in wanted
        }
        chosen = [passes[i // size][i % size] for i in wanted]
        return list({p.id: p for p in chosen}.values())

    def hinted_share(self, progress: float) -> float:
        """How much of the reference is shown once ``progress`` of the run is done."""
        return self.hints.share(progress) if self.hints else 0.0

    def _hints(self, sampler: RolloutSampler, problems: Sequence[Problem], progress: float) -> dict[str, str]:
        """The hint of each problem that has one now, "" where it would leave no room in the context."""
        share, longest = self.hinted_share(progress), sampler.engine.max_model_len
        hints = {p.id: text for p in problems if (text := hint(p, share))}
        for p in problems:
            if p.id in hints and len(sampler.prompt(Continuation(p, [], "", hint=hints[p.id]))) >= longest:
                hints[p.id] = ""
        return hints

    def _groups(
        self, sampler: RolloutSampler, problems: Sequence[Problem], stage: str, hints: Mapping[str, str]
    ) -> list[Group]:
        """All ranks' groups, in the order of the problems."""
        own = self._share(problems)
        sampled = sampler.sample(own, range(self.rollouts_per_prompt), self.sampling, stage, hints)
        groups = gather(rewarded_groups(sampled, {p.id: p for p in own}, self.rewards, self.config))
        order = {p.id: i for i, p in enumerate(problems)}
        return sorted(groups, key=lambda g: order[g.problem_id])

    def _rescues(
        self, sampler: RolloutSampler, groups: Sequence[Group], problems: Mapping[str, Problem]
    ) -> dict[str, Rescue]:
        """What interventions make of all ranks' groups in which everything failed, by problem."""
        if self.interventions is None:
            return {}
        failed = self._share([(problems[g.problem_id], g) for g in groups if g.all_failed])
        rescues = gather(self.interventions.intervene(sampler, failed, self.rewards, self.config, self.sampling))
        return {r.problem_id: r for r in rescues}

    def _share(self, items: Sequence[T]) -> Sequence[T]:
        """This rank's part."""
        return items[self.trainer.global_rank :: self.trainer.world_size]


def shuffled(problems: Sequence[Problem], epoch_seed: int) -> list[Problem]:
    """The problems in the order of one pass over them."""
    order = list(problems)
    random.Random(epoch_seed).shuffle(order)
    return order
