"""Training data of the mini world's base model, drawn on demand: solving with a flaw, comparing, and rewriting.

Solutions follow the wrong rule of ``@`` in FLAW of its uses. Comparisons show attempts with errors of every kind and ask for
the first wrong step; rewritings ask for the whole of such an attempt again, without its errors. Both have the reference in
view. No held-out chain is ever drawn.
"""

from __future__ import annotations

import random

import lightning as L
import numpy as np
from torchdata.stateful_dataloader import StatefulDataLoader
from transformers import PreTrainedTokenizerBase

from int_lightning.learn.micro_batches import Step, TrainingRow
from int_lightning.learn.step_stream import Layout, StepStream
from int_lightning.mini.mini_tokenizer import build_tokenizer
from int_lightning.mini.world import (
    FLAW,
    attempt,
    draw_training_chain,
    first_error,
    intervention_text,
    solution_text,
    to_problem,
)
from int_lightning.prompts.chat import encode_chat
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.types import UserError


class MiniPretrainData(L.LightningDataModule):
    """Batches for the base model.

    Args:
        steps: Optimiser steps.
        batch_size: Rows in each.
        solving: Share of solution rows.
        rewriting: Share of rows that rewrite an attempt; the rest are comparisons.
        flaw: Share of ``@`` uses in solutions that follow the wrong rule.
        max_tokens: Budget of a micro-batch.
        seed: Of the data.
    """

    def __init__(
        self,
        steps: int = 2000,
        batch_size: int = 128,
        solving: float = 0.55,
        rewriting: float = 0.15,
        flaw: float = FLAW,
        max_tokens: int = 8192,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value in (("steps", steps), ("batch_size", batch_size), ("max_tokens", max_tokens)):
            if value < 1:
                raise UserError(f"data.{name} is {value}: give at least 1")
        self.steps = steps
        self.batch_size = batch_size
        self.solving = solving
        self.rewriting = rewriting
        self.flaw = flaw
        self.max_tokens = max_tokens
        self.seed = seed
        self.tokenizer = build_tokenizer()
        self.prompts = PromptSet("mini")

    def train_dataloader(self) -> StatefulDataLoader[Step]:
        """The run's optimiser steps."""
        assert self.trainer is not None
        rank, world_size = self.trainer.global_rank, self.trainer.world_size
        layout = Layout(self.tokenizer.pad_token_id, self.max_tokens, rank=rank, world_size=world_size)
        return StatefulDataLoader(StepStream(self.rows, self.steps, layout), batch_size=None)

    def rows(self, step: int) -> list[TrainingRow]:
        """The rows of one step, a function of (seed, step) alone."""
        rng = random.Random(f"{self.seed}/{step}")
        solving, rewriting = (round(share * self.batch_size) for share in (self.solving, self.rewriting))
        makers = [self.solution_row] * solving + [self.rewriting_row] * rewriting
        makers += [self.comparison_row] * (self.batch_size - len(makers))
        return [make(rng) for make in makers]

    def solution_row(self, rng: random.Random) -> TrainingRow:
        """A problem and its solution as the flawed base would write it."""
        chain = draw_training_chain(rng, hard=rng.random() < 0.4)
        messages = self.prompts.solve(to_problem(chain, "pretrain", 0))
        return prompt_row(self.tokenizer, messages, solution_text(attempt(chain, rng, self.flaw)))

    def comparison_row(self, rng: random.Random) -> TrainingRow:
        """A problem, its reference and an attempt, and the intervention for the first wrong step."""
        chain = draw_training_chain(rng, hard=rng.random() < 0.5)
        steps = attempt(chain, rng, flaw=0.8, slip=0.12)
        messages = self.prompts.verify(to_problem(chain, "pretrain", 0), steps)
        return prompt_row(self.tokenizer, messages, intervention_text(first_error(chain, steps)))

    def rewriting_row(self, rng: random.Random) -> TrainingRow:
        """A problem, its reference and an attempt, and the attempt without its errors."""
        chain = draw_training_chain(rng, hard=rng.random() < 0.5)
        steps = attempt(chain, rng, flaw=0.8, slip=0.12)
        messages = self.prompts.refine(to_problem(chain, "pretrain", 0), solution_text(steps))
        return prompt_row(self.tokenizer, messages, solution_text(attempt(chain, rng, flaw=0.0)))


def prompt_row(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]], response: str) -> TrainingRow:
    """A row trained on the response and the end of sequence after it."""
    prompt = encode_chat(tokenizer, messages)
    answer = [*tokenizer.encode(response, add_special_tokens=False), tokenizer.eos_token_id]
    weights = np.repeat([0.0, 1.0], [len(prompt), len(answer)]).astype(np.float32)
    return TrainingRow(np.array([*prompt, *answer], np.int32), weights)
