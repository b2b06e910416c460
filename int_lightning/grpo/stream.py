"""GRPO's stream: when its buffer runs dry it syncs the weights, samples groups, rewards them and cuts optimiser steps.

The state is the position, the number of the batch, how many problems were taken, and the optimiser steps still in the buffer, the
same on every rank: a resumed run trains on what the uninterrupted one would have. Generation happens inside ``__iter__``, after
the step before it was taken, so that a batch is always sampled from the newest weights.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch.utils.data import IterableDataset

from int_lightning.grpo.groups import (
    Rescue,
    group_metrics,
    intervention_rows,
    loss_count,
    loss_rows,
    rescue_metrics,
    rewarded_groups,
)
from int_lightning.grpo.hints import hint
from int_lightning.grpo.rollout_table import show_rollouts, write_rollouts
from int_lightning.learn.micro_batches import Step, TrainingRow
from int_lightning.learn.step_stream import Layout, balanced_parts, gather
from int_lightning.rollout_sampler import RolloutSampler
from int_lightning.types import Group, Problem, TokenValues, UserError

if TYPE_CHECKING:
    from int_lightning.grpo.data import RolloutData


@dataclass(slots=True)
class WaitingStep:
    """An optimiser step that waits in the buffer.

    Args:
        rows: All ranks' rows.
        count: What its loss is divided by.
        metrics: Those of its batch.
    """

    rows: list[TrainingRow]
    count: float
    metrics: dict[str, float]

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values only, because checkpoints are read without unpickling objects."""
        return {"rows": [row.state_dict() for row in self.rows], "count": self.count, "metrics": self.metrics}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> WaitingStep:
        """The step whose state it is."""
        return cls([TrainingRow(**row) for row in state["rows"]], state["count"], state["metrics"])


@dataclass(slots=True)
class Sampled:
    """One batch: its problems by id, all groups that were drawn, those of them to train on, the ones with an advantage first, and
    what interventions made of failed ones."""

    problems: dict[str, Problem]
    drawn: list[Group]
    kept: list[Group]
    rescues: dict[str, Rescue]


