"""GRPO's stream: when its buffer runs dry it syncs the weights, samples groups, rewards them and cuts optimiser steps.

The state is the position, the number of the batch, how many problems were taken, and the optimiser steps still in the buffer, the
same on every rank: a resumed run trains on what the uninterrupted one would have. Generation happens inside ``__iter__``, after
the step before it was taken, so that a batch is always sampled from the newest weights.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from rich.markup import escape
from torch.utils.data import IterableDataset

from int_lightning.console import say
from int_lightning.grpo.groups import (
    Rescue,
    group_metrics,
    intervention_rows,
    loss_count,
    loss_rows,
    rescue_metrics,
)
from int_lightning.grpo.module import GRPOModule, Unadapted
from int_lightning.grpo.rollout_table import show_rollouts, write_rollouts
from int_lightning.grpo.sampling import Batch, GroupSampler
from int_lightning.learn.micro_batches import Step, TrainingRow
from int_lightning.learn.model import Policy
from int_lightning.learn.step_stream import Layout, balanced_parts, gather
from int_lightning.types import Group, TokenValues, UserError


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
        return cls([TrainingRow.from_state(row) for row in state["rows"]], state["count"], state["metrics"])


class RolloutStream(IterableDataset[Step]):
    """Optimiser steps on freshly sampled groups.

    Args:
        sampler: Draws the groups.
        module: The policy, which scores rows that are trained on more than once, and the reference.
        layout: How rows become micro-batches.
        steps: Optimiser steps of the run.
        updates_per_batch: Optimiser steps on each batch.
        folder: Where the tables of sampled rollouts are written.
        show_every: Batches between tables of sampled rollouts on the console; 0 shows none.
    """

    _NUMBERS = ("position", "batch", "taken", "idle")

    def __init__(
        self,
        sampler: GroupSampler,
        module: GRPOModule,
        layout: Layout,
        steps: int,
        updates_per_batch: int,
        folder: Path,
        show_every: int = 0,
    ) -> None:
        self.sampler = sampler
        self.module = module
        self.layout = layout
        self.steps = steps
        self.updates_per_batch = updates_per_batch
        self.folder = folder
        self.show_every = show_every
        self.position = 0
        self.batch = 0
        self.taken = 0
        self.idle = 0
        self.waiting: list[WaitingStep] = []
        self._seconds_training = 0.0
        self._said_unhinted = False

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Step]:
        while self.position < self.steps:
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
        trainer, progress = self.sampler.trainer, self.position / self.steps
        started = time.perf_counter()
        with self.sampler.synced() as sampler:
            synced, before = time.perf_counter(), sampler.engine.tokens_generated
            with trainer.limited(f"sampling batch {self.batch}"):
                batch = self.sampler.batch(sampler, self.batch, self.taken, progress)
                tokens = sum(gather([sampler.engine.tokens_generated - before]))
            generated = time.perf_counter()
        self.taken = batch.taken
        seconds = {"sync": synced - started, "generate": generated - synced, "train": self._seconds_training}
        self._seconds_training = 0.0
        if self.layout.rank == 0:
            self._show(batch)
        metrics = self._metrics(batch, seconds, tokens, progress)
        dealt = (batch.kept[i :: self.updates_per_batch] for i in range(self.updates_per_batch))
        with trainer.limited(f"scoring batch {self.batch}"):
            steps = [self.optimiser_step(part, batch.rescues, metrics) for part in dealt if part]
        rows = chain.from_iterable(step.rows for step in steps)
        self._check_patience(any(row.advantage for row in rows))
        return steps

    def optimiser_step(
        self, groups: Sequence[Group], rescues: Mapping[str, Rescue], metrics: dict[str, float]
    ) -> WaitingStep:
        """Rows of the groups that have an advantage, and of the others where the objective acts on them too; all count in the
        normaliser. What interventions made of a failed group goes with it."""
        config, objective = self.sampler.config, self.module.objective
        with_engine = self.sampler.engine_samples_policy or objective.importance_cap is not None
        rescued = [rescues[g.problem_id] for g in groups if g.problem_id in rescues]
        guided = list(chain.from_iterable(rescue.groups for rescue in rescued))
        count = loss_count([*groups, *guided], config, self.sampler.sampling)
        every = objective.acts_without_advantage
        rows = loss_rows(groups, config, with_engine, without_advantage=every)
        if self.sampler.interventions is not None:
            weight = self.sampler.interventions.weight
            rows += loss_rows(guided, config, with_engine, weight, without_advantage=every)
            accepted = list(chain.from_iterable(rescue.interventions for rescue in rescued))
            rows += intervention_rows(accepted, weight * count, with_engine)
        if self.updates_per_batch > 1:
            scores = self.scored(self.module.scorer, rows)
            rows = [replace(row, old_logprobs=s) for row, s in zip(rows, scores, strict=True)]
        if self.module.reference is not None:
            scores = self.scored(self.module.reference, rows)
            rows = [replace(row, reference_logprobs=s) for row, s in zip(rows, scores, strict=True)]
        return WaitingStep(rows, count, metrics)

    def scored(self, policy: Policy | Unadapted, rows: Sequence[TrainingRow]) -> list[TokenValues]:
        """Log-probs of all rows, of which every rank scores its part."""
        if not rows:
            return []
        layout = self.layout
        parts = balanced_parts([len(row.token_ids) for row in rows], layout.world_size)
        own, most = parts[layout.rank], max(map(len, parts))
        padded = [rows[i] for i in own] + [rows[0]] * (most - len(own))
        alone = layout.world_size == 1
        budget = layout.max_tokens if alone else 1  # one row a forward pass: equally many on every rank
        scores = self.module.score_rows(policy, padded, layout.pad_id, budget, layout.packed)
        by_row = dict(gather(list(zip(own, scores[: len(own)], strict=True))))
        return [by_row[i] for i in range(len(rows))]

    def _metrics(self, batch: Batch, seconds: Mapping[str, float], tokens: int, progress: float) -> dict[str, float]:
        sampler = self.sampler
        metrics = group_metrics(batch.drawn, len(batch.drawn) * sampler.rollouts_per_prompt)
        metrics |= {f"seconds_{part}": spent for part, spent in seconds.items()}
        metrics |= {"tokens": float(tokens), "tokens_per_second": tokens / seconds["generate"]}
        metrics["sync_gap"] = sampler.trainer.sync_gap
        if sampler.config.resample:
            metrics["groups_sampled"] = float(len(batch.drawn))
        if sampler.hints is not None:
            metrics["hint"] = sampler.hinted_share(progress)
            metrics["hints_left_out"] = float(len(batch.unhinted))
        if sampler.interventions is not None:
            metrics |= rescue_metrics(batch.rescues.values())
        return metrics

    def _show(self, batch: Batch) -> None:
        if batch.unhinted and not self._said_unhinted:
            self._said_unhinted = True
            say(
                f"[yellow]note:[/] batch {self.batch}: {len(batch.unhinted)} problems are shown without their hint, which leaves "
                f"no room in engine.max_model_len, {escape(batch.unhinted[0])} among them; train/hints_left_out counts them from "
                "here on. Raise engine.max_model_len, or lower data.hints.first"
            )
        rescued = chain.from_iterable(rescue.groups for rescue in batch.rescues.values())
        write_rollouts(self.folder, self.batch, [*batch.drawn, *rescued], batch.problems)
        if self.show_every and self.batch % self.show_every == 0:
            show_rollouts(self.batch, batch.drawn)

    def _check_patience(self, useful: bool) -> None:
        self.idle = 0 if useful else self.idle + 1
        patience = self.sampler.config.patience
        if patience is not None and self.idle >= patience:
            raise UserError(
                f"batches {self.batch - patience + 1} to {self.batch} had no group with an advantage: there is nothing to learn "
                "from. Give problems of which the policy solves some, patch the policy by interventions first, or drop "
                "data.groups.patience"
            )

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands, and the steps that wait."""
        numbers = {name: getattr(self, name) for name in self._NUMBERS}
        return {**numbers, "waiting": [step.state_dict() for step in self.waiting]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state."""
        for name in self._NUMBERS:
            setattr(self, name, state[name])
        self.waiting = [WaitingStep.from_state(step) for step in state["waiting"]]
