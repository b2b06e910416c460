"""Interventions within GRPO, which goes beyond the paper: where every rollout of a group failed, RL alone has nothing to learn
from; there the current policy intervenes, and what it wrote is trained on in the same batch."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal

import lightning as L
from lightning.pytorch.callbacks import Callback

from int_lightning.collect.config import CollectConfig
from int_lightning.collect.leakage import LeakagePolicy
from int_lightning.collect.stages import ProblemStages, Work
from int_lightning.grpo.groups import GroupConfig, Rescue, rewarded_groups
from int_lightning.grpo.rewards import Rewards
from int_lightning.grpo.sampling import GroupSampler
from int_lightning.oracles.base import Oracle
from int_lightning.oracles.policy import PolicyOracle
from int_lightning.rollout_sampler import RolloutSampler
from int_lightning.steps import Segmentation
from int_lightning.types import Group, Problem, Rollout, Sampling, UserError


class InterveneOnFailedGroups(Callback):
    """For groups in which every rollout failed: proposals by the current policy, the checks of a collection (leakage, a right
    guided rollout), and training on what passes them.

    Args:
        use: ``guided``: the guided rollouts become groups of their own, whose advantages apply to the tokens after the
            intervention. ``sft``: the loss gets the term weight x (mean NLL of the tokens of prefix and intervention). ``both``.
        weight: Factor of that term, and of the loss of guided rollouts.
        oracle: Proposes the interventions; the policy itself if not given.
        attempts_per_group: Number of each failed group's rollouts that are shown to the oracle.
        guided: Guided rollouts per intervention.
        leakage: What counts as giving the final answer away.
        segmentation: Where a step ends.

    Raises:
        UserError: for a size below 1, or a weight that is not above 0.
    """

    def __init__(
        self,
        use: Literal["guided", "sft", "both"] = "guided",
        weight: float = 1.0,
        oracle: Oracle | None = None,
        attempts_per_group: int = 1,
        guided: int = 8,
        leakage: LeakagePolicy = "stated",
        segmentation: Segmentation = "blank_lines",
    ) -> None:
        for name, value in (("attempts_per_group", attempts_per_group), ("guided", guided)):
            if value < 1:
                raise UserError(f"InterveneOnFailedGroups.{name} is {value}: give at least 1")
        if weight <= 0:
            raise UserError(f"InterveneOnFailedGroups.weight is {weight}: give a number above 0")
        self.use = use
        self.weight = weight
        self.oracle = oracle or PolicyOracle()
        self.attempts_per_group = attempts_per_group
        self.guided = guided
        self.leakage: LeakagePolicy = leakage
        self.segmentation: Segmentation = segmentation

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Checks that the data have found it.

        Raises:
            UserError: if they sample no groups, or have found another one.
        """
        sampler = getattr(trainer.datamodule, "sampler", None)  # type: ignore[attr-defined]
        if not isinstance(sampler, GroupSampler):
            raise UserError("InterveneOnFailedGroups needs the groups of a RolloutData: change the data, or drop it")
        if sampler.interventions is not self:
            raise UserError("there are several callbacks that intervene in failed groups: drop all but one")

    def intervene(
        self,
        sampler: RolloutSampler,
        failed: Sequence[tuple[Problem, Group]],
        rewards: Rewards,
        config: GroupConfig,
        sampling: Sampling,
    ) -> list[Rescue]:
        """What becomes of this rank's failed groups. Every rank calls it."""
        collection = CollectConfig(
            attempts_per_problem=self.attempts_per_group,
            guided=self.guided,
            conditioning=False,
            leakage=self.leakage,
            segmentation=self.segmentation,
            sampling=sampling,
        )
        stages = ProblemStages(sampler, self.oracle, collection)

        async def works() -> list[Work]:
            return list(await asyncio.gather(*(stages.run(p, Work(p, attempts=g.rollouts)) for p, g in failed)))

        return [self._rescue(work, rewards, config) for work in sampler.run(works())]

    def _rescue(self, work: Work, rewards: Rewards, config: GroupConfig) -> Rescue:
        accepted = [i for i in work.interventions if not i.rejected]
        guided: dict[str, list[Rollout]] = {i.id: [] for i in accepted}
        for rollout in work.guided:
            if rollout.parent in guided:
                guided[rollout.parent].append(rollout)
        groups = rewarded_groups(list(guided.values()), {work.problem.id: work.problem}, rewards, config)
        return Rescue(
            work.problem.id,
            accepted if self.use != "guided" else [],
            groups if self.use != "sft" else [],
            len(work.interventions),
            len(accepted),
        )
