"""pass@k on held-out problems while a policy is trained."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.seed import isolate_rng

from int_lightning.grading.grader import Grader
from int_lightning.grpo.validation import held_out_metrics
from int_lightning.learn.callbacks import log_held_out
from int_lightning.learn.module import PolicyModule
from int_lightning.learn.trainer import EngineTrainer
from int_lightning.preflight import check_golds, usable
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.sources.reading import load_problems
from int_lightning.sources.source_config import Sources
from int_lightning.types import Sampling, UserError


class HeldOutPassAtK(Callback):
    """Samples solutions of held-out problems with the newest weights, before the first optimiser step, every ``every`` steps and
    after the last, and logs ``val/pass@1``, ``val/pass@k`` for k = ``rollouts``, ``val/reward``, ``val/length`` and
    ``val/truncated``.

    Every rank samples its share of the problems. Seeds are derived from (run seed, step, problem, sample), so that a resumed run
    logs what an uninterrupted one would have. Works for SFT and GRPO; GRPO samples its groups from the same engine.

    Args:
        problems: Where the problems come from, described as in ``collect``: a path, a mapping with columns, or a list.
        prompts: Prompt set: ``math``, ``gradeschool``, ``mini`` or a folder.
        every: Optimiser steps from one time to the next.
        rollouts: Of each problem.
        limit: Use only the first problems of the source.
        sampling: How rollouts are drawn.

    Raises:
        UserError: if ``every`` or ``rollouts`` is below 1.
    """

    def __init__(
        self,
        problems: Sources,
        prompts: str = "math",
        every: int = 50,
        rollouts: int = 8,
        limit: int | None = None,
        sampling: Sampling = Sampling(),
    ) -> None:
        for name, value in (("every", every), ("rollouts", rollouts)):
            if value < 1:
                raise UserError(f"HeldOutPassAtK.{name} is {value}: give at least 1")
        self.source = Sources.of(problems)
        self.prompt_set = prompts
        self.every = every
        self.rollouts = rollouts
        self.limit = limit
        self.sampling = sampling

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Loads the problems, the prompts and the grader."""
        assert isinstance(trainer, EngineTrainer)
        assert isinstance(pl_module, PolicyModule)
        self.prompts = PromptSet(self.prompt_set)
        self.grader = Grader()
        problems, of = load_problems(self.source, self.limit, require_solution=False), "held out: "
        if trainer.is_global_zero:
            check_golds(self.grader, problems).show(of)
        room = trainer.engine_config.max_model_len
        self.problems = usable(problems, pl_module.tokenizer, self.prompts, room, pl_module.folder, of)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Ends the grader's workers."""
        self.grader.close()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.global_step == 0:
            self._sample(trainer)

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step % self.every == 0:
            self._sample(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.global_step % self.every != 0:
            self._sample(trainer)

    def _sample(self, trainer: L.Trainer) -> None:
        assert isinstance(trainer, EngineTrainer)
        own = self.problems[trainer.global_rank :: trainer.world_size]
        # an engine that starts seeds the generators that dropout draws from
        with (
            isolate_rng(),
            trainer.sampling(self.prompts, self.grader) as sampler,
            trainer.limited("sampling held-out problems"),
        ):
            sampled = sampler.sample(own, range(self.rollouts), self.sampling, f"held_out/{trainer.global_step}")
            metrics = held_out_metrics(sampled)
        log_held_out(trainer, metrics)
