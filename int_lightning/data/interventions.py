"""D_InT as SFT rows, and the DataModule that feeds them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import lightning as L
from torchdata.stateful_dataloader import StatefulDataLoader
from transformers import PreTrainedTokenizerBase

from int_lightning.collect.store import Store
from int_lightning.data.collate import Row, Step
from int_lightning.data.stream import Layout, StepStream
from int_lightning.learn.module import PolicyModule
from int_lightning.types import Intervention, SFTExample, UserError


def intervention_example(intervention: Intervention) -> SFTExample:
    """(x, y_<t*, intervention): loss on prefix and intervention, none on the prompt, no end-of-sequence token."""
    trained = [*intervention.prefix_ids, *intervention.intervention_ids]
    return SFTExample(
        id=intervention.id,
        token_ids=[*intervention.prompt_ids, *trained],
        loss_weights=[0.0] * len(intervention.prompt_ids) + [1.0] * len(trained),
    )


class InterventionData(L.LightningDataModule):
    """Accepted interventions of a collection.

    Args:
        folder: Run folder of ``int-lightning collect``.
        collect_config: Config of a collection that ``fit`` runs into ``folder`` first, where it has not been run to its end.
        epochs: Passes over the rows.
        batch_size: Rows in an optimiser step, over all processes.
        validation: Share of the problems held out for ``val/nll``.
        max_tokens: Budget of a micro-batch.
        seed: Of the order and the held-out share.
    """

    def __init__(
        self,
        folder: str,
        collect_config: str | None = None,
        epochs: int = 4,
        batch_size: int = 32,
        validation: float = 0.0,
        max_tokens: int = 16384,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.folder = folder
        self.collect_config = collect_config
        self.epochs = epochs
        self.batch_size = batch_size
        self.validation = validation
        self.max_tokens = max_tokens
        self.seed = seed

    @property
    def collection_missing(self) -> bool:
        """Whether a collection is to be run before the fit."""
        return self.collect_config is not None and not (Path(self.folder) / "results.json").exists()

    def setup(self, stage: str) -> None:
        """Reads the accepted interventions.

        Raises:
            UserError: if the folder holds none, or a token id is beyond the model's vocabulary.
        """
        store = Store(Path(self.folder) / "dataset")
        accepted = sorted((i for i in store.read("interventions", Intervention) if not i.rejected), key=lambda i: i.id)
        if not accepted:
            raise UserError(
                f"{self.folder} holds no accepted intervention: run `int-lightning collect --out {self.folder}` first, and see "
                "its results.json for what was rejected and why"
            )
        vocabulary = len(self._tokenizer())
        rows: dict[bool, list[Row]] = {True: [], False: []}
        for intervention in accepted:
            example = intervention_example(intervention)
            if max(example.token_ids) >= vocabulary:
                raise UserError(
                    f"row {example.id!r} has token ids beyond the model's vocabulary: collect with this model"
                )
            held_out = random.Random(f"{self.seed}/{intervention.problem_id}").random() < self.validation
            rows[held_out].append(Row(example.token_ids, example.loss_weights))
        self.rows, self.validation_rows = rows[False], rows[True]

    def train_dataloader(self) -> StatefulDataLoader[Step]:
        """The run's optimiser steps."""
        steps = self.epochs * -(-len(self.rows) // self.batch_size)
        return StatefulDataLoader(StepStream(self.rows_of, steps, self._layout()), batch_size=None)

    def val_dataloader(self) -> StatefulDataLoader[Step] | list[Step]:
        """The held-out rows, as one step."""
        if not self.validation_rows:
            return []
        return StatefulDataLoader(StepStream(lambda _: self.validation_rows, 1, self._layout()), batch_size=None)

    def rows_of(self, step: int) -> Sequence[Row]:
        """The rows of a step; every epoch has its own order."""
        per_epoch = -(-len(self.rows) // self.batch_size)
        epoch, index = divmod(step, per_epoch)
        order = list(range(len(self.rows)))
        random.Random(f"{self.seed}/{epoch}").shuffle(order)
        return [self.rows[i] for i in order[index * self.batch_size : (index + 1) * self.batch_size]]

    def _tokenizer(self) -> PreTrainedTokenizerBase:
        assert self.trainer is not None
        module = self.trainer.lightning_module
        assert isinstance(module, PolicyModule)
        return module.tokenizer

    def _layout(self) -> Layout:
        assert self.trainer is not None
        pad_id = self._tokenizer().pad_token_id
        return Layout(pad_id, self.max_tokens, self.trainer.global_rank, self.trainer.world_size)
