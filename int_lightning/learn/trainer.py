"""A Trainer with an engine that serves the newest weights of the policy in training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import lightning as L

from int_lightning.console import say
from int_lightning.engines.base import Engine, EngineConfig
from int_lightning.engines.opening import open_engine
from int_lightning.grading.grader import Grader
from int_lightning.learn.module import PolicyModule
from int_lightning.learn.sync import sync
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.rollout_sampler import RolloutSampler
from int_lightning.time_limit import time_limit


class EngineTrainer(L.Trainer):
    """Lightning's Trainer with a seed and an engine, which the command line sets."""

    engine_config: EngineConfig = EngineConfig()
    seed: int = 0
    sync_gap: float = 0.0
    _engine: Engine | None = None

    def open_engine(self, folder: str) -> Engine:
        """The engine for a model folder, started on first use and shared by all who sample. It serves the folder's weights until
        others are loaded."""
        if self._engine is None or self._engine.folder != folder:
            module = self.lightning_module
            lora = module.lora if isinstance(module, PolicyModule) else None
            if isinstance(module, PolicyModule) and module.dtype_name != self.engine_config.dtype:
                say(
                    f"[yellow]note:[/] model.dtype is {module.dtype_name} and engine.dtype {self.engine_config.dtype}: their "
                    "log-probs differ by rounding"
                )
            self._engine = open_engine(folder, self.engine_config, lora.rank if lora else 0)
            if self.engine_config.sleep_while_training and not self._engine.sleeps:
                say(
                    f"[yellow]note:[/] engine.sleep_while_training needs vLLM on a GPU: this engine ({self._engine.name}) keeps "
                    "its memory while the policy is trained"
                )
        return self._engine

    @contextmanager
    def sampling(self, prompts: PromptSet, grader: Grader) -> Iterator[RolloutSampler]:
        """Yields a sampler of the newest weights of the policy in training. Every rank enters it. It sets ``sync_gap``, the mean
        absolute difference between the log-probs of engine and trainer on fixed tokens. When the block ends the engine goes to
        sleep, if ``engine.sleep_while_training``: nothing is trained or scored inside.

        Raises:
            SyncError: if the engine does not serve those weights then.
        """
        sampler = self._synced(prompts, grader)
        yield sampler
        if self.engine_config.sleep_while_training:
            with self.limited("putting the engine to sleep"):
                sampler.engine.sleep()

    def _synced(self, prompts: PromptSet, grader: Grader) -> RolloutSampler:
        module = self.lightning_module
        assert isinstance(module, PolicyModule)
        with self.limited("the sync of weights into the engine"):
            engine = self.open_engine(module.folder)
            self.sync_gap = sync(module.scorer, engine)
        version = f"step {self.global_step}"
        return RolloutSampler(engine, module.tokenizer, prompts, grader, module.folder, version, self.seed)

    def limited(self, call: str) -> AbstractContextManager[None]:
        """Bounds a call of this rank by ``engine.time_limit``."""
        return time_limit(self.engine_config.time_limit, f"rank {self.global_rank}, step {self.global_step}: {call}")
