"""The DataModule of SFT: rows of a collection, in a new order every epoch, or as they are collected."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

import lightning as L
import numpy as np
from rich.markup import escape
from torch.utils.data import Dataset
from torchdata.stateful_dataloader import StatefulDataLoader

from int_lightning.collect.store import Store
from int_lightning.console import say
from int_lightning.learn.data_callbacks import callback_of
from int_lightning.learn.micro_batches import Step, TrainingRow
from int_lightning.learn.module import PolicyModule
from int_lightning.learn.step_stream import Layout, StepStream
from int_lightning.model_folder.check import load_config
from int_lightning.model_folder.tokenizer import pad_id
from int_lightning.prompts.recorded_tokenizer import check_tokenizer
from int_lightning.run_files import RESULTS, digest
from int_lightning.sft.live_rows import LiveRows
from int_lightning.sft.targets import ExampleReader, Target, TargetConfig, examples
from int_lightning.types import SFTExample, UserError

_CONTEXT = ("prompt", "prefix")


@runtime_checkable
class Collecting(Protocol):
    """A callback of the fit that collects interventions itself."""

    def collect_batch(self) -> bool:
        """Collects another batch; False if there is nothing left to collect. Every rank calls it."""


class InterventionData(L.LightningDataModule):
    """Rows of a collection.

    Args:
        folder: Run folder of ``int-lightning collect``.
        collect_config: Config of a collection that ``fit`` runs into ``folder`` first, if it is not complete.
        target: What is trained on; see ``targets``.
        correctness_filter: Leave out interventions none of whose guided rollouts was right; as in the collection, if not given.
        interventions_per_attempt: At most this many of each attempt.
        rows_per_problem: At most this many rows of each problem, for ``self_refined`` and ``rollout``.
        weights: Loss weights of ``prefix``, ``intervention``, ``suffix``, ``solution`` and ``end``, 1 where not given.
        inexact_cuts: Also take interventions whose prefix could only be cut inside a token, and so ends with the first
            characters of the wrong step.
        epochs: Passes over the rows.
        streaming: Train on rows as they arrive, in the order they are collected, while ``int-lightning collect`` runs
            elsewhere or a ``CollectInterventions`` callback collects in this fit; then pass after pass over all of them.
        steps: Optimiser steps of a streaming fit.
        patience: Seconds that a streaming fit waits for another process to collect the next batch.
        batch_size: Rows in an optimiser step, over all processes.
        validation: Share of the problems held out for ``val/nll``, the NLL of intervention or solution without the prefix.
        max_tokens: Budget of a micro-batch.
        packing: Put rows end to end in one sequence without padding; attention stays within each row. Rows of a model
            that does not keep them apart are padded, which a line says.
        longest: Tokens of the longest row; longer ones are left out, counted and named.
        seed: Of the order and the held-out share.

    Raises:
        UserError: if the arguments do not go together.
    """

    def __init__(
        self,
        folder: str,
        collect_config: str | None = None,
        target: Target = "prefix_intervention",
        correctness_filter: bool | None = None,
        interventions_per_attempt: int = 1,
        rows_per_problem: int = 1,
        weights: dict[str, float] | None = None,
        inexact_cuts: bool = True,
        epochs: int = 4,
        streaming: bool = False,
        steps: int | None = None,
        patience: float = 3600.0,
        batch_size: int = 32,
        validation: float = 0.0,
        max_tokens: int = 16384,
        packing: bool = True,
        longest: int = 16384,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value in (("epochs", epochs), ("batch_size", batch_size), ("max_tokens", max_tokens)):
            if value < 1:
                raise UserError(f"data.{name} is {value}: give at least 1")
        if longest < 1:
            raise UserError(f"data.longest is {longest}: give at least 1")
        if not 0 <= validation < 1:
            raise UserError(f"data.validation is {validation}: give a share of the problems, from 0 to below 1")
        if steps is not None and steps < 1:
            raise UserError(f"data.steps is {steps}: give at least 1")
        if streaming != (steps is not None):
            raise UserError("data.steps goes with data.streaming: give both, or neither and data.epochs")
        if streaming and validation:
            raise UserError("data.validation holds out rows of a finished collection: leave it out with data.streaming")
        self.folder = folder
        self.collect_config = collect_config
        self.target = TargetConfig(
            target, correctness_filter, interventions_per_attempt, rows_per_problem, weights or {}, inexact_cuts
        )
        self.epochs = epochs
        self.steps = steps
        self.patience = patience
        self.batch_size = batch_size
        self.validation = validation
        self.max_tokens = max_tokens
        self.packing = packing
        self.longest = longest
        self.seed = seed
        self.rows: list[TrainingRow] = []
        self.validation_rows: list[TrainingRow] = []
        self._live: LiveRows[TrainingRow] | None = None

    @property
    def streaming(self) -> bool:
        """Whether rows are trained on as they arrive."""
        return self.steps is not None

    @property
    def collection_missing(self) -> bool:
        """Whether the fit must run a collection first."""
        return self.collect_config is not None and not self.streaming and not self.collection_finished

    @property
    def collection_finished(self) -> bool:
        """Whether the collection in ``folder`` is complete."""
        return (Path(self.folder) / RESULTS).exists()

    def setup(self, stage: str) -> None:
        """Reads the rows of a finished collection.

        Raises:
            UserError: if the folder holds none or a damaged one, if it was made with another tokenizer, or if a token id is
                beyond the model's vocabulary.
        """
        self.store = Store(Path(self.folder) / "dataset")
        if self.streaming:
            self.store.batches()
            reader = ExampleReader(self.store, self.target, self._module.tokenizer)
            self._live = LiveRows(
                lambda number: map(training_row, self._checked(reader.read(number))),
                self.store.batches,
                self._more,
                self.batch_size,
            )
        else:
            self._read_all()

    def train_dataloader(self) -> StatefulDataLoader[Step]:
        """The run's optimiser steps."""
        steps = self.steps or self.epochs * -(-len(self.rows) // self.batch_size)
        return StatefulDataLoader(StepStream(self.rows_of, steps, self._layout()), batch_size=None)

    def val_dataloader(self) -> StatefulDataLoader[Step] | list[Step]:
        """The held-out rows, as one step."""
        if not self.validation_rows:
            return []
        step = self._layout().step(self.validation_rows)
        return StatefulDataLoader(cast(Dataset[Step], [step]), batch_size=None)

    def rows_of(self, step: int) -> list[TrainingRow]:
        """The rows of a step; every epoch has its own order."""
        if self._live is not None:
            if rows := self._live.rows_of(step):
                return rows
            if not self.rows:
                self._read_all()
            step -= self._live.steps_taken
        per_epoch = -(-len(self.rows) // self.batch_size)
        epoch, index = divmod(step, per_epoch)
        order = list(range(len(self.rows)))
        random.Random(f"{self.seed}/{epoch}").shuffle(order)
        return [self.rows[i] for i in order[index * self.batch_size : (index + 1) * self.batch_size]]

    def contents(self) -> dict[str, str]:
        """A digest of the rows, which must stay the same while a run lasts; of a stream, those of its first batch."""
        if not self.streaming:
            return {"folder": self._digest}
        batches = self.store.batches()
        first = list(self.store.batch(batches[0]).columns("attempts", "id", "text")) if batches else []
        return {"folder": digest(first)}

    @cached_property
    def _digest(self) -> str:
        return digest([[row.token_ids.tolist(), row.weights.tolist()] for row in self.rows])

    def _read_all(self) -> None:
        """Reads the rows of all batches, ordered by id, so that their order does not depend on how they were collected."""
        found = self._checked(examples(self.store, self.target, self._module.tokenizer))
        for example in sorted(found, key=lambda e: e.id):
            if random.Random(f"{self.seed}/{example.problem_id}").random() < self.validation:
                self.validation_rows.append(validation_row(example))
            else:
                self.rows.append(training_row(example))
        if not self.rows:
            raise UserError(
                f"{self.folder} holds no row for the target {self.target.target}: run `int-lightning collect --out "
                f"{self.folder}` first, and see its collection.json for what was rejected and why"
            )

    def _more(self) -> bool:
        """Has the callback collect another batch, or waits until another process has done so; False if there are no more.

        Raises:
            UserError: if none comes in time.
        """
        assert self.trainer is not None
        collecting = callback_of(self.trainer, Collecting)  # type: ignore[type-abstract]
        if collecting is not None:
            return collecting.collect_batch()
        seen, deadline = len(self.store.batches()), time.monotonic() + self.patience
        say(f"waiting for interventions in {escape(self.folder)}")
        while True:
            finished = self.collection_finished
            if len(self.store.batches()) > seen:
                return True
            if finished:
                return False
            if time.monotonic() > deadline:
                raise UserError(
                    f"{self.folder}: no new batch for {self.patience:g} s, and its collection has not ended: start "
                    "`int-lightning collect` again, then resume this fit with --ckpt_path last; or raise data.patience"
                )
            time.sleep(0.5)

    def _checked(self, found: Iterable[SFTExample]) -> Iterator[SFTExample]:
        """The rows that fit."""
        check_tokenizer(self.store.folder, self._module.tokenizer)
        vocabulary = int(load_config(self._module.folder).get_text_config().vocab_size)
        too_long: list[str] = []
        for example in found:
            if beyond := [token_id for token_id in example.token_ids if not 0 <= token_id < vocabulary]:
                raise UserError(
                    f"row {example.id!r} has token {beyond[0]}, and the model knows those from 0 to {vocabulary - 1}: train the "
                    "model it was collected with, or collect with this one"
                )
            if len(example.token_ids) > self.longest:
                too_long.append(f"{example.id} ({len(example.token_ids)})")
            else:
                yield example
        if too_long:
            named = escape(", ".join(too_long[:3]))
            say(
                f"[yellow]{len(too_long)} rows have more than data.longest = {self.longest} tokens and are left out[/]: {named}"
            )

    @property
    def _module(self) -> PolicyModule:
        assert self.trainer is not None
        module = self.trainer.lightning_module
        assert isinstance(module, PolicyModule)
        return module

    def _layout(self) -> Layout:
        assert self.trainer is not None
        trainer = self.trainer
        packed = self.packing and self._module.packs
        return Layout(pad_id(self._module.tokenizer), self.max_tokens, packed, trainer.global_rank, trainer.world_size)


def training_row(example: SFTExample) -> TrainingRow:
    """A row with the loss weights of its spans."""
    return TrainingRow(np.array(example.token_ids, np.int32), np.array(example.loss_weights, np.float32))


def validation_row(example: SFTExample) -> TrainingRow:
    """A row of which intervention or solution are scored, and prompt and prefix are not."""
    scored = [span.name not in _CONTEXT for span in example.spans]
    weights = np.repeat(scored, [span.tokens for span in example.spans]).astype(np.float32)
    return TrainingRow(np.array(example.token_ids, np.int32), weights)
