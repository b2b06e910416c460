"""Collection within a fit: the callback owns the engine, and collects a batch of problems whenever the rows run out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import lightning as L
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from rich.markup import escape

from int_lightning.collect.command import finish_collection
from int_lightning.collect.config import CollectConfig
from int_lightning.collect.pipeline import Collector, Todo, commit
from int_lightning.collect.stages import ProblemStages, Work
from int_lightning.collect.store import Store
from int_lightning.console import say
from int_lightning.grading.grader import Grader
from int_lightning.learn.module import PolicyModule
from int_lightning.learn.step_stream import gather
from int_lightning.learn.trainer import EngineTrainer
from int_lightning.oracles.base import Oracle
from int_lightning.oracles.policy import PolicyOracle
from int_lightning.preflight import Fitting, check_golds, check_legible
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.prompts.recorded_tokenizer import record_tokenizer
from int_lightning.rollout_sampler import RolloutSampler
from int_lightning.run_folder.lock import locked
from int_lightning.sft.data import InterventionData
from int_lightning.sources.pool import open_pool
from int_lightning.sources.source_config import Sources, own_attempts
from int_lightning.types import UserError


class CollectInterventions(Callback):
    """Collects into the folder of a streaming ``InterventionData``, from the newest weights of the policy in training.

    Every rank has an engine and works on its share of a batch's problems.

    Args:
        problems: Where the problems come from, described as in ``collect``: a path, a mapping with columns, or a list.
        prompts: Prompt set: ``math``, ``gradeschool``, ``mini`` or a folder.
        oracle: Proposes the interventions; the policy itself if not given.
        collection: Sizes of the collection; ``batch_problems`` are collected at a time.
        limit: Use only the first problems of the pool.
    """

    def __init__(
        self,
        problems: Sources,
        prompts: str = "math",
        oracle: Oracle | None = None,
        collection: CollectConfig = CollectConfig(),
        limit: int | None = None,
    ) -> None:
        self.sources = Sources.of(problems)
        self.prompts = prompts
        self.oracle = oracle or PolicyOracle()
        self.collection = collection
        self.limit = limit
        self._todo: Iterator[Todo] | None = None
        self._resources = ExitStack()

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Finds the data it collects for, and keeps other commands out of its folder.

        Raises:
            UserError: if the data does not stream, or if another command is using its folder.
        """
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data, InterventionData) or not data.streaming:
            raise UserError("CollectInterventions needs an InterventionData with data.streaming true: change the data")
        assert isinstance(pl_module, PolicyModule)
        assert isinstance(trainer, EngineTrainer)
        self.out = Path(data.folder)
        self.trainer = trainer
        self.module = pl_module
        self.store = Store(self.out / "dataset")
        self.grader = Grader()
        if trainer.is_global_zero:
            self._resources.enter_context(locked(self.out))

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Ends the grader's workers, and lets go of the folder."""
        self.grader.close()
        self._resources.close()

    def collect_batch(self) -> bool:
        """Collects the next batch of problems, all of it or nothing; False if there are none left. Every rank calls it."""
        if self._todo is None:
            self._begin()
        assert self._todo is not None
        batch = list(islice(self._todo, self.collection.batch_problems))
        rank, world = self.trainer.global_rank, self.trainer.world_size
        if not batch:
            if rank == 0:
                self.fitting.show()
                found = {"golds": self.golds.as_dict(), "too_long": self.fitting.as_dict()}
                finish_collection(self.out, self.store, self.pool, found)
            return False
        order = {problem.id: i for i, (problem, _) in enumerate(batch)}
        with self.trainer.sampling(PromptSet(self.prompts), self.grader) as sampler:
            own = sampler.run(self._work(sampler, batch[rank::world]))
        works = sorted(gather(own), key=lambda work: order[work.problem.id])
        if rank == 0:
            commit(self.store, works)
        if world > 1:
            dist.barrier()
        return True

    def _begin(self) -> None:
        tokenizer, room = self.module.tokenizer, self.trainer.engine_config.max_model_len
        self.pool = open_pool(self.sources, self.limit, self.trainer.seed)
        prompts = PromptSet(self.prompts)
        if said := check_legible(tokenizer, prompts, self.pool, self.module.folder):
            say(f"[yellow]note:[/] {escape(said)}")
        self.golds = check_golds(self.grader, self.pool if self.trainer.is_global_zero else ())
        self.golds.show()
        self.fitting = Fitting(self.pool, tokenizer, prompts, room)
        if self.trainer.global_rank == 0:
            record_tokenizer(self.store.folder, self.module.tokenizer, self.module.folder)
            self.store.begin()
        self._todo = Collector(self.store, self.collection.batch_problems).todo(self.fitting)

    async def _work(self, sampler: RolloutSampler, batch: list[Todo]) -> list[Work]:
        stages = ProblemStages(sampler, self.oracle, self.collection, own_attempts(self.sources))
        return list(await asyncio.gather(*(stages.run(problem, earlier) for problem, earlier in batch)))
