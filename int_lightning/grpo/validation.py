"""GRPO's validation: groups sampled on held-out problems with the newest weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch.utils.data import IterableDataset

from int_lightning.grpo.advantages import group_advantages
from int_lightning.grpo.groups import group_metrics
from int_lightning.learn.micro_batches import Step
from int_lightning.learn.step_stream import Layout, gather
from int_lightning.metrics import pass_at_k
from int_lightning.types import Group, Rollout

if TYPE_CHECKING:
    from int_lightning.grpo.data import RolloutData


class ValidationStream(IterableDataset[Step]):
    """One item: the metrics of groups sampled on held-out problems with the newest weights, and nothing to train on.

    Args:
        data: Problems, engine and sizes.
        layout: Which rank this is.
    """

    def __init__(self, data: RolloutData, layout: Layout) -> None:
        self.data = data
        self.layout = layout

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Step]:
        data, layout = self.data, self.layout
        own = data.validation_problems[layout.rank :: layout.world_size]
        sampler = data.synced_sampler()
        with data.int_trainer.limited("sampling held-out problems"):
            sampled = sampler.sample(own, range(data.rollouts_per_prompt), data.sampling, "validation")
            metrics = held_out_metrics(sampled)
        yield Step([], 0.0, 0.0, metrics)


def held_out_metrics(sampled: Sequence[list[Rollout]]) -> dict[str, float]:
    """Share of right rollouts, lengths, pass@1 and pass@n over all ranks' held-out problems, given this rank's n rollouts of each
    of its own."""
    groups = gather([_graded(rollouts) for rollouts in sampled])
    right, n = torch.tensor([sum(g.rewards) for g in groups]).long(), len(groups[0].rollouts)
    metrics = group_metrics(groups, len(groups) * n)
    del metrics["reward_errors"]
    return metrics | {f"pass@{k}": float(pass_at_k(right, n, k).mean()) for k in (1, n)}


def _graded(rollouts: list[Rollout]) -> Group:
    rewards = [float(r.correct) for r in rollouts]
    return Group(rollouts[0].problem_id, rollouts, rewards, group_advantages(rewards))
