"""GRPO's validation: groups sampled on held-out problems with the newest weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import IterableDataset

from int_lightning.grpo.advantages import group_advantages
from int_lightning.grpo.groups import group_metrics
from int_lightning.grpo.sampling import GroupSampler
from int_lightning.learn.micro_batches import Step
from int_lightning.learn.step_stream import gather
from int_lightning.metrics import pass_at_k
from int_lightning.types import Group, Problem, Rollout


class ValidationStream(IterableDataset[Step]):
    """One item: the metrics of groups sampled on held-out problems with the newest weights, and nothing to train on.

    Args:
        sampler: Draws the groups.
        problems: Held out.
    """

    def __init__(self, sampler: GroupSampler, problems: Sequence[Problem]) -> None:
        self.sampler = sampler
        self.problems = problems

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Step]:
        with self.sampler.synced() as sampler, self.sampler.trainer.limited("sampling held-out problems"):
            metrics = held_out_metrics(self.sampler.draw(sampler, self.problems, "validation"))
        yield Step([], 0.0, 0.0, metrics)


def held_out_metrics(sampled: Sequence[list[Rollout]]) -> dict[str, float]:
    """Share of right rollouts, lengths, pass@1 and pass@n over all ranks' held-out problems, given n rollouts of each of this
    rank's problems."""
    groups = gather([_graded(rollouts) for rollouts in sampled])
    right, n = torch.tensor([sum(g.rewards) for g in groups]).long(), len(groups[0].rollouts)
    metrics = group_metrics(groups, len(groups) * n)
    del metrics["reward_errors"]
    return metrics | {f"pass@{k}": float(pass_at_k(right, n, k).mean()) for k in (1, n)}


def _graded(rollouts: list[Rollout]) -> Group:
    rewards = [float(r.correct) for r in rollouts]
    return Group(rollouts[0].problem_id, rollouts, rewards, group_advantages(rewards))
