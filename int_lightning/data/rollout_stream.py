"""GRPO's stream: when its buffer runs dry it syncs the weights, samples groups, grades them and cuts optimiser steps.

The state is the position, the number of the batch and the optimiser steps still in the buffer, the same on every rank: a
resumed run trains on what the uninterrupted one would have. Generation happens inside ``__iter__``, after the step before it
was taken, so that a batch is always sampled from the newest weights.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import IterableDataset

from int_lightning.data.collate import Row, Step
from int_lightning.data.stream import Layout, balanced_part, gather
from int_lightning.evaluation.metrics import ZeroAdvantageRatio, pass_at_k
from int_lightning.learn.advantages import group_advantages
from int_lightning.types import Group, Problem, Rollout

if TYPE_CHECKING:
    from int_lightning.data.rollouts import RolloutData


@dataclass(slots=True)
class Pending:
    """An optimiser step that waits in the buffer."""

    rows: list[Row]
    count: float
    metrics: dict[str, float]


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
        sampled = data.synced_sampler().sample(own, range(data.rollouts_per_prompt), data.sampling, "validation")
        yield Step([], 0.0, 0.0, held_out_metrics(sampled))


class RolloutStream(IterableDataset[Step]):
    """Optimiser steps on freshly sampled groups.

    Args:
        data: Problems, engine and sizes.
        layout: How rows become micro-batches.
    """

    def __init__(self, data: RolloutData, layout: Layout) -> None:
        self.data = data
        self.layout = layout
        self.position = 0
        self.batch = 0
        self.pending: list[Pending] = []

    def __len__(self) -> int:
        return self.data.steps

    def __iter__(self) -> Iterator[Step]:
        while self.position < len(self):
            if not self.pending:
                self.pending = self.refill()
                self.batch += 1
            item = self.pending.pop(0)
            self.position += 1
            yield self.layout.step(item.rows, item.count, item.metrics)

    def refill(self) -> list[Pending]:
        """Samples one batch of groups with the newest weights and cuts it into optimiser steps."""
        data, layout = self.data, self.layout
        started = time.perf_counter()
        sampler = data.synced_sampler()
        synced = time.perf_counter()
        problems = data.problems_of(self.batch)
        own = problems[layout.rank :: layout.world_size]
        sampled = sampler.sample(own, range(data.rollouts_per_prompt), data.sampling, f"grpo/{self.batch}")
        order = {p.id: i for i, p in enumerate(problems)}
        groups = sorted(gather(graded_groups(sampled)), key=lambda g: order[g.problem_id])
        done = time.perf_counter()
        metrics = group_metrics(groups)
        metrics |= {"seconds_sync": synced - started, "seconds_generate": done - synced}
        metrics["tokens_per_second"] = sum(len(r.token_ids) for g in groups for r in g.rollouts) / (done - synced)
        size = -(-len(groups) // data.updates_per_batch)
        parts = [groups[i : i + size] for i in range(0, len(groups), size)]
        return [self.optimiser_step(part, metrics) for part in parts]

    def optimiser_step(self, groups: Sequence[Group], metrics: dict[str, float]) -> Pending:
        """Rows of the groups that have an advantage; all tokens of all groups count in the normaliser."""
        count = float(sum(len(r.token_ids) for g in groups for r in g.rollouts))
        rows = [
            rollout_row(rollout, advantage, self.data.engine_logprobs_comparable)
            for group in groups
            if not group.zero_advantage
            for rollout, advantage in zip(group.rollouts, group.advantages, strict=True)
        ]
        module = self.data.module
        if self.data.updates_per_batch > 1:
            scores = self.scored(module.scorer, rows)
            rows = [replace(row, old_logprobs=s) for row, s in zip(rows, scores, strict=True)]
        if module.reference is not None:
            scores = self.scored(module.reference, rows)
            rows = [replace(row, reference_logprobs=s) for row, s in zip(rows, scores, strict=True)]
        return Pending(rows, count, metrics)

    def scored(self, policy: Any, rows: Sequence[Row]) -> list[list[float]]:
        """Log-probs of all rows, every rank scoring its part."""
        if not rows:
            return []
        layout = self.layout
        numbered = [replace(row, advantage=float(i)) for i, row in enumerate(rows)]
        own = balanced_part(numbered, layout.rank, layout.world_size)
        most = max((len(balanced_part(rows, r, layout.world_size)) for r in range(layout.world_size)), default=0)
        padded = own + [numbered[0]] * (most - len(own))
        budget = layout.max_tokens if layout.world_size == 1 else 1
        scores = self.data.module.score_rows(policy, padded, layout.pad_id, budget, layout.packed)
        by_row = {int(row.advantage): s for row, s in gather(list(zip(padded, scores, strict=True)))}
        return [by_row[i] for i in range(len(rows))]

    def state_dict(self) -> dict[str, Any]:
        """Plain containers only, for checkpoints are read without unpickling objects."""
        return {"position": self.position, "batch": self.batch, "pending": [asdict(p) for p in self.pending]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up from a saved state."""
        self.position, self.batch = state["position"], state["batch"]
        self.pending = [Pending([Row(**r) for r in p["rows"]], p["count"], p["metrics"]) for p in state["pending"]]


def graded_groups(sampled: Sequence[list[Rollout]]) -> list[Group]:
    """Rollouts of each prompt with their rewards (1 for a right answer, else 0) and advantages."""
    groups = []
    for rollouts in sampled:
        rewards = [float(r.correct) for r in rollouts]
        groups.append(Group(rollouts[0].problem_id, rollouts, rewards, group_advantages(rewards)))
    return groups


def rollout_row(rollout: Rollout, advantage: float, with_engine_logprobs: bool) -> Row:
    """A rollout as a training row: every sampled token carries loss, the prompt none."""
    prompt = len(rollout.prompt_ids)
    return Row(
        token_ids=[*rollout.prompt_ids, *rollout.token_ids],
        weights=[0.0] * prompt + [1.0] * len(rollout.token_ids),
        advantage=advantage,
        engine_logprobs=[0.0] * prompt + rollout.logprobs if with_engine_logprobs else None,
    )


def group_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """What a user watches: reward, share of groups without a correct rollout or without advantage, lengths, truncation."""
    rollouts = [r for g in groups for r in g.rollouts]
    zero_advantage = ZeroAdvantageRatio(sync_on_compute=False)
    zero_advantage.update(torch.tensor([g.rewards for g in groups]))
    return {
        "reward": sum(sum(g.rewards) for g in groups) / len(rollouts),
        "unsolved_ratio": sum(not any(g.rewards) for g in groups) / len(groups),
        "zero_advantage_ratio": float(zero_advantage.compute()),
        "length": sum(len(r.token_ids) for r in rollouts) / len(rollouts),
        "truncated": sum(r.finish == "length" for r in rollouts) / len(rollouts),
    }


def held_out_metrics(sampled: Sequence[list[Rollout]]) -> dict[str, float]:
    """``group_metrics``, pass@1 and pass@n over all ranks' held-out problems, given this rank's n rollouts of each of its own."""
    groups = gather(graded_groups(sampled))
    rewards = torch.tensor([g.rewards for g in groups])
    right, n = (rewards > 0).sum(1), rewards.shape[1]
    return group_metrics(groups) | {f"pass@{k}": float(pass_at_k(right, n, k).mean()) for k in (1, n)}


def shuffled(problems: Sequence[Problem], epoch_seed: int) -> list[Problem]:
    """The problems in the order of one pass over them."""
    order = list(problems)
    random.Random(epoch_seed).shuffle(order)
    return order