class RolloutStream(IterableDataset[Step]):
    """Optimiser steps on freshly sampled groups.

    Args:
        data: Problems, engine and sizes.
        layout: How rows become micro-batches.
    """

    _NUMBERS = ("position", "batch", "taken", "idle")

    def __init__(self, data: RolloutData, layout: Layout) -> None:
        self.data = data
        self.layout = layout
        self.position = 0
        self.batch = 0
        self.taken = 0
        self.idle = 0
        self.waiting: list[WaitingStep] = []
        self._seconds_training = 0.0

    def __len__(self) -> int:
        return self.data.steps

    def __iter__(self) -> Iterator[Step]:
        while self.position < len(self):
            if not self.waiting:
                self.waiting = self.refill()
                self.batch += 1
            item = self.waiting.pop(0)
            self.position += 1
            given = time.perf_counter()
            yield self.layout.step(item.rows, item.count, item.metrics)
            self._seconds_training += time.perf_counter() - given

    def refill(self) -> list[WaitingStep]:
        """Samples one batch of groups with the newest weights and cuts it into optimiser steps.

        Raises:
            UserError: if ``groups.patience`` batches in a row had nothing to learn from.
        """
        data = self.data
        started = time.perf_counter()
        sampler = data.synced_sampler()
        synced, before = time.perf_counter(), sampler.engine.tokens_generated
        with data.int_trainer.limited(f"sampling batch {self.batch}"):
            sampled = self._sampled(sampler)
            tokens = sum(gather([sampler.engine.tokens_generated - before]))
        seconds = {"sync": synced - started, "generate": time.perf_counter() - synced, "train": self._seconds_training}
        self._seconds_training = 0.0
        if self.layout.rank == 0:
            self._show(sampled)
        metrics = self._metrics(sampled, seconds, tokens)
        dealt = (sampled.kept[i :: data.updates_per_batch] for i in range(data.updates_per_batch))
        parts = [part for part in dealt if part]
        with data.int_trainer.limited(f"scoring batch {self.batch}"):
            steps = [self.optimiser_step(part, sampled.rescues, metrics) for part in parts]
        self._check_patience(any(step.rows for step in steps))
        return steps

    def _sampled(self, sampler: RolloutSampler) -> Sampled:
        """One batch. Groups without an advantage are replaced by those of further problems for as many rounds as the data
        allows; those that are left stay in the batch."""
        data = self.data
        problems: dict[str, Problem] = {}
        drawn: list[Group] = []
        kept: list[Group] = []
        for round in range(1 + data.groups.resample):
            useful = [g for g in kept if not g.zero_advantage]
            if round and len(useful) == data.prompts_per_batch:
                break
            wanted = data.prompts_per_batch - len(useful)
            new = data.problems_from(self.taken, wanted)
            self.taken += wanted
            problems |= {p.id: p for p in new}
            groups = self._groups(sampler, new, f"grpo/{self.batch}" + (f"/{round}" if round else ""))
            drawn += groups
            useful += [g for g in groups if not g.zero_advantage]
            rest = [g for g in [*kept, *groups] if g.zero_advantage]
            kept = [*useful, *rest][: data.prompts_per_batch]
        return Sampled(problems, drawn, kept, self._rescues(sampler, kept, problems))

    def _groups(self, sampler: RolloutSampler, problems: Sequence[Problem], stage: str) -> list[Group]:
        """All ranks' groups, in the order of the problems."""
        data, layout = self.data, self.layout
        own = problems[layout.rank :: layout.world_size]
        share = self._hinted_share()
        hints = {p.id: hint(p, share) for p in own} if share else {}
        sampled = sampler.sample(own, range(data.rollouts_per_prompt), data.sampling, stage, hints)
        groups = gather(rewarded_groups(sampled, {p.id: p for p in own}, data.rewards, data.groups))
        order = {p.id: i for i, p in enumerate(problems)}
        return sorted(groups, key=lambda g: order[g.problem_id])

    def _hinted_share(self) -> float:
        """How much of the reference is shown, from the position in the run."""
        return self.data.hints.share(self.position / len(self)) if self.data.hints else 0.0

    def _rescues(
        self, sampler: RolloutSampler, groups: Sequence[Group], problems: Mapping[str, Problem]
    ) -> dict[str, Rescue]:
        """What interventions make of all ranks' groups in which everything failed, by problem."""
        data, layout = self.data, self.layout
        if data.interventions is None:
            return {}
        failed = [(problems[g.problem_id], g) for g in groups if g.rollouts and not any(r.correct for r in g.rollouts)]
        rescues = gather(data.interventions.intervene(sampler, failed[layout.rank :: layout.world_size], data))
        return {r.problem_id: r for r in rescues}

    def _metrics(self, sampled: Sampled, seconds: Mapping[str, float], tokens: int) -> dict[str, float]:
        data = self.data
        metrics = group_metrics(sampled.drawn, len(sampled.drawn) * data.rollouts_per_prompt)
        metrics |= {f"seconds_{part}": spent for part, spent in seconds.items()}
        metrics |= {"tokens": float(tokens), "tokens_per_second": tokens / seconds["generate"]}
        metrics["sync_gap"] = data.int_trainer.sync_gap
        if data.groups.resample:
            metrics["groups_sampled"] = float(len(sampled.drawn))
        if data.hints is not None:
            metrics["hint"] = self._hinted_share()
        if data.interventions is not None:
            metrics |= rescue_metrics(sampled.rescues.values())
        return metrics

    def _show(self, sampled: Sampled) -> None:
        rescued = [g for rescue in sampled.rescues.values() for g in rescue.groups]
        write_rollouts(self.data.rollouts_folder, self.batch, [*sampled.drawn, *rescued], sampled.problems)
        if self.data.show_every and self.batch % self.data.show_every == 0:
            show_rollouts(self.batch, sampled.drawn)

    def _check_patience(self, useful: bool) -> None:
        self.idle = 0 if useful else self.idle + 1
        patience = self.data.groups.patience
        if patience is not None and self.idle >= patience:
            raise UserError(
                f"batches {self.batch - patience + 1} to {self.batch} had no group with an advantage: there is nothing to learn "
                "from. Give problems of which the policy solves some, patch the policy by interventions first, or drop "
                "data.groups.patience"
            )

    def optimiser_step(
        self, groups: Sequence[Group], rescues: Mapping[str, Rescue], metrics: dict[str, float]
    ) -> WaitingStep:
        """Rows of the groups that have an advantage; the others count in the normaliser. What interventions made of a failed
        group goes with it."""
        data, module = self.data, self.data.module
        with_engine = data.engine_logprobs_comparable
        rescued = [rescues[g.problem_id] for g in groups if g.problem_id in rescues]
        guided = [g for rescue in rescued for g in rescue.groups]
        count = loss_count([*groups, *guided], data.groups, data.sampling)
        rows = loss_rows(groups, data.groups, with_engine)
        if data.interventions is not None:
            weight = data.interventions.weight
            rows += loss_rows(guided, data.groups, with_engine, weight)
            accepted = [i for rescue in rescued for i in rescue.interventions]
            rows += intervention_rows(accepted, weight * count, with_engine)
        if data.updates_per_batch > 1:
            scores = self.scored(module.scorer, rows)
            rows = [replace(row, old_logprobs=s) for row, s in zip(rows, scores, strict=True)]
        if module.reference is not None:
            scores = self.scored(module.reference, rows)
            rows = [replace(row, reference_logprobs=s) for row, s in zip(rows, scores, strict=True)]
        return WaitingStep(rows, count, metrics)

    def scored(self, policy: Any, rows: Sequence[TrainingRow]) -> list[TokenValues]:
        """Log-probs of all rows, of which every rank scores its part."""
        if not rows:
            return []
        layout = self.layout
        parts = balanced_parts([len(row.token_ids) for row in rows], layout.world_size)
        own, most = parts[layout.rank], max(map(len, parts))
        budget = layout.max_tokens if layout.world_size == 1 else 1
        padded = [rows[i] for i in own] + [rows[0]] * (most - len(own))
        scores = self.data.module.score_rows(policy, padded, layout.pad_id, budget, layout.packed)
        by_row = dict(gather(list(zip(own, scores[: len(own)], strict=True))))
        return [by_row[i] for i in range(len(rows))]

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands, and the steps that wait."""
        numbers = {name: getattr(self, name) for name in self._NUMBERS}
        return {**numbers, "waiting": [step.state_dict() for step in self.waiting]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state."""
        for name in self._NUMBERS:
            setattr(self, name, state[name])
        self.waiting = [WaitingStep.from_state(step) for step in state["waiting"]]


def shuffled(problems: Sequence[Problem], epoch_seed: int) -> list[Problem]:
    """The problems in the order of one pass over them."""
    order = list(problems)
    random.Random(epoch_seed).shuffle(order)
    return order
